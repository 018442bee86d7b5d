"""The WebSocket opening handshake on a Tornado handler (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii

from tornado.httputil import HTTPServerRequest
from tornado.websocket import WebSocketProtocol13

from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.links.streams import ByteStream, take_stream


def wants_upgrade(request: HTTPServerRequest) -> bool:
    """Whether the request asks for a WebSocket."""
    return bool(request.headers.get("Upgrade", "").lower() == "websocket")


def check_handshake(handler: GatewayHandler) -> str:
    """Return the client's ``Sec-WebSocket-Key``.

    Raises:
        HTTPError: 400 or 426, the request is no proper handshake.
    """
    headers = handler.request.headers
    connection = {part.strip().lower() for part in headers.get("Connection", "").split(",")}
    if "upgrade" not in connection:
        raise handler.refuse(400, "handshake", 'the header "Connection" must contain "Upgrade"')
    if headers.get("Sec-WebSocket-Version") != "13":
        handler.error_headers["Sec-WebSocket-Version"] = "13"
        raise handler.refuse(426, "handshake", "only WebSocket version 13 is supported")
    key = headers.get("Sec-WebSocket-Key", "")
    if not _is_key(key):
        raise handler.refuse(400, "handshake", 'the header "Sec-WebSocket-Key" must be 16 bytes in base64')
    return str(key)


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
