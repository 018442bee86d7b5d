"""Streamable HTTP for servers other than a gateway, whose responses may be anything (docs/reference/reading.md).

The SDK's own transport leaves a request open after a response that it cannot read. This one is the transport with which
the gateway reaches remote servers. It needs modules of POSIX systems, so import it where it is used.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookiejar import CookieJar
from typing import Any, Final

import anyio

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.usable_answers import OpenCalls
from mcp_ws_ide.errors import METHOD_NOT_FOUND, ConnectError, TransportClosedError, TransportError
from mcp_ws_ide.proxy_environment import route
from mcp_ws_ide.transports.http_exchange import Exchange
from mcp_ws_ide.transports.http_older import HttpOrSseTransport
from mcp_ws_ide.transports.remote import DISCOVER, Bounds, Remote, RequestFailedError

MANY: Final = 100
"""Messages that wait for the session, above which the server is not read."""

log = logging.getLogger(__name__)


class _Transport(HttpOrSseTransport):
    """The gateway's transport, except that any request may be a probe of the client's SDK."""

    async def _failed(self, exchange: Exchange, failure: RequestFailedError) -> None:
        if exchange.message.method == DISCOVER and failure.of_older_server:
            return exchange.fail(METHOD_NOT_FOUND, str(failure), sent=False)
        await super()._failed(exchange, failure)


class _Inbox:
    """The receiver of the transport: keeps its messages until the session takes them."""

    def __init__(self, transport: HttpOrSseTransport, where: str) -> None:
        self._transport, self._where = transport, where
        self.calls = OpenCalls(where)
        self._messages: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def message_received(self, message: bytes) -> None:
        """Keep a message; see :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self._messages.append(self.calls.received(message))
        self._changed.set()
        if len(self._messages) > MANY:
            self._transport.pause_reading()

    def noise_received(self, source: str, text: str) -> None:
        """Log a report of the transport."""
        log.warning("%s: %s", self._where, text)

    def transport_closed(self, reason: str) -> None:
        """End the session once it has taken all messages."""
        log.debug("%s: %s", self._where, reason)
        self._ended = True
        self._changed.set()

    def write_paused(self, paused: bool) -> None:
        """Do nothing: the SDK awaits the responses to most of its requests, so little is queued."""

    async def pass_on(self, to_session: Any, decode: Callable[[bytes], Any]) -> None:
        """Give the session all messages, in their order, until the transport ends."""
        async with to_session:
            while not self._ended or self._messages:
                self._changed.clear()
                while self._messages:
                    await to_session.send(decode(self._messages.popleft()))
                self._transport.resume_reading()
                if not self._ended:
                    await self._changed.wait()


@asynccontextmanager
async def foreign_http(
    url: str,
    headers: Mapping[str, str],
    ssl: ssl_module.SSLContext | None,
    max_size: int | None,
    codec: tuple[Callable[[bytes], Any], Callable[[Any], bytes]],
) -> AsyncIterator[tuple[Any, Any]]:
    """Enter a transport to the Streamable HTTP server at ``url``; yields its ``(read, write)`` streams.

    Raises:
        ConnectError: the proxy of the environment cannot be used, or must not be.
    """
    route(url, headers, "httpx2")
    decode, encode = codec
    try:
        remote = Remote(url, headers, tls=ssl, cookies=CookieJar())
    except TransportError as error:
        raise ConnectError(str(error)) from None
    transport = _Transport(remote, Bounds() if max_size is None else Bounds(max_message_bytes=max_size))
    inbox = _Inbox(transport, remote.where)
    await transport.connect(inbox)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, transport)
        to_session, read = anyio.create_memory_object_stream[Any](0)
        write, from_session = anyio.create_memory_object_stream[Any](0)
        for stream in (to_session, read, write, from_session):
            stack.callback(stream.close)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        group.start_soon(inbox.pass_on, to_session, decode)
        group.start_soon(_send_all, from_session, transport, inbox, encode)
        yield read, write


async def _send_all(
    from_session: Any, transport: HttpOrSseTransport, inbox: _Inbox, encode: Callable[[Any], bytes]
) -> None:
    async with from_session:
        async for message in from_session:
            data = inbox.calls.sent(messages.one_line(encode(message)))
            try:
                transport.send(data)
            except TransportClosedError:
                return


async def _close(transport: HttpOrSseTransport) -> None:
    with anyio.CancelScope(shield=True):
        await transport.close()
