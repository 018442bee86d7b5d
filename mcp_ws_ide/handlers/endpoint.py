"""``{base_url}mcp-ws/servers/{name}``: where MCP clients connect, over WebSocket or Streamable HTTP."""

from __future__ import annotations

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide.handlers.post_headers import EVENT_STREAM
from mcp_ws_ide.handlers.requester import find_server
from mcp_ws_ide.handlers.streamable_http import StreamableHttpHandler
from mcp_ws_ide.handlers.upgrade import (
    check_handshake,
    check_subprotocols,
    choose_server,
    open_link,
    upgrade,
    wants_upgrade,
)


class ServerEndpointHandler(StreamableHttpHandler):
    """The MCP endpoint of one server (docs/reference/binding.md, sections 1 to 5)."""

    @ws_authenticated
    async def get(self, name: str) -> None:
        """Upgrade to a WebSocket after all checks have passed, or open the event stream of an HTTP session."""
        await self.check_may_use(name)
        if not (self.runtime.settings.websocket and wants_upgrade(self)):
            return await self._get_over_http(name)
        if self.is_http_session():
            raise self.refuse(409, "session", "this session was opened over HTTP; a WebSocket cannot use it")
        key = check_handshake(self)
        if not self.offered:
            check_subprotocols(self)
        server, subprotocol = choose_server(self, name, self.offered)
        if self.repeatable:
            self.runtime.admissions.remember(self._head, self._admission(name))
        stream = upgrade(self, key, subprotocol)
        self.note_scheme()
        open_link(self, server, subprotocol, stream)

    async def _get_over_http(self, name: str) -> None:
        headers = self.request.headers
        if EVENT_STREAM in headers.get("Accept", "") and "Mcp-Session-Id" in headers:
            return await self.stream(name)
        find_server(self, name)
        return self.not_allowed()
