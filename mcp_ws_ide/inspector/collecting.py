"""Live records for the commands without a screen: for a while, or until interrupted. Reconnects, and marks gaps."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.model.filters import Filter, FilterError, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.recording import gap_line
from mcp_ws_ide.inspector.watch import MissedRecords, Watch

_reader_gone = threading.Event()
LOOK: Final = 0.05
"""Seconds between two looks at what came in."""
TOO_LATE: Final = frozenset({"status", "lat", "is"})
"""Keys of a filter that are decided only after a record was written."""


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the program in order, as Ctrl-C does."""

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(0 if _reader_gone.is_set() else 128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def end_with_reader() -> None:
    """End the program when nobody can read its standard output any more, also while there is nothing to write.

    Needs :func:`stop_on_signals`.
    """
    output, main = sys.stdout.fileno(), threading.main_thread().ident
    mode = os.fstat(output).st_mode
    if main is None or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(output, 0)  # errors and hang-ups are always told
        poll.poll()
        _reader_gone.set()
        signal.pthread_kill(main, signal.SIGHUP)

    threading.Thread(target=watch, name="reader", daemon=True).start()


def collect(
    find: Callable[[], RunningGateway],
    take: Callable[[list[str]], None],
    seconds: float | None,
    scope: Mapping[str, str],
) -> None:
    """Give every batch of records to ``take``; returns after ``seconds``, or when interrupted raises.

    Args:
        scope: what the gateway is asked for (docs/inspector.md, Filters); ``{}`` for everything.
    """
    asyncio.run(_collect(Watch(find, scope), take, seconds))


async def _collect(watch: Watch, take: Callable[[list[str]], None], seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        end = None if seconds is None else loop.time() + seconds
        try:
            while end is None or loop.time() < end:
                await asyncio.sleep(LOOK)
                _drain(watch, take)
        finally:
            _drain(watch, take)
            task.cancel()


def _drain(watch: Watch, take: Callable[[list[str]], None]) -> None:
    while (item := watch.take()) is not None:
        if isinstance(item, MissedRecords):
            take([gap_line(item.time, item.mono, item.reason)])
        else:
            take(item.split("\n"))


class Sieve:
    """Lets through the records that match a filter, as they come; gaps always pass.

    Attributes:
        scope: what of it the gateway can decide, as parameters of the tap.

    Raises:
        FilterError: the filter asks for what is known only later.
    """

    def __init__(self, text: str) -> None:
        self._filter: Filter = parse(text)
        self._journal: Journal | None = None
        if late := sorted(self._filter.keys & TOO_LATE):
            words = f"{late[0]}: is known only later; record everything, and filter when you open it"
            raise FilterError(words, text.find(f"{late[0]}:"))
        self.scope = _scope(self._filter)
        if text.strip():
            # A short memory: enough to know to which request an answer belongs.
            self._journal = Journal(max_records=50_000, max_spill=128 << 20)

    def passed(self, lines: list[str]) -> list[str]:
        """Those of ``lines`` that match."""
        journal = self._journal
        if journal is None:
            return lines
        found = []
        for line in lines:
            changes = journal.feed([line])
            row = changes.end - 1
            if changes.end > changes.start and (
                journal.store.method_of(row) == "gap" or self._filter.matches(journal.store, row)
            ):
                found.append(line)
        return found

    def close(self) -> None:
        """Give the memory back."""
        if self._journal is not None:
            self._journal.close()


def _scope(filter_: Filter) -> dict[str, str]:
    """What the gateway may leave out without harm to the rest of the filter.

    Only servers, by their names: to say which tool or method an answer is of, or that a shared server's answer
    belongs to a session, takes requests that the gateway would leave out as well.
    """
    names = [value for key, value in filter_.required if key == "server"]
    plain = [name.replace("[[]", "[") for name in names]
    return {"server": plain[0]} if len(plain) == 1 and not set(plain[0]) & set("*?[,") else {}
