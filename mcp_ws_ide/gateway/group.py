"""A group of servers as a transport: one connection, which is a session of its own on each member.

To its upstream a group is one more modern server. :class:`~mcp_ws_ide.core.group.Group` decides which member a message
goes to; here the sessions on the members are opened, and ended with the connection. They are sessions like any other:
with the member's limits, allow and deny lists, bridge and sharing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Self

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.group import Group, Out
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.errors import LimitExceededError, TransportClosedError, TransportError
from mcp_ws_ide.gateway.message_transport import MessageReceiver, MessageTransport
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.session import Session
from mcp_ws_ide.gateway.session_registry import SessionRegistry
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.transports.base import Receiver, Supplies
from mcp_ws_ide.version import __version__


class GroupTransport(MessageTransport):
    """One attachment to a group.

    Args:
        servers: the configured servers, by name; a member that is missing, or cannot be used, is named in each list.
        sessions: where the sessions on the members are opened.
        principal: the owner of these sessions.
        stateless: whether it is for one exchange over HTTP, so that no member starts a process for it alone.
    """

    kind = "group"

    def __init__(
        self,
        servers: Mapping[str, Server],
        sessions: SessionRegistry,
        group: Server,
        principal: str,
        *,
        stateless: bool,
    ) -> None:
        self._servers = servers
        self._registry = sessions
        self._info = LinkInfo(principal, f"group {group.name}", link="http" if stateless else "group")
        self._rights = frozenset(group.spec.authorize)
        bare = group.spec.prefix == "never"
        self._group = Group(group.name, group.members, __version__, bare=bare)
        self._sessions: dict[str, Session] = {}
        self._held = False
        """Whether the client reads slowly."""
        self._full: set[str] = set()
        """Members whose servers have no room for what the client sends."""
        self._receiver: MessageReceiver | None = None
        self._loop = asyncio.get_running_loop()

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Fail: a group needs the gateway's sessions, and a principal."""
        raise TransportError("only the gateway can attach to a group")

    async def connect(self, receiver: Receiver) -> None:
        """Begin; a session on a member is opened when a message goes to it.

        Raises:
            TransportError: the receiver does not take parsed messages.
        """
        if not isinstance(receiver, MessageReceiver):
            raise TransportError("a group needs a receiver of parsed messages")
        self._receiver = receiver

    def send(self, message: bytes) -> None:
        """Send a message that is not parsed yet."""
        self.send_message(messages.parse(message))

    def send_message(self, message: Message) -> None:
        """Send a modern message to the members that it concerns."""
        if self._receiver is None:
            raise TransportClosedError("the group is closed")
        self._perform(self._group.from_client(message))

    def from_member(self, member: str, message: Message) -> None:
        """Handle a message from a member."""
        if self._receiver is not None:
            self._perform(self._group.from_member(member, message))

    def member_ended(self, member: str, reason: str) -> None:
        """Fail the requests to a member after its session has ended; the next message opens another session."""
        self.member_full(member, False)
        if self._sessions.pop(member, None) is not None and self._receiver is not None:
            self._perform(self._group.lost(member, reason))

    def member_full(self, member: str, full: bool) -> None:
        """Note that a member's server is full, or has room again; the client waits for the slowest member."""
        was_full = bool(self._full)
        (self._full.add if full else self._full.discard)(member)
        if self._receiver is not None and bool(self._full) != was_full:
            self._receiver.write_paused(bool(self._full))

    def abandon(self, state: str) -> None:
        """End the call that is parked under this ``requestState``, at whichever member keeps it.

        A state names one call only, and cannot be guessed.
        """
        for server in {session.server for session in self._sessions.values()}:
            for upstream in server.upstreams:
                upstream.abandon(state)

    def tick(self, now: float) -> None:
        """Acknowledge subscriptions that have waited too long; called about once a second."""
        if self._receiver is not None:
            self._perform(self._group.tick(now))

    def _perform(self, out: Out) -> None:
        for message in out.to_client:
            # Not within a call of the upstream: it has not finished sending yet.
            self._loop.call_soon(self._deliver, message)
        for member, message in out.to_members:
            session = self._session(member)
            if isinstance(session, str):
                self._perform(self._group.lost(member, session))
            else:
                session.take(message, time.perf_counter())
                if self._held:
                    session.link_full(True)  # the session may be new, or have a new upstream

    def _deliver(self, message: Message) -> None:
        if self._receiver is not None:
            self._receiver.parsed_received(message)

    def _session(self, member: str) -> Session | str:
        """Return the session on a member, or the reason why there can be none."""
        session = self._sessions.get(member)
        if session is not None:
            return session
        server = self._servers.get(member)
        if server is None or server.members:
            return f"server {member!r} is not configured"
        refusal = server.refusal_to(self._info.principal)
        if refusal is not None:
            return f"server {member!r} cannot start: {refusal}"
        if not self._rights.issuperset(server.spec.authorize):
            return (
                f"server {member!r} requires more of its users since this session was opened; connect again"
            )
        try:
            self._registry.check_admission(self._info.principal, brief=True)
        except LimitExceededError as error:
            return str(error)
        session = self._registry.open(server, _MemberLink(self, member), self._info)
        self._sessions[member] = session
        return session

    def pause_reading(self) -> None:
        """Stop reading from the members' own upstreams: the client reads slowly."""
        self._held = True
        for session in self._sessions.values():
            session.link_full(True)

    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""
        self._held = False
        for session in self._sessions.values():
            session.link_full(False)

    @property
    def queued_bytes(self) -> int:
        """Always 0: the sessions of the members count their queued bytes."""
        return 0

    async def close(self) -> None:
        """End the sessions on the members."""
        receiver, self._receiver = self._receiver, None
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.link_closed(CloseCode.NORMAL, "the group was closed")
        if receiver is not None:
            receiver.transport_closed("the group was closed")


class _MemberLink:
    """The client's side of a session on a member: the group itself."""

    queued_bytes = 0

    def __init__(self, group: GroupTransport, member: str) -> None:
        self._group, self._member = group, member

    def deliver(self, message: Message) -> None:
        """Pass on a message from the member."""
        self._group.from_member(self._member, message)

    def close(self, code: CloseCode, reason: str) -> None:
        """Note that the session has ended."""
        self._group.member_ended(self._member, reason)

    def set_reading(self, reading: bool) -> None:
        """Note that the member's server is full, or has room again."""
        self._group.member_full(self._member, not reading)
