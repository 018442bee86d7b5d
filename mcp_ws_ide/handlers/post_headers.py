"""Headers of a POST to the MCP endpoint: media types, and those that repeat the body (MCP 2026-07-28).

Pure functions of a request's headers and message. A head that repeats is read once.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from tornado.httputil import HTTPHeaders

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import NAMED_BY
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.errors import HEADER_MISMATCH, INVALID_PARAMS

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")
_ROUTING: Final = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name")
"""Headers that repeat the body; each may occur once."""


@dataclass(frozen=True, slots=True)
class PostHead:
    """What the head of a POST says of its message."""

    declared_json: bool
    """Whether the body is declared as JSON."""
    takes_json: bool
    """Whether the client accepts JSON as the response."""
    takes_events: bool
    """Whether the client accepts an event stream."""
    session_id: str | None
    """``Mcp-Session-Id``."""
    version: str | None
    """``MCP-Protocol-Version``."""
    method: str | None
    """``Mcp-Method``."""
    name: str | None
    """``Mcp-Name``, decoded."""
    repeated: str | None
    """A header of those three that occurs twice."""


def read_head(headers: HTTPHeaders) -> PostHead:
    """Read the head of a POST."""
    accepted = _media_ranges(headers.get("Accept", "*/*"))
    return PostHead(
        declared_json=headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON,
        takes_json=not accepted.isdisjoint((JSON, "application/*", "*/*")),
        takes_events=not accepted.isdisjoint((EVENT_STREAM, "text/*", "*/*")),
        session_id=headers.get("Mcp-Session-Id"),
        version=headers.get("MCP-Protocol-Version"),
        method=headers.get("Mcp-Method"),
        name=_decoded(headers.get("Mcp-Name")),
        repeated=next((header for header in _ROUTING if len(headers.get_list(header)) > 1), None),
    )


def header_problem(head: PostHead, message: Message) -> tuple[int, str] | None:
    """The JSON-RPC error code and text if the headers contradict the body (MCP 2026-07-28, streamable-http)."""
    if head.repeated is not None:
        return HEADER_MISMATCH, f"the header {head.repeated} occurs twice"
    if message.kind is not REQUEST:
        return None
    meta = messages.params_of(message).meta
    version = bytes(meta.version) if meta is not None else b""
    if not version:
        key = messages.PROTOCOL_VERSION_KEY
        return INVALID_PARAMS, f'params._meta must contain "{key}", equal to the header MCP-Protocol-Version'
    if head.version != messages.text_in(version):
        return HEADER_MISMATCH, "the header MCP-Protocol-Version must equal the version in params._meta"
    if head.method != message.method_name:
        return HEADER_MISMATCH, "the header Mcp-Method must equal the method"
    member = NAMED_BY.get(message.method_name)
    if member is not None:
        value = messages.member(message.params, member)
        if value and head.name != messages.text_in(value):
            return HEADER_MISMATCH, f"the header Mcp-Name must equal params.{member}"
    return None


def _media_ranges(accept: str) -> set[str]:
    """The media ranges that an ``Accept`` header lists (RFC 9110 section 12.5.1)."""
    return {part.partition(";")[0].strip().lower() for part in accept.split(",")}


def _decoded(header: str | None) -> str | None:
    """A header value, unwrapped from ``=?base64?…?=`` where it needs more than printable ASCII."""
    wrapped = _ENCODED.fullmatch(header or "")
    if wrapped is None:
        return header
    try:
        return base64.b64decode(wrapped[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
