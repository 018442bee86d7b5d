"""Answers a POST whose head was admitted a moment ago (admissions.py), without Tornado's request handler.

Everything that depends on the message or the session is still checked each time (:mod:`.post_exchange`).
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
from mcp_ws_ide.handlers.post_exchange import PostExchange
from mcp_ws_ide.handlers.post_headers import JSON
from mcp_ws_ide.handlers.post_response import COMMIT_AFTER, PendingResponse
from mcp_ws_ide.handlers.requester import challenge, http_error_message, refusal_body
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
        """Return a delegate if the request's head was admitted lately."""
        admission = self._runtime.admissions.find(request)
        if admission is None:
            return None
        if int(request.headers.get("Content-Length") or UNKNOWN_LENGTH) > SHORT_BODY:
            limit_body(request.connection, longest_body(self._runtime), BODY_SECONDS)
        return Repeat(self._runtime, request, admission)


def longest_body(runtime: Runtime) -> int:
    """Return the most bytes of a POST that are read."""
    return runtime.gateway.longest_message + SLACK_BYTES


class Repeat(httputil.HTTPMessageDelegate):
    """Collects the body of one such POST."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        self._post = RepeatedPost(runtime, request, admission)
        self._chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """Handle the request: its body is complete."""
        self._post.start(b"".join(self._chunks))


class RepeatedPost:
    """One such POST; a :class:`~.post_response.Responder` on the bare HTTP connection."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        assert request.connection is not None
        self._runtime = runtime
        self.request = request
        self._connection = request.connection
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
        self._connection.set_close_callback(self._exchange.writer.client_left)  # type: ignore[attr-defined]
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
        data, self._unsent = self._unsent, b""
        if self._begun:
            return self._connection.write(data)
        self._begun = True
        self._headers["Date"] = _date(int(time.time()))
        start = httputil.ResponseStartLine("", self._status, responses[self._status])
        return self._connection.write_headers(start, httputil.HTTPHeaders(self._headers), data)

    def finish(self, data: bytes = b"", /) -> None:
        """Complete the response."""
        self._unsent += data
        if not self._begun:
            self.set_header("Content-Length", str(len(self._unsent)))
        self._connection.set_close_callback(None)  # type: ignore[attr-defined]
        if self._unsent or not self._begun:
            self.flush()
        self._connection.finish()
        _durations(self._status).observe(self.request.request_time())


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return httputil.format_timestamp(seconds)


@cache
def _durations(status: int) -> Any:
    """Jupyter's own histogram, which its handlers fill in for every other request."""
    name = f"{RepeatedPost.__module__}.{RepeatedPost.__name__}"
    return HTTP_REQUEST_DURATION_SECONDS.labels(method="POST", handler=name, status_code=status)
