"""Contexts that may be opened in one task and closed in another, as notebook cells, exit stacks and fixtures do.

Structured concurrency ties a context to the task that enters it. Here a separate task enters and leaves it; opening and
closing only signal that task. A use that cannot work, such as on another event loop, raises an error that says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectSendStream

log = logging.getLogger(__name__)

T = TypeVar("T")

_running: Final[set[asyncio.Task[None]]] = set()
"""The tasks of open contexts: a client stays open even if its user keeps only what opening returned."""


class OwnTask(Generic[T]):
    """An async context manager that enters and leaves another one in a task of its own.

    Cancelling the task that opens it cancels the opening; closing is bounded by the inner context. An exception of the
    block is not passed to the inner context. An exception group with one member is raised as that member.

    Args:
        inner: the context; it is entered at most once.
        what: its name in error messages.
    """

    def __init__(self, inner: AbstractAsyncContextManager[T], what: str) -> None:
        self._inner = inner
        self._what = what
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opener: asyncio.Task[Any] | None = None
        self._interrupted = False
        """Whether the task that opened it was cancelled because the inner context has failed."""

    async def __aenter__(self) -> T:
        if self._task is not None:
            raise RuntimeError(f"{self._what} can be opened only once; create another one")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            cure = "run it with asyncio.run, or with anyio.run(…, backend='asyncio')"
            raise RuntimeError(f"{self._what} needs an event loop of asyncio, not of trio; {cure}") from None
        self._opened: asyncio.Future[T] = self._loop.create_future()
        self._leave = asyncio.Event()
        self._task = task = self._loop.create_task(self._run(), name=self._what)
        _running.add(task)
        task.add_done_callback(_running.discard)
        either: list[asyncio.Future[Any]] = [task, self._opened]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            raise
        if not self._opened.done():
            self._raise_failure()
        self._opener = asyncio.current_task()
        return self._opened.result()

    async def _run(self) -> None:
        try:
            async with self._inner as value:
                self._opened.set_result(value)
                await self._leave.wait()
        finally:
            opener = self._opener
            if self._opened.done() and not self._leave.is_set() and opener is not None and not opener.done():
                self._interrupted = opener.cancel()  # what it waits for may never come

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        if task is None:
            raise RuntimeError(f"{self._what} is not open")
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError(other_loop(self._what, self._loop))
        self._opener = None
        self._leave.set()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        interrupted = self._interrupted and isinstance(error, asyncio.CancelledError)
        if interrupted and (current := asyncio.current_task()) is not None:
            current.uncancel()
        if error is None or interrupted:
            self._raise_failure()
        elif not task.cancelled() and task.exception() is not None:
            log.debug("%s failed as well", self._what, exc_info=task.exception())

    def _raise_failure(self) -> None:
        """Raise the exception of the inner context, if there is one."""
        task = self._task
        assert task is not None
        if task.cancelled():
            raise ConnectionAbortedError(
                f"{self._what} was cancelled together with other tasks of its event loop"
            )
        if (error := task.exception()) is not None:
            raise only(error)

    # --- what cannot work -----------------------------------------------------------------------

    def __enter__(self) -> NoReturn:
        raise TypeError(f"{self._what} is asynchronous; write 'async with' instead of 'with'")

    def __exit__(self, *_: object) -> None:
        """Exist, so that Python calls ``__enter__``, whose error says what to write."""

    def __await__(self) -> Generator[Any, None, NoReturn]:
        raise TypeError(
            f"{self._what} is a context manager; write 'async with … as client', or 'await ….__aenter__()'"
        )
        yield

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{self._what} is a context manager without {name!r}; write 'async with … as client' and use the client"
        )


class OwnLoopStream(MemoryObjectSendStream[T]):
    """A send stream that works only on the event loop of its receiver; elsewhere it raises an error that says so."""

    what: str
    loop: asyncio.AbstractEventLoop

    @classmethod
    def of(cls, stream: MemoryObjectSendStream[T], what: str) -> OwnLoopStream[T]:
        """Return a stream in place of ``stream``, which must not be used any more."""
        guarded = cls(stream._state)
        stream.close()
        guarded.what, guarded.loop = what, asyncio.get_running_loop()
        return guarded

    async def send(self, item: T) -> None:
        """Send an item.

        Raises:
            RuntimeError: this is another event loop.
        """
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(other_loop(self.what, self.loop))
        await super().send(item)


def other_loop(what: str, loop: asyncio.AbstractEventLoop | None) -> str:
    """Return the message about the use of something that belongs to ``loop`` on another event loop."""
    closed = ", which is closed" if loop is not None and loop.is_closed() else ""
    return (
        f"{what} belongs to another event loop{closed}; open, use and close it on one loop (one asyncio.run, one "
        "notebook, or one loop_scope of pytest-asyncio)"
    )


def only(error: BaseException) -> BaseException:
    """Return the exception that a group of one holds, at any depth; any other exception as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
