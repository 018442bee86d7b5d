"""The page as an MCP client: lists, forms, calls, questions, results, whatever the server is."""

from __future__ import annotations

import gzip
import json
import re
import urllib.parse

import pytest

from mcp_ws_ide.handlers.static import STATIC
from tests.browser.conftest import wait_until
from tests.conftest import BOUND
from tests.interop.nginx import Nginx
from tests.servers.hostile import NAMES, STUCK

pytestmark = [pytest.mark.chromium, pytest.mark.node]
BUDGET = 150 * 1024
"""Bytes that the page's files may take on the network when it opens, at most, with or without a server."""


def holds(field, text):
    """Wait until a field has this text."""
    wait_until(lambda: field.input_value() == text)


def got(tab):
    """Return the arguments of the newest call, as the showcase server received them."""
    tab.shows("done", ".call .badge")
    as_json = tab.page.locator(".call").first.get_by_role("button", name="JSON", exact=True)
    if as_json.count():  # the structured content, which the text repeats
        as_json.click()
    return json.loads(tab.page.locator(".call pre").first.inner_text())


def test_the_page_lists_the_servers_and_forgets_the_token(tab):
    tab.page.get_by_role("link", name="demo").first.wait_for()
    assert "token" not in tab.page.url
    tab.accessible()
    tab.quiet()


@pytest.mark.parametrize("place", ["servers", "sessions", "traffic", "server/demo/tools/echo"])
def test_opening_the_page_stays_within_its_budget(open_tab, place):
    tab = open_tab()
    sizes: dict[str, float] = {}
    names: dict[str, str] = {}
    network = tab.page.context.new_cdp_session(tab.page)
    network.send("Network.enable")
    network.send("Network.clearBrowserCache")
    network.on(
        "Network.requestWillBeSent", lambda sent: names.update({sent["requestId"]: sent["request"]["url"]})
    )

    def note(finished):
        path, _, name = urllib.parse.urlsplit(names.get(finished["requestId"], "")).path.rpartition("/")
        if path.endswith("/mcp-ws/static"):
            sizes[name] = finished["encodedDataLength"]  # as it came over the network, with its headers

    network.on("Network.loadingFinished", note)
    tab.go(place, "?")
    if place.startswith("server/"):
        tab.connected()
    tab.page.wait_for_load_state("networkidle")
    assert len(sizes) >= 2, sizes
    print("on the network:", place, sum(sizes.values()))
    assert min(sizes.values()) > 0, "taken from the cache"
    assert sum(sizes.values()) <= BUDGET, sizes
    tab.quiet()


