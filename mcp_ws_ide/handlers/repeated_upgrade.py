"""Opens a WebSocket for a handshake whose head was admitted a moment ago (admissions.py), without Jupyter's handler.

After a network failure all clients reconnect at once, each with the head it had before but for ``Sec-WebSocket-Key``.
Everything that depends on the server, limits and the key is still checked each time.
"""

from __future__ import annotations

from typing import Protocol

from tornado import httputil

from mcp_ws_ide.admissions import ADMITTED_QUEUE_SECONDS, Admission
from mcp_ws_ide.core.binding import offered_subprotocols
from mcp_ws_ide.handlers.kept_alive import Answering, TornadoConnection
from mcp_ws_ide.handlers.repeated_response import RepeatedResponse
from mcp_ws_ide.handlers.requester import Request, refusal
from mcp_ws_ide.handlers.upgrade import accepting_headers, check_key, choose_server, open_link
from mcp_ws_ide.links.streams import ByteStream
from mcp_ws_ide.runtime import Runtime
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.turnstile import Turnstile


class RepeatedHandshake(httputil.HTTPMessageDelegate):
    """One such request, until it is read."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        key = request.headers.get("Sec-WebSocket-Key", "")
        self._upgrade = RepeatedUpgrade(runtime, request, admission, TornadoConnection(request), key)

    def finish(self) -> None:
        """Answer the handshake when its turn comes."""
        Turnstile.running().call(self._upgrade.open)


class Switching(Answering, Protocol):
    """A connection that can become a WebSocket."""

    def switch(self, headers: dict[str, str], tasks: TaskGroupOwner, /) -> ByteStream:
        """Answer 101; return the byte stream."""


class RepeatedUpgrade(RepeatedResponse):
    """The answer to one such handshake, whose ``Sec-WebSocket-Key`` is ``key``."""

    method = "GET"
    _connection: Switching

    def __init__(
        self, runtime: Runtime, request: Request, admission: Admission, connection: Switching, key: str
    ) -> None:
        super().__init__(runtime, request, admission, connection)
        self._key = key

    def open(self) -> None:
        """Answer 101 and open the link."""
        try:
            self._open()
        except Exception as error:
            self._failed(error)

    def _open(self) -> None:
        if not self._runtime.admissions.still_holds(self._admission, ADMITTED_QUEUE_SECONDS):
            raise refusal(
                self._runtime, 401, "credential", "the credential is no longer valid; connect again"
            )
        key = check_key(self._runtime, self._key)
        offered = offered_subprotocols(self.request.headers.get_list("Sec-WebSocket-Protocol"))
        server, subprotocol = choose_server(self, self._admission.server, offered)
        open_link(self, server, subprotocol, self._switch(key, subprotocol))

    def _switch(self, key: str, subprotocol: str | None) -> ByteStream:
        self.clear_header("Content-Security-Policy")
        self.set_status(101)
        for name, value in accepting_headers(key, subprotocol).items():
            self.set_header(name, value)
        stream = self._connection.switch(self.begin_head(), self._runtime.gateway.tasks)
        self.record_duration()
        return stream
