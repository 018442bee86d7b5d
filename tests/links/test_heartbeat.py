"""The clock that beats for all links."""

from __future__ import annotations

import asyncio

from mcp_ws_ide.links import heartbeat as clock
from mcp_ws_ide.links.heartbeat import Heartbeat
from tests.conftest import until


class Pulse:
    """A link that counts its heartbeats."""

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        self.beats = 0

    def heartbeat(self, now: float) -> None:
        self.beats += 1


class Faint(Pulse):
    """A link whose heartbeat fails."""

    def heartbeat(self, now: float) -> None:
        super().heartbeat(now)
        raise RuntimeError("link")


async def test_the_clock_survives_a_failing_link(monkeypatch, caplog):
    monkeypatch.setattr(clock, "TICK", 0.01)
    heartbeat, faint, alive = Heartbeat(), Faint(closed=False), Pulse(closed=False)
    heartbeat.add(faint)
    heartbeat.add(alive)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(heartbeat.run(lambda: None))
        await until(lambda: faint.beats >= 2 and alive.beats >= 2)
        task.cancel()
    assert "the heartbeat of a link failed" in caplog.text


async def test_the_clock_forgets_closed_links_and_survives_a_failing_chore(monkeypatch, caplog):
    monkeypatch.setattr(clock, "TICK", 0.01)
    chores, heartbeat = [], Heartbeat()
    alive, closed = Pulse(closed=False), Pulse(closed=True)
    heartbeat.add(alive)
    heartbeat.add(closed)

    def chore() -> None:
        chores.append(1)
        raise RuntimeError("chore")

    task = asyncio.create_task(heartbeat.run(chore))
    await until(lambda: len(chores) == 2)
    task.cancel()
    assert alive.beats == 2
    assert closed.beats == 0
    assert heartbeat._links == {alive}
    assert "a periodic task failed" in caplog.text
