"""A resumable session as a pair of streams.

Owns the link and three tasks: one reads and reconnects, one writes, one acknowledges. What to send, and what a lost
link means, is decided by :class:`mcp_ws_ide.core.resume.ClientEnd`.
"""

from __future__ import annotations

import logging
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from websockets.exceptions import ConnectionClosed

from mcp_ws_ide.client.arguments import check_options
from mcp_ws_ide.client.links import ClientLink, LinkOpener, Opener, Token
from mcp_ws_ide.client.own_task import OwnLoopStream, OwnTask
from mcp_ws_ide.client.passing_on import PassingOn
from mcp_ws_ide.client.states import (
    FINAL_CODES,
    Connected,
    Gap,
    Lost,
    Reconnect,
    Reconnecting,
    Resumed,
    State,
    StateFeed,
)
from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import ACK_INTERVAL, PING_INTERVAL, SUBPROTOCOL_RESUME, CloseCode
from mcp_ws_ide.core.channel import ACK_WITH_DATA
from mcp_ws_ide.core.intermediaries import sentence
from mcp_ws_ide.core.resume import ClientEnd, Event, ProtocolViolationError
from mcp_ws_ide.discovery import ENDPOINTS
from mcp_ws_ide.errors import ConnectError, ConnectionLostError, UnauthorizedError, UnknownServerError

SEND_TIMEOUT: Final = 2.0
"""Seconds that closing waits for messages that are being sent."""
PROVEN_AFTER: Final = 2 * PING_INTERVAL
"""Seconds after which a link without control frames must have carried a Ping and its Pong."""
INBOX: Final = 64
"""Messages queued for the SDK before the transport stops reading the link."""

log = logging.getLogger(__name__)


