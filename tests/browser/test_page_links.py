"""The page's sessions over reloads, lost links, and servers or gateways that end."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import wait_until
from tests.conftest import DEMO

pytestmark = [pytest.mark.chromium, pytest.mark.node]


def start_slowly(tab, steps: int = 60, delay: float = 0.05) -> None:
    form = tab.page.get_by_role("form", name="Arguments of slow")
    form.get_by_label("steps").fill(str(steps))
    form.get_by_label("delay").fill(str(delay))
    tab.call()
    tab.page.locator(".call.running progress[value]").wait_for()


def open_demo(tab, era: str, tool: str) -> str:
    """Connect to the demo in an era; return the connection's name."""
    tab.go("connect")
    tab.page.get_by_role("combobox", name="Server").select_option("demo")
    tab.page.get_by_label("Name on this page").fill(f"d-{era}")
    tab.page.get_by_role("combobox", name=re.compile("^Era")).select_option(era)
    tab.page.get_by_role("button", name="Connect", exact=True).click()
    tab.connected()
    tab.go(f"server/d-{era}/tools/{tool}")
    tab.page.get_by_role("heading", name=tool).wait_for()
    return f"d-{era}"


def reload_during_a_call(tab) -> int:
    """Reload the page while a call is running; return its steps. A slow machine needs a call of more steps."""
    running = tab.page.locator(".call.running").filter(
        has_text="continued after reload", has=tab.page.locator("progress[value]")
    )
    for steps in (60, 240, 960, 3840):
        start_slowly(tab, steps)
        tab.page.reload()
        tab.connected()
        ended = tab.page.locator(".call pre").filter(has_text=f"{steps} steps done")
        running.or_(ended).first.wait_for()
        if running.count():
            return steps
    raise AssertionError("every call ended before the page was back")


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_reload_resumes_the_session_and_its_calls(tab, era):
    open_demo(tab, era, "slow")
    session = tab.session("demo")["id"]
    steps = reload_during_a_call(tab)
    assert tab.page.get_by_label("steps").input_value() == str(steps), "what was typed is still there"
    tab.picture(f"reload-{era}")
    tab.shows(f"{steps} steps done", ".call pre")
    assert tab.session("demo")["id"] == session
    tab.page.get_by_role("link", name="echo").click()
    tab.page.get_by_label("text").fill("after")
    tab.page.reload()
    tab.connected()
    tab.call()
    tab.shows("after", ".call pre")
    assert tab.session("demo")["id"] == session
    tab.quiet()


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_question_is_asked_again_after_a_reload(tab, era):
    open_demo(tab, era, "elicit")
    session = tab.session("demo")["id"]
    tab.call()
    tab.page.locator(".question").wait_for()
    tab.page.reload()
    tab.page.locator(".question").get_by_label("name").fill("Ada")
    tab.page.get_by_role("button", name="Accept").click()
    tab.shows("hello Ada", ".call pre")
    assert tab.session("demo")["id"] == session
    tab.quiet()


def test_watched_resources_stay_watched_after_a_reload(tab):
    tab.go("server/demo/resources/demo%3A%2F%2Fcounter")
    tab.connected()
    tab.page.get_by_role("button", name="Watch").click()
    tab.page.locator("[data-updates='0']").wait_for()
    tab.page.reload()
    tab.connected()
    tab.page.locator("[data-updates='0']").wait_for()
    tab.go("server/demo/tools/bump")
    tab.call()
    tab.shows("done", ".call .badge")
    tab.go("server/demo/resources/demo%3A%2F%2Fcounter")
    tab.page.locator("[data-updates='1']").wait_for()
    tab.quiet()


def test_nothing_secret_is_in_storage_while_the_page_lives_nor_in_its_address(tab):
    tab.go("server/demo/tools/echo")
    tab.connected()
    stored = "JSON.stringify([Object.entries(sessionStorage), Object.entries(localStorage)])"
    assert tab.page.evaluate(stored) == "[[],[]]"
    tab.page.reload()
    tab.connected()
    assert tab.page.evaluate(stored) == "[[],[]]"
    assert tab.gateway.token not in tab.page.content() + tab.page.url
    tab.quiet()


