"""stdin in chunks and stdout by lines; on the event loop if they are pipes, so that neither side blocks the other."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import anyio

CHUNK: Final = 1 << 18
"""Bytes that are read from stdin at once."""


async def stdin_reader() -> Callable[[float | None], Awaitable[bytes | None]]:
    """Return a function that reads what has arrived on stdin: ``b""`` at the end, None if nothing came in time.

    It takes the seconds to wait, or None; a file is read in a thread, without a limit of time.
    """
    if sys.stdin is None:
        return _nothing
    if not _is_pipe(sys.stdin) and not sys.stdin.isatty():
        return lambda timeout: asyncio.to_thread(os.read, sys.stdin.fileno(), CHUNK)
    reader = asyncio.StreamReader(limit=CHUNK)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def read(timeout: float | None) -> bytes | None:
        with anyio.move_on_after(timeout):
            return await reader.read(CHUNK)
        return None

    return read


async def _nothing(timeout: float | None) -> bytes:
    return b""


class Stdout:
    """Writes lines to stdout; see :meth:`open`. Methods raise OSError if the reader is gone or a disk is full."""

    def __init__(self, writer: asyncio.StreamWriter | None) -> None:
        self._writer = writer

    @classmethod
    async def open(cls) -> Stdout:
        """Open stdout: on the event loop if it is a pipe; files and terminals are written to directly."""
        if not _is_pipe(sys.stdout) or _is_stdin_too():
            return cls(None)
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        transport, _ = await loop.connect_write_pipe(lambda: protocol, sys.stdout)
        return cls(asyncio.StreamWriter(transport, protocol, None, loop))

    async def write(self, line: bytes) -> None:
        """Write a line; returns when enough is consumed to write more."""
        if self._writer is not None:
            self._writer.write(line + b"\n")
            return await self._writer.drain()
        try:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
        except OSError:
            # The rest of the buffer is not written again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise

    async def gone(self) -> None:
        """Wait until the reader is gone, even while nothing is written; never returns for a file or terminal."""
        if self._writer is None:
            await anyio.sleep_forever()
        else:
            with suppress(OSError):
                await self._writer.wait_closed()

    async def finish(self) -> None:
        """Wait until everything is consumed, then close."""
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()


def _is_pipe(stream: Any) -> bool:
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_stdin_too() -> bool:
    """Return whether stdout is the same socket as stdin: readable data then does not show that the reader is gone."""
    return sys.stdin is not None and os.path.sameopenfile(sys.stdin.fileno(), sys.stdout.fileno())
