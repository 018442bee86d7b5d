"""Who owns what, whichever identity provider names the users: nothing of one user is read or changed by another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import BOUND, FAST_SERVER, SHADOWED, Jupyter, Peer
from tests.handlers.test_poll import Poller
from tests.handlers.test_resume import Resumer
from tests.handlers.test_streamable_http import Http

ROOT = Path(__file__).parents[2]
IDENTITY = "tests.servers.identity"
PROVIDERS = {
    "form": f"--ServerApp.identity_provider_class={IDENTITY}.LoginNames",
    "proxy": f"--ServerApp.identity_provider_class={IDENTITY}.ProxyNames",
    "token": f"--ServerApp.identity_provider_class={IDENTITY}.NamedUsers",
    "handler": f"--PasswordIdentityProvider.login_handler_class={IDENTITY}.NamesForm",
}
USERS = ("alice", "bob")


@pytest.fixture(scope="module", params=PROVIDERS)
def running(tmp_path_factory, request) -> Iterator[tuple[str, Jupyter]]:
    home = tmp_path_factory.mktemp(f"principals-{request.param}")
    users = home / "users.json"
    users.write_text(
        json.dumps({f"{name}-token": name for name in USERS} | {"test-token-0123456789": "root"})
    )
    started = Jupyter(
        home,
        {"fast": FAST_SERVER},
        PROVIDERS[request.param],
        "--MCPWebSocketApp.credential_check_interval=1",
        environment={"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
    )
    yield request.param, started
    started.stop()


@dataclass
class Someone:
    """A user with the headers that authenticate them."""

    name: str
    jupyter: Jupyter
    headers: dict[str, str]

    def rest(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, _, text = self.jupyter.request(method, f"mcp-ws/api/{path}", body, self.headers)
        return status, json.loads(text) if text else None

    def resumer(self) -> Resumer:
        return Resumer(self.jupyter, additional_headers=self.headers)


def log_in(jupyter: Jupyter, name: str) -> dict[str, str]:
    """The headers of a browser after the login form."""
    with httpx.Client(timeout=BOUND) as browser:
        browser.get(f"{jupyter.url}login")
        xsrf = browser.cookies["_xsrf"]
        answer = browser.post(f"{jupyter.url}login", data={"password": f"{name}-password", "_xsrf": xsrf})
        assert answer.status_code < 400, answer.text
        cookies = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
    return {"Cookie": cookies, "X-XSRFToken": xsrf, "Origin": jupyter.url.rstrip("/")}


def someone(kind: str, jupyter: Jupyter, name: str) -> Someone:
    if kind == "token":
        return Someone(name, jupyter, {"Authorization": f"Bearer {name}-token"})
    if kind == "proxy":
        xsrf = "ab" * 16
        cookie = {"Cookie": f"_xsrf={xsrf}", "X-XSRFToken": xsrf}
        return Someone(name, jupyter, {"X-Remote-User": name, "Origin": jupyter.url.rstrip("/"), **cookie})
    return Someone(name, jupyter, log_in(jupyter, name))


class Belongings:
    """One of everything that a user can own, with the user's mark in its traffic."""

    def __init__(self, owner: Someone) -> None:
        self.owner = owner

    async def create(self, client: httpx.AsyncClient) -> None:
        owner = self.owner
        self.link = owner.resumer()
        await self.link.open()
        await self.link.call("mark", "echo", {"text": f"mark of {owner.name}"})
        assert (await self.link.data())["id"] == "mark"
        await self.link.call("pid", "pid")
        self.pid = (await self.link.data())["result"]["content"][0]["text"]
        status, self.token = owner.rest("POST", "tokens", {"servers": ["fast"], "note": f"of {owner.name}"})
        assert status == 201
        self.http = Http(owner.jupyter, client)
        self.http.headers = {"Accept": self.http.headers["Accept"], **owner.headers}
        await self.http.initialize()
        self.poller = Poller(owner.jupyter, client)
        del self.poller.headers["Authorization"]
        self.poller.headers |= owner.headers
        await self.poller.hello()

    async def reached_by(self, other: Someone, client: httpx.AsyncClient) -> set[str]:
        """What another user's requests reach of it; the owner's requests reach everything."""
        reached = {
            "session": self.link.session
            in [one["id"] for one in other.rest("GET", "sessions")[1]["sessions"]],
            "token": self.token["id"] in [one["id"] for one in other.rest("GET", "tokens")[1]["tokens"]],
            "process": int(self.pid)
            in [one["pid"] for one in other.rest("GET", "servers/fast")[1]["processes"]],
        }
        headers = {**self.http.headers, "Accept": "application/json, text/event-stream"}
        for name in self.owner.headers:
            headers.pop(name)
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}}
        posted = await client.post(self.http.url, json=message, headers={**headers, **other.headers})
        reached["http"] = posted.status_code == 200
        head = "\n".join([json.dumps(self.poller.head()), '{"jsonrpc":"2.0","id":1,"method":"ping"}'])
        polled = await client.post(
            self.poller.url, content=head, headers={**other.headers, "Content-Type": "application/x-ndjson"}
        )
        reached["poll"] = polled.status_code == 200
        thief = other.resumer()
        answer = await thief.resume(self.link.token, 0)
        reached["resume"] = answer["mcp.ws"] == "resumed"
        if reached["resume"]:
            self.link.token = thief.token
        await thief.link.close(1001)
        ended = other.rest("DELETE", f"tokens/{self.token['id']}")[0]
        reached["revoke"] = ended == 204
        reached["end"] = other.rest("DELETE", f"sessions/{self.link.session}")[0] == 204
        return {name for name, happened in reached.items() if happened}


