"""Engines with one mistake each, to show that a test notices it. Each function changes the code of this process."""

from __future__ import annotations

import asyncio

import msgspec

from mcp_ws_ide.engines import crash_points, redis, redis_link, session_table, writer
from mcp_ws_ide.engines.base import Batch, Outcome
from mcp_ws_ide.engines.crash_points import Point
from mcp_ws_ide.engines.session_table import SessionTable
from mcp_ws_ide.engines.writer import Turn, Writer


def no_epoch_check(patch=setattr) -> None:
    check = SessionTable.check

    def unchecked(self, batch):
        held = self.by_id.get(batch.session)
        return check(self, batch if held is None else msgspec.structs.replace(batch, epoch=held.stored.epoch))

    patch(SessionTable, "check", unchecked)


def no_position_check(patch=setattr) -> None:
    check = SessionTable.check

    def unchecked(self, batch):
        outcome = check(self, batch)
        return None if outcome is Outcome.BEHIND and batch.session in self.by_id else outcome

    patch(SessionTable, "check", unchecked)


def unknown_session_is_fenced(patch=setattr) -> None:
    check = SessionTable.check

    def confused(self, batch):
        return check(self, batch) if batch.session in self.by_id else Outcome.FENCED

    patch(SessionTable, "check", confused)


def repeated_batch_is_written_again(patch=setattr) -> None:
    check = SessionTable.check

    def careless(self, batch):
        outcome = check(self, batch)
        return None if outcome is Outcome.COMMITTED else outcome

    patch(SessionTable, "check", careless)


def ended_session_is_forgotten(patch=setattr) -> None:
    patch(SessionTable, "_too_late", lambda self, session_id, epoch: False)


def take_over_keeps_requests(patch=setattr) -> None:
    def kept(self):
        in_flight = self.in_flight
        end(self)
        self.in_flight = in_flight

    end = session_table.Held.end_in_flight
    patch(session_table.Held, "end_in_flight", kept)


def take_over_keeps_the_epoch(patch=setattr) -> None:
    take = SessionTable.take

    def kept(self, session_id, principal):
        stored = take(self, session_id, principal)
        if stored is not None:
            self.by_id[session_id].stored.epoch -= 1
        return stored

    patch(SessionTable, "take", kept)


def anybody_may_take(patch=setattr) -> None:
    take = SessionTable.take

    def careless(self, session_id, principal):
        held = self.by_id.get(session_id)
        return take(self, session_id, principal if held is None else held.stored.principal)

    patch(SessionTable, "take", careless)


def transmitted_is_ignored(patch=setattr) -> None:
    write = SessionTable.write
    patch(
        SessionTable,
        "write",
        lambda self, batch: write(self, msgspec.structs.replace(batch, transmitted=[])),
    )


def removed_after_added(patch=setattr) -> None:
    write = SessionTable.write

    def wrong_order(self, batch):
        write(self, batch)
        for key in batch.removed:
            self.by_id[batch.session].in_flight.pop(key, None)

    patch(SessionTable, "write", wrong_order)


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
        asyncio.get_running_loop().call_later(0.002, put, self, later)

    patch(Writer, "put", early)
    patch(Writer, "write_here", lambda self, turn: None)


def log_deleted_before_the_sessions_are_written(patch=setattr) -> None:
    compact = writer.SessionFile.compact

    def hasty(self, changed):
        compact(self, [])
        crash_points.reach(Point.COMPACTED)
        compact(self, changed)

    patch(writer.SessionFile, "compact", hasty)


def redis_answer_and_request_in_two_scripts(patch=setattr) -> None:
    exchange = redis_link.RedisLink.exchange
    encode = redis.encode_batch
    halves = {}

    def remember(batch):
        whole = encode(batch)
        halves[whole] = encode(msgspec.structs.replace(batch, removed=[]))
        return halves[whole]

    async def split(self, calls):
        replies = await exchange(self, calls)
        crash_points.reach(Point.STORED)
        return replies

    patch(redis, "encode_batch", remember)
    patch(redis_link.RedisLink, "exchange", split)


def redis_reported_before_it_is_written(patch=setattr) -> None:
    exchange = redis.RedisEngine._exchange

    async def early(self, one):
        for owners in one.batches:
            for done in owners:
                done(Outcome.COMMITTED)
        one.batches = [[lambda outcome: None] * len(owners) for owners in one.batches]
        await exchange(self, one)

    patch(redis.RedisEngine, "_exchange", early)


# --- the scripts of the Redis engine ----------------------------------------------------------------------------------

SCRIPT_MUTANTS = {
    "no epoch check": ("commit", "if epoch < head.epoch then return FENCED end", "", "fenced"),
    "a later epoch is accepted": (
        "commit",
        "if epoch > head.epoch then return BEHIND end",
        "",
        "behind epoch",
    ),
    "no position check": (
        *(
            "commit",
            "if number == head.number + 1 and batch[4] == head.received and batch[5] == head.sent then",
        ),
        *("if number ~= head.number then", "behind"),
    ),
    "an unknown session is fenced": (
        "commit",
        "and FENCED or BEHIND end",
        "and FENCED or FENCED end",
        "unknown",
    ),
    "a repeated batch is written again": (
        *(
            "commit",
            "if number == head.number and received == head.received and sent == head.sent then return COMMITTED",
        ),
        *(
            "if number == head.number and received == head.received and sent == head.sent then return nil",
            "again",
        ),
    ),
    "an ended session is forgotten": (
        *("keys", "return ended and epoch <= tonumber(ended)", "return false", "ended"),
    ),
    "a take-over keeps the requests": ("take", "  redis.call('HDEL', key, 'r:' .. request.key)", "", "ends"),
    "a take-over keeps the epoch": ("take", "head.epoch + 1, me", "head.epoch, me", "fenced"),
    "a take-over has no order": ("take", "return a.place < b.place", "return a.place > b.place", "order"),
    "anybody may take": (
        *(
            "take",
            "if redis.call('HGET', key, 'principal') ~= principal then",
            "if not read_head(id) then",
            "foreign",
        ),
    ),
    "the transmitted are ignored": ("commit", "'1' .. string.sub(request, 2)", "request", "order"),
    "a rewrite adds": ("put", "delete(id)\nlocal head", "local head", "rewrite"),
    "a rewrite of an earlier owner is accepted": ("put", "stored.epoch > epoch or", "", "fenced"),
    "acknowledged frames stay": (
        "keys",
        "'MINID', string.format('%.0f-0', head.base + 1)",
        "'MINID', '0-1'",
        "trim",
    ),
    "dropped frames stay": (
        "commit",
        "redis.call('XDEL', frames_key(id), string.format('%.0f-0', position))",
        "",
        "drop",
    ),
    "a stale acknowledgement counts": ("commit", "if acknowledged > head.base then", "if true then", "trim"),
}
"""By name: the script, what is replaced in it, by what, and which test notices it."""


def change_script(name: str, patch=setattr) -> None:
    """Replace a part of a script, as :data:`SCRIPT_MUTANTS` says."""
    script, old, new, _ = SCRIPT_MUTANTS[name]
    read = redis_link.read_script

    def changed(one: str) -> str:
        text = read(one)
        if script not in ("keys", one):
            return text
        assert text.count(old) == 1
        return text.replace(old, new)

    patch(redis_link, "read_script", changed)
