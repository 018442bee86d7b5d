"""Credentials of requests: the principal behind one, and whether it may keep the links it opened.

Knows Jupyter's identity provider, but neither servers nor sessions. Gateway tokens are in :mod:`.tokens`.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from weakref import WeakSet

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado import httputil, web

from mcp_ws_ide.core.binding import CloseCode

SINGLE_USER: Final = "jupyter-user"
"""The principal of a Jupyter server without user accounts.

Jupyter's stock identity provider gives each token-authenticated request a new random name, which must not separate a
client from its own session.
"""
TOKEN_HOLDER: Final = "token/jupyter"  # noqa: S105 - a name, no secret
"""The principal of requests that have only Jupyter's own token, where an identity provider names users otherwise."""
CHECK_SECONDS: Final = 30
"""Seconds between two checks of the Jupyter credentials behind open links, unless configured."""

_STOCK: Final = (IdentityProvider, PasswordIdentityProvider)
_RESERVED: Final = ("service/", "token/", "user/")
"""Beginnings of principals that are not just a user's name."""
_RANDOM: Final = re.compile("[0-9a-f]{32}")
"""Names that the stock provider gives to requests that have only the token."""
_OF_THE_MESSAGE: Final = re.compile(
    "(?i)accept.*|cache-control|connection|content-.*|keep-alive|last-event-id|mcp-.*|pragma|sec-websocket-.*|"
    "traceparent|tracestate|baggage|transfer-encoding|upgrade"
)
"""Headers that describe a message or connection, and identify no client."""

log = logging.getLogger(__name__)


def principal_of(handler: JupyterHandler, user: User) -> str:
    """Return the stable name of the owner of sessions and tokens: the user whom Jupyter authenticated.

    Only an unmodified Jupyter has a single user, whatever names it invents. Any change to the identity provider or the
    login may distinguish users, so each name is then a principal of its own.
    """
    if _single_user(handler):
        return SINGLE_USER
    if _only_token(handler, user):
        return TOKEN_HOLDER
    name = str(user.username)
    # A JupyterHub service may have the name of a user; user names have no slash (jupyterhub/singleuser/extension.py).
    known = getattr(user, "hub_user", None)
    if isinstance(known, dict) and known.get("kind") == "service":
        return f"service/{name}"
    return f"user/{name}" if name.startswith(_RESERVED) else name


def _single_user(handler: JupyterHandler) -> bool:
    return not names_users(handler.identity_provider) and not _names_users_itself(handler)


def is_jupyter_token(handler: JupyterHandler, secret: str) -> bool:
    """Return whether ``secret`` is Jupyter's own token; for requests that were refused before authentication."""
    token = getattr(handler.identity_provider, "token", "")
    return isinstance(token, str) and token != "" and hmac.compare_digest(token.encode(), secret.encode())


def names_users(provider: IdentityProvider) -> bool:
    """Return whether there may be several users: the provider, or its login form, is not Jupyter's own."""
    return type(provider) not in _STOCK or provider.login_handler_class is not LoginFormHandler


def _names_users_itself(handler: JupyterHandler) -> bool:
    """Return whether ``get_current_user`` is replaced, as extensions for old versions of Jupyter do."""
    return bool(handler.get_current_user.__module__ != JupyterHandler.__module__)


def _only_token(handler: JupyterHandler, user: User) -> bool:
    """Return whether nothing but Jupyter's shared token authenticated a request: then its user's name is random."""
    kind = type(handler.identity_provider)
    inherited = ("get_user", "_get_user", "get_user_token", "get_token", "generate_anonymous_user")
    if any(getattr(kind, name) is not getattr(IdentityProvider, name) for name in inherited):
        return False
    return _RANDOM.fullmatch(str(user.username)) is not None and bool(handler.token_authenticated)


@dataclass(frozen=True)
class Credential:
    """What Jupyter needs to authenticate a request again: all that its identity provider may have looked at."""

    method: str
    uri: str
    remote_ip: str
    protocol: str
    headers: tuple[tuple[str, str], ...]
    certificate: Any = field(compare=False)
    """The client's TLS certificate, as ``ssl.SSLSocket.getpeercert`` returns it."""


