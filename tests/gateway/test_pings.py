"""The gateway answers the pings of a handshake-era server while the client is away, so that the server does not exit."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.gateway.private import PING_PATIENCE
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.http import HttpLink
from tests.conftest import until
from tests.gateway.test_odd_answers import Link

PINGING = r"""
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        r = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "p", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
    elif m.get("method") == "tools/call":
        call = m["id"]
        print(json.dumps({"jsonrpc": "2.0", "id": "p", "method": "ping"}), flush=True)
    elif m.get("id") == "p":
        said = {"content": [{"type": "text", "text": json.dumps(m)}]}
        print(json.dumps({"jsonrpc": "2.0", "id": call, "result": said}), flush=True)
"""


@pytest.fixture
async def gateway():
    gateway = Gateway(Limits())
    spec = ServerSpec("odd", "test", command=sys.executable, args=("-I", "-S", "-c", PINGING))
    gateway.configure(Configuration({"odd": spec}, []))
    yield gateway
    await gateway.aclose()


def call(session: Any) -> None:
    """Open the session and make the call during which the server pings."""
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    for message in (
        {"id": 1, "method": "initialize", "params": info},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "t"}},
    ):
        session.receive(json.dumps({"jsonrpc": "2.0", **message}).encode(), time.perf_counter())


def answer(link: Link) -> dict[str, Any] | None:
    return next((m for m in link.sent if m.get("id") == 2), None)


async def test_a_client_that_is_there_gets_the_ping_and_its_answer_reaches_the_server(gateway):
    link = Link()
    session = gateway.open_session(gateway.servers["odd"], link, LinkInfo("me"))
    call(session)
    await until(lambda: any(m.get("method") == "ping" for m in link.sent))
    reply = {"jsonrpc": "2.0", "id": "p", "result": {"own": True}}
    session.receive(json.dumps(reply).encode(), time.perf_counter())
    await until(lambda: answer(link))
    assert json.loads(answer(link)["result"]["content"][0]["text"]) == reply


async def test_a_client_that_does_not_answer_is_answered_for(gateway):
    link = Link()
    session = gateway.open_session(gateway.servers["odd"], link, LinkInfo("me"))
    call(session)
    began = time.monotonic()
    await until(lambda: answer(link))
    assert time.monotonic() - began < PING_PATIENCE + 2
    late = {"jsonrpc": "2.0", "id": "p", "result": {}}
    session.receive(json.dumps(late).encode(), time.perf_counter())
    assert not session.ended


async def test_an_http_client_without_an_open_response_is_answered_for_at_once(gateway):
    link = HttpLink(100, 1 << 20)
    session = gateway.open_http_session(gateway.servers["odd"], link, LinkInfo("me", link="http"))
    call(session)
    assert session.away
    began = time.monotonic()
    await until(lambda: session.attachments.legacy and not session.core.pending)
    assert time.monotonic() - began < 60
    assert not session.core.asked
    assert link.queued_bytes < 500, "no ping waits there"


class Rebound(Link):
    """A link of a resumable session."""

    def send(self, data: bytes) -> None:
        """Take a frame."""


async def test_a_detached_session_is_answered_for_at_once(gateway):
    link = Rebound()
    session = gateway.open_resumable_session(gateway.servers["odd"], link, LinkInfo("me"))
    call(session)
    session.link_lost(link, 1006, "the network is gone")
    assert session.away
    await until(lambda: session.attachments.legacy and not session.core.pending)
    assert not session.core.asked
    assert not session.ended


async def test_an_answer_of_the_client_that_cannot_be_read_fails_the_request_of_the_server(gateway):
    link = Link()
    session = gateway.open_session(gateway.servers["odd"], link, LinkInfo("me"))
    call(session)
    await until(lambda: any(m.get("method") == "ping" for m in link.sent))
    session.receive(b'{"jsonrpc":"2.0","id":"p","result":{x}}', time.perf_counter())
    await until(lambda: answer(link))
    reply = json.loads(answer(link)["result"]["content"][0]["text"])
    assert "{x}" in reply["error"]["message"]
    assert next(m for m in link.sent if "error" in m)["error"]["code"] == -32700


async def test_a_client_is_told_which_request_cannot_be_read_and_where(gateway):
    link = Link()
    session = gateway.open_session(gateway.servers["odd"], link, LinkInfo("me"))
    request = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"price":NaN}}}'
    session.receive(request, time.perf_counter())
    (refusal,) = link.sent
    assert (refusal["id"], refusal["error"]["code"]) == (7, -32700)
    assert "at params.arguments.price" in refusal["error"]["message"]
    session.receive(b"\xef\xbb\xbf" + request.replace(b"NaN", b"1"), time.perf_counter())
    assert list(session.core.pending) == [7]
    session.receive(request, time.perf_counter())
    assert link.sent[-1]["id"] is None, "with its id it would answer the first request"
