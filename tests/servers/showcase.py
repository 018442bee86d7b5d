"""A handshake-era stdio server, without an SDK, with content that a page must show and markup that it must not run."""

from __future__ import annotations

import json
import sys
from typing import Any

BAD = "<img src=x onerror=\"document.title='broken'\">"
SILENCE = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA=="  # 8 samples, 8 kHz, mono
ORDER: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Address": {
            "type": "object",
            "properties": {
                "street": {"type": "string", "description": "With the number"},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            },
            "required": ["street"],
        }
    },
    "properties": {
        "customer": {"type": "string", "minLength": 1, "description": "Who orders"},
        "address": {"$ref": "#/$defs/Address"},
        "size": {"enum": ["small", "large"]},
        "extras": {"type": "array", "items": {"enum": ["cheese", "basil", "olives"]}, "uniqueItems": True},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "tip": {"type": ["number", "null"]},
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1, "default": 1},
                },
                "required": ["name"],
            },
        },
        "urgent": {"type": "boolean", "default": False},
    },
    "required": ["customer", "address", "items"],
}
EMPTY = {"type": "object"}


def one_of(*names: str, **shape: Any) -> dict[str, Any]:
    """Return a schema that requires string members with these names, and the members of ``shape``."""
    return {
        "properties": {name: {"type": "string"} for name in names} | shape,
        "required": [*names, *shape],
    }


FORMS: dict[str, dict[str, Any]] = {
    "either-shape": {"type": "object", "oneOf": [one_of("id"), one_of("name", kind={"const": "named"})]},
    "either-member": {
        "type": "object",
        "properties": {"owner": {"type": "string"}, "id": {"type": "string"}},
        "anyOf": [{"required": ["owner"]}, {"required": ["id"]}],
    },
    "alike": {
        "type": "object",
        "properties": {
            "value": {"enum": ["1", 1, "true", True, "plain"]},
            "part": {"oneOf": [one_of("x", kind={"const": "a"}), one_of("x", kind={"const": "b"})]},
            "level": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        },
        "minProperties": 1,
    },
    "fields": {
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "format": "date-time"},
            "flag": {"type": "boolean"},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        },
        "required": ["owner"],
    },
    "nowhere": {"type": "object", "properties": {"x": {"$ref": "#/$defs/gone"}}},
    "pythonic": {
        "type": "object",
        "properties": {"x": {"type": "string", "pattern": "(?i)^a"}, "n": {"type": "integer", "minimum": 5}},
    },
}
TOOLS = [
    {
        "name": "order",
        "title": "Order a pizza",
        "description": "Says what was ordered.",
        "inputSchema": ORDER,
    },
    {"name": "sound", "description": "A moment of silence.", "inputSchema": EMPTY},
    {
        "name": "links",
        "description": "Links that lead somewhere, and one that must not.",
        "inputSchema": EMPTY,
    },
    {"name": "wrong", "description": "Fails.", "inputSchema": EMPTY},
    *({"name": name, "inputSchema": schema} for name, schema in FORMS.items()),
    {
        "name": "markdown",
        "description": "\n".join(f"Line {line} of a long text." for line in range(9)),
        "inputSchema": EMPTY,
    },
    {
        "name": "app",
        "description": "Shows an app that tries what it must not.",
        "inputSchema": EMPTY,
        "_meta": {"ui": {"resourceUri": "ui://showcase/app"}},
    },
    {"name": "invite", "description": "Asks to visit an address.", "inputSchema": EMPTY},
    {
        "name": BAD,
        "title": BAD,
        "description": BAD,
        "inputSchema": {**EMPTY, "properties": {BAD: {"title": BAD, "description": BAD}}},
    },
]
MARKDOWN = f"""# A title

Text with a [link](https://example.org/page), a [script](javascript:alert(1)), and **markup**: {BAD}
<script>document.title = "broken"</script><style>* {{ display: none }}</style><form action="/"><input></form>

![a picture](https://example.org/picture.png)

| a | b |
|---|--:|
| 1 | 2 |
"""
APP = """<!doctype html><title>app</title><pre id="seen"></pre><button id="call">call</button><script>
const seen = {};
const show = () => { document.getElementById("seen").textContent = JSON.stringify(seen); };
const attempt = (name, action) => { try { seen[name] = String(action()); } catch (error) { seen[name] = error.name; } show(); };
let count = 0;
const waiting = new Map();
const ask = (method, params) => new Promise((resolve) => {
  count += 1;
  waiting.set(count, resolve);
  parent.postMessage({ jsonrpc: "2.0", id: count, method, params }, "*");
});
const tell = (method, params) => parent.postMessage({ jsonrpc: "2.0", method, params }, "*");
addEventListener("message", ({ data }) => {
  if (data.method === "ui/notifications/tool-result") { seen.result = data.params.content[0].text; show(); }
  if (data.method === undefined) waiting.get(data.id)?.(data.error?.message ?? data.result);
});
attempt("origin", () => origin);
attempt("parent", () => parent.document.title);
attempt("cookie", () => document.cookie);
attempt("storage", () => localStorage.length);
attempt("popup", () => open("https://example.org/"));
attempt("compiled", () => eval("1"));
fetch("/").then(() => { seen.fetched = "yes"; }, (error) => { seen.fetched = error.name; }).finally(show);
(async () => {
  await ask("ui/initialize", { protocolVersion: "2026-01-26", appInfo: { name: "app", version: "1" }, appCapabilities: {} });
  tell("ui/notifications/initialized", {});
  tell("ui/notifications/size-changed", { height: 300 });
  seen.file = await ask("resources/read", { uri: "file:///etc/passwd" });
  seen.sampling = await ask("sampling/createMessage", { messages: [] });
  seen.read = (await ask("resources/read", { uri: "ui://showcase/other" })).contents[0].text;
  show();
})();
document.getElementById("call").onclick = async () => {
  const answer = await ask("tools/call", { name: "wrong", arguments: {} });
  seen.called = typeof answer === "string" ? answer : answer.content[0].text;
  show();
};
</script>"""
TEMPLATE = "file:///{+path}{?q,lang*}"
BLOCKS = {
    "sound": [{"type": "audio", "mimeType": "audio/wav", "data": SILENCE}],
    "links": [
        {"type": "resource_link", "uri": "https://example.org/page", "name": "a page"},
        {"type": "resource_link", "uri": "javascript:document.title='broken'", "name": "a script"},
        {"type": "resource_link", "uri": "data:text/html,<script>alert(1)</script>", "name": "a document"},
        {"type": "image", "mimeType": "image/svg+xml", "data": "PHN2Zy8+"},
        {"type": "resource", "resource": {"uri": "javascript:alert(1)", "text": BAD}},
    ],
    "app": [{"type": "text", "text": "shown by an app"}],
    "markdown": [{"type": "text", "text": MARKDOWN}],
    BAD: [{"type": "text", "text": BAD}],
}


