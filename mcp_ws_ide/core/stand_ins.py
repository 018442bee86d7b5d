"""Text that a server sends in place of a message, where each message has a frame or an event of its own. Pure.

Tells a failed response from what only keeps a stream open; knows nothing of requests.
"""

from __future__ import annotations

import re
from typing import Final

from mcp_ws_ide.core import json_scan
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


def _is_binary(data: bytes) -> bool:
    """Return whether data are no text at all, such as a compressed message."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in data
