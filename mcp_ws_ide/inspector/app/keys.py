"""The keys of the terminal inspector: one table, from which bindings, help and the line at the bottom are made.

A new key is one entry here and a method ``action_…`` in the module of its kind: filter_actions, detail_actions,
file_actions or send_actions. Keys of the filter language and of dialogs are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from textual.binding import Binding, BindingType

SCREENS: Final = ("sessions", "traffic", "ladder", "stats", "capabilities", "problems", "gateways")
"""The screens, by the number that opens them, from 1."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
HELP_INDENT: Final = 14
"""Column of the help screen at which descriptions begin."""


@dataclass(frozen=True, slots=True)
class KeyHelp:
    """One line of help, and the bindings that it describes.

    Attributes:
        keys: the keys as help writes them.
        help: what they do.
        app: bindings of the whole application.
        rows: bindings of every list of rows.
    """

    keys: str
    help: str
    app: tuple[Binding, ...] = ()
    rows: tuple[Binding, ...] = ()


KEYS: Final[tuple[KeyHelp, ...]] = (
    KeyHelp(
        f"1 … {len(SCREENS)}",
        ", ".join(name.title() for name in SCREENS),
        tuple(
            Binding(str(number), f"screen({name!r})", name.title()) for number, name in enumerate(SCREENS, 1)
        ),
    ),
    # With priority, so that they act before the next key is given to the focused widget.
    KeyHelp(
        "/",
        "filter: Enter applies it, Esc clears it and closes",
        (Binding("slash", "filter", "Filter", priority=True),),
    ),
    KeyHelp(
        ":",
        "command: any action by its name, and filter, sort, diff, theme, open, export, record, screen",
        (Binding("colon", "command", "Command"),),
    ),
    KeyHelp(
        "↑ ↓ Ctrl+S",
        "while you type a filter: earlier filters; save this filter, or remove it from the saved ones",
        (
            Binding("up", "earlier(-1)", show=False, priority=True),
            Binding("down", "earlier(1)", show=False, priority=True),
            Binding("ctrl+s", "keep_filter", "Save the filter", priority=True),
        ),
    ),
    KeyHelp(
        "Ctrl+F",
        "search: the filter language, but nothing is hidden",
        (Binding("ctrl+f", "search", "Search", priority=True),),
    ),
    KeyHelp(
        "n, N",
        "next, previous match; without a search: next, previous problem",
        (Binding("n", "match(1)", "Next match"), Binding("N", "match(-1)", "Previous match")),
    ),
    KeyHelp(
        "j k ↓ ↑",
        "move",
        rows=(
            Binding("down,j", "move(1)", "Down", show=False),
            Binding("up,k", "move(-1)", "Up", show=False),
        ),
    ),
    KeyHelp(
        "g G",
        "first row, last row",
        rows=(
            Binding("home,g", "first", "First", show=False),
            Binding("end,G", "last", "Last", show=False),
        ),
    ),
    KeyHelp(
        "Ctrl+D Ctrl+U",
        "page down, page up",
        rows=(
            Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
            Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        ),
    ),
    KeyHelp("f", "follow the newest row", (Binding("f", "follow", "Follow"),)),
    KeyHelp("p", "pause the display; records are still kept", (Binding("p", "pause", "Pause"),)),
    KeyHelp(
        "Enter",
        "open or close the detail pane; on Sessions, Gateways: show only its traffic; on Stats: only those requests",
        rows=(Binding("enter", "choose", "Open", show=False),),
    ),
    KeyHelp(
        "[ ] ← →",
        "tabs of the detail pane",
        (
            Binding("right_square_bracket,right", "tab(1)", "Next tab"),
            Binding("left_square_bracket,left", "tab(-1)", "Previous tab"),
        ),
    ),
    KeyHelp(
        "Tab",
        "switch between the list and the detail pane; while you type: complete",
        (
            Binding("tab,shift+tab", "other_pane", "Other pane", priority=True),
            Binding("tab", "complete", show=False, priority=True),
        ),
    ),
    KeyHelp("w", "wrap lines in the detail pane", (Binding("w", "wrap", "Wrap lines"),)),
    KeyHelp(
        "- +",
        "in the detail pane: fold all objects and arrays, or none; Enter: the one under the cursor",
        (
            Binding("minus", "fold_json(True)", "Fold JSON"),
            Binding("plus", "fold_json(False)", "Unfold JSON"),
        ),
    ),
    KeyHelp("z", "show _meta in the detail pane, or collapse it", (Binding("z", "meta", "Show _meta"),)),
    KeyHelp(
        "v",
        "show truncated text in full: the row, the filter and the header",
        (Binding("v", "whole", "Show in full"),),
    ),
    KeyHelp(
        "x",
        "go to the other half of the pair: request or response",
        (Binding("x", "pair", "Pair"),),
    ),
    KeyHelp("t", "go to the same message on the other leg", (Binding("t", "twin", "Other leg"),)),
    KeyHelp("m", "mark the row, or unmark it", (Binding("m", "mark", "Mark"),)),
    KeyHelp("M", "show only marked rows", (Binding("M", "marked_only", "Marked only"),)),
    KeyHelp(";", "comment on the row", (Binding("semicolon", "comment", "Comment"),)),
    KeyHelp("d", "compare the two marked rows", (Binding("d", "difference", "Compare marked"),)),
    KeyHelp("l", "fold legs: one row per operation", (Binding("l", "fold", "Fold legs"),)),
    KeyHelp(
        "T",
        "timeline: a bar for each operation, on the scale of the visible rows; solid where the server had it",
        (Binding("T", "timeline", "Timeline"),),
    ),
    KeyHelp(
        "s",
        "sort Traffic or Stats by the next column; a click on a heading sorts by it, again: the other way round",
        (Binding("s", "sort", "Sort"),),
    ),
    KeyHelp("C", "choose the columns of Traffic", (Binding("C", "columns", "Columns"),)),
    KeyHelp(
        "y",
        "copy the message; y again: copy it as websocat, curl or Python (through the terminal, OSC 52)",
        (Binding("y", "copy", "Copy"),),
    ),
    KeyHelp("r", "send the request again and compare the responses", (Binding("r", "again", "Send again"),)),
    KeyHelp(
        "Ctrl+E",
        "edit the request, send it and compare the responses",
        (Binding("ctrl+e", "edit", "Edit and send"),),
    ),
    KeyHelp(
        "E",
        "inject a fault into the session's link, if the gateway allows it",
        (Binding("E", "faults", "Inject a fault"),),
    ),
    KeyHelp("R", "start recording, or stop", (Binding("R", "record", "Record"),)),
    KeyHelp(
        "e", "export the filtered rows to .jsonl, .json, .har or .html", (Binding("e", "export", "Export"),)
    ),
    KeyHelp("o", "open a recording; q returns", (Binding("o", "open", "Open a recording"),)),
    KeyHelp("c", "how to connect a client", (Binding("c", "connecting", "How to connect"),)),
    KeyHelp("Esc", "close what is open; else back to Traffic", (Binding("escape", "leave", "Back"),)),
    KeyHelp("?", "this help", (Binding("question_mark", "help", "Help"),)),
    KeyHelp("Ctrl+P", "command palette, with themes"),
    KeyHelp(
        "q, Ctrl+C",
        "quit",
        (Binding("q", "quit", "Quit"), Binding("ctrl+c", "interrupt", "Quit", priority=True, show=False)),
    ),
)


