"""All sessions: admits them, finds them again, and ends those that are detached or unused for too long.

Knows nothing of upstreams and configuration; a :class:`~mcp_ws_ide.gateway.gateway.Gateway` has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.multiplexer import LISTEN
from mcp_ws_ide.engines.base import Engine, StoredSession
from mcp_ws_ide.errors import LimitExceededError
from mcp_ws_ide.gateway.durable import DurableSession
from mcp_ws_ide.gateway.message_rates import MessageRates
from mcp_ws_ide.gateway.resumable import ResumableSession
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.session import Session
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.gateway.stored_sessions import StoredSessions
from mcp_ws_ide.gateway.stored_state import info_of
from mcp_ws_ide.links.base import Link, LinkInfo, Rebindable
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.turnstile import Turnstile

UNKNOWN_SESSION: Final = "session not found: it ended, expired, or belongs to another user"
"""The reason for every token that resumes no session: always the same, so that it reveals nothing."""
REMEMBERED_ENDS: Final = 1000
"""Ended sessions whose reason is kept, for clients that return too late."""
STORE_TIMEOUT: Final = 1.0
"""Seconds after ``drain_timeout`` in which the last messages of a session must be stored at a shutdown."""
DRAINING: Final = "the gateway is draining; connect again to reach another"
"""Why links are closed and sessions refused."""
DRAIN_POLL: Final = 0.05
"""Seconds between two checks whether the last requests were answered."""

log = logging.getLogger(__name__)


class SessionRegistry:
    """The sessions of one gateway; implements :class:`~mcp_ws_ide.gateway.resumable.ResumableOwner`.

    Attributes:
        sessions: by session id.
        http_sessions: handshake-era sessions over HTTP, by ``Mcp-Session-Id``.
        draining: whether the gateway gives its sessions away and accepts no new ones.
        closing: whether it is shutting down.
        ack_due: resumable sessions that have something to acknowledge within a second.
        sessions_elsewhere: returns how many sessions a principal has at other gateways.
    """

    def __init__(self, services: Services, pool: SharedPool, stored: StoredSessions | None = None) -> None:
        self.sessions: dict[str, Session] = {}
        self.http_sessions: dict[str, Session] = {}
        self.draining = self.closing = False
        self.ack_due: set[ResumableSession] = set()
        self._services = services
        self._limits = services.limits
        self._metrics = services.metrics
        self._pool = pool
        self._stored = stored
        self.sessions_elsewhere: Callable[[str], int] = lambda principal: 0
        self._rates = MessageRates(services.limits.max_messages_per_second)
        self._detached: set[ResumableSession] = set()
        self._ends: OrderedDict[str, tuple[ResumableSession, str]] = OrderedDict()
        self._links_this_second = (0, 0)

    # --- admission ------------------------------------------------------------------------------

    def check_admission(self, principal: str, *, brief: bool = False, taken_over: bool = False) -> None:
        """Check that one more session of this principal fits.

        Args:
            taken_over: whether it comes from another gateway, which may still count it.
            brief: whether it ends with its first request, so that a gateway that drains can still serve it.

        Raises:
            LimitExceededError: it does not; the text names the trait to raise.
        """
        if self.closing:
            raise LimitExceededError("closing", "the gateway is shutting down")
        if self.draining and not brief:
            raise LimitExceededError("draining", DRAINING)
        most = self._limits.max_sessions
        if len(self.sessions) >= most:
            text = f"max_sessions ({most}) is reached; end a session or raise MCPWebSocketApp.max_sessions"
            raise LimitExceededError("max_sessions", text)
        most = self._limits.max_sessions_per_principal
        elsewhere = 0 if taken_over or not most else self.sessions_elsewhere(principal)
        if 0 < most <= self._rates.sessions(principal) + elsewhere:
            raise LimitExceededError(
                "max_sessions_per_principal",
                f"you have {most} sessions; end one on the page under Sessions, or raise "
                "MCPWebSocketApp.max_sessions_per_principal",
            )

    def busiest(self, most: int) -> dict[str, int]:
        """Return the number of sessions of the principals that have the most, at most so many principals."""
        return self._rates.busiest(most)

    def check_link_rate(self) -> None:
        """Count one more link.

        Raises:
            LimitExceededError: there are too many in this second.
        """
        limit = self._limits.max_links_per_second
        second, count = self._links_this_second
        now = int(time.monotonic())
        count = count + 1 if second == now else 1
        self._links_this_second = (now, count)
        if limit and count > limit:
            raise LimitExceededError(
                "max_links_per_second",
                f"more than {limit} links in one second; wait or raise MCPWebSocketApp.max_links_per_second",
            )

    # --- open and find --------------------------------------------------------------------------

    def open(self, server: Server, link: Link, info: LinkInfo) -> Session:
        """Open a session that ends with its link."""
        session = Session(self._services, self, self._pool, server, link, info)
        self._add(session)
        return session

    def open_resumable(self, server: Server, link: Rebindable, info: LinkInfo) -> ResumableSession:
        """Open a session that may outlive its link."""
        if self._stored is not None:
            durable = DurableSession(
                self._services, self._stored.engine, self, self._pool, server, link, info
            )
            self._add(durable)
            self._services.tasks.spawn(durable.store(), "store a session")
            return durable
        session = ResumableSession(self._services, self, self._pool, server, link, info)
        self._add(session)
        return session

    def open_http(self, server: Server, link: HttpLink, info: LinkInfo) -> Session:
        """Open a handshake-era session over HTTP."""
        session = self.open(server, link, info)
        self.http_sessions[link.id] = session
        return session

    def _add(self, session: Session) -> None:
        info, server = session.info, session.server
        self.sessions[session.id] = session
        if (throttled := self._rates.opened(info.principal)) is not None:
            session.core.throttle(throttled)
        server.sessions += 1
        if session.restored:
            return session.observe("restored", "another gateway process opened this session")
        if info.link != "http":
            log.info("session %s opened: server %s, from %s", session.id, server.name, info.remote)
        session.observe("link_opened", f"{info.remote} {info.user_agent}")

    def of_resume_token(
        self, token: str, digest: bytes, info: LinkInfo, server: str
    ) -> tuple[ResumableSession | None, str]:
        """Return the session that a resume token belongs to, or None and the reason why there is none.

        A token of another principal, or for another server, reads exactly as an unknown one; so does any that comes
        with a gateway token for fewer tools than the session was opened with: its replay may hold what is hidden.
        """
        session_id = token.partition(".")[0]
        session, reason = self.sessions.get(session_id), UNKNOWN_SESSION
        if session is None and session_id in self._ends:
            session, reason = self._ends[session_id]
        if (
            not isinstance(session, ResumableSession)
            or not session.resumption.knows(digest)
            or session.info.principal != info.principal
            or session.server.name != server
            or info.tools not in (None, session.info.tools)
        ):
            return None, UNKNOWN_SESSION
        return (None, reason) if session.ended else (session, "")

    def server_to_resume(self, name: str, principal: str) -> Server | None:
        """Return the server of this name on which a session of this principal may continue, even if the server was
        removed from the configuration or cannot be started now."""
        for session in self.sessions.values():
            resumable = isinstance(session, ResumableSession)
            if resumable and session.server.name == name and session.info.principal == principal:
                return session.server
        return None

    def may_be_stored(self, token: str) -> bool:
        """Return whether the session that a resume token names is not in memory, and neither is its end."""
        session_id = token.partition(".")[0]
        if self._stored is None:
            return False
        return self._stored.is_restoring(session_id) or not self._knows(session_id)

    def stored_of(self, principal: str) -> set[str]:
        """Return the ids of a user's sessions in this gateway that are also stored."""
        sessions = self.sessions.values()
        return {s.id for s in sessions if isinstance(s, DurableSession) and s.info.principal == principal}

    def _knows(self, session_id: str) -> bool:
        return session_id in self.sessions or session_id in self._ends

    @contextlib.asynccontextmanager
    async def restoring(self, token: str, info: LinkInfo) -> AsyncIterator[None]:
        """Take over the session that a resume token names, if it is stored; the client resumes it within the block.

        Raises:
            LimitExceededError: there is no room for it.
            EngineUnavailableError: whether it exists is not known.
            SessionLostError: it cannot be used any more; the text is the reason.
        """
        session_id = token.partition(".")[0]
        assert self._stored is not None
        async with self._stored.turn(session_id):
            if not self._knows(session_id):
                self.check_admission(info.principal, taken_over=True)
                await self._stored.restore(session_id, info.principal, self._add_restored)
            yield

    def _add_restored(self, engine: Engine, stored: StoredSession, server: Server) -> None:
        """Add a session that was taken over, detached.

        Raises:
            UnreadableStateError: another version stored it.
        """
        info = info_of(stored)
        session = DurableSession(self._services, engine, self, self._pool, server, None, info, stored)
        self._add(session)
        self._detached.add(session)
        self._metrics.resumes["restored"] += 1

    # --- called by sessions ---------------------------------------------------------------------

    def session_detached(self, session: ResumableSession, code: int, reason: str) -> None:
        """Note that a resumable session has lost its link."""
        self._detached.add(session)
        log.info("session %s detached: %s %s", session.id, code, reason)
        session.observe("link_lost", f"{code} {reason}")

    def session_attached(self, session: ResumableSession, replayed: int) -> None:
        """Note that a session was resumed on a new link, with this many messages replayed."""
        self._detached.discard(session)
        self._metrics.resumes["resumed"] += 1
        self._metrics.replayed += replayed
        event = "restored" if isinstance(session, DurableSession) and session.asleep else "resumed"
        log.info(
            "session %s %s: server %s, %d messages replayed", session.id, event, session.server.name, replayed
        )
        session.observe("resumed", f"{replayed} replayed")

    def session_left(self, session: ResumableSession, reason: str) -> None:
        """Forget a session that is left to another gateway."""
        self._forget(session)
        log.info("session %s is left to another gateway: %s", session.id, reason)
        session.observe("link_closed", f"{CloseCode.SERVICE_RESTART} {reason}")

    def _forget(self, session: Session) -> None:
        del self.sessions[session.id]
        session.server.sessions -= 1
        if isinstance(session, ResumableSession):
            self._detached.discard(session)
            self.ack_due.discard(session)
        self._rates.ended(session.info.principal, session.messages_in)

    def session_ended(self, session: Session, code: int, reason: str) -> None:
        """Forget a session; each session calls this once."""
        self._forget(session)
        if (link := session.http_link) is not None:
            self.http_sessions.pop(link.id, None)
        if isinstance(session, ResumableSession) and code != CloseCode.NORMAL:
            self._remember_end(session, reason)
        if session.info.link != "http":  # an exchange is as frequent as a call
            log.info("session %s ended: %s %s", session.id, code, reason)
        session.observe("link_closed", f"{code} {reason}")

    def _remember_end(self, session: ResumableSession, reason: str) -> None:
        session.resumption.forget()
        self._ends[session.id] = (session, f"the session ended: {reason}")
        if len(self._ends) > REMEMBERED_ENDS:
            self._ends.popitem(last=False)

    # --- in time --------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Acknowledge what is due, and end sessions after their grace period; called about once a second.

        Args:
            now: ``time.monotonic``.
        """
        due, self.ack_due = self.ack_due, set()
        for session in due:
            session.send_ack()
        for session in self._detached:
            if session.resumption.expired(now):
                Turnstile.running().call(partial(self._expire, session, now))
        self._expire_http(now)
        self._look_at_rates()

    def _expire(self, session: ResumableSession, now: float) -> None:
        """End a session that had expired at ``now``, unless it was resumed or has ended since."""
        if session in self._detached and session.resumption.expired(now):
            self._metrics.resumes["expired"] += 1
            patience = session.resumption.patience
            session.end(CloseCode.GONE, f"the client did not reconnect within {patience:g} s (grace)")

    def _look_at_rates(self) -> None:
        counts = ((session.info.principal, session.messages_in) for session in self.sessions.values())
        changed = self._rates.look(time.perf_counter(), counts)
        if not changed:
            return
        for session in self.sessions.values():
            if session.info.principal in changed:
                session.core.throttle(changed[session.info.principal])

    def _expire_http(self, now: float) -> None:
        """End HTTP sessions that were not used for the grace period: HTTP clients may leave without notice."""
        for session in self.http_sessions.values():
            if self._is_unused(session, now):
                Turnstile.running().call(partial(self._end_unused, session, now))

    def _is_unused(self, session: Session, now: float) -> bool:
        link = session.http_link
        return link is not None and link.idle and now - link.last_used > self._limits.grace

    def _end_unused(self, session: Session, now: float) -> None:
        if self._is_unused(session, now):
            session.end(CloseCode.GONE, f"not used for {self._limits.grace:g} s (grace)")

    def token_revoked(self, token_id: str) -> None:
        """End the sessions that a gateway token opened."""
        for session in self._opened_by(token_id):
            session.end(CloseCode.REVOKED, "the gateway token was revoked")

    def token_expired(self, token_id: str) -> None:
        """Close the links that a gateway token opened; a resumable session may be resumed with another token."""
        for session in self._opened_by(token_id):
            if session.info.link == "http":  # it has no link that could be resumed
                session.end(CloseCode.EXPIRED, "the gateway token has expired")
            else:
                session.close_link(CloseCode.EXPIRED, "the gateway token has expired")

    def _opened_by(self, token_id: str) -> list[Session]:
        return [session for session in self.sessions.values() if session.info.token_id == token_id]

    @property
    def to_drain(self) -> int:
        """The number of sessions that can be given away, or have a request in flight that will be answered."""
        movable = self._movable
        return len(movable) + sum(_awaits_answer(s) for s in self.sessions.values() if s not in movable)

    @property
    def _movable(self) -> set[DurableSession]:
        """The sessions that another gateway can continue."""
        return {s for s in self.sessions.values() if isinstance(s, DurableSession) and _can_move(s)}

    async def give_away(self) -> None:
        """Leave each session that can move to another gateway as soon as it has no request in flight; until the
        gateway is shut down."""
        while not self.closing:
            for session in [s for s in self.sessions.values() if isinstance(s, DurableSession)]:
                _give_away(session)
            await asyncio.sleep(DRAIN_POLL)

    async def drain(self) -> None:
        """Let requests finish for at most ``drain_timeout`` s; end each session as soon as it has none in flight.

        A stored session is instead left to the next gateway, and so are the requests that its client sends from now on.
        """
        self.draining = self.closing = True
        for session in self.sessions.values():
            if isinstance(session, DurableSession):
                session.leaving = True
            else:
                session.closing = True
        end = time.monotonic() + self._limits.drain_timeout
        while self.sessions:
            now = time.monotonic()
            for session in list(self.sessions.values()):
                if now >= end or not session.busy:
                    session.end_for_shutdown()
                if now >= end + STORE_TIMEOUT and isinstance(session, DurableSession):
                    session.abandon()
            if self.sessions:
                await asyncio.sleep(DRAIN_POLL)


def _give_away(session: DurableSession) -> None:
    """Leave a session to another gateway, if it can move and has no request in flight."""
    session.leaving = _can_move(session)
    if session.leaving and not session.busy:
        session.end_for_shutdown()
    elif session.holding and not session.leaving:  # it was given a process of its own meanwhile
        session.close_link(CloseCode.SERVICE_RESTART, "resume to send again what was left to another gateway")


def _can_move(session: DurableSession) -> bool:
    """Return whether another gateway can continue a session."""
    return session.commits.open and not session.ended and session.attachments.movable


def _awaits_answer(session: Session) -> bool:
    """Return whether a request is in flight that will be answered, unlike a subscription."""
    return any(pending.method != LISTEN for pending in session.core.pending.values())