def test_two_tabs_have_a_session_each_and_a_duplicated_tab_cannot_take_it(open_tab):
    first = open_tab()
    first.go("server/fast")
    first.connected()
    second = open_tab(context=first.page.context)
    second.go("server/fast")
    second.connected()
    sessions = first.gateway.rest("GET", "sessions")[1]["sessions"]
    mine = {one["id"] for one in sessions if one["server"] == "fast" and one["attached"]}
    assert len(mine) == 2
    # A tab that got hold of what another one would leave: the other one goes on.
    owned = first.page.locator(".session").get_attribute("title").removeprefix("session ")
    saved = {
        "version": 1,
        "target": {"name": "fast", "url": "", "transports": ["websocket"], "era": "auto"},
        "session": {"session": owned, "transport": "websocket"},
        "wire": {},
    }
    third = first.page.context.new_page()
    third.goto(f"{first.root}#/sessions")
    third.evaluate("(saved) => sessionStorage.setItem('mcp-ws-sessions', JSON.stringify([saved]))", saved)
    third.reload()
    third.goto(f"{first.root}#/server/fast")
    third.locator(".state[data-state=connected]").wait_for()
    assert third.locator(".session").get_attribute("title") != f"session {owned}"
    assert first.page.locator(".state").get_attribute("data-state") == "connected"
    for one in (first, second):
        one.quiet()


def test_a_tab_that_is_closed_leaves_no_session_for_long(open_tab, gateway):
    closed, ended = open_tab(), open_tab()
    closed.go("server/fast")
    closed.connected()
    gone = closed.session("fast")["id"]
    ended.go("server/fast")
    ended.connected()
    ended.page.get_by_role("button", name="Disconnect", exact=True).click()
    ended.shows("closed (1000, normal)", ".state")
    ended.quiet()
    closed.page.close(run_before_unload=True)

    def expires_in():
        sessions = gateway.rest("GET", "sessions")[1]["sessions"]
        return next((one["expires_in"] for one in sessions if one["id"] == gone), None)

    wait_until(lambda: 0 < (expires_in() or 0) <= 120, what="the short time that the page asked for")


def test_a_cut_link_is_shown_with_a_countdown_and_resumed(open_tab, gateway, road):
    tab = open_tab(gateway.url.replace(str(gateway.port), str(road.port)))
    tab.go("server/demo/tools/slow")
    tab.connected()
    session = tab.session("demo")["id"]
    start_slowly(tab, 40)
    road.cut()
    state = tab.page.locator(".state[data-state=reconnecting]")
    state.filter(has_text=re.compile(r"attempt [3-9].* in \d+ s")).wait_for()
    tab.picture("reconnecting")
    tab.accessible()
    # Long enough before it comes back by itself.
    state.filter(has_text=re.compile(r"in ([4-9]|\d\d) s")).wait_for()
    road.mend()
    tab.page.get_by_role("button", name="Reconnect now").click()
    tab.connected()
    tab.shows("40 steps done", ".call pre")
    assert tab.session("demo")["id"] == session
    assert tab.page.locator(".call").count() == 1
    tab.go("server/demo/log")
    tab.shows("resumed", ".log")
    tab.quiet(network=True)


def test_a_crashed_server_is_shown_and_can_be_reconnected(tab):
    open_demo(tab, "legacy", "crash")
    tab.call()
    tab.page.locator(".call.failed").wait_for()
    tab.picture("crash")
    tab.accessible()
    if tab.page.locator(".state[data-state=closed]").count():
        tab.page.get_by_role("button", name="Reconnect").click()
        tab.connected()
    tab.page.get_by_role("link", name="echo").click()
    tab.page.get_by_label("text").fill("alive")
    tab.call()
    tab.shows("alive", ".call pre")
    tab.quiet()


def test_a_server_that_exits_at_start_is_shown_with_the_end_of_its_stderr(tab):
    tab.go("server/broken")
    tab.shows("boom: cannot start", ".banner")
    tab.page.locator(".state[data-state=closed]").wait_for()
    tab.quiet(network=True)


