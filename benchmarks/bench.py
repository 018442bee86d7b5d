"""CPU per call of the gateway beside a stock Tornado echo and supergateway, and memory per idle session.

Interleaved rounds on one machine: gateway, echo, supergateway, gateway … The process that is measured runs on one
core; the load client and the MCP servers run on another. CPU is that of the measured process alone, all threads, from
the scheduler's accounting, from the moment when all links are open. Prints Markdown; docs/operate/performance.md
explains it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).parent
TOKEN = "benchmark"
ROWS = [(32, 1024), (256, 1024), (1, 1024), (1, 65536)]
"""Clients and request size in bytes."""
OURS = {"gateway": "gateway", "compiled": "compiled"}
PEERS = {"echo": "Tornado echo", "supergateway": "supergateway", "against": "other state"}
"""What is measured, and its name in the table."""
UNLIMITED = (
    "--MCPWebSocketApp.max_links_per_second=0",
    "--MCPWebSocketApp.max_sessions=100000",
    "--MCPWebSocketApp.max_sessions_per_principal=100000",
)
"""Options of a gateway for as many sessions as one client opens here."""
IDLE: Final = 0.1
"""Seconds without any use of CPU after which a process has nothing left to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--calls", type=int, default=8_000, help="calls per round at 32 clients")
    parser.add_argument("--sessions", type=int, default=10_000, help="idle sessions for the memory figure")
    parser.add_argument("--supergateway", type=Path, help="its dist/index.js, to be measured as well")
    parser.add_argument(
        "--compiled", type=Path, help="Python of an environment with the compiled build, to be measured too"
    )
    parser.add_argument(
        "--against",
        type=Path,
        help="tree of another state of the sources, to be measured too (git worktree add)",
    )
    parser.add_argument("--only-memory", action="store_true", help="measure the memory, but not the CPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        compile_programs(build)
        with Rig(build) as rig:
            if options.supergateway:
                rig.start_supergateway(options.supergateway.absolute())
            if options.compiled:
                rig.start_gateway(
                    "compiled", build / "mcp.json", *UNLIMITED, python=str(options.compiled.absolute())
                )
            if options.against:
                rig.start_gateway(
                    "against", build / "mcp.json", *UNLIMITED, tree=str(options.against.absolute())
                )
            if not options.only_memory:
                print_costs(rig, options.calls, options.rounds)
            print(f"\nKiB per idle session: {asyncio.run(memory(rig, options.sessions)):.1f}")


def print_costs(rig: Rig, calls: int, rounds: int) -> None:
    """Print the CPU of a call for each row, and what resuming adds."""
    print(f"{rounds} interleaved rounds; median (min … max)\n")
    ours, peers = [[name for name in names if name in rig.ports] for names in (OURS, PEERS)]
    ratios = "".join(f" {OURS[name]}'s ratio |" for name in ours)
    columns = "".join(f" {OURS[name]} µs/call |" for name in ours)
    columns += "".join(f" {PEERS[peer]} µs/call |{ratios}" for peer in peers)
    print(f"| clients | bytes |{columns} load client µs/call |")
    print("|" + "---|" * (columns.count("|") + 3))
    for clients, size in ROWS:
        some = calls if clients > 1 else calls // 4 if size < 4096 else calls // 10
        print(row(rig, ours, peers, clients, size, some, rounds), flush=True)
    print("\n" + resume_cost(rig, calls, rounds), flush=True)


def compile_programs(build: Path, *more: str) -> None:
    """Compile the MCP server, the load client, and other programs by name."""
    for program in ("echo_server", "load_client", *more):
        subprocess.run(["cc", "-O2", "-o", build / program, HERE / f"{program}.c"], check=True)


def row(rig: Rig, ours: list[str], peers: list[str], clients: int, size: int, calls: int, rounds: int) -> str:
    """Measure the gateway and its peers in turn, ``rounds`` times and once to warm up.

    Every other round has the opposite order: what is measured right after a pause is cheaper on some machines.
    """
    costs: dict[str, list[float]] = {name: [] for name in (*ours, *peers)}
    load = []
    for number in range(rounds + 1):
        for name in list(costs)[:: -1 if number % 2 else 1]:
            cost, report = rig.measure(name, clients, size, calls)
            if number:  # the first round warms up
                costs[name].append(cost)
                load += [report["client_cpu_us"]] if name == "gateway" else []
    cells = [spread(costs[name], 1) for name in ours]
    for peer in peers:
        cells.append(spread(costs[peer], 1))
        cells += [spread([a / b for a, b in zip(costs[name], costs[peer], strict=True)], 2) for name in ours]
    return f"| {clients} | {size} | " + " | ".join([*cells, f"{statistics.median(load):.1f}"]) + " |"


def resume_cost(rig: Rig, calls: int, rounds: int) -> str:
    """What ``mcp.resume.v1`` adds to plain ``mcp``: a call is two messages."""
    costs = []
    for number in range(rounds + 1):
        plain, _ = rig.measure("gateway", 32, 1024, calls)
        resuming, _ = rig.measure("gateway", 32, 1024, calls, "mcp.resume.v1")
        if number:
            costs.append((resuming - plain) / 2)
    return f"resume layer, µs per message over plain mcp (32 clients, 1 KiB): {spread(costs, 1)}"


def spread(values: list[float], digits: int) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} … {high:.{digits}f})"