def name_of(binding: Binding) -> str:
    """Return the name of an action, as commands and settings use it: its description in lower case, with ``_``."""
    return binding.description.lower().replace(" ", "_") if binding.show else ""


APP_BINDINGS: Final[list[BindingType]] = [
    replace(binding, id=name_of(binding) or None) for key in KEYS for binding in key.app
]
ROWS_BINDINGS: Final[list[BindingType]] = [binding for key in KEYS for binding in key.rows]


def action_names() -> dict[str, str]:
    """Return the actions of the application's keys by name."""
    return {name: binding.action for key in KEYS for binding in key.app if (name := name_of(binding))}


FooterKey = tuple[str, str]
"""Key and word, and the action of a click."""
FOOTERS: Final[dict[str, tuple[FooterKey, ...]]] = {
    "sessions": (
        ("↵ its traffic", "choose"),
        ("3 ladder", "screen('ladder')"),
        ("v in full", "whole"),
        ("E fault", "faults"),
    ),
    "traffic": (
        ("/ filter", "filter"),
        ("↵ detail", "choose"),
        ("f follow", "follow"),
        ("n next", "match(1)"),
        ("x pair", "pair"),
        ("l fold", "fold"),
        ("T timeline", "timeline"),
        ("m mark", "mark"),
        ("p pause", "pause"),
        ("^F search", "search"),
        ("s sort", "sort"),
        ("C columns", "columns"),
        ("y copy", "copy"),
        ("r again", "again"),
    ),
    "ladder": (("↵ detail", "choose"), ("x pair", "pair"), ("y copy", "copy"), ("v in full", "whole")),
    "stats": (("↵ its traffic", "choose"), ("s sort", "sort"), ("v in full", "whole")),
    "capabilities": (("v in full", "whole"), ("c connect", "connecting")),
    "problems": (("↵ go there", "choose"), ("v in full", "whole"), ("n next", "match(1)")),
    "gateways": (("↵ its traffic", "choose"),),
    "detail": (
        ("Esc close", "leave"),
        ("[ ] tabs", "tab(1)"),
        ("w wrap", "wrap"),
        ("z _meta", "meta"),
        ("- fold", "fold_json(True)"),
        ("x pair", "pair"),
        ("t leg", "twin"),
        ("y copy", "copy"),
        ("; comment", "comment"),
    ),
}
"""What the line at the bottom offers on each screen, and while the detail pane is open; the first ones that fit."""
EVERYWHERE: Final[tuple[FooterKey, ...]] = (("? help", "help"), ("q quit", "quit"))


