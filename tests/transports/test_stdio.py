"""Server processes: lines in and out, reported faults, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from mcp_ws_ide.core.line_splitter import LineSplitter
from mcp_ws_ide.errors import TransportClosedError, TransportError
from mcp_ws_ide.transports.processes import Process, ProcessSupervisor
from mcp_ws_ide.transports.stdio import StdioTransport
from mcp_ws_ide.transports.supervisor import spawn_error
from tests.conftest import BOUND, until
from tests.transports.peers import Recorder


@pytest.fixture
async def supervisor():
    running = ProcessSupervisor()
    yield running
    await running.aclose()


@pytest.fixture
def receiver():
    return Recorder()


CAT = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer.raw, sys.stdout.buffer.raw)"


def python(supervisor: ProcessSupervisor, code: str, **options) -> StdioTransport:
    defaults = {
        "command": sys.executable,
        "args": ["-I", "-S", "-c", code],
        "env": {"PATH": os.defpath},
        "cwd": None,
    }
    return StdioTransport(supervisor, **{**defaults, **options})


async def test_messages_arrive_complete_and_in_order(supervisor, receiver):
    transport = python(supervisor, CAT)
    await transport.connect(receiver)
    sent = [b'{"id":%d}' % n for n in range(20_000)] + [b'{"big":"%s"}' % (b"x" * (9 << 20))]
    for message in sent:
        transport.send(message)
    await until(lambda: len(receiver.messages) == len(sent), BOUND)
    assert receiver.messages == sent
    assert transport.queued_bytes == 0
    await transport.close()
    assert receiver.reasons == ["the process exited with code 0"]
    with pytest.raises(TransportClosedError):
        transport.send(b"{}")


FRAMES = """
import sys
while head := sys.stdin.buffer.readline():
    if head.startswith(b"Content-Length:"):
        sys.stdin.buffer.readline()
        body = sys.stdin.buffer.read(int(head.split(b":")[1]))
        member = body[body.index(b'"id":'):].split(b",")[0].rstrip(b"}")
        answer = b'{"jsonrpc":"2.0",%b,"result":{}}' % member
        sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n%b" % (len(answer), answer))
        sys.stdout.buffer.flush()
"""


async def test_the_next_process_of_a_server_that_needs_frames_gets_them_at_once(supervisor):
    """Finding out takes a silence of 6 s: once for a command, until one of its processes answers nothing."""

    async def answered(number: int, code: str = FRAMES) -> bool:
        transport, receiver = python(supervisor, code), Recorder()
        await transport.connect(receiver)
        transport.send(b'{"jsonrpc":"2.0","id":%d,"method":"initialize"}' % number)
        expected = [b'{"jsonrpc":"2.0","id":%d,"result":{}}' % number]
        await until(lambda: receiver.messages == expected, BOUND)
        await transport.close()
        return any("sent a ping in a frame" in text for _, text in receiver.noise)

    assert await answered(1)
    assert not await answered(2)
    silent = python(supervisor, FRAMES)
    await silent.connect(Recorder())
    await silent.close()
    assert await answered(3), "the last process answered nothing, so the next one is probed"


async def test_other_output_is_noise_and_too_long_lines_are_dropped_with_a_reason(supervisor, receiver):
    code = 'import sys; print("hello"); print("{" + "x" * 2000); print(\'  {"a":1}\'); print("e1", file=sys.stderr)'
    transport = python(supervisor, code, max_message_bytes=1000)
    await transport.connect(receiver)
    await until(lambda: receiver.reasons)
    assert receiver.messages == [b'{"a":1}']
    assert ("stdout", "hello") in receiver.noise
    assert any("2001 bytes" in text and "max_message_bytes" in text for _, text in receiver.noise)
    assert ("stderr", "e1") in receiver.noise


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"command": "no-such-command", "args": []}, "command not found"),
        ({"command": "/no/such/file", "args": []}, "command not found"),
        ({"command": __file__, "args": []}, "permission denied"),
        ({"cwd": "/no/such/directory"}, "working directory"),
    ],
)
async def test_a_failed_start_is_reported(supervisor, receiver, options, word):
    with pytest.raises(TransportError, match=word):
        await python(supervisor, "pass", **options).connect(receiver)
    assert receiver.reasons == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('because')", "the process exited with code 1; stderr: because"),
        ("import sys; sys.exit('\\x1b[31mred')", r"the process exited with code 1; stderr: \x1b[31mred"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the process was killed by SIGKILL"),
    ],
)
async def test_the_exit_of_a_server_is_reported_with_code_and_end_of_stderr(
    supervisor, receiver, code, words
):
    await python(supervisor, code).connect(receiver)
    await until(lambda: receiver.reasons)
    assert receiver.reasons == [words]


async def test_a_flood_of_stderr_does_not_block_the_event_loop(supervisor, receiver):
    """A share of the loop's time, however fast the machine: a server that writes at will would take most of it."""
    flood = f"import os, threading\nthreading.Thread(target=lambda: [os.write(2, b'x\\n' * 999) for _ in iter(int, 1)], daemon=True).start()\n{CAT}"
    transport = python(supervisor, flood)
    await transport.connect(receiver)
    await until(lambda: receiver.noise)
    began, used = time.monotonic(), time.thread_time()
    for number in range(50):
        transport.send(b'{"n":%d}' % number)
        await until(lambda number=number: len(receiver.messages) > number)
    await until(lambda: time.monotonic() > began + 1)
    assert time.thread_time() - used < 0.4 * (time.monotonic() - began)
    assert len(receiver.noise) > 1000, "it is still read"
    await transport.close()


