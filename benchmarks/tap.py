"""What the tap costs: CPU per message of the gateway with and without watchers.

First in this process alone: a message reported, and taken by a watcher as it goes to its socket. Then a real gateway
under load, in interleaved rounds: no watcher, one watcher, one for errors only, three, and three of which one is
stopped by SIGSTOP. A call is four messages (client in, upstream out, upstream in, client out), so a message costs a
quarter of the difference to the round without watchers beside it. CPU is that of the gateway's process, all threads,
from the scheduler's accounting. Latency is measured with one client, from call to call. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import HERE, TOKEN, Rig, spread
from websockets.sync.client import connect

from mcp_ws_ide.core import messages
from mcp_ws_ide.observe.feed import Watcher
from mcp_ws_ide.observe.tap import Tap

STATES = {
    "none": (0, 0, ""),
    "one": (1, 0, ""),
    "one, for errors only": (1, 0, "?errors=1"),
    "three": (3, 0, ""),
    "three, one of them stopped": (3, 1, ""),
}
"""Watchers, how many of them are stopped, and what they ask for."""
SIZE = 1024
"""Bytes of a request."""
PROSE = (
    "the quick brown fox jumps over the lazy dog while somebody writes a long report about weather patterns "
)
TEXTS = {
    "1 KiB": PROSE * 10,
    "64 KiB": PROSE * 620,
    "1 KiB with a suspicious word": f"the token count is {PROSE * 10}",
    "64 KiB with a suspicious word": f"the token count is {PROSE * 620}",
    "1 KiB with a secret": f"password: hunter2hunter2, {PROSE * 10}",
}
"""What the messages of one process contain."""
CALL = (
    b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"run_cell","arguments":{"cell":"3",'
    b'"text":"%s"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}'
)
ANSWER = (
    b'{"jsonrpc":"2.0","id":%d,"result":{"resultType":"complete","content":[{"type":"text","text":"%s"}]}}'
)


def main() -> None:
    if sys.argv[1:2] == ["--watch"]:
        return watch(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=10_000, help="calls per round at 32 clients")
    options = parser.parse_args()
    alone(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        for program in ("echo_server", "load_client"):
            subprocess.run(["cc", "-O2", "-o", build / program, HERE / f"{program}.c"], check=True)
        # Without grace nothing is reported any more as soon as the last watcher has left.
        settings = {"MCPWebSocketApp": {"tap_grace": 0.0}}
        (build / "jupyter_server_config.json").write_text(json.dumps(settings))
        with Rig(build) as rig:
            under_load(rig, options.rounds, options.calls)


# --- in this process --------------------------------------------------------------------------------


def alone(rounds: int) -> None:
    """CPU of the tap's own code, without gateway and socket."""
    costs: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for text, content in TEXTS.items():
            for way, watched, verbatim in (
                ("no watcher", False, True),
                ("passes unchanged", True, True),
                ("ids rewritten", True, False),
            ):
                report, take = one_round(content.encode(), watched=watched, verbatim=verbatim)
                if number:
                    costs.setdefault(f"{text} | {way}", []).append(report + take)
    print(f"{rounds} interleaved rounds in this process\n")
    print("| message | how it passes | µs per message, to make and fetch its record |")
    print("|---|---|---|")
    for name, values in costs.items():
        print(f"| {name} | {spread(values, 2)} |")
    print(flush=True)


def one_round(text: bytes, *, watched: bool, verbatim: bool) -> tuple[float, float]:
    """µs a message to report, and to take."""
    tap = Tap()
    watcher = Watcher(lambda: None)
    if watched:
        tap.subscribe("me", watcher)
    while watcher.take():
        pass
    calls = 1000 if len(text) < 8192 else 60
    requests = [CALL % (number, text) for number in range(calls)]
    answers = [ANSWER % (number, text) for number in range(calls)]
    read = [(messages.parse(a), messages.parse(b)) for a, b in zip(requests, answers, strict=True)]
    others = [bytes(bytearray(data)) for data in requests], [bytes(bytearray(data)) for data in answers]
    sent = (requests, answers) if verbatim else others
    report, start = tap.message, time.process_time()
    for number, (request, answer) in enumerate(read):
        if tap.active:
            report("me", "s", "9f3a", "client", "in", request.data, message=request, token=None)
        if tap.active:
            report(
                "me", "s", None, "upstream", "out", sent[0][number], origin=("9f3a", request.id), token=None
            )
        if tap.active:
            report("me", "s", None, "upstream", "in", answer.data, message=answer, token=None)
        if tap.active:
            report("me", "s", "9f3a", "client", "out", sent[1][number], token=None)
    reported = time.process_time()
    while watcher.take():
        pass
    taken = time.process_time()
    return (reported - start) / calls / 4 * 1e6, (taken - reported) / calls / 4 * 1e6


