"""The REST client's tests of the way to a gateway: what proxies do, and what is written into Jupyter's log."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector import network
from mcp_ws_ide.rest_client import GatewayClient
from tests.conftest import BOUND, Jupyter, wait_until


def client_of(url: str, token: str) -> GatewayClient:
    return GatewayClient(RunningGateway(url=url, token=token))


@contextlib.contextmanager
def answering(response: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that answers the head of every request itself: its address, and what has arrived."""
    arrived: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(BOUND)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    arrived.append(connection.recv(1 << 16))
                    connection.sendall(response)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", arrived
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(BOUND)


def test_a_test_of_a_good_way_finds_nothing_and_leaves_nothing_in_jupyters_log(jupyter: Jupyter):
    client, start = client_of(jupyter.url, jupyter.token), len(jupyter.log.read_text())
    assert client.blocked_handshake() == ""
    assert client.refused_length() == ""
    network.test_path(client)
    jupyter.request("GET", "mcp-ws/api/no-such-route")
    wait_until(lambda: "no-such-route" in jupyter.log.read_text()[start:], what="a warning that comes later")
    written = jupyter.log.read_text()[start:]
    for unwanted in ("test=1", "api/network", "api/tap", "Malformed"):
        assert unwanted not in written


def test_a_gateway_token_which_opens_servers_only_makes_no_request():
    with answering(b"") as (url, arrived):
        assert network.test_path(client_of(url, "mcpws_" + "x" * 43)) == []
        assert arrived == []


@pytest.mark.parametrize(
    ("status", "length", "handshake"),
    [
        ("413 Content Too Large", "body_limit", "body_limit"),
        ("502 Bad Gateway", "", "proxy_error"),
        ("200 OK", "", "websocket_blocked"),
    ],
)
def test_the_answer_of_a_proxy_is_no_answer_of_the_gateway(status, length, handshake):
    page = b"<html>a proxy</html>"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode()
    with answering(head + page) as (url, _):
        client = client_of(url, "secret")
        assert client.refused_length() == length
        assert client.blocked_handshake() == handshake


@pytest.mark.parametrize("path", ["network?test=1", "tap?test=1"])
def test_tests_need_a_credential(jupyter: Jupyter, path: str):
    method = "POST" if path.startswith("network") else "GET"
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": "mcp.tap.v1"}
    headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13"}
    status, _, _ = jupyter.request(method, f"mcp-ws/api/{path}", headers=headers)
    assert status in (401, 403)
