"""Gateways that others cannot reach, although they live: a blocked peer port, a wrong address, other servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from mcp_ws_ide.fleet.reach import LEASE_OVER_SECONDS, Reach
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.inspector.cli import main
from tests.conftest import BOUND, until, wait_until
from tests.fleet.house import Fleet, caller
from tests.handlers.test_restart import ask

NOWHERE = "127.0.0.1:1"
STRANGER = "f" * 16


@contextmanager
def stranger(fleet: Fleet) -> Iterator[None]:
    """One more gateway, which renews its lease, and whose address leads nowhere."""
    facts = {
        **{name: 0 for name in ("sessions", "links", "processes")},
        **{"id": STRANGER, "version": "1", "started": time.time(), "draining": False, "peer": NOWHERE},
        "servers": ["theirs"],
    }
    fleet.redis.ask("HSET", f"{fleet.prefix}instances", STRANGER, json.dumps(facts))
    fleet.redis.ask("SET", f"{fleet.prefix}instance:{STRANGER}", "")
    try:
        yield
    finally:
        end_lease(fleet)


def end_lease(fleet: Fleet) -> None:
    fleet.redis.ask("DEL", f"{fleet.prefix}instance:{STRANGER}")


def head_of(fleet: Fleet, session: str) -> list[str]:
    """What a session's row says first: its epoch, and at last its owner."""
    reply = fleet.redis.ask("HGET", f"{fleet.prefix}s:{session}", "head")
    return reply.split(b"\r\n")[1].decode().split()


async def test_a_session_whose_living_gateway_refuses_connections_is_not_taken_over(fleet):
    async with fleet.balancer() as balancer, caller(balancer, fleet.jupyters[0].token) as one:
        assert await ask(one, 1, text="before") == "before"
        (session,) = fleet.sessions(0)
        with stranger(fleet):
            epoch, *rest, _ = head_of(fleet, session["id"])
            given = " ".join([str(int(epoch) + 1), *rest, STRANGER])
            fleet.redis.ask("HSET", f"{fleet.prefix}s:{session['id']}", "head", given)
            balancer.leave_out(0)
            balancer.cut()
            await until(lambda: one.states["Reconnecting"] >= 2, what="a refused attempt")
            assert head_of(fleet, session["id"])[-1] == STRANGER
            assert one.states["Resumed"] == 0
        await until(lambda: one.states["Resumed"] == 1, what="the end of the lease")
        assert await ask(one, 2, text="after") == "after"


def test_a_gateway_that_cannot_be_reached_is_named_with_the_cure(fleet, tmp_path, capsys):
    credential, log = tmp_path / "token", fleet.jupyters[0].log
    credential.write_text(fleet.jupyters[0].token)
    earlier = len(log.read_text())

    def problem() -> str:
        return next((one["problem"] for one in fleet.instances(0) if one["id"] == STRANGER), "")

    with stranger(fleet):
        wait_until(problem, what="the problem of a gateway")
        assert f"{NOWHERE} refuses connections; check its peer_address" in problem()
        options = ["--url", fleet.jupyters[0].url, "--token-file", str(credential)]
        assert main(["instances", *options]) == 0
        assert f"{NOWHERE:<21} no answer " in capsys.readouterr().out
    wait_until(lambda: len(fleet.instances(0)) == 2, what="the end of the lease")
    warning = f"gateway {STRANGER} cannot be reached"
    assert warning in log.read_text()
    assert log.read_text()[earlier:].count(warning) <= 1, "another test may have caused it just before"
    assert [one["problem"] for one in fleet.instances(0)] == ["", ""]


def test_a_server_that_only_another_gateway_has_is_unavailable_here_and_not_unknown(fleet):
    first = fleet.jupyters[0]

    def post() -> httpx.Response:
        headers = {"Authorization": f"Bearer {first.token}"}
        return httpx.post(f"{first.url}mcp-ws/servers/theirs", headers=headers, json={}, timeout=BOUND)

    assert post().status_code == 404
    with stranger(fleet):
        wait_until(lambda: len(fleet.instances(0)) == 3, what="the other gateway")
        refused = post()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "another gateway has it: give all gateways the same servers" in refused.text
    wait_until(lambda: len(fleet.instances(0)) == 2, what="the end of the lease")
    assert post().status_code == 404


def test_probes_are_not_logged(fleet):
    first = fleet.jupyters[0]
    assert httpx.get(f"{first.url}mcp-ws/api/ready", headers={"Origin": "http://other"}).status_code == 403
    assert "api/ready" not in first.log.read_text()


def test_a_refusal_shows_the_end_of_a_gateway_only_if_it_has_answered_and_its_lease_ends(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reach = Reach()
    with pytest.raises(PeerUnreachableError):
        reach.check_ended("one", NOWHERE, "refuses connections")
    reach.answers("one")
    reach.check_ended("one", NOWHERE, "refuses connections")
    now = LEASE_OVER_SECONDS
    with pytest.raises(PeerUnreachableError):
        reach.check_ended("one", NOWHERE, "refuses connections")
    reach.answers("one")
    reach.check_ended("one", NOWHERE, "refuses connections")
