"""Links that are cut again and again: every call is answered once, ran once, and its progress is in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest
from mcp.shared.message import SessionMessage

from mcp_ws_ide.client import Lost, Reconnect, Resumed, websocket_transport
from mcp_ws_ide.sdk import parse_message
from tests.chaos import ChaosLink
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, until

QUICK = Reconnect(first_delay=0.02, max_delay=0.5, give_up_after=120)
IN_FLIGHT = 8
GRACE = "--MCPWebSocketApp.grace=20"


class Caller:
    """One client on the raw streams of our transport, without an SDK session in between."""

    def __init__(self, url: str, token: str, number: int, legacy: bool) -> None:
        self.number, self.legacy = number, legacy
        self.states: Counter[str] = Counter()
        self.transport = websocket_transport(url, token=token, reconnect=QUICK, on_state=self.note)
        self.open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.progress: dict[int, list[float]] = {}
        self.replayed = 0

    def note(self, state: Any) -> None:
        self.states[type(state).__name__] += 1
        if isinstance(state, Resumed):
            self.replayed += state.replayed
        if isinstance(state, Lost):
            for future in self.open.values():
                future.set_exception(AssertionError(f"client {self.number}: {state.reason}"))

    async def __aenter__(self) -> Caller:
        self.read, self.write = await self.transport.__aenter__()
        self.reader = asyncio.create_task(self.receive())
        if self.legacy:
            info = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "c", "version": "1"},
            }
            await self.call(0, "initialize", info)
            await self.send(method="notifications/initialized")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reader.cancel()
        await self.transport.__aexit__(None, None, None)

    async def send(self, **message: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        await self.write.send(SessionMessage(parse_message(text)))

    async def receive(self) -> None:
        async for item in self.read:
            message = json.loads(item.message.model_dump_json(by_alias=True, exclude_unset=True))
            if "id" in message:
                self.open.pop(message["id"]).set_result(message)  # KeyError: answered twice
            else:
                self.notified(message)

    def notified(self, message: dict[str, Any]) -> None:
        """Take a notification."""
        params = message.get("params", {})
        if "progressToken" in params:
            self.progress.setdefault(params["progressToken"], []).append(params["progress"])

    async def call(self, own: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.open[own] = future = asyncio.get_running_loop().create_future()
        await self.send(id=own, method=method, params=params)
        return await future

    async def work(self, own: int) -> None:
        steps, key = own % 4, f"{self.number}.{own}"
        meta: dict[str, Any] = {"progressToken": own, **({} if self.legacy else MODERN)}
        arguments = {"key": key, "steps": steps}
        answer = await self.call(own, "tools/call", {"name": "work", "arguments": arguments, "_meta": meta})
        assert "result" in answer, answer
        assert answer["result"]["content"][0]["text"] == key, answer
        assert self.progress.pop(own, []) == list(range(steps)), "progress lost, doubled or out of order"

    async def tally(self) -> dict[str, Any]:
        meta = {} if self.legacy else {"_meta": MODERN}
        answer = await self.call(10**9, "tools/call", {"name": "tally", "arguments": {}, **meta})
        return json.loads(answer["result"]["content"][0]["text"])


async def chaos(jupyter: Jupyter, clients: int, legacy: int, calls: int, cuts: int, seed: int) -> None:
    """``clients`` of which ``legacy`` have a process of their own make ``calls`` each, while links are cut."""
    started, done = time.monotonic(), 0
    every = clients * calls // cuts
    async with ChaosLink(jupyter.port, seed) as link:
        url = jupyter.endpoint("fast").replace(str(jupyter.port), str(link.port))
        callers = [Caller(url, jupyter.token, number, number < legacy) for number in range(clients)]
        for caller in callers:  # in one task: a transport is left where it was entered
            await caller.__aenter__()

        async def drive(caller: Caller) -> None:
            nonlocal done
            numbers = iter(range(1, calls + 1))

            async def one_after_the_other() -> None:
                nonlocal done
                for own in numbers:
                    await caller.work(own)
                    done += 1
                    if done % every == 0:
                        link.cut()

            await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))

        await asyncio.gather(*(drive(caller) for caller in callers))
        tallies = [await caller.tally() for caller in callers[: legacy + 1]]
        for caller in reversed(callers):
            await caller.__aexit__()
    total = sum(link.cuts.values())
    states = sum((caller.states for caller in callers), Counter())
    print(
        f"\n{clients} clients x {calls} calls, {total} cuts {link.cuts}, {states['Resumed']} resumes, "
        f"{sum(caller.replayed for caller in callers)} replayed by clients, {time.monotonic() - started:.0f} s"
    )
    assert done == clients * calls
    assert sum(tally["runs"] for tally in tallies) == done
    assert [tally["twice"] for tally in tallies] == [[]] * len(tallies)
    assert total >= cuts - 1, "not every cut found a link to hurt"
    assert states["Lost"] == 0
    assert states["Connected"] == clients, "no session was started over"
    # Who leaves over a link that has just been cut cannot say so: the grace time ends such a session.
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0, BOUND)


@pytest.mark.heavy
async def test_cut_links_lose_and_repeat_nothing(make_jupyter):
    await chaos(make_jupyter({"fast": FAST_SERVER}, GRACE), clients=12, legacy=3, calls=150, cuts=120, seed=1)


@pytest.mark.soak
async def test_a_thousand_cuts_lose_and_repeat_nothing(make_jupyter):
    # A reconnect may wait long for its turn on a busy machine.
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.grace=100")
    await chaos(jupyter, clients=50, legacy=6, calls=2000, cuts=1100, seed=2)
