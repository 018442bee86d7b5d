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
_PARTS: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[.eE][+-]?[0-9]*+|([0-9]{%d})|[0-9]++' % (MAX_DIGITS + 1), re.DOTALL
)
"""Strings, fractions and exponents, which may have any number of digits; the first digits of a long number; others."""


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
            return next((part.end() - 1 for part in _PARTS.finditer(text) if part[1] is not None), -1)
    return -1
