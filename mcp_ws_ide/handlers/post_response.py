"""How a POST to the MCP endpoint is answered: JSON, or server-sent events (docs/reference/binding.md, section 10).

Owns response formats and timing. Which session a message belongs to is decided in :mod:`.post_exchange`.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tornado.iostream import StreamClosedError

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.effects import Pending
from mcp_ws_ide.credentials import Watched
from mcp_ws_ide.errors import SESSION_LOST
from mcp_ws_ide.handlers.post_headers import EVENT_STREAM, JSON
from mcp_ws_ide.handlers.requester import Requester, refusal
from mcp_ws_ide.links.http import Stream

COMMIT_AFTER: Final = 0.5
"""Seconds without any message after which a response becomes an event stream; until then an error may still
choose the HTTP status."""
START_PATIENCE: Final = 20.0
"""Seconds a server may take to start before a response becomes an event stream although the server has not received
the request."""
RETRY: Final = 500
"""Milliseconds after which a client that lost its event stream should reconnect for the rest."""
KEEP_ALIVE: Final = 15.0
"""Seconds between comments on a silent event stream."""


class Responder(Requester, Protocol):
    """A request that can be answered: Tornado's handlers, and :class:`~.repeated_post.RepeatedPost`."""

    error_headers: dict[str, str]
    """Headers of an error response."""

    def set_status(self, status_code: int, /) -> None:
        """Set the HTTP status; 200 by default."""

    def set_header(self, name: str, value: str, /) -> None:
        """Set a response header."""

    def clear_header(self, name: str, /) -> None:
        """Remove a response header."""

    def write(self, data: bytes, /) -> None:
        """Append to the body, for :meth:`flush` or :meth:`finish`."""

    def flush(self) -> Future[None]:
        """Send what was written. Raises ``StreamClosedError`` when awaited, if the client is gone."""

    def finish(self, data: bytes = ..., /) -> Any:
        """Complete the response."""

    def watch_credential(self, watched: Watched) -> None:
        """Close ``watched`` when the credential of this request stops being valid."""


@dataclass(slots=True)
class PendingResponse:
    """A response that waits for the server's answer.

    Attributes:
        stream: carries the answer and the notifications before it.
        streams: whether the client accepts an event stream; if not, it gets the answer only.
        done: called once, when the response is over.
        status: returns the HTTP status, once the answer is queued.
        pending: the request, until it is answered.
        primes: whether an event stream begins with :func:`priming_event`.
    """

    stream: Stream
    streams: bool
    done: Callable[[], None]
    status: Callable[[], int] = lambda: 200
    pending: Pending | None = None
    primes: bool = False

    @property
    def reached(self) -> bool:
        """Whether the server has received the request; False while the server starts."""
        return self.pending is None or self.pending.sent > 0


class OpenResponse:
    """A response as :class:`~mcp_ws_ide.credentials.Watched`: it ends with the credential of its request."""

    def __init__(self, response: PendingResponse) -> None:
        self._stream = response.stream
        self._pending = response.pending

    @property
    def closed(self) -> bool:
        """Whether it is over, or will be once everything queued is sent."""
        return self._stream.last or not self._stream.reader

    def close(self, code: CloseCode, reason: str) -> None:
        """End the response, with an error if a request waits for it: its client waits for a message."""
        if self._pending is None:
            return self._stream.finish()
        outcome = "unknown" if self._pending.sent else "not_sent"
        error = messages.error_response(self._pending.raw_id, SESSION_LOST, reason, {"outcome": outcome})
        self._stream.put("", error, last=True)


