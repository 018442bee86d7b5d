"""This gateway as one of several: puts lease and peer port together."""

from __future__ import annotations

from mcp_ws_ide.engines.base import Engine, EngineRefusedError, SharedEngine
from mcp_ws_ide.fleet.instances import Instances
from mcp_ws_ide.fleet.peers import Peers
from mcp_ws_ide.gateway import Gateway


class Fleet:
    """The gateways that share an engine.

    Args:
        key: what only they have.
        address: ``host:port`` of the peer port; port 0 for any.

    Attributes:
        instances: who they are.
    """

    def __init__(
        self, engine: Engine, shared: SharedEngine, gateway: Gateway, key: bytes, address: str
    ) -> None:
        self.instances = Instances(engine, shared, gateway)
        self._gateway = gateway
        self._address = address
        host, _, port = address.rpartition(":")
        self._peers = Peers(gateway, self.instances, key, (host.strip("[]"), int(port)))

    async def start(self) -> None:
        """Listen at the peer port, and begin to live.

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
        self._gateway.join(self._peers)

    async def stop(self) -> None:
        """End, when the sessions are left to the others."""
        self._peers.stop()
        await self.instances.stop()
