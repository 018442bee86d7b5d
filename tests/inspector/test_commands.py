"""The commands about recordings, as programs: a real gateway records, and its recording is judged and replayed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector.cli import main
from mcp_ws_ide.inspector.collecting import SIGNALS, Sieve, collect, stop_on_signals
from mcp_ws_ide.inspector.durations import milliseconds, seconds
from mcp_ws_ide.inspector.model.filters import parse
from mcp_ws_ide.inspector.sources import narrowed, say, say_lines
from mcp_ws_ide.inspector.watch import Watch
from tests.conftest import BOUND, DEMO, FAST_SERVER, TESTS, Jupyter, Peer, until
from tests.inspector.records import CAPABILITIES, VERSION, Transcript, call, done
from tests.inspector.test_cli import COMMAND, run

SERVER = TESTS / "servers" / "fast.py"
HEADER = {"format": "mcp-ws-recording", "version": 1, "time": 1.8e9, "gateway": "http://127.0.0.1:1/"}


async def record(
    jupyter: Jupyter, path: Path, traffic: Callable[[], Awaitable[None]], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Record while there is traffic."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("record", "-o", str(path), *arguments),
        env=jupyter.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        # Nothing says when it has attached: ask until something is in the file.
        for number in range(400):
            await peer.call(f"warm-{number}", "ping-that-is-not", {})
            if b"warm-" in unpacked(path):
                break
            await asyncio.sleep(0.05)
    await until(lambda: b"link_closed" in unpacked(path), what="the end of the first link")
    await traffic()
    await until(lambda: unpacked(path).count(b"link_closed") >= 2, what="the end of the traffic in the file")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(BOUND):
        out, err = await process.communicate()
    return subprocess.CompletedProcess([], process.returncode, out.decode(), err.decode())


def unpacked(path: Path) -> bytes:
    import zstandard

    data = path.read_bytes() if path.exists() else b""
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def written(path: Path, transcript_lines: list[str]) -> Path:
    path.write_text("\n".join([json.dumps(HEADER), *transcript_lines]) + "\n")
    return path


def inspect(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """As a program, but in this process, where nothing depends on being one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


async def make_traffic(jupyter: Jupyter) -> None:
    """Calls with progress, a question of the server, which the replay answers as this client did, and a secret."""
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        await peer.initialize()
        for number in range(3):
            params = {"name": "echo", "arguments": {"text": f"text {number}"}}
            await peer.send(id=number, method="tools/call", params=params)
            await peer.receive()
        params = {"name": "slow", "arguments": {"steps": 2, "delay": 0.01}, "_meta": {"progressToken": 1}}
        await peer.send(id="s", method="tools/call", params=params)
        while "id" not in await peer.receive():
            pass
        await peer.send(id="q", method="tools/call", params={"name": "question"})
        question = await peer.receive()
        await peer.send(id=question["id"], result={"roots": [{"uri": "file:///here"}]})
        assert "file:///here" in json.dumps(await peer.receive())
        secret = {"name": "echo", "arguments": {"text": "x", "password": "hunter2"}}
        await peer.send(id="h", method="tools/call", params=secret)
        await peer.receive()


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
async def test_a_recording_replays_the_same_and_differs_after_the_server_changed(
    make_jupyter, tmp_path, name
):
    changing = tmp_path / "server.py"
    changing.write_text(SERVER.read_text())
    jupyter = make_jupyter({"fast": {"command": sys.executable, "args": ["-I", "-S", str(changing)]}})
    path = tmp_path / "r.jsonl.zst"

    ended = await record(jupyter, path, lambda: make_traffic(jupyter))
    assert ended.returncode == 130, ended.stderr
    assert "records" in ended.stderr
    assert b"hunter2" not in unpacked(path)
    assert jupyter.token.encode() not in unpacked(path)
    where = jupyter.endpoint("fast").replace("ws", "http", 1)
    same = run(jupyter, "replay", str(path), "--against", where, "--exit-code")
    assert same.returncode == 0, same.stdout + same.stderr
    assert "0 with a different response" in same.stdout
    assert "1 not replayed: contains redacted secrets" in same.stderr

    changing.write_text(SERVER.read_text().replace('arguments["text"])', 'arguments["text"].upper())'))
    jupyter.rest("POST", "servers/fast/restart")
    other = run(jupyter, "replay", str(path), "--against", "fast", "--url", jupyter.url)
    assert other.returncode == 1
    assert 'result.content[0].text: "text 0" → "TEXT 0"' in other.stdout
    assert "3 with a different response" in other.stdout
    ignored = run(
        jupyter, "replay", str(path), "--against", where, "--ignore", "result.content[*].text", "--quiet"
    )
    assert ignored.returncode == 0
    assert run(jupyter, "replay", str(path), "--against", where, "--no-exit-code").returncode == 0
    stats = json.loads(run(jupyter, "stats", str(path), "--json").stdout)
    counts = {(line["method"], line["target"]): line["count"] for line in stats["operations"]}
    assert counts[("tools/call", "echo")] == 4