class ResponseWriter:
    """Writes the answer to one POST or GET."""

    __slots__ = ("_responder", "_watched", "reading")

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._watched: OpenResponse | None = None
        self.reading: Stream | None = None
        """The stream that is being written to the client."""

    async def respond(
        self, response: PendingResponse, patience: float = COMMIT_AFTER, *, committed: bool = False
    ) -> None:
        """Write a stream: as JSON if the answer is all there is, else as events.

        Args:
            patience: seconds the first event may take before the response becomes an event stream.
            committed: whether the response is an event stream already.

        Raises:
            HTTPError: 502, the session ended before the response arrived.
        """
        self.reading = response.stream
        try:
            if committed:
                self._watch(response)
            elif await self._answered_alone(response, patience):
                return
            await self._write_events(response.stream)
        except StreamClosedError:
            pass
        finally:
            self.reading = None
            response.done()

    async def _answered_alone(self, response: PendingResponse, patience: float) -> bool:
        """Answer with JSON; False once the response has become an event stream instead."""
        stream = response.stream
        patient_until = time.monotonic() + START_PATIENCE
        while True:
            event = await stream.next(patience if response.streams else KEEP_ALIVE)
            if not stream.reader:
                return True
            if event is None and stream.last:
                raise refusal(
                    self._responder.runtime, 502, "server", "the session ended before the response arrived"
                )
            if event is not None and stream.last and not len(stream):
                self.answer(event[1], response.status())
                return True
            if self._watched is None:  # only now: most answers are quicker than any credential ends
                self._watch(response)
            starting = event is None and not response.reached and time.monotonic() < patient_until
            if response.streams and not starting:
                break
            patience = COMMIT_AFTER
        self.commit()
        if response.primes:
            taken = stream.numbered - len(stream) - (event is not None)
            self._responder.write(priming_event(stream.name, taken))
        await self._write_event(event)
        return False

    async def _write_events(self, stream: Stream) -> None:
        while True:
            event = await stream.next(KEEP_ALIVE)
            if not stream.reader:
                return
            if event is None and stream.last:
                return self._responder.finish()
            await self._write_event(event)

    async def _write_event(self, event: tuple[str, bytes] | None) -> None:
        self._responder.write(b": working\n\n" if event is None else _event(*event))
        await self._responder.flush()

    def _watch(self, response: PendingResponse) -> None:
        self._watched = OpenResponse(response)
        self._responder.watch_credential(self._watched)

    def client_left(self) -> None:
        """Stop writing to a client that is gone."""
        if self.reading is not None:
            self.reading.leave()

    def commit(self) -> None:
        """Make the response an event stream."""
        self._responder.set_header("Content-Type", EVENT_STREAM)
        self._responder.set_header("Cache-Control", "no-cache, no-transform")
        self._responder.set_header("X-Accel-Buffering", "no")

    def answer(self, data: bytes, status: int) -> None:
        """Answer with one JSON-RPC message."""
        self._responder.set_status(status)
        self._responder.set_header("Content-Type", JSON)
        self._responder.finish(data)

    def answer_error(self, raw_id: bytes, code: int, message: str) -> None:
        """Answer 400 with a JSON-RPC error."""
        self._responder.runtime.gateway.metrics.refusals["message"] += 1
        self._responder.set_status(400)
        self._responder.set_header("Content-Type", JSON)
        self._responder.finish(messages.error_response(raw_id, code, message))

    def accepted(self) -> None:
        """Answer 202: a notification or response was taken."""
        self._responder.set_status(202)
        self._responder.clear_header("Content-Type")
        self._responder.finish()


def priming_event(name: str, taken: int) -> bytes:
    """An event without data: a client that loses the stream at once can resume from its id (MCP 2025-11-25).

    Args:
        name: the stream's name.
        taken: the number of its newest event that is written already, or lost.
    """
    return b"id: %b.%d\nretry: %d\ndata: \n\n" % (name.encode(), taken, RETRY)


def _event(event_id: str, data: bytes) -> bytes:
    """One server-sent event. JSON has one line here, so it needs one ``data`` field."""
    head = b"id: %b\n" % event_id.encode() if event_id else b""
    return head + b"event: message\ndata: " + messages.one_line(data) + b"\n\n"
