"""HTTP requests that reach one gateway of an engine and concern what another one has.

The gateway that the client is connected to checks the credential and asks the authorizer; then it lets the other one
answer (:class:`PassedOn`), whose handler trusts both checks (:class:`RequestOfPeer`). Credentials stay behind.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from jupyter_server.utils import url_path_join
from tornado import httputil, web
from tornado.escape import url_escape
from tornado.iostream import StreamClosedError

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.gateway.elsewhere import PassedRequest, PeerUnreachableError, Reply
from mcp_ws_ide.gateway.handed_out import ContinuedCall
from mcp_ws_ide.handlers.post_headers import JSON
from mcp_ws_ide.handlers.post_response import Responder
from mcp_ws_ide.handlers.requester import Requester, refusal, refusal_body

if TYPE_CHECKING:
    from mcp_ws_ide.fleet.peer_requests import PeerResponse

PASSED_HEADERS: Final = frozenset({"Accept", "Content-Type", "Last-Event-Id", "User-Agent"})
"""Request headers that are passed on, beside those that begin with ``Mcp-``: all that describe a message."""
OWN_HEADERS: Final = frozenset({"Content-Length", "Date", "Server", "Transfer-Encoding"})
"""Response headers that each gateway sets itself."""
RETRY_AFTER: Final = "1"
"""Seconds after which a client may repeat a request whose gateway did not answer."""
FETCH_SECONDS: Final = 2.0
"""Seconds that another gateway may take to answer a REST call."""


# --- where the client is ------------------------------------------------------------------------


class PassedOn:
    """A request that another gateway answers. Implements :class:`~mcp_ws_ide.credentials.Watched`.

    Args:
        path: the path below ``{base_url}mcp-ws/``, with a query that holds no credential.
    """

    def __init__(self, responder: Responder, method: str, path: str, body: bytes) -> None:
        self._responder = responder
        self._body = body
        self._request = passed_request(responder, method, path)
        self._reply: Reply | None = None
        self._begun = self._left = False
        self._revoked = ""
        self.closed = False

    async def run(self, instance: str) -> bool:
        """Respond with what another gateway answers; return False if that gateway has ended.

        Raises:
            HTTPError: 401, the credential has ended; 503, that gateway does not answer.
        """
        runtime = self._responder.runtime
        assert runtime.gateway.elsewhere is not None
        try:
            self._reply = await runtime.gateway.elsewhere.ask(instance, self._request, self._body)
        except PeerUnreachableError as error:
            self._responder.error_headers["Retry-After"] = RETRY_AFTER
            raise refusal(runtime, 503, "peer", str(error)) from None
        if self._reply is None:
            return False
        if self._left:
            self._reply.close()
            return True
        self._responder.watch_credential(self)
        try:
            await self._respond(self._reply)
        except PeerUnreachableError as error:
            self._lost(str(error))
        except StreamClosedError:
            pass  # the client is gone
        finally:
            self.closed = True
            self._reply.close()
        return True

    async def _respond(self, reply: Reply) -> None:
        head, responder = await reply.head(), self._responder
        responder.set_status(head.status)
        responder.clear_header("Content-Type")
        for name, value in head.headers:
            if name not in OWN_HEADERS:
                responder.set_header(name, value)
        if any(name == "Content-Length" for name, _ in head.headers) or head.status == 204:
            body = b"".join([piece async for piece in _pieces(reply)])
            return responder.finish(body) if body else responder.finish()
        self._begun = True
        async for piece in _pieces(reply):
            responder.write(piece)
            await responder.flush()
        responder.finish()

    def _lost(self, reason: str) -> None:
        """End a response that will not be completed."""
        responder = self._responder
        if self._left:
            return
        if self._begun:
            return responder.finish()
        if self._revoked:
            raise refusal(responder.runtime, 401, "credential", self._revoked)
        responder.runtime.gateway.metrics.refusals["peer"] += 1
        responder.set_status(502)
        responder.set_header("Content-Type", JSON)
        responder.finish(msgspec.json.encode(refusal_body(502, reason, "unknown")))

    def client_left(self) -> None:
        """Tell the other gateway that nobody wants the response."""
        self._left = True
        if self._reply is not None:
            self._reply.close()

    def close(self, code: CloseCode, reason: str) -> None:
        """End the response with the credential of its request."""
        self._revoked = reason
        if self._reply is not None:
            self._reply.close()


async def find_holder(responder: Responder, state: ContinuedCall) -> str:
    """Return the id of the other gateway that handed out a ``requestState``; ``""`` if none did.

    Raises:
        HTTPError: 503, one that may have done so does not answer.
    """
    runtime = responder.runtime
    assert runtime.gateway.elsewhere is not None
    try:
        return await runtime.gateway.elsewhere.holder(state)
    except PeerUnreachableError as error:
        responder.error_headers["Retry-After"] = RETRY_AFTER
        raise refusal(runtime, 503, "peer", str(error)) from None


class Fetched(NamedTuple):
    """What another gateway has answered."""

    status: int
    body: bytes


async def fetch(requester: Requester, method: str, instance: str, path: str) -> Fetched | None:
    """Return what another gateway answers to a request without a body; 404 if that gateway has ended, None if it does
    not answer within :data:`FETCH_SECONDS`.

    Args:
        requester: who makes the request; it was authorized.
        path: as of :class:`PassedOn`.
    """
    elsewhere = requester.runtime.gateway.elsewhere
    assert elsewhere is not None
    reply: Reply | None = None
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            reply = await elsewhere.ask(instance, passed_request(requester, method, path), b"")
            if reply is None:
                return Fetched(404, b"")
            head = await reply.head()
            return Fetched(head.status, b"".join([piece async for piece in _pieces(reply)]))
    except (PeerUnreachableError, TimeoutError):
        return None
    finally:
        if reply is not None:
            reply.close()


async def _pieces(reply: Reply) -> AsyncIterator[bytes]:
    while (piece := await reply.next()) is not None:
        yield piece


def endpoint_path(name: str) -> str:
    """Return the path of a server's endpoint below ``{base_url}mcp-ws/``."""
    return f"servers/{url_escape(name, plus=False)}"


