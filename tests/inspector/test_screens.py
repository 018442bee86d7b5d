"""The screens of a recording, in a window of a given size."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_ws_ide.inspector.app import panes, traffic
from mcp_ws_ide.inspector.app.app import InspectorApp
from mcp_ws_ide.inspector.app.dialogs import ReportScreen
from mcp_ws_ide.inspector.app.keys import HELP
from mcp_ws_ide.inspector.app.panes import Capabilities, Ladder, Problems, Sessions
from mcp_ws_ide.inspector.model import view
from mcp_ws_ide.inspector.model.filters import parse
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.settings import SSH, Settings
from tests.inspector.records import Transcript, call, done
from tests.inspector.test_app import Seat
from tests.inspector.test_commands import written

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


@contextlib.asynccontextmanager
async def opened(
    folder: Path, lines: list[str], size: tuple[int, int] = (80, 24), filter_: str = ""
) -> AsyncIterator[Seat]:
    app = InspectorApp(Playback(str(written(folder / "r.jsonl", lines))), filter_=parse(filter_))
    async with app.run_test(size=size) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: len(person.store) == len(lines), "the records")
        yield person


@pytest.mark.parametrize("width", [80, 120])
async def test_help_breaks_no_word(tmp_path, width):
    async with opened(tmp_path, [], (width, 60)) as person:
        await person.press("question_mark")
        await person.until(lambda: "2025" in person.screen() or "Help" in person.screen(), "help")
        shown = person.screen()
        for _ in range(8):
            await person.press("pagedown")
            shown += person.screen()
        shown = re.sub(r"[│╭╮╰╯─█]", " ", shown)
        assert set(HELP.split()) <= set(shown.split())


async def test_a_line_that_is_cut_ends_in_a_mark_and_v_shows_it_in_full(tmp_path):
    t = Transcript()
    words = " ".join(f"word{number}" for number in range(60))
    tool = {"name": "run", "description": f"{words}\nsecond line", "inputSchema": {"type": "object"}}
    lines = [
        t.message("c>", {"id": 1, "method": "tools/list"}),
        t.message("c<", {"id": 1, "result": {"tools": [tool]}}),
    ]
    async with opened(tmp_path, lines) as person:
        filter_ = " ".join(f"!never{number}" for number in range(20))
        person.app._filter(parse(filter_))
        await person.until(lambda: "!never0" in person.screen(), "the filter")
        assert person.screen().split("\n")[1].rstrip().endswith("…")
        await person.press("v")
        await person.pilot.pause()
        assert filter_ in " ".join(person.screen().replace("│", " ").split())
        await person.press("escape", "5", "G")
        await person.until(lambda: person.app.capabilities.count(), "the tools")
        await person.pilot.pause()
        line = next(line for line in person.screen().split("\n") if "word0" in line)
        assert line.rstrip(" │█").endswith("…")
        assert "second" not in person.screen()
        await person.press("v")
        assert isinstance(person.app.screen, ReportScreen)
        shown = " ".join(person.screen().replace("│", " ").split())
        assert "word59" in shown
        assert "second line" in shown
        assert filter_ not in shown, "it concerns Traffic alone"


async def test_sessions_show_client_and_end_in_columns_and_the_era_without_a_gateway(tmp_path):
    t = Transcript()
    lines = [
        t.line(kind="event", event="link_opened", detail="10.0.0.7 agent/2"),
        t.message("c>", {"id": 0, "method": "initialize", "params": HELLO}),
        t.line(kind="event", event="link_closed", detail="4408 went to sleep"),
    ]
    async with opened(tmp_path, lines, (140, 24)) as person:
        await person.press("1")
        heading = person.app.sessions.heading(139)[0][0]
        line = person.lines(Sessions)[0]
        assert line[heading.index("client") :].strip() == "agent/2 10.0.0.7"
        assert line[heading.index("link") :].startswith("○ 4408 went to sleep")
        assert line[heading.index("era") :].startswith("handshake 2025-06-18")
        assert "queue" not in heading
        narrow = person.app.sessions.parts(0, 79)
        assert " handshake ○ 4408 wen…" in "".join(text for text, _ in narrow)
        await person.press("v")
        assert "10.0.0.7" in person.screen()


async def test_an_empty_recording_is_shown_as_empty_without_a_hint_to_connect(tmp_path):
    async with opened(tmp_path, []) as person:
        await person.until(lambda: "contains no records" in person.screen(), "the words")
        for key in "123456":
            await person.press(key)
            await person.until(lambda: "contains no records" in person.screen(), f"the words on {key}")
            assert "onnect a client" not in person.screen()


def troubles() -> list[str]:
    """One of each kind of problem, among calls that succeed and a client that leaves as it should."""
    t = Transcript()
    listen = {"id": 6, "method": "subscriptions/listen"}
    return [
        t.line(kind="event", event="link_opened", detail="10.0.0.7 agent/2"),
        t.message("c>", call(1, "fine")),
        t.message("c<", done(1)),
        t.message("c>", call(2, "fails")),
        t.message(">s", call(7, "fails"), origin_session="s1", origin_id=2, session=None),
        t.message("<s", done(7, isError=True, content=[{"type": "text", "text": "no disk"}]), session=None),
        t.message("c<", done(2, isError=True, content=[{"type": "text", "text": "no disk"}])),
        t.message("c>", call(3, "errs")),
        t.message("c<", {"id": 3, "error": {"code": -32602, "message": "bad argument"}}),
        t.line(
            kind="noise", event="stdout", raw="hello from print", leg="upstream", direction="in", session=None
        ),
        t.line(kind="noise", event="stderr", raw="a log line", leg="upstream", direction="in", session=None),
        t.message("c>", call(4, "loses")),
        t.line(kind="event", event="link_closed", detail="1006 the link was lost"),
        t.message("c>", listen, session="h"),
        t.message(">s", {**listen, "id": 9}, origin_session="h", origin_id=6, session=None),
        t.message(">s", {"method": "notifications/cancelled", "params": {"requestId": 9}}, session=None),
        t.line(kind="event", event="link_closed", detail="1000 the HTTP exchange has ended", session="h"),
        t.message("c>", call(8, "aborted"), session="i"),
        t.message(">s", call(10, "aborted"), origin_session="i", origin_id=8, session=None),
        t.message(">s", {"method": "notifications/cancelled", "params": {"requestId": 10}}, session=None),
        t.line(kind="event", event="link_closed", detail="1000 the HTTP exchange has ended", session="i"),
        t.line(kind="event", event="upstream_closed", detail="idle for 10 minutes", session=None),
    ]


async def test_problems_are_failures_losses_and_text_on_stdout_with_their_server_and_n_visits_each_once(
    tmp_path,
):
    async with opened(tmp_path, troubles()) as person:
        await person.press("6")
        await person.until(lambda: person.lines(Problems), "the problems")
        listed = [line.split()[2:] for line in person.lines(Problems)]
        assert [(words[0], words[2 if words[1] == "s1" else 1]) for words in listed] == [
            ("demo", "lost"),
            ("demo", "stdout"),
            ("demo", "error"),
            ("demo", "failed"),
        ]
        shown = person.screen()
        assert "no disk" in shown and "-32602: bad argument" in shown and "hello from print" in shown
        await person.press("2", "g")
        visited = []
        for _ in range(5):
            await person.press("n")
            visited.append(person.app.row)
        assert visited == [3, 7, 9, 11, 3]
        await person.press("N", "N")
        assert person.app.row == 9
        await person.press("l", "g", "n", "n", "n")
        assert person.app.row == 9


async def test_every_row_names_its_server_and_a_gap_has_no_number(tmp_path):
    t = Transcript()
    gap = {"time": 1.8e9, "mono": 101, "kind": "gap", "method": "gap", "raw": "not connected"}
    lines = [t.message("c>", call(1), server="filesystem"), json.dumps(gap)]
    async with opened(tmp_path, lines) as person:
        row = person.screen().split("\n")[3]
        assert " filesys… s1 " in row
        assert "══ gap:" in person.screen().split("\n")[4]
        await person.press("enter")
        await person.until(lambda: "not connected" in person.app.detail.text.lines[1][0][0], "the gap")
        await person.press("k")
        await person.until(lambda: "filesystem request" in person.screen(), "the server")
        assert not re.search(r"#0|\s0 \d\d:", person.screen())


async def test_where_there_is_a_preview_it_shows_the_text_of_what_is_no_message(tmp_path):
    t = Transcript()
    end = "the process exited with code 1; stderr: " + "why " * 5
    lines = [
        t.line(kind="event", event="upstream_closed", detail=end),
        t.message("<s", "Listening on 80", kind="noise", event="stdout"),
        t.message("c>", "{", kind="malformed"),
        json.dumps({"time": 1.8e9, "mono": 101, "kind": "gap", "method": "gap", "raw": "not connected"}),
    ]
    async with opened(tmp_path, lines, (200, 24)) as person:
        names = ["* upstream_closed", "stdout", "malformed", "══ gap"]
        texts = [end.strip(), "Listening on 80", "{", "not connected"]
        for line, name, text in zip(person.screen().split("\n")[3:7], names, texts, strict=True):
            assert f" {name} " in line and line.strip(" │█").endswith(f" {text}")
    async with opened(tmp_path, lines) as person:
        assert "* upstream_closed the pro" in person.screen()


async def test_columns_stay_aligned_from_a_million_records_on(tmp_path):
    t = Transcript()
    lines = [
        t.message("c>", call(1), seq=999_999),
        t.message("c<", done(1), seq=1_000_000, mono=t.mono + 5e6, size=12_345_678, truncated=True),
        t.message("c>", "nonsense", seq=1_000_001),
    ]
    for size in ((80, 24), (120, 40), (200, 60)):
        async with opened(tmp_path, lines, size) as person:
            for key, place in (("2", 2), ("6", 2)):
                await person.press(key)
                await person.until(lambda: "1000001" in person.screen(), "the rows")
                heading, *rows = person.screen().split("\n")[place:]
                at = heading.index(" time ") + 1
                rows = [row for row in rows if "10000" in row or "999999" in row]
                assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} demo", row[at:]) for row in rows)
            await person.press("2")
            traffic = person.app.traffic
            (width,) = {sum(len(text) for text, _ in traffic.parts(i, size[0] - 1)) for i in range(3)}
            assert width == size[0] - 1


@pytest.mark.parametrize("key", ["1", "4"])
async def test_traffic_is_painted_after_enter_on_a_long_list(tmp_path, key):
    t = Transcript()
    lines = [
        line
        for n in range(40)
        for line in (
            t.message("c>", call(1, f"tool{n}"), session=f"s{n:02}"),
            t.message("c<", done(1), session=f"s{n:02}"),
        )
    ]
    async with opened(tmp_path, lines) as person:
        await person.press(key)
        await person.until(lambda: person.app.current.count() == 40, "the list")
        await person.press("G", "enter")
        await person.until(lambda: person.app.traffic.count() == 2, "the filter")
        await person.pilot.pause()
        assert person.screen().count("tools/call tool") == 2


async def test_the_newest_row_is_visible_after_another_screen_and_after_a_resize(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(n, f"tool{n}")) for n in range(100)]
    async with opened(tmp_path, lines) as person:
        await person.press("4")
        person.app.traffic.top = 0  # as if the records had come while another screen was shown
        await person.press("2")
        await person.pilot.pause()
        assert "tool99" in person.screen()
        for size in ((80, 12), (120, 40), (80, 24)):
            await person.pilot.resize_terminal(*size)
            await person.pilot.pause()
            assert "tool99" in person.screen()
            assert person.screen().count("tools/call tool") == size[1] - 4


async def test_what_came_during_a_long_pause_is_filtered_a_slice_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(traffic, "SLICE", 100)
    monkeypatch.setattr(traffic, "AT_ONCE", -1.0)
    monkeypatch.setattr(view, "SLICE", 50)
    t = Transcript()
    async with opened(tmp_path, [t.message("c>", call(0))]) as person:
        await person.press("slash", *"tool:odd", "enter", "p")
        app = person.app
        lines = [t.message("c>", call(n, "odd" if n % 2 else "even")) for n in range(1, 301)]
        app.traffic.update([app.journal.feed(lines)], 0.0)
        assert app.traffic.count() == 0
        app.action_pause()
        assert 0 < app.traffic.count() < 150, "the newest rows are there at once"
        await person.until(lambda: app.traffic.unfinished is None, "the filter")
        assert [row for row in app.traffic.listed] == list(range(1, 301, 2))


async def test_a_long_ladder_is_shown_a_slice_at_a_time_and_goes_to_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(panes, "AT_ONCE", -1.0)
    monkeypatch.setattr("mcp_ws_ide.inspector.app.app.SHARE", -1.0)
    monkeypatch.setattr(view, "SLICE", 50)
    t = Transcript()
    lines = [t.message("c>", call(n), session=f"s{n % 2}") for n in range(400)]
    async with opened(tmp_path, lines) as person:
        ladder = person.app.ladder
        await person.press("g", "j", "3")
        await person.until(lambda: ladder.count() == 200, "the ladder")
        await person.until(lambda: ladder.row == 1, "the row that the cursor was on")
        await person.press("2", "G", "k")
        person.app.action_screen("ladder")
        assert ladder.row == 398 and ladder.session == "s0"
        assert ladder.count() < 200, "the newest rows come first"
        ladder.action_move(-1)
        await person.until(lambda: ladder.count() == 200, "the ladder")
        assert ladder.row == 396, "the cursor stays on its row while older ones come"


async def test_the_ladder_goes_to_the_row_and_shows_no_filter_of_traffic(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(n, f"tool{n}")) for n in range(60)]
    async with opened(tmp_path, lines) as person:
        person.app._filter(parse("tools"))
        person.app.traffic.go_row(7)
        await person.pilot.pause()
        assert "/tools" in person.screen()
        await person.press("3")
        assert person.app.row == 7
        await person.until(lambda: "tool7 " in person.screen(), "the row")
        assert "/tools" not in person.screen()
        assert "follow" not in person.screen().split("\n")[1]


async def test_raw_text_is_as_wide_as_the_window(tmp_path):
    t = Transcript()
    async with opened(tmp_path, [t.message("c>", call(1, "x" * 300))]) as person:
        person.app.detail.tab = 4
        await person.press("enter")
        await person.pilot.pause()
        for width in (80, 140):
            await person.pilot.resize_terminal(width, 24)
            await person.pilot.pause()
            assert len(person.app.detail.text.lines[0][0][0]) == width - 1


async def test_a_recording_that_is_being_read_is_shown_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr(Playback, "take", lambda self: None)
    app = InspectorApp(Playback(str(written(tmp_path / "r.jsonl", []))))
    async with app.run_test(size=(80, 24)) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: "Reading the recording" in person.screen(), "the words")


async def test_a_ladder_has_no_empty_durations(tmp_path):
    t = Transcript()
    lines = [t.message("c<", done(15)), t.message("c>", call(16)), t.message("c<", done(16))]
    async with opened(tmp_path, lines) as person:
        await person.press("3")
        await person.until(lambda: len(person.lines(Ladder)) == 3, "the ladder")
        ladder = "\n".join(person.lines(Ladder))
        assert re.search(r"OK 15 ─", ladder)
        assert re.search(r"OK 16 10 ms ─", ladder)


async def test_timing_on_the_server_leg_shows_that_leg_and_the_total(tmp_path):
    t = Transcript()
    lines = [
        t.message("c>", call(1)),
        t.message(">s", call(7), origin_session="s1", origin_id=1, session=None),
        t.message("<s", done(7), session=None),
        t.message("c<", done(1)),
        t.message(">s", call(8), session=None),
    ]
    async with opened(tmp_path, lines, (120, 40)) as person:
        await person.press(
            "g", "j", "j", "enter", "right_square_bracket", "right_square_bracket", "right_square_bracket"
        )
        await person.until(lambda: "this leg" in person.screen(), "the leg")
        shown = person.screen()
        assert re.search(r"this leg +10 ms", shown)
        assert re.search(r"total +30 ms", shown)
        assert re.search(r"upstream +10 ms", shown)
        await person.press("G")
        await person.until(lambda: "not seen" in person.screen(), "that there is no other leg")


async def test_reasons_of_several_lines_are_shown_on_one(tmp_path):
    t = Transcript()
    lines = [
        t.message("c>", call(1)),
        t.line(
            kind="event", event="upstream_closed", detail="\n      the process exited\n\n   with   code 3"
        ),
    ]
    async with opened(tmp_path, lines) as person:
        await person.press("6")
        await person.until(lambda: person.lines(Problems), "the problem")
        assert any(
            "upstream_closed the process exited with code 3" in line for line in person.lines(Problems)
        )
        person.app.capabilities.refreshed([{"name": "x", "state": "failed", "reason": "    a\n   b"}])
        await person.press("5")
        assert any(line.endswith("  a b") for line in person.lines(Capabilities))


async def test_a_subscription_that_stays_open_is_no_problem(tmp_path):
    t = Transcript()
    lines = [
        t.message("c>", {"id": 1, "method": "subscriptions/listen"}),
        t.message("c>", call(2)),
        t.line(kind="event", event="resumed", mono=t.mono + 60),
    ]
    async with opened(tmp_path, lines) as person:
        await person.press("6")
        await person.until(lambda: "Problems(1)" in person.screen(), "the call alone")
        assert ["tools/call" in line for line in person.lines(Problems)] == [True]


async def test_a_screen_is_repainted_only_when_something_visible_changed(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(1, "echo")), t.message("c<", done(1))]
    async with opened(tmp_path, lines) as person:
        for key in "13456":
            await person.press(key)
            pane, painted = person.app.current, []
            pane.update()
            pane.refresh = lambda *_, painted=painted, **__: painted.append(1)
            person.app._refresh_pane(pane)
            assert painted == [], type(pane).__name__
            pane.cursor, pane._seen = 0, None
            person.app._refresh_pane(pane)
            assert painted == [1], type(pane).__name__


async def test_a_click_on_a_heading_sorts_and_a_search_shows_which_match_of_how_many(tmp_path):
    t = Transcript()
    lines = []
    for number, took in enumerate((0.03, 0.5, 0.01)):
        lines.append(t.message("c>", call(number, f"tool{number}")))
        lines.append(t.message("c<", done(number), mono=t.mono + took))
    async with opened(tmp_path, lines, (160, 24)) as person:
        traffic = person.app.traffic

        async def click(word: str) -> None:
            x = person.screen().split("\n")[2].index(word)
            await person.pilot.click("#traffic", offset=(x, 0))
            await person.pilot.pause()

        await click("total")
        assert [person.store.target_of(row) for row in traffic.listed] == ["tool1", "tool0", "tool2"]
        assert "total▼" in person.screen()
        await click("total")
        assert [person.store.target_of(row) for row in traffic.listed] == ["tool2", "tool0", "tool1"]
        await person.press("ctrl+f", *"kind:request", "enter")
        assert "^F kind:request 1/3" in person.screen()
        await person.press("n")
        await person.until(lambda: "^F kind:request 2/3" in person.screen(), "the second match")
        assert traffic.ranking is not None
        await click("#")
        assert list(traffic.listed) == list(range(6))
        await person.press("4")
        x = person.screen().split("\n")[2].index("p95")
        await person.pilot.click("#stats", offset=(x, 0))
        assert person.app.stats.order == "p95"


async def test_chosen_columns_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    t = Transcript()
    lines = [t.message("c>", call("i-1", "run"))]
    async with opened(tmp_path, lines) as person:
        await person.press("C", "j", "enter", "j", "j", "j", "space", "escape")
        await person.until(lambda: "i-1" in person.screen(), "the id")
        assert " time " not in person.screen().split("\n")[2]
    async with opened(tmp_path, lines) as person:
        assert "i-1" in person.screen()
        await person.press("C", "a")
        await person.until(lambda: " time " in person.screen().split("\n")[2], "the usual columns")
        assert "i-1" not in person.screen()


async def test_in_a_wide_window_the_details_are_beside_the_list_and_what_is_searched_is_highlighted(tmp_path):
    t = Transcript()
    message = call(1, "needle", progressToken="token-1")
    async with opened(tmp_path, [t.message("c>", message)], (160, 24)) as person:
        await person.press("ctrl+f", *"~need.e", "enter")
        await person.until(lambda: "^F ~need.e 1/1" in person.screen(), "the match")
        await person.press("enter")
        detail, traffic = person.app.detail, person.app.traffic
        await person.until(lambda: detail.text.lines[1:], "the details")
        await person.pilot.pause()
        assert detail.region.y == traffic.region.y
        assert detail.region.x >= traffic.region.right
        shown = [part for line in detail.text.lines for part in line]
        assert ("needle", "match") in shown
        assert ("needle", "match") in traffic.parts(0, 159)
        text = "".join(piece for piece, _ in shown)
        assert '"_meta": {…}  z shows it' in text
        assert "token-1" not in text
        await person.press("z")
        assert "token-1" in "".join(piece for line in detail.text.lines for piece, _ in line)
        await person.pilot.resize_terminal(120, 40)
        await person.pilot.pause()
        assert detail.region.y >= traffic.region.bottom


async def test_objects_and_arrays_of_a_message_fold_to_a_line_and_unfold(tmp_path):
    t = Transcript()
    rows = {"rows": [{"name": "a"}, {"name": "b"}], "none": [], "text": "a { in a string"}
    lines = [t.message("c>", call(1)), t.message("c<", done(1, structuredContent=rows))]
    async with opened(tmp_path, lines) as person:
        detail = person.app.detail
        await person.press("g", "right_square_bracket", "enter")
        assert detail.tab == 0, "a closed pane does not change its tab"
        await person.press("right_square_bracket", "tab")

        def shown() -> list[str]:
            return ["".join(piece for piece, _ in line).strip() for line in detail.text.lines[1:]]

        async def choose(line: str) -> None:
            await person.press("g", *["j"] * (1 + shown().index(line)), "enter")

        whole = shown()
        assert '"name": "b"' in whole
        await choose('"rows": [')
        assert '"rows": [… 6 lines ],' in shown()
        assert '"name": "b"' not in shown()
        assert detail.text.lines[detail.text.cursor][1][0] == '"rows"'
        await person.press("enter")
        assert shown() == whole
        await choose('"name": "b"')  # within the object
        assert shown()[shown().index('"name": "a"') :][:3] == ['"name": "a"', "},", "{… }"]
        await choose('"id": 1,')
        assert shown().count("{… }") == 1 and shown()[0] == "{", "nothing is folded around it but the message"
        await person.press("minus")
        assert shown() == ["{", '"jsonrpc": "2.0",', '"id": 1,', '"result": {… 13 lines }', "}"]
        await person.press("w", "plus")
        assert shown() == whole
        await person.press("minus", "left_square_bracket", "right_square_bracket")
        assert shown() == whole


async def test_the_last_line_offers_what_the_screen_can_do_and_each_word_can_be_clicked(tmp_path):
    t = Transcript()
    async with opened(tmp_path, [t.message("c>", call(1)), t.message("c<", done(1))]) as person:

        def keys() -> str:
            return person.screen().split("\n")[-1]

        async def click(word: str) -> None:
            await person.pilot.click("#keys", offset=(keys().index(word) + 1, 0))
            await person.pilot.pause()

        assert "/ filter" in keys() and "q quit" in keys()
        await click("↵ detail")
        await person.until(lambda: "z _meta" in keys(), "the keys of the details")
        await click("Esc close")
        await person.until(lambda: "l fold" in keys(), "the keys of Traffic")
        await click("l fold")
        assert person.app.traffic.folding
        await person.press("4")
        await person.until(lambda: "s sort" in keys() and "l fold" not in keys(), "the keys of Stats")
        await click("? help")
        assert isinstance(person.app.screen, ReportScreen)


async def test_going_to_a_folded_answer_unfolds_and_keeps_the_filter(tmp_path):
    t = Transcript()
    lines = [
        line
        for number in range(3)
        for line in (t.message("c>", call(number, f"tool{number}")), t.message("c<", done(number)))
    ]
    async with opened(tmp_path, lines) as person:
        person.app._filter(parse("tool:tool*"))
        await person.press("l", "g")
        assert list(person.app.traffic.view.rows) == [0, 2, 4]
        await person.press("x")
        assert person.app.row == 1
        assert not person.app.traffic.folding
        assert person.app.traffic.filter.text == "tool:tool*"
        assert any("unfolded" in notification.message for notification in person.app._notifications)
        await person.press("l")
        person.app._filter(parse("kind:request"))
        await person.press("x")
        assert (person.app.row, person.app.traffic.filter.text) == (1, "")


async def test_the_timeline_has_a_bar_per_operation_on_the_scale_of_what_is_visible(tmp_path):
    t = Transcript(step=0.1)
    origin = {"origin_session": "s1", "origin_id": 1}
    lines = [
        t.message("c>", call(1)),
        t.message(">s", call(9), **origin),
        t.message("<s", done(9)),
        t.message("c<", done(1)),
        t.message("c>", call(2)),
        t.message("c>", {"method": "notifications/initialized"}),
    ]
    async with opened(tmp_path, lines) as person:
        await person.press("T")
        await person.until(lambda: "timeline of 500 ms" in person.screen(), "the timeline")
        traffic = person.app.traffic
        assert traffic.count() == 3 and "timeline" in person.screen().split("\n")[1]
        room = len(traffic.parts(0, 79)[-1][0])
        bars = [traffic.parts(index, 79)[-1][0] for index in range(3)]
        # The call took 300 ms of the 500, its server the middle 100; the second one is still open.
        assert bars[0].strip("▒ ").strip("█") == "" and bars[0].startswith("▒")
        shares = [bars[0].count(sign) / room for sign in "▒█"]
        assert shares == [pytest.approx(0.4, abs=0.07), pytest.approx(0.2, abs=0.07)]
        assert bars[1].strip() == "░" * bars[1].count("░") and bars[1].endswith("░")
        assert bars[2].strip() == "│" and len(bars[2].rstrip()) == room
        await person.press("T")
        await person.until(lambda: traffic.count() == len(lines), "the messages")


async def test_a_filter_of_the_command_line_is_applied_and_escape_clears_it(tmp_path):
    t = Transcript()
    lines = [t.message("c>", call(1, "read")), t.message("c>", call(2, "write"))]
    async with opened(tmp_path, lines, filter_="tool:read") as person:
        await person.until(lambda: person.app.traffic.count() == 1, "what matches")
        assert "/tool:read" in person.screen()
        await person.press("escape")
        await person.until(lambda: person.app.traffic.count() == 2, "everything")


def two_sessions() -> list[str]:
    t, lines = Transcript(), []
    for session, tools in (("aaaa1111", ("read", "read_all", "write it")), ("bbbb2222", ("read", "ls"))):
        for number, tool in enumerate(tools):
            lines += [t.message("c>", call(number, tool), session=session)]
            lines += [t.message("c<", done(number), session=session)]
    return lines


async def test_tab_completes_a_filter_with_what_the_traffic_has(tmp_path):
    async with opened(tmp_path, two_sessions(), (120, 24)) as person:
        field = person.app.prompt.field
        await person.press("slash", "t", "o", "tab")
        assert field.value == "tool:"
        await person.press("r", "tab")
        assert field.value == "tool:read"
        await person.until(lambda: "Tab tool:read_all" in person.screen(), "what else there is")
        await person.press("tab", "space", "s", "t", "a", "tab", "o", "tab", "enter")
        assert person.app.traffic.filter.text == "tool:read_all status:ok"
        await person.press("slash", *["backspace"] * 40, *"tool:w", "tab")
        assert field.value == 'tool:"write it"'


async def test_a_command_is_completed_run_or_refused(tmp_path):
    async with opened(tmp_path, two_sessions(), (120, 30)) as person:
        app, field = person.app, person.app.prompt.field
        await person.press("colon", *"nonsense", "enter")
        await person.until(lambda: "unknown command 'nonsense'" in person.screen(), "the refusal")
        await person.press("escape", "colon", *"fil", "tab", *"tool:l", "tab", "enter")
        await person.until(lambda: app.traffic.filter.text == "tool:ls", "the filter")
        await person.press("colon", *"sta", "tab", "enter")
        await person.until(lambda: app.current is app.stats, "the screen")
        await person.press("colon", *"diff a", "tab", "space", "b", "tab")
        assert field.value == "diff aaaa1111 bbbb2222"
        await person.press("enter")
        await person.until(lambda: isinstance(app.screen, ReportScreen), "the comparison")
        await person.until(lambda: "aaaa1111 and bbbb2222: 3 and 2 requests" in person.screen(), "its title")
        shown = person.screen()
        assert "- #3 tools/call read_all" in shown and "+ #9 tools/call ls" in shown


async def test_keys_of_the_settings_replace_the_usual_ones_also_in_the_last_line(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    own = {"timeline": "ctrl+t", "follow": "F", "nosuch": "x"}
    Settings().keep(keys=own, refresh=5)
    async with opened(tmp_path, two_sessions(), (120, 24)) as person:
        traffic = person.app.traffic
        assert "no action is called nosuch" in " ".join(note.message for note in person.app._notifications)
        assert "ctrl+t timeline" in person.screen().split("\n")[-1]
        await person.press("T")
        assert not traffic.timeline
        await person.press("ctrl+t")
        assert traffic.timeline
        await person.press("question_mark")
        await person.until(lambda: "timeline (your settings)" in person.screen(), "the help")


@pytest.mark.parametrize("text", ['{"theme": "nord",}', "[1]", "[" * 60_000], ids=["comma", "list", "deep"])
async def test_a_mistake_in_the_settings_is_reported_and_the_file_is_kept(tmp_path, monkeypatch, text):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    path = Settings().path
    path.parent.mkdir(parents=True)
    path.write_text(text)
    async with opened(tmp_path, []) as person:
        said = [notification.message for notification in person.app._notifications]
        assert any(f"{path} is ignored, and not written" in message for message in said)
        person.app.theme = "nord"
        await person.until(lambda: person.app.settings.theme == "nord", "the theme")
        assert path.read_text() == text
        path.write_text("")
        person.app.settings.keep(theme="gruvbox")
        assert json.loads(path.read_text()) == {"theme": "gruvbox"}


@pytest.mark.parametrize(
    ("members", "ssh", "rate"),
    [({}, "", 20), ({}, "10.0.0.1 1 10.0.0.2 22", 10), ({"refresh": 3}, "x", 3), ({"refresh": 1e9}, "", 60)],
)
def test_the_screen_is_updated_less_often_over_ssh_unless_the_user_chose_how_often(
    tmp_path, monkeypatch, members, ssh, rate
):
    for name in SSH:
        monkeypatch.delenv(name, raising=False)
    if ssh:
        monkeypatch.setenv(SSH[0], ssh)
    settings = Settings(tmp_path / "settings.json")
    settings.keep(**members)
    assert settings.refresh == rate