class SessionTransport:
    """An async context manager that yields ``(read, write)`` streams; created by :func:`websocket_transport`.

    Attributes:
        state: the newest :data:`~mcp_ws_ide.client.states.State`.
        close_code, close_reason: how the newest link was closed (RFC 6455 section 7.4); None before the first close.
        error: set when the transport has given up.
    """

    def __init__(
        self,
        opener: Opener,
        reconnect: Reconnect | None,
        on_state: Callable[[State], None] | None,
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
    ) -> None:
        self.state: State | None = None
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.error: ConnectionLostError | None = None
        self._opener = opener
        self._reconnect = reconnect
        self._on_state = on_state
        self._encode = encode
        self._feed = StateFeed()
        self._end = ClientEnd()
        self._passing_on = PassingOn(self._end, decode, opener.where, self._note_answered)
        self._link: ClientLink | None = None
        self._writing = anyio.Lock()
        self._room = anyio.Event()
        self._answered = anyio.Event()
        self._passing = False
        """Whether a received message is being passed to the session."""
        self._all_sent = anyio.Event()
        self._attempt = 0
        """Reconnect attempts since a link last carried frames beyond the handshake."""
        self._deadline = 0.0
        self._sending = False
        self._own_task: OwnTask[tuple[Any, Any]] | None = None
        self._group: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<SessionTransport {self._opener.where} {self.state}>"

    @property
    def behind_gateway(self) -> bool:
        """Whether the server is behind a gateway, as far as the open link or the address shows."""
        return not self._end.plain or ENDPOINTS in self._opener.where

    async def __aenter__(self) -> tuple[Any, Any]:
        self._own_task = OwnTask(self._streams(), f"the transport of {self._opener.where}")
        return await self._own_task.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own_task is None:
            raise RuntimeError(f"the transport of {self._opener.where} is not open")
        await self._own_task.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[tuple[Any, Any]]:
        event = await self._open_link()
        if event is Event.GONE:
            raise ConnectError(f"{self._opener.where} answered a new session with 'gone'")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            to_session, read = anyio.create_memory_object_stream[Any](INBOX)
            unguarded, from_session = anyio.create_memory_object_stream[Any](0)
            write = OwnLoopStream.of(unguarded, f"the transport of {self._opener.where}")
            for stream in (to_session, read, write, from_session):
                stack.callback(stream.close)
            self._group = group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            stack.push_async_callback(self._finish_sending, write)
            group.start_soon(self._run, to_session, from_session)
            group.start_soon(self._send_all, from_session, to_session)
            group.start_soon(self._acknowledge)
            yield read, write

    async def settle(self, timeout: float) -> None:
        """After the write stream was closed, wait until every request has its response in the read stream.

        Returns after ``timeout`` seconds at the latest.
        """
        with anyio.move_on_after(timeout):
            await self._all_sent.wait()
            while (self._end.waiting or self._passing) and self.error is None:
                self._answered = anyio.Event()
                await self._answered.wait()

    def abandon(self, reason: str) -> list[bytes]:
        """Give up waiting; return an error response, as JSON, for each open request."""
        return self._end.give_up(reason)

    async def states(self) -> AsyncIterator[State]:
        """Yield every state from the newest on, until the transport is closed or :class:`Lost`."""
        async for state in self._feed.states():
            yield state

    def _enter(self, state: State) -> None:
        self.state = state
        self._feed.add(state)
        if self._on_state is not None:
            try:
                self._on_state(state)
            except Exception:  # an error in the callback must not end the session
                log.exception("on_state failed for %s", state)

    # --- links ----------------------------------------------------------------------------------

    async def _open_link(self) -> Event:
        """Open a link, open or resume the session on it, and replay unacknowledged messages.

        Raises:
            ConnectError: see :func:`websocket_transport`.
        """
        link = await self._opener.open(resume=self._reconnect is not None, nothing_else=self._end.resumable)
        try:
            async with self._writing:
                event = await self._greet(link)
        except (ConnectionClosed, ProtocolViolationError, TimeoutError) as error:
            with anyio.CancelScope(shield=True):
                await link.close(
                    CloseCode.GOING_AWAY
                )  # 1000 would end the session, which may already be attached
            detail = _close_text(link) if isinstance(error, ConnectionClosed) else str(error)
            raise ConnectError(f"{self._opener.where} did not open a session: {detail}") from None
        except BaseException:
            with anyio.CancelScope(shield=True):
                await link.close()
            raise
        return event

    async def _greet(self, link: ClientLink) -> Event:
        end = self._end
        if link.subprotocol != SUBPROTOCOL_RESUME:
            if end.resumable:
                raise ProtocolViolationError("the server no longer supports resume")
            queued = [self._passing_on.foreign.sent(message) for message in end.start_plain()]
            self._link = link
            await _write(link, queued)
            self._enter(Connected(resumable=False))
            self._made_room()
            return Event.OPENED
        await link.send(end.hello(), text=True)
        first = await _first_frame(link, self._opener.open_timeout)
        _, write, event = end.receive(first)
        if event is Event.GONE:
            await link.close()
            return event
        if event not in (Event.OPENED, Event.RESUMED):
            raise ProtocolViolationError("the gateway's first frame is neither 'opened' nor 'resumed'")
        self._link = link
        await _write(link, [*write, binding.PING] if self._attempt else write)
        if event is Event.OPENED:
            self._enter(Connected(resumable=True, session=end.session))
        else:
            self._enter(Resumed(end.replayed))
        self._made_room()
        return event

    async def _run(self, to_session: Any, from_session: Any) -> None:
        """Read; replace a lost link; when that is impossible, fail each open request with its outcome."""
        async with to_session:
            try:
                while True:
                    await self._read(to_session)
                    await self._come_back(to_session)
            except ConnectionLostError as error:
                await self._give_up(error, to_session, from_session)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                return  # the session was closed
            finally:
                from_session.close()

    async def _read(self, to_session: Any) -> None:
        """Read until the link is closed."""
        link, end, since = self._link, self._end, anyio.current_time()
        assert link is not None
        try:
            while True:
                data = await link.recv(decode=False)
                self._passing = True
                message, write, event = end.receive(data)
                await _write(link, write)
                if event is Event.PONG or end.plain:
                    self._attempt = 0
                if event is Event.GAP:
                    self._enter(Gap(end.gap))
                elif message is None:
                    self._made_room()
                elif not end.odd:
                    await self._passing_on.pass_on([message], to_session)
                else:
                    assert self._group is not None
                    await self._passing_on.pass_on_odd(message, to_session, self._group)
                self._passing = False
                self._answered.set()
        except ConnectionClosed:
            pass
        except ProtocolViolationError as error:
            await link.close(CloseCode.PROTOCOL_ERROR, str(error)[:120])
        with anyio.CancelScope(shield=True):
            await link.close()  # it is lost, but a poll link still has connections
        if end.plain and anyio.current_time() - since > PROVEN_AFTER:
            self._attempt = 0
        self._passing = False
        self._answered.set()
        end.lost_link()
        self._link = None
        self._note_close(link)

    async def _come_back(self, to_session: Any) -> None:
        """Open a link for the session; open a new session if nothing was negotiated in the lost one.

        Raises:
            ConnectionLostError: reconnecting cannot help, or took longer than the policy allows.
        """
        policy, reason = self._reconnect, _end_of(self.close_code, self.close_reason)
        if policy is None or self.close_code in FINAL_CODES:
            raise ConnectionLostError(f"{self._opener.where} closed the link: {reason}")
        if self._end.plain:
            await self._start_over(
                f"the link was lost ({reason}) and the server does not support resume", to_session
            )
        if self._attempt == 0:
            self._deadline = anyio.current_time() + policy.give_up_after
        while True:
            self._attempt += 1
            delay = policy.delay(self._attempt)
            if anyio.current_time() + delay > self._deadline:
                raise _too_late(self._opener.where, policy, reason)
            self._enter(Reconnecting(self._attempt, delay, reason))
            await anyio.sleep(delay)
            event = None
            try:
                with anyio.move_on_after(self._deadline - anyio.current_time()):
                    event = await self._open_link()
                if event is None:
                    raise _too_late(self._opener.where, policy, reason)
                if event is not Event.GONE:
                    return
            except ConnectionLostError:
                raise
            except (UnauthorizedError, UnknownServerError) as error:
                raise ConnectionLostError(str(error)) from None  # retrying cannot help
            except ConnectError as error:
                reason = str(error)
            else:
                await self._start_over(f"the session is gone: {self._end.gone_reason}", to_session)

    async def _start_over(self, reason: str, to_session: Any) -> None:
        if (
            self._end.legacy
        ):  # the negotiated state is lost, and only the user of the session can negotiate again
            raise ConnectionLostError(reason)
        async with self._writing:
            errors = self._end.start_over(reason)
        await self._passing_on.pass_on(errors, to_session)

    async def _give_up(self, error: ConnectionLostError, to_session: Any, from_session: Any) -> None:
        log.log(logging.WARNING if self._on_state is None else logging.DEBUG, "%s", error)  # Lost says it too
        self.error = error
        self._made_room()
        self._answered.set()
        # Requests that the session still sends fail as well, with the outcome not_sent.
        with anyio.move_on_after(SEND_TIMEOUT):
            while self._sending or from_session.statistics().tasks_waiting_send:
                await anyio.lowlevel.checkpoint()
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._passing_on.pass_on(self._end.give_up(str(error)), to_session)
        self._enter(Lost(str(error)))

    def _note_close(self, link: ClientLink) -> None:
        self.close_code, self.close_reason = link.close_code or 1006, link.close_reason

    # --- sending --------------------------------------------------------------------------------

    async def _send_all(self, from_session: Any, to_session: Any) -> None:
        """Send until the session closes the stream. While the window is full, sending waits; nothing is dropped."""
        try:
            async for message in from_session:
                self._sending = True
                data, refused = self._end.fit(self._encode(message))
                if data:
                    await self._wait_for_room()
                    await self._send(data)
                elif refused:
                    await self._passing_on.pass_on([refused], to_session)
                else:
                    log.warning("a notification larger than the gateway's max_message_bytes was not sent")
                self._sending = False
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # the transport gave up; the next send of the session raises
        finally:
            self._all_sent.set()

    async def _send(self, data: bytes) -> None:
        async with self._writing:
            if self._end.plain:
                data = self._passing_on.foreign.sent(data)
            written, channel = self._end.send(data), self._end.channel
            if written is not None and self._link is not None:
                with suppress(ConnectionClosed):  # it is kept, and sent again on the next link
                    if channel.received - channel.acked >= ACK_WITH_DATA and not self._end.plain:
                        await self._link.send(channel.take_ack(), text=True)
                    await self._link.send(written, text=True)

    async def _wait_for_room(self) -> None:
        while self._end.channel.full and self.error is None:
            self._room = anyio.Event()
            await self._room.wait()

    def _note_answered(self) -> None:
        self._answered.set()

    def _made_room(self) -> None:
        self._room.set()

    async def _acknowledge(self) -> None:
        """Send an acknowledgment at least every :data:`.ACK_INTERVAL` seconds."""
        while True:
            await anyio.sleep(ACK_INTERVAL)
            end, link = self._end, self._link
            if link is not None and end.live and not end.plain and end.channel.owes_ack:
                await _write(link, [end.channel.take_ack()])

    # --- leaving --------------------------------------------------------------------------------

    async def _finish_sending(self, write: Any) -> None:
        """Send what the session has handed over, within :data:`SEND_TIMEOUT`."""
        write.close()
        with anyio.move_on_after(SEND_TIMEOUT, shield=True):
            await self._all_sent.wait()

    async def _close(self) -> None:
        """Close with 1000, which ends the session; bounded by ``close_timeout``, also under cancellation."""
        link, self._link = self._link, None
        if link is not None:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    group.start_soon(
                        _drain, link
                    )  # the peer's close frame follows messages that nothing reads any more
                    await link.close()
                    group.cancel_scope.cancel()
            self._note_close(link)
        self._feed.close()