def test_an_expired_token_is_shown_and_can_be_replaced(tab, gateway):
    mint = {"servers": ["fast"], "expires_in": 4}
    token = gateway.rest("POST", "tokens", mint)[1]["token"]
    tab.go("connect")
    tab.page.get_by_label("Address of the MCP endpoint").fill(f"{gateway.url}mcp-ws/servers/fast")
    tab.page.get_by_label("Token (leave empty").fill(token)
    tab.page.get_by_label("Name on this page").fill("elsewhere")
    tab.page.get_by_role("button", name="Connect", exact=True).click()
    tab.connected()
    assert token not in tab.page.url
    tab.page.locator(".state[data-state=closed]").wait_for()
    tab.picture("expired")
    tab.accessible()
    assert "token" in tab.page.locator(".banner.bad").inner_text()
    fresh = gateway.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    tab.page.get_by_label("New token").fill(fresh)
    tab.page.get_by_role("button", name="Connect", exact=True).click()
    tab.connected()
    tab.quiet(network=True)


def test_an_expired_login_is_shown(tab):
    tab.go("server/fast")
    tab.connected()
    tab.page.context.clear_cookies()
    tab.page.get_by_role("button", name="Disconnect", exact=True).click()
    tab.page.get_by_role("button", name="Reconnect").click()
    tab.page.get_by_role("button", name="Log in again").wait_for()
    tab.picture("logged-out")
    tab.accessible()
    tab.quiet(network=True)


def lose_login_in_a_call(open_tab, gateway, road):
    """Let the login expire while a call runs and the link is lost; return the tab and its session."""
    tab = open_tab(gateway.url.replace(str(gateway.port), str(road.port)))
    tab.go("server/demo/tools/slow")
    tab.connected()
    session = tab.session("demo")["id"]
    start_slowly(tab)
    context = tab.page.context
    (login,) = [cookie for cookie in context.cookies() if cookie["name"].startswith("username-")]
    context.add_cookies([{**login, "value": "invalid"}])
    road.cut()
    tab.page.locator(".state[data-state=reconnecting]").wait_for()
    road.mend()
    tab.page.get_by_role("button", name="Log in again").wait_for()
    return tab, session


def went_on(tab, session: str) -> None:
    """Assert that the call got its result in the session in which it began."""
    tab.shows("60 steps done", ".call pre")
    assert tab.page.locator(".call").count() == 1
    assert tab.page.locator(".session").get_attribute("title") == f"session {session}"
    tab.quiet(network=True)


def test_after_a_login_that_expired_while_the_link_was_lost_the_session_and_its_call_continue(
    open_tab, gateway, road
):
    tab, session = lose_login_in_a_call(open_tab, gateway, road)
    assert tab.page.locator(".call.running").count() == 1, "no answer has come, and none was made up"
    tab.page.get_by_role("button", name="Reconnect").click()  # which the gateway refuses like before
    tab.page.get_by_role("button", name="Log in again").click()
    tab.page.locator("#password_input").fill(gateway.token)
    tab.page.locator("#password_input").press("Enter")
    tab.page.get_by_role("heading", name="slow").wait_for()
    went_on(tab, session)
    assert tab.page.evaluate("sessionStorage.length") == 0


def test_a_session_goes_on_in_the_same_page_after_a_login_in_another_tab(open_tab, gateway, road):
    tab, session = lose_login_in_a_call(open_tab, gateway, road)
    open_tab(tab.root.removesuffix("mcp-ws/"), context=tab.page.context)
    tab.page.get_by_role("button", name="Reconnect").click()
    went_on(tab, session)


def test_an_unknown_server_is_shown(tab):
    tab.go("server/nowhere")
    tab.shows("does not exist (404)", ".banner")
    tab.quiet(network=True)


@pytest.mark.parametrize(("order", "transport"), [("poll only", "poll"), ("HTTP only", "http")])
def test_other_transports_work_as_well(tab, order, transport):
    tab.go("connect")
    tab.page.get_by_role("combobox", name="Server").select_option("demo")
    tab.page.get_by_label("Transport").select_option(order)
    tab.page.get_by_role("button", name="Connect", exact=True).click()
    tab.connected()
    tab.shows(transport, ".server-head .badge")
    tab.page.get_by_role("link", name="echo").click()
    tab.page.get_by_label("text").fill(transport)
    tab.call()
    tab.shows(transport, ".call pre")
    if transport == "poll":
        session = tab.session("demo")["id"]
        tab.page.reload()
        tab.connected()
        assert tab.session("demo")["id"] == session
    tab.quiet()


