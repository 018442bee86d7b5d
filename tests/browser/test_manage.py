"""Servers, Sessions and Traffic of the page in a real Chromium, against a real gateway and real servers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_ws_ide.inspector.recording import Recording
from tests.browser.conftest import Road, Tab
from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Jupyter, wait_until

pytestmark = [pytest.mark.chromium]
SECRET = "s3cr3t-of-the-entry"
LOUD = (
    "import json, sys\n"
    "for line in sys.stdin:\n"
    "    m = json.loads(line)\n"
    "    if 'id' in m:\n"
    "        print('asked <img src=x onerror=1>', m['method'], file=sys.stderr, flush=True)\n"
    "        print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'result': {'protocolVersion': '2025-11-25', 'capabilities': {}, 'serverInfo': {'name': 'l', 'version': '1'}}}), flush=True)\n"
)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    servers = {
        "demo": DEMO,
        "fast": FAST_SERVER,
        "loud": {"command": sys.executable, "args": ["-c", LOUD]},
        "unset": {"command": "${NO_SUCH_VARIABLE}"},
    }
    home = tmp_path_factory.mktemp("managed")
    running = Jupyter(home, servers, base_url="/user/a%40b/", environment={"UV_INDEX_URL": SECRET})
    yield running
    running.stop()


@pytest.fixture
def tab(open_tab: Callable[..., Tab], managed: Jupyter) -> Iterator[Tab]:
    yield open_tab(own=managed)
    file = managed.home / "config" / "mcp.json"
    file.unlink(missing_ok=True)
    managed.rest("POST", "servers/new/preview", {"entry": {"command": "true"}})


def call(
    jupyter: Jupyter, server: str, method: str, params: dict[str, Any] | None = None, own: Any = 1
) -> int:
    """A modern request over Streamable HTTP; returns its status."""
    headers = {
        "Authorization": f"Bearer {jupyter.token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": params["name"]} if params and "name" in params else {}),
    }
    message = {"jsonrpc": "2.0", "id": own, "method": method, "params": {**(params or {}), "_meta": MODERN}}
    return jupyter.request("POST", f"mcp-ws/servers/{server}", message, headers)[0]


def handshake(jupyter: Jupyter, server: str) -> None:
    """Open a session of the handshake era over HTTP."""
    headers = {
        "Authorization": f"Bearer {jupyter.token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    assert jupyter.request("POST", f"mcp-ws/servers/{server}", message, headers)[0] == 200


def row(tab: Tab, text: str) -> Any:
    return tab.page.locator("table.data tbody tr", has_text=text)


# --- servers ------------------------------------------------------------------------------------------


def test_servers_show_state_memory_and_problems_and_can_be_stopped_and_started(tab, managed):
    assert call(managed, "fast", "tools/list") == 200
    tab.go("servers")
    line = row(tab, "fast")
    line.get_by_text("running").wait_for()
    line.get_by_text(re.compile(r"\d MiB")).wait_for()
    tab.shows("NO_SUCH_VARIABLE", ".problems li")
    tab.accessible()
    tab.picture("servers")
    line.get_by_role("link", name="fast").click()
    tab.page.get_by_role("button", name="Stop").click()
    tab.shows("stopped", ".banner")
    assert managed.processes("fast") == []
    assert call(managed, "fast", "tools/list") == 502
    tab.page.get_by_role("button", name="Start", exact=True).click()
    tab.page.get_by_role("button", name="Restart").wait_for()
    assert call(managed, "fast", "tools/list") == 200
    tab.shows(str(managed.processes("fast")[0]["pid"]), "td.mono")
    tab.quiet()


def test_the_list_counts_and_names_the_variables_that_servers_do_not_get_and_shows_no_values(tab, managed):
    names = managed.rest("GET", "servers")[1]["withheld"]
    assert "UV_INDEX_URL" in names
    tab.go("servers")
    subject, verb, them = (
        ("1 variable", "reaches", "it") if len(names) == 1 else (f"{len(names)} variables", "reach", "them")
    )
    sentence = tab.page.locator("details.withheld summary")
    assert sentence.inner_text() == (
        f"{subject} of Jupyter’s environment {verb} a server only if its entry lists {them} under env_vars"
    )
    sentence.focus()
    tab.page.keyboard.press("Enter")
    listed = tab.page.get_by_role("list", name="variables that servers do not get").get_by_role("listitem")
    listed.first.wait_for()
    assert listed.all_inner_texts() == names
    assert SECRET not in tab.page.content()
    tab.accessible()
    tab.picture("withheld")
    tab.quiet()


def test_a_filter_shows_the_servers_that_contain_its_text(tab, managed):
    tab.go("servers")
    row(tab, "fast").wait_for()
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("LOU")
    row(tab, "fast").wait_for(state="detached")
    assert row(tab, "loud").count() == 1
    tab.page.keyboard.type("x")
    tab.shows("No servers match the filter", ".empty")
    tab.page.keyboard.press("Escape")
    row(tab, "fast").wait_for()
    tab.quiet()


def test_stderr_is_followed_and_rendered_as_text(tab, managed):
    tab.go("servers/loud")
    tab.shows("has written nothing to stderr")
    handshake(managed, "loud")
    tab.shows("asked <img src=x onerror=1> initialize", "pre.stderr .line")
    assert tab.page.locator("pre.stderr img").count() == 0
    tab.picture("server")
    tab.accessible()
    tab.quiet()


def test_an_entry_for_an_ide_and_a_token_that_is_shown_once(tab, managed):
    tab.go("servers/fast")
    tab.page.get_by_text("Connect other programs").click()
    tab.page.get_by_label("Entry for").select_option("cursor")
    tab.page.get_by_role("button", name="Show entry").click()
    tab.shows('"mcpServers"', "pre.said-block")
    tab.page.get_by_label("Note for the token").fill("my laptop")
    tab.page.get_by_role("button", name="Create token").click()
    secret = tab.page.locator("code.secret").inner_text()
    assert secret.startswith("mcpws_")
    tab.picture("elsewhere")
    tab.accessible()
    tab.page.get_by_role("button", name="Done").click()
    tab.page.get_by_role("button", name="Revoke the token my laptop").click()
    row(tab, "my laptop").wait_for(state="detached")
    assert managed.rest("GET", "tokens")[1]["tokens"] == []
    assert secret not in tab.page.content()
    tab.quiet()


# --- the manager --------------------------------------------------------------------------------------


def test_a_pasted_entry_is_reviewed_tested_allowed_and_serves(tab, managed, tmp_path):
    tab.go("servers")
    tab.page.get_by_role("link", name="Add a server").click()
    tab.page.get_by_text("Import from Claude").click()
    entry = {**FAST_SERVER, "env": {"LD_LIBRARY_PATH": "/x", "API_KEY": SECRET}}
    text = "// from a README\n" + json.dumps({"mcpServers": {"pasted": entry}}, indent=1)
    tab.page.get_by_label("Entry to paste").fill(text)
    assert tab.page.get_by_label("Program").input_value() == sys.executable
    tab.picture("add")
    tab.accessible()
    tab.page.get_by_role("button", name="Review").click()
    dialogue = tab.page.get_by_role("dialog")
    dialogue.get_by_text(FAST_SERVER["args"][-1]).wait_for()
    dialogue.get_by_text("LD_LIBRARY_PATH changes which code").wait_for()
    assert SECRET not in dialogue.inner_text()
    tab.accessible()
    assert not (managed.home / "config" / "mcp.json").exists()
    dialogue.get_by_role("button", name="test once").click()
    dialogue.get_by_text(re.compile(r"Success: .* modern era, 1 tool,")).wait_for()
    tab.picture("consent")
    assert not (managed.home / "config" / "mcp.json").exists(), "a try saves nothing"
    dialogue.get_by_role("button", name="Allow and save").click()
    tab.page.get_by_role("heading", name="pasted", exact=True).wait_for()
    assert call(managed, "pasted", "tools/list") == 200
    stored = json.loads((managed.home / "config" / "mcp.json").read_text())["mcpServers"]["pasted"]
    assert stored == entry
    tab.quiet()


def test_servers_of_other_clients_are_listed_on_a_click_and_imported_after_a_review_of_each(tab, managed):
    found = {"fast": {**FAST_SERVER, "env": {"API_KEY": SECRET}}, "unwanted": {"command": "unwanted-server"}}
    files = {
        ".cursor/mcp.json": json.dumps({"mcpServers": found}),
        ".codex/config.toml": f'[mcp_servers.codex]\ncommand = "codex-server"\nargs = ["--token", "{SECRET}"]\n',
    }
    for path, text in files.items():
        (managed.home / path).parent.mkdir()
        (managed.home / path).write_text(text)
    tab.go("servers?add=import")
    tab.page.get_by_role("button", name="Look for other clients").click()
    tab.page.get_by_label("fast", exact=True).check()
    tab.shows("as fast-2")
    tab.page.get_by_label("codex", exact=True).check()
    tab.accessible()
    tab.picture("import", height=900)
    tab.page.get_by_role("button", name="Review 2 servers").click()
    dialogue = tab.page.get_by_role("dialog", name="Import fast-2 from Cursor (1 of 2)")
    dialogue.get_by_text("API_KEY").wait_for()
    assert SECRET not in tab.page.content()
    dialogue.get_by_role("button", name="Allow and save").click()
    dialogue = tab.page.get_by_role("dialog", name="Import codex from Codex (2 of 2)")
    dialogue.get_by_role("button", name="Save without starting").click()
    row(tab, "codex").get_by_text("awaits consent").wait_for()
    assert call(managed, "fast-2", "tools/list") == 200
    stored = json.loads((managed.home / "config" / "mcp.json").read_text())["mcpServers"]
    assert stored == {
        "fast-2": found["fast"],
        "codex": {"command": "codex-server", "args": ["--token", SECRET]},
    }
    tab.quiet()


def test_an_entry_of_another_client_can_be_edited_in_the_form_first(tab, managed):
    file = managed.home / ".lmstudio" / "mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": {"studio": {**FAST_SERVER, "env": {"API_KEY": SECRET}}}}))
    tab.go("servers?add=import")
    tab.page.get_by_role("button", name="Look for other clients").click()
    tab.page.get_by_role("button", name="Edit first: studio").click()
    tab.page.get_by_label("Name", exact=True).fill("renamed")
    tab.page.get_by_role("button", name="Review …", exact=True).click()
    dialogue = tab.page.get_by_role("dialog", name="Add renamed")
    assert SECRET not in tab.page.content()
    dialogue.get_by_role("button", name="Allow and save").click()
    tab.page.get_by_role("heading", name="renamed", exact=True).wait_for()
    stored = json.loads((managed.home / "config" / "mcp.json").read_text())["mcpServers"]
    assert stored == {"renamed": {**FAST_SERVER, "env": {"API_KEY": SECRET}}}
    tab.quiet()


def test_the_review_shows_no_character_invisibly_or_out_of_order(tab, managed):
    tab.go("servers?add=1")
    tab.page.get_by_label("Name", exact=True).fill("hostile")
    tab.page.get_by_role("button", name="JSON").click()
    args = [
        "-c",
        "echo safe \u202e# fr- mr ;olleh",
        "  ",
        "",
        "a\u200bb\nc",
        "\u2066",
        "\u05d0 1 \u05d1",
        "\U000e0041",
    ]
    entry = {
        "command": "/bin/sh",
        "args": args,
        "env": {"UV_INDEX_URL": "https://evil.example", "API_KEY": SECRET},
    }
    tab.page.get_by_label("Entry", exact=True).fill(json.dumps(entry, ensure_ascii=False))
    tab.page.get_by_role("button", name="Review").click()
    dialogue = tab.page.get_by_role("dialog")
    dialogue.get_by_text("UV_INDEX_URL changes which code").wait_for()
    shown = [code.text_content() for code in dialogue.locator(".argv code").all()]
    assert shown == [
        *("-c", "echo safe \\u202e# fr- mr ;olleh", '"  "', '""', "a\\u200bb\\nc", "\\u2066"),
        *("\u05d0 1 \u05d1", "\\u{e0041}"),
    ]
    right, left = (dialogue.locator(".argv code").nth(6).evaluate(LEFT_EDGE, place) for place in (0, 4))
    assert right < left, "read as it is run: from left to right"
    assert "https://evil.example" in dialogue.inner_text()
    assert SECRET not in dialogue.inner_text()
    tab.accessible()
    tab.quiet()


LEFT_EDGE = """(element, place) => {
    const range = document.createRange();
    range.setStart(element.firstChild, place);
    range.setEnd(element.firstChild, place + 1);
    return range.getBoundingClientRect().left;
}"""


def test_an_entry_saved_without_consent_starts_only_after_consent(tab, managed):
    tab.go("servers?add=1")
    tab.page.get_by_label("Name", exact=True).fill("later")
    tab.page.get_by_label("Program").fill(FAST_SERVER["command"])
    for number, argument in enumerate(FAST_SERVER["args"], 1):
        tab.page.get_by_role("button", name="Add an argument").click()
        tab.page.get_by_label(f"Arguments, {number}", exact=True).fill(argument)
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("button", name="Save without starting").click()
    tab.shows("needs consent", ".badge")
    assert call(managed, "later", "tools/list") == 502
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Allow", exact=True).click()
    tab.shows("idle", ".badge")
    assert call(managed, "later", "tools/list") == 200
    tab.quiet()


def test_errors_appear_beside_their_fields_while_typing(tab):
    tab.go("servers?add=1")
    tab.page.get_by_label("Name", exact=True).fill("a b")
    tab.shows("letters, digits", ".field .error")
    tab.page.get_by_label("Name", exact=True).fill("new")
    tab.page.get_by_label("Kind of server").select_option("url")
    tab.page.get_by_label("Address").fill("gopher://example.org")
    tab.shows("scheme 'gopher' is unknown", ".field .error")
    assert tab.page.get_by_label("Address").get_attribute("aria-invalid") == "true"
    tab.page.get_by_role("button", name="Add a header").click()
    tab.page.get_by_label("Headers, name 1").fill("A")
    tab.page.get_by_label("Headers, value of A").fill("日本")
    tab.page.get_by_label("Address").fill("https://example.org/mcp")
    tab.shows("must be one line of Latin-1 text", ".field .error")
    tab.accessible()
    tab.picture("mistakes")
    tab.page.get_by_role("button", name="JSON").click()
    tab.page.get_by_label("Entry", exact=True).fill('{"command": 5, "args": [1]}')
    tab.shows("must be a string", ".problems li")
    tab.page.get_by_role("button", name="Review").click()
    tab.shows("The entry has errors", ".banner")
    assert tab.page.get_by_role("dialog").count() == 0
    tab.quiet()


def test_editing_keeps_secrets_that_the_browser_never_sees_and_removing_asks_first(tab, managed):
    file = managed.home / "config" / "mcp.json"
    file.parent.mkdir(exist_ok=True)
    entry = {**FAST_SERVER, "env": {"API_KEY": SECRET, "REGION": "${env:HOME}"}, "odd": SECRET}
    file.write_text(json.dumps({"mcpServers": {"mine": entry}}, indent=2))
    answers: list[Any] = []
    tab.page.on("response", lambda answer: answers.append(answer) if "/servers/mine" in answer.url else None)
    tab.go("servers/mine")
    tab.page.get_by_role("link", name="Edit").click()
    tab.page.get_by_label("Environment, value of REGION").wait_for()
    tab.page.get_by_label("Environment, value of REGION").fill("eu")
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("button", name="Allow and save").click()
    tab.page.get_by_role("heading", name="mine", exact=True).wait_for()
    changed = {**entry, "env": {"API_KEY": SECRET, "REGION": "eu"}}
    assert json.loads(file.read_text())["mcpServers"]["mine"] == changed
    bodies = [answer.text() for answer in answers if "definition" in answer.url or "preview" in answer.url]
    assert len(bodies) >= 3
    assert SECRET not in "".join(bodies)
    tab.page.get_by_role("button", name="Remove").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert "mine" in file.read_text()
    tab.page.get_by_role("button", name="Remove").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    tab.page.get_by_role("region", name="Table of servers").wait_for()
    assert json.loads(file.read_text()) == {"mcpServers": {}}
    tab.quiet(network=True)  # a request for stderr may still have been under way when the server was removed


def test_a_file_that_changed_under_the_form_is_reported_and_not_overwritten(tab, managed):
    tab.go("servers?add=1")
    tab.page.get_by_label("Name", exact=True).fill("new")
    tab.page.get_by_label("Program").fill("true")
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("button", name="Allow and save").wait_for()
    file = managed.home / "config" / "mcp.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"mcpServers": {}}\n')
    tab.page.get_by_role("button", name="Allow and save").click()
    tab.shows("has changed in the meantime", ".banner")
    assert file.read_text() == '{"mcpServers": {}}\n'
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("button", name="Allow and save").click()
    tab.page.get_by_role("heading", name="new", exact=True).wait_for()
    assert "new" in json.loads(file.read_text())["mcpServers"]


# --- sessions -----------------------------------------------------------------------------------------


def test_sessions_appear_lead_to_their_traffic_and_can_be_ended(tab, open_tab, managed):
    other = open_tab(own=managed)
    tab.go("sessions")
    other.go("server/demo/tools")
    other.connected()
    line = row(tab, "demo")
    line.get_by_text("mcp.resume.v1").wait_for()
    tab.shows("link opened", ".events li")
    tab.picture("sessions")
    tab.accessible()
    line.get_by_role("link", name="Traffic").click()
    session = managed.rest("GET", "sessions")[1]["sessions"][-1]["id"]
    assert tab.page.get_by_label("Filter the traffic").input_value() == f"session:{session[:8]}"
    tab.go("sessions")
    line.get_by_role("button", name=re.compile("End the session")).click()
    tab.page.get_by_role("dialog").get_by_role("button", name="End session").click()
    line.wait_for(state="detached")
    tab.shows("link closed", ".events li")
    tab.quiet()


# --- traffic ------------------------------------------------------------------------------------------


def live(tab: Tab, filter: str = "") -> None:
    tab.go(f"traffic?filter={filter}" if filter else "traffic")
    tab.page.locator("[data-tap=live]").wait_for()
    tab.page.get_by_role("button", name="Clear").click()


def messages(tab: Tab) -> Any:
    return tab.page.get_by_role("option")


def test_traffic_is_live_paired_filtered_and_shown_in_full(tab, managed):
    live(tab)
    call(managed, "fast", "tools/call", {"name": "echo", "arguments": {"text": "find <b>me</b>"}}, own="7")
    answer = messages(tab).filter(has_text="⇐").filter(has_text="echo")
    answer.filter(has_text="ok").wait_for()
    tab.page.get_by_label("Filter the traffic").fill('tool:echo leg:client id:"7"')
    messages(tab).nth(2).wait_for(state="detached")
    assert messages(tab).count() == 2
    messages(tab).first.click()
    tab.page.keyboard.press("Enter")
    detail = tab.page.get_by_role("complementary", name="Message")
    detail.get_by_role("heading", name="Response").wait_for()
    assert detail.get_by_text("find <b>me</b>").count() == 2
    tab.picture("traffic")
    tab.accessible()
    tab.page.keyboard.press("x")
    detail.get_by_text("Go to request").wait_for()
    tab.page.keyboard.press("Escape")
    detail.wait_for(state="detached")
    tab.quiet()


def test_a_mistake_in_a_filter_is_shown_at_its_character(tab, managed):
    live(tab)
    call(managed, "fast", "tools/list")
    messages(tab).first.wait_for()
    before = messages(tab).count()
    for text, at, message in (
        ("kind:requests", 6, "is not one of request"),
        ("tool:a (lat:>5", 8, "not closed"),
        ("size:>10x", 6, "is not a comparison"),
        ("colour:red", 1, 'unknown key "colour"'),
        ("a | ", 5, "missing"),
        ("~a+", 1, "regular expressions"),
    ):
        tab.page.get_by_label("Filter the traffic").fill(text)
        tab.shows(f"character {at}:", "#filter-error")
        tab.shows(message, "#filter-error")
        assert messages(tab).count() == before, "the last good filter stays in force"
    tab.picture("filter-mistake")
    tab.accessible()
    for text, expected in (
        ("method:tools/* dir:server leg:client", 1),
        ("!method:tools/*", None),
        ("kind:request | kind:response", None),
        ("nothing-has-this", 0),
        ('lat:<9s (kind:response "2026-07-28" | kind:request leg:client)', 1),
    ):
        tab.page.get_by_label("Filter the traffic").fill(text)
        tab.page.locator("#filter-error").wait_for(state="detached")
        if expected is not None:
            wait_until(lambda expected=expected: messages(tab).count() == expected, what=text)
    tab.quiet()


def test_pause_freezes_the_list_find_steps_through_it_and_clear_empties_it(tab, managed):
    live(tab)
    for number in range(3):
        call(
            managed,
            "fast",
            "tools/call",
            {"name": "echo", "arguments": {"text": f"needle-{number}"}},
            own=number,
        )
    messages(tab).filter(has_text="⇐").nth(2).wait_for()
    tab.page.keyboard.press("p")
    tab.page.get_by_role("button", name="Resume").wait_for()
    count = messages(tab).count()
    call(managed, "fast", "tools/list", own="later")
    tab.page.get_by_role("button", name=re.compile(r"Resume \(\d+ new\)")).wait_for()
    assert messages(tab).count() == count
    tab.page.keyboard.press("Control+f")
    tab.page.get_by_label("Find text").fill("needle-1")
    tab.page.keyboard.press("Enter")
    chosen = tab.page.locator("[role=option][aria-selected=true]")
    chosen.wait_for()
    first = chosen.get_attribute("id")
    tab.page.keyboard.press("Enter")
    wait_until(lambda: chosen.get_attribute("id") != first)
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("p")
    wait_until(lambda: messages(tab).count() > count)
    tab.page.get_by_role("button", name="Clear").click()
    tab.shows("No traffic since")
    tab.quiet()


def exported(tab: Tab, directory: Path) -> list[str]:
    """The records of an export, as the terminal inspector reads it."""
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Export").click()
    path = directory / "export.jsonl"
    download.value.save_as(path)
    with closing(Recording(str(path))) as recording:
        return [line for batch in recording.batches() for line in batch]


def test_an_export_is_a_recording_of_the_messages_shown(tab, managed, tmp_path):
    live(tab)
    call(managed, "fast", "tools/call", {"name": "echo", "arguments": {"text": "x"}}, own=9007199254740993)
    call(managed, "fast", "tools/list", own=2)
    messages(tab).filter(has_text="tools/list").filter(has_text="ok").last.wait_for()
    tab.page.get_by_label("Filter the traffic").fill("tool:echo leg:client")
    wait_until(lambda: messages(tab).count() == 2)
    exported(tab, tmp_path)
    with closing(Recording(str(tmp_path / "export.jsonl"))) as recording:
        assert recording.header.instance
        assert recording.header.gateway == managed.url
        lines = [line for batch in recording.batches() for line in batch]
    assert [json.loads(line)["kind"] for line in lines] == ["request", "response"]
    assert all('"id":9007199254740993' in line for line in lines), "ids come as they were, however long"
    tab.quiet()


RECONNECT = "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Reconnect now')?.click()"
"""Press the button unless the page reconnects just now: it shows it only while it waits."""


def test_a_lost_tap_reconnects_without_losing_or_repeating_records(open_tab, managed, tmp_path):
    road = Road(managed.port)
    try:
        tab = open_tab(f"http://127.0.0.1:{road.port}/user/a%40b/", own=managed)
        live(tab)
        call(managed, "fast", "tools/list", own="before")
        messages(tab).filter(has_text="before").first.wait_for()
        road.cut()
        tab.page.locator("[data-tap=waiting]").wait_for()
        call(managed, "fast", "tools/list", own="meanwhile")
        road.mend()
        tab.page.evaluate(RECONNECT)
        messages(tab).filter(has_text="meanwhile").first.wait_for()
        call(managed, "fast", "tools/list", own="after")
        messages(tab).filter(has_text="after").nth(1).wait_for()
        lines = [json.loads(line) for line in exported(tab, tmp_path)]
        numbers = [line["seq"] for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert {"before", "meanwhile", "after"} <= {line["id"] for line in lines}
        tab.quiet(network=True)
    finally:
        road.close()


@pytest.fixture
def away(open_tab: Callable[..., Tab], managed: Jupyter) -> Iterator[tuple[Tab, Road]]:
    """A tab with a live feed, whose time the test advances, and the network between it and the gateway."""
    road = Road(managed.port)
    try:
        tab = open_tab(f"http://127.0.0.1:{road.port}/user/a%40b/", own=managed)
        tab.page.clock.install()
        tab.page.reload()
        live(tab)
        yield tab, road
        tab.quiet(network=True)
    finally:
        road.close()


def test_what_a_silent_network_holds_is_given_up_and_tried_again(away, managed):
    """A network that drops packets closes no connection, and the system notices after minutes."""
    tab, road = away
    call(managed, "fast", "tools/list", own="before")
    messages(tab).filter(has_text="before").first.wait_for()
    road.hold()
    call(managed, "fast", "tools/list", own="meanwhile")
    tab.page.clock.fast_forward(60_000)
    tab.page.locator("[data-tap=connecting]").wait_for()
    tab.page.clock.fast_forward(15_000)
    tab.page.locator("[data-tap=waiting]").filter(has_text="has not answered for 15 s").wait_for()
    tab.go("servers")
    asked_again(tab, "Jupyter has not answered for 30 s: check the network")
    road.release()
    tab.page.get_by_text("Jupyter has not answered").wait_for(state="detached")
    tab.go("traffic")
    messages(tab).filter(has_text="meanwhile").first.wait_for()
    assert tab.page.locator("[role=option].gap").count() == 0


def test_a_page_that_was_away_replaces_a_live_feed_that_may_be_dead(away):
    tab, road = away
    opened: list[Any] = []
    tab.page.on("websocket", lambda link: opened.append(link))
    # Something came a moment ago: nothing is replaced.
    tab.page.evaluate("dispatchEvent(new Event('online'))")
    road.hold()
    tab.page.clock.fast_forward(21_000)
    tab.page.evaluate("dispatchEvent(new Event('online'))")
    tab.page.locator("[data-tap=connecting]").wait_for()
    road.release()
    tab.page.locator("[data-tap=live]").wait_for()
    assert len(opened) == 1


def asked_again(tab: Tab, error: str) -> None:
    """Let the page's time pass until it shows an error."""
    shown = tab.page.get_by_text(error).first

    def passes() -> bool:
        tab.page.clock.fast_forward(10_000)
        return bool(shown.count())

    wait_until(passes, what=error)


