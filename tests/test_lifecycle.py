"""However Jupyter ends, no server process outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import FAST_SERVER, Peer, wait_until

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


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["SIGKILL", "SIGINT", "SIGHUP", "SIGTERM", "shutdown"])
async def test_no_process_is_left_when_jupyter_ends(make_jupyter, tmp_path: Path, way: str):
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    tag = f"{os.getpid()}-{way}"
    server = {
        "command": sys.executable,
        "args": ["-I", "-S", str(script), *FAST_SERVER["args"]],
        "env": {"FAMILY_TAG": tag},
    }
    own = make_jupyter({"fast": server})
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
