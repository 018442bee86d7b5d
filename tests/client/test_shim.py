"""``mcp-ws-connect``: the program that launches it sees a stdio server that survives cuts."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_ws_ide.client.shim import LAST_ANSWERS, LAST_LINES
from mcp_ws_ide.ide_entries import IDES
from tests.chaos import ChaosLink
from tests.conftest import BOUND, COMMANDS, FAST_SERVER, MODERN, Jupyter, child, wait_until

COMMAND = [sys.executable, "-m", "mcp_ws_ide.client.shim"]


def run(
    jupyter: Jupyter, *arguments: str, given: str = "", **environment: str
) -> subprocess.CompletedProcess:
    COMMANDS.begin()
    return subprocess.run(
        COMMANDS.command(*COMMAND[1:], *arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        env={**jupyter.environment, **environment},
    )


@pytest.mark.parametrize("transport", [(), ("--transport", "poll")])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_an_unmodified_stdio_client_works_through_cuts(jupyter, mode, transport):
    async with ChaosLink(jupyter.port, 3) as link:
        url = jupyter.endpoint("demo").replace(str(jupyter.port), str(link.port))
        parameters = StdioServerParameters(
            command=COMMAND[0],
            args=[*COMMAND[1:], *transport, url],
            env={**jupyter.environment, "MCP_WS_TOKEN": jupyter.token},
        )
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)
            if len(seen) in (2, 4):
                link.cut("reset")

        async with asyncio.timeout(BOUND), Client(stdio_client(parameters), mode=mode) as client:
            result = await client.call_tool("slow", {"steps": 6, "delay": 0.05}, progress_callback=progress)
            assert result.content[0].text == "6 steps done"
            assert seen == [1, 2, 3, 4, 5, 6]


async def test_the_loss_of_a_session_is_reported_once(jupyter):
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    async with child(*COMMAND, "absent", env=jupyter.environment, **pipes) as process:
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(BOUND):
            errors = (await process.stderr.read()).decode()
        assert errors.count("command not found") == 1, errors
        assert errors.startswith("mcp-ws-connect: the session was lost: ")


def test_lines_pass_verbatim_and_open_requests_are_answered_after_the_end_of_stdin(jupyter):
    call = {"name": "slow", "arguments": {"steps": 1, "delay": 0.3}, "_meta": MODERN}
    request = {"jsonrpc": "2.0", "id": "ü", "method": "tools/call", "params": call}
    done = run(jupyter, "fast", given="\ufeff" + json.dumps(request) + "\n\n{nonsense\n")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["id"] for answer in answers} == {None, "ü"}


def test_no_line_of_stdin_ends_the_session_and_each_request_is_answered(jupyter):
    def call(number: int, **more: object) -> dict:
        return {"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {"_meta": MODERN}, **more}

    lines = [
        json.dumps(call(1), indent=1),
        json.dumps([call(2)]),
        json.dumps(call(3)) + json.dumps(call(4)),
        *[json.dumps(call(5, jsonrpc="1.0"))] * 9,
        json.dumps(call(6)),
    ]
    done = run(jupyter, "fast", given="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["id"] for answer in answers if "result" in answer} == {1, 2, 3, 4, 6}
    assert {answer["id"] for answer in answers if "error" in answer} == {5}
    assert len(done.stderr.splitlines()) == 4, "one notice of each kind"


def test_a_person_in_a_terminal_learns_that_it_is_connected_and_what_it_expects(jupyter):
    for arguments, shown in ((), True), (("--quiet",), False):
        keyboard, terminal = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "fast", *arguments],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=jupyter.environment,
            start_new_session=True,
        )
        os.close(terminal)
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
        with process:
            os.write(keyboard, json.dumps(request).encode() + b"\n")
            assert json.loads(process.stdout.readline())["id"] == 1
            os.write(keyboard, b"\x04")
            _, errors = process.communicate(timeout=BOUND)
        os.close(keyboard)
        assert process.returncode == 0
        assert ("connected to fast; reading MCP messages from this terminal" in errors.decode()) is shown
    assert run(jupyter, "fast").stderr == "", "a client that starts it knows what it does"


def test_mistakes_end_with_a_message(jupyter):
    for arguments, code, word in (
        (["nope"], 1, "is not configured"),
        (["no/name"], 2, "server name"),
        ([], 2, "NAME|URL"),
        (["config", "emacs", "fast"], 2, "invalid choice"),
        (["config", "vscode", "nope"], 1, "configured servers: "),
        (["config", "vscode", "+fast+git"], 2, "a group in mcp.json"),
        (["config", "vscode", "fast", "--days", "nan"], 2, "not above 0"),
        (["fast", "--give-up-after", "-1"], 2, "not above 0"),
        (["fast", "--give-up-after", "1h"], 2, "'1h' is not a number; give a number above 0"),
        (["fast", "--token-file", "/dev/null"], 2, "is empty"),
        (["localhost:8888/x"], 2, "http:// URL"),
        (["ftp://x/y"], 2, "begins with ws://"),
        (["http://"], 2, "is not a valid address"),
        (["ws://localhost:99999/mcp-ws/servers/fast"], 2, "65535"),
        (["config", "vscode", "fast", "--url", "http://localhost:99999"], 2, "65535"),
        (["fast", "--token-file", "/no/such/file"], 2, "cannot be read: No such file or directory\n"),
        ([jupyter.url], 1, "ends in /mcp-ws/servers/NAME"),
        (["fast", "--url", "http://127.0.0.1:9/"], 1, "reached"),
    ):
        done = run(jupyter, *arguments)
        assert (done.returncode, word in done.stderr) == (code, True), done.stderr
    elsewhere = run(jupyter, jupyter.endpoint("fast"), JUPYTER_TOKEN="", JUPYTER_RUNTIME_DIR="/nowhere")
    assert elsewhere.returncode == 1
    assert "; give a token with --token-file, MCP_WS_TOKEN or JUPYTER_TOKEN" in elsewhere.stderr
    wrong = run(jupyter, jupyter.endpoint("fast"), MCP_WS_TOKEN="wrong-secret")
    assert wrong.returncode == 1
    assert "refused the credential" in wrong.stderr
    assert "wrong-secret" not in wrong.stderr


def test_at_the_address_of_a_running_gateway_its_token_is_used_and_nowhere_else(jupyter, tmp_path):
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}})
    for variables in ({"JUPYTER_TOKEN": ""}, {"JUPYTER_TOKEN": jupyter.token}):
        for address in (jupyter.endpoint("fast"), f"http{jupyter.endpoint('fast').removeprefix('ws')}"):
            done = run(jupyter, address, given=request + "\n", **variables)
            assert json.loads(done.stdout)["result"]["tools"], done.stderr
    asked = []

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers))
            self.send_error(401)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as foreign:
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        for path in ("mcp-ws/servers/fast", "other"):
            done = run(jupyter, f"ws://127.0.0.1:{foreign.server_port}/{path}")
            assert done.returncode == 1
        foreign.shutdown()
    assert len(asked) >= 2
    assert not [headers for headers in asked if jupyter.token in headers]


def test_headers_come_from_a_file(jupyter, tmp_path):
    file = tmp_path / "headers"
    file.write_text(f"Authorization: Bearer {jupyter.token}\n\nX-Other:x\n")
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}})
    elsewhere = {"JUPYTER_TOKEN": "", "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    url = jupyter.endpoint("fast")
    done = run(jupyter, url, "--header-file", str(file), given=request + "\n", **elsewhere)
    assert json.loads(done.stdout)["result"]["tools"], done.stderr
    assert run(jupyter, url, **elsewhere).returncode == 1, "nothing else knows the token"
    for text, word in (
        ("fine: x\ns3cret without a name\n", "line 2"),
        ("Bad Name: s3cret\n", "line 1"),
        ("Host: s3cret\n", "'Host' cannot be set: the transport sets it from the address"),
        ("Cookie: x\nSec-WebSocket-Key: s3cret\n", "line 2"),
        ("Authorization: x\nauthorization: s3cret\n", "occurs twice (also as 'Authorization')"),
    ):
        file.write_text(text)
        wrong = run(jupyter, url, "--header-file", str(file))
        assert (wrong.returncode, word in wrong.stderr, "s3cret" in wrong.stderr) == (2, True, False), (
            wrong.stderr
        )
    file.write_text("Authorization: Basic s3cret\n")
    both = run(jupyter, url, "--header-file", str(file), MCP_WS_TOKEN=jupyter.token)
    assert (both.returncode, "beside a token" in both.stderr, "s3cret" in both.stderr) == (2, True, False)
    file.write_text(f"Authorization: Bearer {jupyter.token}\n")
    done = run(jupyter, "fast", "--header-file", str(file), given=request + "\n", JUPYTER_TOKEN="another")
    assert json.loads(done.stdout)["result"]["tools"], "it takes the place of the token that was found"
    missing = run(jupyter, url, "--header-file", str(tmp_path / "absent"))
    assert (missing.returncode, "cannot be read" in missing.stderr) == (2, True)


@pytest.mark.parametrize("ide", sorted(IDES))
def test_printed_entries_work(jupyter, ide, tmp_path):
    done = run(jupyter, "config", ide, "fast", "--url", jupyter.url)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert jupyter.token not in done.stdout
    over_rest = jupyter.rest("POST", "servers/fast/entry", {"ide": ide})[1]
    assert set(over_rest) == set(printed)
    (servers,) = [value for key, value in printed.items() if key != "inputs"]
    entry = servers[0] if isinstance(servers, list) else servers["fast"]
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    if "url" in entry:
        headers = {**entry["headers"], "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
        answer = httpx.post(entry["url"], json=request, headers=headers, timeout=BOUND).json()
    else:
        environment = entry["env"]
        if isinstance(environment, list):
            environment = {item["name"]: item["value"] for item in environment}
        command = shutil.which(entry["command"], path=str(Path(sys.executable).parent))
        assert command is not None
        launched = subprocess.run(
            [command, *entry["args"]],
            input=json.dumps(request) + "\n",
            env={"PATH": "", "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=True,
        )
        answer = json.loads(launched.stdout)
    assert answer["result"]["tools"]


def test_an_entry_without_a_token_lets_the_ide_ask(jupyter):
    done = run(jupyter, "config", "vscode", "fast", "--no-token", "--url", jupyter.url)
    printed = json.loads(done.stdout)
    assert printed["inputs"][0]["password"] is True
    assert "${input:fast-token}" in printed["servers"]["fast"]["headers"]["Authorization"]
    before = len(jupyter.rest("GET", "tokens")[1]["tokens"])
    assert jupyter.rest("POST", "servers/fast/entry", {"ide": "cursor", "token": False})[0] == 200
    assert len(jupyter.rest("GET", "tokens")[1]["tokens"]) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_session_at_once(jupyter, number):
    def sessions() -> set[str]:
        return {s["id"] for s in jupyter.rest("GET", "sessions")[1]["sessions"] if s["server"] == "fast"}

    others = sessions()
    process = subprocess.Popen(
        [*COMMAND, jupyter.endpoint("fast")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**jupyter.environment, "MCP_WS_TOKEN": jupyter.token},
    )
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    with process:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        assert b'"tools"' in process.stdout.readline()

        (mine,) = sessions() - others
        process.send_signal(number)
        process.wait(BOUND)
    wait_until(lambda: mine not in sessions(), what="the end of the session")


@pytest.fixture
def launched(jupyter):
    """The connected command with pipes, and a function that sends it a call whose response has ``size`` bytes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([*COMMAND, "fast"], env=jupyter.environment, **pipes)

    def call(number: int, size: int) -> None:
        params = {"name": "echo", "arguments": {"text": "x" * size}, "_meta": MODERN}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()

    call(0, 1)
    assert json.loads(process.stdout.readline())["id"] == 0
    with process:
        yield process, call
        process.kill()


