"""JupyterLab with the extension, from the wheel, without Node, in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.browser import lab
from tests.chromium import CHROMIUM
from tests.conftest import Jupyter
from tests.programs import need

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(lab.BUILT)]
SHARED = "mcp_ws_ide-0.1.0.data/data/share/jupyter/labextensions/mcp-ws-ide"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lab.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> None:
    need((lab.ENVIRONMENT / ".installed").exists(), "the environment with JupyterLab")
    lab.install(wheel)


@pytest.fixture(scope="module")
def jupyter(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    off = {**lab.SERVERS["demo"], "disabled": True}
    running = lab.start(tmp_path_factory.mktemp("lab"), {**lab.SERVERS, "off": off})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need(CHROMIUM, "chromium")
    with lab.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def loaded(jupyter: Jupyter, browser: Any) -> lab.LabPage:
    return lab.LabPage(browser, jupyter)


@pytest.fixture
def page(loaded: lab.LabPage) -> Iterator[lab.LabPage]:
    """JupyterLab in a tab that the tests share, since loading it takes seconds; each finds it empty."""
    yield loaded
    loaded.empty()


@pytest.fixture
def own_page(jupyter: Jupyter, browser: Any) -> Iterator[lab.LabPage]:
    """JupyterLab in a tab of its own, for a test that leaves more than panels and sessions behind."""
    shown = lab.LabPage(browser, jupyter)
    yield shown
    shown.page.close()


def test_the_wheel_carries_page_and_extension_once_and_nothing_they_were_built_from(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        install = json.loads(archive.read(f"{SHARED}/install.json"))
        extension = json.loads(archive.read(f"{SHARED}/package.json"))
        page = json.loads(archive.read("mcp_ws_ide/static/page.json"))
    assert install["packageName"] == "mcp-ws-ide"
    assert extension["version"] == "0.1.0"
    assert f"{SHARED}/{extension['jupyterlab']['_build']['load']}" in names
    assert f"{SHARED}/schemas/mcp-ws-ide/plugin.json" in names
    assert {f"mcp_ws_ide/static/{name}" for name in page.values()} <= set(names)
    remote = [name for name in names if "remoteEntry" in name]
    assert len(remote) == 1, "one build, at one place"
    unwanted = re.compile(r"\.map$|\.tsx?$|node_modules|frontend_static|package-lock|\.sha256$")
    assert [name for name in names if unwanted.search(name)] == []


def test_jupyter_lists_both_extensions_as_ok(installed, tmp_path):
    path = lab.path_without_node(tmp_path / "programs")
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    jupyter = lab.ENVIRONMENT / "bin" / "jupyter"
    listed = plain(lab.run(jupyter, "labextension", "list", env=environment))
    assert re.search(r"mcp-ws-ide v0\.1\.0 enabled OK \(python, mcp-ws-ide\)", listed), listed
    listed = plain(lab.run(jupyter, "server", "extension", "list", env=environment))
    assert "mcp_ws_ide 0.1.0 OK" in listed, listed


def plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


@pytest.mark.chromium
def test_from_a_card_to_a_call_and_to_the_end_of_its_session(page):
    page.status("MCP: 0").wait_for()
    initials = [page.card(name).locator("svg text").text_content() for name in ("demo", "notes")]
    assert initials == ["DE", "NO"]
    page.card("demo").click()
    page.call("echo", text="hello from a panel")
    page.frame.locator(".choose-detail .call", has_text="hello from a panel").wait_for()
    page.status("MCP: 1").wait_for()
    assert page.page.locator(".lm-TabBar-tab.lm-mod-current", has_text="MCP: demo").count() == 1
    page.open_running()
    label = page.sessions.locator(".jp-RunningSessions-itemLabel")
    assert label.inner_text() == "attached · demo · browser"
    assert label.evaluate("label => label.scrollWidth <= label.clientWidth"), "it is cut off"
    page.sessions.hover()
    page.sessions.get_by_title("End session").click()
    page.status("MCP: 0").wait_for()
    page.sessions.wait_for(state="detached")
    assert page.jupyter.rest("GET", "sessions")[1]["sessions"] == []
    assert page.complaints == []


@pytest.mark.chromium
def test_all_sessions_are_ended_after_one_question(page):
    headers = {"Authorization": f"Bearer {page.jupyter.token}"}
    with ExitStack() as clients:
        for name in ("demo", "notes"):
            options = {
                "additional_headers": headers,
                "subprotocols": ["mcp"],
                "user_agent_header": "a-client/1",
            }
            clients.enter_context(connect(page.jupyter.endpoint(name), **options))
        page.status("MCP: 2").wait_for()
        page.open_running()
        assert page.sessions.all_inner_texts() == [
            f"attached · {name} · a-client/1" for name in ("demo", "notes")
        ]
        page.run("mcp-ws-ide:end-all")
        page.page.locator(".jp-Dialog").get_by_role("button", name="End All").click()
        page.status("MCP: 0").wait_for()
    assert ids(page.jupyter) == {}


@pytest.mark.chromium
def test_the_panel_follows_the_theme_and_comes_back_where_it_was(page):
    page.card("demo").click()
    page.frame.locator(".state[data-state=connected]").wait_for()
    page.run("launcher:create")
    page.page.locator(".jp-LauncherCard:visible", has_text="notes").click()
    page.frame.locator("html[data-embed=lab][data-theme=light]").wait_for()
    page.frame.locator(".state[data-state=connected]").wait_for()
    page.status("MCP: 2").wait_for()
    sessions = ids(page.jupyter)
    page.run("apputils:change-theme", theme="JupyterLab Dark")
    page.frame.locator("html[data-theme=dark]").wait_for()
    background = page.frame.locator("html").evaluate(
        "html => getComputedStyle(html).getPropertyValue('--jp-layout-color1').trim()"
    )
    assert background == page.page.evaluate(
        "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color1').trim()"
    )
    page.frame.get_by_role("link", name="Traffic").click()
    tab = page.page.locator(".lm-TabBar-tab.lm-mod-current", has_text=re.compile("^MCP$"))
    tab.wait_for()
    page.saved("#/traffic")
    page.page.goto(f"{page.jupyter.url}lab")
    page.frame.locator("html[data-theme=dark]").wait_for()
    page.frame.get_by_role("link", name="Traffic").and_(page.frame.locator("[aria-current=page]")).wait_for()
    page.page.locator(".lm-TabBar-tab", has_text="MCP: demo").click()
    page.frame.locator(".state[data-state=connected]").wait_for()
    assert ids(page.jupyter) == sessions, "each panel has resumed its own"
    page.run("apputils:change-theme", theme="JupyterLab Light")
    page.frame.locator("html[data-theme=light]").wait_for()
    assert page.complaints == []


def ids(jupyter: Jupyter) -> dict[str, str]:
    return {session["id"]: session["server"] for session in jupyter.rest("GET", "sessions")[1]["sessions"]}


@pytest.mark.chromium
def test_the_inspector_opens_in_a_terminal_and_sees_this_gateway(page):
    page.card("Inspector").click()
    page.page.locator(".jp-Terminal").wait_for()
    page.wait_until(lambda: "LIVE" in page.terminal, "the inspector's link to the gateway")
    assert page.jupyter.url in page.terminal, "it watches this server"
    assert "TEXTUAL_THEME=textual-light" in page.terminal, "JupyterLab is light"


@pytest.mark.chromium
def test_without_servers_the_launcher_leads_to_the_first_one(own_page):
    empty = {"servers": [], "problems": [], "network": [], "withheld": []}
    editing = {"file": "/home/ada/mcp.json", "refused": ""}
    own_page.page.route(
        re.compile(r"/mcp-ws/api/servers(\?.*)?$"),
        lambda route: route.fulfill(json={**empty, "editing": editing}),
    )
    own_page.card("Try the Demo").wait_for()
    own_page.card("Add a Server").click()
    own_page.frame.get_by_role("heading", name="Add a server").wait_for()
    own_page.frame.get_by_role("link", name="← Servers").click()
    own_page.frame.get_by_text("No server is configured yet").wait_for()
    own_page.frame.get_by_role("link", name="Try the demo").click()
    own_page.frame.get_by_label("Name", exact=True).wait_for()
    assert own_page.frame.get_by_label("Name", exact=True).input_value() == "demo"


@pytest.mark.chromium
def test_settings_take_away_cards_and_status(own_page):
    own_page.set_off("Launcher cards")
    own_page.run("launcher:create")
    own_page.page.locator(".jp-LauncherCard:visible", has_text="Terminal").wait_for()
    own_page.wait_until(lambda: own_page.card("demo").count() == 0, "the launcher without cards")
    own_page.set_off("Status bar")
    own_page.page.locator(".mcp-Status").wait_for(state="hidden")


@pytest.mark.chromium
def test_an_unreachable_gateway_is_shown_and_found_again(page):
    page.status("MCP: 0").wait_for()
    page.page.route("**/mcp-ws/api/**", lambda route: route.abort())
    page.status("MCP: unreachable").wait_for()
    page.run("mcp-ws-ide:restart", server="demo")
    told = page.page.locator(".Toastify__toast", has_text="The MCP server could not be restarted")
    told.filter(has_text="the Jupyter server cannot be reached").wait_for()
    page.page.unroute("**/mcp-ws/api/**")
    page.open_running()
    page.page.get_by_title("Refresh List").click()
    page.status("MCP: 0").wait_for()


COMMANDS = {
    "mcp-ws-ide:open": "The MCP page could not be opened",
    "mcp-ws-ide:open-server": "The MCP server could not be opened",
    "mcp-ws-ide:restart": "The MCP server could not be restarted",
    "mcp-ws-ide:end-all": "The MCP sessions could not be ended",
    "mcp-ws-ide:copy-endpoint": "The MCP endpoint URL could not be copied",
    "mcp-ws-ide:copy-entry": "The MCP entry could not be copied",
}


@pytest.mark.chromium
def test_every_command_of_a_disabled_gateway_says_what_to_do(own_page):
    own_page.page.route("**/mcp-ws/**", lambda route: route.fulfill(status=404, body="404 : Not Found"))
    own_page.status("MCP: off").wait_for()
    for command, failed in COMMANDS.items():
        own_page.run(command)
        todo = 'run "jupyter server extension enable mcp_ws_ide", then restart Jupyter'
        own_page.toast(f"{failed}: no MCP gateway here; {todo}").wait_for()
    assert own_page.page.locator(".mcp-Panel").count() == 0
    assert own_page.page.locator(".jp-Dialog").count() == 0


@pytest.mark.chromium
def test_a_restart_reports_its_result(page):
    page.jupyter.rest("POST", "servers/notes/restart")  # an earlier test may have left a process
    page.run("mcp-ws-ide:restart", server="notes")
    page.toast("MCP server notes: no process was running").wait_for()
    page.card("demo").click()
    page.frame.locator(".state[data-state=connected]").wait_for()
    page.run("mcp-ws-ide:restart", server="demo")
    page.toast("MCP server demo: processes ended").wait_for()
    page.run("mcp-ws-ide:restart", server="off")
    refused = page.toast("The MCP server could not be restarted: ")
    refused.filter(has_text="'off' is disabled: switched off").wait_for()
    page.run("mcp-ws-ide:restart", server="nosuch")
    refused.filter(has_text="server 'nosuch'").wait_for()


@pytest.mark.chromium
def test_the_menu_view_has_every_command(page):
    page.page.get_by_role("menuitem", name="View").click()
    shown = page.page.locator(".lm-Menu-itemLabel", has_text="MCP")
    assert [label.removesuffix("…") for label in shown.all_inner_texts()] == [
        "Open MCP Page",
        "Open MCP Server",
        "Open MCP Inspector in a Terminal",
        "Restart MCP Server",
        "End All MCP Sessions",
        "Copy MCP Endpoint URL",
        "Copy MCP Entry for Another Program",
    ]


@pytest.mark.chromium
def test_notebook_7_has_the_page_in_a_tab_the_sessions_and_the_inspector(jupyter, browser):
    page = browser.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.goto(f"{jupyter.url}tree?token={jupyter.token}")
    page.get_by_role("tab", name="Running").click()
    page.locator(".jp-RunningSessions", has_text="MCP sessions").wait_for()
    page.get_by_role("menuitem", name="View").click()
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="Open MCP Page").click()
    opened.value.get_by_role("link", name="demo").first.wait_for()
    page.get_by_role("menuitem", name="View").click()
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="Open MCP Inspector in a Terminal").click()
    opened.value.locator(".jp-Terminal").wait_for()
    assert [text for text in heard if "mcp" in text.lower()] == []
    opened.value.close()
    page.close()
