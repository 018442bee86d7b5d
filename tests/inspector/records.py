"""Tap records for tests, written as transcripts."""

from __future__ import annotations

import itertools
import json
from typing import Any, ClassVar

from mcp_ws_ide.inspector.model.journal import Changes, Journal

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LEGS = {
    "c>": ("client", "in"),
    ">s": ("upstream", "out"),
    "<s": ("upstream", "in"),
    "c<": ("client", "out"),
}


class Transcript:
    """Feeds a journal one record after the other; the clock advances by ``step`` seconds each time."""

    used: ClassVar[list[Transcript]] = []
    """Those of the running test; conftest.py closes their journals."""

    def __init__(self, step: float = 0.01, **options: Any) -> None:
        self.used.append(self)
        self.journal = Journal(**options)
        self.step = step
        self._seq = itertools.count(1)
        self.mono = 100.0

    def line(self, **members: Any) -> str:
        self.mono += self.step
        seq = next(self._seq)
        base = {"seq": seq, "time": 1.8e9 + self.mono, "mono": self.mono, "server": "demo", "session": "s1"}
        return json.dumps({**base, "drops": 0, **members})

    def message(self, way: str, message: Any, **members: Any) -> str:
        leg, direction = LEGS[way]
        raw = message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message})
        known = message if isinstance(message, dict) else {}
        kind = "malformed"
        if "method" in known:
            kind = "request" if "id" in known else "notification"
        elif "result" in known or "error" in known:
            kind = "response" if "result" in known else "error"
        described = {"kind": kind, "method": known.get("method"), "id": known.get("id")}
        return self.line(
            leg=leg,
            direction=direction,
            **{**described, "raw": raw, "size": len(raw), "truncated": False, **members},
        )

    def send(self, way: str, message: Any, **members: Any) -> int:
        """One message; returns its row."""
        self.journal.feed([self.message(way, message, **members)])
        return self.journal.store.end - 1

    def event(self, name: str, detail: str = "", **members: Any) -> Changes:
        return self.journal.feed([self.line(kind="event", event=name, detail=detail, **members)])

    def codes(self, row: int) -> list[str]:
        return [violation.code for violation in self.journal.problems_of(row)]


def call(request_id: Any, tool: str = "run", **meta: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    if meta:
        params["_meta"] = meta
    return {"id": request_id, "method": "tools/call", "params": params}


def done(request_id: Any, **members: Any) -> dict[str, Any]:
    return {"id": request_id, "result": {"content": [], **members}}
