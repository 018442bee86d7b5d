"""WebSocket toward servers that resume and servers that do not: links that break, sessions that are gone."""

from __future__ import annotations

import json
import logging
import ssl
from http import HTTPStatus
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.server import serve

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.errors import LIMIT_EXCEEDED, TransportError
from mcp_ws_ide.transports import Supplies, make_transport, websocket
from mcp_ws_ide.transports.websocket import WebSocketTransport
from tests.chaos import ChaosLink
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, until
from tests.transports.peers import Recorder, Wire


def through(jupyter: Jupyter, port: int, **options) -> WebSocketTransport:
    path = jupyter.url.split("/", 3)[3]
    url = f"ws://127.0.0.1:{port}/{path}mcp-ws/servers/fast"
    return WebSocketTransport(url, {"Authorization": f"Bearer {jupyter.token}"}, **options)


def call(transport: WebSocketTransport, number: int, name: str, **arguments) -> None:
    params = {"name": name, "arguments": arguments, "_meta": {**MODERN, "progressToken": number}}
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    transport.send(json.dumps(message).encode())


async def test_a_link_that_is_cut_again_and_again_loses_and_repeats_nothing(jupyter: Jupyter):
    receiver = Recorder()
    async with ChaosLink(jupyter.port, seed=11) as chaos:
        transport = through(jupyter, chaos.port)
        await transport.connect(receiver)
        for number in range(50):
            call(transport, number, "work", key=f"k{number}", steps=3)
            if number % 10 == 9:
                accepted = chaos.accepted
                assert chaos.cut_all() == 1
                await until(lambda accepted=accepted: chaos.accepted > accepted)
                await until(lambda: chaos.open_links == 1)
        await until(lambda: len(receiver.messages) >= 200, BOUND)
        found = [json.loads(message) for message in receiver.messages]
        assert sorted(m["id"] for m in found if "result" in m) == list(range(50))
        assert sum("method" in m for m in found) == 150
        await transport.close()
    assert any("resumed" in text for _, text in receiver.noise)


