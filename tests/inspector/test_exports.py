"""Exports for other programs: tests for pytest, a page, and traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.conftest import BOUND
from tests.inspector.records import Transcript, call, done
from tests.inspector.test_commands import SERVER, inspect, written

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {}},
    "clientInfo": {"name": "c", "version": "1"},
}

HIDDEN: dict[str, Any] = {"kind": "request", "method": "tools/call", "id": 3}


def echo(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": text}}}


def answered(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "result": {"resultType": "complete", "content": [{"type": "text", "text": text}]}}


def session(t: Transcript, name: str, said: str) -> list[str]:
    """What a client of the server fast.py sends, in which the response to ``a "word"`` is recorded as ``said``."""
    roots = {"roots": [{"uri": "file:///here"}]}
    return [
        t.message(way, message, session=name, **({} if isinstance(message, dict) else HIDDEN))
        for way, message in (
            ("c>", {"id": 0, "method": "initialize", "params": HELLO}),
            ("c<", {"id": 0, "result": {"protocolVersion": "2025-11-25", "capabilities": {}}}),
            ("c>", {"method": "notifications/initialized"}),
            ("c>", echo(1, 'a "word"\u2067')),
            ("c<", answered(1, said)),
            ("c>", {"id": 2, "method": "tools/call", "params": {"name": "question"}}),
            ("c<", {"id": "q", "method": "roots/list"}),
            ("c>", {"id": "q", "result": roots}),
            ("c<", answered(2, json.dumps(roots))),
            (
                "c>",
                '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{"key":"••••"}}}',
            ),
            ("c<", answered(3, "••••")),
        )
    ]


def test_an_export_to_pytest_replays_each_session_against_a_server(tmp_path):
    t = Transcript()
    lines = [*session(t, "right0000", 'a "word"\u2067'), *session(t, "wrong0000", "another word")]
    path, tests = written(tmp_path / "r.jsonl", lines), tmp_path / "test_sessions.py"
    assert inspect("export", path, "--format", "pytest", "-o", tests).returncode == 0
    text = tests.read_text()
    assert "\u2067" not in text and "2 (contains redacted secrets)" in text
    tests.write_text(text.replace("IGNORE = []", 'IGNORE = ["result.capabilities.**", "result.serverInfo"]'))
    server = f"{sys.executable} -I -S {SERVER}"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests.name],
        cwd=tmp_path,
        env={**os.environ, "MCP_SERVER": server},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "FAILED test_sessions.py::test_session[wrong000]" in ended.stdout
    difference = """E       AssertionError: #3 tools/call echo
E             result.content[0].text: "another word" → "a """
    assert difference in ended.stdout, ended.stdout


def test_a_test_replays_one_server_and_a_filter_chooses_whole_sessions(tmp_path):
    t = Transcript()
    lines = [*session(t, "s1", "x"), *session(t, "s2", "y")]
    lines += [
        t.message("c>", call(1), server="other", session="o1"),
        t.message("c<", done(1), server="other", session="o1"),
    ]
    path = written(tmp_path / "r.jsonl", lines)
    several = inspect("export", path, "--format", "pytest", "-o", tmp_path / "x.py")
    assert (several.returncode, (tmp_path / "x.py").exists()) == (2, False)
    assert "choose one with --filter server:NAME: demo, other" in several.stderr
    one = inspect("export", path, "--format", "pytest", "--filter", "session:s2 tool:question").stdout
    space: dict[str, Any] = {}
    exec(compile(one, "x.py", "exec"), space)
    assert list(space["SESSIONS"]) == ["s2"]
    methods = [request["method"] for request, _ in space["SESSIONS"]["s2"]]
    assert methods == ["initialize", "notifications/initialized", "tools/call", "tools/call"]
    assert space["ANSWERS"] == {"s2": {"roots/list": [{"result": {"roots": [{"uri": "file:///here"}]}}]}}
    empty = inspect("export", path, "--format", "pytest", "--filter", "session:s1 tool:nothing")
    assert empty.returncode == 2 and "no request that can be replayed" in empty.stderr
