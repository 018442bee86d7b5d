"""The command ``wrap``: a stdio server for a program that launches its own, which can then be inspected.

The program launches ``mcp-ws-inspect wrap -- COMMAND ARGS`` in place of ``COMMAND ARGS``. The server runs behind a
private gateway that the inspector finds like any other on this machine; ``mcp-ws-connect`` carries stdin and stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from mcp_ws_ide.core.binding import ENDPOINT_NAME
from mcp_ws_ide.discovery import endpoint_url
from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.ide_entries import TOKEN_VARIABLE
from mcp_ws_ide.inspector.collecting import drain, stop_on_signals
from mcp_ws_ide.inspector.recording import Header, Recorder, RecordingError
from mcp_ws_ide.inspector.sources import Find, say, say_lines
from mcp_ws_ide.inspector.watch import Watch

if TYPE_CHECKING:
    from mcp_ws_ide.inspector.private import PrivateGateway

SHIM: Final = "mcp_ws_ide.client.shim"
"""The module of ``mcp-ws-connect``, which the inspector does not import."""
ATTACHED: Final = 10.0
"""Seconds to wait for the recording to begin before the server is reached."""
LAST_RECORDS: Final = 2.0
"""Seconds, after the end of stdin, in which the end of the session must reach the recording."""
LOOK: Final = 0.1
"""Seconds between two looks for records."""
SUFFIXES: Final = (".jsonl.zst", ".jsonl")
"""Before which the number of a further recording stands."""
ENDED: Final = '"link_closed"'


def run_wrap(find: Find, options: argparse.Namespace) -> int:
    """Run ``wrap``."""
    from mcp_ws_ide.inspector.private import CannotWrapError

    stop_on_signals()
    try:
        with private_gateway(options, found=True) as private:
            say(f"{private.name} can be inspected: mcp-ws-inspect --url {private.gateway.url}")
            return asyncio.run(_carry(private, options.record))
    except CannotWrapError as error:
        say_lines(str(error))
        return error.code


async def _carry(private: PrivateGateway, record: str | None) -> int:
    """Carry stdin and stdout until stdin ends; return the exit code."""
    if record is None:
        return await _shim(private)
    watch = Watch(lambda: private.gateway)
    recording = WrapRecording(record, Header(time.time(), private.gateway.url))
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ATTACHED):
                    await _until(lambda: watch.state == "live", lambda: None)
            shim = group.create_task(_shim(private))
            await _until(shim.done, lambda: drain(watch, recording.take))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_RECORDS):
                    await _until(lambda: recording.complete, lambda: drain(watch, recording.take))
            watching.cancel()
    finally:
        recording.close()
    return shim.result()


class WrapRecording:
    """The recording of a wrapped server; if it cannot be written any further, the server is carried without it.

    Args:
        path: its file. If it exists, as the program has launched the server before, the first name that is free of
            ``run-2.jsonl``, ``run-3.jsonl`` and so on beside ``run.jsonl``.

    Attributes:
        complete: whether the end of a link was recorded.

    Raises:
        RecordingError: no file can be created.
    """

    def __init__(self, path: str, header: Header) -> None:
        self.complete = False
        self._recorder: Recorder | None = _next_recorder(path, header)
        if self._recorder.path != path:
            say(f"{path} exists; recording to {self._recorder.path}")

    def take(self, lines: list[str]) -> None:
        """Record these records."""
        self.complete = self.complete or any(ENDED in line for line in lines)
        recorder = self._recorder
        if recorder is None:
            return
        try:
            recorder.write(lines)
        except (RecordingError, BrokenPipeError) as error:
            say(f"the recording was stopped after {recorder.records} records: {error}")
            self.close()

    def close(self) -> None:
        """Finish the file."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with contextlib.suppress(RecordingError, BrokenPipeError):
                recorder.close()


def _next_recorder(path: str, header: Header) -> Recorder:
    stem, suffix = next(((path.removesuffix(end), end) for end in SUFFIXES if path.endswith(end)), (path, ""))
    for number in itertools.count(1):
        name = path if number == 1 else f"{stem}-{number}{suffix}"
        try:
            return Recorder(name, header)
        except RecordingError:
            if not os.path.isfile(name):
                raise
    raise AssertionError("unreachable")


async def _until(holds: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    while not holds():
        meanwhile()
        await asyncio.sleep(LOOK)
    meanwhile()


async def _shim(private: PrivateGateway) -> int:
    """Run ``mcp-ws-connect`` on this process's stdin and stdout; end it with this process."""
    url = endpoint_url(private.gateway, private.name)
    environment = {**os.environ, TOKEN_VARIABLE: private.gateway.token}
    shim = await asyncio.create_subprocess_exec(sys.executable, "-m", SHIM, url, "--quiet", env=environment)
    try:
        return await shim.wait()
    finally:
        if shim.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                shim.send_signal(signal.SIGTERM)
            await shim.wait()


def add(commands: Any, port: Callable[[str], int]) -> None:
    """Add the command to the parser."""
    text = "run COMMAND as a stdio server whose traffic mcp-ws-inspect can show"
    usage = "mcp-ws-inspect wrap [OPTIONS] -- COMMAND [ARGS …]"
    wrap = commands.add_parser("wrap", help=text, description=text, usage=usage)
    gateway_arguments(wrap, port)
    wrap.add_argument(
        "--record",
        metavar="FILE",
        help="record the traffic to FILE.jsonl or FILE.jsonl.zst; if it exists, to FILE-2.jsonl and so on",
    )
    wrap.add_argument(
        "command", metavar="-- COMMAND", nargs="+", help="the command of the server, and its arguments"
    )
    wrap.set_defaults(run=run_wrap, parser=wrap)


def gateway_arguments(parser: argparse.ArgumentParser, port: Callable[[str], int]) -> None:
    """Add the options of :func:`private_gateway`."""
    parser.add_argument("--name", help="name of the server (default: derived from its program)")
    parser.add_argument("--port", type=port, help="port of the gateway (default: a free port)")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the gateway's token, written if it does not exist (default: a new token each time)",
    )
    parser.add_argument(
        "--env-vars",
        metavar="NAME",
        action="append",
        default=[],
        help="pass this variable on to the server, too; * matches any characters, so '*' passes all; repeatable",
    )


def private_gateway(options: argparse.Namespace, *, found: bool = False) -> PrivateGateway:
    """Return the gateway that the command line describes.

    Raises:
        UnusableArgumentError: a name, a variable or the token file cannot be used.
    """
    # Imported here: the other commands must start quickly.
    from mcp_ws_ide.inspector.private import PrivateGateway, kept_token

    if options.name is not None and not ENDPOINT_NAME.fullmatch(options.name):
        raise UnusableArgumentError(f"{options.name!r} is not a server name; use letters, digits and . _ -")
    for pattern in options.env_vars:
        if not any(fnmatchcase(name, pattern) for name in os.environ):
            raise UnusableArgumentError(f"--env-vars {pattern}: no variable of this name is set")
    token = None if options.token_file is None else kept_token(options.token_file)
    return PrivateGateway(options.command, options.name, options.port, options.env_vars, token, found)
