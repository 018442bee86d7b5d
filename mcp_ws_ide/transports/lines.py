"""One JSON object per line: splits a byte stream into messages, within limits. Knows nothing of pipes or sockets.

Also finds messages in other forms, if they can have only one meaning: another encoding, several lines, no line end, or
frames with ``Content-Length``. The receiver decides what a line means.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.core import fragments, json_scan, messages, reader, stand_ins
from mcp_ws_ide.core.fragments import Fragment
from mcp_ws_ide.core.frames import FrameSplitter, is_header
from mcp_ws_ide.core.line_splitter import LineSplitter
from mcp_ws_ide.errors import RESPONSE_TOO_LARGE
from mcp_ws_ide.transports.base import Receiver

NOISE_CHARACTERS: Final = 2000
"""Characters passed on of a line that is not a message."""
LOOK_INTERVAL: Final = 0.5
"""Seconds between two checks of a line that has not ended."""
FLOOD: Final = 32
"""Lines in one read after which the next one may be text alone."""
LOG_BYTES: Final = 512
"""Least number of bytes of lines that are passed on together."""
STALLED_LOOKS: Final = 4
"""Checks without new data after which a line or a message counts as cut off."""

_PLAIN_MESSAGE: Final = re.compile(rb'\{"(?:jsonrpc|id|method|result|error)"')
"""How a message in UTF-8 begins; a text in UTF-16 or UTF-32 has no such bytes."""
_CLOSING_BRACE: Final = ord("}")
_UNUSUAL_START: Final = re.compile(
    rb"\n[ \t\r\v\f]*(?:\{(?!\"[^\n]*\}\r?(?:\n|\Z))|\[[ \t\r\v\f]*(?:[{\n]|\Z)"
    rb"|[<\xef\xfe\xff]|(?i:http/|content-length))"
)
"""A line that may begin a message, a frame, or what stands in place of a response; a record in braces does not."""
_NO_TEXT: Final = re.compile(rb"[\x00-\x03\x05\x06\x10-\x1a\x1c\x1d\x1f]")
"""Characters of binary data, and of other encodings than UTF-8."""


class MessageLines:
    """Passes the lines of a server to its receiver.

    Args:
        limit: longest line, in bytes. A longer one is dropped and reported as noise; a response is replaced by an error
            with its id.
        source: source of the noise (:meth:`Receiver.noise_received`).
        reading: returns whether the stream is being read: a paused one is not cut off.

    Attributes:
        in_frames: whether the server writes frames with ``Content-Length``.
    """

    def __init__(self, limit: int, source: str, reading: Callable[[], bool] = lambda: True) -> None:
        self.in_frames = False
        self._limit = limit
        self._source = source
        self._reading = reading
        self._splitter: LineSplitter | FrameSplitter = LineSplitter(limit)
        self._begun = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._fragment: Fragment | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._noisy = False
        """Whether the server has just written a line that is not a message, or many lines."""
        self._fed = 0
        """Number of calls of :meth:`feed`, which shows whether data still arrives."""

    def feed(self, data: bytes, receiver: Receiver) -> None:
        """Pass on the lines that ``data`` completes."""
        if not self._begun or self._decoder is not None:
            data = self._as_utf8(data, receiver)
        if self._noisy:
            data = self._take_log(data, receiver)
        self._fed += 1
        lines = self._splitter.feed(data)
        for number, line in enumerate(lines):
            if line[:1] == b"{" and line[-1] == _CLOSING_BRACE and self._fragment is None:
                receiver.message_received(line)
            elif stripped := line.strip():
                if not self.in_frames and is_header(stripped):
                    return self._change_to_frames(lines[number:], receiver)
                self._take_unusual(line, stripped, receiver)
        self._noisy = self._noisy or len(lines) > FLOOD
        if self._splitter.skipped:
            self._report_skipped(receiver)
        if self._watch is None and (self._splitter.has_partial or self._fragment is not None):
            self._look_later(receiver, 0, self._fed)

    def _take_log(self, data: bytes, receiver: Receiver) -> bytes:
        """Pass on the lines of a flood of text together; return what else there is."""
        self._noisy = False
        start, end = data.find(b"\n") + 1, data.rfind(b"\n") + 1
        if end - start < LOG_BYTES or len(data) > self._limit or not _is_log(data, start, end):
            return data
        self.feed(data[:start], receiver)  # the end of a line
        if self._fragment is not None or self.in_frames:
            return data[start:]
        receiver.noise_received(self._source, text_of_lines(data[start:end], str.strip))
        self._noisy = True
        return data[end:]

    def _as_utf8(self, data: bytes, receiver: Receiver) -> bytes:
        """Convert a stream that begins like UTF-16 or UTF-32, in which lines cannot be found."""
        if not self._begun:
            self._begun = True
            encoding = reader.encoding_of(data)
            if encoding:
                self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
                receiver.noise_received(
                    "transport", f"the server writes {encoding} instead of UTF-8; it is converted"
                )
        if self._decoder is None:
            return data
        plain = _PLAIN_MESSAGE.search(data)
        if plain is None:
            return self._decoder.decode(data).encode()
        before = self._decoder.decode(data[: plain.start()], final=True).encode()
        self._decoder = None  # from here on it writes UTF-8
        return before + data[plain.start() :]

    def _take_unusual(self, line: bytes, stripped: bytes, receiver: Receiver) -> None:
        """Take a line that is not simply an object: noise, or a message in an odd form."""
        if b"\0" in line[:4] or line[:1] in (b"\xff", b"\xfe"):
            line = reader.line_as_utf8(line)
            stripped = line.strip()
            if not stripped:
                return
        if self._fragment is not None:
            if not fragments.interrupts(line):
                return self._add_to_fragment(line, receiver)
            self._end_fragment(receiver)
        whole = stripped[-1:] in b"}]"
        if not whole and fragments.begins(stripped):
            self._fragment = Fragment(line)
        elif stripped[:1] == b"{" or reader.may_be_message(stripped) or self._stands_in(stripped):
            receiver.message_received(messages.one_line(stripped))
        else:
            self._noisy = True
            receiver.noise_received(self._source, printable(stripped))

    def _stands_in(self, line: bytes) -> bool:
        return stand_ins.stands_for_response(line, in_frames=self.in_frames) != stand_ins.NO_RESPONSE

    def _add_to_fragment(self, line: bytes, receiver: Receiver) -> None:
        assert self._fragment is not None
        if self._fragment.add(line) or self._fragment.size > self._limit:
            self._end_fragment(receiver)

    def _end_fragment(self, receiver: Receiver) -> None:
        """Pass on what has arrived of a message on several lines; if it is not complete, it never will be."""
        fragment, self._fragment = self._fragment, None
        if fragment is not None:
            receiver.message_received(fragment.data)

    def _change_to_frames(self, lines: list[bytes], receiver: Receiver) -> None:
        """Read frames from now on, beginning with these lines, of which the first is a header."""
        assert isinstance(self._splitter, LineSplitter)
        rest = b"".join(line + b"\n" for line in lines) + self._splitter.partial
        self.in_frames = True
        self._splitter = FrameSplitter(self._limit, with_headers=True)
        receiver.noise_received(
            "transport", "the server writes frames with Content-Length instead of lines; both are read"
        )
        self.feed(rest, receiver)

    def _report_skipped(self, receiver: Receiver) -> None:
        size, self._splitter.skipped = self._splitter.skipped, 0
        report = f"a line of {size} bytes was dropped: {over_limit(self._limit)}"
        receiver.noise_received(self._source, report)
        raw_id = reader.cut_answer(*self._splitter.ends)
        if raw_id:
            receiver.message_received(too_large(raw_id, f"the response has {size} bytes", self._limit))

    # --- lines that do not end --------------------------------------------------------------------

    def _look_later(self, receiver: Receiver, looks: int, fed: int) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(LOOK_INTERVAL, self._look, receiver, looks, fed)

    def _look(self, receiver: Receiver, looks: int, fed: int) -> None:
        """Check the part of an unfinished line or message that has arrived."""
        self._watch = None
        if self._fragment is None and not self._splitter.has_partial:
            return
        partial = self._splitter.partial
        if self._fed != fed or not self._reading():
            return self._look_later(receiver, 0, self._fed)
        if not looks and _is_whole(partial):
            self._splitter.take_partial()
            receiver.noise_received("transport", "the server does not end each message with a line end")
            receiver.message_received(messages.one_line(partial.strip()))
        elif looks + 1 >= STALLED_LOOKS:
            self._give_up(receiver)
        else:
            if not looks:
                self._show_stand_in(partial.strip(), receiver)
            self._look_later(receiver, looks + 1, fed)

    def _show_stand_in(self, begun: bytes, receiver: Receiver) -> None:
        """Pass on what stands in place of a response and has no line end, or is a header without its message."""
        if begun[:1] == b"{":
            return
        begun = begun[:NOISE_CHARACTERS]
        if isinstance(self._splitter, FrameSplitter) and self._splitter.announced:
            begun = b"%b %b" % (self._splitter.announced, begun)
        if self._stands_in(begun) or is_header(begun):
            receiver.message_received(messages.one_line(begun))

    def _give_up(self, receiver: Receiver) -> None:
        """Pass on the beginning of a message whose rest does not come; the rest, if it comes after all, is dropped."""
        self._end_fragment(receiver)
        begun = self._splitter.partial.strip()
        if begun[:1] in (b"{", b"["):
            self._splitter.abandon_partial()
            text = f"{len(begun)} bytes of a message arrived, then nothing for {STALLED_LOOKS * LOOK_INTERVAL:g} s"
            receiver.noise_received("transport", f"{text}; does the server flush its output?")
            receiver.message_received(messages.one_line(begun))
        elif not begun and isinstance(self._splitter, FrameSplitter):
            self._splitter.abandon_partial()  # a header without its message: what follows is read as lines

    def finish(self, receiver: Receiver) -> None:
        """Pass on what came without a line end: nothing follows."""
        self.close()
        self._end_fragment(receiver)
        rest = self._splitter.take_partial().strip()
        if rest:
            self._take_unusual(rest, rest, receiver)
            self._end_fragment(receiver)

    def close(self) -> None:
        """Stop the checks."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def _is_whole(text: bytes) -> bool:
    return text.strip()[:1] in (b"{", b"[") and json_scan.is_whole(text.strip())


