"""A request that was seen, as a command that asks it again: websocat, curl, Python. Pure.

None holds a secret: each takes the token from the environment variable :data:`TOKEN`. A request of the
handshake era brings its handshake along, with the ``initialize`` that its session began with where that was seen.
What is pasted into a shell is printable ASCII: everything else of a message is written as a JSON escape.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp_ws_ide.core.messages import NEWEST_HANDSHAKE, PROTOCOL_VERSION_KEY
from mcp_ws_ide.ide_entries import TOKEN_VARIABLE
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Lane, part
from mcp_ws_ide.inspector.model.store import TRUNCATED, Store

TOKEN: Final = TOKEN_VARIABLE
INITIALIZED: Final = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Members of ``params`` that the header ``Mcp-Name`` repeats (MCP 2026-07-28, streamable-http)."""
_OUTSIDE_ASCII: Final = re.compile(r"[^\x20-\x7e]")


class NoCommand(Exception):
    """There is no command for this row; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to ask again. ``initialize`` is ``""`` for a modern one; ``base`` is Jupyter's URL."""

    base: str
    server: str
    message: str
    content: dict[str, Any]
    initialize: str

    @property
    def http(self) -> str:
        """The endpoint, for HTTP."""
        return f"{self.base}mcp-ws/servers/{self.server}"

    @property
    def websocket(self) -> str:
        """The endpoint, for WebSocket."""
        return f"ws{self.http.removeprefix('http')}"


def call_of(journal: Journal, row: int, base: str) -> Call:
    """The request of a row: its own, or the one it answers, as the client sent it.

    Raises:
        NoCommand: a client sent no such request, or it was cut.
    """
    store = journal.store
    request = row if store.kind_of(row) is Kind.REQUEST else store.linked(store.pair, row)
    if request is not None and store.lane_of(request) is Lane.UPSTREAM_OUT:
        request = store.linked(store.twin, request)
    if request is None or store.lane_of(request) is not Lane.CLIENT_IN:
        raise NoCommand("only a client's request, or its answer, can be asked again")
    if store.has(request, TRUNCATED):
        raise NoCommand("the gateway cut this message: its text is not whole")
    text = store.body(request).text
    content = _content(text)
    if not content:
        raise NoCommand("this message cannot be read")
    modern = part(content, "params", "_meta", PROTOCOL_VERSION_KEY) is not None
    initialize = "" if modern or content.get("method") == "initialize" else _initialize(store, request)
    return Call(base, store.server_of(request), ascii_json(text), content, initialize)


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _initialize(store: Store, request: int) -> str:
    """The newest ``initialize`` of the session before ``request``, else a plain one."""
    method, session = store.names.number("initialize"), store.session[request - store.first]
    for index in range(request - store.first - 1, max(-1, request - store.first - 100_000), -1):
        if store.method[index] == method and store.session[index] == session:
            row = index + store.first
            if store.lane_of(row) is Lane.CLIENT_IN and store.kind_of(row) is Kind.REQUEST:
                if not store.has(row, TRUNCATED):
                    return ascii_json(store.body(row).text)
                break
    params = {
        "protocolVersion": NEWEST_HANDSHAKE,
        "capabilities": {},
        "clientInfo": {"name": "mcp-ws-inspect", "version": "1"},
    }
    return json.dumps({"jsonrpc": "2.0", "id": "handshake", "method": "initialize", "params": params})


def ascii_json(text: str) -> str:
    """The same JSON on one line of printable ASCII; numbers, order and duplicates stay as they are."""

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        if code in (0x09, 0x0A, 0x0D):
            return " "  # only between tokens: within strings JSON has them escaped
        if code < 0x10000:
            return f"\\u{code:04x}"
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"

    return _OUTSIDE_ASCII.sub(escape, text)


# --- websocat ------------------------------------------------------------------------------------


def websocat(call: Call) -> str:
    """``websocat``, which prints what comes until it is interrupted."""
    messages = [call.initialize, INITIALIZED, call.message] if call.initialize else [call.message]
    lines = " ".join(shlex.quote(message) for message in messages)
    header = f'-H="Authorization: Bearer ${TOKEN}"'
    return f"printf '%s\\n' {lines} \\\n  | websocat -n {header} --protocol mcp {shlex.quote(call.websocket)}"


# --- curl ----------------------------------------------------------------------------------------


