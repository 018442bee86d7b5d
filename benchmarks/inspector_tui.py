"""What the full-screen inspector costs while it follows a steady stream of records.

Starts a tap that sends so many records a second (the lines of ``inspector_store``), and ``mcp-ws-inspect`` in a
terminal of 120 × 40 whose output is read and thrown away. Prints its CPU time as a share of one core, its memory,
and how many records it was too slow for (the tap counts what it could not send in time).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import sys
import termios
import threading
import time
from http import HTTPStatus
from pathlib import Path

import psutil
from inspector_store import lines
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

BATCHES = 20
"""Messages a second, each with its share of the records."""


def stream(rate: int) -> list[str]:
    """One second's messages, made before the clock starts; ids repeat every 200 s of them."""
    records = [line for number in range(rate // 4) for line in lines(number)]
    size = len(records) // BATCHES
    return ["\n".join(records[start : start + size]) for start in range(0, len(records), size)]


async def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    messages, sent = stream(options.rate), [0]

    async def tap(link: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                start = time.perf_counter()
                for number, message in enumerate(messages, 1):
                    await link.send(message)
                    sent[0] += message.count("\n") + 1
                    await asyncio.sleep(max(0.0, start + number / BATCHES - time.perf_counter()))

    def plain(link: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        return link.respond(HTTPStatus.OK, json.dumps({"servers": [], "sessions": []}))

    async with serve(
        tap, "127.0.0.1", 0, process_request=plain, subprotocols=["mcp.tap.v1"], compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        await measure(f"http://127.0.0.1:{port}/", options.seconds, sent)


async def measure(url: str, seconds: int, sent: list[int]) -> None:
    """Start the inspector and watch it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "attach", "--url", url]
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
    while not sent[0]:  # noqa: ASYNC110 - it waits for another process
        await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    cpu, at, before = process.cpu_times(), time.perf_counter(), sent[0]
    await asyncio.sleep(seconds)
    spent, took = process.cpu_times(), time.perf_counter() - at
    print(
        json.dumps(
            {
                "records_per_s": round((sent[0] - before) / took),
                "cpu_percent": round(100 * (spent.user + spent.system - cpu.user - cpu.system) / took, 1),
                "rss_mib": round(process.memory_info().rss / (1 << 20), 1),
                "terminal_kb_per_s": round(output[0] / (took + 2) / 1024, 1),
                "threads": process.num_threads(),
            }
        )
    )
    os.write(terminal, b"q")
    await asyncio.to_thread(process.wait, 10)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    asyncio.run(main())
