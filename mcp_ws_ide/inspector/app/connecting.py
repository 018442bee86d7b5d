"""How to connect a client to the servers of the gateway: a list of what can be copied, and the chosen one in full.

The token is included only if the gateway is private to this inspector, where it gives access to nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from mcp_ws_ide.ide_entries import TOKEN_VARIABLE, grouped_entries
from mcp_ws_ide.inspector.app.detail import Text
from mcp_ws_ide.inspector.app.rows import Line, Part, Rows, clean, fit, one_line

HINT: Final = "j k move   Enter or y copies   Esc closes"


@dataclass(frozen=True, slots=True)
class ConnectItem:
    """One thing to copy: what it is, for which server, and its text."""

    server: str
    name: str
    text: str


def items(base: str, server: str, token: str = "") -> list[ConnectItem]:
    """Return the page, addresses and the entry for each IDE; IDEs with the same entry share an item."""
    http = f"{base}mcp-ws/servers/{server}"
    admission = f"?token={token}" if token else ""
    found = [
        ConnectItem(server, "page", f"{base}mcp-ws/{admission}#/server/{quote(server, safe='')}"),
        ConnectItem(server, "websocket", f"ws{http.removeprefix('http')}"),
        ConnectItem(server, "http", http),
        ConnectItem(server, "token", token or f"mcp-ws-inspect token mint --server {server}"),
    ]
    for ides, entry in grouped_entries(server, base, token or f"${TOKEN_VARIABLE}"):
        found.append(ConnectItem(server, ", ".join(ides), json.dumps(entry, indent=2)))
    return found


class Items(Rows):
    """The items, a line each."""

    def __init__(self, items: Sequence[ConnectItem], **options: Any) -> None:
        super().__init__(**options)
        self.items = items

    def count(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def empty(self) -> str:
        """Return the text shown without any server."""
        return "No servers known yet."

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one item."""
        item = self.items[index]
        return [
            (fit(item.server, 16) + " ", "head"),
            (fit(item.name, 24) + " ", "note"),
            (one_line(item.text), ""),
        ]


class Connecting(ModalScreen[None]):
    """The screen of the key ``c``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy"),
        Binding("escape,q,c", "dismiss", "Close"),
    ]
    DEFAULT_CSS = """
    Connecting { align: center middle; }
    Connecting Vertical {
        width: 100%; max-width: 118; height: 100%; max-height: 36; border: round $primary; padding: 0 1;
    }
    Connecting Text { height: 40%; border-top: solid $primary; }
    """

    def __init__(self, items: Sequence[ConnectItem]) -> None:
        super().__init__()
        self.heading, self.list, self.text, self.hint = Line(), Items(items), Text(wrap=True), Line()

    def compose(self) -> ComposeResult:
        """Lay out title, list, the chosen item and the keys."""
        with Vertical():
            yield self.heading
            yield self.list
            yield self.text
            yield self.hint

    def on_mount(self) -> None:
        """Show the first item."""
        self.heading.show([("How to connect", "head")])
        self.hint.show([(HINT, "dim")])
        self.list.focus()
        self._show()

    def _show(self) -> None:
        if self.list.items:
            text = self.list.items[self.list.cursor].text
            self.text.show([[(clean(line), "")] for line in text.split("\n")])

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """Show the item under the cursor in full."""
        event.stop()
        if event.rows is self.list:
            self.hint.show([(HINT, "dim")])
            self._show()

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Copy on Enter."""
        event.stop()
        self.action_copy()

    def action_copy(self) -> None:
        """Copy the item under the cursor to the terminal's clipboard."""
        if self.list.items:
            item = self.list.items[self.list.cursor]
            self.app.copy_to_clipboard(item.text)
            self.hint.show([(f"copied {clean(item.name)}, if the terminal supports it (OSC 52)", "good")])
