"""Many sessions and slow ones: a storm of resumes, a client that does not read, cycles that must leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import BOUND, FAST_SERVER, Jupyter, Peer, child, until
from tests.handlers.test_resume import Resumer

MIB = 1 << 20


NEIGHBOUR = """
import asyncio, json, sys, time
from websockets.asyncio.client import connect
async def main(url, headers):
    calls = []
    request = {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}
    async with connect(url, additional_headers=json.loads(headers), subprotocols=["mcp"]) as link:
        async def call():
            started = time.monotonic()
            await link.send(json.dumps({**request, "id": len(calls)}))
            await link.recv()
            calls.append(time.monotonic() - started)
        await call()
        print("ready", flush=True)
        enough = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        while not enough.done():
            await call()
    print(max(calls))
asyncio.run(main(*sys.argv[1:]))
"""
"""A client in a process of its own, which says how long its slowest call took."""


async def storm(jupyter: Jupyter, count: int) -> tuple[float, float]:
    """Cut ``count`` sessions at once; returns seconds until all were back, and a neighbour's worst call."""
    clients = [Resumer(jupyter, open_timeout=BOUND) for _ in range(count)]  # all of them share one process
    gate = asyncio.Semaphore(50)

    async def prepare(client: Resumer) -> None:
        async with gate:
            await client.open()
            await client.call(1, "echo", {"text": client.session})
            await client.data()

    await asyncio.gather(*(prepare(client) for client in clients))
    headers = json.dumps({"Authorization": f"Bearer {jupyter.token}"})
    command = (sys.executable, "-c", NEIGHBOUR, jupyter.endpoint("fast"), headers)
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    async with child(*command, **pipes) as neighbour:
        assert await neighbour.stdout.readline() == b"ready\n"
        for number, client in enumerate(clients):
            # One answer for each is under way or waiting when its link is cut.
            await client.call(2, "echo", {"text": f"after {number}"})
        for client in clients:
            client.vanish()
        started = time.monotonic()
        answers = await asyncio.gather(*(client.resume() for client in clients))
        assert {answer["mcp.ws"] for answer in answers} == {"resumed"}
        for number, (client, answer) in enumerate(zip(clients, answers, strict=True)):
            if answer["recv"] == 1:  # the request was cut off as well: it is ours to send again
                await client.call(2, "echo", {"text": f"after {number}"})
            assert (await client.data())["result"]["content"][0]["text"] == f"after {number}"
        taken = time.monotonic() - started
        told, _ = await neighbour.communicate(b"enough\n")
        worst = float(told)
    await asyncio.gather(*(client.link.close() for client in clients))
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    return taken, worst


@pytest.mark.heavy
async def test_a_storm_of_resumes(make_jupyter):
    taken, worst = await storm(make_jupyter({"fast": FAST_SERVER}), 300)
    print(f"\n300 sessions back in {taken:.1f} s; a neighbour's slowest call {worst * 1000:.0f} ms")


@pytest.mark.soak
async def test_two_thousand_sessions_resume_at_once(make_jupyter):
    taken, worst = await storm(make_jupyter({"fast": FAST_SERVER}), 2000)
    print(f"\n2,000 sessions back in {taken:.1f} s; a neighbour's slowest call {worst * 1000:.0f} ms")
    assert taken < 60


@pytest.mark.heavy
@pytest.mark.parametrize("resumable", [False, True])
async def test_a_client_that_does_not_read_costs_bounded_memory_and_affects_no_other(make_jupyter, resumable):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    gateway = psutil.Process(jupyter.process.pid)
    async with jupyter.connect() as other:
        neighbour = Peer(other)
        await neighbour.call(0, "tools/list")
        slow = Resumer(jupyter, max_queue=1, ping_interval=None)
        if resumable:
            await slow.open()
        else:
            slow.link = await jupyter.connect(max_queue=1, ping_interval=None)
        await slow.call("warm", "echo", {"text": "x"})
        before = gateway.memory_info().rss
        await slow.call(1, "flood", {"count": 100_000, "size": 400}, progressToken="t")
        peak, number = before, 0
        while True:
            number += 1
            answer = await neighbour.call(number, "tools/call", {"name": "echo", "arguments": {"text": "y"}})
            assert answer["id"] == number, "the neighbour gets its answers, and nothing else"
            peak = max(peak, gateway.memory_info().rss)
            sessions = jupyter.rest("GET", "sessions")[1]["sessions"]
            if not any(s["in_flight"] for s in sessions):
                break
        print(
            f"\nresumable {resumable}: {(peak - before) / MIB:.1f} MiB at most for 100,000 unread notifications"
        )
        assert peak - before < 24 * MIB
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(BOUND):
                while True:
                    await slow.link.recv()
        assert closed.value.rcvd.code == 1008
        assert "max_queued_bytes" in closed.value.rcvd.reason
        if resumable:
            await slow.resume(recv=0)
            frames = []
            async with asyncio.timeout(BOUND):
                while not frames or frames[-1].get("id") != 1:
                    frames.append(json.loads(await slow.link.recv()))
            gaps = [f["dropped"] for f in frames if f.get("mcp.ws") == "gap"]
            progress = [f for f in frames if "method" in f]
            assert frames[-1]["result"]["content"][0]["text"] == "flooded", "the answer never gives way"
            assert sum(gaps) + len(progress) >= 100_000
            await slow.link.close()


