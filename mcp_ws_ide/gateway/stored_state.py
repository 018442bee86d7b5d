"""The facts and the snapshot of a stored session: everything but its frames and its requests in flight.

Converts the parts of a live session to those of a stored one, and back. Knows neither engines nor when something is
stored.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode, Window
from mcp_ws_ide.core.channel import Entry, ReliableChannel
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.resume import EndState, GatewayEnd
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.core.session_state import CoreState
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.engines.base import ATTACHED, NOT_SENT, UNKNOWN, Frame, StoredSession
from mcp_ws_ide.errors import UPSTREAM_LOST
from mcp_ws_ide.gateway.attachments import Attachments
from mcp_ws_ide.gateway.attachments_state import AttachmentsState
from mcp_ws_ide.gateway.resumable import live_window
from mcp_ws_ide.gateway.services import Limits
from mcp_ws_ide.gateway.whole_requests import WholeRequest, WholeRequests
from mcp_ws_ide.links.base import LinkInfo

VERSION: Final = 1
"""Of the structures below; a session that another version stored is not continued."""
ENDED: Final = "the gateway that carried this request ended before the server answered"
"""The text of the error for a request that was in flight when its gateway ended."""
MAX_METHOD_BYTES: Final = 256
"""Longest method, as JSON, that an error names."""


class UnreadableStateError(ValueError):
    """A stored session cannot be read: another version wrote it."""


class SessionFacts(msgspec.Struct):
    """The facts about the client's link; the members are those of :class:`~mcp_ws_ide.links.base.LinkInfo`."""

    version: int
    principal: str
    link: str
    remote: str
    user_agent: str
    subprotocol: str | None
    token_id: str | None
    tools: ToolRules | None


class SessionState(msgspec.Struct):
    """The snapshot of a session.

    Attributes:
        end: resume tokens.
        core: eras, and open requests of the server.
        attachments: the bridge, or the session at a remote server.
        whole: requests that are stored whole.
        final: close code and reason, if the session ends as soon as its client has fetched the rest.
    """

    end: EndState
    core: CoreState
    attachments: AttachmentsState
    whole: list[WholeRequest] = msgspec.field(name="listens")
    final: tuple[int, str] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_continued = msgspec.msgpack.Decoder(SessionState).decode
_decode_facts = msgspec.msgpack.Decoder(SessionFacts).decode


class Parts(Protocol):
    """A session, as its snapshots see it.

    Attributes:
        ended: whether it has ended; then nothing of it changes any more.
        final: how it ends as soon as its client has fetched the rest; None while it continues.
    """

    core: SessionCore
    attachments: Attachments
    resumption: GatewayEnd
    info: LinkInfo
    ended: bool
    final: tuple[CloseCode, str] | None


def encode_state(session: Parts, whole: WholeRequests) -> bytes:
    """Encode the snapshot of a session."""
    return _encode(
        SessionState(
            session.resumption.state,
            session.core.state,
            session.attachments.state,
            whole.state,
            session.final,
        )
    )


def encode_facts(info: LinkInfo) -> bytes:
    """Encode the facts about the client's link."""
    return _encode(
        SessionFacts(
            VERSION,
            info.principal,
            info.link,
            info.remote,
            info.user_agent,
            info.subprotocol,
            info.token_id,
            info.tools,
        )
    )


def info_of(stored: StoredSession) -> LinkInfo:
    """Return the facts about the link of a stored session's client.

    Raises:
        UnreadableStateError: another version stored it, or it was given to another user.
    """
    try:
        facts = _decode_facts(stored.facts)
    except msgspec.DecodeError as error:
        raise UnreadableStateError(str(error)) from None
    if facts.version != VERSION:
        raise UnreadableStateError(f"it has version {facts.version}, and this gateway reads {VERSION}")
    if facts.principal != stored.principal:
        raise UnreadableStateError("it belongs to another user")
    return LinkInfo(
        stored.principal,
        facts.remote,
        facts.user_agent,
        facts.subprotocol,
        token_id=facts.token_id,
        tools=facts.tools,
        link=facts.link,
    )


def state_of(stored: StoredSession) -> SessionState:
    """Return the snapshot of a stored session.

    Raises:
        UnreadableStateError: another version stored it.
    """
    try:
        return _decode_continued(stored.state)
    except msgspec.DecodeError as error:
        raise UnreadableStateError(str(error)) from None


def restore_parts(session: Parts, whole: WholeRequests, stored: StoredSession, limits: Limits) -> None:
    """Give a session the parts of a stored one.

    Raises:
        UnreadableStateError: another version stored it.
    """
    state = state_of(stored)
    session.resumption = end_of(stored, state, limits, time.monotonic())
    whole.restore(state.whole)
    reason = session.attachments.restore(state.attachments)
    session.core.restore(state.core, same_server=state.attachments.private and not reason)
    if state.final is not None:
        session.final = CloseCode(state.final[0]), state.final[1]
    elif reason:
        session.final = CloseCode.UPSTREAM_ENDED, reason


def end_of(stored: StoredSession, state: SessionState, limits: Limits, now: float) -> GatewayEnd:
    """Return the gateway's end of a stored session, detached.

    Args:
        now: ``time.monotonic``.
    """
    window = Window(stored.window_frames, stored.window_bytes)
    entries = [_entry(frame) for frame in stored.frames]
    channel = ReliableChannel.restored(window.frames, window.bytes, stored.received, stored.base, entries)
    left = limits.grace if state.end.left is None else state.end.left
    if stored.expires_at != ATTACHED:
        left = min(left, max(0.0, stored.expires_at - time.time()))
    return GatewayEnd.restored(state.end, channel, window, limits.grace, live_window(limits), now + left)


def _entry(frame: Frame) -> Entry:
    """Return the entry of a stored frame; the end of a request that was in flight becomes its error."""
    data = frame.data
    if frame.outcome:
        data = ended_error(frame.data, frame.outcome).data
    return frame.position, data, frame.weight, frame.droppable


def detail_of(request: Message) -> bytes:
    """Return what is stored of a request in flight: its id and its method, as JSON."""
    if len(request.method) > MAX_METHOD_BYTES:
        return request.id
    return b"[%b,%b]" % (request.id, request.method)


def ended_error(detail: bytes, outcome: str) -> Message:
    """Return the error for a request whose gateway has ended.

    Args:
        detail: as :func:`detail_of` returns it; or the request's id alone, as JSON.
        outcome: :data:`~mcp_ws_ide.engines.base.NOT_SENT` or :data:`~mcp_ws_ide.engines.base.UNKNOWN`.
    """
    if not detail.startswith(b"["):
        return messages.error(detail, UPSTREAM_LOST, ENDED, {"outcome": outcome})
    raw_id, method = msgspec.json.decode(detail, type=tuple[msgspec.Raw, str])
    data = {"outcome": outcome, "method": method}
    return messages.error(bytes(raw_id), UPSTREAM_LOST, f"{method}: {ENDED}", data)


def ended_errors(whole: WholeRequests) -> list[Message]:
    """Return the errors for the requests that are stored whole, of a session that ends with its gateway."""
    requests = whole.requests()
    return [ended_error(detail_of(r), NOT_SENT if whole.waits(r.id_key) else UNKNOWN) for r in requests]
