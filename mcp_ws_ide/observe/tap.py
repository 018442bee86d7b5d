"""The tap: the live feed of everything that passes the gateway, redacted and bounded (docs/reference/tap.md).

Nothing is built for a principal whom nobody watches. Redacted records go into one bounded history per principal
(:class:`Feed`), and each watcher has a position in it. A watcher that falls out of the history, because it is slow or
was disconnected, learns exactly which records it has missed. Reporting costs the same however many watchers there are.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.messages import Kind, Message
from mcp_ws_ide.errors import MalformedMessage
from mcp_ws_ide.observe.redaction import HIDDEN, Redactor
from mcp_ws_ide.observe.tap_record import NO_ID, AttachedRecord, GapRecord, TapRecord, encode

HISTORY_RECORDS: Final = 10_000
"""Records that one principal's feed holds."""
HISTORY_BYTES: Final = 16 << 20
"""The same in bytes of memory, roughly."""
GRACE: Final = 60.0
"""Seconds that a feed goes on after its last watcher has left."""
OVERHEAD: Final = 600
"""Bytes of a record besides twice its text."""
BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 256 << 10
"""Bounds of what one watcher takes at a time."""
MEMO_BYTES: Final = 64 << 10
"""Messages up to this size are remembered until the next one: most pass twice, unchanged."""
METHOD_LIMIT: Final = 200
"""Characters of a method that are shown."""
MAX_ASKED: Final = 4096
"""Requests whose answers a watcher of methods still waits for."""

_KINDS: Final = ("request", "notification", "response")
"""By :class:`~mcp_ws_ide.core.messages.Kind`."""
_HEAD: Final = re.compile(
    rb'\{"jsonrpc":"2\.0","id":(-?\d{1,18}|"[^"\\]{0,256}"),"(?:(result|error)"|method":"([^"\\]{1,128})")'
)
"""How most messages begin; only used where it is known that the whole is a message."""
_TROUBLE: Final = frozenset({"dropped", "link_lost", "upstream_closed", "log_level_stripped", "fault"})
"""Events that somebody who asks for errors wants to see."""


class Scope(msgspec.Struct, frozen=True):
    """What a watcher wants to see. Empty means everything.

    Attributes:
        sessions: ids, or how they begin.
        methods: matches a whole method; an answer has that of its request.
        errors: only what went wrong: JSON-RPC errors, results with ``isError``, malformed messages, losses.
    """

    servers: frozenset[str] = frozenset()
    sessions: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    methods: re.Pattern[str] | None = None
    leg: str = ""
    direction: str = ""
    errors: bool = False

    def accepts(self, record: TapRecord, asked: Asked) -> bool:
        """Whether a record belongs to it; ``asked`` remembers the requests of one watcher."""
        if self.servers and record.server not in self.servers:
            return False
        if self.sessions and not (record.session or record.origin_session or "").startswith(self.sessions):
            return False
        if self.methods is not None and not asked.is_about(record, self.methods):
            return False
        if self.kinds and record.kind not in self.kinds:
            return False
        if (self.leg and record.leg != self.leg) or (self.direction and record.direction != self.direction):
            return False
        return not self.errors or _is_trouble(record)


EVERYTHING: Final = Scope()


def _is_trouble(record: TapRecord) -> bool:
    if record.kind == "response":
        return record.raw is not None and '"isError":true' in record.raw.replace(" ", "")
    return record.kind in ("error", "malformed") or record.event in _TROUBLE


