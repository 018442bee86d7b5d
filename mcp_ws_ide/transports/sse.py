"""Remote servers over HTTP+SSE (MCP 2024-11-05, transports): messages arrive on one event stream and leave by POST.

The stream is the session. It cannot be resumed, so the attachment ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

import httpx2

from mcp_ws_ide.core import json_scan, messages
from mcp_ws_ide.core.messages import REQUEST, Message
from mcp_ws_ide.core.stand_ins import FINAL_NAMES
from mcp_ws_ide.errors import METHOD_NOT_FOUND, UPSTREAM_LOST, UPSTREAM_UNAVAILABLE, TransportError
from mcp_ws_ide.proxy_environment import this_machine
from mcp_ws_ide.transports.base import Receiver
from mcp_ws_ide.transports.lines import over_limit
from mcp_ws_ide.transports.remote import (
    DEFAULT_BOUNDS,
    DISCOVER,
    ERROR_BYTES,
    EVENT_OVERHEAD,
    EVENT_STREAM,
    JSON,
    Bounds,
    Remote,
    RemoteTransport,
    RequestFailedError,
    media_type,
    origin,
    path_of,
    read_body,
    status_message,
)
from mcp_ws_ide.transports.unfinished import WatchedEvents, has_answer

SETTLE_SECONDS: Final = 2.0
"""Longest wait, after the end of the event stream, for the response to the POST in flight: it says whether the message
was accepted."""


class _TooLongError(RequestFailedError):
    """An event is longer than a message may be."""


class _ForgottenError(RequestFailedError):
    """The server does not know the session of a message, which therefore did not run."""


class SseTransport(RemoteTransport):
    """One event stream from a server; a message over the limit ends the attachment."""

    kind = "sse"

    def __init__(self, remote: Remote, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(remote, bounds)
        self._endpoint = remote.url
        self._out: deque[Message] = deque()
        self._queued = 0
        self._unsent: list[bytes] = []
        self._passed = False
        """Whether the server has accepted a message, so that a later 404 means that it has forgotten the session."""
        self._wake = asyncio.Event()
        self._stream_ended = False
        self._settled = asyncio.Event()
        """Set unless a POST waits for its response."""
        self._settled.set()

    async def connect(self, receiver: Receiver) -> None:
        """Open the stream and wait for the URL of the POSTs; see :meth:`Transport.connect`."""
        seconds = self._remote.connect_timeout
        await self._remote.prepare("GET", {"Accept": EVENT_STREAM})
        opened: asyncio.Future[httpx2.URL] = asyncio.get_running_loop().create_future()
        self._spawn(self._read(opened, receiver), "read")
        try:
            async with asyncio.timeout(seconds):
                self._endpoint = await opened
        except TimeoutError:
            self._receiver = None
            await self.close()
            reason = f"{self._where} did not open an event stream within {seconds:g} s (connect_timeout)"
            raise TransportError(reason) from None
        except BaseException:
            self._receiver = None
            await self.close()
            raise
        if self._closing is None:  # otherwise the stream has already ended again
            self._spawn(self._write(), "write")

    # --- the event stream -----------------------------------------------------------------------------

    async def _read(self, opened: asyncio.Future[httpx2.URL], receiver: Receiver) -> None:
        try:
            async with self._remote.open("GET", {"Accept": EVENT_STREAM}, endless=True) as response:
                await self._check(response)
                await self._read_events(response, opened, receiver)
            raise RequestFailedError(f"{self._where} ended the event stream", sent=True)
        except RequestFailedError as failure:
            if opened.done():
                await self._settle()
                self._renewable = not isinstance(failure, _TooLongError)
                self._begin_close(str(failure))
            else:
                opened.set_exception(TransportError(str(failure)))

    async def _settle(self) -> None:
        """Send nothing more, and wait for the response to the POST in flight: a refused message did not run."""
        self._stream_ended = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settled.wait()

    async def _read_events(
        self, response: httpx2.Response, opened: asyncio.Future[httpx2.URL], receiver: Receiver
    ) -> None:
        watched = WatchedEvents(response, self._take_unfinished).as_response()
        try:
            async for event in httpx2.EventSource(watched, max_event_size=self._max_message + EVENT_OVERHEAD):
                if event.event == "endpoint" and not opened.done():
                    self._receiver = receiver
                    opened.set_result(self._endpoint_of(event.data))
                elif event.data and opened.done():
                    await self._reading.wait()
                    self._take(event)
        except httpx2.SSEError:
            reason = f"{self._where} sent an event that is too long: {over_limit(self._max_message)}"
            raise _TooLongError(reason, sent=True) from None

    def _take(self, event: httpx2.ServerSentEvent) -> None:
        data = event.data.encode()
        if event.event in FINAL_NAMES or has_answer(data):
            self._deliver(messages.one_line(data))

    def _take_unfinished(self, data: bytes) -> None:
        self._noise("the server does not end each event with an empty line")
        self._deliver(messages.one_line(data))

    async def _check(self, response: httpx2.Response) -> None:
        if response.status_code >= 300:
            body = await read_body(response, ERROR_BYTES, self._remote.read_timeout) or b""
            reason = status_message(self._where, response.status_code, body, self._remote.hop)
            raise RequestFailedError(reason, sent=False)
        if media_type(response) != EVENT_STREAM:
            reason = f"{self._where} does not answer GET with an event stream"
            raise RequestFailedError(f"{reason}; is it a Streamable HTTP server (type http)?", sent=False)

    def _endpoint_of(self, data: str) -> httpx2.URL:
        try:
            endpoint = self._remote.url.join(data.strip())
        except (httpx2.InvalidURL, ValueError):
            raise RequestFailedError(
                f"{self._where} announced an invalid URL for messages", sent=False
            ) from None
        stream = self._remote.url
        if origin(endpoint) == origin(stream):
            return endpoint
        if _same_here(endpoint, stream):
            self._noise(f"the server expects messages at {origin(endpoint)}; they go to {origin(stream)}")
            return endpoint.copy_with(scheme=stream.scheme, host=stream.host, port=stream.port)
        reason = (
            f"{self._where} expects messages at another origin, {origin(endpoint)}, which is refused, because "
            f"configured credentials would go there; set its public host and port, so that it announces "
            f"{origin(stream)}, or let it announce a path alone"
        )
        raise RequestFailedError(reason, sent=False)

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Queue one POST; see :meth:`Transport.send`."""
        self._check_open()
        self._out.append(messages.parse(message))
        self._queued += len(message)
        self._wake.set()
        self._check_flow()
        if self._queued > self._max_queued:
            self._begin_close(self._stuck_reason)

    @property
    def unsent(self) -> list[bytes]:
        """What the server has not run for certain, and what was still queued."""
        return [*self._unsent, *(message.data for message in self._out)]

    @property
    def queued_bytes(self) -> int:
        """Bytes the server has not accepted yet."""
        return self._queued

    async def _write(self) -> None:
        """Send one POST after the other, in the order of the session; the server answers each at once.

        Only the probe is sent beside them, because an older server may hold a request that it does not understand.
        """
        while True:
            while self._out and not self._stream_ended:
                message = self._out.popleft()
                if message.method == DISCOVER:
                    self._spawn(self._send(message), "discover")
                else:
                    self._settled.clear()
                    await self._send(message)
                    self._settled.set()
            self._wake.clear()
            await self._wake.wait()

    async def _send(self, message: Message) -> None:
        try:
            await self._post(message)
        except RequestFailedError as failure:
            never_ran = isinstance(failure, _ForgottenError) or (
                self._passed and not failure.sent and not failure.status
            )
            if never_ran and self.renewed:
                self._unsent.append(message.data)
                self._renewable = True
                self._begin_close(str(failure))
            else:
                self._failed(message, failure)
        finally:
            self._queued -= len(message.data)
        self._check_flow()

    async def _post(self, message: Message) -> None:
        opened = self._remote.open("POST", {"Content-Type": JSON}, url=self._endpoint, content=message.data)
        async with opened as response:
            limit = ERROR_BYTES if response.status_code >= 300 else self._max_message
            body = await read_body(response, limit, self._remote.read_timeout) or b""
            if (status := response.status_code) >= 300:
                failure = RequestFailedError(
                    self._post_refused(status, body), sent=status >= 500, status=status
                )
                raise (
                    _ForgottenError(str(failure), sent=False) if self._is_forgotten(status, body) else failure
                )
        self._passed = True
        if message.kind is REQUEST and _is_response(body):  # it belongs on the stream
            self._noise("the server answers in the response to a POST, and not on its event stream")
            self._deliver(messages.one_line(body))

    def _is_forgotten(self, status: int, body: bytes) -> bool:
        """Return whether a server that has accepted messages no longer knows the session, so that this one did not run.

        SDKs answer 404 or 400 with a text.
        """
        return self._passed and (status == 404 or (status in (400, 410) and b"session" in body.lower()))

    def _post_refused(self, status: int, body: bytes) -> str:
        where = f"{origin(self._endpoint)}{path_of(self._endpoint)}"
        if status != 404:
            return status_message(where, status, body, self._remote.hop)
        return (
            f"{where} answered 404{self._remote.hop}: {self._where} announced this address for messages, and there is "
            "nothing at it; behind a proxy that strips a prefix of the path, the server has to announce the prefix too "
            "(often called root_path or base path)"
        )

    def _failed(self, message: Message, failure: RequestFailedError) -> None:
        """Report that one message failed; the stream may live on."""
        if message.kind is not REQUEST:
            return self._noise(f"a message was not accepted: {failure}")
        code = UPSTREAM_LOST if failure.sent else UPSTREAM_UNAVAILABLE
        if message.method == DISCOVER and (failure.of_older_server or failure.status >= 500):
            code = METHOD_NOT_FOUND
        outcome = {"outcome": "unknown" if failure.sent else "not_sent"}
        self._deliver(messages.error_response(message.id, code, str(failure), outcome))


def _is_response(body: bytes) -> bool:
    """Return whether the body of a POST's response is a JSON-RPC response; most servers say that they accepted it."""
    names = json_scan.top_of(body).names
    return b"id" in names and not names.isdisjoint({b"result", b"error"})


def _same_here(endpoint: httpx2.URL, stream: httpx2.URL) -> bool:
    """Return whether two addresses are one port of this machine, in two spellings; a server may announce 0.0.0.0."""
    ports = [url.port or (443 if url.scheme == "https" else 80) for url in (endpoint, stream)]
    same = endpoint.scheme == stream.scheme and ports[0] == ports[1]
    return same and this_machine(endpoint.host) and this_machine(stream.host)
