"""Calls from one gateway to the peer ports of others. Knows nothing of what is called for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final
from weakref import WeakSet

from mcp_ws_ide.fleet.instances import Instances
from mcp_ws_ide.fleet.reach import Reach
from mcp_ws_ide.fleet.sealed_stream import TIMEOUT, PeerLostError, SealedStream, greet
from mcp_ws_ide.gateway import Gateway
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.links.base import HIGH_WATER

CALL: Final = b"I"
"""Kind: the id of the instance that the caller means, and its own; the answer is :data:`HERE` or :data:`ELSEWHERE`."""
HERE: Final = b"H"
ELSEWHERE: Final = b"E"
PROBE_SECONDS: Final = 2.0
"""Seconds between two looks whether the other gateways answer; two failures end the connections with one."""
MOST_KEPT: Final = 8
"""Connections to one gateway that are kept for further calls."""
SLACK_BYTES: Final = 4 << 20
"""Bytes of a frame beside its message: a poll carries several."""


class PeerCalls:
    """The connections with other gateways.

    Args:
        key: the key that the gateways of one engine share.

    Attributes:
        reach: which gateways answer.
    """

    def __init__(self, gateway: Gateway, instances: Instances, key: bytes) -> None:
        self.reach = Reach()
        self._gateway = gateway
        self._instances = instances
        self._key = key
        self._connected: defaultdict[str, WeakSet[SealedStream]] = defaultdict(WeakSet)
        """By the gateway at the other end, whichever of the two has called."""
        self._kept: defaultdict[str, list[SealedStream]] = defaultdict(list)

    async def greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, calls: bool
    ) -> SealedStream:
        """Exchange greetings over a new connection.

        Raises:
            PeerLostError: the other end did not greet in time.
        """
        longest = self._gateway.longest_message + SLACK_BYTES
        return await greet(reader, writer, self._key, longest, HIGH_WATER, calls=calls)

    def add(self, instance: str, stream: SealedStream) -> None:
        """Note which gateway is at the other end of a connection."""
        self._connected[instance].add(stream)

    async def call(self, instance: str) -> SealedStream | None:
        """Return a connection to another gateway, which has just answered; None if it has certainly ended.

        Raises:
            PeerUnreachableError: it does not answer, but may be alive.
        """
        address = await self._instances.peer_of(instance)
        if address is None:
            return None
        if not address:
            raise PeerUnreachableError(
                f"gateway {instance} has no peer port that this version knows; run one version on all gateways"
            )
        try:
            while kept := self._kept[instance]:
                stream = kept.pop()
                try:
                    return stream if await self._is_here(stream, instance) else None
                except PeerLostError:
                    stream.close()  # it has ended since the last call; another connection shows what that means
            host, _, port = address.rpartition(":")
            try:
                async with asyncio.timeout(TIMEOUT):
                    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            except ConnectionRefusedError:
                self.reach.check_ended(instance, address, "refuses connections")
                return None
            try:
                stream = await self.greet(reader, writer, calls=True)
                if await self._is_here(stream, instance):
                    return stream
            except BaseException:
                writer.transport.abort()
                raise
            self.reach.check_ended(instance, address, "leads to another gateway")
            return None
        except (OSError, PeerLostError) as error:  # TimeoutError is an OSError
            reason = str(error) or f"no answer within {TIMEOUT:g} s"
            raise PeerUnreachableError(f"gateway {instance} at {address} does not answer: {reason}") from None

    async def _is_here(self, stream: SealedStream, instance: str) -> bool:
        """Return whether that gateway answers over a connection, which is closed otherwise."""
        stream.send(CALL, f"{instance} {self._instances.id}".encode())
        try:
            async with asyncio.timeout(TIMEOUT):
                kind, _ = await stream.receive()
        except TimeoutError:
            stream.abort()
            raise
        if kind != HERE:
            stream.close()
            return False
        self.add(instance, stream)
        self.reach.answers(instance)
        return True

    def keep(self, instance: str, stream: SealedStream) -> None:
        """Keep a connection whose call is complete for the next one."""
        kept = self._kept[instance]
        if len(kept) < MOST_KEPT:
            kept.append(stream)
        else:
            stream.close()

    async def answers(self, instance: str) -> bool:
        """Return whether a gateway answers, or has certainly ended.

        Raises:
            PeerUnreachableError: it does not answer, but may be alive.
        """
        stream = await self.call(instance)
        if stream is not None:
            stream.close()
        return stream is not None

    async def watch(self) -> None:
        """Find out which gateways answer, and end the connections with those that do not: TCP alone would notice
        neither a suspended one, nor for minutes that the network swallows what is sent.

        A look uses up a connection that is kept; so these end one after the other when nothing is called for.
        """
        silent: dict[str, str] = {}
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            living = self._instances.living.keys() - {self._instances.id}
            asked = sorted(living | {instance for instance, streams in self._connected.items() if streams})
            found = await asyncio.gather(*map(self._silence, asked))
            before = silent
            silent = {one: reason for one, reason in zip(asked, found, strict=True) if reason is not None}
            for instance in silent.keys() & before.keys():
                self._kept.pop(instance, None)
                for stream in list(self._connected.pop(instance, ())):
                    stream.abort()
            self.reach.note({one: text for one, text in silent.items() if text and one in before}, living)

    async def _silence(self, instance: str) -> str | None:
        """Return why a gateway does not answer, ``""`` if it has ended; None if it answers."""
        try:
            return None if await self.answers(instance) else ""
        except PeerUnreachableError as error:
            return str(error)

    def close(self) -> None:
        """Close all connections, after what is queued."""
        self._kept.clear()
        for streams in list(self._connected.values()):
            for stream in list(streams):
                stream.close()
        self._connected.clear()
