"""The filter language: from a line of text to a test over the columns of a store.

====================  =====================================================================================
term                  matches
====================  =====================================================================================
``tool:run*``         rows whose tool, prompt or resource matches; ``*`` and ``?`` as in file names
``method: server:``   likewise
``session:9f3a``      sessions whose id begins so
``kind:request``      ``request response error notification malformed noise event gap``
``status:failed``     ``pending ok failed error cancelled lost input unknown``
``dir:server``        messages toward the ``server`` or the ``client``
``leg:client``        messages on the ``client``'s or the ``upstream``'s leg
``lat:>500``          milliseconds from request to answer; ``> >= < <= =``
``size:>10k``         bytes; ``k`` and ``m`` mean 1024 and 1048576
``id:7  id:"7"``      the id as JSON, with its type
``since:10m``         rows of the last ``s``, ``m``, ``h``; or ``since:21:05``
``is:marked``         ``marked problem truncated linked``
``~regex``            a regular expression in the text of the message
``word  "two words"`` that text, exactly
====================  =====================================================================================

Terms side by side must all match; ``|`` is or, ``!`` not, ``( )`` group, ``&`` may be written. Each test is
computed for all rows at once, as a byte per row: a million rows take some tens of milliseconds.
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

import regex

from mcp_ws_ide.inspector.model.records import CLIENT_LEG, TO_SERVER, Kind, Lane, Status
from mcp_ws_ide.inspector.model.store import MARKED, NONE, PROBLEM, TRUNCATED, Names, Store

Test = Callable[[Store, int, int], bytes | bytearray]
"""For the rows from … to, a byte each: 1 where it matches, else 0."""

MAX_FILTER: Final = 2000
"""Characters of a filter."""
MAX_DEPTH: Final = 50
"""Brackets and ``!`` within each other."""
REGEX_TIME: Final = 1.0
"""Seconds of a regular expression for one look at the store, in which the screen stands still."""
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NEGATE: Final = bytes([1, 0]) + bytes(254)
FLAGS: Final = {"marked": MARKED, "problem": PROBLEM, "truncated": TRUNCATED}
TOWARD: Final = {"server": TO_SERVER, "client": frozenset({Lane.UPSTREAM_IN, Lane.CLIENT_OUT})}
LEGS: Final = {"client": CLIENT_LEG, "upstream": frozenset({Lane.UPSTREAM_IN, Lane.UPSTREAM_OUT})}
_TOKEN: Final = re.compile(r'\s*(?:([()&|!])|(~)|([a-z]+):|("))')
_WORD: Final = re.compile(r'[^\s()&|"]+')
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPARISON: Final = re.compile(r"(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([a-z]*)")


class FilterError(ValueError):
    """The filter cannot be read. ``position`` is the index of the character at fault."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


class FilterTooSlow(Exception):
    """A regular expression of the filter takes longer than :data:`REGEX_TIME` on what it is asked about."""


class _Limited:
    """A regular expression that gives up after :data:`REGEX_TIME`, over all texts of one test."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern
        self._end = time.monotonic() + REGEX_TIME

    def search(self, data: bytes | mmap.mmap, start: int, end: int) -> Any:
        """As :meth:`re.Pattern.search`.

        Raises:
            FilterTooSlow: the time is over.
        """
        left = self._end - time.monotonic()
        try:
            if left > 0:
                return self._pattern.search(data, start, end, timeout=left)
        except TimeoutError:
            pass
        raise FilterTooSlow(f"the regular expression took more than {REGEX_TIME:g} s; write a simpler one")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was understood.

    Attributes:
        text: as it was written.
        changing: whether a row may begin or cease to match after it was stored (status, latency, marks).
        keys: the keys it asks for, such as ``tool``.
        required: keys with their values that every row must match, whatever else is asked for.
    """

    text: str
    changing: bool
    _test: Test
    keys: frozenset[str] = frozenset()
    required: tuple[tuple[str, str], ...] = ()

    def rows(self, store: Store, start: int | None = None, end: int | None = None) -> array[int]:
        """The rows of ``start`` … ``end`` (default: all that are held) that match, in order."""
        low = store.first if start is None else max(start, store.first)
        high = store.end if end is None else min(end, store.end)
        if low >= high:
            return array("Q")
        return array("Q", compress(range(low, high), self._test(store, low, high)))

    def matches(self, store: Store, row: int) -> bool:
        """Whether one row matches."""
        return store.holds(row) and bool(self._test(store, row, row + 1)[0])


