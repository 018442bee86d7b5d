"""Sends the records of a tap over a link, no faster than the link takes them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Final, Protocol

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.links.base import OnClosed, OnFull, OnMessage
from mcp_ws_ide.observe.feed import Watcher
from mcp_ws_ide.observe.scope import Query, read_place, read_scope
from mcp_ws_ide.observe.tap import Tap

GATHER: Final = 0.02
"""Seconds for which records are collected into one write: a system call costs more than a record."""


class FeedLink(Protocol):
    """What a feed needs of a link."""

    closing: bool

    def start(self, on_message: OnMessage, on_closed: OnClosed, on_full: OnFull) -> None:
        """Start reading."""

    def send(self, data: bytes) -> None:
        """Queue one text message."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the link, after what is queued."""


class TapFeed:
    """Serves one watcher.

    Args:
        owner: the principal whose records it gets.
        token: the gateway token that limits it; None for no limit.
        query: its filters and its position, checked.
    """

    def __init__(self, tap: Tap, link: FeedLink, owner: str, token: str | None, query: Query) -> None:
        self._link = link
        self._tap = tap
        self._owner = owner
        self._place = read_place(query)
        self._full = False
        self._waking: asyncio.TimerHandle | None = None
        self._watcher = Watcher(self._wake, read_scope(query), token, self._end)

    def start(self) -> None:
        """Subscribe and start sending, first the records that a returning watcher has missed."""
        self._tap.subscribe(self._owner, self._watcher, *self._place)
        self._link.start(self._ignore, self._closed, self._link_full)
        self._pump()

    def _wake(self) -> None:
        self._waking = asyncio.get_running_loop().call_later(
            GATHER, self._pump, context=contextvars.Context()
        )

    def _pump(self) -> None:
        while not self._full and not self._link.closing:
            records = self._watcher.take()
            if not records:
                return
            self._link.send(records)

    def _link_full(self, full: bool) -> None:
        self._full = full
        if not full:
            self._pump()

    def _ignore(self, message: bytes, now: float) -> None:
        """Ignore messages of watchers."""

    def _end(self, code: CloseCode, reason: str) -> None:
        self._link.close(code, reason)

    def _closed(self, code: int, reason: str) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._tap.unsubscribe(self._watcher)
