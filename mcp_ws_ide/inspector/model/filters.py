"""The filter language: parses text into a test over the columns of a store.

====================  =====================================================================================
term                  matches
====================  =====================================================================================
``tool:run*``         rows whose tool, prompt or resource matches; ``*`` and ``?`` as in file names
``method: server:``   likewise
``session:9f3a``      sessions whose id begins with this
``gateway:9f3a``      records of the gateways whose id begins with this, if several share an engine
``kind:request``      ``request response error notification malformed noise event gap``
``status:failed``     ``pending ok failed error cancelled lost input unknown``
``dir:server``        messages toward the ``server`` or the ``client``
``leg:client``        messages on the ``client`` leg or on the server leg, ``upstream``
``lat:>500``          milliseconds from request to response; ``> >= < <= =``
``size:>10k``         bytes; ``k`` and ``m`` mean 1024 and 1048576
``id:7  id:"7"``      the id as JSON, with its type
``since:10m``         rows of the last ``s``, ``m``, ``h``; or ``since:21:05``
``is:marked``         ``marked problem truncated linked``
``~regex``            a regular expression in the text of the message
``word  "two words"`` exactly this text
====================  =====================================================================================

Adjacent terms must all match; ``|`` is or, ``!`` is not, ``( )`` groups, ``&`` is optional. Each test is computed for
all rows at once, with a byte per row: a million rows take some tens of milliseconds. tests/vectors/filters.json holds
cases for this implementation and the page's.
"""

from __future__ import annotations

import json
import mmap
import re
import time
import zlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate
from itertools import compress
from typing import Any, Final

from mcp_ws_ide.inspector.model.records import CLIENT_LEG, TO_SERVER, UPSTREAM_LEG, Kind, Lane, Status
from mcp_ws_ide.inspector.model.store import MARKED, NONE, PROBLEM, TRUNCATED, Names, Store, Texts

Test = Callable[[Store, int, int], bytes | bytearray]
"""Returns a byte for each row from … to: 1 if it matches, else 0."""

MAX_FILTER: Final = 2000
"""Longest filter, in characters."""
MAX_DEPTH: Final = 50
"""Deepest nesting of parentheses and ``!``."""
REGEX_TIME: Final = 1.0
"""Seconds that a regular expression may take for the texts that are tested at a time."""
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NEGATE: Final = bytes([1, 0]) + bytes(254)
FLAGS: Final = {"marked": MARKED, "problem": PROBLEM, "truncated": TRUNCATED}
TOWARD: Final = {"server": TO_SERVER, "client": frozenset({Lane.UPSTREAM_IN, Lane.CLIENT_OUT})}
LEGS: Final = {"client": CLIENT_LEG, "upstream": UPSTREAM_LEG}
_TOKEN: Final = re.compile(r'\s*(?:([()&|!])|(~)|([a-z]+):|("))')
_WORD: Final = re.compile(r'[^\s()&|"]+')
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPARISON: Final = re.compile(r"(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([a-z]*)")


class FilterError(ValueError):
    """The filter is invalid. ``position`` is the index of the offending character."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


class FilterTooSlowError(Exception):
    """A regular expression of the filter takes longer than :data:`REGEX_TIME`."""


class _Limited:
    """A regular expression that gives up after :data:`REGEX_TIME`, for all texts of one test."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern
        self._end = time.monotonic() + REGEX_TIME

    def search(self, data: bytes | mmap.mmap, start: int, end: int) -> Any:
        """As :meth:`re.Pattern.search`.

        Raises:
            FilterTooSlowError: the time is used up.
        """
        left = self._end - time.monotonic()
        try:
            if left > 0:
                return self._pattern.search(data, start, end, timeout=left)
        except TimeoutError:
            pass
        raise FilterTooSlowError(f"the regular expression took more than {REGEX_TIME:g} s; use a simpler one")


