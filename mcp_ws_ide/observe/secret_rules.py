"""What a secret looks like in text: secret names, the forms of credentials, and the rules that hide them.

Owns the rules only: it knows neither JSON, nor known values, nor the source of a text.

No rule searches the whole text. Every match of a rule contains a needle (:data:`NEEDLES`), a literal; one pass finds
all needles, and each rule looks at the places of its own needles only. Tests prove from the patterns that no match is
without a needle (tests/observe/test_needles.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mcp_ws_ide.observe.literals import finder_of_all
from mcp_ws_ide.observe.tap_record import HIDDEN

NAME_LIMIT: Final = 64
"""Characters of the longest name in text whose value is hidden."""
REACH: Final = NAME_LIMIT + 32
"""Characters behind the start of a needle that a name with its separator, and what must follow it, may take."""

_SECRET_NAME: Final = re.compile(
    r"(?i)passw|passphrase|pwd|secret|credential|authorization|cookie|bearer|token|(?<![a-z])o?auth(?![a-z])"
    r"|(?:api|access|private|secret|signing|encryption|auth|account)[_. -]?key(?![a-z])"
)
_HARMLESS_NAME: Final = re.compile(
    r"(?i)progress_?token|page_?token|tokens(?!ecret)|max_?token|tokeniz|token_?(?:count|type|limit|usage|endpoint|budget)"
)
_IN_QUERIES: Final = frozenset({"ticket", "code", "sig", "signature", "key"})
"""Secret names of query parameters only."""

NAMES: Final = (
    *("passw", "passphrase", "pwd", "secret", "credential", "auth", "cookie", "bearer", "token"),
    "key",
)
"""Every secret name contains one of these."""
FORMS: Final = (
    *("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "hf_"),
    *("akia", "aiza", "eyj", "mcpws_"),
)
"""Every credential that is known by its form begins with one of these, in lower case."""

_FOLDED: Final = (("\u017f", "s"), ("\u0131", "i"), ("\u0130", "i"), ("\u212a", "k"))
"""The characters besides the ASCII letters that patterns without case take for one: ſ, ı, İ, K."""
_FOLDED_BYTES: Final = tuple((char.encode(), letter.encode()) for char, letter in _FOLDED)


def fold(text: str) -> str:
    """Return text of the same length in which needles are found whatever their case."""
    if not text.isascii():
        for char, letter in _FOLDED:
            text = text.replace(char, letter)
    return text.lower()


def fold_bytes(data: bytes) -> bytes:
    """Return UTF-8 text in which needles are found whatever their case; its length may differ."""
    if not data.isascii():
        for char, letter in _FOLDED_BYTES:
            data = data.replace(char, letter)
    return data.lower()


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret."""
    return _is_secret(name) if len(name) <= NAME_LIMIT else _is_secret.__wrapped__(name)


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Remember short names: the same few hundred appear in most messages."""
    return _SECRET_NAME.search(name) is not None and _HARMLESS_NAME.search(name) is None


def _is_secret_parameter(name: str) -> bool:
    return is_secret_name(name) or name.lower() in _IN_QUERIES


class Rule(Protocol):
    """Hides one kind of secret.

    Attributes:
        needles: every match contains one of these.
    """

    needles: tuple[str, ...]

    def hide(self, text: str, starts: Sequence[int]) -> str:
        """Return ``text`` without secrets of this kind; its needles start at ``starts``, in ascending order."""


@dataclass(frozen=True, slots=True)
class _Form(Rule):
    """Something that begins with a needle, and is recognized by its form."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str = HIDDEN

    def hide(self, text: str, starts: Sequence[int]) -> str:
        parts, at = [], 0
        for start in starts:
            if start < at or (match := self.pattern.match(text, start)) is None:
                continue
            parts += [text[at:start], match.expand(self.replacement)]
            at = match.end()
        return "".join([*parts, text[at:]]) if parts else text


class _Named(Rule):
    """The value after a secret name that contains a needle. The value of a harmless name is searched as well.

    Args:
        before: pattern of what stands before a name, at most two characters.
        name: pattern of a name's first character, and of each further one.
        after: pattern of what separates it from its value.
        value: pattern of the value.
        is_secret: whether a name is secret.
        sign: a literal that ``before`` always contains.
    """

    def __init__(
        self,
        needles: tuple[str, ...],
        before: str,
        name: tuple[str, str],
        after: str,
        value: str,
        *,
        is_secret: Callable[[str], bool] = is_secret_name,
        sign: str = "",
    ) -> None:
        self.needles = needles
        self._is_secret = is_secret
        self._sign = sign
        first, further = name
        self._name = re.compile(rf"{before}({first}{further}{{0,{NAME_LIMIT - 1}}}+){after}")
        self._rest = re.compile(rf"{further}{{0,{NAME_LIMIT}}}+{after}")
        """What must follow the start of a needle; most are followed by something else."""
        self._value = re.compile(value)

    def hide(self, text: str, starts: Sequence[int]) -> str:
        parts, at, searched = [], 0, 0
        for start in starts:
            if start < searched or self._rest.match(text, start) is None:
                continue
            if (name := self._name_around(text, start, searched)) is None:
                searched = start + 1
                continue
            searched = name.end()
            if not self._is_secret(name[1]):
                continue
            if (value := self._value.match(text, searched)) is None:
                continue
            begin = value[0].lstrip("\\")
            quote = begin[0] if begin[:1] in ('"', "'") else ""
            parts += [text[at:searched], quote, HIDDEN]
            at = searched = value.end()
        return "".join([*parts, text[at:]]) if parts else text

    def _name_around(self, text: str, start: int, searched: int) -> re.Match[str] | None:
        """Return the name that contains the character at ``start``, if there is one after ``searched``."""
        begin, end = max(searched, start - NAME_LIMIT - 1), start + REACH
        if text.find(self._sign, begin, start) < 0:
            return None
        while (name := self._name.search(text, begin, end)) is not None and name.end(1) <= start:
            begin = name.end()
        return name if name is not None and name.start(1) <= start else None


