"""OAuth toward a remote server, with a real authorization server, through a real gateway."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from mcp_ws_ide.signin.clients import client_from
from tests.conftest import BOUND, MODERN, SERVERS, SHADOWED, Jupyter, Peer, free_port, wait_until

ROOT = Path(__file__).parents[2]
USERS = {"alice-token": "alice", "bob-token": "bob", "test-token-0123456789": "root"}
PATHS = {"http": "mcp", "sse": "sse"}
HELLO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello"}}


class Protected:
    """``tests/servers/oauth.py`` in a process of its own."""

    def __init__(self, kind: str) -> None:
        ports = [free_port(), free_port()]
        self.url, self.issuer = f"http://127.0.0.1:{ports[0]}/{PATHS[kind]}", f"http://127.0.0.1:{ports[1]}"
        self.kind = kind
        program = SERVERS.command(str(ROOT / "tests/servers/oauth.py"), *map(str, ports), kind)
        SERVERS.begin()
        self.process = subprocess.Popen(program, cwd="/")
        for port in ports:
            wait_until(lambda port=port: self.listens(port), what="that the servers listen")
        self.before: dict[str, Any] = {"counts": {}}

    def listens(self, port: int) -> bool:
        assert self.process.poll() is None
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", port)) == 0

    def start_anew(self) -> None:
        """Let no token of an earlier test be good, and nothing count that happened until now."""
        self.forget("refresh")
        self.before = self._facts()

    def _facts(self) -> dict[str, Any]:
        return httpx.get(f"{self.issuer}/facts", timeout=BOUND).json()

    @property
    def facts(self) -> dict[str, Any]:
        """What happened since this test began."""
        now = self._facts()
        since = {
            name: values[len(self.before.get(name, ())) :] for name, values in now.items() if name != "counts"
        }
        return {**since, "counts": dict(Counter(now["counts"]) - Counter(self.before["counts"]))}

    @property
    def counts(self) -> dict[str, int]:
        return self.facts["counts"]

    def forget(self, what: str = "") -> None:
        httpx.post(f"{self.issuer}/forget?{what}", timeout=BOUND).raise_for_status()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Protected]]:
    """One server of each kind, which the tests of this file share."""
    running = {kind: Protected(kind) for kind in PATHS}
    yield running
    for server in running.values():
        server.process.kill()
        server.process.wait()


@pytest.fixture
def protected(servers) -> Protected:
    """The Streamable HTTP server, which knows nothing of earlier tests."""
    servers["http"].start_anew()
    return servers["http"]


def write_users(path: Path, test: str = "") -> None:
    """Name the users whom the tokens stand for; those of one test own nothing in another."""
    path.write_text(json.dumps({token: f"{name}{test}" for token, name in USERS.items()}))


def options(home: Path, users: Path) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of each Jupyter of this file."""
    arguments = [
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        "--ServerApp.log_level=DEBUG",
    ]
    environment = {
        "USERS_FILE": str(users),
        "PYTHONPATH": f"{SHADOWED}:{ROOT}",
        "JUPYTER_DATA_DIR": str(home / "data"),
        "FAR_SECRET": "known-client-secret",
    }
    return arguments, environment


def entry(server: Protected, oauth: Any = True) -> dict[str, Any]:
    return {"url": server.url, "type": server.kind, "mcp_ws": {"oauth": oauth}}


@pytest.fixture
def start(make_jupyter, protected, tmp_path):
    """Start a Jupyter that the test stops, or that has arguments of its own; what is stored outlives it."""
    users = tmp_path / "users.json"
    write_users(users)
    shared_arguments, environment = options(tmp_path, users)

    def make(*arguments: str) -> Jupyter:
        return make_jupyter({"far": entry(protected)}, *shared_arguments, *arguments, environment=environment)

    return make


@pytest.fixture(scope="module")
def shared(servers, tmp_path_factory) -> Iterator[Jupyter]:
    home = tmp_path_factory.mktemp("oauth")
    known = {"client_id": "known", "client_secret": "${FAR_SECRET}", "scope": "read write"}
    configured = {
        "far": entry(servers["http"]),
        "sse": entry(servers["sse"]),
        "known": entry(servers["http"], known),
        "narrow": entry(servers["http"], {"scope": "read"}),
    }
    write_users(home / "users.json")
    arguments, environment = options(home, home / "users.json")
    running = Jupyter(home, configured, *arguments, environment=environment)
    yield running
    running.stop()