def in_sight(element) -> bool:
    """Return whether the whole height of an element is visible in its scrolling list."""
    return element.evaluate(
        """(one) => { const at = one.getBoundingClientRect(), box = one.closest(".list").getBoundingClientRect();
            return at.height > 0 && at.top >= box.top - 1 && at.bottom <= box.bottom + 1; }"""
    )


def test_the_item_of_a_link_is_scrolled_into_view(tab):
    tab.page.set_viewport_size({"width": 1280, "height": 320})
    tab.go("server/demo/tools")
    tab.connected()
    items = tab.page.locator(".choose-list a")
    items.first.wait_for()
    assert not in_sight(items.last)
    last = items.last.get_attribute("href")
    tab.go(f"sessions{last}".removeprefix("sessions#/"))
    wait_until(lambda: in_sight(items.last), what="the chosen one to be scrolled to")
    tab.page.reload()
    tab.connected()
    wait_until(lambda: in_sight(items.last), what="the chosen one to be scrolled to after a reload")
    tab.quiet()


def test_a_list_is_one_tab_stop_and_enter_leads_into_the_chosen_item(tab):
    tab.go("server/demo/tools")
    tab.connected()
    tab.page.locator(".choose-list a").first.wait_for()
    press = tab.page.keyboard.press
    press("/")
    tab.page.keyboard.type("slow")
    press("Enter")
    focused = tab.page.locator(":focus")
    assert focused.get_attribute("href").endswith("tools/slow")
    press("Enter")
    detail = tab.page.get_by_role("region", name="slow", exact=True)
    detail.and_(focused).wait_for()
    detail.get_by_role("heading", name="slow").wait_for()
    tab.page.get_by_role("searchbox", name="Filter tools").fill("")
    press("ArrowDown")
    assert focused.get_attribute("href").endswith(
        "/" + tab.page.locator(".choose-list .name").first.inner_text()
    )
    press("ArrowDown")
    press("Tab")
    assert not focused.evaluate("(one) => one.closest('.choose-list') !== null"), "one Tab leaves the list"
    press("Shift+Tab")
    second = tab.page.locator(".choose-list a").nth(1)
    assert focused.get_attribute("href") == second.get_attribute("href"), "and comes back where it was"
    tab.accessible()
    tab.quiet()


@pytest.mark.parametrize(
    ("width", "place"), [(360, "tools"), (360, "resources"), (360, "prompts"), (640, "tools")]
)
def test_a_narrow_list_fits_and_many_servers_take_one_line(tab, width, place):
    for name in ("demo", "fast", "showcase", "hostile", "everything"):
        tab.go(f"server/{name}")
        tab.connected()
    tab.page.set_viewport_size({"width": width, "height": 740})
    for name in ("demo", "everything"):
        tab.go(f"server/{name}/{place}")
        tab.connected()
        tab.page.locator(".choose-list li").first.wait_for()
        assert tab.page.evaluate("document.scrollingElement.scrollWidth") == width
        field = tab.page.locator(".choose-list .filter").bounding_box()
        assert field["x"] >= 0 and field["x"] + field["width"] <= width
        assert tab.page.locator("header.top").bounding_box()["height"] < 100
        current = tab.page.locator("header.top .connected [aria-current]").bounding_box()
        assert current["x"] >= 0 and current["x"] + current["width"] <= width, "the current one is in sight"
    tab.quiet()


def test_a_link_in_doubt_is_not_called_connected(open_tab, gateway, road):
    tab = open_tab(gateway.url.replace(f":{gateway.port}", f":{road.port}"))
    tab.go("server/demo/tools/echo")
    tab.connected()
    bar = tab.page.get_by_role("navigation", name="Connected servers")
    road.hold()
    tab.page.evaluate("dispatchEvent(new Event('offline'))")
    tab.page.locator(".state[data-state=doubted]").filter(has_text="checking the connection").wait_for()
    assert tab.page.locator(".state .dot.good").count() == 0
    assert "doubted" in bar.inner_text()
    road.release()
    tab.connected()
    assert bar.locator(".dot.good").count() == 1
    tab.page.get_by_label("text").fill("still here")
    tab.call()
    tab.shows("still here", ".call pre")
    tab.quiet(network=True)


