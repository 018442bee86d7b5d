"""A watcher at one gateway gets the records of all, each with the gateway that observed it."""

from __future__ import annotations

import asyncio
import json

from mcp_ws_ide.fleet.shared_tap import PeerPosition
from mcp_ws_ide.observe.feed import HISTORY_RECORDS, Watcher
from mcp_ws_ide.observe.scope import read_scope
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.observe.tap_record import TapRecord
from tests.conftest import Peer, until
from tests.fleet.house import caller
from tests.handlers.test_restart import ask
from tests.handlers.test_tap import Tapped, echo, refused, tapped, tapped_raw


def texts(tap: Tapped, gateway: str) -> list[str]:
    """What clients sent that a gateway has observed, and their calls' texts."""
    return [
        record["raw"]
        for record in tap.seen
        if (record["kind"], record["leg"], record.get("gateway")) == ("request", "client", gateway)
    ]


def is_response(own: int, gateway: str = ""):
    return lambda r: (
        (r["kind"], r["leg"], r["id"]) == ("response", "client", own)
        and r["gateway"] == (gateway or r["gateway"])
    )


async def test_a_watcher_of_one_gateway_sees_the_calls_at_the_other(fleet):
    first, second = fleet.jupyters
    async with tapped(second) as tap, first.connect("fast") as there, second.connect("fast") as here:
        assert (await echo(Peer(there), 1, "there"))["result"]
        assert (await echo(Peer(here), 2, "here"))["result"]
        await tap.until(is_response(1, fleet.instance(0)))
        await tap.until(is_response(2, fleet.instance(1)))
    assert [("there" in text) for text in texts(tap, fleet.instance(0))] == [True]
    assert [("here" in text) for text in texts(tap, fleet.instance(1))] == [True]
    numbers = [record["seq"] for record in tap.seen[1:]]
    assert numbers == sorted(set(numbers))
    events = {record["event"] for record in tap.seen if record["gateway"] == fleet.instance(0)}
    assert {"link_opened", "upstream_started"} <= events


async def test_records_are_neither_echoed_nor_repeated_where_both_gateways_are_watched(fleet):
    first, second = fleet.jupyters
    async with tapped(first) as one, tapped(second) as other, first.connect("fast") as link:
        peer = Peer(link)
        for own in range(1, 4):
            await echo(peer, own)
        for tap in (one, other):
            await tap.until(is_response(3))
        await echo(peer, 4)
        for tap in (one, other):
            await tap.until(is_response(4))
            assert len(texts(tap, fleet.instance(0))) == 4
            assert texts(tap, fleet.instance(1)) == []


async def test_filters_and_gateway_tokens_apply_to_the_records_of_all(fleet):
    first, second = fleet.jupyters
    minted = first.rest("POST", "tokens", {"servers": ["fast"]})[1]["token"]
    own = {"additional_headers": {"Authorization": f"Bearer {minted}"}}
    async with (
        tapped(second, minted, method="tools/call", leg="client") as tap,
        first.connect("fast") as foreign,
        first.connect("fast", **own) as mine,
    ):
        await echo(Peer(foreign), 1, "not for the token")
        await Peer(mine).call(2, "tools/list")
        await echo(Peer(mine), 3, "for the token")
        await tap.until(is_response(3))
    assert [(r["kind"], r["id"]) for r in tap.seen[1:]] == [("request", 3), ("response", 3)]


async def test_a_watcher_that_comes_back_misses_nothing_of_other_gateways(fleet):
    first, second = fleet.jupyters
    async with first.connect("fast") as link:
        peer = Peer(link)
        async with tapped(second) as tap:
            await echo(peer, 1)
            await tap.until(is_response(1))
            instance, after = tap.seen[0]["instance"], tap.seen[-1]["seq"]
        await echo(peer, 2)
        async with tapped(second, instance=instance, after=after) as again:
            await again.until(is_response(2))
        assert [r["seq"] for r in again.seen[1:]] == list(range(after + 1, after + len(again.seen)))


async def test_a_gateway_that_ends_leaves_a_gap_and_its_successor_is_watched_from_its_start(fleet):
    first, second = fleet.jupyters
    async with tapped(second, kind="response", leg="client") as tap:
        ended = fleet.instance(0)
        async with first.connect("fast") as link:
            await echo(Peer(link), 1)
            await tap.until(is_response(1, ended))
            await fleet.killed(0)
        try:
            gap = await tap.until(lambda r: r["kind"] == "gap")
        finally:
            await fleet.started(0)
        assert (gap["gateway"], gap["count"]) == (ended, None)
        assert "may be missing" in gap["detail"]
        async with first.connect("fast") as link:  # before the others know of the new gateway
            await echo(Peer(link), 2)
        await tap.until(is_response(2, fleet.instance(0)))
        assert [r["gateway"] for r in tap.seen if r["kind"] == "gap"] == [ended]


async def test_a_gateway_that_is_silent_leaves_a_gap_until_it_answers_again(fleet):
    suspended = fleet.instance(0)
    first, second = fleet.jupyters
    async with tapped(second) as tap:
        with fleet.silenced(0):
            gap = await tap.until(lambda r: r["kind"] == "gap")
        assert gap["gateway"] == suspended
        again = await tap.until(lambda r: r["event"] == "gateway_watched" and r["seq"] > gap["seq"])
        assert suspended in again["detail"]
        async with first.connect("fast") as link:
            await echo(Peer(link), 1)
            await tap.until(is_response(1, suspended))


