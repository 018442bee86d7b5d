"""Choosing a transport: the client uses one that the network lets through, and reports it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from mcp_ws_ide.client import (
    ConnectError,
    ConnectionLostError,
    Negotiated,
    Reconnect,
    UnauthorizedError,
    UnknownServerError,
    connect,
    negotiating_transport,
    websocket_transport,
)
from mcp_ws_ide.client.poll_socket import PollConnection
from tests.chaos import ChaosLink
from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, until
from tests.interop.nginx import Nginx
from tests.transports.raw_http import Request, Server

FAST = Reconnect(first_delay=0.01, max_delay=0.05, give_up_after=20)
BUFFERS = "proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types text/event-stream; gzip_min_length 0;"
"""What compresses a stream holds it back until there is enough of it."""
NO_GET = "if ($request_method = GET) { return 405; }"
NETWORKS = {
    "open": ("", "", {}),
    "blocks upgrade": ("", "", {}),
    "buffers streams": (
        BUFFERS,
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;",
        {"http": "buffers"},
    ),
    "does both": (BUFFERS, "", {"http": "buffers", "websocket": "a proxy removed the header Upgrade"}),
    "passes only POSTs": (NO_GET, "", {}),
    "passes only POSTs and buffers": (
        NO_GET + BUFFERS,
        "",
        {"http": "buffers", "websocket": "405"},
    ),
}
"""Per network: what nginx does to answers, what it passes on of a handshake, and what is said of the refused."""


def locations(jupyter: Jupyter) -> str:
    """A server block for each network, distinguished by the first part of the path."""
    blocks = []
    for number, (answers, upgrade, _) in enumerate(NETWORKS.values()):
        blocks.append(
            f"location /{number}/ {{ proxy_pass http://127.0.0.1:{jupyter.port}/; proxy_http_version 1.1;"
            f"proxy_set_header Host $http_host; {answers} {upgrade} }}"
        )
    upgrades = "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }"
    return f"{upgrades} server {{ listen 127.0.0.1:PORT; client_max_body_size 20m; {' '.join(blocks)} }}"


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Jupyter]:
    running = Jupyter(tmp_path_factory.mktemp("jupyter"), {"demo": DEMO, "fast": FAST_SERVER})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def networks(own, tmp_path_factory) -> Iterator[Nginx]:
    running = Nginx(locations(own), tmp_path_factory.mktemp("nginx"))
    yield running
    running.stop()


def url_through(proxy: Nginx, network: str, server: str = "demo") -> str:
    return f"http://127.0.0.1:{proxy.port}/{list(NETWORKS).index(network)}/mcp-ws/servers/{server}"


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_it_works_on_every_network_and_reports_the_transport(own, networks, network, mode):
    states: list = []
    url = url_through(networks, network)
    async with connect(url, token=own.token, mode=mode, on_state=states.append) as client:
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)

        result = await client.call_tool("slow", {"steps": 3, "delay": 0.05}, progress_callback=progress)
        assert result.content[0].text == "3 steps done"
        assert seen == [1, 2, 3]
    (negotiated,) = [state for state in states if isinstance(state, Negotiated)]
    refused = NETWORKS[network][2]
    expected = ["http", "websocket", "poll"][len(refused)]
    assert negotiated.transport == expected
    assert negotiated.refused.keys() == refused.keys()
    for name, words in refused.items():
        assert words in negotiated.refused[name]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (200, "text/event-stream", "without an event"),
        (200, "text/html", "in place of the gateway"),
        (403, "", "403"),
    ],
)
async def test_a_foreign_response_to_the_probe_does_not_select_http(own, tmp_path, status, kind, words):
    probe = f"location /mcp-ws/servers/demo/probe {{ default_type '{kind}'; return {status} ''; }}"
    rest = f"location / {{ proxy_pass http://127.0.0.1:{own.port}; proxy_set_header Host $http_host; }}"
    proxy = Nginx(f"server {{ listen 127.0.0.1:PORT; {probe} {rest} }}", tmp_path)
    try:
        url = f"http://127.0.0.1:{proxy.port}/mcp-ws/servers/demo"
        transport = negotiating_transport(url, transports=("http", "poll"), token=own.token)
        async with transport:
            assert transport.negotiated is not None
            assert transport.negotiated.transport == "poll"
            assert words in transport.negotiated.refused["http"]
    finally:
        proxy.stop()


@pytest.mark.parametrize("path", ["", "mcp-ws", "lab/tree/x", "api/contents"])
@pytest.mark.parametrize(("scheme", "with_token"), [("http", True), ("http", False), ("ws", True)])
async def test_an_address_that_is_no_mcp_endpoint_is_told_how_those_look(jupyter, path, scheme, with_token):
    url, token = f"{scheme}://127.0.0.1:{jupyter.port}/{path}", jupyter.token if with_token else None
    with pytest.raises(ConnectError) as caught:
        async with asyncio.timeout(BOUND), connect(url, token=token):
            pass
    message = str(caught.value)
    assert url in message
    assert "Jupyter" in message
    assert message.endswith("; the address of a server behind a gateway ends in /mcp-ws/servers/NAME")
    assert message.count("/mcp-ws/servers/NAME") == 1


async def test_the_error_of_an_mcp_server_without_a_probe_is_passed_on():
    async def answer(request: Request) -> None:
        if request.method != "POST" or request.target.endswith("/probe"):
            return await request.answer(404)
        error = {"jsonrpc": "2.0", "id": request.message.get("id")}
        error["error"] = {"code": -32000, "message": "closed today"}
        await request.answer(200, json.dumps(error).encode())

    async with Server(answer) as server:
        with pytest.raises(MCPError, match="closed today"):
            async with asyncio.timeout(BOUND), connect(server.url, mode="legacy"):
                pass


async def test_the_caller_determines_the_order(own, networks):
    transport = negotiating_transport(
        url_through(networks, "blocks upgrade", "fast"),
        transports=("websocket", "poll", "http"),
        token=own.token,
    )
    async with transport:
        assert transport.negotiated is not None
        assert transport.negotiated.transport == "poll"
        assert "a proxy removed the header Upgrade" in transport.negotiated.refused["websocket"]


async def test_a_refusal_does_not_count_as_a_bad_network(own):
    url = f"{own.url}mcp-ws/servers/demo"
    with pytest.raises(UnauthorizedError, match="401"):
        async with negotiating_transport(url, token="wrong"):
            pass
    with pytest.raises(UnknownServerError, match="server 'nope' is not configured"):
        async with negotiating_transport(url.replace("demo", "nope"), token=own.token):
            pass
    with pytest.raises(UnauthorizedError, match=r"^ws://\S+ refused .*401") as refused:
        async with negotiating_transport(url, transports=("websocket", "poll"), token="wrong"):
            pass
    assert str(refused.value).count("://") == 1, "both transports got the same answer"


async def test_a_server_that_cannot_start_is_reported_before_a_transport_is_chosen(make_jupyter):
    jupyter = make_jupyter({"off": {**FAST_SERVER, "disabled": True}})
    with pytest.raises(ConnectError, match=r"^http://[^;]*502.*switched off"):
        async with connect(f"{jupyter.url}mcp-ws/servers/off", token=jupyter.token):
            pass


@pytest.mark.parametrize("transport", ["http", "websocket", "poll"])
async def test_a_slash_at_the_end_of_the_address_changes_nothing(own, transport):
    url = f"{own.url}mcp-ws/servers/fast/"
    async with connect(url, token=own.token, transports=(transport,)) as client:
        assert (await client.list_tools()).tools


@pytest.mark.parametrize("transports", [None, ("websocket", "poll"), ("poll",)])
async def test_tls_toward_a_port_without_tls_is_reported_at_once(own, transports):
    """Jupyter waits for the rest of a request that never comes, and a client without a bound would wait for ever."""
    url = f"wss://127.0.0.1:{own.port}/mcp-ws/servers/fast"
    options = {"open_timeout": 3.0, "token": own.token}
    entering = (
        websocket_transport(url, **options)
        if transports is None
        else negotiating_transport(f"http{url[2:]}", transports=transports, **options)
    )
    with pytest.raises(ConnectError, match="without TLS; use ws:// or http://"):
        async with asyncio.timeout(BOUND), entering:
            pass


async def test_tls_toward_a_port_without_tls_is_reported_whichever_timeout_passes_first():
    """The HTTP library's own limit for connecting is the same, and on a busy machine may pass before ours."""
    async with Server(lambda request: request.answer(404)) as server:
        url = f"https{server.url.removeprefix('http')}/poll"
        client = httpx2.AsyncClient(timeout=httpx2.Timeout(0.3, read=BOUND), trust_env=False)
        link = PollConnection(client, url, url, open_timeout=BOUND)
        with pytest.raises(ConnectError, match="without TLS; use ws:// or http://"):
            await link.send("{}")
        await link.close()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x0a"]
)
async def test_a_port_that_refuses_http_is_not_reported_as_a_port_without_tls(answer):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectError) as refused:
            async with websocket_transport(f"wss://127.0.0.1:{port}/x"):
                pass
    assert "without TLS" not in str(refused.value)


