"""``api/network``: what is noticed between clients and gateway, and what a client noticed itself."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.core.intermediaries import MAX_CODES, read_report
from mcp_ws_ide.handlers.api.base import ApiHandler


class NetworkHandler(ApiHandler):
    """``api/network``."""

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
