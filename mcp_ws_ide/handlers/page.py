"""``{base_url}mcp-ws/``: the page."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.handler import ExtensionHandlerJinjaMixin, ExtensionHandlerMixin
from tornado import web

from mcp_ws_ide.handlers.auth import GatewayHandler

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class PageHandler(ExtensionHandlerJinjaMixin, ExtensionHandlerMixin, GatewayHandler):
    """A small MCP client and traffic view."""

    @property
    def content_security_policy(self) -> str:
        """Scripts and styles of our own only."""
        return CONTENT_SECURITY_POLICY

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """The page; its data comes over REST."""
        self.xsrf_token  # noqa: B018 - sets the cookie that the page's POSTs answer with
        self.check_policy()
        self.finish(self.render_template("mcp_ws_ide.html"))
