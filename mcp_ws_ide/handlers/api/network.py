"""``api/network``: problems on the path between clients and gateway, which the gateway or a client has noticed."""

from __future__ import annotations

from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.core.intermediaries import MAX_CODES, read_report
from mcp_ws_ide.handlers.api.base import ApiHandler
from mcp_ws_ide.handlers.bodies import REFUSED_SECONDS, limit_body

MAX_TEST_BYTES: Final = 1 << 30
"""The longest body that a test may announce, in bytes; none of it is kept."""


class NetworkHandler(ApiHandler):
    """``api/network``."""

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that the body of an accepted request may have; a test announces a long one."""
        return MAX_TEST_BYTES if self.is_test else super().max_body_bytes

    async def prepare(self) -> None:
        """Authenticate; answer a test before its body, which clients never send."""
        await super().prepare()
        if self.is_test:
            limit_body(self.request.connection, MAX_TEST_BYTES, REFUSED_SECONDS)
            self.set_header("Connection", "close")
            self.pass_test()

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List what was noticed within the last hour."""
        self.finish({"network": self.runtime.intermediaries.model()})

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """Add codes that a client noticed on its way to the gateway; unknown ones are ignored."""
        codes = self.body("codes").get("codes")
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            raise web.HTTPError(400, '"codes" must be a list of strings')
        for code, detail in read_report(",".join(codes[:MAX_CODES])):
            self.note(code, detail)
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()
