"""One connection to a Redis server: connects, logs in, sends commands, and reads their replies in order.

Knows no scripts. hiredis reads and writes the protocol, RESP version 2
(https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final

from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.redis_address import RedisAddress
from mcp_ws_ide.tasks import SameDelay

TIMEOUT: Final = 3.0
"""Seconds that a server may take to accept a connection, or to answer."""
CLIENT_NAME: Final = "mcp-ws-ide"
"""What the server's list of clients calls this one."""
INSTALL: Final = "the package 'hiredis' is not installed; run: pip install 'mcp-ws-ide[redis]'"

Argument = str | bytes | int | float
Command = Sequence[Argument]


class ReplyError(Exception):
    """The server has answered a command with an error.

    Attributes:
        code: the first word of its text, such as ``NOSCRIPT``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class ProtocolError(ConnectionError):
    """The server does not speak the protocol of Redis."""


def _hiredis() -> ModuleType:
    """Return the package that reads and writes the protocol, which is optional."""
    try:
        import hiredis
    except ImportError:
        raise EngineRefusedError(f"engine is an address of Redis, and {INSTALL}") from None
    return hiredis


class RedisConnection(asyncio.Protocol):
    """One connection. Make it with :meth:`opened`; after an error it is to be closed.

    Args:
        hiredis: the package.
    """

    def __init__(self, hiredis: ModuleType) -> None:
        self._pack = hiredis.pack_command
        self._nothing = object()
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=self._nothing)
        self._loop = asyncio.get_running_loop()
        self._late = SameDelay(TIMEOUT)
        self._transport: asyncio.Transport
        self._lost: Exception | None = None
        self._wanted = 0
        self._replies: list[Any] = []
        self._answered: asyncio.Future[list[Any]] | None = None

    @classmethod
    async def opened(cls, address: RedisAddress) -> RedisConnection:
        """Connect and log in.

        Raises:
            EngineRefusedError: the package or the password file is missing.
            ReplyError, OSError: the server cannot be used.
        """
        password = address.read_password()
        tls = ssl.create_default_context(cafile=address.ca_file or None) if address.encrypted else None
        make, loop = partial(cls, _hiredis()), asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT):
            _, connection = await loop.create_connection(make, address.host, address.port, ssl=tls)
        try:
            await connection._log_in(address, password)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _log_in(self, address: RedisAddress, password: str) -> None:
        commands: list[Command] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if address.user or password:
            commands.insert(0, ("AUTH", *([address.user] if address.user else []), password))
        if address.database:
            commands.append(("SELECT", address.database))
        for reply in await self.send(commands):
            if isinstance(reply, Exception):
                raise reply

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and wait for their replies, before any others are sent.

        Returns:
            The replies; a :class:`ReplyError` where the server has refused a command.

        Raises:
            OSError: the connection is lost, or the server has not answered in time.
        """
        if self._lost is not None:
            raise self._lost
        pack = self._pack
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        self._answered = answered
        self._wanted = len(commands)
        self._transport.write(b"".join([pack(tuple(command)) for command in commands]))
        waiting = self._late.wait(self._give_up)
        try:
            return await answered
        finally:
            waiting.cancel()

    def close(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # --- asyncio calls these --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Read replies; the last one that is waited for ends the wait."""
        reader, replies, nothing = self._reader, self._replies, self._nothing
        try:
            reader.feed(data)
            while len(replies) < self._wanted:
                reply = reader.gets()
                if reply is nothing:
                    return
                replies.append(reply)
        except Exception as error:
            return self._fail(ProtocolError(str(error)))
        answered = self._answered
        if answered is None or reader.has_data():
            return self._fail(ProtocolError("it has sent more replies than it got commands"))
        self._replies, self._wanted, self._answered = [], 0, None
        if not answered.done():
            answered.set_result(replies)
        return None

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is waited for, and what is sent later."""
        self._fail(error or ConnectionError("it has closed the connection"))

    def _give_up(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        self._lost = self._lost or error
        self._transport.abort()
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)
