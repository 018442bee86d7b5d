"""How the table of sessions shows whether a session began before a restart of the gateway."""

from __future__ import annotations

import pytest

from mcp_ws_ide.inspector.app.panes import link_of
from mcp_ws_ide.inspector.model.journal import SeenSession


@pytest.mark.parametrize(
    ("live", "shown"),
    [
        ({"attached": True, "link": "websocket"}, "● websocket"),
        ({"attached": True, "link": "websocket", "restored": True}, "● websocket (restored)"),
        ({"attached": False, "restored": True}, "◌ waits (restored)"),
        ({"attached": False, "restored": True, "stored": True}, "◌ stored"),
        ({"attached": False}, "◌ waits"),
    ],
)
def test_a_session_is_marked_as_restored_and_as_stored(live, shown):
    assert link_of(SeenSession("one", "git", 0.0), live)[0] == shown