def test_only_the_files_of_the_page_are_served_precompressed(gateway):
    status, _, page = gateway.request("GET", "mcp-ws/", headers={"Authorization": f"token {gateway.token}"})
    assert status == 200
    name = re.findall(r"/mcp-ws/static/(page-\w+\.js)", page.decode())[0]
    _, plain_headers, plain = gateway.request("GET", f"mcp-ws/static/{name}")
    assert "Content-Encoding" not in plain_headers
    whole = {"br": (STATIC / f"{name}.br").read_bytes(), "gzip": gzip.compress(plain), None: plain}
    assert len(whole["br"]) < len(whole["gzip"])
    for accepted, coding in (
        ("gzip, br", "br"),
        ("*", "br"),
        ("gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("gzip;q=0, br;q=0.0", None),
        ("identity", None),
    ):
        status, headers, body = gateway.request(
            "GET", f"mcp-ws/static/{name}", headers={"Accept-Encoding": accepted}
        )
        assert status == 200
        assert headers.get("Content-Encoding") == coding, accepted
        assert body == whole[coding] or (coding == "gzip" and gzip.decompress(body) == plain)
        assert headers["Content-Type"].startswith("text/javascript")
        assert headers["Vary"] == "Accept-Encoding"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "immutable" in headers["Cache-Control"]
    for other in (
        "page.json",
        f"{name}.gz",
        f"{name}.br",
        "..%2f__init__.py",
        "../app.py",
        "nothing.js",
        ".js",
    ):
        status, headers, _ = gateway.request("GET", f"mcp-ws/static/{other}")
        assert status in (302, 401, 404), other  # an unknown path asks for a credential or a login first
        assert "immutable" not in headers.get("Cache-Control", "")


def test_a_page_that_was_not_built_says_how_to_build_it(make_jupyter, tmp_path):
    (tmp_path / "jupyter_server_config.py").write_text(
        "from pathlib import Path\n"
        "import mcp_ws_ide.handlers.page\n"
        "mcp_ws_ide.handlers.page.MANIFEST = Path('/nowhere/page.json')\n"
    )
    own = make_jupyter({}, environment={"JUPYTER_CONFIG_PATH": str(tmp_path)})
    status, _, text = own.request("GET", "mcp-ws/", headers={"Authorization": f"token {own.token}"})
    assert status == 503
    assert "make page" in text.decode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("abort", "cannot be loaded"),
        (
            {"status": 404, "body": '{"message": "the page has no file"}'},
            "answered 404: the page has no file",
        ),
        ({"status": 403, "body": "no", "content_type": "text/plain"}, "answered 403"),
        (
            {"status": 200, "body": "<p>Log in", "content_type": "text/html"},
            "something in front of Jupyter answers",
        ),
        (
            {"status": 200, "body": "throw Error('old browser')", "content_type": "text/javascript"},
            "old browser",
        ),
    ],
)
def test_a_page_whose_script_is_not_loaded_says_why(chromium, gateway, answer, reason):
    page = chromium.new_page()
    page.set_default_timeout(1000 * BOUND)
    page.route("**/page-*.js", lambda route: route.abort() if answer == "abort" else route.fulfill(**answer))
    page.goto(f"{gateway.url}mcp-ws/?token={gateway.token}")
    page.get_by_role("alert").filter(has_text=reason).wait_for()
    assert "page-" in page.inner_text("body")
    page.close()


def test_a_page_without_scripts_says_so(chromium, gateway):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(1000 * BOUND)
    assert "This page needs JavaScript" in page.goto(f"{gateway.url}mcp-ws/?token={gateway.token}").text()
    page.get_by_text("This page has not loaded its script").wait_for()
    context.close()


def test_a_proxy_that_drops_the_port_is_named(chromium, gateway, tmp_path):
    proxy = f"proxy_pass http://127.0.0.1:{gateway.port}; proxy_set_header Host $host;"
    nginx = Nginx(f"server {{ listen 127.0.0.1:PORT; location / {{ {proxy} }} }}", tmp_path)
    page = chromium.new_page()
    page.set_default_timeout(1000 * BOUND)
    try:
        page.goto(f"http://127.0.0.1:{nginx.port}/user/a%40b/mcp-ws/?token={gateway.token}#/server/fast")
        page.get_by_text("proxy_set_header Host $http_host").first.wait_for()
    finally:
        page.close()
        nginx.stop()


def test_a_proxy_that_drops_upgrade_is_named_among_the_servers(chromium, gateway, tmp_path):
    proxy = f"proxy_pass http://127.0.0.1:{gateway.port}; proxy_http_version 1.1; proxy_set_header Host $http_host;"
    nginx = Nginx(f"server {{ listen 127.0.0.1:PORT; location / {{ {proxy} }} }}", tmp_path)
    page = chromium.new_page()
    try:
        page.goto(f"http://127.0.0.1:{nginx.port}/user/a%40b/mcp-ws/?token={gateway.token}#/traffic")

        def named() -> bool:
            return "upgrade_removed" in {
                entry["code"] for entry in gateway.rest("GET", "network")[1]["network"]
            }

        wait_until(named, what="the handshake of the tap")
        page.goto(f"http://127.0.0.1:{nginx.port}/user/a%40b/mcp-ws/#/servers")
        noticed = page.get_by_role("list", name="network problems")
        noticed.get_by_text("a proxy removed the header Upgrade").wait_for()
    finally:
        page.close()
        nginx.stop()


