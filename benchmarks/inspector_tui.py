"""What the full-screen inspector costs while it follows a steady stream of records.

Starts a tap that sends so many records a second (the lines of ``inspector_store``), and ``mcp-ws-inspect`` in a
terminal of 120 × 40 whose output is read and thrown away. Prints its CPU time as a share of one core, its memory
in the middle and at the end, for which share of the time it was ready to run and had no CPU (Linux: schedstat), how
late its event loop ran what was due (a clock within it that asks for every 10 ms),
and how many of the records that were sent it had taken in when it ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import math
import os
import pty
import struct
import sys
import tempfile
import termios
import threading
import time
from http import HTTPStatus
from pathlib import Path

import psutil
from inspector_store import lines
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

CLOCK = 0.01
"""Seconds between two looks at the loop's lag."""
MEASURED = """
import asyncio, json, sys, time
from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.app import app as module

class Measured(module.InspectorApp):
    def on_mount(self):
        super().on_mount()
        self.late = []
        self.run_worker(self.clock(), group="clock")

    async def clock(self):
        while True:
            due = time.perf_counter() + {clock}
            await asyncio.sleep({clock})
            self.late.append(time.perf_counter() - due)

    def on_unmount(self):
        # The first two seconds are its start.
        ordered = sorted(self.late[int(2 / {clock}) :]) or [0.0]
        told = {{"rows": self.journal.store.end, "dropped": self.journal.missed}}
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
            told["lag_ms_" + name] = round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1)
        open({report!r}, "w").write(json.dumps(told))
        super().on_unmount()

module.InspectorApp = Measured
sys.exit(module.run(lambda: RunningGateway({url!r})))
"""
BATCHES = 20
"""Messages a second, each with its share of the records."""


def waited(pid: int) -> float:
    """Seconds in which threads of a process could have run and had no CPU; NaN where the system does not say."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9
    except (OSError, ValueError, IndexError):
        return math.nan


def stream(rate: int) -> list[str]:
    """One second's messages, made before the clock starts; ids repeat every 200 s of them. None for a rate of 0."""
    if not rate:
        return []
    records = [line for number in range(rate // 4) for line in lines(number)]
    size = len(records) // BATCHES
    return ["\n".join(records[start : start + size]) for start in range(0, len(records), size)]


async def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="records a second; 0: idle")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    messages, sent, attached = stream(options.rate), [0], asyncio.Event()

    async def tap(link: ServerConnection) -> None:
        attached.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                if not messages:
                    return await link.wait_closed()
                start = time.perf_counter()
                for number, message in enumerate(messages, 1):
                    await link.send(message)
                    sent[0] += message.count("\n") + 1
                    await asyncio.sleep(max(0.0, start + number / BATCHES - time.perf_counter()))

    def plain(link: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        return link.respond(HTTPStatus.OK, json.dumps({"servers": [], "sessions": [], "instances": []}))

    async with serve(
        tap, "127.0.0.1", 0, process_request=plain, subprotocols=["mcp.tap.v1"], compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        clock = CLOCK if messages else 1.0  # asking for every 10 ms costs more than to be idle
        await measure(f"http://127.0.0.1:{port}/", options.seconds, clock, sent, attached)


async def measure(url: str, seconds: int, clock: float, sent: list[int], attached: asyncio.Event) -> None:
    """Start the inspector and watch it."""
    report = tempfile.NamedTemporaryFile(prefix="lag-")  # noqa: SIM115 - the other process writes it
    program = MEASURED.format(clock=clock, report=report.name, url=url)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        command = [sys.executable, "-c", program]
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    output = [0]

    def drain() -> None:
        try:
            while data := os.read(terminal, 1 << 16):
                output[0] += len(data)
        except OSError:
            return

    threading.Thread(target=drain, daemon=True).start()
    process = psutil.Process(pid)
    await attached.wait()
    await asyncio.sleep(2)
    cpu, at, before = process.cpu_times(), time.perf_counter(), sent[0]
    starved = waited(pid)
    await asyncio.sleep(seconds / 2)
    middle = process.memory_info().rss
    await asyncio.sleep(seconds / 2)
    spent, took = process.cpu_times(), time.perf_counter() - at
    found = {
        "records_per_s": round((sent[0] - before) / took),
        "seconds": round(took),
        "cpu_percent": round(100 * (spent.user + spent.system - cpu.user - cpu.system) / took, 1),
        "no_cpu_percent": round(100 * (waited(pid) - starved) / took, 1),
        "rss_mib_middle": round(middle / (1 << 20), 1),
        "rss_mib": round(process.memory_info().rss / (1 << 20), 1),
        "terminal_kb_per_s": round(output[0] / (took + 2) / 1024, 1),
        "threads": process.num_threads(),
        "sent": sent[0],
    }
    os.write(terminal, b"q")
    await asyncio.to_thread(process.wait, 10)
    print(json.dumps({**found, **json.loads(report.read())}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    asyncio.run(main())
