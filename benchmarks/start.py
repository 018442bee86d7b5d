"""What starting costs: each command until it does something for its user, beside bare Python and bare Jupyter Server.

``mcp-ws-connect`` counts until its first byte reaches the gateway, ``mcp-ws-inspect`` until its first frame is on a
terminal, Jupyter Server until it answers a request. CPU is user and system time of the process. Rounds are interleaved;
the first one warms up. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import free_port, spread

from mcp_ws_ide.inspector.recording import Header, Recorder

SECONDS = 180.0
"""Seconds after which a start has failed."""
FRAME = 2000
"""Bytes on the terminal after which the first frame is there."""
BIN = Path(sys.executable).parent
Measured = tuple[float, float]
"""Seconds of CPU and of the clock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {f"JUPYTER_{name}_DIR": folder for name in ("RUNTIME", "DATA", "CONFIG")}
        os.environ |= {"JUPYTER_TOKEN": "t", "TERM": "xterm-256color"}
        recording = f"{folder}/empty.jsonl"
        Recorder(recording, Header()).close()
        rows: dict[str, Callable[[], Measured]] = {
            "`python -c pass`": bare,
            "`mcp-ws-connect`": connect,
            "`mcp-ws-inspect`": lambda: inspect(recording),
            "Jupyter Server": lambda: jupyter(False),
            "Jupyter Server with the extension": lambda: jupyter(True),
        }
        measured: dict[str, list[Measured]] = {name: [] for name in rows}
        for number in range(options.rounds + 1):
            for name, measure in rows.items():
                value = measure()
                if number:
                    measured[name].append(value)
    print(f"{options.rounds} interleaved rounds; median (min … max)\n")
    print("| start of | CPU ms | wall-clock ms |\n|---|---|---|")
    for name, values in measured.items():
        cpu, clock = ([value[at] * 1000 for value in values] for at in (0, 1))
        print(f"| {name} | {spread(cpu, 0)} | {spread(clock, 0)} |")
    pairs = zip(measured["Jupyter Server with the extension"], measured["Jupyter Server"], strict=True)
    print(f"\nthe extension's share, CPU ms: {statistics.median(a[0] - b[0] for a, b in pairs) * 1000:.0f}")


def bare() -> Measured:
    """Start and end Python."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def connect() -> Measured:
    """Start ``mcp-ws-connect`` against a gateway that only listens."""
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        gateway.settimeout(SECONDS)
        command = [
            str(BIN / "mcp-ws-connect"),
            f"http://127.0.0.1:{gateway.getsockname()[1]}/mcp-ws/servers/a",
        ]
        began = time.perf_counter()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            link, _ = gateway.accept()
            link.recv(1)
            return ended(process, began)


def inspect(recording: str) -> Measured:
    """Start ``mcp-ws-inspect`` on a terminal, with a recording."""
    terminal, its = pty.openpty()
    began, shown = time.perf_counter(), 0
    command = [str(BIN / "mcp-ws-inspect"), "open", recording]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its) as process:
        while shown < FRAME:
            if not select.select([terminal], [], [], SECONDS)[0]:
                raise SystemExit("mcp-ws-inspect shows nothing")
            shown += len(os.read(terminal, 1 << 16))
        measured = ended(process, began)
    os.close(terminal)
    os.close(its)
    return measured


def jupyter(extension: bool) -> Measured:
    """Start Jupyter Server until it answers."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
    ]
    command.append(f"--ServerApp.jpserver_extensions={{'mcp_ws_ide': {extension}}}")
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while time.perf_counter() - began < SECONDS:
            try:
                with socket.create_connection(("127.0.0.1", port), 60) as link:
                    link.sendall(b"GET /api HTTP/1.0\r\n\r\n")
                    link.recv(1)
                    return ended(process, began)
            except OSError:
                time.sleep(0.01)
    raise SystemExit("Jupyter Server does not answer")


def ended(process: subprocess.Popen[bytes], began: float) -> Measured:
    """Return what a process has used since ``began``, and end it."""
    clock = time.perf_counter() - began
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"), clock


if __name__ == "__main__":
    main()
