"""One WebSocket as a pair of SDK streams.

Owns the socket and two tasks; knows the binding and the SDK's stream types, nothing of sessions.
"""

from __future__ import annotations

import json
import logging
import ssl as ssl_module
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from mcp.shared.message import SessionMessage
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from mcp_ws_ide import __version__
from mcp_ws_ide.binding import CLIENT_USER_AGENT, SUBPROTOCOL_MCP
from mcp_ws_ide.errors import ConnectError, Unauthorized, UnknownServer

try:  # mcp 2.x
    from mcp_types import jsonrpc_message_adapter

    def parse_message(text: str) -> Any:
        """One JSON-RPC message as the SDK models it."""
        return jsonrpc_message_adapter.validate_json(text, by_name=False)

except ImportError:  # mcp 1.x
    from mcp.types import JSONRPCMessage

    def parse_message(text: str) -> Any:
        """One JSON-RPC message as the SDK models it."""
        return JSONRPCMessage.model_validate_json(text)


CLOSE_TIMEOUT: Final = 5.0
"""Seconds to wait for the peer's close frame."""

SEND_TIMEOUT: Final = 2.0
"""Seconds that leaving waits for messages which are on their way out."""

log = logging.getLogger(__name__)


class WebSocketTransport:
    """An async context manager that yields ``(read, write)`` streams; use :func:`websocket_transport`.

    Attributes:
        close_code, close_reason: how the link ended (RFC 6455 section 7.4); None while it is open.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._options = options
        self._stack = AsyncExitStack()
        self._all_sent = anyio.Event()

    def __repr__(self) -> str:
        return f"<WebSocketTransport {_without_query(self.url)} close_code={self.close_code}>"

    async def __aenter__(self) -> tuple[Any, Any]:
        link = await _open(self.url, self._options)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close, link)
            to_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            write, from_session = anyio.create_memory_object_stream[SessionMessage](0)
            for stream in (to_session, read, write, from_session):
                stack.callback(stream.close)
            group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            stack.push_async_callback(self._finish_sending, write)
            group.start_soon(self._receive, link, to_session)
            group.start_soon(self._send, link, from_session)
            self._stack = stack.pop_all()
        return read, write

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The body's error is not passed to the task group, which would wrap it into an exception group.
        await self._stack.__aexit__(None, None, None)

    async def _finish_sending(self, write: Any) -> None:
        """What the session has handed over still goes out, within :data:`SEND_TIMEOUT`."""
        write.close()
        with anyio.move_on_after(SEND_TIMEOUT, shield=True):
            await self._all_sent.wait()

    async def _receive(self, link: ClientConnection, to_session: Any) -> None:
        """Until the link ends; then the read stream ends, and with it the session's open requests."""
        async with to_session:
            try:
                async for text in link:
                    await to_session.send(_as_message(text))
            except ConnectionClosed:
                pass
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                return
            self._note_close(link)

    async def _send(self, link: ClientConnection, from_session: Any) -> None:
        """Until the session closes the stream or the link ends; a later send raises BrokenResourceError."""
        async with from_session:
            try:
                async for message in from_session:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await link.send(text)
            except ConnectionClosed:
                return
            finally:
                self._all_sent.set()

    def _note_close(self, link: ClientConnection) -> None:
        self.close_code, self.close_reason = link.close_code, link.close_reason
        if self.close_code not in (1000, 1001):
            log.warning("%s was closed: %s %s", _without_query(self.url), self.close_code, self.close_reason)

    async def _close(self, link: ClientConnection) -> None:
        """Close with 1000; the time it takes is bounded by ``close_timeout``, also under cancellation."""
        with anyio.CancelScope(shield=True):
            await link.close()
        self.close_code, self.close_reason = link.close_code, link.close_reason


def websocket_transport(
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    max_size: int = 10 << 20,
    open_timeout: float = 30.0,
) -> WebSocketTransport:
    """An MCP transport over one WebSocket.

    Args:
        url: ``ws://`` or ``wss://`` address of an MCP endpoint.
        token: a Jupyter or gateway token; sent in the ``Authorization`` header.
        headers: further headers of the handshake.
        ssl: for ``wss``: a context with your own certificates.
        max_size: longest message to accept, in bytes.
        open_timeout: seconds for the connection and its handshake.

    Returns:
        An async context manager that yields ``(read, write)``: pass it to ``mcp.Client`` (2.x), or enter it
        and pass the streams to ``ClientSession`` (1.x). Entering raises :class:`Unauthorized` (401, 403),
        :class:`UnknownServer` (404) or :class:`ConnectError`. No close code raises: the read stream ends.
    """
    sent = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    options = {
        "additional_headers": sent,
        "subprotocols": [SUBPROTOCOL_MCP],
        "user_agent_header": f"{CLIENT_USER_AGENT}/{__version__}",
        "max_size": max_size,
        "open_timeout": open_timeout,
        "close_timeout": CLOSE_TIMEOUT,
        "compression": None,
    }
    if ssl is not None:
        options["ssl"] = ssl
    return WebSocketTransport(url, options)


async def _open(url: str, options: Mapping[str, Any]) -> ClientConnection:
    where = _without_query(url)
    try:
        return await open_websocket(url, **options)
    except InvalidStatus as error:
        raise _refusal(where, error.response) from None
    except InvalidURI:
        raise ConnectError(f"{where} is no ws:// or wss:// address") from None
    except ssl_module.SSLError as error:
        raise ConnectError(
            f"{where}: TLS failed ({error.reason or error}); is the certificate trusted?"
        ) from None
    except TimeoutError:
        raise ConnectError(f"{where} did not answer within {options['open_timeout']:g} s") from None
    except OSError as error:
        raise ConnectError(f"{where} cannot be reached: {error.strerror or error}") from None
    except InvalidHandshake as error:
        raise ConnectError(f"{where} does not answer as a WebSocket server: {error}") from None


def _refusal(where: str, response: Any) -> ConnectError:
    status, words = response.status_code, _message(response)
    if status in (401, 403):
        return Unauthorized(f"{where} refused the credential ({status}): {words}")
    if status == 404:
        return UnknownServer(f"{where} is unknown (404): {words}")
    return ConnectError(f"{where} answered {status}: {words}")


def _message(response: Any) -> str:
    try:
        return str(json.loads(response.body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return response.reason_phrase or "no reason was given"


def _as_message(text: str | bytes) -> SessionMessage | Exception:
    """As the SDK's transports do: what cannot be parsed is handed over as an exception."""
    try:
        return SessionMessage(parse_message(text if isinstance(text, str) else text.decode()))
    except ValueError as error:
        return error


def _without_query(url: str) -> str:
    """For messages: a query may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
