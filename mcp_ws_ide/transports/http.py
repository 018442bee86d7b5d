"""Remote servers over Streamable HTTP, in both eras (MCP 2026-07-28 and 2025-11-25, basic/transports).

A request with a protocol version in ``_meta`` is modern: one POST, with its headers mirrored; closing its response
cancels it; the attachment has no state and survives every failure. Any other message belongs to the handshake era:
``initialize`` opens a session, messages leave in order, a GET carries what belongs to no request, and a broken response
is resumed by ``Last-Event-ID``. A request that the server does not answer gets an error that states its outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any, Final

import httpx2
import msgspec

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.era import PROBE_ID
from mcp_ws_ide.core.handshake import INITIALIZED
from mcp_ws_ide.core.lenient_json import items_of, members_of, text_of
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.core.pages import Pages
from mcp_ws_ide.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    UPSTREAM_LOST,
    UPSTREAM_UNAVAILABLE,
    MalformedMessageError,
)
from mcp_ws_ide.transports.base import Receiver
from mcp_ws_ide.transports.http_exchange import Exchange, is_initialize
from mcp_ws_ide.transports.http_renewal import Renewal, SessionForgottenError, is_forgotten
from mcp_ws_ide.transports.http_responses import LISTEN, ResponseReader
from mcp_ws_ide.transports.http_session import HandshakeSession
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
    RequestFailedError,
    body_text,
    media_type,
    read_body,
    status_message,
)
from mcp_ws_ide.transports.tasked import CLOSE_TIMEOUT, INTERNAL_ERROR_REASON, backoff, within

STEADY: Final = 5.0
"""Seconds after which an event stream counts as having worked, so that the next delay is short again."""
MAX_PAGES: Final = 20
"""Maximum number of pages of a tool list that are requested for one call."""
OPENING_TIMEOUT: Final = 5.0
"""Seconds that closing waits for the answer to an ``initialize`` that has left, to end its session."""
NOTIFICATION_TIMEOUT: Final = 10.0
"""Seconds for which a notification can hold up the messages after it."""
POST_HEADERS: Final = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENT_STREAM}"}
CANCELLED: Final = b'"notifications/cancelled"'
TOOLS_CALL: Final = b'"tools/call"'
TOOLS_LIST: Final = b'"tools/list"'
_PING: Final = b'{"jsonrpc":"2.0","id":"ping","method":"ping"}'
"""Sent without a token, to learn where one can be obtained."""
_NO_REQUEST: Final = b'{"jsonrpc":"2.0","method":"nothing"}'
"""Placeholder message for the GET of a session, which carries no request."""


class _ToolsUnknownError(Exception):
    """The server refused a call for headers that only its tool list describes."""


class HttpTransport(RemoteTransport):
    """One attachment to a Streamable HTTP server; a message over the limit becomes an error of its request."""

    kind = "http"

    def __init__(self, remote: Remote, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(remote, bounds)
        self._mirrored = MirroredHeaders()
        self._session = HandshakeSession(remote)
        self._renewal = self.keeper = Renewal(self._session, self._post, self._noise)
        self._exchanges: dict[IdKey, Exchange] = {}
        self._responses = ResponseReader(
            self._deliver, self._noise, self._note_answer, self._exchanges, self._reading, self._max_message
        )
        self._ordered: deque[Exchange] = deque()
        self._ordering = False
        self._queued = 0
        self._reached = False
        """Whether the server has accepted any request."""
        self._handshake_era = False
        """Whether any message of the handshake era was sent."""
        self._listening: asyncio.Task[Any] | None = None

    async def connect(self, receiver: Receiver) -> None:
        """Obtain an authorization if needed; the first request shows whether the server is there."""
        await self._remote.prepare("POST", POST_HEADERS, _PING)
        self._receiver, self._handshake_era = receiver, self._renewal.restored
        self._listening = self._spawn(self._listen(), "listen") if self._renewal.restored else None

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Begin a POST, or queue it behind those it must not overtake; see :meth:`Transport.send`."""
        self._check_open()
        parsed = messages.parse(message)
        version = _modern_version(parsed)
        if parsed.method == CANCELLED and self._cancel(bytes(messages.params_of(parsed).request_id)):
            return
        exchange = Exchange(parsed, version, self._deliver, queued=len(message))
        if not exchange.is_request:
            exchange.version = None
            if version is None and not self._handshake_era:
                return self._noise(
                    "a message was not sent: over HTTP, servers of the modern era accept only requests"
                )
        elif version is None or is_initialize(parsed):
            self._handshake_era = True
            self._renewal.note(parsed)
        if self._queued + exchange.queued > self._max_queued:
            return self._refuse(exchange)
        self._enqueue(exchange)

    def _cancel(self, raw_id: bytes) -> bool:
        """Stop waiting for a request; return whether nothing has to be sent.

        Closing the response of a modern request cancels it.
        """
        exchange = None
        with contextlib.suppress(MalformedMessageError, TypeError):
            exchange = self._exchanges.get(messages.decode_id(raw_id or b"null"))
        if exchange is None:
            return not self._handshake_era
        exchange.answered = True
        if exchange.version is None:
            return False
        if exchange.task is not None:
            exchange.task.cancel()
        return True

    def _refuse(self, exchange: Exchange) -> None:
        reason = f"{self._queued} bytes are already queued for {self._where}"
        if not exchange.is_request:
            return self._noise(f"a message was not sent: {reason}")
        exchange.fail(LIMIT_EXCEEDED, reason, sent=False)

    def _enqueue(self, exchange: Exchange) -> None:
        self._queued += exchange.queued
        if exchange.is_request:
            self._exchanges[exchange.message.id_key] = exchange
        if exchange.version is not None:
            self._start(exchange)
        else:
            self._ordered.append(exchange)
            if not self._ordering:
                self._ordering = True
                self._spawn(self._send_in_order(), "order")
        self._check_flow()

    def _start(self, exchange: Exchange) -> asyncio.Task[Any]:
        exchange.task = self._tasks.spawn(self._run(exchange), f"post {self._where}")
        return exchange.task

    async def _send_in_order(self) -> None:
        """Send messages of the handshake era one after the other.

        The next one leaves after ``initialize`` is answered, after any other request has left, or, for a while, after
        the server has responded to a notification.
        """
        while self._ordered:
            exchange = self._ordered.popleft()
            task = self._start(exchange)
            if is_initialize(exchange.message):
                await asyncio.wait([task])
            elif exchange.is_request:
                await exchange.left.wait()
            else:
                await within(NOTIFICATION_TIMEOUT, exchange.responded.wait())
        self._ordering = False

    def _has_left(self, exchange: Exchange) -> None:
        if not exchange.left.is_set():
            exchange.left.set()
            self._queued -= exchange.queued
            self._check_flow()

    @property
    def queued_bytes(self) -> int:
        """Bytes of requests that have not left yet."""
        return self._queued

    # --- one exchange ---------------------------------------------------------------------------

    async def _run(self, exchange: Exchange) -> None:
        try:
            try:
                await self._post(exchange)
            except _ToolsUnknownError:
                await self._list_tools(exchange)
                await self._post(exchange)
            except SessionForgottenError as forgotten:
                await self._renewal.renew(forgotten.session, str(forgotten))
                if not exchange.answered:
                    await self._post(exchange)
            except RequestFailedError:
                if not exchange.last_event:
                    raise
            if not exchange.answered:
                await self._resume(exchange)
        except RequestFailedError as failure:
            await self._failed(exchange, failure)
        except Exception:
            exchange.fail(INTERNAL_ERROR, INTERNAL_ERROR_REASON, sent=True)
            raise
        finally:
            self._has_left(exchange)
            exchange.responded.set()
            if exchange.is_request and self._exchanges.get(exchange.message.id_key) is exchange:
                del self._exchanges[exchange.message.id_key]

    async def _post(self, exchange: Exchange) -> None:
        message = exchange.message
        headers = dict(POST_HEADERS)
        if exchange.version is not None:
            headers |= self._mirrored.of(message, exchange.version)
        elif is_initialize(message):
            await self._end_session()
        else:
            await self._renewal.settled()
            exchange.session = self._session.id
            headers |= self._session.headers()
        request = self._remote.open(
            "POST",
            headers,
            content=message.data,
            endless=message.method == LISTEN,
            on_sent=lambda: self._has_left(exchange),
        )
        async with request as response:
            self._reached = self._reached or response.status_code < 400
            exchange.responded.set()
            if message.method == INITIALIZED and self._listening is None:
                self._listening = self._spawn(self._listen(), "listen")
            await self._read(exchange, response)

    async def _list_tools(self, exchange: Exchange) -> None:
        """Learn which arguments of a call must be repeated in headers; the tools may not have been listed yet."""
        assert exchange.version is not None
        meta = messages.with_member(messages.member(exchange.message.params, "_meta"), "progressToken", b"")
        params = b'{"_meta":%b}' % meta
        pages = Pages(MAX_PAGES)
        while True:
            request = b'{"jsonrpc":"2.0","id":"tools","method":"tools/list","params":%b}' % params
            answers: list[bytes] = []
            await self._post(Exchange(messages.parse(request), exchange.version, answers.append))
            if not (cursor := _next_page(pages, answers)):
                return
            params = b'{"_meta":%b,"cursor":%b}' % (meta, cursor)

    # --- the response ---------------------------------------------------------------------------

    async def _read(self, exchange: Exchange, response: httpx2.Response) -> None:
        status, media = response.status_code, media_type(response)
        if exchange.opens_session and status < 300:
            self._session.open(response)
            if self._closing is not None:
                return  # closing waited only for the session, to end it
        if status >= 300:
            return await self._read_error(exchange, response)
        if media == EVENT_STREAM:
            return await self._responses.read_events(exchange, response)
        if exchange.answered:
            return  # 202: the body is irrelevant
        if status in (202, 204):
            raise RequestFailedError(f"{self._where} answered a request with {status}", sent=True)
        body = await read_body(response, self._max_message, self._remote.read_timeout)
        if body is None:
            return exchange.fail_too_large("the response", self._max_message)
        await self._reading.wait()
        if media == JSON:
            await self._responses.take(exchange, reader.on_one_line(body))
        elif not await self._responses.take_other(exchange, media, body):
            raise _not_json(self._where, status, media, body)
        if not exchange.answered:
            raise _no_response(self._where, body)

    async def _read_error(self, exchange: Exchange, response: httpx2.Response) -> None:
        status = response.status_code
        body = await read_body(response, ERROR_BYTES, self._remote.read_timeout) or b""
        if exchange.session and is_forgotten(status, body):
            raise self._renewal.forgotten(exchange.session, status, body)
        if not exchange.answered and status not in (401, 403):
            self._take_error(exchange, body)
        reason = status_message(self._where, status, body, self._remote.hop)
        if not exchange.answered:
            raise RequestFailedError(reason, sent=status >= 500, status=status)
        if not exchange.is_request:
            self._noise(f"a message was not accepted: {reason}")

    def _take_error(self, exchange: Exchange, body: bytes) -> None:
        """Deliver an error that the server wrote as it is; servers that could not read the id omit it."""
        for error in reader.read_server(body).messages:
            if error.error:
                self._check_mismatch(exchange, error)
                exchange.answer(messages.with_id(error, exchange.message.id).data)

    def _check_mismatch(self, exchange: Exchange, error: Message) -> None:
        """Raise :class:`_ToolsUnknownError` if a call lacks headers that a tool list describes; it has not run then."""
        if exchange.version is None or exchange.relisted or exchange.message.method != TOOLS_CALL:
            return
        if messages.member(error.error, "code") == b"%d" % HEADER_MISMATCH:
            exchange.relisted = True
            raise _ToolsUnknownError

    def _note_answer(self, exchange: Exchange, answer: Message) -> None:
        """Learn from an answer: headers of tools, or the negotiated protocol version."""
        if exchange.version is not None:
            if exchange.message.method == TOOLS_LIST and answer.result:
                self._mirrored.learn(answer)
        elif is_initialize(exchange.message) and answer.result:
            self._session.negotiated(text_of(messages.member(answer.result, "protocolVersion")))

    async def _failed(self, exchange: Exchange, failure: RequestFailedError) -> None:
        """Answer a request in the server's place. The attachment continues, unless nothing usable is there."""
        reason = str(failure)
        if not exchange.is_request:
            return self._noise(f"a message was not accepted: {reason}")
        if not self._reached and exchange.message.method == DISCOVER and exchange.message.id == PROBE_ID:
            if failure.refused or not failure.status:
                # The probe must not take silence for the answer of an older server.
                return self._begin_close(reason)
            if failure.of_older_server:
                return exchange.fail(METHOD_NOT_FOUND, reason, sent=False)
        code = UPSTREAM_LOST if failure.sent else UPSTREAM_UNAVAILABLE
        exchange.fail(code, reason, sent=failure.sent)
        if exchange.opens_session:
            self._begin_close(reason)

    # --- the session of the handshake era -------------------------------------------------------

    async def _resume(self, exchange: Exchange) -> None:
        """Request the rest of a response that ended before the answer, if the server can replay it."""
        loop, attempt = asyncio.get_running_loop(), 0
        after = exchange.odd_event and f", after {exchange.odd_event}"
        reason = f"{self._where} ended the event stream before the response{after}"
        if exchange.version is not None or not exchange.last_event:
            raise RequestFailedError(reason, sent=True)
        deadline = loop.time() + self._reconnect_timeout
        while not exchange.answered:
            attempt += 1
            await asyncio.sleep(exchange.retry if exchange.retry is not None else backoff(attempt))
            last_event = exchange.last_event
            try:
                await self._replay(exchange)
            except RequestFailedError as failure:
                if failure.status:
                    raise
                reason = str(failure)
            if exchange.last_event != last_event:
                deadline, attempt = loop.time() + self._reconnect_timeout, 0
            if loop.time() > deadline:
                limit = f"{self._reconnect_timeout:g} s (reconnect_timeout)"
                raise RequestFailedError(f"{reason}; it was not resumed within {limit}", sent=True)

    async def _replay(self, exchange: Exchange) -> None:
        headers = self._session.headers() | {"Accept": EVENT_STREAM, "Last-Event-ID": exchange.last_event}
        async with self._remote.open("GET", headers) as response:
            status = response.status_code
            if status == 404 and self._session.id:
                raise RequestFailedError(self._session.gone_reason(), sent=True, status=404)
            if 400 <= status < 500 or (status < 300 and media_type(response) != EVENT_STREAM):
                reason = f"{self._where} ended the event stream before the response and cannot replay it ({status})"
                raise RequestFailedError(reason, sent=True, status=status)
            if status < 300:
                await self._responses.read_events(exchange, response)

    async def _listen(self) -> None:
        """Read the GET of a session, which carries what belongs to no request; reconnect while the session lives."""
        stream = Exchange(messages.parse(_NO_REQUEST), None, self._deliver)
        loop, attempt, opened = asyncio.get_running_loop(), 0, self._renewal.restored
        while self._closing is None:
            headers = {"Accept": EVENT_STREAM, **self._session.headers()}
            if stream.last_event:
                headers["Last-Event-ID"] = stream.last_event
            began = loop.time()
            try:
                async with self._remote.open("GET", headers, endless=True) as response:
                    status = response.status_code
                    if status == 404 and opened and self._session.id:
                        self._tasks.spawn(
                            self._renewal.renew_unasked(self._session.id), f"renew {self._where}"
                        )
                        return
                    if 300 <= status < 500 or (status < 300 and media_type(response) != EVENT_STREAM):
                        return  # 405: this server sends nothing on its own
                    if status < 300:
                        opened = True
                        await self._responses.read_events(stream, response)
            except RequestFailedError as failure:
                self._noise(f"the event stream was interrupted: {failure}")
            attempt = 1 if loop.time() - began > STEADY else attempt + 1
            await asyncio.sleep(max(stream.retry or 0.0, backoff(attempt)))

    async def _end_session(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        await within(CLOSE_TIMEOUT, self._session.end())
        self._session.forget()

    # --- close ----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Wait for session ids on their way: their sessions would stay open at the server."""
        opening = [e.task for e in self._exchanges.values() if e.task and e.left.is_set() and e.opens_session]
        if opening:
            await asyncio.wait(opening, timeout=OPENING_TIMEOUT)

    async def _hang_up(self) -> None:
        await self._end_session()
        await super()._hang_up()


def _next_page(pages: Pages, answers: list[bytes]) -> bytes:
    """Return the cursor (JSON) of the page of tools to request after this answer; ``b""`` at the end of the list."""
    answer = messages.parse(answers[0]) if answers else None
    result = members_of(answer.result) if answer and answer.result else {}
    for tool in items_of(bytes(result.get("tools", b""))):
        pages.is_new(messages.member(bytes(tool), "name"))
    cursor = bytes(result.get("nextCursor", b""))
    return cursor if pages.goes_on(cursor) else b""


def _not_json(where: str, status: int, media: str, body: bytes) -> RequestFailedError:
    shown = body_text(body) or reader.quote(body, 0) or "nothing"
    reason = f"{where} answered {status} with {media[:60]!r} instead of JSON: {shown}"
    return RequestFailedError(f'{reason}; check that "url" is the MCP endpoint', sent=True)


def _no_response(where: str, body: bytes) -> RequestFailedError:
    reason = f"{where} sent a response that does not answer the request"
    return RequestFailedError(f"{reason}: {reader.quote(body, 0)}", sent=True)


def _modern_version(message: Message) -> str | None:
    """Return the protocol version in ``_meta``; None in the handshake era. Servers refuse one that is not a string."""
    params = messages.params_of(message)
    version = bytes(params.meta.version) if params.meta is not None else b""
    if not version:
        return None
    try:
        return str(msgspec.json.decode(version))
    except msgspec.DecodeError:
        return ""
