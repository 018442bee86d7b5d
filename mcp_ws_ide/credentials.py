"""Jupyter credentials: the principal behind a request, and whether it may keep the links it opened.

Knows Jupyter's identity provider, but neither servers nor sessions. Gateway tokens are in :mod:`.tokens`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakSet

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado import httputil, web

from mcp_ws_ide.core.binding import CloseCode

SINGLE_USER: Final = "jupyter-user"
"""The principal of a Jupyter server without user accounts.

Jupyter's stock identity provider gives each token-authenticated request a new random name, which must not separate a
client from its own session.
"""
CHECK_SECONDS: Final = 30
"""Seconds between two checks of the Jupyter credentials behind open links, unless configured."""

log = logging.getLogger(__name__)


def principal_of(provider: IdentityProvider, user: User) -> str:
    """Return the stable name of the owner of sessions and tokens."""
    kind = type(provider)
    stock = (
        kind.get_user is IdentityProvider.get_user and kind.get_user_token is IdentityProvider.get_user_token
    )
    if stock:
        return SINGLE_USER
    # A JupyterHub service may have the name of a user; user names have no slash (jupyterhub/singleuser/extension.py).
    known = getattr(user, "hub_user", None)
    service = isinstance(known, dict) and known.get("kind") == "service"
    return f"service/{user.username}" if service else str(user.username)


Credential = tuple[str, str, str]
"""``Authorization``, ``Cookie`` and ``Host`` of a request: what Jupyter needs to authenticate it again."""


def credential_of(handler: JupyterHandler) -> Credential:
    """Return the Jupyter credential of a request; a token in its URL is returned in the form of a header."""
    headers = handler.request.headers
    authorization = headers.get("Authorization", "")
    if not authorization and (token := handler.get_query_argument("token", "")):
        authorization = f"token {token}"
    return authorization, headers.get("Cookie", ""), headers.get("Host", "")


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


class CredentialWatch:
    """Checks periodically with Jupyter's identity provider whether open links may stay (docs/reference/binding.md, 3).

    So an expired cookie, a changed token or a revoked hub token closes a link within ``credential_check_interval`` plus
    the time for which the provider itself caches.
    """

    def __init__(self, application: Callable[[], web.Application]) -> None:
        self._application = application
        self._watched: dict[tuple[str, str, str, str], WeakSet[Watched]] = {}

    def add(self, credential: Credential, principal: str, watched: Watched) -> None:
        """Close ``watched`` when ``credential`` no longer authenticates ``principal``."""
        self._watched.setdefault((principal, *credential), WeakSet()).add(watched)

    async def check(self) -> None:
        """Check each credential once, however many links it opened."""
        for key, watched in list(self._watched.items()):
            opened = [entry for entry in watched if not entry.closed]
            if not opened:
                del self._watched[key]
            elif not await self._holds(*key):
                log.info("%d links closed: their Jupyter credential is no longer valid", len(opened))
                for entry in opened:
                    entry.close(CloseCode.EXPIRED, "the Jupyter credential is no longer valid; log in again")

    async def _holds(self, principal: str, authorization: str, cookie: str, host: str) -> bool:
        headers = httputil.HTTPHeaders({"Host": host})
        if authorization:
            headers["Authorization"] = authorization
        if cookie:
            headers["Cookie"] = cookie
        application = self._application()
        request = httputil.HTTPServerRequest(
            "GET",
            "/",
            headers=headers,
            connection=_NoConnection(),  # type: ignore[arg-type]
        )
        handler = JupyterHandler(application, request)
        try:
            user = await ensure_async(handler.identity_provider.get_user(handler))
        except Exception:  # an unreachable hub must not end all users' work
            log.warning("a credential could not be checked; its links stay open", exc_info=True)
            return True
        return user is not None and principal_of(handler.identity_provider, user) == principal
