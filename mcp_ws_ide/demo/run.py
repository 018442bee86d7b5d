"""``make run``: start Jupyter with the extension and the demo server, and print how to use it.

Prints the page URL, the WebSocket URL, a Python snippet and a command that watches the traffic, one per line; all four
work as printed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import sys
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from mcp_ws_ide.private_files import write_private


def main(argv: list[str] | None = None) -> None:
    """Print the addresses, then become the Jupyter server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--port",
        type=int,
        default=8888,
        help="port to listen on; if it is taken, the next free one (default 8888)",
    )
    parser.add_argument("--lab", action="store_true", help="start JupyterLab, which must be installed")
    options = parser.parse_args(argv)
    port, token = _free_port(options.port), secrets.token_urlsafe(24)
    files = _configuration(port)
    _announce(port, token)
    if options.lab:
        print(f"lab:       http://127.0.0.1:{port}/lab?token={token}", flush=True)
    arguments = [
        *(
            sys.executable,
            "-m",
            "jupyterlab" if options.lab else "jupyter_server",
            "--no-browser",
            "--ServerApp.ip=127.0.0.1",
        ),
        *(
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--MCPWebSocketApp.server_files={files}",
        ),
    ]
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    # The token is passed in the environment: an argument would be visible to every user of the machine.
    os.execve(sys.executable, arguments, {**os.environ, "JUPYTER_TOKEN": token})  # noqa: S606 - an argv list


def _free_port(first: int) -> int:
    for port in range(first, first + 50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise SystemExit(f"no free port from {first} to {first + 49}; give another with --port")


def _configuration(port: int) -> Path:
    """Write the configuration and return its path: one file per port, because no process is left to delete it."""
    path = Path(jupyter_runtime_dir()) / f"mcp-ws-ide-demo-{port}.json"
    servers = {"demo": {"command": sys.executable, "args": ["-m", "mcp_ws_ide.demo"]}}
    write_private(path, json.dumps({"mcpServers": servers}, indent=2).encode())
    return path


def _announce(port: int, token: str) -> None:
    base, folder = f"127.0.0.1:{port}", os.path.dirname(sys.executable)
    snippet = (
        "import asyncio; from mcp_ws_ide.client import connect; "
        f"run = lambda: connect('ws://{base}/mcp-ws/servers/demo', token='{token}'); "
        "exec('async def main():\\n async with run() as client:\\n"
        "  print([tool.name for tool in (await client.list_tools()).tools])'); "
        "asyncio.run(main())"
    )
    print(f"page:      http://{base}/mcp-ws/?token={token}")
    print(f"http:      http://{base}/mcp-ws/servers/demo (clients sign in by this URL alone)")
    print(f"websocket: ws://{base}/mcp-ws/servers/demo?token={token}")
    print(f'python:    {sys.executable} -c "{snippet}"')
    print(f"watch:     {folder}/mcp-ws-inspect tail --url http://{base}/", flush=True)


if __name__ == "__main__":
    main()
