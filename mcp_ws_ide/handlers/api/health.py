"""``api/health`` and its like: the state of this gateway and of those it shares an engine with, for people and probes;
and ``api/openapi.json``, a description of this API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from mcp_ws_ide.handlers.api.base import ApiHandler
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.version import __version__

OPENAPI: Final = Path(__file__).with_name("openapi.json")


class HealthHandler(ApiHandler):
    """``api/health``."""

    async def _check_ready(self) -> None:
        """Wait for the engine to start, but answer also if it cannot: the answer tells why."""
        await self.runtime.refusal()

    def _status(self, problem: str) -> str:
        gateway = self.runtime.gateway
        if self.runtime.not_ready:
            return "refusing"
        if gateway.closing:
            return "closing"
        return "not_storing" if problem else "draining" if gateway.draining else "ok"

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get a summary of the gateway's state; with status 503 while the engine stores nothing."""
        gateway, engine = self.runtime.gateway, self.runtime.engine
        problem = self.runtime.engine_problem()
        stored = None if engine is None else {"name": engine.name, "writes": not problem, "problem": problem}
        if problem:
            self.set_header("Retry-After", "1")
            self.set_status(503)
        self.finish(
            {
                "status": self._status(problem),
                "version": __version__,
                "sessions": len(gateway.sessions),
                "links": sum(session.attached for session in gateway.sessions.values()),
                "processes": gateway.process_count(),
                "engine": stored,
            }
        )


class InstancesHandler(ApiHandler):
    """``api/instances``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get the gateways that share this one's engine."""
        fleet = self.runtime.fleet
        found = [] if fleet is None else fleet.instances.all
        self.finish(
            {
                "instances": [
                    {
                        **facts.public(),
                        "self": fleet is not None and facts.id == fleet.instances.id,
                        "problem": fleet.problems.get(facts.id, "") if fleet is not None else "",
                    }
                    for facts in found
                ]
            }
        )


class DrainHandler(ApiHandler):
    """``api/instances/{id}/drain``."""

    @web.authenticated
    @authorized("execute", resource="mcp-drain")
    async def post(self, instance: str) -> None:
        """Have a gateway give its sessions to the others, and accept no new ones."""
        fleet = self.runtime.fleet
        if fleet is None or (self.passed is not None and instance != fleet.instances.id):
            raise web.HTTPError(404, f"gateway {instance!r} does not exist")
        if instance != fleet.instances.id:
            if not await self.have_answered(instance, f"api/instances/{instance}/drain"):
                raise web.HTTPError(404, f"gateway {instance!r} does not exist, or has ended")
            return
        self.runtime.gateway.drain()
        self.set_status(202)
        self.finish({"to_drain": self.runtime.gateway.to_drain})


class LiveHandler(GatewayHandler):
    """``api/live``: for probes, without a credential and without a body."""

    @allow_unauthenticated
    async def get(self) -> None:
        """Learn whether the gateway answers."""
        self.answer_probe(True)

    def _log(self) -> None:
        """Log nothing: probes come every second, and the gateway has logged why it is not ready."""

    def answer_probe(self, good: bool) -> None:
        """Answer a probe; a page of any Origin gets nothing."""
        if "Origin" in self.request.headers:
            raise web.HTTPError(403)
        self.set_header("Cache-Control", "no-store")
        self.set_status(204 if good else 503)
        self.finish()


class ReadyHandler(LiveHandler):
    """``api/ready``: the same."""

    @allow_unauthenticated
    async def get(self) -> None:
        """Learn whether the gateway accepts sessions: its engine was started, and it does not drain or shut
        down.

        An engine that fails later does not count: it fails all gateways at once, and clients get a better answer than
        a balancer without servers.
        """
        runtime = self.runtime
        self.answer_probe(not runtime.not_ready and not runtime.gateway.draining)


class OpenApiHandler(ApiHandler):
    """``api/openapi.json``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get the OpenAPI description of this API."""
        self.set_header("Content-Type", "application/json")
        self.finish(OPENAPI.read_bytes())
