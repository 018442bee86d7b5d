"""Servers that are Python objects in Jupyter's own process: an SDK server, or a callable that returns one.

Besides the OAuth flow, this is the only part of the gateway that uses the SDK, and only when such a server is
configured. The object shares Jupyter's process and event loop: if it blocks or exits, so does all of Jupyter.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

import anyio

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.frames import END_BYTES
from mcp_ws_ide.core.lenient_json import encode
from mcp_ws_ide.core.messages import REQUEST
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_REQUEST, TransportError
from mcp_ws_ide.transports.base import Receiver, Supplies
from mcp_ws_ide.transports.lines import over_limit, too_large
from mcp_ws_ide.transports.tasked import CLOSE_TIMEOUT, TaskedTransport, within

MAX_DETAIL: Final = 500
"""Characters of an error's message that are shown."""
_PRIVATE: Final = ("_lowlevel_server", "_mcp_server")
"""Where ``MCPServer`` (SDK 2.x) and ``FastMCP`` (SDK 1.x, fastmcp) keep the server that runs on streams."""

log = logging.getLogger(__name__)


class InProcessTransport(TaskedTransport):
    """One run of a server object over in-memory streams.

    Args:
        target: ``module:object``.
        principal: the user; passed to a callable that has a parameter of this name.
        max_message_bytes: longest message from the object; a longer answer is replaced by an error.
        load_timeout: seconds for the import, and for a callable to return.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which the server counts as stuck.
    """

    kind = "python"

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport for the object that a spec names."""
        return cls(
            spec.target or "",
            principal=supplies.principal,
            max_message_bytes=supplies.max_message_bytes,
            load_timeout=spec.timeout("connect_timeout"),
        )

    def __init__(
        self,
        target: str,
        *,
        principal: str = "",
        max_message_bytes: int = 10 << 20,
        load_timeout: float = 10.0,
        high_water: int = 1 << 20,
        max_queued_bytes: int = 64 << 20,
    ) -> None:
        super().__init__(target, high_water, max_queued_bytes)
        self._principal = principal
        self._max_message = max_message_bytes
        self._load_timeout = load_timeout
        self._out: deque[bytes] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._to_server, self._server_read = anyio.create_memory_object_stream[Any](0)
        self._server_write, self._from_server = anyio.create_memory_object_stream[Any](0)

    async def connect(self, receiver: Receiver) -> None:
        """Import the object and run it; see :meth:`Transport.connect`."""
        try:
            server, options = await self._load_in_time()
        except BaseException:
            await self._hang_up()
            raise
        self._receiver = receiver
        self._spawn(self._serve(server, options), "serve")
        self._spawn(self._read(), "read")
        self._spawn(self._write(), "write")

    async def _load_in_time(self) -> tuple[Any, Any]:
        """Return the server and its options."""
        try:
            async with asyncio.timeout(self._load_timeout):
                server = await self._load()
                return server, server.create_initialization_options()
        except TimeoutError:
            limit = f"{self._load_timeout:g} s (connect_timeout)"
            raise TransportError(f"{self._where} was not loaded within {limit}") from None
        except (Exception, SystemExit) as error:
            if isinstance(error, TransportError):
                raise
            raise TransportError(f"{self._where} cannot be loaded: {_error_text(error)}") from error

    async def _load(self) -> Any:
        server = low_level(await asyncio.to_thread(_import, self._where))
        if callable(server) and (isinstance(server, type) or not _is_server(server)):
            server = server(self._principal) if _wants_principal(server) else server()
            server = low_level(await server if inspect.isawaitable(server) else server)
        if not _is_server(server):
            methods = "run() and create_initialization_options(), as servers of the MCP SDK have"
            raise TransportError(
                f"{self._where} is not a server: neither it nor what it returns has {methods}"
            )
        return server

    async def _serve(self, server: Any, options: Any) -> None:
        reason = "the server object returned from run()"
        try:
            async with self._server_read, self._server_write:
                await server.run(self._server_read, self._server_write, options)
        except Exception as error:
            log.warning("server object %s failed", self._where, exc_info=error)
            reason = f"the server object failed: {_error_text(error)}"
        self._begin_close(reason)

    # --- messages -------------------------------------------------------------------------------

    async def _read(self) -> None:
        from mcp_ws_ide.sdk import as_written

        async for message in self._from_server:
            await self._reading.wait()
            data = self._text_of(message, as_written)
            if len(data) > self._max_message:
                data = self._replaced(data)
            if data:
                self._deliver(data)
        self._drained.set()

    def _text_of(self, message: Any, as_written: Callable[[Any], bytes]) -> bytes:
        """Return a message of the object as JSON, or the error that replaces a response that cannot be written so."""
        try:
            text = getattr(message, "message", message)
            if isinstance(text, str | bytes):
                return reader.on_one_line(text.encode(errors="replace") if isinstance(text, str) else text)
            return as_written(message)
        except Exception as error:  # the object's own classes run here
            reason = f"the server object sent a message that cannot be written as JSON: {_error_text(error)}"
            self._noise(reason)
            raw_id = _answered_id(message)
            outcome = {"outcome": "unknown"}
            return messages.error_response(raw_id, INTERNAL_ERROR, reason, outcome) if raw_id else b""

    def _replaced(self, data: bytes) -> bytes:
        """Return the error that replaces a response over the limit; ``b""`` for any other message."""
        self._noise(f"a message of {len(data)} bytes was dropped: {over_limit(self._max_message)}")
        raw_id = reader.cut_answer(data[:END_BYTES], data[-END_BYTES:])
        return too_large(raw_id, f"the response has {len(data)} bytes", self._max_message) if raw_id else b""

    def send(self, message: bytes) -> None:
        """Queue one message; see :meth:`Transport.send`."""
        self._check_open()
        self._out.append(message)
        self._queued += len(message)
        self._wake.set()
        self._check_flow()
        if self._queued > self._max_queued:
            self._begin_close(self._stuck_reason)

    @property
    def queued_bytes(self) -> int:
        """Bytes the object has not accepted yet."""
        return self._queued

    async def _write(self) -> None:
        # Either end of the stream may close during a message, when the attachment or the object ends.
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async with self._to_server:
                while True:
                    while self._out:
                        await self._write_one(self._out.popleft())
                    self._wake.clear()
                    await self._wake.wait()

    async def _write_one(self, data: bytes) -> None:
        from mcp_ws_ide.sdk import as_message

        message = as_message(data)
        if isinstance(message, Exception):
            self._refuse(data, message)
        else:
            await self._to_server.send(message)
        self._queued -= len(data)
        self._check_flow()

    def _refuse(self, data: bytes, error: Exception) -> None:
        """Answer a message that the SDK cannot read, since the server never sees it."""
        message = messages.parse(data)
        reason = f"the SDK of this server cannot read the message: {str(error)[:MAX_DETAIL]}"
        if message.kind is REQUEST:
            outcome = {"outcome": "not_sent"}
            self._deliver(messages.error_response(message.id, INVALID_REQUEST, reason, outcome))
        else:
            self._noise(reason)

    # --- close ----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """End the server's input, which asks it to end, and drain its output."""
        self._to_server.close()
        self._reading.set()
        await within(CLOSE_TIMEOUT, self._drained.wait())

    async def _hang_up(self) -> None:
        for stream in (self._to_server, self._server_read, self._server_write, self._from_server):
            stream.close()


