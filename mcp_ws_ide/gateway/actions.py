"""What a stored session does when a batch is stored.

Structs of msgspec, which makes them in a fraction of the time of a class: one for each batch, and one for each frame of
the client.
"""

from __future__ import annotations

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.effects import Forward
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.gateway.upstream import Upstream
from mcp_ws_ide.links.base import Rebindable


class Inbound(msgspec.Struct, gc=False, eq=False):
    """A frame of the client that is staged, or stored and not processed yet.

    Attributes:
        data: the frame.
        message: what it is; None if it is no valid message.
        now: when it arrived (``time.perf_counter``).
        waits: ids of its requests that are stored as not transmitted.
        repeats: whether its id was in flight when it arrived, so that it is not stored as a request.
        again: whether an earlier gateway has counted it, and this one only sends it to the server.
    """

    data: bytes
    message: Message | None
    now: float
    waits: list[IdKey] = []
    repeats: bool = False
    again: bool = False


class Arrival:
    """A link that resumes the session as soon as its token is stored.

    Attributes:
        recv: data frames that its client has received.
        token: the token that it gets.
    """

    __slots__ = ("link", "recv", "token")

    def __init__(self, link: Rebindable, recv: int, token: str) -> None:
        self.link = link
        self.recv = recv
        self.token = token


class Actions(msgspec.Struct, eq=False):
    """The actions that wait until one batch is stored, in the order in which they are performed.

    Attributes:
        arrival: the link that resumes the session; it gets what is stored.
        out: messages to send to the client.
        close: a link to close then, with code and reason.
        marks: whether a request is marked as transmitted by the batch, so that what came after it waits.
        released: messages that may be handed to their upstream.
        frames: frames of the client to process.
    """

    arrival: Arrival | None = None
    out: list[bytes] = []
    close: tuple[Rebindable, CloseCode, str] | None = None
    marks: bool = False
    released: list[tuple[Forward, Upstream]] = []
    frames: list[Inbound] = []

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.out or self.frames or self.released or self.arrival or self.close)

    def absorb(self, later: Actions) -> None:
        """Append later actions to these."""
        self.arrival = later.arrival or self.arrival
        self.close = later.close or self.close
        self.out += later.out
        self.marks = self.marks or later.marks
        self.released += later.released
        self.frames += later.frames
