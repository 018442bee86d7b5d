"""The links of Streamable HTTP: they distribute a session's messages over the responses that carry them.

Two kinds of :class:`~mcp_ws_ide.links.base.Link`. :class:`Exchange` carries one modern request: one POST, its
notifications and its answer (MCP 2026-07-28, basic/transports/streamable-http). :class:`HttpLink` carries a
handshake-era session: many POSTs, and one GET for messages that belong to no request (MCP 2025-11-25). Neither knows
Tornado; the handlers read :class:`Stream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import RESPONSE, IdKey, Message

MAX_STREAM_BYTES: Final = 8 << 20
"""Bytes queued for one HTTP response, above which its oldest events are dropped."""
GENERAL: Final = "g"
"""Name of the stream that GET reads: messages that belong to no request."""


class Stream:
    """The events that one HTTP response has to carry, in order.

    Attributes:
        name: first part of the event ids.
        last: whether nothing follows the queued events.
        reader: whether a response takes the events.
        numbered: number of the newest event that has an id.
        on_ready: called once when there is an event, none follows, or the response is gone; for a response that has
            no task waiting in :meth:`next`.
    """

    __slots__ = ("_bytes", "_queue", "_wake", "last", "name", "numbered", "on_ready", "reader")

    def __init__(self, name: str) -> None:
        self.name = name
        self._bytes = 0
        self.last = False
        self.reader = True
        self.numbered = 0
        self._queue: deque[tuple[str, bytes]] = deque()
        self._wake: asyncio.Event | None = None
        self.on_ready: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the response has not taken yet."""
        return self._bytes

    def put(self, event_id: str, data: bytes, last: bool = False) -> None:
        """Queue an event. A client that does not read loses the oldest ones; the answer is last and is kept."""
        self._queue.append((event_id, data))
        self._bytes += len(data)
        while self._bytes > MAX_STREAM_BYTES and len(self._queue) > 1:
            self.drop_oldest()
        self.last = self.last or last
        self._ready()

    def _ready(self) -> None:
        if self._wake is not None:
            self._wake.set()
        if self.on_ready is not None:
            call, self.on_ready = self.on_ready, None
            call()

    def drop_oldest(self) -> None:
        """Drop the oldest event."""
        self._bytes -= len(self._queue.popleft()[1])

    def finish(self) -> None:
        """End the stream after the queued events."""
        self.last = True
        self._ready()

    def leave(self) -> None:
        """Note that the response is gone; its events can only be replayed from now on."""
        self.reader = False
        self._queue.clear()
        self._bytes = 0
        self._ready()

    async def next(self, timeout: float) -> tuple[str, bytes] | None:
        """Return the next event; None if none came within ``timeout`` seconds or none follows (:attr:`last`)."""
        if not self._queue and not self.last and self.reader:
            wake = self._wake = asyncio.Event()
            # An event that arrives at the moment of the timeout is returned below.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await wake.wait()
        return self.take() if self._queue else None

    def take(self) -> tuple[str, bytes]:
        """Return the next event; there must be one."""
        event = self._queue.popleft()
        self._bytes -= len(event[1])
        return event


class Exchange:
    """The link of one modern request; it ends with the answer.

    Attributes:
        error: the error of the answer, as JSON; ``b""`` for a result.

    Args:
        on_result: called with each result before it is queued.
    """

    queued_bytes = 0
    error = b""

    def __init__(self, on_result: Callable[[bytes], None] | None = None) -> None:
        self.stream = Stream("x")
        self.closed = False
        self._on_result = on_result

    def deliver(self, message: Message) -> None:
        """Queue an event, as the last one if it is the answer."""
        last = _is_last(message)
        if last:
            self.error = message.error
            if self._on_result is not None and message.result:
                self._on_result(message.result)
        self.stream.put("", message.data, last)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the response; HTTP has no place for code and reason."""
        self.closed = True
        self.stream.finish()

    def set_reading(self, reading: bool) -> None:
        """Do nothing: the request has been read completely."""


def _is_last(message: Message) -> bool:
    """Whether nothing follows: the answer, or the server's cancellation of a subscription."""
    return message.kind is RESPONSE or message.method == b'"notifications/cancelled"'


