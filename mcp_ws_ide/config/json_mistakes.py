"""What people write that is almost JSON, and what to write instead: the cure for an error of the parser. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

ESCAPES: Final = 'write each backslash twice, as in "C:\\\\Users\\\\me"'
"""The cure for a path of Windows in a string."""
_TYPOGRAPHIC: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_WORDS: Final = {"True": "true", "False": "false", "None": "null", "undefined": "null", "NULL": "null"}
_WORD: Final = re.compile(r"[A-Za-z]+")
_CONFLICT: Final = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)


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
