"""Dialogs over the screens: help, a report, a question, a choice, copying a message, the prompt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

from mcp_ws_ide.inspector.app.detail import Text
from mcp_ws_ide.inspector.app.keys import HELP, HELP_INDENT
from mcp_ws_ide.inspector.app.rows import Line, Part, clean
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterError

MAX_COPIED: Final = 1 << 20
"""Characters that are sent to a terminal's clipboard; most terminals accept less."""
MAX_SHOWN: Final = 20_000
"""Characters of the copied text that are shown."""


class ReportScreen(ModalScreen[None]):
    """A screen of text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]
    DEFAULT_CSS = """
    ReportScreen { align: center middle; }
    ReportScreen Vertical {
        width: 100%; max-width: 118; height: 100%; max-height: 36; border: round $primary; padding: 0 1;
    }
    """

    def __init__(self, title: str, lines: list[list[Part]], indent: int = 4) -> None:
        super().__init__()
        self.heading, self.text = Line(), Text(wrap=True, indent=indent)
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """Lay out title and text."""
        with Vertical():
            yield self.heading
            yield self.text

    def on_mount(self) -> None:
        """Fill in title and text."""
        self.heading.show([(clean(self._title), "head"), ("   Esc closes", "dim")])
        self.text.show(self._lines)
        self.text.focus()


class Help(ReportScreen):
    """The help screen: keys, filter language, status and direction."""

    def __init__(self, chosen: Mapping[str, str]) -> None:
        own = [f"{key:<{HELP_INDENT}}{name} (your settings)" for name, key in chosen.items()]
        lines = [*own, *HELP.splitlines()]
        super().__init__(
            "Help", [[(line[:HELP_INDENT], "key"), (line[HELP_INDENT:], "")] for line in lines], HELP_INDENT
        )


class Question(ModalScreen[bool]):
    """A question to confirm."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "answer(True)", "Yes"),
        Binding("escape,q", "answer(False)", "No"),
    ]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question Vertical { width: 90%; max-width: 100; height: 5; border: round $warning; padding: 0 1; }
    """

    def __init__(self, text: str, yes: str) -> None:
        super().__init__()
        self.message, self.hint = Line(), Line()
        self._text, self._yes = text, yes

    def compose(self) -> ComposeResult:
        """Lay out the question and the keys that answer it."""
        with Vertical():
            yield self.message
            yield self.hint

    def on_mount(self) -> None:
        """Fill in question and keys."""
        self.message.show([(clean(self._text), "")])
        self.hint.show([(f"Enter {self._yes}, Esc cancels", "dim")])

    def action_answer(self, yes: bool) -> None:
        """Close the dialog with the answer."""
        self.dismiss(yes)


class Editing(ModalScreen[dict[str, Any]]):
    """A message to edit; returns it as JSON once it is sent, None if it is not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send", "Send", priority=True),
        Binding("escape", "dismiss", "Cancel", priority=True),
    ]
    DEFAULT_CSS = """
    Editing { align: center middle; }
    Editing Vertical {
        width: 100%; max-width: 118; height: 100%; max-height: 36; border: round $warning; padding: 0 1;
    }
    Editing TextArea { height: 1fr; border: none; padding: 0; }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self.heading, self.hint = Line(), Line()
        self.area = TextArea(text, show_line_numbers=True, tab_behavior="indent")
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out title, text and error."""
        with Vertical():
            yield self.heading
            yield self.area
            yield self.hint

    def on_mount(self) -> None:
        """Fill in the title."""
        self.heading.show([(clean(self._title), "head"), ("   Ctrl+S sends, Esc cancels", "dim")])
        self.area.focus()

    def action_send(self) -> None:
        """Close the dialog with the message, or show why it is not one."""
        try:
            content = json.loads(self.area.text)
        except json.JSONDecodeError as error:
            self.area.move_cursor((error.lineno - 1, error.colno - 1))
            return self.hint.show([(f"line {error.lineno}: {error.msg}", "bad")])
        except RecursionError:
            return self.hint.show([("the message is nested too deeply", "bad")])
        if not isinstance(content, dict) or not isinstance(content.get("method"), str):
            return self.hint.show([('a request is an object with a "method"', "bad")])
        self.dismiss(content)


