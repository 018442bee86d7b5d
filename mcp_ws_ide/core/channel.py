"""Exactly-once delivery over successive links: one side's counters and its buffer of unacknowledged frames.

Pure, and the same on both sides (docs/binding.md, section 6). Positions are implicit: the n-th data frame of a
direction has position n, and nothing on the wire says so. Invariants:

1. ``base`` ≤ what the peer has acknowledged ≤ ``sent``; the buffer holds the frames of positions
   ``base + 1`` … ``sent`` and nothing else.
2. A frame leaves the buffer only when the peer has acknowledged it, or as part of a gap that stands where it
   stood and weighs as many positions.
3. ``received`` counts data frames after they were taken, so that what is acknowledged was processed.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mcp_ws_ide.core import binding

ACK_FRAMES: Final = 8
"""Unacknowledged data frames after which a side acknowledges at once."""
ACK_WITH_DATA: Final = 7
"""Unacknowledged data frames after which an acknowledgement goes along with data that is sent anyway: two
frames in one write cost less than two writes."""
ACK_SHARE: Final = 8
"""A side also acknowledges at once when it has taken one part in this many of the window's bytes."""


class PositionError(ValueError):
    """The peer named a position that cannot be: it acknowledges what was never sent, or asks for what it
    acknowledged before."""


class ReliableChannel:
    """One side of a resumable session.

    Args:
        max_frames, max_bytes: the window: how much unacknowledged data this side keeps.
    """

    __slots__ = (
        "_ack_bytes",
        "_entries",
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
        """The count that was acknowledged to the peer last."""
        self.unacked_received = 0
        """Bytes taken since then."""
        self.unacked_bytes = 0
        self.dropped = 0
        """Frames that gave way to gaps, in all."""
        self._entries: deque[tuple[bytes, int, bool]] = deque()
        """Data, weight in positions, whether it may give way. A gap has the data ``b""``."""

    def set_window(self, max_frames: int, max_bytes: int) -> None:
        """What either side keeps; it also says when bytes alone are worth an acknowledgement."""
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self._ack_bytes = max(1, max_bytes // ACK_SHARE)

    @property
    def kept(self) -> int:
        """Entries of the buffer; a gap is one, however many positions it stands for."""
        return len(self._entries)

    # --- sending --------------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        """Frames of this side that the peer has not acknowledged."""
        return self.sent - self.base

    @property
    def full(self) -> bool:
        """Whether the window is used up."""
        return len(self._entries) >= self.max_frames or self.unacked_bytes >= self.max_bytes

    def push(self, data: bytes, droppable: bool = False) -> None:
        """Take the next data frame into the buffer. Whether there is room is the caller's question."""
        self._entries.append((data, 1, droppable))
        self.unacked_bytes += len(data)
        self.sent += 1

    def push_if_room(self, data: bytes, droppable: bool) -> bool:
        """As :meth:`push` where there is room; else returns False and changes nothing. The usual way."""
        entries, size = self._entries, self.unacked_bytes
        if len(entries) >= self.max_frames or size >= self.max_bytes:
            return False
        entries.append((data, 1, droppable))
        self.unacked_bytes = size + len(data)
        self.sent += 1
        return True

    def push_gap(self) -> None:
        """The next data frame gives way before it was kept: there is no room even for that."""
        self.sent += 1
        self.dropped += 1
        if self._entries and not self._entries[-1][0]:
            self._entries[-1] = (b"", self._entries[-1][1] + 1, False)
        else:
            self._entries.append((b"", 1, False))

    def acknowledge(self, recv: int) -> None:
        """The peer has processed ``recv`` frames: forget them.

        Raises:
            PositionError: more than were sent. An older count than a known one is stale, not wrong.
        """
        if recv > self.sent:
            raise PositionError(f"{recv} frames acknowledged, {self.sent} sent")
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

    def replay_after(self, recv: int) -> list[bytes]:
        """Everything the peer has not received, to be written to a new link, gaps included.

        Raises:
            PositionError: the peer received more than was sent, or less than it acknowledged.
        """
        if recv < self.base:
            raise PositionError(f"frames after {recv} are gone: {self.base} were acknowledged")
        self.acknowledge(recv)
        return [data or binding.gap(weight) for data, weight, _ in self._entries]

    def make_room(self) -> int:
        """Replace the oldest frames that may give way by gaps until an eighth of the window is free.

        Returns:
            How many frames gave way: 0 if the window is not :attr:`full`, or nothing in it can give way.
        """
        if not self.full:
            return 0
        frames = len(self._entries) - self.max_frames * 7 // 8
        size = self.unacked_bytes - self.max_bytes * 7 // 8
        kept: deque[tuple[bytes, int, bool]] = deque()
        dropped = 0
        for data, weight, droppable in self._entries:
            if droppable and (frames > 0 or size > 0):
                dropped += 1
                size -= len(data)
                self.unacked_bytes -= len(data)
                data, droppable = b"", False
            if not data and kept and not kept[-1][0]:
                kept[-1] = (b"", kept[-1][1] + weight, False)
                frames -= 1
            else:
                kept.append((data, weight, droppable))
        self._entries = kept
        self.dropped += dropped
        return dropped

    # --- receiving ------------------------------------------------------------------------------

    def accept(self, size: int, weight: int = 1) -> bool:
        """Count a data frame of ``size`` bytes that was processed (or a gap of ``weight`` of them).

        Returns:
            Whether it should be acknowledged now rather than within a second.
        """
        self.received += weight
        self.unacked_received += size
        return self.received - self.acked >= ACK_FRAMES or self.unacked_received >= self._ack_bytes

    @property
    def owes_ack(self) -> bool:
        """Whether anything was received and not acknowledged."""
        return self.received > self.acked

    def take_ack(self) -> bytes:
        """The acknowledgement to send now."""
        self.acked = self.received
        self.unacked_received = 0
        return binding.ack(self.received)
