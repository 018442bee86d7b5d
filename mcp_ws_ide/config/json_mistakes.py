"""What people write that is almost JSON, and what to write instead: the cure for an error of the parser. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

ESCAPES: Final = 'write each backslash twice, as in "C:\\\\Users\\\\me"'
"""The cure for a path of Windows in a string."""
_TYPOGRAPHIC: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_WORDS: Final = {"True": "true", "False": "false", "None": "null", "undefined": "null", "NULL": "null"}
_WORD: Final = re.compile(r"[A-Za-z]+")
_CONFLICT: Final = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)

_CONTROL: Final = re.compile(r"[\x01-\x1f]")
"""NUL is an error of its own."""
_NOT_IN_TEXT: Final = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f]")
_IN_PATH: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])[A-Za-z]:|^\.{1,2}|%\w{1,64}%|\$\{[^}]{0,64}\})(?:\\[^\s\\]{0,255}){0,64}([\t\n\r])"
)
"""A tab or a line break where the next folder begins in a path of Windows. Scripts and keys have them elsewhere."""
_CONTROLS: Final = {
    "\b": "a backspace, from the escape \\b",
    "\f": "a form feed, from the escape \\f",
    "\t": "a tab, from the escape \\t",
    "\n": "a line feed, from the escape \\n",
    "\r": "a carriage return, from the escape \\r",
}


def misread_escapes(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield key and reason for each text of an entry in which a backslash was probably meant as one: ``"C:\\temp"``.

    The text is not repeated: it may be a secret.
    """
    args, env = entry.get("args"), entry.get("env")
    texts = [(key, entry.get(key), _CONTROL) for key in ("command", "cwd")]
    texts += [
        (f"args[{at}]", arg, _NOT_IN_TEXT) for at, arg in enumerate(args if isinstance(args, list) else ())
    ]
    texts += [
        (f"env.{name}", value, _NOT_IN_TEXT) for name, value in (env if isinstance(env, dict) else {}).items()
    ]
    for key, text, unexpected in texts:
        if isinstance(text, str) and (found := unexpected.search(text) or _IN_PATH.search(text)) is not None:
            character = found[found.lastindex or 0]
            name = _CONTROLS.get(character, f"the control character U+{ord(character):04X}")
            yield key, f"contains {name}, at character {found.end()}; if a backslash is meant, {ESCAPES}"


def explained(text: str, error: json.JSONDecodeError) -> str:
    """Return what is wrong with a text, where, and, for known mistakes, what to do."""
    if not text.strip():
        return 'the file is empty; write {"mcpServers": {}}'
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        return f"not valid JSON: an unresolved merge conflict at line {line}; resolve it"
    what, cure = _mistake(text, error)
    return f"not valid JSON: {what} at line {error.lineno}, column {error.colno}{cure and '; '}{cure}"


def _mistake(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    at = error.pos
    if "escape" in error.msg:
        start = text.rfind("\\", 0, at + 1)
        shown = text[start : start + 2] if start >= 0 else "\\"
        return f"{error.msg} ({shown})", ESCAPES
    character = text[at : at + 1]
    if character in _TYPOGRAPHIC and character:
        return f"{error.msg} (found the quotation mark {character})", 'write "'
    if character == "'":
        return f"{error.msg} (found ')", "write \" instead of '"
    word = _WORD.match(text, at)
    if word is not None and word[0] in _WORDS:
        return f"{error.msg} (found {word[0]})", f"write {_WORDS[word[0]]}"
    if at >= len(text.rstrip()):
        return f"{error.msg}, but the text ends", "the file may be cut off"
    if character and not character.isascii():
        name = unicodedata.name(character, "unnamed")
        return f"{error.msg} (found U+{ord(character):04X}, {name})", "remove this character"
    if "control character" in error.msg:
        return error.msg, "write a line break in a string as \\n, and a tab as \\t"
    return error.msg, ""
