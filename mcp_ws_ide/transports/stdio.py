"""MCP servers as child processes: one JSON object per line over stdin and stdout (MCP transports, stdio).

Uses raw non-blocking pipes on the event loop: one read serves many lines, and all lines of one turn of the loop leave
in one write. Knows bytes and processes; JSON-RPC is the caller's.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import termios
import time
from collections.abc import Mapping
from typing import Final, Self

from mcp_ws_ide.config.environment import find_program
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.errors import TransportClosedError, TransportError
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Receiver, Supplies, Transport
from mcp_ws_ide.transports.framing_probe import FramingProbe
from mcp_ws_ide.transports.lines import MessageLines
from mcp_ws_ide.transports.processes import Process, ProcessSupervisor, cause
from mcp_ws_ide.transports.stderr import StderrReader, read_pipe, watch
from mcp_ws_ide.transports.tasked import CLOSED_REASON, INTERNAL_ERROR_REASON, within
from mcp_ws_ide.write_batching import WriteBatcher

READ_BYTES: Final = (128 << 10) - 64
"""Maximum number of bytes taken from stdout in one read: for more, malloc (glibc) maps and unmaps memory each time."""
LEAST_READ_BYTES: Final = 4 << 10
"""The same, while the lines of a server take long to pass on."""
FIRST_READ_BYTES: Final = 16 << 10
"""The same, for the first read: nothing is known of the server yet."""
LONG_TURN: Final = 0.02
"""Seconds that the lines of one read may take before less is read at a time."""
PIPE_BYTES: Final = 1 << 20
"""Size requested for the pipes of messages (Linux), for fewer wake-ups with large messages."""
DRAIN_TIMEOUT: Final = 1.0
"""Seconds to read what a process left in its pipe after it exited."""
KILL_TIMEOUT: Final = 2.0
"""Seconds for a killed process to exit."""
MAX_STDERR_TAIL: Final = 400
"""Characters of stderr quoted when a process has exited."""

log: Final = logging.getLogger(__name__)


class StdioTransport(Transport):
    """One server process.

    Args:
        supervisor: starts and kills processes.
        command: the program.
        args: its arguments.
        env: its complete environment.
        cwd: its working directory; None means the gateway's.
        max_message_bytes: longest line (:class:`~mcp_ws_ide.transports.lines.MessageLines`).
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.
        write_timeout: seconds without progress of a write after which the server counts as stuck.
        eof_grace: seconds from closing stdin until SIGTERM.
        term_grace: seconds from SIGTERM until SIGKILL.
        name: name of the server, for messages.
    """

    kind = "stdio"
    process = True

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport for the program that a spec names."""
        assert spec.command is not None
        return cls(
            supplies.supervisor,
            command=spec.command,
            args=list(spec.args),
            env=supplies.environment,
            cwd=spec.cwd,
            max_message_bytes=supplies.max_message_bytes,
            name=spec.name,
        )

    def __init__(
        self,
        supervisor: ProcessSupervisor,
        *,
        command: str,
        args: list[str],
        env: Mapping[str, str],
        cwd: str | None,
        max_message_bytes: int = 10 << 20,
        high_water: int = 1 << 20,
        max_queued_bytes: int = 64 << 20,
        write_timeout: float = 10.0,
        eof_grace: float = 2.0,
        term_grace: float = 2.0,
        name: str = "",
    ) -> None:
        self._supervisor = supervisor
        self._argv = [command, *args]
        self._env = env
        self._cwd = cwd
        self._high_water = high_water
        self._max_queued = max_queued_bytes
        self._write_timeout = write_timeout
        self._eof_grace = eof_grace
        self._term_grace = term_grace
        self._name = name or command
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._process: Process | None = None
        self._stdin = self._stdout = -1
        self._out: list[bytes] = []
        self._flush_scheduled = self._writing = self._paused = False
        self._batcher = WriteBatcher.running()
        self._stuck: asyncio.TimerHandle | None = None
        self._lines = MessageLines(max_message_bytes, "stdout", lambda: self._reading)
        self._read_bytes = FIRST_READ_BYTES
        self._framing: FramingProbe | None = None
        self._reading = False
        self._stderr: StderrReader | None = None
        self._fault = ""
        self._stdin_broke = False
        self._queued = self._written = self._unread = 0
        """Bytes that wait for the pipe, that it has accepted, and that the process left in it when it exited."""
        self._exited_itself = False
        """Whether the process exited before any signal."""
        self._unwanted = False
        """Whether the gateway closed it first."""
        self._drained = asyncio.Event()
        self._ending = TaskGroupOwner()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<StdioTransport {self._name} pid={self.pid} queued={self._queued}>"

    # --- connect --------------------------------------------------------------------------------

    async def connect(self, receiver: Receiver) -> None:
        """Start the process; see :meth:`Transport.connect`."""
        argv = [self._resolve(), *self._argv[1:]]
        pipes = _open_pipes()
        (child_in, self._stdin), (self._stdout, child_out), (stderr, child_err) = pipes
        for descriptor in (self._stdin, self._stdout, stderr):
            os.set_blocking(descriptor, False)
        for descriptor in (self._stdin, self._stdout):
            _enlarge(descriptor)
        self._stderr = StderrReader(stderr, self._stderr_lines)
        try:
            self._process = await self._supervisor.spawn(
                argv, self._env, self._cwd, (child_in, child_out, child_err), self._exited
            )
        except BaseException:
            self._close_descriptors()
            raise
        finally:
            for descriptor in (child_in, child_out, child_err):
                os.close(descriptor)
        self._receiver = receiver
        self._framing = FramingProbe(
            self._loop, receiver, self._has_read, self.send, (self._cwd or "", *argv)
        )
        self.resume_reading()
        self._stderr.watch()
        if self._process.code is not None:
            self._exited(self._process.code)

    def _resolve(self) -> str:
        program = find_program(self._argv[0], self._env)
        if program is None:
            raise TransportError(f"command not found: {self._argv[0]!r}; install it, or give its full path")
        return program

    # --- receive --------------------------------------------------------------------------------

    def _stdout_readable(self) -> None:
        data = read_pipe(self._stdout, self._read_bytes)
        if data is None:
            return
        if not data:
            self.pause_reading()
            self._drained.set()
            if self._receiver is not None:
                self._lines.finish(self._receiver)
                self._begin_close()  # nothing more can come from it, whether or not it lives
            return
        assert self._receiver is not None
        framing = self._framing
        began = time.perf_counter()
        self._lines.feed(data, framing or self._receiver)
        if self._read_bytes < READ_BYTES or len(data) == READ_BYTES:
            self._share_loop(time.perf_counter() - began)
        if framing is not None and framing.settled(self._lines.in_frames):
            self._framing = None

    def _share_loop(self, took: float) -> None:
        """Read less at a time while a server floods its stdout with lines that take long, so that others have turns."""
        if took > LONG_TURN:
            self._read_bytes = max(LEAST_READ_BYTES, int(self._read_bytes * LONG_TURN / took))
        elif took < LONG_TURN / 8:
            self._read_bytes = min(READ_BYTES, 2 * self._read_bytes)

    def _has_read(self) -> bool:
        """Whether the server has read everything that it was sent."""
        return not self._queued and self._stdin >= 0 and _bytes_in(self._stdin) == 0

    def _stderr_lines(self, lines: str) -> None:
        if self._framing is not None:
            self._framing.note_sign()
        if self._receiver is not None:
            self._receiver.noise_received("stderr", lines)

    def pause_reading(self) -> None:
        """Stop reading stdout."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._stdout)

    def resume_reading(self) -> None:
        """Continue reading stdout."""
        if not self._reading and self._stdout >= 0 and not self._drained.is_set():
            self._reading = True
            watch(self._loop.add_reader, self._stdout, self._stdout_readable)

    # --- send -----------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Queue one line; see :meth:`Transport.send`."""
        if self._stdin < 0 or self._fault:
            raise TransportClosedError(self._fault or "the process has exited")
        if self._framing is not None:
            message = self._framing.outgoing(message)
        self._out.append(message)
        self._out.append(b"\n")
        self._queued += len(message) + 1
        if not self._flush_scheduled and not self._writing:
            if self._batcher.at_once:
                self._flush()
            else:
                self._flush_scheduled = True
                self._batcher.wait(self._flush)
        if self._queued > self._high_water:
            self._check_queue()

    def _check_queue(self) -> None:
        if self._queued > self._max_queued:
            self._fail(
                f"{self._queued} bytes wait for the server, which does not read them; at most {self._max_queued} may"
            )
        elif not self._paused and self._receiver is not None:
            self._paused = True
            self._receiver.write_paused(True)

    def _flush(self) -> int:
        """Write what the pipe accepts; return how many messages were waiting."""
        self._flush_scheduled = False
        if self._stdin < 0 or not self._out:
            return 0
        messages = len(self._out) // 2
        data = b"".join(self._out)
        try:
            written = os.write(self._stdin, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._out.clear()
            self._stdin_broke = True
            self._fail(f"the process has closed its stdin ({error.strerror})")
            return messages
        self._written += written
        self._queued -= written
        self._out = [data[written:]] if written < len(data) else []
        self._watch_writable(bool(self._out), progressed=written > 0)
        if self._paused and self._queued <= self._high_water // 2 and self._receiver is not None:
            self._paused = False
            self._receiver.write_paused(False)
        return messages

    def _watch_writable(self, wanted: bool, progressed: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                watch(self._loop.add_writer, self._stdin, self._flush)
            else:
                self._loop.remove_writer(self._stdin)
        if self._stuck is not None and (progressed or not wanted):
            self._stuck.cancel()
            self._stuck = None
        if wanted and self._stuck is None:
            reason = f"the server has not read its input for {self._write_timeout:g} s"
            self._stuck = self._loop.call_later(self._write_timeout, self._fail, reason)

    @property
    def queued_bytes(self) -> int:
        """Bytes the pipe to the process has not accepted yet."""
        return self._queued

    @property
    def read_nothing(self) -> bool:
        """Whether the process has exited without reading its input (Linux; False elsewhere)."""
        return self._written == self._unread and (self._written > 0 or self._stdin_broke)

    @property
    def pid(self) -> int | None:
        """Process id; None before ``connect``."""
        return self._process.pid if self._process is not None else None

    # --- close ----------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        """End a process that can no longer be used."""
        if not self._fault:
            self._fault = reason
            self._begin_close()

    def _exited(self, code: int) -> None:
        if self._receiver is not None:
            self._begin_close()

    def _begin_close(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = self._ending.spawn(self._end(), f"end {self._name}")
        return self._closing

    async def close(self) -> None:
        """Let the process exit, then kill it; see :meth:`Transport.close`."""
        if self._process is not None:
            self._unwanted = self._unwanted or self._closing is None
            await asyncio.shield(self._begin_close())

    async def _end(self) -> None:
        """End the process, then tell the receiver, even after an internal error."""
        assert self._process is not None
        try:
            await self._end_process(self._process)
        except Exception:
            self._fault = INTERNAL_ERROR_REASON
            raise
        finally:
            self._close_descriptors()
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.transport_closed(self._reason(self._process.code))

    async def _end_process(self, process: Process) -> None:
        """Send EOF, SIGTERM, then SIGKILL; kill what the process left behind. Bounded by the grace periods."""
        self._drop_stdin()
        self.resume_reading()  # a process that blocks on its output cannot see the end of its input
        for grace, number in ((self._eof_grace, signal.SIGTERM), (self._term_grace, signal.SIGKILL)):
            if await within(grace, process.exited.wait()):
                self._exited_itself = number == signal.SIGTERM  # it needed no signal
                break
            if self._drained.is_set() and not self._unwanted:
                self._fault = self._fault or "the process closed its stdout but did not exit"
            process.kill(number)
        await within(KILL_TIMEOUT, process.exited.wait())
        process.kill(signal.SIGKILL)  # grandchildren
        await within(DRAIN_TIMEOUT, self._drained.wait())
        if self._stderr is not None:
            self._stderr.read_rest()

    def _reason(self, code: int | None) -> str:
        # Writing to a process that dies fails before its exit is known, but the exit explains more.
        died = self._stdin_broke and self._exited_itself
        reason = _exit_reason(code) if died or not self._fault else self._fault
        tail = (
            " | ".join(line.strip() for line in self._stderr.last_lines) if self._stderr is not None else ""
        )
        return f"{reason}; stderr: {visible(tail[-MAX_STDERR_TAIL:])}" if tail and code != 0 else reason

    def _drop_stdin(self) -> None:
        if self._out and not self._fault:
            self._flush()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if self._stdin >= 0:
            self._unread = _bytes_in(self._stdin)
            if self._writing:
                self._loop.remove_writer(self._stdin)
                self._writing = False
            os.close(self._stdin)
            self._stdin = -1
        self._out.clear()
        self._queued = 0

    def _close_descriptors(self) -> None:
        self.pause_reading()
        self._lines.close()
        if self._framing is not None:
            self._framing.close()
        if self._stderr is not None:
            self._stderr.close()
        for descriptor in (self._stdin, self._stdout):
            if descriptor >= 0:
                os.close(descriptor)
        self._stdin = self._stdout = -1


def _bytes_in(pipe: int) -> int:
    """Return how many bytes wait in a pipe; 0 if the system does not say."""
    size = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def _open_pipes() -> list[tuple[int, int]]:
    """Return three pipes, or none.

    Raises:
        TransportError: the gateway has too many files open.
    """
    with contextlib.ExitStack() as opened:
        pipes = []
        try:
            for _ in range(3):
                ends = os.pipe2(os.O_CLOEXEC)
                for descriptor in ends:
                    opened.callback(os.close, descriptor)
                pipes.append(ends)
        except OSError as error:
            raise TransportError(f"the process could not be started: {cause(error)}") from None
        opened.pop_all()
    return pipes


def _enlarge(descriptor: int) -> None:
    """Request a larger pipe."""
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if set_size is not None:
        with contextlib.suppress(OSError):  # the user's quota of pipe memory may be exhausted
            fcntl.fcntl(descriptor, set_size, PIPE_BYTES)


def _exit_reason(code: int | None) -> str:
    if code is None:
        return CLOSED_REASON
    if code >= 0:
        return f"the process exited with code {code}"
    try:
        return f"the process was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"the process was killed by signal {-code}"
