"""The plain way to read the frames of a WebSocket, to compare :mod:`mcp_ws_ide.links.framing` with.

Every byte goes through the ``Protocol`` of ``websockets``; what is left is joining fragments and checking UTF-8.
"""

from __future__ import annotations

from websockets.frames import BINARY, CONT, TEXT
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as Reference


class ReferenceLayer:
    """One server-side WebSocket on ``Protocol`` alone.

    Attributes:
        messages: the complete text messages received so far.
    """

    def __init__(self, max_size: int) -> None:
        self.protocol = Reference(SERVER, max_size=max_size)
        self.parts: list[bytes] = []
        self.messages: list[bytes] = []
        self.refused = 0

    def receive(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            if frame.opcode is BINARY and not self.refused:
                self.refused = 1003
            if self.refused or frame.opcode not in (TEXT, CONT):
                continue
            self.parts.append(bytes(frame.data))
            if frame.fin:
                payload, self.parts = b"".join(self.parts), []
                try:
                    payload.decode()
                except UnicodeDecodeError:
                    self.refused = 1007
                else:
                    self.messages.append(payload)

    @property
    def code(self) -> int | None:
        """The code to close with; None while the WebSocket is open."""
        if self.refused:
            return self.refused
        sent = self.protocol.close_sent
        return None if self.protocol.state is State.OPEN or sent is None else sent.code
