"""Check the mcp-ws-ide that is installed beside this interpreter: it imports, is enabled, starts and answers a call.

Needs nothing but the installed package; :mod:`bounds` runs it in environments of the lowest and the newest versions
that ``pyproject.toml`` allows, and ``test_bounds.py`` in one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import mcp_ws_ide
from mcp_ws_ide.client import connect
from mcp_ws_ide.discovery import running_gateways

START_SECONDS = 60
"""How long Jupyter may take to be ready."""
NEEDED_BY = {
    "mcp_ws_ide.client.fastmcp_transport": "fastmcp",
    "mcp_ws_ide.client.openai_agents": "agents",
    "mcp_ws_ide.client.pydantic_ai": "pydantic_ai",
    "mcp_ws_ide.notebook": "IPython",
}
"""Modules that need a package which only an extra or a notebook brings."""
SHOWN = (
    "websockets",
    "mcp",
    "tornado",
    "textual",
    "anyio",
    "httpx2",
    "openai-agents",
    "pydantic-ai-slim",
    "fastmcp-slim",
)
"""Packages whose versions are printed."""


def import_everything() -> int:
    """Import every module of the package; return how many there are."""
    count = 0
    for module in pkgutil.walk_packages(mcp_ws_ide.__path__, "mcp_ws_ide."):
        needed = NEEDED_BY.get(module.name)
        if module.name.startswith(
            "mcp_ws_ide.demo."
        ):  # one part for each major version of the SDK; started below
            continue
        if module.name.endswith("__main__") or (needed is not None and find_spec(needed) is None):
            continue
        importlib.import_module(module.name)
        count += 1
    return count


def check_enabled() -> None:
    """Check that Jupyter lists the extension as enabled and valid."""
    program = Path(sys.executable).with_name("jupyter")
    done = subprocess.run(
        [program, "server", "extension", "list"], capture_output=True, text=True, check=True
    )
    listed = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert re.search(r"mcp_ws_ide \S+ OK", listed), listed


def wait_for(jupyter: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until Jupyter has started."""
    deadline = time.monotonic() + START_SECONDS
    while not any(gateway.pid == jupyter.pid for gateway in running_gateways()):
        assert jupyter.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


async def call() -> str:
    """Call a tool of the demo server over a WebSocket."""
    async with connect("demo") as client:
        result = await client.call_tool("echo", {"text": "called"})
        return str(result.content[0].text)


def check_started(folder: Path) -> None:
    """Start Jupyter with the extension in ``folder``, call a tool and ask the inspector for the servers."""
    os.environ.update(
        JUPYTER_RUNTIME_DIR=str(folder), JUPYTER_DATA_DIR=str(folder), JUPYTER_CONFIG_DIR=str(folder)
    )
    for name in ("JUPYTER_SERVER_URL", "JUPYTER_TOKEN", "JUPYTERHUB_API_TOKEN", "JPY_PARENT_PID"):
        os.environ.pop(name, None)
    servers = {"demo": {"command": sys.executable, "args": ["-m", "mcp_ws_ide.demo"]}}
    options = ("--no-browser", "--allow-root", "--ServerApp.port=0", f"--MCPWebSocketApp.servers={servers}")
    log = folder / "jupyter.log"
    with log.open("wb") as output:
        jupyter = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(jupyter, log)
        assert asyncio.run(call()) == "called"
        inspector = Path(sys.executable).with_name("mcp-ws-inspect")
        listed = subprocess.run([inspector, "servers"], capture_output=True, text=True, check=False)
        assert listed.returncode == 0, listed.stderr
        assert "demo" in listed.stdout, listed
    finally:
        jupyter.terminate()
        jupyter.wait(20)


def versions() -> str:
    """Return the versions that this environment has of what matters most."""
    present = []
    for name in SHOWN:
        with contextlib.suppress(PackageNotFoundError):
            present.append(f"{name} {version(name)}")
    return ", ".join(present)


def main() -> None:
    """Run every check; a failure is an exception."""
    count = import_everything()
    check_enabled()
    with tempfile.TemporaryDirectory() as folder:
        check_started(Path(folder))
    print(f"{count} modules imported, a tool called: {versions()}")


if __name__ == "__main__":
    main()
