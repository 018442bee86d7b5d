"""The journal of a stored session: what it stages, and that the records follow it, whatever happens in between."""

from __future__ import annotations

import random

import pytest

from mcp_ws_ide.core.channel import ReliableChannel
from mcp_ws_ide.engines.base import ATTACHED, Batch, Frame, InFlight, Outcome, StoredSession
from mcp_ws_ide.engines.journal import Journal
from mcp_ws_ide.engines.records import Records


def new(frames: int = 16) -> tuple[Records, ReliableChannel, Journal]:
    records, channel = Records(), ReliableChannel(frames, 1000)
    record = StoredSession("s", "me", "fast", 1.0, frames, 1000)
    records.put(record)
    return records, channel, Journal(record, channel)


def apply(records: Records, batch: Batch) -> Outcome:
    outcome = records.check(batch)
    if outcome is None:
        records.write(batch)
    return outcome or Outcome.COMMITTED


def stored_in(records: Records) -> StoredSession:
    return records.by_id["s"].copied()


def commit(records: Records, journal: Journal) -> None:
    assert apply(records, journal.take()) is Outcome.COMMITTED
    journal.committed()


def test_a_request_and_its_answer_are_one_batch_each():
    records, channel, journal = new()
    assert not journal.due
    journal.count()
    journal.add(7, b"7", transmitted=True)
    assert journal.due
    commit(records, journal)
    stored = stored_in(records)
    assert (stored.received, [entry.detail for entry in stored.in_flight]) == (1, [b"7"])
    channel.push(b"answer")
    journal.remove(7)
    assert journal.sent == 0, "not to be sent yet"
    commit(records, journal)
    stored = stored_in(records)
    assert (journal.sent, stored.frames, stored.in_flight) == (1, [Frame(1, b"answer")], [])
    assert not journal.due


def test_what_is_staged_while_a_batch_is_outstanding_joins_the_next():
    records, channel, journal = new()
    journal.count()
    batch = journal.take()
    journal.count()
    channel.push(b"a")
    with pytest.raises(AssertionError):
        journal.take()
    assert apply(records, batch) is Outcome.COMMITTED
    journal.committed()
    assert journal.due
    commit(records, journal)
    assert (stored_in(records).received, stored_in(records).sent) == (2, 1)


def test_a_request_that_waits_is_marked_in_a_batch_of_its_own_or_in_its_first():
    records, _, journal = new()
    journal.count()
    journal.add(1, b"1", transmitted=False)
    journal.count()
    journal.add(2, b"2", transmitted=False)
    assert journal.transmit(2)
    commit(records, journal)
    assert [entry.transmitted for entry in stored_in(records).in_flight] == [False, True]
    assert journal.transmit(1)
    assert not journal.transmit(1)
    assert not journal.transmit("unknown")
    assert journal.due
    commit(records, journal)
    assert all(entry.transmitted for entry in stored_in(records).in_flight)


def test_a_request_that_comes_and_goes_within_one_batch_is_not_mentioned_and_its_id_can_be_used_again():
    records, _, journal = new()
    journal.count()
    journal.add(1, b"1", transmitted=True)
    journal.remove(1)
    journal.remove(1)
    batch = journal.take()
    assert (batch.added, batch.removed) == ([], [])
    apply(records, batch)
    journal.committed()
    journal.add(1, b"1", transmitted=True)
    commit(records, journal)
    journal.remove(1)
    journal.add(1, b"1", transmitted=True)
    commit(records, journal)
    assert [entry.detail for entry in stored_in(records).in_flight] == [b"1"]


def test_snapshots_and_expiry_are_stored_once():
    records, _, journal = new()
    for stage, name in ((journal.set_state, "state"), (journal.set_facts, "facts")):
        stage(b"new")
        assert journal.due
        commit(records, journal)
        assert getattr(stored_in(records), name) == b"new"
        assert not journal.due
    journal.set_expiry(5.0)
    assert journal.due
    commit(records, journal)
    assert stored_in(records).expires_at == 5.0


