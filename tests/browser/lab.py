"""A real JupyterLab with the wheel installed and without Node, shown in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.version import build
from tests.chromium import LAUNCH
from tests.conftest import BOUND, Jupyter

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-lab"
"""Created by make; contains JupyterLab and the dependencies of the package."""

BUILT: Final = 900.0
"""Seconds that building and installing the wheel may take, the front end included: an end to a hang."""
NODE = ("node", "nodejs", "npm", "npx")
SERVERS = {
    "demo": {"command": "python", "args": ["-m", "mcp_ws_ide.demo"]},
    "notes": {"command": "python", "args": ["-m", "mcp_ws_ide.demo"]},
}
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}


def run(*command: str | Path, **options: Any) -> str:
    """Run a program; return its output."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=BUILT, **options
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build the wheel; the front end is rebuilt if it is out of date. Return the compiled one if that is tested."""
    if build() == "compiled":
        (wheel,) = (ROOT.parent / "dist").glob("*.whl")
        return wheel
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, source, env={**os.environ, "PATH": path})
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path) -> None:
    """Install the wheel into JupyterLab's environment, replacing an earlier one."""
    linked = ENVIRONMENT / "share" / "jupyter" / "labextensions" / "mcp-ws-ide"
    if linked.is_symlink():  # by jupyter-builder develop: pip would write through it
        linked.unlink()
    pip = (ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet")
    run(*pip, "--no-deps", "--force-reinstall", wheel)


def path_without_node(folder: Path) -> str:
    """Return a PATH with JupyterLab's environment and the system's programs, without Node."""
    folder.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            link = folder / program.name
            if program.name not in NODE and not link.is_symlink():
                link.symlink_to(program)
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{folder}"
    assert not any(shutil.which(name, path=path) for name in NODE)
    return path


def start(home: Path, servers: dict[str, Any] = SERVERS) -> Jupyter:
    """Start Jupyter with JupyterLab and these servers; JupyterLab does not ask about news."""
    settings = home / "settings"
    for plugin, chosen in SETTINGS.items():
        file = settings / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(chosen))
    environment = {
        "PATH": path_without_node(home / "programs"),
        "SHELL": "/bin/bash",
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    return Jupyter(
        home,
        servers,
        "--LabApp.expose_app_in_browser=True",
        base_url="/user/a%40b/",
        python=ENVIRONMENT / "bin" / "python",
        environment=environment,
    )


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser context of one user: tabs share cookies and cache."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(1000 * BOUND)
        yield context
        browser.close()


class LabPage:
    """JupyterLab in a tab of a browser."""

    def __init__(self, browser: Any, jupyter: Jupyter) -> None:
        self.jupyter = jupyter
        shutil.rmtree(jupyter.home / "settings" / "mcp-ws-ide", ignore_errors=True)
        self.page = browser.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.terminal = ""
        """What the terminals of this page have shown so far."""
        self.page.on("websocket", self._linked)
        self.page.goto(f"{jupyter.url}lab?reset&token={jupyter.token}")
        self.card("demo").wait_for()

    def empty(self) -> None:
        """Close what a test has opened, and end its sessions: only the launcher is left."""
        self.page.unroute_all()
        self.run("application:close-all")
        for session in self.jupyter.rest("GET", "sessions")[1]["sessions"]:
            self.jupyter.rest("DELETE", f"sessions/{session['id']}")
        self.card("demo").wait_for()
        self.complaints.clear()
        self.terminal = ""

    def _heard(self, message: Any) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.complaints.append(message.text)

    def _linked(self, link: Any) -> None:
        if "/terminals/websocket/" in link.url:
            link.on("framereceived", self._shown)

    def _shown(self, frame: Any) -> None:
        kind, *rest = json.loads(frame)
        if kind == "stdout":
            self.terminal += rest[0]

    def wait_until(self, condition: Callable[[], Any], what: str, seconds: float = BOUND) -> None:
        """Wait for a condition on page events, which arrive only while Playwright is called."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not come within {seconds} s"
            self.page.wait_for_timeout(50)

    def saved(self, text: str) -> None:
        """Wait until JupyterLab has saved a layout that contains this text."""
        folder = self.jupyter.home / "workspaces"
        self.wait_until(lambda: any(text in file.read_text() for file in folder.iterdir()), "the layout")

    def card(self, name: str) -> Any:
        """A card of the launcher's section MCP."""
        section = self.page.locator(".jp-Launcher-section", has_text="MCP")
        return section.locator(".jp-LauncherCard", has_text=name)

    def run(self, command: str, **arguments: Any) -> None:
        """Run a command of JupyterLab without waiting for its end."""
        self.page.evaluate(
            "([id, args]) => { void window.jupyterapp.commands.execute(id, args) }", [command, arguments]
        )

    def set_off(self, title: str) -> None:
        """Clear the checkbox of one of the extension's settings, in the settings editor."""
        self.run("settingeditor:open", query="MCP")
        box = self.page.locator(".jp-SettingsForm label", has_text=title)
        box.click()

    def status(self, text: str) -> Any:
        """Return the status bar item with this text."""
        return self.page.locator(".mcp-Status", has_text=text)

    def toast(self, text: str) -> Any:
        """Return the notification with this text."""
        return self.page.locator(".Toastify__toast", has_text=text)

    @property
    def frame(self) -> Any:
        """The page in the visible panel."""
        return self.page.frame_locator(".mcp-Panel:visible iframe")

    def call(self, tool: str, **arguments: str) -> None:
        """Call a tool in the visible panel with its form, and wait for a text in the result."""
        self.frame.locator("[aria-label=tools]").get_by_role("link", name=tool).first.click()
        form = self.frame.get_by_role("form", name=f"Arguments of {tool}")
        for name, value in arguments.items():
            form.get_by_role("textbox", name=name).or_(form.get_by_role("spinbutton", name=name)).first.fill(
                value
            )
        form.get_by_role("button", name="Call", exact=True).click()

    @property
    def sessions(self) -> Any:
        """The MCP sessions in the running panel."""
        return self.page.locator(".mcp-Running")

    def open_running(self) -> None:
        """Show the running panel."""
        self.page.locator(".mcp-Status .jp-StatusBar-TextItem").click()
        self.page.locator(".jp-RunningSessions", has_text="MCP sessions").wait_for()
