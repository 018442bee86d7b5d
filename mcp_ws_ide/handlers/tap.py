"""``{base_url}mcp-ws/api/tap``: the traffic, for those who may watch it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide import binding
from mcp_ws_ide.gateway import Gateway
from mcp_ws_ide.handlers.link import WebSocketLink
from mcp_ws_ide.handlers.upgrade import UpgradeHandler
from mcp_ws_ide.tap import Record, Watcher

MAX_COMMAND_BYTES = 4096
"""Watchers have nothing to say; a message above this size closes the link."""


class TapHandler(UpgradeHandler):
    """A WebSocket of subprotocol ``mcp.tap.v1``; each text message holds records, one a line."""

    @ws_authenticated
    async def get(self) -> None:
        """Upgrade and start to watch. ``?server=`` and ``?session=`` narrow what is sent."""
        await self.check_authorized("read", "mcp-tap")
        if not self.wants_upgrade():
            raise self.refuse(426, "handshake", "the tap is a WebSocket of subprotocol mcp.tap.v1")
        key = self.check_handshake()
        if binding.TAP_SUBPROTOCOL not in self.offered:
            raise self.refuse(400, "subprotocol", f"offer the subprotocol {binding.TAP_SUBPROTOCOL!r}")
        accepts = self._filter()
        link = WebSocketLink(await self.upgrade(key, binding.TAP_SUBPROTOCOL), MAX_COMMAND_BYTES)
        self.runtime.heartbeat.add(link)
        self.watch_credential(link)
        TapFeed(self.runtime.gateway, link, accepts)

    def _filter(self) -> Callable[[str, Record], bool]:
        server = self.get_query_argument("server", "")
        session = self.get_query_argument("session", "")
        mine = self.principal

        def accepts(owner: str, record: Record) -> bool:
            if (server and record.server != server) or (session and record.session != session):
                return False
            return owner == mine

        return accepts


class TapFeed:
    """Moves records from a watcher's queue to its link, no faster than the link takes them."""

    def __init__(self, gateway: Gateway, link: WebSocketLink, accepts: Callable[[str, Record], bool]) -> None:
        self._link = link
        self._tap = gateway.tap
        self._full = False
        self._watcher = Watcher(self._wake, accepts)
        self._tap.subscribe(self._watcher)
        link.start(self._ignore, self._closed, self._link_full)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        while not self._full:
            records = self._watcher.take()
            if not records:
                return
            self._link.send(records)

    def _link_full(self, full: bool) -> None:
        self._full = full
        if not full:
            self._pump()

    def _ignore(self, message: bytes, now: float) -> None:
        """Watchers only listen."""

    def _closed(self, code: int, reason: str) -> None:
        self._tap.unsubscribe(self._watcher)
