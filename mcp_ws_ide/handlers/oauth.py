"""``{base_url}mcp-ws/oauth/callback``: where an authorization server sends the user's browser back.

Another site sends the browser here, so this route is not under the Origin policy of the others. What protects it:
Jupyter's own login, and a ``state`` of 256 random bits that was shown to this user alone and is good once.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.requester import http_error_message

PARAMETERS: Final = ("state", "code", "iss", "error")
MAX_PARAMETER: Final = 8192
"""Longest parameter, in characters."""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NOT_EXPECTED: Final = (
    "no authorization is waited for here: it was completed already, took too long, or is another user's"
)
LOG_IN: Final = "log in to this Jupyter server in this browser, then reload this page"


class CallbackHandler(GatewayHandler):
    """Takes the authorization code to whoever waits for it."""

    @property
    def content_security_policy(self) -> str:
        """Text alone."""
        return CONTENT_SECURITY_POLICY

    async def prepare(self) -> None:
        """Authenticate without a redirect, whose address would carry the code into logs."""
        try:
            await super().prepare(_redirect_to_login=False)
        except web.HTTPError:
            if self.current_user is not None:
                raise
        if self.current_user is None:
            raise self.refuse(401, "credential", LOG_IN)
        if (
            "Origin" in self.request.headers
            or self.request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
        ):
            self.check_policy()

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """The browser's return, with a code or a refusal."""
        found = {name: self.get_query_argument(name, None, strip=False) for name in PARAMETERS}
        answer = {name: value for name, value in found.items() if value is not None}
        if any(len(value) > MAX_PARAMETER for value in answer.values()):
            raise self.refuse(400, "oauth", "a parameter is too long")
        authorizations = self.runtime.gateway.authorizations
        name = authorizations.complete(self.principal, answer) if authorizations is not None else None
        if name is None:
            raise self.refuse(400, "oauth", NOT_EXPECTED)
        words = (
            f"was authorized for server {name}"
            if "code" in answer
            else f"was not authorized for server {name}"
        )
        self._page(f"The gateway {words}. You can close this page.")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A person reads it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self._page(f"{http_error_message(error) or self._reason}")

    def _page(self, words: str) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish(f"<!doctype html><title>mcp-ws-ide</title><p>{escape(words)}</p>\n")