async def test_the_end_of_a_long_stderr_is_reported(supervisor, receiver):
    ending = "import os, sys\nos.write(2, b'x\\n' * 30_000 + b'that is why\\n')\nos._exit(3)"
    transport = python(supervisor, ending)
    await transport.connect(receiver)
    await until(lambda: receiver.reasons)
    assert receiver.reasons[0].endswith("x | x | that is why")
    assert receiver.noise.count(("stderr", "x")) == 30_000


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("sys.exit(4)", "the process exited with code 4"),
        ("os.kill(os.getpid(), 9)", "the process was killed by SIGKILL"),
    ],
)
async def test_a_server_that_exits_is_reported_with_its_exit_and_not_a_broken_pipe(
    supervisor, receiver, end, words
):
    dying = f"import os, sys, time; os.close(0); print('   no key', file=sys.stderr, flush=True); time.sleep(0.3); {end}"
    transport = python(supervisor, dying)
    await transport.connect(receiver)
    await until(lambda: receiver.noise, BOUND)
    transport.send(b"{}")
    await until(lambda: receiver.reasons, BOUND)
    assert receiver.reasons == [f"{words}; stderr: no key"]
    assert transport.read_nothing


async def test_a_server_that_closes_its_stdin_and_stays_is_reported(supervisor, receiver):
    stays = "import os, sys, time; os.close(0); print('x', file=sys.stderr, flush=True); time.sleep(60)"
    transport = python(supervisor, stays, eof_grace=0.2)
    await transport.connect(receiver)
    await until(lambda: receiver.noise, BOUND)
    transport.send(b"{}")
    await until(lambda: receiver.reasons, BOUND)
    assert "closed its stdin" in receiver.reasons[0]


async def test_an_error_while_a_server_ends_is_logged_and_the_end_reported(
    supervisor, receiver, monkeypatch, caplog
):
    def fails(process: Process, number: int) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Process, "kill", fails)
    transport = python(supervisor, "")
    await transport.connect(receiver)
    await until(lambda: receiver.reasons)
    assert receiver.reasons == ["internal error of the gateway; see its log"]
    await until(lambda: "a bug" in caplog.text)
    with pytest.raises(TransportClosedError):
        transport.send(b"{}")


async def test_a_server_that_does_not_read_is_ended(supervisor, receiver):
    transport = python(
        supervisor, "import time; time.sleep(600)", write_timeout=0.3, eof_grace=0.1, term_grace=0.1
    )
    await transport.connect(receiver)
    for _ in range(40):
        transport.send(b"x" * 100_000)
    await until(lambda: receiver.reasons)
    assert "has not read its input" in receiver.reasons[0]
    assert receiver.paused == [True]


