"""Remote servers over Streamable HTTP, in both eras (MCP 2026-07-28 and 2025-11-25, basic/transports).

Looks at each message. A request with a protocol version in ``_meta`` is modern: one POST, its headers mirrored,
its response closed to cancel it; the attachment has no state and survives every failure. Any other belongs to the
handshake era: ``initialize`` opens a session, messages leave in order, a GET carries what belongs to no request,
and a response that broke off is resumed by ``Last-Event-ID``. A request that gets no answer of the server gets an
error in words, with its outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from typing import Any, Final

import httpx2
import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.era import PROBE_ID
from mcp_ws_ide.core.messages import IdKey, Kind, Message
from mcp_ws_ide.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    UPSTREAM_LOST,
    UPSTREAM_UNAVAILABLE,
    MalformedMessage,
)
from mcp_ws_ide.transports import batch
from mcp_ws_ide.transports.base import Receiver
from mcp_ws_ide.transports.lines import over_limit, printable, too_large
from mcp_ws_ide.transports.mirrored import MirroredHeaders
from mcp_ws_ide.transports.remote import (
    DEFAULT_BOUNDS,
    DISCOVER,
    ERROR_BYTES,
    EVENT_STREAM,
    JSON,
    Bounds,
    Remote,
    RemoteTransport,
    RequestFailed,
    backoff,
    media_of,
    read_body,
    status_words,
)
from mcp_ws_ide.transports.tasked import CLOSE_TIMEOUT, within

MIN_RETRY: Final = 0.1
MAX_RETRY: Final = 30.0
"""Shortest and longest delay, in seconds, that a server may ask for with ``retry``."""
STEADY: Final = 5.0
"""Seconds after which an event stream counts as one that worked: the next delay is a short one again."""
MAX_PAGES: Final = 20
"""Pages of a tool list that are asked for on a call's behalf."""
OPENING_TIMEOUT: Final = 5.0
"""Seconds for which an ``initialize`` that has left is waited for at the end, so that its session can be ended."""
TAKEN_TIMEOUT: Final = 10.0
"""Seconds for which a notification may hold up what follows it."""
CANCELLED: Final = b'"notifications/cancelled"'

_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_EVENT_ID: Final = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")
_VERSION: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")


