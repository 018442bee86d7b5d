"""The gateway's side of the supervisor: asks it to start and kill server processes, hears of their end."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.errors import TransportError

SPAWN_TIMEOUT: Final = 10.0
"""Seconds the supervisor has to report a start."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds the supervisor has to kill everything and leave."""

PROGRAM: Final = Path(__file__).with_name("supervisor.py")

log = logging.getLogger(__name__)


class Process:
    """One server process as the gateway knows it."""

    def __init__(self, supervisor: ProcessSupervisor, server_id: int, on_exit: Callable[[int], None]) -> None:
        self._supervisor = supervisor
        self._id = server_id
        self.on_exit = on_exit
        self.pid = 0
        self.code: int | None = None
        """Exit code, negative for a signal; None while it runs."""
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exited = asyncio.Event()

    def kill(self, number: signal.Signals) -> None:
        """Signal the process, its group, and every descendant that is known to be its own."""
        self._supervisor.request({"op": "kill", "id": self._id, "signal": int(number)})

    def has_exited(self, code: int) -> None:
        """Called by the supervisor's reader."""
        if self.code is None:
            self.code = code
            self.exited.set()
            self.on_exit(code)


class ProcessSupervisor:
    """Starts the supervisor when it is first needed, and again if it died."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._processes: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._buffer = b""
        self._closed = False

    def _start(self) -> socket.socket:
        if self._closed:
            raise TransportError("the gateway is shutting down")
        ours, theirs = socket.socketpair()
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        ours.setblocking(False)
        self._control = ours
        self._buffer = b""
        contextvars.Context().run(asyncio.get_running_loop().add_reader, ours, self._readable)
        return ours

    async def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        descriptors: tuple[int, int, int],
        on_exit: Callable[[int], None],
    ) -> Process:
        """Start a program with these descriptors as stdin, stdout and stderr.

        Raises:
            TransportError: it could not be started, in words.
        """
        control = self._control or self._start()
        process = Process(self, next(self._ids), on_exit)
        self._processes[process._id] = process
        line = {"op": "spawn", "id": process._id, "argv": list(argv), "env": dict(env), "cwd": cwd}
        try:
            await self._send(control, json.dumps(line).encode() + b"\n", descriptors)
            async with asyncio.timeout(SPAWN_TIMEOUT):
                await process.started
        except (OSError, TimeoutError) as error:
            self._processes.pop(process._id, None)
            raise TransportError(f"the process supervisor does not answer ({error or 'timeout'})") from None
        except BaseException:
            process.kill(signal.SIGKILL)
            raise
        return process

    async def _send(self, control: socket.socket, data: bytes, descriptors: tuple[int, int, int]) -> None:
        """Descriptors ride on the first byte; the rest follows as the socket has room."""
        sent = socket.send_fds(control, [data], list(descriptors))
        if sent < len(data):
            await asyncio.get_running_loop().sock_sendall(control, data[sent:])

    def request(self, line: dict[str, Any]) -> None:
        """Send a short request; without a supervisor there is nothing left to ask for."""
        if self._control is not None:
            try:
                self._control.send(json.dumps(line).encode() + b"\n")
            except OSError as error:
                log.warning("the process supervisor does not listen: %s", error)

    def _readable(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._lost()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._report(json.loads(line))

    def _report(self, report: dict[str, Any]) -> None:
        process = self._processes.get(report["id"])
        if process is None:
            return
        if report["op"] == "exited":
            del self._processes[report["id"]]
            return process.has_exited(report["code"])
        if report["op"] == "spawned":
            process.pid = report["pid"]
            if not process.started.done():
                process.started.set_result(None)
            return
        del self._processes[report["id"]]
        if not process.started.done():
            process.started.set_exception(TransportError(report["reason"]))

    def _lost(self) -> None:
        """The supervisor is gone, and by its design every server with it."""
        self._forget()
        processes, self._processes = self._processes, {}
        for process in processes.values():
            if not process.started.done():
                process.started.set_exception(TransportError("the process supervisor ended"))
            process.has_exited(-signal.SIGKILL)

    def _forget(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None

    async def aclose(self) -> None:
        """End the supervisor, which kills whatever still runs. Idempotent and bounded."""
        self._closed = True
        self._lost()
        program, self._program = self._program, None
        if program is not None:
            await asyncio.to_thread(_wait, program)


def _wait(program: subprocess.Popen[bytes]) -> None:
    try:
        program.wait(CLOSE_TIMEOUT)
    except subprocess.TimeoutExpired:
        log.warning("the process supervisor did not end in %s s; killed", CLOSE_TIMEOUT)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
