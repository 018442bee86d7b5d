"""A program in a fork behaves as one that was started alone."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import BOUND, wait_until
from tests.prefork import Prefork

PROGRAM = """
import os, signal, sys
print(os.environ["HOME"], sys.argv[1:], os.path.basename(os.getcwd()), sys.stdin.readline().strip(), flush=True)
print("to stderr", file=sys.stderr)
how = sys.stdin.readline().strip()
if how.startswith("SIG"):
    os.kill(os.getpid(), signal.Signals[how])
sys.exit(int(how or 0))
"""


@pytest.fixture(scope="module", params=[True, False])
def prefork(request) -> Iterator[Prefork]:
    """Begun, and not begun: then the same command runs the program without a fork."""
    made = Prefork("json")
    if request.param:
        made.begin()
    yield made
    made.stop()


@pytest.fixture
def program(prefork, tmp_path) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return prefork.command(str(file), "a", "b c")


@pytest.mark.parametrize(("how", "code"), [("0", 0), ("3", 3), ("SIGTERM", -signal.SIGTERM)])
def test_pipes_arguments_environment_and_exit_code_are_those_of_a_program(program, tmp_path, how, code):
    done = subprocess.run(
        program,
        input=f"line\n{how}\n",
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        env={"HOME": "/somewhere"},
        cwd=tmp_path,
    )
    assert done.stdout == f"/somewhere ['a', 'b c'] {tmp_path.name} line\n"
    assert (done.stderr, done.returncode) == ("to stderr\n", code)


LAST = """
import atexit, os, sys, threading
before = os.getpid()
print("printed")
atexit.register(print, "at the end")
threading.Thread(target=lambda: threading.main_thread().join() or print("thread")).start()
{how}
"""


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(False)", 0, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit('a reason')", 1, "a reason"),
        ("raise ValueError('a fault')", 1, "ValueError: a fault"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
        ("sys.stdout.flush(); sys.stdout.close()", 0, ""),
    ],
)
def test_threads_callbacks_and_output_end_as_those_of_a_program(prefork, tmp_path, how, code, told):
    file = tmp_path / "program.py"
    file.write_text(LAST.format(how=how))
    done = subprocess.run(
        prefork.command(str(file)), capture_output=True, text=True, timeout=BOUND, check=False, cwd=tmp_path
    )
    assert done.returncode == code
    assert told in done.stderr
    expected = "printed\n" if "close" in how else "printed\nthread\nat the end\n"
    assert done.stdout == expected


def test_a_closed_pipe_is_reported_as_by_a_program(prefork, tmp_path):
    file = tmp_path / "program.py"
    file.write_text("print('lost')\n")
    with subprocess.Popen(
        prefork.command(str(file)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.wait(BOUND) == 120
        assert b"BrokenPipeError" in process.stderr.read()


def test_the_fork_ends_when_what_stands_for_it_is_killed(program):
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("line\n")
        process.stdin.flush()
        process.stdout.readline()
        process.kill()
        assert process.stdout.read() == "", "nobody holds the pipe any more"


def test_a_long_living_fork_has_a_session_a_log_and_an_exit_code(tmp_path: Path):
    prefork, log = Prefork("json"), tmp_path / "log"
    file = tmp_path / "program.py"
    file.write_text("import os, time\nprint(os.getsid(0) == os.getpid(), flush=True)\ntime.sleep(600)\n")
    try:
        with log.open("wb") as output:
            fork = prefork.start([str(file)], {}, output)
        wait_until(lambda: log.read_text() == "True\n")
        assert fork.poll() is None
        fork.terminate()
        assert fork.wait(BOUND) == -signal.SIGTERM
        assert not psutil.pid_exists(fork.pid)
    finally:
        prefork.stop()


def test_a_shared_process_forks_for_others_and_does_not_end_with_them(tmp_path):
    file, shared, other = tmp_path / "program.py", Prefork("json"), Prefork("json")
    file.write_text(
        "import os, signal, sys\nassert os.getppid() == int(os.environ['FORKING'])\n"
        "sys.exit(3 + (signal.getsignal(signal.SIGINT) is signal.SIG_IGN))\n"
    )
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        shared.begin()
    finally:
        signal.signal(signal.SIGINT, kept)
    command = other.command(str(file))  # before it knows that it shares
    other.share(shared.address)
    try:
        with (tmp_path / "log").open("wb") as log:
            environment = {"FORKING": str(shared._process.pid)}
            forks = [prefork.start([str(file)], environment, log) for prefork in (other, shared)]
            ran = subprocess.run(command, timeout=BOUND, check=False, env=environment)
            other.stop()
            forks.append(shared.start([str(file)], environment, log))
        assert [fork.wait(BOUND) for fork in forks] == [3, 3, 3]
        assert ran.returncode == 3
    finally:
        shared.stop()
