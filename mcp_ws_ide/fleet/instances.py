"""The lease of this gateway, and what it sees of the others.

A gateway counts as alive as long as it renews its lease. The clock decides nothing else: if a gateway that was taken
for dead writes something, the engine fences it. A gateway that finds that its own lease has ended asks the engine which
sessions it still owns, and drops the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import Engine, EngineUnavailableError, SharedEngine
from mcp_ws_ide.gateway import Gateway
from mcp_ws_ide.gateway.durable import DurableSession
from mcp_ws_ide.version import __version__

LEASE_SECONDS: Final = 5.0
"""Seconds after the last renewal until the others may take sessions over."""
MOST_PRINCIPALS: Final = 1000
"""Principals whose numbers of sessions a gateway tells the others."""
RENEW_SECONDS: Final = 1.0
"""Seconds between two renewals."""

log = logging.getLogger(__name__)


class InstanceFacts(msgspec.Struct):
    """What a gateway tells the others about itself.

    Attributes:
        id: chosen at random for each process.
        version: of the package.
        started: when it started, in seconds since the epoch.
        sessions, links: how many sessions it has, and how many of these have a link.
        processes: how many server processes run for it.
        draining: whether it gives its sessions away, or is shutting down.
        peer: address of its peer port; ``""`` if it has none.
        to_drain: while it drains, how many sessions it still gives away, or lets finish their requests.
        principals: number of sessions by hashed principal, if the number of one is limited; at most
            :data:`MOST_PRINCIPALS`, those with the most sessions.
        servers: the names of the servers that it has.
    """

    id: str
    version: str
    started: float
    sessions: int
    links: int
    processes: int
    draining: bool
    peer: str = ""
    to_drain: int = 0
    principals: dict[str, int] = {}
    servers: list[str] = []

    def public(self) -> dict[str, object]:
        """Return what users may see, as REST presents it."""
        members = msgspec.structs.asdict(self)
        del members["principals"], members["servers"]
        return members


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(InstanceFacts).decode


class Instances:
    """The gateways on one engine.

    Attributes:
        living: the facts of each living gateway by id, this one included.
        peer: address of the peer port of this gateway.
    """

    def __init__(self, engine: Engine, shared: SharedEngine, gateway: Gateway) -> None:
        self.living: dict[str, InstanceFacts] = {}
        self.peer = ""
        self._engine = engine
        self._shared = shared
        self._gateway = gateway
        self._started = time.time()
        self._begun = False
        self._failing = False

    @property
    def id(self) -> str:
        """The id of this gateway."""
        return self._shared.instance

    @property
    def facts(self) -> InstanceFacts:
        """What this gateway tells the others now."""
        gateway = self._gateway
        return InstanceFacts(
            self.id,
            __version__,
            self._started,
            len(gateway.sessions),
            sum(session.attached for session in gateway.sessions.values()),
            gateway.process_count(),
            gateway.draining,
            self.peer,
            gateway.to_drain if gateway.draining else 0,
            {
                self._engine.hashed(principal): count
                for principal, count in gateway.sessions_of_principals(MOST_PRINCIPALS).items()
            },
            list(gateway.servers),
        )

    def sessions_of(self, principal: str) -> int:
        """Return the number of sessions that a principal has at the other gateways, as of a second ago."""
        hashed = self._engine.hashed(principal)
        return sum(facts.principals.get(hashed, 0) for facts in self.living.values() if facts.id != self.id)

    def have_server(self, name: str) -> bool:
        """Return whether another gateway has a server of this name, as of a second ago."""
        return any(name in facts.servers for facts in self.living.values() if facts.id != self.id)

    @property
    def all(self) -> list[InstanceFacts]:
        """The living gateways, oldest first; this one as it is now, the others as of a second ago."""
        found = {**self.living, self.id: self.facts}
        return sorted(found.values(), key=lambda facts: (facts.started, facts.id))

    async def start(self) -> None:
        """Take out the lease, and keep renewing it.

        Raises:
            EngineUnavailableError: the others may not see it.
        """
        await self._look()
        self._begun = True
        self._gateway.tasks.spawn(self._run(), "lease")

    async def stop(self) -> None:
        """End the lease at once; for the end of the gateway, when it has left its sessions to others."""
        if not self._begun:
            return
        try:
            await self._shared.forget(self.id)
        except EngineUnavailableError as error:
            log.info("the lease of this gateway could not be ended, and expires on its own: %s", error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._look()
            except EngineUnavailableError as error:
                if not self._failing:
                    log.warning(
                        "the lease of this gateway cannot be renewed; after %g s others may take its sessions over: %s",
                        LEASE_SECONDS,
                        error,
                    )
                self._failing = True
            else:
                self._failing = False

    async def _look(self) -> None:
        """Renew the lease, and find out which gateways are alive and which have ended."""
        lived = await self._shared.renew(_encode(self.facts), LEASE_SECONDS)
        if self._begun and not lived:
            log.warning(
                "this gateway did not renew its lease in time (it was suspended, or did not reach Redis): its sessions "
                "that other gateways have taken over end here and continue there"
            )
            await self._verify()
        rows = await self._read_all()
        ended = [instance for instance, row in rows.items() if row is None]
        if ended:
            await self._adopt(ended)

    async def _read_all(self) -> dict[str, bytes | None]:
        rows = await self._shared.instances()
        self.living = {
            instance: facts for instance, row in rows.items() if row and (facts := _read(row)) is not None
        }
        return rows

    async def peer_of(self, instance: str) -> str | None:
        """Return the address of the peer port of a gateway; ``""`` if it is not known, None if its lease has ended."""
        if instance not in self.living:
            try:
                rows = await self._read_all()
            except EngineUnavailableError:
                return ""
            if rows.get(instance) is None:
                return None
        facts = self.living.get(instance)
        return facts.peer if facts is not None else ""

    async def _verify(self) -> None:
        """Ask the engine which sessions this gateway still owns."""
        mine = {s.id: s.commits for s in self._gateway.sessions.values() if isinstance(s, DurableSession)}
        outcomes = await self._shared.verify({key: commits.epoch for key, commits in mine.items()})
        for session_id, outcome in outcomes.items():
            mine[session_id].verified(outcome)

    async def _adopt(self, ended: list[str]) -> None:
        """Let the sessions of gateways that have ended wait for their clients for the grace period."""
        number = await self._engine.orphan(time.time() + self._gateway.limits.grace)
        log.warning(
            "gateways have ended: %s; sessions that wait for their clients: %d", ", ".join(ended), number
        )
        for instance in ended:
            await self._shared.forget(instance)


def _read(row: bytes) -> InstanceFacts | None:
    """Return the facts of another gateway; None if its version writes them in another form."""
    try:
        return _decode(row)
    except msgspec.DecodeError:
        return None
