"""The full-screen inspector, driven by keys, on a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.app.app import InspectorApp
from mcp_ws_ide.inspector.app.detail import Detail, Text
from mcp_ws_ide.inspector.app.dialogs import Help, Prompt
from mcp_ws_ide.inspector.app.panes import Capabilities, Ladder, Pane, Problems, Sessions, Stats
from mcp_ws_ide.inspector.app.rows import Line, Rows
from mcp_ws_ide.inspector.model.records import Kind, Status
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, Peer
from tests.inspector.records import Transcript

SIZE = (80, 24)
EVIL = "\x1b]2;0wned\x07\u202etxt[bold]x[/]\x9b31m"


class Seat:
    """Someone at the keyboard."""

    def __init__(self, app: InspectorApp, pilot: Any) -> None:
        self.app = app
        self.pilot = pilot
        self.store = app.journal.store

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, text: str) -> None:
        await self.pilot.press(*({" ": "space"}.get(c, c) for c in text))

    async def until(self, condition: Callable[[], Any], what: str = "the condition") -> Any:
        try:
            async with asyncio.timeout(BOUND):
                while not (value := condition()):
                    await self.pilot.pause(0.02)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true; the screen:\n{self.screen()}") from None
        return value

    def screen(self) -> str:
        """What is to be seen."""
        app = self.app
        return "\n".join(
            "".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()
        )

    def lines(self, kind: type[Rows]) -> list[str]:
        """All lines of a screen."""
        rows = self.app.query_one(kind)
        return ["".join(text for text, _ in rows.parts(index, 150)) for index in range(rows.count())]

    @property
    def head(self) -> str:
        return self.app.head.text

    @property
    def tabs(self) -> str:
        return self.app.tabs.text

    def requests(self, status: Status) -> list[int]:
        store = self.store
        rows = range(store.first, store.end)
        return [r for r in rows if store.kind_of(r) is Kind.REQUEST and store.status_of(r) is status]


@contextlib.asynccontextmanager
async def seat(jupyter: Jupyter, size: tuple[int, int] = SIZE) -> AsyncIterator[Seat]:
    app = InspectorApp(lambda: RunningGateway(jupyter.url, jupyter.token))
    async with app.run_test(size=size) as pilot:
        person = Seat(app, pilot)
        await person.until(lambda: "LIVE" in person.head, "the link")
        yield person


@contextlib.asynccontextmanager
async def client(jupyter: Jupyter, name: str = "fast") -> AsyncIterator[Peer]:
    async with jupyter.connect(name) as link:
        yield Peer(link)


async def echo(peer: Peer, request_id: Any, text: str = "hi") -> None:
    await peer.send(id=request_id, method="tools/call", params={"name": "echo", "arguments": {"text": text}})
    await peer.receive()


async def test_traffic_shows_both_legs_and_every_screen_fits_80_columns(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await peer.initialize()
        for number in range(3):
            await echo(peer, number)
        await person.until(
            lambda: len(person.requests(Status.OK)) >= 8, "four answered requests on both legs"
        )
        assert "c→g" in person.screen()
        assert "g→s" in person.screen()
        assert "tools/call echo" in person.screen()
        for key, name in zip(
            "134562", ("Sess", "Ladder", "Stats", "Caps", "Problems", "Traffic"), strict=True
        ):
            await person.press(key)
            await person.until(lambda name=name: f" {name}" in person.tabs.split("[")[1].split("]")[0], name)
            assert len(person.screen().split("\n")) == SIZE[1]
        await person.press("4")
        assert any("fast tools/call echo" in line and " 3 " in line for line in person.lines(Stats))
        await person.press("5")
        assert any("fast 1" in line for line in person.lines(Capabilities))
        await person.press("1")
        await person.until(lambda: any("● " in line for line in person.lines(Sessions)), "the live session")
        await person.press("3")
        ladder = "\n".join(person.lines(Ladder))
        assert "tools/call echo 2" in ladder
        assert "◀─ OK 2 " in ladder


async def test_a_filter_shows_its_mistake_and_then_what_matches(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, "first", "needle")
        await echo(peer, "second")
        await person.until(lambda: len(person.requests(Status.OK)) >= 4, "the answers")
        await person.press("slash")
        await person.write("id:x lat:>>5")
        hint = person.app.query_one("#prompt-hint", Line)
        assert hint.text.index("^") == len("id:x lat:")
        assert "comparison" in person.screen()
        await person.press("enter")
        assert person.app.query_one(Prompt).is_open
        await person.press(*["backspace"] * 12)
        await person.write("needle kind:request")
        await person.press("enter")
        traffic = person.app.traffic
        assert traffic.count() == 2
        assert all("echo" in person.store.target_of(row) for row in traffic.view.rows)
        assert "/needle" in person.tabs
        await person.press("escape")
        assert traffic.count() == len(person.store)


async def test_a_truncated_message_is_named_where_it_was_searched_copied_or_listed(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, "first")
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answers")
        cut = Transcript().message("c<", '{"jsonrpc":"2.0","id":9,"result":{"x":"a', kind="response", id=9)
        record = {**json.loads(cut), "server": "fast", "truncated": True, "size": 2_000_000}
        listing = {**record, "method": "tools/list", "kind": "request", "truncated": False, "direction": "in"}
        person.app.journal.feed([json.dumps(listing), json.dumps(record)])
        await person.press("slash")
        await person.write("no such word")
        await person.press("enter")
        assert "1 message is truncated; its end was not searched" in [
            n.message for n in person.app._notifications
        ]
        await person.press("escape", "escape")
        person.app.traffic.go_row(person.store.end - 1)
        await person.press("y")
        await person.until(
            lambda: "of 2,000,000 bytes: not valid JSON" in person.screen(),
            "the warning",
        )
        await person.press("escape")
        await person.app.run_action("screen('capabilities')")
        await person.until(
            lambda: any("there may be more" in line for line in person.lines(Capabilities)), "the list"
        )


async def test_pause_freezes_the_list_and_follow_continues(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, 1)
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")
        traffic = person.app.traffic
        await person.press("p")
        seen, held = traffic.count(), len(person.store)
        await echo(peer, 2)
        await person.until(lambda: len(person.store) > held, "more records")
        assert traffic.count() == seen
        assert "PAUSED" in person.tabs
        await person.press("p")
        assert traffic.count() == len(person.store)
        await person.press("g")
        assert (traffic.cursor, traffic.following) == (0, False)
        await person.press("G")
        await person.press("f")
        assert traffic.following
        await echo(peer, 3)
        await person.until(lambda: traffic.cursor == len(person.store) - 1 > held, "the newest row")


async def test_from_a_request_to_its_pair_to_the_other_leg_and_to_its_details(jupyter):
    async with seat(jupyter, (120, 40)) as person, client(jupyter) as peer:
        arguments = {"steps": 2, "delay": 0.01}
        await peer.send(
            id="slow",
            method="tools/call",
            params={"name": "slow", "arguments": arguments, "_meta": {"progressToken": 9}},
        )
        for _ in range(4):
            await peer.receive()
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")
        request = person.requests(Status.OK)[0]
        person.app.jump(request)
        await person.press("enter")
        text = person.app.query_one(Text)

        def shown() -> str:
            return "\n".join("".join(piece for piece, _ in line) for line in text.lines)

        assert '"_meta": {…}' in shown()
        await person.press("z")
        assert '"progressToken": 9' in shown()
        await person.press("right_square_bracket")
        assert "2 steps" in shown()
        await person.press("right_square_bracket")
        assert shown().count("progress slow") == 6
        await person.press("right_square_bracket")
        assert "gateway" in shown()
        await person.press("right_square_bracket")
        assert json.loads(shown().replace("\n", ""))["id"] == "slow"
        await person.press("tab", "tab")
        await person.press("x")
        assert person.app.row == person.store.linked(person.store.pair, request)
        await person.press("x", "t")
        assert person.app.row == person.store.linked(person.store.twin, request)
        await person.press("escape")
        assert not person.app.query_one(Detail).is_open


async def test_marks_search_and_folding(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        for number in range(4):
            await echo(peer, number, f"text {number}")
        await person.until(lambda: len(person.requests(Status.OK)) >= 8, "the answers")
        traffic = person.app.traffic
        await person.press("ctrl+f")
        await person.write('"text 2" kind:request')
        await person.press("enter")
        first = person.app.row
        assert "text 2" in person.store.body(first).text
        await person.press("n")
        assert person.app.row == person.store.linked(person.store.twin, first)
        await person.press("N", "m", "M")
        assert list(traffic.view.rows) == [first]
        await person.press("M", "l")
        calls = [row for row in traffic.view.rows if person.store.method_of(row) == "tools/call"]
        assert len(calls) == 4


async def test_what_a_peer_writes_is_inert_on_every_screen(jupyter):
    async with seat(jupyter, (120, 40)) as person, client(jupyter) as peer:
        await peer.initialize()
        await peer.send(id=EVIL, method="tools/call", params={"name": EVIL, "arguments": {EVIL: EVIL}})
        await peer.receive()
        deep = '{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":{"text":%s1%s}}}'
        await peer.link.send(deep % ("[" * 5000, "]" * 5000))
        await person.until(lambda: len(person.requests(Status.ERROR)) >= 2, "the refusal")
        person.app.jump(person.requests(Status.ERROR)[0])
        await person.press("enter")
        for key in "134562":
            await person.press(key)
            for _ in range(6):
                await person.press("right_square_bracket")
                screen = person.screen()
                assert not any(ord(c) < 32 and c != "\n" for c in screen)
                assert not any(0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in screen)
        await person.press("4")
        assert "\\x1b]2;0wned\\x07\\u202etxt[bold]x" in person.screen()


async def test_a_gateway_that_restarts_is_watched_again_and_the_gap_is_marked(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    async with seat(jupyter) as person:
        async with client(jupyter) as peer:
            await peer.send(
                id=1, method="tools/call", params={"name": "slow", "arguments": {"steps": 9, "delay": 60}}
            )
            await person.until(lambda: person.requests(Status.PENDING), "the open request")
        await person.until(lambda: not person.requests(Status.PENDING), "its end")
        await asyncio.to_thread(jupyter.stop)
        await person.until(lambda: "NOT CONNECTED" in person.head, "the end of the link")
        again = make_jupyter({"fast": FAST_SERVER}, port=jupyter.port)
        await person.until(lambda: "LIVE" in person.head, "the new link")
        async with client(again) as peer:
            await echo(peer, 2)
            await person.until(lambda: person.requests(Status.OK), "new traffic")
        kinds = [person.store.kind_of(row) for row in range(person.store.first, person.store.end)]
        assert kinds.count(Kind.GAP) == 1
        assert "gap" in person.app.journal.problem_counts
        await person.press("6")
        assert any("gap" in line for line in person.lines(Problems))


async def test_help_and_palette_open_and_close(jupyter):
    async with seat(jupyter) as person:
        await person.press("question_mark")
        await person.until(lambda: isinstance(person.app.screen, Help), "help")
        await person.press("escape")
        await person.press("ctrl+p")
        await person.until(lambda: type(person.app.screen).__name__ == "CommandPalette", "the palette")
        await person.press("escape")
        await person.until(lambda: len(person.app.screen_stack) == 1, "the end of the palette")


async def test_a_click_moves_the_cursor_and_a_second_one_opens_the_details(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, 1)
        await person.until(lambda: len(person.requests(Status.OK)) >= 2, "the answer")
        await person.press("f")
        await person.pilot.click("#traffic", offset=(20, 2))
        assert person.app.traffic.cursor == 1
        await person.pilot.click("#traffic", offset=(20, 2), times=2)
        assert person.app.query_one(Detail).is_open


async def test_a_click_on_its_name_opens_a_screen_and_on_a_tab_that_tab(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await echo(peer, 1)
        await person.until(lambda: person.requests(Status.OK), "the answer")
        for name in ("Stats", "Problems", "Sess", "Traffic"):
            await person.pilot.click("#tabs", offset=(person.tabs.index(name) + 1, 0))
            await person.until(lambda name=name: f"{name}" in person.tabs.split("[")[1].split("]")[0], name)
        await person.press("enter")
        detail = person.app.detail
        await person.pilot.click("#detail-tabs", offset=(detail.tabs.text.index("Timing") + 1, 0))
        await person.until(lambda: "[Timing]" in detail.tabs.text, "the tab")


def test_every_screen_is_a_list_with_a_text_for_being_empty():
    assert all(kind.empty is not Rows.empty for kind in Pane.__subclasses__())


@pytest.mark.parametrize("colours", [True, False])
async def test_status_is_a_word_so_that_no_colour_is_needed(jupyter, monkeypatch, colours):
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    async with seat(jupyter) as person, client(jupyter) as peer:
        await peer.send(id=1, method="tools/call", params={"name": "none"})
        await peer.receive()
        await person.until(lambda: person.requests(Status.ERROR), "the error")
        assert person.app.no_color is not colours
        assert "ERR" in person.screen()


async def test_an_http_client_that_ends_its_subscription_is_no_problem(jupyter):
    params = {"notifications": {"toolsListChanged": True}, "_meta": MODERN}
    listen = {"jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": params}
    headers = {
        "Authorization": f"token {jupyter.token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "subscriptions/listen",
    }
    async with seat(jupyter) as person, httpx.AsyncClient(headers=headers, timeout=BOUND) as http:
        async with http.stream("POST", f"{jupyter.url}mcp-ws/servers/+fast+time", json=listen) as answer:
            async for line in answer.aiter_lines():
                if "acknowledged" in line:
                    break
        store = person.store
        await person.until(
            lambda: any(store.method_of(row) == "upstream_closed" for row in range(store.first, store.end)),
            "the end of the group",
        )
        assert not {"dropped", "lost", "upstream_closed", "link_lost"} & set(
            person.app.journal.problem_counts
        )


async def test_the_cursor_stays_on_its_session_when_others_appear(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await peer.initialize()
        await person.press("1")
        await person.until(lambda: person.app.sessions.session, "a session")
        chosen = person.app.sessions.session
        for _ in range(3):
            async with client(jupyter) as other:
                await other.initialize()
        await person.until(lambda: person.app.sessions.count() >= 4, "the others")
        assert person.app.sessions.session == chosen


async def test_traffic_is_complete_again_after_another_screen(jupyter):
    async with seat(jupyter) as person, client(jupyter) as peer:
        await peer.initialize()
        for number in range(20):
            await echo(peer, number)
        await person.until(lambda: len(person.requests(Status.OK)) >= 42, "the answers")
        for key in "136":
            await person.press(key, "2")
            await person.until(lambda: person.screen().count("tools/call echo") >= 15, "a screenful")
