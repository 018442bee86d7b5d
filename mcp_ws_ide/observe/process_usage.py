"""What server processes use: memory and processor time, with their children. Measured when asked for, never kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """``memory``: resident bytes. ``cpu``: seconds in user and system mode, with those of children that have ended."""

    memory: int
    cpu: float
    processes: int


def measure(pids: Iterable[int]) -> dict[int, Usage]:
    """By pid, of those that live. One pass over the machine's processes: call it off the event loop."""
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    found = {pid: _measure(pid, children) for pid in pids}
    return {pid: usage for pid, usage in found.items() if usage.processes}


def _measure(root: int, children: dict[int, list[int]]) -> Usage:
    memory, cpu, count = 0, 0.0, 0
    todo, seen = [root], {root}
    while todo:
        pid = todo.pop()
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile, or cannot be looked at
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
            cpu += sum(times[:4])  # user, system, and both of children that were waited for
            count += 1
        fresh = [child for child in children.get(pid, ()) if child not in seen]
        seen.update(fresh)
        todo += fresh
    return Usage(memory, cpu, count)