# --- a gateway under load -----------------------------------------------------------------------------


def watch(url: str) -> None:
    """One watcher, as a process: read everything, look at nothing but drops."""
    with connect(
        url,
        subprotocols=["mcp.tap.v1"],
        additional_headers={"Authorization": f"token {TOKEN}"},
        compression=None,
        max_size=None,
    ) as link:
        missed = 0
        link.recv()
        print("attached", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(missed, flush=True)))
        for text in link:
            if '"kind":"gap"' in text:
                missed += json.loads(text)["count"]


class Watchers:
    """Some processes that watch, some of them stopped."""

    def __init__(self, rig: Rig, count: int, stopped: int, query: str) -> None:
        url = f"ws://127.0.0.1:{rig.ports['gateway']}/mcp-ws/api/tap{query}"
        core = sorted(os.sched_getaffinity(0))[:2][-1]
        command = [sys.executable, str(HERE / "tap.py"), "--watch", url]
        self._processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        for process in self._processes:
            os.sched_setaffinity(process.pid, {core})
            process.stdout.readline()
        self._stopped = self._processes[:stopped]
        for process in self._stopped:
            process.send_signal(signal.SIGSTOP)

    def end(self) -> tuple[int, int]:
        """Records that were missed: by the stopped ones, and by the others."""
        missed = [0, 0]
        time.sleep(0.3)  # what waits is still taken
        for process in self._processes:
            if process in self._stopped:
                process.send_signal(signal.SIGCONT)
                time.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            missed[process not in self._stopped] += int(process.stdout.read() or 0)
            process.wait()
        return missed[0], missed[1]


def under_load(rig: Rig, rounds: int, calls: int) -> None:
    cpu: dict[str, list[float]] = {name: [] for name in STATES}
    latency: dict[str, list[float]] = {name: [] for name in STATES}
    missed = dict.fromkeys(STATES, (0, 0))
    for number in range(rounds + 1):
        for name, state in STATES.items():
            watchers = Watchers(rig, *state)
            per_call, _ = rig.measure("gateway", 32, SIZE, calls)
            start = time.perf_counter()
            rig.measure("gateway", 1, SIZE, calls // 5)
            took = (time.perf_counter() - start) / (calls // 5) * 1e6
            lost = watchers.end()
            time.sleep(2.2)  # the feed is forgotten at the next tick
            if number:
                cpu[name].append(per_call)
                latency[name].append(took)
                missed[name] = (missed[name][0] + lost[0], missed[name][1] + lost[1])
    print(f"{rounds} interleaved rounds of {calls} calls of {SIZE} bytes by 32 clients; median (min … max)\n")
    print(
        "| watchers | gateway µs/call | added µs/message | latency µs/call, one client | missed: stopped, others |"
    )
    print("|---|---|---|---|---|")
    for name in STATES:
        added = [(a - b) / 4 for a, b in zip(cpu[name], cpu["none"], strict=True)]
        cells = [spread(cpu[name], 1), spread(added, 1) if name != "none" else "", spread(latency[name], 0)]
        print(f"| {name} | " + " | ".join(cells) + f" | {missed[name][0]}, {missed[name][1]} |")
    noise = [abs(a - b) for a, b in zip(latency["none"], latency["none"][1:], strict=False)]
    print(
        f"\nlatency from one round without watchers to the next differs by {statistics.median(noise):.0f} µs"
    )


if __name__ == "__main__":
    main()
