"""Handshakes whose head repeats, when they wait for their turn: after a network failure all clients come at once."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from mcp_ws_ide.admissions import ADMITTED_BODY_SECONDS, Admission, Admissions
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.links.cut_links import CutLinks
from mcp_ws_ide.links.heartbeat import Heartbeat
from tests.conftest import BOUND

HANDSHAKE = (
    b"GET /mcp-ws/servers/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n"
    b"Sec-WebSocket-Protocol: mcp.resume.v1\r\n\r\n"
)


class Queued(Admissions):
    """Admissions of handshakes that were admitted when they came, and have waited since.

    Args:
        waited: seconds since the admission expired.
        alive: whether the gateway token is still valid.
    """

    def __init__(self, waited: float, alive: bool) -> None:
        super().__init__(lambda token_id: alive)
        self._until = time.monotonic() - waited

    def find(self, request: Any) -> Admission:
        return Admission("a", "me", ("", "", ""), "token", None, {}, self._until)


async def status_of(admissions: Admissions) -> bytes:
    """Make one handshake; return the status of its response."""
    gateway = Gateway(Limits())
    gateway.configure(Configuration({"a": ServerSpec("a", "test", command="none")}, []))
    runtime: Any = SimpleNamespace(
        gateway=gateway,
        admissions=admissions,
        heartbeat=Heartbeat(),
        credentials=SimpleNamespace(add_token=lambda *_: None),
        cut_links=CutLinks(lambda *_: None),
    )
    [listening] = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(RepeatRouter(runtime))
    server.add_sockets([listening])
    try:
        async with asyncio.timeout(BOUND):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(HANDSHAKE)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
        return head.split(b" ")[1]
    finally:
        server.stop()
        await server.close_all_connections()
        await gateway.aclose()


@pytest.mark.parametrize(
    ("waited", "alive", "status"),
    [(-1.0, True, b"101"), (ADMITTED_BODY_SECONDS + 10.0, True, b"101"), (-1.0, False, b"401")],
    ids=["its turn comes at once", "its turn comes late", "its token was revoked meanwhile"],
)
async def test_an_admitted_handshake_is_accepted_however_late_its_turn_comes(waited, alive, status):
    assert await status_of(Queued(waited, alive)) == status
