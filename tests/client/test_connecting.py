"""``connect``: what it accepts, how long it waits, and the one error for a server that cannot be used."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from mcp_ws_ide.client import (
    ConnectError,
    ServerUnavailableError,
    UnusableArgumentError,
    UnusableHeaderError,
    connect,
    connecting,
    negotiating_transport,
    websocket_transport,
)
from mcp_ws_ide.client.connecting import Endpoint
from mcp_ws_ide.client.negotiating import TRANSPORTS
from tests.conftest import BOUND, Jupyter
from tests.transports.raw_http import Request, Server

NOWHERE = "http://127.0.0.1:1/"


async def fails(target: Any, **options: Any) -> ConnectError:
    """Return the error with which connecting fails."""
    with pytest.raises(ConnectError) as caught:
        async with asyncio.timeout(BOUND), connect(target, **options):
            raise AssertionError("it is open")
    return caught.value


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (None, "not None"),
        ("", "not ''"),
        (b"git", "not of type bytes; decode it"),
        (42, "not of type int"),
        ([], "not of type list; to run a command"),
        (["npx", "x"], "not of type list; to run a command"),
        ({}, "not of type dict; to use an entry"),
        ({"command": "x"}, "not of type dict; to use an entry"),
    ],
)
@pytest.mark.parametrize("use", [connect, Endpoint])
def test_what_is_neither_a_name_nor_an_address_is_refused_with_what_is(use, target, what):
    with pytest.raises(
        UnusableArgumentError, match="expected the name of a configured server, or the URL"
    ) as caught:
        use(target)
    assert what in str(caught.value)


@pytest.mark.parametrize("target", ["unix:///tmp/s#/mcp", "stdio://x", "ftp://h/"])
@pytest.mark.parametrize("use", [connect, Endpoint])
def test_an_address_with_another_scheme_is_told_which_there_are(use, target):
    with pytest.raises(UnusableArgumentError, match="begins with ws://, wss://, http://, https://, or put"):
        use(target)


async def test_an_address_may_have_blanks_around_it_capitals_and_a_fragment():
    async def answer(request: Request) -> None:
        await request.answer(418)

    async with Server(answer) as server:
        there = server.url.removeprefix("http")
        for target in (f" http{there}\n", f"HTTP{there}", f"WS{there}#part", f"ws{there}#part"):
            assert "answered 418" in str(await fails(target))


@pytest.mark.parametrize("use", [websocket_transport, negotiating_transport])
@pytest.mark.parametrize("target", [None, b"ws://h/", 42, "", [], {}])
def test_a_transport_says_what_an_address_looks_like(use, target):
    with pytest.raises(UnusableArgumentError, match="://HOST:PORT/"):
        use(target)


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"token": b"x"}, "token is a string, or a function that returns one, not of type bytes"),
        ({"headers": [("a", "b")]}, "headers is a mapping"),
        ({"headers": {1: "b"}}, "the name of a header is a string"),
        ({"ssl": False}, "ssl is an ssl.SSLContext"),
        ({"reconnect": True}, "reconnect is a mcp_ws_ide.client.Reconnect"),
        ({"on_state": "print"}, "on_state is a function"),
        ({"transports": 5}, "transports is a sequence of http, websocket, poll"),
        ({"transports": [None]}, "known transports: http, websocket, poll"),
        ({"url": 5}, "url is the base URL"),
        *[
            ({"timeout": seconds}, "timeout is a number of seconds above 0")
            for seconds in (0, -1, "5", True, math.nan)
        ],
    ],
)
def test_an_option_of_another_type_is_refused_before_anything_is_connected(options, accepted):
    with pytest.raises(UnusableArgumentError, match=accepted):
        connect(NOWHERE, **options)


def test_the_value_of_a_header_is_a_string_and_is_not_repeated():
    with pytest.raises(UnusableHeaderError, match="'X-Key' has a value of type int") as caught:
        connect(NOWHERE, headers={"X-Key": 4711})
    assert "4711" not in str(caught.value)


def test_what_is_documented_is_accepted():
    context = ssl.create_default_context()
    connect(NOWHERE, token=lambda: "x", headers={"X-Key": "v"}, ssl=context, reconnect=None, timeout=math.inf)


# --- how long it waits ----------------------------------------------------------------------------


async def silence(request: Request) -> None:
    """Accept a request and answer nothing."""
    await asyncio.Event().wait()


@asynccontextmanager
async def silent_websocket(subprotocols: Any = None) -> AsyncIterator[str]:
    """A server that opens WebSockets and answers no message."""

    async def listen(link: ServerConnection) -> None:
        async for _ in link:
            pass

    async with serve(listen, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def no_answer(request: Request) -> None:
    """Answer everything but POSTs to the endpoint, as a server does whose process hangs."""
    if request.method == "POST" and not request.target.endswith("/probe"):
        await asyncio.Event().wait()
    await request.answer(404)


@pytest.mark.parametrize("scheme", ["ws", "wss", "http", "https"])
async def test_a_port_that_answers_nothing_is_given_up_when_the_timeout_has_passed(scheme):
    async with Server(silence) as server:
        error = await fails(f"{scheme}{server.url.removeprefix('http')}", timeout=0.3)
    assert "no link could be opened within 0.3 s" in str(error)


async def test_a_gateway_that_never_opens_the_session_is_given_up_with_a_reason():
    async with silent_websocket(["mcp.resume.v1"]) as url:
        transport = websocket_transport(url, open_timeout=1)
        with pytest.raises(ConnectError, match=r"did not open a session: no response within 1 s"):
            async with asyncio.timeout(BOUND), transport:
                raise AssertionError("it is open")


async def test_each_transport_gives_up_on_a_port_that_answers_nothing():
    async with Server(silence) as server:
        transport = negotiating_transport(server.url, transports=("websocket", "poll"), open_timeout=0.2)
        with pytest.raises(ConnectError, match=r"^ws://127.* did not answer within 0\.2 s$"):
            async with asyncio.timeout(BOUND), transport:
                raise AssertionError("it is open")


@pytest.mark.parametrize(("timeout", "limit"), [(None, "0.5 s"), (3, "3 s")])
async def test_a_silent_server_behind_an_open_link_is_given_up(monkeypatch, timeout, limit):
    monkeypatch.setattr(connecting, "FOREIGN_PATIENCE", 0.5)
    async with silent_websocket() as url, Server(no_answer) as server:
        errors = await asyncio.gather(fails(url, timeout=timeout), fails(server.url, timeout=timeout))
    for error in errors:
        assert isinstance(error, ServerUnavailableError)
        assert f"did not answer the handshake within {limit}; pass timeout=" in str(error)


async def test_a_slow_server_has_as_long_as_the_timeout(monkeypatch):
    monkeypatch.setattr(connecting, "FOREIGN_PATIENCE", 0.1)
    started = asyncio.Event()

    async def answer(link: ServerConnection) -> None:
        async for data in link:
            message = json.loads(data)
            await started.wait()
            if "id" in message:
                result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
                await link.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        assert isinstance(await fails(url), ServerUnavailableError)
        asyncio.get_running_loop().call_later(0.4, started.set)
        async with connect(url, timeout=math.inf) as client:
            assert client.protocol_version == "2026-07-28"
        async with connect(url, timeout=BOUND):
            pass


# --- one error for a server that cannot be used ---------------------------------------------------

PYTHON = {"command": sys.executable, "args": ["-I", "-S", "-c"]}
UNUSABLE = {
    "mute": (
        {**PYTHON, "args": [*PYTHON["args"], "import sys; sys.stdin.read()"]},
        "initialize within 2.7 s (9 times",
    ),
    "exits": ({**PYTHON, "args": [*PYTHON["args"], "raise SystemExit(7)"]}, "7"),
    "dies": ({**PYTHON, "args": [*PYTHON["args"], "input(); input(); raise SystemExit(7)"]}, "server 'dies'"),
    "absent": ({"command": "/nonexistent/server"}, "/nonexistent/server"),
    "remote": ({"url": "http://127.0.0.1:1/mcp"}, ""),
    "link": ({"url": "ws://127.0.0.1:1/mcp", "type": "ws"}, "127.0.0.1"),
}
"""Entries that cannot be used, and what the error says."""


@pytest.fixture(scope="module")
def unusable(tmp_path_factory) -> Iterator[Jupyter]:
    entries = {name: entry for name, (entry, _) in UNUSABLE.items()}
    running = Jupyter(tmp_path_factory.mktemp("jupyter"), entries, "--MCPWebSocketApp.probe_timeout=0.3")
    yield running
    running.stop()


@pytest.mark.parametrize("name", UNUSABLE)
async def test_a_server_that_cannot_be_used_is_one_error_on_every_path(unusable, name):
    url, token = unusable.endpoint(name), unusable.token
    paths = [{}, *({"transports": [transport]} for transport in TRANSPORTS)]
    errors = await asyncio.gather(
        *(fails(url, token=token, mode=mode, **path) for path in paths for mode in ("auto", "legacy"))
    )
    for error in errors:
        assert type(error) is ServerUnavailableError, error
        assert UNUSABLE[name][1] in str(error)


async def test_without_reconnecting_the_error_is_the_same(unusable):
    error = await fails(unusable.endpoint("mute"), token=unusable.token, reconnect=None)
    assert type(error) is ServerUnavailableError
    assert "initialize within 2.7 s" in str(error)
