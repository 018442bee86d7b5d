"""Every key works as help and documentation describe it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding

from mcp_ws_ide.client import Resumed, connect
from mcp_ws_ide.inspector.app import file_actions
from mcp_ws_ide.inspector.app.app import InspectorApp
from mcp_ws_ide.inspector.app.connecting import items
from mcp_ws_ide.inspector.app.detail import wrapped
from mcp_ws_ide.inspector.app.dialogs import Choice, Copying, Editing, Question, ReportScreen
from mcp_ws_ide.inspector.app.keys import HELP
from mcp_ws_ide.inspector.app.rows import Rows
from mcp_ws_ide.inspector.export import mark_line
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Status
from mcp_ws_ide.inspector.model.store import MARKED
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Recording
from mcp_ws_ide.inspector.saved import SavedFilters
from mcp_ws_ide.inspector.settings import Settings
from tests.conftest import FAST_SERVER
from tests.inspector.records import Transcript, call, done
from tests.inspector.test_app import EVIL, Seat, client, echo, seat
from tests.inspector.test_commands import written

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "inspector.md"
WRITTEN = {
    "colon": ":",
    "slash": "/",
    "escape": "Esc",
    "semicolon": ";",
    "question_mark": "?",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "right": "→",
    "left": "←",
    "up": "↑",
    "down": "↓",
    "tab": "Tab",
    "enter": "Enter",
    "minus": "-",
    "plus": "+",
}
UNSAID = {"shift+tab", "pagedown", "pageup", "home", "end"}
"""Keys that everybody tries, and that mean what they mean everywhere."""


def keys() -> list[tuple[str, str]]:
    bindings = [*InspectorApp.BINDINGS, *Rows.BINDINGS]
    assert all(isinstance(binding, Binding) for binding in bindings)
    return [(key, b.action) for b in bindings for key in b.key.split(",") if key not in UNSAID]


def said(key: str) -> str:
    if key.startswith("ctrl+"):
        return f"Ctrl+{key[-1].upper()}"
    return WRITTEN.get(key, key)


@pytest.mark.parametrize(("key", "action"), keys())
def test_every_key_has_an_action_and_is_in_help_and_documentation(key, action):
    name = action.partition("(")[0]
    assert any(hasattr(owner, f"action_{name}") for owner in (InspectorApp, Rows))
    sign = said(key)
    pattern = rf"(?<![\w]){re.escape(sign)}(?![\w])"
    ranges = {str(number) for number in range(1, 8)}
    if sign in ranges:
        assert "1 … 7" in HELP
        return
    assert re.search(pattern, HELP), f"{sign} is missing in help"
    table = DOCS.read_text().partition("| keys | |")[2].partition("\n\n")[0]
    assert re.search(re.escape(sign), table), f"{sign} is missing in the documentation"


def test_everything_that_help_names_exists():
    known = {said(key) for key, _ in keys()} | {f"{number}" for number in range(1, 8)}
    named = set(
        re.findall(r"(?:^|\s{2,})(Ctrl\+[A-Z]|[a-zA-Z/;?])(?=\s{2,}|, )", HELP.partition("Filter  ")[0], re.M)
    )
    assert named - known - {"Ctrl+P"} == set()
    assert len(named) > 15


# --- a recording on the screens ----------------------------------------------------------------------


class Keyboard(Seat):
    """A user who looks at a recording."""


def lines() -> list[str]:
    t = Transcript()
    return [
        t.message("c>", call(1, "run", progressToken=1)),
        t.message("c<", done(1, a="x" * 300)),
        t.message("c>", call(2, "run")),
        t.message("c<", done(2, b=2)),
        t.message("c>", call(3, EVIL)),
    ]


def told(person: Seat) -> str:
    """The notifications shown beside the screens; tests show no toasts."""
    return " ".join(notification.message for notification in person.app._notifications)


@pytest.fixture
async def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    app = InspectorApp(Playback(str(written(tmp_path / "r.jsonl", lines()))))
    async with app.run_test(size=(120, 40)) as pilot:
        person = Keyboard(app, pilot)
        await person.until(lambda: len(person.store) == 5, "the records")
        await person.until(lambda: "5 rec" in person.head, "the header")
        yield person
    app.journal.close()  # it stays open for the return from another recording


async def test_a_recording_opens_on_every_screen(desk):
    assert "FILE" in desk.head
    assert "r.jsonl" in desk.head
    assert desk.app.traffic.count() == 5
    for key in "134562":
        await desk.press(key)
        assert len(desk.screen().split("\n")) == 40
    await desk.press("4")
    assert "tools/call run" in desk.screen()


async def test_y_copies_the_message_and_then_turns_to_commands(desk):
    copied: list[str] = []
    desk.app.copy_to_clipboard = copied.append
    await desk.press("g", "y")
    assert isinstance(desk.app.screen, Copying)
    assert json.loads(copied[-1])["id"] == 1
    for word in ("websocat -n", "curl -sS", "call_tool"):
        await desk.press("y")
        assert word in copied[-1]
        assert "MCP_WS_TOKEN" in copied[-1]
        await desk.until(lambda word=word: word in desk.screen(), word)
    await desk.press("escape")
    await desk.press("G", "y", "y")
    assert not any(ord(c) < 32 and c != "\n" for c in desk.screen() + copied[-1])


async def test_a_comment_is_kept_and_marks_the_row(desk):
    await desk.press("g", "semicolon")
    await desk.write("why so slow")
    await desk.press("enter", "enter")
    await desk.until(lambda: "comment: why so slow" in desk.screen(), "the comment")
    await desk.press("M")
    assert list(desk.app.traffic.view.rows) == [0]


async def test_marks_and_comments_are_kept_in_a_recording(desk, tmp_path):
    await desk.press("g", "m", "j", "semicolon", *"slow", "enter", "e", "ctrl+u", *"kept.jsonl", "enter")
    recording = Recording(str(tmp_path / "kept.jsonl"))
    again = Journal()
    for batch in recording.batches():
        again.feed(batch)
    recording.close()
    assert [again.store.has(row, MARKED) for row in range(5)] == [True, True, False, False, False]
    assert again.comments == {1: "slow"}
    again.close()


def test_marks_that_were_set_while_recording_are_kept():
    t = Transcript()
    recorded = [t.message("c>", call(1)), t.message("c>", call(2)), t.message("c>", call(3), seq=1)]
    t.journal.feed(recorded)
    for row, marked, comment in ((1, True, "odd"), (2, True, ""), (0, True, "gone"), (0, False, "")):
        t.journal.note(row, marked, comment)
        recorded.append(mark_line(t.journal, row))
    again = Journal()
    again.feed(recorded)
    assert len(again.store) == 3
    assert [again.store.has(row, MARKED) for row in range(3)] == [False, True, True]
    assert again.comments == {1: "odd"}
    again.close()


async def test_the_theme_is_remembered(desk, tmp_path):
    desk.app.theme = "nord"
    await desk.until(lambda: Settings().theme == "nord", "the file")
    Settings().keep(other=1)
    assert Settings().theme == "nord"
    app = InspectorApp(Playback(str(tmp_path / "r.jsonl")))
    async with app.run_test():
        assert app.theme == "nord"
    app.journal.close()


async def test_c_copies_what_the_cursor_is_on(tmp_path):
    t = Transcript()
    tool = {"name": "run", "inputSchema": {"type": "object"}}
    listed = [
        t.message("c>", {"id": 1, "method": "tools/list"}),
        t.message("c<", {"id": 1, "result": {"tools": [tool]}}),
    ]
    app = InspectorApp(Playback(str(written(tmp_path / "r.jsonl", listed))))
    copied: list[str] = []
    app.copy_to_clipboard = copied.append
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 2, "the records")
        await person.press("c", "y")
        await person.until(lambda: "copied page" in person.screen(), "the answer")
        await person.press("j", "y", "G", "enter")
        assert copied[0].endswith("/mcp-ws/#/server/demo")
        assert copied[1].startswith("ws://")
        assert copied[1].endswith("/mcp-ws/servers/demo")
        assert "demo" in str(json.loads(copied[2]))
        await person.press("escape")
        assert len(app.screen_stack) == 1
    app.journal.close()


async def test_d_compares_two_marked_rows(desk):
    await desk.press("d")
    assert "0 are marked" in told(desk)
    await desk.press("g", "j", "m", "j", "j", "m", "d")
    assert isinstance(desk.app.screen, ReportScreen)
    await desk.until(lambda: "result.b: added, 2" in desk.screen(), "the difference")
    await desk.press("escape")


async def test_w_wraps_the_lines_of_the_detail_pane(desk):
    await desk.press("g", "j", "enter")
    text = desk.app.detail.text
    before = text.count()
    await desk.press("w")
    assert text.count() >= before + 2
    shown = "".join(piece for line in text.lines for piece, _ in line)
    assert "x" * 300 in shown
    await desk.press("w")
    assert text.count() == before


async def test_e_writes_what_the_filter_shows(desk, tmp_path):
    await desk.press("slash")
    await desk.write("id:1 | id:2")
    await desk.press("enter")
    for name in ("out.har", "out.html", "out.json", "out.jsonl", "out.jsonl.zst"):
        await desk.press("e", "ctrl+u")
        await desk.write(name)
        await desk.press("enter")
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    again = Recording(str(tmp_path / "out.jsonl.zst"))
    assert len([line for batch in again.batches() for line in batch]) == 4
    again.close()
    await desk.press("e", "ctrl+u", *"out.har", "enter")
    assert "exists; choose another name" in desk.screen()
    await desk.press("escape")
    assert desk.app.traffic.count() == 4, "Esc closed the question, and nothing else"


@pytest.mark.parametrize("name", ["out.har", "out.html", "out.jsonl"])
async def test_an_export_goes_on_while_records_come_and_loses_none_of_its_rows(tmp_path, monkeypatch, name):
    monkeypatch.setattr(file_actions, "AT_ONCE", -1.0)
    t, out = Transcript(), tmp_path / name
    held = [t.message("c>", call(n, f"tool-{n}-")) for n in range(300)]
    newer = [t.message("c>", call(n, "newer")) for n in range(300, 600)]
    journal = Journal(max_records=300)
    app = InspectorApp(Playback(str(written(tmp_path / "r.jsonl", held))), journal)
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 300, "the records")
        assert app._use_file("export", str(out)) == ""
        journal.feed(newer)
        assert "still being written" in app._use_file("export", str(tmp_path / "other.json"))
        assert journal.store.first == 0, "nothing is forgotten that is yet to be written"
        await person.until(lambda: "wrote 300 rows" in told(person), "the end of the export")
        journal.feed([t.message("c>", call(600))])
        assert len(journal.store) <= 300
    text = out.read_text()
    assert all(f"tool-{n}-" in text for n in range(300)) and "newer" not in text


async def test_an_export_is_complete_when_the_inspector_ends_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(file_actions, "AT_ONCE", -1.0)
    t, out = Transcript(), tmp_path / "out.har"
    lines = [t.message("c>", call(n)) for n in range(300)]
    app = InspectorApp(Playback(str(written(tmp_path / "r.jsonl", lines))))
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == 300, "the records")
        assert app._use_file("export", str(out)) == ""
    assert len(json.loads(out.read_text())["log"]["entries"]) == 301


async def test_filters_are_saved_and_offered_again(desk):
    await desk.press("slash")
    await desk.write("id:2")
    await desk.press("ctrl+s")
    assert SavedFilters().texts == ["id:2"]
    await desk.press("enter", "escape", "slash", "up")
    assert desk.app.prompt.field.value == "id:2"
    await desk.press("down")
    assert desk.app.prompt.field.value == ""
    await desk.press("up", "ctrl+s")
    assert SavedFilters().texts == []
    await desk.press("escape")


async def test_o_opens_another_recording_and_reports_what_is_none(desk, tmp_path):
    await desk.press("o")
    await desk.write("absent")
    await desk.press("enter")
    assert "cannot be read" in desk.screen()
    await desk.press(*["backspace"] * 6, *"r.jsonl", "enter")
    await desk.until(lambda: desk.app.opening, "the wish to open it")
    assert desk.app.opening == "r.jsonl"


async def test_actions_that_a_recording_does_not_support_are_reported(desk):
    await desk.press("E")
    assert "a recording has no links" in told(desk)
    for key in ("r", "R"):
        await desk.press(key)
        assert len(desk.app.screen_stack) == 1
        assert not desk.app.prompt.is_open
        assert "recording" in told(desk)


# --- live ----------------------------------------------------------------------------------------


async def test_R_records_from_now_on_and_stops(jupyter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with seat(jupyter) as person, client(jupyter) as peer:
        await person.press("R", *["backspace"] * 40, *"live.jsonl", "enter")
        await person.until(lambda: "● REC" in person.head, "the state")
        await echo(peer, "recorded")
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")
        await person.press("R")
        await person.until(lambda: "REC" not in person.head, "the end")
    recording = Recording(str(tmp_path / "live.jsonl"))
    assert recording.header.gateway == jupyter.url
    text = "".join(line for batch in recording.batches() for line in batch)
    recording.close()
    assert '\\"id\\": \\"recorded\\"' in text or '"recorded"' in text
    assert jupyter.token not in text


async def test_r_sends_a_request_again_only_when_confirmed(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, "once", "text")
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")

        def sent() -> int:
            rows = range(person.store.first, person.store.end)
            return sum(
                person.store.kind_of(r) is Kind.REQUEST and bool(person.store.target_of(r)) for r in rows
            )

        person.app.jump(person.requests(Status.OK)[0])
        before = sent()
        await person.press("r")
        assert isinstance(person.app.screen, Question)
        await person.press("escape")
        assert sent() == before
        await person.press("r")
        await person.until(lambda: "sends it" in person.screen(), "the question")
        await person.press("enter")
        await person.until(lambda: sent() > before, "the request")
        await person.until(lambda: "the response is the same as before" in told(person), "the comparison")


async def test_ctrl_e_edits_a_request_and_shows_how_the_response_differs(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, "once", "before")
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")
        person.app.jump(person.requests(Status.OK)[0])
        await person.press("ctrl+e")
        await person.until(lambda: isinstance(person.app.screen, Editing), "the editor")
        area = person.app.screen.area
        assert json.loads(area.text)["params"]["arguments"]["text"] == "before"
        sound = area.text
        area.text = sound[:-1]
        await person.press("ctrl+s")
        await person.until(lambda: "Expecting" in person.screen(), "what is wrong with it")
        area.text = sound.replace("before", "after")
        await person.press("ctrl+s")
        await person.until(lambda: "The response differs" in person.screen(), "the comparison")
        assert '"before" → "after"' in person.screen()


async def test_c_shows_how_to_connect_without_the_token(jupyter):
    async with seat(jupyter, (120, 40)) as person:
        await person.until(lambda: person.app.capabilities.servers, "the servers")
        await person.press("c")
        await person.until(lambda: "/mcp-ws/servers/fast" in person.screen(), "the address")
        assert jupyter.token not in person.screen()


def test_the_page_of_a_private_gateway_is_shown_with_its_token():
    first, *_ = items("http://127.0.0.1:8/", "+a+b", "secret")
    assert (first.name, first.text) == ("page", "http://127.0.0.1:8/mcp-ws/?token=secret#/server/%2Ba%2Bb")


# --- wrapping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 7, 80])
def test_wrapped_lines_lose_nothing_and_fit(width):
    from rich.cells import cell_len

    line: list[Any] = [("plain text ", "a"), ("漢字かな交じり", "b"), ("", "c"), ("end", "d")]
    found = wrapped(line, width)
    assert "".join(text for part in found for text, _ in part) == "plain text 漢字かな交じりend"
    assert all(sum(cell_len(text) for text, _ in part) <= max(2, width) for part in found)
    assert wrapped([], width) == [[]]


async def test_E_breaks_the_link_of_the_session_and_the_client_resumes(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.allow_faults=True")
    states: list[Any] = []
    async with seat(jupyter) as person:
        options = {"token": jupyter.token, "mode": "2026-07-28", "on_state": states.append}
        async with connect(jupyter.endpoint("fast"), **options) as caller:
            await caller.list_tools()
            await person.until(lambda: person.requests(Status.OK), "the answer")
            await person.press("g", "E")
            assert isinstance(person.app.screen, Choice)
            await person.press("1")
            await person.until(lambda: any(isinstance(state, Resumed) for state in states), "the client")
            assert (await caller.list_tools()).tools
            await person.until(lambda: "cut" in told(person), "what was done")
            await person.press("2")
            assert "fault" in person.screen()


async def test_E_reports_that_faults_are_not_allowed(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await peer.initialize()
        await person.until(lambda: person.requests(Status.OK), "the answer")
        await person.press("g", "E", "1")
        await person.until(lambda: "allow_faults" in told(person), "the refusal")
