"""The tap: the live feed of records of everything that passes the gateway. Bounded, redacted, never blocking.

The gateway reports here; nothing is built for a principal without watchers. Each record goes, redacted, into the one
bounded history of its principal (:mod:`.feed`), so that reporting costs the same however many watch (promise 6 of
docs/contribute/architecture.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.compiling import plain_data
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import REQUEST, RESPONSE, Message
from mcp_ws_ide.errors import MalformedMessageError
from mcp_ws_ide.observe.feed import Feed, Position, clock
from mcp_ws_ide.observe.redaction import RAW_LIMIT, Redactor
from mcp_ws_ide.observe.tap_record import HIDDEN, NO_ID, GapRecord, TapRecord

GRACE: Final = 60.0
"""Seconds that a feed is kept after its last watcher has left, unless configured."""
EXPECTED_SECONDS: Final = 10.0
"""Seconds that a feed is kept at least for a watcher that is about to come."""
MEMO_BYTES: Final = 64 << 10
"""Bytes of the longest message that is remembered until the next one; most messages pass twice."""
METHOD_LIMIT: Final = 200
"""Characters of a method that a record keeps."""

_HEAD: Final = re.compile(
    rb'\{"jsonrpc":"2\.0","id":(-?\d{1,18}|"[^"\\]{0,256}"),"(?:(result|error)"|method":"([^"\\]{1,128})")'
)
"""How most messages begin; only applied to data that is known to be a message."""


@plain_data(acyclic=True)
class _Look:
    """The analysis of the newest message, reused when it passes again, unchanged or with another id.

    Attributes:
        data: the message; None if there was none.
        message: the message with its parameters or result, if nothing of it was redacted or truncated.
        payload: those parameters or that result; None if there is no ``message``.
    """

    __slots__ = ("data", "id", "kind", "message", "method", "payload", "text", "truncated")

    def __init__(
        self,
        data: bytes | None,
        kind: str,
        method: str | None,
        id: Raw,
        text: str,
        truncated: bool,
        message: Message | None = None,
        payload: bytes | None = None,
    ) -> None:
        self.data = data
        self.kind = kind
        self.method = method
        self.id = id
        self.text = text
        self.truncated = truncated
        self.message = message
        self.payload = payload


_NOTHING: Final = _Look(None, "", None, NO_ID, "", False)


class Tap:
    """Where the gateway reports records and watchers subscribe. Check :attr:`active` before building anything.

    Args:
        grace: seconds that a feed is kept without watchers, so that a watcher that reconnects misses nothing.

    Attributes:
        gateway: id of this gateway, if it is one of several that share an engine; ``""`` if not.
        active: whether anybody watches.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.gateway = ""
        self.active = False
        self._sink: Callable[[str, TapRecord], None] | None = None
        self.for_tokens = False
        """Whether a watcher subscribed with a gateway token; only then the owner of a server's message matters."""
        self._redactor = Redactor()
        self._grace = grace
        self._feeds: dict[str, Feed] = {}
        self._drops = 0
        self._wall = time.time() - time.monotonic()
        """Seconds to add to monotonic time for Unix time; reading both clocks for each record costs more."""
        self._memo = _NOTHING

    @property
    def redactor(self) -> Redactor:
        """What hides secrets; a new one applies to every message from then on."""
        return self._redactor

    @redactor.setter
    def redactor(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._memo = _NOTHING

    @property
    def drops(self) -> int:
        """Records that slow watchers have missed, in total."""
        return self._drops + sum(feed.drops for feed in self._feeds.values())

    # --- watchers ---------------------------------------------------------------------------------

    def check_place(self, owner: str, after: int | None, instance: str | None) -> None:
        """Check the position that a watcher wants to continue from.

        Raises:
            ValueError: the feed has no record of that number yet.
        """
        feed = self._feeds.get(owner)
        if feed is not None and after is not None and instance == feed.instance and after > feed.seq:
            raise ValueError(f'"after" is {after}, but the newest record has the number {feed.seq}')

    def subscribe(
        self, owner: str, watcher: Position, after: int | None = None, instance: str | None = None
    ) -> None:
        """Subscribe to the records of ``owner``: new ones only, or all after record ``after`` of feed ``instance``."""
        feed = self._feed(owner)
        feed.ends = None
        if not watcher.from_peer:
            feed.gathers_until = None
        feed.watchers.append(watcher)
        watcher.attach(feed, after, instance)
        self.for_tokens = self.for_tokens or watcher.token is not None or watcher.from_peer

    def _feed(self, owner: str) -> Feed:
        """Return the feed of a principal, made if there is none."""
        feed = self._feeds.get(owner)
        if feed is None:
            feed = self._feeds[owner] = Feed(self.gateway)
        self.active = True
        return feed

    def report_to(self, sink: Callable[[str, TapRecord], None]) -> None:
        """Call ``sink`` with the principal and each record that this gateway makes, of all principals.

        It is called while the message waits, so it must be quick, and must not raise.
        """
        self._sink = sink
        self.active = True

    def unsubscribe(self, watcher: Position) -> None:
        """End a subscription; the feed is kept for the grace period after its last watcher has left."""
        for feed in self._feeds.values():
            if watcher in feed.watchers:
                feed.watchers.remove(watcher)
                feed.sleeping = [other for other in feed.sleeping if other is not watcher]
                ends = time.monotonic() + self._grace
                if not feed.watchers:
                    feed.ends = ends
                if feed.gathers_until is None and all(other.from_peer for other in feed.watchers):
                    feed.gathers_until = ends

    def tick(self, now: float) -> None:
        """Discard feeds whose grace period is over; called once a second with ``time.monotonic()``."""
        for owner, feed in list(self._feeds.items()):
            if feed.ends is not None and now >= feed.ends:
                self._drops += feed.drops
                del self._feeds[owner]
        self.active = bool(self._feeds) or self._sink is not None
        self.for_tokens = self.for_tokens and self.active
        self._memo = _NOTHING
        self._wall = time.time() - time.monotonic()

    # --- records of other gateways ----------------------------------------------------------------

    def keeps(self, owner: str) -> bool:
        """Whether there is a feed of ``owner``."""
        return owner in self._feeds

    def keep(self, owner: str) -> Feed:
        """Keep the records of ``owner`` for a watcher that is about to come; return the feed."""
        feed = self._feed(owner)
        if not feed.watchers:
            feed.ends = time.monotonic() + max(self._grace, EXPECTED_SECONDS)
        return feed

    def expect(self, owner: str) -> None:
        """The same, and gather the records of other gateways."""
        feed = self.keep(owner)
        if feed.gathers_until is not None:
            feed.gathers_until = time.monotonic() + max(self._grace, EXPECTED_SECONDS)

    @property
    def gathering(self) -> set[str]:
        """The principals whose records at other gateways are wanted here."""
        now = time.monotonic()
        return {
            owner
            for owner, feed in self._feeds.items()
            if feed.gathers_until is None or now < feed.gathers_until
        }

    def add(self, owner: str, records: Iterable[tuple[str | None, TapRecord]]) -> None:
        """Add records that another gateway has redacted and named, each with the gateway token of its session."""
        feed = self._feeds.get(owner)
        if feed is None:
            return
        for token, record in records:
            record.seq = feed.seq + 1
            feed.append(record, token)

    def add_gap(self, owner: str, gateway: str, detail: str, count: int | None) -> None:
        """Report that records of another gateway are missing, or may be; ``count`` is None if it is not known."""
        feed = self._feeds.get(owner)
        if feed is None:
            return
        gap = GapRecord(feed.seq + 1, *clock(), kind="gap", event="gap", detail=detail, count=count)
        gap.gateway = gateway
        feed.append(gap, None)

    def add_watched(self, owner: str, gateway: str, detail: str) -> None:
        """Report from where on the feed has the records of another gateway."""
        feed = self._feeds.get(owner)
        if feed is None:
            return
        record = TapRecord(feed.seq + 1, *clock(), event="gateway_watched", detail=detail)
        record.gateway = gateway
        feed.append(record, None)

    # --- gateway tokens ---------------------------------------------------------------------------

    @property
    def tokens(self) -> set[str]:
        """Gateway tokens that watchers subscribed with."""
        return {w.token for feed in self._feeds.values() for w in feed.watchers if w.token is not None}

    def end_token(self, token: str, code: CloseCode, reason: str) -> None:
        """Close the watchers that subscribed with a gateway token."""
        for feed in self._feeds.values():
            for watcher in [w for w in feed.watchers if w.token == token]:
                watcher.close(code, reason)

    # --- records ----------------------------------------------------------------------------------

    def message(
        self,
        owner: str,
        server: str,
        session: str | None,
        leg: str,
        direction: str,
        data: bytes,
        message: Message | None = None,
        origin: tuple[str, bytes] | None = None,
        token: str | None = None,
    ) -> None:
        """Report a message that belongs to the principal ``owner``.

        Args:
            leg: ``client`` or ``upstream``: the side of the gateway on which it was seen.
            direction: ``in`` or ``out``, seen from the gateway.
            message: ``data`` parsed, if the caller has it.
            origin: session and raw id of the client's request that this one carries to a server; its own id may
                differ.
            token: the gateway token whose holder may see it; None if only the owner may.
        """
        feed, sink = self._feeds.get(owner), self._sink
        if feed is None and sink is None:
            return
        look = self._memo
        if look.data is not data:
            look = self._look_at(data, message)
        now = monotonic()
        # fmt: off
        record = TapRecord(
            feed.seq + 1 if feed is not None else 0, now + self._wall, now, server, session, leg, direction,
            look.kind, look.method, look.id, len(data), look.text, look.truncated,
        )
        # fmt: on
        if origin is not None and look.kind == "request":
            record.origin_session, record.origin_id = origin[0], Raw(origin[1])
        if self.gateway:
            record.gateway = self.gateway
        if sink is not None:
            sink(owner, record)
        if feed is not None:
            feed.append(record, token)

    def _look_at(self, data: bytes, message: Message | None) -> _Look:
        """Classify and redact a message. Most pass twice, either unchanged or with only their id replaced."""
        last, known, payload = self._memo, 0, b""
        if message is not None and message.data is data and not message.extra:
            payload = message.params or message.result
            if payload is last.payload and last.message is not None and _differ_in_id(message, last.message):
                if message.id.isdigit() and len(data) <= RAW_LIMIT:  # a number as id is never hidden
                    last.data, last.id, last.text = data, Raw(message.id), data.decode("utf-8", "replace")
                    return last
                known = len(payload) + 1 if data.endswith(payload + b"}") else 0
        kind, method, raw_id = _describe(data, message)
        text, cut = self._redactor.message(data, known)
        look = _Look(data, kind, method, raw_id, text, cut)
        if len(data) <= MEMO_BYTES:
            self._memo = look
            if payload and not cut and HIDDEN not in text:
                look.message, look.payload = message, payload
        return look

    def event(
        self,
        owner: str,
        server: str,
        session: str | None,
        event: str,
        detail: str = "",
        *,
        token: str | None = None,
    ) -> None:
        """Report an event such as ``link_opened`` or ``upstream_closed``; ``token`` as of :meth:`message`."""
        feed, sink = self._feeds.get(owner), self._sink
        if feed is None and sink is None:
            return
        record = TapRecord(feed.seq + 1 if feed is not None else 0, *clock(), server, session)
        record.event, record.detail = event, self._redactor.text(detail) or None
        record.gateway = self.gateway or msgspec.UNSET
        if sink is not None:
            sink(owner, record)
        if feed is not None:
            feed.append(record, token)

    def noise(self, owner: str, server: str, session: str | None, source: str, text: str) -> None:
        """Report output of a server that is not a message, each line in a record; ``source`` is its event.

        Hidden from gateway tokens.
        """
        feed = self._feeds.get(owner)
        if feed is None:
            return
        wall, mono = clock()
        gateway = self.gateway or msgspec.UNSET
        for line, raw in zip(text.split("\n"), self._redactor.lines(text), strict=True):
            record = TapRecord(feed.seq + 1, wall, mono, server, session, "upstream", "in", "noise")
            record.event, record.size, record.raw, record.gateway = source, len(line), raw, gateway
            feed.append(record, None)


def _differ_in_id(one: Message, other: Message) -> bool:
    """Whether two messages with the same payload differ in nothing but their ids."""
    return one.method == other.method and one.kind is other.kind


def _describe(data: bytes, message: Message | None) -> tuple[str, str | None, msgspec.Raw]:
    """Return the kind, method and raw id of a message."""
    if message is None:
        if (head := _HEAD.match(data)) is not None:
            raw_id, answer, method = head.groups()
            if answer is not None:
                return ("error" if answer == b"error" else "response"), None, Raw(raw_id)
            return "request", method.decode(errors="replace"), Raw(raw_id)
        try:
            message = messages.parse(data)
        except MalformedMessageError:
            return "malformed", None, NO_ID
    raw_id = Raw(message.id) if message.id else NO_ID
    if message.kind is RESPONSE:
        return ("error" if message.error else "response"), None, raw_id
    return (
        ("request" if message.kind is REQUEST else "notification"),
        message.method_name[:METHOD_LIMIT],
        raw_id,
    )
