"""What storing sessions costs through a whole Jupyter, and how long it takes until all clients are back after a crash.

``make bench-stored``. Two Jupyters, one of which stores its sessions in an SQLite file, serve the same calls in
interleaved rounds: latency of one client, CPU of 32. Then clients open sessions and make a call, Jupyter is killed with
-9 and started again, and they resume, all at once, each with one more call. Prints Markdown;
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
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import HERE, TOKEN, Rig, cpu_seconds, spread

CACHE = HERE.parent / ".cache"
"""On the disk of the clone; the directory for temporary files may be in memory."""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
AT_ONCE = 64
"""Clients whose upgrade is under way at the same time: fewer than a listening socket's backlog."""
LIMITS = (
    *("--MCPWebSocketApp.max_links_per_second=0", "--MCPWebSocketApp.max_sessions=100000"),
    "--MCPWebSocketApp.max_sessions_per_principal=0",
)


class StoringRig(Rig):
    """A Jupyter that stores its sessions beside one that does not."""

    def _start_all(self, configuration: Path) -> None:
        self._configuration = configuration
        self.start_gateway("gateway", configuration, *LIMITS)
        self.start_storing()

    def start_storing(self) -> None:
        """Start the one that stores, or start it again."""
        file = f"--MCPWebSocketApp.engine=sqlite://{self._build}/sessions.sqlite"
        self.start_gateway("stored", self._configuration, file, *LIMITS)

    def kill_storing(self) -> None:
        """Kill it with -9."""
        os.kill(self.pids["stored"], signal.SIGKILL)
        self._started.pop().wait()


class Client:
    """One client on a plain socket, which speaks as much WebSocket as it needs (RFC 6455).

    Attributes:
        port: where it connects next.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._token = ""
        self._received = self._id = 0

    async def connect(self) -> float:
        """Open the session, or resume it; return the seconds from the first frame to the answer."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = {"Host": f"127.0.0.1:{self.port}", "Upgrade": "websocket", "Connection": "Upgrade"}
        head |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDAwMDAwMDAwMDAwMDAwMA=="}
        head |= {"Sec-WebSocket-Protocol": "mcp.resume.v1", "Authorization": f"token {TOKEN}"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self._writer.write(f"GET /mcp-ws/servers/echo HTTP/1.1\r\n{lines}\r\n".encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        hello: dict[str, Any] = {"mcp.ws": "open"}
        if self._token:
            hello = {"mcp.ws": "resume", "token": self._token, "recv": self._received}
        began = time.perf_counter()
        self._send(hello)
        answered = await self._receive()
        assert answered["mcp.ws"] in ("opened", "resumed"), answered
        self._token = answered["token"]
        return time.perf_counter() - began

    async def call(self) -> None:
        """Make a call."""
        self._id += 1
        params = {"name": "echo", "arguments": {"text": "x" * 512}, "_meta": META}
        self._send({"jsonrpc": "2.0", "id": self._id, "method": "tools/call", "params": params})
        while (await self._receive()).get("id") != self._id:
            pass
        self._received += 1

    def acknowledge(self) -> None:
        """Tell the gateway that everything was received."""
        self._send({"mcp.ws": "ack", "recv": self._received})

    def close(self) -> None:
        """Close the socket."""
        self._writer.transport.abort()

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self._writer.write(b"\x81" + size + bytes(4) + data)

    async def _receive(self) -> dict[str, Any]:
        first, second = await self._reader.readexactly(2)
        size = second & 127
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        data = await self._reader.readexactly(size)
        assert first & 15 == 1, data
        message: dict[str, Any] = json.loads(data)
        return message


async def until_all_are_back(rig: StoringRig, number: int) -> str:
    """Return how long it takes from the end of Jupyter's start until each client has its next answer."""
    clients = [Client(rig.ports["stored"]) for _ in range(number)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def work(client: Client) -> None:
        async with gate:
            await client.connect()
            await client.call()

    await asyncio.gather(*(work(client) for client in clients))
    await asyncio.to_thread(rig.kill_storing)
    for client in clients:
        client.close()
    await asyncio.to_thread(rig.start_storing)
    begun, cpu = time.perf_counter(), cpu_seconds(rig.pids["stored"])
    await asyncio.gather(*(work(client) for client in clients))
    seconds, cpu = time.perf_counter() - begun, cpu_seconds(rig.pids["stored"]) - cpu
    for client in clients:
        client.close()
    return f"{number} sessions resumed, each with one more call: {seconds:.1f} s; CPU of Jupyter {cpu:.1f} s"


def compare(rig: StoringRig, clients: int, calls: int, rounds: int) -> str:
    """Return a row of the table: what is added by storing."""
    latency, cpu, plain = [], [], []
    for number in range(rounds + 1):
        without, one = rig.measure("gateway", clients, 1024, calls, "mcp.resume.v1")
        stored, other = rig.measure("stored", clients, 1024, calls, "mcp.resume.v1")
        if number:  # the first round warms up
            latency.append(other["p50_us"] - one["p50_us"])
            cpu.append(stored - without)
            plain.append(one["p50_us"])
    middle = f"{statistics.median(plain):.0f}"
    return f"| {clients} | {middle} | {spread(latency, 0)} | {spread(cpu, 0)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=10_000, help="calls per round at 32 clients")
    parser.add_argument("--sessions", type=int, default=2000)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        build = Path(folder)
        for program in ("echo_server", "load_client"):
            subprocess.run(["cc", "-O2", "-o", build / program, HERE / f"{program}.c"], check=True)
        with StoringRig(build) as rig:
            print("| clients | p50 without, µs | p50 added, µs | CPU added, µs per call |\n|---|---|---|---|")
            for clients, calls in ((1, options.calls // 4), (32, options.calls)):
                print(compare(rig, clients, calls, options.rounds), flush=True)
            print("\n" + asyncio.run(until_all_are_back(rig, options.sessions)))


if __name__ == "__main__":
    main()
