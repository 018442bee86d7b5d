"""Redaction: hides secrets by their name, by their form, by their value, and by configured patterns.

Owns the rules only: it knows neither the source of a text nor its watchers. The built-in rules take time in proportion
to the text; configured patterns have a time limit.

Each message is searched once for anything suspicious (:data:`_SUSPECT`), and only messages with a match are parsed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

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
HIDDEN: Final = "••••"
"""Stands for redacted text."""

_SUSPECT: Final = re.compile(
    # Every branch begins with a letter that is rare in JSON: the search skips all others quickly.
    rb"k(?:(?<=tok)en(?<!progresstoken)|(?<=cook)ie|(?<=[a-z_.-]k)ey|(?<=(?:api|ate|ess|ret) k)ey|(?<=[?&;]k)ey="
    rb"|(?<=tick)et|(?<=ak)ia"
    rb"|(?<=sk)-(?<![a-z0-9]sk-))"
    rb"|w(?:(?<=passw)|(?<=pw)d)"
    rb"|z(?:(?<=authoriz)|(?<=aiz)a)"
    rb"|u(?<=au)th"
    rb"|c(?:r(?:(?<=secr)et|edential)|(?<=[?&;]c)ode=)"
    rb"|j(?<=eyj)"
    rb"|b(?:earer|asic )"
    rb"|_(?:(?<=gh[pousr]_)|(?<=hf_)|(?<=mcpws_)|(?<=pat_))"
    rb"|/(?<=:/)/[^/?#\s\"]{0,300}@"
    rb"|x(?:ox[abeprs]-)"
    rb"|g(?:lpat-|(?<=[?&;]sig)(?:nature)?=)"
    rb"|p(?:assphrase)"
    rb"|\\u00[4-7]"  # a letter written as an escape, which serves only to hide a name
)
"""Searched in a message in lower case. May match too much, but always matches what the rules below redact."""
_SUSPECT_TEXT: Final = re.compile(_SUSPECT.pattern.decode())

_SECRET_NAME: Final = re.compile(
    r"(?i)passw|passphrase|pwd|secret|credential|authorization|cookie|bearer|token|(?<![a-z])o?auth(?![a-z])"
    r"|(?:api|access|private|secret|signing|encryption|auth|account)[_. -]?key(?![a-z])"
)
_HARMLESS_NAME: Final = re.compile(
    r"(?i)progress_?token|page_?token|tokens|max_?token|tokeniz|token_?(?:count|type|limit|usage|endpoint|budget)"
)
_IN_QUERIES: Final = frozenset({"ticket", "code", "sig", "signature", "key"})

_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_USERINFO: Final = re.compile(r"://[^/?#\s\"']{1,300}@")
_QUERY: Final = re.compile(r"([?&;])([^=&#?;\s]{1,64})=[^&#\s\"']+")
_SCHEME: Final = re.compile(
    r"(?i)\b(bearer|token|basic)\s{1,8}(?=[A-Za-z._~-]{0,200}[0-9+/=]|[A-Za-z._~-]{20})[A-Za-z0-9._~+/=-]{8,}"
)
_FORM: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|AKIA|AIza|eyJ|mcpws_)[\w.-]{8,}"
)
_NAME: Final = re.compile(r"(?<!\w)([A-Za-z_][\w.-]{0,63})\\{0,3}[\"']?[ \t]{0,4}(?::(?!//)|=)[ \t]{0,4}")
_VALUE: Final = re.compile(
    r"\\{0,3}\"(?!,[ \t]|\)?[ \t]*(?:\n|$))[^\"\n]*|\\{0,3}'(?!,[ \t]|\)?[ \t]*(?:\n|$))[^'\n]*"
    r"|[^\s\"',;}&)]+(?:[ \t]{1,4}[^\s\"',;}&)=:]+(?![^\s\"',;}&)]))?"
)
"""A quoted string, or one or two words. A quote that ends a string, as in ``print("token:", x)``, begins no value."""
_OPTION: Final = re.compile(
    r"(?<![\w-])--?([A-Za-z][\w.-]{0,63})(?:[ \t]{1,4}|\\{0,3}[\"'],[ \t]{0,4}(?=\\{0,3}[\"']))(?!--)"
)
"""A command line option whose value is the next word, or the next string of a list."""
_WORD: Final = re.compile(r"\\{0,3}\"[^\"\n]*|\\{0,3}'[^'\n]*|[^\s\"',;})]+")
_DIGEST: Final = re.compile(r"(?i)\bdigest[ \t]+\w+=[^\n]+")
_WHOLE_LINE: Final = re.compile(
    r"(?i)(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie)([ \t]{0,4}:)[^\n\"]+"
)
_PLAIN_RUN: Final = re.compile(r"[A-Za-z0-9_.+=-]+")

_encode = msgspec.json.Encoder().encode

log = logging.getLogger(__name__)


class BadPattern(ValueError):
    """A configured pattern cannot be used; the text says why."""


class Redactor:
    """Redacts messages and texts. Replaced by a new one when the configuration changes.

    Args:
        patterns: regular expressions (of the package ``regex``) for text to redact.
        values: known secrets, such as those of the configuration.

    Raises:
        BadPattern: one of the patterns cannot be used.
    """

    def __init__(self, patterns: Sequence[str] = (), values: Iterable[str] = ()) -> None:
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        known = sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        probes = {max(_PLAIN_RUN.findall(value) or [value], key=len) for value in known}
        self._probe = re.compile("|".join(map(re.escape, sorted(probes))).encode()) if known else None
        self._withholding = False
        self._redacted = 0

    def message(self, data: bytes, known: int = 0) -> tuple[str, bool]:
        """Return the redacted text of a message, and whether it was truncated.

        Args:
            known: how many bytes at the end of ``data`` were searched before, as part of another message, without a
                match.
        """
        shown = data[: len(data) - known if known else RAW_LIMIT + MARGIN]
        suspect = _SUSPECT.search(shown.lower()) is not None
        if suspect or self._patterns or (self._probe is not None and self._probe.search(shown) is not None):
            if len(data) > REDACT_LIMIT:
                return f"{HIDDEN} withheld: {len(data)} bytes that may contain a secret", True
            data = self._without_secrets(data)
        if len(data) > RAW_LIMIT:
            return data[:RAW_LIMIT].decode(errors="replace"), True
        return data.decode(errors="replace"), False

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

    def _text(self, text: str) -> str:
        if len(text) < SHORTEST:
            return text
        clean = text if self._known is None else self._known.sub(HIDDEN, text)
        if _SUSPECT_TEXT.search(clean.lower()) is not None:
            clean = _by_rule(clean)
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


def _by_rule(text: str) -> str:
    text = _KEY_BLOCK.sub(HIDDEN, text)
    text = _USERINFO.sub(f"://{HIDDEN}@", text)
    text = _DIGEST.sub(HIDDEN, text)
    text = _WHOLE_LINE.sub(rf"\1\2 {HIDDEN}", text)
    text = _QUERY.sub(_hide_query, text)
    text = _FORM.sub(HIDDEN, text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _hide_named(text, _OPTION, _WORD)
    return _hide_named(text, _NAME, _VALUE)


def compile_pattern(pattern: str) -> Any:
    """Compile a configured pattern.

    Raises:
        BadPattern: it is no regular expression, or it matches everywhere.
    """
    # Imported here: it takes time to load, and few configure patterns.
    import regex

    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise BadPattern(f"{pattern!r} is not a regular expression: {error}") from None
    if compiled.search("") is not None:
        raise BadPattern(
            f"{pattern!r} matches the empty string, and so everywhere; describe the text to redact"
        )
    return compiled


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret."""
    return _SECRET_NAME.search(name) is not None and _HARMLESS_NAME.search(name) is None


def _hide_query(parameter: re.Match[str]) -> str:
    if not is_secret_name(parameter[2]) and parameter[2].lower() not in _IN_QUERIES:
        return parameter[0]
    return f"{parameter[1]}{parameter[2]}={HIDDEN}"


def _hide_named(text: str, name_of: re.Pattern[str], value_of: re.Pattern[str]) -> str:
    """Hide the values of secret names. The value of a harmless name is searched for further names."""
    parts, at, searched = [], 0, 0
    while (name := name_of.search(text, searched)) is not None:
        searched = name.end()
        if not is_secret_name(name[1]) or text.startswith(HIDDEN, searched):
            continue
        if (value := value_of.match(text, searched)) is None:
            continue
        start = value[0].lstrip("\\")
        quote = start[0] if start[:1] in ('"', "'") else ""
        parts += [text[at:searched], quote, HIDDEN]
        at = searched = value.end()
    return "".join([*parts, text[at:]]) if parts else text
