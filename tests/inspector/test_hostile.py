"""Hostile traffic and a full disk: inert on every screen, bounded in time, reported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest

from mcp_ws_ide.inspector import terminal
from mcp_ws_ide.inspector.app.app import InspectorApp
from mcp_ws_ide.inspector.app.highlight import LINE_TIME, Highlight
from mcp_ws_ide.inspector.model.filters import REGEX_TIME, FilterTooSlowError, parse
from mcp_ws_ide.inspector.playback import Playback
from tests.conftest import BOUND, TESTS, wait_until
from tests.inspector.records import Transcript, call, done
from tests.inspector.test_app import Seat
from tests.inspector.test_commands import inspect, written

EVIL = "\x1b]2;0wned\x07\x1b[31m\x9b31m\x00\u202etxt\u2066\u200b[bold red]x[/]\ufeff\r\n\u2028漢"
HUGE = 10 << 20
DEEP = 100_000
SLOW = "~(a|aa)+$"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066\u200b\ufeff\u2028]")


def hostile_lines() -> list[str]:
    t = Transcript()
    deep = "[" * DEEP + "]" * DEEP
    return [
        t.message("c>", {"id": EVIL, "method": "initialize", "params": {"clientInfo": {"name": EVIL}}}),
        t.message(
            "c<",
            {
                "id": EVIL,
                "result": {
                    "serverInfo": {"name": EVIL, "version": EVIL},
                    "capabilities": {EVIL: {EVIL: True}},
                },
            },
        ),
        t.message("c>", {"id": 1, "method": "tools/list"}, server=EVIL),
        t.message(
            "c<",
            {
                "id": 1,
                "result": {"tools": [{"name": EVIL, "description": EVIL, "inputSchema": {"type": EVIL}}]},
            },
            server=EVIL,
        ),
        t.message("c>", call(EVIL + "2", EVIL, progressToken=EVIL), session=EVIL),
        t.message("c<", {"id": EVIL + "2", "error": {"code": 1, "message": EVIL}}, session=EVIL),
        t.message("c>", call(3, EVIL)),
        t.message("c<", done(3, content=[{"type": "text", "text": EVIL}], isError=True)),
        t.message("c>", call(4, "huge")),
        t.message("c<", done(4, content=[{"type": "text", "text": "x" * HUGE}])),
        t.message(
            "c>", '{"jsonrpc":"2.0","id":5,"method":"tools/call","params":' + deep + "}", kind="request", id=5
        ),
        t.message("c>", EVIL, kind="malformed"),
        t.message("c>", call(6, "cut"), truncated=True),
        t.message("c<", done(6, isError=True), truncated=True),
        t.line(kind="noise", event=EVIL, raw=EVIL, leg="upstream", direction="in"),
        t.line(kind="event", event=EVIL, detail=EVIL),
        t.line(kind="event", event="link_lost", detail=EVIL),
        t.line(kind=EVIL, method=EVIL),
        "not a record",
        "[" * DEEP,
    ]


def harmless(text: str) -> bool:
    return HARMFUL.search(text) is None


@pytest.mark.heavy
async def test_hostile_records_are_inert_on_every_screen_and_in_every_tab(tmp_path):
    path = written(tmp_path / f"r{EVIL[2:9]}.jsonl", hostile_lines())
    app = InspectorApp(Playback(str(path)))
    async with app.run_test(size=(120, 40)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 18, "the records")
        seen = ""
        for key in "134562":
            await person.press(key)
            assert harmless(person.screen()), key
            seen += person.screen()
        await person.press("g", "enter", "w")
        for row in app.traffic.view.rows:
            app.traffic.go_row(row)
            for tab in range(6):
                app.detail.tab = tab
                app.detail.show(row)
                await pilot.pause()
                seen += person.screen()
                assert harmless(person.screen())
            if person.store.method_of(row) in ("initialize", "tools/call"):
                await person.press("y")
                for _ in range(3):
                    await person.press("y")
                    assert harmless(person.screen())
                await person.press("escape")
        assert "\\x1b]2;0wned" in seen
        huge = max(app.traffic.view.rows, key=lambda row: person.store.size[row])
        app.detail.tab = 0
        app.detail.show(huge)
        assert "more characters; see Raw" in "".join(
            text for line in app.detail.text.lines for text, _ in line
        )


@pytest.mark.heavy
def test_hostile_records_are_inert_in_every_command(tmp_path):
    path = written(tmp_path / "r.jsonl", hostile_lines())
    for arguments in (
        ["stats", path],
        ["check", path],
        ["check", path, "--format", "json"],
        ["check", path, "--format", "junit"],
        ["export", path, "--format", "json"],
        ["export", path, "--format", "har"],
    ):
        shown = inspect(*arguments)
        assert shown.returncode in (0, 1)
        assert harmless(shown.stdout + shown.stderr), arguments
        assert "lines are not records and were skipped" in shown.stderr


def test_a_cut_answer_is_not_judged_by_its_content():
    t = Transcript()
    t.send("c>", call(6))
    row = t.send("c<", done(6, isError=True), truncated=True)
    assert t.codes(row) == []
    assert list(parse("is:truncated").rows(t.journal.store)) == [row]


def test_a_catastrophic_regular_expression_gives_up_in_time():
    t = Transcript()
    for number in range(200):
        t.send("c>", call(number, "a" * 60))
    start = time.process_time()
    with pytest.raises(FilterTooSlowError, match="simpler"):
        parse(SLOW.replace("$", "!")).rows(t.journal.store)
    assert time.process_time() - start < 10 * REGEX_TIME
    t.journal.close()


def test_highlighting_gives_up_an_expression_that_is_catastrophic():
    highlight = Highlight(["(a|aa)+!"])
    assert highlight.parts([("b aa! b", "dim")]) == [("b ", "dim"), ("aa!", "match"), (" b", "dim")]
    start = time.process_time()
    for _ in range(200):
        assert highlight.parts([("a" * 60, "dim")]) == [("a" * 60, "dim")]
    assert time.process_time() - start < 20 * LINE_TIME
    assert Highlight(["(?i)a", "b"]).parts([("ab", "")])


async def test_a_catastrophic_filter_is_cleared_and_the_screen_keeps_updating(tmp_path):
    t = Transcript()
    path = written(tmp_path / "r.jsonl", [t.message("c>", call(n, "a" * 60)) for n in range(50)])
    app = InspectorApp(Playback(str(path)))
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 50, "the records")
        await person.press("slash")
        await person.write("~(a|aa)+!")
        frames = app._frames
        await person.press("enter")
        await person.until(
            lambda: any("the filter was cleared" in n.message for n in app._notifications), "the message"
        )
        assert app._frames > frames, "it went on while the expression was tried"
        assert app.traffic.count() == 50
        await person.press("ctrl+f")
        await person.write("~(a|aa)+!")
        await person.press("enter", "4", "2")
        await person.until(
            lambda: any("the search was cleared" in n.message for n in app._notifications), "the message"
        )
        assert app.traffic.count() == 50


FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from mcp_ws_ide.inspector.model.filters import parse
from tests.inspector.records import Transcript, call
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
t = Transcript()
for number in range(3000):
    t.send("c>", call(number, "tool%d" % (number % 3)), size=7)
    t.journal.store.body(t.journal.store.first)
pad = "x" * 2000
for number in range(3000, 5000):
    t.send("c>", call(number, pad))
store = t.journal.store
assert "cannot write the temporary file" in store.trouble, store.trouble
assert '"id": 0' in store.body(0).text
assert "not kept" in store.body(store.end - 1).text, store.body(store.end - 1)
assert len(parse("tool:tool1").rows(store)) == 1000
assert len(parse("tool1").rows(store)) > 100
assert len(parse("~tool[12]").rows(store)) > 100
print(len(store))
t.journal.close()
"""


