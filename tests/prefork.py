"""Start Jupyter servers of the tests as forks of a process that has imported Jupyter and the gateway.

A start then takes an eighth of the CPU time, since imports are most of it. Each fork is a process, with an
environment, a session and a log of its own, and runs what ``python -m jupyter_server`` runs. The test process holds
:class:`Prefork`; this file as a program is the process that forks.
"""

from __future__ import annotations

import contextlib
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
import threading
from typing import IO, Any


class Forked:
    """A process that :class:`Prefork` has started, with the methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, args: list[str], pid: int, status: int) -> None:
        self.args, self.pid, self._status = args, pid, status
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._status, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(os.read(self._status, 32))
            os.close(self._status)
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
    """The process that forks, started when the first Jupyter is."""

    def __init__(self) -> None:
        self._link: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._imports: list[str] = []

    def also_import(self, module: str) -> None:
        """Import a module once for all Jupyters to come, which would each import it later on."""
        self._imports.append(module)

    def start(self, arguments: list[str], environment: dict[str, str], log: IO[bytes]) -> Forked:
        """Start ``python -m jupyter_server`` with these arguments; the log gets stdout and stderr."""
        request = json.dumps(
            {"arguments": arguments, "environment": environment, "cwd": os.getcwd(), "imports": self._imports}
        )
        status, theirs = os.pipe()
        with self._one_at_a_time:
            link = self._connected()
            socket.send_fds(link, [request.encode() + b"\n"], [log.fileno(), theirs])
            pid = int(link.recv(32))
        os.close(theirs)
        return Forked(["python", "-m", "jupyter_server", *arguments], pid, status)

    def _connected(self) -> socket.socket:
        if self._link is None:
            self._link, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
        return self._link

    def stop(self) -> None:
        """End the process that forks, not its forks."""
        if self._link is not None and self._process is not None:
            self._link.close()
            self._process.wait(60)


class Forking:
    """What this file does as a program: fork at each request, and report how each fork ended."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._statuses: dict[int, int] = {}
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())

    def serve(self) -> None:
        while (request := self._receive()) is not None:
            asked, (log, status) = request
            import_frozen(*asked["imports"])
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the fork is known
            if pid := os.fork():
                self._statuses[pid] = status
                os.close(log)
            else:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (*self._statuses.values(), status):
                    os.close(descriptor)
                self._link.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            if not pid:
                return become_jupyter(asked, log)
            self._link.sendall(str(pid).encode())

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        data, descriptors, _, _ = socket.recv_fds(self._link, 1 << 16, 2)
        while data and not data.endswith(b"\n"):
            data += self._link.recv(1 << 16)
        return (json.loads(data), descriptors) if data else None

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = self._statuses.pop(ended[0])
                with contextlib.suppress(BrokenPipeError):  # no test waits for it any more
                    os.write(status, str(os.waitstatus_to_exitcode(ended[1])).encode())
                os.close(status)


def become_jupyter(asked: dict[str, Any], log: int) -> None:
    """Run Jupyter in this process, a fork, as if it had just been started."""
    os.setsid()
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["cwd"]
    added = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in added if path and path not in sys.path]
    sys.argv = ["jupyter_server", *asked["arguments"]]
    runpy.run_module("jupyter_server", run_name="__main__", alter_sys=True)


def import_frozen(*modules: str) -> None:
    """Import modules, and keep garbage collections in the forks from touching, and so copying, what they share."""
    if not sys.modules.keys() >= set(modules):
        for module in modules:
            importlib.import_module(module)
        gc.freeze()


if __name__ == "__main__":
    import_frozen("jupyter_server.serverapp", "mcp_ws_ide.app")
    Forking(socket.socket(fileno=int(sys.argv[1]))).serve()
