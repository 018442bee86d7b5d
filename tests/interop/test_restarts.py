"""Jupyter is killed again and again under load, at random and at every named point: nothing is lost, nothing runs twice.

The server writes the key of each call that it runs to a ledger; the clients note how each of their calls ended.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_ws_ide.client import Resumed
from mcp_ws_ide.engines.crash_points import Point
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter
from tests.interop.test_chaos import Caller

KINDS = (
    ("fast", False),
    ("always", True),
    ("never", False),
    ("remote", False),
    ("remote", True),
    ("fast", True),
)
"""Servers and eras of the clients, in turn; the last has a process of its own, and ends with each kill."""
ENGINE = "--MCPWebSocketApp.engine=sqlite"
IN_FLIGHT = 4


class Worker(Caller):
    """One client that makes calls, and notes how each ended."""

    def __init__(self, jupyter: Jupyter, number: int, server: str, legacy: bool) -> None:
        super().__init__(jupyter.endpoint(server), jupyter.token, number, legacy)
        self.outcomes: dict[str, str] = {}
        self.lost = asyncio.Event()

    def note(self, state: Any) -> None:
        self.states[type(state).__name__] += 1
        if isinstance(state, Resumed):
            self.replayed += state.replayed
        if self.states["Lost"]:
            self.lost.set()

    async def receive(self) -> None:
        """Read until the stream ends; what was sent while it ended has not left the client."""
        await super().receive()
        for future in self.open.values():
            future.set_result({"error": {"data": {"outcome": "not_sent"}}})
        self.open.clear()

    async def one(self, own: int, key: str) -> None:
        """Make a call with progress, and note its outcome."""
        steps = own % 4
        meta: dict[str, Any] = {"progressToken": own, **({} if self.legacy else MODERN)}
        arguments = {"key": key, "steps": steps}
        try:
            answer = await self.call(
                own, "tools/call", {"name": "work", "arguments": arguments, "_meta": meta}
            )
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # its session has ended
            self.outcomes[key] = "not_sent"
            return
        assert key not in self.outcomes, f"{key} was answered twice"
        progress = self.progress.pop(own, [])
        if "result" in answer:
            assert answer["result"]["content"][0]["text"] == key, answer
            assert progress == list(range(steps)), f"{key}: progress {progress}"
            self.outcomes[key] = "result"
        else:
            assert progress == list(range(len(progress))), f"{key}: progress {progress}"
            self.outcomes[key] = answer["error"]["data"]["outcome"]


class Load:
    """Clients that call until each has made its calls; those with a process of their own come again when it ends."""

    def __init__(self, jupyter: Jupyter, clients: int) -> None:
        self.jupyter = jupyter
        self.clients = clients
        self.outcomes: dict[str, str] = {}
        self.ends: dict[tuple[str, bool], Counter[str]] = {kind: Counter() for kind in KINDS}
        self.states: Counter[str] = Counter()
        self.begun: set[int] = set()
        """Clients whose session is open: a handshake that a kill cuts short cannot be continued."""
        self.up = asyncio.Event()
        """Whether Jupyter runs, as far as its killer knows."""
        self.up.set()
        self._progress = asyncio.Event()

    @property
    def done(self) -> int:
        return len(self.outcomes)

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that may change with each session that opens and each call that ends."""
        while not condition():
            await self._progress.wait()

    async def restart(self, *ways: Callable[[], None]) -> None:
        """End Jupyter in these ways, one after the other, and start it again."""
        self.up.clear()
        for way in ways:
            await asyncio.to_thread(way)
        await asyncio.to_thread(self.jupyter.start)
        self.up.set()

    async def run(self, number: int, enough: Callable[[int], bool]) -> None:
        """Make calls as client ``number`` until ``enough`` says so of the calls it has made."""
        kind = KINDS[number % len(KINDS)]
        made = 0
        while not enough(made):
            worker = Worker(self.jupyter, number, *kind)
            worker.outcomes = self.outcomes

            async def work(worker: Worker = worker) -> None:
                nonlocal made
                while not enough(made) and not worker.lost.is_set():
                    made += 1
                    await worker.one(made, f"{number}.{made}")
                    self._progressed()

            try:
                async with worker:
                    self.begun.add(number)
                    self._progressed()
                    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
            except Exception:
                if kind != KINDS[-1]:
                    raise
                await self.up.wait()  # it connected while Jupyter was down
            self.states.update({(kind, state): count for state, count in worker.states.items()})  # type: ignore[misc]
            assert kind == KINDS[-1] or not worker.states["Lost"], f"a session of {kind} ended"

    def check(self, ledger: Path) -> None:
        """Compare the clients' notes with the servers'."""
        runs = Counter(ledger.read_text().split())
        assert set(runs) <= set(self.outcomes)
        for key, outcome in self.outcomes.items():
            self.ends[KINDS[int(key.partition(".")[0]) % len(KINDS)]][outcome] += 1
            least, most = {"result": (1, 1), "unknown": (0, 1), "not_sent": (0, 0)}[outcome]
            assert least <= runs[key] <= most, f"{key} ran {runs[key]} times, and its outcome is {outcome}"

    def table(self) -> str:
        lines = []
        for kind in KINDS:
            states = {state: self.states[kind, state] for state in ("Connected", "Resumed", "Lost")}  # type: ignore[index]
            lines.append(
                f"{kind[0]:8} {'handshake' if kind[1] else 'modern':10} {dict(self.ends[kind])} {states}"
            )
        return "\n".join(lines)


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    """A Jupyter with an engine, whose servers write one ledger; one is behind another Jupyter, which goes on."""
    server = {**FAST_SERVER, "args": [*FAST_SERVER["args"], str(tmp_path / "ledger")]}
    (tmp_path / "ledger").touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "stored" / "config").mkdir(parents=True)
    inner = Jupyter(tmp_path / "inner", {"fast": server})
    headers = {"Authorization": f"Bearer {inner.token}"}
    servers = {
        "fast": server,
        "always": {**server, "mcp_ws": {"sharing": "always"}},
        "never": {**server, "mcp_ws": {"sharing": "never"}},
        "remote": {"url": f"{inner.url}mcp-ws/servers/fast", "headers": headers},
    }
    running = Jupyter(tmp_path / "stored", servers, ENGINE)
    yield running
    running.stop()
    inner.stop()