class RegexTest:
    """Tests texts with a regular expression; what :meth:`prepare` has matched elsewhere is not matched again."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern
        self._known: tuple[int, int, bytes | bytearray] = (0, 0, b"")

    def __call__(self, store: Store, start: int, end: int) -> bytes | bytearray:
        low, high, matches = self._known
        if low <= start and end <= high:
            return matches[start - low : end - low]
        return store.matching(_Limited(self._pattern), start, end)

    def prepare(self, texts: Texts) -> None:
        """Match the texts of some rows; may run in a thread, which holds up no other while it matches.

        Raises:
            FilterTooSlowError: it takes longer than :data:`REGEX_TIME`.
        """
        self._known = texts.start, texts.end, texts.matching(_Limited(self._pattern))


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter.

    Attributes:
        text: as it was written.
        changing: whether a stored row may start or stop matching later (status, latency, marks).
        keys: the keys used in it, such as ``tool``.
        required: pairs of key and value that every matching row must satisfy.
        in_text: whether it looks at the text of messages, of which a truncated one lacks the rest.
        searches: its regular expressions.
        marks: what it looks for in texts, as regular expressions to highlight.
    """

    text: str
    changing: bool
    _test: Test
    keys: frozenset[str] = frozenset()
    required: tuple[tuple[str, str], ...] = ()
    in_text: bool = False
    searches: tuple[RegexTest, ...] = ()
    marks: tuple[str, ...] = ()

    def rows(self, store: Store, start: int | None = None, end: int | None = None) -> array[int]:
        """Return the matching rows of ``start`` … ``end`` (default: all held rows), in order."""
        low = store.first if start is None else max(start, store.first)
        high = store.end if end is None else min(end, store.end)
        if low >= high:
            return array("Q")
        return array("Q", compress(range(low, high), self._test(store, low, high)))

    def matches(self, store: Store, row: int) -> bool:
        """Return whether one row matches."""
        return store.holds(row) and bool(self._test(store, row, row + 1)[0])


def parse(text: str) -> Filter:
    """Parse a filter; an empty one matches everything.

    Raises:
        FilterError: the filter is invalid; has the position of the error.
    """
    if len(text) > MAX_FILTER:
        raise FilterError(f"a filter has at most {MAX_FILTER} characters", MAX_FILTER)
    parser = _Parser(text)
    if not text.strip():
        return Filter(text, False, _everything)
    test = parser.either(0)
    parser.blanks()
    if parser.position < len(text):
        raise FilterError("this ')' has no matching '('", parser.position)
    return Filter(
        text,
        parser.changing,
        test,
        frozenset(parser.keys),
        tuple(parser.required),
        parser.in_text,
        tuple(parser.searches),
        tuple(parser.marks),
    )


