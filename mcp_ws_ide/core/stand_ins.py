"""Text that a server sends in place of a message. Pure.

Where each message has a frame or an event of its own, it tells a failed response from what only keeps a stream open;
among lines, from a log. Knows nothing of requests.
"""

from __future__ import annotations

import re
from typing import Final

from mcp_ws_ide.core import json_scan
from mcp_ws_ide.core.lenient_json import members_of
from mcp_ws_ide.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND

SUSPICION: Final = 3.5
"""Seconds for a request to be answered after what stands in place of a message, and may be its response."""
TO_NOTIFICATIONS: Final = frozenset({METHOD_NOT_FOUND, INVALID_REQUEST, INVALID_PARAMS})
"""Error codes with which careless servers answer notifications."""
FINAL_NAMES: Final = frozenset(
    {"message", "error", "exception", "result", "response", "done", "end", "complete"}
)
"""Names of events with which servers end a response; others (ping, progress, …) show that more follows."""
_ALIVE: Final = re.compile(rb"(?i)\b(?:ping|pong|keep.?alive|heart.?beat)\b")
"""What servers write to keep a connection open."""
_STATUS: Final = re.compile(
    rb"(?i)\W*(?:(?:connect|open|start|init|process|work|run|wait|load|queu|think|execut|subscri)(?:ed|n?ing|e|s)?"
    rb"|ready|hello|welcome|ok|accepted|pending|in progress|progress|please|still)\b.{0,60}"
)
"""Short text about what a server is doing, after which a response may come much later."""
_DONE: Final = b"[DONE]"
"""The end of a stream of completions, as servers of language models write it."""

NO_RESPONSE: Final = 0
PERHAPS_RESPONSE: Final = 1
"""A program may also print this while it handles a request."""
SURELY_RESPONSE: Final = 2

SEARCHED: Final = 64 << 10
"""Bytes of a line in which binary data are looked for."""
_CONTROL: Final = re.compile(rb"[\x01-\x03\x05\x06\x10-\x1a\x1c\x1d\x1f]")
"""Control characters that no text has, and that no program writes to a terminal."""
_FRAME: Final = re.compile(rb"Content-Length: \d+(?: |\Z)")
"""How a frame without a message begins, as :mod:`.frames` reports it."""
_MARKUP: Final = re.compile(
    rb"(?is)<\?xml\b|<!doctype\b|<html\b|HTTP/\d(?:\.\d)? \d{3}\b"
    rb"|<([a-z_][\w.:-]*)(?:\s[^<>]*)?>.*</\1\s*>\Z|</[a-z_][\w.:-]*\s*>\Z"
)
"""The beginning or the end of a document in XML or HTML, a whole element, or the status line of an HTTP response."""
_OF_FAILURES: Final = frozenset(
    {"error", "code", "message", "status", "statusCode", "detail", "details", "data", "type", "success", "ok"}
)
"""Members of the objects with which programs report a failure; log records have others, such as ``level``."""


def replaces_response(name: str, data: bytes) -> bool:
    """Return whether an event that is no message stands in place of a response, not to keep the stream open."""
    if name not in FINAL_NAMES or _ALIVE.search(data[:100]):
        return False
    if _is_binary(data):
        return True
    if name != "message" or data in (_DONE, b"null"):
        return True
    if data[:1] in (b"{", b"[", b'"'):
        return data != b"{}" and json_scan.is_whole(data)
    return any(map(str.isalpha, data.decode(errors="replace"))) and _STATUS.fullmatch(data) is None


def stands_for_response(line: bytes, *, in_frames: bool = True) -> int:
    """Return whether a line that is no message stands in place of a response, which a line of a log does not.

    Args:
        in_frames: whether the server writes frames: elsewhere, a line may begin like one.

    Returns:
        :data:`SURELY_RESPONSE` for binary data and for a frame without a message; :data:`PERHAPS_RESPONSE` for a
        document in XML or HTML and for an object with nothing but an error; else :data:`NO_RESPONSE`.
    """
    first = line[:1]
    if first == b"{":
        return PERHAPS_RESPONSE if _is_failure(line) else NO_RESPONSE
    if (first == b"<" or first == b"H") and _MARKUP.match(line) is not None:
        return PERHAPS_RESPONSE
    if in_frames and first == b"C" and _FRAME.match(line) is not None:
        return SURELY_RESPONSE
    return SURELY_RESPONSE if is_binary_line(line) else NO_RESPONSE


def is_binary_line(line: bytes) -> bool:
    """Return whether a line is no text, such as a compressed message. NUL is in UTF-16, too."""
    return _CONTROL.search(line, 0, SEARCHED) is not None


def _is_failure(value: bytes) -> bool:
    """Return whether a JSON object reports an error and nothing else."""
    members = {name: bytes(raw) for name, raw in members_of(value).items()}
    error = members.get("error", b"")
    if not members.keys() <= _OF_FAILURES:
        return False
    return (error[:1] in (b'"', b"{") and len(error) > 2) or (error == b"true" and "message" in members)


def _is_binary(data: bytes) -> bool:
    """Return whether data are no text at all, such as a compressed message."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in data
