"""The records of one principal from every gateway, in the feed of the gateway where a watcher is attached.

:class:`ObservedHere` sends what this gateway observes to others that have a watcher; :class:`Gathering` fetches what
others observe for the watchers of this one. Whoever falls behind loses its oldest records, counted; while another
gateway cannot be watched, the feed has a gap. Knows nothing of filters and of how watchers are connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

import msgspec

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.fleet.instances import RENEW_SECONDS, Instances
from mcp_ws_ide.fleet.peer_link import PeerLink
from mcp_ws_ide.fleet.sealed_stream import TIMEOUT, PeerLostError, SealedStream
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.links.tap_feed import TapFeed
from mcp_ws_ide.observe.feed import Feed, Held, Missed, Position
from mcp_ws_ide.observe.scope import read_place
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.observe.tap_record import TapRecord
from mcp_ws_ide.tasks import TaskGroupOwner

WATCH: Final = b"W"
"""Kind: :class:`WatchCall`; :class:`Observed` follow."""
WATCHER: Final = b"V"
"""Kind: :class:`WatcherCall`; frames follow."""
WATCHED: Final = b"Q"
"""Kind: asks which principals have a watcher; the answer, of the same kind, is a list of them in JSON."""
OBSERVED: Final = b"T"
"""Kind: :class:`Observed`."""
GATHER_SECONDS: Final = 0.01
"""Seconds for which records are collected into one frame."""
BEAT_SECONDS: Final = 1.0
"""Seconds after which a gateway that observes nothing says so."""
SILENCE_SECONDS: Final = 4.0
"""Seconds after which a gateway that says nothing counts as lost; less than its lease."""


class WatchCall(msgspec.Struct):
    """What a gateway wants to watch.

    Attributes:
        owner: the principal.
        after, instance: the number of the newest record that it has, and the feed that the number belongs to; None if
            it has none.
        from_start: whether it wants everything that is kept, if it names no number.
    """

    owner: str
    after: int | None
    instance: str | None
    from_start: bool


class WatcherCall(msgspec.Struct):
    """A watcher who continues with the feed of this gateway at another one.

    Attributes:
        owner: the principal.
        token: the gateway token that was presented.
        query: its filters and position.
    """

    owner: str
    token: str | None
    query: dict[str, list[str]]


class Observed(msgspec.Struct, omit_defaults=True):
    """Records of one gateway, or only its sign of life.

    Attributes:
        seq: number in its feed up to which this reaches.
        mono: ``time.monotonic()`` there.
        instance: its feed.
        records: its own records, each with the gateway token of its session.
        gap: why records are missing; ``""`` if none are.
        count: how many are missing; None if it is not known.
    """

    seq: int
    mono: float
    instance: str
    records: list[tuple[str | None, TapRecord]] = []
    gap: str = ""
    count: int | None = None


_decode_call = msgspec.json.Decoder(WatchCall).decode
_encode = msgspec.json.Encoder().encode
_decode_watcher = msgspec.json.Decoder(WatcherCall).decode
_decode_owners = msgspec.json.Decoder(list[str]).decode
_decode = msgspec.json.Decoder(Observed).decode


# --- where records are observed -----------------------------------------------------------------


class PeerPosition(Position):
    """The place of another gateway in a feed of this one; it gets what was observed here, and no gaps of third ones."""

    from_peer: ClassVar[bool] = True

    def __init__(self, gateway: str) -> None:
        self.woken = asyncio.Event()
        super().__init__(self.woken.set)
        self._gateway = gateway
        self._gap: Missed | None = None

    def attached(self, feed: Feed, gap: Missed | None) -> None:
        """Keep what is missing before."""
        self._gap = gap

    def start_over(self, *, complete: bool) -> None:
        """Start with the oldest record that is kept; ``complete``: whether all records were kept."""
        assert self._feed is not None
        self.next = self._feed.first
        if not complete:
            self._gap = Missed(None, None, None)

    def sees(self, record: TapRecord, token: str | None) -> bool:
        """Whether the record was observed by this gateway."""
        return record.gateway == self._gateway and record.kind != "gap"

    def take(self) -> Observed | None:
        """Return the next records, or the gap before them; None if there are none."""
        feed = self._feed
        assert feed is not None
        missed, self._gap = self._gap or self.missed(), None
        if missed is not None:
            return Observed(
                self.next - 1, time.monotonic(), feed.instance, gap=missed.detail, count=missed.number
            )
        while self.next <= feed.seq:
            if held := feed.held(self):
                return self.sign_of_life(held)
        self.woken.clear()
        feed.sleep(self)
        return None

    def sign_of_life(self, held: list[Held] | None = None) -> Observed:
        """Return a frame with these records."""
        assert self._feed is not None
        records = [(one.token, one.record) for one in held or ()]
        return Observed(self.next - 1, time.monotonic(), self._feed.instance, records)


class ObservedHere:
    """Sends what this gateway observes to gateways that have watchers, and serves watchers of its feeds that are
    connected to others.

    Args:
        max_queued: bytes that may wait for such a watcher.
    """

    def __init__(self, tap: Tap, tasks: TaskGroupOwner, max_queued: int) -> None:
        self._tap = tap
        self._tasks = tasks
        self._max_queued = max_queued

    def tell_watched(self, stream: SealedStream) -> None:
        """Tell a gateway that starts who has a watcher here."""
        stream.send(WATCHED, _encode(sorted(self._tap.gathering)))

    async def serve(self, stream: SealedStream, data: bytes) -> None:
        """Send records until the other gateway hangs up."""
        call = _decode_call(data)
        position = PeerPosition(self._tap.gateway)
        kept = self._tap.keeps(call.owner)
        self._tap.subscribe(call.owner, position, call.after, call.instance)
        if call.from_start:
            position.start_over(complete=kept)
        sending = self._tasks.spawn(_send(stream, position), "records for another gateway")
        try:
            with contextlib.suppress(PeerLostError):
                await stream.receive()
        finally:
            sending.cancel()
            self._tap.unsubscribe(position)

    async def serve_watcher(self, stream: SealedStream, data: bytes) -> None:
        """Serve a watcher that is connected to another gateway."""
        passed = _decode_watcher(data)
        link = PeerLink(stream, self._tasks, self._max_queued)
        try:
            self._tap.check_place(passed.owner, *read_place(passed.query))
            TapFeed(self._tap, link, passed.owner, passed.token, passed.query).start()
        except ValueError as error:
            link.close(CloseCode.POLICY, str(error))
        await link.run()


async def _send(stream: SealedStream, position: PeerPosition) -> None:
    stream.send(OBSERVED, _encode(position.sign_of_life()))
    while True:
        while (observed := position.take()) is not None:
            stream.send(OBSERVED, _encode(observed))
            await stream.drain()
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await position.woken.wait()
            await asyncio.sleep(GATHER_SECONDS)
        except TimeoutError:
            stream.send(OBSERVED, _encode(position.sign_of_life()))


# --- where a watcher is -------------------------------------------------------------------------

CallPeer = Callable[[str], Awaitable[SealedStream | None]]
"""Opens a connection to another gateway, by its id (:meth:`~mcp_ws_ide.fleet.peers.Peers.call`)."""


class Gathering:
    """Fetches what other gateways observe, for each principal who has a watcher here.

    Args:
        call: opens a connection to another gateway.
    """

    def __init__(self, tap: Tap, instances: Instances, call: CallPeer, tasks: TaskGroupOwner) -> None:
        self._tap = tap
        self._instances = instances
        self._call = call
        self._tasks = tasks
        self._sources: dict[str, dict[str, _Source]] = {}
        """By principal and gateway; with those that have ended, because one that was only suspended may go on."""

    async def prepare(self) -> None:
        """Keep the records of everybody who has a watcher at another gateway; before the first session, so that
        nothing is missed until that gateway asks for them."""
        others = self._instances.living.keys() - {self._instances.id}
        for owners in await asyncio.gather(*map(self._watched_at, others)):
            for owner in owners:
                self._tap.keep(owner)

    async def _watched_at(self, instance: str) -> list[str]:
        try:
            if (stream := await self._call(instance)) is None:
                return []
            stream.send(WATCHED)
            try:
                async with asyncio.timeout(TIMEOUT):
                    kind, data = await stream.receive()
            finally:
                stream.close()
            return _decode_owners(data) if kind == WATCHED else []
        except (PeerUnreachableError, PeerLostError, TimeoutError, msgspec.DecodeError):
            return []  # it will report a gap

    async def run(self) -> None:
        """Follow which principals have watchers, and which gateways live."""
        while True:
            self._look()
            await asyncio.sleep(RENEW_SECONDS)

    async def watch(self, owner: str) -> None:
        """Gather the records of ``owner`` from now on; return when every gateway that answers is watched."""
        self._tap.expect(owner)
        self._look()
        begun = [source.begun.wait() for source in self._sources[owner].values() if source.task is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*begun)

    def _look(self) -> None:
        living = self._instances.living.keys() - {self._instances.id}
        owners = self._tap.gathering
        for owner in self._sources.keys() - owners:
            for source in self._sources.pop(owner).values():
                source.stop()
        for owner in owners:
            joined = owner in self._sources
            sources = self._sources.setdefault(owner, {})
            for instance in sources.keys() - living:
                if sources[instance].task is not None:
                    sources[instance].stop()
                    sources[instance].lost("its lease has ended")
            for instance in living:
                if instance not in sources:
                    sources[instance] = _Source(self._tap, owner, instance, self._call, joined=joined)
                sources[instance].start(self._tasks)


class _Source:
    """What one other gateway observes for one principal.

    Args:
        joined: whether the gateway started while the others were watched; then everything that it has is wanted.

    Attributes:
        begun: set when it is watched, or could not be.
        task: fetches records; None while that gateway does not live.
    """

    def __init__(self, tap: Tap, owner: str, instance: str, call: CallPeer, *, joined: bool) -> None:
        self.begun = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._tap = tap
        self._owner = owner
        self._instance = instance
        self._call = call
        self._joined = joined
        self._place: tuple[int, str] | None = None
        self._lost = False

    def start(self, tasks: TaskGroupOwner) -> None:
        """Watch that gateway, if it is not watched."""
        if self.task is None:
            self.task = tasks.spawn(self._run(), "records of a gateway")

    def stop(self) -> None:
        """Watch it no longer."""
        if self.task is not None:
            self.task.cancel()
            self.task = None

    async def _run(self) -> None:
        """Fetch its records until cancelled, again after each loss."""
        while True:
            try:
                stream = await self._call(self._instance)
                if stream is None:
                    self.lost("it has ended")
                else:
                    await self._read(stream)
            except (PeerUnreachableError, PeerLostError, TimeoutError, msgspec.DecodeError) as error:
                self.lost(str(error) or f"it was silent for {SILENCE_SECONDS:g} s")
            self.begun.set()
            await asyncio.sleep(RENEW_SECONDS)

    async def _read(self, stream: SealedStream) -> None:
        after, feed = self._place or (None, None)
        call = WatchCall(self._owner, after, feed, self._place is None and self._joined)
        stream.send(WATCH, _encode(call))
        try:
            observed = await _next(stream)
            ahead = time.monotonic() - observed.mono
            self._watched(observed)
            while True:
                self._take(observed, ahead)
                observed = await _next(stream)
        finally:
            stream.close()

    def _watched(self, first: Observed) -> None:
        """Report from where on the records of that gateway are in the feed."""
        if self._lost or self._place is None:
            again = "again; what it kept meanwhile follows" if self._lost else "from here on"
            self._tap.add_watched(self._owner, self._instance, f"gateway {self._instance}: {again}")
        self._lost = False
        self.begun.set()

    def _take(self, observed: Observed, ahead: float) -> None:
        """Add records to the feed; ``ahead`` is by how much the monotonic clock here is ahead of theirs."""
        self._place = observed.seq, observed.instance
        if observed.gap:
            detail = f"gateway {self._instance}: {observed.gap}"
            self._tap.add_gap(self._owner, self._instance, detail, observed.count)
        for _, record in observed.records:
            record.mono += ahead
            record.id, record.origin_id = record.id.copy(), record.origin_id.copy()
        self._tap.add(self._owner, observed.records)

    def lost(self, reason: str) -> None:
        """Report, once for each loss, that records may be missing."""
        if self._lost:
            return
        self._lost = True
        detail = f"records of gateway {self._instance} may be missing from here on: {reason}"
        self._tap.add_gap(self._owner, self._instance, detail, None)


async def _next(stream: SealedStream) -> Observed:
    async with asyncio.timeout(SILENCE_SECONDS):
        kind, data = await stream.receive()
    if kind != OBSERVED:
        raise PeerLostError("it has another version")
    return _decode(data)
