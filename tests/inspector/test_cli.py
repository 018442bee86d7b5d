"""``mcp-ws-inspect`` as a program, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.inspector.cli import _parser, main
from mcp_ws_ide.sanitise import visible
from tests.conftest import BOUND, COMMANDS, Jupyter, Peer, interrupt, until

COMMAND = [sys.executable, "-m", "mcp_ws_ide.inspector.cli"]


def run(jupyter: Jupyter | None, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    base = jupyter.environment if jupyter is not None else dict(os.environ)
    base = {k: v for k, v in base.items() if k != "JUPYTER_TOKEN"}
    COMMANDS.begin()
    return subprocess.run(
        COMMANDS.command(*COMMAND[1:], *arguments),
        env={**base, **environ},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


async def tail(jupyter: Jupyter, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=jupyter.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def watched(jupyter: Jupyter, process: asyncio.subprocess.Process, wanted: str) -> list[str]:
    """Make traffic until the tail shows it: it does not report when it has attached."""
    lines: list[str] = []

    async def read() -> None:
        async for line in process.stdout:
            lines.append(line.decode())

    reader = asyncio.create_task(read())
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        for number in range(300):
            await peer.call(
                number, "tools/call", {"name": "echo", "arguments": {"text": wanted, "password": "hunter2"}}
            )
            if any(wanted in line for line in lines):
                break
            await asyncio.sleep(0.05)
    await until(lambda: any("link_closed" in line for line in lines), what="the end of the link in the tail")
    reader.cancel()
    return lines


async def test_tail_finds_the_server_and_shows_both_legs_without_secrets(jupyter):
    process = await tail(jupyter)
    lines = await watched(jupyter, process, "w4tch-me")
    assert await interrupt(process) == 130
    text = "".join(lines)
    assert "client →" in text
    assert "tools/call echo id=" in text
    assert "← server" in text
    assert "hunter2" not in text
    assert jupyter.token not in text


async def test_tail_json_prints_one_object_per_record(jupyter):
    process = await tail(jupyter, "tail", "--json", "--server", "fast")
    records = [json.loads(line) for line in await watched(jupyter, process, "w4tch-json")]
    assert await interrupt(process) == 130
    assert {(r["leg"], r["direction"]) for r in records if r["leg"]} == {
        (leg, direction) for leg in ("client", "upstream") for direction in ("in", "out")
    }
    request = next(r for r in records if r["kind"] == "request" and r["leg"] == "client")
    assert json.loads(request["raw"])["params"]["arguments"]["password"] == "••••"
    assert [r["seq"] for r in records] == sorted(r["seq"] for r in records)


def test_tokens_are_minted_listed_and_revoked(jupyter, tmp_path):
    minted = run(jupyter, "token", "mint", "--server", "fast", "--expires", "1h", "--note", "for a test")
    assert minted.stdout.startswith("mcpws_")
    listed = run(jupyter, "token", "list").stdout
    assert re.search(r"fast expires \d{4}-\d\d-\d\d \d\d:\d\d for a test$", listed, re.M)
    token_id = next(line.split()[0] for line in listed.splitlines() if "for a test" in line)
    file = tmp_path / "agent.token"
    file.write_text(minted.stdout)
    refused = run(jupyter, "servers", "--token-file", str(file))
    assert "a gateway token does not open REST; give Jupyter's token" in refused.stderr
    assert run(jupyter, "token", "revoke", token_id).returncode == 0
    assert "for a test" not in run(jupyter, "token", "list").stdout
    assert run(jupyter, "token", "revoke", token_id).returncode == 1


def test_servers_and_sessions_are_listed(jupyter):
    shown = run(jupyter, "servers")
    assert "fast" in shown.stdout
    assert "NO_SUCH_VARIABLE" in shown.stderr
    assert run(jupyter, "sessions").returncode == 0
    for command, member in (
        (["servers"], "servers"),
        (["sessions"], "sessions"),
        (["token", "list"], "tokens"),
    ):
        assert isinstance(json.loads(run(jupyter, *command, "--json").stdout)[member], list)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nonsense"], 2, "invalid choice"),
        (["tail", "tool:run*"], 2, "tail takes no filter: use --server and --session, or"),
        (["tail", "--nope"], 2, "usage: mcp-ws-inspect tail "),
        (["sessions", "fast"], 2, "mcp-ws-inspect sessions: error: unrecognized arguments: fast"),
        (["token", "mint", "--server", "x", "--expires", "soon"], 2, "duration"),
        (["token", "revoke", "../x"], 2, "token id"),
        (
            ["servers", "--url", "http://127.0.0.1:9/"],
            1,
            "reached: Connection refused; check that Jupyter is running",
        ),
        (["servers", "--url", "ftp://x"], 2, "address"),
        (["servers", "--url", "http://localhost:99999"], 2, "65535"),
        (["servers", "--url", "http://[::1/hub/user-redirect/"], 2, "address"),
        (["servers", "--token-file", "/no/such/file"], 2, "token file"),
        (["servers", "--token-file", "/dev/null"], 2, "is empty"),
    ],
)
def test_mistakes_end_with_an_exit_code_and_a_message(jupyter, arguments, code, word):
    done = run(jupyter, *arguments)
    assert done.returncode == code
    assert word in done.stderr


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [("\ufeff%s\r\n", 0, ""), ("t\u00f6k\u20ac", 2, "printable ASCII"), ("a\nb", 2, "printable ASCII")],
)
def test_a_token_file_of_another_editor_is_read_or_refused_with_a_reason(
    jupyter, tmp_path, content, code, word
):
    path = tmp_path / "token"
    path.write_text(content.replace("%s", jupyter.token), encoding="utf-8")
    done = run(jupyter, "servers", "--url", jupyter.url, "--token-file", str(path))
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_token_is_reported_and_never_printed(jupyter):
    done = run(jupyter, "servers", "--url", jupyter.url, JUPYTER_TOKEN="wr0ng-one")
    assert done.returncode == 1
    assert "--token-file" in done.stderr
    assert "wr0ng-one" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("servers",), ("token", "mint", "--server", "fast")], ids=" ".join)
def test_a_full_disk_is_reported(jupyter, arguments):
    """And nothing else: not how to use a token that was never printed."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=jupyter.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=BOUND,
        )
    assert (done.returncode, done.stderr) == (2, "mcp-ws-inspect: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_no_error(tmp_path, monkeypatch, closed):
    line = {"seq": 1, "time": 1, "mono": 1, "kind": "event", "event": "attached", "drops": 0}
    (tmp_path / "r.jsonl").write_text(json.dumps(line))
    monkeypatch.setattr(sys, closed, None)  # as Python has it with >&-
    assert main(["check", str(tmp_path / "r.jsonl")]) == 0
    getattr(sys, closed).close()


@pytest.mark.parametrize(("sink", "code", "said"), [("| true", 0, ""), ("> /dev/full", 2, "No space left")])
def test_help_ends_in_order_where_nobody_reads_it(sink, code, said):
    command = f"{shlex.join(COMMAND)} --help {sink}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.stdout.strip() == str(code)
    assert said in done.stderr and "ignored" not in done.stderr


async def test_tail_ends_when_its_output_is_closed_even_without_traffic(jupyter):
    process = await tail(jupyter, "tail", "--server", "unset")
    await asyncio.wait_for(process.stdout.readline(), BOUND)  # that it watches
    process._transport.get_pipe_transport(1).close()
    try:
        assert await asyncio.wait_for(process.wait(), BOUND) == 0, (await process.stderr.read()).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_a_missing_jupyter_is_reported(tmp_path):
    done = run(None, "servers", JUPYTER_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, "no running Jupyter" in done.stderr) == (1, True)
    assert "'mcp-ws-inspect -- COMMAND' runs an MCP server without one" in done.stderr


def test_help_has_examples_that_are_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    examples = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    assert len(examples) > 8 and all(len(line) < 80 for line in examples)
    for line in examples:
        words = re.split(r"\s{3,}", line.strip())[0].split()[1:]
        if words and "--" not in words:
            _parser().parse_args(words)


@given(st.text())
def test_nothing_a_peer_writes_reaches_the_terminal_raw(text):
    shown = visible(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert not any(c in shown for c in "\u202e\u2066\u200b\ufeff")


def test_a_gateway_token_records_its_own_sessions(jupyter, tmp_path):
    token = tmp_path / "token"
    token.write_text(jupyter.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"])
    file = tmp_path / "r.jsonl"
    arguments = ("record", "-o", str(file), "--for", "1s", "--url", jupyter.url, "--token-file", str(token))
    done = run(jupyter, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text().splitlines()[0])["instance"]
