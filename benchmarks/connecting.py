"""Clients that connect and resume in this process, for ``instructions.py``: handshakes whose head was admitted.

All but the first handshake of a head are answered without Jupyter's handler, as after a network failure. The routes are
as in Jupyter, but the first head is admitted without a check. The client's own sockets and coroutines are measured too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from types import SimpleNamespace
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import PathMatches, Rule
from tornado.web import Application

from mcp_ws_ide.admissions import Admission, Admissions, head_of
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.credentials import CredentialWatch
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.links.cut_links import CutLinks
from mcp_ws_ide.links.heartbeat import Heartbeat

AT_ONCE: Final = 14
"""Clients that connect at the same time."""
CREDENTIAL: Final = ("", "", "")
HANDSHAKE: Final = "\r\n".join(
    (
        *("GET /mcp-ws/servers/a HTTP/1.1", "Host: 127.0.0.1:8888", "Upgrade: websocket"),
        *("Connection: Upgrade", "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Protocol: %s", "Authorization: Bearer abcdefgh", "User-Agent: bench", "", ""),
    )
)
"""A handshake as the library ``websockets`` sends it, without the subprotocol."""


class AdmitsFirst(Admissions):
    """Admissions that need no check of a head's first request."""

    def find(self, request: Any) -> Admission | None:
        """Admit the head of this request."""
        if not self._known:
            headers = {"Server": "bench", "X-Content-Type-Options": "nosniff"}
            until = time.monotonic() + 3600
            self.remember(
                head_of(request),
                Admission("a", "me", CREDENTIAL, None, None, headers, until),  # type: ignore[arg-type]
            )
        return super().find(request)


def listening(gateway: Gateway) -> tuple[HTTPServer, tuple[str, int]]:
    """Serve a gateway as Jupyter does; return the server and its address."""
    runtime: Any = SimpleNamespace(
        gateway=gateway,
        admissions=AdmitsFirst(lambda token_id: True),
        heartbeat=Heartbeat(),
        credentials=CredentialWatch(lambda: Application()),
        cut_links=CutLinks(lambda *_: None),
    )
    application = Application()
    router = RepeatRouter(runtime)
    application.default_router.rules.insert(0, Rule(PathMatches("/mcp-ws/servers/.*"), router))
    server = HTTPServer(application)
    if (fresh := getattr(router, "fresh", None)) is not None:
        fresh.install(server)
    [sock] = bind_sockets(0, "127.0.0.1")
    server.add_sockets([sock])
    return server, sock.getsockname()


async def connected(address: tuple[str, int], subprotocol: str) -> socket.socket:
    """Return the socket of a client that has made its handshake."""
    sock = socket.create_connection(address)
    sock.setblocking(False)
    sock.send((HANDSHAKE % subprotocol).encode())
    head = await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
    assert head.startswith(b"HTTP/1.1 101"), head
    return sock


class Resuming:
    """A client that opens a session, and resumes it whenever it is called again."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._hello = b'{"mcp.ws":"open"}'
        self._sock: socket.socket | None = None

    async def connect(self) -> None:
        """Lose the link, if there is one; open or resume the session on a new one."""
        if self._sock is not None:
            self._sock.close()
        self._sock = await connected(self._address, "mcp.resume.v1")
        size = len(self._hello)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self._sock.send(head + bytes(4) + self._hello)  # with the mask 0
        answer = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 16)
        control = json.loads(answer[answer.index(b"{") :])
        self._hello = json.dumps({"mcp.ws": "resume", "token": control["token"], "recv": 0}).encode()


async def connections(way: str, number: int) -> None:
    """Open ``number`` plain sessions (``connect``), or resume sessions as often (``resume``)."""
    gateway = Gateway(Limits(max_sessions=1 << 20))
    gateway.configure(Configuration({"a": ServerSpec("a", "bench", command="x")}, []))
    server, address = listening(gateway)
    clients = [Resuming(address) for _ in range(AT_ONCE)]
    for _ in range(number // AT_ONCE):
        if way == "resume":
            await asyncio.gather(*(client.connect() for client in clients))
        else:
            for sock in await asyncio.gather(*(connected(address, "mcp") for _ in clients)):
                sock.close()
    server.stop()
    await gateway.aclose()
