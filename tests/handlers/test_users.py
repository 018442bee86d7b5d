"""Several users on one server: no user sees, ends, resumes or uses anything of another."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import BOUND, FAST_SERVER, MODERN, SHADOWED, Jupyter, Peer, until
from tests.handlers.test_streamable_http import Http

ROOT = Path(__file__).parents[2]
USERS = {f"{name}-token": name for name in ("alice", "bob", "guest", "viewer")} | {
    "test-token-0123456789": "root"
}


@pytest.fixture
def shared(make_jupyter, tmp_path) -> Jupyter:
    users = tmp_path / "users.json"
    users.write_text(json.dumps(USERS))
    return make_jupyter(
        {
            "fast": FAST_SERVER,
            "runs": {**FAST_SERVER, "mcp_ws": {"authorize": ["read  kernels", "execute kernels"]}},
            "both": {"group": ["fast", "runs"]},
        },
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        "--ServerApp.authorizer_class=tests.servers.identity.NoGuests",
        "--MCPWebSocketApp.credential_check_interval=1",
        environment={"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
    )


def link_of(jupyter: Jupyter, user: str, path: str = "fast"):
    return jupyter.connect(path, additional_headers={"Authorization": f"Bearer {user}-token"})


async def test_users_share_no_process_and_see_no_session_of_another(shared):
    async with link_of(shared, "alice") as one, link_of(shared, "bob") as two:
        pids = []
        for link in (one, two):
            answer = await Peer(link).call(1, "tools/call", {"name": "pid"})
            pids.append(answer["result"]["content"][0]["text"])
        assert pids[0] != pids[1], "modern sessions share a process only within one principal"
        sessions = {
            user: shared.rest("GET", "sessions", token=f"{user}-token")[1]["sessions"]
            for user in ("alice", "bob")
        }
        assert [len(mine) for mine in sessions.values()] == [1, 1]
        assert sessions["alice"][0]["principal"] == "alice"
        theirs = sessions["alice"][0]["id"]
        assert shared.rest("DELETE", f"sessions/{theirs}", token="bob-token")[0] == 404
        mine = shared.rest("GET", "servers/fast", token="bob-token")[1]["processes"]
        assert [str(process["pid"]) for process in mine] == [pids[1]]
        assert (await Peer(one).call(2, "tools/list"))["id"] == 2, "alice's session lives"


async def test_tokens_and_tickets_of_another_user_read_as_unknown(shared):
    token = shared.rest("POST", "tokens", {"servers": ["fast"]}, token="alice-token")[1]
    assert shared.rest("GET", "tokens", token="bob-token")[1]["tokens"] == []
    assert shared.rest("DELETE", f"tokens/{token['id']}", token="bob-token")[0] == 404
    async with shared.connect(additional_headers={"Authorization": f"Bearer {token['token']}"}) as link:
        await Peer(link).call(1, "tools/list")
        assert shared.rest("GET", "sessions", token="alice-token")[1]["sessions"][0]["principal"] == "alice"


async def test_the_tap_shows_only_the_watchers_own_traffic(shared):
    tap = shared.endpoint("x").replace("servers/x", "api/tap")
    from websockets.asyncio.client import connect

    async with (
        connect(
            tap, subprotocols=["mcp.tap.v1"], additional_headers={"Authorization": "Bearer bob-token"}
        ) as watching,
        link_of(shared, "alice") as hers,
        link_of(shared, "bob") as his,
    ):
        await Peer(hers).call("alice-secret", "tools/list")
        await Peer(his).call("bob-marker", "tools/list")
        seen = ""
        async with asyncio.timeout(BOUND):
            while '"bob-marker"' not in seen:
                seen += await watching.recv()
        assert "alice-secret" not in seen


async def test_an_unauthorized_user_is_refused_everywhere(shared):
    with pytest.raises(InvalidStatus) as refused:
        await link_of(shared, "guest").__aenter__()
    assert refused.value.response.status_code == 403
    for method, path in (("GET", "servers"), ("GET", "sessions"), ("POST", "tokens"), ("GET", "health")):
        body = {"servers": ["fast"]} if method == "POST" else None
        assert shared.rest(method, path, body, token="guest-token")[0] == 403


@pytest.mark.parametrize("server", ["runs", "both", "+runs+fast"])
async def test_a_server_is_for_users_who_may_do_in_jupyter_what_its_entry_says(shared, server):
    """Over every transport, also as a member of a group; what an authorizer allows does not depend on the client."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    path = f"mcp-ws/servers/{server}"
    posted = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
    posted["Content-Type"] = "application/json"
    for user, status in (("alice", 101), ("viewer", 403), ("alice", 101)):
        try:
            async with link_of(shared, user, server) as link:
                assert (await Peer(link).call(1, "tools/list"))["result"]["tools"]
                answered = 101
        except InvalidStatus as refused:
            answered = refused.response.status_code
        assert answered == status
        headers = {**posted, "Mcp-Method": "tools/list", "Authorization": f"Bearer {user}-token"}
        for _ in range(2):  # the second may be an admission
            answer = shared.request("POST", path, asked, headers)
            assert answer[0] == (200 if status == 101 else 403)
        probe = shared.request("GET", f"{path}/probe", None, {**headers, "Accept": "application/json"})
        assert probe[0] == (200 if status == 101 else 403)
        if status == 403:
            reason = f"you are not authorized to execute on kernels, which server '{server}' requires"
            assert json.loads(answer[2])["message"] == reason
    minted = shared.rest("POST", "tokens", {"servers": ["runs", "fast", "both"]}, token="viewer-token")[1]
    with pytest.raises(InvalidStatus, match="403"):
        await shared.connect(server, additional_headers={"Authorization": f"Bearer {minted['token']}"})


