"""The process that owns every server process of one gateway, so that none outlives it.

Runs as ``python -I -S supervisor.py FD`` in a session of its own, with the standard library only. It starts servers on
request, reports their exit, and kills every descendant when its control socket closes; the kernel closes the socket
however the gateway dies. On Linux it is a subreaper: daemons that leave their parent become its children.

Control protocol: a stream socket that carries JSON objects, one per line. A ``spawn`` line carries three descriptors
(stdin, stdout and stderr of the child) as SCM_RIGHTS. The peer is :mod:`mcp_ws_ide.transports.processes`.

======================================================  ====================================================
gateway → supervisor                                    supervisor → gateway
======================================================  ====================================================
``{"op":"spawn","id":I,"argv":[…],"env":{…},"cwd":…}``  ``{"op":"spawned","id":I,"pid":P}`` or
                                                        ``{"op":"failed","id":I,"reason":…}``
``{"op":"kill","id":I,"signal":N}``                     ``{"op":"exited","id":I,"code":C}`` (negative: signal)
======================================================  ====================================================
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MARKER = "MCP_WS_UPSTREAM"
"""Environment variable that says which server a descendant belongs to."""
LINUX = sys.platform.startswith("linux")


class Supervisor:
    """The servers, and the control socket to the gateway."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._buffer = b""
        self._descriptors: list[int] = []
        self._children: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}
        """By pid: the gateway's id and the process."""

    def run(self) -> None:
        """Serve until the gateway is gone, then kill every server."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        alive = True
        while alive:
            for descriptor, _ in poll.poll():
                if descriptor == wake_read:
                    os.read(wake_read, 4096)
                    self._reap()
                else:
                    alive = self._receive()
        for pid in self._children:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        kill_everything()

    def _receive(self) -> bool:
        try:
            data, ancillary, flags, _ = self._control.recvmsg(1 << 16, socket.CMSG_SPACE(3 * 64 * 4))
        except OSError:
            return False
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fresh = array.array("i")
                fresh.frombytes(payload[: len(payload) - len(payload) % fresh.itemsize])
                self._descriptors.extend(_whole(list(fresh), flags))
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))
        return True

    def _handle(self, request: dict[str, Any]) -> None:
        if request["op"] == "spawn":
            self._spawn(request)
        else:
            self._kill(request["id"], request["signal"])

    def _spawn(self, request: dict[str, Any]) -> None:
        stdin, stdout, stderr = self._descriptors[:3]
        del self._descriptors[:3]
        if stdin < 0:
            reason = (
                "the process supervisor has too many open files; stop servers, or raise the limit (ulimit -n)"
            )
            return self._send({"op": "failed", "id": request["id"], "reason": reason})
        try:
            process = subprocess.Popen(
                request["argv"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={**request["env"], MARKER: f"{os.getpid()}-{request['id']}"},
                cwd=request["cwd"],
                close_fds=True,
                start_new_session=True,
                umask=0o077,
                preexec_fn=end_with_parent if LINUX else None,
            )
        except (OSError, ValueError) as error:
            self._send({"op": "failed", "id": request["id"], "reason": spawn_error(error, request)})
        else:
            self._children[process.pid] = (request["id"], process)
            self._send({"op": "spawned", "id": request["id"], "pid": process.pid})
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)

    def _kill(self, server_id: int, number: int) -> None:
        for pid, (known, _) in self._children.items():
            if known == server_id:
                with contextlib.suppress(OSError):
                    os.killpg(pid, number)
        for pid in marked(os.getpid(), server_id):
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def _reap(self) -> None:
        for pid, (server_id, process) in list(self._children.items()):
            code = process.poll()
            if code is not None:
                del self._children[pid]
                self._send({"op": "exited", "id": server_id, "code": code})
        self._reap_adopted()

    def _reap_adopted(self) -> None:
        """Reap adopted orphans; our own children are reaped by pid above."""
        for pid in children_of(os.getpid()):
            if pid not in self._children:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)

    def _send(self, report: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(report).encode() + b"\n")


def _whole(descriptors: list[int], flags: int) -> list[int]:
    """Return the three descriptors of one request; three times -1 if the kernel had no room for all of them."""
    if not flags & socket.MSG_CTRUNC and len(descriptors) == 3:
        return descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    return [-1, -1, -1]


def spawn_error(error: Exception, request: dict[str, Any]) -> str:
    """Explain a failed start, and say what to do."""
    command, cwd = request["argv"][0], request["cwd"]
    if cwd is not None and not os.path.isdir(cwd):
        return f"the working directory {cwd!r} does not exist; create it, or correct cwd"
    if isinstance(error, FileNotFoundError):
        return f"command not found: {command!r}; install it, or give its full path"
    if os.path.isdir(command):
        return f"{command!r} is a directory; give the path of a program"
    if isinstance(error, PermissionError):
        return f"permission denied: {command!r} is not executable; check its permissions"
    return f"{command!r} could not be started: {error}"


def children_of(parent: int) -> list[int]:
    """Return the pids of the direct children (Linux; empty elsewhere)."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def end_with_parent() -> None:
    """Let the kernel kill this process if the supervisor is killed; called in the server's process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def markers() -> Iterator[tuple[int, int, int]]:
    """Yield the pid of each process that a supervisor started, the supervisor's pid and the server's id (Linux)."""
    prefix = f"{MARKER}=".encode()
    for entry in os.listdir("/proc") if LINUX else []:
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{entry}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                if variable.startswith(prefix):
                    supervisor, server_id = variable.removeprefix(prefix).split(b"-")
                    yield int(entry), int(supervisor), int(server_id)


def marked(supervisor: int, server_id: int | None = None) -> list[int]:
    """Return the pids that belong to one server of a supervisor, or to any, by their environment (Linux)."""
    return [
        pid for pid, started_by, known in markers() if started_by == supervisor and server_id in (None, known)
    ]


def orphans() -> list[int]:
    """Return the pids that a supervisor started which was killed together with its gateway (Linux).

    Processes of other containers, and those that this one descends from, are left alone.
    """
    spared = ancestors(os.getpid())
    ours = os.stat("/proc/self/ns/pid").st_ino if LINUX else 0
    found = []
    for pid, supervisor, _ in markers():
        with contextlib.suppress(OSError):
            same = os.stat(f"/proc/{pid}/ns/pid").st_ino == ours
            if same and pid not in spared and not is_supervisor(supervisor):
                found.append(pid)
    return found


def is_supervisor(pid: int) -> bool:
    """Return whether a supervisor runs under this pid (Linux)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.path.basename(__file__).encode() in file.read()
    except OSError:
        return False


def ancestors(pid: int) -> set[int]:
    """Return a process and those it descends from (Linux)."""
    line = set()
    with contextlib.suppress(OSError, ValueError):
        while pid > 0:
            line.add(pid)
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
    return line


def kill_everything() -> None:
    """Kill every descendant and wait for it, including new ones that appear in the meantime."""
    while True:
        pids = [int(pid) for pid in children_of(os.getpid())]
        for pid in pids:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)  # all children of this process are the gateway's servers
        except ChildProcessError:
            return


def main() -> None:
    """Run the supervisor; the argument is the descriptor of the control socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, not SIG_IGN: ignored signals would stay ignored in the servers after exec.
        signal.signal(number, lambda *_: None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for pid in orphans():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    Supervisor(control).run()


if __name__ == "__main__":
    main()
