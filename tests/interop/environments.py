"""``make interop``: install the wheel into fresh environments and check that it works in each.

Beside jupyter-ai (which brings mcp 1.x), and with mcp 2.x: the extension is enabled by installing it, its
demo answers a client of that SDK through the gateway, and nothing is left after uninstalling.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {"jupyter-ai 3.2 (mcp 1.x)": ["jupyter-ai>=3.2,<4"], "mcp 2.x": ["mcp>=2.3,<3"]}
PROGRAM = """
import asyncio, os, subprocess, sys, time, mcp_ws_ide.discovery as d
from mcp_ws_ide.client import connect
port = "8899"
config = {"demo": {"command": sys.executable, "args": ["-m", "mcp_ws_ide.demo"]}}
jupyter = subprocess.Popen([sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port_retries=50",
                            f"--ServerApp.port={port}", f"--MCPWebSocketApp.servers={config}"], stdin=subprocess.DEVNULL)
try:
    for _ in range(300):
        if any(g.pid == jupyter.pid for g in d.running_gateways()): break
        time.sleep(0.1)
    async def main():
        async with connect("demo") as client:
            print("tools:", len((await client.list_tools()).tools))
    asyncio.run(main())
finally:
    jupyter.terminate(); jupyter.wait(15)
"""

ENTRY = """
from jupyter_ai_persona_manager.mcp_server_models import McpServerStdio, McpSettings
from mcp_ws_ide.ide_entries import entry
(server,) = McpSettings(**entry("jupyter-ai", "git", "http://127.0.0.1:8888/", "secret")).mcp_servers
assert isinstance(server, McpServerStdio) and server.env[0].value == "secret", server
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, cwd=cwd, timeout=900
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout + done.stderr


def look(name: str, packages: list[str], wheel: Path, folder: Path) -> None:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, *packages)
    listed = run(folder / "bin" / "jupyter", "server", "extension", "list")
    assert "mcp_ws_ide" in listed and "mcp_ws_ide 0.1.0 \x1b[32mOK" in listed.replace("\x1b[0m", ""), listed
    tools = run(python, "-c", PROGRAM, cwd=folder)
    assert "tools: 13" in tools, tools
    if "jupyter-ai" in name:
        run(python, "-c", ENTRY, cwd=folder)
    mcp = next(
        line for line in run(python, "-m", "pip", "show", "mcp").splitlines() if line.startswith("Version")
    )
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "mcp-ws-ide")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    left = [path for path in files if re.search("mcp.ws.ide", str(path)) and "__pycache__" not in path.parts]
    assert not left, left
    print(f"{name}: OK (mcp {mcp.split()[1]})", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        for number, (name, packages) in enumerate(ENVIRONMENTS.items()):
            look(name, packages, wheel, folder / f"environment{number}")


if __name__ == "__main__":
    main()
