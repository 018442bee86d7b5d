"""The store of records: numbers in arrays, texts in an unlinked file.

A row is an absolute number that does not change while the row is held; ``first`` ≤ row < ``end``. Each row takes about
80 bytes of memory; its text is in a spill file that is unlinked on creation, so that it disappears with the process and
no other program can open it.

Bounds: at most ``max_records`` rows and ``max_spill`` bytes of text. When either is reached, the oldest rows are
removed, a sixteenth of the records or one segment of the file at a time; ``forgotten`` counts them.

Knows nothing of how columns relate (pairing, statistics) or how they are shown.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol

from mcp_ws_ide.inspector.model.records import KINDS, Kind, Lane, Status, id_text, lane_of
from mcp_ws_ide.observe.tap_record import TapRecord

MAX_RECORDS: Final = 1_000_000
MAX_SPILL: Final = 1 << 30
"""Bytes of text in the spill file."""
SEGMENT: Final = 64 << 20
"""Bytes after which another spill file is started; the unit in which text is removed."""
WRITE_AT: Final = 256 << 10
"""Bytes of text that wait in memory before they are written."""
MAP_ABOVE: Final = 1 << 20
"""Ranges above this many bytes are mapped for a search, smaller ones read."""
MAX_NAMES: Final = 200_000
MAX_NAME: Final = 256
"""Characters kept of a name, as peers choose them."""
OTHER: Final = "(others)"

TRUNCATED: Final = 1
PROBLEM: Final = 2
MARKED: Final = 4
NONE: Final = 0xFFFFFFFF
"""No row, in a column of rows."""
_KINDS: Final = tuple(Kind)
_LANES: Final = tuple(Lane)
_STATUSES: Final = tuple(Status)


class Pattern(Protocol):
    """A search pattern: a compiled regular expression, or an object that searches like one."""

    def search(self, data: bytes | mmap.mmap, start: int, end: int, /) -> Any:
        """Return the first match within ``start`` … ``end``, or None."""


class Names:
    """Texts by number, each kept once; further texts are :data:`OTHER`."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._numbers: dict[str, int] = {"": 0}
        self.texts: list[str] = [""]

    def number(self, text: str) -> int:
        """Return the number of ``text``."""
        number = self._numbers.get(text)
        return number if number is not None else self._add(text[:MAX_NAME])

    def _add(self, text: str) -> int:
        if len(self.texts) >= self._limit:
            text = OTHER
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


@dataclass(frozen=True, slots=True)
class Body:
    """The text of a row: the id as JSON (``""`` if there is none), and the message or detail."""

    id: str
    text: str