def test_what_only_the_page_notices_is_named_by_the_gateway(tab, gateway):
    tab.page.route("**/api/sessions", lambda route: route.fulfill(status=413, body="<h1>Too large</h1>"))
    tab.go("sessions")
    tab.page.get_by_text("client_max_body_size").first.wait_for()

    def named() -> bool:
        return "body_limit" in {entry["code"] for entry in gateway.rest("GET", "network")[1]["network"]}

    wait_until(named, what="the report of the page")
    tab.complaints.clear()


def test_a_form_with_nested_optional_and_repeated_parts_sends_what_was_typed(tab):
    tab.go("server/showcase/tools/order")
    tab.connected()
    form = tab.page.get_by_role("form", name="Arguments of order")
    tab.call()
    tab.shows("is required", ".field.wrong")
    form.get_by_label("customer").fill("Ada")
    form.get_by_label("street").fill("Main Street 1")
    form.get_by_label("zip").fill("123")
    form.get_by_label("size").select_option("large")
    form.get_by_label("cheese").check()
    form.get_by_label("olives").check()
    form.get_by_label("note", exact=True).fill("ring twice")
    form.get_by_label("tip", exact=True).fill("2.5")
    form.get_by_role("button", name="Add to items").click()
    form.get_by_label("name").fill("Margherita")
    form.get_by_role("button", name="Add to items").click()
    form.get_by_role("button", name="Remove 2").click()
    form.get_by_label("count").fill("two")
    tab.call()
    tab.shows("match", ".field.wrong [id$=error]")
    assert form.locator(".field.wrong").count() >= 2
    tab.picture("form", height=1100)
    tab.accessible()
    form.get_by_label("zip").fill("12345")
    form.get_by_label("count").fill("2")
    tab.page.keyboard.press("Control+Enter")
    assert got(tab) == {
        "customer": "Ada",
        "address": {"street": "Main Street 1", "zip": "12345"},
        "size": "large",
        "extras": ["cheese", "olives"],
        "note": "ring twice",
        "tip": 2.5,
        "items": [{"name": "Margherita", "count": 2}],
        "urgent": False,
    }
    tab.quiet()


def test_a_pattern_that_never_ends_stops_neither_the_page_nor_a_call(tab):
    tab.go("server/hostile/tools/stuck-input")
    tab.connected()
    tab.page.get_by_label("s", exact=True).fill(STUCK)
    tab.call()
    tab.shows("were not checked", ".arguments-form .banner")
    tab.shows("done", ".call .badge")
    assert json.loads(tab.page.locator(".call pre").first.inner_text()) == {"s": STUCK}
    tab.go("server/hostile/tools/stuck-output")
    tab.call()
    tab.shows("too long", ".result .warn")
    tab.go("server/hostile/tools/doubling")
    tab.shows("doubling", ".detail-head h2")
    tab.go("server/showcase/tools/order")  # the checks go on, in a new worker
    tab.call()
    tab.shows("is required", ".field.wrong")
    tab.quiet()


def test_members_may_have_names_of_javascript_properties(tab):
    tab.go("server/hostile/tools/names")
    tab.connected()
    tab.call()
    tab.shows("is required", ".field.wrong")
    assert tab.page.locator(".field.wrong").count() == len(NAMES)
    for name in NAMES:
        tab.page.get_by_label(name).fill(f"a {name}")
    tab.call()
    assert got(tab) == {name: f"a {name}" for name in NAMES}
    tab.go("server/hostile/tools/honest")
    tab.page.get_by_label("x", exact=True).wait_for()
    assert tab.page.locator(".detail-head h2").all_inner_texts() == ["honest"]
    tab.quiet()


