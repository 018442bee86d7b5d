"""``{base_url}mcp-ws/api/tap``: the WebSocket on which watchers receive records."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Final

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.handlers.upgrade import (
    check_handshake,
    check_subprotocols,
    look_after,
    upgrade,
    wants_upgrade,
)
from mcp_ws_ide.links.websocket import WebSocketLink
from mcp_ws_ide.observe.feed import Watcher
from mcp_ws_ide.observe.scope import Scope, method_pattern
from mcp_ws_ide.observe.tap import Tap

MAX_COMMAND_BYTES: Final = 4096
"""Bytes of a watcher's message, above which its link is closed; watchers have nothing to send."""
GATHER: Final = 0.02
"""Seconds for which records are collected into one write: a system call costs more than a record."""
MAX_VALUES: Final = 32
"""Values that one filter may have."""
MAX_VALUE: Final = 100
"""Characters that one value may have."""
CHOICES: Final = {
    "kind": ("request", "response", "error", "notification", "malformed", "noise", "event"),
    "direction": ("in", "out"),
    "leg": ("client", "upstream"),
    "errors": ("0", "1"),
}
"""Filters with fixed values; docs/reference/tap.md says what they mean."""
FILTERS: Final = ("server", "session", "kind", "method", "direction", "leg", "errors")
OTHERS: Final = ("after", "instance", "token")


class BadQueryError(ValueError):
    """A query parameter is invalid; the text says why."""


class TapHandler(EndpointHandler):
    """A WebSocket of subprotocol ``mcp.tap.v1``; each text message holds records, one a line."""

    @ws_authenticated
    async def get(self) -> None:
        """Upgrade to a WebSocket and subscribe; the query has filters and the position to continue from."""
        await self.check_authorized("read", "mcp-tap")
        if not wants_upgrade(self):
            raise self.refuse(
                426, "handshake", "the tap is a WebSocket; connect with the subprotocol mcp.tap.v1"
            )
        key = check_handshake(self)
        if binding.TAP_SUBPROTOCOL not in self.offered:
            check_subprotocols(self)
            raise self.refuse(400, "subprotocol", f"offer the subprotocol {binding.TAP_SUBPROTOCOL!r}")
        if self.is_test:
            return self.pass_test()
        tap, principal = self.runtime.gateway.tap, self.principal
        try:
            query = self._query()
            scope, (after, instance) = read_scope(query), read_place(query)
            tap.check_place(principal, after, instance)
        except ValueError as error:
            raise self.refuse(400, "query", str(error)) from None
        stream = upgrade(self, key, binding.TAP_SUBPROTOCOL)
        link = WebSocketLink(
            stream,
            MAX_COMMAND_BYTES,
            max_queued_bytes=self.runtime.gateway.limits.max_queued_bytes,
            cuts=self.runtime.cut_links,
        )
        look_after(self, link)
        feed = TapFeed(tap, link, scope, self.token_id)
        feed.start(lambda watcher: tap.subscribe(principal, watcher, after, instance))

    def _token_opens(self, servers: list[str], server: str) -> bool:
        """Accept every gateway token; it shows only its own sessions."""
        return True

    def _query(self) -> dict[str, list[str]]:
        return {name: self.get_query_arguments(name) for name in self.request.query_arguments}


def read_scope(query: dict[str, list[str]]) -> Scope:
    """Read the filters of a query.

    Raises:
        BadQueryError: a parameter or a value is unknown.
    """
    for name in query:
        if name not in FILTERS and name not in OTHERS:
            known = ", ".join((*FILTERS, *OTHERS[:2]))
            raise BadQueryError(f"the tap has no parameter {name[:MAX_VALUE]!r}; known parameters: {known}")
    direction, leg, errors = (_only(query, name) for name in ("direction", "leg", "errors"))
    methods = _values(query, "method")
    return Scope(
        servers=frozenset(_values(query, "server")),
        sessions=tuple(_values(query, "session")),
        kinds=frozenset(_values(query, "kind")),
        methods=method_pattern(methods) if methods else None,
        direction=direction,
        leg=leg,
        errors=errors == "1",
    )


def _values(query: dict[str, list[str]], name: str) -> list[str]:
    """Return the values of one filter, which may be repeated or separated by commas."""
    values = [part.strip() for value in query.get(name, ()) for part in value.split(",")]
    values = list(dict.fromkeys(value for value in values if value))
    if len(values) > MAX_VALUES or any(len(value) > MAX_VALUE or value.count("*") > 4 for value in values):
        raise BadQueryError(
            f'"{name}" may have at most {MAX_VALUES} values of at most {MAX_VALUE} characters, each with at most 4 "*"'
        )
    choices = CHOICES.get(name, values)
    for value in values:
        if value not in choices:
            raise BadQueryError(f'"{name}" is {value!r}; it must be one of {", ".join(choices)}')
    return values


def _only(query: dict[str, list[str]], name: str) -> str:
    values = _values(query, name)
    if len(values) > 1:
        raise BadQueryError(f'"{name}" has {len(values)} values; it takes one value')
    return values[0] if values else ""


def read_place(query: dict[str, list[str]]) -> tuple[int | None, str | None]:
    """Return the number of the newest record that a watcher has, and the feed instance that the number belongs to.

    Raises:
        BadQueryError: only one of the two is given, or the number is malformed.
    """
    after, instance = query.get("after", [""])[-1], query.get("instance", [""])[-1]
    if not after and not instance:
        return None, None
    if not after or not instance:
        raise BadQueryError(
            '"after" and "instance" must be given together: a number is valid for one instance only'
        )
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise BadQueryError(f'"after" is {after[:MAX_VALUE]!r}; it must be the "seq" of a record')
    return int(after), instance


class TapFeed:
    """Sends records from a watcher's position in its feed, no faster than its link takes them."""

    def __init__(self, tap: Tap, link: WebSocketLink, scope: Scope, token: str | None) -> None:
        self._link = link
        self._tap = tap
        self._full = False
        self._waking: asyncio.TimerHandle | None = None
        self._watcher = Watcher(self._wake, scope, token, self._end)

    def start(self, subscribe: Callable[[Watcher], None]) -> None:
        """Subscribe and start sending, first the records that a returning watcher has missed."""
        subscribe(self._watcher)
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
