"""One principal's history of records, and the watchers that read it, each from its own position.

A watcher that falls behind the oldest record, because it is slow or was disconnected, gets a gap record with the exact
number of records it missed. Knows neither redaction nor links.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

import msgspec

from mcp_ws_ide.compiling import mypyc_attr, plain_data
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.observe.scope import EVERYTHING, Asked, Scope
from mcp_ws_ide.observe.tap_record import AttachedRecord, GapRecord, TapRecord, encode

HISTORY_RECORDS: Final = 10_000
"""Records that one feed keeps."""
HISTORY_BYTES: Final = 16 << 20
"""Bytes of memory that the records of one feed take, approximately."""
OVERHEAD: Final = 600
"""Bytes that a record is counted with, besides twice its text."""
BATCH_RECORDS: Final = 500
"""Records that a watcher takes at a time."""
BATCH_BYTES: Final = 256 << 10
"""Bytes of records that a watcher takes at a time."""


def clock() -> tuple[float, float]:
    """Unix time and monotonic time, in seconds."""
    return time.time(), time.monotonic()


class Missed(NamedTuple):
    """Records that are missing.

    Attributes:
        start, end: numbers of the first and the last; None if unknown.
        number: how many; None if unknown.
    """

    start: int | None
    end: int | None
    number: int | None

    @property
    def detail(self) -> str:
        """The same as text."""
        if self.number is None:
            return "records may be missing: the gateway restarted, or had no watcher for too long"
        return f"{self.number} records are missing: newer records displaced them before they were read"


@mypyc_attr(allow_interpreted_subclasses=True)
class Position(ABC):
    """A place in a feed, and what was lost before it was read there.

    Args:
        wake: called when records become available after everything was taken.
        token: the gateway token that limits it to that token's sessions; None for no limit.
        close: ends the subscription, with a close code and the reason.

    Attributes:
        drops: how many records were lost because they were read too slowly.
        next: number of the next record to take.
        everything: whether it gets every record.
        from_peer: whether it reads for another gateway, which gets no records of third ones from here.
    """

    from_peer: ClassVar[bool] = False

    def __init__(
        self,
        wake: Callable[[], None],
        token: str | None = None,
        close: Callable[[CloseCode, str], None] = lambda code, reason: None,
    ) -> None:
        self.wake = wake
        self.close = close
        self.token = token
        self.drops = 0
        self.everything = False
        self.next = 0
        self._feed: Feed | None = None
        self._missed: list[int] = []
        self._told = 0
        """Drops that were reported."""

    def attach(self, feed: Feed, after: int | None, instance: str | None) -> None:
        """Start in ``feed``: after record ``after`` of the feed ``instance``, or with the next new record."""
        self._feed = feed
        self.next = feed.seq + 1
        gap: Missed | None = None
        if after is not None and instance != feed.instance:
            self.next, gap = feed.first, Missed(None, None, None)
        elif after is not None:
            self.next = max(after + 1, feed.first)
            if self.next > after + 1:
                gap = Missed(after + 1, self.next - 1, self.next - 1 - after)
        self.attached(feed, gap)

    @abstractmethod
    def attached(self, feed: Feed, gap: Missed | None) -> None:
        """Note where it starts, and what is missing before."""

    def lose(self, record: TapRecord, token: str | None) -> bool:
        """Count a record that is discarded before it was taken; return whether it would have been read."""
        self.next = record.seq + 1
        if not self.sees(record, token):
            return False
        self.drops += 1
        self._missed = [self._missed[0] if self._missed else record.seq, record.seq]
        return True

    @abstractmethod
    def sees(self, record: TapRecord, token: str | None) -> bool:
        """Whether it gets ``record``; ``token`` is that of the record's session."""

    def missed(self) -> Missed | None:
        """Return what was lost since the last call; None if nothing was."""
        if not self._missed:
            return None
        start, end = self._missed
        self._missed = []
        lost, self._told = self.drops - self._told, self.drops
        return Missed(start, end, lost)


class Watcher(Position):
    """One subscriber, which takes records as lines of JSON.

    Args:
        wake, token, close: as of :class:`Position`; ``wake`` is called after :meth:`take` returned none.
        scope: what it asked for.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        scope: Scope = EVERYTHING,
        token: str | None = None,
        close: Callable[[CloseCode, str], None] = lambda code, reason: None,
    ) -> None:
        super().__init__(wake, token, close)
        self.everything = scope == EVERYTHING and token is None
        self._scope = scope
        self._asked = Asked()
        self._first: list[bytes] = []

    def attached(self, feed: Feed, gap: Missed | None) -> None:
        """Queue the records about the link itself."""
        attached = AttachedRecord(self.next - 1, *clock(), event="attached", instance=feed.instance)
        attached.gateway = feed.gateway or msgspec.UNSET
        self._first = [encode(attached)]
        if gap is not None:
            self._first.append(self._gap(gap))

    def sees(self, record: TapRecord, token: str | None) -> bool:
        """Whether the watcher asked for ``record`` and may see it; ``token`` is that of the record's session."""
        if self.everything or record.kind == "gap":
            return True
        if self.token is not None and token != self.token:
            return False
        return self._scope.accepts(record, self._asked)

    def take(self) -> bytes:
        """Take the next records, at most a batch, as one JSON object per line; ``b""`` if there are none.

        ``attached`` and gaps come alone.
        """
        if self._first:
            return self._first.pop(0)
        if (missed := self.missed()) is not None:
            return self._gap(missed)
        feed = self._feed
        if feed is None:
            return b""
        lines = feed.lines(self)
        if not lines:
            feed.sleep(self)
        return lines

    def _gap(self, missed: Missed) -> bytes:
        at = missed.end if missed.end is not None else self.next - 1
        return encode(
            GapRecord(
                *(at, *clock()),
                kind="gap",
                event="gap",
                detail=missed.detail,
                drops=self.drops,
                from_=missed.start,
                to=missed.end,
                count=missed.number,
            )
        )


