"""MCP servers as child processes: one JSON object a line over stdin and stdout (MCP transports, stdio).

Raw non-blocking pipes on the event loop: one read call serves many lines, all lines of one turn of the
loop go out in one write. stderr is always drained, at a bounded share of the loop's time. Knows bytes and
processes; JSON-RPC is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import fcntl
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Self

from mcp_ws_ide.config.environment import find_program
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.errors import TransportClosed, TransportError
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Receiver, Supplies, Transport
from mcp_ws_ide.transports.lines import MessageLines, printable
from mcp_ws_ide.transports.processes import Process, ProcessSupervisor
from mcp_ws_ide.write_batching import Turns

READ_BYTES: Final = 1 << 18
"""Most bytes taken from a pipe at once."""
PIPE_BYTES: Final = 1 << 20
"""Size asked for the pipes (Linux): fewer wake-ups for large messages."""
STDERR_READ: Final = 16 << 10
"""Most bytes taken from stderr at once."""
STDERR_SHARE: Final = 0.1
"""Most of the event loop's time that stderr may take; a server that floods it waits at its pipe meanwhile."""
STDERR_PIPE: Final = 64 << 10
"""What the pipe of stderr holds (Linux; other systems: less)."""
SHORT_PAUSE: Final = 0.001
"""Seconds that are not worth a timer."""
STDERR_BYTES: Final = 256 << 10
"""How much of one line of a server's stderr is kept, in bytes."""
LAST_WORDS: Final = 3
"""Lines of stderr that are quoted when a server has ended."""
DRAIN_TIMEOUT: Final = 1.0
"""Seconds to read what a server left in its pipe after it ended."""

log = logging.getLogger(__name__)


