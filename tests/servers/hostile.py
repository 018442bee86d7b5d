"""A handshake-era server that breaks rules: endless patterns, names of JavaScript built-ins, invalid responses."""

from __future__ import annotations

import json
import sys
from typing import Any

NEVER_ENDS = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}
STUCK = "a" * 40 + "!"
NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]
PEOPLES = {"type": "object", "properties": {name: {"type": "string"} for name in NAMES}, "required": NAMES}
DOUBLING = {
    "type": "object",
    "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)},
    "properties": {"deep": {"$ref": "#/$defs/d0"}},
    "required": ["deep"],
}
TOOLS: list[Any] = [
    {"name": "stuck-input", "inputSchema": NEVER_ENDS},
    {"name": "stuck-output", "inputSchema": {"type": "object"}, "outputSchema": NEVER_ENDS},
    {"name": "names", "inputSchema": PEOPLES},
    {"name": "doubling", "inputSchema": DOUBLING},
    {"name": "no-type", "inputSchema": {"properties": {"x": {"type": "string"}}}},
    {
        "name": "odd-parts",
        "inputSchema": {"type": "object", "properties": {"x": {"type": "string", "examples": 7}}},
    },
    {"name": "bad-picture", "inputSchema": {"type": "object"}},
    {"name": "new-kind", "inputSchema": {"type": "object"}},
    {"description": "has no name"},
    "no tool at all",
    {"name": "honest", "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}}},
]
RESULTS: dict[str, dict[str, Any]] = {
    "stuck-output": {"content": [], "structuredContent": {"s": STUCK}},
    "bad-picture": {
        "content": [
            {"type": "text", "text": "a picture follows"},
            {"type": "image", "mimeType": "image/png", "data": "not base64!!"},
        ]
    },
    "new-kind": {
        "content": [{"type": "hologram", "depth": 3}, {"type": "text", "text": "beside a hologram"}]
    },
}


def result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        info = {"name": "hostile", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        given = {"content": [{"type": "text", "text": json.dumps(params.get("arguments"))}]}
        return RESULTS.get(params["name"], given)
    return None


if __name__ == "__main__":
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            made = result(message["method"], message.get("params", {}))
            end = (
                {"error": {"code": -32601, "message": "no such method"}} if made is None else {"result": made}
            )
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **end}), flush=True)