async def test_a_redirect_to_a_login_is_named_and_shows_no_credential():
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        place = b"https://u:secret@login.example/x?state=secret"
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        with pytest.raises(ConnectError) as refused:
            async with websocket_transport(url, token="t"):
                pass
    assert f"{url} redirects to https://login.example, which is not a WebSocket" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_empty_list_of_transports_is_not_the_default():
    with pytest.raises(ConnectError, match="transports"):
        connect("http://host/x", transports=())


async def test_if_no_transport_works_every_reason_is_reported(unused_tcp_port):
    with pytest.raises(ConnectError, match=r"http, poll: .*reached.*websocket: .*reached"):
        async with connect(f"http://127.0.0.1:{unused_tcp_port}/mcp-ws/servers/x", token="t"):
            pass


@pytest.mark.parametrize(
    ("url", "transports"),
    [
        ("ftp://host/x", ("http",)),
        ("http://host/x", ("sse",)),
        ("http://host/x", ()),
        ("http:///x", ("http",)),
        ("http://[::1/", ("http",)),
        ("http://h:99999/", ("http",)),
    ],
)
def test_options_that_cannot_be_negotiated_are_refused_at_once(url, transports):
    with pytest.raises(ConnectError, match=r"address|transports"):
        negotiating_transport(url, transports=transports)


