"""Answers a POST whose head was admitted a moment ago (admissions.py), without Tornado's request handler.

The request comes from Tornado, or from :mod:`.kept_alive`, which reads it without Tornado. Everything that depends on
the message or the session is still checked each time (:mod:`.post_exchange`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Future
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from http.client import responses
from typing import Any, Final

import msgspec
from jupyter_server.prometheus.metrics import HTTP_REQUEST_DURATION_SECONDS
from tornado import httputil, web
from tornado.routing import Router

from mcp_ws_ide.admissions import BODY_SECONDS as ADMITTED_BODY_SECONDS
from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.credentials import Watched
from mcp_ws_ide.handlers.bodies import BODY_SECONDS, limit_body
from mcp_ws_ide.handlers.kept_alive import (
    Connection,
    HandedBack,
    Head,
    KeptAliveReader,
    TornadoConnection,
    install_reader,
    reader_of,
)
from mcp_ws_ide.handlers.post_exchange import PostExchange
from mcp_ws_ide.handlers.post_headers import JSON
from mcp_ws_ide.handlers.post_response import COMMIT_AFTER, PendingResponse
from mcp_ws_ide.handlers.requester import Request, challenge, http_error_message, refusal_body
from mcp_ws_ide.runtime import Runtime

SHORT_BODY: Final = 65536
"""Bytes of a body that needs no limits."""
UNKNOWN_LENGTH: Final = SHORT_BODY + 1
"""The length of a body that does not declare one."""
SLACK_BYTES: Final = 2 << 20
"""Bytes that a body may have beyond one message of maximum length, to be refused by name."""

log = logging.getLogger(__name__)


class RepeatRouter(Router):
    """Tornado's hook before any handler is made; None leaves a request to the next route."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def find_handler(
        self, request: httputil.HTTPServerRequest, **kwargs: Any
    ) -> httputil.HTTPMessageDelegate | None:
        """Return a delegate if the request's head was admitted lately, or its answer has begun."""
        admission = self._runtime.admissions.find(request)
        reader = reader_of(request) if request.method != "POST" else self._reader(request)
        if reader is not None:
            respond = reader.tornado_reads(request)
            if respond is not None:
                return HandedBack(request, respond)
            if admission is not None:
                reader.admit(admission)
        if admission is None:
            return None
        if int(request.headers.get("Content-Length") or UNKNOWN_LENGTH) > SHORT_BODY:
            limit_body(request.connection, longest_body(self._runtime), BODY_SECONDS)
        return Repeat(self._runtime, request, admission)

    def _reader(self, request: httputil.HTTPServerRequest) -> KeptAliveReader | None:
        return install_reader(request, self._take, self._runtime.admissions.still_holds)

    def _take(self, head: Head, body: bytes, connection: Connection) -> None:
        RepeatedPost(self._runtime, RepeatedRequest(head), head.admission, connection).start(body)


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


class RepeatedPost:
    """One such POST; a :class:`~.post_response.Responder` on the bare HTTP connection."""

    def __init__(
        self, runtime: Runtime, request: Request, admission: Admission, connection: Connection
    ) -> None:
        self._runtime = runtime
        self.request = request
        self._connection = connection
        self._admission = admission
        self._loop = runtime.gateway.loop
        self.token_id, self.token_tools = admission.token_id, admission.tools
        self.error_headers: dict[str, str] = {}
        self._status = 200
        self._headers = dict(admission.headers)
        self._unsent = b""
        self._begun = False
        self._exchange = PostExchange(self)

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self._runtime

    @property
    def principal(self) -> str:
        """The principal that was admitted with this head."""
        return self._admission.principal

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
        timer = self._loop.call_later(COMMIT_AFTER, ready)

    async def _respond(self, response: PendingResponse) -> None:
        with self._errors():
            await self._exchange.writer.respond(response, patience=0.0)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except web.HTTPError as error:
            self._fail(error.status_code, http_error_message(error))
        except Exception:
            log.exception("a POST to server %s failed", self._admission.server)
            self._fail(500, "")

    def _fail(self, status: int, message: str) -> None:
        if self._begun:
            return self.finish()
        self._headers |= self.error_headers
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        message = message or responses.get(status, "")
        if status == 401:
            self.set_header("WWW-Authenticate", challenge(message))
        self.finish(msgspec.json.encode(refusal_body(status, message)))

    # --- Responder ------------------------------------------------------------------------------

    def watch_credential(self, watched: Watched) -> None:
        """Close ``watched`` when the credential of this request stops being valid."""
        if self.token_id is not None:
            self._runtime.credentials.add_token(self.token_id, watched)
        else:
            self._runtime.credentials.add(self._admission.credential, self.principal, watched)

    def set_status(self, status: int, /) -> None:
        """Set the HTTP status; 200 by default."""
        self._status = status

    def set_header(self, name: str, value: str, /) -> None:
        """Set a response header."""
        self._headers[name] = value

    def clear_header(self, name: str, /) -> None:
        """Remove a response header."""
        self._headers.pop(name, None)

    def write(self, data: bytes, /) -> None:
        """Append to the body, for :meth:`flush` or :meth:`finish`."""
        self._unsent += data

    def flush(self) -> Future[None]:
        """Send what was written. Raises ``StreamClosedError`` when awaited, if the client is gone."""
        sent = self._send()
        assert sent is not None, "kept_alive.py writes whole responses only"
        return sent

    def _send(self) -> Future[None] | None:
        data, self._unsent = self._unsent, b""
        if self._begun:
            return self._connection.write(data)
        self._begun = True
        self._headers["Date"] = _date(int(time.time()))
        return self._connection.begin(self._status, self._headers, data)

    def finish(self, data: bytes = b"", /) -> None:
        """Complete the response."""
        self._unsent += data
        if not self._begun:
            self.set_header("Content-Length", str(len(self._unsent)))
        self._connection.set_close_callback(None)
        if self._unsent or not self._begun:
            self._send()
        self._connection.finish()
        _durations(self._connection.reader, self._status).observe(self.request.request_time())


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return httputil.format_timestamp(seconds)


@cache
def _durations(reader: str, status: int) -> Any:
    """Jupyter's own histogram, which its handlers fill in for every other request."""
    return HTTP_REQUEST_DURATION_SECONDS.labels(method="POST", handler=reader, status_code=status)