async def test_a_message_above_the_limit_of_the_next_gateway_fails_alone(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.max_message_bytes=100000")
    receiver = Recorder()
    transport = through(jupyter, jupyter.port)
    await transport.connect(receiver)
    call(transport, 1, "echo", text="x" * 200_000)
    call(transport, 2, "echo", text="short")
    await until(lambda: len(receiver.messages) == 2)
    errors = {m["id"]: m.get("error", {}).get("code") for m in map(json.loads, receiver.messages)}
    assert errors == {1: LIMIT_EXCEEDED, 2: None}
    notification = {"jsonrpc": "2.0", "method": "n", "params": {"text": "x" * 200_000}}
    transport.send(json.dumps(notification).encode())
    dropped = [
        text for _, text in receiver.noise if "accepts at most 100000 bytes (its max_message_bytes)" in text
    ]
    assert len(dropped) == 2, "a notification has no answer, so nothing else would tell"
    await transport.close()


async def test_a_server_that_ends_each_resumed_link_is_retried_ever_more_rarely(
    jupyter: Jupyter, monkeypatch
):
    attempts = []
    monkeypatch.setattr(websocket, "backoff", lambda attempt: attempts.append(attempt) or 0.01)

    class Cutting(Recorder):
        def noise_received(self, source: str, text: str) -> None:
            super().noise_received(source, text)
            if "resumed" in text and len(attempts) < 4:
                chaos.cut_all()

    receiver = Cutting()
    async with ChaosLink(jupyter.port, seed=5) as chaos:
        transport = through(jupyter, chaos.port)
        await transport.connect(receiver)
        chaos.cut_all()
        await until(lambda: len(attempts) == 4)
        call(transport, 1, "echo", text="a")
        await until(lambda: receiver.messages)
        assert attempts == [1, 2, 3, 4]
        chaos.cut_all()
        await until(lambda: len(attempts) > 4)
        assert attempts[4] == 1, "a message has shown that the link works"
        await transport.close()


async def scripted(handler, **options):
    """A WebSocket server of a few lines."""
    server = await serve(handler, "127.0.0.1", 0, close_timeout=0.1, **options)
    return server, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def test_a_server_without_subprotocols_is_accepted():
    async def echo(link):
        async for frame in link:
            await link.send(frame)

    server, url = await scripted(echo)
    transport, receiver = WebSocketTransport(url, {}), Recorder()
    await transport.connect(receiver)
    transport.send(b'{"jsonrpc":"2.0","method":"x"}')
    await until(lambda: receiver.messages)
    assert receiver.messages == [b'{"jsonrpc":"2.0","method":"x"}']
    await transport.close()
    server.close()


async def test_the_reason_of_a_close_frame_is_passed_on_without_a_retry():
    count = []

    async def refuse(link):
        count.append(1)
        await link.recv()
        await link.close(4502, "its own server ended")

    server, url = await scripted(refuse, subprotocols=["mcp"])
    transport, receiver = WebSocketTransport(url, {}), Recorder()
    await transport.connect(receiver)
    transport.send(b'{"jsonrpc":"2.0","id":1,"method":"x"}')
    await until(lambda: receiver.reasons)
    assert "4502 its own server ended" in receiver.reasons[0]
    assert json.loads(receiver.messages[0])["error"]["data"]["outcome"] == "unknown"
    assert count == [1]
    server.close()


async def test_a_message_over_the_limit_ends_the_attachment_with_a_reason():
    async def flood(link):
        await link.send("x" * 200_000)
        await link.wait_closed()

    server, url = await scripted(flood, subprotocols=["mcp"])
    transport, receiver = WebSocketTransport(url, {}, max_message_bytes=100_000), Recorder()
    await transport.connect(receiver)
    await until(lambda: receiver.reasons)
    assert "1009" in receiver.reasons[0]
    server.close()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (HTTPStatus.UNAUTHORIZED, "requires a credential"),
        (HTTPStatus.NOT_FOUND, "nothing at this address"),
        (HTTPStatus.FOUND, "302"),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "500"),
    ],
)
async def test_a_refused_handshake_is_reported_and_no_redirect_is_followed(status, words):
    targets = []

    async def elsewhere(link):
        targets.append("elsewhere")

    def answer(connection, request):
        targets.append(request.headers.get("X-Api-Key"))
        response = connection.respond(status, "no")
        if status == HTTPStatus.FOUND:
            response.headers["Location"] = other_url
        return response

    other, other_url = await scripted(elsewhere)
    server, url = await scripted(elsewhere, process_request=answer)
    receiver = Recorder()
    with pytest.raises(TransportError, match=words) as error:
        await WebSocketTransport(url + "?key=canary", {"X-Api-Key": "canary"}).connect(receiver)
    assert "canary" not in str(error.value)
    assert set(targets) == {"canary"}
    assert receiver.reasons == []
    server.close()
    other.close()


async def test_a_server_that_opens_no_session_is_given_up_after_a_bounded_time():
    async def silent(link):
        await link.wait_closed()

    server, url = await scripted(silent, subprotocols=["mcp.resume.v1"])
    with pytest.raises(TransportError, match="did not open a session"):
        await WebSocketTransport(url, {}, connect_timeout=0.3).connect(Recorder())
    server.close()


async def test_a_peer_away_too_long_is_given_up_with_the_outcome_of_each_request(
    jupyter: Jupyter,
):
    receiver = Recorder()
    async with ChaosLink(jupyter.port, seed=3) as chaos:
        transport = through(jupyter, chaos.port, reconnect_timeout=0.5)
        await transport.connect(receiver)
        call(transport, 1, "slow", steps=1000, delay=0.1)
        await until(lambda: receiver.messages)
        chaos.refusing = True
        chaos.cut_all()
        await until(lambda: any("was lost" in text for _, text in receiver.noise))
        call(transport, 2, "echo", text="never written")
        await until(lambda: receiver.reasons)
        errors = {
            m["id"]: m["error"]["data"]["outcome"] for m in map(json.loads, receiver.messages) if "id" in m
        }
        assert errors == {1: "unknown", 2: "not_sent"}
        assert "reconnect_timeout" in receiver.reasons[0]