class Asked:
    """Open requests of the methods that a watcher wants: their answers do not name a method."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None, str | None, str | None, bytes], None] = {}

    def is_about(self, record: TapRecord, methods: re.Pattern[str]) -> bool:
        """Whether a record is of one of the methods."""
        if record.method is not None:
            wanted = methods.fullmatch(record.method) is not None
            if wanted and record.id != NO_ID:
                self._remember(record)
            return wanted
        if record.id == NO_ID:
            return False
        back = "out" if record.direction == "in" else "in"
        key = (record.server, record.session, record.leg, back, bytes(record.id))
        return self._open.pop(key, 0) is None

    def _remember(self, record: TapRecord) -> None:
        if len(self._open) >= MAX_ASKED:
            del self._open[next(iter(self._open))]
        self._open[(record.server, record.session, record.leg, record.direction, bytes(record.id))] = None


class Watcher:
    """One subscriber: its place in a feed.

    Args:
        wake: called when something waits and nothing waited before.
        token: the gateway token it came with, which limits it to that token's sessions; None sees everything.
        close: ends it, with a close code and the reason.

    Attributes:
        drops: records it has missed because it was too slow.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        scope: Scope = EVERYTHING,
        token: str | None = None,
        close: Callable[[CloseCode, str], None] = lambda code, reason: None,
    ) -> None:
        self.wake = wake
        self.close = close
        self.token = token
        self.drops = 0
        self.everything = scope == EVERYTHING and token is None
        self._scope = scope
        self._asked = Asked()
        self._feed: Feed | None = None
        self.next = 0
        self._first: list[bytes] = []
        self._missed: list[int] = []
        self._told = 0
        """Of the drops."""

    def attach(self, feed: Feed, after: int | None, instance: str | None) -> None:
        """Start in ``feed``, behind what the watcher has seen of it."""
        self._feed = feed
        self.next = feed.seq + 1
        gap: tuple[int | None, int | None, int | None] | None = None
        if after is not None and instance != feed.instance:
            self.next, gap = feed.first, (None, None, None)
        elif after is not None:
            self.next = max(after + 1, feed.first)
            if self.next > after + 1:
                gap = (after + 1, self.next - 1, self.next - 1 - after)
        attached = AttachedRecord(self.next - 1, *_clock(), event="attached", instance=feed.instance)
        self._first = [encode(attached)]
        if gap is not None:
            self._first.append(self._gap(*gap))

    def lose(self, record: TapRecord, token: str | None) -> bool:
        """The oldest record gives way before it was taken; returns whether the watcher would have got it."""
        self.next = record.seq + 1
        if not self.sees(record, token):
            return False
        self.drops += 1
        self._missed = [self._missed[0] if self._missed else record.seq, record.seq]
        return True

    def sees(self, record: TapRecord, token: str | None) -> bool:
        """Whether a record is one that it asked for, and may see."""
        if self.everything:
            return True
        if self.token is not None and token != self.token:
            return False
        return self._scope.accepts(record, self._asked)

    def take(self) -> bytes:
        """What waits, at most a batch, one JSON object a line; ``b""`` when nothing does.

        ``attached`` and gaps come alone.
        """
        if self._first:
            return self._first.pop(0)
        if self._missed:
            start, end = self._missed
            self._missed = []
            lost, self._told = self.drops - self._told, self.drops
            return self._gap(start, end, lost)
        return self._batch()

    def _batch(self) -> bytes:
        feed = self._feed
        if feed is None:
            return b""
        lines = feed.lines(self)
        if not lines and self not in feed.sleeping:
            feed.sleeping.append(self)
        return b"\n".join(lines)

    def _gap(self, start: int | None, end: int | None, count: int | None) -> bytes:
        if count is None:
            words = "the gateway was restarted, or nobody watched for a while: nobody counted what passed"
        else:
            words = f"{count} records are missing here: they gave way to newer ones"
        at = end if end is not None else self.next - 1
        return encode(
            GapRecord(
                *(at, *_clock()),
                kind="gap",
                event="gap",
                detail=words,
                drops=self.drops,
                from_=start,
                to=end,
                count=count,
            )
        )


class _Held(msgspec.Struct, gc=False):
    """A record of a feed, and its line once somebody wanted it."""

    record: TapRecord
    token: str | None
    weight: int
    line: bytes | None = None


