"""``{base_url}mcp-ws/api/tap``: the WebSocket on which watchers receive records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_server.auth.decorator import ws_authenticated

from mcp_ws_ide.core import binding
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.handlers.upgrade import (
    check_handshake,
    check_subprotocols,
    look_after,
    upgrade,
    wants_upgrade,
)
from mcp_ws_ide.links.tap_feed import TapFeed
from mcp_ws_ide.links.websocket import WebSocketLink
from mcp_ws_ide.observe.scope import read_place, read_scope

if TYPE_CHECKING:
    from mcp_ws_ide.fleet.fleet import PassedWatcher

MAX_COMMAND_BYTES: Final = 4096
"""Bytes of a watcher's message, above which its link is closed; watchers have nothing to send."""
RETRY_AFTER: Final = "1"
"""Seconds after which a watcher may try again whose gateway does not answer."""


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
        query = self._query()
        try:
            read_scope(query)
            after, instance = read_place(query)
            self.runtime.gateway.tap.check_place(self.principal, after, instance)
        except ValueError as error:
            raise self.refuse(400, "query", str(error)) from None
        elsewhere = await self._reach(instance or "")
        if elsewhere is None and self.runtime.fleet is not None:
            await self.runtime.fleet.watch(self.principal)
        stream = upgrade(self, key, binding.TAP_SUBPROTOCOL)
        link = WebSocketLink(
            stream,
            MAX_COMMAND_BYTES,
            max_queued_bytes=self.runtime.gateway.limits.max_queued_bytes,
            cuts=self.runtime.cut_links,
        )
        look_after(self, link)
        if elsewhere is None:
            TapFeed(self.runtime.gateway.tap, link, self.principal, self.token_id, query).start()
        else:
            elsewhere.pass_watcher(link, self.principal, self.token_id, query)

    async def _reach(self, feed: str) -> PassedWatcher | None:
        """Return the way to the gateway whose feed a watcher wants to continue; None if it is this one, or has ended.

        Raises:
            HTTPError: 503, it does not answer.
        """
        fleet, owner = self.runtime.fleet, self.runtime.gateway.owner_of_link(feed)
        if fleet is None or not owner:
            return None
        try:
            return await fleet.reach_feed(owner)
        except PeerUnreachableError as error:
            self.error_headers["Retry-After"] = RETRY_AFTER
            raise self.refuse(503, "peer", str(error)) from None

    def _token_opens(self, servers: list[str], server: str) -> bool:
        """Accept every gateway token; it shows only its own sessions."""
        return True

    def _query(self) -> dict[str, list[str]]:
        """Return the parameters, without a credential."""
        names = self.request.query_arguments.keys() - {"token"}
        return {name: self.get_query_arguments(name) for name in names}
