"""What ends with a gateway token, and when."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mcp_ws_ide.errors import SESSION_LOST
from tests.conftest import BOUND, FAST_SERVER, Jupyter, response_in, until
from tests.handlers.test_poll import Poller
from tests.handlers.test_security import bearer, mint, status_of
from tests.handlers.test_streamable_http import Http


@pytest.mark.parametrize("ending", ["revoked", "expired"])
async def test_what_a_token_uses_ends_with_it_whoever_opened_the_session(jupyter, ending):
    """Event streams and held polls, also of sessions that Jupyter's own token opened; calls end with an error."""
    token = mint(jupyter, "fast", expires_in=3600 if ending == "revoked" else 3)
    theirs = {"Authorization": f"Bearer {token['token']}"}
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        await http.initialize()
        client.cookies.clear()
        poller = Poller(jupyter, client)
        await poller.hello()
        slow = {"name": "slow", "arguments": {"steps": 1000, "delay": 0.1}, "_meta": {"progressToken": 1}}
        own = Http(jupyter, client)
        own.headers.update(theirs)
        call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": slow}
        uses = [
            client.get(http.url, headers={**http.headers, **theirs, "Accept": "text/event-stream"}),
            client.post(http.url, headers={**http.headers, **theirs}, json=call),
            poller.post(poller.head(), **theirs),
            own.modern(6, "tools/call", slow),
        ]
        running = [asyncio.ensure_future(use) for use in uses]
        await until(lambda: in_flight(jupyter) == 2, what="both calls")
        if ending == "revoked":
            assert jupyter.rest("DELETE", f"tokens/{token['id']}")[0] == 204
        async with asyncio.timeout(BOUND / 2):
            answers = await asyncio.gather(*running)
        assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
        assert lost(answers[1]) == (5, "unknown")
        assert lost(answers[3])[0] == 6
        assert ("revoked" if ending == "revoked" else "expired") in answers[3].text
        assert (await http.post({"jsonrpc": "2.0", "id": 9, "method": "ping"})).status_code == 200
        await client.delete(http.url, headers=http.headers)


def in_flight(jupyter: Jupyter) -> int:
    sessions = jupyter.rest("GET", "sessions")[1]["sessions"]
    return sum(session["in_flight"] for session in sessions if session["link"] == "http")


def lost(response: httpx.Response) -> tuple[int, str]:
    """The id and the outcome of the error that ends a response."""
    last = response_in(response)
    assert last["error"]["code"] == SESSION_LOST
    return last["id"], last["error"]["data"]["outcome"]


async def test_a_token_is_revoked_at_once_also_while_that_cannot_be_saved(make_jupyter):
    running = make_jupyter({"fast": FAST_SERVER})
    token = mint(running, "fast")
    stored = running.home / "data" / "mcp_ws_ide" / "tokens.json"
    kept = stored.read_bytes()
    stored.unlink()
    stored.mkdir()
    async with connect(running.endpoint("fast"), **bearer(token["token"])) as link:
        status, answer = running.rest("DELETE", f"tokens/{token['id']}")
        assert status == 507
        assert "is revoked, but the revocation is not saved" in answer["message"]
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionClosed):
                await link.recv()
    assert await status_of(running, **bearer(token["token"])) == 401
    stored.rmdir()
    stored.write_bytes(kept)
    await until(lambda: token["id"] not in stored.read_text(), what="the revocation in the file")
