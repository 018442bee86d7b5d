"""Many clients with colliding ids at once: nothing lost, nothing misrouted, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.conftest import BOUND, MODERN, Jupyter, until

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
IN_FLIGHT = 16
"""Requests one client keeps open at a time."""


class LoadClient:
    """One client: ids 1, 2, 3 … as numbers, or the same digits as strings."""

    def __init__(self, link: Any, number: int, modern: bool, rng: random.Random) -> None:
        self.link, self.number, self.modern, self.rng = link, number, modern, rng
        self.strings = number % 2 == 1
        self.open: dict[Any, asyncio.Future[Any]] = {}
        self.cancelled: set[Any] = set()
        self.listening: Any = None
        self.seen: Counter[str] = Counter()
        self.last_id = 0

    def fresh_id(self) -> Any:
        self.last_id += 1
        return str(self.last_id) if self.strings else self.last_id

    async def send(self, **message: Any) -> None:
        await self.link.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def start(
        self, method: str, params: dict[str, Any], **meta: Any
    ) -> tuple[Any, asyncio.Future[Any]]:
        own = self.fresh_id()
        self.open[own] = asyncio.get_running_loop().create_future()
        if self.modern:
            meta |= MODERN
        await self.send(id=own, method=method, params={**params, "_meta": meta})
        return own, self.open[own]

    async def read(self) -> None:
        async for text in self.link:
            message = json.loads(text)
            if "method" in message:
                self.notified(message)
            else:
                own = message["id"]
                # The dictionary would take 7.0 for 7, and an answer twice would be missing here.
                assert type(own) is (str if self.strings else int), message
                if str(own) in self.cancelled:
                    self.cancelled.remove(str(own))  # its answer and its cancellation crossed
                else:
                    self.open.pop(own).set_result(message)

    def notified(self, message: dict[str, Any]) -> None:
        params = message["params"]
        if message["method"] == "notifications/progress":
            owner, own = params["progressToken"].split("/")
            assert owner == str(self.number), f"client {self.number} got progress of {owner}"
            assert (own if self.strings else int(own)) in self.open or own in self.cancelled
            self.seen["progress"] += 1
        else:
            assert params["_meta"][SUBSCRIPTION] == self.listening, message
            self.seen["listen"] += 1

    async def echo(self, sequence: int) -> None:
        text = f"{self.number}:{sequence}:" + "x" * self.rng.randrange(400)
        _, future = await self.start("tools/call", {"name": "echo", "arguments": {"text": text}})
        answer = await future
        assert answer["result"]["content"][0]["text"] == text
        self.seen["echo"] += 1

    async def slow(self) -> None:
        own = self.last_id + 1
        params = {"name": "slow", "arguments": {"steps": 3, "delay": 0.01}}
        _, future = await self.start("tools/call", params, progressToken=f"{self.number}/{own}")
        assert (await future)["result"]["content"][0]["text"] == "3 steps"
        self.seen["slow"] += 1

    async def cancel(self) -> None:
        own, future = await self.start(
            "tools/call", {"name": "slow", "arguments": {"steps": 1, "delay": 0.05}}
        )
        if not future.done():  # sending may have taken longer than the call
            self.cancelled.add(str(own))
            del self.open[own]
        await self.send(method="notifications/cancelled", params={"requestId": own})
        self.seen["cancel"] += 1

    async def listen(self) -> None:
        self.listening, _ = await self.start("subscriptions/listen", {})
        await until(lambda: self.seen["listen"], what="the acknowledgement")

    async def work(self, calls: int) -> None:
        if self.modern and self.number % 4 == 0:
            await self.listen()
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(sequence: int) -> None:
            async with gate:
                choice = self.rng.random()
                if choice < 0.94:
                    await self.echo(sequence)
                elif choice < 0.97:
                    await self.slow()
                else:
                    await self.cancel()

        await asyncio.gather(*(one(sequence) for sequence in range(calls)))
        if self.listening is not None:
            before = self.seen["listen"]
            await self.start("tools/call", {"name": "change"})
            await until(lambda: self.seen["listen"] > before, what="list_changed")


async def run(jupyter: Jupyter, clients: int, calls: int, modern: bool, seed: int) -> Counter[str]:
    """All clients at once; returns what they counted together."""
    total: Counter[str] = Counter()

    async def one(number: int) -> None:
        async with jupyter.connect("fast") as link:
            client = LoadClient(link, number, modern, random.Random(seed * 1000 + number))
            if not modern:
                await client.send(id=0, method="initialize", params={"protocolVersion": "2025-11-25"})
                await link.recv()
            reader = asyncio.create_task(client.read())
            worker = asyncio.create_task(client.work(calls))
            done, _ = await asyncio.wait({reader, worker}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            reader.cancel()
            total.update(client.seen)

    async with asyncio.timeout(4 * BOUND), asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(one(number))
    return total


def in_flight(jupyter: Jupyter) -> float:
    _, _, text = jupyter.request("GET", "metrics", None, {"Authorization": f"token {jupyter.token}"})
    lines = [
        line
        for line in text.decode().splitlines()
        if line.startswith('mcp_ws_requests_in_flight{server="fast"')
    ]
    return float(lines[0].rsplit(" ", 1)[1])


@pytest.mark.heavy
async def test_64_clients_on_one_process_lose_and_misroute_nothing(jupyter):
    calls = 20_000 // 64 + 1
    total = await run(jupyter, 64, calls, modern=True, seed=1)
    assert total["echo"] + total["slow"] + total["cancel"] == 64 * calls
    assert total["progress"] >= 3 * total["slow"]
    assert total["listen"] >= 2 * 16
    assert in_flight(jupyter) == 0
    assert len([p for p in jupyter.processes("fast") if p["era"] == "modern"]) == 1


@pytest.mark.heavy
async def test_16_clients_on_processes_of_their_own_lose_and_misroute_nothing(jupyter):
    before = {process["pid"] for process in jupyter.processes("fast")}
    total = await run(jupyter, 16, 300, modern=False, seed=2)
    assert total["echo"] + total["slow"] + total["cancel"] == 16 * 300
    await until(
        lambda: {process["pid"] for process in jupyter.processes("fast")} <= before,
        what="the end of the clients' servers",
    )
