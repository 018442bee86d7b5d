"""Leases and owners in Redis: what several gateways need to know of each other."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from mcp_ws_ide.engines.base import Outcome
from mcp_ws_ide.engines.redis_connection import Argument
from mcp_ws_ide.engines.server_clock import ServerClock

OUTCOMES: Final = {1: Outcome.COMMITTED, 2: Outcome.FENCED, 3: Outcome.BEHIND}
"""What the scripts ``commit`` and ``verify`` return."""
SESSIONS_PER_CALL: Final = 1000
"""Sessions that one run of ``verify`` looks at."""


class RedisInstances(ABC):
    """Implements :class:`~mcp_ws_ide.engines.base.SharedEngine`; the engine runs the scripts."""

    instance: str

    @property
    @abstractmethod
    def clock(self) -> ServerClock:
        """The server's clock."""

    @abstractmethod
    def _stage(self, name: str, *arguments: Argument) -> asyncio.Future[Any]:
        """Run a script in the next exchange; the future receives its reply."""

    async def claim(self, fingerprint: str) -> str:
        """Note which keys seal what is stored, unless sessions that are sealed with other keys are stored."""
        held: bytes = await self._stage("claim", fingerprint)
        return held.decode()

    async def renew(self, facts: bytes, seconds: float) -> bool:
        """Renew the lease of this gateway."""
        return bool(await self._stage("lease", facts, int(seconds * 1000)))

    async def instances(self) -> dict[str, bytes | None]:
        """Return the facts of each gateway; None for those whose lease has ended."""
        rows = await self._stage("instances")
        return {row[0].decode(): row[1] if len(row) > 1 else None for row in rows}

    async def forget(self, instance: str) -> None:
        """Forget a gateway whose lease has ended, or this one."""
        await self._stage("forget", instance)

    def release(self, session_id: str, epoch: int, expires_at: float) -> None:
        """Give a session up."""
        self._stage("release", session_id, epoch, repr(self.clock.there(expires_at)))

    async def tokens(self) -> tuple[dict[str, bytes], set[str]]:
        """Return the gateway tokens by id, and the ids of those that were revoked."""
        pairs, revoked = await self._stage("tokens", repr(self.clock.there(time.time())))
        sealed = {key.decode(): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}
        return sealed, {token_id.decode() for token_id in revoked}

    async def add_token(self, token_id: str, sealed: bytes) -> None:
        """Store a gateway token."""
        await self._stage("add_token", token_id, sealed)

    async def revoke_token(self, token_id: str, expires: float) -> None:
        """Delete a gateway token, and remember that it was revoked."""
        await self._stage("revoke_token", token_id, repr(expires))

    async def forget_tokens(self, sealed: dict[str, bytes]) -> None:
        """Delete gateway tokens that have expired."""
        await self._stage("forget_tokens", *(part for pair in sealed.items() for part in pair))

    async def verify(self, epochs: dict[str, int]) -> dict[str, Outcome]:
        """Find out whether this gateway still owns sessions."""
        outcomes: dict[str, Outcome] = {}
        entries = list(epochs.items())
        for begin in range(0, len(entries), SESSIONS_PER_CALL):
            part = entries[begin : begin + SESSIONS_PER_CALL]
            codes = await self._stage("verify", msgspec.msgpack.encode(part))
            for (session_id, _), code in zip(part, codes, strict=True):
                outcomes[session_id] = OUTCOMES[code]
        return outcomes