class _Initialized(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")


class _Relist(Exception):
    """A call was refused for headers that only a tool list tells of."""


class _Exchange:
    """One message on its way, and the response that belongs to it."""

    __slots__ = (
        "answered",
        "last_event",
        "left",
        "message",
        "own",
        "queued",
        "relisted",
        "result",
        "retry",
        "taken",
        "task",
        "version",
    )

    def __init__(self, message: Message, version: str | None, own: bool = False) -> None:
        self.message = message
        self.own = own
        """It is the transport's: its answer goes to nobody else."""
        self.result = b""
        """The answer of such a one."""
        self.relisted = False
        """The server refused its headers once, and the tools were listed since."""
        self.version = version
        """Of the protocol, where the message is modern; None in the handshake era."""
        self.queued = 0 if own else len(message.data)
        self.left = asyncio.Event()
        """The request has left, or never will."""
        self.taken = asyncio.Event()
        """The head of its response is there, or will never be."""
        self.answered = message.kind is not Kind.REQUEST
        self.last_event = ""
        self.retry: float | None = None
        self.task: asyncio.Task[Any] | None = None


class HttpTransport(RemoteTransport):
    """One attachment to a Streamable HTTP server; a message over the limit becomes an error of its request."""

    kind = "http"

    def __init__(self, remote: Remote, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(remote, bounds)
        self._mirrored = MirroredHeaders()
        self._exchanges: dict[IdKey, _Exchange] = {}
        self._ordered: deque[_Exchange] = deque()
        self._ordering = False
        self._queued = 0
        self._reached = False
        self._handshake = False
        self._session = ""
        self._version = ""
        self._listening: asyncio.Task[Any] | None = None

    async def connect(self, receiver: Receiver) -> None:
        """Nothing to open: the first request shows whether the server is there. Only an authorization is waited
        for, before anything waits for an answer."""
        await self._remote.prepare("POST", {"Content-Type": JSON, "Accept": f"{JSON}, {EVENT_STREAM}"}, _PING)
        self._receiver = receiver

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Begin a POST, or queue it behind those it must not overtake; see :meth:`Transport.send`."""
        self._check_open()
        parsed = messages.parse(message)
        params = messages.params_of(parsed)
        version = _text(bytes(params.meta.version)) if params.meta is not None else None
        if parsed.method == CANCELLED and self._cancel(bytes(params.request_id)):
            return
        if version is None and not self._handshake and not _begins(parsed):
            if parsed.kind is Kind.REQUEST:
                self._handshake = True
            else:
                return self._noise("a message that no POST of this era carries was not sent")
        self._handshake = self._handshake or _begins(parsed)
        exchange = _Exchange(parsed, version if parsed.kind is Kind.REQUEST else None)
        if self._queued + exchange.queued > self._max_queued:
            return self._refuse(exchange)
        self._enqueue(exchange)

    def _cancel(self, raw_id: bytes) -> bool:
        """Wait no longer for a request; a modern one is cancelled by closing its response. Returns whether nothing
        is left to be sent."""
        try:
            exchange = self._exchanges.get(messages.decode_id(raw_id or b"null"))
        except (MalformedMessage, TypeError):
            exchange = None
        if exchange is None:
            return not self._handshake
        exchange.answered = True
        if exchange.version is None:
            return False
        if exchange.task is not None:
            exchange.task.cancel()
        return True

    def _refuse(self, exchange: _Exchange) -> None:
        words = f"{self._queued} bytes wait for {self._where} already"
        if exchange.message.kind is Kind.REQUEST:
            self._answer_error(exchange, LIMIT_EXCEEDED, words, sent=False)
        else:
            self._noise(f"a message was not sent: {words}")

    def _enqueue(self, exchange: _Exchange) -> None:
        self._queued += exchange.queued
        if exchange.message.kind is Kind.REQUEST:
            self._exchanges[exchange.message.id_key] = exchange
        if exchange.version is not None:
            self._start(exchange)
        else:
            self._ordered.append(exchange)
            if not self._ordering:
                self._ordering = True
                self._spawn(self._send_in_order(), "order")
        self._check_flow()

    def _start(self, exchange: _Exchange) -> asyncio.Task[Any]:
        exchange.task = self._tasks.spawn(self._run(exchange), f"post {self._where}")
        return exchange.task

    async def _send_in_order(self) -> None:
        """Handshake era. A request may take its time once it has left; ``initialize`` is waited for, and of
        notifications the head of the response, for a while, so that nothing overtakes them."""
        while self._ordered:
            exchange = self._ordered.popleft()
            task = self._start(exchange)
            if _begins(exchange.message):
                await asyncio.wait([task])
            elif exchange.message.kind is Kind.REQUEST:
                await exchange.left.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TAKEN_TIMEOUT):
                        await exchange.taken.wait()
        self._ordering = False

    def _has_left(self, exchange: _Exchange) -> None:
        if exchange.left.is_set():
            return
        exchange.left.set()
        self._queued -= exchange.queued
        self._check_flow()

    @property
    def queued_bytes(self) -> int:
        """Bytes that have not left yet."""
        return self._queued

    # --- one exchange ---------------------------------------------------------------------------

    async def _run(self, exchange: _Exchange) -> None:
        message = exchange.message
        try:
            try:
                await self._post(exchange)
            except _Relist:
                await self._list_tools(exchange)
                await self._post(exchange)
            except RequestFailed:
                if not exchange.last_event:
                    raise
            if not exchange.answered:
                await self._resume(exchange)
        except RequestFailed as failure:
            self._failed(exchange, failure)
        except Exception:
            self._answer_error(
                exchange, INTERNAL_ERROR, "internal error of the gateway; its log says more", sent=True
            )
            raise
        finally:
            self._has_left(exchange)
            exchange.taken.set()
            if message.kind is Kind.REQUEST and self._exchanges.get(message.id_key) is exchange:
                del self._exchanges[message.id_key]

    async def _post(self, exchange: _Exchange) -> None:
        message = exchange.message
        headers = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENT_STREAM}"}
        if exchange.version is not None:
            headers |= self._mirrored.of(message, exchange.version)
        elif _begins(message):
            await self._end_session()
        else:
            headers |= self._session_headers()
        endless = message.method == b'"subscriptions/listen"'
        opened = self._remote.open(
            "POST", headers, content=message.data, endless=endless, on_sent=lambda: self._has_left(exchange)
        )
        async with opened as response:
            self._reached = self._reached or response.status_code < 400
            exchange.taken.set()
            if message.method == b'"notifications/initialized"' and self._listening is None:
                self._listening = self._spawn(self._listen(), "listen")
            await self._read(exchange, response)

    async def _list_tools(self, exchange: _Exchange) -> None:
        """Learn which arguments a call must repeat in headers: nobody may have listed the tools here before."""
        assert exchange.version is not None
        meta = messages.with_member(messages.member(exchange.message.params, "_meta"), "progressToken", b"")
        params = b'{"_meta":%b}' % meta
        for _ in range(MAX_PAGES):
            request = b'{"jsonrpc":"2.0","id":"tools","method":"tools/list","params":%b}' % params
            listing = _Exchange(messages.parse(request), exchange.version, own=True)
            await self._post(listing)
            answer = messages.parse(listing.result) if listing.result else None
            cursor = messages.member(answer.result, "nextCursor") if answer and answer.result else b""
            if cursor in (b"", b"null"):
                return
            params = b'{"_meta":%b,"cursor":%b}' % (meta, cursor)

    def _session_headers(self) -> dict[str, str]:
        headers = {"Mcp-Session-Id": self._session} if self._session else {}
        return {**headers, "MCP-Protocol-Version": self._version} if self._version else headers

    async def _read(self, exchange: _Exchange, response: httpx2.Response) -> None:
        status, media = response.status_code, media_of(response)
        if _opens(exchange) and status < 300:
            self._session = self._session_of(response)
            if self._closing is not None:
                return  # only the session was waited for, to be ended
        if status >= 300:
            return await self._read_error(exchange, response)
        if media == EVENT_STREAM:
            return await self._read_events(exchange, response)
        if exchange.answered:
            return  # 202: whatever else it says, nobody waits for it
        if media != JSON or status in (202, 204):
            words = f"{self._where} answered {status} with {media[:60]!r} in place of JSON"
            raise RequestFailed(words, sent=True)
        body = await read_body(response, self._max_message, self._remote.read_timeout)
        if body is None:
            return self._too_large(exchange, "the answer")
        await self._reading.wait()
        await self._take_body(exchange, messages.one_line(body.strip()))
        if not exchange.answered:
            raise RequestFailed(f"{self._where} answered with what is no answer to the request", sent=True)

    def _session_of(self, response: httpx2.Response) -> str:
        found = str(response.headers.get("mcp-session-id", ""))
        if found and not _SESSION_ID.fullmatch(found):
            raise RequestFailed(f"{self._where} gave an unusable Mcp-Session-Id", sent=True)
        return found

    async def _read_error(self, exchange: _Exchange, response: httpx2.Response) -> None:
        status = response.status_code
        body = await read_body(response, ERROR_BYTES, self._remote.read_timeout) or b""
        if status == 404 and exchange.version is None and self._session and not _begins(exchange.message):
            self._answer_error(exchange, UPSTREAM_LOST, self._gone_words(), sent=False)
            return self._begin_close(self._gone_words())
        if not exchange.answered and media_of(response) == JSON and status not in (401, 403):
            self._take_error(exchange, body)
        if not exchange.answered:
            words = status_words(self._where, status, body)
            raise RequestFailed(words, sent=status >= 500, status=status)
        if exchange.message.kind is not Kind.REQUEST:
            self._noise(f"a message was not taken: {status_words(self._where, status, body)}")

    def _take_error(self, exchange: _Exchange, body: bytes) -> None:
        """An error that the server wrote passes as it is; servers that could not read the id leave it out."""
        with contextlib.suppress(MalformedMessage):
            error = messages.parse(body)
            if error.error:
                self._check_mismatch(exchange, error)
                self._answer(exchange, messages.with_id(error, exchange.message.id).data)

    def _check_mismatch(self, exchange: _Exchange, error: Message) -> None:
        """Raises :class:`_Relist` where headers are missing that a tool list would tell of: nothing has run."""
        if exchange.version is None or exchange.relisted or exchange.message.method != b'"tools/call"':
            return
        if messages.member(error.error, "code") == b"%d" % HEADER_MISMATCH:
            exchange.relisted = True
            raise _Relist

    def _gone_words(self) -> str:
        return f"{self._where} does not know the session any more (404)"

    # --- what the server says -------------------------------------------------------------------

    async def _read_events(self, exchange: _Exchange | None, response: httpx2.Response) -> None:
        """Until the answer, or until the stream ends."""
        # The size of an event counts its field names too; some room for them.
        limit = self._max_message + 1024
        try:
            async for event in httpx2.EventSource(response, max_event_size=limit):
                await self._reading.wait()
                if exchange is not None:
                    exchange.last_event = _event_id(event.id) if event.id else exchange.last_event
                    exchange.retry = _retry(event, exchange.retry)
                if event.event == "message" and event.data:
                    await self._take_body(exchange, messages.one_line(event.data.encode()))
                if exchange is not None and exchange.answered and exchange.message.kind is Kind.REQUEST:
                    return
        except httpx2.SSEError:
            self._noise(f"an event was dropped, {over_limit(self._max_message)}")
            if exchange is not None:
                return self._too_large(exchange, "an event of the answer")
            raise

    async def _take_body(self, exchange: _Exchange | None, data: bytes) -> None:
        """One message, or a batch of the revision that had them."""
        if data[:1] != b"[":
            return self._take(exchange, data)
        try:
            for item in batch.items(data):
                self._take(exchange, item)
                await asyncio.sleep(0)  # others want their turn, and the receiver may have had enough
                await self._reading.wait()
        except ValueError as error:
            self._noise(f"what is no batch of messages was dropped ({error}): {printable(data[:200])}")

    def _take(self, exchange: _Exchange | None, data: bytes) -> None:
        """One message."""
        try:
            if not messages.is_text(data):
                raise MalformedMessage(INTERNAL_ERROR, "not UTF-8")
            message = messages.parse(data)
        except MalformedMessage as error:
            self._noise(f"what is no JSON-RPC message was dropped ({error}): {printable(data[:200])}")
            return
        if message.kind is not Kind.RESPONSE:
            self._deliver(data)
        elif exchange is not None and _same_id(message.id, exchange.message.id):
            self._note_answer(exchange, message)
            self._answer(exchange, data)
        else:
            self._noise(
                f"an answer with the id {printable(message.id[:80])}, which was not asked for, was dropped"
            )

    def _note_answer(self, exchange: _Exchange, answer: Message) -> None:
        if exchange.version is not None:
            if exchange.message.method == b'"tools/list"' and answer.result:
                self._mirrored.learn(answer)
        elif _begins(exchange.message) and answer.result:
            with contextlib.suppress(msgspec.DecodeError, RecursionError):
                version = msgspec.json.decode(answer.result, type=_Initialized).version
                self._version = version if _VERSION.fullmatch(version) else ""

    def _answer(self, exchange: _Exchange, data: bytes) -> None:
        if not exchange.answered:
            exchange.answered = True
            if exchange.own:
                exchange.result = data
            else:
                self._deliver(data)

    def _too_large(self, exchange: _Exchange, what: str) -> None:
        self._answer(exchange, too_large(exchange.message.id, what, self._max_message))

    def _answer_error(self, exchange: _Exchange, code: int, words: str, *, sent: bool) -> None:
        outcome = {"outcome": "unknown" if sent else "not_sent"}
        self._answer(exchange, messages.error_response(exchange.message.id, code, words, outcome))

    def _failed(self, exchange: _Exchange, failure: RequestFailed) -> None:
        """What a request gets that got no answer; the attachment goes on where there is one."""
        words, message = str(failure), exchange.message
        if message.kind is not Kind.REQUEST:
            return self._noise(f"a message was not taken: {words}")
        if not self._reached and message.method == DISCOVER and message.id == PROBE_ID:
            if failure.refused or not failure.status:
                # Whoever asks what is there must not take silence for the answer of an older server.
                return self._begin_close(words)
            if failure.of_older_server:
                return self._answer_error(exchange, METHOD_NOT_FOUND, words, sent=False)
        self._answer_error(
            exchange, UPSTREAM_LOST if failure.sent else UPSTREAM_UNAVAILABLE, words, sent=failure.sent
        )
        if _opens(exchange):
            self._begin_close(words)

    # --- streams that outlive a response (handshake era) ------------------------------------------

    async def _resume(self, exchange: _Exchange) -> None:
        """The response ended before the answer: ask for the rest where the server can replay it."""
        loop, attempt = asyncio.get_running_loop(), 0
        broken = f"{self._where} ended the response before the answer"
        if exchange.version is not None or not exchange.last_event:
            raise RequestFailed(broken, sent=True)
        deadline = loop.time() + self._reconnect_timeout
        while not exchange.answered:
            attempt += 1
            await asyncio.sleep(exchange.retry if exchange.retry is not None else backoff(attempt))
            seen = exchange.last_event
            try:
                await self._replay(exchange)
            except RequestFailed as failure:
                if failure.status:
                    raise
                broken = str(failure)
            if exchange.last_event != seen:
                deadline, attempt = loop.time() + self._reconnect_timeout, 0
            if loop.time() > deadline:
                raise RequestFailed(
                    f"{broken}; it was not resumed within {self._reconnect_timeout:g} s", sent=True
                )

    async def _replay(self, exchange: _Exchange) -> None:
        headers = self._session_headers() | {"Accept": EVENT_STREAM, "Last-Event-ID": exchange.last_event}
        async with self._remote.open("GET", headers) as response:
            status = response.status_code
            if status == 404 and self._session:
                self._answer_error(exchange, UPSTREAM_LOST, self._gone_words(), sent=True)
                return self._begin_close(self._gone_words())
            if 400 <= status < 500 or (status < 300 and media_of(response) != EVENT_STREAM):
                words = f"{self._where} ended the response before the answer and cannot replay it ({status})"
                raise RequestFailed(words, sent=True, status=status)
            if status < 300:
                await self._read_events(exchange, response)

    async def _listen(self) -> None:
        """The GET of a session: what belongs to no request. Comes back as long as the session lives."""
        state, attempt, opened = _Exchange(messages.parse(_NOTHING), None), 0, False
        loop = asyncio.get_running_loop()
        while self._closing is None:
            headers = {"Accept": EVENT_STREAM, **self._session_headers()}
            if state.last_event:
                headers["Last-Event-ID"] = state.last_event
            began = loop.time()
            try:
                async with self._remote.open("GET", headers, endless=True) as response:
                    status = response.status_code
                    if status == 404 and opened and self._session:
                        return self._begin_close(self._gone_words())
                    if 300 <= status < 500 or (status < 300 and media_of(response) != EVENT_STREAM):
                        return None  # 405: this server says nothing on its own
                    if status < 300:
                        opened = True
                        await self._read_events(state, response)
            except RequestFailed as failure:
                self._noise(f"the event stream broke: {failure}")
            attempt = 1 if loop.time() - began > STEADY else attempt + 1
            await asyncio.sleep(max(state.retry or 0.0, backoff(attempt)))

    async def _finish(self) -> None:
        """A session whose id is still on its way would stay open at the server, for nobody."""
        opening = [e.task for e in self._exchanges.values() if e.task and e.left.is_set() and _opens(e)]
        if opening:
            await asyncio.wait(opening, timeout=OPENING_TIMEOUT)

    async def _hang_up(self) -> None:
        await self._end_session()
        await super()._hang_up()

    async def _end_session(self) -> None:
        """Tell the server, if there is a session and the server still knows it."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        if self._session and self._fault != self._gone_words():
            await within(CLOSE_TIMEOUT, self._delete())
        self._session = self._version = ""

    async def _delete(self) -> None:
        with contextlib.suppress(RequestFailed):
            async with self._remote.open("DELETE", self._session_headers()):
                pass


_NOTHING: Final = b'{"jsonrpc":"2.0","method":"nothing"}'
_PING: Final = b'{"jsonrpc":"2.0","id":"ping","method":"ping"}'
"""Sent without a token, to be told where one is to be had."""


def _begins(message: Message) -> bool:
    return message.kind is Kind.REQUEST and message.method == b'"initialize"'


def _opens(exchange: _Exchange) -> bool:
    """Whether it begins a session of the handshake era."""
    return exchange.version is None and _begins(exchange.message)


def _event_id(given: str) -> str:
    """As it may be sent back in a header, in UTF-8 (WHATWG HTML, server-sent events); ``""`` for one that cannot,
    after which nothing can be resumed."""
    return given if _EVENT_ID.fullmatch(given) and given == given.strip() else ""


def _retry(event: httpx2.ServerSentEvent, known: float | None) -> float | None:
    """In seconds; ``event.retry`` is a number of milliseconds of any size."""
    bounds = int(MIN_RETRY * 1000), int(MAX_RETRY * 1000)
    return known if event.retry is None else min(max(event.retry, bounds[0]), bounds[1]) / 1000


def _same_id(one: bytes, other: bytes) -> bool:
    """Whether two raw ids are one: ``7`` is not ``"7"``."""
    try:
        return messages.decode_id(one) == messages.decode_id(other)
    except MalformedMessage:
        return False


def _text(raw: bytes) -> str | None:
    """A version; what is no text is left to the server to refuse."""
    if not raw:
        return None
    try:
        return str(msgspec.json.decode(raw))
    except msgspec.DecodeError:
        return ""