def credential_of(handler: JupyterHandler) -> Credential:
    """Return the Jupyter credential of a request."""
    request = handler.request
    headers = (
        (name, value) for name, value in request.headers.get_all() if not _OF_THE_MESSAGE.fullmatch(name)
    )
    try:
        certificate = request.get_ssl_certificate()
    except AttributeError:  # the connection was taken over, or has none
        certificate = None
    return Credential(
        request.method or "GET",
        request.uri or "/",
        request.remote_ip or "",
        request.protocol,
        tuple(headers),
        certificate,
    )


class Watched(Protocol):
    """A link or response that must end when its credential is no longer valid."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End it with a close code and a reason."""


class _NoConnection:
    """The connection of a request that exists only to be authenticated."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Ignore the callback: there is no connection to close."""


class _Request(httputil.HTTPServerRequest):
    """A request that exists only to be authenticated."""

    def __init__(self, credential: Credential) -> None:
        headers = httputil.HTTPHeaders()
        for name, value in credential.headers:
            headers.add(name, value)
        connection: Any = _NoConnection()
        super().__init__(credential.method, credential.uri, headers=headers, connection=connection)
        self.remote_ip, self.protocol = credential.remote_ip, credential.protocol
        self._certificate = credential.certificate

    def get_ssl_certificate(self, binary_form: bool = False) -> Any:
        """Return the certificate of the original request; its DER form was not kept."""
        return None if binary_form else self._certificate


class CredentialWatch:
    """Ends open links and responses when the credential of their request does (docs/reference/binding.md, 3).

    Jupyter's identity provider is asked periodically, so an expired cookie, a changed token or a revoked hub token
    closes a link within ``credential_check_interval`` plus the time for which the provider itself caches. The caller
    reports the end of gateway tokens.
    """

    def __init__(self, application: Callable[[], web.Application]) -> None:
        self._application = application
        self._watched: dict[tuple[str, Credential], WeakSet[Watched]] = {}
        self._of_tokens: dict[str, WeakSet[Watched]] = {}

    def add(self, credential: Credential, principal: str, watched: Watched) -> None:
        """Close ``watched`` when ``credential`` no longer authenticates ``principal``."""
        self._watched.setdefault((principal, credential), WeakSet()).add(watched)

    def add_token(self, token_id: str, watched: Watched) -> None:
        """Close ``watched`` when the gateway token with this id ends."""
        self._of_tokens.setdefault(token_id, WeakSet()).add(watched)

    @property
    def tokens(self) -> set[str]:
        """The ids of gateway tokens behind open links and responses."""
        for token_id, watched in list(self._of_tokens.items()):
            if all(entry.closed for entry in watched):
                del self._of_tokens[token_id]
        return set(self._of_tokens)

    def end_token(self, token_id: str, code: CloseCode, reason: str) -> None:
        """Close what requests with this gateway token opened."""
        for watched in self._of_tokens.pop(token_id, ()):
            if not watched.closed:
                watched.close(code, reason)

    async def check(self) -> None:
        """Check each Jupyter credential once, however many links it opened."""
        for key, watched in list(self._watched.items()):
            opened = [entry for entry in watched if not entry.closed]
            if not opened:
                del self._watched[key]
            elif not await self._holds(*key):
                log.info("%d links closed: their Jupyter credential is no longer valid", len(opened))
                for entry in opened:
                    entry.close(CloseCode.EXPIRED, "the Jupyter credential is no longer valid; log in again")

    async def _holds(self, principal: str, credential: Credential) -> bool:
        handler = JupyterHandler(self._application(), _Request(credential))
        handler.check_xsrf_cookie = lambda: None  # the original request was checked
        try:
            user = await self._user(handler)
        except Exception:  # an unreachable hub must not end all users' work
            log.warning("a Jupyter credential could not be checked; its links stay open", exc_info=True)
            return True
        return user is not None and principal_of(handler, user) == principal

    async def _user(self, handler: JupyterHandler) -> User | None:
        """Authenticate a request as :class:`JupyterHandler` does."""
        provider = handler.identity_provider
        if type(provider) is IdentityProvider and _names_users_itself(handler):
            name = handler.get_current_user()
            user = User(name) if name else None
        else:
            user = await ensure_async(provider.get_user(handler))
        handler.current_user = handler._jupyter_current_user = user
        return user
