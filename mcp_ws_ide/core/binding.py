"""The wire contract between the gateway and its clients: subprotocols, close codes, control frames, poll bodies.

The normative text is docs/reference/binding.md. Pure data and string handling: knows no sockets and no HTTP library.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Raw

SUBPROTOCOL_RESUME: Final = "mcp.resume.v1"
SUBPROTOCOL_MCP: Final = "mcp"
SUBPROTOCOL_JUPYTER: Final = "v1.token.websocket.jupyter.org"
VERSION_PREFIX: Final = "mcp.version."
AUTH_PREFIX: Final = "mcp.auth."
JUPYTER_TOKEN_PREFIX: Final = "v1.token.websocket.jupyter.org."  # noqa: S105 - a name, not a secret
TAP_SUBPROTOCOL: Final = "mcp.tap.v1"

SERVER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
ENDPOINT_NAME: Final = re.compile(r"[A-Za-z0-9._-]+|(?:\+[A-Za-z0-9._-]+)+")
"""A server's name, or ``+a+b``: a group of servers."""

CLIENT_USER_AGENT: Final = "mcp-ws-ide-client"
"""Start of the User-Agent of this project's client, which handles every close code."""

PING_INTERVAL: Final = 20.0
"""Seconds between a client's Pings, and to wait for each Pong: a dead link is detected within twice this time."""
ACK_INTERVAL: Final = 1.0
"""Longest time, in seconds, for which a client leaves received messages unacknowledged (section 6.3)."""
POLL_HOLD: Final = 25.0
"""Seconds for which the gateway holds a POST of a poll link while it has nothing to send (section 11)."""

FRAGILE_MAX_BYTES: Final = 1 << 20
"""Longest message that ``websocket_client`` of Python SDK 1.x can receive, in bytes."""


class CloseCode(IntEnum):
    """Why a link was closed (RFC 6455 section 7.4, and the private range of docs/reference/binding.md)."""

    NORMAL = 1000
    """The session has ended normally; a client that sends it ends its session."""
    GOING_AWAY = 1001
    """The gateway is going away, or ends a link of plain ``mcp``; Python SDK 1.x gets it in place of most codes."""
    PROTOCOL_ERROR = 1002
    """A broken frame, five malformed messages, or an impossible count. Ends the session."""
    UNSUPPORTED_DATA = 1003
    """A binary message. Ends the session."""
    INVALID_TEXT = 1007
    """A text message that is not valid UTF-8. Ends the session."""
    POLICY = 1008
    """The client does not read: more than ``max_queued_bytes`` wait for it. A resumable session can be resumed."""
    TOO_BIG = 1009
    """A message larger than ``max_message_bytes``. Ends the session."""
    INTERNAL = 1011
    """An internal error of the gateway."""
    SERVICE_RESTART = 1012
    """The gateway is shutting down or draining; a resumable session is gone, unless the gateway stores sessions."""
    TRY_AGAIN_LATER = 1013
    """There is no room for a new session (the reason names the limit), or sessions cannot be stored now."""
    NO_HELLO = 4400
    """The first frame was neither ``open`` nor ``resume``, or none came within ``hello_timeout``."""
    EXPIRED = 4401
    """The credential has expired or is no longer valid."""
    REVOKED = 4403
    """The gateway token was revoked, or the credential no longer allows this."""
    GONE = 4404
    """The session is gone: its grace period is over, or the gateway restarted and stores no sessions."""
    SUPERSEDED = 4409
    """Another link of the same session took over."""
    OVERFLOW = 4413
    """More responses wait than the window holds; the session has ended."""
    UPSTREAM_ENDED = 4502
    """The session's own server ended, or the server that ``open`` asked for cannot start."""


VIOLATIONS: Final = frozenset(
    {CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA, CloseCode.INVALID_TEXT, CloseCode.TOO_BIG}
)
"""Close codes of a peer that cannot take what the other side sent. That message can be neither skipped nor replayed, so
the session ends with the link (docs/reference/binding.md, section 4)."""

FINAL_CODES: Final = VIOLATIONS | {
    CloseCode.NORMAL,
    CloseCode.NO_HELLO,
    CloseCode.REVOKED,
    CloseCode.SUPERSEDED,
    CloseCode.UPSTREAM_ENDED,
}
"""Close codes after which reconnecting would fail in the same way, or is not wanted."""


