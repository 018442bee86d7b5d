"""How to connect a client to a server of the gateway, for reading and copying.

The token is included only if the gateway is private to this inspector, where it gives access to nothing else.
"""

from __future__ import annotations

import json

from mcp_ws_ide.ide_entries import TOKEN_VARIABLE, grouped_entries
from mcp_ws_ide.inspector.app.rows import Part, clean


def lines(base: str, server: str, token: str = "") -> list[list[Part]]:
    """Return addresses and the entry for each IDE; IDEs with the same entry share a line."""
    http = f"{base}mcp-ws/servers/{server}"
    result: list[list[Part]] = [
        [(clean(server), "head")],
        [("  websocket  ", "dim"), (clean(f"ws{http.removeprefix('http')}"), "")],
        [("  http       ", "dim"), (clean(http), "")],
        [("  token      ", "dim"), (token or f"mcp-ws-inspect token mint --server {clean(server)}", "")],
    ]
    for ides, entry in grouped_entries(server, base, token or f"${TOKEN_VARIABLE}"):
        result.append([(f"  {', '.join(ides)}: ", "note"), (clean(json.dumps(entry)), "")])
    result.append([("", "")])
    return result