async def recorded(watcher: Someone) -> str:
    """Everything that the tap shows a user from its history."""
    url = watcher.jupyter.endpoint("x").replace("servers/x", "api/tap")
    options = {"subprotocols": ["mcp.tap.v1"], "additional_headers": watcher.headers}
    seen = ""
    async with connect(url, **options) as tap:
        async with watcher.jupyter.connect(additional_headers=watcher.headers) as link:
            await Peer(link).call(f"end of {watcher.name}", "tools/list")
        async with asyncio.timeout(BOUND):
            while f"end of {watcher.name}" not in seen:
                seen += str(await tap.recv())
    return seen


async def test_nothing_crosses_between_users(running):
    kind, jupyter = running
    users = [someone(kind, jupyter, name) for name in USERS]
    async with httpx.AsyncClient(timeout=BOUND) as client:
        for reader in users:
            for owner in users:
                client.cookies.clear()
                mine = Belongings(owner)
                async with connect(
                    jupyter.endpoint("x").replace("servers/x", "api/tap"),
                    subprotocols=["mcp.tap.v1"],
                    additional_headers=owner.headers,
                ):
                    await mine.create(client)
                    shown = await recorded(reader)
                client.cookies.clear()
                reached = await mine.reached_by(reader, client)
                everything = {"session", "token", "process", "http", "poll", "resume", "revoke", "end"}
                assert reached == (everything if reader is owner else set()), (reader.name, owner.name)
                other = next(user.name for user in users if user is not reader)
                assert f"mark of {other}" not in shown


async def test_open_links_stay_while_their_credential_holds(running):
    """The check asks the provider with all that the request had, not with the common headers alone."""
    kind, jupyter = running
    user = someone(kind, jupyter, "alice")
    async with jupyter.connect(additional_headers=user.headers) as link:
        peer = Peer(link)
        await peer.call(1, "tools/list")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):  # three checks
                with pytest.raises(ConnectionClosed):
                    await link.recv()
        assert (await peer.call(2, "tools/list"))["id"] == 2


def test_the_shared_token_of_jupyter_is_one_principal(running):
    kind, jupyter = running
    if kind == "token":
        return
    first = jupyter.rest("POST", "tokens", {"servers": ["fast"]})[1]["id"]
    assert first in [token["id"] for token in jupyter.rest("GET", "tokens")[1]["tokens"]]
