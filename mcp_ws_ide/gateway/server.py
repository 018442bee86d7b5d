"""One configured server: what is known about it, and when its next process may start."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.errors import NotAttempted
from mcp_ws_ide.observe.metrics import ServerCounters
from mcp_ws_ide.transports.base import Transport

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.prewarm import WarmPool
    from mcp_ws_ide.gateway.shared import SharedUpstream
    from mcp_ws_ide.gateway.upstream import Upstream

CRASH_WINDOW: Final = 60.0
"""Seconds in which crashes are counted together; as long without one, and the delays begin anew."""
CRASH_LIMIT: Final = 5
"""Crashes within the window that open the breaker."""
BREAKER_SECONDS: Final = 30.0
"""How long an open breaker refuses new processes."""
BACKOFF_FIRST: Final = 0.5
BACKOFF_LAST: Final = 30.0
"""Delay before the process after the first crash, doubled with each more up to the last, in seconds."""
_T = TypeVar("_T")
STOPPED: Final = "it was stopped by hand; restart it to use it again"
STDERR_LINES: Final = 500
STDERR_CHARACTERS: Final = 64 << 10
"""Bounds of the stderr that is kept of one user's processes of a server."""
KEPT_OWNERS: Final = 256
"""Users of one server of whom that, and how it last ended, is kept."""


