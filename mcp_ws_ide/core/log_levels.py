"""The levels of MCP log messages, and who asked for them. Pure."""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.messages import Message

METHOD: Final = "notifications/message"
LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)
"""Levels in order of severity (MCP, Logging; the levels of RFC 5424)."""


def verbosity(level: str) -> int:
    """Return how much a request for ``level`` asks for: 8 for ``debug``, 1 for ``emergency``, 0 for anything else."""
    return len(LEVELS) - LEVELS.index(level) if level in LEVELS else 0


def verbosity_of(message: Message) -> int:
    """Return the least verbosity that includes a log message; 0, which all include, if its level is unknown."""
    return verbosity(messages.text_in(messages.member(message.params, "level")) or "")
