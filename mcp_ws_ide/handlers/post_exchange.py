"""What a POST to the MCP endpoint means: which session a message belongs to (docs/reference/binding.md, section 10).

Modern era: one POST is one exchange, and closing the response cancels it. Handshake era: ``Mcp-Session-Id`` names the
session. The requester has been authenticated and authorized before; formats of answers are in :mod:`.post_response`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.lenient_json import error_code
from mcp_ws_ide.core.messages import NOTIFICATION, REQUEST, RESPONSE, Message
from mcp_ws_ide.errors import INVALID_REQUEST, LimitExceededError, MalformedMessageError
from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.post_headers import EVENT_STREAM, JSON, PostHead, header_problem
from mcp_ws_ide.handlers.post_response import (
    PendingResponse,
    Responder,
    ResponseWriter,
)
from mcp_ws_ide.handlers.requester import link_info, refusal, usable_server
from mcp_ws_ide.links.http import Exchange, HttpLink, Stream

PRIMED_SINCE: Final = "2025-11-25"
"""The first revision whose clients expect an event without data at the start of a stream."""
STATUS: Final = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}
"""HTTP status of a modern error response by its JSON-RPC code; every other one is 200."""
RETRY_AFTER: Final = "5"
"""Seconds after which a client that met a limit should try again (the header ``Retry-After``)."""


class PostExchange:
    """One request from a client over HTTP, and its response.

    Args:
        head: the request's head.
    """

    __slots__ = ("_head", "_responder", "_runtime", "writer")

    def __init__(self, responder: Responder, head: PostHead) -> None:
        self._responder = responder
        self._head = head
        self._runtime = responder.runtime
        self.writer = ResponseWriter(responder)

    async def run(self, name: str) -> None:
        """Pass on the POST's message to the server ``name``, and write the response."""
        response = self.begin(name)
        if response is not None:
            await self.writer.respond(response)

    def begin(self, name: str) -> PendingResponse | None:
        """Pass on the POST's message; return None if it needs no answer from a server and its response is complete.

        Raises:
            HTTPError: the message is refused.
        """
        server = usable_server(self._responder, name)
        body = self._responder.request.body
        self._check_media(server, len(body))
        message = self._read(server, body)
        if message is None:
            return None
        meta = messages.params_of(message).meta
        if meta is not None and len(memoryview(meta.version)):
            return self._modern(server, message)
        version = self._head.version
        if version is not None and version not in messages.HANDSHAKE_VERSIONS:
            return self._modern(server, message)
        return self._handshake_era(server, message)

    def _read(self, server: Server, body: bytes) -> Message | None:
        """Return the message in a body; if it cannot be read, respond with an error and return None."""
        try:
            if messages.is_text(body):
                return messages.parse(body)
        except MalformedMessageError:
            pass
        reading = reader.read_client(body)
        if reading.messages:
            return reading.messages[0]
        fault = reading.unreadable[0]
        raw_id = fault.ids[0] if len(fault.ids) == 1 and not fault.answer else b""
        if fault.answer and self._head.session_id is not None:
            self.known_session(server)[0].fail_answer(fault)
        self.writer.answer_error(raw_id, fault.code, fault.reason)
        return None

    def _check_media(self, server: Server, size: int) -> None:
        head, limit = self._head, self._runtime.gateway.message_limit(server.spec)
        if not head.declared_json:
            raise refusal(self._runtime, 415, "media", f"the Content-Type must be {JSON}")
        if not (head.takes_json or head.takes_events):
            raise refusal(self._runtime, 406, "media", f"Accept must contain {JSON} or {EVENT_STREAM}")
        if size > limit:
            message = f"the message has {size} bytes; at most {limit} are allowed (max_message_bytes)"
            raise refusal(self._runtime, 413, "max_message_bytes", message)

    # --- modern era -----------------------------------------------------------------------------

    def _modern(self, server: Server, message: Message) -> PendingResponse | None:
        problem = header_problem(self._head, message)
        if problem is not None:
            self.writer.answer_error(message.id, *problem)
            return None
        if message.kind is NOTIFICATION:  # the protocol defines none; a closed response cancels
            self.writer.accepted()
            return None
        if message.kind is RESPONSE:
            self.writer.answer_error(
                b"",
                INVALID_REQUEST,
                "servers of the modern era send no requests, so there is nothing to respond to",
            )
            return None
        if message.method == b'"subscriptions/listen"' and not self._head.takes_events:
            text = f"subscriptions/listen needs {EVENT_STREAM} in Accept"
            raise refusal(self._runtime, 406, "media", text)
        self._admit(brief=True)
        gateway, handed_out = self._runtime.gateway, self._runtime.gateway.handed_out
        alone = gateway.elsewhere is None
        exchange = Exchange(
            None if alone else partial(handed_out.note, self._responder.principal, server.name)
        )
        info = link_info(self._responder, "http")
        session = gateway.open_session(server, exchange, info)
        session.take(message, time.perf_counter())

        loop = gateway.loop

        def done() -> None:
            exchange.stream.finish()
            # not within the session's own delivery of the answer
            loop.call_soon(session.link_closed, CloseCode.NORMAL, "the HTTP exchange has ended")

        pending = session.core.pending.get(message.id_key)
        return PendingResponse(
            exchange.stream, self._head.takes_events, done, lambda: _status(exchange.error), pending
        )

    # --- handshake era --------------------------------------------------------------------------

    def _handshake_era(self, server: Server, message: Message) -> PendingResponse | None:
        if message.kind is REQUEST and message.method == b'"initialize"':
            session, link = self._new_session(server)
        else:
            session, link = self.known_session(server)
        link.last_used = time.monotonic()
        now = time.perf_counter()
        if message.kind is not REQUEST:
            session.take(message, now)
            self.writer.accepted()
            return None
        key = message.id_key
        if key in session.core.pending:
            text = f"the id {message.id.decode()} is used by a request in flight"
            self.writer.answer_error(b"", INVALID_REQUEST, text)
            return None
        stream = link.open_request(message)
        session.take(message, now)
        self._responder.set_header("Mcp-Session-Id", link.id)
        pending = session.core.pending.get(key)
        done = response_end(stream, link)
        status = partial(self._handshake_status, session, link)
        return PendingResponse(stream, self._head.takes_events, done, status, pending, self.primes)

    def _handshake_status(self, session: Session, link: HttpLink) -> int:
        """Return the HTTP status. Where the handshake has failed, no session is named: SDKs would try to end it."""
        if link.refused:
            self._responder.clear_header("Mcp-Session-Id")
            # not within the session's own delivery of the answer
            self._runtime.gateway.loop.call_soon(session.end, CloseCode.NORMAL, "initialize has failed")
        return 200

    @property
    def primes(self) -> bool:
        """Whether an event stream begins with an event without data: older clients take it for a message."""
        return (self._head.version or "") >= PRIMED_SINCE

    def _new_session(self, server: Server) -> tuple[Session, HttpLink]:
        self._admit()
        gateway = self._runtime.gateway
        link = HttpLink(gateway.limits.window_frames, gateway.limits.window_bytes, gateway.link_prefix)
        return gateway.open_http_session(server, link, link_info(self._responder, "http")), link

    def known_session(self, server: Server) -> tuple[Session, HttpLink]:
        """The session that ``Mcp-Session-Id`` names.

        Raises:
            HTTPError: 400, the header is missing; 409, the session has a WebSocket; 404, there is no such session,
                or it is another principal's or another server's.
        """
        responder, gateway = self._responder, self._runtime.gateway
        session_id = self._head.session_id
        if session_id is None:
            message = "the header Mcp-Session-Id is missing; send initialize first"
            raise refusal(self._runtime, 400, "session", message)
        other = gateway.sessions.get(session_id)
        if other is not None and other.info.principal == responder.principal:
            message = "this session belongs to a WebSocket; HTTP requests cannot use it"
            raise refusal(self._runtime, 409, "session", message)
        session = gateway.http_sessions.get(session_id)
        if (
            session is None
            or session.info.principal != responder.principal
            or session.server.name != server.name
            or session.info.tools
            != responder.token_tools  # a narrower token must not use a wider one's session
        ):
            raise refusal(self._runtime, 404, "session", "there is no such session; send initialize again")
        link = session.http_link
        assert link is not None
        return session, link

    def _admit(self, *, brief: bool = False) -> None:
        try:
            self._runtime.gateway.check_admission(self._responder.principal, brief=brief)
        except LimitExceededError as error:
            self._responder.error_headers["Retry-After"] = RETRY_AFTER
            raise refusal(self._runtime, 503, error.limit, str(error)) from None


def _status(error: bytes) -> int:
    """Return the HTTP status of a modern answer; ``error`` is its error, ``b""`` for a result."""
    return STATUS.get(error_code(error), 200) if error else 200


def response_end(stream: Stream, link: HttpLink) -> Callable[[], None]:
    """Return what to call when a response of a handshake-era session is over."""

    def done() -> None:
        stream.leave()
        link.last_used = time.monotonic()

    return done