def test_what_does_not_conform_to_mcp_is_shown_with_a_remark_and_hides_nothing_else(tab):
    tab.go("server/hostile/tools/no-type")
    tab.connected()
    tab.shows(
        "hostile: tools: 'no-type': its inputSchema was completed to one of an object; "
        "tools: number 9, number 10: omitted, because its name is not a string.",
        ".choose-list .banner",
    )
    assert tab.page.get_by_label("tools", exact=True).get_by_role("listitem").count() == 9
    tab.page.get_by_label("x", exact=True).fill("sent all the same")
    tab.call()
    tab.shows("sent all the same", ".call pre")
    for tool, words, fault in (
        ("bad-picture", "a picture follows", "item 2"),
        ("new-kind", "beside a hologram", "item 1"),
    ):
        tab.go(f"server/hostile/tools/{tool}")
        tab.call()
        tab.shows(words, ".call pre")
        remark = tab.page.locator(".call .banner").inner_text()
        assert remark.startswith(f"hostile: tools/call: {fault}: ")
        assert "{" not in remark
    tab.picture("faulty")
    tab.accessible()
    tab.quiet()


@pytest.mark.parametrize("place", ["servers", "sessions", "traffic", "server/demo/tools/echo"])
def test_nothing_is_cut_off_at_320_pixels(open_tab, place):
    tab = open_tab()
    tab.page.set_viewport_size({"width": 320, "height": 640})
    tab.go("server/demo")
    tab.connected()
    tab.go(place)
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.evaluate("document.scrollingElement.scrollWidth") == 320
    outside = """[...document.querySelectorAll("header.top :is(a, button), .server-head :is(button, h2)")]
        .filter((one) => { const at = one.getBoundingClientRect(); return at.width > 0 && (at.left < 0 || at.right > 320); })
        .map((one) => one.outerHTML)"""
    assert tab.page.evaluate(outside) == []
    clipped = "[...document.querySelectorAll('header.top nav')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert tab.page.evaluate(clipped) == 0
    tab.picture(f"narrow-{place.split('/')[0]}", 320, 640)


def test_a_stopped_server_is_shown_once_and_can_be_started_there(tab, gateway):
    assert gateway.rest("POST", "servers/hostile/stop")[0] < 300
    tab.go("server/hostile")
    tab.shows("hostile is stopped.", ".banner.bad")
    assert tab.page.locator(".banner.bad").inner_text().count("stopped") == 1
    tab.page.get_by_role("button", name="Start and connect").click()
    tab.connected()
    tab.quiet(network=True)


def test_what_a_form_cannot_show_stays_as_json_and_nothing_is_lost(tab):
    given = {
        "customer": ["not", "a", "text"],
        "address": {"street": "x"},
        "items": [{"name": "y"}],
        "more": 7,
    }
    tab.go(f"server/showcase/tools/order?{urllib.parse.urlencode({'args': json.dumps(given)})}")
    tab.connected()
    tab.shows("Shown as JSON", ".field")
    tab.page.get_by_role("button", name="JSON").click()
    raw = tab.page.get_by_label("Arguments as JSON")
    assert json.loads(raw.input_value()) == given
    raw.fill('{"customer": ')
    tab.page.get_by_role("button", name="Form").click()
    tab.shows("not valid JSON: line 1, column 14", ".banner")
    assert raw.input_value() == '{"customer": '
    raw.fill(json.dumps({**given, "customer": "Ada"}))
    tab.page.get_by_role("button", name="Form").click()
    assert tab.page.get_by_label("customer").input_value() == "Ada"
    tab.call()
    assert got(tab)["more"] == 7
    tab.quiet()


def test_typed_arguments_survive_a_reload_and_a_step_back_and_win_over_those_of_a_link(tab):
    tab.go(f"server/demo/tools/echo?{urllib.parse.urlencode({'args': json.dumps({'text': 'of a link'})})}")
    tab.connected()
    field = tab.page.get_by_role("form", name="Arguments of echo").get_by_label("text")
    holds(field, "of a link")
    field.fill("typed")
    tab.page.reload()
    holds(field, "typed")
    field.fill("typed again")
    tab.page.get_by_role("link", name="Log", exact=True).click()
    tab.page.locator("ul.log").wait_for(state="attached")
    tab.page.go_back()
    holds(field, "typed again")
    tab.go(f"server/demo/tools/echo?{urllib.parse.urlencode({'args': json.dumps({'text': 'of a link'})})}")
    holds(field, "of a link")
    for place, label in (("prompts", "Team Management"), ("resources", "Dynamic Text")):
        tab.go(f"server/everything/{place}")
        tab.page.locator(".choose-list").get_by_role("link").filter(has_text=label).click()
        first = tab.page.locator(".arguments-form input").first
        first.fill("typed")
        tab.page.reload()
        holds(first, "typed")
    tab.quiet()


