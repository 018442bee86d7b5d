"""How a client connects to a server of the gateway, for reading and copying. With a token only where the gateway is one
of this inspector's own, and its token good for nothing else."""

from __future__ import annotations

import json

from mcp_ws_ide.ide_entries import TOKEN_VARIABLE, grouped_entries
from mcp_ws_ide.inspector.app.rows import Part, clean


def lines(base: str, server: str, token: str = "") -> list[list[Part]]:
    """Addresses, and the entry for each IDE; those with the same entry together."""
    http = f"{base}mcp-ws/servers/{server}"
    found: list[list[Part]] = [
        [(clean(server), "head")],
        [("  websocket  ", "dim"), (clean(f"ws{http.removeprefix('http')}"), "")],
        [("  http       ", "dim"), (clean(http), "")],
        [("  token      ", "dim"), (token or f"mcp-ws-inspect token mint --server {clean(server)}", "")],
    ]
    for ides, entry in grouped_entries(server, base, token or f"${TOKEN_VARIABLE}"):
        found.append([(f"  {', '.join(ides)}: ", "note"), (clean(json.dumps(entry)), "")])
    found.append([("", "")])
    return found
