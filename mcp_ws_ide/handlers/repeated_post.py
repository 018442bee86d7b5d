"""Answers a POST whose head was admitted a moment ago (admissions.py), without Tornado's request handler.

What depends on the message or the session is checked each time (post_exchange.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from http.client import responses
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_server.prometheus.metrics import HTTP_REQUEST_DURATION_SECONDS
from tornado import httputil, web
from tornado.routing import Router

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.credentials import Watched
from mcp_ws_ide.handlers.auth import refusal, words_of
from mcp_ws_ide.handlers.post_exchange import COMMIT_AFTER, Owed, Posting

if TYPE_CHECKING:
    from asyncio import Future

    from mcp_ws_ide.app import Runtime

log = logging.getLogger(__name__)


class RepeatRouter(Router):
    """Tornado's hook before any handler is made; None leaves a request to the next route."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def find_handler(
        self, request: httputil.HTTPServerRequest, **kwargs: Any
    ) -> httputil.HTTPMessageDelegate | None:
        """A delegate for a repeated head."""
        admission = self._runtime.admissions.find(request)
        return None if admission is None else Repeat(self._runtime, request, admission)


class Repeat(httputil.HTTPMessageDelegate):
    """Collects the body of one such POST."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        self._post = RepeatedPost(runtime, request, admission)
        self._chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """The body is whole."""
        self._post.start(b"".join(self._chunks))


class RepeatedPost(Posting):
    """One such POST, with what of Tornado's ``RequestHandler`` its answer needs."""

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

    def start(self, body: bytes) -> None:
        """Take the message. A lone answer that is soon there needs no task; all else gets one."""
        self.request.body = body
        if not self._runtime.admissions.still_holds(self._admission):  # it may have taken its time
            return self._fail(401, "the credential does not hold any more; send the request again")
        self._connection.set_close_callback(self.client_left)  # type: ignore[attr-defined]
        with self._errors():
            owed = self.begin(self._admission.server)
            if owed is not None:
                self._await(owed)

    def _await(self, owed: Owed) -> None:
        stream = self._reading = owed.stream
        timer: asyncio.TimerHandle | None = None

        def ready() -> None:
            stream.on_ready = None
            if timer is not None:
                timer.cancel()
            if stream.reader and stream.last and len(stream) == 1:
                self._reading = None
                with self._errors():
                    self._answer(stream.take()[1], owed.statuses)
                self._loop.call_soon(owed.done)  # not within the session's own delivery
            else:
                self._runtime.gateway.tasks.spawn(self._rest(owed), "POST")

        if len(stream) or stream.last:
            return ready()
        stream.on_ready = ready
        timer = self._loop.call_later(COMMIT_AFTER, ready)

    async def _rest(self, owed: Owed) -> None:
        with self._errors():
            await self._respond(owed, patience=0.0)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except web.HTTPError as error:
            self._fail(error.status_code, words_of(error))
        except Exception:
            log.exception("a POST to %s failed", self._admission.server)
            self._fail(500, "")

    def _fail(self, status: int, words: str) -> None:
        if self._begun:
            return self.finish()
        self._headers |= self.error_headers
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        body = {"message": words or responses.get(status, ""), "status": status}
        self.finish(msgspec.json.encode(body))

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self._runtime

    @property
    def principal(self) -> str:
        """Whoever was admitted with this head."""
        return self._admission.principal

    def watch_credential(self, watched: Watched) -> None:
        """As of a handler."""
        if self.token_id is None:
            self._runtime.credentials.add(self._admission.credential, self.principal, watched)

    def refuse(self, status: int, reason: str, message: str) -> web.HTTPError:
        """As of a handler."""
        return refusal(self._runtime, status, reason, message)

    # --- what Posting responds with -------------------------------------------------------------

    def set_status(self, status: int) -> None:
        """Of the answer; 200 unless set."""
        self._status = status

    def set_header(self, name: str, value: str) -> None:
        """Of the answer."""
        self._headers[name] = value

    def clear_header(self, name: str) -> None:
        """Of the answer."""
        self._headers.pop(name, None)

    def write(self, data: bytes) -> None:
        """More of the body, for :meth:`flush`."""
        self._unsent += data

    def flush(self) -> Future[None]:
        """Send what was written. Raises ``StreamClosedError``, awaited."""
        data, self._unsent = self._unsent, b""
        if self._begun:
            return self._connection.write(data)
        self._begun = True
        self._headers["Date"] = _date(int(time.time()))
        start = httputil.ResponseStartLine("", self._status, responses[self._status])
        return self._connection.write_headers(start, httputil.HTTPHeaders(self._headers), data)

    def finish(self, data: bytes = b"") -> None:
        """The answer is whole."""
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