async def killed_at_random(jupyter: Jupyter, ledger: Path, clients: int, calls: int, kills: int) -> None:
    load, started = Load(jupyter, clients), time.monotonic()
    chance = random.Random(clients)

    async def kill() -> None:
        await load.until(lambda: len(load.begun) == clients)
        for number in range(kills):
            due = clients * calls * (number + chance.random()) / kills
            await load.until(lambda due=due: load.done >= due)
            await load.restart(jupyter.kill)

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for number in range(clients):
            group.create_task(load.run(number, lambda made: made >= calls))
    assert load.done == clients * calls
    load.check(ledger)
    print(f"\n{clients} clients x {calls} calls, {kills} kills, {time.monotonic() - started:.0f} s")
    print(load.table())


@pytest.mark.heavy
async def test_kills_lose_and_repeat_nothing(jupyter, tmp_path):
    await killed_at_random(jupyter, tmp_path / "ledger", clients=6, calls=40, kills=3)


@pytest.mark.soak
async def test_twenty_kills_under_load_lose_and_repeat_nothing(jupyter, tmp_path):
    await killed_at_random(jupyter, tmp_path / "ledger", clients=50, calls=400, kills=20)


ARM = """
from mcp_ws_ide.engines import crash_points, sqlite
sqlite.LOG_BYTES = 1 << 12
crash_points.arm({point!r}, {passes})
"""
AT_START = {Point.OPENED: 0, Point.TAKEN: 1}
"""Points that are passed when a gateway starts, or its first clients come back; and how often they are passed before."""


@pytest.mark.heavy
async def test_a_kill_at_every_named_point_loses_and_repeats_nothing(jupyter, tmp_path):
    config = jupyter.home / "config" / "jupyter_server_config.py"
    load, over = Load(jupyter, 5), False

    def dies() -> None:
        """Start Jupyter, which kills itself at the point, maybe before it is ready."""
        jupyter.process = jupyter._spawn()
        try:
            jupyter.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            raise AssertionError("the point was not reached") from None

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(load.run(number, lambda made: over))
        await load.until(lambda: len(load.begun) == 5)
        for point in Point:
            config.write_text(ARM.format(point=str(point), passes=AT_START.get(point, 5)))
            await load.restart(jupyter.kill, dies, config.unlink)
            before = load.done
            await load.until(lambda before=before: load.done >= before + 20)
        over = True
    load.check(tmp_path / "ledger")
    print(f"\n{load.table()}")