@pytest.fixture
def gateway(shared, protected, request) -> Jupyter:
    """The Jupyter that the tests share, with users of this test's own."""
    write_users(shared.home / "users.json", f" of {request.node.name}")
    return shared


def link_of(jupyter: Jupyter, user: str = "alice", server: str = "far"):
    users = jupyter.home / "users.json"  # equal heads are taken for those of one user for a moment
    test = str(zlib.crc32(users.read_bytes())) if users.exists() else ""
    headers = {"Authorization": f"Bearer {user}-token", "X-Test": test}
    return jupyter.connect(server, additional_headers=headers)


def server_of(jupyter: Jupyter, user: str = "alice", server: str = "far") -> dict[str, Any]:
    return jupyter.rest("GET", f"servers/{server}", token=f"{user}-token")[1]


def servers_shown(jupyter: Jupyter, user: str) -> str:
    """What ``mcp-ws-inspect servers`` shows a user."""
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "servers", "--url", jupyter.url]
    environment = {**jupyter.environment, "JUPYTER_TOKEN": f"{user}-token"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BOUND, check=True)
    return done.stdout


async def page_of(jupyter: Jupyter, user: str = "alice", server: str = "far") -> str:
    def shown() -> str:
        return server_of(jupyter, user, server).get("authorization", {}).get("url", "")

    async with asyncio.timeout(BOUND):
        while not (page := await asyncio.to_thread(shown)):
            await asyncio.sleep(0.02)
    return page


def consent(page: str) -> str:
    """Open the page, where everybody consents; returns where the browser is sent then."""
    answer = httpx.get(page, timeout=BOUND)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def come_back(address: str, user: str | None = "alice", **headers: str) -> httpx.Response:
    """Open a URL as a browser that comes from another site."""
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    login = {"Authorization": f"token {user}-token"} if user else {}
    return httpx.get(address, headers={**cross, **login, **headers}, timeout=BOUND)


async def authorize(jupyter: Jupyter, user: str = "alice", server: str = "far") -> str:
    back = consent(await page_of(jupyter, user, server))
    answer = await asyncio.to_thread(come_back, back, user)
    assert answer.status_code == 200, answer.text
    return back


def text_of(answer: dict[str, Any]) -> str:
    return answer["result"]["content"][0]["text"]


def files(home: Path) -> list[Path]:
    return sorted((home / "data" / "mcp_ws_ide" / "oauth").glob("*"))