class HttpLink:
    """The link of a handshake-era HTTP session: assigns the server's messages to the open responses.

    Args:
        max_events, max_bytes: limits of the events kept for ``Last-Event-ID``, and for a GET that has not come yet.
        prefix: how its id begins.

    Attributes:
        refused: whether the first response was an error: the handshake has failed, and there is no session. None
            before it.
    """

    def __init__(self, max_events: int, max_bytes: int, prefix: str = "") -> None:
        self.id = prefix + secrets.token_hex(16)
        self.closed = False
        self.refused: bool | None = None
        self.last_used = time.monotonic()
        self._general = Stream(GENERAL)
        self._general.reader = False
        self._streams: dict[str, Stream] = {GENERAL: self._general}
        self._by_id: dict[IdKey, Stream] = {}
        self._by_token: dict[IdKey, Stream] = {}
        self._log: deque[tuple[str, int, bytes]] = deque()
        self._log_bytes = 0
        self._max_events, self._max_bytes = max_events, max_bytes
        self._opened = 0

    @property
    def queued_bytes(self) -> int:
        """Bytes that no response has taken yet, without those kept for replay."""
        return sum(stream.queued_bytes for stream in self._streams.values())

    @property
    def readers(self) -> int:
        """The number of open responses."""
        return sum(stream.reader for stream in self._streams.values())

    # --- from HTTP ------------------------------------------------------------------------------

    def open_request(self, message: Message) -> Stream:
        """Return the stream that will carry the answer to a request."""
        self._opened += 1
        stream = Stream(f"p{self._opened}")
        self._streams[stream.name] = stream
        self._by_id[message.id_key] = stream
        meta = messages.params_of(message).meta
        token = messages.token_key(bytes(meta.progress_token)) if meta is not None else None
        if token is not None:
            self._by_token[token] = stream
        return stream

    def open_general(self) -> Stream:
        """Return the stream for a GET. An older GET ends: its client has evidently lost it."""
        if self._general.reader:
            self._general.finish()
            self._general = self._streams[GENERAL] = self._renewed(self._general)
        self._general.reader = True
        return self._general

    @property
    def idle(self) -> bool:
        """Whether no response is open. Pending answers do not count: a server may never answer a cancelled call."""
        return self.readers == 0

    def _renewed(self, old: Stream) -> Stream:
        fresh = Stream(GENERAL)
        fresh.numbered = old.numbered
        return fresh

    def replay(self, last_event_id: str) -> Stream | None:
        """Return the stream that an event id names, from after that event on; None if events of it are not kept."""
        name, _, number = last_event_id.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        old, seen = self._streams.get(name), int(number)
        kept = [(n, data) for stream, n, data in self._log if stream == name and n > seen]
        newest = old.numbered if old is not None else kept[-1][0] if kept else -1
        if newest - seen != len(kept):  # some are not kept any more, or there never was such an event
            return None
        fresh = Stream(name)
        for n, data in kept:
            fresh.put(f"{name}.{n}", data)
        if old is None:
            fresh.finish()
            return fresh
        if old.reader:
            old.finish()
        fresh.numbered = old.numbered
        self._streams[name] = fresh
        for table in (self._by_id, self._by_token):
            for key in [key for key, stream in table.items() if stream is old]:
                table[key] = fresh
        if old is self._general:
            self._general = fresh
        return fresh

    # --- Link -----------------------------------------------------------------------------------

    def deliver(self, message: Message) -> None:
        """Queue a message from the server on its stream; drop an answer that no request waits for."""
        stream, last = self._stream_of(message)
        if stream is None:
            return
        data = message.data
        stream.numbered += 1
        self._keep(stream.name, stream.numbered, data)
        if last:
            if self.refused is None:
                self.refused = bool(message.error)
            self._forget(stream)
        if stream.reader or stream is self._general:
            stream.put(f"{stream.name}.{stream.numbered}", data, last)
        elif last:
            stream.finish()
        if len(self._general) > self._max_events:
            self._general.drop_oldest()

    def _stream_of(self, message: Message) -> tuple[Stream | None, bool]:
        if message.kind is RESPONSE:
            stream = self._by_id.pop(message.id_key, None)
            if stream is None and message.id == b"null":
                return self._general, False
            return stream, True
        if message.method == b'"notifications/progress"':
            token = messages.token_key(bytes(messages.params_of(message).progress_token))
            stream = self._by_token.get(token) if token is not None else None
            if stream is not None:
                return stream, False
        return self._unrelated(), False

    def _unrelated(self) -> Stream:
        """The stream for a message that names no request.

        That of the only open request, if there is just one; else the GET; without a GET, the newest request.
        """
        reading = [stream for stream in self._by_id.values() if stream.reader]
        if len(reading) == 1 or (reading and not self._general.reader):
            return reading[-1]
        return self._general

    def _keep(self, name: str, number: int, data: bytes) -> None:
        self._log.append((name, number, data))
        self._log_bytes += len(data)
        while len(self._log) > self._max_events or (self._log_bytes > self._max_bytes and len(self._log) > 1):
            self._log_bytes -= len(self._log.popleft()[2])

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.name, None)
        for token in [token for token, owner in self._by_token.items() if owner is stream]:
            del self._by_token[token]

    def close(self, code: CloseCode, reason: str) -> None:
        """End every response."""
        self.closed = True
        for stream in self._streams.values():
            stream.finish()

    def set_reading(self, reading: bool) -> None:
        """Do nothing: each POST has been read completely.

        Messages that a full server cannot take wait in the gateway, at most ``max_in_flight`` requests.
        """
