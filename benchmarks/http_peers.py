"""CPU per call over Streamable HTTP: the gateway, supergateway and mcp-proxy in front of the same MCP server.

Interleaved rounds on one machine, as in bench.py: what is measured runs on one core with everything it starts
but the MCP server; that and the load client run on another. Sessions are opened before the clock starts and
ended after it stops. Needs Linux. Prints Markdown; docs/operate/performance.md explains it.

(Not named ``http.py``: a script's folder comes first on the import path, before the standard library.)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from bench import HERE, TOKEN, cpu_seconds, free_port, spread, wait_for

ROOT = HERE.parent
ROWS = [(32, "legacy"), (1, "legacy"), (32, "modern"), (1, "modern"), (32, "fresh"), (1, "fresh")]
"""Clients and protocol era; fresh is legacy with a header that differs from call to call."""
SIZE = 1024
"""Bytes of a request."""
WARM_UP = 2
"""Rounds that are not counted: Node compiles while it runs."""
SLOW_CALLS = 200
"""Calls a round where each costs a process."""


@dataclass(frozen=True)
class Peer:
    """One gateway to measure."""

    name: str
    command: list[str]
    port: int
    path: str
    eras: tuple[str, ...]
    spawns: tuple[str, ...] = ()
    """Eras in which every call starts a process."""


@dataclass(frozen=True)
class Cost:
    """Of one round: µs of CPU per call, and what the load client reports."""

    gateway: float
    server: float
    report: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--eras", nargs="*", choices=["legacy", "modern", "fresh"], help="all unless given")
    parser.add_argument("--calls", type=int, default=3000, help="calls per round")
    parser.add_argument("--supergateway", type=Path, required=True, help="its dist/index.js")
    parser.add_argument("--mcp-proxy", type=Path, required=True, help="its executable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        for program in ("echo_server", "http_load_client"):
            subprocess.run(["cc", "-O2", "-o", build / program, HERE / f"{program}.c"], check=True)
        with Rig(build, peers(build, options.supergateway, options.mcp_proxy)) as rig:
            print(f"{options.rounds} interleaved rounds of {options.calls} calls; median (min … max)\n")
            print(
                "| clients | era | gateway | gateway µs/call | ratio ours / its | MCP server µs/call | p50 µs"
                " | load client µs/call | load client busy |"
            )
            print("|---|---|---|---|---|---|---|---|---|")
            for clients, era in [row for row in ROWS if row[1] in (options.eras or row)]:
                for line in rows(rig, clients, era, options.calls, options.rounds):
                    print(line, flush=True)


def peers(build: Path, supergateway: Path, mcp_proxy: Path) -> list[Peer]:
    """The three, each as its documentation runs it for many clients; without logging each message."""
    ports = [free_port() for _ in range(3)]
    server = ["taskset", "-c", str(cores()[-1]), str(build / "echo_server")]
    configuration = build / "mcp.json"
    entry = {"command": server[0], "args": server[1:]}
    configuration.write_text(json.dumps({"mcpServers": {"echo": entry}}))
    ours = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
    ours += [f"--ServerApp.port={ports[0]}", f"--MCPWebSocketApp.server_files={configuration}"]
    ours += [f"--ServerApp.root_dir={build}", "--MCPWebSocketApp.max_processes=200"]
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is missing; 'make bench-http' puts it on the path")
    theirs = [node, str(supergateway), "--stdio", " ".join(server), "--outputTransport", "streamableHttp"]
    theirs += ["--stateful", "--port", str(ports[1]), "--logLevel", "none", "--healthEndpoint", "/status"]
    proxy = [str(mcp_proxy), "--port", str(ports[2]), "--log-level", "ERROR", "--", *server]
    every = ("legacy", "modern", "fresh")
    return [
        Peer("this gateway", ours, ports[0], "/mcp-ws/servers/echo", every),
        Peer("supergateway", theirs, ports[1], "/mcp", every, spawns=("modern",)),
        Peer("mcp-proxy", proxy, ports[2], "/mcp", ("legacy", "fresh")),
    ]


def cores() -> list[int]:
    """Two of the cores this process may use: for what is measured, and for the rest."""
    return sorted(os.sched_getaffinity(0))[:2]


class Rig:
    """Every peer, running."""

    def __init__(self, build: Path, peers: list[Peer]) -> None:
        self.peers = peers
        self._build = build
        self._roots: dict[str, psutil.Popen] = {}

    def __enter__(self) -> Rig:
        for peer in self.peers:
            self._start(peer)
        for peer in self.peers:
            health = "/mcp-ws/api/health" if peer.path.startswith("/mcp-ws") else "/status"
            wait_for(f"http://127.0.0.1:{peer.port}{health}")
        return self

    def _start(self, peer: Peer) -> None:
        environment = {**os.environ, "JUPYTER_TOKEN": TOKEN}
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
            environment[name] = str(self._build)
        core = cores()[0]
        with (self._build / f"{peer.port}.log").open("wb") as log:
            self._roots[peer.name] = psutil.Popen(
                peer.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )

    def __exit__(self, *_: object) -> None:
        for root in self._roots.values():
            tree = root.children(recursive=True)
            root.terminate()
            _, alive = psutil.wait_procs([root, *tree], timeout=10)
            for process in alive:
                process.kill()

    def cpu(self, peer: Peer) -> tuple[float, float]:
        """Seconds of CPU so far: of the peer's processes, and of the MCP servers it started."""
        root = self._roots[peer.name]
        gateway = cpu_seconds(root.pid)
        servers = 0.0
        for child in root.children(recursive=True):
            try:
                if child.name() == "echo_server":
                    servers += cpu_seconds(child.pid)
                else:
                    gateway += cpu_seconds(child.pid)
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue
        return gateway, servers

    def measure(self, peer: Peer, clients: int, era: str, calls: int) -> Cost:
        """One round."""
        with load(self._build, peer, clients, era, calls) as client:
            before = self.cpu(peer)
            client.stdin.write("go\n")
            client.stdin.flush()
            report = client.stdout.readline()
            after = self.cpu(peer)
            if not report:
                raise SystemExit(f"the load client failed on {peer.name}")
        gateway, server = ((b - a) / calls * 1e6 for a, b in zip(before, after, strict=True))
        return Cost(gateway, server, json.loads(report))


