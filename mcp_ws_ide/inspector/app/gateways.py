"""The screen Gateways: those that share an engine, with what each carries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mcp_ws_ide.inspector.app.columns import amount
from mcp_ws_ide.inspector.app.panes import Pane
from mcp_ws_ide.inspector.app.rows import Part, clean, fit
from mcp_ws_ide.inspector.model.instances import age
from mcp_ws_ide.inspector.model.journal import Journal


class Gateways(Pane):
    """The gateways, oldest first, as the one at the other end lists them."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(journal, **options)
        self.known: list[dict[str, Any]] = []

    def refreshed(self, known: Sequence[dict[str, Any]]) -> None:
        """Take the gateways that REST lists."""
        self.known = list(known)

    @property
    def gateway(self) -> str | None:
        """The id of the gateway under the cursor."""
        return str(self.known[self.cursor]["id"]) if self.cursor < len(self.known) else None

    def count(self) -> int:
        """Return the number of gateways."""
        return len(self.known)

    def empty(self) -> str:
        """Return the text shown if there are none."""
        return self.nothing or "This gateway shares its sessions with no other gateway."

    def heading(self, width: int) -> list[Part]:
        """Return the column headings."""
        return [(f"{'gateway':<8} {'state':<12} {'sess':>5} {'links':>5} {'proc':>5} {'up':>4}  address", "")]

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one gateway."""
        one = self.known[index]
        drains, problem = one.get("draining"), one.get("problem")
        state = "no answer" if problem else f"drains, {one.get('to_drain', 0)}" if drains else "ready"
        counts = " ".join(f"{amount(one.get(name) or 0):>5}" for name in ("sessions", "links", "processes"))
        own = "this one " if one.get("self") else ""
        return [
            (fit(str(one.get("id"))[:8], 8) + " ", "note"),
            (fit(state, 12) + " ", "warn" if drains or problem else "good"),
            (f"{counts} {age(time.time() - float(one.get('started') or 0)):>4}  ", ""),
            (clean(f"{own}{one.get('peer', '')} {one.get('version', '')}"), "dim"),
        ]
