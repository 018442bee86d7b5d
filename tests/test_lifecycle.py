"""However Jupyter ends, no server process outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import WebSocketException

from tests.conftest import FAST_SERVER, Jupyter, Peer, until, wait_until

FAMILY = """
import subprocess, sys, os
sleeper = [sys.executable, "-I", "-S", "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", "FAMILY_MARK"]
subprocess.Popen(sleeper, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
subprocess.Popen(sleeper, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def family(tag: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        environ = process.info["environ"] or {}
        if environ.get("FAMILY_TAG") == tag and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def with_a_family(folder: Path, tag: str) -> dict[str, Any]:
    """The fast server, with two children that end by SIGKILL alone, one of them in a session of its own."""
    script = folder / "family.py"
    script.write_text(FAMILY)
    arguments = ["-I", "-S", str(script), *FAST_SERVER["args"]]
    return {"command": sys.executable, "args": arguments, "env": {"FAMILY_TAG": tag}}


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["SIGKILL", "SIGINT", "SIGHUP", "SIGTERM", "shutdown"])
async def test_no_process_is_left_when_jupyter_ends(make_jupyter, tmp_path: Path, way: str):
    tag = f"{os.getpid()}-{way}"
    own = make_jupyter({"fast": with_a_family(tmp_path, tag)})
    links = [await own.connect("fast") for _ in range(10)]
    for link in links:
        await Peer(link).initialize()
    wait_until(lambda: len(family(tag)) == 30, what="ten servers with two grandchildren each")

    if way == "shutdown":
        own.request("POST", "api/shutdown", None, {"Authorization": f"token {own.token}"})
    else:
        own.process.send_signal(getattr(signal, way))
        if way == "SIGINT":
            own.process.send_signal(signal.SIGINT)
    await asyncio.to_thread(wait_until, lambda: not family(tag), 20.0, "the end of every server process")
    await asyncio.to_thread(own.process.wait, 15)
    await asyncio.gather(*(link.wait_closed() for link in links))


def supervisor_of(jupyter: Jupyter) -> psutil.Process:
    children = psutil.Process(jupyter.process.pid).children()
    (found,) = [child for child in children if "supervisor.py" in " ".join(child.cmdline())]
    return found


async def test_no_server_is_left_when_its_supervisor_is_killed_and_the_next_one_starts(
    make_jupyter, tmp_path
):
    tag = f"{os.getpid()}-orphans"
    own = make_jupyter({"fast": with_a_family(tmp_path, tag)})
    async with own.connect("fast") as link:
        await Peer(link).initialize()
        wait_until(lambda: len(family(tag)) == 3, what="a server with two grandchildren")
        supervisor_of(own).kill()
        await asyncio.to_thread(wait_until, lambda: not family(tag), 10.0, "the end of every server process")
        await link.wait_closed()
        assert link.close_code == 4502
    async with own.connect("fast") as link:
        assert "result" in await Peer(link).initialize()


async def test_a_supervisor_that_hangs_leaves_nothing_when_jupyter_ends(make_jupyter, tmp_path):
    tag = f"{os.getpid()}-hanging"
    own = make_jupyter({"fast": with_a_family(tmp_path, tag)})
    async with own.connect("fast") as link:
        await Peer(link).initialize()
        wait_until(lambda: len(family(tag)) == 3, what="a server with two grandchildren")
        supervisor_of(own).suspend()
        own.process.terminate()
        await asyncio.to_thread(own.process.wait, 20)
        await asyncio.to_thread(wait_until, lambda: not family(tag), 10.0, "the end of every server process")


async def test_a_stop_signal_that_arrives_while_a_log_line_is_written_stops_jupyter(tmp_path):
    """Nobody reads the log, so that the gateway waits in the middle of a line until the signal has arrived."""
    os.mkfifo(tmp_path / "jupyter.log")
    log = os.open(tmp_path / "jupyter.log", os.O_RDONLY | os.O_NONBLOCK)
    own = Jupyter(tmp_path, {"fast": FAST_SERVER})

    async def visit() -> None:
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            await (await own.connect("fast")).close()

    def waits_in_write() -> bool:
        return Path(f"/proc/{own.process.pid}/syscall").read_text().split()[1:2] == ["0x2"]  # stderr

    def has_ended() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(log, 1 << 16)
        return own.process.poll() is not None

    os.read(log, 1 << 16)
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
    async with asyncio.TaskGroup() as group:
        visits = [group.create_task(visit()) for _ in range(60)]
        await until(waits_in_write)
        own.process.send_signal(signal.SIGTERM)
        await until(has_ended)
        for one in visits:
            one.cancel()
    assert own.process.returncode == 0
    os.close(log)
