"""Nothing of a user is read or changed by another one, over any gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import BOUND, FAST_SERVER, SHADOWED, Peer, until, wait_until
from tests.fleet.house import Fleet
from tests.fleet.test_requests import go_to
from tests.handlers.test_principals import PROVIDERS, ROOT, USERS, Belongings, someone

EVERYTHING = {"session", "token", "http", "poll", "resume", "revoke", "end"}
"""What a user reaches of their own over another gateway; processes are listed by the gateway that runs them."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two gateways with an identity provider that has a token for each user."""
    folder = tmp_path_factory.mktemp("principals")
    users = folder / "users.json"
    users.write_text(
        json.dumps({f"{name}-token": name for name in USERS} | {"test-token-0123456789": "root"})
    )
    environment = {"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"}
    running = Fleet(folder, 2, {"fast": FAST_SERVER}, PROVIDERS["token"], environment=environment)
    yield running
    running.stop()


@pytest.mark.parametrize("owner_name", USERS)
@pytest.mark.parametrize("reader_name", USERS)
async def test_nothing_crosses_between_users_at_two_gateways(fleet, owner_name, reader_name):
    wait_until(lambda: len(fleet.instances(1)) == 2, what="the gateways know each other")
    here, there = fleet.jupyters
    owner, reader = someone("token", here, owner_name), someone("token", there, reader_name)
    tap = there.endpoint("x").replace("servers/x", "api/tap")
    async with httpx.AsyncClient(timeout=BOUND) as client:
        mine, shown = Belongings(owner), ""
        async with connect(tap, subprotocols=["mcp.tap.v1"], additional_headers=reader.headers) as records:
            await mine.create(client)
            async with here.connect(additional_headers=reader.headers) as link:
                await Peer(link).call("the end", "tools/list")
            async with asyncio.timeout(BOUND):
                while "the end" not in shown:
                    shown += str(await records.recv())
        for one in (mine.http, mine.poller):
            go_to(one, there)
        seen_by_owner = someone("token", there, owner_name)
        await until(
            lambda: mine.token["id"] in str(seen_by_owner.rest("GET", "tokens")),
            what="the owner's token at the other gateway, which learns of it within a second",
        )
        reached = await mine.reached_by(reader, client)
    assert reached == (EVERYTHING if reader_name == owner_name else set())
    assert (f"mark of {owner_name}" in shown) == (reader_name == owner_name)
