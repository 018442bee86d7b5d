"""How the cost of a call grows with clients, servers and message sizes, beside the least that any gateway must do.

That floor (``floor_relay.c``) carries the same messages between the same sockets and the same server on one epoll loop
in C, and checks, counts and limits nothing. What is measured runs on one core; the load client and the MCP server run
on another. Links are opened before the clock starts. CPU is that of the measured process, all threads, from the
scheduler's accounting. Prints Markdown, and draws it (``--plot FILE``). docs/operate/performance.md explains it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bench import TOKEN, compile_programs, cpu_seconds, free_port, resident_kib, wait_for, wait_until_idle
from scale_plot import Panel, drawing

CLIENTS: Final = (1, 32, 256, 2000, 10000)
SERVERS: Final = (1, 10, 100)
SIZES: Final = (100, 1 << 10, 64 << 10, 1 << 20, 10 << 20)
"""Bytes of a request, which comes back as the answer."""
STREAM: Final = 1 << 30
"""Bytes to the server, and as many back, in messages of 1 MiB from one client."""
QUICK_CLIENTS: Final = (1, 32)
QUICK_SERVERS: Final = (1, 3)
QUICK_SIZES: Final = (100, 64 << 10)
QUICK_STREAM: Final = 4 << 20
ROUND_BYTES: Final = 64 << 20
"""Bytes of the requests of one round, at most, so that large messages do not take minutes."""
FEWEST_CALLS: Final = 6
OPEN_SECONDS: Final = 600.0
"""Seconds for a load client to open its links and make its calls."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients of one round do."""

    clients: int = 32
    servers: int = 1
    size: int = 1024
    calls: int = 10_000

    @property
    def round_calls(self) -> int:
        """The calls of a round: not fewer than two a client."""
        most = max(FEWEST_CALLS, ROUND_BYTES // self.size)
        return max(2 * self.clients, min(self.calls, most))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round took: µs of CPU for a call, milliseconds from request to answer, µs of CPU to open a link."""

    cpu: float
    p50: float
    p99: float
    opening: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few small loads, to see that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="the SVG to write")
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        compile_programs(build, "floor_relay")
        with Rig(build, max(QUICK_SERVERS if options.quick else SERVERS)) as rig:
            report(rig, options.quick, options.rounds, options.plot)


def report(rig: Rig, quick: bool, rounds: int, plot: Path | None) -> None:
    """Measure all loads; print tables, and draw them."""
    calls = 200 if quick else 10_000
    clients = [Load(clients=n, calls=calls) for n in (QUICK_CLIENTS if quick else CLIENTS)]
    servers = [Load(servers=n, calls=calls) for n in (QUICK_SERVERS if quick else SERVERS)]
    sizes = [Load(clients=1, size=n, calls=calls) for n in (QUICK_SIZES if quick else SIZES)]
    panels = [
        table(rig, "clients", [(load.clients, load) for load in clients], rounds),
        table(rig, "servers", [(load.servers, load) for load in servers], rounds),
        table(rig, "bytes", [(load.size, load) for load in sizes], rounds),
    ]
    print(stream(rig, QUICK_STREAM if quick else STREAM), flush=True)
    if plot is not None:
        plot.write_text(drawing(panels))


def table(rig: Rig, unit: str, loads: list[tuple[int, Load]], rounds: int) -> Panel:
    """Measure loads and print a table of them."""
    print(
        f"\n| {unit} | gateway µs/call | floor µs/call | ratio | gateway p50, p99 ms | opening a link, µs |"
    )
    print("|---|---|---|---|---|---|")
    ours, floors = [], []
    for number, load in loads:
        gateway, floor = measured(rig, load, rounds)
        cpu, least = (statistics.median(cost.cpu for cost in costs) for costs in (gateway, floor))
        latency = ", ".join(
            f"{statistics.median(getattr(cost, name) for cost in gateway):.1f}" for name in ("p50", "p99")
        )
        opening = statistics.median(cost.opening for cost in gateway)
        print(
            f"| {number:,} | {cpu:.0f} | {least:.0f} | {cpu / least:.1f} | {latency} | {opening:.0f} |",
            flush=True,
        )
        ours.append((number, cpu))
        floors.append((number, least))
    return Panel(unit, ours, floors)


def measured(rig: Rig, load: Load, rounds: int) -> tuple[list[Cost], list[Cost]]:
    """Interleaved rounds of the gateway and of the floor. The floor has one server: it needs no others."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(rounds):
        costs[0].append(rig.measure("gateway", load))
        costs[1].append(rig.measure("floor", load))
    return costs


def stream(rig: Rig, size: int) -> str:
    """Carry ``size`` bytes in messages of 1 MiB from one client; say what that took."""
    calls = size >> 20
    cost = rig.measure("gateway", Load(clients=1, size=1 << 20, calls=calls), calls)
    peak = rig.peak_kib() / 1024
    seconds, gib = cost.cpu * calls / 1e6, size / (1 << 30)
    return (
        f"\n{gib:g} GiB to the server and back in messages of 1 MiB: {seconds / gib:.1f} s of CPU a GiB; "
        f"the gateway never took more than {peak:.0f} MiB"
    )


class Rig:
    """The gateway inside Jupyter, with as many servers as needed, and the floor, both running."""

    def __init__(self, build: Path, servers: int) -> None:
        self._build = build
        self._servers = servers
        cores = sorted(os.sched_getaffinity(0))
        self._core, self._other = cores[0], cores[-1]
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Rig:
        taskset = ["taskset", "-c", str(self._other)] if shutil.which("taskset") else []
        server = [*taskset, str(self._build / "echo_server")]
        entry = {"command": server[0], "args": server[1:]}
        servers = {f"echo{number}": entry for number in range(self._servers)}
        configuration = self._build / "mcp.json"
        configuration.write_text(json.dumps({"mcpServers": servers}))
        port = free_port()
        jupyter = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        jupyter += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={self._build}"]
        jupyter += [f"--MCPWebSocketApp.server_files={configuration}"]
        jupyter += [f"--MCPWebSocketApp.{name}=100000" for name in ("max_sessions", "max_links_per_second")]
        jupyter += ["--MCPWebSocketApp.max_processes=1000"]
        self._start("gateway", port, jupyter)
        port = free_port()
        self._start("floor", port, [str(self._build / "floor_relay"), str(port), *server])
        wait_for(f"http://127.0.0.1:{self._ports['gateway']}/mcp-ws/api/health")
        return self

    def _start(self, name: str, port: int, command: list[str]) -> None:
        environment = {**os.environ, "JUPYTER_TOKEN": TOKEN}
        environment |= {f"JUPYTER_{kind}_DIR": str(self._build) for kind in ("RUNTIME", "DATA", "CONFIG")}
        core = self._core
        self._started[name] = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self._ports[name] = port

    def __exit__(self, *_: object) -> None:
        for process in self._started.values():
            process.send_signal(signal.SIGTERM)
        for process in self._started.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def peak_kib(self) -> float:
        """The most memory that the gateway has had since the last round began."""
        return resident_kib(self._started["gateway"].pid, "VmHWM:")

    def measure(self, name: str, load: Load, calls: int = 0) -> Cost:
        """One round: open the links, then make the calls."""
        pid, total = self._started[name].pid, calls or load.round_calls
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak of memory counts from here
        begun = cpu_seconds(pid)
        with self._clients(name, load, total) as clients:
            opened = cpu_seconds(pid)
            for _, stdin, _ in clients:
                stdin.write("go\n")
                stdin.flush()
            told = [stdout.readline() for _, _, stdout in clients]
            ended = cpu_seconds(pid)
        if not all(told):
            raise SystemExit(f"a load client failed at {name} with {load}")
        reports: list[dict[str, Any]] = [json.loads(line) for line in told]
        if any(report["misrouted"] for report in reports):
            raise SystemExit(f"{name} gave a client what was not its answer")
        made = sum(report["calls"] for report in reports)
        p50 = statistics.median(report["p50_us"] for report in reports) / 1000
        p99 = max(report["p99_us"] for report in reports) / 1000
        return Cost((ended - opened) / made * 1e6, p50, p99, (opened - begun) / load.clients * 1e6)

    @contextmanager
    def _clients(
        self, name: str, load: Load, total: int
    ) -> Iterator[list[tuple[subprocess.Popen[str], IO[str], IO[str]]]]:
        """Load clients, one for each server, with their links open."""
        parts = min(load.servers, load.clients) if name == "gateway" else 1
        core, started = self._other, []
        for number in range(parts):
            clients = load.clients // parts + (number < load.clients % parts)
            path = f"/mcp-ws/servers/echo{number}" if name == "gateway" else "/"
            shape = [str(clients), str(max(total // parts, clients)), str(load.size), "mcp"]
            started.append(
                subprocess.Popen(
                    [self._build / "load_client", str(self._ports[name]), path, TOKEN, *shape],
                    env={**os.environ, "LOAD_CLIENT_WAITS": "1"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    preexec_fn=lambda: os.sched_setaffinity(0, {core}),
                )
            )
        try:
            pipes = [(one, one.stdin, one.stdout) for one in started if one.stdin and one.stdout]
            for _, _, stdout in pipes:
                if stdout.readline() != "ready\n":
                    raise SystemExit(f"a load client could not open its links at {name} with {load}")
            yield pipes
        finally:
            for one in started:
                one.communicate(timeout=OPEN_SECONDS)
            wait_until_idle(self._started[name].pid)


if __name__ == "__main__":
    main()
