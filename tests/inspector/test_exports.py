"""Exports for other programs: tests for pytest, a page, and traces."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

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


def hostile() -> list[str]:
    """A call on both legs with a progress, a failure and an event, whose texts would be markup."""
    t, evil = Transcript(step=0.1), "<script>alert(1)</script>\x1b\u202e"
    origin = {"origin_session": "s1", "origin_id": 1}
    return [
        t.line(kind="event", event="link_opened", detail=f"127.0.0.1:9 {evil}"),
        t.message("c>", call(1, evil, progressToken="p", traceparent=PARENT)),
        t.message(">s", call(9, evil, progressToken="p", traceparent=PARENT), **origin),
        t.message(
            "<s", {"method": "notifications/progress", "params": {"progressToken": "p", "progress": 1}}
        ),
        t.message("<s", done(9, isError=True, **{"</pre>": evil})),
        t.message("c<", done(1, isError=True, **{"</pre>": evil})),
        t.message("c>", call(2, "slow")),
        t.message("c>", {"id": 3, "method": "resources/read", "params": {"uri": "file:///a"}}),
        t.message("c<", {"id": 3, "error": {"code": -32002, "message": "not found"}}),
    ]


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Elements(HTMLParser):
    """The elements of a page, and the text of each kind."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts.setdefault(tag, []).append("")
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in {*self._open}:
            self.texts[tag][-1] += data


def test_an_export_to_html_is_one_file_in_which_a_peers_text_stays_text(tmp_path):
    path, page = written(tmp_path / "r.jsonl", hostile()), tmp_path / "r.html"
    assert inspect("export", path, "--format", "html", "-o", page).returncode == 0
    text = page.read_text()
    found = Elements(text).texts
    assert len(found["script"]) == 1 and "alert" not in found["script"][0]
    assert not {"link", "img", "iframe", "a"} & set(found), "nothing is loaded"
    assert "\x1b" not in text and "\u202e" not in text
    digest = base64.b64encode(hashlib.sha256(found["script"][0].encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in text
    assert [line.count("<script>") for line in found["summary"]] == [0, 1, 1, 0, 0], (
        "event, call, its progress, two calls"
    )
    states = [state for summary in found["summary"] for state in ("FAIL", "ERR", "OPEN") if state in summary]
    assert sorted(states) == ["ERR", "FAIL", "OPEN"]
    messages = "".join(found["pre"])
    assert messages.count('"isError": true') == 1, "each message once"
    assert '"</pre>": "<script>alert' in messages


def spans(text: str) -> dict[str, dict[str, Any]]:
    """The spans of an export by name and leg, each with its attributes as a dictionary."""
    found = {}
    for resource in json.loads(text)["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            known = {one["key"]: one["value"]["stringValue"] for one in span["attributes"]}
            key = " ".join(filter(None, (span["name"], known.get("mcp_ws.leg"))))
            found[key] = {**span, "attributes": known}
    return found


def test_an_export_to_otlp_continues_the_callers_trace_and_nests_the_server_leg(tmp_path):
    path = written(tmp_path / "r.jsonl", hostile())
    ended = inspect("export", path, "--format", "otlp")
    found = spans(ended.stdout)
    tool = next(name for name in found if name.startswith("tools/call <") and name.endswith("client"))
    outer, inner, whole = found[tool], found[tool.removesuffix("client") + "server"], found["session demo"]
    _, trace, parent, _ = PARENT.split("-")
    assert (outer["traceId"], outer["parentSpanId"], outer["kind"]) == (trace, parent, 2)
    assert (inner["traceId"], inner["parentSpanId"], inner["kind"]) == (trace, outer["spanId"], 3)
    assert outer["links"] == [{"traceId": whole["traceId"], "spanId": whole["spanId"]}]
    assert [event["name"] for event in inner["events"]] == ["notifications/progress"]
    assert outer["attributes"]["error.type"] == "tool_error" and outer["status"]["code"] == 2
    slow = found["tools/call slow client"]
    assert (slow["traceId"], slow["parentSpanId"]) == (whole["traceId"], whole["spanId"])
    assert slow["attributes"]["mcp_ws.status"] == "pending" and "status" not in slow
    read = found["resources/read client"]["attributes"]
    assert (read["error.type"], read["rpc.response.status_code"]) == ("-32002", "-32002")
    assert read["mcp.resource.uri"] == "file:///a" and read["mcp.session.id"] == "s1"
    assert int(outer["endTimeUnixNano"]) - int(outer["startTimeUnixNano"]) == pytest.approx(4e8)
    assert inspect("export", path, "--format", "otlp").stdout == ended.stdout, "the same ids again"


@pytest.mark.parametrize(
    "parent", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff" + PARENT[2:], PARENT.upper(), 7]
)
def test_a_traceparent_that_is_not_valid_is_ignored(tmp_path, parent):
    t = Transcript()
    lines = [t.message("c>", call(1, traceparent=parent)), t.message("c<", done(1))]
    found = spans(inspect("export", written(tmp_path / "r.jsonl", lines), "--format", "otlp").stdout)
    assert found["tools/call run client"]["traceId"] == found["session demo"]["traceId"]
