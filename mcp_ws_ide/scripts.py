"""The functions behind the console scripts; they exit with 130, and without a traceback, at Ctrl-C during imports.

A failed import, at the start or later, is explained in one line (:mod:`.installation`). Imports take most of the time
of a command's start, and no command can catch an exception before it is imported. Owns no option and no message.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Final

from mcp_ws_ide.importing import many_imports
from mcp_ws_ide.installation import explained

INTERRUPTED: Final = 130
"""Exit code: 128 and the number of SIGINT, as shells have it."""


def inspect() -> int:
    """Run ``mcp-ws-inspect``; return its exit code."""
    return _run("mcp_ws_ide.inspector.cli")


def connect() -> int:
    """Run ``mcp-ws-connect``; return its exit code."""
    return _run("mcp_ws_ide.client.shim")


def conformance() -> int:
    """Run ``mcp-ws-conformance``; return its exit code."""
    return _run("mcp_ws_ide.conformance.cli")


def _run(module: str) -> int:
    """Import a module, and run its function ``main``; return its exit code."""
    with (
        _quiet_interrupt(),
        many_imports(),
        explained(Exception),
    ):  # an unsuitable package can fail in any way
        main = import_module(module).main
    with explained(ImportError):  # of a module that is imported only when it is needed
        return int(main())


def jupyter() -> None:
    """Run ``jupyter mcp-ws-ide``: Jupyter Server with the extension."""
    with (
        _quiet_interrupt(),
        many_imports(),
        explained(Exception),
    ):  # an unsuitable package can fail in any way
        from mcp_ws_ide.app import main
    with explained(ImportError):
        main()


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Exit at SIGINT. An exception could be swallowed, or printed, by a module that is being imported."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as under nohup
        yield
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
