"""One TCP connection between two gateways: frames, each sealed with AES-256-GCM.

Both ends prove that they have the keys of the engine, since nobody else can seal a frame that opens. The keys of a
connection come from a random number of either end, so that nothing recorded can be played back.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

GREETING: Final = b"mcp-ws-ide peer 1\n"
"""What either end begins with, before its random number; the number in it is the version of this protocol."""
RANDOM_BYTES: Final = 16
LENGTH_BYTES: Final = 4
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12
TIMEOUT: Final = 1.0
"""Seconds that the other gateway may take to accept a connection, and to greet."""


StreamFrame = tuple[bytes, bytes]
"""Kind and data."""


class PeerLostError(Exception):
    """The connection has ended, or the other end is not a gateway with the same keys; the text says which."""


class SealedStream:
    """One connection; made by :func:`greet`.

    Args:
        sending, receiving: the keys of the two directions.
        longest: the longest frame that is accepted, in bytes.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sending: bytes,
        receiving: bytes,
        longest: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._seal = AESGCM(sending).encrypt
        self._open = AESGCM(receiving).decrypt
        self._longest = longest + TAG_BYTES
        self._sent = self._received = 0

    @property
    def queued_bytes(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Queue one frame; ``kind`` is one byte."""
        if self._writer.transport.is_closing():
            return
        sealed = self._seal(self._sent.to_bytes(NONCE_BYTES), kind + data, None)
        self._sent += 1
        self._writer.write(len(sealed).to_bytes(LENGTH_BYTES) + sealed)

    async def receive(self) -> StreamFrame:
        """Return the kind and the data of the next frame.

        Raises:
            PeerLostError: there is none.
        """
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
            if length > self._longest:
                raise PeerLostError(f"a frame has {length} bytes; at most {self._longest} are allowed")
            sealed = await self._reader.readexactly(length)
            frame = self._open(self._received.to_bytes(NONCE_BYTES), sealed, None)
        except (OSError, asyncio.IncompleteReadError):
            raise PeerLostError("the connection has ended") from None
        except InvalidTag:
            raise PeerLostError("the other end has different keys") from None
        self._received += 1
        return frame[:1], frame[1:]

    async def drain(self) -> None:
        """Wait until the other end has taken most of what is queued, or the connection has ended."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        """Send what is queued, then end the connection."""
        self._writer.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


async def next_call(stream: SealedStream) -> StreamFrame | None:
    """Return the next frame; None if the other end has nothing more to call for."""
    try:
        return await stream.receive()
    except PeerLostError:
        return None


async def greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    key: bytes,
    longest: int,
    queued: int,
    *,
    calls: bool,
) -> SealedStream:
    """Exchange random numbers, and return the connection with its keys.

    Args:
        key: the key that both gateways have.
        longest: the longest frame that is accepted, in bytes.
        queued: bytes that wait for the other end, above which :meth:`SealedStream.drain` waits.
        calls: whether this end opened the connection.

    Raises:
        PeerLostError: the other end did not greet in time.
    """
    writer.transport.set_write_buffer_limits(high=queued)
    mine = secrets.token_bytes(RANDOM_BYTES)
    writer.write(GREETING + mine)
    try:
        async with asyncio.timeout(TIMEOUT):
            greeting = await reader.readexactly(len(GREETING) + RANDOM_BYTES)
    except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
        writer.transport.abort()
        raise PeerLostError(f"the other end sent no greeting within {TIMEOUT:g} s") from None
    if not greeting.startswith(GREETING):
        writer.transport.abort()
        raise PeerLostError("the other end is not a gateway of this version")
    theirs = greeting[len(GREETING) :]
    numbers = mine + theirs if calls else theirs + mine
    keys = [hmac.digest(key, numbers + direction, "sha256") for direction in (b" call", b" answer")]
    sending, receiving = keys if calls else reversed(keys)
    return SealedStream(reader, writer, sending, receiving, longest)
