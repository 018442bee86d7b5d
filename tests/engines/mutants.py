"""Engines with one mistake each, to show that a test notices it. Each function changes the code of this process."""

from __future__ import annotations

import asyncio

import msgspec

from mcp_ws_ide.engines import crash_points, records, writer
from mcp_ws_ide.engines.base import Batch, Outcome
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.records import Records
from mcp_ws_ide.engines.writer import Turn, Writer


def no_epoch_check(patch=setattr) -> None:
    check = Records.check

    def unchecked(self, batch):
        held = self.by_id.get(batch.session)
        return check(self, batch if held is None else msgspec.structs.replace(batch, epoch=held.record.epoch))

    patch(Records, "check", unchecked)


def no_position_check(patch=setattr) -> None:
    check = Records.check

    def unchecked(self, batch):
        outcome = check(self, batch)
        return None if outcome is Outcome.BEHIND and batch.session in self.by_id else outcome

    patch(Records, "check", unchecked)


def unknown_session_is_fenced(patch=setattr) -> None:
    check = Records.check

    def confused(self, batch):
        return check(self, batch) if batch.session in self.by_id else Outcome.FENCED

    patch(Records, "check", confused)


def repeated_batch_is_written_again(patch=setattr) -> None:
    check = Records.check

    def careless(self, batch):
        outcome = check(self, batch)
        return None if outcome is Outcome.COMMITTED else outcome

    patch(Records, "check", careless)


def ended_session_is_forgotten(patch=setattr) -> None:
    patch(Records, "_too_late", lambda self, session_id, epoch: False)


def take_over_keeps_requests(patch=setattr) -> None:
    def kept(self):
        in_flight = self.in_flight
        end(self)
        self.in_flight = in_flight

    end = records.Held.end_in_flight
    patch(records.Held, "end_in_flight", kept)


def take_over_keeps_the_epoch(patch=setattr) -> None:
    take = Records.take

    def kept(self, session_id, principal):
        record = take(self, session_id, principal)
        if record is not None:
            self.by_id[session_id].record.epoch -= 1
        return record

    patch(Records, "take", kept)


def anybody_may_take(patch=setattr) -> None:
    take = Records.take

    def careless(self, session_id, principal):
        held = self.by_id.get(session_id)
        return take(self, session_id, principal if held is None else held.record.principal)

    patch(Records, "take", careless)


def transmitted_is_ignored(patch=setattr) -> None:
    change = records.Held.change_in_flight
    patch(
        records.Held,
        "change_in_flight",
        lambda self, batch: change(self, msgspec.structs.replace(batch, transmitted=[])),
    )


def removed_after_added(patch=setattr) -> None:
    change = records.Held.change_in_flight

    def wrong_order(self, batch):
        change(self, batch)
        for key in batch.removed:
            self.in_flight.pop(key, None)

    patch(records.Held, "change_in_flight", wrong_order)


# --- for a process that is killed -------------------------------------------------------------------------------------


def answer_and_request_in_two_transactions(patch=setattr) -> None:
    append = Writer._append

    def split(self):
        whole, self._unwritten = (
            self._unwritten,
            [
                msgspec.structs.replace(entry, removed=[]) if isinstance(entry, Batch) else entry
                for entry in self._unwritten
            ],
        )
        append(self)
        crash_points.reach(Point.STORED)
        self._unwritten = whole
        append(self)

    patch(Writer, "_append", split)


def reported_before_it_is_written(patch=setattr) -> None:
    put = Writer.put

    def early(self, job):
        if not isinstance(job, Turn):
            return put(self, job)
        self._report(writer.Written([job]))
        later = Turn([(entry, None, outcome) for entry, _, outcome in job.staged], job.since)
        asyncio.get_running_loop().call_later(0.02, put, self, later)

    patch(Writer, "put", early)
    patch(Writer, "write_here", lambda self, turn: None)


def log_deleted_before_the_records_are_written(patch=setattr) -> None:
    compact = writer.SessionFile.compact

    def hasty(self, changed):
        compact(self, [])
        crash_points.reach(Point.COMPACTED)
        compact(self, changed)

    patch(writer.SessionFile, "compact", hasty)
