"""What every transport does alike (transports/base.py), in both eras, with a real server behind each."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from mcp_ws_ide.errors import TransportClosedError
from mcp_ws_ide.transports import TRANSPORTS, Transport, transport_class
from mcp_ws_ide.transports.processes import ProcessSupervisor
from tests.conftest import BOUND, MODERN, Jupyter, until
from tests.transports import peers
from tests.transports.peers import Peer, Recorder, transport_of

PEERS: dict[str, Callable[[Jupyter], Peer]] = {
    "stdio": lambda _: peers.Stdio(),
    "unix": lambda _: peers.Unix(),
    "ws": lambda jupyter: peers.Wire(jupyter, "ws"),
    "ws plain": lambda _: peers.PlainWebSocket(),
    "http": lambda jupyter: peers.Wire(jupyter, "http"),
    "sse": lambda _: peers.Sse(),
    "python": lambda _: peers.InProcess(),
}
"""A new transport adds its row here."""


class Attached:
    """A transport with its peer, spoken to in one era."""

    def __init__(self, peer: Peer, transport: Transport, era: str) -> None:
        self.peer, self.transport, self.era = peer, transport, era
        self.receiver = Recorder()
        self._ids = itertools.count(1)
        self._parsed: list[dict[str, Any]] = []

    def messages(self) -> list[dict[str, Any]]:
        self._parsed += [json.loads(message) for message in self.receiver.messages[len(self._parsed) :]]
        return self._parsed

    def answers(self) -> dict[Any, dict[str, Any]]:
        return {(type(m["id"]), m["id"]): m for m in self.messages() if "method" not in m}

    def progress(self, token: Any) -> list[float]:
        return [
            m["params"]["progress"]
            for m in self.messages()
            if m.get("method") == "notifications/progress" and m["params"]["progressToken"] == token
        ]

    def send(self, **message: Any) -> None:
        self.transport.send(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def request(self, method: str, params: dict[str, Any], request_id: Any = None, **meta: Any) -> Any:
        """Send a request; returns its id."""
        request_id = next(self._ids) if request_id is None else request_id
        meta = {**(MODERN if self.era == "modern" else {}), **meta}
        self.send(id=request_id, method=method, params={**params, "_meta": meta} if meta else params)
        return request_id

    def call(self, tool: str, request_id: Any = None, token: Any = None, **arguments: Any) -> Any:
        meta = {} if token is None else {"progressToken": token}
        return self.request("tools/call", {"name": tool, "arguments": arguments}, request_id, **meta)

    async def answer(self, request_id: Any, seconds: float = BOUND) -> dict[str, Any]:
        key = (type(request_id), request_id)
        try:
            await until(lambda: key in self.answers(), seconds, f"the answer to {request_id!r}")
        except TimeoutError:
            raise AssertionError(
                f"no answer to {request_id!r}; {self.receiver.reasons} {self.receiver.noise[-5:]}"
            ) from None
        return self.answers()[key]

    async def text(self, request_id: Any) -> str:
        answer = await self.answer(request_id)
        assert "result" in answer, (answer, self.receiver.reasons, self.receiver.noise)
        return answer["result"]["content"][0]["text"]

    async def begin(self) -> None:
        await self.transport.connect(self.receiver)
        if self.era == "handshake":
            params = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            }
            await self.answer(self.request("initialize", params, "init"))
            self.send(method="notifications/initialized")


@pytest.fixture
async def supervisor() -> AsyncIterator[ProcessSupervisor]:
    running = ProcessSupervisor()
    yield running
    await running.aclose()


@pytest.fixture(params=["handshake", "modern"])
async def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(PEERS))
async def attached(
    request: pytest.FixtureRequest, era: str, jupyter: Jupyter, supervisor: ProcessSupervisor, tmp_path
) -> AsyncIterator[Attached]:
    peer = PEERS[request.param](jupyter)
    await peer.start(tmp_path)
    transport = transport_of(peer, supervisor, connect_timeout=BOUND, reconnect_timeout=0.5)
    attached = Attached(peer, transport, era)
    await attached.begin()
    yield attached
    peer.thaw()
    await transport.close()
    await peer.stop()


def test_every_registered_transport_has_a_row():
    assert {name.partition(" ")[0] for name in PEERS} == set(TRANSPORTS)


async def test_requests_are_answered_with_their_ids(attached):
    ids = [7, "7", "seven", 8] if attached.era == "handshake" else [7, 8, 9]
    for number in ids:
        attached.call("echo", number, text=f"for {number!r}")
    for number in ids:
        assert await attached.text(number) == f"for {number!r}"
    assert len(attached.answers()) == len(ids) + (attached.era == "handshake")


async def test_progress_arrives_before_the_response(attached):
    answer = await attached.text(attached.call("slow", token=5, steps=4, delay=0.01))
    assert answer == "4 steps"
    assert attached.progress(5) == [0, 1, 2, 3, 4]
    last = attached.messages()[-1]
    assert "result" in last


async def test_a_cancelled_request_stops_and_its_siblings_continue(attached):
    sibling = attached.call("slow", token=2, steps=30, delay=0.02)
    number = attached.call("slow", token=1, steps=10_000, delay=0.01)
    await until(lambda: attached.progress(1))
    attached.send(method="notifications/cancelled", params={"requestId": number})
    await attached.text(attached.call("echo", text="the cancel has arrived by now"))
    await attached.text(attached.call("slow", steps=3, delay=0.02))
    seen = len(attached.progress(1))
    await attached.text(sibling)  # many steps of the cancelled one later …
    assert len(attached.progress(1)) == seen
    assert (int, number) not in attached.answers()


async def test_large_messages_pass_whole(attached):
    text = 'ä€\U0001f600\\"' + "x" * (3 << 20)
    assert await attached.text(attached.call("echo", text=text)) == text


@pytest.mark.parametrize("era", ["handshake"], indirect=True)  # a modern server asks nothing on its own
async def test_a_question_of_the_server_is_answered(attached):
    number = attached.call("question")
    question = await until(
        lambda: next((m for m in attached.messages() if m.get("method") == "roots/list"), None)
    )
    attached.send(id=question["id"], result={"roots": []})
    assert json.loads(await attached.text(number)) == {"roots": []}


@pytest.mark.parametrize("era", ["modern"], indirect=True)  # a handshake-era server notifies everybody
async def test_notifications_of_a_modern_server_reach_a_listener_until_it_is_cancelled(attached):
    def told(method: str) -> list[Any]:
        found = [m for m in attached.messages() if m.get("method") == f"notifications/{method}"]
        return [m["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] for m in found]

    listener = attached.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    await until(lambda: told("subscriptions/acknowledged") == [listener])
    assert await attached.text(attached.call("change")) == "1"
    await until(lambda: told("tools/list_changed") == [listener])
    attached.send(method="notifications/cancelled", params={"requestId": listener})
    for _ in range(100):
        if await attached.text(attached.call("change")) == "0":
            break
    else:
        raise AssertionError("the server was not told of the cancel")
    seen = len(told("tools/list_changed"))
    await attached.text(attached.call("change"))
    assert len(told("tools/list_changed")) == seen
    assert (int, listener) not in attached.answers()


@pytest.mark.parametrize("era", ["handshake"], indirect=True)  # modern requests are independent of each other
async def test_messages_arrive_in_the_order_they_were_sent(attached):
    for number in range(1, 101):
        attached.call("echo", number, text="x")
        if number % 10 == 0:
            attached.send(
                method="notifications/progress", params={"progressToken": "none", "progress": number}
            )
    await attached.answer(100)
    await until(lambda: len(attached.answers()) == 101)


async def test_the_death_of_the_peer_is_reported(attached):
    await attached.text(attached.call("echo", text="alive"))
    number = attached.call("slow", token=1, steps=100_000, delay=0.01)
    await until(lambda: attached.progress(1))
    attached.peer.die()
    await until(lambda: attached.receiver.reasons or (int, number) in attached.answers())
    if (int, number) in attached.answers():
        error = attached.answers()[int, number]["error"]
        assert error["data"]["outcome"] == "unknown"
        assert len(error["message"]) > 10
    else:
        assert len(attached.receiver.reasons) == 1
        with pytest.raises(TransportClosedError):
            attached.call("echo", text="too late")


async def test_the_death_of_an_idle_peer_is_reported_by_the_next_request_at_the_latest(attached):
    await attached.text(attached.call("echo", text="alive"))
    attached.peer.die()
    try:
        number = attached.call("echo", text="is anybody there?")
        await until(lambda: attached.receiver.reasons or (int, number) in attached.answers())
    except TransportClosedError as error:
        assert len(str(error)) > 10
    if (int, number) in attached.answers():
        error = attached.answers()[int, number]["error"]
        assert error["data"]["outcome"] in ("not_sent", "unknown")
    else:
        assert len(attached.receiver.reasons[0]) > 10


async def test_a_response_over_the_limit_fails_its_request_or_ends_the_attachment_with_a_reason(
    attached, supervisor
):
    small = Attached(attached.peer, transport_of(attached.peer, supervisor, 200_000), attached.era)
    await small.begin()
    number = small.call("echo", text="x" * 300_000)
    await until(lambda: small.receiver.reasons or (int, number) in small.answers())
    if (int, number) in small.answers():
        assert small.answers()[int, number]["error"]["message"].count("max_message_bytes") == 1
    try:
        assert await small.text(small.call("echo", text="it goes on")) == "it goes on"
    except TransportClosedError:
        await until(lambda: small.receiver.reasons)
        assert "max_message_bytes" in small.receiver.reasons[0]
    assert await attached.text(attached.call("echo", text="and so do others")) == "and so do others"
    await small.transport.close()


async def test_closing_while_messages_are_written_is_bounded_and_reported_once(attached):
    for _ in range(30):
        attached.call("echo", text="x" * 200_000)
    async with asyncio.timeout(BOUND):
        await asyncio.gather(attached.transport.close(), attached.transport.close())
    assert len(attached.receiver.reasons) == 1
    with pytest.raises(TransportClosedError):
        attached.call("echo", text="too late")
    await attached.transport.close()
    assert len(attached.receiver.reasons) == 1


async def test_closing_while_the_peer_is_frozen_is_bounded_and_leaves_nothing_behind(attached, supervisor):
    await attached.text(attached.call("echo", text="its own peer has opened what it needs"))
    me = psutil.Process()
    await until_settled(me)
    before = me.num_fds(), len(asyncio.all_tasks())
    frozen = Attached(attached.peer, transport_of(attached.peer, supervisor), attached.era)
    await frozen.begin()
    await frozen.text(frozen.call("echo", text="alive"))
    attached.peer.freeze()
    for _ in range(30):
        frozen.call("echo", text="x" * 200_000)
    async with asyncio.timeout(BOUND):
        await frozen.transport.close()
    assert len(frozen.receiver.reasons) == 1
    attached.peer.thaw()
    await until(lambda: me.num_fds() <= before[0] and len(asyncio.all_tasks()) <= before[1])


async def test_a_slow_peer_pauses_its_writers_and_loses_nothing(attached):
    await attached.text(attached.call("echo", text="alive"))
    attached.peer.freeze()
    # In all less than a session may leave unacknowledged on a shared server (two windows of 4 MiB).
    numbers = [attached.call("echo", text="x" * 300_000) for _ in range(24)]
    assert attached.transport.queued_bytes > 0
    await until(lambda: True in attached.receiver.paused)
    attached.peer.thaw()
    for number in numbers:
        assert len(await attached.text(number)) == 300_000
    await until(lambda: attached.receiver.paused[-1] is False)
    await until(lambda: attached.transport.queued_bytes == 0)


async def test_a_paused_reader_gets_nothing_until_it_resumes(attached, supervisor):
    sibling = Attached(attached.peer, transport_of(attached.peer, supervisor), attached.era)
    await sibling.begin()
    attached.transport.pause_reading()
    before = len(attached.receiver.messages)
    number = attached.call("echo", text="x")
    for _ in range(5):  # meanwhile a sibling has a whole conversation
        await sibling.text(sibling.call("echo", text="y"))
    assert len(attached.receiver.messages) == before
    attached.transport.resume_reading()
    assert await attached.text(number) == "x"
    await sibling.transport.close()


async def test_an_attachment_leaves_nothing_behind_however_it_ends(era, jupyter, supervisor, tmp_path):
    for name, make in PEERS.items():
        peer = make(jupyter)
        await peer.start(tmp_path)
        for ending in ENDINGS:
            await ending(peer, supervisor, era)
        me = psutil.Process()
        await until_settled(me)
        before = me.num_fds(), len(asyncio.all_tasks()), len(me.children())
        for ending in 2 * ENDINGS:
            await ending(peer, supervisor, era)

        def left(me: psutil.Process = me) -> tuple[int, int, int]:
            return me.num_fds(), len(asyncio.all_tasks()), len(me.children())

        def nothing_left(before: tuple[int, int, int] = before, left: Any = left) -> bool:
            return all(now <= then for now, then in zip(left(), before, strict=True))

        try:
            await until(nothing_left)
        except TimeoutError:
            raise AssertionError(f"{name} leaves descriptors, tasks, processes: {before} {left()}") from None
        gc.collect()
        assert sum(isinstance(o, transport_class(peer.spec["kind"])) for o in gc.get_objects()) <= 1
        await peer.stop()


async def _after_an_answer(peer: Peer, supervisor: ProcessSupervisor, era: str) -> None:
    attached = Attached(peer, transport_of(peer, supervisor, reconnect_timeout=0.5), era)
    await attached.begin()
    await attached.text(attached.call("echo", text="x"))
    await attached.transport.close()


async def _amid_a_call(peer: Peer, supervisor: ProcessSupervisor, era: str) -> None:
    attached = Attached(peer, transport_of(peer, supervisor, reconnect_timeout=0.5), era)
    await attached.begin()
    attached.call("slow", token=1, steps=1000, delay=0.01)
    await until(lambda: attached.progress(1))
    await attached.transport.close()


async def _before_anything_left(peer: Peer, supervisor: ProcessSupervisor, era: str) -> None:
    attached = Attached(peer, transport_of(peer, supervisor, reconnect_timeout=0.5), era)
    await attached.begin()
    attached.call("echo", text="x" * 300_000)
    await attached.transport.close()


async def _as_it_connects(peer: Peer, supervisor: ProcessSupervisor, era: str) -> None:
    transport = transport_of(peer, supervisor)
    connecting = asyncio.ensure_future(transport.connect(Recorder()))
    for _ in range(3):
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await transport.close()


ENDINGS = (_as_it_connects, _amid_a_call, _before_anything_left, _after_an_answer)


async def until_settled(me: psutil.Process) -> None:
    """Wait until five readings in a row agree: the peers close their ends a moment later."""
    last: list[int] = []

    def agree() -> bool:
        last[:] = [*last[-4:], me.num_fds()]
        return len(last) == 5 and len(set(last)) == 1

    await until(agree, what="the same number of descriptors five times in a row")