def test_a_server_of_the_handshake_era_alone_is_spoken_to_in_it_and_runs_its_tasks(tab):
    tab.go("server/everything/tools/simulate-research-query")
    tab.connected()
    assert tab.page.locator(".server-head .badge").first.inner_text() == "2025-11-25"
    tab.page.get_by_label("topic").fill("tides")
    tab.page.get_by_role("checkbox", name="ambiguous").check()
    tab.call()
    tab.page.locator("[data-task=working]").wait_for()
    tab.page.reload()
    tab.connected()
    question = tab.page.get_by_role("region", name="Questions from the server")
    question.wait_for()
    tab.page.locator("[data-task=input_required]").wait_for()
    question.get_by_role("combobox").select_option(index=1)
    question.get_by_role("button", name="Accept").click()
    tab.page.locator("[data-task=completed]").wait_for()
    tab.shows("tides", ".call .result")
    tab.go("server/everything/about")
    tab.shows("handshake era", ".about")
    tab.quiet()


def test_a_choice_of_whole_shapes_has_a_form(tab):
    tab.go("server/showcase/tools/either-shape")
    tab.connected()
    tab.call()
    tab.shows("must have id, or name and kind", ".field.wrong .error")
    kind = tab.page.get_by_label("Kind of choice")
    assert kind.locator("option").all_inner_texts() == ["object with id", 'object with kind "named"']
    kind.select_option(index=1)
    tab.page.locator('.field[data-pointer="/kind"]').wait_for()
    tab.page.reload()
    tab.page.locator('.field[data-pointer="/name"] textarea').fill("Ada")
    tab.accessible()
    tab.call()
    assert got(tab) == {"kind": "named", "name": "Ada"}
    tab.quiet()


def test_of_two_members_either_is_enough_and_errors_without_a_field_are_listed(tab):
    tab.go("server/showcase/tools/either-member")
    tab.connected()
    tab.call()
    tab.shows("As a whole: must have owner, or id", ".arguments-form .error")
    assert tab.page.locator(".field.wrong").count() == 0
    tab.accessible()
    tab.page.get_by_label("id", exact=True).fill("7")
    tab.page.locator(".arguments-form .error").filter(visible=True).wait_for(state="detached")
    tab.call()
    assert got(tab) == {"id": "7"}
    tab.quiet()


def test_choices_have_distinct_labels_and_errors_are_in_plain_english(tab):
    tab.go("server/showcase/tools/alike")
    tab.connected()
    values = tab.page.get_by_label("value", exact=True).locator("option")
    assert values.all_inner_texts() == ["–", '"1"', "1", '"true"', "true", "plain"]
    parts = tab.page.get_by_label("Kind of part").locator("option")
    assert parts.all_inner_texts() == ['object with kind "a"', 'object with kind "b"']
    tab.call()
    tab.shows("As a whole: must have at least 1 member", ".arguments-form .error")
    tab.shows("Not called: 1 invalid argument", "[aria-live]")
    tab.page.get_by_label("level", exact=True).fill("0")
    tab.shows("must be at least 1", ".field.wrong .error")
    tab.go("server/showcase/tools/nowhere")
    tab.page.get_by_label("x", exact=True).fill("1")
    tab.call()
    tab.shows('its reference "#/$defs/gone" does not resolve.', ".arguments-form .banner")
    assert "static" not in tab.page.locator(".arguments-form .banner").inner_text()
    tab.go("server/showcase/tools/pythonic")
    tab.page.get_by_label("x", exact=True).fill("Ab")
    tab.page.get_by_label("n", exact=True).fill("1")
    tab.call()
    tab.shows('without the pattern "(?i)^a", which is not valid in JavaScript', ".arguments-form .banner")
    tab.shows("must be at least 5", ".field.wrong .error")
    tab.page.get_by_label("n", exact=True).fill("5")
    tab.page.locator(".arguments-form .error").filter(visible=True).wait_for(state="detached")
    tab.call()
    assert got(tab) == {"x": "Ab", "n": 5}
    tab.quiet()


