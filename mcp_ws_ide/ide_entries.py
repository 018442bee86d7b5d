"""The configuration entries by which IDEs and agents connect to a server of the gateway. Performs no I/O.

Some IDEs speak Streamable HTTP; the others launch ``mcp-ws-connect``, whose sessions resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

TOKEN_VARIABLE: Final = "MCP_WS_TOKEN"  # noqa: S105 - the name of a variable
COMMAND: Final = "mcp-ws-connect"


def _vscode(name: str, http: str, websocket: str, token: str | None) -> dict[str, Any]:
    """``.vscode/mcp.json``, over Streamable HTTP."""
    return _ask_vscode(
        name,
        token,
        lambda secret: {"type": "http", "url": http, "headers": {"Authorization": f"Bearer {secret}"}},
    )


def _vscode_command(name: str, http: str, websocket: str, token: str | None) -> dict[str, Any]:
    """``.vscode/mcp.json``, launching the command."""
    launched = {"type": "stdio", "command": COMMAND, "args": [websocket]}
    return _ask_vscode(name, token, lambda secret: {**launched, "env": {TOKEN_VARIABLE: secret}})


def _ask_vscode(name: str, token: str | None, entry_with: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Without a token, let VS Code ask for one and keep it in its own store."""
    if token is not None:
        return {"servers": {name: entry_with(token)}}
    asked = {
        "type": "promptString",
        "id": f"{name}-token",
        "description": f"Token for {name}",
        "password": True,
    }
    return {"inputs": [asked], "servers": {name: entry_with(f"${{input:{name}-token}}")}}


def _cursor(name: str, http: str, websocket: str, token: str | None) -> dict[str, Any]:
    """``.cursor/mcp.json``; without a token it refers to the environment variable."""
    header = f"Bearer {token or f'${{env:{TOKEN_VARIABLE}}}'}"
    return {"mcpServers": {name: {"url": http, "headers": {"Authorization": header}}}}


def _command(name: str, http: str, websocket: str, token: str | None) -> dict[str, Any]:
    """``claude_desktop_config.json``, ``.mcp.json`` and Notebook Intelligence's ``mcp.json``."""
    entry: dict[str, Any] = {"command": COMMAND, "args": [websocket]}
    if token is not None:
        entry["env"] = {TOKEN_VARIABLE: token}
    return {"mcpServers": {name: entry}}


def _jupyter_ai(name: str, http: str, websocket: str, token: str | None) -> dict[str, Any]:
    """``.jupyter/mcp_settings.json`` of jupyter-ai."""
    environment = [{"name": TOKEN_VARIABLE, "value": token}] if token is not None else []
    return {"mcp_servers": [{"name": name, "command": COMMAND, "args": [websocket], "env": environment}]}


IDES: Final[dict[str, Callable[[str, str, str, str | None], dict[str, Any]]]] = {
    "vscode": _vscode,
    "vscode-command": _vscode_command,
    "cursor": _cursor,
    "claude": _command,
    "jupyter-ai": _jupyter_ai,
    "notebook-intelligence": _command,
}
"""The known IDEs and agents, by name."""


def entry(ide: str, name: str, base_url: str, token: str | None) -> dict[str, Any]:
    """Return the configuration entry of one server for one IDE.

    Args:
        ide: a key of :data:`IDES`.
        name: name of the server.
        base_url: base URL of the Jupyter server, with its final slash.
        token: written into the entry; None leaves it to the IDE or the environment.
    """
    http = f"{base_url}mcp-ws/servers/{name}"
    return IDES[ide](name, http, f"ws{http.removeprefix('http')}", token)


def grouped_entries(name: str, base_url: str, token: str | None) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the distinct entries of one server, each with the IDEs that it is for; for arguments see :func:`entry`."""
    groups: dict[str, list[str]] = {}
    for ide in IDES:
        groups.setdefault(json.dumps(entry(ide, name, base_url, token)), []).append(ide)
    return [(ides, entry(ides[0], name, base_url, token)) for ides in groups.values()]
