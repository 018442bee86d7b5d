"""What a check is, and what comes of one: verdicts, outcomes and results. Owns no I/O and no clause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from mcp_ws_ide.conformance.clauses import CLAUSES, Clause


class Verdict(StrEnum):
    """What a check found."""

    PASS = "pass"  # noqa: S105 - a word
    FAIL = "fail"
    WARN = "warn"
    NOT_APPLICABLE = "not applicable"
    NOT_REACHED = "not reached"


MEANINGS: Final = {
    Verdict.PASS: "the clause holds",
    Verdict.FAIL: "the clause does not hold, and clients rely on it",
    Verdict.WARN: "the clause does not hold to the letter; clients can live with it, or it is a SHOULD",
    Verdict.NOT_APPLICABLE: "the implementation lacks what the clause is about, or the check needs an option",
    Verdict.NOT_REACHED: "the check could not do its work: the connection failed before, or its time was over",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict and what came, in words."""

    verdict: Verdict
    came: str


def passed(came: str) -> Outcome:
    """The clause holds."""
    return Outcome(Verdict.PASS, came)


def failed(came: str) -> Outcome:
    """The clause does not hold; :attr:`Check.lenient` makes it a warning."""
    return Outcome(Verdict.FAIL, came)


def warned(came: str) -> Outcome:
    """The clause does not hold to the letter."""
    return Outcome(Verdict.WARN, came)


def not_applicable(why: str) -> Outcome:
    """The implementation has not what the clause is about."""
    return Outcome(Verdict.NOT_APPLICABLE, why)


class NotReachedError(Exception):
    """A check cannot do its work: what it needs before its own step failed."""


class UnmetError(Exception):
    """What a check waited for did not come, or something else did: the clause does not hold."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one clause.

    Attributes:
        id: its clause's id, and a name after a slash where a clause has several checks.
        title: what holds if it passes, as a sentence.
        expected: what has to come.
        run: the check itself; what it gets depends on the side that is checked.
        needs: what the implementation must have, else the check is not applicable.
        lenient: a clause that does not hold is a warning.
        slow: seconds that it takes by its nature; checks with any run only on request.
    """

    id: str
    title: str
    expected: str
    run: Callable[[Any], Awaitable[Outcome]] = field(repr=False)
    needs: tuple[str, ...] = ()
    lenient: bool = False
    slow: float = 0.0

    @property
    def clause(self) -> Clause:
        """The clause that it checks."""
        return CLAUSES[self.id.partition("/")[0]]

    def judge(self, outcome: Outcome) -> Outcome:
        """Return the outcome, as a warning where a failure is none."""
        if self.lenient and outcome.verdict is Verdict.FAIL:
            return Outcome(Verdict.WARN, outcome.came)
        return outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found: what was sent, what was expected, what came."""

    check: Check
    outcome: Outcome
    seconds: float
    sent: str
    """What was sent to provoke an answer."""
    exchange: tuple[str, ...] = ()
    """What went over the wire, in order: ``→`` sent, ``←`` received."""

    @property
    def verdict(self) -> Verdict:
        """What the check found."""
        return self.outcome.verdict


class Checks:
    """The checks of one side, in the order in which they were declared."""

    def __init__(self) -> None:
        self.all: dict[str, Check] = {}

    def add(
        self, id: str, title: str, expected: str, **options: Any
    ) -> Callable[[Callable[[Any], Awaitable[Outcome]]], Callable[[Any], Awaitable[Outcome]]]:
        """Declare the decorated function as a check; the options are those of :class:`Check`."""

        def declare(run: Callable[[Any], Awaitable[Outcome]]) -> Callable[[Any], Awaitable[Outcome]]:
            assert id not in self.all, id
            self.all[id] = Check(id, title, expected, run, **options)
            assert not self.all[id].clause.unchecked, id
            return run

        return declare

    def in_order(self) -> list[Check]:
        """Every check, in the order of the clauses on the page."""
        order = list(CLAUSES)
        return sorted(self.all.values(), key=lambda check: order.index(check.clause.id))


def selected(checks: list[Check], only: list[str], slow: bool) -> list[Check]:
    """Return the checks that match one of ``only``, or all; those that take long only if wished or named by id.

    A selector is the id of a check or of a clause, the beginning of one up to a hyphen, or a section (``6`` has 6.1).
    """
    found = []
    for check in checks:
        named = any(check.id == selector or check.clause.id == selector for selector in only)
        if named or ((not only or any(_matches(check, item) for item in only)) and (slow or not check.slow)):
            found.append(check)
    return found


def unmatched(checks: list[Check], only: list[str]) -> list[str]:
    """Return the selectors that no check matches."""
    return [item for item in only if not any(_matches(check, item) or check.id == item for check in checks)]


def _matches(check: Check, selector: str) -> bool:
    clause = check.clause
    if selector[:1].isdigit():
        return clause.section == selector or clause.section.startswith(f"{selector}.")
    return clause.id == selector or clause.id.startswith(f"{selector}-") or check.id == selector
