"""HTTP requests that one gateway has authorized and another answers, over a connection between the two.

The gateway that asks sends the request and its body; the other one sends head, body and end of the response as they
come; then the connection can carry the next request. Either learns from the end of the connection that nobody wants the
rest. Knows nothing of what requests mean.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from mcp_ws_ide.fleet.sealed_stream import PeerLostError, SealedStream, StreamFrame, next_call
from mcp_ws_ide.gateway.elsewhere import PassedRequest, PeerUnreachableError, ReplyHead
from mcp_ws_ide.links.base import HIGH_WATER
from mcp_ws_ide.tasks import TaskGroupOwner

BODY: Final = b"B"
"""Kind: the body of a request, whole; or a piece of that of a response."""
HEAD: Final = b"A"
"""Kind: :class:`~mcp_ws_ide.gateway.elsewhere.ReplyHead`."""
END: Final = b"Z"
"""Kind: the response is complete."""
PIECE_BYTES: Final = 1 << 18
"""Bytes of a response in one frame."""
LOST: Final = "the gateway that serves the session has ended before its response was complete"

_encode_head = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(ReplyHead).decode


class PeerReply:
    """The response, where the client is. Implements :class:`~mcp_ws_ide.gateway.elsewhere.Reply`.

    Args:
        keep: keeps the connection, when the response is complete.
    """

    def __init__(self, stream: SealedStream, keep: Callable[[], None]) -> None:
        self._stream = stream
        self._keep = keep
        self._complete = False

    async def head(self) -> ReplyHead:
        """Return how the response begins."""
        kind, data = await self._receive()
        if kind != HEAD:
            raise PeerUnreachableError(
                "the gateway that serves the session has another version; run one version on all gateways"
            )
        return _decode_head(data)

    async def next(self) -> bytes | None:
        """Return the next piece of the body; None at its end."""
        kind, data = await self._receive()
        if kind == END:
            self._complete = True
            self._keep()
        return data if kind == BODY else None

    async def _receive(self) -> tuple[bytes, bytes]:
        try:
            return await self._stream.receive()
        except PeerLostError:
            raise PeerUnreachableError(LOST) from None

    def close(self) -> None:
        """Take no more of it."""
        if not self._complete:
            self._stream.close()


class PeerResponse:
    """The response, where the session is."""

    def __init__(self, stream: SealedStream, tasks: TaskGroupOwner) -> None:
        self._stream = stream
        self._tasks = tasks
        self._complete = False
        self._on_left: Callable[[], None] | None = None

    def on_left(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` if the client leaves before the response is complete."""
        self._on_left = callback

    def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send status and headers."""
        self._stream.send(HEAD, _encode_head(ReplyHead(status, headers)))

    def write(self, data: bytes) -> Future[None]:
        """Send a part of the body; the future ends when the other gateway has taken most of it."""
        for begin in range(0, len(data), PIECE_BYTES):
            self._stream.send(BODY, data[begin : begin + PIECE_BYTES])
        if self._stream.queued_bytes > HIGH_WATER:
            return self._tasks.spawn(self._stream.drain(), "peer response")
        taken: Future[None] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken

    def finish(self) -> None:
        """Complete the response."""
        self._complete = True
        self._stream.send(END)

    async def wait(self) -> StreamFrame | None:
        """Wait until the other gateway has taken the response, or its client has left; return the frame that begins the
        next call, None if the connection ends."""
        frame = await next_call(self._stream)
        if self._complete:
            return frame
        if self._on_left is not None:
            self._on_left()
        return None


AnswerRequest = Callable[[PassedRequest, bytes, PeerResponse], Awaitable[None]]
"""Begins to answer a request with this body; the response may take longer."""