class Store:
    """Rows in the order of arrival.

    The columns are public, and read-only for everything except pairing; index them with ``row - first``.
    """

    def __init__(self, max_records: int = MAX_RECORDS, max_spill: int = MAX_SPILL) -> None:
        self._max_records = max_records
        self._max_spill = max_spill
        self.first = 0
        self.forgotten = 0
        self.keeps = False
        """Whether rows are kept beyond the bounds, while something reads them that must not lose any."""
        self.highest = 0
        """The highest number of a record so far."""
        self.names = Names()
        self.sessions = Names()
        self.seq = array("Q")
        self.time = array("d")
        self.mono = array("d")
        self.offset = array("Q")
        self.length = array("I")
        self.size = array("I")
        self.id_hash = array("I")
        self.server = array("I")
        self.session = array("I")
        self.gateway = array("I")
        self.method = array("I")
        self.target = array("I")
        self.pair = array("I")
        self.parent = array("I")
        self.twin = array("I")
        self.latency = array("f")
        self.kind = array("B")
        self.lane = array("B")
        self.status = array("B")
        self.flags = array("B")
        self._columns = [value for value in vars(self).values() if isinstance(value, array)]
        self._spill = Spill()

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def end(self) -> int:
        """The next row."""
        return self.first + len(self.seq)

    def holds(self, row: int) -> bool:
        """Return whether ``row`` is still held."""
        return self.first <= row < self.end

    def row_of(self, seq: int, moment: float) -> int | None:
        """Return the held row with this number and time; None if there is none."""
        index = -1
        while True:
            try:
                index = self.seq.index(seq, index + 1)
            except ValueError:
                return None
            if self.time[index] == moment:
                return index + self.first

    def close(self) -> None:
        """Close the spill file."""
        self._spill.close()

    def append(self, record: TapRecord, target: str = "") -> int:
        """Append a record; return its row."""
        identifier = id_text(record.id)
        text = (record.raw if record.kind != "event" else record.detail) or ""
        entry = b"%b\n%b\n" % (identifier, text.encode(errors="replace"))
        name = record.event if record.kind in ("event", "noise") else record.method
        self.seq.append(max(record.seq, 0))
        self.highest = max(self.highest, record.seq)
        self.time.append(record.time)
        self.mono.append(record.mono)
        self.offset.append(self._spill.write(entry))
        self.length.append(len(entry))
        self.size.append(min(max(record.size, 0), NONE))
        self.id_hash.append(zlib.crc32(identifier))
        self.server.append(self.names.number(record.server))
        self.session.append(self.sessions.number(record.session or ""))
        self.gateway.append(self.names.number(record.gateway or ""))
        self.method.append(self.names.number(name or ""))
        self.target.append(self.names.number(target))
        self.pair.append(NONE)
        self.parent.append(NONE)
        self.twin.append(NONE)
        self.latency.append(-1.0)
        self.kind.append(KINDS.get(record.kind, Kind.EVENT))
        self.lane.append(lane_of(record))
        self.status.append(Status.NONE)
        self.flags.append(TRUNCATED if record.truncated else 0)
        row = self.end - 1
        self._forget_oldest()
        return row

    def _forget_oldest(self) -> None:
        if self.keeps:
            return
        if (surplus := len(self) - self._max_records) > 0:
            self._forget(max(surplus, self._max_records // 16))
        while self._spill.size > self._max_spill and self._spill.segments > 1:
            start = self._spill.drop_segment()
            self._forget(bisect_right(self.offset, start - 1))

    def _forget(self, count: int) -> None:
        for column in self._columns:
            del column[:count]
        self.first += count
        self.forgotten += count

    # --- one row ---------------------------------------------------------------------------------

    def body(self, row: int) -> Body:
        """Return the text of a row.

        Raises:
            KeyError: the row is no longer held.
        """
        if not self.holds(row):
            raise KeyError(row)
        index = row - self.first
        entry = self._spill.read(self.offset[index], self.length[index])
        if b"\0" in entry and self._spill.trouble:
            return Body("", f"(its text was not kept: {self._spill.trouble})")
        identifier, _, text = entry.partition(b"\n")
        return Body(identifier.decode(errors="replace"), text[:-1].decode(errors="replace"))

    def beginning(self, row: int, size: int) -> str:
        """Return at most about ``size`` bytes of the text of a held row; ``""`` if it was not kept."""
        index = row - self.first
        entry = self._spill.read(self.offset[index], min(self.length[index], size))
        if b"\0" in entry and self._spill.trouble:
            return ""
        return entry.partition(b"\n")[2].decode(errors="replace").rstrip("\n")

    @property
    def trouble(self) -> str:
        """Why texts are missing; ``""`` if none is."""
        return self._spill.trouble

    def method_of(self, row: int) -> str:
        """Return the method, or the name of an event."""
        return self.names.texts[self.method[row - self.first]]

    def target_of(self, row: int) -> str:
        """Return the tool, prompt or resource; of a response, that of its request."""
        return self.names.texts[self.target[row - self.first]]

    def server_of(self, row: int) -> str:
        """Return the server's name."""
        return self.names.texts[self.server[row - self.first]]

    def session_of(self, row: int) -> str:
        """Return the session's id; ``""`` on the server leg of a shared upstream."""
        return self.sessions.texts[self.session[row - self.first]]

    def gateway_of(self, row: int) -> str:
        """Return the id of the gateway that observed it; ``""`` if that is the only one."""
        return self.names.texts[self.gateway[row - self.first]]

    def kind_of(self, row: int) -> Kind:
        """Return the kind."""
        return _KINDS[self.kind[row - self.first]]

    def lane_of(self, row: int) -> Lane:
        """Return leg and direction."""
        return _LANES[self.lane[row - self.first]]

    def status_of(self, row: int) -> Status:
        """Return the status."""
        return _STATUSES[self.status[row - self.first]]

    def latency_of(self, row: int) -> float | None:
        """Return the milliseconds from request to response; None without a response."""
        latency = self.latency[row - self.first]
        return latency if latency >= 0 else None

    def linked(self, column: array[int], row: int) -> int | None:
        """Return the row in ``column`` (``pair``, ``parent``, ``twin``), if it is still held."""
        other = column[row - self.first]
        return other if other != NONE and self.holds(other) else None

    def has(self, row: int, flag: int) -> bool:
        """Return whether a flag is set."""
        return bool(self.flags[row - self.first] & flag)

    def set_flag(self, row: int, flag: int, on: bool = True) -> None:
        """Set or clear a flag."""
        index = row - self.first
        self.flags[index] = self.flags[index] | flag if on else self.flags[index] & ~flag

    # --- search ----------------------------------------------------------------------------------

    def matching(self, pattern: Pattern, start: int, end: int) -> bytearray:
        """Return, for each row of ``start`` … ``end``, 1 if its id or text matches, else 0."""
        matches = bytearray(end - start)
        if start >= end:
            return matches
        low, high = start - self.first, end - self.first
        last = self.offset[high - 1] + self.length[high - 1]
        for base, data, begin, stop in self._spill.ranges(self.offset[low], last):
            for row in _matches(pattern, self.offset, self.length, base, data, begin, stop):
                matches[row - low] = 1
        return matches

    def texts(self, start: int, end: int) -> Texts:
        """Return the texts of the held rows ``start`` … ``end``, for a search in another thread."""
        low, high = start - self.first, end - self.first
        last = self.offset[high - 1] + self.length[high - 1]
        pieces = [
            (base + begin, bytes(data[begin:stop]))
            for base, data, begin, stop in self._spill.ranges(self.offset[low], last)
        ]
        return Texts(start, end, self.offset[low:high], self.length[low:high], pieces)

    def flagged(self, flag: int) -> bytes:
        """Return 1 for each held row with a flag, else 0."""
        return self.flags.tobytes().translate(bytes(bool(code & flag) for code in range(256)))


def _matches(
    pattern: Pattern,
    offset: array[int],
    length: array[int],
    base: int,
    data: bytes | mmap.mmap,
    position: int,
    stop: int,
) -> Iterator[int]:
    """Yield the indexes in ``offset`` of the rows whose text matches; ``base`` is the offset of ``data[0]``."""
    while position < stop and (match := pattern.search(data, position, stop)):
        index = bisect_right(offset, base + match.start()) - 1
        begin = offset[index] - base
        position = begin + length[index]
        # A match across the border of two rows: search again within this one.
        if match.end() <= position or pattern.search(data, begin, position):
            yield index


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of the rows ``start`` … ``end``, independent of the store.

    Attributes:
        pieces: offset in the spill file, and the bytes from there on; bytes that could not be written are missing.
    """

    start: int
    end: int
    offset: array[int]
    length: array[int]
    pieces: list[tuple[int, bytes]]

    def matching(self, pattern: Pattern) -> bytearray:
        """As :meth:`Store.matching`, for these rows."""
        matches = bytearray(self.end - self.start)
        for base, data in self.pieces:
            for row in _matches(pattern, self.offset, self.length, base, data, 0, len(data)):
                matches[row] = 1
        return matches


class Spill:
    """An append-only text in unlinked files of :data:`SEGMENT` bytes; offsets count through all of them."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._starts: list[int] = []
        self._end = 0
        self._buffer = bytearray()
        self.trouble = ""
        """Why texts could not be kept, if any are missing."""

    @property
    def segments(self) -> int:
        """The number of files."""
        return len(self._files)

    @property
    def size(self) -> int:
        """The bytes held."""
        return self._end - self._starts[0] if self._starts else 0

    def write(self, entry: bytes) -> int:
        """Append text; return its offset."""
        if not self._files or self._end - self._starts[-1] >= SEGMENT:
            self._flush()
            self._begin_segment()
        offset = self._end
        self._buffer += entry
        self._end += len(entry)
        if len(self._buffer) >= WRITE_AT:
            self._flush()
        return offset

    def _begin_segment(self) -> None:
        try:
            file: IO[bytes] = tempfile.TemporaryFile(prefix="mcp-ws-inspect-", buffering=0)  # noqa: SIM115
        except OSError as error:
            self.trouble = f"cannot create the temporary file for message texts: {error.strerror}"
            file = open(os.devnull, "r+b", buffering=0)  # noqa: SIM115 - reads as empty
        self._files.append(file)
        self._starts.append(self._end)

    def _flush(self) -> None:
        """Write buffered text. Text that cannot be written (a full disk) is missing, which is reported."""
        if not self._buffer:
            return
        view = memoryview(bytes(self._buffer))
        position = self._end - len(view) - self._starts[-1]
        self._buffer.clear()
        descriptor = self._files[-1].fileno()
        try:
            while view:
                written = os.pwrite(descriptor, view, position)
                view, position = view[written:], position + written
        except OSError as error:
            self.trouble = f"cannot write the temporary file for message texts: {error.strerror}"

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes at ``offset``, within one segment; bytes that could not be written read as zeros."""
        self._flush()
        segment = bisect_right(self._starts, offset) - 1
        data = os.pread(self._files[segment].fileno(), length, offset - self._starts[segment])
        return data.ljust(length, b"\0")

    def ranges(self, start: int, stop: int) -> Iterator[tuple[int, bytes | mmap.mmap, int, int]]:
        """Yield the bytes of ``start`` … ``stop``, per segment: offset of ``data[0]``, data, begin, end."""
        self._flush()
        ends = [*self._starts[1:], self._end]
        for file, begin, end in zip(self._files, self._starts, ends, strict=True):
            low, high = max(start, begin), min(stop, end)
            there = begin + os.fstat(file.fileno()).st_size if self.trouble else end
            high = min(high, there)
            if low >= high:
                continue
            if high - low < MAP_ABOVE:
                yield low, os.pread(file.fileno(), high - low, low - begin), 0, high - low
            else:
                with mmap.mmap(file.fileno(), min(end, there) - begin, access=mmap.ACCESS_READ) as data:
                    yield begin, data, low - begin, high - begin

    def drop_segment(self) -> int:
        """Remove the oldest file; return the offset at which the next begins."""
        self._files.pop(0).close()
        del self._starts[0]
        return self._starts[0]

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._files.clear()
        self._starts.clear()
