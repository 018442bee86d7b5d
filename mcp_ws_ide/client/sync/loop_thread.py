"""The event loop on which blocking calls run: one thread for all clients of a process, started with the first call.

A thread that makes a call waits for it, and meanwhile runs what the call needs from it (:class:`Caller`): a question to
the user, which a notebook can ask only in the thread of its cell, and progress, which it shows only there.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import logging
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_SECONDS: Final = 2.0
"""Seconds that an interrupted call may take to tell the server that it is cancelled."""
EXIT_SECONDS: Final = 3.0
"""Seconds that the sessions of a process may take to close when it exits."""

Closing = Callable[[], Coroutine[Any, Any, None]]


class Caller:
    """The thread that waits for one call, and what it runs meanwhile."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def tell(self, function: Callable[[], None]) -> None:
        """Have the thread run a function; called on the event loop."""
        self._jobs.put(function)

    async def ask(self, function: Callable[[], T], expected: type[Exception]) -> T:
        """Have the thread run a function, and return its result; called on the event loop.

        An exception of type ``expected`` is raised here. Any other one ends the thread's call and is raised there; this
        then waits until it is cancelled.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                settle = partial(answer.set_result, function())
            except expected as error:
                settle = partial(answer.set_exception, error)
            loop.call_soon_threadsafe(lambda: answer.done() or settle())

        self._jobs.put(job)
        return await answer

    def finish(self) -> None:
        """Let the thread go on: its call has ended."""
        self._jobs.put(None)

    def serve(self) -> None:
        """Run functions until :meth:`finish`."""
        while (job := self._jobs.get()) is not None:
            job()


current_caller: Final[contextvars.ContextVar[Caller | None]] = contextvars.ContextVar("caller", default=None)
"""The caller of the call that a task works for; None in tasks that work for the whole session."""


class LoopThread:
    """An event loop in a daemon thread, and the sessions that are open on it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closings: dict[int, Closing] = {}
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="mcp-ws-ide clients", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def call(self, function: Callable[[Caller], Awaitable[T]]) -> T:
        """Run a coroutine function to its end, and return its result. An exception that interrupts the wait, such as
        KeyboardInterrupt, cancels it.

        Raises:
            RuntimeError: this is the thread of the loop, which would wait for itself, or a forked process, which has no
                such thread.
            Exception: what the coroutine raises, without the frames of the loop.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a callback of a client may not make a blocking call; use the asynchronous connect"
            )
        if os.getpid() != self._process:
            raise RuntimeError(
                "this client belongs to the process that was forked; call connect_sync in this one"
            )
        caller, ended = Caller(), threading.Event()

        async def run() -> T:
            current_caller.set(caller)
            try:
                return await function(caller)
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self.loop)
        try:
            future.add_done_callback(lambda _: caller.finish())
            caller.serve()
        except BaseException:
            future.cancel()
            ended.wait(CANCEL_SECONDS)
            raise
        return _outcome(future)

    def opened(self, key: object, closing: Closing) -> None:
        """Note a session, which is closed when the process exits."""
        self._closings[id(key)] = closing

    def closed(self, key: object) -> None:
        """Forget a session."""
        self._closings.pop(id(key), None)

    def start(self, closing: Closing) -> None:
        """Run a coroutine function without waiting for it; may be called in any thread, also by a finalizer."""
        if not self.loop.is_closed() and os.getpid() == self._process:
            asyncio.run_coroutine_threadsafe(closing(), self.loop)

    def stop(self) -> None:
        """Close every session, within :data:`EXIT_SECONDS`, and end the thread."""

        async def close() -> None:
            closings = [closing() for closing in list(self._closings.values())]
            await asyncio.gather(*closings, return_exceptions=True)

        closing = asyncio.run_coroutine_threadsafe(close(), self.loop)
        try:
            closing.result(EXIT_SECONDS)
        except TimeoutError:
            log.debug("not every session was closed within %s s", EXIT_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(EXIT_SECONDS)


def _outcome(future: concurrent.futures.Future[T]) -> T:
    """Return the result, or raise the exception without its history, which is that of the event loop.

    Where the history has an exception group, IPython would show all of it.
    """
    if (error := future.exception()) is not None:
        log.debug("a call failed", exc_info=error)
        error.__cause__ = error.__context__ = None
        raise error.with_traceback(None)
    return future.result()


_lock = threading.Lock()
_shared: LoopThread | None = None


def loop_thread() -> LoopThread:
    """Return the thread of this process, which is started if it does not run."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = LoopThread()
        return _shared


def _stop() -> None:
    global _shared
    with _lock:
        stopped, _shared = _shared, None
    if stopped is not None:
        stopped.stop()


def _forget() -> None:
    """Forget the thread in a child process, which does not have it."""
    global _shared, _lock
    _lock, _shared = threading.Lock(), None


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
