"""Random schedules over stored sessions and several gateways, and seeded bugs that they must catch.

A seed decides what happens: calls, cuts, resumes, an engine that lags, fails or loses its tail, gateways that are
killed, stopped or suspended. In the end every request has exactly one answer, and the server's ledger agrees with it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core import messages
from mcp_ws_ide.engines import unstored_changes
from mcp_ws_ide.engines.session_table import Held
from mcp_ws_ide.errors import TransportClosedError
from mcp_ws_ide.gateway import (
    Limits,
    commits,
    durable,
    intake,
    server_registry,
    session_registry,
    stored_state,
)
from mcp_ws_ide.transports.base import Transport
from tests.gateway.stored import Client, House

SCHEDULES = 60
"""The seeded bug that is hardest to notice shows in the first 40."""
STEPS = 80
PATIENCE = 10.0
"""Seconds for the last answers: an end to a hang."""


class BrokenError(AssertionError):
    """A guarantee does not hold."""


class Ledger:
    """What servers ran, by key of the call; and their transports."""

    def __init__(self, chance: random.Random) -> None:
        self.runs: Counter[str] = Counter()
        self.chance = chance
        self.made: list[tuple[Any, Instant]] = []
        """The transports, and the supervisor of their gateway."""

    def transport(self, spec: Any, supplies: Any) -> Instant:
        transport = Instant(self)
        self.made.append((supplies.supervisor, transport))
        return transport

    def kill(self, gateway: Any) -> None:
        """End all servers of a gateway, which was killed; they run nothing more."""
        for supervisor, transport in self.made:
            if supervisor is gateway._supervisor:
                transport.dead = True


class Instant(Transport):
    """A modern server that is ready after a few turns, and answers a call within a few, with progress."""

    kind = "stdio"
    queued_bytes = 0

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.dead = False

    @classmethod
    def from_spec(cls, spec: Any, supplies: Any) -> Instant:
        raise NotImplementedError

    async def connect(self, receiver: Any) -> None:
        for _ in range(self.ledger.chance.choice([0, 2, 10])):
            await asyncio.sleep(0)
        self.receiver = receiver

    def send(self, message: bytes) -> None:
        if self.dead:
            raise TransportClosedError("killed")
        parsed = messages.parse(message)
        if parsed.method == b'"server/discover"':
            result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
            self._say(0, {"id": json.loads(parsed.id), "result": result})
        elif parsed.method == b'"tools/list"':
            turns = self.ledger.chance.choice([0, 5, 20, 300])
            self._say(turns, {"id": json.loads(parsed.id), "result": {"resultType": "complete", "tools": []}})
        elif parsed.method == b'"tools/call"':
            self._call(json.loads(parsed.id), json.loads(parsed.params))

    def _call(self, number: int, params: dict[str, Any]) -> None:
        key = params["arguments"]["key"]
        self.ledger.runs[key] += 1
        turn = self.ledger.chance.choice([0, 1, 5, 20, 300])
        for step in range(params["arguments"]["steps"]):
            note = {"progressToken": params["_meta"]["progressToken"], "progress": step}
            self._say(turn, {"method": "notifications/progress", "params": note})
        content = [{"type": "text", "text": key}]
        self._say(turn + 1, {"id": number, "result": {"resultType": "complete", "content": content}})

    def _say(self, turns: int, message: dict[str, Any]) -> None:
        if self.dead:
            return
        loop = asyncio.get_running_loop()
        if turns > 0:
            loop.call_soon(self._say, turns - 1, message)
        else:
            loop.call_soon(self._deliver, json.dumps({"jsonrpc": "2.0", **message}).encode())

    def _deliver(self, data: bytes) -> None:
        if not self.dead:
            self.receiver.message_received(data)

    def pause_reading(self) -> None:
        """Nothing is held back."""

    def resume_reading(self) -> None:
        """Nothing was."""

    async def close(self) -> None:
        self.dead = True


class World:
    """One client, one gateway after the other, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ledger = Ledger(self.random)
        server_registry.make_transport = self.ledger.transport
        frames = self.random.choice([64, 256])  # more than there are calls: responses alone must not fill it
        limits = Limits(drain_timeout=0.01, window_frames=frames, idle_timeout=0.0)
        self.house = House(ServerSpec("fast", "test", command="x"), limits=limits)
        self.client = Client(self.house)
        self.calls: dict[int, str] = {}
        self.reads: set[int] = set()

    async def run(self) -> None:
        rare = ["lag", "catch_up", "catch_up", "fail", "recover", "recover", "crash", "suspend", "stop"]
        whole = ["hurried_crash", "forgetful_engine", "impatient_client", "many_links", "full_disk"]
        links = ["cut", "connect", "connect", "connect", "acknowledge", "tick"]
        kinds = ["call"] * 7 + ["read"] + ["turns"] * 12 + links + rare + whole
        try:
            self.client.connect()
            for _ in range(STEPS):
                await getattr(self, f"_{self.random.choice(kinds)}")()
            if self.random.random() < 0.5:
                await self._full_disk()
            await self._heal()
            self._check()
        finally:
            await self.house.close()

    # --- what can happen ------------------------------------------------------------------------

    async def _call(self) -> None:
        if self.client.end.channel.full or not self.client.end.resumable:
            return
        key = f"call {len(self.calls)}"
        arguments = {"key": key, "steps": self.random.choice([0, 0, 3])}
        number = self.client.ids + 1
        meta = {"progressToken": number, **META}
        self.calls[self.client.call("work", arguments, meta)] = key

    async def _read(self) -> None:
        if not self.client.end.channel.full and self.client.end.resumable:
            self.reads.add(self.client.request("tools/list"))

    async def _turns(self) -> None:
        for _ in range(self.random.choice([1, 2, 3, 5, 10, 30])):
            await asyncio.sleep(0)

    async def _cut(self) -> None:
        if self.client.wire is not None:
            self.client.wire.cut()

    async def _connect(self) -> None:
        if not self.client.end.live:
            self.client.connect()

    async def _acknowledge(self) -> None:
        if self.client.end.live and self.client.wire is not None:
            self.client.wire.write(self.client.end.channel.take_ack())

    async def _tick(self) -> None:
        self.house.gateway.tick(time.monotonic())

    async def _lag(self) -> None:
        if self.house.engine.held is None:
            self.house.engine.lag()

    async def _catch_up(self) -> None:
        if self.house.engine.held is not None:
            self.house.engine.catch_up()

    async def _fail(self) -> None:
        self.house.engine.reachable = False

    async def _recover(self) -> None:
        self.house.engine.reachable = True

    async def _several(self, *kinds: str) -> None:
        for kind in kinds:
            await getattr(self, f"_{kind}")()

    async def _hurried_crash(self) -> None:
        """Calls that are hardly stored when the gateway is killed."""
        await self._several(
            "catch_up", "recover", "connect", "turns", "call", "turns", "lag", "call", "turns"
        )
        await self._several("catch_up", "call", "turns", "crash")

    async def _impatient_client(self) -> None:
        """A client that opens another link while its calls, or their answers, are not stored."""
        await self._several("recover", "turns", "lag", "call", "turns", "call", "call", "turns")
        if self.client.end.resumable:
            self.client.connect()
        await self._several("turns", "catch_up", "turns")

    async def _many_links(self) -> None:
        """A client that opens one link after the other to a gateway that has yet to take its session over."""
        await self._crash()
        for _ in range(4):
            await self._connect()
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(0)

    async def _full_disk(self) -> None:
        """Calls that cannot be stored, before the gateway is killed, or the engine recovers."""
        await self._several(
            "catch_up", "recover", "connect", "turns", "turns", "fail", "call", "turns", "turns"
        )
        await self._several(self.random.choice(["crash", "recover"]))

    async def _forgetful_engine(self) -> None:
        """The engine loses its tail while the owner of the session lives, who stores it again. The owner may be killed
        afterwards, but not before: owner *and* tail lost is beyond what can be kept."""
        await self._several("catch_up", "recover", "connect", "turns", "turns")
        table = self.house.engine.table
        past = {session_id: Held.of(held.copied()) for session_id, held in table.by_id.items()}
        await self._several("call", self.random.choice(["cut", "turns"]), "turns", "call", "turns")
        for session_id in set(past) & set(table.by_id):
            if past[session_id].stored.epoch == table.by_id[session_id].stored.epoch:
                table.by_id[session_id] = past[session_id]
        for session in list(self.house.gateway.sessions.values()):
            session._changes.set_expiry(session._snapshots.expires_at)
            session._commits.flush()
        for _ in range(20):
            await asyncio.sleep(0)
        await self._several(self.random.choice(["crash", "turns"]))

    async def _crash(self) -> None:
        self.ledger.kill(self.house.gateway)
        await self.house.crash()

    async def _suspend(self) -> None:
        await self._catch_up()
        self.house.engine.reachable = True
        await self.house.supersede()

    async def _stop(self) -> None:
        await self._catch_up()
        self.house.engine.reachable = True
        stopping = asyncio.create_task(self.house.restart())
        while not stopping.done():
            await self._several(self.random.choice(["call", "turns"]))
            await asyncio.sleep(0.001)
        await stopping

    # --- in the end -----------------------------------------------------------------------------

    async def _heal(self) -> None:
        end = time.monotonic() + PATIENCE
        while asked := {*self.calls, *self.reads} - set(self.client.answers):
            await self._catch_up()
            await self._recover()
            if not self.client.end.live and not (self.client.wire and self.client.wire.open):
                self.client.connect()
            await asyncio.sleep(0.001)
            if time.monotonic() > end:
                raise BrokenError(f"no answer to {sorted(asked)}")

    def _check(self) -> None:
        if self.client.events["gone"]:
            raise BrokenError("the session is gone")
        steps: dict[int, int] = {}
        for message in self.client.got:
            if "method" in message:
                token, step = message["params"]["progressToken"], message["params"]["progress"]
                if token in steps and step <= steps[token]:
                    raise BrokenError(f"progress {step} of {token} came again")
                steps[token] = step
        for number in self.reads:
            if ["result" in answer for answer in self.client.answers[number]] != [True]:
                raise BrokenError(
                    f"a request that only reads was answered with {self.client.answers[number]}"
                )
        for number, key in self.calls.items():
            answers, runs = self.client.answers[number], self.ledger.runs[key]
            if len(answers) != 1:
                raise BrokenError(f"{key} has {len(answers)} answers")
            outcome = answers[0].get("error", {}).get("data", {}).get("outcome", "result")
            least, most = {"result": (1, 1), "unknown": (0, 1)}.get(outcome, (1, 0))
            if not least <= runs <= most:
                raise BrokenError(f"{key} ran {runs} times, and its outcome is {outcome}: {answers}")


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retry at once; and make servers that are played."""
    monkeypatch.setattr(commits, "RETRY_FIRST", 0.0005)
    monkeypatch.setattr(commits, "RETRY_LAST", 0.001)
    monkeypatch.setattr(server_registry, "make_transport", server_registry.make_transport)


async def test_random_schedules_lose_and_repeat_nothing():
    for seed in range(SCHEDULES):
        try:
            await World(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


MUTANTS = {
    "forward before it is stored": (
        intake,
        "        self._commits.actions.frames.append(frame)\n",
        "        self._process(frame)\n",
    ),
    "send before it is stored": (
        durable,
        "        self._commits.actions.out.append(data)\n",
        "        if self._link is not None: self._link.send(data)\n",
    ),
    "acknowledge before it is stored": (
        durable,
        "        self._intake.take(frame)\n",
        '        self._intake.take(frame); link.send(b\'{"mcp.ws":"ack","recv":%d}\' % self._changes.received)\n',
    ),
    "an answer and the end of its request are two batches": (
        durable,
        "            self._changes.remove(answered.key)\n",
        "            __import__('asyncio').get_running_loop().call_later(0.001, self._changes.remove, answered.key)\n",
    ),
    "a client resumes from what is processed, not from what is stored": (
        durable,
        "self._changes.sent, self._changes.stored, self.final",
        "self._changes.sent, end.channel.received, self.final",
    ),
    "a new token is sent before it is stored": (
        durable,
        "        self._arriving = self._commits.actions.arrival = Arrival(link, recv, token)\n",
        "        self._arriving = Arrival(link, recv, token); self._attach(self._arriving)\n",
    ),
    "a replay holds what is not stored": (
        durable,
        "sent, stored, last = self._changes.sent,",
        "sent, stored, last = end.channel.sent,",
    ),
    "a request that has waited is handed over before it is marked": (
        intake,
        "            self._marking = self._commits.actions.marks = True\n        if not self._marking:",
        "            pass\n        if not self._marking:",
    ),
    "a request is processed before it is marked": (
        intake,
        "            self._marking = self._commits.actions.marks = True\n            return True",
        "            return False",
    ),
    "requests of a ready server are stored as waiting, and never marked": (
        intake,
        "            accepted = self._attachments.accepts\n",
        "            accepted = False; self._mark = lambda key: False\n",
    ),
    "a request that has waited is handed over, and stored as one that waits": (
        intake,
        "        self._whole.remove(key)\n        self._changes.add(",
        "        self._changes.add(",
    ),
    "a request that waits is forgotten with its gateway": (
        durable,
        "        self._intake.send_whole(time.perf_counter())\n",
        "        pass\n",
    ),
    "what an earlier gateway has counted is counted again": (
        durable,
        "        if self.ended or frame.again:\n",
        "        if self.ended:\n",
    ),
    "a request that only reads ends with its gateway": (
        intake,
        "            reads = message.method_name in READS\n",
        "            reads = message.method_name == LISTEN\n",
    ),
    "a session that is stored again loses what is in flight": (
        unstored_changes,
        "            list(self.in_flight.values()),",
        "            [],",
    ),
    "a session that is stored again loses its frames": (
        unstored_changes,
        "            [Frame(*entry) for entry in channel.entries_after(channel.base)],",
        "            [],",
    ),
    "a batch that failed counts as stored": (
        commits,
        "        if outcome is Outcome.COMMITTED:",
        "        if outcome in (Outcome.COMMITTED, Outcome.FAILED):",
    ),
    "a batch that failed is not sent again": (
        commits,
        "            self._engine.commit(batch, self._batch_ended)\n\n    def _rewrite",
        "            pass\n\n    def _rewrite",
    ),
    "a lost tail goes unnoticed": (
        commits,
        "        if outcome is Outcome.COMMITTED:",
        "        if outcome in (Outcome.COMMITTED, Outcome.BEHIND):",
    ),
    "a fenced owner goes on": (
        commits,
        "        if outcome is Outcome.COMMITTED:",
        "        if outcome in (Outcome.COMMITTED, Outcome.FENCED):",
    ),
    "what was in flight is called not sent": (
        stored_state,
        "ended_error(frame.data, frame.outcome)",
        'ended_error(frame.data, "not_sent")',
    ),
    "answered requests stay in flight": (
        unstored_changes,
        "            self._removed.append(entry.key)",
        "            pass",
    ),
    "two batches are outstanding": (
        commits,
        "        if self._outstanding is None and not self._acting and self.open:",
        "        if not self._acting and self.open:",
    ),
    "a stop loses what its client goes on to send": (
        durable,
        "        if (self.leaving or self.holding) and self._is_left(frame.message):\n",
        "        if (self.leaving or self.holding) and self._is_left(frame.message):\n            self._changes.received += 1\n",
    ),
}


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return the module with a seeded bug, under its own name."""
    source = Path(module.__file__ or "").read_text()
    assert source.count(old) == 1, f"the mutation fits {source.count(old)} places"
    mutant = ModuleType(module.__name__)
    mutant.__dict__.update({"__file__": f"mutant-{module.__name__}.py", "__package__": module.__package__})
    exec(compile(source.replace(old, new), f"mutant-{module.__name__}.py", "exec"), mutant.__dict__)
    return mutant


USES: dict[ModuleType, list[tuple[ModuleType, str]]] = {
    intake: [(durable, "Intake")],
    unstored_changes: [(durable, "UnstoredChanges")],
    commits: [(durable, "Commits")],
    stored_state: [(durable, "restore_parts")],
    durable: [(session_registry, "DurableSession")],
}
"""Who uses what of a module."""


@pytest.mark.pure("changes the source of compiled modules")
@pytest.mark.parametrize("name", MUTANTS)
async def test_a_seeded_bug_is_caught(name, monkeypatch):
    module, old, new = MUTANTS[name]
    mutant = mutated(module, old, new)
    for user, attribute in USES.get(module, []):
        monkeypatch.setattr(user, attribute, getattr(mutant, attribute))
    monkeypatch.setattr(f"{__name__}.PATIENCE", 1.0)
    for seed in range(SCHEDULES):
        try:
            await World(seed).run()
        except Exception:
            return
    raise AssertionError(f"{SCHEDULES} schedules did not catch: {name}")
