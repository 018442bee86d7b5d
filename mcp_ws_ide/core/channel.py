"""Exactly-once delivery over successive links: one side's counters and its buffer of unacknowledged frames.

Pure, and the same on both sides (docs/reference/binding.md, section 6). Positions are implicit: the n-th data frame
of a direction has position n, which never appears on the wire. Invariants:

1. ``base`` ≤ what the peer has acknowledged ≤ ``sent``; the buffer holds exactly the frames of positions
   ``base + 1`` … ``sent``.
2. A frame leaves the buffer only when the peer has acknowledged it, or when a gap replaces it, in its place and with as
   many positions.
3. ``received`` counts data frames after they were processed, so that only processed frames are acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from mcp_ws_ide.core import binding

ACK_FRAMES: Final = 8
"""Unacknowledged data frames after which a side acknowledges immediately."""
ACK_WITH_DATA: Final = 7
"""Unacknowledged data frames after which an acknowledgement is sent along with other data: two frames in one write cost
less than two writes."""
ACK_SHARE: Final = 8
"""A side also acknowledges immediately after receiving this fraction (one eighth) of the window's bytes."""


class PositionError(ValueError):
    """The peer named an impossible position: it acknowledges frames that were never sent, or asks for frames that it
    acknowledged before."""


Entry = tuple[int, bytes, int, bool]
"""One entry of the buffer: the first of its positions; the frame, ``b""`` for a gap; how many positions it takes, more
than one only for a gap; and whether a gap may replace it."""


