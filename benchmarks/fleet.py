"""What several gateways on one Redis cost, and how long clients take to be back when one is killed.

``make bench-fleet``. A Jupyter without an engine, three that share a Redis with an append-only file, and HAProxy. All
Jupyters run on one core; Redis, HAProxy, the clients and the MCP servers on another. Prints Markdown;
docs/operate/performance.md explains it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import TOKEN, Rig, compile_programs, spread
from stored import CACHE, LIMITS, META, Client

sys.path.insert(0, str(Path(__file__).parents[1]))
from mcp_ws_ide.client import Reconnect
from mcp_ws_ide.client.negotiating import raw_transport
from tests.conftest import until
from tests.fleet.haproxy import NAMES, OwnHAProxy
from tests.redis_server import RedisServer

AT_ONCE = 64
"""Clients whose upgrade is under way at the same time: fewer than a listening socket's backlog."""
PAUSE = 0.05
"""Seconds between two calls of a client that waits for nothing else."""


class FleetRig(Rig):
    """A Jupyter that stores nothing beside three that share a Redis."""

    def _start_all(self, configuration: Path) -> None:
        self._configuration = configuration
        others = {self._cores[-1]}
        folder = self._build / "redis"
        folder.mkdir()
        self.redis = RedisServer(folder, appendonly="yes")
        os.sched_setaffinity(self.redis.process.pid, others)
        self.start_gateway("gateway", configuration, *LIMITS)
        for name in NAMES:
            self.start_sharing(name)
        self.proxy = OwnHAProxy(self._build, [self.ports[name] for name in NAMES])
        for task in Path(f"/proc/{self.proxy.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), others)

    def __exit__(self, *_: object) -> None:
        self.proxy.stop()
        super().__exit__()
        self.redis.stop()

    def start_sharing(self, name: str) -> None:
        """Start one that shares the Redis, or start it again."""
        engine = f"--MCPWebSocketApp.engine=redis://127.0.0.1:{self.redis.port}"
        keys = f"--MCPWebSocketApp.engine_keys_file={self._build}/keys.json"
        self.start_gateway(name, self._configuration, engine, keys, *LIMITS)

    def kill(self, name: str) -> None:
        """Kill one with -9."""
        os.kill(self.pids[name], signal.SIGKILL)
        (process,) = [one for one in self._started if one.pid == self.pids[name]]
        process.wait()
        self._started.remove(process)

    def used_bytes(self) -> int:
        """Bytes that Redis uses."""
        (line,) = [one for one in self.redis.ask("INFO", "memory").split(b"\r\n") if b"used_memory:" in one]
        return int(line.partition(b":")[2])

    def unacknowledged(self) -> int:
        """Sessions with messages that their clients have not acknowledged."""
        return int(self.redis.ask("KEYS", "mcpws:f:*").partition(b"\r\n")[0].removeprefix(b"*"))


def compare(rig: FleetRig, clients: int, calls: int, rounds: int) -> str:
    """Return a row of the table: what sharing adds to a call."""
    added, cpu, rates = [], [], []
    for number in range(rounds + 1):
        without, one = rig.measure("gateway", clients, 1024, calls, "mcp.resume.v1")
        shared, other = rig.measure(NAMES[0], clients, 1024, calls, "mcp.resume.v1")
        if number:  # the first round warms up
            added.append((other["p50_us"] - one["p50_us"]) / 1000)
            cpu.append(shared - without)
            rates.append(other["calls"] / other["seconds"])
    return f"| {clients} | {spread(added, 2)} | {spread(cpu, 0)} | {spread(rates, 0)} |"


async def timed(client: Client, calls: int) -> float:
    """Return the median milliseconds of a call."""
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        await client.call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000


async def relay(rig: FleetRig, calls: int, rounds: int) -> str:
    """Return what it adds to a call that its link is at another gateway than its session."""
    client, added = Client(rig.ports[NAMES[0]]), []
    await client.connect()
    await timed(client, calls)
    for _ in range(rounds):
        medians = []
        for name in NAMES[:2]:
            client.close()
            client.port = rig.ports[name]
            await client.connect()
            medians.append(await timed(client, calls))
        added.append(medians[1] - medians[0])
    client.close()
    return f"over another gateway: p50 added {spread(added, 2)} ms"


async def open_sessions(rig: FleetRig, name: str, number: int) -> list[Client]:
    """Open sessions at one gateway, each with a call."""
    clients, gate = [Client(rig.ports[name]) for _ in range(number)], asyncio.Semaphore(AT_ONCE)

    async def work(client: Client) -> None:
        async with gate:
            await client.connect()
            await client.call()
            client.acknowledge()

    await asyncio.gather(*map(work, clients))
    return clients


async def take_over(rig: FleetRig, kills: int) -> str:
    """Return how long a gateway takes to resume a session whose owner was killed."""
    seconds = []
    for _ in range(kills):
        clients = await open_sessions(rig, NAMES[0], 10)
        rig.kill(NAMES[0])
        for client in clients:
            client.close()
            client.port = rig.ports[NAMES[1]]
            seconds.append(await client.connect() * 1000)
            client.close()
        await asyncio.to_thread(rig.start_sharing, NAMES[0])
    return f"take-over of a session, from its resume frame to the answer: {percentiles(seconds, 0)} ms"


def percentiles(values: list[float], digits: int) -> str:
    ordered = sorted(values)
    middle, high = statistics.median(ordered), ordered[len(ordered) * 99 // 100]
    return f"p50 {middle:.{digits}f}, p99 {high:.{digits}f} ({len(ordered)} sessions)"


class Caller:
    """The project's client, with its default delays, which calls again and again through HAProxy."""

    def __init__(self, rig: FleetRig) -> None:
        self._transport = raw_transport(
            rig.proxy.endpoint("echo").replace("ws://", "http://"),
            transports=["websocket"],
            token=TOKEN,
            headers={},
            reconnect=Reconnect(),
            on_state=None,
        )
        self._number = self.calls = 0
        self.killed = asyncio.get_running_loop().create_future()

    async def run(self, opened: asyncio.Barrier) -> float:
        """Call without end until the gateway is killed; return the seconds from then to the next result."""
        async with self._transport as (read, write):
            await self._call(read, write)
            await opened.wait()
            while not self.killed.done():
                await self._call(read, write)
                await asyncio.wait([self.killed], timeout=PAUSE)
            while not await self._call(read, write):
                pass
            return time.perf_counter() - self.killed.result()

    async def calls_again(self) -> None:
        """Wait for the result of another call."""
        before = self.calls
        await until(lambda: self.calls > before)

    async def _call(self, read: Any, write: Any) -> bool:
        """Make a call; return whether it had a result."""
        self._number += 1
        params = {"name": "echo", "arguments": {"text": "x" * 512}, "_meta": META}
        call = {"jsonrpc": "2.0", "id": self._number, "method": "tools/call", "params": params}
        await write.send(json.dumps(call).encode())
        async for data in read:
            answer = json.loads(data)
            if answer.get("id") == self._number:
                self.calls += 1
                return "result" in answer
        raise RuntimeError("the session has ended")


async def seen(rig: FleetRig, clients: int, kills: int) -> str:
    """Return how long clients wait for a result when the gateway of all of them is killed."""
    seconds: list[float] = []
    for _ in range(kills):
        await asyncio.to_thread(rig.proxy.until_up, 0, 1, 2)
        rig.proxy.use(0)
        opened, callers = asyncio.Barrier(clients + 1), [Caller(rig) for _ in range(clients)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(caller.run(opened)) for caller in callers]
            await opened.wait()
            rig.proxy.use(0, 1, 2)
            await asyncio.gather(*(caller.calls_again() for caller in callers))
            rig.kill(NAMES[0])
            killed = time.perf_counter()
            for caller in callers:
                caller.killed.set_result(killed)
        seconds += [task.result() for task in running]
        await asyncio.to_thread(rig.start_sharing, NAMES[0])
    return f"until the next result after a kill, as a client sees it: {percentiles(seconds, 2)} s"


async def many(rig: FleetRig, number: int) -> str:
    """Return what an idle session takes in Redis, and how long all take to be back when their gateway is killed."""
    before, unacknowledged = rig.used_bytes(), rig.unacknowledged()
    clients = await open_sessions(rig, NAMES[0], number)
    await until(lambda: rig.unacknowledged() <= unacknowledged, what="that their messages are acknowledged")
    each = (rig.used_bytes() - before) / number
    rig.kill(NAMES[0])
    began, gate = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

    async def back(place: int, client: Client) -> None:
        client.close()
        client.port = rig.ports[NAMES[1 + place % 2]]
        async with gate:
            await client.connect()
            await client.call()

    await asyncio.gather(*(back(place, client) for place, client in enumerate(clients)))
    seconds = time.perf_counter() - began
    for client in clients:
        client.close()
    return (
        f"an idle session in Redis: {each:.0f} bytes\n\n"
        f"{number} sessions of a killed gateway, each with one more call at one of the others: {seconds:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=10_000, help="calls per round at 32 clients")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50, help="clients that notice each kill")
    parser.add_argument("--sessions", type=int, default=2000)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[:2][-1]})
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        build = Path(folder)
        compile_programs(build)
        with FleetRig(build) as rig:
            print(f"load average {os.getloadavg()[0]:.1f}\n")
            print("| clients | p50 added, ms | CPU added, µs per call | calls/s |\n|---|---|---|---|")
            for clients, calls in ((1, options.calls // 4), (32, options.calls)):
                print(compare(rig, clients, calls, options.rounds), flush=True)
            print("\n" + asyncio.run(relay(rig, options.calls // 20, options.rounds)), flush=True)
            print("\n" + asyncio.run(take_over(rig, options.kills)), flush=True)
            print("\n" + asyncio.run(seen(rig, options.clients, options.kills)), flush=True)
            print("\n" + asyncio.run(many(rig, options.sessions)), flush=True)


if __name__ == "__main__":
    main()
