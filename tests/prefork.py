"""Start Python programs of the tests as forks of a process that has imported what they need.

Jupyter, and servers on the SDK, take over a second of CPU time to start, nine tenths of it for imports, and the tests
start hundreds. Each fork is a process with an environment and a session of its own, and runs what
``python -m MODULE`` or ``python FILE`` would run. The test process holds :class:`Prefork`; this file as a program is
the process that forks; ``tests/forked.py`` is a program that stands for one fork.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NoReturn

FORKED: Final = str(Path(__file__).with_name("forked.py"))
NUMBER: Final = 8
"""Bytes of a number that the process that forks sends: first the fork's id, at its end the exit code."""


class Forked:
    """A fork, with the methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, args: list[str], link: socket.socket) -> None:
        self.args, self._link = args, link
        self.returncode: int | None = None
        self.pid = self._number()

    def _number(self) -> int:
        data = self._link.recv(NUMBER, socket.MSG_WAITALL)
        assert data, "the process that forks has ended"
        return int.from_bytes(data, "big", signed=True)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._link, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            self._link.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Prefork:
    """A process that has imported some modules, started when the first fork is.

    Several test processes may share it: one begins it, the others :meth:`share` its address.

    Args:
        python: the interpreter.
        imports: the modules.
    """

    def __init__(self, *imports: str, python: str | Path = sys.executable) -> None:
        self.python, self._imports = str(python), imports
        name = f"mcp-ws-tests-{os.getpid()}-{id(self)}"
        self.address = str(Path(tempfile.gettempdir()) / name)
        """Path of the Unix socket at which it takes requests."""
        self.forks: list[Forked] = []
        """Those that were started here; not those that stand-ins asked for."""
        self._process: subprocess.Popen[bytes] | None = None
        self.shared = False
        self._once = threading.Lock()
        ALL.append(self)

    def share(self, address: str) -> None:
        """Use a process that another one begins and stops. Commands made before know the address of this one."""
        os.symlink(address, self.address)
        self.shared = True

    def begin(self) -> None:
        """Start the process, if it does not run yet. Requests may follow at once."""
        with self._once:
            if self._process is None and not self.shared:
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(self.address)
                    listener.listen(128)
                    self._process = subprocess.Popen(
                        [self.python, __file__, str(listener.fileno()), *self._imports],
                        pass_fds=[listener.fileno()],
                        stdin=subprocess.PIPE,  # its end is the end of the process
                        stdout=subprocess.DEVNULL,
                        start_new_session=True,
                    )

    def start(self, program: list[str], environment: dict[str, str], log: IO[bytes]) -> Forked:
        """Start a program such as ``["-m", "jupyter_server", …]``; the log gets stdout and stderr."""
        self.begin()
        link = socket.socket(socket.AF_UNIX)
        link.connect(self.address)
        asked = {"program": program, "environment": environment, "cwd": os.getcwd(), "tied": False}
        with open(os.devnull, "rb") as nothing:
            files = [nothing.fileno(), log.fileno(), log.fileno()]
            socket.send_fds(link, [json.dumps(asked).encode() + b"\n"], files)
        self.forks = [
            *(fork for fork in self.forks if fork.poll() is None),
            Forked(["python", *program], link),
        ]
        return self.forks[-1]

    def command(self, *program: str) -> list[str]:
        """A command that runs a program on its own stdin, stdout and stderr in a fork, which ends when it does.

        Where :meth:`begin` was not called it runs without a fork.
        """
        return [self.python, "-I", "-S", FORKED, self.address, *program]

    def stop(self) -> None:
        """End the process, not its forks."""
        if self._process is not None or self.shared:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:  # it still imports, which a busy machine makes long
                self._process.kill()
                self._process.wait()
            self._process = None


ALL: Final[list[Prefork]] = []
"""Those of this process."""


class Forking:
    """What this file does as a program: fork at each request, and report how each fork ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._askers: dict[int, socket.socket] = {}
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())

    def serve(self) -> None:
        while 0 not in select.select([self._listener, 0], [], [])[0]:
            link, _ = self._listener.accept()
            asked, files = receive(link)
            if not asked:
                link.close()
            elif not self._fork(link, files):
                end_after(functools.partial(become, asked, files, link))

    def _fork(self, link: socket.socket, files: list[int]) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the fork is known
        if pid := os.fork():
            for file in files:
                os.close(file)
            self._askers[pid] = link
            self._tell(link, pid)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._listener, *self._askers.values()):
                other.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                link = self._askers.pop(ended[0])
                self._tell(link, os.waitstatus_to_exitcode(ended[1]))
                link.close()

    @staticmethod
    def _tell(link: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it any more
            link.sendall(number.to_bytes(NUMBER, "big", signed=True))


def receive(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request and the files for stdin, stdout and stderr; nothing from an asker that has ended."""
    data, files, _, _ = socket.recv_fds(link, 1 << 16, 3)
    while data and not data.endswith(b"\n"):
        data += (more := link.recv(1 << 16))
        if not more:
            return {}, files
    return json.loads(data or "{}"), list(files)


def become(asked: dict[str, Any], files: list[int], link: socket.socket) -> None:
    """Run a program in this process, a fork, as if Python had just been started with it."""
    os.setsid()
    take_over(files)
    if asked["tied"]:
        threading.Thread(target=end_with, args=(link,), daemon=True).start()
    else:
        link.close()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    added = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in added if path and path not in sys.path]
    first, *arguments = asked["program"]
    if first == "-m":
        sys.path[0] = asked["cwd"]
        sys.argv = arguments
        if not hasattr(sys.modules.get(arguments[0]), "__path__"):
            sys.modules.pop(arguments[0], None)  # it was imported under its name, and becomes __main__
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(first)
        sys.argv = [first, *arguments]
        runpy.run_path(first, run_name="__main__")


def end_after(program: Callable[[], None]) -> NoReturn:
    """Run a program and end this process as Python does, except that no module is taken apart.

    Taking apart hundreds of modules that are shared with the other forks would copy nearly all of their memory.
    """
    code: object = 0
    try:
        program()
    except SystemExit as ended:
        code = ended.code or 0
    if isinstance(code, int):
        with contextlib.suppress(OSError, ValueError):  # an output is closed: Python's own end reports that
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            for output in (sys.stdout, sys.stderr):
                output.flush()
            os._exit(code & 0xFF)
    sys.exit(code)  # type: ignore[arg-type]


def take_over(files: list[int]) -> None:
    """Make files this process's stdin, stdout and stderr; Python's objects for the old ones know what these were."""
    for standard, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(files[standard], standard)
        os.close(files[standard])
        old = getattr(sys, name)
        new = os.fdopen(
            standard,
            old.mode,
            encoding=old.encoding,
            errors=old.errors,
            buffering=1 if name == "stderr" or os.isatty(standard) else -1,
            closefd=False,
        )
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def end_with(asker: socket.socket) -> None:
    """Kill this process when the process that asked for it has ended."""
    asker.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # as under nohup: programs of tests heed them
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    gc.freeze()  # a collection in a fork would copy every page that it looks at
    Forking(socket.socket(fileno=int(sys.argv[1]))).serve()
