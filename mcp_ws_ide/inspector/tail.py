"""Format a tap record as one line."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from mcp_ws_ide.inspector.model.records import target_in
from mcp_ws_ide.sanitise import visible

ARROWS: Final = {
    ("client", "in"): "client →",
    ("upstream", "out"): "       → server",
    ("upstream", "in"): "       ← server",
    ("client", "out"): "client ←",
}
COLOURS: Final = {
    "request": "36",
    "response": "32",
    "error": "31",
    "notification": "33",
    "noise": "35",
    "malformed": "31",
}


def format_record(record: dict[str, Any], width: int, colour: bool) -> str:
    """Return a record as one line of at most ``width`` characters, safe for a terminal."""
    moment = (
        time.strftime("%H:%M:%S", time.localtime(record["time"])) + f".{int(record['time'] % 1 * 1000):03d}"
    )
    session = (record["session"] or "----")[:4]
    arrow = ARROWS.get((record["leg"], record["direction"]), "")
    gateway = f"{visible(record['gateway'])[:4]} " if record.get("gateway") else ""
    head = f"{moment} {gateway}{session} {visible(record['server']):<12.12} {arrow:<15} "
    line = head + _what(record)
    if len(line) > width:
        line = line[: width - 1] + "…"
    code = COLOURS.get(record["kind"])
    return f"\x1b[{code}m{line}\x1b[0m" if colour and code else line


def _what(record: dict[str, Any]) -> str:
    if record["kind"] in ("event", "gap"):
        return visible(f"* {record['event']} {record['detail'] or ''}")
    if record["kind"] == "noise":
        return visible(f"{record['event']}: {record['raw']}")
    identifier = "" if record["id"] is None else f"id={json.dumps(record['id'])}"
    parts = (record["method"], _target(record), identifier, f"{record['size']} B", record["raw"])
    return visible(f"{record['kind']:<12} {' '.join(part for part in parts if part)}")


def _target(record: dict[str, Any]) -> str:
    if not record["method"] or not record["raw"]:
        return ""
    try:
        return target_in(json.loads(record["raw"]))
    except (ValueError, RecursionError):  # shortened by the gateway, or nested too deeply
        return ""
