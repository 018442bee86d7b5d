"""``{base_url}mcp-ws/servers/{name}``: where MCP clients connect, over WebSocket or Streamable HTTP."""

from __future__ import annotations

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide.core import binding
from mcp_ws_ide.errors import LimitExceeded
from mcp_ws_ide.gateway import ResumeHandshake
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.post_exchange import RETRY_AFTER
from mcp_ws_ide.handlers.post_headers import EVENT_STREAM
from mcp_ws_ide.handlers.requester import find_server, link_info, resumable_server, usable_server
from mcp_ws_ide.handlers.streamable_http import StreamableHttpHandler
from mcp_ws_ide.handlers.upgrade import check_handshake, check_subprotocols, upgrade, wants_upgrade
from mcp_ws_ide.links.websocket import WebSocketLink


class ServerEndpointHandler(StreamableHttpHandler):
    """The MCP endpoint of one server (docs/reference/binding.md, sections 1 to 5)."""

    @ws_authenticated
    async def get(self, name: str) -> None:
        """Upgrade to a WebSocket after all checks have passed, or open the event stream of an HTTP session."""
        await self.check_authorized("execute", "mcp")
        if not (self.runtime.settings.websocket and wants_upgrade(self)):
            return await self._get_over_http(name)
        if self.is_http_session():
            raise self.refuse(409, "session", "this session belongs to HTTP; a WebSocket cannot use it")
        key = check_handshake(self)
        if not self.offered:
            check_subprotocols(self)
        try:
            subprotocol = binding.select_subprotocol(self.offered)
        except binding.UnknownSubprotocol as error:
            raise self.refuse(400, "subprotocol", str(error)) from None
        resumes = subprotocol == binding.SUBPROTOCOL_RESUME
        server = resumable_server(self, name) if resumes else usable_server(self, name)
        self._admit_link(subprotocol)
        self._open(server, key, subprotocol)

    async def _get_over_http(self, name: str) -> None:
        headers, server = self.request.headers, find_server(self, name)
        if EVENT_STREAM in headers.get("Accept", "") and "Mcp-Session-Id" in headers:
            return await self.stream(server)
        return self.not_allowed()

    def _admit_link(self, subprotocol: str | None) -> None:
        gateway = self.runtime.gateway
        try:
            gateway.check_link_rate()
            if subprotocol != binding.SUBPROTOCOL_RESUME or gateway.closing:  # else its first frame decides
                gateway.check_admission(self.principal)
        except LimitExceeded as error:
            self.error_headers["Retry-After"] = RETRY_AFTER
            status = 429 if error.limit == "max_links_per_second" else 503
            raise self.refuse(status, error.limit, str(error)) from None

    def _open(self, server: Server, key: str, subprotocol: str | None) -> None:
        gateway = self.runtime.gateway
        fragile = binding.is_fragile(subprotocol, self.request.headers.get("User-Agent", ""))
        info = link_info(self, "websocket", subprotocol, fragile=fragile)
        link = WebSocketLink(
            upgrade(self, key, subprotocol),
            gateway.message_limit(server.spec),
            fragile=fragile,
            max_queued_bytes=gateway.limits.max_queued_bytes,
            cuts=self.runtime.cut_links,
        )
        self.note_scheme()
        self.runtime.heartbeat.add(link)
        self.watch_credential(link)
        if subprotocol == binding.SUBPROTOCOL_RESUME:
            hello = ResumeHandshake(gateway, server, link, info)
            link.start(hello.receive, hello.closed)
        else:
            session = gateway.open_session(server, link, info)
            link.start(session.receive, session.link_closed, session.link_full)