class Choice(ModalScreen[int]):
    """A choice by number; returns the index, or -1 for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"choose({number})", show=False) for number in range(1, 10)),
        Binding("escape,q", "choose(0)", "None"),
    ]
    DEFAULT_CSS = """
    Choice { align: center middle; }
    Choice Vertical { width: 90%; max-width: 100; height: auto; border: round $warning; padding: 0 1; }
    """

    def __init__(self, title: str, choices: list[str]) -> None:
        super().__init__()
        self.lines = [Line() for _ in range(len(choices) + 1)]
        self._title, self._choices = title, choices

    def compose(self) -> ComposeResult:
        """Lay out a line for each choice."""
        with Vertical():
            yield from self.lines

    def on_mount(self) -> None:
        """Fill in the choices."""
        self.lines[0].show([(clean(self._title), "head"), ("   Esc cancels", "dim")])
        for number, (line, message) in enumerate(zip(self.lines[1:], self._choices, strict=True), 1):
            line.show([(f"{number}  ", "accent"), (clean(message), "")])

    def action_choose(self, number: int) -> None:
        """Close the dialog with the choice."""
        if number <= len(self._choices):
            self.dismiss(number - 1)


class Copying(ModalScreen[None]):
    """One message in several forms; each is copied when it is shown.

    Args:
        forms: functions that return the text to copy, by name.
        warnings: by name, what is copied instead of the whole message.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,right,right_square_bracket,tab", "turn(1)", "Next form"),
        Binding("Y,left,left_square_bracket,shift+tab", "turn(-1)", "Previous form"),
        Binding("escape,q,enter", "dismiss", "Close"),
    ]
    DEFAULT_CSS = """
    Copying { align: center middle; }
    Copying Vertical { width: 100%; max-width: 118; height: 80%; border: round $primary; padding: 0 1; }
    """

    def __init__(self, forms: dict[str, Callable[[], str]], warnings: dict[str, str]) -> None:
        super().__init__()
        self._warnings = warnings
        self.tabs, self.hint, self.text = Line(), Line(), Text(wrap=True)
        self._forms = forms
        self.form = next(iter(forms))

    def compose(self) -> ComposeResult:
        """Lay out forms, result and text."""
        with Vertical():
            yield self.tabs
            yield self.hint
            yield self.text

    def on_mount(self) -> None:
        """Show the first form."""
        self.text.focus()
        self.action_turn(0)

    def action_turn(self, step: int) -> None:
        """Show and copy another form."""
        names = list(self._forms)
        self.form = names[(names.index(self.form) + step) % len(names)]
        tabs = [(f"[{name}] " if name == self.form else f" {name}  ", self._style(name)) for name in names]
        self.tabs.show([*tabs, (" y next form, Esc closes", "dim")])
        try:
            text = self._forms[self.form]()
        except Exception as error:  # NoCommandError; its text is for the user
            self.hint.show([(clean(str(error)), "warn")])
            self.text.show([])
            return
        if len(text) > MAX_COPIED:
            self.hint.show([("too long for a clipboard; press e to write it to a file", "warn")])
        else:
            self.app.copy_to_clipboard(text)
            warning = self._warnings.get(self.form)
            done = ("copied, if the terminal supports it (OSC 52)", "good")
            self.hint.show([(f"copied {warning}", "warn") if warning else done])
        self.text.show([[(clean(line), "")] for line in text[:MAX_SHOWN].split("\n")])

    def _style(self, name: str) -> str:
        return "head" if name == self.form else "dim"


class Prompt(Vertical):
    """The input line for a filter, a search, a comment or a file name, and the error below it."""

    DEFAULT_CSS = """
    Prompt { height: 2; }
    Prompt Input { border: none; height: 1; padding: 0; background: $surface; }
    """
    HINTS: Final[dict[str, str]] = {
        "filter": "filter: Enter applies it, Esc clears it, ↑ ↓ earlier, Tab completes, Ctrl+S saves; tool: lat:>500",
        "search": "search: Enter goes to the next match, Esc ends the search; tool: status: lat:>500 ~regex …",
        "command": "command: Enter runs it, Tab completes it; filter sort diff theme open export record …",
        "comment": "comment: Enter saves it and marks the row; an empty comment removes it",
        "record": "record to: FILE.jsonl or FILE.jsonl.zst; Enter starts, R stops",
        "export": "export the filtered rows to: FILE.jsonl (a recording), FILE.html, .json or .har",
        "open": "open a recording: its file name",
    }
    FILTERS: Final = frozenset({"filter", "search"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.field = Input(id="prompt-input", select_on_focus=False, compact=True)
        self.hint = Line(id="prompt-hint")
        self.purpose = "filter"
        self.display = False

    @property
    def is_open(self) -> bool:
        """Whether the prompt is visible."""
        return bool(self.display)

    def compose(self) -> ComposeResult:
        """Lay out input and hint."""
        yield self.field
        yield self.hint

    def open(self, purpose: str, text: str) -> None:
        """Open the prompt."""
        self.purpose = purpose
        self.display = True
        self.write(text)
        self.screen.set_focus(self.field)  # at once: the next key may already be waiting

    def write(self, text: str) -> None:
        """Replace the input."""
        self.field.value = text
        self.field.cursor_position = len(text)
        self.check(text)

    def close(self) -> None:
        """Close the prompt."""
        self.display = False

    def say(self, message: str, style: str = "bad") -> None:
        """Show a message below the input."""
        self.hint.show([(clean(message), style)])

    def offer(self, texts: Sequence[str]) -> None:
        """Show what the text may become, once something was typed: the words that differ."""
        text = self.field.value
        start = max(text.rfind(" "), text.rfind("(")) + 1
        if not texts or start >= len(text):
            return
        words = "  ".join(clean(one[start:]) for one in texts)
        self.hint.show([("Tab ", "accent"), (words, "note")])

    def check(self, text: str) -> Filter | None:
        """Return the filter, or None after showing a caret under the error; None if the input is not a filter."""
        self.say(self.HINTS[self.purpose], "dim")
        if self.purpose not in self.FILTERS:
            return None
        try:
            return filters.parse(text)
        except FilterError as error:
            column = max(0, min(error.position, self.size.width - 2) if self.size.width else error.position)
            message = f"^ {error}"
            if column + len(message) > max(40, self.size.width) and len(str(error)) + 2 < column:
                message, column = f"{error} ^", column - len(str(error)) - 1
            self.hint.show([(" " * column + clean(message), "bad")])
            return None
