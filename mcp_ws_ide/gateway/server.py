"""One configured server: what is known about it, whether it may be started, and its upstreams.

Knows nothing of sessions, links and the gateway; upstreams and prewarmed processes register here, and are seen through
the protocols :class:`LiveUpstream` and :class:`PrewarmedProcesses`.
"""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple, Protocol, TypeVar

from mcp_ws_ide.config.environment import hint_for
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.group_merge import SEPARATOR
from mcp_ws_ide.core.tools import GroupNames
from mcp_ws_ide.errors import NotAttemptedError
from mcp_ws_ide.gateway.continuations import Continuations
from mcp_ws_ide.gateway.crash_loop import CrashLoop
from mcp_ws_ide.gateway.stderr_log import StderrLog
from mcp_ws_ide.observe.counters import ServerCounters
from mcp_ws_ide.transports import PROCESSES
from mcp_ws_ide.transports.base import Receiver, Transport

STOPPED: Final = "it was stopped; restart it to use it again"
"""Why a stopped server refuses clients."""
KEPT_OWNERS: Final = 256
"""Users of one server whose last exit and stderr are kept."""
SAME_ATTEMPT: Final = 2.0
"""Seconds after a failed start in which the handshake of a client counts as part of the same attempt."""

HINT_LINES: Final = 100
"""Newest lines of stderr in which names of variables are looked for when a process did not start."""

_T = TypeVar("_T")


