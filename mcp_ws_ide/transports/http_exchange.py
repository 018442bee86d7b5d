"""One message on its way to a Streamable HTTP server, and the response that belongs to it. No I/O.

Ensures that a request is answered at most once; knows from where its response can be resumed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import httpx2

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.transports.lines import too_large

MIN_RETRY: Final = 0.1
"""Shortest delay before a reconnect that a server can ask for with ``retry``, in seconds."""
MAX_RETRY: Final = 30.0
"""Longest such delay, in seconds."""
_EVENT_ID: Final = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")


class Exchange:
    """One message, and the response that belongs to it.

    Args:
        message: what is sent.
        version: protocol version of a modern request; None in the handshake era.
        deliver: takes the answer.
        queued: bytes that count as queued until the request has left.
    """

    __slots__ = (
        "_deliver",
        "answered",
        "doubt",
        "last_event",
        "left",
        "message",
        "odd_event",
        "queued",
        "relisted",
        "responded",
        "retry",
        "session",
        "task",
        "version",
    )

    def __init__(
        self, message: Message, version: str | None, deliver: Callable[[bytes], None], queued: int = 0
    ) -> None:
        self.message = message
        self.version = version
        self._deliver = deliver
        self.queued = queued
        self.answered = message.kind is not REQUEST
        """Whether no answer is expected, or no longer."""
        self.relisted = False
        """Whether the server refused its headers once, and the tools have been listed since."""
        self.left = asyncio.Event()
        """Set once the request has left, or never will."""
        self.responded = asyncio.Event()
        """Set once the head of the response has arrived, or never will."""
        self.last_event = ""
        """Id of the last event of the response, from which it can be resumed; ``""`` if it cannot."""
        self.odd_event = ""
        """The last event in place of the response that is no message, as a quote; ``""`` for none."""
        self.doubt: asyncio.TimerHandle | None = None
        """Fails the request, if nothing follows such an event."""
        self.retry: float | None = None
        """Seconds before a reconnect, as the server asked."""
        self.session = ""
        """Id of the session in which it was sent; ``""`` if in none."""
        self.task: asyncio.Task[Any] | None = None

    @property
    def is_request(self) -> bool:
        """Whether the message is a request, which must be answered."""
        return self.message.kind is REQUEST

    @property
    def opens_session(self) -> bool:
        """Whether the message opens a session of the handshake era."""
        return self.version is None and is_initialize(self.message)

    def answer(self, data: bytes) -> None:
        """Deliver the answer, unless there was one."""
        if not self.answered:
            self.answered = True
            self._deliver(data)

    def fail(self, code: int, reason: str, *, sent: bool) -> None:
        """Answer with a JSON-RPC error; ``sent`` says whether the request may have reached the server."""
        outcome = {"outcome": "unknown" if sent else "not_sent"}
        self.answer(messages.error_response(self.message.id, code, reason, outcome))

    def give_up(self, code: int, reason: str) -> None:
        """Answer with a JSON-RPC error unless there was an answer, and stop reading the response."""
        if not self.answered:
            self.fail(code, reason, sent=True)
            if self.task is not None:
                self.task.cancel()

    def doubt_answer(self, seconds: float, code: int, reason: str) -> None:
        """Give up after some seconds, unless :meth:`settle` is called: what has arrived is no answer."""
        self.settle()
        self.doubt = asyncio.get_running_loop().call_later(seconds, self.give_up, code, reason)

    def settle(self) -> None:
        """Drop the doubt: more has arrived, or the response has ended."""
        if self.doubt is not None:
            self.doubt.cancel()
            self.doubt = None

    def fail_too_large(self, what: str, limit: int) -> None:
        """Answer with the error for a response over the limit, in bytes."""
        self.answer(too_large(self.message.id, what, limit))

    def note_event(self, event: httpx2.ServerSentEvent) -> None:
        """Remember what an event says about resuming its stream (WHATWG HTML, server-sent events)."""
        if event.id:
            self.last_event = _usable_event_id(event.id)
        if event.retry is not None:  # milliseconds, of any size
            milliseconds = min(max(event.retry, int(MIN_RETRY * 1000)), int(MAX_RETRY * 1000))
            self.retry = milliseconds / 1000


def is_initialize(message: Message) -> bool:
    """Return whether a message is the request that begins the handshake era."""
    return message.kind is REQUEST and message.method == b'"initialize"'


def _usable_event_id(event_id: str) -> str:
    """Return an event id if it can be sent in a header, as UTF-8; else ``""``, and nothing can be resumed after it."""
    return event_id if _EVENT_ID.fullmatch(event_id) and event_id == event_id.strip() else ""