async def test_reading_can_be_paused(supervisor, receiver):
    transport = python(supervisor, CAT)
    await transport.connect(receiver)
    transport.pause_reading()
    transport.send(b'{"a":1}')
    echoed = python(supervisor, CAT)
    other = Recorder()
    await echoed.connect(other)
    echoed.send(b"{}")
    await until(lambda: other.messages)  # a whole round trip of a sibling later …
    assert receiver.messages == []
    transport.resume_reading()
    await until(lambda: receiver.messages)
    await asyncio.gather(transport.close(), echoed.close())


async def test_a_stubborn_server_and_its_daemon_are_killed(supervisor, receiver):
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('{\"pid\":%d}' % p.pid, flush=True)\n"
        "time.sleep(600)"
    )
    transport = python(supervisor, code, eof_grace=0.2, term_grace=0.2)
    await transport.connect(receiver)
    await until(lambda: receiver.messages)
    daemon = int(receiver.messages[0].split(b":")[1].rstrip(b"}"))
    async with asyncio.timeout(BOUND):
        await asyncio.gather(transport.close(), transport.close())
    assert receiver.reasons == ["the process was killed by SIGKILL"]
    await until(lambda: not psutil.pid_exists(daemon), what="the end of the daemon")


async def test_nothing_leaks_over_many_processes(supervisor, receiver):
    me = psutil.Process()

    async def cycle() -> None:
        transport = python(supervisor, CAT)
        await transport.connect(Recorder())
        transport.send(b"{}")
        await transport.close()

    await cycle()
    before, tasks = me.num_fds(), len(asyncio.all_tasks())
    for _ in range(30):
        await cycle()
    assert me.num_fds() == before
    assert len(asyncio.all_tasks()) == tasks


async def test_the_death_of_the_supervisor_is_reported_and_a_new_one_started(supervisor, receiver):
    transport = python(supervisor, CAT)
    await transport.connect(receiver)
    os.kill(supervisor._program.pid, signal.SIGKILL)
    await until(lambda: receiver.reasons)
    fresh = Recorder()
    again = python(supervisor, CAT)
    await again.connect(fresh)
    again.send(b"{}")
    await until(lambda: fresh.messages)
    await again.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def room_for(descriptors: int, pid: int) -> Iterator[None]:
    """Let a process open only so many more files; none may be closed by the collector meanwhile."""
    gc.collect()
    gc.disable()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    if pid == os.getpid():
        taken -= {descriptor for descriptor in taken if not is_open(descriptor)}  # the one of the listing
    free = sorted(set(range(soft)) - taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[descriptors], hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        gc.enable()


@pytest.mark.parametrize("room", range(1, 8))
async def test_a_start_without_file_descriptors_fails_and_leaves_none_open(supervisor, receiver, room):
    first = python(supervisor, CAT)
    await first.connect(receiver)
    before = psutil.Process().num_fds()
    for pid, process in ((os.getpid(), "the process"), (supervisor._program.pid, "the process supervisor")):
        descriptors_of_a_start = {os.getpid(): 6, supervisor._program.pid: 3}[pid]
        if room >= descriptors_of_a_start:
            continue
        with room_for(room, pid), pytest.raises(TransportError, match=f"{process}.* too many open files"):
            await python(supervisor, CAT).connect(Recorder())
        assert psutil.Process().num_fds() == before
    again = python(supervisor, CAT)
    await again.connect(Recorder())
    await again.close()
    await first.close()


async def test_what_a_killed_gateway_and_its_killed_supervisor_left_is_ended_by_the_next_one(
    supervisor, receiver
):
    stopped = "import os, signal, sys; os.setsid(); os.kill(os.getpid(), signal.SIGSTOP)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-I', '-S', '-c', {stopped!r}]); print(p.pid)"
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, f"{code}; import time; time.sleep(3600)"),
        stdout=asyncio.subprocess.PIPE,
    )
    program, left = map(int, (await asyncio.wait_for(gateway.stdout.readline(), BOUND)).split())
    await until(lambda: psutil.Process(left).status() == psutil.STATUS_STOPPED)
    os.kill(program, signal.SIGSTOP)  # so that it cannot see the end of its gateway before its own
    gateway.kill()
    await until(lambda: not alive(gateway.pid))
    os.kill(program, signal.SIGKILL)
    await gateway.wait()
    assert alive(left)
    transport = python(supervisor, CAT)
    await transport.connect(receiver)
    await until(lambda: not alive(left))
    await transport.close()


