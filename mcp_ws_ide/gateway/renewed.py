"""The private upstream of a session at a remote server that may forget it (HTTP+SSE, WebSocket).

When the connection ends, another one is opened with the client's handshake. Requests in flight fail with outcome
``unknown``; what had not been sent is sent on the new connection. Over Streamable HTTP the transport does the same
(:mod:`mcp_ws_ide.transports.http_renewal`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Forward
from mcp_ws_ide.core.handshake import INITIALIZED_MESSAGE, Handshake
from mcp_ws_ide.core.lenient_json import error_code, error_text
from mcp_ws_ide.core.messages import REQUEST, RESPONSE, Message
from mcp_ws_ide.errors import UPSTREAM_LOST, UPSTREAM_UNAVAILABLE, TransportError
from mcp_ws_ide.gateway.private import PrivateUpstream
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.upstream import UpstreamUser
from mcp_ws_ide.transports.base import Transport
from mcp_ws_ide.transports.tasked import backoff

KINDS: Final = frozenset({"sse", "ws", "http"})
"""Kinds of server whose sessions end with their connection; with ``http``, those that turn out to speak HTTP+SSE."""
MAX_RENEWALS: Final = 3
"""Connections in a row on which the server answers nothing but the handshake; after that the session ends."""
_UNREACHABLE: Final = frozenset({UPSTREAM_UNAVAILABLE, UPSTREAM_LOST})
_INITIALIZE_ID: Final = b'"renewed"'

log = logging.getLogger(__name__)


class _HandshakeFailedError(TransportError):
    """The server answered, and cannot be used as before; trying again does not help."""


class RenewedUpstream(PrivateUpstream):
    """A connection of one session, replaced when it ends."""

    def __init__(
        self, services: Services, server: Server, owner: str, session: UpstreamUser, kept: bytes = b""
    ) -> None:
        super().__init__(services, server, owner, session, kept)
        self._handshake = Handshake()
        self._version = b""
        """The protocol version of the server's answer to ``initialize``, as JSON; ``b""`` before that."""
        self._answers: dict[bytes, asyncio.Future[Message]] = {}
        """Requests of the gateway that the server has not answered, by id."""
        self._unsent: list[bytes] = []
        self._renewing = False
        self._renewals = 0

    def _new_transport(self) -> Transport:
        transport = super()._new_transport()
        transport.renewed = True
        return transport

    def transmit(self, session: UpstreamUser, effect: Forward) -> None:
        self._handshake.note(effect.message)
        super().transmit(session, effect)

    def _received(self, message: Message, now: float) -> None:
        if message.kind is RESPONSE:
            if self._answers and (asked := self._answers.pop(message.id, None)) is not None:
                return asked.set_result(message) if not asked.done() else None
            initialize = self._handshake.initialize
            if not self._version and initialize is not None and message.id == initialize.id:
                self._version = messages.member(message.result, "protocolVersion")
            else:
                self._renewals = 0
        super()._received(message, now)

    # --- the end of a connection ------------------------------------------------------------------

    def transport_closed(self, reason: str) -> None:
        """Open another connection, if the session was open; otherwise fail the waiting requests."""
        if self._renewing:  # the connection that is being opened
            answers, self._answers = self._answers, {}
            for asked in answers.values():
                if not asked.done():
                    asked.set_exception(TransportError(reason))
            return
        transport = self._transport
        negotiated = self._version and not self._closing and self._renewals < MAX_RENEWALS
        if not negotiated or transport is None or not transport.renewable:
            return super().transport_closed(reason)
        self._renewing = True
        self._lose(transport, self._tap.redactor.text(reason))
        self._services.tasks.spawn(self._renew(reason), f"renew {self.server.name}")

    def _lose(self, transport: Transport, reason: str) -> None:
        """Fail what the server may have received; keep what it has not."""
        self._unsent, self._transport, self.accepts = transport.unsent, None, False
        kept = {messages.parse(data).id for data in self._unsent}
        self.tell("upstream_closed", f"{reason}; opening another connection")
        core = self._session.core
        for pending in list(core.pending.values()):
            if not pending.sent or pending.modern or pending.upstream_id:
                continue
            if pending.raw_id in kept:
                pending.sent = 0.0
            else:
                text = f"server {self.server.name!r}: {reason}; a new session is being opened"
                self._session.fail(pending, UPSTREAM_LOST, text)
        core.asked.clear()

    async def _renew(self, reason: str) -> None:
        loop = self._services.loop
        deadline, attempt = loop.time() + self.server.spec.timeout("reconnect_timeout"), 0
        while not self._closing:
            attempt += 1
            try:
                await self._open_again()
            except _HandshakeFailedError as error:
                reason = str(error)
                break
            except TransportError as error:
                reason = str(error)
            else:
                return self._continue()
            delay = backoff(attempt)
            if loop.time() + delay > deadline:
                break
            await self._wait_for_turn(delay)
        self._renewing = False
        super().transport_closed(reason)

    async def _open_again(self) -> None:
        """Open a connection and repeat the handshake.

        Raises:
            TransportError: it is not possible, now or at all.
        """
        initialize = self._handshake.initialize
        assert initialize is not None
        transport = self._new_transport()
        await transport.connect(self)
        self._transport = transport
        try:
            answer = await self._ask(messages.with_id(initialize, _INITIALIZE_ID))
            if error_code(answer.error) in _UNREACHABLE:  # over HTTP, each request says so itself
                raise TransportError(error_text(answer.error))
            version = messages.member(answer.result, "protocolVersion")
            if version != self._version:
                spoken = (version or answer.error[:200]).decode(errors="replace")
                raise _HandshakeFailedError(
                    f"it answers initialize with {spoken} instead of {self._version.decode()}"
                )
            self.send(messages.parse(INITIALIZED_MESSAGE))
            for setting in self._handshake.settings():
                await self._ask(setting)
        except BaseException:
            self._transport = None
            await transport.close()
            raise

    async def _ask(self, request: Message) -> Message:
        """Send a request of the gateway's own, and return its response.

        Raises:
            TransportError: there is none in time, or the connection has ended.
        """
        asked = self._answers[request.id] = self._services.loop.create_future()
        self.send(request)
        self._patience.begin(process=False)
        try:
            async with asyncio.timeout_at(self._patience.end):
                answer: Message = await asked
                return answer
        except TimeoutError:
            raise TransportError(f"it did not answer {self._deadline_text}") from None
        finally:
            self._answers.pop(request.id, None)

    def _continue(self) -> None:
        """Send the waiting messages on the new connection."""
        self._renewing = False
        self._renewals += 1
        text = "a new session was opened with the handshake of the client"
        log.info("server %s: %s", self.server.name, text)
        self.tell("upstream_started", text)
        unsent, self._unsent = self._unsent, []
        pending = self._session.core.pending
        for message in map(messages.parse, unsent):
            waiting = pending.get(message.id_key) if message.kind is REQUEST else None
            if waiting is not None or message.kind is not REQUEST:
                self.send(message, waiting, self._session)
        self.ready()