class Rig:
    """The gateway inside Jupyter and the peers, all running."""

    def __init__(self, build: Path) -> None:
        self._build = build
        self._cores = sorted(os.sched_getaffinity(0))[:2]
        self._started: list[subprocess.Popen[bytes]] = []
        self.ports: dict[str, int] = {}
        self.pids: dict[str, int] = {}
        self.paths = {"echo": "/", "supergateway": "/message"}

    def __enter__(self) -> Rig:
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        configuration = self._build / "mcp.json"
        command, *args = self._server()
        configuration.write_text(json.dumps({"mcpServers": {"echo": {"command": command, "args": args}}}))
        self._start_all(configuration)
        return self

    def _start_all(self, configuration: Path) -> None:
        self.start_gateway("gateway", configuration, *UNLIMITED)
        port = free_port()
        self._start("echo", [sys.executable, str(HERE / "tornado_echo.py"), str(port)], port)
        wait_for(f"http://127.0.0.1:{self.ports['echo']}/", any_status=True)

    def _server(self) -> list[str]:
        """The command of the MCP server, on the core of the load client."""
        pinned = ["taskset", "-c", str(self._cores[-1])] if shutil.which("taskset") else []
        return [*pinned, str(self._build / "echo_server")]

    def start_supergateway(self, script: Path) -> None:
        """Start supergateway in front of a server of its own, without logging each message."""
        port = free_port()
        # Python's package of Node starts Node as a child; its CPU is what counts.
        asked = subprocess.run(
            ["node", "-p", "process.execPath"], stdout=subprocess.PIPE, text=True, check=True
        )
        node = asked.stdout.strip()
        command = [node, str(script), "--stdio", " ".join(self._server()), "--outputTransport", "ws"]
        command += ["--port", str(port), "--messagePath", "/message", "--logLevel", "none"]
        self._start("supergateway", [*command, "--healthEndpoint", "/status"], port)
        wait_for(f"http://127.0.0.1:{port}/status")

    def start_gateway(
        self, name: str, configuration: Path, *arguments: str, python: str = sys.executable, tree: str = ""
    ) -> None:
        """Start a Jupyter with the gateway, on the port it had before, and wait until it answers.

        ``tree`` is a directory from which Python takes the package, in place of the installed one.
        """
        port = self.ports.get(name) or free_port()
        jupyter = [python, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        jupyter += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={self._build}"]
        jupyter += [f"--MCPWebSocketApp.server_files={configuration}", *arguments]
        self._start(name, jupyter, port, **({"PYTHONPATH": tree} if tree else {}))
        self.paths[name] = "/mcp-ws/servers/echo"
        wait_for(f"http://127.0.0.1:{port}/mcp-ws/api/health")

    def _start(self, name: str, command: list[str], port: int, **more: str) -> None:
        environment = {**os.environ, **more, "JUPYTER_TOKEN": TOKEN, "JUPYTER_RUNTIME_DIR": str(self._build)}
        environment |= {"JUPYTER_DATA_DIR": str(self._build), "JUPYTER_CONFIG_DIR": str(self._build)}
        # Not in the directory of the sources, which Python would prefer to the compiled build.
        process = subprocess.Popen(
            command, env=environment, cwd=self._build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.sched_setaffinity(process.pid, {self._cores[0]})
        self._started.append(process)
        self.ports[name], self.pids[name] = port, process.pid

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def measure(
        self, name: str, clients: int, size: int, calls: int, protocol: str = "mcp"
    ) -> tuple[float, dict[str, Any]]:
        """CPU µs per call of the measured process, links once open, and the load client's report."""
        arguments = [str(self.ports[name]), self.paths[name], TOKEN, str(clients), str(calls), str(size)]
        core, pid = self._cores[-1], self.pids[name]
        client = subprocess.Popen(
            [self._build / "load_client", *arguments, protocol],
            env={**os.environ, "LOAD_CLIENT_WAITS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            if client.stdout.readline() != "ready\n":
                raise SystemExit(f"the load client could not open its links at {name}")
            before = cpu_seconds(pid)
            client.stdin.write("go\n")
            client.stdin.flush()
            told = client.stdout.readline()
            used = cpu_seconds(pid) - before
            client.communicate(timeout=120)
        finally:
            client.kill()
        if client.returncode != 0 or not told:
            raise SystemExit(f"the load client failed at {name}, {clients} clients, {size} bytes: {told}")
        wait_until_idle(pid)
        return used / calls * 1e6, json.loads(told)


def wait_until_idle(pid: int) -> None:
    """Wait until a process has used no CPU for :data:`IDLE`: the next round must not count the end of this one."""
    used, deadline = -1.0, time.monotonic() + 60
    while (now := cpu_seconds(pid)) != used and time.monotonic() < deadline:
        used = now
        time.sleep(IDLE)


async def memory(rig: Rig, sessions: int) -> float:
    """KiB per idle session: the slope between a tenth and all of them, each having made a call."""
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{rig.ports['gateway']}/mcp-ws/servers/echo"
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}})
    links: list[Any] = []

    async def grow(count: int) -> float:
        while len(links) < count:
            link = await connect(
                url,
                additional_headers={"Authorization": f"token {TOKEN}"},
                subprotocols=["mcp"],
                compression=None,
            )
            await link.send(request)
            await link.recv()
            links.append(link)
        await asyncio.sleep(1.5)
        return resident_kib(rig.pids["gateway"])

    first = await grow(sessions // 10)
    last = await grow(sessions)
    for link in links:
        link.transport.abort()
    return (last - first) / (sessions - sessions // 10)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process (nanosecond accounting of the scheduler)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_kib(pid: int, field: str = "VmRSS:") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1])
    raise RuntimeError(f"no {field}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, any_status: bool = False) -> None:
    request = urllib.request.Request(url, headers={"Authorization": f"token {TOKEN}"})
    for _ in range(1200):
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except urllib.error.HTTPError:
            if any_status:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


if __name__ == "__main__":
    main()
