"""Gateways that share one engine in memory, and clients that go from one to the next as those of this project do."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core.resume import ClientEnd, Event
from mcp_ws_ide.engines.base import Batch, Done
from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.gateway import Gateway, Limits, ResumeHandshake
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import FAST_SERVER, MODERN, until

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {}, "elicitation": {}},
    "clientInfo": {"name": "test", "version": "1"},
}


def fast(name: str = "fast", **options: Any) -> ServerSpec:
    """The fast server of both eras."""
    return ServerSpec(
        name, "test", command=FAST_SERVER["command"], args=tuple(FAST_SERVER["args"]), **options
    )


class Engine(MemoryEngine):
    """An engine in memory that can lag behind, and whose gateway can die."""

    def __init__(self, table: Any = None) -> None:
        super().__init__()
        if table is not None:
            self.table = table
        self.held: list[tuple[Batch, Done]] | None = None
        """Batches that are neither stored nor refused yet; None if the engine does not lag."""
        self.dead = False
        """Whether its process is killed: nobody learns any outcome."""

    def _end_of_turn(self) -> None:
        if not self.dead:
            super()._end_of_turn()

    def commit(self, batch: Batch, done: Done) -> None:
        if self.held is not None:
            self.held.append((batch, done))
        else:
            super().commit(batch, done)

    def lag(self) -> None:
        """Store nothing until :meth:`catch_up`."""
        self.held = []

    def catch_up(self) -> None:
        """Store what was held back."""
        held, self.held = self.held or [], None
        for batch, done in held:
            super().commit(batch, done)


class House:
    """One gateway after the other on the same stored sessions."""

    def __init__(self, *specs: ServerSpec, limits: Limits | None = None) -> None:
        self.specs = specs
        self.limits = limits or Limits(drain_timeout=0.2)
        self.engine = Engine()
        self.past: list[Gateway] = []
        self.clients: list[Client] = []
        self.gateway = self._open()

    def _open(self) -> Gateway:
        gateway = Gateway(self.limits, engine=self.engine)
        gateway.configure(Configuration({spec.name: spec for spec in self.specs}, []))
        return gateway

    async def crash(self) -> None:
        """End the gateway as ``kill -9`` does: nothing more is stored or sent; begin the next one."""
        self.engine.reachable, self.engine.dead = False, True
        await self.supersede()

    async def supersede(self) -> None:
        """Begin the next gateway while this one goes on without a client, as if it had been suspended."""
        old = self.gateway
        self._cut()
        self.engine = Engine(self.engine.table)
        self.past.append(old)
        self.gateway = self._open()
        await self.gateway.adopt_stored()

    async def restart(self) -> None:
        """Stop the gateway as SIGTERM does, and begin the next one."""
        await self.gateway.aclose()
        self._cut()
        self.engine = Engine(self.engine.table)
        self.gateway = self._open()
        await self.gateway.adopt_stored()

    def _cut(self) -> None:
        """End all links, as the end of a process does."""
        for client in self.clients:
            if client.wire is not None:
                client.wire.cut()

    async def close(self) -> None:
        for gateway in [*self.past, self.gateway]:
            for session in list(gateway.sessions.values()):
                session.abandon()
            await gateway.aclose()


class Wire:
    """A link between a client and a gateway, whose two ends may see different things."""

    queued_bytes = 0

    def __init__(self, client: Client) -> None:
        self.client = client
        self.open = True
        self.on_message: Callable[[bytes, float], None] = lambda data, now: None
        self.on_closed: Callable[[int, str], None] = lambda code, reason: None
        self.reading = True
        self.closes: list[tuple[int, str]] = []

    def bind(self, on_message: Any, on_closed: Any, on_full: Any) -> None:
        self.on_message, self.on_closed = on_message, on_closed

    def deliver(self, message: Any) -> None:
        self.send(message.data)

    def send(self, data: bytes) -> None:
        if self.open:
            self.client.receive(self, data)

    def set_reading(self, reading: bool) -> None:
        self.reading = reading

    def close(self, code: int, reason: str) -> None:
        """The gateway closes."""
        if self.open:
            self.open = False
            self.closes.append((int(code), reason))
            asyncio.get_running_loop().call_soon(self.on_closed, int(code), reason)
            self.client.lost(self)

    def write(self, data: bytes) -> None:
        """The client writes."""
        if self.open:
            asyncio.get_running_loop().call_soon(self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if self.open:
            self.on_message(data, time.perf_counter())

    def cut(self, code: int = 1006) -> None:
        """The network, or the client, ends the link."""
        if self.open:
            self.open = False
            self.on_closed(code, "cut")
            self.client.lost(self)


class Client:
    """A resumable client over :class:`Wire`.

    Attributes:
        got: every message that its SDK got, in order.
        answers: the responses by id; a list, since there must be one.
    """

    def __init__(self, house: House, server: str = "fast", principal: str = "me", **info: Any) -> None:
        self.house = house
        house.clients.append(self)
        self.server = server
        self.info = LinkInfo(principal, **info)
        self.end = ClientEnd()
        self.wire: Wire | None = None
        self.got: list[dict[str, Any]] = []
        self.answers: dict[Any, list[dict[str, Any]]] = {}
        self.events: Counter[str] = Counter()
        self.ids = 0

    # --- the link -------------------------------------------------------------------------------

    def connect(self) -> Wire:
        """Open a link, with ``open`` or ``resume``."""
        gateway, wire = self.house.gateway, Wire(self)
        hello = ResumeHandshake(gateway, gateway.servers[self.server], wire, self.info)
        wire.bind(hello.receive, hello.closed, None)
        if self.wire is not None and self.wire.open:
            self.end.lost_link()
        self.wire = wire
        wire.write(self.end.hello())
        return wire

    async def connected(self) -> Client:
        wire = self.connect()
        await until(lambda: self.end.live or not wire.open, what="an open session")
        return self

    def receive(self, wire: Wire, data: bytes) -> None:
        if wire is not self.wire:
            return
        message, frames, event = self.end.receive(data)
        self.events[event.value] += 1
        for frame in frames:
            wire.write(frame)
        if event is Event.GONE:
            self.events[f"gone: {self.end.gone_reason}"] += 1
        if message is not None:
            self.take(json.loads(message))

    def take(self, message: dict[str, Any]) -> None:
        self.got.append(message)
        if "method" not in message:
            self.answers.setdefault(message["id"], []).append(message)

    def lost(self, wire: Wire) -> None:
        if wire is self.wire:
            self.end.lost_link()

    # --- messages -------------------------------------------------------------------------------

    def say(self, **message: Any) -> None:
        """Send one message, now or with the next link."""
        written = self.end.send(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode())
        if written is not None and self.wire is not None:
            self.wire.write(written)

    def request(self, method: str, params: dict[str, Any] | None = None, meta: Any = MODERN) -> int:
        """Send a request; return its id."""
        self.ids += 1
        with_meta = {**(params or {}), **({"_meta": meta} if meta else {})}
        self.say(id=self.ids, method=method, params=with_meta)
        return self.ids

    def call(self, tool: str, arguments: dict[str, Any] | None = None, meta: Any = MODERN) -> int:
        """Call a tool; return the id of the request."""
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, meta)

    async def answer(self, request: int) -> dict[str, Any]:
        """Wait for the response to a request, which must be the only one."""
        await until(lambda: request in self.answers, what=f"an answer to {request}")
        (answer,) = self.answers[request]
        return answer

    async def ask(self, tool: str, arguments: dict[str, Any] | None = None, meta: Any = MODERN) -> str:
        """Call a tool; return its text."""
        answer = await self.answer(self.call(tool, arguments, meta))
        assert "result" in answer, answer
        return answer["result"]["content"][0]["text"]

    async def handshake(self) -> dict[str, Any]:
        """Initialize in the handshake era."""
        answer = await self.answer(self.request("initialize", INITIALIZE, None))
        self.say(method="notifications/initialized")
        return answer

    async def change(self, what: str) -> list[dict[str, Any]]:
        """Wait for a notification; return all of this method."""
        await until(lambda: any(m.get("method") == what for m in self.got), what=what)
        return [message for message in self.got if message.get("method") == what]
