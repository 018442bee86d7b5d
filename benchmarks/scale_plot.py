"""Draws what ``scale.py`` measures: the cost of a call, both axes logarithmic, as an SVG without fonts or scripts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

Points = list[tuple[int, float]]
"""Pairs of how much there is (clients, servers or bytes) and µs of CPU for a call."""

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 240, 56, 34, 44
"""Of one panel, in pixels."""
COLOURS: Final = {"gateway": "#2f6fdb", "floor": "#8a8a8a"}
STYLE: Final = "font-family:system-ui,sans-serif;font-size:11px;fill:#6b6b6b"


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the diagrams."""

    unit: str
    gateway: Points
    floor: Points


def drawing(panels: list[Panel]) -> str:
    """Return the SVG."""
    values = [value for panel in panels for _, value in panel.gateway + panel.floor]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    parts = [_panel(panel, number, low, max(high, low + 1)) for number, panel in enumerate(panels)]
    width, height = len(panels) * (WIDTH + GAP) + LEFT, HEIGHT + 2 * TOP
    title = "<title>µs of CPU for a call, by clients, servers and bytes of a message</title>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">{title}\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, number: int, low: int, high: int) -> str:
    left = LEFT + number * (WIDTH + GAP)
    inner = WIDTH - GAP

    def x(value: float) -> float:
        first, last = (math.log10(panel.gateway[end][0]) for end in (0, -1))
        share = (math.log10(value) - first) / (last - first) if last > first else 0.5
        return left + share * inner

    def y(value: float) -> float:
        return TOP + HEIGHT * (high - math.log10(value)) / (high - low)

    parts = [_text(left, TOP - 14, f"µs of CPU for a call, by {panel.unit}", "start")]
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<path d="M{left} {at:.1f}H{left + inner}" stroke="#e2e2e2"/>')
        parts.append(_text(left - 6, at + 4, f"{10**power:,}" if power >= 0 else f"{10.0**power:g}", "end"))
    parts += [_text(x(value), TOP + HEIGHT + 16, _short(value), "middle") for value, _ in panel.gateway]
    for name, points in (("floor", panel.floor), ("gateway", panel.gateway)):
        line = " ".join(f"{x(value):.1f},{y(cost):.1f}" for value, cost in points)
        colour = COLOURS[name]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(value):.1f}" cy="{y(cost):.1f}" r="3" fill="{colour}"/>'
            for value, cost in points
        ]
        parts.append(_text(x(points[-1][0]) + 7, y(points[-1][1]) + 4, name, "start"))
    return "\n".join(parts)


def _short(value: int) -> str:
    for unit, size in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{STYLE}">{text}</text>'