class UnknownSubprotocolError(ValueError):
    """Subprotocols were offered, and the gateway knows none of them."""


def offered_subprotocols(headers: Iterable[str]) -> list[str]:
    """Return the entries of all ``Sec-WebSocket-Protocol`` header lines, in order."""
    return [entry.strip() for line in headers for entry in line.split(",") if entry.strip()]


def select_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to answer with; None to answer without one.

    Raises:
        UnknownSubprotocolError: subprotocols were offered, and none of them is known.
    """
    candidates = [entry for entry in offered if not carries_token(entry)]
    for known in (SUBPROTOCOL_RESUME, SUBPROTOCOL_MCP):
        if known in candidates:
            return known
    for entry in candidates:
        if entry.startswith(VERSION_PREFIX):
            return entry
    if SUBPROTOCOL_JUPYTER in candidates:
        return SUBPROTOCOL_JUPYTER
    if candidates:
        raise UnknownSubprotocolError(f"none of the offered subprotocols is known; offer {SUBPROTOCOL_MCP!r}")
    return None


def carries_token(entry: str) -> bool:
    """Return whether a subprotocol entry is a credential, which must never be echoed."""
    return entry.startswith((AUTH_PREFIX, JUPYTER_TOKEN_PREFIX))


def token_from_subprotocols(offered: Sequence[str]) -> str | None:
    """Return the credential among the offered subprotocols: ``mcp.auth.<base64url>`` first, then Jupyter's form."""
    for entry in offered:
        if entry.startswith(AUTH_PREFIX):
            return _decode_token(entry.removeprefix(AUTH_PREFIX))
    for entry in offered:
        if entry.startswith(JUPYTER_TOKEN_PREFIX):
            return entry.removeprefix(JUPYTER_TOKEN_PREFIX)
    return None


