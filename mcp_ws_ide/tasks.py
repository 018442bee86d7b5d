"""Background tasks with an owner, which logs their failures and cancels them when it is closed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class TaskGroupOwner:
    """A set of tasks that end with their owner.

    Unlike :class:`asyncio.TaskGroup` it needs no enclosing ``async with``, which a Jupyter extension does not have, and
    a task's failure is logged instead of ending its siblings.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``coroutine`` in an empty context, so that it does not keep a request handler alive."""
        task = asyncio.create_task(coroutine, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    async def aclose(self, timeout: float) -> None:
        """Cancel the running tasks and wait for them, at most ``timeout`` seconds."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


class SameDelay:
    """Calls functions a fixed time after they were given; cheap where most of them are cancelled before.

    One timer serves all of them: a timer of the event loop for each would stay in its heap though it is cancelled.

    Args:
        seconds: the time.
    """

    class Waiting:
        """One function that waits."""

        __slots__ = ("call", "due")

        def __init__(self, due: float, call: Callable[[], None]) -> None:
            self.due = due
            self.call: Callable[[], None] | None = call

        def cancel(self) -> None:
            """Do not call it."""
            self.call = None

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[SameDelay.Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, call: Callable[[], None]) -> Waiting:
        """Call ``call`` when the time has passed."""
        loop = asyncio.get_running_loop()
        waiting = self.Waiting(loop.time() + self._seconds, call)
        self._waiting.append(waiting)
        if self._timer is None:
            self._timer = loop.call_at(waiting.due, self._look, loop, context=contextvars.Context())
        return waiting

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call what is due; look again when the next one is."""
        self._timer = None
        due, now = [], loop.time()
        while self._waiting and (self._waiting[0].call is None or self._waiting[0].due <= now):
            due.append(self._waiting.popleft())
        if self._waiting:
            at = self._waiting[0].due
            self._timer = loop.call_at(at, self._look, loop, context=contextvars.Context())
        for waiting in due:
            if waiting.call is not None:
                waiting.call()
