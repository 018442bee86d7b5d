"""Streamable HTTP without HTTP: where a session's messages go when each response is a stream of its own.

Two kinds of :class:`~mcp_ws_ide.links.base.Link`. :class:`Exchange` carries one modern request: one POST,
its notifications, its answer (MCP 2026-07-28, basic/transports/streamable-http). :class:`HttpLink` carries a
handshake-era session: many POSTs, and one GET for what belongs to no request (MCP 2025-11-25). Neither knows
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
from mcp_ws_ide.core.messages import IdKey, Kind, Message

MAX_STREAM_BYTES: Final = 8 << 20
"""Bytes that wait for one HTTP response before its oldest events give way."""
GENERAL: Final = "g"
"""Name of the stream that GET reads: messages that belong to no request."""


class Stream:
    """What one HTTP response has to carry: events in order, until the last one.

    Attributes:
        name: first part of its event ids.
        last: whether nothing follows what is queued.
        reader: whether a response takes the events.
        on_ready: called once, and forgotten, when there is an event, none follows, or the response is gone;
            for a response without a task that waits in :meth:`next`.
    """

    __slots__ = ("_bytes", "_queue", "_wake", "last", "name", "numbered", "on_ready", "reader")

    def __init__(self, name: str) -> None:
        self.name = name
        self._bytes = 0
        self.last = False
        self.reader = True
        self.numbered = 0
        self._queue: deque[tuple[str, bytes]] = deque()
        self._wake = asyncio.Event()
        self.on_ready: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the response."""
        return self._bytes

    def put(self, event_id: str, data: bytes, last: bool = False) -> None:
        """One more event. A client that does not read loses the oldest; the answer comes last and stays."""
        self._queue.append((event_id, data))
        self._bytes += len(data)
        while self._bytes > MAX_STREAM_BYTES and len(self._queue) > 1:
            self.drop_oldest()
        self.last = self.last or last
        self._ready()

    def _ready(self) -> None:
        self._wake.set()
        if self.on_ready is not None:
            call, self.on_ready = self.on_ready, None
            call()

    def drop_oldest(self) -> None:
        """Make room."""
        self._bytes -= len(self._queue.popleft()[1])

    def finish(self) -> None:
        """Nothing follows."""
        self.last = True
        self._ready()

    def leave(self) -> None:
        """The response is gone; what follows can only be replayed."""
        self.reader = False
        self._queue.clear()
        self._bytes = 0
        self._ready()

    async def next(self, timeout: float) -> tuple[str, bytes] | None:
        """The next event; None when there was none within ``timeout`` s, or none follows (see :attr:`last`)."""
        if not self._queue and not self.last and self.reader:
            self._wake.clear()
            # What comes at the very moment of the timeout is there as well.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
        return self.take() if self._queue else None

    def take(self) -> tuple[str, bytes]:
        """The next event, which is there."""
        event = self._queue.popleft()
        self._bytes -= len(event[1])
        return event


class Exchange:
    """The link of one modern request: it ends with its answer."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.stream = Stream("x")
        self.closed = False

    def deliver(self, message: Message) -> None:
        """An event; the last one if it is the answer."""
        self.stream.put("", message.data, last=_is_last(message))

    def close(self, code: CloseCode, reason: str) -> None:
        """Nothing follows."""
        self.closed = True
        self.stream.finish()

    def set_reading(self, reading: bool) -> None:
        """The request was read as a whole."""


def _is_last(message: Message) -> bool:
    """Whether nothing follows: the answer, or the server taking back a subscription."""
    return message.kind is Kind.RESPONSE or message.method == b'"notifications/cancelled"'


class HttpLink:
    """The link of a handshake-era HTTP session: sorts what the server says onto the open responses.

    Args:
        max_events, max_bytes: what is kept for ``Last-Event-ID``, and for a GET that has not come yet.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.id = secrets.token_hex(16)
        self.closed = False
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
        """Bytes that no response has taken yet; what is kept for replay was taken once."""
        return sum(stream.queued_bytes for stream in self._streams.values())

    @property
    def readers(self) -> int:
        """Open responses."""
        return sum(stream.reader for stream in self._streams.values())

    # --- from HTTP ------------------------------------------------------------------------------

    def open_request(self, message: Message) -> Stream:
        """The stream that will carry the answer to a request."""
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
        """The stream for a GET; an older one ends, since its client has evidently lost it."""
        if self._general.reader:
            self._general.finish()
            self._general = self._streams[GENERAL] = self._renewed(self._general)
        self._general.reader = True
        return self._general

    @property
    def idle(self) -> bool:
        """Whether no response is open. What is owed may never come: a server does not answer a cancelled call."""
        return self.readers == 0

    def _renewed(self, old: Stream) -> Stream:
        fresh = Stream(GENERAL)
        fresh.numbered = old.numbered
        return fresh

    def replay(self, last_event_id: str) -> Stream | None:
        """The stream that an event id names, with everything after that event; None if it is forgotten."""
        name, _, number = last_event_id.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        old, seen = self._streams.get(name), int(number)
        kept = [(n, data) for stream, n, data in self._log if stream == name and n > seen]
        newest = old.numbered if old is not None else kept[-1][0] if kept else -1
        if newest - seen != len(kept):  # some of it is forgotten, or there never was such an event
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
        """Sort one message of the server onto its stream; an answer that nothing waits for has none."""
        stream, last = self._stream_of(message)
        if stream is None:
            return
        data = message.data
        stream.numbered += 1
        self._keep(stream.name, stream.numbered, data)
        if stream.reader or stream is self._general:
            stream.put(f"{stream.name}.{stream.numbered}", data, last)
        if len(self._general) > self._max_events:
            self._general.drop_oldest()
        if last:
            stream.finish()
            self._forget(stream)

    def _stream_of(self, message: Message) -> tuple[Stream | None, bool]:
        if message.kind is Kind.RESPONSE:
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
        """Where a message goes that names no request: with one request open it can only be its; else to the
        GET, and without one to the newest request."""
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
        """Every response ends."""
        self.closed = True
        for stream in self._streams.values():
            stream.finish()

    def set_reading(self, reading: bool) -> None:
        """Each POST was read as a whole; what a full server cannot take waits in the gateway, bounded by
        ``max_in_flight`` requests."""
