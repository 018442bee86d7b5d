"""The dialog in which the user chooses the columns of Traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from mcp_ws_ide.inspector.app.rows import Line, Part, Rows
from mcp_ws_ide.inspector.app.traffic_columns import NAMES

ALWAYS = "method, target"
"""The column without which a row says nothing."""


class ColumnList(Rows):
    """All columns, each with whether it is shown."""

    def __init__(self, shown: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.shown = set(shown) | {ALWAYS}

    def count(self) -> int:
        """Return the number of columns."""
        return len(NAMES)

    def parts(self, index: int, width: int) -> list[Part]:
        """Return one column."""
        name = NAMES[index]
        return [("[x] " if name in self.shown else "[ ] ", "accent"), (name, "")]


class ChooseColumns(ModalScreen[tuple[str, ...]]):
    """Returns the columns that were chosen, in their order; an empty tuple for those that fit the window."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "switch", "Show or hide"),
        Binding("a", "automatic", "Automatic"),
        Binding("escape,q,C", "done", "Close"),
    ]
    DEFAULT_CSS = """
    ChooseColumns { align: center middle; }
    ChooseColumns Vertical { width: 60; height: 18; border: round $primary; padding: 0 1; }
    """

    def __init__(self, shown: Sequence[str]) -> None:
        super().__init__()
        self.heading, self.list, self.hint = Line(), ColumnList(shown), Line()

    def compose(self) -> ComposeResult:
        """Lay out title, columns and keys."""
        with Vertical():
            yield self.heading
            yield self.list
            yield self.hint

    def on_mount(self) -> None:
        """Fill in title and keys."""
        self.heading.show([("Columns of Traffic", "head")])
        self.hint.show([("Space shows or hides   a as the window is wide   Esc closes", "dim")])
        self.list.focus()

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """Keep moves to this dialog."""
        event.stop()

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Show or hide the column on Enter."""
        event.stop()
        self.action_switch()

    def action_switch(self) -> None:
        """Show or hide the column under the cursor."""
        name = NAMES[self.list.cursor]
        if name != ALWAYS:
            self.list.shown ^= {name}
            self.list.refresh()

    def action_automatic(self) -> None:
        """Return to the columns that fit the window."""
        self.dismiss(())

    def action_done(self) -> None:
        """Close the dialog with the columns that are shown."""
        self.dismiss(tuple(name for name in NAMES if name in self.list.shown))
