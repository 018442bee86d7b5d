"""The peer port of a gateway, and how it passes links and requests on to the gateways that serve their sessions.

A link stays where its client is connected: its frames, heartbeat and credentials are checked there. Its messages go to
the session over one connection for each link. HTTP requests that name a link of another gateway go there one after the
other, over as many connections as are needed at the same time.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from functools import partial
from typing import Final

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.fleet.instances import Instances
from mcp_ws_ide.fleet.passed_tickets import REDEEM, IssuedTickets
from mcp_ws_ide.fleet.peer_calls import CALL, ELSEWHERE, HERE, PeerCalls
from mcp_ws_ide.fleet.peer_link import CLOSE, FRAME, PeerLink, close_frame, drained, read_close
from mcp_ws_ide.fleet.peer_requests import BODY, AnswerRequest, PeerReply, PeerResponse
from mcp_ws_ide.fleet.sealed_stream import TIMEOUT, PeerLostError, SealedStream, StreamFrame, next_call
from mcp_ws_ide.fleet.shared_tap import WATCH, WATCHED, WATCHER, ObservedHere
from mcp_ws_ide.gateway import Gateway, ResumeHandshake
from mcp_ws_ide.gateway.elsewhere import PassedRequest, PeerUnreachableError
from mcp_ws_ide.gateway.handed_out import ContinuedCall
from mcp_ws_ide.links.base import HIGH_WATER, LinkInfo, Rebindable

OPEN: Final = b"O"
"""Kind: :class:`Passed`; frames follow."""
HOLDS: Final = b"S"
"""Kind: a :class:`~mcp_ws_ide.gateway.handed_out.ContinuedCall`; asks whether the gateway handed that state out. The
answer, of the same kind, is empty for no."""
ASK: Final = b"R"
"""Kind: :class:`~mcp_ws_ide.gateway.elsewhere.PassedRequest`; its body follows."""
OWNER: Final = re.compile(r"([0-9a-f]{16})\.")
"""How the id of a link begins (:attr:`Gateway.link_prefix`): with the gateway that gave it."""
LOST_REASON: Final = "the gateway that serves the session has ended; resume to continue at another"

log = logging.getLogger(__name__)


class Passed(msgspec.Struct):
    """A link that is passed on.

    Attributes:
        server: name of the server in its URL.
        info: how its client is connected.
        hello: its first frame.
    """

    server: str
    info: LinkInfo
    hello: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Passed).decode
_decode_continued = msgspec.msgpack.Decoder(ContinuedCall).decode
_decode_request = msgspec.msgpack.Decoder(PassedRequest).decode


class Peers:
    """The peer port, and calls to those of others. Implements
    :class:`~mcp_ws_ide.gateway.elsewhere.Elsewhere`.

    Args:
        key: the key that the gateways of one engine share.
        address: host to listen on, and that the others reach; and the port, 0 for any.
        answer: answers requests that others pass on.
        tickets: those of this gateway.
    """

    def __init__(
        self,
        gateway: Gateway,
        instances: Instances,
        key: bytes,
        address: tuple[str, int],
        answer: AnswerRequest,
        tickets: IssuedTickets,
    ) -> None:
        self._gateway = gateway
        self._instances = instances
        self.calls = PeerCalls(gateway, instances, key)
        self._host, self._port = address
        self._answer_request = answer
        self._tickets = tickets
        self._observed = ObservedHere(gateway.tap, gateway.tasks, gateway.limits.max_queued_bytes)
        self._passages: set[Passage] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Begin to listen; return the address that the others reach.

        Raises:
            OSError: the address cannot be used.
        """
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._gateway.tasks.spawn(self.calls.watch(), "connections with other gateways")
        port = self._server.sockets[0].getsockname()[1]
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    def stop(self) -> None:
        """Accept no calls any more, so that the others know at once that this gateway has ended."""
        if self._server is not None:
            self._server.close()
        self.calls.close()

    # --- calls of others ------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway.tasks.spawn(self._answer(reader, writer), "peer call")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stream = await self.calls.greet(reader, writer, calls=False)
            async with asyncio.timeout(TIMEOUT):
                frame: StreamFrame | None = await stream.receive()
            while frame is not None:
                frame = await self._take_call(stream, *frame)
        except (PeerLostError, TimeoutError, msgspec.DecodeError) as error:
            log.info("a call at the peer port failed: %s", error)
        finally:
            writer.close()

    async def _take_call(self, stream: SealedStream, kind: bytes, ids: bytes) -> StreamFrame | None:
        """Answer one call; return the frame that begins the next one, None if the connection ends."""
        instance, _, caller = ids.decode().partition(" ")
        if kind != CALL or instance != self.instance:
            stream.send(ELSEWHERE)
            return None
        stream.send(HERE)
        self.calls.add(caller, stream)
        frame = await next_call(stream)
        return None if frame is None else await self._do(stream, *frame)

    async def _do(self, stream: SealedStream, kind: bytes, data: bytes) -> StreamFrame | None:
        """Do what another gateway has called for; return the frame that begins its next call."""
        if kind == ASK:
            return await self._respond(stream, _decode_request(data))
        if kind == HOLDS:
            stream.send(HOLDS, b"yes" if _decode_continued(data) in self._gateway.handed_out else b"")
            return await next_call(stream)
        if kind == OPEN:
            await self._serve(stream, _decode(data))
        elif kind == REDEEM:
            await self._tickets.serve(stream, data)
        elif kind == WATCH:
            await self._observed.serve(stream, data)
        elif kind == WATCHER:
            await self._observed.serve_watcher(stream, data)
        elif kind == WATCHED:
            self._observed.tell_watched(stream)
        return None

    async def _serve(self, stream: SealedStream, passed: Passed) -> None:
        """Lead a link to its session, and serve it."""
        gateway, name = self._gateway, passed.server
        link = PeerLink(stream, gateway.tasks, gateway.limits.max_queued_bytes)
        server = gateway.find(name) or gateway.server_to_resume(name, passed.info.principal)
        if server is None:
            return link.close(
                CloseCode.TRY_AGAIN_LATER,
                f"server {name!r} is not configured at the gateway that serves the session",
            )
        hello = ResumeHandshake(gateway, server, link, passed.info, passed_on=True)
        link.start(hello.receive, hello.closed)
        hello.receive(passed.hello, time.perf_counter())
        await link.run()

    async def _respond(self, stream: SealedStream, request: PassedRequest) -> StreamFrame | None:
        """Answer a request; return the frame that begins the next call."""
        kind, body = await stream.receive()
        if kind != BODY:
            raise PeerLostError("a request without a body")
        response = PeerResponse(stream, self._gateway.tasks)
        await self._answer_request(request, body, response)
        return await response.wait()

    # --- calls to others ------------------------------------------------------------------------

    async def has_ended(self, instance: str) -> bool:
        """Return whether a gateway has certainly ended, although its lease has not: nobody listens at its peer port, or
        somebody else does."""
        try:
            return not await self.calls.answers(instance)
        except PeerUnreachableError:
            return False

    def close_links(self, reason: str) -> None:
        """Close the links whose sessions other gateways have, so that their clients reach another gateway."""
        for passage in list(self._passages):
            passage.close(CloseCode.SERVICE_RESTART, reason)

    @property
    def instance(self) -> str:
        """The id of this gateway."""
        return self._instances.id

    @property
    def others(self) -> list[str]:
        """The ids of the other gateways that live."""
        return [instance for instance in self._instances.living if instance != self.instance]

    def sessions_of(self, principal: str) -> int:
        """Return the number of sessions that a principal has at the other gateways, as of a second ago."""
        return self._instances.sessions_of(principal)

    def have_server(self, name: str) -> bool:
        """Return whether another gateway has a server of this name."""
        return self._instances.have_server(name)

    def owner(self, link_id: str) -> str:
        """Return the gateway that gave a link this id; ``""`` if that is this one, or the id names none."""
        named = OWNER.match(link_id)
        return named[1] if named is not None and named[1] != self._instances.id else ""

    async def ask(self, instance: str, request: PassedRequest, body: bytes) -> PeerReply | None:
        """Have another gateway answer a request; return None if it has surely ended.

        Raises:
            PeerUnreachableError: it does not answer, and may live.
        """
        stream = await self.calls.call(instance)
        if stream is None:
            return None
        stream.send(ASK, _encode(request))
        stream.send(BODY, body)
        return PeerReply(stream, partial(self.calls.keep, instance, stream))

    async def holder(self, state: ContinuedCall) -> str:
        """Return the id of the other gateway that handed out a ``requestState``; ``""`` if none did.

        Raises:
            PeerUnreachableError: none says so, and one that may live does not answer.
        """
        others = self.others
        answers = await asyncio.gather(
            *(self._holds(instance, state) for instance in others), return_exceptions=True
        )
        for instance, answer in zip(others, answers, strict=True):
            if answer is True:
                return instance
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return ""

    async def _holds(self, instance: str, state: ContinuedCall) -> bool:
        stream = await self.calls.call(instance)
        if stream is None:
            return False
        stream.send(HOLDS, _encode(state))
        try:
            async with asyncio.timeout(TIMEOUT):
                _, answer = await stream.receive()
        except (PeerLostError, TimeoutError) as error:
            stream.close()
            raise PeerUnreachableError(f"gateway {instance} does not answer: {error}") from None
        self.calls.keep(instance, stream)
        return answer != b""

    async def pass_on(
        self, instance: str, server: str, link: Rebindable, info: LinkInfo, hello: bytes
    ) -> None:
        """Pass a link on to the gateway that serves its session, until it is closed.

        Args:
            hello: the first frame of the link.

        Raises:
            PeerUnreachableError: that gateway does not answer, or has ended.
        """
        stream = await self.calls.call(instance)
        if stream is None:
            raise PeerUnreachableError(f"gateway {instance} has ended")
        stream.send(OPEN, _encode(Passed(server, info, hello)))
        await self.relay(stream, link)

    async def relay(self, stream: SealedStream, link: Rebindable) -> None:
        """Carry the messages of a link over a connection to another gateway, until the link is closed."""
        passage = Passage(stream, link, self._gateway)
        self._passages.add(passage)
        try:
            await passage.run()
        finally:
            self._passages.discard(passage)