class Feed:
    """The newest records of one principal, numbered from 1, and who watches them.

    Attributes:
        instance: tells this feed's numbers from those of any other feed, also after a restart.
        seq, first: number of the newest record, and of the oldest that is held.
        sleeping: watchers that have taken everything.
        ends: when it is forgotten (``time.monotonic``); None while somebody watches.
    """

    def __init__(self) -> None:
        self.instance = secrets.token_hex(8)
        self.seq = 0
        self.first = 1
        self.watchers: list[Watcher] = []
        self.sleeping: list[Watcher] = []
        self.ends: float | None = None
        self.drops = 0
        self._bytes = 0
        self._ring: list[_Held | None] = [None] * HISTORY_RECORDS
        """TapRecord n at n modulo its length."""

    def append(self, record: TapRecord, token: str | None) -> None:
        """Take the next record, whose number is ``seq + 1``."""
        seq = record.seq
        weight = OVERHEAD if record.raw is None else OVERHEAD + 2 * len(record.raw)
        total = self._bytes + weight
        if seq - self.first >= HISTORY_RECORDS or total > HISTORY_BYTES:
            total -= self._make_room(seq, total)
        self._ring[seq % HISTORY_RECORDS] = _Held(record, token, weight)
        self._bytes = total
        self.seq = seq
        if self.sleeping:
            sleeping, self.sleeping = self.sleeping, []
            for watcher in sleeping:
                watcher.wake()

    def _make_room(self, seq: int, total: int) -> int:
        """Let the oldest go until record ``seq`` fits; returns the bytes that they weighed."""
        freed = 0
        while self.first < seq and (seq - self.first >= HISTORY_RECORDS or total - freed > HISTORY_BYTES):
            index = self.first % HISTORY_RECORDS
            old = self._ring[index]
            assert old is not None
            self._ring[index] = None
            freed += old.weight
            for watcher in self.watchers:
                if watcher.next == self.first:
                    self.drops += watcher.lose(old.record, old.token)
            self.first += 1
        return freed

    def lines(self, watcher: Watcher) -> list[bytes]:
        """The next records that ``watcher`` sees, at most a batch; moves it on."""
        ring, size = self._ring, 0
        lines: list[bytes] = []
        seq, sees, everything = watcher.next, watcher.sees, watcher.everything
        while seq <= self.seq and size < BATCH_BYTES and len(lines) < BATCH_RECORDS:
            held = ring[seq % HISTORY_RECORDS]
            assert held is not None
            if everything or sees(held.record, held.token):
                line = held.line
                if line is None:
                    line = held.line = encode(held.record)
                size += len(line)
                lines.append(line)
            seq += 1
        watcher.next = seq
        return lines


class _Look(msgspec.Struct, gc=False):
    """What the newest message is, for when it passes again.

    ``tail`` are the bytes it ends with that hold no secret; ``b""`` where it has any.
    """

    data: bytes
    kind: str
    method: str | None
    id: msgspec.Raw
    text: str
    truncated: bool
    tail: bytes = b""