async def test_updates_reach_subscribers_at_once_and_nobody_else(jupyter):
    async with jupyter.connect() as asked, jupyter.connect() as asked_too, jupyter.connect() as silent:
        notifications = {"toolsListChanged": True}
        for number, link in enumerate((asked, asked_too)):
            peer = Peer(link)
            answer = await peer.call(
                f"listen{number}", "subscriptions/listen", {"notifications": notifications}
            )
            assert answer["method"] == "notifications/subscriptions/acknowledged"
        heard = await Peer(silent).call(1, "tools/call", {"name": "change"})
        assert heard["id"] == 1, "who did not ask gets only the answer"
        for number, link in enumerate((asked, asked_too)):
            told = await Peer(link).receive()
            assert told["method"] == "notifications/tools/list_changed"
            assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == f"listen{number}"


# --- cycles -----------------------------------------------------------------------------------------


def footprint(jupyter: Jupyter) -> dict[str, float]:
    process = psutil.Process(jupyter.process.pid)
    children = process.children(recursive=True)
    return {
        "rss": process.memory_info().rss / 1024,
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "processes": len(children),
        "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in children),
    }


async def connect_cycles(jupyter: Jupyter, cycles: int) -> None:
    """A third each: plain and closed, plain and aborted, resumable and closed; all make a call."""
    gate = asyncio.Semaphore(16)

    async def one(number: int) -> None:
        async with gate:
            if number % 3 == 2:
                client = Resumer(jupyter)
                await client.open()
                await client.call(1, "echo", {"text": "x"})
                await client.data()
                await client.link.close()
                return
            link = await jupyter.connect()
            await Peer(link).call(1, "tools/list")
            if number % 3:
                link.transport.abort()
            with contextlib.suppress(ConnectionClosed):
                await link.close()

    await asyncio.gather(*(one(number) for number in range(cycles)))
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0)
    gc.collect()


@pytest.mark.heavy
async def test_connecting_and_leaving_leaves_nothing_behind(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    await connect_cycles(jupyter, 100)
    before = footprint(jupyter)
    await connect_cycles(jupyter, 300)
    after = footprint(jupyter)
    assert after["descriptors"] <= before["descriptors"] + 2
    assert {k: after[k] for k in ("threads", "processes", "zombies")} == {
        k: before[k] for k in ("threads", "processes", "zombies")
    }


@pytest.mark.soak
async def test_ten_thousand_connections_leave_nothing_behind(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    await connect_cycles(jupyter, 9000)  # until the allocator has seen everything
    before = footprint(jupyter)
    await connect_cycles(jupyter, 10_000)
    after = footprint(jupyter)
    slope = (after["rss"] - before["rss"]) / 10_000
    print(f"\n10,000 connections: {slope:.3f} KiB each; {before} -> {after}")
    assert slope < 0.1
    assert after["descriptors"] <= before["descriptors"] + 2
    assert after["threads"] == before["threads"]
    assert (after["processes"], after["zombies"]) == (before["processes"], 0)


@pytest.mark.soak
async def test_a_thousand_processes_leave_nothing_behind(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})

    async def cycle(number: int) -> None:
        async with jupyter.connect() as link:
            await Peer(link).initialize()
            await Peer(link).send(id=1, method="tools/call", params={"name": "pid"})
            pid = int((await Peer(link).receive())["result"]["content"][0]["text"])
            if number % 2:
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
                with pytest.raises(ConnectionClosed):
                    await link.recv()
                jupyter.rest("POST", "servers/fast/restart")  # or the crash loop would stop us

    async def cycles(count: int) -> None:
        for number in range(count):
            await cycle(number)
        await until(lambda: jupyter.rest("GET", "health")[1]["processes"] == 0)

    await cycles(400)
    before = footprint(jupyter)
    await cycles(1000)
    after = footprint(jupyter)
    print(f"\n1,000 processes: {before} -> {after}")
    assert after["rss"] - before["rss"] < 2048
    assert after["descriptors"] <= before["descriptors"] + 2
    assert (after["processes"], after["zombies"]) == (before["processes"], 0)