def parse(text: str) -> Filter:
    """Understand a filter; the empty one matches everything.

    Raises:
        FilterError: with the position of the mistake.
    """
    if len(text) > MAX_FILTER:
        raise FilterError(f"a filter has at most {MAX_FILTER} characters", MAX_FILTER)
    parser = _Parser(text)
    if not text.strip():
        return Filter(text, False, _everything)
    test = parser.either(0)
    parser.blanks()
    if parser.position < len(text):
        raise FilterError("this ')' closes nothing", parser.position)
    return Filter(text, parser.changing, test, frozenset(parser.keys), tuple(parser.required))


class _Parser:
    """Recursive descent: either := all ('|' all)*, all := not+, not := '!' not | '(' either ')' | term."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.changing = False
        self.keys: set[str] = set()
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
            raise FilterError("too many brackets within each other", start)
        if character == "!":
            self.position += 1
            before = len(self.required)
            negation = _negation(self._not(depth + 1))
            del self.required[before:]
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
        found = _TOKEN.match(self.text, self.position)
        if found and found[2]:
            self.position += 1
            return self._regex()
        if found and found[3]:
            return self._keyed(found[3])
        return _text_test(self._value())

    def _keyed(self, key: str) -> Test:
        start = self.position
        if key not in KEYS:
            raise FilterError(f"there is no {key!r}; known are {', '.join(sorted(KEYS))}", start)
        self.position += len(key) + 1
        self.keys.add(key)
        at = self.position
        if key == "id":
            return self._id(at)
        value = self._value()
        if not value:
            raise FilterError(f"{key}: wants a value", at)
        self.changing = self.changing or key in CHANGING
        self.required.append((key, value))
        try:
            return KEYS[key](value)
        except ValueError as error:
            raise FilterError(str(error), at) from None

    def _id(self, at: int) -> Test:
        found = _STRING.match(self.text, at) or _WORD.match(self.text, at)
        if found is None:
            raise FilterError('id: wants a number, or a string in quotes: id:7 or id:"7"', at)
        self.position = found.end()
        return _id_test(found[0] if found[0][0] == '"' or _is_number(found[0]) else json.dumps(found[0]))

    def _value(self) -> str:
        if self.text[self.position : self.position + 1] == '"':
            return self._quoted()
        found = _WORD.match(self.text, self.position)
        if found is None:
            return ""
        self.position = found.end()
        return found[0]

    def _quoted(self) -> str:
        found = _STRING.match(self.text, self.position)
        if found is None:
            raise FilterError("this quote is not closed", self.position)
        self.position = found.end()
        return re.sub(r"\\(.)", r"\1", found[0][1:-1])

    def _regex(self) -> Test:
        at = self.position
        if self.text[at : at + 1] == '"':
            # Within quotes only \" is an escape: the rest belongs to the expression.
            found = _STRING.match(self.text, at)
            if found is None:
                raise FilterError("this quote is not closed", at)
            source, at = found[0][1:-1].replace('\\"', '"'), at + 1
            self.position = found.end()
        else:
            end = re.compile(r"\s|$").search(self.text, at)
            source = self.text[at : end.start() if end else None]
            self.position += len(source)
        if not source:
            raise FilterError("~ wants a regular expression", at)
        try:
            re.compile(source.encode())  # it points at a mistake more exactly
            pattern = regex.compile(source.encode(), regex.MULTILINE)
        except (re.error, regex.error) as error:
            raise FilterError(f"regular expression: {error.msg}", at + (error.pos or 0)) from None
        return lambda store, start, end: store.matching(_Limited(pattern), start, end)


def literal(value: str) -> str:
    """A value of the filter language that means itself."""
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in value)
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def both(one: Filter, other: Filter) -> Filter:
    """What matches two filters."""
    text = " ".join(filter(None, (one.text, other.text)))
    return Filter(text, one.changing or other.changing, _and([one._test, other._test]))


def folded() -> Filter:
    """One row per operation: no answers whose request is known, nothing twice that passed both legs."""

    def test(store: Store, start: int, end: int) -> bytes:
        answers = _code_test("kind", frozenset({Kind.RESPONSE, Kind.ERROR}))(store, start, end)
        upstream = _code_test("lane", LEGS["upstream"])(store, start, end)
        paired, twinned = _set(store, store.pair, start, end), _set(store, store.twin, start, end)
        rows = zip(answers, paired, upstream, twinned, strict=True)
        return bytes([not ((answer and pair) or (leg and twin)) for answer, pair, leg, twin in rows])

    return Filter("", True, test)


def of_session(session: str) -> Filter:
    """What belongs to one session, also on the leg of a shared server where the twin says so."""

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
    """Whether the name in a column matches; each name is looked at once, not once per row."""

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


def _prefix(value: str) -> Test:
    return _NameTest("session", re.compile(re.escape(value).replace(r"\*", ".*")), "sessions")


def _word(words: Mapping[str, frozenset[int]], column: str) -> Callable[[str], Test]:
    def make(value: str) -> Test:
        codes = [codes for word, codes in words.items() if word.startswith(value.lower())]
        if not codes:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return _code_test(column, frozenset[int]().union(*codes))

    return make


def _is(value: str) -> Test:
    if value == "linked":
        return lambda store, start, end: _set(store, store.parent, start, end)
    if value not in FLAGS:
        raise ValueError(f"{value!r} is none of linked, {', '.join(FLAGS)}")
    return _flag_test(FLAGS[value])


def _set(store: Store, column: array[int], start: int, end: int) -> bytes:
    """Which rows have a row in a column of rows."""
    return bytes([other != NONE for other in _slice(store, column, start, end)])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text) is not None


def _id_test(identifier: str) -> Test:
    raw = identifier.encode()
    digest = zlib.crc32(raw)

    def test(store: Store, start: int, end: int) -> bytearray:
        column = _slice(store, store.id_hash, start, end)
        found = bytearray(map(digest.__eq__, column))
        position = found.find(1)
        while position >= 0:  # the hash narrows, the text decides
            found[position] = store.body(start + position).id == identifier
            position = found.find(1, position + 1)
        return found

    return test


def _comparison(value: str, units: dict[str, int]) -> tuple[str, float]:
    found = _COMPARISON.fullmatch(value.lower())
    if found is None or found[3] not in units:
        raise ValueError(f"{value!r} is no comparison; write >500, <=20 or =3")
    return found[1] or "=", float(found[2]) * units[found[3]]


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
    if found := re.fullmatch(r"(\d+)([smhd])", value):
        limit = time.time() - int(found[1]) * SECONDS[found[2]]
    else:
        try:
            clock = datetime.strptime(value, "%H:%M:%S" if value.count(":") == 2 else "%H:%M").time()
        except ValueError:
            raise ValueError(f"{value!r} is no time; write 30s, 10m, 2h or 21:05") from None
        limit = datetime.combine(datetime.now().date(), clock).timestamp()
    return _number_test("time", ">=", limit)


KEYS: Final[dict[str, Callable[[str], Test]]] = {
    "method": _glob("method"),
    "tool": _glob("target"),
    "server": _glob("server"),
    "session": _prefix,
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
"""Keys of columns that an answer or a key press may still change."""
