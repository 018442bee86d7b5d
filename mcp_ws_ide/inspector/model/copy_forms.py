"""Recorded requests as commands that send them again: websocat, curl, Python. Performs no I/O.

The commands contain no secret; they read the token from the environment variable :data:`TOKEN`. A request of the
handshake era includes its handshake, with the ``initialize`` of its session if that was seen. Commands are printable
ASCII; other characters of a message are written as JSON escapes.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp_ws_ide.core.bridges.methods import NAMED_BY
from mcp_ws_ide.core.messages import NEWEST_HANDSHAKE, PROTOCOL_VERSION_KEY
from mcp_ws_ide.ide_entries import TOKEN_VARIABLE
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Lane, part
from mcp_ws_ide.inspector.model.store import TRUNCATED, Store

TOKEN: Final = TOKEN_VARIABLE
INITIALIZED: Final = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
_OUTSIDE_ASCII: Final = re.compile(r"[^\x20-\x7e]")


class NoCommandError(Exception):
    """There is no command for this row; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send again. ``initialize`` is ``""`` for a modern one; ``base`` is Jupyter's base URL."""

    base: str
    server: str
    message: str
    content: dict[str, Any]
    initialize: str

    @property
    def http(self) -> str:
        """The endpoint's HTTP URL."""
        return f"{self.base}mcp-ws/servers/{self.server}"

    @property
    def websocket(self) -> str:
        """The endpoint's WebSocket URL."""
        return f"ws{self.http.removeprefix('http')}"


def call_of(journal: Journal, row: int, base: str) -> Call:
    """Return the request that a row is, or responds to, as the client sent it.

    Raises:
        NoCommandError: no client sent such a request, or it was truncated.
    """
    store = journal.store
    request = row if store.kind_of(row) is Kind.REQUEST else store.linked(store.pair, row)
    if request is not None and store.lane_of(request) is Lane.UPSTREAM_OUT:
        request = store.linked(store.twin, request)
    if request is None or store.lane_of(request) is not Lane.CLIENT_IN:
        raise NoCommandError("only a client's request, or its response, can be sent again")
    if store.has(request, TRUNCATED):
        raise NoCommandError("the gateway truncated this message, so it cannot be sent again")
    text = store.body(request).text
    content = _content(text)
    if not content:
        raise NoCommandError("this message is not valid JSON")
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
    """Return the newest ``initialize`` of the session before ``request``, else a default one."""
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
    """Return the same JSON on one line of printable ASCII; numbers, order and duplicates are unchanged."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        if code in (0x09, 0x0A, 0x0D):
            return " "  # only between tokens: inside strings JSON escapes them
        if code < 0x10000:
            return f"\\u{code:04x}"
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"

    return _OUTSIDE_ASCII.sub(escape, text)


# --- websocat ------------------------------------------------------------------------------------


def websocat(call: Call) -> str:
    """Return a ``websocat`` command; it prints messages until interrupted."""
    messages = [call.initialize, INITIALIZED, call.message] if call.initialize else [call.message]
    lines = " ".join(shlex.quote(message) for message in messages)
    header = f'-H="Authorization: Bearer ${TOKEN}"'
    return f"printf '%s\\n' {lines} \\\n  | websocat -n {header} --protocol mcp {shlex.quote(call.websocket)}"


# --- curl ----------------------------------------------------------------------------------------


def curl(call: Call) -> str:
    """Return a ``curl`` command; in the handshake era three commands that share the session id."""
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
    name = part(call.content, "params", NAMED_BY.get(method, ""))
    if isinstance(name, str):
        headers.append(f"Mcp-Name: {_header(name)}")
    return [shlex.quote(header) for header in headers]


def _header(value: str) -> str:
    """Return a header value: printable ASCII as it is, everything else encoded as in MCP 2026-07-28."""
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
    """Return a program that uses this project's client if that has a method for the request, else ``websockets``."""
    params = call.content.get("params")
    plain = _client_call(str(call.content.get("method")), params if isinstance(params, dict) else {})
    return _raw_program(call) if plain is None else _client_program(call, plain)


def _client_call(method: str, params: dict[str, Any]) -> str | None:
    """Return the call of the SDK's client; None if the request has members that the call cannot carry."""
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
"""The commands that a request can be copied as, by name."""
