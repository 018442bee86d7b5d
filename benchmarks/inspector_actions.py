"""How quickly the full-screen inspector answers keys while it filters, searches and sorts a million records.

The inspector runs without a terminal, in 120 × 40, and takes in so many records a second (the lines of
``inspector_store``) beside those it already holds. Every 50 ms a key is pressed; its delay ends when the screen has
been painted. Prints one JSON object for each action: how long it took until all rows were through, the delays, the
processor time of this process within them (which is about the delay on a machine that is not busy), the longest stretch
of processor time for which the event loop was not free, and how many records were not taken in yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

from inspector_store import lines, resident
from textual.events import Key

from mcp_ws_ide.inspector.app.app import InspectorApp
from mcp_ws_ide.inspector.app.traffic import Traffic
from mcp_ws_ide.inspector.model.filters import parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Header

EVERY = 0.05
"""Seconds between two keys."""
LEAST = 2.0
"""Seconds for which each action is watched at least."""
CHUNK = 500
"""Records that come together."""


class Stream(Playback):
    """Records that come at a steady rate, in place of a live tap."""

    state = "live"
    header = Header()
    path = ""
    gateway = None
    begun = ""
    problem = ""
    ended = False

    def __init__(self, rate: int, held: int) -> None:
        self._rate, self.taken, self._started = rate, 0, 0.0
        first = held // 4
        self._texts = [
            "\n".join(line for number in range(start, start + CHUNK // 4) for line in lines(number))
            for start in range(first, first + 40 * CHUNK // 4, CHUNK // 4)
        ]

    @property
    def due(self) -> int:
        """How many records have come and were not taken."""
        return int((time.perf_counter() - self._started) * self._rate) - self.taken if self._started else 0

    def start(self) -> None:
        """Let records come from now on."""
        self._started = time.perf_counter()

    def take(self) -> str | None:
        """Return the next records, once they have come."""
        if self.due < CHUNK:
            return None
        self.taken += CHUNK
        return self._texts[self.taken // CHUNK % len(self._texts)]

    def close(self) -> None:
        """There is no file."""


class Keys:
    """Presses a key again and again, and measures how long each takes."""

    def __init__(self, app: InspectorApp) -> None:
        self._app = app
        self.delays: list[float] = []
        self.spent: list[float] = []
        self.blocked: list[float] = []

    async def press(self) -> None:
        """Run until cancelled."""
        direction, done = "k", asyncio.Event()
        moved = Traffic.action_move

        def move(traffic: Traffic, number: int) -> None:
            moved(traffic, number)
            traffic.call_after_refresh(done.set)

        Traffic.action_move = move  # type: ignore[method-assign]
        try:
            while True:
                done.clear()
                start, before = time.perf_counter(), time.process_time()
                self._app.post_message(Key(direction, direction))
                await done.wait()
                self.delays.append(time.perf_counter() - start)
                self.spent.append(time.process_time() - before)
                direction = "j" if direction == "k" else "k"
                await asyncio.sleep(EVERY)
        finally:
            Traffic.action_move = moved  # type: ignore[method-assign]

    async def watch(self) -> None:
        """Note the processor time between two turns of the event loop, until cancelled."""
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.blocked.append(time.thread_time() - before)
            await asyncio.sleep(0.002)


def share(values: list[float], part: float) -> float:
    """Return a quantile, in milliseconds."""
    ordered = sorted(values) or [math.nan]
    return round(1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))], 1)


def filtered(text: str) -> Callable[[InspectorApp], None]:
    return lambda app: app._filter(parse(text))


def searched(text: str) -> Callable[[InspectorApp], None]:
    return lambda app: app._apply("search", parse(text))


def sorted_by(name: str) -> Callable[[InspectorApp], Any]:
    def act(app: InspectorApp) -> None:
        app.traffic.sort(name)
        app.finish_filter()

    return act


ACTIONS: dict[str, Callable[[InspectorApp], Any]] = {
    "nothing": lambda app: None,
    "filter tool": filtered("tool:run*"),
    "filter duration": filtered("tool:run* lat:>40"),
    "filter text": filtered("needle-4711"),
    "filter regex": filtered("~needle-99\\d\\d"),
    "filter slow regex": filtered("~needle-(.*)9(.*)9$"),
    "no filter": filtered(""),
    "search tool": searched("tool:run*"),
    "search regex": searched("~needle-99\\d\\d"),
    "end the search": lambda app: app.traffic.search(None),
    "sort by duration": sorted_by("total"),
    "sort by size": sorted_by("size"),
    "sort by method": sorted_by("method, target"),
    "in order": sorted_by(""),
    "fold": lambda app: app.action_fold(),
    "sort folded": sorted_by("total"),
    "unfold": lambda app: app.action_fold(),
    "timeline": lambda app: app.action_timeline(),
    "next problem": lambda app: app.go_match(1),
    "next problem among some": lambda app: (filtered("server:demo")(app), app.go_match(1)),
    "pause": lambda app: (filtered("~needle lat:>10")(app), app.action_pause()),
    "catch up": lambda app: app.action_pause(),
    "no filter again": filtered(""),
    "export": lambda app: app._use_file("export", f"{tempfile.mkdtemp()}/run.har"),
    "compare sessions": lambda app: app._command_diff("s1 s2"),
    "end the comparison": lambda app: app.pop_screen() if len(app.screen_stack) > 1 else None,
    "ladder": lambda app: app.action_screen("ladder"),
    "stats": lambda app: app.action_screen("stats"),
    "problems": lambda app: app.action_screen("problems"),
    "traffic": lambda app: app.action_screen("traffic"),
}


async def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    options = parser.parse_args()
    journal = Journal()
    for number in range(0, options.records // 4, 250):
        journal.feed([line for one in range(number, number + 250) for line in lines(one)])
    stream = Stream(options.rate, options.records)
    app = InspectorApp(stream, journal)
    app.opening = "-"  # the journal is closed here
    worst = 0.0
    async with app.run_test(size=(120, 40)):
        stream.start()
        for name, act in ACTIONS.items():
            found = await measure(app, act)
            worst = max(worst, found["keys_cpu_ms_p95"]) if found["keys"] else worst
            print(json.dumps({"action": name, **found, "behind": stream.due}), flush=True)
    told = {"keys_cpu_ms_p95_worst": worst, "dropped": journal.missed, "records": len(journal.store)}
    print(json.dumps({**told, "memory_mib": round(resident(), 1)}))
    journal.close()


def is_busy(app: InspectorApp) -> bool:
    return app.traffic.unfinished is not None or any(worker.group == "diff" for worker in app.workers)


async def measure(app: InspectorApp, act: Callable[[InspectorApp], Any]) -> dict[str, float]:
    """Act, and press keys until all rows are through, and for :data:`LEAST` seconds at least."""
    keys, traffic = Keys(app), app.traffic
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(keys.watch())]
    start, spent = time.perf_counter(), time.process_time()
    act(app)
    acted = time.perf_counter() - start
    if app.current is traffic:
        tasks.append(loop.create_task(keys.press()))
    through = math.nan
    while (took := time.perf_counter() - start) < LEAST or (is_busy(app) and took < 60):
        if math.isnan(through) and not is_busy(app):
            through = took
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "through_s": round(took if math.isnan(through) else through, 2),
        "act_ms": round(acted * 1000, 1),
        "keys": len(keys.delays),
        "keys_ms_p50": share(keys.delays, 0.5),
        "keys_ms_p95": share(keys.delays, 0.95),
        "keys_ms_max": share(keys.delays, 1.0),
        "keys_cpu_ms_p95": share(keys.spent, 0.95),
        "loop_cpu_ms_max": share(keys.blocked, 1.0),
        "cpu_percent": round(100 * (time.process_time() - spent) / (time.perf_counter() - start), 1),
    }


if __name__ == "__main__":
    asyncio.run(main())