async def test_rounds_of_questions_are_replayed_with_the_live_state(make_jupyter, tmp_path):
    jupyter = make_jupyter(
        {"fast": {"command": sys.executable, "args": ["-I", "-S", str(SERVER)]}, "demo": DEMO}
    )
    path = tmp_path / "r.jsonl"
    abilities = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}

    async def traffic() -> None:
        async with jupyter.connect("demo") as link:
            peer = Peer(link)
            asked = await peer.call(1, "tools/call", {"name": "elicit", "arguments": {}}, **abilities)
            result = asked["result"]
            name = next(iter(result["inputRequests"]))
            given = {name: {"action": "accept", "content": {"name": "Ann", "agree": True}}}
            again = {
                "name": "elicit",
                "arguments": {},
                "inputResponses": given,
                "requestState": result.get("requestState"),
            }
            told = await peer.call(2, "tools/call", {k: v for k, v in again.items() if v}, **abilities)
            assert "hello Ann" in json.dumps(told)

    await record(jupyter, path, traffic)
    replayed = run(
        jupyter, "replay", str(path), "--server", "demo", "--against", "demo", "--url", jupyter.url
    )
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "2 requests replayed" in replayed.stdout


async def test_a_disk_that_fills_up_ends_a_recording_with_the_reason(jupyter, tmp_path):
    """The kernel refuses to write past the limit, as it does on a full disk."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("record", "-o", str(tmp_path / "r.jsonl"), "--server", "fast"),
        env=jupyter.environment,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
    )
    async with asyncio.timeout(BOUND), jupyter.connect("fast") as link:
        peer = Peer(link)
        while process.returncode is None:
            await peer.call("fill", "ping-that-is-not", {})
        err = (await process.stderr.read()).decode()
    assert process.returncode == 2 and "Traceback" not in err
    assert err.splitlines()[-1].endswith("r.jsonl cannot be written: File too large")
    assert (tmp_path / "r.jsonl").stat().st_size == 3000


@pytest.mark.parametrize(
    ("text", "server", "session", "filter_"),
    [
        ("", None, None, ""),
        ("tool:x | lat:>5", None, None, "tool:x | lat:>5"),
        ("", "fast", None, 'server:"fast"'),
        ("tool:x | lat:>5", "f*", "9f", '(tool:x | lat:>5) server:"f[*]" session:"9f"'),
    ],
)
def test_server_and_session_of_the_command_line_narrow_its_filter(text, server, session, filter_):
    found = narrowed(text, argparse.Namespace(server=server, session=session))
    assert found == filter_
    parse(found)


def test_a_signal_ends_collecting_in_order_wherever_it_comes(caplog):
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def find() -> RunningGateway:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        raise ConnectError("there is none")

    try:
        stop_on_signals()
        with pytest.raises(SystemExit) as ended:
            collect(find, lambda lines: None, BOUND, {})
        assert ended.value.code == 128 + signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    gc.collect()
    assert not caplog.records


async def test_a_filter_decides_what_is_recorded(jupyter, tmp_path):
    path = tmp_path / "r.jsonl"

    async def traffic() -> None:
        async with jupyter.connect("fast") as link:
            peer = Peer(link)
            for text in ("keep-me", "leave-me"):
                await peer.call(text, "tools/call", {"name": "echo", "arguments": {"text": text}})

    wanted = "keep-me | kind:event | method:ping*"
    ended = await record(jupyter, path, traffic, "--server", "fast", "--filter", wanted)
    text = path.read_text()
    assert "keep-me" in text, ended.stderr
    assert "leave-me" not in text
    refused = run(jupyter, "record", "-o", str(tmp_path / "x"), "--filter", "status:pending")
    assert (refused.returncode, "not known while recording" in refused.stderr) == (2, True)
    refused = run(jupyter, "record", "-o", str(tmp_path / "x"), "--filter", "a (", "--server", "fast")
    assert (refused.returncode, "(character 4 of the filter)" in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize("command", [["record", "-o", "-"], ["stats"], ["check"]])
def test_a_server_that_is_not_configured_is_an_error_that_lists_the_others(jupyter, command):
    for known in ("fast", "+fast+demo"):
        ended = run(jupyter, *command, "--server", known, "--for", "0s", "--url", jupyter.url)
        assert ended.returncode == 0, ended.stderr
        assert "not configured" not in ended.stderr
    for unknown in ("nosuch", "+fast+nosuch"):
        ended = run(jupyter, *command, "--server", unknown, "--for", "0s", "--url", jupyter.url)
        assert ended.returncode == 2, ended.stderr
        assert "server 'nosuch' is not configured; configured servers: " in ended.stderr
        assert "fast" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("tail", "--server", "nosuch"),
        ("tail", "--session", "nosuch"),
        ("record", "-o", "-", "--session", "nosuch", "--for", "0s"),
    ],
)
def test_what_nobody_can_watch_is_an_error(jupyter, arguments):
    ended = run(jupyter, *arguments, "--url", jupyter.url)
    assert ended.returncode == 2, ended.stderr
    assert "'nosuch'" in ended.stderr and ("servers: " in ended.stderr or "sessions: " in ended.stderr)


@pytest.mark.parametrize("command", [["stats"], ["check"]])
def test_nothing_seen_is_no_silent_success(jupyter, command):
    ended = run(jupyter, *command, "--for", "0s", "--url", jupyter.url)
    assert "no message was seen" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats", "FILE", "--server", "nosuch"),
        ("check", "FILE", "--server", "nosuch"),
        ("replay", "FILE", "--server", "nosuch", "--against", "x"),
        ("replay", "FILE", "--session", "nosuch", "--against", "x"),
    ],
)
def test_what_a_recording_does_not_hold_is_an_error_that_lists_what_it_holds(tmp_path, arguments):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(1)), t.message("c<", done(1))])
    record_of = json.loads(Path(path).read_text().splitlines()[1])
    ended = inspect(*(path if argument == "FILE" else argument for argument in arguments))
    assert ended.returncode == 2, ended.stderr
    assert "'nosuch'" in ended.stderr
    assert str(record_of["session" if "--session" in arguments else "server"]) in ended.stderr


def test_an_export_of_nothing_says_so(tmp_path):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(1)), t.message("c<", done(1))])
    ended = inspect("export", path, "--filter", "server:nosuch")
    assert "no message in " in ended.stderr and "matches the filter" in ended.stderr


@pytest.mark.parametrize("size", ["0", "-5", "x", "1e3"])
def test_an_impossible_size_is_refused(tmp_path, size):
    ended = inspect("stats", str(tmp_path / "none"), f"--max-mib={size}")
    assert ended.returncode == 2 and "above 0" in ended.stderr


@pytest.mark.parametrize("pattern", ["NO_SUCH_VARIABLE", "NO_SUCH_*"])
def test_a_variable_that_is_not_set_cannot_be_passed_on(pattern):
    ended = inspect("--env-vars", pattern, "--", "true")
    assert ended.returncode == 2 and f"--env-vars {pattern}: no variable" in ended.stderr


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "it is empty"), ("{}\n".encode("utf-16"), "it is in UTF-16; write it with -o")],
)
def test_a_file_that_is_no_recording_is_refused_with_the_reason(tmp_path, data, reason):
    path = tmp_path / "r.jsonl"
    path.write_bytes(data)
    ended = inspect("check", str(path))
    assert ended.returncode == 2 and reason in ended.stderr


def test_check_fails_on_the_given_categories_and_writes_three_formats(tmp_path):
    t = Transcript()
    lines = [
        t.message("c>", call(1)),
        t.message("c>", call(1)),
        t.message("c<", {"id": 1, "error": {"code": -1, "message": "no\x1b]2;x\x07 <&>"}}),
        t.message("c>", call(2)),
        t.message("c>", call(3)),
        t.message("c<", done(3, isError=True)),
        t.message("c>", {"id": 4, "method": "subscriptions/listen"}),
    ]
    path = written(tmp_path / "r.jsonl", lines)
    found = inspect("check", path)
    assert found.returncode == 1
    assert "dup-id" in found.stdout
    assert "\x1b" not in found.stdout
    assert found.stdout.count(": pending: ") == 2, (
        "the call without an answer, and the one whose id was taken"
    )
    for what, code in (("dup-id", 1), ("failed", 1), ("lost,gap", 0), ("progress-order", 0), ("error", 1)):
        assert inspect("check", path, "--fail-on", what).returncode == code, what
    as_json = json.loads(inspect("check", path, "--format", "json").stdout)
    assert as_json["counts"] == {"error": 1, "pending": 2, "dup-id": 1}
    tree = ElementTree.fromstring(inspect("check", path, "--format", "junit").stdout)
    cases = {case.get("name"): case.find("failure") for case in tree.iter("testcase")}
    assert cases["no violation"] is None
    assert "<&>" in (cases["no error"].text or "")
    wrong = inspect("check", path, "--fail-on", "everything")
    assert (wrong.returncode, "cannot be checked" in wrong.stderr) == (2, True)
    assert inspect("check", tmp_path / "absent").returncode == 2
    piped = [*COMMAND, "check", "-"]
    with path.open() as recording:
        assert subprocess.run(piped, stdin=recording, capture_output=True, check=False).returncode == 1


def test_check_finds_errors_whose_requests_it_did_not_see(tmp_path):
    t = Transcript()
    refused = {"error": {"code": -1, "message": "boom"}}
    lines = [
        t.message("c>", call(7)),
        t.line(kind="gap", method="gap", raw="2 records are missing"),
        t.message("c<", {"id": 7, **refused}),
        t.message("c<", {"id": None, **refused}),
        t.message("c<", {"id": 8, **refused}),
    ]
    path = written(tmp_path / "r.jsonl", lines)
    found = inspect("check", path, "--fail-on", "error")
    assert found.returncode == 1
    assert found.stdout.count("-1: boom") == 3


def test_check_does_not_blame_a_server_for_how_it_answers_the_gateways_probe(tmp_path):
    t = Transcript()
    meta = {VERSION: "2026-07-28", CAPABILITIES: {}}
    probe = {"id": 0, "method": "server/discover", "params": {"_meta": meta}}
    refused = {"id": 0, "error": {"code": -32601, "message": "Method not found"}}
    path = written(tmp_path / "r.jsonl", [t.message(">s", probe), t.message("<s", refused)])
    found = inspect("check", path)
    assert (found.returncode, found.stdout) == (0, "ok: nothing found in 2 records\n")
    unanswered = written(tmp_path / "u.jsonl", [t.message(">s", probe), t.message("<s", {"method": "x"})])
    assert inspect("check", unanswered).returncode == 0
    asked = written(tmp_path / "c.jsonl", [t.message("c>", probe), t.message("c<", refused)])
    assert inspect("check", asked).returncode == 1


def test_check_does_not_blame_a_modern_server_that_starts_slowly_for_refusing_the_gateways_handshake(
    tmp_path,
):
    t = Transcript()
    probe = {"id": 0, "method": "server/discover", "params": {"_meta": {VERSION: "2026-07-28"}}}
    hello = {"id": "mcp-ws-1", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    found = {"id": 0, "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"]}}

    def lines(code: int) -> list[str]:
        refused = {"id": "mcp-ws-1", "error": {"code": code, "message": "no"}}
        sent = [
            t.message(">s", probe),
            t.message(">s", hello),
            t.message("<s", found),
            t.message("<s", refused),
        ]
        drop = {"kind": "event", "event": "dropped", "detail": "response that matches no request in flight"}
        return [*sent, t.line(**drop)]

    good = written(tmp_path / "r.jsonl", lines(-32022))
    done = inspect("check", good, "--fail-on", "error,event")
    assert (done.returncode, done.stdout) == (0, "ok: nothing found in 5 records\n")
    bad = written(tmp_path / "b.jsonl", lines(-32603))
    assert "initialize: error: -32603: no" in inspect("check", bad).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("export", "r.jsonl", "--format", "html"), "straße ≠".encode()),
        (("check", "r.jsonl", "--format", "junit", "--fail-on", "failed"), "straße ≠".encode()),
        (("check", "r.jsonl", "--fail-on", "failed"), rb"stra\xdfe \u2260"),
        (("diff", "r.jsonl#s1", "r.jsonl#s2"), rb"\u2260 #3 tools/call run"),
        (("-h", "--"), rb"COMMAND [ARGS \u2026]"),
    ],
)
def test_output_needs_no_locale_that_has_all_characters(tmp_path, monkeypatch, arguments, expected):
    t = Transcript()
    lines = []
    for session, text in (("s1", "one"), ("s2", "straße ≠")):
        answer = done(1, content=[{"type": "text", "text": text}], isError=True)
        lines += [t.message("c>", call(1), session=session), t.message("c<", answer, session=session)]
    written(tmp_path / "r.jsonl", lines)
    monkeypatch.chdir(tmp_path)
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    with contextlib.suppress(SystemExit):
        main(list(arguments))
    sys.stdout.flush()
    assert expected in out.getvalue()


def test_check_reports_that_gaps_make_it_incomplete(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(1)), t.message("c<", done(1)), t.line(kind="gap", method="gap", raw="lost")]
    path = written(tmp_path / "r.jsonl", lines)
    found = inspect("check", path)
    assert found.returncode == 0
    assert found.stdout.splitlines()[-1].startswith("note: the check is incomplete: 1 gap,")
    assert json.loads(inspect("check", path, "--format", "json").stdout)["gaps"] == 1
    assert "incomplete" in inspect("check", path, "--format", "junit").stdout
    assert inspect("check", path, "--fail-on", "gap").returncode == 1


def test_check_counts_the_messages_that_it_could_not_judge(tmp_path):
    t = Transcript()
    meta = {VERSION: "2026-07-28", CAPABILITIES: {}}
    listing = {"id": 1, "method": "tools/list", "params": {"_meta": meta}}
    cut = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a'
    described = {"kind": "response", "id": 1, "truncated": True, "size": 2_000_000}
    origin = {"origin_session": "s1", "origin_id": 1}
    lines = [t.message("c>", listing), t.message(">s", listing, **origin)]
    lines += [t.message(way, cut, **described) for way in ("<s", "c<")]
    path = written(tmp_path / "r.jsonl", lines)
    last = inspect("check", path).stdout.splitlines()[-1]
    assert "1 message truncated by the gateway, whose content was not checked: tools/list (1)" in last
    assert json.loads(inspect("check", path, "--format", "json").stdout)["truncated"] == {"tools/list": 1}


@pytest.mark.parametrize("command", ["check", "stats"])
def test_a_file_and_a_time_to_watch_exclude_each_other(tmp_path, command):
    path = written(tmp_path / "r.jsonl", [])
    done = inspect(command, path, "--for", "1s")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--for limits how long a live gateway is watched" in done.stderr


def test_stats_can_be_limited_to_one_server_and_show_the_eras(tmp_path):
    t = Transcript()
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    lines = [
        t.message("c>", {"id": 0, "method": "initialize", "params": hello}),
        t.message("c>", call(1)),
        t.message("c<", done(1)),
        t.message("c>", call(1), server="other", session="s2"),
        t.message("c<", done(1), server="other", session="s2"),
    ]
    path = written(tmp_path / "r.jsonl", lines)
    both = json.loads(inspect("stats", path, "--json").stdout)
    assert [line["server"] for line in both["operations"]] == ["demo", "other"]
    assert both["sessions"] == [
        {"server": "demo", "era": "legacy", "revision": "2025-06-18", "count": 1},
        {"server": "other", "era": None, "revision": None, "count": 1},
    ]
    one = inspect("stats", path, "--server", "other").stdout
    assert "demo" not in one
    assert one.splitlines()[-1] == "1 session of other: era not seen"


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("server:git", {"server": "git"}),
        ("tool:run* server:git (kind:error | kind:request)", {"server": "git"}),
        ("((server:git))", {"server": "git"}),
        ("server:git*", {}),
        ("!server:git", {}),
        ("server:git | server:time", {}),
        ("(server:git | tool:x) kind:error", {}),
        ("method:tools/call kind:error session:9f", {}),
        ("server:a server:b", {}),
        ("", {}),
    ],
)
def test_the_gateway_filters_only_by_terms_that_every_match_needs(text, scope):
    with contextlib.closing(Sieve(text)) as sieve:
        assert sieve.scope == scope


async def test_the_gateway_omits_other_servers(make_jupyter, tmp_path):
    jupyter = make_jupyter({"fast": FAST_SERVER, "other": FAST_SERVER})
    seen: list[str] = []
    watch = Watch(lambda: RunningGateway(jupyter.url, jupyter.token), {"server": "fast"})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        await until(lambda: watch.state == "live", BOUND)
        for name in ("other", "fast"):
            async with jupyter.connect(name) as link:
                await Peer(link).call(name, "tools/call", {"name": "pid"})

        def both() -> bool:
            while (item := watch.take()) is not None:
                seen.append(str(item))
            return '"id":"fast"' in "".join(seen)

        await until(both, BOUND)
        task.cancel()
    assert '"other"' not in "".join(seen)


def test_check_of_a_clean_recording_passes(tmp_path):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(1)), t.message("c<", done(1))])
    found = inspect("check", path)
    assert (found.returncode, found.stdout) == (0, "ok: nothing found in 2 records\n")


def test_a_truncated_recording_is_read_and_reported(tmp_path):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(1)), t.message("c<", done(1))])
    path.write_bytes(path.read_bytes()[:-40])
    found = inspect("stats", path)
    assert (found.returncode, "incomplete line" in found.stderr) == (0, True)


def test_stats_print_a_table_with_the_gateways_share(tmp_path):
    t = Transcript()
    origin = {"origin_session": "s1", "origin_id": 1}
    lines = [t.message("c>", call(1)), t.message(">s", call(9), **origin)]
    lines += [t.message("<s", done(9)), t.message("c<", done(1))]
    path = written(tmp_path / "r.jsonl", lines)
    line = inspect("stats", path).stdout.splitlines()[1].split()
    assert line[:5] == ["demo", "tools/call", "run", "1", "0"]
    assert line[5:10] == ["30.0", "30.0", "30.0", "30.0", "20.0"]


def test_stats_estimate_what_definitions_and_results_cost_a_model(tmp_path):
    t = Transcript()
    tool = {"name": "read", "description": "d" * 300, "inputSchema": {"type": "object"}}
    small = {"name": "ls", "inputSchema": {"type": "object"}}
    lines = [
        t.message("c>", {"id": 1, "method": "tools/list"}),
        t.message("c<", {"id": 1, "result": {"tools": [small, tool]}}),
        t.message("c>", call(2)),
        t.message("c<", done(2), size=4000),
        t.message("c>", call(3)),
        t.message("c<", done(3), size=2000),
    ]
    path = written(tmp_path / "r.jsonl", lines)
    found = json.loads(inspect("stats", path, "--json").stdout)
    sizes = {entry["name"]: (entry["bytes"], entry["tokens"]) for entry in found["definitions"]}
    exact = len(json.dumps(tool, separators=(",", ":")))
    assert sizes["read"] == (exact, -(-exact // 4)) and sizes["ls"][0] < 60
    assert {line["target"]: line["tokens"] for line in found["operations"]}["run"] == 750
    table = inspect("stats", path).stdout
    assert "~tok" in table.splitlines()[0]
    assert f"tools of demo: 2, {exact + sizes['ls'][0]} bytes, about " in table.splitlines()[-1]
    assert f"; the largest is read ({sizes['read'][1]})" in table


def recorded(t: Transcript, session: str, *said: tuple[str, str, str]) -> list[str]:
    """Calls of one session: tool, argument, and the text of the result."""
    lines = []
    for number, (tool, given, text) in enumerate(said):
        request = {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": {"of": given}}}
        result = {"content": [{"type": "text", "text": text}]}
        lines += [t.message("c>", request, session=session)]
        lines += [t.message("c<", {"id": number, "result": result}, session=session)]
    return lines


def test_diff_pairs_the_calls_of_two_sessions_and_names_what_differs(tmp_path):
    t = Transcript()
    old = recorded(t, "old", ("read", "a", "1"), ("read", "b", "2"), ("ls", "/", "a b"), ("rm", "b", "ok"))
    new = recorded(t, "new", ("read", "a", "1"), ("ls", "/", "a b c"), ("stat", "c", "x"), ("rm", "c", "ok"))
    both, one = written(tmp_path / "both.jsonl", [*old, *new]), written(tmp_path / "one.jsonl", old)
    found = inspect("diff", one, f"{both}#new")
    assert found.returncode == 1
    assert found.stdout.splitlines() == [
        '- #3 tools/call read {"of": "b"}',
        "≠ #11 tools/call ls",
        '    result.content[0].text: "a b" → "a b c"',
        '+ #13 tools/call stat {"of": "c"}',
        "≠ #15 tools/call rm",
        '    params.arguments.of: "b" → "c"',
        "4 and 4 requests, 4 differences",
    ]
    assert inspect("diff", one, f"{both}#ol").returncode == 0
    several = inspect("diff", one, both)
    assert (
        several.returncode == 2 and f"has 2 sessions; give {both}#SESSION, one of: old, new" in several.stderr
    )


def test_an_export_to_har_has_an_entry_per_request_and_one_per_session(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(1)), t.message("c<", done(1)), t.message("c>", call(2))]
    path = written(tmp_path / "r.jsonl", lines)
    out = tmp_path / "out.har"
    assert inspect("export", path, "--format", "har", "-o", out).returncode == 0
    log = json.loads(out.read_text())["log"]
    assert [entry["_resourceType"] for entry in log["entries"]] == ["fetch", "fetch", "websocket"]
    assert log["entries"][0]["time"] == pytest.approx(10, rel=0.01)
    assert [m["type"] for m in log["entries"][2]["_webSocketMessages"]] == ["send", "receive", "send"]
    assert inspect("export", path, "--format", "har", "-o", out).returncode == 2, "it is there already"


def test_an_export_to_json_links_related_records_and_can_be_filtered(tmp_path):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(1)), t.message("c<", done(1))])
    found = json.loads(inspect("export", path, "--filter", "kind:response").stdout)["records"]
    assert [(record["seq"], record["pair"], record["status"]) for record in found] == [(2, 1, "ok")]
    refused = inspect("export", path, "--filter", "tool:a (")
    assert refused.returncode == 2
    assert "(character 9 of the filter)" in refused.stderr


def test_a_reader_that_closes_the_pipe_is_no_error(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(number, "x" * 200)) for number in range(3000)]
    path = written(tmp_path / "r.jsonl", lines)
    command = (
        f"{sys.executable} -m mcp_ws_ide.inspector.cli export {path} | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    done_ = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert done_.stderr == ""
    assert done_.stdout.splitlines()[-1] == "0"


def test_open_needs_a_terminal_and_a_file(tmp_path):
    assert inspect("open", tmp_path / "absent").returncode == 2
    piped = inspect("open", "-")
    assert (piped.returncode, "keyboard" in piped.stderr) == (2, True)


async def test_stats_of_a_live_gateway_for_a_while(jupyter):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "stats", "--for", "3s", env=jupyter.environment, stdout=asyncio.subprocess.PIPE
    )
    async with jupyter.connect("fast") as link:
        peer = Peer(link)
        number = 0
        while process.returncode is None and number < 1000:
            number += 1
            await peer.call(number, "tools/list")
            await asyncio.sleep(0.02)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert "fast" in out.decode()
    assert "tools/list" in out.decode()


EXPECTED = [
    (["--expect-tool", "read*"], ""),
    (["--expect-tool", "write*"], "missing-tool: no tool that matches 'write*' was called"),
    (["--forbid-tool", "delete*"], ""),
    (
        ["--forbid-tool", "rea?"],
        "#1 s1 demo tools/call read: forbidden-tool: the tool was called, and 'rea?' is forbidden",
    ),
    (["--max-duration", "2s"], ""),
    (
        ["--max-duration", "500ms"],
        "#1 s1 demo tools/call read: slow: took 1,500 ms; at most 500 ms are allowed",
    ),
    (["--max-duration", "1.2s", "--fail-on", "gap"], "#1 s1 demo tools/call read: slow: took 1,500 ms"),
]


@pytest.mark.parametrize(("arguments", "finding"), EXPECTED)
def test_check_expects_and_forbids_tools_and_limits_durations(tmp_path, arguments, finding):
    t = Transcript(step=0.5)
    passed = [
        t.message("c>", call(1, "read")),
        t.message(">s", call(7, "read"), origin_session="s1", origin_id=1, session=None),
        t.message("<s", done(7), session=None),
        t.message("c<", done(1)),
        t.message("c>", {"id": 2, "method": "subscriptions/listen"}, mono=t.mono - 60),
    ]
    path = written(tmp_path / "r.jsonl", passed)
    checked = inspect("check", path, *arguments)
    assert (checked.returncode, finding in checked.stdout) == (1 if finding else 0, True), checked.stdout
    assert checked.stdout.count("read:") == (1 if finding.startswith("#") else 0), "each request once"


def test_a_duration_that_cannot_be_read_is_refused(tmp_path):
    for text in ("soon", "", "1.5x", "-1s", "1w", "٣s"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a duration; write 500ms, "):
            milliseconds(text)
    with pytest.raises(argparse.ArgumentTypeError, match="'500' has no unit; write 500ms or 500s"):
        milliseconds("500")
    refused = inspect("check", "r.jsonl", "--max-duration", "soon")
    assert refused.returncode == 2
    assert "'soon' is not a duration; write 500ms, 90s, 15m, 12h or 30d" in refused.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("90", 90),
        ("1.5s", 1.5),
        ("15m", 900),
        ("12h", 43_200),
        ("30d", 2_592_000),
    ],
)
def test_durations_have_five_units(text, expected):
    assert seconds(text) == pytest.approx(expected)


def test_a_message_that_may_quote_a_peer_stays_on_one_line(capsys):
    say("refused: a\nmcp-ws-inspect: all is well\x1b[2J")
    assert capsys.readouterr().err == "mcp-ws-inspect: refused: a\\x0amcp-ws-inspect: all is well\\x1b[2J\n"
    say_lines("ended:\nlast\x1b[2J")
    assert capsys.readouterr().err == "mcp-ws-inspect: ended:\nlast\\x1b[2J\n"
