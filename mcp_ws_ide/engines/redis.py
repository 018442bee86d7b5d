"""The engine of several gateways: sessions in Redis or Valkey.

The decisions that :mod:`.session_table` makes for the other engines are made by scripts here (``scripts/``), because
several gateways share the sessions. One task speaks to the server: each round trip carries everything that was staged
during the one before, so that more work means more sharing, not more round trips.

Failures are reported, never hidden: a batch gets the outcome ``FAILED``, and its owner sends it again, which the
scripts make harmless.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets
import time
from collections import deque
from typing import Any, Final

import msgspec

from mcp_ws_ide.engines import crash_points
from mcp_ws_ide.engines.base import (
    Batch,
    Done,
    EngineFullError,
    EngineRefusedError,
    EngineUnavailableError,
    FencedError,
    Outcome,
    OwnedError,
    SessionLostError,
    SharedEngine,
    StoredSession,
    StoredSummary,
)
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.redis_address import RedisAddress
from mcp_ws_ide.engines.redis_connection import Argument
from mcp_ws_ide.engines.redis_instances import OUTCOMES, RedisInstances
from mcp_ws_ide.engines.redis_link import Call, RedisLink, ScriptFailedError, check_server
from mcp_ws_ide.engines.redis_sessions import (
    encode_batch,
    encode_batches,
    encode_session,
    read_session,
    read_summary,
)
from mcp_ws_ide.engines.server_clock import ServerClock
from mcp_ws_ide.engines.statistics import EngineStatistics
from mcp_ws_ide.tasks import TaskGroupOwner

BATCHES_PER_CALL: Final = 64
"""Batches that one run of the script commits: the server does nothing else at that time."""
BYTES_PER_EXCHANGE: Final = 4 << 20
"""Bytes after which the rest waits for the next round trip, which must not take longer than the timeout."""
PAGE: Final = 500
"""Sessions that one run of a script looks at."""
SAMPLE: Final = 20
"""Sessions whose size is measured, to estimate that of all."""
MEASURE_SECONDS: Final = 10.0
"""Seconds between two looks at the server, which also show that it can be used."""
RETRY_SECONDS: Final = 1.0
"""The same while it cannot be used."""
NEW_SESSIONS_SHARE: Final = 0.75
"""The part of the largest size up to which new sessions are stored; the rest is for those that are open."""
STOPPED: Final = "the engine is stopped"

log = logging.getLogger(__name__)


class Operation(msgspec.Struct, eq=False):
    """One run of a script for something other than batches; ``reply`` receives what it returned."""

    name: str
    arguments: tuple[Argument, ...]
    reply: asyncio.Future[Any]


class Exchange(msgspec.Struct, eq=False):
    """What one round trip carries.

    Attributes:
        calls: the runs of scripts, those for batches first.
        batches: the owners of the batches, for each of those runs.
        operations: the other runs, in their order.
    """

    calls: list[Call] = []
    batches: list[list[Done]] = []
    operations: list[Operation] = []


class RedisEngine(RedisInstances):
    """Sessions in Redis, which several gateways may use.

    Args:
        address: where the server is.
        max_bytes: how many bytes the sessions may use there.
        allow_unencrypted: whether the server may be on another machine without TLS.

    Attributes:
        instance: the id of this process among the gateways.
    """

    name = "redis"

    def __init__(self, address: RedisAddress, max_bytes: int, allow_unencrypted: bool = False) -> None:
        self.instance = secrets.token_hex(8)
        self._address = address
        self._max_bytes = max_bytes
        self._allow_unencrypted = allow_unencrypted
        self._link = RedisLink(address, self.instance)
        self._statistics = EngineStatistics()
        self._problem = STOPPED
        self._staged: deque[tuple[Batch, Done]] = deque()
        self._operations: deque[Operation] = deque()
        self._unended: dict[str, int] = {}
        """Epochs of the sessions that could not be deleted yet."""
        self._behind = 0
        """Batches since the last look that found that the server has lost a part of their session."""
        self._since = 0.0
        self._running = False
        self._tasks = TaskGroupOwner()
        self._timer: asyncio.TimerHandle | None = None
        self._measure_due = False

    @property
    def problem(self) -> str:
        """Why nothing can be written; ``""`` while it works."""
        return self._problem

    @property
    def statistics(self) -> EngineStatistics:
        """Counters and gauges; sessions and bytes are those of the last measurement."""
        return self._statistics

    @property
    def clock(self) -> ServerClock:
        """The server's clock."""
        return self._link.clock

    # --- start and stop -------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, check the server, and begin to write."""
        if not (self._address.encrypted or self._address.is_local or self._allow_unencrypted):
            raise EngineRefusedError(
                f"Redis at {self._address} is on another machine, and its address has no TLS; use rediss://, or set "
                "MCPWebSocketApp.engine_allow_unencrypted = True if no one else can read that network"
            )
        self._loop = asyncio.get_running_loop()
        try:
            await self._measure()
        except EngineUnavailableError as error:
            self._link.close()
            raise EngineRefusedError(str(error)) from None
        if self._link.facts.get("aof_enabled") == "0":
            log.warning("Redis keeps no append-only file; a restart of Redis may lose sessions")
        self._problem, self._running = "", True
        self._wanted = asyncio.Event()
        self._worker = self._tasks.spawn(self._work(), "redis engine")
        self._look_later()
        if crash_points.armed is not None:
            crash_points.reach(Point.OPENED)

    async def stop(self) -> None:
        """Commit what is staged, and end the connection."""
        if not self._running:
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        self._wanted.set()
        await asyncio.wait([self._worker])
        self._link.close()
        self._problem = STOPPED

    # --- staging --------------------------------------------------------------------------------

    def commit(self, batch: Batch, done: Done) -> None:
        """Stage a batch for the end of this turn."""
        if not self._running:
            asyncio.get_running_loop().call_soon(done, Outcome.FAILED, context=contextvars.Context())
            return
        if not self._staged:
            self._since = time.perf_counter()
            self._wanted.set()
        if batch.expires_at is not None:
            batch = self.clock.to_store(batch)
        self._staged.append((batch, done))
        if crash_points.armed is not None:
            crash_points.reach(Point.STAGED)

    @property
    def shared(self) -> SharedEngine:
        """What the engine offers to several gateways."""
        return self

    def _stage(self, name: str, *arguments: Argument) -> asyncio.Future[Any]:
        """Run a script in the next exchange; the future receives its reply, or ``EngineUnavailableError`` if it is not
        known whether it ran."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        reply.add_done_callback(_note_read)
        if self._running:
            self._operations.append(Operation(name, arguments, reply))
            self._wanted.set()
        else:
            reply.set_exception(EngineUnavailableError(STOPPED))
        return reply

    # --- the task that speaks to the server -----------------------------------------------------

    async def _work(self) -> None:
        while self._running or self._staged or self._operations:
            await self._wanted.wait()
            self._wanted.clear()
            while self._staged or self._operations:
                await self._exchange(self._next_exchange())
            if self._measure_due and self._running:
                await self._look()

    def _next_exchange(self) -> Exchange:
        exchange, size = Exchange(), 0
        while self._staged and size < BYTES_PER_EXCHANGE:
            batches: list[bytes] = []
            owners: list[Done] = []
            while self._staged and len(batches) < BATCHES_PER_CALL and size < BYTES_PER_EXCHANGE:
                batch, done = self._staged.popleft()
                batches.append(encode_batch(batch))
                owners.append(done)
                size += len(batches[-1])
            exchange.calls.append(("commit", (encode_batches(batches),)))
            exchange.batches.append(owners)
        while self._operations and size < BYTES_PER_EXCHANGE:
            operation = self._operations.popleft()
            exchange.calls.append((operation.name, operation.arguments))
            exchange.operations.append(operation)
            size += sum(len(a) for a in operation.arguments if isinstance(a, str | bytes))
        return exchange

    async def _exchange(self, exchange: Exchange) -> None:
        since = self._since
        if crash_points.armed is not None:
            crash_points.reach(Point.HANDED_OVER)
        try:
            replies = await self._link.exchange(exchange.calls)
        except (EngineUnavailableError, EngineRefusedError) as error:
            replies = [EngineUnavailableError(str(error))] * len(exchange.calls)
        except BaseException as error:
            self._report(exchange, [EngineUnavailableError(repr(error))] * len(exchange.calls))
            if not isinstance(error, Exception):
                raise
            log.exception("sessions cannot be stored")
            return
        if crash_points.armed is not None:
            crash_points.reach(Point.STORED)
        problem = next((str(reply) for reply in replies if isinstance(reply, Exception)), "")
        if problem or exchange.batches:
            self._note_problem(problem)
        if exchange.batches:
            counters = self._statistics
            failed = any(isinstance(reply, Exception) for reply in replies[: len(exchange.batches)])
            counters.commits += not failed
            counters.failures += failed
            counters.commit_seconds.observe(time.perf_counter() - since)
        self._report(exchange, replies)

    def _report(self, exchange: Exchange, replies: list[Any]) -> None:
        number = len(exchange.batches)
        for owners, reply in zip(exchange.batches, replies, strict=False):
            failed = isinstance(reply, Exception)
            outcomes = [Outcome.FAILED] * len(owners) if failed else [OUTCOMES[code] for code in reply]
            for done, outcome in zip(owners, outcomes, strict=True):
                self._statistics.batches += outcome is Outcome.COMMITTED
                self._behind += outcome is Outcome.BEHIND
                try:
                    done(outcome)
                except Exception:
                    log.exception("the outcome of a batch could not be handled")
                if crash_points.armed is not None:
                    crash_points.reach(Point.REPORTED)
        for operation, reply in zip(exchange.operations, replies[number:], strict=True):
            if operation.reply.done():
                continue  # who asked has given up
            if isinstance(reply, Exception):
                operation.reply.set_exception(reply)
            else:
                operation.reply.set_result(reply)

    # --- looks at the server --------------------------------------------------------------------

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        seconds = RETRY_SECONDS if self._problem else MEASURE_SECONDS
        self._timer = self._loop.call_later(seconds, self._look_now, context=contextvars.Context())

    def _look_now(self) -> None:
        self._measure_due = True
        self._wanted.set()

    async def _look(self) -> None:
        """Find out whether the server can be used, even if no session sends anything."""
        self._measure_due = False
        if self._behind:
            log.warning(
                "sessions of which Redis had lost a part, and which are stored again as a whole: %d",
                self._behind,
            )
            self._behind = 0
        try:
            await self._measure()
        except (EngineUnavailableError, EngineRefusedError) as error:
            self._note_problem(str(error))
        except Exception:
            log.exception("the size of what the engine stores cannot be determined")
        else:
            self._note_problem("")
            for session_id, epoch in self._unended.items():
                self._stage("end", session_id, epoch)
            self._unended = {}
        self._look_later()

    async def _measure(self) -> None:
        await self._link.ask()
        try:
            check_server(self._link.facts, str(self._address))
        except (EngineUnavailableError, EngineRefusedError):
            self._link.close()  # each further attempt connects, and is refused too
            raise
        (reply,) = await self._link.exchange([("measure", (SAMPLE,))])
        if isinstance(reply, ScriptFailedError):
            raise reply
        self._statistics.sessions, self._statistics.bytes = reply

    def _note_problem(self, problem: str) -> None:
        before, self._problem = self._problem, problem
        if problem == before:
            return
        if problem:
            log.error("sessions cannot be stored; their messages wait: %s", problem)
            self._look_later()
        else:
            log.warning("sessions are stored again")

    # --- whole sessions -------------------------------------------------------------------------

    async def create(self, stored: StoredSession) -> None:
        """Store a new session."""
        self._check_room()
        await self._put(stored)
        self._statistics.sessions += 1

    def _check_room(self) -> None:
        used, most = self._statistics.bytes, self._max_bytes
        if used > NEW_SESSIONS_SHARE * most:
            raise EngineFullError(
                f"stored sessions use {used} bytes, more than {NEW_SESSIONS_SHARE:.0%} of engine_max_bytes ({most}); "
                "raise MCPWebSocketApp.engine_max_bytes, or lower grace"
            )
        facts = self._link.facts
        used, most = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
        if most > 0 and used > NEW_SESSIONS_SHARE * most:
            raise EngineFullError(
                f"Redis uses {used} bytes, more than {NEW_SESSIONS_SHARE:.0%} of its maxmemory ({most}); raise it"
            )

    async def rewrite(self, stored: StoredSession) -> None:
        """Store a whole session again."""
        await self._put(stored)

    async def _put(self, stored: StoredSession) -> None:
        if not await self._stage("put", encode_session(self.clock.to_store(stored))):
            raise FencedError(f"session {stored.id!r} has another owner, or has ended")

    async def take(self, session_id: str, principal: str, ended: str = "") -> StoredSession | None:
        """Become the owner of a session."""
        reply = await self._stage("take", session_id, principal, ended)
        if reply is None:
            return None
        if crash_points.armed is not None:
            crash_points.reach(Point.TAKEN)
        try:
            if isinstance(reply, bytes):
                raise OwnedError(session_id, reply.decode())
            if reply == 0:
                raise ValueError("its head cannot be read")
            return self.clock.to_use(read_session(session_id, principal, reply))
        except (ValueError, KeyError) as error:
            self._statistics.lost["damaged"] += 1
            await self._stage("end", session_id, 2**53)
            reason = f"the stored session {session_id!r} is damaged: {error}"
            raise SessionLostError("damaged", reason) from None

    async def end(self, session_id: str, epoch: int) -> None:
        """Delete a session."""
        try:
            self._statistics.sessions -= await self._stage("end", session_id, epoch)
        except EngineUnavailableError:
            self._unended[session_id] = epoch

    async def orphan(self, expires_at: float) -> int:
        """Set the expiry of the attached sessions whose owner has ended."""
        orphans, begin, until = 0, 0, self.clock.there(expires_at)
        while True:
            found, looked_at = await self._stage("orphan", repr(until), begin, begin + PAGE - 1)
            orphans += found
            begin += PAGE
            if looked_at < PAGE:
                return int(orphans)

    async def expire(self, now: float) -> list[str]:
        """Delete the sessions whose time has passed."""
        expired: list[str] = []
        while True:
            ids = await self._stage("expire", repr(self.clock.there(now)), PAGE)
            expired += [session_id.decode() for session_id in ids]
            if len(ids) < PAGE:
                break
        self._statistics.lost["expired"] += len(expired)
        return expired

    # --- reading --------------------------------------------------------------------------------

    async def sessions(self) -> list[StoredSummary]:
        """Return what is stored, oldest first."""
        summaries: list[StoredSummary] = []
        while True:
            begin = len(summaries)
            rows = await self._stage("list", begin, begin + PAGE - 1)
            summaries += [self.clock.to_use(read_summary(row)) for row in rows]
            if len(rows) < PAGE:
                return summaries

    def hashed(self, principal: str) -> str:
        """Return a principal as summaries have it."""
        return principal

    async def count(self, principal: str) -> int:
        """Return the number of stored sessions of a principal."""
        return int(await self._stage("count", principal))


def _note_read(reply: asyncio.Future[Any]) -> None:
    """Retrieve a failure that nobody waits for, so that asyncio does not report it; it was logged."""
    if not reply.cancelled():
        reply.exception()
