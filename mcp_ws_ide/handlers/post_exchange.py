"""What a POST to the MCP endpoint means, and how it is answered (docs/binding.md, section 10).

Modern: one POST, one exchange; closing the response cancels. Handshake era: ``Mcp-Session-Id``. Which session a
message belongs to and what becomes of it is decided below; here are media types, status codes and server-sent
events. Who asks, and whether they may, has been decided by whoever uses :class:`Posting`.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.effects import Pending
from mcp_ws_ide.core.lenient_json import error_code
from mcp_ws_ide.core.messages import Kind, Message
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import Watched
from mcp_ws_ide.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    LimitExceeded,
    MalformedMessage,
)
from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.auth import ServerLookup
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.http import Exchange, HttpLink, Stream

if TYPE_CHECKING:
    from asyncio import Future

    from tornado.httputil import HTTPServerRequest


PRIMED_SINCE: Final = "2025-11-25"
"""The first revision whose clients expect an event without data at the start of a stream."""
STATUS: Final = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}
"""HTTP status of a modern error answer by its JSON-RPC code; every other one is 200."""
NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The member of params that the header ``Mcp-Name`` repeats."""
COMMIT_AFTER: Final = 0.5
"""Seconds without any message after which a response becomes an event stream: till then an error may still
choose the status."""
START_PATIENCE: Final = 20.0
"""Seconds a server may take to start before a response becomes an event stream without having reached it."""
RETRY: Final = 500
"""Milliseconds after which a client that lost its event stream should ask for the rest."""
HEARTBEAT: Final = 15.0
"""Seconds between comments on a silent event stream."""
EVENT_STREAM: Final = "text/event-stream"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


@dataclass(frozen=True, slots=True)
class Owed:
    """What a request will be answered with.

    Attributes:
        streams: whether the client takes an event stream; if not, it gets the answer alone.
        statuses: HTTP status by error code.
        done: to be called when the response is over.
        pending: the request, while it waits for its answer.
        prime: what an event stream begins with.
    """

    stream: Stream
    streams: bool
    statuses: dict[int, int]
    done: Callable[[], None]
    pending: Pending | None = None
    prime: bytes = b""

    @property
    def reached(self) -> bool:
        """Whether the server has the request; not while it starts."""
        return self.pending is None or self.pending.sent > 0


