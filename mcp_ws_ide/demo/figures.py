"""What the demo shows: measurements as a table, as a chart and as a report."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
REQUESTS: Final = (1240, 1310, 1650, 1720, 1890, 2140, 1980, 1870, 2410, 2660, 2900, 2350)
"""Requests of each month; made up."""
ERRORS: Final = (12, 9, 21, 15, 14, 30, 17, 11, 25, 19, 41, 16)

_WIDTH, _HEIGHT, _MARGIN, _GAP = 640, 320, 24, 8
_PAPER, _AXIS, _BAR, _PART = b"\xff\xff\xff", b"\x86\x8f\x98", b"\x0a\x5e\xa8", b"\xe0\x7b\x00"


def table() -> list[dict[str, Any]]:
    """Return one object for each month: requests, errors, and requests a day."""
    return [
        {"month": month, "requests": requests, "errors": errors, "per_day": round(requests / days, 1)}
        for month, days, requests, errors in zip(MONTHS, DAYS, REQUESTS, ERRORS, strict=True)
    ]


def report() -> str:
    """Return the year in Markdown."""
    total, failed = sum(REQUESTS), sum(ERRORS)
    best = MONTHS[REQUESTS.index(max(REQUESTS))]
    rows = [
        f"| {quarter} | {sum(REQUESTS[at : at + 3]):,} | {sum(ERRORS[at : at + 3])} |"
        for quarter, at in zip(("Q1", "Q2", "Q3", "Q4"), range(0, 12, 3), strict=True)
    ]
    return "\n".join(
        [
            "# Requests of a year",
            "",
            f"The service answered **{total:,} requests**, {100 * failed / total:.1f} % of them with an error.",
            f"The busiest month was *{best}*.",
            "",
            "| quarter | requests | errors |",
            "|---|--:|--:|",
            *rows,
            "",
            "- `table` returns the months as objects.",
            "- `image` returns them as a chart.",
        ]
    )


def chart() -> bytes:
    """Return a bar chart of the requests as a PNG; the upper part of each bar is its errors, ten times as large."""
    rows = [bytearray(_PAPER * _WIDTH) for _ in range(_HEIGHT)]
    base = _HEIGHT - _MARGIN
    width = (_WIDTH - 2 * _MARGIN) // len(REQUESTS)
    scale = (base - _MARGIN) / (max(REQUESTS) + 10 * max(ERRORS))
    for line in range(_MARGIN, base, (base - _MARGIN) // 4):
        _fill(rows, _MARGIN, _WIDTH - _MARGIN, line, line + 1, b"\xe4\xe7\xea")
    for at, (requests, errors) in enumerate(zip(REQUESTS, ERRORS, strict=True)):
        left = _MARGIN + at * width + _GAP // 2
        top = base - round(requests * scale)
        _fill(rows, left, left + width - _GAP, top, base, _BAR)
        _fill(rows, left, left + width - _GAP, top - round(10 * errors * scale), top, _PART)
    _fill(rows, _MARGIN, _WIDTH - _MARGIN, base, base + 2, _AXIS)
    return _png(rows)


def _fill(rows: list[bytearray], left: int, right: int, top: int, bottom: int, colour: bytes) -> None:
    for row in rows[top:bottom]:
        row[3 * left : 3 * right] = colour * (right - left)


def _png(rows: list[bytearray]) -> bytes:
    """Return an image of 8-bit RGB as PNG (ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\x00" + row for row in rows), 9)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
