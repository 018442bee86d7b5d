"""Jupyter credentials: who a request's owner is, and whether that still holds for the links it opened.

Knows Jupyter's identity provider, and nothing of servers or sessions. Gateway tokens are in :mod:`.tokens`.
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
"""The principal of a server without user accounts: Jupyter's stock identity provider gives each
token-authenticated request a new random name, which must not separate a client from its own session."""
CHECK_SECONDS: Final = 30
"""How often the Jupyter credential behind an open link is checked again, unless configured."""

log = logging.getLogger(__name__)


def principal_of(provider: IdentityProvider, user: User) -> str:
    """The stable name of the owner of sessions and tokens."""
    kind = type(provider)
    stock = (
        kind.get_user is IdentityProvider.get_user and kind.get_user_token is IdentityProvider.get_user_token
    )
    if stock:
        return SINGLE_USER
    # JupyterHub's services may have the names of users, which hold no slash; jupyterhub/singleuser/extension.py.
    known = getattr(user, "hub_user", None)
    service = isinstance(known, dict) and known.get("kind") == "service"
    return f"service/{user.username}" if service else str(user.username)


Credential = tuple[str, str, str]
"""What a request showed to Jupyter: ``Authorization``, ``Cookie`` and ``Host``; enough to ask again."""


def credential_of(handler: JupyterHandler) -> Credential:
    """The Jupyter credential of a request; a token of its URL in the form of a header."""
    headers = handler.request.headers
    authorization = headers.get("Authorization", "")
    if not authorization and (token := handler.get_query_argument("token", "")):
        authorization = f"token {token}"
    return authorization, headers.get("Cookie", ""), headers.get("Host", "")


class Watched(Protocol):
    """A link or response that lives only as long as the credential it was opened with."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close it."""


class _NoConnection:
    """Stands for the connection of a request that is only asked who sent it."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Nothing here can be closed."""


class CredentialWatch:
    """Asks Jupyter's identity provider again and again whether open links may stay (docs/reference/binding.md, 3).

    An expired cookie, a changed token or a revoked hub token thus ends a link within the interval
    ``credential_check_interval``, plus the time the provider itself caches.
    """

    def __init__(self, application: Callable[[], web.Application]) -> None:
        self._application = application
        self._watched: dict[tuple[str, str, str, str], WeakSet[Watched]] = {}

    def add(self, credential: Credential, principal: str, watched: Watched) -> None:
        """Watch over what ``credential`` opened for ``principal``."""
        self._watched.setdefault((principal, *credential), WeakSet()).add(watched)

    async def check(self) -> None:
        """One round: each credential once, however many links it opened."""
        for key, watched in list(self._watched.items()):
            opened = [entry for entry in watched if not entry.closed]
            if not opened:
                del self._watched[key]
            elif not await self._holds(*key):
                log.info("%d links closed: their Jupyter credential does not hold any more", len(opened))
                for entry in opened:
                    entry.close(
                        CloseCode.EXPIRED, "the Jupyter credential does not hold any more; log in again"
                    )

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
        except Exception:  # a hub that cannot be reached must not end everybody's work
            log.warning("a credential could not be checked again; its links stay open", exc_info=True)
            return True
        return user is not None and principal_of(handler.identity_provider, user) == principal