def test_optional_variables_of_a_template_may_be_left_out(tab):
    tab.go("server/showcase/resources")
    tab.connected()
    tab.page.get_by_role("link").filter(has_text="file").click()
    tab.page.get_by_role("button", name="Read").click()
    tab.shows("is required", ".field.wrong")
    assert tab.page.locator(".field.wrong").count() == 1
    tab.page.get_by_label("path").fill("a/b")
    lang = tab.page.get_by_label("lang")
    lang.fill("de")
    lang.fill("")
    tab.page.get_by_role("button", name="Read").click()
    tab.shows("read file:///a/b", ".call pre")
    assert tab.page.locator(".call pre").first.inner_text() == "read file:///a/b"
    tab.quiet()


def test_progress_is_shown_and_several_calls_run_and_are_cancelled_one_by_one(tab):
    tab.go("server/demo/tools/slow")
    tab.connected()
    form = tab.page.get_by_role("form", name="Arguments of slow")
    for steps in ("6000", "6001"):
        form.get_by_label("steps").fill(steps)
        form.get_by_label("delay").fill("0.05")
        tab.call()
    tab.shows("2 running", ".tabs")
    running = tab.page.locator(".call.running")
    running.nth(1).locator("progress[value]").wait_for()
    tab.picture("progress")
    tab.accessible()
    running.filter(has_text='"steps":6000').get_by_role("button", name="Cancel").click()
    tab.shows("1 running", ".tabs")
    assert tab.page.locator(".call.running").filter(has_text='"steps":6001').count() == 1
    tab.page.locator(".call.running").get_by_role("button", name="Cancel").click()
    wait_until(lambda: tab.session("demo")["in_flight"] <= 1, what="the end of both calls at the gateway")
    tab.quiet()


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_both_eras_answer_questions_of_the_server(tab, era):
    name = f"demo {era}"
    tab.go("connect")
    tab.page.get_by_role("combobox", name="Server").select_option("demo")
    tab.page.get_by_label("Name on this page").fill(name)
    tab.page.get_by_role("combobox", name=re.compile("^Era")).select_option(era)
    tab.picture(f"connect-{era}")
    tab.accessible()
    tab.page.get_by_role("button", name="Connect", exact=True).click()
    tab.connected()
    tab.shows("2026-07-28" if era == "modern" else "2025-11-25", ".server-head .badge")
    tab.page.get_by_role("link", name="elicit").click()
    tab.call()
    question = tab.page.locator(".question")
    question.wait_for()
    question.get_by_role("button", name="Accept").click()
    tab.shows("is required", ".question .error")
    question.get_by_label("name").fill("Ada")
    tab.picture(f"elicitation-{era}")
    tab.accessible()
    question.get_by_role("button", name="Accept").click()
    tab.shows("hello Ada", ".call pre")
    tab.call()
    question.get_by_role("button", name="Decline").click()
    tab.page.locator(".call.failed, .call .badge.bad, .call pre").first.wait_for()
    tab.page.get_by_role("link", name="sample").click()
    tab.page.get_by_label("prompt").fill("what is six times seven?")
    tab.call()
    tab.shows("six times seven", ".question")
    tab.page.get_by_label("Your response in place of the model").fill("42")
    tab.picture(f"sampling-{era}")
    tab.accessible()
    tab.page.keyboard.press("Control+Enter")
    tab.shows("the model says: 42", ".call pre")
    tab.page.get_by_role("link", name="About").click()
    tab.page.get_by_label("New root").fill("file:///home/ada")
    tab.page.get_by_role("button", name="Add", exact=True).click()
    tab.page.get_by_role("button", name="Ping").click()
    tab.shows("answered after", "[role=status]")
    tab.page.get_by_role("link", name="Tools").click()
    tab.page.get_by_role("link", name="roots").click()
    tab.call()
    tab.shows("file:///home/ada", ".call pre")
    tab.quiet()