@pytest.mark.parametrize(
    "url",
    [
        "ws://localhost:99999/mcp-ws/servers/x",
        "wss://h:0/x",
        "ws://[::1/x",
        "ws:///x",
        "ws://h:x/y?token=s3cret",
    ],
)
def test_an_invalid_address_raises_a_connect_error_everywhere(url):
    for attempt in (connect, websocket_transport, lambda given: negotiating_transport(f"http{given[2:]}")):
        with pytest.raises(ConnectError, match=r"is not a valid address.*65535") as refused:
            attempt(url)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_poll_session_survives_cuts_and_runs_each_call_once(own, mode):
    cut = []
    async with ChaosLink(own.port, 3) as network:
        url = f"http://127.0.0.1:{network.port}/mcp-ws/servers/fast"
        options = {"token": own.token, "transports": ("poll",), "reconnect": FAST}
        async with connect(url, mode=mode, **options) as client:

            async def work(number: int) -> None:
                result = await client.call_tool("work", {"key": f"{mode}{number}", "steps": 2})
                assert result.content[0].text == f"{mode}{number}"

            for start in range(0, 40, 5):
                calls = [asyncio.ensure_future(work(n)) for n in range(start, start + 5)]
                await asyncio.sleep(0)
                cut.append(network.cut_all())
                await asyncio.gather(*calls)
            tally = json.loads((await client.call_tool("tally", {})).content[0].text)
    assert tally["twice"] == []
    assert all(cut), "a cut costs a POST, which is repeated, and seldom the link"


class OnlyGreetings(RequestHandler):
    """A proxy that, once switched, lets a link open but passes nothing else."""

    def initialize(self, target: str, state: dict) -> None:
        self.target, self.state = target, state

    async def post(self) -> None:
        if self.state["closed"] and not self.request.body.startswith(b'{"mcp.ws":"resume"'):
            return self.set_status(500)
        client = AsyncHTTPClient()
        headers = {name: self.request.headers[name] for name in ("Authorization", "Content-Type")}
        answer = await client.fetch(
            self.target,
            method="POST",
            body=self.request.body,
            headers=headers,
            request_timeout=BOUND,
            raise_error=False,
        )
        self.set_status(answer.code)
        self.write(answer.body)


async def test_links_that_carry_only_the_greeting_count_as_failed_attempts(own):
    states: list = []
    network = {"closed": False}
    target = f"{own.url}mcp-ws/servers/fast/poll"
    server = Application([(r"/.*", OnlyGreetings, {"target": target, "state": network})]).listen(
        0, "127.0.0.1"
    )
    (port,) = {sock.getsockname()[1] for sock in server._sockets.values()}
    policy = Reconnect(first_delay=0.02, max_delay=0.1, give_up_after=2)
    options = {"transports": ("poll",), "reconnect": policy, "on_state": states.append, "token": own.token}
    async with connect(f"http://127.0.0.1:{port}/mcp-ws/servers/fast", **options) as client:
        await client.list_tools()
        network["closed"] = True
        with pytest.raises(MCPError, match="could not be reached again within 2 s"):
            await asyncio.wait_for(client.call_tool("slow", {"steps": 1, "delay": 60}), 15)
    server.stop()
    await server.close_all_connections()
    attempts = [state.attempt for state in states if type(state).__name__ == "Reconnecting"]
    assert attempts == list(range(1, len(attempts) + 1))
    assert any(type(state).__name__ == "Resumed" for state in states), "the greeting passed"
    for session in own.rest("GET", "sessions")[1]["sessions"]:  # it would wait for its client
        own.rest("DELETE", f"sessions/{session['id']}")


