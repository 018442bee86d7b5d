"""Each mistake of tests/engines/mutants.py fails a test of the contract."""

from __future__ import annotations

import inspect

import pytest

from mcp_ws_ide.engines.base import EngineUnavailableError, SessionLostError
from mcp_ws_ide.engines.memory import MemoryEngine
from tests.engines import mutants, test_contract
from tests.engines.conftest import new_redis
from tests.engines.mutants import SCRIPT_MUTANTS

CAUGHT_BY = {
    "no_epoch_check": "test_an_earlier_owner_is_fenced_whatever_it_writes",
    "no_position_check": "test_a_batch_that_does_not_follow_what_is_stored_is_behind_and_changes_nothing",
    "unknown_session_is_fenced": "test_a_session_that_the_engine_does_not_know_is_behind_until_it_is_written_again",
    "repeated_batch_is_written_again": "test_the_same_batch_again_is_committed_and_changes_nothing",
    "ended_session_is_forgotten": "test_an_ended_session_is_gone_and_its_owners_are_fenced",
    "take_over_keeps_requests": "test_a_take_over_ends_each_request_in_flight_once_in_the_order_in_which_they_came",
    "take_over_keeps_the_epoch": "test_an_earlier_owner_is_fenced_whatever_it_writes",
    "anybody_may_take": "test_an_unknown_session_and_that_of_another_principal_are_none_and_stay_with_their_owner",
    "transmitted_is_ignored": "test_a_take_over_ends_each_request_in_flight_once_in_the_order_in_which_they_came",
    "removed_after_added": "test_an_id_that_is_answered_and_used_again_in_one_batch_is_in_flight",
}
ARGUMENTS = {"changed": {"expected_received": 1}, "session_id": None, "principal": "mallory"}


@pytest.mark.pure("replaces methods of a compiled class")
@pytest.mark.parametrize("mutated", [False, True])
@pytest.mark.parametrize("mutant", list(CAUGHT_BY))
async def test_a_mistake_fails_the_contract_that_holds_without_it(monkeypatch, mutant, mutated):
    test = getattr(test_contract, CAUGHT_BY[mutant])
    arguments = {name: ARGUMENTS[name] for name in inspect.signature(test).parameters if name in ARGUMENTS}
    if not mutated:
        return await test(MemoryEngine(), **arguments)
    getattr(mutants, mutant)(monkeypatch.setattr)
    with pytest.raises((AssertionError, pytest.fail.Exception, SessionLostError)):
        await test(MemoryEngine(), **arguments)


NOTICED_BY = {
    "fenced": "test_an_earlier_owner_is_fenced_whatever_it_writes",
    "behind": "test_a_batch_that_does_not_follow_what_is_stored_is_behind_and_changes_nothing",
    "behind epoch": "test_a_batch_that_does_not_follow_what_is_stored_is_behind_and_changes_nothing",
    "unknown": "test_a_session_that_the_engine_does_not_know_is_behind_until_it_is_written_again",
    "again": "test_the_same_batch_again_is_committed_and_changes_nothing",
    "ended": "test_an_ended_session_is_gone_and_its_owners_are_fenced",
    "ends": "test_a_take_over_ends_each_request_in_flight_once_in_the_order_in_which_they_came",
    "order": "test_a_take_over_ends_each_request_in_flight_once_in_the_order_in_which_they_came",
    "foreign": "test_an_unknown_session_and_that_of_another_principal_are_none_and_stay_with_their_owner",
    "rewrite": "test_a_rewrite_replaces_everything_that_was_stored",
    "trim": "test_acknowledged_frames_are_deleted_and_a_stale_acknowledgement_brings_none_back",
    "drop": "test_a_dropped_frame_is_a_gap_in_its_place",
}


@pytest.mark.parametrize("name", list(SCRIPT_MUTANTS))
async def test_a_mistake_in_a_script_fails_the_contract(monkeypatch, redis, name):
    noticed_by = SCRIPT_MUTANTS[name][3]
    test = getattr(test_contract, NOTICED_BY[noticed_by])
    arguments = {key: ARGUMENTS[key] for key in inspect.signature(test).parameters if key in ARGUMENTS}
    if noticed_by == "behind epoch":
        arguments["changed"] = {"epoch": 2}
    mutants.change_script(name, monkeypatch.setattr)
    engine = new_redis(redis.address)
    await engine.start()
    try:
        with pytest.raises((AssertionError, pytest.fail.Exception, SessionLostError, EngineUnavailableError)):
            await test(engine, **arguments)
    finally:
        await engine.stop()
