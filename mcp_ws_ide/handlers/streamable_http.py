"""Streamable HTTP on the MCP endpoint, for both eras (docs/binding.md, section 10).

POST, DELETE, OPTIONS, and the GET of the handshake era: ``Last-Event-ID``, and what belongs to no request. What a
POST means is in posts.py.
"""

from __future__ import annotations

import time

import tornado
from jupyter_server.auth.decorator import ws_authenticated
from tornado import web

from mcp_ws_ide.admissions import ADMITTED_FOR, Admission, head_of
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.credentials import credential_of
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.post_exchange import Owed, Posting
from mcp_ws_ide.handlers.upgrade import UpgradeHandler


class StreamableHttpHandler(Posting, UpgradeHandler):
    """POST, DELETE, OPTIONS and the event stream of GET."""

    # --- requests -------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Note the head as it came, before authentication gives the credential another form."""
        self._head = head_of(self.request)
        await super().prepare()

    @ws_authenticated
    async def post(self, name: str) -> None:
        """One message of a client."""
        await self.check_authorized("execute", "mcp")
        if self.repeatable:
            self.runtime.admissions.remember(self._head, self._admission(name))
        await self.take(name)

    def _admission(self, name: str) -> Admission:
        headers = {
            "Server": f"TornadoServer/{tornado.version}",
            "X-Content-Type-Options": "nosniff",
            **self.settings.get("headers", {}),
            "Content-Security-Policy": self.content_security_policy,
        }
        return Admission(
            server=name,
            principal=self.principal,
            credential=credential_of(self),
            token_id=self.token_id,
            tools=self.token_tools,
            headers=headers,
            until=time.monotonic() + ADMITTED_FOR,
        )

    @ws_authenticated
    async def delete(self, name: str) -> None:
        """End a handshake-era session."""
        await self.check_authorized("execute", "mcp")
        server = self.find_server(name)
        if "Mcp-Session-Id" not in self.request.headers:
            return self.not_allowed()
        session, _ = self._known_session(server)
        session.end(CloseCode.NORMAL, "ended by its client")
        self.set_status(204)
        self.finish()

    async def stream(self, server: Server) -> None:
        """GET: what belongs to no request, or what follows ``Last-Event-ID``."""
        _, link = self._known_session(server)
        last = self.request.headers.get("Last-Event-ID")
        stream = link.open_general() if last is None else link.replay(last)
        if stream is None:
            raise self.refuse(400, "session", "that event is forgotten; nothing can be replayed after it")
        self.set_header("Mcp-Session-Id", link.id)
        self._commit()
        if last is None:
            self.write(self._priming(stream))
        await self.flush()

        def done() -> None:
            stream.leave()
            link.last_used = time.monotonic()

        await self._respond(Owed(stream, True, {}, done), committed=True)

    def not_allowed(self) -> None:
        """405, with what is allowed."""
        self.error_headers = {"Allow": "POST"}
        words = "POST a message"
        if self.runtime.websocket:
            self.error_headers["Upgrade"] = "websocket"
            words += ", or connect with a WebSocket"
        raise web.HTTPError(405, words)

    def on_connection_close(self) -> None:
        """Tornado's hook."""
        self.client_left()
        super().on_connection_close()

    # --- shared with the WebSocket side ---------------------------------------------------------

    def is_http_session(self) -> bool:
        """Whether the request names a session that lives on HTTP."""
        return self.request.headers.get("Mcp-Session-Id") in self.runtime.gateway.http_sessions
