"""``make screenshots``: the pictures of docs/guides/jupyterlab.md, of a real JupyterLab with the wheel installed.

Uses what the tests use to start and drive it, and writes PNG to docs/images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))

from tests.browser import lab  # noqa: E402 - the project's own test environment


def main() -> None:
    """Make every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, lab.chromium() as browser:
        home = Path(folder)
        lab.install(lab.build_wheel(home / "wheel"))
        jupyter = lab.start(home)
        try:
            photograph(lab.LabPage(browser, jupyter))
        finally:
            jupyter.stop()


def photograph(page: lab.LabPage) -> None:
    """Drive JupyterLab through what docs/guides/jupyterlab.md tells."""

    def shot(name: str) -> None:
        page.page.mouse.move(700, 790)
        page.page.wait_for_timeout(500)  # what fades has faded
        page.page.screenshot(path=IMAGES / f"{name}.png")
        print(f"docs/images/{name}.png")

    page.run("application:toggle-left-area")
    page.card("Inspector").evaluate("card => card.scrollIntoView({ block: 'center' })")
    shot("lab-launcher")
    page.card("demo").click()
    page.call("echo", text="hello from JupyterLab")
    page.frame.locator("[aria-label=Calls]", has_text="hello from JupyterLab").wait_for()
    page.status("MCP: 1").wait_for()
    page.open_running()
    page.sessions.wait_for()
    shot("lab-panel")
    page.run("apputils:change-theme", theme="JupyterLab Dark")
    page.frame.locator("html[data-theme=dark]").wait_for()  # the inspector begins with Lab's theme
    page.run("mcp-ws-ide:inspect")
    page.wait_until(lambda: "LIVE" in page.terminal, "the inspector")
    beside(page)
    # Chromium takes no click of the mouse in a frame that was hidden meanwhile.
    form = page.frame.get_by_role("form", name="Arguments of echo")
    form.get_by_role("textbox", name="text").fill("hello again")
    form.get_by_role("button", name="Call", exact=True).dispatch_event("click")
    page.wait_until(lambda: "tools/call" in page.terminal, "the call in the inspector")
    shot("lab-inspector")


def beside(page: lab.LabPage) -> None:
    """Put the terminal below the page."""
    page.page.evaluate(
        """() => {
            const { shell } = window.jupyterapp;
            const widgets = Array.from(shell.widgets('main'));
            const [panel] = widgets.filter(widget => widget.id.startsWith('mcp-ws-ide-'));
            const [terminal] = widgets.filter(widget => widget.node.querySelector('.jp-Terminal'));
            shell.add(terminal, 'main', { ref: panel.id, mode: 'split-bottom' });
        }"""
    )
    page.run("application:toggle-left-area")


if __name__ == "__main__":
    main()
