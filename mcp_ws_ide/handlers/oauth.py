"""``{base_url}mcp-ws/oauth``: what authorization servers of remote servers ask of the gateway.

``callback`` is where one sends the user's browser back. Another site sends it there, so the Origin check of other
routes does not apply to navigation. The callback is protected by Jupyter's login and by a single-use ``state`` of 256
random bits that only this user has seen. ``client.json`` is where an authorization server reads who the gateway is.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final
from urllib.parse import urlencode

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.requester import http_error_message

PARAMETERS: Final = ("state", "code", "iss", "error")
"""Parameters of the authorization response (RFC 6749 section 4.1.2, RFC 9207)."""
MAX_PARAMETER: Final = 8192
"""Longest parameter, in characters."""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NOT_EXPECTED: Final = (
    "no authorization is pending here: it has been completed, has timed out, or belongs to another user"
)
NO_DOCUMENT: Final = (
    "no client document is published here; it needs MCPWebSocketApp.oauth_client_document, and a public_url that "
    "begins with https:// and is not this machine's"
)
DOCUMENT_SECONDS: Final = 300
"""Seconds for which authorization servers may keep the document."""
LOG_IN: Final = "log in to this Jupyter server in this browser, then reload this page"


class CallbackHandler(GatewayHandler):
    """Passes the authorization code on to the requests that wait for it."""

    @property
    def content_security_policy(self) -> str:
        """Allow text only."""
        return CONTENT_SECURITY_POLICY

    async def prepare(self) -> None:
        """Authenticate without a redirect to the login page, because its URL would put the code into logs."""
        if self.passed is not None:
            return self.trust_peer(self.passed)
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
        """Handle the authorization response: a code or an error."""
        arguments = {name: self.get_query_argument(name, None, strip=False) for name in PARAMETERS}
        answer = {name: value for name, value in arguments.items() if value is not None}
        if any(len(value) > MAX_PARAMETER for value in answer.values()):
            raise self.refuse(400, "oauth", f"a parameter is longer than {MAX_PARAMETER} characters")
        authorizations = self.runtime.gateway.authorizations
        name = authorizations.complete(self.principal, answer) if authorizations is not None else None
        if name is None and await self._completed_elsewhere(answer):
            return
        if name is None:
            raise self.refuse(400, "oauth", NOT_EXPECTED)
        outcome = "was authorized" if "code" in answer else "was not authorized"
        self._page(f"The gateway {outcome} for server {name}. You can close this page.")

    async def _completed_elsewhere(self, answer: dict[str, str]) -> bool:
        """Pass the response on to the gateway whose requests wait for it; return whether there is one."""
        others = await self.ask_others(f"oauth/callback?{urlencode(answer)}")
        for fetched in others.values():
            if fetched is not None and fetched.status == 200:
                self._headers_of_page()
                self.finish(fetched.body)
                return True
        return False

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as a page, because a person reads it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self._page(http_error_message(error) or self._reason)

    def _headers_of_page(self) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")

    def _page(self, text: str) -> None:
        self._headers_of_page()
        self.finish(f"<!doctype html><title>mcp-ws-ide</title><p>{escape(text)}</p>\n")


class ClientDocumentHandler(GatewayHandler):
    """Describes the gateway as a client, to everybody: nothing in the document is secret."""

    @allow_unauthenticated
    def get(self) -> None:
        """Return the client ID metadata document; 404 if none is published."""
        if "Origin" in self.request.headers:
            raise web.HTTPError(403)
        authorizations = self.runtime.gateway.authorizations
        document = authorizations.client_document if authorizations is not None else None
        if document is None:
            raise web.HTTPError(404, NO_DOCUMENT)
        self.set_header("Cache-Control", f"max-age={DOCUMENT_SECONDS}")
        self.finish(document)
