"""Short tracebacks: an exception of a call shows the frames of the user, and not those of this package.

One frame of this package remains, that of the function that the user has called. IPython omits that, too: it calls
``_render_traceback_`` of an exception that has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from mcp_ws_ide.client.sync.notebooks import shell

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE: Final = str(Path(__file__).parents[2])


def short(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that users call: the tracebacks of its exceptions are short."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            shorten(error)
            raise error.with_traceback(_of_user(error.__traceback__, (_PACKAGE,)))  # noqa: B904 - the same

    return called


def shorten(error: BaseException) -> None:
    """Have IPython show an exception without frames of this package."""
    running = shell()
    if running is not None and not hasattr(error, "_render_traceback_"):
        error._render_traceback_ = lambda: _render(running, error)  # type: ignore[attr-defined]


def _render(running: Any, error: BaseException) -> list[str]:
    """Return the lines of a traceback in the style of this IPython."""
    internal = (_PACKAGE, str(Path(sys.modules["IPython"].__file__ or "").parent))
    first = error.__traceback__  # of IPython itself, and omitted by it
    trace = _of_user(first.tb_next if first else None, internal)
    lines: list[str] = running.InteractiveTB.structured_traceback(type(error), error, trace, tb_offset=0)
    return lines


def _of_user(trace: TracebackType | None, internal: tuple[str, ...]) -> TracebackType | None:
    """Return a traceback without the frames of internal files."""
    kept: list[TracebackType] = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(internal):
            kept.append(trace)
        trace = trace.tb_next
    following: TracebackType | None = None
    for each in reversed(kept):
        following = TracebackType(following, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return following
