"""Gateway tokens are the same at every gateway of an engine, and tickets open a link at any."""

from __future__ import annotations

import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import Link, Peer, until, wait_until
from tests.fleet.house import Fleet, caller
from tests.handlers.test_restart import ask
from tests.handlers.test_tap import echo


def mint(fleet: Fleet, place: int) -> dict[str, str]:
    status, token = fleet.jupyters[place].rest("POST", "tokens", {"servers": ["fast"], "expires_in": 600})
    assert status == 201
    return token


def known(fleet: Fleet, place: int) -> set[str]:
    return {token["id"] for token in fleet.jupyters[place].rest("GET", "tokens")[1]["tokens"]}


async def test_a_token_is_valid_at_another_gateway_as_soon_as_it_is_minted(fleet):
    token = mint(fleet, 0)["token"]
    async with fleet.balancer() as balancer:
        balancer.turn = 1
        async with caller(balancer, token) as one:
            assert await ask(one, 1, text="there") == "there"
        assert balancer.went == [1]


async def test_a_revocation_ends_sessions_at_another_gateway(fleet):
    minted = mint(fleet, 0)
    async with fleet.balancer() as balancer:
        balancer.turn = 1
        async with caller(balancer, minted["token"]) as one:
            assert await ask(one, 1, text="there") == "there"
            since = time.monotonic()
            assert fleet.jupyters[0].rest("DELETE", f"tokens/{minted['id']}")[0] == 204
            await until(lambda: one.states["Lost"], what="the end of a revoked session")
            print(f"revoked after {time.monotonic() - since:.2f} s")
    assert minted["id"] not in known(fleet, 1)


@pytest.mark.parametrize("loses", [False, True])
def test_a_token_that_was_revoked_while_a_gateway_was_down_stays_revoked(fleet, loses):
    minted, other = mint(fleet, 0), mint(fleet, 0)
    wait_until(lambda: {minted["id"], other["id"]} <= known(fleet, 1), what="the tokens at the other gateway")
    fleet.jupyters[1].stop()
    assert fleet.jupyters[0].rest("DELETE", f"tokens/{minted['id']}")[0] == 204
    fleet.jupyters[1].start()
    assert minted["id"] not in known(fleet, 1)
    if loses:
        fleet.redis.lose_everything()
        wait_until(lambda: fleet.jupyters[0].rest("GET", "health")[1]["engine"]["writes"])
        wait_until(lambda: b"1" in fleet.redis.ask("EXISTS", f"{fleet.prefix}tokens"), what="tokens")
    assert other["id"] in known(fleet, 0) & known(fleet, 1)
    assert minted["id"] not in known(fleet, 0) | known(fleet, 1)


def test_nothing_of_a_token_is_in_redis(fleet):
    token = mint(fleet, 0)
    prefix = fleet.prefix
    stored = fleet.redis.ask("HGET", f"{prefix}tokens", token["id"])
    assert stored.startswith(b"$")
    assert b"principal" not in stored
    assert token["token"].encode() not in stored


# --- tickets ----------------------------------------------------------------------------------------


async def with_ticket(fleet, place: int, ticket: str, server: str = "fast"):
    """Open a link with a ticket as the only credential."""
    url = f"{fleet.jupyters[place].endpoint(server)}?ticket={ticket}"
    return await connect(url, subprotocols=["mcp"], compression=None, create_connection=Link)


def issued(fleet, place: int) -> str:
    return fleet.jupyters[place].rest("POST", "tickets", {"server": "fast"})[1]["ticket"]


async def refused_with(fleet, place: int, ticket: str, server: str = "fast") -> int:
    with pytest.raises(InvalidStatus) as refused:
        await with_ticket(fleet, place, ticket, server)
    return refused.value.response.status_code


async def test_a_ticket_opens_one_link_at_any_gateway(fleet):
    ticket, misdirected = issued(fleet, 0), issued(fleet, 0)
    fleet.hold_lease(0)  # a gateway whose lease has ended is not asked for its tickets
    link = await with_ticket(fleet, 1, ticket)
    assert (await echo(Peer(link), 1))["result"]
    for place in (0, 1):
        assert await refused_with(fleet, place, ticket) == 401
    fleet.hold_lease(0)
    assert await refused_with(fleet, 1, misdirected, "always") == 401
    assert await refused_with(fleet, 0, misdirected) == 401, "a misdirected ticket is used up"
    await link.close()


async def test_a_ticket_whose_gateway_does_not_answer_may_be_presented_again(fleet):
    ticket = issued(fleet, 0)
    with fleet.silenced(0):
        assert await refused_with(fleet, 1, ticket) == 503
    link = await with_ticket(fleet, 1, ticket)
    assert (await echo(Peer(link), 1))["result"]
    await link.close()


async def test_what_a_ticket_has_opened_ends_with_the_gateway_that_watches_its_credential(fleet):
    link = await with_ticket(fleet, 1, issued(fleet, 0))
    unused = issued(fleet, 0)
    await fleet.killed(0)
    try:
        await link.wait_closed()
        assert (link.close_code, "with a new ticket" in link.close_reason) == (1001, True)
        assert await refused_with(fleet, 1, unused) == 401
    finally:
        await fleet.started(0)
