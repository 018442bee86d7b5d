"""The response to a request whose head was admitted a moment ago, without Tornado's request handler."""

from __future__ import annotations

import logging
import time
from asyncio import Future
from functools import cache, lru_cache
from http.client import responses
from typing import Any

import msgspec
from jupyter_server.prometheus.metrics import HTTP_REQUEST_DURATION_SECONDS
from tornado import httputil, web

from mcp_ws_ide.admissions import Admission
from mcp_ws_ide.credentials import Watched
from mcp_ws_ide.handlers.kept_alive import Answering
from mcp_ws_ide.handlers.post_headers import JSON
from mcp_ws_ide.handlers.requester import Request, challenge, http_error_message, refusal_body
from mcp_ws_ide.runtime import Runtime

log = logging.getLogger(__name__)


class RepeatedResponse:
    """A :class:`~.post_response.Responder` on the bare HTTP connection; subclasses decide what to answer."""

    method: str

    def __init__(
        self, runtime: Runtime, request: Request, admission: Admission, connection: Answering
    ) -> None:
        self._runtime = runtime
        self.request = request
        self._connection = connection
        self._admission = admission
        self.token_id, self.token_tools = admission.token_id, admission.tools
        self.error_headers: dict[str, str] = {}
        self._status = 200
        self._headers = dict(admission.headers)
        self._unsent = b""
        self._begun = False

    @property
    def handler(self) -> str:
        """The label ``handler`` of Jupyter's histogram of durations."""
        return f"{type(self).__module__}.{type(self).__name__}"

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self._runtime

    @property
    def principal(self) -> str:
        """The principal that was admitted with this head."""
        return self._admission.principal

    def _failed(self, error: Exception) -> None:
        """Answer with what went wrong."""
        if isinstance(error, web.HTTPError):
            return self._fail(error.status_code, http_error_message(error))
        log.error("a %s to server %s failed", self.method, self._admission.server, exc_info=error)
        return self._fail(500, "")

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
        return self._connection.begin(self._status, self.begin_head(), data)

    def begin_head(self) -> dict[str, str]:
        """Return the headers; nothing but the body can be answered from now on."""
        self._begun = True
        self._headers["Date"] = _date(int(time.time()))
        return self._headers

    def finish(self, data: bytes = b"", /) -> None:
        """Complete the response."""
        self._unsent += data
        if not self._begun:
            self.set_header("Content-Length", str(len(self._unsent)))
        self._connection.set_close_callback(None)
        if self._unsent or not self._begun:
            self._send()
        self._connection.finish()
        self.record_duration()

    def record_duration(self) -> None:
        """Count the response in Jupyter's histogram."""
        _durations(self.method, self.handler, self._status).observe(self.request.request_time())


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return httputil.format_timestamp(seconds)


@cache
def _durations(method: str, handler: str, status: int) -> Any:
    """Jupyter's own histogram, which its handlers fill in for every other request."""
    return HTTP_REQUEST_DURATION_SECONDS.labels(method=method, handler=handler, status_code=status)
