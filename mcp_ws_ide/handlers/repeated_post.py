"""Answers a POST whose head was admitted a moment ago (admissions.py), without Tornado's request handler.

The request comes from Tornado, or from :mod:`.kept_alive`, which reads it without Tornado. Everything that depends on
the message or the session is still checked each time (:mod:`.post_exchange`).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from tornado import httputil

from mcp_ws_ide.admissions import ADMITTED_BODY_SECONDS, Admission
from mcp_ws_ide.gateway.handed_out import ContinuedCall, continued_call
from mcp_ws_ide.handlers.bodies import SLACK_BYTES
from mcp_ws_ide.handlers.kept_alive import Connection
from mcp_ws_ide.handlers.passed_requests import PassedOn, endpoint_path, find_holder
from mcp_ws_ide.handlers.post_exchange import PostExchange
from mcp_ws_ide.handlers.post_headers import PostHead
from mcp_ws_ide.handlers.post_response import PendingResponse, ResponseWriter
from mcp_ws_ide.handlers.repeated_response import RepeatedResponse
from mcp_ws_ide.handlers.requester import Request
from mcp_ws_ide.runtime import Runtime
from mcp_ws_ide.tasks import SameDelay

SHORT_BODY: Final = 65536
"""Bytes of a body that needs no limits."""


class RepeatedRequest:
    """A request with the head of an earlier one."""

    __slots__ = ("_begun", "body", "headers", "remote_ip")

    def __init__(self, headers: httputil.HTTPHeaders, remote_ip: str | None, body: bytes) -> None:
        self.headers = headers
        self.remote_ip = remote_ip
        self.body = body
        self._begun = time.perf_counter()

    def request_time(self) -> float:
        """Return the seconds since the request was read."""
        return time.perf_counter() - self._begun


def longest_body(runtime: Runtime) -> int:
    """Return the most bytes of a POST that are read."""
    return runtime.gateway.longest_message + SLACK_BYTES


class Repeat(httputil.HTTPMessageDelegate):
    """Collects the body of one such POST that Tornado reads."""

    def __init__(self, post: RepeatedPost) -> None:
        self._post = post
        self._chunks: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """Handle the request: its body is complete."""
        self._post.request.body = b"".join(self._chunks)
        self._post.start_late()


class RepeatedPost(RepeatedResponse):
    """One such POST.

    Args:
        head: its head, read.
        patience: how long an answer may take before the response needs a task.
    """

    method = "POST"
    _connection: Connection

    @property
    def handler(self) -> str:
        """What read the request."""
        return self._connection.reader

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        admission: Admission,
        connection: Connection,
        head: PostHead,
        patience: SameDelay,
    ) -> None:
        super().__init__(runtime, request, admission, connection)
        self._head = head
        self._patience = patience
        self._open: tuple[PendingResponse, ResponseWriter] | None = None
        """The response that waits for the server; not kept longer, since the writer refers to this object."""
        self._waiting: SameDelay.Waiting | None = None

    def start_late(self) -> None:
        """Handle the message, unless its body was so slow that the admission has ended."""
        if not self._runtime.admissions.still_holds(self._admission, ADMITTED_BODY_SECONDS):
            return self._fail(401, "the credential is no longer valid; send the request again")
        return self.start()

    def start(self) -> None:
        """Handle the message, unless another gateway has its session or its call."""
        gateway, owner = self._runtime.gateway, ""
        if self._head.session_id is not None:
            owner = gateway.owner_of_link(self._head.session_id)
        if owner:
            return self._connection.carry_on(partial(self._pass_on, owner))
        if gateway.elsewhere is not None:
            state = continued_call(self.request.body, self.principal, self._admission.server)
            if state is not None and gateway.continues_elsewhere(state):
                return self._connection.carry_on(partial(self._look_for, state))
        return self._handle()

    def _look_for(self, state: ContinuedCall, connection: Connection) -> None:
        self._connection = connection
        self._runtime.gateway.tasks.spawn(self._continued(state), "POST")

    async def _continued(self, state: ContinuedCall) -> None:
        """Let the gateway answer that has the call."""
        try:
            if holder := await find_holder(self, state):
                self._pass_on(holder, self._connection)
            else:
                self._handle()
        except Exception as error:
            self._failed(error)

    def _pass_on(self, owner: str, connection: Connection) -> None:
        self._connection = connection
        passed = PassedOn(self, self.method, endpoint_path(self._admission.server), self.request.body)
        connection.set_close_callback(passed.client_left)
        self._runtime.gateway.tasks.spawn(self._answered_by(passed, owner), "POST")

    async def _answered_by(self, passed: PassedOn, owner: str) -> None:
        try:
            if not await passed.run(owner):
                self._handle()
        except Exception as error:
            self._failed(error)

    def _handle(self) -> None:
        """Handle the message. An answer that is alone and quick needs no task; everything else gets one."""
        exchange = PostExchange(self, self._head)
        self._connection.set_close_callback(exchange.writer.client_left)
        try:
            response = exchange.begin(self._admission.server)
            if response is not None:
                self._await(response, exchange.writer)
        except Exception as error:
            self._failed(error)

    def _await(self, response: PendingResponse, writer: ResponseWriter) -> None:
        stream = writer.reading = response.stream
        self._open = response, writer
        if len(stream) or stream.last:
            return self._ready()
        stream.on_ready = self._ready
        self._connection.set_more_callback(self._ready)
        self._waiting = self._patience.wait(self._ready)

    def _ready(self) -> None:
        """Answer if the answer has come alone; else let a task write what comes."""
        assert self._open is not None, "called twice"
        (response, writer), self._open = self._open, None
        stream = response.stream
        stream.on_ready = None
        if self._waiting is not None:
            self._waiting.cancel()
        if not (stream.reader and stream.last and len(stream) == 1):
            return self._connection.carry_on(partial(self._respond_on, response, writer))
        writer.reading = None
        try:
            writer.answer(stream.take()[1], response.status())
        except Exception as error:
            self._failed(error)
        response.done()

    def _respond_on(self, response: PendingResponse, writer: ResponseWriter, connection: Connection) -> None:
        self._connection = connection
        connection.set_close_callback(writer.client_left)
        self._runtime.gateway.tasks.spawn(self._respond(response, writer), "POST")

    async def _respond(self, response: PendingResponse, writer: ResponseWriter) -> None:
        try:
            await writer.respond(response, patience=0.0)
        except Exception as error:
            self._failed(error)
