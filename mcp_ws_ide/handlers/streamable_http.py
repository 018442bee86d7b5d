"""Streamable HTTP on the MCP endpoint, for both eras (docs/reference/binding.md, section 10).

POST, DELETE, and the GET of the handshake era: ``Last-Event-ID``, and messages that belong to no request. What a POST
means is in :mod:`.post_exchange`.
"""

from __future__ import annotations

import time

import tornado
from jupyter_server.auth.decorator import ws_authenticated
from tornado import web

from mcp_ws_ide.admissions import ADMITTED_FOR, Admission, head_of
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.credentials import credential_of
from mcp_ws_ide.gateway.handed_out import continued_call
from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.handlers.kept_alive import reader_of
from mcp_ws_ide.handlers.passed_requests import endpoint_path, find_holder
from mcp_ws_ide.handlers.post_exchange import PostExchange, response_end
from mcp_ws_ide.handlers.post_headers import read_head
from mcp_ws_ide.handlers.post_response import PendingResponse, priming_event
from mcp_ws_ide.handlers.repeated_post import longest_body
from mcp_ws_ide.handlers.requester import find_server


class StreamableHttpHandler(EndpointHandler):
    """POST, DELETE and the event stream of GET."""

    _exchange: PostExchange | None = None

    async def prepare(self) -> None:
        """Note the head as it came, before authentication rewrites the credential."""
        self._head = head_of(self.request)
        await super().prepare()

    @property
    def max_body_bytes(self) -> int:
        """One message of maximum length, and some more, so that a longer one is refused with the limit's name."""
        return longest_body(self.runtime)

    @property
    def exchange(self) -> PostExchange:
        """This request and its response."""
        if self._exchange is None:
            self._exchange = PostExchange(self, read_head(self.request.headers))
        return self._exchange

    @ws_authenticated
    async def post(self, name: str) -> None:
        """Handle one message from a client."""
        await self.check_may_use(name)
        if self.repeatable:
            self.runtime.admissions.remember(self._head, self._admission(name))
        self.request.body = self.take_body()
        if not await self._answered_elsewhere(
            name, self.request.body
        ) and not await self._continued_elsewhere(name):
            await self.exchange.run(name)

    async def _continued_elsewhere(self, name: str) -> bool:
        """Return whether the request continues a call at another gateway, which has answered."""
        state = continued_call(self.request.body, self.principal, name)
        if self.passed is not None or state is None or not self.runtime.gateway.continues_elsewhere(state):
            return False
        holder = await find_holder(self, state)
        return holder != "" and await self.have_answered(holder, endpoint_path(name), self.request.body)

    async def _answered_elsewhere(self, name: str, body: bytes = b"") -> bool:
        """Return whether another gateway has the session that the request names, and has answered."""
        session_id = self.request.headers.get("Mcp-Session-Id", "")
        return await self.pass_on(session_id, endpoint_path(name), body)

    def _admission(self, name: str) -> Admission:
        headers = {
            "Server": f"TornadoServer/{tornado.version}",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
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
        await self.check_may_use(name)
        if await self._answered_elsewhere(name):
            return
        server = find_server(self, name)
        if "Mcp-Session-Id" not in self.request.headers:
            return self.not_allowed()
        session, _ = self.exchange.known_session(server)
        session.end(CloseCode.NORMAL, "ended by its client")
        self.set_status(204)
        self.finish()

    async def stream(self, name: str) -> None:
        """Answer GET: messages that belong to no request, or everything after ``Last-Event-ID``."""
        if await self._answered_elsewhere(name):
            return
        server = find_server(self, name)
        exchange = self.exchange
        _, link = exchange.known_session(server)
        last = self.request.headers.get("Last-Event-ID")
        stream = link.open_general() if last is None else link.replay(last)
        if stream is None:
            message = (
                f"Last-Event-ID {last[:100]!r} is unknown or no longer kept; nothing can be replayed after it"
            )
            raise self.refuse(400, "session", message)
        self.set_header("Mcp-Session-Id", link.id)
        exchange.writer.commit()
        if last is None and exchange.primes:
            self.write(priming_event(stream.name, stream.numbered - len(stream)))
        await self.flush()
        response = PendingResponse(stream, True, response_end(stream, link))
        await exchange.writer.respond(response, committed=True)

    def not_allowed(self) -> None:
        """Answer 405 and list what is allowed."""
        self.error_headers = {"Allow": "POST"}
        message = "this method is not allowed; POST a message"
        if self.runtime.settings.websocket:
            self.error_headers["Upgrade"] = "websocket"
            message += ", or connect with a WebSocket"
        raise web.HTTPError(405, message)

    def on_connection_close(self) -> None:
        """Tornado's hook: the client is gone."""
        if self._exchange is not None:
            self._exchange.writer.client_left()
        super().on_connection_close()

    def on_finish(self) -> None:
        """Tornado's hook: the response is complete."""
        reader = reader_of(self.request)
        if reader is not None:
            reader.tornado_answered()
        super().on_finish()

    def is_http_session(self) -> bool:
        """Whether the request names a session that lives on HTTP."""
        return self.request.headers.get("Mcp-Session-Id") in self.runtime.gateway.http_sessions