async def test_a_link_ends_when_its_jupyter_credential_does(shared, tmp_path):
    """Also a link that a ticket opened, however the ticket was obtained: it ends with the credential behind the ticket."""
    ticket = shared.rest("POST", "tickets", {"server": "fast"}, token="alice-token")[1]["ticket"]
    other = shared.request("POST", "mcp-ws/api/tickets?token=alice-token", {"server": "fast"})[2]
    hers = [
        link_of(shared, "alice"),
        shared.connect(f"fast?ticket={ticket}", additional_headers={}),
        shared.connect(f"fast?ticket={json.loads(other)['ticket']}", additional_headers={}),
    ]
    async with link_of(shared, "bob") as his:
        links = [await opening for opening in hers]
        for link in links:
            await Peer(link).call(1, "tools/list")
        left = {token: user for token, user in USERS.items() if user != "alice"}
        replaced = tmp_path / "fresh.json"
        replaced.write_text(json.dumps(left))
        replaced.replace(tmp_path / "users.json")
        for link in links:
            async with asyncio.timeout(BOUND):
                with pytest.raises(ConnectionClosed) as closed:
                    await link.recv()
            assert closed.value.rcvd.code == 4401
        assert (await Peer(his).call(1, "tools/list"))["id"] == 1, "bob stays"


async def test_an_open_response_ends_when_its_jupyter_credential_does(shared, tmp_path):
    """Any kind of subscription: on a POST that was fully checked, on one that an admission covers, and on GET."""
    async with httpx.AsyncClient(timeout=BOUND) as client, AsyncExitStack() as stack:
        http = Http(shared, client)
        http.headers["Authorization"] = "Bearer alice-token"
        await http.initialize()
        ends = []
        for number in range(3):
            if number < 2:
                listen = {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "subscriptions/listen",
                    "params": {"_meta": MODERN},
                }
                headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
                modern = {"Authorization": "Bearer alice-token", "Accept": http.headers["Accept"], **headers}
                opening = client.stream("POST", http.url, json=listen, headers=modern)
            else:
                opening = client.stream(
                    "GET", http.url, headers={**http.headers, "Accept": "text/event-stream"}
                )
            response = await stack.enter_async_context(opening)
            assert response.status_code == 200
            ends.append(asyncio.ensure_future(response.aread()))
        replaced = tmp_path / "fresh.json"
        replaced.write_text(json.dumps({token: user for token, user in USERS.items() if user != "alice"}))
        replaced.replace(tmp_path / "users.json")
        async with asyncio.timeout(BOUND):
            bodies = await asyncio.gather(*ends)
        assert all(b"acknowledged" in body for body in bodies[:2])
    await until(
        lambda: shared.rest("GET", "health")[1]["sessions"] == 1, what="that subscriptions are cancelled"
    )
