"""Messages from a server that are not valid as written: mend, pair or fail them (docs/reference/reading.md).

Ensures that no request of an upstream stays open after a response that cannot be read, or that names no request.
:mod:`mcp_ws_ide.core.reader` decides what can be read.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from mcp_ws_ide.compiling import mypyc_attr
from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.lenient_json import encode, error_code, error_text
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.reader import ReportedKinds, Unreadable
from mcp_ws_ide.core.stand_ins import (
    NO_RESPONSE,
    PERHAPS_RESPONSE,
    SURELY_RESPONSE,
    TO_NOTIFICATIONS,
    is_binary_line,
    replaces_response,
    stands_for_response,
)
from mcp_ws_ide.core.usable_answers import usable
from mcp_ws_ide.errors import (
    INTERNAL_ERROR,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
)
from mcp_ws_ide.gateway.doubts import Doubts
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.transports.lines import printable

_FRAMED: Final = frozenset({"ws", "sse", "python"})
"""Kinds of servers that mark where a message begins and ends, so that they write nothing else."""
QUOTED_BYTES: Final = 16
"""Bytes quoted of binary data."""
_OF_CLIENTS: Final = (
    *(b'"initialize"', b'"server/', b'"tools/', b'"resources/', b'"prompts/', b'"completion/', b'"logging/'),
    *(b'"subscriptions/', b'"tasks/'),
)
"""How the methods begin that only clients call."""
MAX_UNANSWERABLE: Final = 100
"""Newest messages that require no response but may get one; only these are remembered."""

log: Final = logging.getLogger(__name__)


@mypyc_attr(allow_interpreted_subclasses=True)
class Conversation(ABC):
    """An upstream, as this module sees it."""

    server: Server

    @abstractmethod
    def open_ids(self) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the server has not answered."""

    @abstractmethod
    def was_used(self, raw_id: bytes) -> bool:
        """Return whether an id named a request that is no longer open, as far as that is known."""

    @property
    @abstractmethod
    def position(self) -> float:
        """The position of the newest message sent."""

    @abstractmethod
    def open_after(self, position: float) -> list[bytes]:
        """Return the ids, as JSON, of the open requests that were sent after a position."""

    @abstractmethod
    def ended_after(self, position: float) -> int:
        """Return how many requests sent after a position have ended, as far as that is known."""

    @property
    @abstractmethod
    def has_cancelled(self) -> bool:
        """Whether any request was cancelled, so that a response without an id may belong to it."""

    @abstractmethod
    def parsed_received(self, message: Message) -> None:
        """Handle a message that was mended."""

    @abstractmethod
    def fail_open(self, raw_id: bytes, error: bytes) -> None:
        """Fail an open request, named by its id toward the server, with an error object; both are JSON."""

    @abstractmethod
    def observe(self, data: bytes, message: Message | None) -> None:
        """Report a message on the tap."""

    @abstractmethod
    def noise_received(self, source: str, text: str) -> None:
        """Report text that is not a message."""

    @abstractmethod
    def tell(self, event: str, detail: str) -> None:
        """Report an event on the tap."""


