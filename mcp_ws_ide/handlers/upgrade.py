"""The WebSocket opening handshake (RFC 6455 section 4.2), and the link that it opens."""

from __future__ import annotations

import base64
import binascii

from tornado.websocket import WebSocketProtocol13

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.intermediaries import SENDS, lost_header
from mcp_ws_ide.errors import LimitExceededError
from mcp_ws_ide.gateway import ResumeHandshake
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.post_exchange import RETRY_AFTER
from mcp_ws_ide.handlers.post_response import Responder
from mcp_ws_ide.handlers.requester import link_info, refusal, resumable_server, usable_server
from mcp_ws_ide.links.streams import ByteStream, take_stream
from mcp_ws_ide.links.websocket import WebSocketLink
from mcp_ws_ide.runtime import Runtime


def wants_upgrade(handler: GatewayHandler) -> bool:
    """Whether the request asks for a WebSocket.

    Raises:
        HTTPError: 400, it did so until a proxy removed the header ``Upgrade``.
    """
    headers = handler.request.headers
    if headers.get("Upgrade", "").lower() == "websocket":
        return True
    if handler.request.method == "GET" and "Sec-WebSocket-Key" in headers:
        raise handler.interfered("upgrade_removed", 400, "handshake")
    return False


def check_handshake(handler: GatewayHandler) -> str:
    """Return the client's ``Sec-WebSocket-Key``.

    Raises:
        HTTPError: 400 or 426, the request is not a proper handshake.
    """
    headers = handler.request.headers
    connection = {part.strip().lower() for part in headers.get("Connection", "").split(",")}
    if "upgrade" not in connection:
        raise handler.interfered("connection_removed", 400, "handshake")
    if "Sec-WebSocket-Version" not in headers or "Sec-WebSocket-Key" not in headers:
        raise handler.interfered("websocket_headers_removed", 400, "handshake")
    if headers.get("Sec-WebSocket-Version") != "13":
        handler.error_headers["Sec-WebSocket-Version"] = "13"
        raise handler.refuse(426, "handshake", "only WebSocket version 13 is supported")
    return check_key(handler.runtime, headers["Sec-WebSocket-Key"])


def check_key(runtime: Runtime, key: str) -> str:
    """Return the client's ``Sec-WebSocket-Key``.

    Raises:
        HTTPError: 400, the value is not a valid key.
    """
    if not _is_key(key):
        message = 'the header "Sec-WebSocket-Key" must be 16 bytes in base64'
        raise refusal(runtime, 400, "handshake", message)
    return key


def check_subprotocols(handler: GatewayHandler) -> None:
    """Note that a proxy removed the subprotocols, which the client says that it offers."""
    headers = handler.request.headers
    sends = headers.get(SENDS, "")
    if lost_header(sends, "sec-websocket-protocol", headers.get("Sec-WebSocket-Protocol")):
        handler.note("subprotocol_removed")


def choose_server(responder: Responder, name: str, offered: list[str]) -> tuple[Server, str | None]:
    """Return the server that a handshake names, and the subprotocol that it gets.

    Raises:
        HTTPError: 400, no offered subprotocol is known; 404, no such server; 429 or 503, a limit is reached; 502, the
            server cannot be started now.
    """
    try:
        subprotocol = binding.select_subprotocol(offered)
    except binding.UnknownSubprotocolError as error:
        raise refusal(responder.runtime, 400, "subprotocol", str(error)) from None
    resumes = subprotocol == binding.SUBPROTOCOL_RESUME
    server = resumable_server(responder, name) if resumes else usable_server(responder, name)
    gateway = responder.runtime.gateway
    try:
        gateway.check_link_rate()
        if not resumes or gateway.closing:  # else its first frame decides
            gateway.check_admission(responder.principal)
    except LimitExceededError as error:
        responder.error_headers["Retry-After"] = RETRY_AFTER
        status = 429 if error.limit == "max_links_per_second" else 503
        raise refusal(responder.runtime, status, error.limit, str(error)) from None
    return server, subprotocol


def accepting_headers(key: str, subprotocol: str | None) -> dict[str, str]:
    """Return the headers of the 101 (RFC 6455 section 4.2.2)."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": WebSocketProtocol13.compute_accept_value(key),
    }
    if subprotocol is not None:
        headers["Sec-WebSocket-Protocol"] = subprotocol
    return headers


def upgrade(handler: GatewayHandler, key: str, subprotocol: str | None) -> ByteStream:
    """Answer 101 and take the byte stream away from ``handler``, which must not respond any more."""
    handler.clear_header("Content-Type")
    handler.clear_header("Content-Security-Policy")
    handler.set_status(101)
    for name, value in accepting_headers(key, subprotocol).items():
        handler.set_header(name, value)
    handler.finish()
    return take_stream(handler.detach(), handler.runtime.gateway.tasks)


def open_link(responder: Responder, server: Server, subprotocol: str | None, stream: ByteStream) -> None:
    """Open a link on a connection whose 101 has been written, and its session, or let its first frame resume one."""
    gateway = responder.runtime.gateway
    fragile = binding.is_fragile(subprotocol, responder.request.headers.get("User-Agent", ""))
    info = link_info(responder, "websocket", subprotocol, fragile=fragile)
    link = WebSocketLink(
        stream,
        gateway.message_limit(server.spec),
        fragile=fragile,
        max_queued_bytes=gateway.limits.max_queued_bytes,
        cuts=responder.runtime.cut_links,
    )
    look_after(responder, link)
    if subprotocol == binding.SUBPROTOCOL_RESUME:
        hello = ResumeHandshake(gateway, server, link, info)
        link.start(hello.receive, hello.closed)
    else:
        session = gateway.open_session(server, link, info)
        link.start(session.receive, session.link_closed, session.link_full)


class OpenLink:
    """A link, as the clock and the watch over credentials know it.

    The clock keeps it until the link is closed; the watch refers to it weakly, as it cannot to the link, whose class
    mypyc compiles.
    """

    __slots__ = ("__weakref__", "_link")

    def __init__(self, link: WebSocketLink) -> None:
        self._link = link

    @property
    def closed(self) -> bool:
        """Whether the link is closed."""
        return self._link.closed

    def heartbeat(self, now: float) -> None:
        """Check the peer."""
        self._link.heartbeat(now)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the link."""
        self._link.close(code, reason)


def look_after(responder: Responder, link: WebSocketLink) -> None:
    """Close ``link`` when its peer is gone, or when the credential of its request is no longer valid."""
    opened = OpenLink(link)
    responder.runtime.heartbeat.add(opened)
    responder.watch_credential(opened)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
