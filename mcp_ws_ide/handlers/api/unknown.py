"""Every path below ``mcp-ws/`` at which there is nothing."""

from __future__ import annotations

from tornado import web

from mcp_ws_ide.handlers.api.base import ApiHandler


class UnknownHandler(ApiHandler):
    """Refuses all methods, with the checks of REST before a body is read."""

    @web.authenticated
    async def get(self) -> None:
        """Refuse the request."""
        raise web.HTTPError(404, "there is nothing at this address; mcp-ws/api/openapi.json lists the API")

    head = post = put = patch = delete = options = get
