"""Memory and CPU time of server processes, including their children. Measured on demand, never stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children use.

    Attributes:
        memory: resident bytes.
        cpu: seconds in user and system mode, including those of children that have exited.
        processes: how many processes were measured; 0 if none runs.
    """

    memory: int
    cpu: float
    processes: int


def measure(pids: Iterable[int]) -> dict[int, Usage]:
    """Return the usage of the processes that run, by pid.

    Scans all processes of the machine, so call it outside the event loop.
    """
    import psutil  # here, because Jupyter's start does not need it

    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    usages = {pid: _measure(pid, children) for pid in pids}
    return {pid: usage for pid, usage in usages.items() if usage.processes}


def _measure(root: int, children: dict[int, list[int]]) -> Usage:
    import psutil

    memory, cpu, count = 0, 0.0, 0
    todo, seen = [root], {root}
    while todo:
        pid = todo.pop()
        with contextlib.suppress(psutil.Error):  # it has exited, or may not be inspected
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
            cpu += sum(times[:4])  # user and system time, and those of children that were waited for
            count += 1
        fresh = [child for child in children.get(pid, ()) if child not in seen]
        seen.update(fresh)
        todo += fresh
    return Usage(memory, cpu, count)
