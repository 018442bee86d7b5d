"""The gateway: owns servers, sessions, upstreams and tasks; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mcp_ws_ide.config.environment import child_environment
from mcp_ws_ide.config.secrets import known_secrets
from mcp_ws_ide.config.spec import MAX_MEMBERS, ConfigProblem, Configuration, ServerSpec
from mcp_ws_ide.core.binding import CloseCode, Window
from mcp_ws_ide.core.resume import GatewayEnd
from mcp_ws_ide.errors import LimitExceeded
from mcp_ws_ide.gateway.group import GroupTransport
from mcp_ws_ide.gateway.prewarm import WarmPool
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.session import Session
from mcp_ws_ide.gateway.shared import SharedUpstream
from mcp_ws_ide.links.base import Link, LinkInfo
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.observe.metrics import Metrics, ServerCounters, ServerGauges
from mcp_ws_ide.observe.redaction import Redactor
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.tokens import new_resume_token
from mcp_ws_ide.transports import TRANSPORTS, Supplies, Transport, make_transport
from mcp_ws_ide.transports.oauth import Authorizations
from mcp_ws_ide.transports.processes import ProcessSupervisor

UNKNOWN_SESSION: Final = "no such session: it ended, expired, or was never yours"
"""One answer for every token that opens nothing: it tells a stranger nothing."""
REMEMBERED_ENDS: Final = 1000
"""Ended sessions whose reason is kept, for clients that come back too late."""
MAX_GROUPS: Final = 256
"""Groups named by URLs that are kept at once; unused ones give way."""
GROUPS_LABEL: Final = "+"
"""What stands for all of them in the metrics."""
DRAIN_POLL: Final = 0.05
"""Seconds between two looks whether the last requests were answered."""

log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the gateway; each is a trait of the same name (docs/configuration.md)."""

    max_sessions: int = 10_000
    max_sessions_per_principal: int = 10_000
    max_processes: int = 64
    max_in_flight: int = 1024
    max_message_bytes: int = 10 << 20
    max_queued_bytes: int = 16 << 20
    max_links_per_second: int = 0
    idle_timeout: float = 60.0
    probe_timeout: float = 10.0
    park_timeout: float = 600.0
    grace: float = 900.0
    window_frames: int = 4096
    window_bytes: int = 4 << 20
    hello_timeout: float = 30.0
    drain_timeout: float = 2.0
    oauth_timeout: float = 300.0
    tap_grace: float = 60.0