def test_the_log_explains_that_nothing_arrives_until_a_level_is_selected(tab):
    tab.go("server/demo/log")
    tab.connected()
    level = tab.page.get_by_role("combobox", name="Log level")
    assert level.locator("option:checked").inner_text() == "no log messages"
    tab.shows("only for calls that request a level", "section")
    level.select_option("info")
    tab.page.get_by_text("only for calls that request a level").wait_for(state="detached")
    open_demo(tab, "legacy", "log")
    tab.go("server/d-legacy/log")
    assert level.locator("option:checked").inner_text() == "server default"
    assert tab.page.get_by_text("only for calls that request a level").count() == 0
    tab.quiet()


BREAKS_PROMISES = """
import json, sys
OBJECT = {"type": "object"}
BLOB = {"type": "resource", "resource": {"uri": "x://y/four.bin?z", "mimeType": "x/y", "blob": "AAECAw=="}}
for line in sys.stdin:
    message = json.loads(line)
    method, result = message["method"], None
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "promises", "inputSchema": OBJECT, "outputSchema": OBJECT}]}
    elif method == "tools/call":
        result = {"content": [BLOB]}
    if "id" in message:
        answer = {"result": result} if result else {"error": {"code": -32601, "message": "unknown"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


def test_missing_structured_content_is_flagged_and_a_blob_is_measured_and_saved(open_tab, make_jupyter):
    own = make_jupyter({"breaks": {"command": sys.executable, "args": ["-c", BREAKS_PROMISES]}})
    tab = open_tab(own.url, own=own)
    tab.go("server/breaks/tools/promises")
    tab.connected()
    tab.call()
    tab.shows("requires structured content", ".call .warn")
    tab.shows("4 bytes of x/y", ".call")
    with tab.page.expect_download() as saved:
        tab.page.get_by_role("button", name="Save", exact=True).click()
    assert saved.value.suggested_filename == "four.bin"
    assert Path(saved.value.path()).read_bytes() == bytes(range(4))
    tab.accessible()
    tab.quiet()


def test_in_forced_colours_the_current_and_connected_items_are_visible(open_tab):
    tab = open_tab(forced_colors="active")
    tab.go("server/demo/tools/echo")
    tab.connected()
    look = "(one) => { const { borderBottomColor, backgroundColor, outlineStyle } = getComputedStyle(one); return [borderBottomColor, backgroundColor, outlineStyle]; }"
    for bar in (".tabs", "header.top .connected"):
        current = tab.page.locator(f"{bar} a[aria-current]").evaluate(look)
        other = tab.page.locator(f"{bar} a:not([aria-current])").first.evaluate(look)
        assert current[0] != other[0], bar
        assert other[0] == tab.page.locator("main").evaluate(
            "() => getComputedStyle(document.body).backgroundColor"
        )
    assert tab.page.locator(".choose-list [aria-current]").evaluate(look)[2] == "solid"
    good = tab.page.locator(".state .dot").evaluate(look)[1]
    tab.page.get_by_role("button", name="Disconnect", exact=True).click()
    tab.shows("closed", ".state")
    assert tab.page.locator(".state .dot").evaluate(look)[1] != good
    tab.quiet()


def test_a_session_goes_on_after_a_restart_of_a_gateway_that_stores_it(open_tab, make_jupyter):
    own = make_jupyter({"demo": DEMO}, "--MCPWebSocketApp.engine=sqlite")
    tab = open_tab(own=own)
    tab.go("server/demo/tools/echo")
    tab.connected()
    session = tab.session("demo")["id"]
    own.kill()
    tab.page.locator(".state[data-state=reconnecting]").wait_for()
    own.start()
    tab.connected()
    for text in ("after the restart", "after a reload"):
        tab.page.get_by_label("text").fill(text)
        tab.call()
        tab.shows(text, ".call pre")
        restored = tab.session("demo")
        assert (restored["id"], restored["restored"]) == (session, True)
        tab.page.reload()
        tab.connected()
    tab.quiet(network=True)