class CrashLoop:
    """Decides from past crashes when a server may be started again."""

    def __init__(self, now: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._now = now
        self._jitter = jitter
        self._crashes: deque[float] = deque(maxlen=CRASH_LIMIT)
        self._backoff = 0.0
        """The delay after the last of the crashes in a row, before jitter."""

    def crashed(self) -> None:
        """A process ended unasked, or could not be started."""
        now = self._now()
        in_row = self._crashes and now - self._crashes[-1] < CRASH_WINDOW
        self._backoff = min(2 * self._backoff, BACKOFF_LAST) if in_row else BACKOFF_FIRST
        self._crashes.append(now)

    def reset(self) -> None:
        """An operator asked for a fresh start."""
        self._crashes.clear()

    @property
    def refusal(self) -> str | None:
        """Why no process may be started now, in words; None if one may."""
        left = self._breaker_left()
        if left <= 0:
            return None
        return (
            f"it failed {CRASH_LIMIT} times within {CRASH_WINDOW:.0f} s; "
            f"the next attempt is possible in {left:.0f} s, or after a restart by hand"
        )

    def _breaker_left(self) -> float:
        crashes = self._crashes
        if len(crashes) < CRASH_LIMIT or crashes[-1] - crashes[0] > CRASH_WINDOW:
            return 0.0
        return crashes[-1] + BREAKER_SECONDS - self._now()

    def delay(self) -> float:
        """Seconds to wait before the next process, with jitter."""
        if not self._crashes:
            return 0.0
        return max(0.0, self._crashes[-1] + self._backoff * (0.5 + self._jitter() / 2) - self._now())


class Exit(NamedTuple):
    """How a server last ended unasked. ``at`` in seconds since the epoch."""

    at: float
    reason: str


class StderrLine(NamedTuple):
    """One line of a server's stderr; ``seq`` counts the lines of one user's processes from 1."""

    seq: int
    at: float
    pid: int | None
    text: str


class StderrLog:
    """The newest stderr lines of one user's processes of a server, also of those that have ended."""

    def __init__(self) -> None:
        self.seq = 0
        self._lines: deque[StderrLine] = deque(maxlen=STDERR_LINES)
        self._size = 0

    def add(self, pid: int | None, text: str) -> None:
        """One more line; the oldest give way."""
        if len(self._lines) == STDERR_LINES:
            self._size -= len(self._lines[0].text)
        self.seq += 1
        line = StderrLine(self.seq, time.time(), pid, text[:STDERR_CHARACTERS])
        self._lines.append(line)
        self._size += len(line.text)
        while self._size > STDERR_CHARACTERS:
            self._size -= len(self._lines.popleft().text)

    def after(self, seq: int) -> list[StderrLine]:
        """The lines that are still there and came behind line ``seq``, oldest first."""
        return [line for line in self._lines if line.seq > seq]


class Server:
    """The live side of a :class:`~mcp_ws_ide.config.spec.ServerSpec`."""

    def __init__(
        self,
        spec: ServerSpec,
        counters: ServerCounters,
        make_transport: Callable[[ServerSpec, str], Transport],
        now: Callable[[], float],
    ) -> None:
        self.spec = spec
        self.counters = counters
        self.crash_loop = CrashLoop(now)
        self.era: Era | None = None
        self.refuses_handshake = False
        """Whether it has refused one with an error that servers without a handshake use."""
        self.stopped = False
        """Whether somebody has stopped it: nothing is started until it is restarted."""
        self._exits: dict[str, Exit] = {}
        self._stderr: dict[str, StderrLog] = {}
        self.upstreams: set[Upstream] = set()
        self.shared: dict[str, SharedUpstream] = {}
        self._make_transport = make_transport

        self.warm: WarmPool | None = None
        """Processes that wait to be taken, where the configuration asks for that."""
        self.forget()

    @property
    def name(self) -> str:
        """The configured name."""
        return self.spec.name

    def forget(self) -> None:
        """Find out anew what it speaks. A group is a modern server of our own making."""
        group = self.spec.kind == "group"
        self.era, self.refuses_handshake = (Era.MODERN if group else None), group

    @property
    def needs_bridge(self) -> bool:
        """Whether a client of the handshake era cannot talk to it by itself."""
        return self.refuses_handshake and self.era is Era.MODERN

    @property
    def members(self) -> tuple[str, ...]:
        """The servers a group is made of; none for any other server."""
        return self.spec.group

    @property
    def refusal(self) -> str | None:
        """Why no client can be served now, in words; None if one can."""
        if self.spec.disabled_reason is None and self.stopped:
            return STOPPED
        return self.spec.disabled_reason or self.crash_loop.refusal

    def refusal_to(self, principal: str) -> str | None:
        """:attr:`refusal`, with how the server last failed this user where that is what it comes from."""
        refusal, last = self.refusal, self.last_exit(principal)
        if refusal is None or last is None or self.stopped or self.spec.disabled_reason is not None:
            return refusal
        return f"{refusal}; the last time: {last.reason}"

    def failed(self, owner: str, reason: str) -> None:
        """It ended unasked, or could not be reached; ``owner`` is the user whose it was, ``""`` nobody's."""
        _remember(self._exits, owner, Exit(time.time(), reason))

    def last_exit(self, principal: str) -> Exit | None:
        """How it last failed this user, or before anybody used it: the words of a server may tell what its user did."""
        found = [self._exits[owner] for owner in (principal, "") if owner in self._exits]
        return max(found, default=None)

    def stderr(self, owner: str) -> StderrLog:
        """What the processes of this user have written to stderr."""
        return self._stderr.get(owner) or _remember(self._stderr, owner, StderrLog())

    def new_transport(self, principal: str = "") -> Transport:
        """A transport for this principal, not connected yet.

        Raises:
            NotAttempted: the server is disabled, or its breaker is open.
        """
        refusal = self.refusal_to(principal)
        if refusal is not None:
            raise NotAttempted(refusal)
        return self._make_transport(self.spec, principal)

    @property
    def state(self) -> str:
        """``disabled``, ``stopped``, ``failed``, ``running`` or ``idle``."""
        if self.spec.disabled_reason is not None:
            return "disabled"
        if self.stopped:
            return "stopped"
        if self.upstreams:
            return "running"
        return "failed" if self.crash_loop.refusal is not None else "idle"


def _remember(kept: dict[str, _T], owner: str, value: _T) -> _T:
    """Keep a value for a user; those of the users who came first give way."""
    kept.pop(owner, None)
    kept[owner] = value
    if len(kept) > KEPT_OWNERS:
        del kept[next(iter(kept))]
    return value
