"""Search and repair text that is almost JSON. Pure.

The text may be cut or broken anywhere. Only what can have one meaning is repaired, only after the parser has refused
the text, and in time linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.core.messages import offset_of

MAX_TOKENS: Final = 200_000
"""Tokens that one search reads at most, which takes about 50 ms."""
MAX_PATH: Final = 200
"""Longest path, in characters."""

_STRING: Final = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
"""A string; one that is cut off extends to the end."""
_TOKEN: Final = re.compile(_STRING + rb'|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
_NON_FINITE: Final = rb"-?(?:NaN|nan|[Ii]nfinity|[Ii]nf)\b"
"""NaN and the infinities, as Python, JavaScript and C write them."""
_ANY_NON_FINITE: Final = re.compile(_NON_FINITE)
_STRING_OR_NON_FINITE: Final = re.compile(_STRING + rb"|(" + _NON_FINITE + rb")", re.DOTALL)
_WITH_CONTROLS: Final = re.compile(_STRING, re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_QUOTED: Final = re.compile(rb"([\"'])(.*)\1", re.DOTALL)
_NUMBER: Final = re.compile(rb"-?\d[\d.eE+-]*")
_BLANKS: Final = re.compile(rb"[ \t\r\n\x00]*+")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][\w$-]*")

_decode_raw = msgspec.json.Decoder(Raw).decode


class Top(msgspec.Struct):
    """The members of a text that is meant to be an object, as far as they can be determined.

    Attributes:
        names: their names, without quotes.
        ids: the values of ``id`` that are strings or numbers, as JSON, each once.
        ids_end: where the last of them ends.
    """

    names: set[bytes]
    ids: list[bytes]
    ids_end: int = 0


def end_of_value(text: bytes, start: int = 0) -> int:
    """Return where the JSON value at ``start`` ends, with the blanks after it. Copies nothing.

    Raises:
        msgspec.DecodeError, RecursionError: there is none; an offset in the error counts from ``start``.
    """
    try:
        _decode_raw(memoryview(text)[start:])
    except msgspec.DecodeError as error:
        at = offset_of(error)
        if at is None or "trailing characters" not in str(error):
            raise
        return start + at - 1  # it names the byte after the first of them
    return len(text)


def is_whole(text: bytes) -> bool:
    """Return whether ``text`` is one JSON value."""
    try:
        return not text[end_of_value(text) :].strip()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def after_blanks(text: bytes, start: int) -> int:
    """Return where something other than blanks and NUL begins, from ``start`` on; the length for nowhere."""
    return _BLANKS.match(text, start).end()  # type: ignore[union-attr]  # it also matches nothing


def top_of(text: bytes) -> Top:
    """Return what can be determined about the members of an object that may be cut or broken."""
    top = Top(set(), [])
    depth, name, expects_name, has_value = 0, b"", False, False
    for match in islice(_TOKEN.finditer(text), MAX_TOKENS):
        token = match[0]
        if token in b"{[":
            depth += 1
            expects_name = depth == 1
        elif token in b"}]":
            depth -= 1
        elif depth != 1:
            continue
        elif token == b",":
            expects_name, has_value = True, False
        elif token == b":":
            has_value = True
        elif expects_name:
            name, expects_name = token.strip(b"\"'"), False
            top.names.add(name)
        elif has_value and name == b"id" and match.end() < len(text):  # at the end it may be cut
            raw_id = _id_of(token)
            if raw_id and raw_id not in top.ids:
                top.ids.append(raw_id)
                top.ids_end = match.end()
    return top


def _id_of(token: bytes) -> bytes:
    """Return a string, in whichever quotes, or a number as JSON; ``b""`` for anything else."""
    quoted = _QUOTED.fullmatch(token)
    if quoted is not None:
        return b'"%b"' % quoted[2]
    return token if _NUMBER.fullmatch(token) else b""


def path_at(text: bytes, offset: int) -> str:
    """Return the JSON path of the value at ``offset``, such as ``result.rows[1].price``; ``""`` for none."""
    steps: list[str | int] = []
    last = b""
    for match in islice(_TOKEN.finditer(text, 0, offset), MAX_TOKENS):
        token = match[0]
        if token == b"{":
            steps.append("")
        elif token == b"[":
            steps.append(0)
        elif token in b"}]":
            del steps[-1:]
        elif token == b"," and steps and isinstance(steps[-1], int):
            steps[-1] += 1
        elif token == b":" and steps and isinstance(steps[-1], str):
            steps[-1] = _name_of(last)
        last = token
    return _joined(steps)


def _name_of(token: bytes) -> str:
    return token.strip(b'"').decode(errors="replace")


def _joined(steps: list[str | int]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            path += f".{step}" if path else step
        elif step:
            path += f"[{step!r}]"
    return path if len(path) <= MAX_PATH else f"{path[:MAX_PATH]}…"


def without_non_finite(text: bytes) -> tuple[bytes, list[int]]:
    """Return ``text`` with ``null`` for each NaN and each infinity outside strings, and where these were."""
    if _ANY_NON_FINITE.search(text) is None:  # a tenth of the cost
        return text, []
    places = []

    def finite(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            return match[0]
        places.append(match.start())
        return b"null"

    return _STRING_OR_NON_FINITE.sub(finite, text), places


def has_controls(text: bytes) -> bool:
    """Return whether there are control characters, in strings or between tokens."""
    return _CONTROL.search(text) is not None


def without_controls(text: bytes) -> tuple[bytes, list[int]]:
    """Return ``text`` with raw control characters in strings as escapes, and where the strings with such begin."""
    places = []

    def escaped(match: re.Match[bytes]) -> bytes:
        string = match[0]
        if _CONTROL.search(string) is None:
            return string
        places.append(match.start())
        return _CONTROL.sub(lambda control: b"\\u%04x" % control[0][0], string)

    return _WITH_CONTROLS.sub(escaped, text), places


def items_of(text: bytes, limit: int) -> Iterator[bytes]:
    """Yield the items of an array, which may be cut or broken in one of them; at most ``limit``."""
    return islice(_whole_items(text) if is_whole(text) else _pieces_of(text), limit)


def _whole_items(text: bytes) -> Iterator[bytes]:
    at = after_blanks(text, 1)
    while text[at : at + 1] != b"]":
        end = end_of_value(text, at)
        yield text[at:end].rstrip()
        at = after_blanks(text, end + 1) if text[end : end + 1] == b"," else end


def _pieces_of(text: bytes) -> Iterator[bytes]:
    """Yield what stands between the commas of an array, judged by brackets and quotes alone."""
    depth, start, end = 0, 1, len(text)
    for match in islice(_TOKEN.finditer(text), MAX_TOKENS):
        token = match[0]
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if not depth:
                end = match.start()
                break
        elif token == b"," and depth == 1:
            yield text[start : match.start()].strip()
            start = match.end()
    yield text[start:end].strip()
