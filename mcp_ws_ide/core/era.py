"""The two protocol eras, and the probe that shows which of them a server speaks. Pure.

Source: MCP 2026-07-28, ``server/discover``; before it, MCP 2025-11-25, ``initialize``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import GATEWAY_ERRORS, METHOD_NOT_FOUND

MODERN_VERSION: Final = "2026-07-28"
"""The first revision without a handshake; versions are dates, and compare as strings."""

MODERN_ERRORS: Final = frozenset({-32020, -32021, -32022})
"""Error codes that only servers of the modern era use (HeaderMismatch, MissingRequiredClientCapability,
UnsupportedProtocolVersion)."""

PROBE_ID: Final = b"0"
"""Id of the probe; the multiplexer counts from 1."""


BRIDGE_KEY: Final = "mcp-ws-ide/bridge"
"""Member of the ``_meta`` of a client's ``server/discover``. With ``false`` it asks not to be bridged: where the server
has only the handshake era, the client performs the handshake itself."""


class Era(StrEnum):
    """The era spoken to a server."""

    LEGACY = "legacy"
    MODERN = "modern"


LEGACY: Final = Era.LEGACY
MODERN: Final = Era.MODERN


class _Discovered(msgspec.Struct):
    supported: list[str] = msgspec.field(name="supportedVersions", default_factory=list)


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


def probe_meta(client_version: str) -> dict[str, Any]:
    """Return the ``_meta`` of the gateway's own requests."""
    return {
        messages.PROTOCOL_VERSION_KEY: MODERN_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "mcp-ws-ide", "version": client_version},
        "io.modelcontextprotocol/clientCapabilities": {},
    }


def probe(client_version: str) -> messages.Message:
    """Build the gateway's own ``server/discover`` request."""
    params = msgspec.json.encode({"_meta": probe_meta(client_version)})
    return messages.request(PROBE_ID, "server/discover", params)


def read_probe(answer: messages.Message) -> Era:
    """Return the era that a response to :func:`probe` shows; the modern one only on positive evidence."""
    try:
        if answer.error:
            code = msgspec.json.decode(answer.error, type=_Error).code
            return Era.MODERN if code in MODERN_ERRORS else Era.LEGACY
        supported = msgspec.json.decode(answer.result, type=_Discovered).supported
    except (msgspec.DecodeError, RecursionError):
        return Era.LEGACY
    return Era.MODERN if any(version >= MODERN_VERSION for version in supported) else Era.LEGACY


def refused_probe(answer: messages.Message) -> str:
    """Return the reason if a gateway (this one, or one in between) answered probe or handshake in place of the server;
    ``""`` if the response is the server's own."""
    if not answer.error:
        return ""
    try:
        error = msgspec.json.decode(answer.error, type=_Error)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return error.message or "no reason was given" if error.code in GATEWAY_ERRORS else ""


def declines_bridge(message: messages.Message) -> bool:
    """Return whether a client's request asks for the server's own era in place of the bridge."""
    if message.method != b'"server/discover"':
        return False
    return messages.member(messages.member(message.params, "_meta"), BRIDGE_KEY) == b"false"


def bridged(params: bytes) -> bytes:
    """Return the parameters of a request without the member with which a client declines the bridge."""
    return messages.with_meta(params, BRIDGE_KEY, b"") if BRIDGE_KEY.encode() in params else params


def refuse_modern(raw_id: bytes, server: str) -> messages.Message:
    """Refuse a modern request to a server of the handshake era: -32601 makes clients of both eras fall back."""
    text = (
        f"Method not found: server {server!r} speaks only MCP revisions before {MODERN_VERSION}; "
        "connect with the initialize handshake"
    )
    return messages.error(raw_id, METHOD_NOT_FOUND, text, {"outcome": "not_sent"})


def refuse_stateless(raw_id: bytes, server: str) -> messages.Message:
    """Refuse a modern request over HTTP to a server whose processes are not shared."""
    text = (
        f"Method not found: server {server!r} gives each session a process of its own (sharing: never), but a modern "
        "request over HTTP belongs to no session; connect over WebSocket, or with the initialize handshake"
    )
    return messages.error(raw_id, METHOD_NOT_FOUND, text, {"outcome": "not_sent"})
