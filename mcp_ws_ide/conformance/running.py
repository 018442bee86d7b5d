"""Run checks one after the other, each bounded in time; those that take long run beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.conformance.verdicts import (
    Check,
    NotReachedError,
    Outcome,
    Result,
    UnmetError,
    Verdict,
    failed,
    not_applicable,
)
from mcp_ws_ide.conformance.wire import Exchange

NO_CONNECTION: Final = "no connection"
"""How the reason of a check begins that could not connect at all."""
ENDED: Final = "nothing accepts connections since"
"""How the reason of a check begins that was not tried after that."""
WAITS: Final = 6
"""How many answers a check may wait for in full, before its time is over."""


@dataclass(slots=True)
class Run:
    """All that one run has found."""

    side: str
    """``server`` or ``client``."""
    subject: str
    """What was checked: a URL or a command."""
    about: str
    """What it has, in words."""
    results: list[Result]
    seconds: float
    left_out: list[str] = field(default_factory=list)
    """Checks that take long, and were not wished."""

    def count(self, verdict: Verdict) -> int:
        """How many checks have that verdict."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def status(self) -> int:
        """The exit status: 1 if a check failed, 2 if not every check could do its work, else 0."""
        if self.count(Verdict.FAIL):
            return 1
        return 2 if self.count(Verdict.NOT_REACHED) else 0


async def perform(check: Check, subject: Any, lacking: str, exchange: Exchange, seconds: float) -> Result:
    """Run one check.

    Args:
        check: the check.
        subject: what its function gets.
        lacking: why it is not applicable; empty if it is.
        exchange: what went over the wire.
        seconds: how long a single wait takes at most.
    """
    began = time.monotonic()
    bound = check.slow + WAITS * seconds
    try:
        async with asyncio.timeout(bound):
            outcome = not_applicable(lacking) if lacking else check.judge(await check.run(subject))
    except UnmetError as error:
        outcome = check.judge(failed(str(error)))
    except NotReachedError as error:
        outcome = Outcome(Verdict.NOT_REACHED, str(error))
    except TimeoutError:
        outcome = Outcome(Verdict.NOT_REACHED, f"not done within {bound:g} s")
    except Exception as error:  # one check must not end the others; an answer may have any shape
        outcome = Outcome(
            Verdict.NOT_REACHED, f"an answer of unexpected shape: {type(error).__name__}: {error}"
        )
    return Result(
        check, outcome, time.monotonic() - began, exchange.point or "nothing", tuple(exchange.lines)
    )


async def perform_all(
    checks: Sequence[Check], one: Callable[[Check], Any], on_begin: Callable[[Check], None]
) -> list[Result]:
    """Run checks one after the other, and those that take long beside them; return the results in order."""
    async with asyncio.TaskGroup() as group:
        beside = {check.id: group.create_task(one(check)) for check in checks if check.slow}
        done: dict[str, Result] = {}
        ended, last = "", ""
        for check in checks:
            if check.slow:
                continue
            on_begin(check)
            if ended:
                outcome = Outcome(Verdict.NOT_REACHED, ended)
                done[check.id] = Result(check, outcome, 0.0, "nothing")
                continue
            result = done[check.id] = await one(check)
            if result.verdict is Verdict.NOT_REACHED and result.outcome.came.startswith(NO_CONNECTION):
                ended = f"{ENDED} {last or 'the beginning'}"
            last = check.id
        for check in checks:
            if check.slow:
                on_begin(check)
                done[check.id] = await beside[check.id]
    return [done[check.id] for check in checks]