def test_images_audio_and_errors_are_shown_as_such(tab):
    tab.go("server/everything/tools/get-tiny-image")
    tab.connected()
    tab.call()
    picture = tab.page.locator(".call img")
    picture.wait_for()
    assert picture.evaluate("async (i) => (await i.decode(), i.naturalWidth)") > 0
    tab.picture("image")
    tab.go("server/showcase/tools/sound")
    tab.connected()
    tab.call()
    sound = tab.page.locator(".call audio")
    sound.wait_for()
    wait_until(lambda: sound.evaluate("(a) => a.readyState") > 0, what="the sound to load")
    tab.picture("sound")
    tab.go("server/showcase/tools/wrong")
    tab.call()
    tab.shows("The tool reported an error", ".call")
    tab.accessible()
    tab.quiet()


def test_watched_resources_are_read_again_when_they_change(tab):
    tab.go("server/demo/resources/demo%3A%2F%2Fcounter")
    tab.connected()
    tab.page.get_by_role("button", name="Watch").click()
    tab.page.locator("[data-updates='0']").wait_for()
    tab.go("server/demo/tools/bump")
    tab.call()
    tab.shows("done", ".call .badge")
    tab.go("server/demo/resources/demo%3A%2F%2Fcounter")
    tab.page.locator("[data-updates='1']").wait_for()
    tab.shows("1", ".call pre")
    tab.picture("watch")
    tab.accessible()
    tab.go("server/demo/tools/grow")
    tab.call()
    tab.shows("grown_1", ".choose-list")
    tab.go("server/demo/log")
    tab.shows("was updated", ".log")
    tab.picture("log")
    tab.accessible()
    tab.quiet()


def test_log_messages_have_the_requested_level(tab):
    tab.go("server/demo/log")
    tab.connected()
    tab.page.get_by_role("combobox", name="Log level").select_option("warning")
    tab.go("server/demo/tools/log")
    tab.page.get_by_label("text").fill("a word of the server")
    tab.call()
    tab.shows("done", ".call .badge")
    tab.go("server/demo/log")
    tab.shows("a word of the server", ".log li")
    assert {badge.inner_text() for badge in tab.page.locator(".log .badge").all()} == {"warning", "error"}
    tab.quiet()


def test_templates_and_prompts_are_filled_in_with_suggestions(tab):
    tab.go("server/everything/prompts")
    tab.connected()
    tab.page.locator(".choose-list").get_by_role("link").filter(has_text="Team Management").click()
    field = tab.page.locator(".arguments-form input").first
    field.fill("E")
    tab.page.locator("datalist option[value=Engineering]").wait_for(state="attached")
    field.fill("Engineering")
    tab.page.locator(".arguments-form input").nth(1).fill("Alice")
    tab.page.get_by_role("button", name="Get", exact=True).click()
    tab.shows("Alice", ".call pre")
    tab.picture("prompt")
    tab.accessible()
    tab.go("server/everything/resources")
    tab.page.get_by_role("link").filter(has_text="Dynamic Text").click()
    tab.page.get_by_role("button", name="Read").click()
    tab.shows("is required", ".field")
    tab.page.locator(".arguments-form input").first.fill("7")
    tab.page.get_by_role("button", name="Read").click()
    tab.shows("Resource 7", ".call pre")
    tab.picture("resource")
    tab.accessible()
    tab.quiet()


def test_text_from_a_server_is_never_rendered_as_markup(tab):
    tab.go("server/showcase/tools")
    tab.connected()
    title = tab.page.title()
    tab.page.get_by_role("link", name="<img").click()
    tab.call()
    tab.shows("<img src=x", ".call pre")
    tab.picture("hostile")
    tab.accessible()
    tab.go("server/showcase/tools/links")
    tab.call()
    tab.shows("a script", ".call")
    links = tab.page.locator(".call a")
    assert [link.get_attribute("href") for link in links.all()] == ["https://example.org/page"]
    assert links.first.get_attribute("rel") == "noopener noreferrer"
    tab.picture("links")
    tab.go("server/showcase/about")
    tab.shows("<img src=x", ".said")
    assert tab.page.locator("main img").count() == 0
    assert tab.page.title() == title
    tab.quiet()


