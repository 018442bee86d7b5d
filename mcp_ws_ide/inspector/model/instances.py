"""Gateways that share an engine, as text; ``api/instances`` lists them (docs/reference/rest.md)."""

from __future__ import annotations

from typing import Any


def described(one: dict[str, Any], now: float) -> str:
    """Return a gateway as one line."""
    counts = ", ".join(f"{one[name]} {name}" for name in ("sessions", "links", "processes"))
    state = f"draining, {one['to_drain']} left" if one["draining"] else "ready"
    problem = one.get("problem", "")
    state = "no answer" if problem else state
    own = " (this one)" if one["self"] else ""
    line = f"{one['id']} {one['peer']:<21} {state:<10} {counts}, up {age(now - one['started'])}, {one['version']}{own}"
    return f"{line}\n    {problem}" if problem else line


def age(seconds: float) -> str:
    """Return a duration in its largest whole unit: ``42s``, ``7m``, ``3h``, ``12d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
