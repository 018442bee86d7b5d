"""The messages that an MCP client writes to stdin, also where they are not one to a line (docs/reference/reading.md).

Decides what to send to the gateway, what to answer at once, and what to report. Knows no pipe and no session.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core import fragments, json_scan, messages, reader
from mcp_ws_ide.core.fragments import Fragment
from mcp_ws_ide.core.frames import FrameSplitter, is_header
from mcp_ws_ide.core.line_splitter import LineSplitter
from mcp_ws_ide.core.reader import Reading, ReportedKinds, Unreadable
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, MalformedMessageError

MAX_LINE_BYTES: Final = 64 << 20
"""Longest message that is read from stdin, in bytes."""

_CLOSING_BRACE: Final = ord("}")


class StdinMessages:
    """Reads messages from chunks of stdin.

    Args:
        report: takes a notice of each kind of what was mended, once; and of each message over the limit.
        limit: longest message, in bytes; a longer one is dropped, and answered with an error if it shows its id.

    Attributes:
        outgoing: messages to send, taken by the caller.
        answers: errors to hand to the client for what cannot be read, taken by the caller.
        complete: whether nothing was dropped.
    """

    def __init__(self, report: Callable[[str], None], limit: int = MAX_LINE_BYTES) -> None:
        self.outgoing: list[bytes] = []
        self.answers: list[bytes] = []
        self.complete = True
        self._report = report
        self._limit = limit
        self._splitter: LineSplitter | FrameSplitter = LineSplitter(limit)
        self._fragment: Fragment | None = None
        self._begun = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._reported = ReportedKinds()

    @property
    def unfinished(self) -> bool:
        """Whether part of a line, or of a message on several lines, has arrived."""
        return self._splitter.has_partial or self._fragment is not None

    def feed(self, data: bytes) -> None:
        """Read what ``data`` completes."""
        if not self._begun:
            self._begun = True
            if encoding := reader.encoding_of(data):
                self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
                self._notice(encoding, f"{encoding} on stdin was converted to UTF-8")
        if self._decoder is not None:
            data = self._decoder.decode(data).encode()
        lines = self._splitter.feed(data)
        for number, line in enumerate(lines):
            if line[:1] == b"{" and line[-1] == _CLOSING_BRACE and self._fragment is None:
                self._take(line)
            elif stripped := line.strip(b" \t\r\n\v\f\0"):
                if isinstance(self._splitter, LineSplitter) and is_header(stripped):
                    return self._change_to_frames(lines[number:])
                self._take_unusual(line, stripped)
        if self._splitter.skipped:
            self._refuse_skipped()

    def look(self) -> None:
        """Read a message that lacks its line end; call it when nothing has arrived for a while."""
        partial = self._splitter.partial.strip()
        if self._fragment is None and partial[:1] in (b"{", b"[") and json_scan.is_whole(partial):
            self._splitter.take_partial()
            self._notice("line end", "a message without a line end was read")
            self._take(partial)

    def finish(self) -> None:
        """Read what has arrived; nothing follows."""
        rest = self._splitter.take_partial()
        if stripped := rest.strip():
            self._take_unusual(rest, stripped)
        self._end_fragment()

    # --- from lines to messages -------------------------------------------------------------------

    def _take_unusual(self, line: bytes, stripped: bytes) -> None:
        """Take a line that is not simply an object."""
        if self._fragment is not None:
            if not fragments.interrupts(line):
                if self._fragment.add(line) or self._fragment.size > self._limit:
                    self._end_fragment()
                return
            self._end_fragment()
        if line[:1] == b"\0" and not reader.encoding_of(line):
            line = line[1:]  # the second half of the line end before, in UTF-16
        if stripped[-1:] not in b"}]" and fragments.begins(stripped):
            self._fragment = Fragment(line)
        else:
            self._take(line if reader.encoding_of(line) else stripped)

    def _end_fragment(self) -> None:
        fragment, self._fragment = self._fragment, None
        if fragment is not None:
            self._notice("lines", "a message on several lines was read as one")
            self._take(fragment.data)

    def _change_to_frames(self, lines: list[bytes]) -> None:
        """Read frames from now on, beginning with these lines, of which the first is a header."""
        rest = b"".join(line + b"\n" for line in lines) + self._splitter.partial
        self._splitter = FrameSplitter(self._limit)
        self._notice("frames", "messages in frames with Content-Length are read, and answered in lines")
        decoder, self._decoder = self._decoder, None
        self.feed(rest)
        self._decoder = decoder

    def _refuse_skipped(self) -> None:
        """Answer a message over the limit, as far as its beginning shows its id."""
        size, self._splitter.skipped = self._splitter.skipped, 0
        reason = f"a message of {size} bytes exceeds the limit of {self._limit} bytes, and was not sent"
        self.complete = False
        self._report(reason)
        top = json_scan.top_of(self._splitter.ends[0])
        self._refuse(
            Unreadable(INVALID_REQUEST, reason, top.ids, b"method" not in top.names and bool(top.ids), False)
        )

    # --- from messages to what is sent ------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        try:
            messages.parse(data)
            data.decode()  # a payload is not parsed, and a WebSocket closes for what is not UTF-8
        except (MalformedMessageError, UnicodeDecodeError):
            return self._add(reader.read_client_line(data))
        self.outgoing.append(messages.one_line(data))

    def _add(self, reading: Reading) -> None:
        for kind, text in reading.notices.items():
            self._notice(kind, text)
        self.outgoing += [messages.one_line(message.data) for message in reading.messages]
        for fault in reading.unreadable:
            self._refuse(fault)
        if reading.noise and not reading.messages and not reading.unreadable:
            reason = f"not a JSON-RPC message: {reader.quote(reading.noise[0], 0)}"
            self._refuse(Unreadable(PARSE_ERROR, reason, [], False, False))

    def _refuse(self, fault: Unreadable) -> None:
        """Answer what cannot be read with its id; what may be a response fails the server's request instead."""
        self._notice("unreadable", f"stdin contains what cannot be read: {fault.reason}")
        raw_id = fault.ids[0] if len(fault.ids) == 1 else b""
        if raw_id and fault.answer:
            reason = f"the client's response is not a JSON-RPC message: {fault.reason}"
            self.outgoing.append(messages.error_response(raw_id, INTERNAL_ERROR, reason))
        else:
            self.answers.append(messages.error_response(raw_id, fault.code, fault.reason))

    def _notice(self, kind: str, text: str) -> None:
        for new in self._reported.add({kind: text}):
            self._report(f"{new}; this is reported once")
