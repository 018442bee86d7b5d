"""Find numbers with more digits than Python's parsers read. Pure.

pydantic-core, with which both majors of the MCP SDK parse messages, refuses them as Python's ``int`` does; the SDKs
drop such a response, and its request would wait forever.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DIGITS: Final = 4300
"""Digits before the decimal point that Python reads (``sys.int_info.default_max_str_digits``)."""

_DIGITS: Final = b"0123456789"
_DIGIT: Final = re.compile(rb"[0-9]")
_TO_LONG: Final = re.compile(
    rb'(?:[^"0-9.eE]++|"(?:[^"\\]++|\\.)*+(?:"|\Z)|[.eE][+-]?[0-9]*+|[0-9]{1,%d}+(?![0-9]))*+' % MAX_DIGITS
    + rb"[0-9]{%d}" % (MAX_DIGITS + 1),
    re.DOTALL,
)
"""Everything up to the first long number: strings, fractions and exponents may have any number of digits."""


def long_number_at(text: bytes) -> int:
    """Return where the last digit that is one too many stands in the first number that is too long, or -1 for none.

    Args:
        text: JSON.
    """
    step = MAX_DIGITS + 1
    samples = text[MAX_DIGITS::step]  # so many digits in a row contain one of these bytes
    for sample in _DIGIT.finditer(samples):
        at = MAX_DIGITS + sample.start() * step
        before, after = text[at - MAX_DIGITS : at], text[at : at + step]
        run = len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))
        if run > MAX_DIGITS:
            found = _TO_LONG.match(text)
            return -1 if found is None else found.end() - 1
    return -1
