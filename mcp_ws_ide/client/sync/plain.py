"""Objects of the SDK as they were on the wire, and their text, bounded for display. Performs no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mcp_ws_ide.sanitise import visible

SHOWN_CHARACTERS: Final = 20_000
"""Characters of one text that HTML shows; it scrolls."""
SHOWN_LINES: Final = 50
"""Lines that plain text shows."""
LONGEST_SHOWN: Final = 5_000
"""Characters that plain text shows."""


def plain(value: Any) -> dict[str, Any]:
    """Return an object of the SDK as it was on the wire; the majors of the SDK name their attributes differently."""
    found: dict[str, Any] = value.model_dump(by_alias=True, mode="json", exclude_none=True)
    return found


def bounded(text: str, rest: str) -> str:
    """Return the beginning of a text, safe for a terminal, and a note if it is longer.

    Args:
        rest: where the whole text is, such as ``.text``.
    """
    lines = text[:LONGEST_SHOWN].split("\n")
    shown = "\n".join(visible(line.expandtabs()) for line in lines[:SHOWN_LINES])
    if len(lines) <= SHOWN_LINES and len(text) <= LONGEST_SHOWN:
        return shown
    return f"{shown}\n… {len(text):,} characters in {text.count(chr(10)) + 1:,} lines; {rest} has all"


def first_line(text: str, longest: int = 80) -> str:
    """Return the first line of a text for a table in plain text."""
    line = visible(text.strip().partition("\n")[0].strip())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def as_json(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def text_of(content: Mapping[str, Any]) -> str | None:
    """Return the text of one part of a result, a prompt or a resource; None if it has none."""
    inner = content.get("resource") if content.get("type") == "resource" else content
    text = inner.get("text") if isinstance(inner, Mapping) else None
    return text if isinstance(text, str) else None


def base64_of(content: Mapping[str, Any]) -> str | None:
    """Return the base64 text of the binary data of one part; None if it has none."""
    inner = content.get("resource") if content.get("type") == "resource" else content
    if not isinstance(inner, Mapping):
        return None
    found = inner.get("data", inner.get("blob"))
    return found if isinstance(found, str) else None


def described(content: Mapping[str, Any]) -> str:
    """Return a part as plain text: its text, or what it is."""
    if (text := text_of(content)) is not None:
        return text
    inner = content.get("resource", content)
    kind = inner.get("mimeType") or content.get("type") or "binary"
    if (encoded := base64_of(content)) is not None:
        return f"[{kind}, {len(encoded) * 3 // 4:,} bytes]"
    return f"[{content.get('type', 'content')}: {inner.get('uri', '')}]"


def unwrapped(structured: Any) -> Any:
    """Return the value that a server had to put into an object, or the object itself."""
    if isinstance(structured, Mapping) and structured.keys() == {"result"}:
        return structured["result"]
    return structured
