"""Durations on the command line."""

from __future__ import annotations

import argparse
import re
from typing import Final

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds of each unit."""


def seconds(text: str) -> float:
    """Return the seconds of ``500ms``, ``1.5s``, ``15m``, ``12h`` or ``30d``; without a unit, the number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhd]?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 500ms, 90s, 15m, 12h or 30d")
    return float(match[1]) * UNITS[match[2] or "s"]


def milliseconds(text: str) -> float:
    """Return the milliseconds of such a duration. A unit is required: a number alone could mean either."""
    value = seconds(text) * 1000
    if text[-1].isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} has no unit; write {text}ms or {text}s")
    return value