def footer(place: str, width: int, chosen: Mapping[str, str] = NOTHING) -> list[FooterKey]:
    """Return the keys that fit into a line of this width, at a place of :data:`FOOTERS`.

    Args:
        chosen: the user's keys, by the name of the action.
    """
    own = {action: chosen[name] for name, action in action_names().items() if name in chosen}
    last = [_own(key, own) for key in EVERYWHERE]
    left = width - sum(len(text) + 2 for text, _ in last)
    keys = []
    for text, action in (_own(key, own) for key in FOOTERS[place]):
        left -= len(text) + 2
        if left < 0:
            break
        keys.append((text, action))
    return [*keys, *last]


def _own(key: FooterKey, own: Mapping[str, str]) -> FooterKey:
    """Return an entry of the last line with the key that the user chose for it."""
    text, action = key
    return (f"{own[action].split(',')[0]} {text.partition(' ')[2]}", action) if action in own else key


_LEGEND: Final = """\
Filter        tool:run*  method:tools/*  server:git  session:9f3a  gateway:7c  kind:error  status:failed  dir:server  \
leg:upstream  lat:>500  size:>10k  id:7  id:"7"  since:10m  is:marked  ~regex  word  "two words"
              side by side: and    |  or    !  not    ( )  group

Status        … pending   OK   FAIL isError   ERR JSON-RPC error   CXL cancelled   LOST link or server ended   \
ASK input_required   ? response may have been missed
Direction     c client   g gateway   s server
Columns       total  ms from request to response   upstr  of these in the server   gw+  of these in the gateway   \
size  bytes
"""

HELP: Final = "\n".join([*(f"{key.keys:<{HELP_INDENT}}{key.help}" for key in KEYS), "", _LEGEND])
"""The help screen, a line each: keys, and from column :data:`HELP_INDENT` on what they do."""