def test_a_full_disk_for_texts_is_reported_and_everything_else_continues():
    # The kernel refuses to write past the limit, as it does on a full disk.
    code = FULL.format(tests=str(TESTS.parent))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert ran.stdout == "5000\n", ran.stderr


def test_a_directory_without_space_is_reported(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/self/nowhere")
    t = Transcript()
    row = t.send("c>", call(1))
    assert "not kept" in t.journal.store.body(row).text
    assert "cannot create the temporary file" in t.journal.store.trouble
    assert json.loads(json.dumps(list(parse("call").rows(t.journal.store)))) == []
    t.journal.close()


def test_a_terminal_that_takes_nothing_is_behind_until_it_has_taken_all(monkeypatch):
    ours, theirs = os.openpty()
    os.set_blocking(theirs, False)
    os.set_blocking(ours, False)
    with open(theirs, "wb", buffering=0) as painted, open(ours, "rb", buffering=0) as shown:

        def is_full() -> bool:
            while painted.write(b"x" * 4096):
                pass
            return terminal.is_behind()

        def is_empty() -> bool:
            while shown.read(1 << 16):
                pass
            return not terminal.is_behind()

        monkeypatch.setattr(sys, "__stderr__", painted)
        assert not terminal.is_behind()
        # The kernel moves bytes from one end to the other in the background, which makes room again.
        wait_until(is_full, what="the full terminal")
        wait_until(is_empty, what="the terminal that takes bytes again")


async def test_nothing_is_painted_while_the_terminal_is_behind_and_no_record_is_lost(tmp_path, monkeypatch):
    behind = True
    monkeypatch.setattr(InspectorApp, "_is_behind", lambda app: behind)
    t = Transcript()
    app = InspectorApp(
        Playback(str(written(tmp_path / "r.jsonl", [t.message("c>", call(n)) for n in range(9)])))
    )
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 9, "the records")
        assert app.traffic.count() == 0
        behind = False
        await person.until(lambda: app.traffic.count() == 9, "the rows")
