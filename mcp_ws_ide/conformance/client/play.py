"""A scripted gateway on a port of this machine, and the client's command that runs against it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from mcp_ws_ide.conformance.client.served import RESUME, Served
from mcp_ws_ide.conformance.verdicts import NotReachedError, UnmetError
from mcp_ws_ide.conformance.wire import LARGEST, Exchange, Link

PATH: Final = "/mcp"
URL_VARIABLE: Final = "MCP_WS_URL"
_PLACE: Final = "{url}"
START: Final = 3
"""How many times as long as for a frame a script waits for the command's first link."""
_TAIL: Final = 400
"""Bytes of the command's stderr that a report quotes."""


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """What the user has said about the client.

    Attributes:
        command: the command; ``{url}`` in it is replaced by the URL, which is appended where that is missing.
        timeout: seconds to wait for each frame, and for the command's end.
    """

    command: tuple[str, ...]
    timeout: float = 10.0


@dataclass(slots=True)
class ClientFacts:
    """What the client has, as the survey found it."""

    offered: tuple[str, ...] = ()
    agent: str = ""
    connected: bool = False

    @property
    def resumable(self) -> bool:
        """Whether it offers ``mcp.resume.v1``."""
        return RESUME in self.offered


class Play:
    """One run of the client's command against the gateway, which accepts links and leaves the rest to the script.

    Args:
        target: the command.
        facts: what the survey has found.
        subprotocols: those that the gateway selects, the first that is offered.
    """

    def __init__(
        self, target: ClientTarget, facts: ClientFacts, subprotocols: Sequence[str] = (RESUME, "mcp")
    ) -> None:
        self.target = target
        self.facts = facts
        self.exchange = Exchange()
        self.seconds = target.timeout
        self.subprotocols = tuple(subprotocols)
        self.offers: list[tuple[str, ...]] = []
        """What each handshake offered."""
        self._links: asyncio.Queue[Link] = asyncio.Queue()
        self._all: list[Link] = []
        self._server: Server | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by leave

    async def link(self) -> Link:
        """Return the next link that the client opens; the first call starts the command.

        Raises:
            NotReachedError: it opens none in time.
            UnmetError: it has opened one before, and opens no further one in time.
        """
        patience = self.seconds if self._all else START * self.seconds
        if self._process is None:
            await self._start()
        assert self._process is not None
        async with asyncio.TaskGroup() as group:
            opened = group.create_task(self._links.get())
            ended = group.create_task(self._process.wait())
            await asyncio.wait({opened, ended}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
            ended.cancel()
        if not opened.cancelled():
            return opened.result()
        if not ended.cancelled():
            raise self._missing(f"the command ended, with {self._ending()}")
        raise self._missing(f"nothing came within {patience:g} s")

    def _missing(self, why: str) -> Exception:
        if self._all:
            return UnmetError(f"the client opened no further link: {why}")
        return NotReachedError(f"the client opened no link: {why}")

    async def served(self) -> Served:
        """Return the session on the next link; the script has to begin it."""
        return Served(await self.link(), self.seconds)

    async def session(self, **members: Any) -> Served:
        """Return the session on the next link, begun."""
        session = await self.served()
        await session.begin(**members)
        return session

    async def _start(self) -> None:
        self._server = await serve(
            self._accept,
            "127.0.0.1",
            0,
            select_subprotocol=self._select,
            compression=None,
            ping_interval=None,
            max_size=LARGEST,
            close_timeout=1,
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}{PATH}"
        command = [part.replace(_PLACE, url) for part in self.target.command]
        if command == list(self.target.command):
            command.append(url)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=self._stderr,
                env={**os.environ, URL_VARIABLE: url},
                start_new_session=True,
            )
        except OSError as error:
            raise NotReachedError(
                f"the command cannot be started: {error.strerror or error}; check its name and path"
            ) from None

    def _select(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        self.offers.append(tuple(offered))
        return next((Subprotocol(name) for name in self.subprotocols if name in offered), None)

    async def _accept(self, connection: ServerConnection) -> None:
        request = connection.request
        if request is not None:
            self.facts.agent = request.headers.get("User-Agent", "")
        if not self.offers:
            self.offers.append(())
        offered = ", ".join(self.offers[-1]) or "nothing"
        self.exchange.came(f"WebSocket handshake offering {offered}")
        self.exchange.sent(f"101, subprotocol {connection.subprotocol or 'none'}")
        link = Link(connection, self.exchange)
        self._all.append(link)
        self._links.put_nowait(link)
        await connection.wait_closed()

    async def ending(self) -> str:
        """Return how the command ended, empty if with 0; it is killed if it goes on for too long."""
        assert self._process is not None
        try:
            async with asyncio.timeout(self.seconds):
                await self._process.wait()
        except TimeoutError:
            return f"it still runs after {self.seconds:g} s"
        return "" if self._process.returncode == 0 else self._ending()

    def _ending(self) -> str:
        assert self._process is not None
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _TAIL))
        said = " ".join(self._stderr.read().decode(errors="replace").split())
        return f"status {self._process.returncode}{f' and …{said}' if said else ''}"

    @property
    def running(self) -> bool:
        """Whether the command runs."""
        return self._process is not None and self._process.returncode is None

    async def leave(self) -> None:
        """Kill the command with its children, cut every link, and stop the gateway."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for link in self._all:
            link.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._stderr.close()