def passed_request(requester: Requester, method: str, path: str) -> PassedRequest:
    """Return what another gateway has to know of an authorized request."""
    return PassedRequest(
        method,
        path,
        [pair for pair in requester.request.headers.get_all() if _is_passed(pair[0])],
        requester.principal,
        requester.request.remote_ip or "",
        requester.token_id,
        requester.token_tools,
    )


def _is_passed(header: str) -> bool:
    return header in PASSED_HEADERS or header.startswith("Mcp-")


# --- where the session is -----------------------------------------------------------------------


class RequestOfPeer(httputil.HTTPServerRequest):
    """A request that another gateway has authorized.

    Attributes:
        passed: what it says.
    """

    def __init__(self, base_url: str, passed: PassedRequest, connection: PeerConnection) -> None:
        headers = httputil.HTTPHeaders()
        for name, value in passed.headers:
            headers.add(name, value)
        uri = url_path_join(base_url, "mcp-ws", passed.path)
        super().__init__(passed.method, uri, headers=headers, connection=connection)  # type: ignore[arg-type]
        self.remote_ip = passed.remote
        self.passed = passed


class PeerConnection:
    """The connection of such a request, as Tornado's handlers see it (``tornado.httputil.HTTPConnection``)."""

    def __init__(self, response: PeerResponse) -> None:
        self._response = response

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` when the client leaves before the response is complete."""
        self._response.on_left(callback)

    def write_headers(
        self,
        start_line: httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Future[None]:
        """Write the head and the first bytes of the body."""
        self._response.begin(start_line.code, list(headers.get_all()))
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> Future[None]:
        """Write more of the body."""
        return self._response.write(chunk)

    def finish(self) -> None:
        """Complete the response."""
        self._response.finish()


async def answer_passed(
    application: web.Application, passed: PassedRequest, body: bytes, response: PeerResponse
) -> None:
    """Have the handler of its path answer a request that another gateway passes on."""
    request = RequestOfPeer(application.settings["base_url"], passed, PeerConnection(response))
    delegate: Any = application.find_handler(request)
    line = httputil.RequestStartLine(passed.method, request.uri or "", "HTTP/1.1")
    prepared = delegate.headers_received(line, request.headers)
    if prepared is not None:
        await prepared
    delegate.data_received(body)
    delegate.finish()
