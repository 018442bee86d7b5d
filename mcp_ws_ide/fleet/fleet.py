"""This gateway as one of several: puts lease, peer port and shared tokens together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import EngineRefusedError, EngineUnavailableError, SharedEngine
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.fleet.instances import Instances
from mcp_ws_ide.fleet.passed_tickets import IssuedTickets, PassedTicket, redeem_at
from mcp_ws_ide.fleet.peer_requests import AnswerRequest
from mcp_ws_ide.fleet.peers import Peers
from mcp_ws_ide.fleet.sealed_stream import SealedStream
from mcp_ws_ide.fleet.shared_tap import WATCHER, Gathering, WatcherCall
from mcp_ws_ide.fleet.shared_tokens import SYNC_SECONDS, SharedTokens
from mcp_ws_ide.gateway import Gateway
from mcp_ws_ide.links.websocket import WebSocketLink
from mcp_ws_ide.tokens import TokenStore, digest_of

ASK_SECONDS: Final = 0.25
"""Least seconds between two questions for the gateways that tickets name and that are not known."""

log = logging.getLogger(__name__)


class PassedWatcher:
    """The way of one watcher to a feed of another gateway."""

    def __init__(self, stream: SealedStream, peers: Peers, gateway: Gateway) -> None:
        self._stream = stream
        self._peers = peers
        self._gateway = gateway

    def pass_watcher(
        self, link: WebSocketLink, owner: str, token: str | None, query: dict[str, list[str]]
    ) -> None:
        """Have that gateway serve a watcher whose link was opened here.

        Args:
            owner: the principal.
            token: the gateway token that was presented.
            query: filters and position.
        """
        link.start(lambda message, now: None, lambda code, reason: None)
        self._stream.send(WATCHER, msgspec.json.encode(WatcherCall(owner, token, query)))
        self._gateway.tasks.spawn(self._peers.relay(self._stream, link), "watcher of another gateway")


class Fleet:
    """The gateways that share an engine.

    Args:
        address: ``host:port`` of the peer port; port 0 for any.
        tokens: the gateway tokens of this gateway.
        revoked: called with the id of each token that another gateway has revoked.
        answer: answers requests that other gateways pass on.
        tickets: the tickets that this gateway has issued.

    Attributes:
        instances: the gateways, as each describes itself.
    """

    def __init__(
        self,
        engine: SealedEngine,
        shared: SharedEngine,
        gateway: Gateway,
        address: str,
        tokens: TokenStore,
        revoked: Callable[[str], None],
        answer: AnswerRequest,
        tickets: IssuedTickets,
    ) -> None:
        self.instances = Instances(engine, shared, gateway)
        self._gateway = gateway
        self._asked = 0.0
        self._address = address
        self._tokens = SharedTokens(engine, shared, tokens, revoked)
        host, _, port = address.rpartition(":")
        there = (host.strip("[]"), int(port))
        self._peers = Peers(gateway, self.instances, engine.peer_key, there, answer, tickets)
        gateway.tap.gateway = self.instances.id
        self._gathering = Gathering(gateway.tap, self.instances, self._peers.calls.call, gateway.tasks)

    async def start(self) -> None:
        """Listen at the peer port, and take out the lease.

        Raises:
            EngineRefusedError: the peer port cannot be used.
            EngineUnavailableError: the others may not see this gateway.
        """
        try:
            self.instances.peer = await self._peers.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineRefusedError(f"peer_address {self._address!r} cannot be used: {reason}") from None
        try:
            await self.instances.start()
        except BaseException:
            self._peers.stop()
            raise
        log.info("this is gateway %s; the others reach it at %s", self.instances.id, self.instances.peer)
        await self._tokens.sync()
        await self._gathering.prepare()
        self._gateway.join(self._peers)
        self._gateway.tasks.spawn(self._keep_tokens(), "shared tokens")
        self._gateway.tasks.spawn(self._gathering.run(), "records of other gateways")

    async def watch(self, owner: str) -> None:
        """Have the records of a principal at all gateways come into this one's tap, before a watcher subscribes."""
        await self._gathering.watch(owner)

    @property
    def problems(self) -> dict[str, str]:
        """Why other gateways do not answer, by id."""
        return self._peers.calls.reach.problems

    async def redeem(self, instance: str, secret: str, server: str) -> PassedTicket | None:
        """Have another gateway redeem a ticket that it has issued; return None if it is not valid, or that gateway has
        ended.

        Raises:
            PeerUnreachableError: that gateway does not answer, but may be alive.
        """
        if instance not in self.instances.living and not self._may_ask():
            return None
        stream = await self._peers.calls.call(instance)
        if stream is None:
            return None
        return await redeem_at(stream, digest_of(secret), server, self._gateway.tasks)

    def _may_ask(self) -> bool:
        """Return whether the engine may be asked for an unknown gateway now: anybody can present invented tickets."""
        now = time.monotonic()
        if now - self._asked < ASK_SECONDS:
            return False
        self._asked = now
        return True

    async def reach_feed(self, instance: str) -> PassedWatcher | None:
        """Return the way to the feeds of another gateway; None if it has certainly ended.

        Raises:
            PeerUnreachableError: it does not answer, but may be alive.
        """
        stream = await self._peers.calls.call(instance)
        return None if stream is None else PassedWatcher(stream, self._peers, self._gateway)

    async def _keep_tokens(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await self.share_tokens()

    async def share_tokens(self) -> bool:
        """Exchange with the engine which tokens were minted and revoked; return whether it could be reached."""
        try:
            await self._tokens.sync()
        except EngineUnavailableError:
            return False
        return True

    async def stop(self) -> None:
        """Stop; the sessions have been left to the other gateways."""
        self._peers.stop()
        await self.instances.stop()
