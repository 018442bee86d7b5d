"""``mcp-ws-inspect -- COMMAND ARGS``: one server behind its own gateway, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect

from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.inspector import private
from mcp_ws_ide.inspector.private import server_name
from mcp_ws_ide.inspector.recording import Header, RecordingError
from mcp_ws_ide.inspector.wrap_command import WrapRecording
from tests.conftest import BOUND, FAST_SERVER, Peer, interrupt, until
from tests.inspector.test_cli import COMMAND
from tests.inspector.test_terminal import Terminal

WRAPPED = [FAST_SERVER["command"], *FAST_SERVER["args"]]


def environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    return {**kept, "TMPDIR": str(home), "PYTHONPATH": os.getcwd()}


async def start(home: Path, *arguments: str) -> tuple[asyncio.subprocess.Process, dict[str, str]]:
    """Run it in a pipe; return the process and the connection details that it printed."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said: dict[str, str] = {}
    async with asyncio.timeout(BOUND):
        while "connected" not in said:
            line = (await process.stderr.readline()).decode()
            assert line, "it ended"
            word, _, rest = line.strip().partition(" ")
            said[word] = rest.strip()
    return process, said


def family(pid: int) -> list[psutil.Process]:
    """Return the descendants of a process."""
    return psutil.Process(pid).children(recursive=True)


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that have not ended; one that has may be a zombie."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def test_it_serves_shows_the_traffic_and_leaves_nothing_behind(tmp_path):
    token, port = tmp_path.parent / f"{tmp_path.name}-token", private._free_port()
    process, said = await start(
        tmp_path, "--json", "--port", str(port), "--token-file", str(token), "--", *WRAPPED
    )
    assert said["token"] == token.read_text().strip()
    assert said["websocket"].startswith(f"ws://127.0.0.1:{port}/")
    try:
        headers = {"Authorization": f"Bearer {said['token']}"}
        async with connect(said["websocket"], additional_headers=headers, subprotocols=["mcp"]) as link:
            peer = Peer(link)
            assert (await peer.call("w", "tools/call", {"name": "pid"}))["result"]
        async with asyncio.timeout(BOUND):
            while True:
                record = json.loads(await process.stdout.readline())
                if record["id"] == "w" and record["kind"] == "response":
                    break
        processes = family(process.pid)
        assert len(processes) >= 2
    finally:
        code = await interrupt(process)
    assert code == 130
    assert not running(processes)
    assert list(tmp_path.iterdir()) == []


async def test_the_page_opens_at_the_server_in_a_browser_that_is_given_no_token(tmp_path, monkeypatch):
    browser, given = tmp_path / "browser", tmp_path / "given"
    browser.write_text(f'#!/bin/sh\necho "$1" > {given}.new; stat -c %a "${{1#file://}}" >> {given}.new\n'
                       f'cat "${{1#file://}}" >> {given}.new; mv {given}.new {given}\n')  # fmt: skip
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    process, said = await start(tmp_path, "--page", "--name", "mine", "--", *WRAPPED)
    try:
        await until(given.exists)
        address, mode, page = given.read_text().split("\n", 2)
        assert said["token"] not in address and mode == "600"
        assert said["page"].endswith(f"mcp-ws/?token={said['token']}#/server/mine")
        assert f'url={said["page"]}"' in page
    finally:
        await interrupt(process)
    await until(lambda: not Path(address.removeprefix("file://")).exists())


async def test_nothing_outlives_it_when_it_is_killed(tmp_path):
    process, _ = await start(tmp_path, "--", *WRAPPED)
    processes = family(process.pid)
    process.kill()
    await process.wait()
    await until(lambda: not running(processes), 20)
    left = [path.name for path in tmp_path.iterdir()]
    assert left
    (tmp_path / "mcp-ws-inspect-mine").mkdir()  # whatever has no lock is no gateway's
    assert run(tmp_path, "--", "false").returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mcp-ws-inspect-mine"], "the next one cleans up"


async def test_nothing_outlives_it_when_it_is_killed_as_it_starts(tmp_path):
    def ours() -> list[psutil.Process]:
        named = f"--config={tmp_path}"
        return [p for p in psutil.process_iter(["cmdline"]) if named in " ".join(p.info["cmdline"] or [])]

    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "--",
            *WRAPPED,
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await until(lambda pid=process.pid: psutil.Process(pid).children(), BOUND)
        process.kill()
        await process.wait()
        await until(lambda: not ours(), what="the end of the gateway")


async def test_a_running_gateway_keeps_its_files_when_another_starts(tmp_path):
    process, _ = await start(tmp_path, "--", *WRAPPED)
    try:
        before = list(tmp_path.iterdir())
        done = await asyncio.to_thread(run, tmp_path, "--", "false")
        assert done.returncode == 1
        assert list(tmp_path.iterdir()) == before
    finally:
        code = await interrupt(process)
    assert code == 130


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


