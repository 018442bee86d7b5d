"""The gateway's side of the process supervisor: requests starts and kills, and receives reports of exits.

Knows the control protocol (:mod:`.supervisor` documents it); knows nothing of MCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import itertools
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.transports.supervisor import LINUX, marked

SPAWN_TIMEOUT: Final = 10.0
"""Seconds for the supervisor to report a start."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds for the supervisor to kill every process and exit."""
ORPHAN_ROUNDS: Final = 20
"""Maximum number of searches for processes of a dead supervisor; a process may have started others before it was
killed."""
PROGRAM: Final = Path(__file__).with_name("supervisor.py")
"""The supervisor, which runs as a program of its own."""

log = logging.getLogger(__name__)


class Process:
    """A server process, as the gateway knows it."""

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
        """Signal the process, its group, and every known descendant."""
        self._supervisor.request({"op": "kill", "id": self._id, "signal": int(number)})

    def has_exited(self, code: int) -> None:
        """Record the exit; called when the supervisor reports it."""
        if self.code is None:
            self.code = code
            self.exited.set()
            self.on_exit(code)


class _Request:
    """A line for the supervisor that has not left yet, and the descriptors sent with its first byte."""

    __slots__ = ("data", "descriptors", "process")

    def __init__(
        self, line: dict[str, Any], descriptors: Sequence[int] = (), process: Process | None = None
    ) -> None:
        self.data = json.dumps(line).encode() + b"\n"
        self.descriptors = descriptors
        self.process = process


class ProcessSupervisor:
    """Starts the supervisor when it is first needed, and again after it has died."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._processes: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._buffer = b""
        self._out: deque[_Request] = deque()
        self._watching_writable = False
        self._closed = False

    def _start(self) -> None:
        if self._closed:
            raise TransportError("the gateway is shutting down")
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._program = _start_program(ours, theirs)
        except OSError as error:
            raise TransportError(f"the process supervisor could not be started: {cause(error)}") from None
        ours.setblocking(False)
        self._control = ours
        self._buffer = b""
        contextvars.Context().run(asyncio.get_running_loop().add_reader, ours, self._readable)

    async def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        descriptors: tuple[int, int, int],
        on_exit: Callable[[int], None],
    ) -> Process:
        """Start a program; return its process.

        Args:
            argv: program and arguments.
            env: its complete environment.
            cwd: working directory; None means the supervisor's.
            descriptors: stdin, stdout and stderr of the process.
            on_exit: called with the exit code.

        Raises:
            TransportError: it could not be started.
        """
        if self._control is None:
            self._start()
        process = Process(self, next(self._ids), on_exit)
        self._processes[process._id] = process
        line = {"op": "spawn", "id": process._id, "argv": list(argv), "env": dict(env), "cwd": cwd}
        request = _Request(line, descriptors, process)
        try:
            self._send(request)
            async with asyncio.timeout(SPAWN_TIMEOUT):
                await process.started
        except TimeoutError:
            self._take_back(request)
            raise TransportError(
                f"the process supervisor did not answer within {SPAWN_TIMEOUT:g} s"
            ) from None
        except asyncio.CancelledError:
            self._take_back(request)
            raise
        return process

    def _take_back(self, request: _Request) -> None:
        """Withdraw a start that was cancelled; kill the process if it may have been started.

        A request of which no byte has left must not leave: its descriptors are about to be closed.
        """
        assert request.process is not None
        if request.descriptors:
            with contextlib.suppress(ValueError):  # the supervisor has ended in the meantime
                self._out.remove(request)
            self._processes.pop(request.process._id, None)
        else:
            request.process.kill(signal.SIGKILL)

    def request(self, line: dict[str, Any]) -> None:
        """Send a short request; without a supervisor there is nothing left to request."""
        if self._control is not None:
            self._send(_Request(line))

    def _send(self, request: _Request) -> None:
        """Queue a request; requests leave whole and in order, as the socket has room."""
        self._out.append(request)
        if not self._watching_writable:
            self._flush()

    def _flush(self) -> None:
        while self._out and self._control is not None:
            request = self._out[0]
            try:
                sent = socket.send_fds(self._control, [request.data], list(request.descriptors))
            except BlockingIOError:
                break
            except OSError as error:
                self._out.popleft()
                self._fail_request(request, error)
                continue
            request.data, request.descriptors = request.data[sent:], ()
            if not request.data:
                self._out.popleft()
        self._watch_writable(bool(self._out))

    def _fail_request(self, request: _Request, error: OSError) -> None:
        log.warning("the process supervisor does not respond: %s", error)
        if request.process is not None and not request.process.started.done():
            self._processes.pop(request.process._id, None)
            request.process.started.set_exception(
                TransportError(f"the process supervisor does not respond ({error})")
            )

    def _watch_writable(self, wanted: bool) -> None:
        if wanted == self._watching_writable or self._control is None:
            return
        self._watching_writable = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            contextvars.Context().run(loop.add_writer, self._control, self._flush)
        else:
            loop.remove_writer(self._control)

    def _readable(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._ended()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take_report(json.loads(line))

    def _take_report(self, report: dict[str, Any]) -> None:
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

    def _ended(self) -> None:
        """Kill the servers that a dead supervisor has left."""
        program, self._program = self._program, None
        processes = self._lost()
        if program is not None:
            kill_orphans(program.pid, processes)
            program.poll()

    def _lost(self) -> list[Process]:
        """Report every server as killed, since each is lost with the supervisor; return them."""
        self._forget()
        processes, self._processes = list(self._processes.values()), {}
        for process in processes:
            if not process.started.done():
                process.started.set_exception(TransportError("the process supervisor exited"))
            process.has_exited(-signal.SIGKILL)
        return processes

    def _forget(self) -> None:
        """Drop the control socket and what is queued for it."""
        self._out.clear()
        if self._control is not None:
            self._watch_writable(False)
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None

    async def aclose(self) -> None:
        """End the supervisor, which kills every process that still runs. Idempotent and bounded in time."""
        self._closed = True
        processes = self._lost()
        program, self._program = self._program, None
        if program is not None:
            await asyncio.to_thread(_wait, program, processes)


def _start_program(ours: socket.socket, theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Start the supervisor with its end of the control socket; close ours if that fails."""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError:
        ours.close()
        raise


def cause(error: OSError) -> str:
    """Explain a failure of the system, and say what to do about a lack of file descriptors."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"too many open files (the limit is {limit}); close sessions, or raise the limit (ulimit -n) "
            "before Jupyter starts"
        )
    return error.strerror or str(error)


def _wait(program: subprocess.Popen[bytes], processes: Sequence[Process]) -> None:
    try:
        program.wait(CLOSE_TIMEOUT)
    except subprocess.TimeoutExpired:
        log.warning("the process supervisor did not exit within %s s and was killed", CLOSE_TIMEOUT)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        kill_orphans(program.pid, processes)


def kill_orphans(supervisor_pid: int, processes: Sequence[Process]) -> None:
    """Kill the servers of a killed supervisor and their descendants; on systems other than Linux, their groups."""
    if not LINUX:
        for process in processes:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
    for _ in range(ORPHAN_ROUNDS):
        pids = marked(supervisor_pid)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
