"""The WebSocket opening handshake on a Jupyter handler (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii

from tornado.websocket import WebSocketProtocol13

from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.links.streams import ByteStream, take_stream


class UpgradeHandler(EndpointHandler):
    """A handler whose GET becomes a WebSocket."""

    def wants_upgrade(self) -> bool:
        """Whether the request asks for a WebSocket."""
        return bool(self.request.headers.get("Upgrade", "").lower() == "websocket")

    def check_handshake(self) -> str:
        """The client's key, once the request is known to be a proper handshake."""
        headers = self.request.headers
        connection = {part.strip().lower() for part in headers.get("Connection", "").split(",")}
        if "upgrade" not in connection:
            raise self.refuse(400, "handshake", 'the header "Connection" must contain "Upgrade"')
        if headers.get("Sec-WebSocket-Version") != "13":
            self.error_headers["Sec-WebSocket-Version"] = "13"
            raise self.refuse(426, "handshake", "only WebSocket version 13 is spoken here")
        key = headers.get("Sec-WebSocket-Key", "")
        if not _is_key(key):
            raise self.refuse(400, "handshake", 'the header "Sec-WebSocket-Key" must be 16 bytes in base64')
        return str(key)

    async def upgrade(self, key: str, subprotocol: str | None) -> ByteStream:
        """Answer 101 and take the stream; the handler is done with it."""
        self.clear_header("Content-Type")
        self.clear_header("Content-Security-Policy")
        self.set_status(101)
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.set_header("Sec-WebSocket-Accept", WebSocketProtocol13.compute_accept_value(key))
        if subprotocol is not None:
            self.set_header("Sec-WebSocket-Protocol", subprotocol)
        self.finish()
        stream = self.detach()
        try:
            stream.set_nodelay(True)
            return take_stream(stream, self.runtime.gateway.tasks)
        except BaseException:
            stream.close()  # after the 101 no error answer can tell the client
            raise


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
