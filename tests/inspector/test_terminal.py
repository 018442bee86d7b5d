"""The full-screen inspector in a real terminal: tmux, a shell's view of it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import uuid
from collections.abc import AsyncIterator, Callable

import psutil
import pytest

from mcp_ws_ide.inspector.app.shutdown import LEAVE
from mcp_ws_ide.inspector.recording import Header
from tests.conftest import BOUND, Jupyter, Peer, until
from tests.inspector.records import Transcript, call
from tests.programs import need

TMUX = shutil.which("tmux")


class Terminal:
    """A tmux server of its own with one window of 80 × 24."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        need(TMUX, "tmux")
        self.name = f"mcp-ws-{uuid.uuid4().hex}"
        environment = {key: value for key, value in environment.items() if key != "TMUX"}
        # A shell says the exit code: tmux itself does not always collect it.
        command = ["sh", "-c", '"$@"; printf "\\nended with %s.\\n" $?; exec sleep 600', "sh", *command]
        self.run(
            "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", *command, environment=environment
        )

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [str(TMUX), "-L", self.name, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    @property
    def screen(self) -> str:
        return self.run("capture-pane", "-p")

    @property
    def ended(self) -> str:
        """The exit code, once there is one."""
        found = re.search(r"^ended with (\d+)\.$", self.screen, re.MULTILINE)
        return found[1] if found else ""

    async def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            await until(condition, BOUND)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true; the screen:\n{self.screen}") from None


@pytest.fixture
async def terminal(jupyter: Jupyter) -> AsyncIterator[Terminal]:
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli"]
    environment = {**jupyter.environment, "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()}
    started = Terminal(command, environment)
    try:
        yield started
    finally:
        await asyncio.to_thread(started.run, "kill-server")


async def test_it_attaches_without_arguments_shows_traffic_and_quits(jupyter, terminal):
    await terminal.until(lambda: "LIVE" in terminal.screen, "the link")
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        evil = "\x1b]2;0wned\x07"
        await peer.send(id=1, method="tools/call", params={"name": evil})
        await peer.receive()
        await terminal.until(lambda: "\\x1b]2;0wned" in terminal.screen, "the call")
        assert "0wned" not in terminal.run("display-message", "-p", "#{pane_title}")
        terminal.keys("/", "status:err", "Enter")
        await terminal.until(lambda: "/status:err" in terminal.screen, "the filter")
        terminal.keys("3")
        await terminal.until(
            lambda: "gateway" in terminal.screen and "ERR 1" in terminal.screen, "the ladder"
        )
        terminal.keys("?")
        await terminal.until(lambda: "follow the newest row" in terminal.screen, "help")
        terminal.keys("q")
        await terminal.until(lambda: "follow the newest row" not in terminal.screen, "the end of help")
    terminal.keys("q")
    await terminal.until(lambda: terminal.ended == "0", "the end")


async def test_q_ends_it_at_once_even_if_the_gateway_hangs(jupyter, terminal, request):
    await terminal.until(lambda: "LIVE" in terminal.screen, "the link")
    jupyter.process.send_signal(signal.SIGSTOP)
    request.addfinalizer(lambda: jupyter.process.send_signal(signal.SIGCONT))
    hanging = psutil.Process(jupyter.process.pid)
    await until(lambda: hanging.status() == psutil.STATUS_STOPPED)
    shell = psutil.Process(int(terminal.run("display-message", "-p", "#{pane_pid}")))
    (inspector,) = shell.children()
    await terminal.until(lambda: len(inspector.net_connections("tcp")) > 1, "a question beside the tap")
    await terminal.until(lambda: "NO ANSWER for" in terminal.screen, "that it does not answer")
    terminal.keys("q")
    async with asyncio.timeout(LEAVE - 3):  # before it would be ended the hard way
        await terminal.until(lambda: terminal.ended == "0", "the end")


def take_terminal(controlling: bool) -> None:
    """In a child process: standard input is its terminal, and its parent ignored SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.setsid()
    if controlling:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("controlling", [True, False], ids=["told", "untold"])
@pytest.mark.parametrize("shown", [b"\x1b[?1049h", b"Traffic", b"LIVE"], ids=["at-start", "painting", "live"])
def test_it_ends_with_its_terminal(jupyter, controlling, shown):
    """Even if no signal reports the end, and while its output is not read."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    inspector = subprocess.Popen(
        [sys.executable, "-m", "mcp_ws_ide.inspector.cli"],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**jupyter.environment, "TERM": "xterm-256color"},
        preexec_fn=lambda: take_terminal(controlling),
    )
    os.close(its)
    try:
        painted = b""
        while shown not in painted:
            readable, _, _ = select.select([ours], [], [], 30)
            assert readable, painted[-2000:]
            painted += os.read(ours, 65536)
        os.close(ours)
        assert inspector.wait(LEAVE - 3) != 0, "it ended in order, and did not have to be ended"
    finally:
        inspector.kill()
        inspector.wait(BOUND)


@pytest.mark.parametrize("arguments", [["attach"], ["open", "r.jsonl"]])
def test_a_terminal_without_escape_sequences_is_told_what_to_use_instead(arguments):
    ours, its = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-m", "mcp_ws_ide.inspector.cli", *arguments],
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
        timeout=BOUND,
        check=False,
    )
    os.close(its)
    os.close(ours)
    assert ran.returncode == 2
    assert "TERM is 'dumb'; use '" in ran.stderr


async def test_an_interrupt_ends_it_with_130(terminal):
    await terminal.until(lambda: "LIVE" in terminal.screen, "the link")
    shell = psutil.Process(int(terminal.run("display-message", "-p", "#{pane_pid}")))
    (inspector,) = shell.children()
    inspector.send_signal(signal.SIGINT)
    await terminal.until(lambda: terminal.ended == "130", "the end")


async def test_a_recording_opens_from_a_recording_and_q_returns(tmp_path):
    t = Transcript()
    for name in ("first", "second"):
        text = "\n".join([Header(1.8e9).line(), t.message("c>", call(1, f"tool-{name}"))])
        (tmp_path / f"{name}.jsonl").write_text(text)
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "open", str(tmp_path / "first.jsonl")]
    variables = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()}
    started = Terminal(command, variables)
    try:
        await started.until(lambda: "tool-first" in started.screen, "the recording")
        started.keys("o")
        await started.until(lambda: "open a recording" in started.screen, "the question")
        started.keys("-l", str(tmp_path / "second.jsonl"))
        started.keys("Enter")
        await started.until(lambda: "tool-second" in started.screen, "the other recording")
        started.keys("q")
        await started.until(lambda: "tool-first" in started.screen, "the first one again")
        started.keys("q")
        await started.until(lambda: started.ended == "0", "the end")
    finally:
        await asyncio.to_thread(started.run, "kill-server")


async def test_it_fills_the_terminal_whatever_columns_and_lines_are_set_to(jupyter):
    """As in JupyterLab, whose terminals set COLUMNS and LINES before they know how large they are."""
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli"]
    narrow = {"COLUMNS": "60", "LINES": "10", "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()}
    started = Terminal(command, {**jupyter.environment, **narrow})
    try:
        await started.until(lambda: "LIVE" in started.screen, "the link")
        assert "quit" in started.screen.rstrip().split("\n")[-1]
        assert len(started.screen.rstrip("\n").split("\n")) == 24
        started.run("resize-window", "-x", "120", "-y", "40")
        await started.until(
            lambda: "quit" in (started.screen.split("\n") + [""] * 40)[39],
            "the last line of a larger terminal",
        )
    finally:
        await asyncio.to_thread(started.run, "kill-server")
