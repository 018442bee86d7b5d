"""Everything the inspector knows, fed with batches of records.

Owns the store and what is derived from it; knows nothing of links, files or screens. Not thread-safe.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import msgspec

from mcp_ws_ide.inspector.model.catalogue import INTRODUCTIONS, LISTS, Catalogue
from mcp_ws_ide.inspector.model.failures import ENDLESS, FAILURES, failure_of, is_probe, reason_of
from mcp_ws_ide.inspector.model.pairing import Pairing, PairingOutcome
from mcp_ws_ide.inspector.model.records import (
    CLIENT_LEG,
    MARK,
    MAX_COMMENT,
    KeptRecord,
    Kind,
    Status,
    content_of,
    decode,
    part,
    target_in,
)
from mcp_ws_ide.inspector.model.statistics import Statistics
from mcp_ws_ide.inspector.model.store import MARKED, MAX_RECORDS, MAX_SPILL, PROBLEM, Store
from mcp_ws_ide.inspector.model.violations import ORPHAN, Judge, Violation
from mcp_ws_ide.observe.tap_record import TapRecord, client_left

MAX_PROBLEMS: Final = 5000
"""Problems kept, newest first out of all; the counts include older ones."""
ALARMING: Final = frozenset({"link_lost", "dropped", "intermediary"})
"""Events that are problems; so is the exit of a server in use."""
STDOUT: Final = "stdout"
"""The event of text that a server wrote where only messages may stand."""


@dataclass(frozen=True, slots=True)
class TrafficProblem:
    """A problem of one row."""

    row: int
    violation: Violation


@dataclass(slots=True)
class Changes:
    """The effect of a batch: rows ``start`` … ``end`` are new, older rows in ``changed`` have changed."""

    start: int
    end: int
    changed: list[int] = field(default_factory=list)


@dataclass(slots=True)
class SeenSession:
    """A session as seen in the traffic."""

    id: str
    server: str
    opened: float
    client: str = ""
    """The client's ``User-Agent``."""
    remote: str = ""
    closed: str = ""
    """Code and reason with which the session ended; empty while it lives."""
    era: str = ""
    """``legacy`` with a handshake, ``modern`` without; empty until a request from the client shows it."""
    revision: str = ""
    """The negotiated or requested MCP revision; empty while it is unknown."""
    messages: int = 0
    resumes: int = 0
    row: int = 0