def test_acknowledgements_alone_are_worth_a_batch_when_they_free_an_eighth_of_the_window():
    records, channel, journal = new(16)
    for _ in range(4):
        channel.push(b"a")
    commit(records, journal)
    channel.acknowledge(2)
    assert journal.trimmed
    assert not journal.due
    channel.acknowledge(3)
    assert journal.due
    commit(records, journal)
    assert (stored_in(records).base, journal.trimmed) == (3, False)


def test_a_record_is_whole_with_all_that_is_staged():
    records, channel, journal = new()
    journal.count()
    journal.add(1, b"1", transmitted=True)
    batch = journal.take()
    channel.push(b"a")
    journal.count()
    whole = journal.whole(b"state", b"facts", ATTACHED)
    assert (whole.number, whole.received, whole.sent) == (batch.number, 2, 1)
    assert whole.in_flight == [InFlight(batch.added[0].key, b"1")]
    channel.push(b"staged meanwhile")
    records.put(whole)
    journal.rewritten(whole)
    commit(records, journal)
    assert stored_in(records).sent == 2


class Model:
    """One session, in memory and stored; a seed decides what happens."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.records, self.channel, self.journal = new(self.random.choice([8, 16]))
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
        return self.random.choice(sorted(self.journal.in_flight)) if self.journal.in_flight else None

    def request(self) -> None:
        self.ids += 1
        self.journal.count()
        self.journal.add(self.ids, b"%d" % self.ids, transmitted=self.random.random() < 0.5)

    def answer(self) -> None:
        if (key := self.some()) is not None:
            self.channel.push(b"answer %d" % key)
            self.journal.remove(key)

    def cancel(self) -> None:
        if (key := self.some()) is not None:
            self.journal.count()
            self.journal.remove(key)

    def mark(self) -> None:
        if (key := self.some()) is not None:
            self.journal.transmit(key)

    def progress(self) -> None:
        if self.channel.full and not self.channel.make_room():
            return self.gap()
        self.channel.push(b"progress", True)

    def gap(self) -> None:
        self.channel.push_gap()

    def ack(self) -> None:
        self.channel.acknowledge(self.random.randint(self.channel.base, self.journal.sent))

    def state(self) -> None:
        self.journal.set_state(b"%d" % self.random.randrange(100))

    def take(self) -> None:
        if self.journal.outstanding is None and self.journal.due:
            self.journal.take()

    def settle(self) -> None:
        if self.journal.outstanding is None:
            return
        outcome = apply(self.records, self.journal.outstanding)
        if outcome is Outcome.BEHIND:
            record = self.journal.whole(b"state", b"facts", ATTACHED)
            if self.random.random() < 0.5:
                self.request()
            self.records.put(record)
            self.journal.rewritten(record)
        else:
            self.journal.committed()

    def fail(self) -> None:
        """The outcome of a batch that is stored gets lost; it is sent again."""
        if self.journal.outstanding is not None:
            apply(self.records, self.journal.outstanding)

    def lose(self) -> None:
        """The engine loses everything; the living owner writes it again."""
        if self.random.random() < 0.1:
            self.records.by_id.clear()

    def finish(self) -> None:
        for _ in range(3):
            self.settle()
            self.take()
            self.journal.set_state(b"end")
        if self.journal.outstanding is None:
            self.journal.take()
        self.settle()
        if self.journal.due:
            self.journal.take()
            self.settle()

    def check(self) -> None:
        stored, channel = stored_in(self.records), self.channel
        assert not self.journal.due
        assert (stored.received, stored.sent) == (self.journal.received, channel.sent)
        assert {entry.key: entry for entry in stored.in_flight} == {
            entry.key: entry for entry in self.journal.in_flight.values()
        }
        mine = {p: (e.data, e.droppable) for e in channel.entries_after(channel.base) for p in positions(e)}
        theirs = {p: (f.data, f.droppable) for f in stored.frames for p in positions(f) if p > channel.base}
        assert mine == theirs


def positions(entry: object) -> range:
    return range(entry.position, entry.position + entry.weight)


def test_the_records_follow_the_journal_through_random_schedules():
    for seed in range(400):
        model = Model(seed)
        for _ in range(120):
            model.step()
        model.finish()
        model.check()