class OddMessages:
    """Reads the odd messages of one upstream."""

    def __init__(self, upstream: Conversation, loop: asyncio.AbstractEventLoop, tap: Tap) -> None:
        self._unanswerable: deque[float] = deque(maxlen=MAX_UNANSWERABLE)
        """Positions of the messages sent that require no response and have got none."""
        self._misnames = False
        """Whether the server answers requests under a wrong id."""
        self._upstream = upstream
        self._tap = tap
        """Its redactor changes with the configuration."""
        self._doubts = Doubts(loop, upstream.open_ids, upstream.fail_open)
        self._mended = ReportedKinds()

    def close(self) -> None:
        """Stop; the upstream itself fails the open requests."""
        self._doubts.close()

    def read(self, data: bytes) -> None:
        """Handle text that :func:`mcp_ws_ide.core.messages.parse` refuses."""
        upstream = self._upstream
        if data[:1] == b"{" and upstream.server.spec.kind not in _FRAMED and reader.is_log_record(data):
            return self._note_noise(data)
        reading = reader.read_server(data)
        if reading.messages or reading.unreadable:
            self._note_mended(reading.notices)
        for noise in reading.noise:
            self._note_noise(noise)
        if reading.unreadable:
            upstream.server.counters.dropped += 1
            upstream.observe(data, None)
        for message in reading.messages:
            upstream.parsed_received(message)
        for fault in reading.unreadable:
            self._fail(fault)
        if not reading.messages and not reading.unreadable:
            self._doubt_text(data.strip())

    def _note_noise(self, text: bytes) -> None:
        source = "stdout" if self._upstream.server.spec.kind == "stdio" else "transport"
        self._upstream.noise_received(source, printable(messages.one_line(text)))

    def _doubt_text(self, text: bytes) -> None:
        """Fail the open requests, unless responses follow this text, if it stands in place of one."""
        if self._upstream.server.spec.kind in _FRAMED:
            doubt = PERHAPS_RESPONSE if replaces_response("message", text) else NO_RESPONSE
        else:
            doubt = stands_for_response(text)
        if doubt != NO_RESPONSE:
            error = _unknown_outcome(self._tap.redactor.text(_not_a_message(text)))
            self._doubts.suspect_text(error, certain=doubt == SURELY_RESPONSE)

    def _note_mended(self, notices: dict[str, str]) -> None:
        """Report, once for each kind, that an invalid message from this server was mended."""
        for text in self._mended.add(notices):
            name, redact = self._upstream.server.name, self._tap.redactor.text
            log.warning("server %s: %s; this is reported once", name, redact(text))
            self._upstream.tell("mended", text)

    def usable(self, method: str, answer: Message, *, strict: bool) -> Message:
        """Return the response to a list or a call, with the items mended or omitted for which its client would refuse
        all of it.

        Each change is noted in its ``_meta``, on the tap and in the log.

        Args:
            strict: whether the client is of the handshake era.
        """
        answer, notices = usable(method, answer, self._upstream.server.name, strict=strict)
        if notices:
            self._note_mended(notices)
        return answer

    def _fail(self, fault: Unreadable) -> None:
        """Fail the request that an unreadable message may answer."""
        upstream = self._upstream
        reason = self._tap.redactor.text(f"the server's response is not a JSON-RPC message: {fault.reason}")
        log.warning("server %s: %s", upstream.server.name, reason)
        upstream.tell("dropped", reason)
        if not fault.answer:
            return
        error = _unknown_outcome(reason)
        if len(fault.ids) == 1:
            named = messages.alike(fault.ids[0], upstream.open_ids())
            if named:
                return upstream.fail_open(named, error)
            if fault.certain and upstream.was_used(fault.ids[0]):
                return  # a late response
        if fault.doubtful:
            return self._doubts.suspect_text(error, certain=False)
        self._doubts.add(error)

    def take_echo(self, request: Message) -> bool:
        """Fail an open request that the server has sent back instead of answering it.

        Returns:
            Whether it did.
        """
        upstream = self._upstream
        if not request.method.startswith(_OF_CLIENTS) or request.id not in upstream.open_ids():
            return False
        reason = (
            "the server sent the request back instead of answering it; is its command that of an MCP server?"
        )
        upstream.tell("dropped", reason)
        upstream.fail_open(request.id, _unknown_outcome(reason))
        return True

    # --- responses whose id names no open request ---------------------------------------------------

    def note_unanswerable(self) -> None:
        """Note that a message is sent that requires no response; careless servers answer it with the id ``null``."""
        self._unanswerable.append(self._upstream.position)

    def take_unnamed(self, answer: Message) -> bool:
        """Handle a response whose id was never used, such as ``null``.

        Returns:
            Whether it was taken for the response to a request.
        """
        if error_code(answer.error) not in (PARSE_ERROR, RESPONSE_TOO_LARGE):
            if answer.id == b"null" and self._answers_notification(answer):
                return False
            if self._pair(answer):
                return True
        return self._doubts.add(_misnamed(answer))

    def take_repeated(self, answer: Message) -> bool:
        """Handle a response with the id of an ended request: a second or late one, unless the server uses wrong ids.

        Returns:
            Whether it was taken for the response to a request.
        """
        upstream = self._upstream
        if self._misnames and self._pair(answer):
            return True
        names_well = upstream.ended_after(0) > 1  # requests with different ids
        if not self._misnames and (upstream.has_cancelled or names_well):
            return False
        self._doubts.suspect(upstream.open_ids(), _misnamed(answer), self._fail_misnamed)
        return False

    def _pair(self, answer: Message) -> bool:
        """Treat a response as that to the only open request, if it cannot belong to another."""
        upstream = self._upstream
        open_ids = upstream.open_ids()
        if len(open_ids) != 1 or upstream.has_cancelled:
            return False
        self._misnames = self._misnames or answer.id != b"null"
        shown = answer.id.decode()[:80]
        text = f"a response with the id {shown} was matched to the only open request"
        self._note_mended({"id": text})
        upstream.parsed_received(messages.with_id(answer, open_ids[0]))
        return True

    def _answers_notification(self, answer: Message) -> bool:
        """Return whether a response without an id may answer a notification, as those of careless servers do.

        Servers read in order: a notification is not answered after a request that was sent later. Until a later request
        is answered, the response may also belong to one of those.
        """
        if "notifications/" in error_text(answer.error):
            return True
        usual = (
            error_code(answer.error) in TO_NOTIFICATIONS
            if answer.error
            else answer.result in (b"{}", b"null")
        )
        upstream, sent = self._upstream, self._unanswerable
        while sent and upstream.ended_after(sent[0]):
            sent.popleft()
        if not usual or not sent:
            return False
        later = upstream.open_after(sent.popleft())
        self._doubts.suspect(later, _misnamed(answer), upstream.fail_open)
        return True

    def _fail_misnamed(self, raw_id: bytes, error: bytes) -> None:
        self._misnames = True
        self._upstream.fail_open(raw_id, error)


def _not_a_message(text: bytes) -> str:
    """Say what a server sent in place of a message."""
    if is_binary_line(text):
        shown = f"{text[:QUOTED_BYTES].hex(' ')}{' …' if len(text) > QUOTED_BYTES else ''}"
        return f"the server sent binary data that is not a JSON-RPC message: {shown}"
    return f"the server sent text that is not a JSON-RPC message: {reader.quote(text, 0)}"


def _misnamed(answer: Message) -> bytes:
    """Return the error object, as JSON, for the request behind a response whose id names no open request."""
    if answer.error:
        return answer.error
    return _unknown_outcome(
        f"the server answered with the id {answer.id.decode()[:80]}, which names no open request"
    )


def _unknown_outcome(reason: str) -> bytes:
    """Return an error object, as JSON, for a request that may have run."""
    return encode({"code": INTERNAL_ERROR, "message": reason, "data": {"outcome": "unknown"}})