@plain_data(acyclic=True)
class Held:
    """A record of a feed, the gateway token of its session, and the bytes it is counted with."""

    __slots__ = ("record", "token", "weight")

    def __init__(self, record: TapRecord, token: str | None, weight: int) -> None:
        self.record = record
        self.token = token
        self.weight = weight


class _Batch(NamedTuple):
    """The records from number ``start`` to before ``end``, as lines: watchers that keep up take the same batches."""

    start: int
    end: int
    lines: bytes


_encode_lines: Final = msgspec.json.Encoder().encode_lines


class Feed:
    """The newest records of one principal, numbered from 1, and their watchers.

    A full feed discards its oldest record, so that reporting never waits for a watcher.

    Args:
        gateway: id of this gateway, if it is one of several; ``""`` if not.

    Attributes:
        instance: random id that distinguishes this feed's numbers from those of any other feed, also after a restart.
            It begins with the id of the gateway, if that is one of several.
        seq, first: numbers of the newest record and of the oldest one kept.
        sleeping: watchers that have taken all records.
        ends: when the feed is discarded (``time.monotonic``); None while it is watched.
        gathers_until: when it stops to gather the records of other gateways (``time.monotonic``); None while a watcher
            of this gateway reads it, 0 if there was none.
        drops: records that its watchers have missed.
    """

    def __init__(self, gateway: str = "") -> None:
        self.gateway = gateway
        self.instance = f"{gateway}.{secrets.token_hex(8)}" if gateway else secrets.token_hex(8)
        self.seq = 0
        self.first = 1
        self.watchers: list[Position] = []
        self.sleeping: list[Position] = []
        self.ends: float | None = None
        self.gathers_until: float | None = 0.0
        self.drops = 0
        self._bytes = 0
        self._batch = _Batch(0, 0, b"")
        self._ring: list[Held | None] = [None] * HISTORY_RECORDS
        """Record n is at index n modulo the length."""

    def sleep(self, position: Position) -> None:
        """Wake a watcher that has taken everything with the next record."""
        if position not in self.sleeping:
            self.sleeping.append(position)

    def append(self, record: TapRecord, token: str | None) -> None:
        """Add a record with the number ``seq + 1``; ``token`` as of :meth:`Position.sees`."""
        seq = record.seq
        weight = OVERHEAD if record.raw is None else OVERHEAD + 2 * len(record.raw)
        self._bytes += weight
        if seq - self.first >= HISTORY_RECORDS or self._bytes > HISTORY_BYTES:
            self._make_room(seq)
        self._ring[seq % HISTORY_RECORDS] = Held(record, token, weight)
        self.seq = seq
        if self.sleeping:
            sleeping, self.sleeping = self.sleeping, []
            for watcher in sleeping:
                watcher.wake()

    def _make_room(self, seq: int) -> None:
        """Discard the oldest records until record ``seq``, which is counted already, fits."""
        first, ring = self.first, self._ring
        while first < seq and (seq - first >= HISTORY_RECORDS or self._bytes > HISTORY_BYTES):
            index = first % HISTORY_RECORDS
            old = ring[index]
            assert old is not None
            ring[index] = None
            self._bytes -= old.weight
            for watcher in self.watchers:
                if watcher.next == first:
                    self.drops += watcher.lose(old.record, old.token)
            first += 1
        self.first = first

    def lines(self, watcher: Watcher) -> bytes:
        """Return the next records that ``watcher`` sees, at most a batch, as lines, and advance it."""
        batch = self._batch
        if watcher.everything and watcher.next == batch.start:
            watcher.next = batch.end
            return batch.lines
        start = watcher.next
        held = self.held(watcher)
        lines = _encode_lines([one.record for one in held])[:-1]
        if watcher.everything and held:
            self._batch = _Batch(start, watcher.next, lines)
        return lines

    def held(self, position: Position) -> list[Held]:
        """Return the next records that a position sees, at most a batch, and advance it. A gap comes alone."""
        found: list[Held] = []
        ring, last, everything, sees = self._ring, self.seq, position.everything, position.sees
        seq, size = position.next, 0
        while seq <= last and size < BATCH_BYTES and len(found) < BATCH_RECORDS:
            held = ring[seq % HISTORY_RECORDS]
            assert held is not None
            record = held.record
            if everything or sees(record, held.token):
                if record.kind == "gap":
                    if found:
                        break
                    size = BATCH_BYTES
                size += held.weight
                found.append(held)
            seq += 1
        position.next = seq
        return found
