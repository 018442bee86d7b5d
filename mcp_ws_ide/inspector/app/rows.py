"""A list that draws only its visible lines, however long it is.

Textual's own scrolling widgets redo their layout when their size changes, which would be many times a second here;
this one keeps its position itself and only repaints. All text it draws was escaped by :func:`~..sanitise.visible`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from mcp_ws_ide.inspector.app.keys import ROWS_BINDINGS
from mcp_ws_ide.sanitise import visible

Part = tuple[str, str]
"""Text, and the name of its style: ``""`` or one of :data:`STYLES`."""
STYLES: Final = ("dim", "good", "bad", "warn", "note", "head", "accent", "string", "number", "key", "match")


def clean(text: str) -> str:
    """Escape a peer's text for drawing."""
    return text if text.isascii() and text.isprintable() else visible(text)


def one_line(text: str) -> str:
    """Escape a peer's text, and replace line ends and runs of blanks by one blank."""
    return clean(" ".join(text.split()))


def fit(text: str, width: int) -> str:
    """Return ``text`` in exactly ``width`` cells; longer text ends in ``…``."""
    text = clean(text)
    if len(text) <= width and text.isascii():
        return text.ljust(width)
    if cell_len(text) > width:
        return set_cell_size(set_cell_size(text, max(0, width - 1)).rstrip() + "…", width)
    return set_cell_size(text, width)


def word_at(text: str, x: int) -> str:
    """Return the word in column ``x``; ``""`` if there is none."""
    return next((word[0] for word in re.finditer(r"\S+", text) if word.start() <= x < word.end()), "")


class Painted(Widget):
    """Draws lines of styled parts in the theme's colours."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"painted--{name}" for name in STYLES}
    DEFAULT_CSS = """
    Painted .painted--dim { color: $text-muted; }
    Painted .painted--good { color: $text-success; }
    Painted .painted--bad { color: $text-error; text-style: bold; }
    Painted .painted--warn { color: $text-warning; }
    Painted .painted--note { color: $text-secondary; }
    Painted .painted--head { color: $text-primary; text-style: bold; }
    Painted .painted--accent { color: $text-accent; text-style: bold; }
    Painted .painted--string { color: $text-success; }
    Painted .painted--number { color: $text-warning; }
    Painted .painted--key { color: $text-primary; }
    Painted .painted--match { color: $text-warning; text-style: bold reverse; }
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._painting: dict[tuple[str, bool], Style] = {}

    def render_lines(self, crop: Region) -> list[Strip]:
        """Look styles up once per painting: the theme may have changed since the last one."""
        self._painting.clear()
        return super().render_lines(crop)

    def paint(self, parts: list[Part], width: int, chosen: bool = False) -> Strip:
        """Return one line, padded to ``width`` or truncated with ``…``; reversed if it is ``chosen``."""
        segments = [Segment(text, self._style(name, chosen)) for text, name in parts]
        strip = Strip(segments)
        if strip.cell_length > width:
            strip = Strip([*strip.crop(0, max(0, width - 1)), Segment("…", self._style("", chosen))])
        return strip.adjust_cell_length(width, self._style("", chosen))

    def _style(self, name: str, chosen: bool) -> Style:
        style = self._painting.get((name, chosen))
        if style is None:
            style = self.rich_style
            if chosen:  # in one colour: several reversed colours side by side are hard to read
                style += Style(reverse=True)
            elif name:
                style += self.get_component_rich_style(f"painted--{name}", partial=True) + self._colour(name)
            self._painting[name, chosen] = style
        return style

    def _colour(self, name: str) -> Style:
        """Return the colour of a style, mixed with the background: terminals have no transparency."""
        below, styles = self.background_colors[1], self.get_component_styles(f"painted--{name}")
        colour = below.get_contrast_text(styles.color.a) if styles.auto_color else styles.color
        return Style(color=(below + colour).rich_color)


class Line(Painted):
    """One line that is repainted when its text changes."""

    DEFAULT_CSS = "Line { height: 1; }"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._parts: list[Part] = []

    def show(self, parts: list[Part]) -> None:
        """Show this text."""
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    @property
    def text(self) -> str:
        """The text of the line."""
        return "".join(text for text, _ in self._parts)

    def part_at(self, x: int) -> int | None:
        """Return the number of the part in column ``x``."""
        for number, (text, _) in enumerate(self._parts):
            x -= cell_len(text)
            if x < 0:
                return number
        return None

    def render_line(self, y: int) -> Strip:
        """Render for Textual."""
        return self.paint(self._parts if y == 0 else [], self.size.width)


