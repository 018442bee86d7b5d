"""Collect live records for commands without a screen, for a time or until interrupted; reconnects, and marks gaps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.model.filters import Filter, FilterError, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.recording import gap_line
from mcp_ws_ide.inspector.watch import MissedRecords, Watch

_reader_gone = threading.Event()
SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""The signals that end a program in order."""
LOOK: Final = 0.05
"""Seconds between two checks for received records."""
TOO_LATE: Final = frozenset({"status", "lat", "is"})
"""Filter keys that are decided only after a record was written."""


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the program in order, like Ctrl-C."""

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(_exit_code(number))

    for number in SIGNALS:
        signal.signal(number, stop)


def _exit_code(number: int) -> int:
    return 0 if _reader_gone.is_set() else 128 + number


@contextlib.contextmanager
def _cancelled_by_signals() -> Iterator[list[int]]:
    """Let the signals cancel this task, in place of raising wherever the program is; yield those that came."""
    loop, task, came = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert task is not None

    def stop(number: int) -> None:
        came.append(number)
        task.cancel()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def end_with_reader() -> None:
    """End the program when the reader of its standard output is gone, even while there is nothing to write.

    Requires :func:`stop_on_signals`.
    """
    output, main = sys.stdout.fileno(), threading.main_thread().ident
    mode = os.fstat(output).st_mode
    if main is None or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(output, 0)  # errors and hang-ups are always reported
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
    """Pass every batch of records to ``take``; return after ``seconds``, or raise when interrupted.

    Args:
        scope: filters for the gateway (docs/reference/tap.md, Filters); ``{}`` for everything.
    """
    if number := asyncio.run(_collect(Watch(find, scope), take, seconds)):
        raise SystemExit(_exit_code(number))


async def _collect(watch: Watch, take: Callable[[list[str]], None], seconds: float | None) -> int:
    """Collect until the time is over or a signal comes; return the signal, or 0."""
    with _cancelled_by_signals() as came:
        try:
            await _watched(watch, take, seconds)
        except asyncio.CancelledError:
            if not came:
                raise
    return came[0] if came else 0


async def _watched(watch: Watch, take: Callable[[list[str]], None], seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(
        watch.run()
    )  # no task group, which would hide the error of a full disk in another one
    end = None if seconds is None else loop.time() + seconds
    try:
        while not task.done() and (end is None or loop.time() < end):
            await asyncio.sleep(LOOK)
            drain(watch, take)
    finally:
        drain(watch, take)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def drain(watch: Watch, take: Callable[[list[str]], None]) -> None:
    """Pass what is waiting to ``take``."""
    while (item := watch.take()) is not None:
        if isinstance(item, MissedRecords):
            take([gap_line(item.time, item.mono, item.reason)])
        else:
            take(item.split("\n"))


class Sieve:
    """Passes the records that match a filter, as they come; gaps always pass.

    Attributes:
        scope: the part of the filter that the gateway can apply, as parameters of the tap.
        servers: the servers of the records so far; known only with a filter.

    Raises:
        FilterError: the filter depends on what is known only later.
    """

    def __init__(self, text: str) -> None:
        self._filter: Filter = parse(text)
        self._journal: Journal | None = None
        self.servers: set[str] = set()
        if late := sorted(self._filter.keys & TOO_LATE):
            message = (
                f"{late[0]}: is not known while recording; record without it, and filter the recording later"
            )
            raise FilterError(message, text.find(f"{late[0]}:"))
        self.scope = _scope(self._filter)
        if text.strip():
            # A short memory: enough to know which request a response belongs to.
            self._journal = Journal(max_records=50_000, max_spill=128 << 20)

    def passed(self, lines: list[str]) -> list[str]:
        """Return the matching ``lines``."""
        journal = self._journal
        if journal is None:
            return lines
        passed = []
        for line in lines:
            changes = journal.feed([line])
            row = changes.end - 1
            if changes.end > changes.start and (server := journal.store.server_of(row)):
                self.servers.add(server)
            if changes.end > changes.start and (
                journal.store.method_of(row) == "gap" or self._filter.matches(journal.store, row)
            ):
                passed.append(line)
        return passed

    def close(self) -> None:
        """Free the memory."""
        if self._journal is not None:
            self._journal.close()


def _scope(filter_: Filter) -> dict[str, str]:
    """Return the filters that the gateway can apply without changing the result of the rest.

    Only servers, by name: the tool, method or session of a response follows from its request, which the gateway would
    then leave out.
    """
    names = [value for key, value in filter_.required if key == "server"]
    plain = [name.replace("[[]", "[") for name in names]
    return {"server": plain[0]} if len(plain) == 1 and not set(plain[0]) & set("*?[,") else {}