def test_the_end_of_stdin_is_noticed_even_while_stdout_is_not_read(launched):
    process, call = launched
    for number in range(1, 41):
        call(number, 100_000)
    process.stdin.close()
    assert process.wait(LAST_ANSWERS + LAST_LINES + 15) == 1, "not everything could be said"


def test_a_slow_reader_gets_everything_that_arrives_after_the_end_of_stdin(launched):
    process, call = launched
    for number in range(1, 41):
        call(number, 100_000)
    process.stdin.close()
    assert [json.loads(line)["id"] for line in process.stdout] == list(range(1, 41))
    assert process.wait(BOUND) == 0


def test_it_ends_when_stdout_is_closed_even_while_idle(jupyter, launched):
    process, _ = launched
    before = jupyter.rest("GET", "health")[1]["sessions"]
    process.stdout.close()
    assert process.wait(BOUND) == 0
    assert process.stderr.read() == b""
    wait_until(lambda: jupyter.rest("GET", "health")[1]["sessions"] < before)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_reported(jupyter):
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}})
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "fast"],
            input=request.encode() + b"\n",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=BOUND,
            check=False,
            env=jupyter.environment,
        )
    assert done.returncode == 2
    assert done.stderr == b"mcp-ws-connect: stdout cannot be written: No space left on device\n"