class Journal:
    """The records that the inspector keeps, with everything derived from them; each screen and command shows it."""

    def __init__(
        self,
        max_records: int = MAX_RECORDS,
        max_spill: int = MAX_SPILL,
        max_problems: int = MAX_PROBLEMS,
    ) -> None:
        self.store = Store(max_records, max_spill)
        self.pairing = Pairing(self.store)
        self.statistics = Statistics(self.store)
        self.judge = Judge()
        self._max_problems = max_problems
        self.problems: deque[TrafficProblem] = deque()
        """The newest problems; one seen on both legs is listed once, with the leg that showed it first."""
        self._violations: dict[int, list[Violation]] = {}
        self.problem_counts: Counter[str] = Counter()
        self._orphan: tuple[int, str | None] = -1, None
        """The newest response without a request, and its session."""
        self.comments: dict[int, str] = {}
        """The user's comments, by row."""
        self.sessions: dict[str, SeenSession] = {}
        self.catalogues: dict[str, Catalogue] = {}
        self.drops = 0
        self.missed = 0
        """Records that the gateway dropped because this watcher was too slow, over all links."""
        self.bytes = 0

    def close(self) -> None:
        """Close the spill file."""
        self.store.close()

    def sessions_named(self, text: str) -> list[str]:
        """Return the ids of sessions that ``text`` may name: that id, else those that begin with it."""
        return [text] if text in self.sessions else [name for name in self.sessions if name.startswith(text)]

    def feed(self, lines: Iterable[str]) -> Changes:
        """Add records as sent by the tap."""
        changes = Changes(self.store.end, self.store.end)
        for line in lines:
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                self.problem_counts["unreadable"] += 1
                continue
            if record.kind == MARK:
                self._note_again(record, changes)
                continue
            self.add(record, changes)
            if record.marked or record.comment:
                self.note(self.store.end - 1, record.marked, record.comment or "")
        changes.end = self.store.end
        return changes

    def note(self, row: int, marked: bool, comment: str) -> None:
        """Mark a held row or not, and comment on it; ``""`` removes the comment."""
        self.store.set_flag(row, MARKED, marked)
        if comment:
            self.comments[row] = comment[:MAX_COMMENT]
        else:
            self.comments.pop(row, None)

    def _note_again(self, record: KeptRecord, changes: Changes) -> None:
        """Note at an earlier row what the user noted there while it was being recorded."""
        row = self.store.row_of(max(0, record.seq), record.time)
        if row is not None:
            self.note(row, record.marked, record.comment or "")
            changes.changed.append(row)

    def gap(self, moment: float, mono: float, reason: str) -> Changes:
        """Add a gap: records may be missing here, because of ``reason``."""
        changes = Changes(self.store.end, self.store.end)
        self.add(TapRecord(time=moment, mono=mono, kind="gap", method="gap", raw=reason), changes)
        changes.end = self.store.end
        return changes

    def add(self, record: TapRecord, changes: Changes) -> None:
        """Add one record."""
        content = content_of(record)
        target = target_in(content) if record.kind in ("request", "notification") else ""
        row = self.store.append(record, target)
        outcome = self.pairing.add(row, record, content)
        changes.changed += outcome.changed
        self.bytes += record.size
        self._count_drops(record)
        self._finish(row, outcome, content)
        self._judge(record, row, content, outcome)
        self._learn_session(record, row)
        if record.kind == "response":
            self._learn(record, row, content, outcome.request)

    def _learn(self, record: TapRecord, row: int, content: dict[str, Any], request: int | None) -> None:
        method = self.store.method_of(row)
        if method in INTRODUCTIONS or method in LISTS:
            if record.server not in self.catalogues and len(self.catalogues) >= MAX_PROBLEMS:
                return
            catalogue = self.catalogues.setdefault(record.server, Catalogue())
            if record.truncated:
                catalogue.learn_truncated(method)
            else:
                catalogue.learn(method, content, self._cursor_of(request))

    def _cursor_of(self, request: int | None) -> str | None:
        """Return the cursor in the request of this row; None if it has none, or is no longer held."""
        if request is None or not self.store.holds(request):
            return None
        try:
            cursor = part(json.loads(self.store.body(request).text), "params", "cursor")
        except (ValueError, RecursionError):
            return None
        return cursor if isinstance(cursor, str) else None

    def _count_drops(self, record: TapRecord) -> None:
        if record.kind == "gap":
            self.drops = 0  # the next link starts counting again
        if record.drops > self.drops:
            self.missed += record.drops - self.drops
            self.drops = record.drops

    def _finish(self, row: int, outcome: PairingOutcome, content: dict[str, Any]) -> None:
        kind = self.store.kind_of(row)
        if outcome.request is not None:
            self.statistics.finished(outcome.request)
            if self._report_failure(outcome.request, content):
                self.store.set_flag(row, PROBLEM)
        elif kind in (Kind.EVENT, Kind.GAP):
            for request in outcome.changed:
                self.statistics.finished(request)
                self._report_failure(request, content)
        elif kind is Kind.ERROR and not outcome.orphan:
            self._report_failure(row, content)  # to an unreadable message, or to a request that was not seen

    def _report_failure(self, row: int, content: dict[str, Any]) -> bool:
        """Report a request if it failed, on the server leg only if the client leg does not show it; return whether."""
        code = failure_of(self.store, row)
        if not code:
            return False
        if self.store.lane_of(row) in CLIENT_LEG or self.store.linked(self.store.twin, row) is None:
            self._report(row, Violation(code, reason_of(code, content), ""))
        else:
            self.store.set_flag(row, PROBLEM)
        return True

    def _judge(self, record: TapRecord, row: int, content: dict[str, Any], outcome: PairingOutcome) -> None:
        kind, lane = self.store.kind_of(row), self.store.lane_of(row)
        if kind in (Kind.EVENT, Kind.NOISE, Kind.GAP):
            lost = any(
                failure_of(self.store, changed) == FAILURES[Status.LOST] for changed in outcome.changed
            )
            return self._alarm(record, row, kind, lost)
        method = self.store.method_of(row)
        violations = self.judge.judge(
            record, kind, lane, content, method, outcome.duplicate is not None, self.store.target_of(row)
        )
        if outcome.orphan:
            violations.append(ORPHAN)
            self._orphan = row, record.session
        for violation in violations:
            self._report(row, violation)
        if outcome.token is not None:
            self.judge.answered(record, outcome.token)

    def _alarm(self, record: TapRecord, row: int, kind: Kind, lost: bool) -> None:
        if kind is Kind.GAP:
            self._report(row, Violation("gap", record.raw or "", "the inspector was not connected"))
        elif record.event == "dropped" and self._orphan == (row - 1, record.session):
            self.store.set_flag(row, PROBLEM)  # the gateway's event reports what was already found
        elif record.event == "dropped" and self._answers_probe(row - 1):
            return
        elif kind is Kind.NOISE:
            if record.event == STDOUT:
                self._report(
                    row, Violation(STDOUT, record.raw or "", "MCP 2025-11-25, basic/transports: stdio")
                )
        elif (record.event in ALARMING and not client_left(record)) or (
            record.event == "upstream_closed" and self._was_used(record, lost)
        ):
            self._report(
                row, Violation(record.event or "event", record.detail or "", "reported by the gateway")
            )

    def _answers_probe(self, row: int) -> bool:
        """Return whether a row is the response to a probe of the gateway, which drops one that comes late."""
        request = self.store.linked(self.store.pair, row) if self.store.holds(row) else None
        return request is not None and is_probe(self.store, request)

    def _was_used(self, record: TapRecord, lost: bool) -> bool:
        session = self.sessions.get(record.session or "")
        return lost or (session is not None and not session.closed)

    def _report(self, row: int, violation: Violation) -> None:
        self.store.set_flag(row, PROBLEM)
        twin = self.store.linked(self.store.twin, row)
        if twin is not None and any(
            (other.code, other.text) == (violation.code, violation.text) for other in self._own_problems(twin)
        ):
            return
        self.problem_counts[violation.code] += 1
        self.problems.append(TrafficProblem(row, violation))
        self._violations.setdefault(row, []).append(violation)
        if len(self.problems) > self._max_problems:
            self._violations.pop(self.problems.popleft().row, None)

    def _own_problems(self, row: int) -> list[Violation]:
        return self._violations.get(row, [])

    def problems_of(self, row: int) -> list[Violation]:
        """Return the problems of a row's message, on either leg."""
        if not self.store.holds(row) or not self.store.has(row, PROBLEM):
            return []
        twin = self.store.linked(self.store.twin, row)
        return [*self._own_problems(row), *(self._own_problems(twin) if twin is not None else [])]

    def waiting(self) -> list[int]:
        """Return open requests, oldest first, each on one leg; examines at most 10,000."""
        store = self.store
        return [
            row
            for row in islice(self.pairing.open.values(), 10_000)
            if store.holds(row)
            and store.status_of(row) is Status.PENDING
            and (store.lane_of(row) in CLIENT_LEG or store.linked(store.twin, row) is None)
        ]

    def overdue(self, limit: float) -> list[int]:
        """Return those of :meth:`waiting` that were sent before ``limit`` (monotonic) and should get a response."""
        store = self.store
        return [
            row
            for row in self.waiting()
            if store.mono[row - store.first] < limit and store.method_of(row) not in ENDLESS
        ]

    # --- sessions ---------------------------------------------------------------------------------

    def _learn_session(self, record: TapRecord, row: int) -> None:
        if record.session is None:
            return
        session = self.sessions.get(record.session)
        if session is None:
            session = self._new_session(record, row)
        if record.kind == "event":
            if record.event == "link_opened":
                session.remote, _, session.client = (record.detail or "").partition(" ")
            elif record.event == "resumed":
                session.resumes += 1
            elif record.event == "link_closed":
                session.closed = record.detail or "closed"
        elif self.store.lane_of(row) in CLIENT_LEG:
            session.messages += 1
            if (spoken := self.judge.spoken(record)) is not None:
                session.era, session.revision = ("modern" if spoken.modern else "legacy"), spoken.revision

    def _new_session(self, record: TapRecord, row: int) -> SeenSession:
        assert record.session is not None
        session = self.sessions[record.session] = SeenSession(
            record.session, record.server, record.time, row=row
        )
        if len(self.sessions) > MAX_PROBLEMS:
            gone = next((key for key, old in self.sessions.items() if old.closed), next(iter(self.sessions)))
            del self.sessions[gone]
        return session