class Passage:
    """A link whose messages go to another gateway."""

    def __init__(self, stream: SealedStream, link: Rebindable, gateway: Gateway) -> None:
        self._stream = stream
        self._link = link
        self._tasks = gateway.tasks
        self._room = asyncio.Event()
        self._room.set()
        self._held = self._closing = self._ended = False
        link.bind(self._received, self._closed, self._filled)

    async def run(self) -> None:
        """Pass on what comes from the session, until the link is closed."""
        try:
            while not self._ended:
                await self._room.wait()
                kind, data = await self._stream.receive()
                if kind == FRAME:
                    self._link.send(data)
                elif kind == CLOSE:
                    code, reason = read_close(data)
                    self.close(CloseCode(code), reason)
        except PeerLostError:
            if not self._ended and not self._closing:
                self._link.close(CloseCode.SERVICE_RESTART, LOST_REASON)
        finally:
            self._stream.close()

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the link."""
        self._closing = True
        self._link.close(code, reason)

    def _received(self, data: bytes, now: float) -> None:
        """Pass on a frame of the client."""
        self._stream.send(FRAME, bytes(data))
        if self._stream.queued_bytes > HIGH_WATER and not self._held:
            self._held = True
            self._link.set_reading(False)
            self._tasks.spawn(drained(self._stream, self._emptied), "passage")

    def _emptied(self) -> None:
        self._held = False
        if not self._ended:
            self._link.set_reading(True)

    def _filled(self, full: bool) -> None:
        """Read nothing from the session while the client reads slowly."""
        if full:
            self._room.clear()
        else:
            self._room.set()

    def _closed(self, code: int, reason: str) -> None:
        """Tell the session that the link is closed."""
        self._ended = True
        self._stream.send(CLOSE, close_frame(code, reason))
        self._stream.close()
        self._room.set()
