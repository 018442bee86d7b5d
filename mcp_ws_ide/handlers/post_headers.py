"""Headers of a POST to the MCP endpoint: media types, and those that repeat the body (MCP 2026-07-28).

Pure functions of a request's headers and message.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache, lru_cache
from typing import Final

from tornado.httputil import HTTPHeaders

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import NAMED_BY
from mcp_ws_ide.core.messages import Kind, Message
from mcp_ws_ide.errors import HEADER_MISMATCH, INVALID_PARAMS

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def is_json(headers: HTTPHeaders) -> bool:
    """Whether the body is declared as JSON."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON


def accepts(headers: HTTPHeaders, media: str) -> bool:
    """Whether the client accepts a response of this media type (RFC 9110 section 12.5.1)."""
    return bool(_accepted(headers.get("Accept", "*/*")) & _ranges(media))


def header_problem(headers: HTTPHeaders, message: Message) -> tuple[int, str] | None:
    """The JSON-RPC error code and text if the headers contradict the body (MCP 2026-07-28, streamable-http)."""
    for header in ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"):
        if len(headers.get_list(header)) > 1:
            return HEADER_MISMATCH, f"the header {header} occurs twice"
    if message.kind is not Kind.REQUEST:
        return None
    meta = messages.params_of(message).meta
    version = bytes(meta.version) if meta is not None else b""
    if not version:
        key = messages.PROTOCOL_VERSION_KEY
        return INVALID_PARAMS, f'params._meta must contain "{key}", equal to the header MCP-Protocol-Version'
    if headers.get("MCP-Protocol-Version") != messages.text_in(version):
        return HEADER_MISMATCH, "the header MCP-Protocol-Version must equal the version in params._meta"
    if headers.get("Mcp-Method") != message.method_name:
        return HEADER_MISMATCH, "the header Mcp-Method must equal the method"
    member = NAMED_BY.get(message.method_name)
    if member is not None:
        value = messages.member(message.params, member)
        if value and _decoded(headers.get("Mcp-Name")) != messages.text_in(value):
            return HEADER_MISMATCH, f"the header Mcp-Name must equal params.{member}"
    return None


@lru_cache(maxsize=64)
def _accepted(header: str) -> frozenset[str]:
    """The media ranges that an ``Accept`` header lists."""
    return frozenset(part.partition(";")[0].strip().lower() for part in header.split(","))


@cache
def _ranges(media: str) -> frozenset[str]:
    """The media ranges that include a media type."""
    return frozenset({media, "*/*", media.partition("/")[0] + "/*"})


def _decoded(header: str | None) -> str | None:
    """A header value, unwrapped from ``=?base64?…?=`` where it needs more than printable ASCII."""
    wrapped = _ENCODED.fullmatch(header or "")
    if wrapped is None:
        return header
    try:
        return base64.b64decode(wrapped[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