async def _first_frame(link: ClientLink, seconds: float) -> bytes:
    try:
        with anyio.fail_after(seconds):
            return await link.recv(decode=False)
    except TimeoutError:
        raise TimeoutError(f"no response within {seconds:g} s") from None


async def _drain(link: ClientLink) -> None:
    with suppress(ConnectionClosed):
        while True:
            await link.recv(decode=False)


async def _write(link: ClientLink, frames: list[bytes]) -> None:
    """Send frames; the reader detects it if the link closes."""
    with suppress(ConnectionClosed):
        for frame in frames:
            await link.send(frame, text=True)


def _end_of(code: int | None, reason: str | None) -> str:
    """Return how a link was closed; the gateway gives a reason with 1009, a proxy none."""
    if code == CloseCode.TOO_BIG and not reason:
        return f"{code} ({sentence('message_limit')})"
    return f"{code} {reason or ''}".strip()


def _too_late(where: str, policy: Reconnect, reason: str) -> ConnectionLostError:
    return ConnectionLostError(
        f"{where} could not be reached again within {policy.give_up_after:g} s: {reason}"
    )


def verbatim(data: bytes) -> bytes:
    """As :func:`websocket_transport`, with streams of JSON text as ``bytes``."""
    return data


def _close_text(link: ClientLink) -> str:
    return f"closed with {link.close_code} {link.close_reason or ''}".strip()


