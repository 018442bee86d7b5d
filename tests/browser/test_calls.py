"""Calls on the page: how their arguments are entered, and how results are shown. All tests use one tab."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Tab, wait_until
from tests.conftest import Jupyter

pytestmark = [pytest.mark.chromium, pytest.mark.node]


@pytest.fixture(scope="module")
def shared(chromium: Any, gateway: Jupyter) -> Iterator[Tab]:
    """A tab that the tests of this module share; both servers are open."""
    context = chromium.new_context(viewport={"width": 1440, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = Tab(context.new_page(), gateway, gateway.url)
    tab.log_in()
    for server in ("demo", "showcase"):
        tab.go(f"server/{server}")
        tab.connected()
    yield tab
    tab.quiet()
    context.close()


def call(tab: Tab, place: str) -> Any:
    """Call the tool at a place, wait for the end of the call, and return its card."""
    tab.page.set_viewport_size({"width": 1440, "height": 800})
    tab.go(place)
    tab.call()
    card = tab.page.locator(".call").first
    card.locator(".badge.good").wait_for()
    return card


def copied(tab: Tab, card: Any, button: str) -> str:
    """Press a button that copies, and return the text that it copies."""
    tab.page.evaluate("navigator.clipboard.writeText('')")
    card.get_by_role("button", name=button).first.click()
    wait_until(lambda: tab.page.evaluate("navigator.clipboard.readText()"), what="the copy")
    return str(tab.page.evaluate("navigator.clipboard.readText()"))


def test_a_call_that_waits_for_the_check_of_its_arguments_shows_it_and_is_made_once(chromium, gateway):
    context = chromium.new_context()
    held: list[Any] = []
    # As on a network that delivers nothing.
    context.route("**/checker-*.js", lambda route: held.append(route))
    tab = Tab(context.new_page(), gateway, gateway.url)
    tab.log_in()
    tab.go("server/demo/tools/table")
    tab.connected()
    button = tab.page.get_by_role("button", name="Call", exact=True)
    for _ in range(3):
        button.click(no_wait_after=True)
        tab.page.keyboard.press("Control+Enter")
        if button.is_disabled():
            break
    tab.shows("Checking the arguments", ".submit")
    assert button.is_disabled()
    assert tab.page.locator(".call").count() == 0
    for route in held:
        route.continue_()
    tab.page.locator(".call").first.wait_for()
    wait_until(lambda: button.is_enabled())
    assert tab.page.locator(".call").count() == 1
    tab.quiet()
    context.close()


def test_results_are_beside_the_form_in_a_wide_window_and_scrolled_to_in_a_narrow_one(shared):
    card = call(shared, "server/demo/tools/table")
    form = shared.page.locator(".arguments-form")
    left, right = form.bounding_box(), card.bounding_box()
    assert left["x"] + left["width"] <= right["x"]
    assert abs(right["y"] - shared.page.locator(".detail-head").bounding_box()["y"]) < 20
    shared.page.set_viewport_size({"width": 400, "height": 420})
    shared.call()
    wait_until(lambda: shared.page.locator(".call").count() == 2)
    wait_until(lambda: shared.page.locator(".call").first.bounding_box()["y"] < 320, what="the scrolling")
    shared.picture("result-narrow", 400, 420)


def test_the_call_button_stays_in_view_of_a_long_form(shared):
    shared.page.set_viewport_size({"width": 1440, "height": 500})
    shared.go("server/showcase/tools/order")
    button = shared.page.get_by_role("button", name="Call", exact=True)
    button.wait_for()
    assert shared.page.locator(".arguments-form").bounding_box()["height"] > 500
    assert button.bounding_box()["y"] + button.bounding_box()["height"] <= 500


def test_a_long_description_is_clamped_until_all_of_it_is_wanted(shared):
    shared.page.set_viewport_size({"width": 1440, "height": 800})
    shared.go("server/showcase/tools/markdown")
    text = shared.page.locator(".clamped .said")
    height = text.bounding_box()["height"]
    shared.page.get_by_role("button", name="Show all").click()
    assert text.bounding_box()["height"] > 1.8 * height
    shared.page.get_by_role("button", name="Show less").click()
    assert text.bounding_box()["height"] == height
    shared.go("server/showcase/tools/sound")
    shared.shows("A moment of silence", ".clamped")
    assert shared.page.locator(".clamped button").count() == 0


def test_objects_are_a_table_that_is_sorted_and_saved_as_csv_and_shown_once(shared):
    card = call(shared, "server/demo/tools/table")
    card.locator(".data-table").wait_for()
    assert card.locator("pre").count() == 0, "the text says the same"
    assert card.locator(".data-table tbody tr").count() == 12
    card.get_by_role("button", name="errors").click()
    card.get_by_role("button", name="errors").click()
    assert card.locator("th[aria-sort=descending]").inner_text().startswith("errors")
    assert card.locator("tbody tr").first.locator("td").first.inner_text() == "Nov"
    shared.picture("table")
    shared.accessible()
    with shared.page.expect_download() as download:
        card.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "table.csv"
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert len(rows) == 12
    assert rows[0] == {"month": "Nov", "requests": "2900", "errors": "41", "per_day": "96.7"}
    card.get_by_role("button", name="Tree").click()
    card.locator(".json-number").first.wait_for()


def test_markdown_is_rendered_without_anything_that_acts_and_has_a_source(shared):
    title = shared.page.title()
    requested: list[str] = []
    shared.page.on("request", lambda request: requested.append(request.url))
    card = call(shared, "server/showcase/tools/markdown")
    document = card.locator(".markdown")
    document.locator("h1").wait_for()
    assert document.locator("td").all_inner_texts() == ["1", "2"]
    assert document.locator("img, script, style, form, input, [style], [onerror]").count() == 0
    links = {link.inner_text(): link.get_attribute("href") for link in document.locator("a").all()}
    assert links["link"] == "https://example.org/page"
    assert links["a picture"] == "https://example.org/picture.png"
    assert len(links) == 2
    assert "script (javascript:alert(1))" in document.inner_text()
    assert "<img src=x" in document.inner_text()
    assert document.locator("a").first.get_attribute("rel") == "noopener noreferrer"
    shared.picture("markdown")
    shared.accessible()
    card.get_by_role("button", name="Source").click()
    assert "<script>" in card.locator("pre").inner_text()
    assert shared.page.title() == title
    assert not [url for url in requested if "example.org" in url]


def test_a_picture_is_enlarged_and_closed_again(shared):
    card = call(shared, "server/demo/tools/image")
    small = card.locator("img").bounding_box()
    card.get_by_role("button", name="Enlarge").click()
    dialog = shared.page.get_by_role("dialog", name="640 × 320")
    large = dialog.locator("img").bounding_box()
    assert large["width"] > 1.5 * small["width"]
    dialog.get_by_role("button", name="Actual size").click()
    wait_until(lambda: dialog.locator("img").bounding_box()["width"] == 640)
    shared.picture("enlarged")
    shared.accessible()
    shared.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_a_call_is_repeated_and_copied_as_a_program_and_says_when_it_was(shared):
    card = call(shared, "server/demo/tools/add?args=%7B%22a%22%3A1%2C%22b%22%3A2.5%7D")
    assert card.locator("time").get_attribute("datetime")
    assert card.locator("pre").all_inner_texts() == ["3.5"]
    program = copied(shared, card, "Copy as Python")
    ast.parse(program)
    assert f'"ws{shared.gateway.url.removeprefix("http")}mcp-ws/servers/demo"' in program.replace(
        "%2540", "%40"
    )
    assert 'client.call_tool("add", {"a": 1, "b": 2.5})' in program
    card.get_by_role("button", name="Call again").click()
    shared.page.locator(".call").nth(1).wait_for()
    shared.page.locator(".call").first.locator(".badge.good").wait_for()
    assert '"b":2.5' in shared.page.locator(".call").first.inner_text()


def test_dates_checkboxes_and_optional_values_take_one_step_each(shared):
    shared.page.set_viewport_size({"width": 1440, "height": 800})
    shared.go("server/showcase/tools/fields")
    form = shared.page.get_by_role("form", name="Arguments of fields")
    form.get_by_label("owner").fill("ada")
    form.get_by_label("day", exact=True).fill("2026-02-28")
    form.get_by_label("at", exact=True).fill("2026-02-28T12:30:05")
    assert form.get_by_label("flag", exact=True).evaluate("(box) => box.indeterminate")
    form.get_by_label("flag", exact=True).check()
    form.get_by_label("flag", exact=True).uncheck()
    assert form.get_by_label("limit", exact=True).get_attribute("placeholder") == "null"
    form.get_by_label("limit", exact=True).fill("5")
    assert form.get_by_role("combobox").count() == 0
    shared.picture("fields")
    shared.accessible()
    shared.call()
    sent = shared.page.evaluate("new Date('2026-02-28T12:30:05').toISOString().replace('.000', '')")
    assert received(shared) == {"owner": "ada", "day": "2026-02-28", "at": sent, "flag": False, "limit": 5}
    form.get_by_role("button", name="Clear flag").click()
    form.get_by_label("limit", exact=True).fill("")
    form.get_by_label("day", exact=True).fill("")
    form.get_by_label("at", exact=True).fill("")
    shared.call()
    wait_until(lambda: shared.page.locator(".call").count() == 2)
    assert received(shared) == {"owner": "ada", "limit": None}


def received(shared: Tab) -> Any:
    """Return the arguments of the newest call, as the showcase server sends them back."""
    card = shared.page.locator(".call").first
    card.locator(".badge.good").wait_for()
    card.get_by_role("button", name="JSON").click()
    return json.loads(card.locator("pre").inner_text())


def test_a_value_of_an_earlier_call_is_offered_to_another_tool(shared):
    shared.go("server/showcase/tools/either-member")
    field = shared.page.locator("[data-pointer='/owner'] textarea")
    field.wait_for()
    shared.go("server/showcase/tools/fields")
    shared.page.get_by_role("form", name="Arguments of fields").get_by_label("owner").fill("grace")
    shared.call()
    shared.page.locator(".call .badge.good").first.wait_for()
    shared.go("server/showcase/tools/either-member")
    shared.page.get_by_role("button", name="grace").click()
    assert field.input_value() == "grace"
    shared.page.get_by_role("button", name="grace").wait_for(state="detached")


def test_a_mistake_in_json_has_its_place_and_is_shown_there(shared):
    shared.go("server/showcase/tools/fields")
    shared.page.get_by_role("button", name="Reset").click()
    shared.page.get_by_role("button", name="JSON", exact=True).first.click()
    text = shared.page.get_by_label("Arguments as JSON")
    text.fill('{"owner": "ada",\n "flag": yes}')
    shared.shows("line 2, column 10: this is not a value", ".arguments-form .error")
    shared.call()
    shared.shows("The arguments are not valid JSON: line 2, column 10", ".arguments-form .banner")
    shared.picture("json-mistake")
    shared.accessible()
    shared.page.get_by_role("button", name="Show", exact=True).click()
    assert text.evaluate("(area) => [area.selectionStart, document.activeElement === area]") == [26, True]
    text.fill('{"owner": "ada", "flag": true}')
    shared.page.get_by_role("button", name="Form", exact=True).click()
    assert shared.page.get_by_label("flag", exact=True).is_checked()


@pytest.mark.parametrize(
    ("server", "job", "end"), [("tasks", "job", "end"), ("pair", "tasks__job", "tasks__end")]
)
def test_a_task_is_shown_with_its_state_and_its_result(shared, server, job, end):
    shared.go(f"server/{server}/tools/{job}?args=%7B%22id%22%3A%22{server}%22%7D")
    shared.connected()
    shared.call()
    card = shared.page.locator(".call").first
    card.locator("[data-task=working]").wait_for()
    assert server in card.locator("[data-task] code").inner_text()
    shared.picture(f"task-{server}")
    shared.accessible()
    shared.page.reload()  # the task is asked for again, not started again
    shared.page.locator(".call.running [data-task=working]").wait_for()
    shared.go(f"server/{server}/tools/{end}?args=%7B%22id%22%3A%22{server}%22%7D")
    shared.call()
    shared.page.locator(".call .badge.good").first.wait_for()
    shared.go(f"server/{server}/tools/{job}")
    shared.shows(f"result of {server}", ".call pre")
    card.locator("[data-task=completed]").wait_for()


def test_a_task_asks_the_user_and_is_cancelled(shared):
    shared.go("server/tasks/tools/ask?args=%7B%22id%22%3A%22a1%22%7D")
    shared.call()
    shared.page.locator("[data-task=input_required]").wait_for()
    shared.page.locator(".question").get_by_role("button", name="Decline").click()
    shared.shows('"decline"', ".call pre")
    shared.go("server/tasks/tools/job?args=%7B%22id%22%3A%22c1%22%7D")
    shared.call()
    card = shared.page.locator(".call").first
    card.locator("[data-task=working]").wait_for()
    card.get_by_role("button", name="Cancel").click()
    card.locator(".badge").filter(has_text="cancelled").first.wait_for()
    shared.go("server/tasks/tools/plain")
    shared.call()
    shared.page.locator(".call .badge.good").first.wait_for()
    sent = shared.page.locator(".trace-of")
    sent.locator("summary").first.click()
    shared.shows("tools/call plain", ".frame")


def test_the_messages_log_and_stderr_of_a_call_are_beside_it(shared):
    card = call(shared, "server/demo/tools/log?args=%7B%22text%22%3A%22a%20word%22%7D")
    card.get_by_text("Messages, log and stderr").click()
    card.locator(".frame").nth(1).wait_for()
    titles = card.locator(".frame > summary").all_inner_texts()
    assert "tools/call log" in titles[0]
    assert "response to tools/call" in titles[-1]
    card.get_by_role("link", name="All of stderr").wait_for()
    shared.picture("trace")
    shared.accessible()


def test_a_failure_leads_to_stderr_at_its_end_and_to_the_configuration(shared):
    shared.go("server/showcase/tools/wrong")
    shared.call()
    shared.page.locator(".call .badge.bad").first.wait_for()
    assert shared.page.locator(".call").first.get_by_role("link", name="Show stderr").count() == 1
    shared.go("server/broken")
    shared.page.locator(".state[data-state=closed]").wait_for()
    assert shared.page.locator(".remedies").get_by_role("link", name="Edit configuration").count() <= 1
    shared.picture("failed")
    shared.accessible()
    shared.page.locator(".remedies").get_by_role("link", name="Show stderr").click()
    box = shared.page.locator("pre.stderr")
    box.filter(has_text="boom: cannot start").wait_for()
    ends = (
        "(box) => box === document.activeElement && box.scrollHeight - box.scrollTop - box.clientHeight < 2"
    )
    wait_until(lambda: box.evaluate(ends), what="the end of stderr in view")
    shared.complaints.clear()  # of the server that cannot start


def test_an_app_is_shown_in_an_origin_of_its_own_and_gets_only_what_it_may_have(shared):
    card = call(shared, "server/showcase/tools/app")
    app = card.frame_locator(".app iframe")
    app.locator("#seen").filter(has_text='"read"').wait_for()

    def seen() -> dict[str, str]:
        return json.loads(app.locator("#seen").inner_text())

    wait_until(lambda: "fetched" in seen(), what="the end of the request")
    found = seen()
    assert found["origin"] == "null"
    assert {found[name] for name in ("parent", "cookie", "storage")} == {"SecurityError"}
    assert found["popup"] == "null"
    assert found["compiled"] == "EvalError"
    assert found["fetched"] == "TypeError"
    assert "begins with ui://" in found["file"]
    assert "does not have the method" in found["sampling"]
    assert found["read"] == "read ui://showcase/other"
    assert found["result"] == "shown by an app"
    assert card.locator(".app iframe").bounding_box()["height"] == 300
    app.locator("#call").click()
    card.get_by_role("alertdialog").get_by_text("wrong").wait_for()
    shared.picture("app")
    card.get_by_role("button", name="Refuse").click()
    app.locator("#seen").filter(has_text="The user did not allow this call").wait_for()
    app.locator("#call").click()
    card.get_by_role("button", name="Allow", exact=True).click()
    app.locator("#seen").filter(has_text="it went wrong").wait_for()
    shared.go("server/showcase/calls")
    shared.shows("by an app", ".call")
    shared.complaints.clear()  # Chromium reports what the app was refused


def test_the_frame_of_an_app_is_for_users_who_are_logged_in(gateway):
    address = "mcp-ws/app-frame?connect=https%3A%2F%2Fapi.example.org"
    status, headers, body = gateway.request(
        "GET", address, headers={"Authorization": f"token {gateway.token}"}
    )
    assert status == 200
    assert "sandbox allow-scripts" in headers["Content-Security-Policy"]
    assert "connect-src https://api.example.org;" in headers["Content-Security-Policy"]
    assert b"<script>" in body
    assert gateway.request("GET", address)[0] in (302, 401, 403)


def test_an_app_cannot_lead_its_frame_elsewhere(shared):
    card = call(shared, "server/showcase/tools/app")
    card.frame_locator(".app iframe").locator("#seen").filter(has_text='"read"').wait_for()
    requested: list[str] = []
    shared.page.on("request", lambda request: requested.append(request.url))
    frame = next(frame for frame in shared.page.frames if "app-frame" in frame.url)
    frame.evaluate("(url) => { location.href = url; }", f"{shared.gateway.url}logout")

    def refused() -> bool:
        shared.page.title()  # Playwright delivers events only while it is called
        return any("frame-src" in said for said in shared.complaints)

    wait_until(refused, what="the refusal")
    assert not [url for url in requested if url.endswith("logout")]
    shared.complaints.clear()


@pytest.mark.parametrize(("server", "tool"), [("example-app", "get-time"), ("pair", "example-app__get-time")])
def test_the_official_example_app_calls_its_server_alone_and_in_a_group(shared, server, tool):
    shared.go(f"server/{server}/tools/{tool}")
    shared.connected()
    card = call(shared, f"server/{server}/tools/{tool}")
    app = card.frame_locator(".app iframe")
    shown = app.locator("#server-time")
    shown.filter(has_text="T").wait_for()
    first = shown.inner_text()
    app.get_by_role("button", name="Get Server Time").click()
    shared.picture(f"app-{server}")
    card.get_by_role("button", name="Allow all calls of this app").click()
    wait_until(lambda: shown.inner_text() != first, what="the new time")
    second = shown.inner_text()
    app.get_by_role("button", name="Get Server Time").click()
    wait_until(lambda: shown.inner_text() != second, what="the newest time")
    assert shared.page.locator(".call").count() == 1
    shared.complaints.clear()  # the app's own warnings


def test_servers_are_imported_from_the_file_of_another_program(shared):
    shared.go("servers?add=1")
    shared.page.get_by_text("Import from Claude").click()
    servers = {"git": {"command": "mcp-server-git"}, "web": {"url": "https://example.org/mcp"}}
    content = json.dumps({"mcpServers": servers, "theme": "dark"}).encode()
    chosen = {"name": "mcp.json", "mimeType": "application/json", "buffer": content}
    shared.page.get_by_label("Or choose a file").set_input_files(chosen)
    shared.page.get_by_role("button", name="web", exact=True).click()
    wait_until(lambda: shared.page.get_by_label("Name", exact=True).input_value() == "web")
    shared.page.get_by_role("button", name="JSON", exact=True).click()
    text = shared.page.get_by_label("Entry", exact=True)
    wait_until(lambda: json.loads(text.input_value()) == servers["web"])
    shared.picture("import")
    shared.accessible()