def _decode_token(text: str) -> str:
    """Decode a token; one that cannot be decoded becomes a wrong token, not an error."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "\0undecodable"


def is_fragile(subprotocol: str | None, user_agent: str) -> bool:
    """Return whether the peer is the client of Python SDK 1.x.

    It turns every close code except 1000 and 1001 into an exception group, and cannot receive messages above 1 MiB: see
    docs/reference/binding.md, section 4.
    """
    return (
        subprotocol == SUBPROTOCOL_MCP and "websockets/" in user_agent and CLIENT_USER_AGENT not in user_agent
    )


def close_code_for(code: CloseCode, fragile: bool) -> CloseCode:
    """Return ``code``, or its replacement for a fragile peer."""
    if not fragile or code in (CloseCode.NORMAL, CloseCode.GOING_AWAY):
        return code
    return CloseCode.GOING_AWAY


def close_reason(text: str) -> str:
    """Return ``text`` cut to the 123 bytes that fit into a close frame (RFC 6455 section 5.5)."""
    raw = text.encode()
    return text if len(raw) <= 123 else raw[:120].decode(errors="ignore") + "…"


# --- control frames of mcp.resume.v1 (docs/reference/binding.md, section 6) ---------------------------------


class ControlError(ValueError):
    """A control frame that is unknown, or has a missing or ill-typed member."""


class Window(msgspec.Struct, frozen=True):
    """The limit of unacknowledged data frames that either side keeps: their number, and their bytes."""

    frames: int = 4096
    bytes: int = 4 << 20


_Count = Annotated[int, msgspec.Meta(ge=0)]


class Control(msgspec.Struct, omit_defaults=True):
    """A control frame: a JSON object with the member ``mcp.ws`` and without ``jsonrpc``. It is not counted."""

    kind: str = msgspec.field(name="mcp.ws")
    token: str | None = None
    recv: _Count | None = None
    session: str | None = None
    grace: float | None = None
    window: Window | None = None
    max_message_bytes: _Count | None = None
    reason: str | None = None
    dropped: _Count | None = None
    last: bool | None = None
    jsonrpc: Raw = Raw()
    """Present in a data frame only."""


_REQUIRED: Final = {
    "open": (),
    "resume": ("token", "recv"),
    "opened": ("session", "token", "grace", "window"),
    "resumed": ("recv", "token"),
    "gone": (),
    "ack": ("recv",),
    "gap": ("dropped",),
    "ping": (),
    "pong": (),
}


class _Probe(msgspec.Struct):
    control: Raw = msgspec.field(name="mcp.ws", default=Raw())
    jsonrpc: Raw = Raw()


_decode_probe = msgspec.json.Decoder(_Probe).decode
_decode_control = msgspec.json.Decoder(Control).decode
_encode_control = msgspec.json.Encoder().encode


def is_data(frame: bytes) -> bool:
    """Return whether a frame that this side has made is a message, and no control frame."""
    return frame.startswith(b'{"jsonrpc"') or b'"mcp.ws"' not in frame


def parse_control(data: bytes) -> Control | None:
    """Parse a control frame; return None for a data frame, whether or not that is a valid message.

    A frame without the bytes ``"mcp.ws"`` is data, even if it writes that name with an escape: data frames are not
    decoded here.

    Raises:
        ControlError: the control frame is unknown, or a member is missing or ill-typed.
    """
    if data.startswith(b'{"jsonrpc"') or b'"mcp.ws"' not in data:
        return None
    try:
        control = _decode_control(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not _is_control(data):
            return None
        raise ControlError(f"malformed control frame: {error}") from None
    if len(memoryview(control.jsonrpc)):
        return None
    required = _REQUIRED.get(control.kind)
    if required is None:
        raise ControlError(f"unknown control frame {control.kind[:40]!r}")
    for member in required:
        if getattr(control, member) is None:
            raise ControlError(f"control frame {control.kind!r} lacks the member {member!r}")
    return control


def _is_control(data: bytes) -> bool:
    try:
        probe = _decode_probe(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return len(memoryview(probe.control)) > 0 and not len(memoryview(probe.jsonrpc))


def encode_control(control: Control) -> bytes:
    """Encode a control frame."""
    return _encode_control(control)


def ack(recv: int) -> bytes:
    """Encode an acknowledgement: ``recv`` data frames were processed."""
    return b'{"mcp.ws":"ack","recv":%d}' % recv


def gap(dropped: int) -> bytes:
    """Encode a gap: ``dropped`` data frames were dropped here."""
    return b'{"mcp.ws":"gap","dropped":%d}' % dropped


# --- poll link (docs/reference/binding.md, section 11) --------------------------------------------------------


class PollHead(msgspec.Struct, tag_field="mcp.ws", tag="poll"):
    """See :func:`poll_head`."""

    link: str
    sent: _Count
    recv: _Count = 0


class PollClose(msgspec.Struct, tag_field="mcp.ws", tag="close"):
    """See :func:`poll_close`."""

    code: int
    reason: str = ""


def poll_head(link: str, sent: int, recv: int) -> bytes:
    """Encode the first line of a body: before its frames, the sender had sent ``sent`` and received ``recv`` frames."""
    return _encode_control(PollHead(link=link, sent=sent, recv=recv))


def poll_close(code: int, reason: str) -> bytes:
    """Encode the last line of a link."""
    return _encode_control(PollClose(code=code, reason=reason))


HELLO: Final = re.compile(rb'\s*\{\s*"(?:mcp\.ws|token|recv)"\s*:')
"""How the first frame of a resumable link begins."""


def is_poll_head(body: bytes) -> bool:
    """Return whether a body begins with the line that names its link, in whatever JSON spelling."""
    try:
        _decode_head(body.lstrip().partition(b"\n")[0])
    except (msgspec.DecodeError, RecursionError):
        return body.lstrip().startswith(b'{"mcp.ws":"poll"')  # to be refused as a malformed head
    return True


def parse_poll(body: bytes) -> tuple[PollHead, list[bytes], PollClose | None]:
    """Parse one body or answer into its head, its frames, and the end of the link if it has one.

    Raises:
        ControlError: the head is missing or malformed, or the end is malformed.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        head = _decode_head(lines[0] if lines else b"")
        end = _decode_end(lines[-1]) if len(lines) > 1 and _CLOSE.match(lines[-1]) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = '{"mcp.ws":"poll","link":…,"sent":…}'
        raise ControlError(f"malformed poll body: {error}; the first line must be {expected}") from None
    return head, lines[1 : len(lines) - (end is not None)], end


_CLOSE: Final = re.compile(rb'\s*\{\s*"mcp\.ws"\s*:\s*"close"')
_decode_head = msgspec.json.Decoder(PollHead).decode
_decode_end = msgspec.json.Decoder(PollClose).decode

PING: Final = b'{"mcp.ws":"ping"}'
PONG: Final = b'{"mcp.ws":"pong"}'