class _Parser:
    """Recursive descent: either := all ('|' all)*, all := not+, not := '!' not | '(' either ')' | term."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.changing = False
        self.keys: set[str] = set()
        self.in_text = False
        self.searches: list[RegexTest] = []
        self.marks: list[str] = []
        self.required: list[tuple[str, str]] = []

    def blanks(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def _next(self) -> str:
        self.blanks()
        return self.text[self.position : self.position + 1]

    def either(self, depth: int) -> Test:
        before = len(self.required)
        tests = [self._all(depth)]
        while self._next() == "|":
            self.position += 1
            tests.append(self._all(depth))
            del self.required[before:]
        return tests[0] if len(tests) == 1 else _or(tests)

    def _all(self, depth: int) -> Test:
        tests = [self._not(depth)]
        while (character := self._next()) and character not in "|)":
            if character == "&":
                self.position += 1
            tests.append(self._not(depth))
        return tests[0] if len(tests) == 1 else _and(tests)

    def _not(self, depth: int) -> Test:
        character, start = self._next(), self.position
        if depth > MAX_DEPTH:
            raise FilterError("parentheses are nested too deeply", start)
        if character == "!":
            self.position += 1
            before, marks = len(self.required), len(self.marks)
            negation = _negation(self._not(depth + 1))
            del self.required[before:], self.marks[marks:]
            return negation
        if character == "(":
            return self._group(start, depth)
        if not character or character in ")|&":
            raise FilterError("a term is missing here", start)
        return self._term()

    def _group(self, start: int, depth: int) -> Test:
        self.position += 1
        test = self.either(depth + 1)
        if self._next() != ")":
            raise FilterError("this '(' is not closed", start)
        self.position += 1
        return test

    def _term(self) -> Test:
        match = _TOKEN.match(self.text, self.position)
        if match and match[2]:
            self.position += 1
            self.in_text = True
            return self._regex()
        if match and match[3]:
            return self._keyed(match[3])
        self.in_text = True
        word = self._value()
        self.marks.append(re.escape(word))
        return _text_test(word)

    def _keyed(self, key: str) -> Test:
        start = self.position
        if key not in KEYS:
            raise FilterError(f"unknown key {key!r}; known keys: {', '.join(sorted(KEYS))}", start)
        self.position += len(key) + 1
        self.keys.add(key)
        at = self.position
        if key == "id":
            return self._id(at)
        value = self._value()
        if not value:
            raise FilterError(f"{key}: needs a value", at)
        self.changing = self.changing or key in CHANGING
        self.required.append((key, value))
        try:
            return KEYS[key](value)
        except ValueError as error:
            raise FilterError(str(error), at) from None

    def _id(self, at: int) -> Test:
        match = _STRING.match(self.text, at) or _WORD.match(self.text, at)
        if match is None:
            raise FilterError('id: needs a number, or a string in quotes: id:7 or id:"7"', at)
        self.position = match.end()
        return _id_test(match[0] if match[0][0] == '"' or _is_number(match[0]) else json.dumps(match[0]))

    def _value(self) -> str:
        if self.text[self.position : self.position + 1] == '"':
            return self._quoted()
        match = _WORD.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _quoted(self) -> str:
        match = _STRING.match(self.text, self.position)
        if match is None:
            raise FilterError("this quote is not closed", self.position)
        self.position = match.end()
        return re.sub(r"\\(.)", r"\1", match[0][1:-1])

    def _regex(self) -> Test:
        at = self.position
        if self.text[at : at + 1] == '"':
            # Inside quotes, only \" is an escape: the rest belongs to the expression.
            match = _STRING.match(self.text, at)
            if match is None:
                raise FilterError("this quote is not closed", at)
            source, at = match[0][1:-1].replace('\\"', '"'), at + 1
            self.position = match.end()
        else:
            end = re.compile(r"\s|$").search(self.text, at)
            source = self.text[at : end.start() if end else None]
            self.position += len(source)
        if not source:
            raise FilterError("~ needs a regular expression", at)
        import regex  # here, because it takes time to load and few filters have an expression

        try:
            re.compile(source.encode())  # its error has a more exact position
            pattern = regex.compile(source.encode(), regex.MULTILINE)
        except (re.error, regex.error) as error:
            raise FilterError(f"invalid regular expression: {error.msg}", at + (error.pos or 0)) from None
        self.searches.append(RegexTest(pattern))
        self.marks.append(source)
        return self.searches[-1]


def literal(value: str) -> str:
    """Quote a value so that it has no special meaning in the filter language."""
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in value)
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def both(one: Filter, other: Filter) -> Filter:
    """Return a filter for what matches both filters."""
    text = " ".join(filter(None, (one.text, other.text)))
    test = _and([one._test, other._test])
    searches = one.searches + other.searches
    return Filter(
        text,
        one.changing or other.changing,
        test,
        in_text=one.in_text or other.in_text,
        searches=searches,
        marks=one.marks + other.marks,
    )


def truncated(store: Store) -> int:
    """Return how many of the held messages are truncated."""
    return _flag_test(TRUNCATED)(store, store.first, store.end).count(1)


def of_session(session: str) -> Filter:
    """Return a filter for the rows of one session, including those of a shared server that have a twin in it."""

    def test(store: Store, start: int, end: int) -> bytes:
        number = store.sessions.number(session)
        owners, first = store.session, store.first
        return bytes(
            owner == number
            or (not owner and twin != NONE and twin >= first and owners[twin - first] == number)
            for owner, twin in zip(
                _slice(store, owners, start, end), _slice(store, store.twin, start, end), strict=True
            )
        )

    return Filter("", True, test)


# --- tests ---------------------------------------------------------------------------------------


def _everything(store: Store, start: int, end: int) -> bytes:
    return b"\x01" * (end - start)


def _and(tests: list[Test]) -> Test:
    def test(store: Store, start: int, end: int) -> bytes:
        number = int.from_bytes(tests[0](store, start, end), "little")
        for other in tests[1:]:
            number &= int.from_bytes(other(store, start, end), "little")
        return number.to_bytes(end - start, "little")

    return test


def _or(tests: list[Test]) -> Test:
    def test(store: Store, start: int, end: int) -> bytes:
        number = 0
        for other in tests:
            number |= int.from_bytes(other(store, start, end), "little")
        return number.to_bytes(end - start, "little")

    return test


def _negation(inner: Test) -> Test:
    return lambda store, start, end: bytes(inner(store, start, end)).translate(NEGATE)


def _text_test(text: str) -> Test:
    pattern = re.compile(re.escape(text.encode(errors="replace")))
    return lambda store, start, end: store.matching(pattern, start, end)


def _slice(store: Store, column: array[Any], start: int, end: int) -> array[Any]:
    if start == store.first and end == store.end:
        return column
    return column[start - store.first : end - store.first]


def _code_test(column: str, codes: frozenset[int]) -> Test:
    table = bytes(code in codes for code in range(256))
    return lambda store, start, end: (
        _slice(store, getattr(store, column), start, end).tobytes().translate(table)
    )


def _flag_test(flag: int) -> Test:
    table = bytes(bool(code & flag) for code in range(256))
    return lambda store, start, end: _slice(store, store.flags, start, end).tobytes().translate(table)


def _numbers(store: Store, column: str, start: int, end: int) -> array[Any]:
    return _slice(store, getattr(store, column), start, end)


class _NameTest:
    """Tests the name in a column; each name is tested once, not once per row."""

    def __init__(self, column: str, pattern: re.Pattern[str], names: str = "names") -> None:
        self._column, self._pattern, self._names = column, pattern, names
        self._known: Names | None = None
        self._table = bytearray()

    def __call__(self, store: Store, start: int, end: int) -> bytes:
        known: Names = getattr(store, self._names)
        if known is not self._known:
            self._known, self._table = known, bytearray()
        for text in known.texts[len(self._table) :]:
            self._table.append(bool(text) and self._pattern.match(text) is not None)
        return bytes(map(self._table.__getitem__, _numbers(store, self._column, start, end)))


def _glob(column: str) -> Callable[[str], Test]:
    return lambda value: _NameTest(column, re.compile(translate(value)))


def _prefix(column: str, names: str = "names") -> Callable[[str], Test]:
    return lambda value: _NameTest(column, re.compile(re.escape(value).replace(r"\*", ".*")), names)


def _word(words: Mapping[str, frozenset[int]], column: str) -> Callable[[str], Test]:
    def make(value: str) -> Test:
        codes = [codes for word, codes in words.items() if word.startswith(value.lower())]
        if not codes:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return _code_test(column, frozenset[int]().union(*codes))

    return make


def _is(value: str) -> Test:
    if value == "linked":
        return lambda store, start, end: _set(store, store.parent, start, end)
    if value not in FLAGS:
        raise ValueError(f"{value!r} is not one of linked, {', '.join(FLAGS)}")
    return _flag_test(FLAGS[value])


def _set(store: Store, column: array[int], start: int, end: int) -> bytes:
    """Return which rows have a row in a column of rows."""
    return bytes([other != NONE for other in _slice(store, column, start, end)])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text) is not None


def _id_test(identifier: str) -> Test:
    raw = identifier.encode()
    digest = zlib.crc32(raw)

    def test(store: Store, start: int, end: int) -> bytearray:
        column = _slice(store, store.id_hash, start, end)
        match = bytearray(map(digest.__eq__, column))
        position = match.find(1)
        while position >= 0:  # the hash narrows the search, the text decides
            match[position] = store.body(start + position).id == identifier
            position = match.find(1, position + 1)
        return match

    return test


def _comparison(value: str, units: dict[str, int]) -> tuple[str, float]:
    match = _COMPARISON.fullmatch(value.lower())
    if match is None or match[3] not in units:
        raise ValueError(f"{value!r} is not a comparison; write for example >500, <=20 or =3")
    return match[1] or "=", float(match[2]) * units[match[3]]


def _number_test(column: str, sign: str, limit: float) -> Test:
    # ``limit < value`` is what ``value > limit`` means: the bound method has the constant on the left.
    compare: Callable[[Any], bool] = {
        ">": limit.__lt__,
        ">=": limit.__le__,
        "<": limit.__gt__,
        "<=": limit.__ge__,
        "=": limit.__eq__,
    }[sign]

    def test(store: Store, start: int, end: int) -> bytes:
        return bytes(map(compare, _numbers(store, column, start, end)))

    return test


def _latency(value: str) -> Test:
    sign, limit = _comparison(value, {"": 1, "ms": 1, "s": 1000})
    test = _number_test("latency", sign, limit)
    return test if sign.startswith(">") or sign == "=" else _and([test, _number_test("latency", ">=", 0.0)])


def _size(value: str) -> Test:
    return _number_test("size", *_comparison(value, UNITS))


def _since(value: str) -> Test:
    if match := re.fullmatch(r"(\d+)([smhd])", value):
        limit = time.time() - int(match[1]) * SECONDS[match[2]]
    else:
        try:
            clock = datetime.strptime(value, "%H:%M:%S" if value.count(":") == 2 else "%H:%M").time()
        except ValueError:
            raise ValueError(f"{value!r} is not a time; write for example 30s, 10m, 2h or 21:05") from None
        limit = datetime.combine(datetime.now().date(), clock).timestamp()
    return _number_test("time", ">=", limit)


KEYS: Final[dict[str, Callable[[str], Test]]] = {
    "method": _glob("method"),
    "tool": _glob("target"),
    "server": _glob("server"),
    "session": _prefix("session", "sessions"),
    "gateway": _prefix("gateway"),
    "kind": _word({kind.name.lower(): frozenset({kind}) for kind in Kind}, "kind"),
    "status": _word({status.name.lower(): frozenset({status}) for status in Status}, "status"),
    "dir": _word(TOWARD, "lane"),
    "leg": _word(LEGS, "lane"),
    "lat": _latency,
    "id": _id_test,
    "since": _since,
    "size": _size,
    "is": _is,
}
CHANGING: Final = frozenset({"status", "lat", "is", "tool", "method"})
"""Keys of columns that a response or the user may still change."""
