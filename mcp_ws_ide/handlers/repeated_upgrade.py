"""Opens a WebSocket for a handshake whose head was admitted a moment ago (admissions.py), without Jupyter's handler.

After a network failure all clients reconnect at once, each with the head it had before but for ``Sec-WebSocket-Key``.
Everything that depends on the server, limits and the key is still checked each time.
"""

from __future__ import annotations

from tornado import httputil

from mcp_ws_ide.admissions import ADMITTED_QUEUE_SECONDS, Admission
from mcp_ws_ide.core.binding import offered_subprotocols
from mcp_ws_ide.handlers.kept_alive import TornadoConnection
from mcp_ws_ide.handlers.repeated_response import RepeatedResponse
from mcp_ws_ide.handlers.requester import refusal
from mcp_ws_ide.handlers.upgrade import accepting_headers, check_key, choose_server, open_link, take_over
from mcp_ws_ide.links.streams import ByteStream
from mcp_ws_ide.runtime import Runtime


class RepeatedHandshake(httputil.HTTPMessageDelegate):
    """One such request, until it is read."""

    def __init__(self, runtime: Runtime, request: httputil.HTTPServerRequest, admission: Admission) -> None:
        self._upgrade = RepeatedUpgrade(runtime, request, admission, TornadoConnection(request))
        self._tasks = runtime.gateway.tasks

    def finish(self) -> None:
        """Answer the handshake when its turn comes."""
        self._tasks.spawn(self._upgrade.run(), "WebSocket handshake")


class RepeatedUpgrade(RepeatedResponse):
    """The answer to one such handshake."""

    method = "GET"
    _connection: TornadoConnection

    async def run(self) -> None:
        """Wait for the turnstile, then answer 101 and open the link."""
        try:
            await self._runtime.turnstile.enter()
            self._open()
        except Exception as error:
            self._failed(error)

    def _open(self) -> None:
        if not self._runtime.admissions.still_holds(self._admission, ADMITTED_QUEUE_SECONDS):
            raise refusal(
                self._runtime, 401, "credential", "the credential is no longer valid; connect again"
            )
        key = check_key(self)
        offered = offered_subprotocols(self.request.headers.get_list("Sec-WebSocket-Protocol"))
        server, subprotocol = choose_server(self, self._admission.server, offered)
        open_link(self, server, subprotocol, self._switch(key, subprotocol))

    def _switch(self, key: str, subprotocol: str | None) -> ByteStream:
        self.clear_header("Content-Security-Policy")
        self.set_status(101)
        for name, value in accepting_headers(key, subprotocol).items():
            self.set_header(name, value)
        stream = self._connection.switch(self.begin_head())
        self.record_duration()
        return take_over(stream, self._runtime)