_NOT_HIDDEN: Final = rf"(?!{HIDDEN}(?![^\s\"',;}}&)]))"
"""Not the whole of a value that an earlier rule has hidden."""
_QUOTED_OR_WORDS: Final = _NOT_HIDDEN + (
    r"(?:\\{0,3}\"(?!,[ \t]|\)?[ \t]*(?:\n|$))[^\"\n]*|\\{0,3}'(?!,[ \t]|\)?[ \t]*(?:\n|$))[^'\n]*"
    r"|[^\s\"',;}&)]+(?:[ \t]{1,4}[^\s\"',;}&)=:]+(?![^\s\"',;}&)]))?)"
)
"""A quoted string, or one or two words. A quote that ends a string, as in ``print("token:", x)``, begins no value."""
_QUOTED_OR_WORD: Final = _NOT_HIDDEN + r"(?:\\{0,3}\"[^\"\n]*|\\{0,3}'[^'\n]*|[^\s\"',;})]+)"

RULES: Final[tuple[Rule, ...]] = (
    _Form(
        ("-----begin",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
    ),
    _Form(("://",), re.compile(r"://[^/?#\s\"']{1,300}@"), f"://{HIDDEN}@"),
    _Form(("digest",), re.compile(r"(?i)\bdigest[ \t]+\w+=[^\n]+")),
    _Form(  # the whole line
        ("auth", "cookie"),
        re.compile(
            r"(?i)(?:(?<![\w-])|(?<=proxy-)(?<![\w-]proxy-)|(?<=set-)(?<![\w-]set-))"
            r"(authorization|cookie)([ \t]{0,4}:)[^\n\"]+"
        ),
        rf"\1\2 {HIDDEN}",
    ),
    _Named(
        (*NAMES, "ticket", "code", "sig"),
        "[?&;]",
        (r"[^=&#?;\s]", r"[^=&#?;\s]"),
        "=",
        r"[^&#\s\"']+",
        is_secret=_is_secret_parameter,
    ),
    _Form(
        FORMS,
        re.compile(
            r"(?<![A-Za-z0-9])(?:sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|AKIA|AIza|eyJ|mcpws_)[\w.-]{8,}"
        ),
    ),
    _Form(
        ("bearer", "token", "basic"),
        re.compile(
            r"(?i)\b(bearer|token|basic)\s{1,8}(?=[A-Za-z._~-]{0,200}+[0-9+/=]|[A-Za-z._~-]{20})[A-Za-z0-9._~+/=-]{8,}"
        ),
        rf"\1 {HIDDEN}",
    ),
    _Named(  # a command line option: the value is the next word, or the next string of a list
        NAMES,
        r"(?<![\w-])--?",
        ("[A-Za-z]", r"[\w.-]"),
        r"(?:[ \t]{1,4}|\\{0,3}[\"'],[ \t]{0,4}(?=\\{0,3}[\"']))(?!--)",
        _QUOTED_OR_WORD,
        sign="-",
    ),
    _Named(
        NAMES,
        r"(?<!\w)",
        ("[A-Za-z_]", r"[\w.-]"),
        r"\\{0,3}+[\"']?+[ \t]{0,4}+(?::(?!//)|=)[ \t]{0,4}+",
        _QUOTED_OR_WORDS,
    ),
)
"""Applied in this order."""
NEEDLES: Final = tuple(dict.fromkeys(needle for rule in RULES for needle in rule.needles))
"""In lower case."""

_find: Final = finder_of_all(NEEDLES)
_WANTED: Final = [(rule, frozenset(map(NEEDLES.index, rule.needles))) for rule in RULES]


def hide_secrets(text: str) -> str:
    """Return ``text`` with everything replaced that a rule takes for a secret."""
    found = _find(fold(text))
    if not found:
        return text
    present = {needle for needle, _, _ in found}
    for rule, wanted in _WANTED:
        if wanted.isdisjoint(present):
            continue
        starts = [start for needle, start, _ in found if needle in wanted]
        if (clean := rule.hide(text, starts)) != text:
            text, found = clean, _find(fold(clean))
    return text
