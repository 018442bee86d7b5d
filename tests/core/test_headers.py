"""Headers that a user may add, and those that only the transport may set."""

from __future__ import annotations

import pytest

from mcp_ws_ide import client
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.errors import UnusableHeaderError

ADDRESS = "host/mcp-ws/servers/x"


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "Origin", "User-Agent", "X-GitHub-Token", "MCP-Else"]
)
def test_headers_that_proxies_need_may_be_set(name):
    check_headers([name])
    check_headers(["X-One", "X-Two"], token=True)


@pytest.mark.parametrize(
    ("names", "named", "word"),
    [
        (["Host"], "Host", "address"),
        (["content-length"], "content-length", "bodies"),
        (["Content-Type"], "Content-Type", "messages"),
        (["Connection"], "Connection", "each connection"),
        (["UPGRADE"], "UPGRADE", "each connection"),
        (["Transfer-Encoding"], "Transfer-Encoding", "bodies"),
        (["Sec-WebSocket-Protocol"], "Sec-WebSocket-Protocol", "handshake"),
        (["sec-websocket-key"], "sec-websocket-key", "handshake"),
        (["Mcp-Session-Id"], "Mcp-Session-Id", "transport sets it"),
        (["MCP-Protocol-Version"], "MCP-Protocol-Version", "transport sets it"),
        (["Mcp-Method"], "Mcp-Method", "each message"),
        (["mcp-param-region"], "mcp-param-region", "each message"),
        (["Last-Event-ID"], "Last-Event-ID", "transport sets it"),
        (["Accept"], "Accept", "messages"),
        (["a b"], "a b", "not a valid header name"),
        (["x\r\ny"], "x\\r\\ny", "not a valid header name"),
        ([""], "''", "not a valid header name"),
        (["Authorization", "authorization"], "authorization", "twice"),
        (["X", "Y", "X"], "X", "twice"),
    ],
)
def test_other_headers_are_refused_with_name_and_reason(names, named, word):
    with pytest.raises(UnusableHeaderError) as refused:
        check_headers(names)
    assert named in str(refused.value)
    assert word in refused.value.reason


@pytest.mark.parametrize(
    ("make", "scheme"),  # by name: two of them import a framework, seconds that only this test should take
    [
        ("websocket_transport", "wss"),
        ("negotiating_transport", "https"),
        ("connect", "wss"),
        ("WebSocketClientTransport", "wss"),
        ("MCPServerWebSocket", "wss"),
    ],
)
@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"Content-Length": "s3cret"}, "bodies"),
        ({"X-Key": "s3cret", "x-key": "x"}, "twice"),
        ({"authorization": "s3cret"}, "beside a token"),
    ],
)
def test_everything_that_takes_headers_refuses_them_before_it_connects(make, scheme, headers, word):
    with pytest.raises(UnusableHeaderError, match=word) as refused:
        getattr(client, make)(f"{scheme}://{ADDRESS}", token="t", headers=headers)
    assert "s3cret" not in str(refused.value)


def test_an_authorization_header_replaces_a_token():
    assert brings_credential(["X-A", "AUTHORIZATION"])
    assert not brings_credential(["X-A"])