class Tap:
    """Where the gateway reports and watchers subscribe. Check :attr:`active` before building anything.

    Args:
        grace: seconds a feed goes on without watchers, so that one that comes back finds what it missed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.active = False
        self.for_tokens = False
        """Whether anybody watches with a gateway token: only then it matters whose a server's message is."""
        self.redactor = Redactor()
        self._grace = grace
        self._feeds: dict[str, Feed] = {}
        self._drops = 0
        self._wall = time.time() - time.monotonic()
        """From monotonic to wall-clock seconds; asking twice for each record costs more."""
        self._memo: _Look | None = None

    @property
    def drops(self) -> int:
        """Records that slow watchers have missed, in all."""
        return self._drops + sum(feed.drops for feed in self._feeds.values())

    # --- who watches ------------------------------------------------------------------------------

    def check_place(self, owner: str, after: int | None, instance: str | None) -> None:
        """Whether a watcher may go on from there.

        Raises:
            ValueError: it has seen more than there was, in words.
        """
        feed = self._feeds.get(owner)
        if feed is not None and after is not None and instance == feed.instance and after > feed.seq:
            raise ValueError(f'"after" is {after}, and the newest record has the number {feed.seq}')

    def subscribe(
        self, owner: str, watcher: Watcher, after: int | None = None, instance: str | None = None
    ) -> None:
        """Show ``watcher`` what is ``owner``'s: from now on, or from behind record ``after`` of a feed."""
        feed = self._feeds.get(owner)
        if feed is None:
            feed = self._feeds[owner] = Feed()
        feed.ends = None
        feed.watchers.append(watcher)
        watcher.attach(feed, after, instance)
        self.active = True
        self.for_tokens = self.for_tokens or watcher.token is not None

    def unsubscribe(self, watcher: Watcher) -> None:
        """Stop showing it anything; the last one of a feed leaves it to the grace time."""
        for feed in self._feeds.values():
            if watcher in feed.watchers:
                feed.watchers.remove(watcher)
                feed.sleeping = [other for other in feed.sleeping if other is not watcher]
                if not feed.watchers:
                    feed.ends = time.monotonic() + self._grace

    def tick(self, now: float) -> None:
        """Once a second (``now``: ``time.monotonic``): forget what nobody has come back for."""
        for owner, feed in list(self._feeds.items()):
            if feed.ends is not None and now >= feed.ends:
                self._drops += feed.drops
                del self._feeds[owner]
        self.active = bool(self._feeds)
        self.for_tokens = self.for_tokens and self.active
        self._memo = None
        self._wall = time.time() - time.monotonic()

    @property
    def tokens(self) -> set[str]:
        """Gateway tokens that watchers came with."""
        return {w.token for feed in self._feeds.values() for w in feed.watchers if w.token is not None}

    def end_token(self, token: str, code: CloseCode, reason: str) -> None:
        """The watchers that came with a token are not to see more."""
        for feed in self._feeds.values():
            for watcher in [w for w in feed.watchers if w.token == token]:
                watcher.close(code, reason)

    # --- what is seen -----------------------------------------------------------------------------

    def message(
        self,
        owner: str,
        server: str,
        session: str | None,
        leg: str,
        direction: str,
        data: bytes,
        *,
        message: Message | None = None,
        origin: tuple[str, bytes] | None = None,
        token: str | None = None,
    ) -> None:
        """Report a message of the principal ``owner``.

        Args:
            direction: ``in`` or ``out``, seen from the gateway.
            message: ``data``, where it was read already.
            origin: session and raw id of the client's request that this one carries to a server, where the id may
                be another.
            token: the gateway token whose holder may see it; None where only the owner may.
        """
        feed = self._feeds.get(owner)
        if feed is None:
            return
        memo = self._memo
        if memo is None or memo.data is not data:
            memo = self._look_at(data, message)
        now, size = time.monotonic(), len(data)
        wall = now + self._wall
        # fmt: off
        record = TapRecord(
            feed.seq + 1, wall, now, server, session, leg, direction,
            memo.kind, memo.method, memo.id, size, memo.text, memo.truncated,
        )
        # fmt: on
        if origin is not None and memo.kind == "request":
            record.origin_session, record.origin_id = origin[0], msgspec.Raw(origin[1])
        feed.append(record, token)

    def _look_at(self, data: bytes, message: Message | None) -> _Look:
        """What a message is, and what may be shown of it. Most come twice: as they were, or with another id alone."""
        before = self._memo.tail if self._memo is not None else b""
        known = len(before) if before and data.endswith(before) else 0
        kind, method, raw_id = _describe(data, message)
        text, cut = self.redactor.message(data, known)
        look = _Look(data, kind, method, raw_id, text, cut)
        if len(data) <= MEMO_BYTES:
            self._memo = look
            if message is not None and not cut and len(text) == len(data) and data.isascii():
                look.tail = _tail(message) if HIDDEN not in text else b""
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
        """Report something that happened: ``link_opened``, ``upstream_closed``, …"""
        feed = self._feeds.get(owner)
        if feed is None:
            return
        record = TapRecord(feed.seq + 1, *_clock(), server, session)
        record.event, record.detail = event, self.redactor.text(detail) or None
        feed.append(record, token)

    def noise(self, owner: str, server: str, session: str | None, source: str, text: str) -> None:
        """Report output of a server that is not a message. Holders of gateway tokens do not see it."""
        feed = self._feeds.get(owner)
        if feed is None:
            return
        record = TapRecord(feed.seq + 1, *_clock(), server, session, "upstream", "in", "noise")
        record.event, record.size, record.raw = source, len(text), self.redactor.text(text)
        feed.append(record, None)


def _tail(message: Message) -> bytes:
    """How this message ends when it is written with another id."""
    payload = message.params or message.result
    return payload + b"}" if payload and not message.extra else b""


def _clock() -> tuple[float, float]:
    return time.time(), time.monotonic()


def _describe(data: bytes, message: Message | None) -> tuple[str, str | None, msgspec.Raw]:
    """Kind, method and id."""
    if message is None:
        if (head := _HEAD.match(data)) is not None:
            raw_id, answer, method = head.groups()
            if answer is not None:
                return ("error" if answer == b"error" else "response"), None, msgspec.Raw(raw_id)
            return "request", method.decode(errors="replace"), msgspec.Raw(raw_id)
        try:
            message = messages.parse(data)
        except MalformedMessage:
            return "malformed", None, NO_ID
    kind = _KINDS[message.kind]
    if message.kind is Kind.RESPONSE and message.error:
        kind = "error"
    method = message.method_name or None
    if method is not None and len(method) > METHOD_LIMIT:
        method = method[:METHOD_LIMIT]
    return kind, method, msgspec.Raw(message.id) if message.id else NO_ID


def method_pattern(globs: Collection[str]) -> re.Pattern[str]:
    """Methods as people write them: ``*`` stands for anything."""
    return re.compile("|".join(".*".join(map(re.escape, glob.split("*"))) for glob in globs))
