"""Answers a POST whose head was admitted a moment ago (admissions.py), without Tornado's request handler.

The request comes from Tornado, or from :mod:`.kept_alive`, which reads it without Tornado. Everything that depends on
the message or the session is still checked each time (:mod:`.post_exchange`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tornado import httputil

from mcp_ws_ide.admissions import ADMITTED_BODY_SECONDS, Admission
from mcp_ws_ide.handlers.bodies import SLACK_BYTES
from mcp_ws_ide.handlers.kept_alive import (
    Connection,
    Head,
    TornadoConnection,
)
from mcp_ws_ide.handlers.post_exchange import PostExchange
from mcp_ws_ide.handlers.post_response import COMMIT_AFTER, PendingResponse
from mcp_ws_ide.handlers.repeated_response import RepeatedResponse
from mcp_ws_ide.handlers.requester import Request
from mcp_ws_ide.runtime import Runtime

SHORT_BODY: Final = 65536
"""Bytes of a body that needs no limits."""
UNKNOWN_LENGTH: Final = SHORT_BODY + 1
"""The length of a body that does not declare one."""


class RepeatedRequest:
    """A request with the head of an earlier one."""

    __slots__ = ("_begun", "body", "headers", "remote_ip")

    def __init__(self, head: Head) -> None:
        self.headers = head.headers
        self.remote_ip = head.remote_ip
        self.body = b""
        self._begun = time.perf_counter()

    def request_time(self) -> float:
        """Return the seconds since the request was read."""
        return time.perf_counter() - self._begun


def longest_body(runtime: Runtime) -> int:
    """Return the most bytes of a POST that are read."""
    return runtime.gateway.longest_message + SLACK_BYTES


class Repeat(httputil.HTTPMessageDelegate):
    """Collects the body of one such POST."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        self._post = RepeatedPost(runtime, request, admission, TornadoConnection(request))
        self._chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """Handle the request: its body is complete."""
        self._post.start(b"".join(self._chunks))


class RepeatedPost(RepeatedResponse):
    """One such POST."""

    method = "POST"

    @property
    def handler(self) -> str:
        """What read the request."""
        return self._connection.reader

    def __init__(
        self, runtime: Runtime, request: Request, admission: Admission, connection: Connection
    ) -> None:
        super().__init__(runtime, request, admission, connection)
        self._loop = runtime.gateway.loop
        self._exchange = PostExchange(self)

    def start(self, body: bytes) -> None:
        """Handle the message. An answer that is alone and quick needs no task; everything else gets one."""
        self.request.body = body
        # The body may have been slow.
        if not self._runtime.admissions.still_holds(self._admission, ADMITTED_BODY_SECONDS):
            return self._fail(401, "the credential is no longer valid; send the request again")
        self._connection.set_close_callback(self._exchange.writer.client_left)
        with self._errors():
            response = self._exchange.begin(self._admission.server)
            if response is not None:
                self._await(response)

    def _await(self, response: PendingResponse) -> None:
        writer = self._exchange.writer
        stream = writer.reading = response.stream
        timer: asyncio.TimerHandle | None = None

        def ready() -> None:
            stream.on_ready = None
            if timer is not None:
                timer.cancel()
            if stream.reader and stream.last and len(stream) == 1:
                writer.reading = None
                with self._errors():
                    writer.answer(stream.take()[1], response.statuses)
                self._loop.call_soon(response.done)  # not within the session's own delivery
            else:
                self._connection.carry_on(respond)

        def respond(connection: Connection) -> None:
            self._connection = connection
            connection.set_close_callback(writer.client_left)
            self._runtime.gateway.tasks.spawn(self._respond(response), "POST")

        if len(stream) or stream.last:
            return ready()
        stream.on_ready = ready
        self._connection.set_more_callback(ready)
        timer = self._loop.call_later(COMMIT_AFTER, ready)

    async def _respond(self, response: PendingResponse) -> None:
        with self._errors():
            await self._exchange.writer.respond(response, patience=0.0)