def _is_log(data: bytes, start: int, end: int) -> bool:
    """Return whether each of the whole lines from ``start`` to ``end`` is surely nothing but text."""
    return (
        data.find(b"jsonrpc", start, end) < 0
        and _UNUSUAL_START.search(data, start - 1, end) is None
        and data.find(b'"id"', start, end) < 0
        and _NO_TEXT.search(data, start, end) is None
        and (data.find(b"\n{", start - 1, end) < 0 or reader.are_log_records(data, start, end))
    )


def over_limit(limit: int) -> str:
    """Say which limit was exceeded, in bytes."""
    return f"it exceeds max_message_bytes ({limit})"


def too_large(raw_id: bytes, what: str, limit: int) -> bytes:
    """Return the JSON-RPC error that replaces a response over the limit."""
    return messages.error_response(raw_id, RESPONSE_TOO_LARGE, f"{what}: {over_limit(limit)}")


def printable(line: bytes) -> str:
    """Return the beginning of a line as text."""
    return line[: NOISE_CHARACTERS * 4].decode(errors="replace")[:NOISE_CHARACTERS]


def text_of_lines(data: bytes, strip: Callable[[str], str]) -> str:
    """Return lines as text, without blank ones; each is cut as :func:`printable` does."""
    lines = map(strip, data.decode(errors="replace").split("\n"))
    return "\n".join([line[:NOISE_CHARACTERS] for line in lines if line])
