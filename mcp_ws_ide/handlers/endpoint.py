"""``{base_url}mcp-ws/servers/{name}``: where MCP clients connect."""

from __future__ import annotations

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide.core import binding
from mcp_ws_ide.errors import LimitExceeded
from mcp_ws_ide.gateway import Hello
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.post_exchange import EVENT_STREAM
from mcp_ws_ide.handlers.streamable_http import StreamableHttpHandler
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.websocket import WebSocketLink


class ServerEndpointHandler(StreamableHttpHandler):
    """The MCP endpoint of one server (docs/binding.md, sections 1 to 5)."""

    @ws_authenticated
    async def get(self, name: str) -> None:
        """Upgrade to a WebSocket, once nothing speaks against it; or the event stream of an HTTP session."""
        await self.check_authorized("execute", "mcp")
        if not (self.wants_upgrade() and self.runtime.websocket):
            if (
                EVENT_STREAM in self.request.headers.get("Accept", "")
                and "Mcp-Session-Id" in self.request.headers
            ):
                return await self.stream(self.find_server(name))
            self.find_server(name)
            return self.not_allowed()
        if self.is_http_session():
            raise self.refuse(409, "session", "this session belongs to HTTP; the two never mix")
        key = self.check_handshake()
        try:
            subprotocol = binding.select_subprotocol(self.offered)
        except binding.UnknownSubprotocol as error:
            raise self.refuse(400, "subprotocol", str(error)) from None
        resumes = subprotocol == binding.SUBPROTOCOL_RESUME
        server = self.server_for_hello(name) if resumes else self.usable_server(name)
        self._admit_link(subprotocol)
        await self._open(server, key, subprotocol)

    def _admit_link(self, subprotocol: str | None) -> None:
        gateway = self.runtime.gateway
        try:
            gateway.check_link_rate()
            if subprotocol != binding.SUBPROTOCOL_RESUME or gateway.closing:  # else its first frame decides
                gateway.check_admission(self.principal)
        except LimitExceeded as error:
            self.error_headers["Retry-After"] = "5"
            status = 429 if error.limit == "max_links_per_second" else 503
            raise self.refuse(status, error.limit, str(error)) from None

    async def _open(self, server: Server, key: str, subprotocol: str | None) -> None:
        agent = self.request.headers.get("User-Agent", "")
        fragile = binding.is_fragile(subprotocol, agent)
        remote, principal = self.request.remote_ip or "", self.principal
        info = LinkInfo(principal, remote, agent[:200], subprotocol, fragile, self.token_id, self.token_tools)
        gateway = self.runtime.gateway
        limit = self.message_limit(server)
        stream = await self.upgrade(key, subprotocol)
        link = WebSocketLink(stream, limit, fragile=fragile, max_queued_bytes=gateway.limits.max_queued_bytes)
        self.runtime.heartbeat.add(link)
        self.watch_credential(link)
        if subprotocol == binding.SUBPROTOCOL_RESUME:
            hello = Hello(gateway, server, link, info)
            link.start(hello.receive, hello.closed)
        else:
            session = gateway.open_session(server, link, info)
            link.start(session.receive, session.link_closed, session.link_full)
