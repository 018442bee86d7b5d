"""JSON with comments and trailing commas, as VS Code writes it. Pure.

Keeps positions: the line and column of an error are those of the text. Knows nothing of what a document means.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from mcp_ws_ide.config.json_mistakes import explained

_COMMENT: Final = re.compile(r'"(?:\\.|[^"\\\n])*+"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r'"(?:\\.|[^"\\\n])*+"?|(?<=[\w"}\]])\s*+,(?=\s*+[}\]])', re.DOTALL)
"""Both patterns also match strings, terminated or not, so that the inside of a string is never taken for syntax."""


class InvalidJsonError(ValueError):
    """A text is not JSON, even with comments and trailing commas removed; the message says where."""


def parse_text(text: str) -> tuple[Any, list[str]]:
    """Parse a document; return it, and the keys that occur twice in one object (the last one counts).

    Comments and trailing commas are blanked out only when plain JSON fails, and in place.

    Raises:
        InvalidJsonError: the text is not JSON.
    """
    try:
        return _parse_json(text)
    except InvalidJsonError:
        return _parse_json(without_comments(text))


def _parse_json(text: str) -> tuple[Any, list[str]]:
    duplicates: list[str] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in pairs:
            if key in built:
                duplicates.append(key)
            built[key] = value
        return built

    try:
        return json.loads(text, object_pairs_hook=build, parse_int=_integer), duplicates
    except json.JSONDecodeError as error:
        raise InvalidJsonError(explained(text, error)) from None
    except RecursionError:
        raise InvalidJsonError("not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InvalidJsonError(f"not valid JSON: {error}") from None


def _integer(digits: str) -> int | float:
    """Return the number; one with too many digits for Python is infinite, so that only its own key is invalid."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def without_comments(text: str, *, commas: bool = True) -> str:
    """Return the text with its comments blanked out in place, and, if ``commas``, its trailing commas too."""
    uncommented = _COMMENT.sub(_blank, text)
    return _TRAILING_COMMA.sub(_blank, uncommented) if commas else uncommented


def _blank(match: re.Match[str]) -> str:
    matched = match[0]
    unterminated = matched.startswith("/*") and (len(matched) < 4 or not matched.endswith("*/"))
    if matched.startswith('"') or unterminated:
        return matched
    return re.sub(r"[^\n]", " ", matched)