def test_a_command_that_cannot_be_run_is_refused_with_2(tmp_path, jupyter):
    plain = tmp_path / "plain"
    plain.write_text("x")
    taken = str(jupyter.port)
    for arguments, words in (
        (["no-such-command"], "command not found: 'no-such-command'; install it, or give its full path"),
        ([str(plain)], "not executable"),
        ([], "COMMAND is missing"),
        (["--port", "99999", "--", "cat"], "'99999' is not a port; give a number from 1 to 65535"),
        (["--port", "0", "--", "cat"], "is not a port"),
        (["--port", taken, "--", "cat"], f"port {taken} is in use; choose another one with --port"),
    ):
        done = run(tmp_path, *([] if "--" in arguments else ["--"]), *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_server_that_exits_at_once_is_reported_with_the_end_of_its_stderr(tmp_path):
    script = 'echo "no key in $1 $WRAPPED_VARIABLE" >&2; exit 7'
    os.environ["WRAPPED_VARIABLE"] = "${HOME} too"
    try:
        done = run(tmp_path, "--env-vars", "WRAPPED_*", "--", "sh", "-c", script, "sh", "${HOME}")
    finally:
        del os.environ["WRAPPED_VARIABLE"]
    assert done.returncode == 1
    assert "is not a working MCP server" in done.stderr
    assert "no key in ${HOME} ${HOME} too" in done.stderr, "arguments and environment arrive as they are"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["cat"], "the server sent the request back instead of answering it"),
        (["sh", "-c", "exec <&-; exit 4"], "the process exited with code 4"),
        (["sh", "-c", "kill -9 $$"], "the process was killed by SIGKILL"),
    ],
)
def test_a_command_that_is_no_mcp_server_is_reported_with_a_cure(tmp_path, command, words):
    done = run(tmp_path, "--", *command)
    assert done.returncode == 1
    assert words in done.stderr
    assert "must start an MCP server" in done.stderr


def test_a_command_that_does_not_answer_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(private, "FIRST_ANSWER", 0.5)
    with private.PrivateGateway(["sleep", "1000"], None, None) as gateway:
        private.announce(gateway, gateway.greet())
    last = capsys.readouterr().err.rstrip().splitlines()[-1]
    assert last == "no response within 0.5 s; the server may still be loading, or not be an MCP server"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/usr/bin/mcp-server-git", "--repo", "x"], "mcp-server-git"),
        ([sys.executable, "-m", "my_server"], "my_server"),
        (["node", "dist/index.js"], "index"),
        (["npx", "-y", "@scope/server-files", "/tmp"], "server-files"),
        (["sh", "-c", "exec thing"], "sh"),
        (["…"], "server"),
    ],
)
def test_a_server_is_named_after_its_program(command, name):
    assert server_name(command) == name


async def test_in_a_terminal_it_opens_the_screens_and_ctrl_c_ends_everything(tmp_path):
    variables = {**environment(tmp_path), "TERM": "xterm-256color"}
    # tmux keeps its socket among the temporary files, which must be empty at the end.
    started = Terminal([*COMMAND, "--", *WRAPPED], variables)
    try:
        await started.until(lambda: "LIVE" in started.screen, "the link")
        pid = int(started.run("display-message", "-p", "#{pane_pid}"))
        processes = await asyncio.to_thread(family, pid)
        started.keys("C-c")
        await started.until(lambda: started.ended == "130", "the end")
        assert not running(processes)
        assert "websocket" in started.run("capture-pane", "-p", "-S", "-200")
    finally:
        await asyncio.to_thread(started.run, "kill-server")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mcp-ws")]


async def test_wrap_is_a_stdio_server_that_is_recorded_and_found_by_the_inspector(tmp_path):
    runtime, record = tmp_path / "runtime", tmp_path / "r.jsonl"
    runtime.mkdir()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("wrap", "--name", "fast", "--record", str(record), "--", *WRAPPED),
        env={**environment(tmp_path), "JUPYTER_RUNTIME_DIR": str(runtime)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    said = {"name": "echo", "arguments": {"text": "said"}}
    answers = []
    async with asyncio.timeout(BOUND):
        for number, (method, params) in enumerate((("initialize", hello), ("tools/call", said))):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            answers.append(json.loads(await process.stdout.readline()))
        (found,) = [json.loads(path.read_text()) for path in runtime.glob("jpserver-*.json")]
        process.stdin.close()
        out, err = await process.communicate()
    assert [answer["id"] for answer in answers] == [0, 1] and out == b""
    assert answers[1]["result"]["content"] == [{"type": "text", "text": "said"}]
    assert f"fast can be inspected: mcp-ws-inspect --url {found['url']}" in err.decode()
    records = map(json.loads, record.read_text().splitlines())
    kinds = [one.get("event") or one.get("method") for one in records]
    assert "initialize" in kinds and "link_closed" in kinds, "from the first to the last message"
    assert process.returncode == 0 and not list(runtime.glob("jpserver-*.json"))


def test_each_launch_of_a_wrapped_server_records_to_a_file_of_its_own(tmp_path, capsys):
    for name in ("r.jsonl", "r-2.jsonl", "r-3.jsonl"):
        recording = WrapRecording(str(tmp_path / "r.jsonl"), Header())
        recording.take(['{"event": "link_closed"}'])
        recording.close()
        assert recording.complete and "link_closed" in (tmp_path / name).read_text()
    assert f"r.jsonl exists; recording to {tmp_path / 'r-3.jsonl'}" in capsys.readouterr().err
    with pytest.raises(RecordingError, match="cannot be written"):
        WrapRecording(str(tmp_path / "nowhere" / "r.jsonl"), Header())


def test_a_wrapped_server_is_carried_on_when_the_disk_is_full(tmp_path, capsys):
    recording = WrapRecording(str(tmp_path / "r.jsonl"), Header())
    recording.take(["{}"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "r.jsonl").stat().st_size, before[1]))
    try:
        recording.take(["{}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    recording.take(['{"event": "link_closed"}'])
    assert recording.complete
    said = capsys.readouterr().err
    assert said.count("stopped after 1 records") == 1 and "File too large" in said


def test_a_token_file_is_written_once_and_a_weak_one_is_refused(tmp_path):
    path = tmp_path / "token"
    token = private.kept_token(str(path))
    assert private.kept_token(str(path)) == token and path.stat().st_mode & 0o777 == 0o600
    for weak in ("short", "with a blank in it, however long"):
        path.write_text(weak)
        with pytest.raises(UnusableArgumentError, match="at least 16 letters"):
            private.kept_token(str(path))
