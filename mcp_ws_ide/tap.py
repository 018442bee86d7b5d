"""The tap: what passes the gateway, for those who may watch. Bounded, redacting, never in the way.

Nothing is built while nobody watches. A watcher that falls behind loses the oldest records and is told
how many (promise 6 of docs/architecture.md).
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mcp_ws_ide import messages
from mcp_ws_ide.errors import MalformedMessage

RAW_LIMIT: Final = 16 * 1024
"""Bytes of a message that a record carries."""
REDACT_LIMIT: Final = 1 << 20
"""Messages above this size that may hold a secret are withheld instead of parsed."""
WATCHER_LIMIT: Final = 2000
"""Records that wait for one watcher before the oldest is dropped."""
HIDDEN: Final = "••••"

_SUSPECT: Final = re.compile(
    rb"(?i)(?<!progress)token|secret|passw|authorization|api[_-]?key|cookie|credential|bearer|private[_-]?key"
    rb"|\\u00[4-7]"  # a letter written as an escape: nobody does that but to hide a name
)
_SECRET_KEY: Final = re.compile(
    r"(?i)(^|[^a-z])?(access|auth|refresh|id|bearer|session|csrf|xsrf|api|client)?[_-]?(token|secret|password|passwd|"
    r"passphrase|api[_-]?key|authorization|credentials?|private[_-]?key|cookie)$"
)
_NOT_SECRET: Final = frozenset({"progressToken", "nextPageToken"})
_BEARER: Final = re.compile(r"(?i)\b(bearer|token|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


class Record(msgspec.Struct):
    """One observation, as watchers receive it (docs/inspector.md)."""

    seq: int
    time: float
    mono: float
    server: str
    session: str | None = None
    leg: str | None = None
    direction: str | None = None
    kind: str = "event"
    method: str | None = None
    id: msgspec.Raw | None = None
    size: int = 0
    raw: str | None = None
    truncated: bool = False
    event: str | None = None
    detail: str | None = None
    drops: int = 0
    origin_session: str | None = None
    origin_id: msgspec.Raw | None = None


_encode = msgspec.json.Encoder().encode


class Watcher:
    """One subscriber: a bounded queue of encoded records and a way to say that it is no longer empty."""

    def __init__(self, wake: Callable[[], None], accepts: Callable[[str, Record], bool]) -> None:
        self._wake = wake
        self._accepts = accepts
        self._queue: deque[Record] = deque()
        self.drops = 0

    def offer(self, owner: str, record: Record) -> int:
        """Queue a record of ``owner``'s; returns how many older ones it displaced."""
        if not self._accepts(owner, record):
            return 0
        displaced = 0
        if len(self._queue) >= WATCHER_LIMIT:
            self._queue.popleft()
            self.drops += 1
            displaced = 1
        self._queue.append(record)
        if len(self._queue) == 1:
            self._wake()
        return displaced

    def take(self, limit: int = 200) -> bytes:
        """Up to ``limit`` waiting records, one JSON object a line; ``b""`` when none waits."""
        lines: list[bytes] = []
        while self._queue and len(lines) < limit:
            record = self._queue.popleft()
            record.drops = self.drops
            lines.append(_encode(record))
        return b"\n".join(lines)


class Tap:
    """Where the gateway reports and watchers subscribe. Check :attr:`active` before building anything."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._seq = 0
        self.active = False
        self.drops = 0

    def subscribe(self, watcher: Watcher) -> None:
        """Start to deliver to ``watcher``."""
        self._watchers.append(watcher)
        self.active = True

    def unsubscribe(self, watcher: Watcher) -> None:
        """Stop delivering to it."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        self.active = bool(self._watchers)

    def message(
        self,
        owner: str,
        server: str,
        session: str | None,
        leg: str,
        direction: str,
        data: bytes,
        origin: tuple[str, bytes] | None = None,
    ) -> None:
        """Report a message of the principal ``owner``; ``direction`` is seen from the gateway.

        ``origin`` is the session and the raw id of the client's request that this one carries to a server,
        where the id may be another.
        """
        record = self._record(server, session)
        record.leg, record.direction, record.size = leg, direction, len(data)
        record.kind, record.method, record.id = _describe(data)
        record.raw, record.truncated = redact(data)
        if origin is not None and record.kind == "request":
            record.origin_session, record.origin_id = origin[0], msgspec.Raw(origin[1])
        self._emit(owner, record)

    def event(self, owner: str, server: str, session: str | None, event: str, detail: str = "") -> None:
        """Report something that happened: ``link_opened``, ``upstream_closed``, …"""
        if not self.active:
            return
        record = self._record(server, session)
        record.event, record.detail = event, redact_text(detail) or None
        self._emit(owner, record)

    def noise(self, owner: str, server: str, session: str | None, source: str, text: str) -> None:
        """Report output of a server that is not a message."""
        if not self.active:
            return
        record = self._record(server, session)
        record.leg, record.direction, record.kind = "upstream", "in", "noise"
        record.event, record.size = source, len(text)
        record.raw = redact_text(text)[:RAW_LIMIT]
        self._emit(owner, record)

    def _record(self, server: str, session: str | None) -> Record:
        self._seq += 1
        return Record(self._seq, time.time(), time.monotonic(), server, session)

    def _emit(self, owner: str, record: Record) -> None:
        for watcher in self._watchers:
            # Each watcher counts its own drops in the record, so each needs a record of its own.
            own = record if len(self._watchers) == 1 else msgspec.structs.replace(record)
            self.drops += watcher.offer(owner, own)


def _describe(data: bytes) -> tuple[str, str | None, msgspec.Raw | None]:
    try:
        message = messages.parse(data)
    except MalformedMessage:
        return "malformed", None, None
    kind = message.kind.name.lower()
    if message.kind is messages.Kind.RESPONSE and message.error:
        kind = "error"
    return kind, message.method_name or None, msgspec.Raw(message.id) if message.id else None


def redact(data: bytes) -> tuple[str, bool]:
    """The text of a message without its secrets, and whether it was cut.

    The usual message has no suspicious word and is returned verbatim; only the others are parsed.
    """
    if _SUSPECT.search(data) is not None:
        if len(data) > REDACT_LIMIT:
            return f"{HIDDEN} withheld: {len(data)} bytes that may hold a secret", True
        data = _without_secrets(data)
    return data[:RAW_LIMIT].decode(errors="replace"), len(data) > RAW_LIMIT


def _without_secrets(data: bytes) -> bytes:
    try:
        return _encode(_scrub(msgspec.json.decode(data)))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return f"{HIDDEN} withheld: cannot be parsed and may hold a secret".encode()


def _scrub(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if _is_secret(key) and _holds_text(item) else _scrub(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _is_secret(key: str) -> bool:
    return key not in _NOT_SECRET and _SECRET_KEY.search(key) is not None


def _holds_text(item: Any) -> bool:
    """A schema describes a member called "password"; that description is no secret."""
    return not (isinstance(item, dict) and "type" in item) and item is not None and not isinstance(item, bool)


def redact_text(text: str) -> str:
    """Free text without credentials written as ``Bearer …`` or ``token …``."""
    return _BEARER.sub(lambda found: f"{found[1]} {HIDDEN}", text)
