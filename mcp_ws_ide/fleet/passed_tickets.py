"""Tickets that are presented to another gateway than the one that issued them.

The gateway that issued a ticket redeems it, so that it is used once, and keeps watching the credential that requested
it. The connection between the two gateways stays open for as long as the link or response that the ticket has opened;
if the connection ends, that link or response is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.fleet.peer_link import CLOSE, close_frame, read_close
from mcp_ws_ide.fleet.sealed_stream import TIMEOUT, PeerLostError, SealedStream
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.tokens import Ticket

REDEEM: Final = b"K"
"""Kind: :class:`TicketCall`; the answer, of the same kind, is a :class:`Holder`; empty if the ticket is not valid."""
LOOK_SECONDS: Final = 5.0
"""Seconds between two checks whether what a ticket has opened is closed."""
UNUSED_SECONDS: Final = 30.0
"""Seconds that a request may take until it has opened something; more than the checks before that may take."""
ISSUER_ENDED: Final = "the gateway that issued the ticket has ended; connect again with a new ticket"


class TicketCall(msgspec.Struct):
    """A ticket that was presented: the digest of its secret, and the server that it shall open."""

    digest: str
    server: str


class Holder(msgspec.Struct):
    """Who requested a ticket."""

    principal: str
    username: str


_encode = msgspec.msgpack.Encoder().encode
_decode_call = msgspec.msgpack.Decoder(TicketCall).decode
_decode_holder = msgspec.msgpack.Decoder(Holder).decode


class Opened(Protocol):
    """A link or response that a ticket has opened."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End it with a close code and a reason."""


Redeem = Callable[[str, str], Ticket | None]
"""Invalidates a ticket, by its digest, and returns it if it is valid for a server."""
WatchTicket = Callable[[Ticket, Opened], None]
"""Closes what a ticket has opened when the credential that requested it ends."""


class OpenedElsewhere:
    """What a ticket has opened at another gateway. Implements :class:`Opened`."""

    def __init__(self, stream: SealedStream) -> None:
        self._stream = stream
        self.closed = False

    def close(self, code: CloseCode, reason: str) -> None:
        """Have it closed."""
        self._stream.send(CLOSE, close_frame(code, reason))


class IssuedTickets:
    """Redeems tickets of this gateway that others are presented with."""

    def __init__(self, redeem: Redeem, watch: WatchTicket) -> None:
        self._redeem = redeem
        self._watch = watch

    async def serve(self, stream: SealedStream, data: bytes) -> None:
        """Redeem a ticket; watch its credential until the other gateway hangs up."""
        call = _decode_call(data)
        ticket = self._redeem(call.digest, call.server)
        if ticket is None:
            return stream.send(REDEEM)
        opened = OpenedElsewhere(stream)
        self._watch(ticket, opened)
        stream.send(REDEEM, _encode(Holder(ticket.principal, ticket.username)))
        try:
            await stream.receive()
        except PeerLostError:
            pass
        finally:
            opened.closed = True


class PassedTicket:
    """A ticket that another gateway has redeemed; it is dropped unless :meth:`watch` follows soon.

    Attributes:
        principal, username: who requested it.
    """

    def __init__(self, stream: SealedStream, holder: Holder, tasks: TaskGroupOwner) -> None:
        self.principal, self.username = holder.principal, holder.username
        self._stream = stream
        self._tasks = tasks
        self._unused = asyncio.get_running_loop().call_later(UNUSED_SECONDS, stream.close)

    def watch(self, watched: Opened) -> None:
        """Close what was opened when the credential behind the ticket ends, or the gateway that watches it."""
        self._unused.cancel()
        self._tasks.spawn(self._follow(watched), "ticket")

    async def _follow(self, watched: Opened) -> None:
        code, reason = CloseCode.SERVICE_RESTART, ISSUER_ENDED
        receiving = self._tasks.spawn(self._stream.receive(), "ticket's credential")
        try:
            while not receiving.done() and not watched.closed:
                await asyncio.wait([receiving], timeout=LOOK_SECONDS)
            if receiving.done() and receiving.exception() is None:
                number, reason = read_close(receiving.result()[1])
                code = CloseCode(number)
        finally:
            receiving.cancel()
            self._stream.close()
        if not watched.closed:
            watched.close(code, reason)


async def redeem_at(
    stream: SealedStream, digest: str, server: str, tasks: TaskGroupOwner
) -> PassedTicket | None:
    """Have the gateway at the other end redeem a ticket; return None if it is not valid.

    Raises:
        PeerUnreachableError: the gateway does not answer.
    """
    stream.send(REDEEM, _encode(TicketCall(digest, server)))
    try:
        async with asyncio.timeout(TIMEOUT):
            kind, data = await stream.receive()
    except (PeerLostError, TimeoutError) as error:
        stream.close()
        raise PeerUnreachableError(f"the gateway that issued the ticket does not answer: {error}") from None
    if kind != REDEEM or not data:
        stream.close()
        return None
    return PassedTicket(stream, _decode_holder(data), tasks)
