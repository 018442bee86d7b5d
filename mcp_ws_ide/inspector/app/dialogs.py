"""What lies over the screens for a moment: help, a report, a question, a choice of forms to copy, the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from mcp_ws_ide.inspector.app.detail import Text
from mcp_ws_ide.inspector.app.keys import HELP, HELP_INDENT
from mcp_ws_ide.inspector.app.rows import Line, Part, clean
from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.filters import Filter, FilterError

MAX_COPIED: Final = 1 << 20
"""Characters that are sent to a terminal's clipboard; most take less."""
MAX_SHOWN: Final = 20_000
"""Characters of them that are shown."""


class ReportScreen(ModalScreen[None]):
    """Lines to read."""

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
        """Title and text."""
        with Vertical():
            yield self.heading
            yield self.text

    def on_mount(self) -> None:
        """Fill it."""
        self.heading.show([(clean(self._title), "head"), ("   Esc closes", "dim")])
        self.text.show(self._lines)
        self.text.focus()


class Help(ReportScreen):
    """Keys and words."""

    def __init__(self) -> None:
        lines = HELP.splitlines()
        super().__init__(
            "Help", [[(line[:HELP_INDENT], "key"), (line[HELP_INDENT:], "")] for line in lines], HELP_INDENT
        )


class Question(ModalScreen[bool]):
    """Something to confirm."""

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
        self.words, self.hint = Line(), Line()
        self._text, self._yes = text, yes

    def compose(self) -> ComposeResult:
        """The question, and what the keys mean."""
        with Vertical():
            yield self.words
            yield self.hint

    def on_mount(self) -> None:
        """Fill it."""
        self.words.show([(clean(self._text), "")])
        self.hint.show([(f"Enter {self._yes}, Esc does not", "dim")])

    def action_answer(self, yes: bool) -> None:
        """Done."""
        self.dismiss(yes)


class Choice(ModalScreen[int]):
    """One of several, by its number; none is -1."""

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
        """A line for each."""
        with Vertical():
            yield from self.lines

    def on_mount(self) -> None:
        """Fill them."""
        self.lines[0].show([(clean(self._title), "head"), ("   Esc does nothing", "dim")])
        for number, (line, words) in enumerate(zip(self.lines[1:], self._choices, strict=True), 1):
            line.show([(f"{number}  ", "accent"), (clean(words), "")])

    def action_choose(self, number: int) -> None:
        """Done."""
        if number <= len(self._choices):
            self.dismiss(number - 1)


class Copying(ModalScreen[None]):
    """One message in several forms; each is copied when it is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,right,right_square_bracket,tab", "turn(1)", "Next form"),
        Binding("Y,left,left_square_bracket,shift+tab", "turn(-1)", "Previous form"),
        Binding("escape,q,enter", "dismiss", "Close"),
    ]
    DEFAULT_CSS = """
    Copying { align: center middle; }
    Copying Vertical { width: 100%; max-width: 118; height: 80%; border: round $primary; padding: 0 1; }
    """

    def __init__(self, forms: dict[str, Callable[[], str]]) -> None:
        super().__init__()
        self.tabs, self.hint, self.text = Line(), Line(), Text(wrap=True)
        self._forms = forms
        self.form = next(iter(forms))

    def compose(self) -> ComposeResult:
        """Forms, what happened, the text."""
        with Vertical():
            yield self.tabs
            yield self.hint
            yield self.text

    def on_mount(self) -> None:
        """Begin with the first."""
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
        except Exception as error:  # NoCommand, in words for the user
            self.hint.show([(clean(str(error)), "warn")])
            self.text.show([])
            return
        if len(text) > MAX_COPIED:
            self.hint.show([("too long for a clipboard: e writes it to a file", "warn")])
        else:
            self.app.copy_to_clipboard(text)
            self.hint.show([("copied, if the terminal allows it (OSC 52)", "good")])
        self.text.show([[(clean(line), "")] for line in text[:MAX_SHOWN].split("\n")])

    def _style(self, name: str) -> str:
        return "head" if name == self.form else "dim"


class Prompt(Vertical):
    """The line in which a filter, a search, a comment or a file's name is written, and what is wrong with it."""

    DEFAULT_CSS = """
    Prompt { height: 2; }
    Prompt Input { border: none; height: 1; padding: 0; background: $surface; }
    """
    HINTS: Final[dict[str, str]] = {
        "filter": "filter: Enter applies, Esc clears, ↑ ↓ earlier ones, Ctrl+S keeps it; tool: status: lat:>500 ~regex",
        "search": "search: Enter goes there, Esc ends it; tool: status: lat:>500 ~regex …",
        "comment": "comment: Enter keeps it and marks the row; an empty one takes it away",
        "record": "record to: FILE.jsonl or FILE.jsonl.zst; Enter starts, R stops",
        "export": "write what the filter shows to: FILE.jsonl (a recording), FILE.json or FILE.har",
        "open": "open a recording: its file",
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
        """Whether it is to be seen."""
        return bool(self.display)

    def compose(self) -> ComposeResult:
        """Input and hint."""
        yield self.field
        yield self.hint

    def open(self, purpose: str, text: str) -> None:
        """Ask."""
        self.purpose = purpose
        self.display = True
        self.write(text)
        self.screen.set_focus(self.field)  # at once: the next key may be waiting already

    def write(self, text: str) -> None:
        """Put this in."""
        self.field.value = text
        self.field.cursor_position = len(text)
        self.check(text)

    def close(self) -> None:
        """Enough."""
        self.display = False

    def say(self, words: str, style: str = "bad") -> None:
        """Below the line."""
        self.hint.show([(clean(words), style)])

    def check(self, text: str) -> Filter | None:
        """The filter, or None and a caret under the mistake; None too where no filter is asked for."""
        self.say(self.HINTS[self.purpose], "dim")
        if self.purpose not in self.FILTERS:
            return None
        try:
            return filters.parse(text)
        except FilterError as error:
            column = max(0, min(error.position, self.size.width - 2) if self.size.width else error.position)
            words = f"^ {error}"
            if column + len(words) > max(40, self.size.width) and len(str(error)) + 2 < column:
                words, column = f"{error} ^", column - len(str(error)) - 1
            self.hint.show([(" " * column + clean(words), "bad")])
            return None