GATEWAY = """
import asyncio, os, sys
from mcp_ws_ide.transports.processes import ProcessSupervisor
from mcp_ws_ide.transports.stdio import StdioTransport
from tests.transports.peers import Recorder

async def main():
    supervisor, seen = ProcessSupervisor(), Recorder()
    args = ["-I", "-S", "-u", "-c", sys.argv[1]]
    server = StdioTransport(supervisor, command=sys.executable, args=args, env={"PATH": os.defpath}, cwd=None)
    await server.connect(seen)
    while not seen.noise:
        await asyncio.sleep(0.01)
    print(supervisor._program.pid, seen.noise[0][1], flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""
"""A gateway with one server, which it is told to start; prints the pid of its supervisor and the server's first line."""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_lines_are_split_for_any_chunks():
    text = b"one\ntwo\r\n" + b"x" * 50 + b"\n\nlast\n"
    for step in range(1, len(text)):
        splitter, lines = LineSplitter(40), []
        for start in range(0, len(text), step):
            lines += splitter.feed(text[start : start + step])
        assert lines == [b"one", b"two\r", b"", b"last"]
        assert splitter.skipped == 50


async def test_many_starts_at_once_with_large_environments_all_succeed(supervisor):
    receivers = [Recorder() for _ in range(12)]
    environment = {"PATH": os.defpath, **{f"V{n}": "x" * 100_000 for n in range(4)}}
    transports = [python(supervisor, CAT, env=environment) for _ in receivers]
    await asyncio.gather(*(t.connect(r) for t, r in zip(transports, receivers, strict=True)))
    for transport in transports:
        transport.send(b'{"n":1}')
    await until(lambda: all(receiver.messages == [b'{"n":1}'] for receiver in receivers))
    await asyncio.gather(*(transport.close() for transport in transports))
    assert {receiver.reasons[0] for receiver in receivers} == {"the process exited with code 0"}


async def test_a_start_cancelled_while_it_waits_for_the_supervisor_leaves_nothing(supervisor):
    first = python(supervisor, CAT)
    await first.connect(Recorder())
    os.kill(supervisor._program.pid, signal.SIGSTOP)
    before = os.listdir("/proc/self/fd")
    huge = {"PATH": os.defpath, **{f"V{n}": "x" * 100_000 for n in range(10)}}
    starts = [asyncio.ensure_future(python(supervisor, CAT, env=huge).connect(Recorder())) for _ in range(3)]
    await until(lambda: supervisor._out)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    os.kill(supervisor._program.pid, signal.SIGCONT)
    answering = Recorder()
    last = python(supervisor, CAT)
    await last.connect(answering)
    last.send(b'{"n":1}')
    await until(lambda: answering.messages)
    children = psutil.Process(supervisor._program.pid).children
    await until(lambda: len(children()) == 2, what="that only the first and the last run")


async def test_a_server_that_closes_its_stdout_is_ended(supervisor, receiver):
    transport = python(supervisor, "import os, time; os.close(1); time.sleep(600)", eof_grace=0.2)
    await transport.connect(receiver)
    await until(lambda: receiver.reasons)
    assert receiver.reasons == ["the process closed its stdout but did not exit"]
    assert not psutil.pid_exists(transport.pid)


async def test_a_flood_of_short_lines_leaves_the_others_their_turn(supervisor):
    """A turn of the event loop is short, also while a server writes noise as fast as it can."""

    class Slow(Recorder):
        def noise_received(self, source: str, text: str) -> None:
            # what redaction and the tap take for a line
            end = time.thread_time() + 0.00002 * len(text.split("\n"))
            while time.thread_time() < end:
                pass

    transport = python(supervisor, "while True: print('x\\n' * 50000)")
    await transport.connect(Slow())
    longest, end = 0.0, time.thread_time() + 1
    while time.thread_time() < end:  # processor time: how long others keep it does not matter
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    await transport.close()
    assert longest < 1, "a read of 256 KiB has 131,072 lines, which take 2.6 s"


def test_a_directory_in_place_of_a_program_is_named(tmp_path):
    request = {"argv": [str(tmp_path)], "cwd": None}
    assert (
        spawn_error(PermissionError(), request)
        == f"{str(tmp_path)!r} is a directory; give the path of a program"
    )
