"""The tap of a real gateway: permissions, resuming, slow watchers, and no secret anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.watch import MissedRecords, Watch
from tests.chaos import ChaosLink
from tests.conftest import BOUND, FAST_SERVER, SHADOWED, TESTS, Jupyter, Peer, until

ROOT = Path(__file__).parents[2]


def tap_url(jupyter: Jupyter, query: dict[str, Any]) -> str:
    url = jupyter.endpoint("x").replace("servers/x", "api/tap")
    return url + ("?" + urlencode(query) if query else "")


class Tapped:
    """One watcher: records, one after the other."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.seen: list[dict[str, Any]] = []

    async def more(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in str(await self.link.recv()).split("\n")]
        self.seen += found
        return found

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for record in self.seen:
            if wanted(record):
                return record
        async with asyncio.timeout(BOUND):
            while True:
                for record in await self.more():
                    if wanted(record):
                        return record


def tapped_raw(jupyter: Jupyter, token: str | None = None, **query: Any) -> connect:
    """The link of a watcher."""
    return connect(
        *(tap_url(jupyter, query),),
        subprotocols=["mcp.tap.v1"],
        additional_headers={"Authorization": f"Bearer {token or jupyter.token}"},
        compression=None,
        max_size=None,
    )


@contextlib.asynccontextmanager
async def tapped(jupyter: Jupyter, token: str | None = None, **query: Any) -> AsyncIterator[Tapped]:
    async with tapped_raw(jupyter, token, **query) as link:
        tap = Tapped(link)
        assert (await tap.more())[0]["event"] == "attached"
        yield tap


async def echo(peer: Peer, request_id: Any, text: str = "hi") -> dict[str, Any]:
    arguments = {"name": "echo", "arguments": {"text": text}}
    return await peer.call(request_id, "tools/call", arguments)


