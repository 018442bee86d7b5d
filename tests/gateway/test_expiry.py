"""Sessions whose clients do not return: many of them may end at once, and those that return in time do not."""

from __future__ import annotations

import asyncio
import time

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.http import HttpLink
from mcp_ws_ide.turnstile import Turnstile
from tests.conftest import until
from tests.gateway.test_pings import Rebound

GRACE = 100.0


async def test_expired_sessions_end_in_turn_except_one_that_is_resumed_before_its_turn():
    gateway = Gateway(Limits(grace=GRACE))
    gateway.configure(Configuration({"a": ServerSpec("a", "test", command="none")}, []))
    sessions = []
    for _ in range(10):
        link = Rebound()
        sessions.append(gateway.open_resumable_session(gateway.servers["a"], link, LinkInfo("me")))
        sessions[-1].link_lost(link, 1006, "the network is gone")
    turned = asyncio.Event()
    Turnstile.running().call(turned.set)
    gateway.tick(time.monotonic() + GRACE + 1)
    gateway.tick(time.monotonic() + GRACE + 2)
    assert not turned.is_set()
    assert not any(session.ended for session in sessions), "they wait for their turn"
    back = sessions.pop(3)
    back.resume(Rebound(), LinkInfo("me"), b"", 0, time.monotonic())
    await until(lambda: all(session.ended for session in sessions))
    assert gateway.metrics.resumes["expired"] == len(sessions), "each ended once"
    assert not back.ended
    assert set(gateway.sessions.values()) == {back}
    await gateway.aclose()


async def test_an_http_session_that_is_not_used_for_the_grace_period_ends_in_turn():
    gateway = Gateway(Limits(grace=GRACE))
    gateway.configure(Configuration({"a": ServerSpec("a", "test", command="none")}, []))
    sessions = [
        gateway.open_http_session(gateway.servers["a"], HttpLink(8, 1 << 20), LinkInfo("me", link="http"))
        for _ in range(3)
    ]
    gateway.tick(time.monotonic() + GRACE + 1)
    assert not any(session.ended for session in sessions)
    await until(lambda: all(session.ended for session in sessions))
    assert not gateway.sessions
    await gateway.aclose()
