"""Passes what arrives on a link to the SDK's session. Knows neither links nor how they are replaced."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup

from mcp_ws_ide.core.resume import ClientEnd, Doubt
from mcp_ws_ide.core.stand_ins import SUSPICION
from mcp_ws_ide.core.usable_answers import OpenCalls


class PassingOn:
    """Passes messages to the session, as far as they can be read.

    Args:
        end: the client's end, which knows the open requests.
        decode: makes the SDK's message of JSON.
        where: the server's address, for notes in its results.
        failed: called after requests were failed.
    """

    def __init__(
        self, end: ClientEnd, decode: Callable[[bytes], Any], where: str, failed: Callable[[], None]
    ) -> None:
        self._end, self._decode, self._failed = end, decode, failed
        self.foreign = OpenCalls(where)
        """Requests to a server that is no gateway."""

    async def pass_on(self, messages: list[bytes], to_session: Any) -> None:
        """Pass on messages that can be read."""
        for message in messages:
            usable = self.foreign.received(message) if self._end.plain else message
            await to_session.send(self._decode(usable))

    async def pass_on_odd(self, message: bytes, to_session: Any, group: TaskGroup) -> None:
        """Pass on what can be read of a message; the SDK is told of one of which nothing can."""
        made = self._end.readable(message)
        await self.pass_on(made, to_session)
        if (doubt := self._end.take_doubt()) is not None:
            group.start_soon(self._settle, doubt, to_session)
        elif not made and isinstance(error := self._decode(message), Exception):
            await to_session.send(error)

    async def _settle(self, doubt: Doubt, to_session: Any) -> None:
        """Fail what is open, unless a response follows what stands in place of a message."""
        await anyio.sleep(SUSPICION)
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self.pass_on(self._end.settle(doubt), to_session)
        self._failed()