def _answered_id(message: Any) -> bytes:
    """Return the id, as JSON, of a response that cannot be written; ``null`` if it has none, ``b""`` for others."""
    inner = getattr(message, "message", message)
    inner = getattr(inner, "root", inner)  # SDK 1.x
    members = inner if isinstance(inner, dict) else getattr(inner, "__dict__", {})
    if "method" in members:
        return b""
    value = members.get("id")
    return encode(value) if isinstance(value, int | str) else b"null"


def _import(target: str) -> Any:
    module, _, path = target.partition(":")
    value: Any = importlib.import_module(module)
    for name in path.split("."):
        value = getattr(value, name)
    return value


def low_level(server: Any) -> Any:
    """Return the server that runs on streams: the given one, or the one that it contains."""
    for name in _PRIVATE:
        if not isinstance(server, type) and (inner := getattr(server, name, None)) is not None:
            return inner
    return server


def _wants_principal(factory: Callable[..., Any]) -> bool:
    """Return whether a callable has one parameter, which is called ``principal``."""
    with contextlib.suppress(TypeError, ValueError):  # it has no signature that can be read
        return list(inspect.signature(factory).parameters) == ["principal"]
    return False


def _is_server(value: Any) -> bool:
    return all(callable(getattr(value, name, None)) for name in ("run", "create_initialization_options"))


def _error_text(error: BaseException) -> str:
    """Return type and message of an error; those of the first three errors in a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_error_text(inner) for inner in error.exceptions[:3])
    return f"{type(error).__name__}: {str(error)[:MAX_DETAIL]}"
