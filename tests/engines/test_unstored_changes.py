"""The unstored changes of a session: what is staged, and that what is stored follows, whatever happens in between."""

from __future__ import annotations

import random

import pytest

from mcp_ws_ide.core.channel import ReliableChannel
from mcp_ws_ide.engines.base import ATTACHED, Batch, Frame, InFlight, Outcome, StoredSession
from mcp_ws_ide.engines.session_table import SessionTable
from mcp_ws_ide.engines.unstored_changes import UnstoredChanges


def new(frames: int = 16) -> tuple[SessionTable, ReliableChannel, UnstoredChanges]:
    table, channel = SessionTable(), ReliableChannel(frames, 1000)
    stored = StoredSession("s", "me", "fast", 1.0, frames, 1000)
    table.put(stored)
    return table, channel, UnstoredChanges(stored, channel)


def apply(table: SessionTable, batch: Batch) -> Outcome:
    outcome = table.check(batch)
    if outcome is None:
        table.write(batch)
    return outcome or Outcome.COMMITTED


def stored_in(table: SessionTable) -> StoredSession:
    return table.by_id["s"].copied()


def commit(table: SessionTable, changes: UnstoredChanges) -> None:
    assert apply(table, changes.take()) is Outcome.COMMITTED
    changes.committed()


def test_a_request_and_its_answer_are_one_batch_each():
    table, channel, changes = new()
    assert not changes.due
    changes.received += 1
    changes.add(7, b"7", transmitted=True)
    assert changes.due
    commit(table, changes)
    stored = stored_in(table)
    assert (stored.received, [entry.detail for entry in stored.in_flight]) == (1, [b"7"])
    channel.push(b"answer")
    changes.remove(7)
    assert changes.sent == 0, "not to be sent yet"
    commit(table, changes)
    stored = stored_in(table)
    assert (changes.sent, stored.frames, stored.in_flight) == (1, [Frame(1, b"answer")], [])
    assert not changes.due


def test_what_is_staged_while_a_batch_is_outstanding_joins_the_next():
    table, channel, changes = new()
    changes.received += 1
    batch = changes.take()
    changes.received += 1
    channel.push(b"a")
    with pytest.raises(AssertionError):
        changes.take()
    assert apply(table, batch) is Outcome.COMMITTED
    changes.committed()
    assert changes.due
    commit(table, changes)
    assert (stored_in(table).received, stored_in(table).sent) == (2, 1)


def test_a_request_that_waits_is_marked_in_a_batch_of_its_own_or_in_its_first():
    table, _, changes = new()
    changes.received += 1
    changes.add(1, b"1", transmitted=False)
    changes.received += 1
    changes.add(2, b"2", transmitted=False)
    assert changes.transmit(2)
    commit(table, changes)
    assert [entry.transmitted for entry in stored_in(table).in_flight] == [False, True]
    assert changes.transmit(1)
    assert not changes.transmit(1)
    assert not changes.transmit("unknown")
    assert changes.due
    commit(table, changes)
    assert all(entry.transmitted for entry in stored_in(table).in_flight)


def test_a_request_that_comes_and_goes_within_one_batch_is_not_mentioned_and_its_id_can_be_used_again():
    table, _, changes = new()
    changes.received += 1
    changes.add(1, b"1", transmitted=True)
    changes.remove(1)
    changes.remove(1)
    batch = changes.take()
    assert (batch.added, batch.removed) == ([], [])
    apply(table, batch)
    changes.committed()
    changes.add(1, b"1", transmitted=True)
    commit(table, changes)
    changes.remove(1)
    changes.add(1, b"1", transmitted=True)
    commit(table, changes)
    assert [entry.detail for entry in stored_in(table).in_flight] == [b"1"]


def test_snapshots_and_expiry_are_stored_once():
    table, _, changes = new()
    for stage, name in ((changes.set_state, "state"), (changes.set_facts, "facts")):
        stage(b"new")
        assert changes.due
        commit(table, changes)
        assert getattr(stored_in(table), name) == b"new"
        assert not changes.due
    changes.set_expiry(5.0)
    assert changes.due
    commit(table, changes)
    assert stored_in(table).expires_at == 5.0


def test_acknowledgements_alone_are_worth_a_batch_when_they_free_an_eighth_of_the_window():
    table, channel, changes = new(16)
    for _ in range(4):
        channel.push(b"a")
    commit(table, changes)
    channel.acknowledge(2)
    assert changes.trimmed
    assert not changes.due
    assert changes.take() is None
    channel.acknowledge(3)
    assert changes.due
    commit(table, changes)
    assert (stored_in(table).base, changes.trimmed) == (3, False)
    channel.acknowledge(4)
    assert changes.take() is None
    batch = changes.take(trim=True)
    assert apply(table, batch) is Outcome.COMMITTED
    changes.committed()
    assert (stored_in(table).base, changes.take(trim=True)) == (4, None)