def test_stdin_may_be_a_file_or_nothing(jupyter, tmp_path):
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    given = tmp_path / "requests"
    given.write_text(json.dumps(request))
    environment = {**jupyter.environment, "MCP_WS_TOKEN": jupyter.token}
    for path, expected in ((given, b'"tools"'), (Path("/dev/null"), b"")):
        with path.open("rb") as stdin:
            done = subprocess.run(
                [*COMMAND, jupyter.endpoint("fast")],
                stdin=stdin,
                capture_output=True,
                timeout=BOUND,
                env=environment,
            )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


class Launched:
    """``mcp-ws-connect`` as a client of MCP launches it."""

    def __init__(self, jupyter: Jupyter, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments, jupyter.endpoint("fast")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**jupyter.environment, "MCP_WS_TOKEN": jupyter.token},
        )

    def say(self, **message: object) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, own: object) -> dict:
        while (answer := json.loads(self.process.stdout.readline())).get("id") != own:
            pass
        return answer

    def shake_hands(self) -> None:
        client = {"clientInfo": {"name": "t", "version": "1"}, "capabilities": {}}
        self.say(id=0, method="initialize", params={"protocolVersion": "2025-11-25", **client})
        self.hear(0)
        self.say(method="notifications/initialized")


@pytest.mark.parametrize(("era", "transport"), [("modern", "poll"), ("legacy", "websocket")])
def test_open_requests_of_a_lost_session_are_answered_with_an_error(make_jupyter, era, transport):
    """The gateway is killed during the call; another one, without its sessions, takes its port."""
    first = make_jupyter({"fast": FAST_SERVER})
    one = Launched(first, "--transport", transport)
    modern = era == "modern"
    meta = {"_meta": MODERN} if modern else {}
    with one.process:
        if not modern:
            one.shake_hands()
        slow = {"name": "slow", "arguments": {"steps": 1, "delay": 3600}, **meta}
        one.say(id="long", method="tools/call", params=slow)
        if modern:
            one.say(id="listen", method="subscriptions/listen", params=meta)
        running = [1 + modern]
        wait_until(lambda: [s["in_flight"] for s in first.rest("GET", "sessions")[1]["sessions"]] == running)
        first.process.kill()
        first.process.wait()
        while b"reconnecting in" not in one.process.stderr.readline():
            pass
        one.say(id="late", method="tools/call", params={**slow, "arguments": {"steps": 1, "delay": 0}})
        make_jupyter({"fast": FAST_SERVER}, port=first.port)
        lost = {own: one.hear(own) for own in (["long", "listen"] if modern else ["long"])}
        assert {answer["error"]["data"]["outcome"] for answer in lost.values()} == {"unknown"}
        assert {answer["error"]["code"] for answer in lost.values()} == {-31006}
        if modern:  # a new session takes what was not sent
            assert one.hear("late")["result"]["content"][0]["text"] == "1 steps"
            one.process.stdin.close()
            assert one.process.wait(BOUND) == 0
        else:  # what was negotiated is lost: whoever launched this must begin anew
            assert one.hear("late")["error"]["data"]["outcome"] == "not_sent"
            assert one.process.wait(BOUND) == 1
