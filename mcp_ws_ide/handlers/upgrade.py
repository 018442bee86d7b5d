"""The WebSocket opening handshake on a Tornado handler (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii

from tornado.websocket import WebSocketProtocol13

from mcp_ws_ide.core.intermediaries import SENDS, lost_header
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.links.streams import ByteStream, take_stream


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
    key = headers.get("Sec-WebSocket-Key", "")
    if not _is_key(key):
        raise handler.refuse(400, "handshake", 'the header "Sec-WebSocket-Key" must be 16 bytes in base64')
    return str(key)


def check_subprotocols(handler: GatewayHandler) -> None:
    """Note that a proxy removed the subprotocols, which the client says that it offers."""
    headers = handler.request.headers
    sends = headers.get(SENDS, "")
    if lost_header(sends, "sec-websocket-protocol", headers.get("Sec-WebSocket-Protocol")):
        handler.note("subprotocol_removed")


def upgrade(handler: GatewayHandler, key: str, subprotocol: str | None) -> ByteStream:
    """Answer 101 and take the byte stream away from ``handler``, which must not respond any more."""
    handler.clear_header("Content-Type")
    handler.clear_header("Content-Security-Policy")
    handler.set_status(101)
    handler.set_header("Upgrade", "websocket")
    handler.set_header("Connection", "Upgrade")
    handler.set_header("Sec-WebSocket-Accept", WebSocketProtocol13.compute_accept_value(key))
    if subprotocol is not None:
        handler.set_header("Sec-WebSocket-Protocol", subprotocol)
    handler.finish()
    stream = handler.detach()
    try:
        stream.set_nodelay(True)
        return take_stream(stream, handler.runtime.gateway.tasks)
    except BaseException:
        stream.close()  # after the 101 no error response can reach the client
        raise


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