async def test_a_private_authority_can_be_configured(tmp_path: Path):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def idle(link):
        await link.wait_closed()

    server, url = await scripted(idle, ssl=tls, subprotocols=["mcp"])
    url = url.replace("ws:", "wss:")
    with pytest.raises(TransportError, match="ca_file"):
        await WebSocketTransport(url, {}).connect(Recorder())
    transport, receiver = WebSocketTransport(url, {}, ca_file=str(tmp_path / "ca.pem")), Recorder()
    await transport.connect(receiver)
    await transport.close()
    assert receiver.reasons == ["the gateway closed it"]
    server.close()


async def test_a_peer_that_stops_answering_pings_is_dropped_and_reconnected(
    jupyter: Jupyter, tmp_path, monkeypatch
):
    monkeypatch.setattr(websocket, "PING_INTERVAL", 0.3)
    peer, receiver, paused = Wire(jupyter, "ws"), Recorder(), Recorder()
    await peer.start(tmp_path)
    transport = WebSocketTransport(peer.spec["url"], peer.spec["headers"])
    pausing = through(jupyter, jupyter.port)
    await transport.connect(receiver)
    await pausing.connect(paused)
    pausing.pause_reading()
    peer.freeze()
    await until(lambda: any("was lost" in text for _, text in receiver.noise))
    peer.thaw()
    await until(lambda: any("resumed" in text for _, text in receiver.noise))
    assert paused.noise == []  # a reader that pauses on purpose is no dead peer
    call(transport, 1, "echo", text="x")
    await until(lambda: receiver.messages)
    await transport.close()
    await pausing.close()
    await peer.stop()


PROXIES = [
    "ftp://bob:canary@proxy.example:1",
    "bob:canary@127.0.0.1:9",
    "http://bob:canary@:0",
    "http://bob:can/ary@127.0.0.1:9",
    "http://bob:canary@127.0.0.1:canary",
    "http://bob:canary@[127.0.0.1",
    "http://canary@127.0.0.1:9",
    "socks5://bob:canary@127.0.0.1:9",
    "http://bob:canary@127.0.0.1:9",
    "http://bob:canary@bad host:1",
]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("kind", ["ws", "http", "sse"])
async def test_the_credential_of_a_proxy_is_never_repeated(kind, proxy, monkeypatch, caplog):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "ws_proxy"):
        monkeypatch.setenv(name, proxy)
    caplog.set_level(logging.DEBUG)
    scheme = "ws" if kind == "ws" else "http"
    spec = ServerSpec(
        "s", "test", kind=kind, url=f"{scheme}://server.invalid/mcp", limits={"connect_timeout": 2}
    )
    receiver, said = Recorder(), ""
    try:
        transport = make_transport(spec, Supplies(supervisor=None, environment={}, max_message_bytes=1000))
        await transport.connect(receiver)
        transport.send(b'{"jsonrpc":"2.0","id":1,"method":"initialize"}')
        await until(lambda: receiver.messages)
        await transport.close()
    except TransportError as error:
        said = str(error)
    said += str(receiver.messages) + str(receiver.reasons) + str(receiver.noise)
    assert "proxy" in said or "reached" in said
    assert not any(part in said + caplog.text for part in ("canary", "can/", "bob", "ary@"))


async def test_no_credential_of_a_handshake_reaches_the_log(caplog):
    async def idle(link):
        await link.wait_closed()

    caplog.set_level(logging.DEBUG)
    server, url = await scripted(idle, subprotocols=["mcp"])
    transport = WebSocketTransport(url + "?key=canary-1", {"Authorization": "Bearer canary-2"})
    await transport.connect(Recorder())
    await transport.close()
    server.close()
    records = [
        r.getMessage() for r in caplog.records if r.name.startswith("mcp_ws_ide") or "client" in r.name
    ]
    assert not any("canary" in record for record in records)