class Rows(Painted, can_focus=True):
    """A list with a cursor. Subclasses provide the number of lines and the content of each."""

    BINDINGS: ClassVar[list[BindingType]] = ROWS_BINDINGS
    DEFAULT_CSS = """
    Rows { height: 1fr; }
    """

    class Moved(Message):
        """The cursor has moved."""

        def __init__(self, rows: Rows) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    class Chosen(Moved):
        """A line was opened with Enter or a second click."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cursor = 0
        self.top = 0
        self.shows_cursor = True
        self.nothing = ""
        """Why the list is empty, if not for lack of clients."""

    # --- provided by subclasses --------------------------------------------------------------------

    def count(self) -> int:
        """Return the number of lines."""
        return 0

    def heading(self, width: int) -> list[Part] | None:
        """Return the heading, or None."""
        return None

    def parts(self, index: int, width: int) -> list[Part]:
        """Return the content of line ``index``."""
        return []

    def whole(self, index: int) -> list[list[Part]]:
        """Return all that is known of line ``index``, however wide."""
        return [self.parts(index, 200)]

    def empty(self) -> str:
        """Return the text shown if there is no line."""
        return ""

    def choose_heading(self, word: str) -> None:
        """Act on a click on this word of the heading."""

    def explain_empty(self, reason: str) -> None:
        """Set why there is no line; ``""`` if nothing has happened yet."""
        if reason != self.nothing:
            self.nothing = reason
            self.refresh()

    # --- drawing ------------------------------------------------------------------------------------

    @property
    def body_height(self) -> int:
        """The number of lines that fit."""
        return max(1, self.size.height - (self.heading(self.size.width) is not None))

    def render_line(self, y: int) -> Strip:
        """Render for Textual."""
        width = max(1, self.size.width - 1)
        heading = self.heading(width)
        if heading is not None:
            if y == 0:
                return self.paint([(text, "head") for text, _ in heading], width + 1)
            y -= 1
        index = self.top + y
        if index >= self.count():
            return self.paint([(self.empty(), "dim")] if y == 0 and not self.count() else [], width + 1)
        chosen = self.shows_cursor and index == self.cursor
        line = self.paint(self.parts(index, width), width, chosen)
        return Strip([*line, Segment(self._thumb(y), self._style("", False))], width + 1)

    def _thumb(self, y: int) -> str:
        """Return the character of the scroll bar beside line ``y``."""
        height, count = self.body_height, self.count()
        if count <= height:
            return " "
        size = max(1, height * height // count)
        start = (height - size) * self.top // max(1, count - height)
        return "█" if start <= y < start + size else "│"

    def changed(self) -> None:
        """Keep the position within bounds and repaint, after lines were added or changed."""
        self._settle()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Adjust the position to the new size, and repaint: the first painting may have used the old position."""
        self._settle()
        self.refresh()

    def _settle(self) -> None:
        if not self.size.height:
            return  # not laid out yet: on_resize follows
        last = max(0, self.count() - 1)
        self.cursor = min(max(0, self.cursor), last)
        height = self.body_height
        if self.shows_cursor:
            self.top = min(max(self.top, self.cursor - height + 1), self.cursor)
        self.top = max(0, min(self.top, self.count() - height))

    def go(self, index: int) -> None:
        """Move the cursor to a line."""
        if not self.shows_cursor:
            self.top = index
        self.cursor = index
        self._settle()
        self.refresh()
        self.post_message(self.Moved(self))

    # --- keys and mouse -----------------------------------------------------------------------------

    @property
    def _at(self) -> int:
        return self.cursor if self.shows_cursor else self.top

    def action_move(self, lines: int) -> None:
        """Move up or down."""
        self.go(self._at + lines)

    def action_page(self, pages: int) -> None:
        """Move a screenful up or down."""
        self.go(max(0, self._at + pages * max(1, self.body_height - 1)))

    def action_first(self) -> None:
        """Go to the first line."""
        self.go(0)

    def action_last(self) -> None:
        """Go to the last line."""
        self.go(self.count() - 1)

    def action_choose(self) -> None:
        """Open the line under the cursor."""
        if self.count():
            self.post_message(self.Chosen(self))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move three lines down."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move three lines up."""
        event.stop()
        self.go(max(0, self._at - 3))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked line; a second click opens it; the scroll bar jumps."""
        heading = self.heading(max(1, self.size.width - 1))
        y = event.y - (heading is not None)
        if y < 0 and heading is not None:
            return self.choose_heading(word_at("".join(text for text, _ in heading), event.x))
        if not self.count():
            return
        if event.x >= self.size.width - 1 and self.count() > self.body_height:
            return self.go(y * self.count() // self.body_height)
        index = self.top + y
        if self.shows_cursor and index < self.count():
            again = index == self.cursor
            self.go(index)
            if again and event.chain > 1:
                self.action_choose()
