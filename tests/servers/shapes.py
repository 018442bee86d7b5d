"""A handshake-era stdio server that behaves as one shape of tests/interop/test_shapes.py; standard library alone.

Arguments: the shape, and what the shape needs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, ClassVar

MARK = b"\xef\xbb\xbf"
NOT_FOUND = {"code": -32601, "message": "Method not found"}
PLAIN = {"type": "object"}
FIELDS = {"type": "object", "properties": {f"field_{i}": {"type": "string"} for i in range(100)}}
WIDE = "".join(f"{number:07d}-" for number in range(115_000)) + "END"
LEVELS = 200


def deep() -> Any:
    value: Any = "bottom"
    for _ in range(LEVELS):
        value = {"down": value}
    return value


def tool(name: str, schema: Any = PLAIN, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": schema, **more}


class Shape:
    """What all shapes answer; each changes a part of it."""

    tools: ClassVar = [tool("t")]

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments

    def listed(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"tools": self.tools}

    def called(self, name: str) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": "ok"}]}

    def result(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        if method == "initialize":
            info = {"name": type(self).__name__, "version": "1"}
            version = params["protocolVersion"]
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        if method == "tools/list":
            return self.listed(params)
        if method == "tools/call":
            return self.called(params["name"])
        return {} if method == "ping" else None

    def written(self, answer: dict[str, Any]) -> bytes:
        return json.dumps(answer).encode() + b"\n"

    def requests(self) -> Any:
        return sys.stdin.buffer

    def run(self) -> None:
        for line in self.requests():
            message = json.loads(line)
            if "id" not in message or "method" not in message:
                continue
            result = self.result(message["method"], message.get("params") or {})
            answer = {"jsonrpc": "2.0", "id": message["id"]}
            answer |= {"error": NOT_FOUND} if result is None else {"result": result}
            sys.stdout.buffer.write(self.written(answer))
            sys.stdout.buffer.flush()


class Variables(Shape):
    """Its argument names a variable, which it expands itself if nobody has."""

    def called(self, name: str) -> dict[str, Any]:
        text = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], ""), self.arguments[0])
        return {"content": [{"type": "text", "text": text}]}


class Cursor(Shape):
    """A cursor that never ends, or an empty text as a real one; a call answers how often the list was asked for."""

    lists = 0

    def listed(self, params: dict[str, Any]) -> dict[str, Any]:
        self.lists += 1
        kind = self.arguments[0]
        if kind == "two" and "cursor" in params:
            return {"tools": [tool(name) for name in "def"]}
        return {"tools": [tool(name) for name in "abc"], "nextCursor": "x" if kind == "same" else ""}

    def called(self, name: str) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": str(self.lists)}]}


class Nulls(Shape):
    """Null members beside an answer, in an order, or in an array of one."""

    def written(self, answer: dict[str, Any]) -> bytes:
        whole = {"result": None, "error": None, **answer}
        ordered = dict(sorted(whole.items(), reverse=self.arguments[0] == "reverse"))
        return json.dumps([ordered] if self.arguments[0] == "array" else ordered).encode() + b"\n"


class Mark(Shape):
    """A byte order mark before the first line, or before each."""

    begun = False

    def written(self, answer: dict[str, Any]) -> bytes:
        marked = not self.begun or self.arguments[0] == "each"
        self.begun = True
        return (MARK if marked else b"") + super().written(answer)


class Numbers(Shape):
    """Numbers that JSON does not have."""

    def called(self, name: str) -> dict[str, Any]:
        values = [1.5, float("nan"), float("inf"), float("-inf")]
        return {"content": [{"type": "text", "text": "ok"}], "structuredContent": {"values": values}}


class Frames(Shape):
    """Answers in frames with Content-Length; ``silent`` reads nothing else either."""

    def written(self, answer: dict[str, Any]) -> bytes:
        body = json.dumps(answer).encode()
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def requests(self) -> Any:
        stream = sys.stdin.buffer
        while head := stream.readline():
            if head.lower().startswith(b"content-length:"):
                size = int(head.split(b":")[1])
                while stream.readline().strip():
                    pass
                yield stream.read(size)
            elif self.arguments[0] != "silent" and head.strip():
                yield head


class Schemas(Shape):
    """Output schemas that lead nowhere, lead to themselves or to another host."""

    tools: ClassVar = [
        tool("t", outputSchema=PLAIN),
        tool("dangling", outputSchema={"type": "object", "properties": {"n": {"$ref": "#/$defs/X"}}}),
        tool("self", outputSchema={"type": "object", "properties": {"child": {"$ref": "#"}}}),
        tool(
            "loop",
            outputSchema={
                "type": "object",
                "properties": {"n": {"$ref": "#/$defs/L"}},
                "$defs": {"L": {"$ref": "#/$defs/L"}},
            },
        ),
        tool("remote", outputSchema={"type": "object", "properties": {"n": {"$ref": "https://x.example/n"}}}),
        tool("input", {"type": "object", "properties": {"q": {"$ref": "#/$defs/Q"}}}),
    ]

    def called(self, name: str) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": "ok"}], "structuredContent": {"n": 7}}


class Large(Shape):
    """A list of about 1 MiB, a text of 900 KiB without blanks, and a value of many levels."""

    tools: ClassVar = [
        tool("t"),
        tool("wide"),
        tool("deep"),
        *(tool(f"tool_{i}", FIELDS) for i in range(300)),
    ]

    def called(self, name: str) -> dict[str, Any]:
        if name == "deep":
            return {"content": [], "structuredContent": deep()}
        return {"content": [{"type": "text", "text": WIDE if name == "wide" else "ok"}]}


SHAPES = {
    shape.__name__.lower(): shape
    for shape in (Shape, Variables, Cursor, Nulls, Mark, Numbers, Frames, Schemas, Large)
}

if __name__ == "__main__":
    SHAPES[sys.argv[1]](*sys.argv[2:]).run()