@pytest.mark.heavy
async def test_a_call_waits_for_the_user_and_continues_with_a_stored_token(start, protected, tmp_path):
    jupyter = await asyncio.to_thread(start)
    async with link_of(jupyter) as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        page = await page_of(jupyter)
        assert page.startswith(f"{protected.issuer}/authorize?")
        query = parse_qs(urlsplit(page).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["resource"] == [protected.url]
        assert query["redirect_uri"] == [f"http://127.0.0.1:{jupyter.port}/mcp-ws/oauth/callback"]
        assert not calling.done()
        assert f"authorize the gateway: {page}" in await asyncio.to_thread(servers_shown, jupyter, "alice")
        assert page not in await asyncio.to_thread(servers_shown, jupyter, "bob")
        back = await authorize(jupyter)
        assert text_of(await calling) == "hello"
        assert "authorization" not in server_of(jupyter)
        assert (await asyncio.to_thread(come_back, back)).status_code == 400, "a state is good once"
    async with link_of(jupyter) as link:
        peer = Peer(link)
        assert "result" in await peer.initialize()
        await peer.send(id=2, method="tools/call", params=HELLO)
        assert text_of(await peer.receive()) == "hello", "a session of the other era has the token, too"
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    jupyter.stop()
    shown = jupyter.log.read_text()
    again = await asyncio.to_thread(start)
    async with link_of(again) as link:
        assert text_of(await Peer(link).call(1, "tools/call", HELLO)) == "hello"
    facts = protected.facts
    assert (facts["counts"]["register"], facts["counts"]["authorize"]) == (1, 1)
    shown += again.log.read_text() + json.dumps(server_of(again))
    shown += again.request("GET", "metrics", None, {"Authorization": f"token {again.token}"})[2].decode()
    assert len(facts["secrets"]) >= 4
    secrets = [*facts["secrets"], *query["state"], "known-client-secret"]
    assert [secret for secret in secrets if secret in shown] == []
    assert "authorization.url" in shown, "the log says where to look"


@pytest.mark.heavy
async def test_a_refused_token_is_refreshed_also_after_a_restart(start, protected, tmp_path):
    jupyter = await asyncio.to_thread(start)
    async with link_of(jupyter) as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        await authorize(jupyter)
        await calling
        protected.forget()
        peer = Peer(link)
        for number in range(2, 7):
            await peer.send(id=number, method="tools/call", params={**HELLO, "_meta": dict(MODERN)})
        assert sorted([(await peer.receive())["id"] for _ in range(5)]) == [2, 3, 4, 5, 6]
        assert protected.counts["refresh"] == 1, "all wait for one refresh"
    jupyter.stop()
    protected.forget()
    again = await asyncio.to_thread(start)
    async with link_of(again) as link:
        assert text_of(await Peer(link).call(1, "tools/call", HELLO)) == "hello"
        assert (protected.counts["refresh"], protected.counts["authorize"]) == (2, 1)
        protected.forget("refresh")
        calling = asyncio.create_task(Peer(link).call(2, "tools/call", HELLO))
        await authorize(again)
        assert text_of(await calling) == "hello", "a refused refresh needs the user again"
    again.stop()
    protected.forget("refresh")
    last = await asyncio.to_thread(start, "--MCPWebSocketApp.probe_timeout=1")
    async with link_of(last) as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        await page_of(last)
        await asyncio.wait([calling], timeout=1.5)  # a person takes longer than the probe for the era may
        await authorize(last)
        assert text_of(await calling) == "hello"
    # The port has changed, and with it the address that the client was registered with.
    assert (protected.counts["register"], protected.counts["authorize"]) == (3, 3)


@pytest.mark.heavy
async def test_a_server_of_http_and_sse_gets_a_token_too(gateway):
    async with link_of(gateway, server="sse") as link:
        peer = Peer(link)
        calling = asyncio.create_task(peer.initialize())
        await authorize(gateway, server="sse")
        assert "result" in await calling
        await peer.send(id=2, method="tools/call", params=HELLO)
        assert text_of(await peer.receive()) == "hello"


@pytest.mark.heavy
async def test_an_authorization_page_stays_valid_when_the_client_leaves(gateway, protected):
    async with link_of(gateway) as link:
        peer = Peer(link)
        await peer.send(id=1, method="tools/call", params={**HELLO, "_meta": dict(MODERN)})
        page = await page_of(gateway)
    async with link_of(gateway) as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        assert await page_of(gateway) == page, "one page for all"
        await authorize(gateway)
        assert text_of(await calling) == "hello"
    assert protected.counts["authorize"] == 1


@pytest.mark.heavy
async def test_calls_with_a_token_do_not_wait_for_each_other(gateway, protected):
    async with link_of(gateway) as link:
        peer = Peer(link)
        calling = asyncio.create_task(peer.call(1, "tools/call", HELLO))
        await authorize(gateway)
        await calling
        for number in (2, 3):
            params = {"name": "meet", "arguments": {}, "_meta": dict(MODERN)}
            await peer.send(id=number, method="tools/call", params=params)
        assert [text_of(await peer.receive()) for _ in range(2)] == ["met", "met"]


@pytest.mark.heavy
async def test_an_authorization_response_counts_only_for_its_own_user(gateway, protected):
    before = files(gateway.home)
    async with link_of(gateway) as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        page = await page_of(gateway)
        assert "authorization" not in server_of(gateway, "bob")
        back = consent(page)
        wrong = back.replace(parse_qs(urlsplit(back).query)["state"][0], "x" * 43)
        assert (await asyncio.to_thread(come_back, back, None)).status_code == 401
        assert (await asyncio.to_thread(come_back, back, "bob")).status_code == 400
        assert (await asyncio.to_thread(come_back, wrong)).status_code == 400
        evil = {"Origin": "https://evil.example"}
        assert (await asyncio.to_thread(come_back, back, "alice", **evil)).status_code == 403
        embedded = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        assert (await asyncio.to_thread(come_back, back, "alice", **embedded)).status_code == 403
        assert not calling.done()
        right = await asyncio.to_thread(come_back, back)
        assert right.status_code == 200
        assert right.headers["content-type"] == "text/html; charset=UTF-8"
        assert "default-src 'none'" in right.headers["content-security-policy"]
        assert "script" not in right.text
        assert text_of(await calling) == "hello"
        async with link_of(gateway, "bob") as other:
            waiting = asyncio.create_task(Peer(other).call(1, "tools/call", HELLO))
            await authorize(gateway, "bob")
            assert text_of(await waiting) == "hello"
    assert protected.counts["authorize"] == 2
    assert len(files(gateway.home)) == len(before) + 2, "users share no tokens"


@pytest.mark.heavy
async def test_a_missing_or_denied_authorization_is_reported(start, protected):
    jupyter = await asyncio.to_thread(start, "--MCPWebSocketApp.oauth_timeout=2")
    async with link_of(jupyter) as link:
        error = (await Peer(link).call(1, "tools/call", HELLO))["error"]
        assert error["code"] == -31002
        assert "oauth_timeout" in error["message"]
        assert f"127.0.0.1:{jupyter.port}/mcp-ws/api/servers/far" in error["message"]
        calling = asyncio.create_task(Peer(link).call(2, "tools/call", HELLO))
        query = parse_qs(urlsplit(await page_of(jupyter)).query)
        denied = urlencode({"error": "access_denied", "state": query["state"][0]})
        answer = await asyncio.to_thread(come_back, f"{query['redirect_uri'][0]}?{denied}")
        assert (answer.status_code, "not authorized" in answer.text) == (200, True)
        error = (await calling)["error"]
        assert (error["code"], "access_denied" in error["message"]) == (-31002, True)


@pytest.mark.heavy
async def test_a_configured_client_and_scope_are_used(gateway, protected):
    async with link_of(gateway, server="known") as link:
        calling = asyncio.create_task(Peer(link).call(1, "tools/call", HELLO))
        page = await page_of(gateway, server="known")
        query = parse_qs(urlsplit(page).query)
        assert (query["client_id"], query["scope"]) == (["known"], ["read write"])
        calling.cancel()
    assert "register" not in protected.counts


@pytest.mark.heavy
async def test_a_call_that_needs_more_scopes_waits_for_another_authorization(gateway, protected):
    """Even though there is a token, and one to refresh it with: neither has those scopes."""
    save = {"name": "save", "arguments": {}}
    async with link_of(gateway) as link:
        peer = Peer(link)
        calling = asyncio.create_task(peer.call(1, "tools/call", HELLO))
        await authorize(gateway)
        await calling
        calling = asyncio.create_task(peer.call(2, "tools/call", save))
        page = await page_of(gateway)
        assert parse_qs(urlsplit(page).query)["scope"] == ["read write"], "what it had, and what is wanted"
        await authorize(gateway)
        assert text_of(await calling) == "saved"
        assert text_of(await peer.call(3, "tools/call", save)) == "saved"
    assert protected.facts["scopes"] == [["read"], ["read", "write"]]
    assert "refresh" not in protected.counts


@pytest.mark.heavy
async def test_a_server_that_requires_more_than_the_configured_scope_is_refused_with_a_reason(
    gateway, protected
):
    async with link_of(gateway, server="narrow") as link:
        peer = Peer(link)
        calling = asyncio.create_task(peer.call(1, "tools/call", HELLO))
        await authorize(gateway, server="narrow")
        await calling
        error = (await peer.call(2, "tools/call", {"name": "save", "arguments": {}}))["error"]
        assert (error["code"], error["data"]["outcome"]) == (-31002, "not_sent")
        assert "mcp_ws.oauth.scope" in error["message"]
    assert protected.counts["authorize"] == 1


def test_authorization_servers_may_read_who_the_gateway_is(start):
    base = "https://gateway.example/user/me"
    jupyter = start(f"--MCPWebSocketApp.public_url={base}", "--ServerApp.allow_remote_access=True")
    asked = {"Host": "gateway.example", "Accept": "application/json"}
    status, headers, body = jupyter.request("GET", "mcp-ws/oauth/client.json", None, asked)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=UTF-8")
    document = json.loads(body)
    assert document["client_id"] == f"{base}/mcp-ws/oauth/client.json"
    client = client_from(document["client_id"], document)
    assert (client.redirect_uris, client.name) == ((f"{base}/mcp-ws/oauth/callback",), "mcp-ws-ide")
    foreign = {**asked, "Origin": "https://evil.example"}
    assert jupyter.request("GET", "mcp-ws/oauth/client.json", None, foreign)[0] == 403


def test_nothing_is_published_that_authorization_servers_could_not_reach(gateway):
    status, _, body = gateway.request("GET", "mcp-ws/oauth/client.json")
    assert (status, "public_url" in json.loads(body)["message"]) == (404, True)