def websocket_transport(
    url: str,
    *,
    token: Token | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    max_size: int = 10 << 20,
    open_timeout: float = 30.0,
    reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
    on_state: Callable[[State], None] | None = None,
) -> SessionTransport:
    """Return an MCP transport over WebSocket whose session survives the loss of its link.

    Args:
        url: ``ws://`` or ``wss://`` address of an MCP endpoint.
        token: a Jupyter or gateway token, sent in the ``Authorization`` header, or a function that returns a fresh
            one for each link.
        headers: additional headers of the handshake; not ``Authorization`` if ``token`` is given.
        ssl: for ``wss``: a context with custom certificates.
        max_size: largest message to accept, in bytes.
        open_timeout: seconds for a connection and its handshake.
        reconnect: how to replace a lost link; None disables reconnecting.
        on_state: called with each new :data:`~mcp_ws_ide.client.states.State`; see also
            :meth:`SessionTransport.states`.

    Messages that the SDK sends while there is no link are queued up to the window (4,096 messages, 4 MiB); beyond it,
    sending waits. If the gateway supports resume, no message is lost or duplicated. If the session is lost, each open
    request fails with an error whose ``data.outcome`` is ``not_sent`` or ``unknown``; a modern client (2026-07-28, no
    handshake) then continues in a new session, for others the read stream ends. A server that only speaks the
    subprotocol ``mcp`` works, without resume.

    Returns:
        An async context manager that yields ``(read, write)``: pass it to ``mcp.Client`` (2.x), or enter it and pass
        the streams to ``ClientSession`` (1.x). Entering it raises :class:`UnauthorizedError` (401, 403),
        :class:`UnknownServerError` (404) or :class:`ConnectError`. No close code raises.

    Raises:
        UnusableArgumentError: the address is invalid, or an argument is of another type.
        UnusableHeaderError: one of ``headers`` may not be set by the user.
    """
    check_options(token=token, headers=headers, ssl=ssl, reconnect=reconnect, on_state=on_state)
    options: dict[str, Any] = {"max_size": max_size, "open_timeout": open_timeout}
    if ssl is not None:
        options["ssl"] = ssl
    opener = LinkOpener(url, token, headers or {}, options)
    from mcp_ws_ide.sdk import as_message, as_text

    return SessionTransport(opener, reconnect, on_state, as_message, as_text)