async def test_a_link_that_carries_messages_resets_the_count_of_attempts(own):
    states: list = []
    options = {"transports": ("poll",), "reconnect": FAST, "on_state": states.append, "token": own.token}
    async with ChaosLink(own.port, 3) as network:
        url = f"http://127.0.0.1:{network.port}/mcp-ws/servers/fast"
        async with connect(url, **options) as client:
            for _ in range(2):
                before = sum(type(state).__name__ == "Resumed" for state in states)
                network.refusing = True
                network.cut_all()
                await until(lambda: type(states[-1]).__name__ == "Reconnecting")
                network.refusing = False
                await until(lambda n=before: sum(type(s).__name__ == "Resumed" for s in states) > n)
                await client.list_tools()
    attempts = [state.attempt for state in states if type(state).__name__ == "Reconnecting"]
    assert attempts.count(1) == 2


async def test_a_poll_session_ends_with_its_client(own):
    async with connect(f"{own.url}mcp-ws/servers/fast", token=own.token, transports=("poll",)) as client:
        await client.list_tools()
        assert [s["link"] for s in own.rest("GET", "sessions")[1]["sessions"]] == ["poll"]
    await until(lambda: not own.rest("GET", "sessions")[1]["sessions"])


async def test_the_shutdown_of_the_gateway_reaches_a_polling_client(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    states: list = []
    options = {"transports": ("poll",), "reconnect": None, "on_state": states.append}
    async with connect(f"{jupyter.url}mcp-ws/servers/fast", token=jupyter.token, **options) as client:
        await client.list_tools()
        await asyncio.to_thread(jupyter.stop)
        await until(lambda: type(states[-1]).__name__ == "Lost")
    assert "1012" in states[-1].reason


async def test_a_message_that_a_proxy_refuses_ends_a_poll_session_with_a_reason(own, tmp_path):
    rest = f"location / {{ proxy_pass http://127.0.0.1:{own.port}; proxy_set_header Host $http_host; }}"
    proxy = Nginx(f"server {{ listen 127.0.0.1:PORT; client_max_body_size 1m; {rest} }}", tmp_path)
    states: list = []
    options = {"transports": ("poll",), "reconnect": FAST, "on_state": states.append}
    try:
        url = f"http://127.0.0.1:{proxy.port}/mcp-ws/servers/fast"
        async with connect(url, token=own.token, **options) as client:
            with pytest.raises(MCPError, match="413"):
                await client.call_tool("echo", {"text": "x" * (2 << 20)})
        assert type(states[-1]).__name__ == "Lost"
    finally:
        proxy.stop()


@pytest.mark.parametrize("transport", ["http", "websocket", "poll"])
@pytest.mark.parametrize("token", ["se\ncret", "sécret"])
async def test_a_token_that_cannot_be_sent_is_not_repeated_in_the_error(own, transport, token):
    with pytest.raises(ConnectError, match="printable") as refused:
        async with negotiating_transport(f"{own.url}mcp-ws/servers/fast", transports=transport, token=token):
            pass
    assert "cret" not in str(refused.value)


class RefusesAfterTheFirst:
    """A proxy that passes the POST which opens a poll link, and refuses every other with ``status``."""

    def __init__(self, jupyter: Jupyter, status: int) -> None:
        self.jupyter, self.status = jupyter, status
        self.opened = 0

    async def __call__(self, request: Request) -> None:
        if b'"open"' not in request.body and b'"resume"' not in request.body:
            return await request.answer(self.status, b"denied by the company", "text/plain")
        self.opened += 1
        async with httpx2.AsyncClient(
            headers={"Content-Type": "application/x-ndjson"}, trust_env=False
        ) as http:
            url = f"{self.jupyter.url}mcp-ws/servers/fast/poll"
            passed = await http.post(
                url, content=request.body, headers={"Authorization": f"Bearer {own_token(request)}"}
            )
        await request.answer(passed.status_code, passed.content, "application/x-ndjson")


def own_token(request: Request) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize("status", [401, 403, 404, 405, 451])
async def test_posts_that_are_refused_end_a_poll_session_and_do_not_loop(jupyter, status):
    async with Server(handler := RefusesAfterTheFirst(jupyter, status)) as proxy:
        url = f"{proxy.url.removesuffix('/mcp')}/mcp-ws/servers/fast"
        options = {"transports": ("poll",), "reconnect": FAST, "token": jupyter.token}
        async with asyncio.timeout(BOUND):
            with pytest.raises(ConnectionLostError) as raised:
                async with connect(url, mode="legacy", **options):
                    pass
        assert f"answered {status}" in str(raised.value) and "denied by the company" in str(raised.value)
        assert handler.opened == 1
