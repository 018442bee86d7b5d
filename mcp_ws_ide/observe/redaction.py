"""Redaction: hides secrets by their name, by their form, by their value, and by configured patterns.

Knows neither the source of a text nor its watchers. The built-in rules (:mod:`.secret_rules`) take time in proportion
to the text; configured patterns have a time limit.

Each message is searched once for anything suspicious (:mod:`.suspicion`), and only messages with a match are parsed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from mcp_ws_ide.observe.literals import finder_of_first
from mcp_ws_ide.observe.secret_rules import hide_secrets, is_secret_name
from mcp_ws_ide.observe.suspicion import may_contain_secret
from mcp_ws_ide.observe.tap_record import HIDDEN

RAW_LIMIT: Final = 16 * 1024
"""Bytes of a message that are shown; longer ones are truncated."""
REDACT_LIMIT: Final = 1 << 20
"""Bytes of a message that may contain a secret, above which it is withheld instead of parsed."""
PATTERN_SECONDS: Final = 0.02
"""Seconds that one configured pattern may take for one text."""
SHORTEST: Final = 6
"""Characters of the shortest known value that is redacted; shorter ones would match everywhere."""
MARGIN: Final = 512
"""Bytes beyond :data:`RAW_LIMIT` that are searched, so that truncation never shows the first half of a secret."""

_PLAIN_RUN: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""Characters that JSON contains as they are, unless their escapes are suspicious."""

_encode = msgspec.json.Encoder().encode

log = logging.getLogger(__name__)


class BadPatternError(ValueError):
    """A configured pattern cannot be used; the text says why."""


class Redactor:
    """Redacts messages and texts. Replaced by a new one when the configuration changes.

    Args:
        patterns: regular expressions (of the package ``regex``) for text to redact.
        values: known secrets, such as those of the configuration.

    Raises:
        BadPatternError: one of the patterns cannot be used.
    """

    def __init__(self, patterns: Sequence[str] = (), values: Iterable[str] = ()) -> None:
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        known = sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        probes = {max(_PLAIN_RUN.findall(value) or [value], key=len).encode() for value in known}
        self._find_probes = finder_of_first(sorted(probes)) if known else None
        """Finds the longest part of each known value that no JSON escapes."""
        self._withholding = False
        self._redacted = 0

    def message(self, data: bytes, known: int = 0) -> tuple[str, bool]:
        """Return the redacted text of a message, and whether it was truncated.

        Args:
            known: how many bytes at the end of ``data`` were searched before, as part of another message, without a
                match.
        """
        size = len(data)
        shown = data[: size - known if known else RAW_LIMIT + MARGIN]
        if self._patterns or may_contain_secret(shown) or (self._find_probes and self._find_probes(shown)):
            if size > REDACT_LIMIT:
                return f"{HIDDEN} withheld: {size} bytes that may contain a secret", True
            data = self._without_secrets(data)
            size = len(data)
        if size > RAW_LIMIT:
            return data[:RAW_LIMIT].decode("utf-8", "replace"), True
        return data.decode("utf-8", "replace"), False

    def _without_secrets(self, data: bytes) -> bytes:
        self._redacted = 0
        try:
            clean = self._scrub(msgspec.json.decode(data), False)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return f"{HIDDEN} withheld: cannot be parsed and may contain a secret".encode()
        return _encode(clean) if self._redacted else data  # without a secret it is shown unchanged

    def _scrub(self, value: Any, in_schema: bool) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return self._items(value)
        return self._members(value, in_schema) if isinstance(value, dict) else value

    def _items(self, items: list[Any]) -> list[Any]:
        """Redact a list, which may be a command line: the value after ``--password`` is hidden."""
        clean, hide = [], False
        for item in items:
            text = item if isinstance(item, str) else ""
            if hide and isinstance(item, (str, int, float)) and not text.startswith("--"):
                self._redacted += 1
                clean.append(HIDDEN)
                hide = False
            else:
                clean.append(self._scrub(item, False))
                hide = text.startswith("-") and "=" not in text and is_secret_name(text)
        return clean

    def _members(self, members: dict[str, Any], in_schema: bool) -> dict[str, Any]:
        """Redact an object; ``in_schema`` if its members are schemas (JSON Schema's ``properties``), not values."""
        name = members.get("name", members.get("key"))  # {"name": "API_KEY", "value": "…"}
        pair = isinstance(name, str) and is_secret_name(name)
        clean = {}
        for key, item in members.items():
            secret = is_secret_name(key) or (pair and key == "value")
            if not secret or item is None or isinstance(item, bool):
                clean[self._text(key)] = self._scrub(item, key == "properties")
            elif in_schema and isinstance(item, dict):
                clean[key] = self._described(item)
            else:
                self._redacted += 1
                clean[key] = HIDDEN
        return clean

    def _described(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Redact the schema of a secret: its examples may be real secrets."""
        hidden: dict[str, Any] = {
            name: HIDDEN for name in ("default", "const", "examples", "enum") if name in schema
        }
        self._redacted += len(hidden)
        return {**self._members(schema, False), **hidden}

    def text(self, text: str) -> str:
        """Return redacted free text, truncated to :data:`RAW_LIMIT` characters."""
        return self._text(text[: RAW_LIMIT + MARGIN])[:RAW_LIMIT]

    def lines(self, text: str) -> list[str]:
        """Return the lines of free text, each redacted as :meth:`text` does, at the cost of one search for all."""
        lines = text.split("\n")
        if len(lines) > 1 and not self._patterns and max(map(len, lines)) <= RAW_LIMIT:
            clean = self._text(text).split("\n")
            if len(clean) == len(lines):  # nothing was hidden that extends over the end of a line
                return clean
        return [self.text(line) for line in lines]

    def _text(self, text: str) -> str:
        if len(text) < SHORTEST:
            return text
        clean = hide_secrets(text if self._known is None else self._known.sub(HIDDEN, text))
        if self._patterns:
            clean = self._apply(clean)
        self._redacted += clean != text
        return clean

    def _apply(self, text: str) -> str:
        """Apply the configured patterns. After one has been too slow, all text is withheld instead."""
        if self._withholding:
            return f"{HIDDEN} withheld: a redact pattern is too slow"
        for pattern in self._patterns:
            try:
                text = pattern.sub(HIDDEN, text, timeout=PATTERN_SECONDS)
            except TimeoutError:
                self._withholding = True
                log.error(
                    "redact pattern %r took longer than %g s; the tap withholds all text until you fix the pattern",
                    pattern.pattern,
                    PATTERN_SECONDS,
                )
                return self._apply(text)
        return text


def compile_pattern(pattern: str) -> Any:
    """Compile a configured pattern.

    Raises:
        BadPatternError: it is no regular expression, or it matches everywhere.
    """
    # Imported here: it takes time to load, and few configure patterns.
    import regex

    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise BadPatternError(f"{pattern!r} is not a regular expression: {error}") from None
    if compiled.search("") is not None:
        raise BadPatternError(
            f"{pattern!r} matches the empty string, and so everywhere; describe the text to redact"
        )
    return compiled
