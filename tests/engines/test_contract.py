"""What every engine promises (mcp_ws_ide/engines/base.py)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from mcp_ws_ide.engines.base import (
    ATTACHED,
    NOT_SENT,
    UNKNOWN,
    FencedError,
    Frame,
    InFlight,
    Outcome,
    StoredSession,
)
from mcp_ws_ide.engines.sealed import SealedEngine
from tests.engines.owner import Owner, committed, new_session, request

COMMITTED, FENCED, BEHIND = Outcome.COMMITTED, Outcome.FENCED, Outcome.BEHIND


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_a_taken_session_is_what_was_created_under_the_next_epoch(engine):
    stored = new_session(expires_at=12.5)
    await engine.create(stored)
    assert await engine.take(stored.id, "alice") == msgspec.structs.replace(stored, epoch=2)


async def test_a_session_with_everything_in_it_comes_back_whole(engine):
    frames = [Frame(3, b"three"), Frame(4, b"", 5), Frame(9, b"progress", droppable=True)]
    frames.append(Frame(10, b"detail", outcome=UNKNOWN, key=b"key"))
    stored = new_session(received=7, base=2, sent=10, number=4, epoch=3, frames=frames)
    await engine.create(stored)
    assert await engine.take(stored.id, "alice") == msgspec.structs.replace(stored, epoch=4)


async def test_nothing_is_deleted_by_reading_so_a_failed_restore_can_be_tried_again(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, (b"a", b"b"), added=[request(1)])
    first = await owner.taken()
    assert await owner.taken() == msgspec.structs.replace(first, epoch=first.epoch + 1)


@pytest.mark.parametrize(("session_id", "principal"), [("other", "alice"), (None, "mallory"), (None, "")])
async def test_an_unknown_session_and_that_of_another_principal_are_none_and_stay_with_their_owner(
    engine, session_id, principal
):
    owner = await Owner.of_new(engine)
    assert await engine.take(session_id or owner.stored.id, principal) is None
    assert await owner.commit(1) is COMMITTED


async def test_sessions_are_listed_and_counted_by_principal(engine):
    sessions = [new_session(created=float(number), principal=name) for number, name in enumerate("aba")]
    for stored in reversed(sessions):
        await engine.create(stored)
    assert [summary.id for summary in await engine.sessions()] == [stored.id for stored in sessions]
    assert [await engine.count(name) for name in "abc"] == [2, 1, 0]
    summary = (await engine.sessions())[1]
    principal = engine.hashed("b") if isinstance(engine, SealedEngine) else "b"
    expected = (sessions[1].id, principal, "git", 1.0, 1, ATTACHED)
    assert msgspec.structs.astuple(summary) == expected


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_stored_as_a_whole(engine):
    owner = await Owner.of_new(engine)
    assert await owner.commit(2, (b"one", b"two"), added=[request(1), request(2)]) is COMMITTED
    outcome = await owner.commit(
        1, (b"three",), 1, removed=[b"1"], added=[request(3)], state=b"new", facts=b"more", expires_at=77.0
    )
    assert outcome is COMMITTED
    stored = await owner.taken()
    assert (stored.received, stored.base, stored.sent, stored.number) == (3, 1, 5, 2)
    assert (stored.state, stored.facts, stored.expires_at) == (b"new", b"more", 77.0)
    assert [(f.position, f.data, f.outcome) for f in stored.frames] == [
        (2, b"two", ""),
        (3, b"three", ""),
        (4, b'{"id":2}', UNKNOWN),
        (5, b'{"id":3}', UNKNOWN),
    ]
    assert stored.in_flight == []


async def test_what_a_batch_does_not_name_stays(engine):
    owner = await Owner.of_new(engine, expires_at=5.0)
    await owner.commit(1, added=[request(1)])
    await owner.commit(1)
    stored = await owner.taken()
    assert (stored.state, stored.facts, stored.expires_at) == (b"state", b"facts", 5.0)
    assert [frame.key for frame in stored.frames] == [b"1"]


async def test_the_outcome_never_comes_within_the_call_that_stages(engine):
    owner = await Owner.of_new(engine)
    future = committed(engine, owner.batch(1))
    assert not future.done()
    assert await future is COMMITTED


async def test_batches_of_one_turn_are_committed_together(engine):
    owners = [await Owner.of_new(engine) for _ in range(20)]
    before = engine.statistics.commits
    outcomes = await asyncio.gather(*(committed(engine, owner.batch(1, (b"x",))) for owner in owners))
    assert set(outcomes) == {COMMITTED}
    assert engine.statistics.commits - before == 1
    assert engine.statistics.batches >= 20


async def test_one_bad_batch_of_a_turn_costs_the_others_nothing(engine):
    owners = [await Owner.of_new(engine) for _ in range(5)]
    await owners[1].taken()
    batches = [owner.batch(1, (b"x",), added=[request(1)]) for owner in owners]
    batches[2].expected_sent = 9
    outcomes = await asyncio.gather(*(committed(engine, batch) for batch in batches))
    assert outcomes == [COMMITTED, FENCED, BEHIND, COMMITTED, COMMITTED]
    taken = [await owner.taken() for owner in owners]
    assert [(stored.received, stored.sent) for stored in taken] == [(1, 2), (0, 0), (0, 0), (1, 2), (1, 2)]


async def test_the_same_batch_again_is_committed_and_changes_nothing(engine):
    owner = await Owner.of_new(engine)
    batch = owner.batch(1, (b"x",), added=[request(1)])
    assert [await committed(engine, batch) for _ in range(3)] == [COMMITTED] * 3
    stored = await owner.taken()
    assert (stored.received, stored.sent, len(stored.frames)) == (1, 2, 2)


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed", [{"expected_received": 1}, {"expected_sent": 1}, {"number": 3}, {"number": 0}, {"epoch": 2}]
)
async def test_a_batch_that_does_not_follow_what_is_stored_is_behind_and_changes_nothing(engine, changed):
    owner = await Owner.of_new(engine)
    batch = msgspec.structs.replace(owner.batch(1, (b"x",), added=[request(1)]), **changed)
    assert await committed(engine, batch) is BEHIND
    assert await owner.taken() == msgspec.structs.replace(owner.stored, epoch=2)


async def test_a_session_that_the_engine_does_not_know_is_behind_until_it_is_written_again(engine):
    owner = Owner(engine, new_session(received=3, sent=2, number=9, frames=[Frame(1, b"a"), Frame(2, b"b")]))
    assert await owner.commit(1) is BEHIND
    await engine.rewrite(owner.stored)
    assert await owner.commit(1, (b"c",)) is COMMITTED
    stored = await owner.taken()
    assert (stored.received, [frame.data for frame in stored.frames]) == (4, [b"a", b"b", b"c"])


async def test_a_rewrite_replaces_everything_that_was_stored(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, (b"a", b"b"), added=[request(1), request(2)])
    stored = new_session(id=owner.stored.id, received=5, sent=1, frames=[Frame(1, b"only")], number=7)
    stored.in_flight = [request(3, transmitted=False)]
    await engine.rewrite(stored)
    taken = await owner.taken()
    assert [(frame.data, frame.outcome) for frame in taken.frames] == [(b"only", ""), (b'{"id":3}', NOT_SENT)]
    assert (taken.received, taken.number) == (5, 7)


# --- the buffer -------------------------------------------------------------------------------------------------------


async def test_acknowledged_frames_are_deleted_and_a_stale_acknowledgement_brings_none_back(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(0, (b"a", b"b", b"c"), 2)
    await owner.commit(0, (), 1)
    stored = await owner.taken()
    assert (stored.base, [frame.data for frame in stored.frames]) == (2, [b"c"])


async def test_a_frame_that_is_acknowledged_in_its_own_batch_is_not_kept(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(0, (b"a", b"b"), 2)
    stored = await owner.taken()
    assert (stored.base, stored.sent, stored.frames) == (2, 2, [])


async def test_a_dropped_frame_is_a_gap_in_its_place(engine):
    owner = await Owner.of_new(engine)
    frames = [Frame(1, b"result"), Frame(2, b"progress", droppable=True), Frame(3, b"end")]
    await owner.commit(frames=frames)
    await owner.commit(dropped=[2])
    assert (await owner.taken()).frames == [Frame(1, b"result"), Frame(2, b""), Frame(3, b"end")]


async def test_a_frame_may_be_dropped_in_the_batch_that_appends_it(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(frames=[Frame(1, b"progress", droppable=True)], dropped=[1])
    assert (await owner.taken()).frames == [Frame(1, b"")]


async def test_an_acknowledgement_within_a_gap_leaves_the_rest_of_it(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(frames=[Frame(1, b"", 5), Frame(6, b"end")])
    await owner.commit(0, (), 3)
    stored = await owner.taken()
    assert (stored.base, stored.frames) == (3, [Frame(4, b"", 2), Frame(6, b"end")])


# --- in flight, and take-over -----------------------------------------------------------------------------------------


async def test_a_take_over_ends_each_request_in_flight_once_in_the_order_in_which_they_came(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(
        3, (b"a",), added=[request(3), request(1, transmitted=False), request(2, transmitted=False)]
    )
    await owner.commit(0, (), transmitted=[b"2"])
    first = await owner.taken()
    assert (first.sent, first.in_flight) == (4, [])
    ends = [(f.position, f.key, f.data, f.outcome) for f in first.frames[1:]]
    assert ends == [
        (2, b"3", b'{"id":3}', UNKNOWN),
        (3, b"1", b'{"id":1}', NOT_SENT),
        (4, b"2", b'{"id":2}', UNKNOWN),
    ]
    assert (await owner.taken()).frames == first.frames


async def test_an_answer_ends_its_request_in_the_same_batch_so_that_it_never_gets_two(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, added=[request(1)])
    await owner.commit(0, (b"result",), removed=[b"1"])
    assert [frame.data for frame in (await owner.taken()).frames] == [b"result"]


async def test_an_id_that_is_answered_and_used_again_in_one_batch_is_in_flight(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, added=[request(1)])
    again = InFlight(b"1", b"the second", False)
    await owner.commit(1, (b"result",), removed=[b"1"], added=[again])
    stored = await owner.taken()
    assert [(f.data, f.outcome) for f in stored.frames] == [(b"result", ""), (b"the second", NOT_SENT)]


async def test_the_new_owner_goes_on_where_the_record_ends(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, (b"a",), added=[request(1)])
    successor = await Owner.taking(engine, owner.stored.id)
    assert await successor.commit(1, (b"b",), 2, removed=[], added=[request(2)]) is COMMITTED
    assert [f.data for f in (await successor.taken()).frames] == [b"b", b'{"id":2}']


async def test_an_earlier_owner_is_fenced_whatever_it_writes(engine):
    owner = await Owner.of_new(engine)
    outstanding = owner.batch(1, (b"x",), added=[request(1)])
    taken: StoredSession = await owner.taken()
    assert await committed(engine, outstanding) is FENCED
    with pytest.raises(FencedError):
        await engine.rewrite(owner.stored)
    await engine.end(owner.stored.id, owner.stored.epoch)
    assert await owner.taken() == msgspec.structs.replace(taken, epoch=3)


async def test_a_batch_that_was_staged_before_a_take_over_in_the_same_turn_is_in_the_record_or_fenced(engine):
    owner = await Owner.of_new(engine)
    staged = committed(engine, owner.batch(1, (b"x",)))
    stored = await owner.taken()
    assert (await staged is COMMITTED) == (stored.received == 1)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_an_ended_session_is_gone_and_its_owners_are_fenced(engine):
    owner = await Owner.of_new(engine)
    await owner.commit(1, (b"x",), added=[request(1)])
    await engine.end(owner.stored.id, owner.stored.epoch)
    assert await engine.take(owner.stored.id, "alice") is None
    assert await owner.commit(1) is FENCED
    with pytest.raises(FencedError):
        await engine.rewrite(owner.stored)
    assert await engine.sessions() == []
    await engine.end(owner.stored.id, owner.stored.epoch)


async def test_sessions_expire_when_their_time_has_passed_and_attached_ones_only_as_orphans(engine):
    attached, soon, later = [new_session(expires_at=time) for time in (ATTACHED, 10.0, 20.0)]
    for stored in (attached, soon, later):
        await engine.create(stored)
    assert await engine.expire(10.0) == [soon.id]
    assert await engine.orphan(15.0) == 1
    assert await engine.expire(14.0) == []
    assert await engine.expire(15.0) == [attached.id]
    assert [summary.id for summary in await engine.sessions()] == [later.id]


async def test_an_expired_session_whose_owner_lives_is_written_again(engine):
    owner = await Owner.of_new(engine, expires_at=5.0)
    await engine.expire(6.0)
    assert await owner.commit(1) is BEHIND
    await engine.rewrite(owner.stored)
    assert await owner.commit(1) is COMMITTED


async def test_a_stopped_engine_fails_what_is_staged_later_and_keeps_what_was_staged_before(engine):
    owner = await Owner.of_new(engine)
    before = committed(engine, owner.batch(1))
    await engine.stop()
    assert await before is COMMITTED
    assert await committed(engine, owner.batch(1)) is Outcome.FAILED
    assert engine.problem
