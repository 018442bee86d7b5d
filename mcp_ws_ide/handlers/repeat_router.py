"""The first route: it takes requests whose head has just been admitted, which need no handler."""

from __future__ import annotations

from typing import Any

from tornado import httputil
from tornado.routing import Router

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.handlers.bodies import body_seconds, declared_length, limit_body
from mcp_ws_ide.handlers.fresh_connections import FreshConnections
from mcp_ws_ide.handlers.kept_alive import (
    Connection,
    HandedBack,
    Head,
    KeptAliveReader,
    TornadoConnection,
    install_reader,
)
from mcp_ws_ide.handlers.passed_requests import RequestOfPeer
from mcp_ws_ide.handlers.post_headers import read_head
from mcp_ws_ide.handlers.post_response import COMMIT_AFTER
from mcp_ws_ide.handlers.repeated_post import (
    SHORT_BODY,
    Repeat,
    RepeatedPost,
    RepeatedRequest,
    longest_body,
)
from mcp_ws_ide.handlers.repeated_upgrade import RepeatedHandshake
from mcp_ws_ide.runtime import Runtime
from mcp_ws_ide.tasks import SameDelay


class RepeatRouter(Router):
    """Tornado's hook before any handler is made; None leaves a request to the next route."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._patience = SameDelay(COMMIT_AFTER)
        self.fresh = FreshConnections(runtime)
        """Looks at new connections, once installed in a server."""

    def find_handler(
        self, request: httputil.HTTPServerRequest, **kwargs: Any
    ) -> httputil.HTTPMessageDelegate | None:
        """Return a delegate if the request's head was admitted recently, or its answer has begun."""
        if isinstance(request, RequestOfPeer):
            return None
        admission = self._runtime.admissions.find(request)
        if request.method == "POST":
            return self._post(request, admission)
        self.fresh.learn(request, admission)
        return RepeatedHandshake(self._runtime, request, admission) if admission is not None else None

    def _post(
        self, request: httputil.HTTPServerRequest, admission: Admission | None
    ) -> httputil.HTTPMessageDelegate | None:
        self._runtime.half_open.expect_body(request.connection)
        reader = self._reader(request)
        if reader is not None:
            respond = reader.tornado_reads(request)
            if respond is not None:
                return HandedBack(request, respond)
            if admission is not None:
                reader.admit(admission)
        if admission is None:
            return None
        length = declared_length(request.headers) if "Content-Length" in request.headers else None
        if length is None or length > SHORT_BODY:
            most = longest_body(self._runtime)
            limit_body(request.connection, most, body_seconds(most))
        head = read_head(request.headers)
        post = RepeatedPost(
            self._runtime, request, admission, TornadoConnection(request), head, self._patience
        )
        return Repeat(post)

    def _reader(self, request: httputil.HTTPServerRequest) -> KeptAliveReader | None:
        return install_reader(request, self._take, self._runtime.admissions.still_holds)

    def _take(self, head: Head, body: bytes, connection: Connection) -> None:
        request = RepeatedRequest(head.headers, head.remote_ip, body)
        RepeatedPost(self._runtime, request, head.admission, connection, head.post, self._patience).start()
