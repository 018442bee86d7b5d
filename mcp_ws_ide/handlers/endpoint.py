"""``{base_url}mcp-ws/servers/{name}``: where MCP clients connect."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import ws_authenticated
from tornado import web

from mcp_ws_ide import binding
from mcp_ws_ide.errors import LimitExceeded
from mcp_ws_ide.gateway import Hello, LinkInfo
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.link import WebSocketLink
from mcp_ws_ide.handlers.upgrade import UpgradeHandler


class ServerEndpointHandler(UpgradeHandler):
    """The MCP endpoint of one server (docs/binding.md, sections 1 to 5)."""

    @ws_authenticated
    async def get(self, name: str) -> None:
        """Upgrade to a WebSocket, once nothing speaks against it."""
        await self.check_authorized("execute", "mcp")
        gateway = self.runtime.gateway
        server = gateway.servers.get(name)
        known = None
        if (server is None or server.refusal is not None) and binding.SUBPROTOCOL_RESUME in self.offered:
            known = gateway.server_to_resume(name, self.principal)
        server = known or self._find(name)
        if not self.wants_upgrade():
            return self._not_allowed()
        key = self.check_handshake()
        try:
            subprotocol = binding.select_subprotocol(self.offered)
        except binding.UnknownSubprotocol as error:
            raise self.refuse(400, "subprotocol", str(error)) from None
        if known is None and server.refusal is not None:
            raise self.refuse(502, "server", f"server {server.name!r} cannot start: {server.refusal}")
        self._admit(subprotocol)
        await self._open(server, key, subprotocol)

    def _find(self, name: str) -> Server:
        server = self.runtime.gateway.servers.get(name)
        if server is None:
            known = ", ".join(sorted(self.runtime.gateway.servers)) or "none"
            raise self.refuse(404, "unknown_server", f"there is no server {name!r}; configured: {known}")
        return server

    def _admit(self, subprotocol: str | None) -> None:
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
        info = LinkInfo(principal, remote, agent[:200], subprotocol, fragile, self.token_id)
        gateway = self.runtime.gateway
        limit = int(server.spec.limits.get("max_message_bytes", gateway.limits.max_message_bytes))
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

    def _not_allowed(self) -> None:
        self.error_headers = {"Upgrade": "websocket", "Allow": "GET"}
        raise web.HTTPError(405, "connect with a WebSocket: this version has no HTTP transport")

    @ws_authenticated
    async def post(self, name: str) -> None:
        """Streamable HTTP is not spoken here."""
        await self.check_authorized("execute", "mcp")
        self._find(name)
        self._not_allowed()

    @ws_authenticated
    async def delete(self, name: str) -> None:
        """As :meth:`post`."""
        await self.post(name)

    @ws_authenticated
    def options(self, *args: Any, **kwargs: Any) -> None:
        """There is nothing to preflight for a WebSocket."""
        self._not_allowed()