def test_records_that_the_gateway_no_longer_has_show_as_a_gap(open_tab, make_jupyter):
    own = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.tap_grace=0")
    road = Road(own.port)
    try:
        tab = open_tab(f"http://127.0.0.1:{road.port}/", own=own)
        live(tab)
        call(own, "fast", "tools/list")
        messages(tab).first.wait_for()
        before = instance(own)
        road.cut()
        tab.page.locator("[data-tap=waiting]").wait_for()
        wait_until(lambda: instance(own) != before, what="the end of the grace time")
        road.mend()
        tab.page.locator("[role=option].gap").wait_for()
        tab.quiet(network=True)
    finally:
        road.close()


def instance(jupyter: Jupyter) -> str:
    """Return the instance id that a new watcher gets: a new one once the gateway has dropped the feed."""
    from websockets.sync.client import connect

    headers = {"Authorization": f"Bearer {jupyter.token}"}
    url = f"ws://127.0.0.1:{jupyter.port}/mcp-ws/api/tap"
    with connect(url, subprotocols=["mcp.tap.v1"], additional_headers=headers) as link:
        return json.loads(link.recv(5))["instance"]


def test_a_flood_stays_within_bounds_and_dropped_messages_are_counted(tab, managed):
    live(tab)
    call(managed, "fast", "tools/call", {"name": "flood", "arguments": {"count": 21_000, "size": 10}})
    wait_until(
        lambda: "older messages were dropped" in tab.page.locator(".traffic-count").inner_text(), BOUND
    )
    tab.page.get_by_role("button", name="Pause").click()  # or what is chosen gives way too
    assert messages(tab).count() < 100, "only what can be seen is in the page"
    tab.page.get_by_role("listbox", name="Messages").focus()
    tab.page.keyboard.press("Home")
    assert tab.page.locator("[role=option][aria-selected=true]").get_attribute("aria-posinset") == "1"
    tab.page.keyboard.press("End")
    last = tab.page.locator("[role=option][aria-selected=true]")
    wait_until(lambda: last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize"))
    tab.quiet()


def test_dark_and_narrow(tab, managed):
    call(managed, "fast", "tools/list")
    handshake(managed, "fast")
    tab.page.set_viewport_size({"width": 420, "height": 800})
    live(tab)
    call(managed, "fast", "tools/list")
    messages(tab).filter(has_text="ok").first.wait_for()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 420
    tab.picture("traffic-narrow", 420, 800)
    tab.accessible()
    for place, name in (("servers", "servers"), ("sessions", "sessions"), ("servers/fast", "server")):
        tab.page.emulate_media(color_scheme="dark")
        tab.go(place)
        tab.page.locator("table.data").first.wait_for()
        tab.accessible()
        tab.picture(f"{name}-dark")
        tab.picture(f"{name}-narrow", 420, 800)
        tab.page.set_viewport_size({"width": 420, "height": 800})
        tab.accessible()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 420, place
        tab.page.set_viewport_size({"width": 1280, "height": 800})
    tab.quiet()