def test_a_url_that_a_server_asks_to_open_is_shown_first(tab):
    tab.go("server/showcase/tools/invite")
    tab.connected()
    tab.call()
    tab.shows("https://example.org/consent", ".question")
    tab.shows("<img src=x", ".question")
    tab.picture("visit")
    tab.accessible()
    assert len(tab.page.context.pages) == 1
    tab.page.get_by_role("button", name="Decline").click()
    tab.shows('"decline"', ".call pre")
    assert len(tab.page.context.pages) == 1
    tab.quiet()


def test_the_page_can_be_used_with_the_keyboard(tab):
    tab.go("server/demo/tools")
    tab.connected()
    tab.page.locator(".choose-list li").first.wait_for()
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("ech")
    wait_until(lambda: tab.page.locator(".choose-list li").count() == 1)
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("Escape")
    wait_until(lambda: tab.page.locator(".choose-list li").count() > 5)
    tab.page.locator(".choose-list a").first.focus()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    tab.arrives("server/demo/tools/add")
    tab.page.keyboard.press("?")
    tab.page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    tab.picture("keys")
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("dialog", name="Keyboard shortcuts").wait_for(state="detached")
    tab.page.keyboard.press("2")
    tab.arrives("sessions")
    tab.quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible_and_fits_a_narrow_screen(open_tab, scheme):
    tab = open_tab(color_scheme=scheme)
    places = {
        "servers": "servers",
        "sessions": "sessions",
        "traffic": "traffic",
        "tool": "server/showcase/tools/order",
        "resources": "server/demo/resources/demo%3A%2F%2Fcounter",
        "prompts": "server/demo/prompts/greet",
        "calls": "server/demo/calls",
        "log": "server/demo/log",
        "about": "server/demo/about",
        "connect": "connect",
    }
    for name, place in places.items():
        tab.go(place)
        if place.startswith("server/"):
            tab.connected()
        tab.page.locator("main > *").first.wait_for()
        tab.picture(f"{name}-{scheme}")
        tab.accessible()
        tab.page.set_viewport_size({"width": 400, "height": 800})
        tab.picture(f"{name}-{scheme}-narrow", 400, 800)
        wide = tab.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, (name, wide)
        tab.page.set_viewport_size({"width": 1280, "height": 800})
    tab.quiet()


def test_inside_jupyterlab_the_page_takes_its_theme_from_its_parent_only(tab, open_tab):
    tab.page.goto(f"{tab.gateway.url}login")
    tab.page.evaluate(
        """async (src) => {
            const frame = document.createElement("iframe");
            frame.src = src;
            document.body.replaceChildren(frame);
            await new Promise((done) => (frame.onload = done));
        }""",
        f"{tab.root}?embed=lab#/servers",
    )
    inner = tab.page.frame_locator("iframe")
    inner.get_by_role("navigation", name="Views").wait_for()
    assert inner.get_by_role("button", name="Theme").count() == 0
    message = {
        "type": "mcp-ws-theme",
        "dark": True,
        "variables": {"--jp-layout-color1": "rgb(1, 2, 3)", "--jp-x": "url(x)"},
    }
    tab.page.evaluate(
        "(m) => document.querySelector('iframe').contentWindow.postMessage(m, location.origin)", message
    )
    inner.locator("html[data-theme=dark]").wait_for(state="attached")
    assert inner.locator("body").evaluate("(b) => getComputedStyle(b).backgroundColor") == "rgb(1, 2, 3)"
    assert inner.locator("html").evaluate("(h) => h.style.getPropertyValue('--jp-x')") == ""
    tab.quiet()
    alone = open_tab()
    alone.page.evaluate("postMessage({type: 'mcp-ws-theme', dark: true, variables: {}}, location.origin)")
    assert alone.page.locator("html[data-theme]").count() == 0