class OpenResponse:
    """A response that lives only as long as the credential it was asked for with (:class:`Watched`)."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def closed(self) -> bool:
        """Whether it is over, or will be with what is queued."""
        return self._stream.last or not self._stream.reader

    def close(self, code: CloseCode, reason: str) -> None:
        """Nothing follows; HTTP has no place for code and reason."""
        self._stream.finish()


class Posting(ServerLookup):
    """Mixed into whatever has a request and can respond: Tornado's handlers, and :class:`RepeatedPost`."""

    _reading: Stream | None = None

    if TYPE_CHECKING:
        request: HTTPServerRequest
        error_headers: dict[str, str]
        token_id: str | None
        token_tools: ToolRules | None

        def set_status(self, status: int) -> None: ...
        def set_header(self, name: str, value: str) -> None: ...
        def clear_header(self, name: str) -> None: ...
        def write(self, data: bytes) -> None: ...
        def flush(self) -> Future[None]: ...
        def finish(self, data: bytes = ..., /) -> Any: ...
        def watch_credential(self, watched: Watched) -> None: ...

    # --- requests -------------------------------------------------------------------------------

    async def take(self, name: str) -> None:
        """One message of a client, answered."""
        owed = self.begin(name)
        if owed is not None:
            await self._respond(owed)

    def begin(self, name: str) -> Owed | None:
        """Hand one message of a client on; None if that was all, and it is answered already."""
        server = self.usable_server(name)
        self._check_media(server)
        body = self.request.body
        try:
            if not messages.is_text(body):
                raise MalformedMessage(PARSE_ERROR, "the body must be valid UTF-8")
            message = messages.parse(body)
        except MalformedMessage as error:
            self._answer_error(b"", error.code, error.reason)
            return None
        version = self.request.headers.get("MCP-Protocol-Version")
        meta = messages.params_of(message).meta
        if (meta is not None and len(memoryview(meta.version))) or version not in (
            None,
            *messages.HANDSHAKE_VERSIONS,
        ):
            return self._modern(server, message)
        return self._legacy(server, message)

    def _check_media(self, server: Server) -> None:
        headers, limit = self.request.headers, self.message_limit(server)
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise self.refuse(415, "media", "the Content-Type must be application/json")
        if not (self._accepts("application/json") or self._accepts(EVENT_STREAM)):
            raise self.refuse(406, "media", "Accept must contain application/json or text/event-stream")
        if len(self.request.body) > limit:
            raise self.refuse(
                413, "max_message_bytes", f"a message has at most {limit} bytes (max_message_bytes)"
            )

    def _accepts(self, media: str) -> bool:
        return bool(_accepted(self.request.headers.get("Accept", "*/*")) & _ranges(media))

    def _modern(self, server: Server, message: Message) -> Owed | None:
        problem = self._header_problem(message)
        if problem is not None:
            self._answer_error(message.id, *problem)
            return None
        if message.kind is Kind.NOTIFICATION:  # the protocol defines none; a closed response cancels
            self._accepted()
            return None
        if message.kind is Kind.RESPONSE:
            self._answer_error(b"", INVALID_REQUEST, "a server of this era asks nothing")
            return None
        streams = self._accepts(EVENT_STREAM)
        if message.method == b'"subscriptions/listen"' and not streams:
            raise self.refuse(406, "media", "subscriptions/listen needs text/event-stream in Accept")
        self._admit()
        exchange = Exchange()
        session = self.runtime.gateway.open_session(server, exchange, self._info("http"))
        session.take(message, time.perf_counter())

        def done() -> None:
            exchange.stream.finish()
            session.link_closed(CloseCode.NORMAL, "the exchange is over")

        return Owed(exchange.stream, streams, STATUS, done, session.core.pending.get(message.id_key))

    def _header_problem(self, message: Message) -> tuple[int, str] | None:
        """What is wrong with the headers that repeat the body (MCP 2026-07-28, streamable-http)."""
        headers = self.request.headers
        for header in ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"):
            if len(headers.get_list(header)) > 1:
                return HEADER_MISMATCH, f"the header {header} occurs twice"
        if message.kind is not Kind.REQUEST:
            return None
        meta = messages.params_of(message).meta
        version = bytes(meta.version) if meta is not None else b""
        if not version:
            words = (
                f'params._meta must hold "{messages.PROTOCOL_VERSION_KEY}", as the header says this version'
            )
            return INVALID_PARAMS, words
        if headers.get("MCP-Protocol-Version") != messages.text_in(version):
            return HEADER_MISMATCH, "the header MCP-Protocol-Version must equal the version in params._meta"
        if headers.get("Mcp-Method") != message.method_name:
            return HEADER_MISMATCH, "the header Mcp-Method must equal the method"
        member = NAMED_BY.get(message.method_name)
        if member is not None:
            named = messages.member(message.params, member)
            if named and _decoded(headers.get("Mcp-Name")) != messages.text_in(named):
                return HEADER_MISMATCH, f"the header Mcp-Name must equal params.{member}"
        return None

    def _legacy(self, server: Server, message: Message) -> Owed | None:
        if message.kind is Kind.REQUEST and message.method == b'"initialize"':
            session, link = self._new_session(server)
        else:
            session, link = self._known_session(server)
        link.last_used = time.monotonic()
        now = time.perf_counter()
        if message.kind is not Kind.REQUEST:
            session.take(message, now)
            self._accepted()
            return None
        if message.id_key in session.core.pending:
            self._answer_error(b"", INVALID_REQUEST, f"the id {message.id.decode()} is in flight")
            return None
        stream = link.open_request(message)
        session.take(message, now)
        self.set_header("Mcp-Session-Id", link.id)

        def done() -> None:
            stream.leave()
            link.last_used = time.monotonic()

        pending = session.core.pending.get(message.id_key)
        return Owed(stream, self._accepts(EVENT_STREAM), {}, done, pending, self._priming(stream))

    def _priming(self, stream: Stream) -> bytes:
        """An event without data, whose id lets a client that loses the stream at once ask for the rest (MCP
        2025-11-25, streamable-http); clients of earlier revisions take its data for a message."""
        if self.request.headers.get("MCP-Protocol-Version", "") < PRIMED_SINCE:
            return b""
        return b"id: %b.%d\nretry: %d\ndata: \n\n" % (
            stream.name.encode(),
            stream.numbered - len(stream),
            RETRY,
        )

    def _new_session(self, server: Server) -> tuple[Session, HttpLink]:
        self._admit()
        limits = self.runtime.gateway.limits
        link = HttpLink(limits.window_frames, limits.window_bytes)
        return self.runtime.gateway.open_http_session(server, link, self._info("http")), link

    def _known_session(self, server: Server) -> tuple[Session, HttpLink]:
        """The session that ``Mcp-Session-Id`` names; another user's, or another server's, reads as unknown."""
        given, gateway = self.request.headers.get("Mcp-Session-Id"), self.runtime.gateway
        if given is None:
            raise self.refuse(400, "session", "the header Mcp-Session-Id is missing: send initialize first")
        other = gateway.sessions.get(given)
        if other is not None and other.info.principal == self.principal:
            raise self.refuse(409, "session", "this session belongs to a WebSocket; the two never mix")
        session = gateway.http_sessions.get(given)
        if (
            session is None
            or session.info.principal != self.principal
            or session.server.name != server.name
            or session.info.tools != self.token_tools  # a narrower token must not use what a wider one opened
        ):
            raise self.refuse(404, "session", "there is no such session: send initialize again")
        link = session.http_link
        assert link is not None
        return session, link

    def _admit(self) -> None:
        try:
            self.runtime.gateway.check_admission(self.principal)
        except LimitExceeded as error:
            self.error_headers["Retry-After"] = "5"
            raise self.refuse(503, error.limit, str(error)) from None

    def _info(self, link: str) -> LinkInfo:
        agent = self.request.headers.get("User-Agent", "")[:200]
        return LinkInfo(
            self.principal,
            self.request.remote_ip or "",
            agent,
            token_id=self.token_id,
            tools=self.token_tools,
            link=link,
        )

    # --- answers --------------------------------------------------------------------------------

    async def _respond(self, owed: Owed, patience: float = COMMIT_AFTER, committed: bool = False) -> None:
        """Write a stream: as JSON if the answer is all there is, else as events.

        Args:
            patience: seconds the first event may take before the response becomes an event stream.
            committed: whether it is one already.
        """
        self._reading = stream = owed.stream
        watched, watching = OpenResponse(stream), committed
        if committed:
            self.watch_credential(watched)
        patient_until = time.monotonic() + START_PATIENCE
        try:
            while True:
                event = await stream.next(HEARTBEAT if committed or not owed.streams else patience)
                if not stream.reader:
                    return
                if event is None and stream.last:
                    break
                final = stream.last and not len(stream)
                if event is not None and final and not committed:
                    return self._answer(event[1], owed.statuses)
                if not watching:  # it takes its time, in which the credential may end
                    self.watch_credential(watched)
                    watching = True
                starting = event is None and not owed.reached and time.monotonic() < patient_until
                if not owed.streams or (starting and not committed):
                    patience = COMMIT_AFTER
                    continue
                if not committed:
                    self._commit()
                    self.write(owed.prime)
                    committed = True
                self.write(b": working\n\n" if event is None else _event(*event))
                await self.flush()
            if not committed:
                raise self.refuse(502, "server", "the session ended without an answer")
            self.finish()
        except StreamClosedError:
            pass
        finally:
            self._reading = None
            owed.done()

    def client_left(self) -> None:
        """Wake whoever writes to a client that is gone."""
        if self._reading is not None:
            self._reading.leave()

    def _commit(self) -> None:
        self.set_header("Content-Type", EVENT_STREAM)
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")

    def _answer(self, data: bytes, statuses: dict[int, int]) -> None:
        if statuses and (error := messages.parse(data).error):
            self.set_status(statuses.get(error_code(error), 200))
        self.set_header("Content-Type", "application/json")
        self.finish(data)

    def _answer_error(self, raw_id: bytes, code: int, words: str) -> None:
        self.runtime.gateway.metrics.refusals["message"] += 1
        self.set_status(400)
        self.set_header("Content-Type", "application/json")
        self.finish(messages.error_response(raw_id, code, words))

    def _accepted(self) -> None:
        self.set_status(202)
        self.clear_header("Content-Type")
        self.finish()


@lru_cache(maxsize=64)
def _accepted(header: str) -> frozenset[str]:
    """The media ranges that an ``Accept`` names."""
    return frozenset(part.partition(";")[0].strip().lower() for part in header.split(","))


@cache
def _ranges(media: str) -> frozenset[str]:
    """Those that admit a media type."""
    return frozenset({media, "*/*", media.partition("/")[0] + "/*"})


def _event(event_id: str, data: bytes) -> bytes:
    """A server-sent event; one line of data, as JSON may be written without line breaks."""
    head = b"id: %b\n" % event_id.encode() if event_id else b""
    return head + b"event: message\ndata: " + messages.one_line(data) + b"\n\n"


def _decoded(header: str | None) -> str | None:
    """A header value, unwrapped from ``=?base64?…?=`` where it needs more than printable ASCII."""
    found = _ENCODED.fullmatch(header or "")
    if found is None:
        return header
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
