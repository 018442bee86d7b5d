"""A server that malforms its responses to ``tools/call``, in the way that the argument ``how`` names.

As a program it serves stdio; its first argument is the framing of the handshake. ``mangled`` returns the bytes of one
response, for other transports. Uses only the standard library.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

TOOLS = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
BAD_TOOLS = {"tools": [{"name": "null", "inputSchema": None}, 7, *TOOLS["tools"], {"description": "no name"}]}
RESOURCES = {"resources": [{"uri": "notes.txt", "name": "n"}, {"uri": "x:1", "name": "x"}]}
LINKS = [
    {"type": "text", "text": "see"},
    {"type": "resource_link", "uri": "notes.txt", "name": "n"},
    {"type": "resource", "resource": {"uri": "notes.txt", "text": "t"}},
    {"type": "resource_link", "uri": "x:1", "name": "x"},
]
MARK = b"\xef\xbb\xbf"


def result(message: dict[str, Any]) -> dict[str, Any]:
    method = message["method"]
    if method == "initialize":
        info = {"name": "mangled", "version": "1"}
        capabilities: dict[str, Any] = {"tools": {}, "resources": {}}
        return {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}
    if method == "resources/list":
        return RESOURCES
    if method == "resources/subscribe":
        return {}
    if method == "resources/read":
        uri = message["params"]["uri"]
        return {"contents": [{"uri": uri, "text": f"read {uri}"}]}
    if method == "tools/call" and "links" in message["params"]["arguments"]:
        return {"content": LINKS}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"done {message['params']['arguments'].get('n')}"}]}
    return BAD_TOOLS if "bad" in message.get("params", {}) else TOOLS


def answer(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message["id"], "result": result(message), **more}


def line(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


def shuffled(rng: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    items = list(value.items())
    rng.shuffle(items)
    return dict(items)


def with_nan(rng: random.Random, a: dict[str, Any]) -> bytes:
    value = rng.choice([float("nan"), float("inf"), float("-inf")])
    return line({**a, "result": {**a["result"], "structuredContent": {"rows": [{"price": value}]}}})


def with_control(rng: random.Random, a: dict[str, Any]) -> bytes:
    return line(a).replace(b"done", b"do" + bytes([rng.choice([1, 9, 27])]) + b"ne")


BAD_ITEMS: list[Any] = [
    None,
    7,
    "text",
    {},
    {"text": "no type"},
    {"type": "text", "text": 7},
    {"type": "image", "mimeType": "image/png"},
    {"type": "image", "data": "data:image/png;base64,AAAA", "mimeType": None},
    {"type": "resource", "resource": {"uri": "x:1"}},
    {"type": "chart", "points": [1]},
]


def bad_items(rng: random.Random) -> list[Any]:
    return rng.sample(BAD_ITEMS, 4)


READABLE: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "plain": lambda rng, a: line(a),
    "order": lambda rng, a: line(shuffled(rng, a)),
    "nulls": lambda rng, a: line(shuffled(rng, {**a, "error": None, "method": None})),
    "mark": lambda rng, a: MARK + line(a),
    "array": lambda rng, a: line([shuffled(rng, a)]),
    "nan": with_nan,
    "control": with_control,
    "bytes": lambda rng, a: line(a).replace(b"done", b"d\xf6ne"),
    "text before": lambda rng, a: b"ready [" + line(a)[:0] + b"1] " + line(a),
    "text after": lambda rng, a: line(a) + b" // ok",
    "text id": lambda rng, a: line({**a, "id": str(a["id"])}),
    "float id": lambda rng, a: line(a).replace(b'"id": %d' % a["id"], b'"id": %d.0' % a["id"]),
    "no jsonrpc": lambda rng, a: line({"id": a["id"], "result": a["result"]}),
    "surrogate": lambda rng, a: line(a).replace(b"done", b"do\\ud83dne"),
    "null id": lambda rng, a: line({**a, "id": None}),
    "null result": lambda rng, a: line({**a, "result": None}),
    "foreign id": lambda rng, a: line({**a, "id": rng.choice([7777, "seven", -1, 0.5])}),
    "in a string": lambda rng, a: line(line(a).decode()),
    "bad items": lambda rng, a: line(
        {**a, "result": {"content": [*a["result"]["content"], *bad_items(rng)]}}
    ),
    "lone item": lambda rng, a: line({**a, "result": {"content": a["result"]["content"][0]}}),
    "text content": lambda rng, a: line({**a, "result": {"content": a["result"]["content"][0]["text"]}}),
    "odd members": lambda rng, a: line(
        {**a, "result": {**a["result"], "isError": None, "structuredContent": None, "_meta": []}}
    ),
}
"""Malformed responses that can be read in one way only, by name."""

FAILING: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "comma": lambda rng, a: line(shuffled(rng, a))[:-1] + b",}",
    "number": lambda rng, a: line(shuffled(rng, {**a, "x": 1})).replace(b'"x": 1', b'"x": 01'),
    "cut": lambda rng, a: (whole := line(shuffled(rng, a)))[: rng.randrange(20, len(whole) - 1)],
    "cut before": lambda rng, a: line(a)[rng.randrange(1, 10) :],
    "python": lambda rng, a: str(a).encode(),
    "javascript": lambda rng, a: line(a).replace(b'"jsonrpc"', b"jsonrpc").replace(b'"id"', b"id"),
    "brace": lambda rng, a: (
        line(shuffled(rng, a)) + b"}" if rng.random() < 0 else line(shuffled(rng, a))[:-1]
    ),
    "quote": lambda rng, a: line(shuffled(rng, a)).replace(b"done", b'do"ne'),
    "escape": lambda rng, a: line(shuffled(rng, a)).replace(b"done", b"do\\xne"),
    "no id": lambda rng, a: line({"jsonrpc": "2.0", "result": a["result"]}),
    "two ids": lambda rng, a: line(a)[:-1] + b', "id": %d}' % (a["id"] + 1),
    "neither": lambda rng, a: line({"jsonrpc": "2.0", "id": a["id"]}),
    "both": lambda rng, a: line(shuffled(rng, {**a, "error": {"code": 1, "message": "no"}})),
    "parse error": lambda rng, a: line(
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?"}}
    ),
    "list result": lambda rng, a: line(
        shuffled(rng, {**a, "result": rng.choice([[a["result"]], "done", 7, True])})
    ),
    "odd error": lambda rng, a: line(
        {
            "jsonrpc": "2.0",
            "id": a["id"],
            "error": rng.choice([{}, "no", 7, {"code": "-32602"}, {"message": ["no"]}]),
        }
    ),
    "no such method": lambda rng, a: line(
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "Method not found"}}
    ),
    "long number": lambda rng, a: line(
        shuffled(rng, {**a, "result": {**a["result"], "_meta": {"n": 0}}})
    ).replace(b'"n": 0', b'"n": -' + b"1234567890" * 430 + rng.choice([b"1", b"1.5", b"1e3"])),
    "false": lambda rng, a: line({**a, "id": rng.choice([True, [a["id"]], {}])}),
}
"""Responses that cannot be read, or cannot be paired with a request for certain, by name."""

BARE: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "bare": lambda rng, a: line({"result": a["result"]}),
    "bare error": lambda rng, a: line({"error": {"code": -32000, "message": "no"}}),
    "bare result": lambda rng, a: line(a["result"]),
}
"""Responses that could be lines of a log, by name."""

LOGGED = {
    "level": {"level": "info", "msg": "called"},
    "pino": {"level": 30, "time": 1, "id": 1, "result": {"ok": True}},
    "error": {"error": "cache miss", "level": "warn"},
    "text": {"result": "called"},
    "event": {"content": "called", "ts": 1},
    "tools": {"tools": 3},
}
"""Lines of a log in JSON."""

JUNK: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "gzip": lambda rng, a: gzip.compress(line(a)),
    "zlib": lambda rng, a: zlib.compress(line(a), rng.randrange(10)),
    "header": lambda rng, a: b"Content-Length: %d\r\n\r" % rng.randrange(99),
    "framed text": lambda rng, a: b"Content-Length: 6\r\n\r\nkaputt",
    "framed object": lambda rng, a: b'Content-Length: 10\r\n\r\n{"ok": 1 }',
    "document": lambda rng, a: b'<?xml version="1.0"?>\n<response>\n<id>%d</id>\n</response>' % a["id"],
    "element": lambda rng, a: b"<response><id>%d</id></response>" % a["id"],
    "page": lambda rng, a: b"<!DOCTYPE html><title>502 Bad Gateway</title>",
    "status": lambda rng, a: b"HTTP/1.1 500 Internal Server Error",
    "error text": lambda rng, a: line({"error": "it broke"}),
    "error true": lambda rng, a: line({"error": True, "code": 500, "message": "it broke"}),
}
"""Responses that are no JSON-RPC, and that no log has."""

PRINTED = (
    *(b"<Response [200]>", b"<class 'int'>", b"<main> ready", b"Content-Length: 5 bytes", b"{'error': 'x'}"),
    *(b"\x1b[32mok\x1b[0m\x07", b"50%|##  |\r100%|####|", "größe".encode("latin-1"), "┌──┐".encode()),
    *("started".encode("utf-16-le"), b"<<< MCP >>>", b"HTTP Request: POST /", b'{"error": 0.5, "step": 1}'),
)
"""Lines that are printed while a request is handled."""

MISNAMED: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "silent": lambda rng, a: b"",
    "first id": lambda rng, a: line({**a, "id": 1}),
    "prose": lambda rng, a: b"the server is kaputt",
    "logs": lambda rng, a: b"\n".join(line(logged) for logged in LOGGED.values()),
    "prints": lambda rng, a: b"\n".join(PRINTED),
    "logs, then answer": lambda rng, a: line({"result": {"step": 1}}) + b"\n" + line(a),
}
"""Not at all, under the id of a request that was answered before, and with lines of a log."""

HOW = READABLE | FAILING | BARE | JUNK | MISNAMED


def mangled(message: dict[str, Any]) -> bytes:
    """Return the bytes of the response to a request, without a line end."""
    arguments = message.get("params", {}).get("arguments", {})
    if message["method"] == "server/discover":
        error = {"code": -32601, "message": "Method not found"}
        return line({"jsonrpc": "2.0", "id": message["id"], "error": error})
    if message["method"] == "resources/subscribe":
        update = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": message["params"]}
        return line(answer(message)) + b"\n" + line(update)
    rng = random.Random(arguments.get("seed"))
    return HOW[arguments.get("how", "plain")](rng, answer(message))


def main() -> None:
    out = sys.stdout.buffer
    form = sys.argv[1] if len(sys.argv) > 1 else "lines"
    late: list[Any] = []
    encoding = {"utf-16": "utf-16-le"}.get(form, "utf-8")
    if form == "utf-16":
        out.write(b"\xff\xfe")
    for text in requests(form):
        message = json.loads(text)
        if form == "careless" and "id" not in message:
            out.write(NOT_FOUND + b"\n")
            out.flush()
        if "id" not in message or "method" not in message:
            continue
        if form == "late" and message["method"] == "tools/call":
            late.append(message)
            if len(late) % 3 == 0:
                for one in (late[-3], late[-3], late[-2], late[-1]):  # the first one twice
                    out.write(mangled(one) + b"\n")
                    out.flush()
                    time.sleep(SLOW)
            continue
        made = mangled(message)
        if form == "bad list" and message["method"] == "tools/list":
            made = FAILING["no id"](random.Random(), answer(message))
        if form == "pretty":
            made = json.dumps(json.loads(made), indent=2).encode()
        if form in ("headers", "frames"):
            out.write(b"Content-Length: %d\r\n\r\n%b" % (len(made), made))
        elif form == "no line end":
            out.write(made)
        elif form == "half":
            out.write(made if message["method"] != "tools/call" else made[:30])
            if message["method"] != "tools/call":
                out.write(b"\n")
        else:
            out.write((made.decode() + "\n").encode(encoding) if encoding != "utf-8" else made + b"\n")
        out.flush()


SLOW = 0.7
"""Seconds between answers of the form ``late``."""
NOT_FOUND = line({"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "Method not found"}})


def requests(form: str) -> Any:
    """Yield the requests on stdin; with ``frames``, only those in Content-Length frames."""
    stream = sys.stdin.buffer
    if form != "frames":
        yield from stream
    while head := stream.readline():
        if head.lower().startswith(b"content-length:"):
            size = int(head.split(b":")[1])
            while stream.readline().strip():
                pass
            yield stream.read(size)


if __name__ == "__main__":
    main()