class Gateway:
    """Carries sessions to servers. Make it on the event loop it runs on; end it with :meth:`aclose`."""

    def __init__(
        self,
        limits: Limits,
        authorizations: Authorizations | None = None,
        redact_patterns: Sequence[str] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        self.limits = limits
        self._redact_patterns = redact_patterns
        self._secrets = set(secrets)
        """Values that nobody may be shown; those of every configuration so far are added."""
        self.authorizations = authorizations
        """What users have authorized at remote servers; None where nothing can be authorized."""
        self.loop = asyncio.get_running_loop()
        self.tasks = TaskGroupOwner()
        self.tap = Tap(limits.tap_grace)
        self.metrics = Metrics()
        self.servers: dict[str, Server] = {}
        self.sessions: dict[str, Session] = {}
        self.problems: list[ConfigProblem] = []
        self.unread: list[ConfigProblem] = []
        """Those that are of a whole file, whose servers nobody knows."""
        self.closing = False
        self._per_principal: dict[str, int] = {}
        self._retired: set[Server] = set()
        self._supervisor = ProcessSupervisor()
        self.ack_due: set[Session] = set()
        """Resumable sessions that owe their client an acknowledgement."""
        self._detached: set[Session] = set()
        self._ends: OrderedDict[str, tuple[Session, str]] = OrderedDict()
        self._links_this_second = (0, 0)
        self._groups: dict[str, Server] = {}
        self.http_sessions: dict[str, Session] = {}
        """Handshake-era HTTP sessions by ``Mcp-Session-Id``."""

    # --- configuration --------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        """Take over a configuration; sessions that live keep the server they have."""
        self._secrets |= known_secrets(configuration.servers.values())
        self.tap.redactor = Redactor(self._redact_patterns, self._secrets)
        self.problems, self.unread = list(configuration.problems), list(configuration.unread)
        for name in [name for name in self.servers if name not in configuration.servers]:
            self._retire(self.servers.pop(name))
        for name, spec in configuration.servers.items():
            known = self.servers.get(name)
            if known is not None and known.spec == spec:
                continue
            if known is not None:
                self._retire(known)
            server = Server(spec, self.metrics.server(name), self._make_transport, time.monotonic)
            self.servers[name] = server
            self._prewarm(server)

    def _prewarm(self, server: Server) -> None:
        """Start processes ahead, unless that is done already."""
        if server.spec.prewarm and _has_process(server) and server.refusal is None and server.warm is None:
            server.warm = WarmPool(self, server)
            server.warm.fill()

    def _end_prewarmed(self, server: Server) -> None:
        """End the processes that were started ahead; returns at once."""
        pool, server.warm = server.warm, None
        if pool is not None:
            self.tasks.spawn(pool.aclose(), f"end what waits of {server.name}")

    def _retire(self, server: Server) -> None:
        """No new session gets it; it goes with its last one."""
        in_use = {session.server for session in self.sessions.values()}
        self._retired = {old for old in self._retired if old.upstreams or old in in_use}
        self._retired.add(server)
        self._end_prewarmed(server)
        for upstream in list(server.shared.values()):
            if not upstream.users:
                upstream.close()

    def message_limit(self, spec: ServerSpec) -> int:
        """Longest message of a server, in bytes, in either direction."""
        return int(spec.limits.get("max_message_bytes", self.limits.max_message_bytes))

    def _make_transport(self, spec: ServerSpec, principal: str) -> Transport:
        environment = child_environment(spec, os.environ)
        limit = self.message_limit(spec)
        supplies = Supplies(self._supervisor, environment, limit, principal, self.authorizations)
        return make_transport(spec, supplies)

    def unlisted(self, spec: ServerSpec) -> Server:
        """A server of which nobody else knows, to be tried."""
        return Server(spec, ServerCounters(), self._make_transport, time.monotonic)

    def find(self, name: str) -> Server | None:
        """The server of this name; ``+a+b`` is the group of the servers a and b."""
        if not name.startswith("+"):
            return self.servers.get(name)
        members = tuple(dict.fromkeys(part for part in name.split("+") if part))
        if not members or len(members) > MAX_MEMBERS or any(m not in self.servers for m in members):
            return None
        canonical = "+" + "+".join(members)
        if canonical not in self._groups:
            if len(self._groups) >= MAX_GROUPS:
                self._forget_groups()
            spec = ServerSpec(canonical, "the URL", "group", group=members)
            counters = self.metrics.server(GROUPS_LABEL)
            self._groups[canonical] = Server(spec, counters, self._make_transport, time.monotonic)
        return self._groups[canonical]

    def _forget_groups(self) -> None:
        """Forget those nobody uses; the others stay until their last session ends."""
        in_use = {session.server for session in self.sessions.values()}
        kept = {name: group for name, group in self._groups.items() if group in in_use or group.upstreams}
        self._groups = kept

    def group_transport(self, server: Server, principal: str, *, stateless: bool) -> GroupTransport:
        """A new attachment to a group."""
        return GroupTransport(self, server.name, server.members, principal, stateless=stateless)

    @property
    def all_servers(self) -> tuple[Server, ...]:
        """Those configured, those retired that still serve, and groups named by URLs."""
        return (*self.servers.values(), *self._retired, *self._groups.values())

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

    def check_link_rate(self) -> None:
        """Count one more link.

        Raises:
            LimitExceeded: there are too many in this second.
        """
        limit = self.limits.max_links_per_second
        second, count = self._links_this_second
        now = int(time.monotonic())
        count = count + 1 if second == now else 1
        self._links_this_second = (now, count)
        if limit and count > limit:
            raise LimitExceeded(
                "max_links_per_second", f"more than {limit} links in a second (max_links_per_second)"
            )

    def open_session(self, server: Server, link: Link, info: LinkInfo, *, resumable: bool = False) -> Session:
        """A session for a link that has just been opened."""
        session = Session(self, server, link, info)
        if resumable:
            token, digest = new_resume_token(session.id)
            window = Window(self.limits.window_frames, self.limits.window_bytes)
            # Answers to what may be in flight must never end a session whose client is there.
            live = Window(4 * self.limits.max_in_flight, self.limits.max_queued_bytes)
            session.resumption = GatewayEnd(link, digest, window, self.limits.grace, live)
            link.send(session.resumption.opened(session.id, token, self.message_limit(server.spec)))
        self.sessions[session.id] = session
        self._per_principal[info.principal] = self._per_principal.get(info.principal, 0) + 1
        if info.link != "http":
            log.info("session %s opened: server %s, from %s", session.id, server.name, info.remote)
        session.observe("link_opened", f"{info.remote} {info.user_agent}")
        return session

    def open_http_session(self, server: Server, link: HttpLink, info: LinkInfo) -> Session:
        """A handshake-era session over HTTP."""
        session = self.open_session(server, link, info)
        self.http_sessions[link.id] = session
        return session

    def session_of_token(
        self, token: str, digest: bytes, principal: str, server: str
    ) -> tuple[Session | None, str]:
        """The session a resume token belongs to; None and the reason if there is none.

        Another principal's token, or one of another server, reads exactly as an unknown one.
        """
        session_id = token.partition(".")[0]
        session = self.sessions.get(session_id)
        words = UNKNOWN_SESSION
        if session is None and session_id in self._ends:
            session, words = self._ends[session_id]
        if (
            session is None
            or session.resumption is None
            or not session.resumption.knows(digest)
            or session.info.principal != principal
            or session.server.name != server
        ):
            return None, UNKNOWN_SESSION
        return (None, words) if session.ended else (session, "")

    def server_to_resume(self, name: str, principal: str) -> Server | None:
        """The server of this name on which a principal's session may go on, though it was taken out of the
        configuration or cannot be started now."""
        for session in self.sessions.values():
            if session.server.name == name and session.info.principal == principal and session.resumption:
                return session.server
        return None

    def session_detached(self, session: Session, code: int, reason: str) -> None:
        """A resumable session has lost its link."""
        self._detached.add(session)
        log.info("session %s detached: %s %s", session.id, code, reason)
        session.observe("link_lost", f"{code} {reason}")

    def session_attached(self, session: Session, replayed: int) -> None:
        """A resumable session has a new link."""
        self._detached.discard(session)
        self.metrics.resumes["resumed"] += 1
        self.metrics.replayed += replayed
        log.info("session %s resumed: %d messages replayed", session.id, replayed)
        session.observe("resumed", f"{replayed} replayed")

    def tick(self, now: float) -> None:
        """Once a second (``now``: ``time.monotonic``): acknowledgements, and the end of the grace time."""
        due, self.ack_due = self.ack_due, set()
        for session in due:
            session.send_ack()
        for session in [s for s in self._detached if s.resumption and s.resumption.expired(now)]:
            self.metrics.resumes["expired"] += 1
            assert session.resumption is not None
            patience = session.resumption.patience
            session.end(CloseCode.GONE, f"nobody came back within {patience:g} s (grace)")
        self._expire_http(now)
        for server in self.all_servers:
            for upstream in server.upstreams:
                upstream.tick(now)
        self.tap.tick(now)

    def _expire_http(self, now: float) -> None:
        """HTTP clients do not say goodbye: a session nobody has used for the grace time is over."""
        for session in list(self.http_sessions.values()):
            link = session.http_link
            if link is not None and link.idle and now - link.last_used > self.limits.grace:
                session.end(CloseCode.GONE, f"not used for {self.limits.grace:g} s (grace)")

    def session_ended(self, session: Session, code: int, reason: str) -> None:
        """Called once by each session when it ends."""
        del self.sessions[session.id]
        self._detached.discard(session)
        self.ack_due.discard(session)
        if (link := session.http_link) is not None:
            self.http_sessions.pop(link.id, None)
        if session.resumption is not None and code != CloseCode.NORMAL:
            self._remember_end(session, reason)
        principal = session.info.principal
        left = self._per_principal[principal] - 1
        if left:
            self._per_principal[principal] = left
        else:
            del self._per_principal[principal]
        if session.info.link != "http":  # an exchange is as frequent as a call
            log.info("session %s closed: %s %s", session.id, code, reason)
        session.observe("link_closed", f"{code} {reason}")

    def _remember_end(self, session: Session, reason: str) -> None:
        assert session.resumption is not None
        session.resumption.forget()
        self._ends[session.id] = (session, f"the session ended: {reason}")
        if len(self._ends) > REMEMBERED_ENDS:
            self._ends.popitem(last=False)

    def token_revoked(self, token_id: str) -> None:
        """End the sessions that a gateway token opened."""
        for session in self._sessions_of_token(token_id):
            session.end(CloseCode.REVOKED, "the gateway token was revoked")
        self.tap.end_token(token_id, CloseCode.REVOKED, "the gateway token was revoked")

    def token_expired(self, token_id: str) -> None:
        """Close the links that a gateway token opened; a resumable session may come back with another."""
        for session in self._sessions_of_token(token_id):
            if session.http_link is not None:  # it has no link to come back on
                session.end(CloseCode.EXPIRED, "the gateway token has expired")
            else:
                session.close_link(CloseCode.EXPIRED, "the gateway token has expired")
        self.tap.end_token(token_id, CloseCode.EXPIRED, "the gateway token has expired")

    def _sessions_of_token(self, token_id: str) -> list[Session]:
        return [session for session in self.sessions.values() if session.info.token_id == token_id]

    # --- upstreams ------------------------------------------------------------------------------

    def check_processes(self, server: Server, wanted: int = 0) -> None:
        """Whether the server processes there are, and ``wanted`` more of ``server``, fit. A server that is
        reached without a process of its own always does.

        Raises:
            LimitExceeded: they do not.
        """
        if not _has_process(server):
            return
        count = sum(_processes(server, ending=False) for server in self.all_servers) + wanted
        if count > self.limits.max_processes:
            raise LimitExceeded("max_processes", f"{count - 1} server processes are running (max_processes)")

    def process_count(self) -> int:
        """Server processes that run or start."""
        return sum(_processes(server) for server in self.all_servers)

    def shared_upstream(self, server: Server, principal: str) -> SharedUpstream:
        """The upstream that a principal's modern sessions share; started when there is none."""
        upstream = server.shared.get(principal)
        if upstream is None or upstream.closed:
            upstream = server.shared[principal] = SharedUpstream(self, server, principal)
            upstream.start()
        return upstream

    async def stop(self, server: Server) -> None:
        """End every process of a server; nothing is started until it is restarted."""
        server.stopped = True
        await self._end_processes(server)

    async def restart(self, server: Server) -> int:
        """End every process of a server and forget what was learnt about it; how many there were."""
        server.stopped = False
        ended = await self._end_processes(server)
        if self.servers.get(server.name) is server:  # it may have been taken out meanwhile
            self._prewarm(server)
        return ended

    async def _end_processes(self, server: Server) -> int:
        upstreams = list(server.upstreams)
        ended = len(upstreams) + (len(server.warm) if server.warm is not None else 0)
        server.crash_loop.reset()
        server.forget()
        server.shared.clear()
        self._end_prewarmed(server)
        for session in [s for s in self.sessions.values() if s.server is server]:
            session.server_restarted()
        await asyncio.gather(*(upstream.aclose() for upstream in upstreams))
        return ended

    # --- as a whole -----------------------------------------------------------------------------

    def gauges(self) -> dict[str, ServerGauges]:
        """A reading for the metrics."""
        reading = {name: ServerGauges() for name in self.metrics.servers}
        for session in self.sessions.values():
            gauges = reading[_label(session.server)]
            gauges.sessions[session.era] += 1
            gauges.links[session.era] += session.attached
            gauges.in_flight += len(session.core.pending)
            gauges.queued_bytes += session.queued_bytes
        for server in self.all_servers:
            gauges = reading[_label(server)]
            gauges.processes += _processes(server)
            gauges.queued_bytes += sum(upstream.queued_bytes for upstream in server.upstreams)
        self.metrics.tap_drops = self.tap.drops
        return reading

    async def _drain(self) -> None:
        """Let requests finish, at most ``drain_timeout`` s; end each session as soon as it has none."""
        end = time.monotonic() + self.limits.drain_timeout
        while self.sessions:
            over = time.monotonic() >= end
            for session in list(self.sessions.values()):
                if over or not session.core.pending:
                    session.end_for_shutdown()
            if self.sessions:
                await asyncio.sleep(DRAIN_POLL)

    async def aclose(self, timeout: float = 3.0) -> None:
        """End everything: new requests are refused, running ones may finish, then links are closed with 1001
        (1012 where the client can come back), servers end by EOF, then by force. Bounded by about
        ``drain_timeout`` + ``timeout`` s."""
        self.closing = True
        await self._drain()
        upstreams = [u for server in self.all_servers for u in server.upstreams]
        ends = [upstream.aclose() for upstream in upstreams]
        ends += [server.warm.aclose() for server in self.all_servers if server.warm is not None]
        closing = asyncio.gather(*ends, return_exceptions=True)
        try:
            async with asyncio.timeout(timeout):
                await closing
        except TimeoutError:
            log.warning("servers did not end within %s s; the supervisor ends them by force", timeout)
        finally:
            if self.authorizations is not None:
                await self.authorizations.aclose()
            await self._supervisor.aclose()
            await self.tasks.aclose(timeout=1.0)


def _label(server: Server) -> str:
    """What a server is called in the metrics."""
    return GROUPS_LABEL if server.name.startswith("+") else server.name


def _processes(server: Server, *, ending: bool = True) -> int:
    """Processes that serve, start or wait to be taken; and those that are being ended."""
    if not _has_process(server):
        return 0
    upstreams = sum(ending or not upstream.closing for upstream in server.upstreams)
    return upstreams + (len(server.warm) if server.warm is not None else 0)


def _has_process(server: Server) -> bool:
    made = TRANSPORTS.get(server.spec.kind)  # a group has none of its own
    return made is not None and made.process