def curl(call: Call) -> str:
    """``curl``; in the handshake era three of them, with the session's id in between."""
    if not call.initialize:
        version = part(call.content, "params", "_meta", PROTOCOL_VERSION_KEY)
        return _post(call.http, call.message, _modern_headers(call, version))
    version = str(part(_content(call.initialize), "params", "protocolVersion") or NEWEST_HANDSHAKE)
    session = ['"Mcp-Session-Id: $session"', shlex.quote(f"MCP-Protocol-Version: {_header(version)}")]
    begin = _post(call.http, call.initialize, [], "-D - -o /dev/null")
    read = "tr -d '\\r' | sed -n 's/^[Mm][Cc][Pp]-[Ss]ession-[Ii]d: //p'"
    return "\n".join(
        [
            f"session=$({begin} | {read})",
            _post(call.http, INITIALIZED, session),
            _post(call.http, call.message, session),
        ]
    )


def _modern_headers(call: Call, version: object) -> list[str]:
    method = str(call.content.get("method"))
    if not isinstance(version, str):
        return []
    headers = [f"MCP-Protocol-Version: {_header(version)}", f"Mcp-Method: {_header(method)}"]
    name = part(call.content, "params", NAMED.get(method, ""))
    if isinstance(name, str):
        headers.append(f"Mcp-Name: {_header(name)}")
    return [shlex.quote(header) for header in headers]


def _header(value: str) -> str:
    """A header's value, in printable ASCII or encoded as MCP 2026-07-28 wants it."""
    plain = value.isascii() and value.isprintable() and value == value.strip() and value
    if plain and not value.startswith("=?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode(errors='replace')).decode()}?="


def _post(url: str, message: str, headers: list[str], options: str = "-N") -> str:
    known = [
        f'"Authorization: Bearer ${TOKEN}"',
        "'Content-Type: application/json'",
        "'Accept: application/json, text/event-stream'",
    ]
    given = " ".join(f"-H {header}" for header in [*known, *headers])
    return f"curl -sS {options} {given} \\\n  -d {shlex.quote(message)} {shlex.quote(url)}"


# --- Python --------------------------------------------------------------------------------------


def python(call: Call) -> str:
    """A program with this project's client where that has a method for it, else with ``websockets``."""
    params = call.content.get("params")
    plain = _client_call(str(call.content.get("method")), params if isinstance(params, dict) else {})
    return _raw_program(call) if plain is None else _client_program(call, plain)


def _client_call(method: str, params: dict[str, Any]) -> str | None:
    """The call of the SDK's client; None where the request has members that it could not carry."""
    rest = set(params) - {"_meta"}
    name, uri, given = params.get("name"), params.get("uri"), params.get("arguments", {})
    if method == "tools/call" and isinstance(name, str) and rest <= {"name", "arguments"}:
        return f"client.call_tool({name!a}, {given!a})"
    if method == "prompts/get" and isinstance(name, str) and rest <= {"name", "arguments"}:
        return f"client.get_prompt({name!a}, {given!a})"
    if method == "resources/read" and isinstance(uri, str) and rest == {"uri"}:
        return f"client.read_resource({uri!a})"
    if method in ("tools/list", "prompts/list", "resources/list") and not rest:
        return f"client.list_{method.partition('/')[0]}()"
    return None


def _client_program(call: Call, plain: str) -> str:
    return "\n".join(
        [
            "import asyncio, os",
            "from mcp_ws_ide.client import connect",
            "",
            "async def main():",
            f"    where, token = {call.websocket!a}, os.environ[{TOKEN!r}]",
            "    async with connect(where, token=token) as client:",
            f"        print(await {plain})",
            "",
            "asyncio.run(main())",
        ]
    )


def _raw_program(call: Call) -> str:
    identifier = json.dumps(call.content.get("id"))
    messages = [call.initialize, INITIALIZED, call.message] if call.initialize else [call.message]
    return "\n".join(
        [
            "import asyncio, json, os",
            "from websockets.asyncio.client import connect",
            "",
            "async def main():",
            f"    headers = {{'Authorization': 'Bearer ' + os.environ[{TOKEN!r}]}}",
            f"    where = {call.websocket!a}",
            "    async with connect(where, additional_headers=headers, subprotocols=['mcp']) as link:",
            f"        for message in {messages!a}:",
            "            await link.send(message)",
            "        async for text in link:",
            "            print(text)",
            "            answer = json.loads(text)",
            f"            if 'method' not in answer and answer.get('id') == json.loads({identifier!a}):",
            "                break",
            "",
            "asyncio.run(main())",
        ]
    )


FORMS: Final[dict[str, Callable[[Call], str]]] = {"websocat": websocat, "curl": curl, "Python": python}
"""What a request can be copied as, besides the message itself."""
