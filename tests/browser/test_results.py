"""Results of calls on the page: where they are shown and how, and what can be done with them. All tests use one tab."""

from __future__ import annotations

import ast
import csv
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
    shared.page.get_by_text("A moment of silence").last.wait_for()
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
    assert links["script (javascript:alert(1))"] is None
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
    assert f'"ws{shared.gateway.url.removeprefix("http")}mcp-ws/servers/demo"' in program.replace("%2540", "%40")
    assert 'client.call_tool("add", {"a": 1, "b": 2.5})' in program
    card.get_by_role("button", name="Call again").click()
    shared.page.locator(".call").nth(1).wait_for()
    shared.page.locator(".call").first.locator(".badge.good").wait_for()
    assert '"b":2.5' in shared.page.locator(".call").first.inner_text()