class LiveUpstream(Protocol):
    """A live attachment to a server, as seen by the server's owner and by REST."""

    owner: str
    started: float

    @property
    def era(self) -> Era:
        """The era spoken to the server."""

    @property
    def shared(self) -> bool:
        """Whether all sessions of a principal use it."""

    @property
    def users(self) -> int:
        """The number of sessions that use it."""

    @property
    def pid(self) -> int | None:
        """The process id, if it has one."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the server."""

    @property
    def closing(self) -> bool:
        """Whether it is being ended."""

    async def aclose(self) -> None:
        """End the server's process or connection, and wait for that."""

    def abandon(self, state: str) -> None:
        """End the parked call that waits for this ``requestState``, if it has one."""

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second (``now``: ``time.monotonic``)."""


class PrewarmedProcesses(Protocol):
    """Processes of a server that were started before a session needs them."""

    def __len__(self) -> int: ...

    def take(self, receiver: Receiver) -> Transport | None:
        """Hand a process to ``receiver``; None if none is ready."""

    async def aclose(self) -> None:
        """End the processes that were not taken."""


class TransportFactory(Protocol):
    """Makes the transports of a server, and counts their processes."""

    def make(self, server: Server, principal: str, *, stateless: bool) -> Transport:
        """Return a transport for this principal, not connected yet.

        Args:
            stateless: whether it serves one exchange over HTTP, so that no process is started for it alone.
        """

    def check_processes(self, server: Server, owner: str, wanted: int) -> None:
        """Check as :meth:`Server.check_processes` does."""


class Exit(NamedTuple):
    """How a server last failed.

    Attributes:
        at: seconds since the epoch.
        reason: why, for the user.
    """

    at: float
    reason: str


class Server:
    """The live side of a :class:`~mcp_ws_ide.config.spec.ServerSpec`.

    Attributes:
        era: the era it speaks; None until that is known.
        refuses_handshake: whether it refused a handshake with an error that servers of the modern era use.
        stopped: whether a user has stopped it: nothing is started until it is restarted.
        retired: whether its entry was changed or removed, so that new sessions do not reach it.
        sessions: the number of open sessions.
        continuations: what sessions with restricted gateway tokens may continue.
        group_names: how it shows the names of its members' tools, if it is a group.
        upstreams: the live attachments to it.
        prewarmed: processes that wait to be taken; None where the configuration asks for none.
    """

    def __init__(self, spec: ServerSpec, counters: ServerCounters, transports: TransportFactory) -> None:
        self.spec = spec
        self.counters = counters
        self.era: Era | None = None
        self.refuses_handshake = False
        self.stopped = self.retired = False
        self.sessions = 0
        self.continuations = Continuations()
        prefixes = tuple(member + SEPARATOR for member in spec.group)
        self.group_names = GroupNames(prefixes, spec.prefix == "never")
        self.upstreams: set[LiveUpstream] = set()
        self.prewarmed: PrewarmedProcesses | None = None
        self._transports = transports
        self._crash_loops: dict[str, CrashLoop] = {}
        self._exits: dict[str, Exit] = {}
        self._failed_starts: dict[str, tuple[float, str]] = {}
        self._stderr: dict[str, StderrLog] = {}
        self.forget()

    @property
    def name(self) -> str:
        """The configured name."""
        return self.spec.name

    def forget(self) -> None:
        """Forget the era, so that the next upstream detects it. A group always speaks the modern era."""
        group = self.spec.kind == "group"
        self.era, self.refuses_handshake = (Era.MODERN if group else None), group

    @property
    def needs_bridge(self) -> bool:
        """Whether clients of the handshake era can reach it through the bridge only."""
        return self.refuses_handshake and self.era is Era.MODERN

    @property
    def members(self) -> tuple[str, ...]:
        """The names of a group's members; empty for any other server."""
        return self.spec.group

    @property
    def in_use(self) -> bool:
        """Whether it has a session or an upstream."""
        return bool(self.sessions or self.upstreams)

    # --- whether it may be started --------------------------------------------------------------

    def crash_loop(self, owner: str) -> CrashLoop:
        """Return the crash backoff and breaker of this user's processes; ``""`` for those of no user yet.

        Users have their own, so that a user who makes a server crash does not lock out the others.
        """
        return self._crash_loops.get(owner) or _remember(self._crash_loops, owner, CrashLoop(time.monotonic))

    def crashed(self, owner: str) -> None:
        """Count a process that exited unexpectedly, or could not be started, wherever crashes are shown."""
        self.counters.restarts += 1
        self.crash_loop(owner).crashed()

    def forget_crashes(self) -> None:
        """Close all breakers: an operator asked for a fresh start."""
        self._crash_loops.clear()
        self._failed_starts.clear()

    def refusal_to(self, principal: str) -> str | None:
        """Return why this user cannot be served now; None if they can.

        If the breaker is open, the text has the last failure that this user may see.
        """
        if self.spec.disabled_reason is None and self.stopped:
            return STOPPED
        refusal = self.spec.disabled_reason or self._breaker(principal)
        if refusal is None or self.spec.disabled_reason is not None:
            return refusal
        last = self.last_exit(principal)
        return refusal if last is None else f"{refusal}; last failure: {last.reason}"

    def _breaker(self, principal: str) -> str | None:
        loop = self._crash_loops.get(principal)
        return loop.refusal if loop is not None else None

    def exited(self, owner: str, reason: str, transport: Transport | None, *, starting: bool) -> str:
        """Count that a process exited or a connection was lost; return why, for the user.

        The loss of a connection to a remote server is not a crash.

        Args:
            transport: what led to it, if anything did.
            starting: whether it had still to answer the probe or the handshake.
        """
        read_nothing = transport is not None and transport.read_nothing
        if starting or read_nothing:
            reason = self.start_failure(owner, reason)
        if transport is None or not transport.remote:
            self.crashed(owner)
        if read_nothing:
            self.cannot_start(owner, reason)
        return reason

    def start_failure(self, principal: str, reason: str) -> str:
        """Return why a process did not start, with the variables that it may have missed.

        Args:
            principal: its owner, who may see what it wrote to stderr.
        """
        lines = [line.text for line in self.stderr(principal).after(0)[-HINT_LINES:]]
        missing = hint_for(self.spec, os.environ, "\n".join([reason, *lines]))
        return f"{reason}; {missing}" if missing else reason

    def state(self, principal: str) -> str:
        """Return ``disabled``, ``stopped``, ``failed``, ``running`` or ``idle``, as this user may see it."""
        if self.spec.disabled_reason is not None:
            return "disabled"
        if self.stopped:
            return "stopped"
        if self.upstreams:
            return "running"
        return "failed" if self._breaker(principal) is not None else "idle"

    # --- transports and processes ---------------------------------------------------------------

    def new_transport(self, principal: str = "", *, stateless: bool = False) -> Transport:
        """Return a transport for this principal, not connected yet.

        Args:
            stateless: whether it serves one exchange over HTTP (see :class:`TransportFactory`).

        Raises:
            NotAttemptedError: the server is disabled or stopped, or its breaker is open.
        """
        refusal = self.refusal_to(principal)
        if refusal is not None:
            raise NotAttemptedError(refusal)
        return self._transports.make(self, principal, stateless=stateless)

    @property
    def has_process(self) -> bool:
        """Whether an upstream of it is a local process, which ``max_processes`` counts."""
        return self.spec.kind in PROCESSES

    def process_count(self, *, ending: bool = True) -> int:
        """Return the number of its processes that serve, start or are prewarmed.

        Args:
            ending: whether those that are being ended count as well.
        """
        if not self.has_process:
            return 0
        upstreams = sum(ending or not upstream.closing for upstream in self.upstreams)
        return upstreams + (len(self.prewarmed) if self.prewarmed is not None else 0)

    def processes_of(self, owner: str) -> int:
        """Return the number of this user's processes that serve or start."""
        if not self.has_process:
            return 0
        return sum(upstream.owner == owner and not upstream.closing for upstream in self.upstreams)

    def check_processes(self, owner: str, wanted: int = 0) -> None:
        """Check that all server processes of the gateway, and ``wanted`` more of this server for a user, fit.

        Args:
            owner: the user; ``""`` for processes of no user yet.
            wanted: further processes, beside the upstreams there are.

        Raises:
            LimitExceededError: ``max_processes`` or ``max_processes_per_principal`` is reached; never for a server
                without a local process.
        """
        self._transports.check_processes(self, owner, wanted)

    # --- what its processes left behind ---------------------------------------------------------

    def failed(self, owner: str, reason: str) -> None:
        """Note that it exited unexpectedly or could not be reached; ``owner`` may see why; ``""``: all users may."""
        _remember(self._exits, owner, Exit(time.time(), reason))

    def cannot_start(self, owner: str, reason: str) -> None:
        """Note that it exited without reading anything, so that another start would end in the same way."""
        _remember(self._failed_starts, owner, (time.monotonic(), reason))

    def failed_start(self, owner: str) -> str | None:
        """Return why it could not start for this user just now, within :data:`SAME_ATTEMPT`; None if it could."""
        since, reason = self._failed_starts.get(owner, (0.0, ""))
        return reason if reason and time.monotonic() - since < SAME_ATTEMPT else None

    def last_exit(self, principal: str) -> Exit | None:
        """Return its last failure for this user, or before any use: a reason may reveal what its user did."""
        return max((self._exits[owner] for owner in (principal, "") if owner in self._exits), default=None)

    def stderr(self, owner: str) -> StderrLog:
        """Return the stderr lines of this user's processes."""
        return self._stderr.get(owner) or _remember(self._stderr, owner, StderrLog())


def _remember(kept: dict[str, _T], owner: str, value: _T) -> _T:
    """Store a value for a user; the oldest entries make room."""
    kept.pop(owner, None)
    kept[owner] = value
    if len(kept) > KEPT_OWNERS:
        del kept[next(iter(kept))]
    return value
