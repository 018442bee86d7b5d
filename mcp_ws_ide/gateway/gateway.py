"""The gateway: owns servers, sessions, upstreams and tasks; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from mcp_ws_ide.binding import CloseCode
from mcp_ws_ide.config import Configuration, ServerSpec, child_environment
from mcp_ws_ide.errors import LimitExceeded
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.session import Link, LinkInfo, Session
from mcp_ws_ide.gateway.upstream import SharedUpstream
from mcp_ws_ide.metrics import Metrics, ServerGauges
from mcp_ws_ide.tap import Tap
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.base import Transport
from mcp_ws_ide.transports.processes import ProcessSupervisor
from mcp_ws_ide.transports.stdio import StdioTransport

log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the gateway; each is a trait of the same name (docs/configuration.md)."""

    max_sessions: int = 10_000
    max_sessions_per_principal: int = 10_000
    max_processes: int = 64
    max_in_flight: int = 1024
    max_message_bytes: int = 10 << 20
    idle_timeout: float = 60.0
    probe_timeout: float = 10.0


class Gateway:
    """Carries sessions to servers. Make it on the event loop it runs on; end it with :meth:`aclose`."""

    def __init__(self, limits: Limits, on_activity: Callable[[], None] = lambda: None) -> None:
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.tasks = TaskGroupOwner()
        self.tap = Tap()
        self.metrics = Metrics()
        self.servers: dict[str, Server] = {}
        self.sessions: dict[str, Session] = {}
        self.problems: list[Any] = []
        self.closing = False
        self.on_activity = on_activity
        self._per_principal: dict[str, int] = {}
        self._retired: set[Server] = set()
        self._supervisor = ProcessSupervisor()

    # --- configuration --------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        """Take over a configuration; sessions that live keep the server they have."""
        self.problems = list(configuration.problems)
        for name in [name for name in self.servers if name not in configuration.servers]:
            self._retire(self.servers.pop(name))
        for name, spec in configuration.servers.items():
            known = self.servers.get(name)
            if known is not None and known.spec == spec:
                continue
            if known is not None:
                self._retire(known)
            self.servers[name] = Server(spec, self.metrics.server(name), self._make_transport, time.monotonic)

    def _retire(self, server: Server) -> None:
        """No new session gets it; it goes with its last one."""
        self._retired = {old for old in self._retired if old.upstreams}
        self._retired.add(server)
        for upstream in list(server.shared.values()):
            if not upstream.users:
                upstream.close()

    def _make_transport(self, spec: ServerSpec) -> Transport:
        assert spec.command is not None
        limit = spec.limits.get("max_message_bytes", self.limits.max_message_bytes)
        return StdioTransport(
            self._supervisor,
            command=spec.command,
            args=list(spec.args),
            env=child_environment(spec, os.environ),
            cwd=spec.cwd,
            max_message_bytes=int(limit),
            name=spec.name,
        )

    # --- sessions -------------------------------------------------------------------------------

    def check_admission(self, principal: str) -> None:
        """Whether one more session fits.

        Raises:
            LimitExceeded: it does not; the text names the trait to raise.
        """
        if self.closing:
            raise LimitExceeded("closing", "the gateway is shutting down")
        if len(self.sessions) >= self.limits.max_sessions:
            raise LimitExceeded("max_sessions", f"{len(self.sessions)} sessions are open (max_sessions)")
        if self._per_principal.get(principal, 0) >= self.limits.max_sessions_per_principal:
            words = f"you have {self.limits.max_sessions_per_principal} sessions open (max_sessions_per_principal)"
            raise LimitExceeded("max_sessions_per_principal", words)

    def open_session(self, server: Server, link: Link, info: LinkInfo) -> Session:
        """A session for a link that has just been opened."""
        session = Session(self, server, link, info)
        self.sessions[session.id] = session
        self._per_principal[info.principal] = self._per_principal.get(info.principal, 0) + 1
        log.info("session %s opened: server %s, from %s", session.id, server.name, info.remote)
        self.tap.event(
            info.principal, server.name, session.id, "link_opened", f"{info.remote} {info.user_agent}"
        )
        return session

    def session_ended(self, session: Session, code: int, reason: str) -> None:
        """Called once by each session when it ends."""
        del self.sessions[session.id]
        principal = session.info.principal
        left = self._per_principal[principal] - 1
        if left:
            self._per_principal[principal] = left
        else:
            del self._per_principal[principal]
        log.info("session %s closed: %s %s", session.id, code, reason)
        self.tap.event(principal, session.server.name, session.id, "link_closed", f"{code} {reason}")

    def close_links_of_token(self, token_id: str, code: CloseCode, reason: str) -> None:
        """End the sessions that a revoked or expired gateway token opened."""
        for session in [s for s in self.sessions.values() if s.info.token_id == token_id]:
            session.end(code, reason)

    # --- upstreams ------------------------------------------------------------------------------

    def check_processes(self, wanted: int = 0) -> None:
        """Whether the server processes there are, and ``wanted`` more, fit.

        Raises:
            LimitExceeded: it does not.
        """
        count = self.process_count() + wanted
        if count > self.limits.max_processes:
            raise LimitExceeded("max_processes", f"{count - 1} server processes are running (max_processes)")

    def process_count(self) -> int:
        """Server processes that run or start."""
        servers = (*self.servers.values(), *self._retired)
        return sum(len(server.upstreams) for server in servers)

    def shared_upstream(self, server: Server, principal: str) -> SharedUpstream:
        """The upstream that a principal's modern sessions share; started when there is none."""
        upstream = server.shared.get(principal)
        if upstream is None or upstream.closed:
            upstream = server.shared[principal] = SharedUpstream(self, server, principal)
            upstream.start()
        return upstream

    async def restart(self, server: Server) -> None:
        """End every process of a server and forget what was learnt about it."""
        upstreams = list(server.upstreams)
        server.crash_loop.reset()
        server.era = None
        server.shared.clear()
        for session in [s for s in self.sessions.values() if s.server is server and s.era == "legacy"]:
            session.end(CloseCode.UPSTREAM_ENDED, "the server was restarted by its owner")
        await asyncio.gather(*(upstream.aclose() for upstream in upstreams))

    # --- as a whole -----------------------------------------------------------------------------

    def gauges(self) -> dict[str, ServerGauges]:
        """A reading for the metrics."""
        reading = {name: ServerGauges() for name in self.metrics.servers}
        for session in self.sessions.values():
            gauges = reading[session.server.name]
            gauges.sessions[session.era] += 1
            gauges.links[session.era] += 1
            gauges.in_flight += len(session.core.pending)
            gauges.queued_bytes += session.queued_bytes
        for server in (*self.servers.values(), *self._retired):
            gauges = reading[server.name]
            gauges.processes += len(server.upstreams)
            gauges.queued_bytes += sum(upstream.queued_bytes for upstream in server.upstreams)
        self.metrics.tap_drops = self.tap.drops
        return reading

    async def aclose(self, timeout: float = 4.0) -> None:
        """End everything: links with 1001, servers by EOF, then by force. Bounded by about ``timeout`` s."""
        self.closing = True
        for session in list(self.sessions.values()):
            session.end(CloseCode.GOING_AWAY, "the gateway is shutting down")
        upstreams = [u for server in (*self.servers.values(), *self._retired) for u in server.upstreams]
        closing = asyncio.gather(*(upstream.aclose() for upstream in upstreams), return_exceptions=True)
        try:
            async with asyncio.timeout(timeout):
                await closing
        except TimeoutError:
            log.warning("servers did not end within %s s; the supervisor ends them by force", timeout)
        finally:
            await self._supervisor.aclose()
            await self.tasks.aclose(timeout=1.0)