class ReliableChannel:
    """One side of a resumable session.

    Args:
        max_frames, max_bytes: the window: how much unacknowledged data this side keeps.

    Attributes:
        base: frames that the peer has acknowledged.
        sent: frames sent, in all.
        received: frames from the peer that were processed, in all.
        acked: the count that was acknowledged to the peer last.
        unacked_received: bytes received since then.
        unacked_bytes: bytes in the buffer.
        dropped: positions of the frames that gaps have replaced in the buffer; whoever stores the session empties it.
            None if nothing stores the session.
    """

    __slots__ = (
        "_ack_bytes",
        "_entries",
        "_gaps_counted",
        "acked",
        "base",
        "dropped",
        "max_bytes",
        "max_frames",
        "received",
        "sent",
        "unacked_bytes",
        "unacked_received",
    )

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.set_window(max_frames, max_bytes)
        self.base = 0
        self.sent = 0
        self.received = 0
        self.acked = 0
        self.unacked_received = 0
        self.unacked_bytes = 0
        self.dropped: list[int] | None = None
        self._gaps_counted = 0
        """The last position whose gap :meth:`count_gaps` has counted."""
        self._entries: deque[tuple[bytes, int, bool]] = deque()
        """Data, weight in positions, and whether it may be dropped. A gap has the data ``b""``."""

    @classmethod
    def restored(
        cls, max_frames: int, max_bytes: int, received: int, base: int, entries: Iterable[Entry]
    ) -> ReliableChannel:
        """Return a channel that continues a stored one.

        Args:
            max_frames, max_bytes: the window.
            received: frames from the peer that were processed, in all.
            base: frames that the peer has acknowledged.
            entries: all later ones, in order.
        """
        channel = cls(max_frames, max_bytes)
        channel.received = channel.acked = received
        channel.base = channel.sent = base
        for _, data, weight, droppable in entries:
            channel._entries.append((data, weight, droppable))
            channel.unacked_bytes += len(data)
            channel.sent += weight
        return channel

    def entries_after(self, position: int) -> list[Entry]:
        """Return what the buffer holds after a position, in order; a gap that reaches across it is cut."""
        last = self.sent
        if position == last - 1:
            data, _, droppable = self._entries[-1]
            return [(last, data, 1, droppable)]
        found = []
        for data, weight, droppable in reversed(self._entries):
            if last <= position:
                break
            first = max(last - weight, position) + 1
            found.append((first, data, last - first + 1, droppable))
            last -= weight
        return found[::-1]

    def set_window(self, max_frames: int, max_bytes: int) -> None:
        """Set the window; it also determines after how many bytes to acknowledge."""
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self._ack_bytes = max(1, max_bytes // ACK_SHARE)

    @property
    def kept(self) -> int:
        """Entries of the buffer; a gap is one entry, however many positions it weighs."""
        return len(self._entries)

    # --- sending --------------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        """Frames that the peer has not acknowledged."""
        return self.sent - self.base

    @property
    def full(self) -> bool:
        """Whether the window is used up."""
        return len(self._entries) >= self.max_frames or self.unacked_bytes >= self.max_bytes

    def push(self, data: bytes, droppable: bool = False) -> None:
        """Add the next data frame to the buffer, even if the window is full."""
        self._entries.append((data, 1, droppable))
        self.unacked_bytes += len(data)
        self.sent += 1

    def push_if_room(self, data: bytes, droppable: bool) -> bool:
        """Add the next data frame to the buffer if the window has room; otherwise return False and change nothing."""
        entries, size = self._entries, self.unacked_bytes
        if len(entries) >= self.max_frames or size >= self.max_bytes:
            return False
        entries.append((data, 1, droppable))
        self.unacked_bytes = size + len(data)
        self.sent += 1
        return True

    def push_gap(self) -> None:
        """Drop the next data frame instead of keeping it; a gap takes its position."""
        self.sent += 1
        if self._entries and not self._entries[-1][0]:
            self._entries[-1] = (b"", self._entries[-1][1] + 1, False)
        else:
            self._entries.append((b"", 1, False))

    def acknowledge(self, recv: int) -> None:
        """Forget the first ``recv`` frames, which the peer has processed.

        Raises:
            PositionError: ``recv`` exceeds what was sent. A count below a known one is stale, not wrong.
        """
        if recv > self.sent:
            raise PositionError(f"the peer acknowledged {recv} frames, but only {self.sent} were sent")
        entries = self._entries
        while self.base < recv:
            data, weight, droppable = entries[0]
            step = min(weight, recv - self.base)
            self.base += step
            if step == weight:
                entries.popleft()
                self.unacked_bytes -= len(data)
            else:
                entries[0] = (data, weight - step, droppable)

    def replay_after(self, recv: int, until: int | None = None) -> list[bytes]:
        """Return everything that the peer has not received, gaps included, to be written to a new link.

        Args:
            until: the last position to return; None for all.

        Raises:
            PositionError: the peer claims to have received more than was sent, or less than it acknowledged.
        """
        if recv < self.base:
            raise PositionError(
                f"frames after {recv} cannot be replayed: {self.base} were acknowledged and are no longer kept"
            )
        self.acknowledge(recv)
        return self._replay() if until is None else self._replay_until(until)

    def _replay(self) -> list[bytes]:
        return [data or binding.gap(weight) for data, weight, _ in self._entries]

    def _replay_until(self, until: int) -> list[bytes]:
        frames, position = [], self.base
        for data, weight, _ in self._entries:
            if position >= until:
                break
            frames.append(data or binding.gap(min(weight, until - position)))
            position += weight
        return frames

    def make_room(self) -> int:
        """Replace the oldest droppable frames with gaps until an eighth of the window is free.

        Returns:
            The number of frames dropped: 0 if the window is not :attr:`full`, or holds no droppable frame.
        """
        if not self.full:
            return 0
        frames = len(self._entries) - self.max_frames * 7 // 8
        size = self.unacked_bytes - self.max_bytes * 7 // 8
        kept: deque[tuple[bytes, int, bool]] = deque()
        dropped, position = 0, self.base
        for data, weight, droppable in self._entries:
            position += weight
            if droppable and (frames > 0 or size > 0):
                dropped += 1
                if self.dropped is not None:
                    self.dropped.append(position)
                size -= len(data)
                self.unacked_bytes -= len(data)
                data, droppable = b"", False
            if not data and kept and not kept[-1][0]:
                kept[-1] = (b"", kept[-1][1] + weight, False)
                frames -= 1
            else:
                kept.append((data, weight, droppable))
        self._entries = kept
        return dropped

    def count_gaps(self) -> int:
        """Return how many frames the peer will never get, counting each once; call it when a replay is sent.

        A frame that was dropped from the buffer is not a gap if the peer had received it before.
        """
        position, missed = self.base, 0
        for data, weight, _ in self._entries:
            if not data:
                missed += max(position + weight - max(position, self._gaps_counted), 0)
            position += weight
        self._gaps_counted = max(position, self._gaps_counted)
        return missed

    # --- receiving ------------------------------------------------------------------------------

    def accept(self, size: int, weight: int = 1) -> bool:
        """Count a processed data frame of ``size`` bytes, or a gap of ``weight`` frames.

        Returns:
            Whether to acknowledge now rather than within a second.
        """
        self.received += weight
        self.unacked_received += size
        return self.received - self.acked >= ACK_FRAMES or self.unacked_received >= self._ack_bytes

    @property
    def owes_ack(self) -> bool:
        """Whether anything was received and is not acknowledged."""
        return self.received > self.acked

    def take_ack(self) -> bytes:
        """Return the acknowledgement to send now, and count it as sent."""
        self.acked = self.received
        self.unacked_received = 0
        return binding.ack(self.received)