def say(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(request_id: Any, name: str, arguments: dict[str, Any]) -> None:
    if name == "order" or name in FORMS:
        text = json.dumps(arguments)
        say(
            id=request_id,
            result={"content": [{"type": "text", "text": text}], "structuredContent": arguments},
        )
    elif name == "wrong":
        say(id=request_id, result={"content": [{"type": "text", "text": "it went wrong"}], "isError": True})
    elif name == "invite":
        params = {"mode": "url", "message": BAD, "url": "https://example.org/consent", "elicitationId": "e1"}
        say(id="ask", method="elicitation/create", params=params)
        WAITING.append(request_id)
    else:
        say(id=request_id, result={"content": BLOCKS[name]})


WAITING: list[Any] = []


def answer(message: dict[str, Any]) -> None:
    method, request_id = message.get("method"), message.get("id")
    if method == "initialize":
        info = {"name": "showcase", "title": BAD, "version": "1"}
        capabilities = {"tools": {}, "logging": {}, "resources": {}}
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": info,
            "instructions": BAD,
        }
        say(id=request_id, result=result)
    elif method == "tools/list":
        say(id=request_id, result={"tools": TOOLS})
    elif method == "tools/call":
        call(request_id, message["params"]["name"], message["params"].get("arguments", {}))
    elif method == "resources/list":
        say(id=request_id, result={"resources": []})
    elif method == "resources/templates/list":
        say(id=request_id, result={"resourceTemplates": [{"name": "file", "uriTemplate": TEMPLATE}]})
    elif method == "resources/read":
        uri = message["params"]["uri"]
        contents = {"uri": uri, "text": f"read {uri}"}
        if uri == "ui://showcase/app":
            contents = {"uri": uri, "mimeType": "text/html;profile=mcp-app", "text": APP}
        say(id=request_id, result={"contents": [contents]})
    elif method is None and request_id == "ask":
        text = json.dumps(message.get("result", message.get("error")))
        say(id=WAITING.pop(), result={"content": [{"type": "text", "text": text}]})
    elif request_id is not None:
        say(id=request_id, error={"code": -32601, "message": f"no {method}"})


if __name__ == "__main__":
    for line in sys.stdin:
        answer(json.loads(line))