async def refused(jupyter: Jupyter, token: str | None = None, **query: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as error:
        async with tapped(jupyter, token, **query):
            pass
    response = error.value.response
    return response.status_code, json.loads(response.body)["message"]


# --- filters and places -------------------------------------------------------------------------


async def test_a_filtered_watcher_gets_the_matching_records(jupyter):
    async with (
        tapped(jupyter, method="tools/call", leg="client", server="fast") as tap,
        jupyter.connect("fast") as link,
    ):
        peer = Peer(link)
        await peer.call(1, "tools/list")
        await echo(peer, 2)
        await peer.call(3, "no/such")
        await echo(peer, 4)
        await tap.until(lambda r: r["kind"] == "response" and r["id"] == 4)
        assert [(r["kind"], r["id"]) for r in tap.seen[1:]] == [
            *(("request", 2), ("response", 2), ("request", 4), ("response", 4))
        ]


async def test_mistakes_in_the_query_are_refused_with_a_reason(jupyter):
    assert await refused(jupyter, sever="fast") == (
        400,
        "the tap has no parameter 'sever'; known parameters: server, session, kind, method, direction, leg, errors, after, instance",
    )
    assert "must be one of" in (await refused(jupyter, kind="all"))[1]
    assert "must be given together" in (await refused(jupyter, after=5))[1]
    async with tapped(jupyter) as tap:
        instance = tap.seen[0]["instance"]
        assert "newest record" in (await refused(jupyter, after=10**12, instance=instance))[1]


async def test_an_inspector_that_loses_its_link_loses_and_repeats_nothing(jupyter):
    async with ChaosLink(jupyter.port, 1) as chaos, jupyter.connect("fast") as link:
        url = jupyter.url.replace(str(jupyter.port), str(chaos.port))
        watch = Watch(lambda: RunningGateway(url, jupyter.token))
        running = asyncio.create_task(watch.run())
        await until(lambda: watch.state == "live", what="the link of the inspector")
        await until(lambda: watch._place is not None, what="its place")
        peer, texts = Peer(link), []

        def ids() -> list[Any]:
            while (item := watch.take()) is not None:
                texts.append(item)
            records = [
                json.loads(line) for text in texts if isinstance(text, str) for line in text.split("\n")
            ]
            return [r["id"] for r in records if r["leg"] == "client" and r["kind"] == "response"]

        number = 0
        for kind in ("reset", "close", "truncate", "reset"):
            for _ in range(20):
                number += 1
                await echo(peer, f"n{number}")
            reconnects = watch.reconnects
            await until(lambda kind=kind: chaos.cut(kind), what="a link to cut")
            while watch.reconnects == reconnects:  # a truncated link needs something to be truncated
                number += 1
                await echo(peer, f"n{number}")
                await asyncio.sleep(0.01)
        await until(lambda: f"n{number}" in ids(), what="the newest record")
        assert ids() == [f"n{n}" for n in range(1, number + 1)]
        assert watch.reconnects == 4
        assert not any(isinstance(item, MissedRecords) for item in texts)
        running.cancel()


async def test_an_inspector_learns_that_another_gateway_answers(make_jupyter):
    first = make_jupyter({"fast": FAST_SERVER})
    watch = Watch(lambda: RunningGateway(first.url, first.token))
    running = asyncio.create_task(watch.run())
    await until(lambda: watch._place is not None, what="its place")
    old = watch._place[0]
    await asyncio.to_thread(first.stop)
    again = await asyncio.to_thread(make_jupyter, {"fast": FAST_SERVER}, port=first.port)
    await until(lambda: watch._place[0] != old, what="the place in the new one")
    async with again.connect("fast") as link:
        await echo(Peer(link), "new")
    found: list[Any] = []

    def arrived() -> bool:
        while (item := watch.take()) is not None:
            found.append(item)
        return any(isinstance(item, str) and '"new"' in item for item in found)

    await until(arrived, what="new traffic")
    gaps = [item for item in found if isinstance(item, MissedRecords)]
    assert [gap.count for gap in gaps] == [None]
    assert "restarted" in gaps[0].reason
    running.cancel()


# --- who may see what ---------------------------------------------------------------------------


async def test_the_authorizer_decides_who_may_watch(make_jupyter, tmp_path):
    users = {"blind-token": "blind", "alice-token": "alice", "test-token-0123456789": "root"}
    (tmp_path / "users.json").write_text(json.dumps(users))
    shared = make_jupyter(
        {"fast": FAST_SERVER},
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        "--ServerApp.authorizer_class=tests.servers.identity.NoGuests",
        environment={"USERS_FILE": str(tmp_path / "users.json"), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
    )
    status, words = await refused(shared, "blind-token")
    assert (status, words) == (403, "you are not authorized to read on mcp-tap")
    assert shared.rest("GET", "servers", token="blind-token")[0] == 200, "everything else is theirs"
    minted = shared.rest("POST", "tokens", {"servers": ["fast"]}, token="blind-token")[1]["token"]
    assert (await refused(shared, minted))[0] == 403, "a token of theirs may no more than they"
    async with tapped(shared, "alice-token"):
        pass


def mint(jupyter: Jupyter, **options: Any) -> dict[str, Any]:
    return jupyter.rest("POST", "tokens", {"servers": ["fast"], **options})[1]


def with_token(jupyter: Jupyter, secret: str) -> Any:
    return jupyter.connect("fast", additional_headers={"Authorization": f"Bearer {secret}"})


async def test_a_gateway_token_shows_its_own_sessions_and_the_owner_all(jupyter):
    mine, other = mint(jupyter), mint(jupyter)
    async with (
        tapped(jupyter, mine["token"]) as tap,
        tapped(jupyter) as everything,
        with_token(jupyter, mine["token"]) as my_link,
        with_token(jupyter, other["token"]) as other_link,
        jupyter.connect("fast") as owners_link,
    ):
        peers = {"mine": Peer(my_link), "other": Peer(other_link), "owner": Peer(owners_link)}
        for number in range(3):
            for name, peer in peers.items():
                await echo(peer, f"{name}{number}", f"said by {name}")
        for name in peers:
            await everything.until(lambda r, name=name: r["id"] == f"{name}2" and r["kind"] == "response")
        await tap.until(lambda r: r["id"] == "mine2" and r["kind"] == "response")
        text = json.dumps(tap.seen)
        assert "said by mine" in text
        assert "other" not in text
        assert "owner" not in text
        legs = {(r["leg"], r["direction"]) for r in tap.seen if r["kind"] in ("request", "response")}
        assert legs == {("client", "in"), ("client", "out"), ("upstream", "in"), ("upstream", "out")}


async def test_on_a_shared_server_a_token_sees_the_notifications_that_concern_it_alone(jupyter):
    mine, other = mint(jupyter), mint(jupyter)
    async with (
        tapped(jupyter, mine["token"]) as tap,
        with_token(jupyter, mine["token"]) as my_link,
        with_token(jupyter, other["token"]) as other_link,
    ):
        slow = {"name": "slow", "arguments": {"steps": 3, "delay": 0.01}}
        for link, name in ((my_link, "mine"), (other_link, "other")):
            peer = Peer(link)
            meta = {"progressToken": f"progress-{name}"}
            answer = await peer.call(name, "tools/call", slow, **meta)
            while "result" not in answer:
                answer = await peer.receive()
        await echo(Peer(my_link), "end")
        await tap.until(lambda r: r["id"] == "end" and r["kind"] == "response")
        progress = [r for r in tap.seen if r["method"] == "notifications/progress"]
        assert sum(r["leg"] == "upstream" for r in progress) == 4
        assert sum(r["leg"] == "client" for r in progress) == 4
        assert "progress-other" not in json.dumps(tap.seen)
        assert all(r["kind"] != "noise" for r in tap.seen)


async def test_a_token_with_lists_of_tools_does_not_see_what_they_hide(jupyter):
    limited = mint(jupyter, tools={"deny": ["echo"]})
    async with (
        tapped(jupyter, limited["token"]) as tap,
        with_token(jupyter, limited["token"]) as link,
    ):
        answer = await Peer(link).call("list", "tools/list")
        assert answer["result"]["tools"] == []
        await tap.until(lambda r: r["id"] == "list" and r["kind"] == "response")
        assert {r["leg"] for r in tap.seen if r["leg"]} == {"client"}
        assert "inputSchema" not in json.dumps(tap.seen)


async def test_a_revoked_token_sees_no_more(jupyter):
    token = mint(jupyter)
    async with tapped(jupyter, token["token"]) as tap:
        assert jupyter.rest("DELETE", f"tokens/{token['id']}")[0] == 204
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionClosed) as closed:
                await tap.more()
        assert closed.value.rcvd.code == 4403
    assert (await refused(jupyter, token["token"]))[0] == 401


async def test_an_expired_token_sees_no_more(jupyter):
    token = mint(jupyter, expires_in=1)
    async with tapped(jupyter, token["token"]) as tap, asyncio.timeout(BOUND):
        with pytest.raises(ConnectionClosed) as closed:
            await tap.more()
        assert closed.value.rcvd.code == 4401


# --- slow watchers --------------------------------------------------------------------------------


async def test_a_watcher_that_does_not_read_is_closed_at_the_configured_limit(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_queued_bytes=200000")
    async with (
        connect(
            tap_url(jupyter, {}),
            subprotocols=["mcp.tap.v1"],
            additional_headers=authorized(jupyter),
            compression=None,
            max_size=None,
            max_queue=1,
        ) as stopped,
        jupyter.connect("fast") as link,
    ):
        peer = Peer(link)
        for number in range(700):
            await echo(peer, number, "x" * 12_000)
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(BOUND):
                while True:
                    await stopped.recv()
    assert closed.value.rcvd.code == 1008
    assert "200000 are allowed (max_queued_bytes)" in closed.value.rcvd.reason


async def test_only_a_stopped_inspector_misses_records(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    stopped = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcp_ws_ide.inspector.cli", "tail", "--json"),
        env=jupyter.environment,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    first = json.loads(await stopped.stdout.readline())
    assert first["event"] == "attached"
    async with tapped(jupyter) as one, tapped(jupyter) as two, jupyter.connect("fast") as link:
        os.kill(stopped.pid, signal.SIGSTOP)
        readers = [asyncio.create_task(drain(tap)) for tap in (one, two)]
        peer, text, calls = Peer(link), "x" * 12_000, 0

        async def dropped() -> bool:
            metrics = (await asyncio.to_thread(jupyter.request, "GET", "metrics", None, authorized(jupyter)))[
                2
            ]
            return b"mcp_ws_tap_drops_total 0.0" not in metrics

        async with asyncio.timeout(BOUND):
            while calls < 600 or not await dropped():
                for _ in range(100):
                    calls += 1
                    await echo(peer, calls, text)
        await peer.send(id="last", method="ping")
        for tap in (one, two):
            await until(lambda tap=tap: any(r["id"] == "last" for r in tap.seen), what="the end")
        for reader in readers:
            reader.cancel()
        assert [r["kind"] for tap in (one, two) for r in tap.seen if r["kind"] == "gap" or r["drops"]] == []
        newest = max(r["seq"] for r in one.seen if r["id"] == "last")
        os.kill(stopped.pid, signal.SIGCONT)
        got, missed = 0, 0
        async with asyncio.timeout(BOUND):
            while True:
                record = json.loads(await stopped.stdout.readline())
                if record["kind"] == "gap":
                    missed += record["count"]
                else:
                    got += 1
                if record["seq"] >= newest:
                    break
        assert missed > 0
        assert got + missed == newest - first["seq"], "what it missed is counted exactly"
    stopped.kill()
    await stopped.wait()


def authorized(jupyter: Jupyter) -> dict[str, str]:
    return {"Authorization": f"token {jupyter.token}"}


async def drain(tap: Tapped) -> None:
    while True:
        await tap.more()


# --- secrets --------------------------------------------------------------------------------------

PLANTED = {
    "env": "3nv-pl4nted-v4lue",
    "argument": "4rg-pl4nted-v4lue",
    "header": "h34der-pl4nted-v4lue",
    "query": "qu3ry-pl4nted-v4lue",
    "pattern": "PLANT-77777777",
}
LEAKY = "import os,runpy,sys; print('using', os.environ['DB_PASSWORD'], 'PLANT-77777777', file=sys.stderr, flush=True); "


@pytest.fixture
def gossip() -> Iterator[str]:
    """A remote server that repeats the credential it was shown, wherever it can."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = f"you said {self.headers['Authorization']} at {self.path}"
            result: dict[str, Any] = {"resultType": "complete", "content": [{"type": "text", "text": said}]}
            if body.get("method") == "server/discover":
                result = {
                    **{"resultType": "complete", "supportedVersions": ["2026-07-28"]},
                    **{"capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"},
                }
            answer = json.dumps({"jsonrpc": "2.0", "id": body.get("id"), "result": result}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mcp?token={PLANTED['query']}"
    server.shutdown()
    server.server_close()


def leaky_servers(gossip: str) -> dict[str, Any]:
    """Servers whose configuration, output and answers contain what is planted."""
    run_fast = f"runpy.run_path({str(TESTS / 'servers' / 'fast.py')!r}, run_name='__main__')"
    leaky = {
        "command": sys.executable,
        "args": ["-c", LEAKY + run_fast],
        "env": {"DB_PASSWORD": PLANTED["env"]},
    }
    return {
        "leaky": leaky,
        "far": {"url": gossip, "headers": {"Authorization": f"Bearer {PLANTED['header']}"}},
    }


async def say_secrets(jupyter: Jupyter, token: str, ticket: str) -> None:
    """Have secrets in the URL, in a header, in arguments, in a server's stderr and in its answer."""
    url = f"{jupyter.endpoint('leaky')}?ticket={ticket}"
    async with connect(url, subprotocols=["mcp"], user_agent_header=f"x {token}") as link:
        peer = Peer(link)
        words = f"{token} and {jupyter.token}, {PLANTED['env']} at wss://h/x?ticket={ticket} PLANT-77777777"
        arguments = {"text": words, "password": PLANTED["argument"], PLANTED["env"]: 1}
        await peer.call("a", "tools/call", {"name": "echo", "arguments": arguments})
        await peer.call("b", "tools/call", {"name": "crash"})
    async with with_token_at(jupyter, token, "far") as link:
        answer = await Peer(link).call("c", "tools/call", {"name": "x", "arguments": {}})
        assert PLANTED["header"] in json.dumps(answer), "the secret was really repeated"


async def test_planted_secrets_appear_in_no_record_file_log_or_metric(make_jupyter, gossip, tmp_path):
    jupyter = make_jupyter(leaky_servers(gossip), "--debug", r"--MCPWebSocketApp.redact_patterns=PLANT-\d+")
    token = jupyter.rest("POST", "tokens", {"servers": ["leaky", "far"]})[1]["token"]
    ticket = jupyter.rest("POST", "tickets", {"server": "leaky"})[1]["ticket"]
    secrets = {**PLANTED, "gateway token": token, "Jupyter token": jupyter.token, "ticket": ticket}
    inspector = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcp_ws_ide.inspector.cli", "tail"),
        env=jupyter.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    await inspector.stdout.readline()
    async with tapped(jupyter) as tap:
        await say_secrets(jupyter, token, ticket)
        await tap.until(lambda r: r["id"] == "c" and r["kind"] == "response" and r["leg"] == "client")
        await tap.until(lambda r: r["kind"] == "noise")
        records = json.dumps(tap.seen, ensure_ascii=False)
    inspector.send_signal(signal.SIGINT)
    async with asyncio.timeout(BOUND):
        printed = (await inspector.communicate())[0].decode()
    paths = ("servers", "servers/leaky", "servers/far", "sessions", "tokens")
    rest = [jupyter.rest("GET", path)[1] for path in paths]
    assert any("using" in line for line in rest[1]["stderr"]), "stderr is shown"
    places = {
        **{"records": records, "inspector": printed, "REST": json.dumps(rest)},
        **{"metrics": jupyter.request("GET", "metrics", None, authorized(jupyter))[2].decode()},
        **{"log": jupyter.log.read_text()},
        **written(jupyter),
    }
    assert "echo" in places["records"]
    assert "leaky" in places["inspector"]
    assert "leaky" in places["log"]
    found = [
        (name, place) for place, text in places.items() for name, secret in secrets.items() if secret in text
    ]
    assert found == []


def with_token_at(jupyter: Jupyter, secret: str, name: str) -> Any:
    return jupyter.connect(name, additional_headers={"Authorization": f"Bearer {secret}"})


def written(jupyter: Jupyter) -> dict[str, str]:
    """Every file below the server's home but the configuration, which holds the secrets, and what Jupyter itself
    writes of its token for clients of this machine."""
    skipped = {jupyter.configuration, jupyter.log}
    files = [path for path in jupyter.home.rglob("*") if path.is_file() and path not in skipped]
    return {
        str(path.relative_to(jupyter.home)): path.read_text(errors="replace")
        for path in files
        if not path.name.startswith("jpserver-")
    }