async def test_a_session_that_moves_is_seen_at_both_gateways(fleet):
    async with (
        tapped(fleet.jupyters[1]) as tap,
        fleet.balancer() as balancer,
        caller(balancer, fleet.jupyters[0].token) as one,
    ):
        assert await ask(one, 1, text="before") == "before"
        assert fleet.jupyters[0].rest("POST", f"instances/{fleet.instance(0)}/drain")[0] == 202
        await until(lambda: fleet.sessions(1))
        assert await ask(one, 2, text="after") == "after"
        await tap.until(is_response(1, fleet.instance(0)))
        await tap.until(is_response(2, fleet.instance(1)))
    await asyncio.to_thread(fleet.jupyters[0].stop)
    await fleet.started(0)


async def test_a_watcher_that_comes_back_to_another_gateway_continues_there(fleet):
    first, second = fleet.jupyters
    async with first.connect("fast") as link:
        peer = Peer(link)
        async with tapped(first, method="tools/call", leg="client") as tap:
            await echo(peer, 1)
            await tap.until(is_response(1))
            place = {"instance": tap.seen[0]["instance"], "after": tap.seen[-1]["seq"]}
        await echo(peer, 2)
        async with tapped(second, method="tools/call", leg="client", **place) as again:
            await echo(peer, 3)
            await again.until(is_response(3))
            assert again.seen[0]["instance"] == place["instance"]
            assert [r["id"] for r in again.seen[1:]] == [2, 2, 3, 3]
        wrong = {**place, "after": 10**12}
        async with tapped_raw(second, **wrong) as link:
            await link.wait_closed()
            assert (link.close_code, "newest record" in link.close_reason) == (1008, True)


async def test_a_watcher_whose_gateway_has_ended_gets_a_gap_and_goes_on(fleet):
    first, second = fleet.jupyters
    async with tapped(first) as tap:
        place = {"instance": tap.seen[0]["instance"], "after": tap.seen[0]["seq"]}
    await fleet.killed(0)
    try:
        async with tapped(second, **place) as again, second.connect("fast") as link:
            await again.until(lambda r: r["kind"] == "gap")
            await echo(Peer(link), 1)
            await again.until(is_response(1, fleet.instance(1)))
            assert again.seen[0]["instance"] != place["instance"]
    finally:
        await fleet.started(0)


async def test_a_watcher_whose_gateway_does_not_answer_may_try_again(fleet):
    first, second = fleet.jupyters
    async with tapped(first) as tap:
        place = {"instance": tap.seen[0]["instance"], "after": tap.seen[0]["seq"]}
    fleet.suspend(0)
    try:
        assert (await refused(second, **place))[0] == 503
    finally:
        fleet.wake(0)


# --- one feed -----------------------------------------------------------------------------------------


def call(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"m"}' % number


def feed_of(gateway: str, grace: float = 60) -> Tap:
    tap = Tap(grace)
    tap.gateway = gateway
    return tap


def test_a_gateway_that_fetches_too_slowly_learns_how_many_records_it_has_lost():
    tap, position = feed_of("a"), PeerPosition("a")
    tap.subscribe("me", position)
    for number in range(HISTORY_RECORDS + 5):
        tap.message("me", "s", "id", "client", "in", call(number))
    first = position.take()
    assert (first.gap.partition(" ")[0], first.count, first.records) == ("5", 5, [])
    kept = []
    while observed := position.take():
        kept += observed.records
    assert [int(bytes(record.id)) for _, record in kept] == list(range(5, HISTORY_RECORDS + 5))


def test_a_gateway_gets_no_records_and_no_gaps_of_third_ones():
    tap, position = feed_of("a"), PeerPosition("a")
    tap.subscribe("me", position)
    tap.add("me", [(None, TapRecord(gateway="b"))])
    tap.add_gap("me", "b", "lost", None)
    tap.add_watched("me", "b", "again")
    assert position.take() is None
    tap.event("me", "s", None, "link_opened", token="t")
    observed = position.take()
    assert [(token, record.event) for token, record in observed.records] == [("t", "link_opened")]


def test_watchers_at_other_gateways_gather_nothing_here():
    tap, watcher = feed_of("a", grace=0), Watcher(lambda: None)
    tap.subscribe("me", PeerPosition("a"))
    assert tap.gathering == set()
    tap.subscribe("me", watcher)
    assert tap.gathering == {"me"}
    tap.unsubscribe(watcher)
    assert tap.gathering == set()


def test_a_gap_of_another_gateway_comes_alone_and_through_every_filter():
    tap = feed_of("a")
    watcher = Watcher(lambda: None, read_scope({"kind": ["request"]}), "t")
    tap.subscribe("me", watcher)
    tap.message("me", "s", "id", "client", "in", call(1), token="t")
    tap.add_gap("me", "b", "lost", 3)
    tap.message("me", "s", "id", "client", "in", call(2), token="t")
    kinds = [json.loads(line)["kind"] for line in iter(watcher.take, b"")]
    assert kinds == ["event", "request", "gap", "request"]