def test_a_record_is_whole_with_all_that_is_staged():
    table, channel, changes = new()
    changes.received += 1
    changes.add(1, b"1", transmitted=True)
    batch = changes.take()
    channel.push(b"a")
    changes.received += 1
    whole = changes.whole(b"state", b"facts", ATTACHED)
    assert (whole.number, whole.received, whole.sent) == (batch.number, 2, 1)
    assert whole.in_flight == [InFlight(batch.added[0].key, b"1")]
    channel.push(b"staged meanwhile")
    table.put(whole)
    changes.rewritten(whole)
    commit(table, changes)
    assert stored_in(table).sent == 2


class Model:
    """One session, in memory and stored; a seed decides what happens."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.table, self.channel, self.changes = new(self.random.choice([8, 16]))
        self.ids = 0

    def step(self) -> None:
        kind = self.random.choice(
            [
                "request",
                "answer",
                "answer",
                "cancel",
                "mark",
                "progress",
                "gap",
                "ack",
                "state",
                "take",
                "settle",
                "settle",
                "lose",
                "fail",
            ]
        )
        getattr(self, kind)()

    def some(self) -> object:
        return self.random.choice(sorted(self.changes.in_flight)) if self.changes.in_flight else None

    def request(self) -> None:
        self.ids += 1
        self.changes.received += 1
        self.changes.add(self.ids, b"%d" % self.ids, transmitted=self.random.random() < 0.5)

    def answer(self) -> None:
        if (key := self.some()) is not None:
            self.channel.push(b"answer %d" % key)
            self.changes.remove(key)

    def cancel(self) -> None:
        if (key := self.some()) is not None:
            self.changes.received += 1
            self.changes.remove(key)

    def mark(self) -> None:
        if (key := self.some()) is not None:
            self.changes.transmit(key)

    def progress(self) -> None:
        if self.channel.full and not self.channel.make_room():
            return self.gap()
        self.channel.push(b"progress", True)

    def gap(self) -> None:
        self.channel.push_gap()

    def ack(self) -> None:
        self.channel.acknowledge(self.random.randint(self.channel.base, self.changes.sent))

    def state(self) -> None:
        self.changes.set_state(b"%d" % self.random.randrange(100))

    def take(self) -> None:
        if self.changes.outstanding is None and self.changes.due:
            self.changes.take()

    def settle(self) -> None:
        if self.changes.outstanding is None:
            return
        outcome = apply(self.table, self.changes.outstanding)
        if outcome is Outcome.BEHIND:
            stored = self.changes.whole(b"state", b"facts", ATTACHED)
            if self.random.random() < 0.5:
                self.request()
            self.table.put(stored)
            self.changes.rewritten(stored)
        else:
            self.changes.committed()

    def fail(self) -> None:
        """The outcome of a batch that is stored gets lost; it is sent again."""
        if self.changes.outstanding is not None:
            apply(self.table, self.changes.outstanding)

    def lose(self) -> None:
        """The engine loses everything; the living owner writes it again."""
        if self.random.random() < 0.1:
            self.table.by_id.clear()

    def finish(self) -> None:
        for _ in range(3):
            self.settle()
            self.take()
            self.changes.set_state(b"end")
        if self.changes.outstanding is None:
            self.changes.take()
        self.settle()
        if self.changes.due:
            self.changes.take()
            self.settle()

    def check(self) -> None:
        stored, channel = stored_in(self.table), self.channel
        assert not self.changes.due
        assert (stored.received, stored.sent) == (self.changes.received, channel.sent)
        assert {entry.key: entry for entry in stored.in_flight} == {
            entry.key: entry for entry in self.changes.in_flight.values()
        }
        entries = [Frame(*entry) for entry in channel.entries_after(channel.base)]
        mine = {p: (e.data, e.droppable) for e in entries for p in positions(e)}
        theirs = {p: (f.data, f.droppable) for f in stored.frames for p in positions(f) if p > channel.base}
        assert mine == theirs


def positions(entry: object) -> range:
    return range(entry.position, entry.position + entry.weight)


def test_what_is_stored_follows_the_changes_through_random_schedules():
    for seed in range(400):
        model = Model(seed)
        for _ in range(120):
            model.step()
        model.finish()
        model.check()
