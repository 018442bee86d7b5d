"""The list that the modules of checks add to."""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.conformance.server.conversation import RESUME
from mcp_ws_ide.conformance.server.target import Probe
from mcp_ws_ide.conformance.verdicts import Checks

SERVER: Final = Checks()
check = SERVER.add

NEEDS: Final = {
    "selects resuming": "it does not select mcp.resume.v1",
    "resumable": "it does not speak mcp.resume.v1",
    "modern": "it answers no request of revision 2026-07-28",
    "both": "it answers one era only",
    "token": "no --token was given",
    "echo": "needs --echo-tool",
    "progress": "needs --progress-tool",
}
"""Why a check is not applicable where the endpoint, or the command line, lacks something."""


def lacking(probe: Probe, needs: tuple[str, ...]) -> str:
    """Return why a check does not apply to this endpoint; empty if it does."""
    has = {
        "selects resuming": probe.facts.selected == RESUME,
        "resumable": probe.facts.resumable,
        "modern": "modern" in probe.facts.eras,
        "both": len(probe.facts.eras) == 2,
        "token": probe.target.token is not None,
        "echo": probe.target.echo_tool is not None,
        "progress": probe.target.progress_tool is not None,
    }
    return next((NEEDS[need] for need in needs if not has[need]), "")