@contextmanager
def load(build: Path, peer: Peer, clients: int, era: str, calls: int) -> Iterator[Any]:
    """The load client, with its sessions open; they are ended at the end."""
    arguments = [str(peer.port), peer.path, TOKEN, str(clients), str(calls), str(SIZE), era]
    core = cores()[-1]
    client = subprocess.Popen(
        [build / "http_load_client", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if client.stdout.readline() != "ready\n":
        raise SystemExit(f"the load client could not open its sessions on {peer.name}")
    try:
        yield client
        client.stdin.write("end\n")
        client.stdin.close()
        if client.wait(30):
            raise SystemExit(f"{peer.name} gave a client what was not its answer")
    finally:
        client.kill()
        client.wait()
        time.sleep(0.2)  # what ends the sessions must not be counted in the next round


def rows(rig: Rig, clients: int, era: str, calls: int, rounds: int) -> list[str]:
    """A line per peer that speaks the era."""
    spoken = [peer for peer in rig.peers if era in peer.eras]
    costs: dict[str, list[Cost]] = {peer.name: [] for peer in spoken}
    for number in range(WARM_UP + rounds):
        for peer in spoken:
            count = SLOW_CALLS if era in peer.spawns else calls
            cost = rig.measure(peer, clients, era, count)
            if number >= WARM_UP:
                costs[peer.name].append(cost)
    ours = [cost.gateway for cost in costs[spoken[0].name]]
    return [line(peer.name, clients, era, costs[peer.name], ours) for peer in spoken]


def line(name: str, clients: int, era: str, costs: list[Cost], ours: list[float]) -> str:
    """One row of the table."""
    ratios = [a / cost.gateway for a, cost in zip(ours, costs, strict=True)]
    busy = [c.report["client_cpu_us"] * c.report["calls"] / c.report["seconds"] / 1e6 for c in costs]
    cells = [
        str(clients),
        era,
        name,
        spread([cost.gateway for cost in costs], 0),
        spread(ratios, 2),
        f"{statistics.median(cost.server for cost in costs):.0f}",
        f"{statistics.median(cost.report['p50_us'] for cost in costs):.0f}",
        f"{statistics.median(cost.report['client_cpu_us'] for cost in costs):.0f}",
        f"{statistics.median(busy):.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
