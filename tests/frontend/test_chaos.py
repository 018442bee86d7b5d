"""The TypeScript client on links that are cut again and again: nothing is lost or delivered twice."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.chaos import ChaosLink
from tests.conftest import BOUND, Jupyter, until
from tests.frontend.conftest import ONE_LOOP, RUNTIMES, endpoint, frontend_jupyter

pytestmark = ONE_LOOP
ERAS = [
    ("websocket", 2, "2026-07-28"),
    ("websocket", 2, "legacy"),
    ("websocket", 1, "legacy"),
    ("poll", 2, "auto"),
]
"""Kind of link, major of the SDK, mode."""
ENDS = {"reset", "close", "truncate", "half-open"}
"""Faults that count as a cut; slow links come on top."""
NODE, PAGE = (runtime.values[0] for runtime in RUNTIMES)
QUICK = [
    *(pytest.param(NODE, era, marks=RUNTIMES[0].marks) for era in ERAS),
    pytest.param(PAGE, ERAS[0], marks=RUNTIMES[1].marks),
]
GRACE = "--MCPWebSocketApp.grace=20"
PATIENT = {"firstDelay": 20, "maxDelay": 500, "giveUpAfter": 120_000}


async def chaos(
    jupyter: Jupyter, drivers, runtime: str, era: tuple[str, int, str], *, calls: int, cuts: int, seed: int
) -> None:
    """``calls`` of a counting tool, 8 in flight, while links are cut ``cuts`` times."""
    started, (kind, sdk, mode) = time.monotonic(), era
    every = calls // cuts
    async with ChaosLink(jupyter.port, seed) as link:
        driver = await drivers(runtime, jupyter, link)
        options = {"token": jupyter.token, "reconnect": PATIENT}
        await driver.connect(endpoint(jupyter, "fast", link), kind=kind, sdk=sdk, mode=mode, options=options)
        work = driver.start(
            "work", calls=calls, inFlight=8, every=every, prefix=f"{runtime}.{kind}.{sdk}.{mode}"
        )
        made = 0
        while not work.done() or made < cuts:
            due = len(driver.named("done"))
            while made < due and (how := link.cut()):
                made += how in ENDS
            if work.done() and made >= due:
                break
            await asyncio.sleep(0.005)
        report = await work
        tally = json.loads(await driver.do("call", tool="tally", args={}))
        await driver.do("close")
    states = driver.states
    print(
        f"\n{runtime} {era}: {calls} calls, {made} cuts {link.cuts}, "
        f"{states.count('resumed')} resumes, {time.monotonic() - started:.0f} s"
    )
    assert driver.named("wrong") == []
    steps = sum(number % 4 for number in range(1, calls + 1))
    assert report == {"done": calls, "wrong": 0, "doubled": 0, "disordered": 0, "progress": steps}
    assert tally == {"runs": calls, "twice": []}
    assert made >= cuts - 1, "not every cut found a link to hurt"
    if kind == "websocket":  # of a poll link, most cuts only cost a POST, which is repeated
        assert states.count("reconnecting") >= cuts // 4, "each cut ends a link, or an attempt to make one"
        assert states.count("resumed") >= cuts // 10, "some cuts hit a link that is just being made"
    else:
        assert link.accepted > cuts // 2, "each cut ends a connection"
    assert states.count("open") == 1, "no session was started over"
    assert driver.named("error") == []
    # Who leaves over a link that has just been cut cannot say so: the grace time ends such a session.
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0, BOUND)


@pytest.mark.heavy
@pytest.mark.parametrize(("runtime", "era"), QUICK)
async def test_cut_links_lose_and_repeat_nothing(make_jupyter, drivers, runtime, era):
    size = {"calls": 1000, "cuts": 40} if runtime == NODE else {"calls": 500, "cuts": 20}
    await chaos(frontend_jupyter(make_jupyter, GRACE), drivers, runtime, era, seed=1, **size)


@pytest.mark.soak
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_two_hundred_cuts_lose_and_repeat_nothing(make_jupyter, drivers, runtime, era):
    await chaos(frontend_jupyter(make_jupyter, GRACE), drivers, runtime, era, calls=10_000, cuts=200, seed=2)
