"""The gateway: puts servers, sessions and upstreams together, and shuts them down. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from mcp_ws_ide.config.secrets import known_secrets
from mcp_ws_ide.config.spec import ConfigProblem, Configuration, ServerSpec
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.engines.base import Engine, StoredSummary
from mcp_ws_ide.gateway.elsewhere import Elsewhere
from mcp_ws_ide.gateway.group import GroupTransport
from mcp_ws_ide.gateway.handed_out import ContinuedCall, HandedOut
from mcp_ws_ide.gateway.resumable import ResumableSession
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.server_registry import GROUPS_LABEL, ServerRegistry
from mcp_ws_ide.gateway.services import Limits, Services
from mcp_ws_ide.gateway.session import Session
from mcp_ws_ide.gateway.session_registry import DRAINING, SessionRegistry
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.gateway.stored_sessions import StoredSessions
from mcp_ws_ide.links.base import Link, LinkInfo, Rebindable
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.observe.metrics import Metrics, ServerGauges
from mcp_ws_ide.observe.redaction import Redactor
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.authorizations import Authorizations
from mcp_ws_ide.transports.processes import ProcessSupervisor

log = logging.getLogger(__name__)


class Gateway:
    """Carries sessions to servers. Make it on the event loop it runs on; end it with :meth:`aclose`.

    Args:
        authorizations: what users have authorized at remote servers; None if nothing can be authorized.
        redact_patterns: regular expressions of what the tap hides.
        secrets: values that the tap hides; those of every configuration so far are added.
        engine: stores resumable sessions, so that they outlive the gateway; None if nothing does.
        token_alive: returns whether a gateway token is neither revoked nor expired.

    Attributes:
        servers: the configured servers, by name.
        sessions: the live sessions, by id.
        http_sessions: handshake-era sessions over HTTP, by ``Mcp-Session-Id``.
        elsewhere: the other gateways of its engine; None if there are none.
        handed_out: the ``requestState`` values in results of single POSTs, noted where there are other gateways.
    """

    def __init__(
        self,
        limits: Limits,
        authorizations: Authorizations | None = None,
        redact_patterns: Sequence[str] = (),
        secrets: Iterable[str] = (),
        engine: Engine | None = None,
        token_alive: Callable[[str], bool] = lambda token_id: True,
    ) -> None:
        self._redact_patterns = redact_patterns
        self._secrets = set(secrets)
        self.authorizations = authorizations
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.tasks = TaskGroupOwner()
        self.tap = Tap(limits.tap_grace)
        self.metrics = Metrics()
        services = Services(limits, self.loop, self.tasks, self.metrics, self.tap)
        self._pool = SharedPool(services)
        self._supervisor = ProcessSupervisor()
        self.engine = engine
        self._stored = None if engine is None else StoredSessions(engine, self.tasks, self.find, token_alive)
        self.elsewhere: Elsewhere | None = None
        self.handed_out = HandedOut()
        self._sessions = SessionRegistry(services, self._pool, self._stored)
        self._servers = ServerRegistry(
            services, self._pool, self._supervisor, authorizations, self.group_transport
        )
        self.servers = self._servers.servers
        self.sessions = self._sessions.sessions
        self.http_sessions = self._sessions.http_sessions

    # --- servers --------------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        """Apply a configuration; live sessions keep the server they have."""
        self._secrets |= known_secrets(configuration.servers.values())
        self.tap.redactor = Redactor(self._redact_patterns, self._secrets)
        self._servers.configure(configuration)

    @property
    def problems(self) -> list[ConfigProblem]:
        """Problems found in the configuration."""
        return self._servers.problems

    @property
    def unread(self) -> list[ConfigProblem]:
        """Problems of whole files, which make their servers unknown."""
        return self._servers.unread

    def address(self, name: str) -> str:
        """Return the address of the one server that has this name as configured; any other name unchanged."""
        return self._servers.address(name)

    def find(self, name: str) -> Server | None:
        """Return the server of this name; ``+a+b`` names the group of the servers a and b."""
        return self._servers.find(name)

    def unlisted(self, spec: ServerSpec) -> Server:
        """Return a server that is in no configuration, to be tried."""
        return self._servers.unlisted(spec)

    def message_limit(self, spec: ServerSpec) -> int:
        """Return the longest message of a server in either direction, in bytes."""
        return self.limits.message_bytes(spec)

    @property
    def longest_message(self) -> int:
        """The longest message of any server, in bytes."""
        limits = [self.message_limit(server.spec) for server in self.servers.values()]
        return max([self.limits.max_message_bytes, *limits])

    def group_transport(self, group: Server, principal: str, stateless: bool) -> GroupTransport:
        """Return a transport to a group, not connected yet."""
        return GroupTransport(self.servers, self._sessions, group, principal, stateless=stateless)

    def process_count(self) -> int:
        """Return the number of server processes that run, start or end."""
        return self._servers.process_count()

    async def stop(self, server: Server) -> None:
        """End all processes of a server; nothing is started until it is restarted."""
        server.stopped = True
        await self._end_processes(server)

    async def restart(self, server: Server) -> int:
        """End all processes of a server, forget its era and its crashes; return how many there were."""
        server.stopped = False
        ended = await self._end_processes(server)
        if self.servers.get(server.name) is server:  # it may have been removed since
            self._servers.prewarm(server)
        return ended

    async def _end_processes(self, server: Server) -> int:
        upstreams = list(server.upstreams)
        ended = len(upstreams) + (len(server.prewarmed) if server.prewarmed is not None else 0)
        server.forget_crashes()
        server.forget()
        self._pool.forget(server)
        self._servers.end_prewarmed(server)
        for session in [s for s in self.sessions.values() if s.server is server]:
            session.attachments.server_restarted()
        await asyncio.gather(*(upstream.aclose() for upstream in upstreams))
        return ended

    # --- sessions -------------------------------------------------------------------------------

    def check_admission(self, principal: str, *, brief: bool = False) -> None:
        """Check that one more session of this principal fits (see :meth:`SessionRegistry.check_admission`); raise
        ``LimitExceededError`` if not."""
        self._sessions.check_admission(principal, brief=brief)

    def check_link_rate(self) -> None:
        """Count one more link; raise ``LimitExceededError`` if there are too many in this second."""
        self._sessions.check_link_rate()

    def open_session(self, server: Server, link: Link, info: LinkInfo) -> Session:
        """Open a session that ends with its link."""
        return self._sessions.open(server, link, info)

    def open_resumable_session(self, server: Server, link: Rebindable, info: LinkInfo) -> ResumableSession:
        """Open a session that may outlive its link."""
        return self._sessions.open_resumable(server, link, info)

    def open_http_session(self, server: Server, link: HttpLink, info: LinkInfo) -> Session:
        """Open a handshake-era session over HTTP."""
        return self._sessions.open_http(server, link, info)

    def session_of_token(
        self, token: str, digest: bytes, info: LinkInfo, server: str
    ) -> tuple[ResumableSession | None, str]:
        """Return the session that a resume token belongs to, or None and the reason why there is none."""
        return self._sessions.of_resume_token(token, digest, info, server)

    def may_be_stored(self, token: str) -> bool:
        """Return whether :meth:`restoring` may find the session that a resume token names."""
        return self._sessions.may_be_stored(token)

    def restoring(self, token: str, info: LinkInfo) -> AbstractAsyncContextManager[None]:
        """Take over the session that a resume token names, if it is stored (see :meth:`SessionRegistry.restoring`)."""
        return self._sessions.restoring(token, info)

    def sessions_of_principals(self, most: int) -> dict[str, int]:
        """Return the number of sessions of the principals that have the most, if the number of one is limited.

        Args:
            most: number of principals that are returned at most.
        """
        return self._sessions.busiest(most) if self.limits.max_sessions_per_principal else {}

    def join(self, elsewhere: Elsewhere) -> None:
        """Pass links on to other gateways, where those serve their sessions, and count a principal's sessions there."""
        assert self._stored is not None
        self._sessions.sessions_elsewhere = elsewhere.sessions_of
        self.elsewhere = self._stored.elsewhere = elsewhere

    @property
    def link_prefix(self) -> str:
        """How the ids of links begin that clients name in later requests, which may reach another gateway."""
        return "" if self.elsewhere is None else f"{self.elsewhere.instance}."

    def owner_of_link(self, link_id: str) -> str:
        """Return the other gateway that gave a link this id; ``""`` if there is none."""
        return "" if self.elsewhere is None else self.elsewhere.owner(link_id)

    def continues_elsewhere(self, state: ContinuedCall | None) -> bool:
        """Return whether another gateway may have handed out the ``requestState`` of a request."""
        return state is not None and self.elsewhere is not None and state not in self.handed_out

    async def waiting_sessions(self, principal: str) -> list[StoredSummary]:
        """Return a user's stored sessions whose clients are not back yet.

        Raises:
            EngineUnavailableError: they are not known.
        """
        if self._stored is None:
            return []
        return await self._stored.waiting(principal, self._sessions.stored_of(principal))

    async def end_waiting(self, session_id: str, principal: str, after: float) -> bool:
        """End such a session, at once or if its client does not return within ``after`` seconds; return whether this
        user has it.

        Raises:
            EngineUnavailableError: it is not known, or was not changed.
        """
        return self._stored is not None and await self._stored.end(session_id, principal, after)

    async def adopt_stored(self) -> None:
        """Let the stored sessions wait for their clients for the grace period; once, before the first link."""
        if self._stored is not None:
            await self._stored.adopt(self.limits.grace)

    def server_to_resume(self, name: str, principal: str) -> Server | None:
        """Return the server of this name on which a session of this principal may continue, even if the server was
        removed from the configuration or cannot be started now."""
        return self._sessions.server_to_resume(name, principal)

    def token_revoked(self, token_id: str) -> None:
        """End the sessions and watchers that a gateway token opened."""
        self._sessions.token_revoked(token_id)
        self.tap.end_token(token_id, CloseCode.REVOKED, "the gateway token was revoked")

    def token_expired(self, token_id: str) -> None:
        """Close the links and watchers that a gateway token opened; a resumable session may be resumed with another."""
        self._sessions.token_expired(token_id)
        self.tap.end_token(token_id, CloseCode.EXPIRED, "the gateway token has expired")

    # --- as a whole -----------------------------------------------------------------------------

    def drain(self) -> None:
        """Give all sessions away that other gateways of the engine can continue, and accept no new ones; the others
        go on until the gateway is shut down. Idempotent."""
        if self.draining:
            return
        log.info("the gateway drains; sessions that can move or have requests in flight: %d", self.to_drain)
        self.tasks.spawn(self._sessions.give_away(), "drain")
        self._sessions.draining = True
        if self.elsewhere is not None:
            self.elsewhere.close_links(DRAINING)

    @property
    def draining(self) -> bool:
        """Whether the gateway gives its sessions away, or is shutting down."""
        return self._sessions.draining

    @property
    def to_drain(self) -> int:
        """The number of sessions that :meth:`drain` gives away, or lets finish their requests."""
        return self._sessions.to_drain

    @property
    def closing(self) -> bool:
        """Whether the gateway is shutting down."""
        return self._sessions.closing

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second (``now``: ``time.monotonic``)."""
        self._sessions.tick(now)
        if self._stored is not None:
            self._stored.tick(now)
        for server in self._servers.all:
            for upstream in server.upstreams:
                upstream.tick(now)
        self.tap.tick(now)

    def gauges(self) -> dict[str, ServerGauges]:
        """Return the metrics that are sampled rather than counted, by server name."""
        reading = {name: ServerGauges() for name in self.metrics.servers}
        for session in self.sessions.values():
            gauges = reading[_label(session.server)]
            gauges.sessions[session.era] += 1
            gauges.links[session.era] += session.attached
            gauges.in_flight += len(session.core.pending)
            gauges.queued_bytes += session.queued_bytes
        for server in self._servers.all:
            gauges = reading[_label(server)]
            gauges.processes += server.process_count()
            gauges.queued_bytes += sum(upstream.queued_bytes for upstream in server.upstreams)
        self.metrics.tap_drops = self.tap.drops
        return reading

    async def aclose(self, timeout: float = 3.0) -> None:
        """End everything: refuse new requests, let running ones finish, close links with 1001 (1012 if the client can
        resume), end servers by EOF, then by signals.

        Bounded by about ``drain_timeout`` + ``timeout`` s.
        """
        if self.elsewhere is not None:
            self.elsewhere.close_links(DRAINING)
        await self._sessions.drain()
        servers = self._servers.all
        ends = [upstream.aclose() for server in servers for upstream in list(server.upstreams)]
        ends += [server.prewarmed.aclose() for server in servers if server.prewarmed is not None]
        closing = asyncio.gather(*ends, return_exceptions=True)
        try:
            async with asyncio.timeout(timeout):
                await closing
        except TimeoutError:
            log.warning("servers did not exit within %s s; the supervisor kills them", timeout)
        finally:
            if self.authorizations is not None:
                await self.authorizations.aclose()
            await self._supervisor.aclose()
            await self.tasks.aclose(timeout=1.0)


def _label(server: Server) -> str:
    """Return the name of a server in the metrics."""
    return GROUPS_LABEL if server.name.startswith("+") else server.name