class StdioTransport(Transport):
    """One server process.

    Args:
        supervisor: who starts and kills processes.
        command, args, env, cwd: the program; ``env`` is its complete environment.
        max_message_bytes: longest line; a longer one is skipped and reported as noise; if it was
            an answer, an error of that id takes its place.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.
        write_timeout: seconds without progress of a write after which it counts as stuck.
        eof_grace, term_grace: seconds after closing stdin until SIGTERM, and from there until SIGKILL.
        name: for messages.
    """

    kind = "stdio"
    process = True

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """The program that the configuration names."""
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
        self._stdin = self._stdout = self._stderr = -1
        self._out: list[bytes] = []
        self._queued = 0
        self._flush_scheduled = False
        self._turns = Turns.running()
        self._writing = False
        self._paused = False
        self._stuck: asyncio.TimerHandle | None = None
        self._lines = MessageLines(max_message_bytes, "stdout")
        self._reading = False
        self._stderr_text = b""
        self._stderr_pause: asyncio.TimerHandle | None = None
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._fault = ""
        self._pipe_broke = False
        self._ended_itself = False
        self._unwanted = False
        self._drained = asyncio.Event()
        self._ending = TaskGroupOwner()
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<StdioTransport {self._name} pid={self.pid} queued={self._queued}>"

    # --- connect --------------------------------------------------------------------------------

    async def connect(self, receiver: Receiver) -> None:
        """Start the process; see :meth:`Transport.connect`."""
        argv = [self._resolve(), *self._argv[1:]]
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (child_in, self._stdin), (self._stdout, child_out), (self._stderr, child_err) = pipes
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        for descriptor in (self._stdin, self._stdout):
            _enlarge(descriptor)
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
        self.resume_reading()
        self._watch_stderr()
        if self._process.code is not None:
            self._exited(self._process.code)

    def _resolve(self) -> str:
        found = find_program(self._argv[0], self._env)
        if found is None:
            raise TransportError(f"command not found: {self._argv[0]!r}; install it, or give its full path")
        return found

    def _watch(self, how: Any, descriptor: int, callback: Any) -> None:
        """Register a callback in an empty context, which would otherwise keep a request handler alive."""
        contextvars.Context().run(how, descriptor, callback)

    # --- receive --------------------------------------------------------------------------------

    def _stdout_readable(self) -> None:
        data = _read(self._stdout)
        if data is None:
            return
        if not data:
            self.pause_reading()
            self._drained.set()
            if self._receiver is not None:
                self._begin_close()  # nothing can come from it any more, whether or not it lives
            return
        assert self._receiver is not None
        self._lines.feed(data, self._receiver)

    def _stderr_readable(self) -> None:
        began = time.perf_counter()
        if not self._read_stderr():
            self._loop.remove_reader(self._stderr)
            return
        pause = (time.perf_counter() - began) * (1 / STDERR_SHARE - 1)
        if pause > SHORT_PAUSE:
            self._loop.remove_reader(self._stderr)
            self._stderr_pause = self._loop.call_later(pause, self._watch_stderr)

    def _watch_stderr(self) -> None:
        self._watch(self._loop.add_reader, self._stderr, self._stderr_readable)

    def _read_stderr(self) -> bool:
        """Take in what is there, to a bound; False at the end."""
        data = _read(self._stderr, STDERR_READ)
        if data is None:
            return True
        if not data:
            lines, self._stderr_text = [self._stderr_text], b""
        else:
            *lines, rest = (self._stderr_text + data).split(b"\n")
            self._stderr_text = rest[-STDERR_BYTES:]
        for line in lines:
            if line.strip():
                self._keep_stderr(printable(line.rstrip()))
        return bool(data)

    def _keep_stderr(self, line: str) -> None:
        self._last_words.append(line)
        if self._receiver is not None:
            self._receiver.noise_received("stderr", line)

    def pause_reading(self) -> None:
        """Stop reading stdout."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._stdout)

    def resume_reading(self) -> None:
        """Go on reading stdout."""
        if not self._reading and self._stdout >= 0 and not self._drained.is_set():
            self._reading = True
            self._watch(self._loop.add_reader, self._stdout, self._stdout_readable)

    # --- send -----------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Queue one line; see :meth:`Transport.send`."""
        if self._stdin < 0 or self._fault:
            raise TransportClosed(self._fault or "the server has ended")
        self._out.append(message)
        self._out.append(b"\n")
        self._queued += len(message) + 1
        if not self._flush_scheduled and not self._writing:
            if self._turns.at_once:
                self._flush()
            else:
                self._flush_scheduled = True
                self._turns.wait(self._flush)
        if self._queued > self._high_water:
            self._check_queue()

    def _check_queue(self) -> None:
        if self._queued > self._max_queued:
            self._fail(f"{self._queued} bytes wait for the server to read them")
        elif not self._paused and self._receiver is not None:
            self._paused = True
            self._receiver.write_paused(True)

    def _flush(self) -> int:
        """Write what the pipe takes; returns how many messages were waiting for it."""
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
            self._pipe_broke = True
            self._fail(f"its stdin is closed ({error.strerror})")
            return messages
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
                self._watch(self._loop.add_writer, self._stdin, self._flush)
            else:
                self._loop.remove_writer(self._stdin)
        if self._stuck is not None and (progressed or not wanted):
            self._stuck.cancel()
            self._stuck = None
        if wanted and self._stuck is None:
            words = f"it has not read its input for {self._write_timeout:g} s"
            self._stuck = self._loop.call_later(self._write_timeout, self._fail, words)

    @property
    def queued_bytes(self) -> int:
        """Bytes the server's pipe has not taken yet."""
        return self._queued

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid if self._process is not None else None

    # --- close ----------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        """The server can no longer be used: end it."""
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
        """Let the process end, then make it; see :meth:`Transport.close`."""
        if self._process is not None:
            self._unwanted = self._unwanted or self._closing is None
            await asyncio.shield(self._begin_close())

    async def _end(self) -> None:
        """End the process, and tell the receiver once it has ended; also where a mistake of ours comes in between."""
        assert self._process is not None
        try:
            await self._end_process(self._process)
        except Exception:
            self._fault = "internal error of the gateway; see its log"
            raise
        finally:
            self._close_descriptors()
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.transport_closed(self._reason(self._process.code))

    async def _end_process(self, process: Process) -> None:
        """EOF, SIGTERM, SIGKILL; then whatever the process left behind. Bounded by the graces."""
        self._drop_stdin()
        self.resume_reading()  # a server that blocks on its output cannot see the end of its input
        for grace, number in ((self._eof_grace, signal.SIGTERM), (self._term_grace, signal.SIGKILL)):
            if await _happens(process.exited, grace):
                self._ended_itself = number == signal.SIGTERM  # nobody had to make it
                break
            if self._drained.is_set() and not self._unwanted:
                self._fault = self._fault or "it closed its stdout and did not end"
            process.kill(number)
        await _happens(process.exited, 2.0)
        process.kill(signal.SIGKILL)  # grandchildren
        await _happens(self._drained, DRAIN_TIMEOUT)
        self._read_last_words()

    def _read_last_words(self) -> None:
        """What its pipe still holds; no more, since somebody else may go on writing."""
        for _ in range(STDERR_PIPE // STDERR_READ + 1):
            if not self._read_stderr():
                break

    def _reason(self, code: int | None) -> str:
        # Whoever writes to a process that dies notices its pipe first; why it died says more.
        died = self._pipe_broke and self._ended_itself
        words = _exit_words(code) if died or not self._fault else self._fault
        tail = " | ".join(line.strip() for line in self._last_words)
        return f"{words}; stderr: {tail[-400:]}" if tail and code != 0 else words

    def _drop_stdin(self) -> None:
        if self._out and not self._fault:
            self._flush()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if self._stdin >= 0:
            if self._writing:
                self._loop.remove_writer(self._stdin)
                self._writing = False
            os.close(self._stdin)
            self._stdin = -1
        self._out.clear()
        self._queued = 0

    def _close_descriptors(self) -> None:
        self.pause_reading()
        if self._stderr_pause is not None:
            self._stderr_pause.cancel()
        if self._stderr >= 0:
            self._loop.remove_reader(self._stderr)
        for descriptor in (self._stdin, self._stdout, self._stderr):
            if descriptor >= 0:
                os.close(descriptor)
        self._stdin = self._stdout = self._stderr = -1


def _read(descriptor: int, size: int = READ_BYTES) -> bytes | None:
    """What a pipe holds, up to ``size`` bytes; ``b""`` at its end; None when nothing is there."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _enlarge(descriptor: int) -> None:
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if set_size is not None:
        with contextlib.suppress(OSError):  # the user's quota of pipe memory may be used up
            fcntl.fcntl(descriptor, set_size, PIPE_BYTES)


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _exit_words(code: int | None) -> str:
    if code is None:
        return "the gateway closed it"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
