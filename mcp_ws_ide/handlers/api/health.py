"""``api/health`` and ``api/openapi.json``: a summary of the gateway's state, and a description of this API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.handlers.api.base import ApiHandler
from mcp_ws_ide.version import __version__

OPENAPI: Final = Path(__file__).with_name("openapi.json")


class HealthHandler(ApiHandler):
    """``api/health``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get a summary of the gateway's state."""
        gateway, engine = self.runtime.gateway, self.runtime.engine
        stored = (
            None
            if engine is None
            else {"name": engine.name, "writes": not engine.problem, "problem": engine.problem}
        )
        self.finish(
            {
                "status": "closing" if gateway.closing else "ok",
                "version": __version__,
                "sessions": len(gateway.sessions),
                "links": sum(session.attached for session in gateway.sessions.values()),
                "processes": gateway.process_count(),
                "engine": stored,
            }
        )


class OpenApiHandler(ApiHandler):
    """``api/openapi.json``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get the OpenAPI description of this API."""
        self.set_header("Content-Type", "application/json")
        self.finish(OPENAPI.read_bytes())
