"""The gateway without HTTP: era detection, groups, flow control, restarts and internal errors."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.era import BRIDGE_KEY, Era
from mcp_ws_ide.core.group import ACKNOWLEDGE_TIME
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import CANCELLED, LimitExceededError
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.gateway.group import GroupTransport
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.try_server import try_server
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.links.http import HttpLink, Stream
from tests.conftest import BOUND, FAST_SERVER, MODERN, TESTS, until

ODD = str(TESTS / "servers" / "odd.py")
DECLINING = {**MODERN, BRIDGE_KEY: False}


class HeldLink:
    """A link that records the calls it gets."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closes: list[tuple[int, str]] = []
        self.reading: list[bool] = []

    def deliver(self, message: messages.Message) -> None:
        self.sent.append(json.loads(message.data))

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def set_reading(self, reading: bool) -> None:
        self.reading.append(reading)


@pytest.mark.parametrize("meta", [{}, {"_meta": MODERN}])
async def test_an_internal_error_while_attaching_fails_the_waiting_requests(meta, caplog, monkeypatch):
    gateway = Gateway(Limits())

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("mcp_ws_ide.gateway.server_registry.make_transport", fails)
    gateway.configure(Configuration({"a": ServerSpec("a", "test", command="x")}, []))
    link = HeldLink()
    session = gateway.open_session(gateway.servers["a"], link, LinkInfo("me"))
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": meta}
    session.receive(json.dumps(request).encode(), time.perf_counter())
    await until(lambda: link.sent)
    assert link.sent[0]["id"] == 1
    assert "internal error" in link.sent[0]["error"]["message"]
    assert "a bug" in caplog.text
    await gateway.aclose()


class Client:
    """A client of a gateway without HTTP, on a server that :mod:`tests.servers.odd` plays."""

    def __init__(
        self,
        gateway: Gateway,
        link_kind: str = "websocket",
        server: Server | None = None,
        principal: str = "me",
    ) -> None:
        self.link = HeldLink()
        info = LinkInfo(principal, link=link_kind)
        self.session = gateway.open_session(server or gateway.servers["odd"], self.link, info)
        self.count = 0

    def say(self, **members: Any) -> None:
        """Send one message."""
        self.session.receive(json.dumps({"jsonrpc": "2.0", **members}).encode(), time.perf_counter())

    async def ask(self, method: str, _meta: Any = MODERN, **params: Any) -> dict[str, Any]:
        self.count += 1
        number = self.count
        with_meta = {"_meta": _meta} if _meta else {}
        request = {"id": number, "method": method, "params": {**params, **with_meta}}
        self.say(**request)
        await until(lambda: any(m.get("id") == number for m in self.link.sent), what=f"an answer to {method}")
        return next(m for m in self.link.sent if m.get("id") == number)


@pytest.fixture
def limits():
    """The limits of the gateway; a test that needs others parametrizes it."""
    return Limits(probe_timeout=0.5)


@pytest.fixture
async def gateway(limits):
    gateway = Gateway(limits)
    yield gateway
    await gateway.aclose()


@pytest.fixture
async def odd(gateway, tmp_path):
    """Return a function that configures an odd server, and one that returns what the server was sent."""
    notes = tmp_path / "notes"

    def configure(behaviour: str, **options: Any) -> Gateway:
        arguments = ["-I", "-S", ODD, behaviour, str(notes)]
        spec = ServerSpec("odd", "test", command=sys.executable, args=tuple(arguments), **options)
        gateway.configure(Configuration({"odd": spec}, []))
        return gateway

    return configure, lambda: notes.read_text().split()


@pytest.mark.parametrize("sharing", ["auto", "always", "never"])
@pytest.mark.parametrize("behaviour", ["exits", "exits-late", "silent"])
async def test_a_server_that_refuses_everything_before_initialize_is_bridged(odd, behaviour, sharing):
    configure, notes = odd
    gateway = configure(behaviour, sharing=sharing)
    for _ in range(3):
        answer = await Client(gateway).ask("tools/list")
        assert answer["result"]["tools"][0]["name"] == "t"
    assert gateway.servers["odd"].era == "legacy"
    assert gateway.servers["odd"].crash_loop("me").delay() == 0, "nothing has crashed"
    assert notes().count("server/discover") == 1


@pytest.mark.parametrize("sharing", ["auto", "never"])
async def test_what_only_reads_is_sent_to_the_next_process_and_what_may_have_run_is_not(odd, sharing):
    configure, notes = odd
    client = Client(configure("modern-dying", sharing=sharing))
    assert "result" in await client.ask("server/discover")
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.ask("tools/call", name="t", arguments={}))
        await until(lambda: "tools/call" in notes())
        listed = await client.ask("tools/list")
        assert listed["result"]["tools"][0]["name"] == "t"
    assert call.result()["error"]["data"] == {"outcome": "unknown"}
    assert (notes().count("start"), notes().count("tools/list"), notes().count("tools/call")) == (2, 2, 1)


async def test_a_request_that_ends_each_process_is_sent_to_two(odd):
    configure, notes = odd
    answer = await Client(configure("modern-dead")).ask("tools/list")
    assert answer["error"]["data"] == {"outcome": "unknown"}
    assert notes().count("tools/list") == 2


@pytest.mark.parametrize("limits", [Limits(max_processes=8, max_sessions=20).shared()])
async def test_one_user_locks_out_no_other_one(gateway):
    """Not by crashes of a server, not by processes, not by sessions."""
    spec = ServerSpec(
        "odd", "test", command=FAST_SERVER["command"], args=tuple(FAST_SERVER["args"]), sharing="never"
    )
    gateway.configure(Configuration({"odd": spec}, []))
    server = gateway.servers["odd"]
    greedy = [Client(gateway, principal="greedy") for _ in range(3)]
    answers = [await client.ask("tools/call", name="pid") for client in greedy]
    assert ["result" in answer for answer in answers] == [True, True, False]
    assert "max_processes_per_principal" in answers[2]["error"]["message"]
    with pytest.raises(LimitExceededError, match="max_sessions_per_principal"):
        gateway.check_admission("greedy")
    while server.refusal_to("greedy") is None:
        server.crash_loop("greedy").crashed()
    assert server.state("greedy") == "running"
    gateway.check_admission("modest")
    assert server.refusal_to("modest") is None
    answer = await Client(gateway, principal="modest").ask("tools/call", name="pid")
    assert "result" in answer, answer


async def test_a_server_that_answers_nothing_is_reported(odd):
    configure, _ = odd
    answer = await Client(configure("mute")).ask("tools/list")
    assert "neither server/discover nor initialize" in answer["error"]["message"]


@pytest.mark.parametrize("limits", [Limits(probe_timeout=0.2)])
@pytest.mark.parametrize(
    ("behaviour", "limit"),
    [
        ("mute", "initialize within 1.8 s (9 times probe_timeout)"),
        ("downloads-mute", "initialize within 6 s (30 times probe_timeout)"),
    ],
)
async def test_a_handshake_of_a_client_or_of_the_gateway_that_is_not_answered_fails(odd, behaviour, limit):
    configure, _ = odd
    gateway = configure(behaviour)
    client, modern = Client(gateway), Client(gateway)
    answer, bridged = await asyncio.gather(client.ask("initialize", _meta=None), modern.ask("tools/list"))
    assert f"did not answer {limit}" in answer["error"]["message"]
    assert f"neither server/discover nor {limit}" in bridged["error"]["message"]
    assert client.session.ended
    assert "initialize" in gateway.servers["odd"].last_exit("me").reason
    await until(lambda: not gateway.process_count(), what="the end of the process")


@pytest.mark.parametrize("limits", [Limits(probe_timeout=0.2)])
async def test_a_process_that_reports_its_download_is_waited_for(odd):
    configure, _ = odd
    gateway = configure("downloads")
    handshake = {"protocolVersion": "2025-11-25", "capabilities": {}}
    answer, bridged = await asyncio.gather(
        Client(gateway).ask("initialize", _meta=None, **handshake), Client(gateway).ask("tools/list")
    )
    assert answer["result"]["serverInfo"]["name"] == "odd"
    assert bridged["result"]["tools"]
    assert (await try_server(gateway, gateway.servers["odd"].spec, "me")).ok


@pytest.mark.parametrize("limits", [Limits(probe_timeout=0.5)])
async def test_a_trial_waits_for_a_handshake_as_long_as_an_upstream_does(odd):
    configure, notes = odd
    gateway = configure("mute")
    async with asyncio.timeout(BOUND):
        report = await try_server(gateway, gateway.servers["odd"].spec, "me")
    assert not report.ok
    assert "did not answer in time" in report.error
    assert notes().count("initialize") == 1


@pytest.mark.parametrize("behaviour", ["exits", "exits-late"])
async def test_a_trial_restarts_a_server_that_exits_on_the_probe(odd, behaviour):
    configure, notes = odd
    gateway = configure(behaviour)
    report = await try_server(gateway, gateway.servers["odd"].spec, "me")
    assert (report.ok, report.era, report.tools) == (True, Era.LEGACY, 1), report
    assert notes().count("start") == 2


@pytest.mark.parametrize("behaviour", ["slow-modern", "behind-a-wrapper"])
async def test_a_trial_of_a_modern_server_that_starts_slowly_succeeds(odd, behaviour):
    configure, notes = odd
    gateway = configure(behaviour)
    report = await try_server(gateway, gateway.servers["odd"].spec, "me")
    assert (report.ok, report.era, report.tools) == (True, Era.MODERN, 1), report
    assert notes().count("start") == 1


async def test_the_process_that_showed_the_era_serves_the_only_session(odd):
    """A second start would cost the first user of each server as much again."""
    configure, notes = odd
    gateway = configure("plain")
    assert (await Client(gateway).ask("tools/list"))["result"]["tools"]
    assert notes().count("start") == 1
    assert (await Client(gateway).ask("tools/list"))["result"]["tools"]
    assert notes().count("start") == 2, "sessions share no process of the handshake era"
    assert notes().count("server/discover") == 1


async def test_a_client_that_declines_the_bridge_is_told_to_shake_hands(odd):
    configure, notes = odd
    client = Client(configure("plain"))
    answer = await client.ask("server/discover", {**MODERN, BRIDGE_KEY: False})
    assert answer["error"]["code"] == -32601
    await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
    assert notes().count("start") == 2


async def test_two_sessions_that_wait_for_the_era_get_a_process_each(odd):
    configure, notes = odd
    gateway = configure("silent")
    lists = await asyncio.gather(*(Client(gateway).ask("tools/list") for _ in range(2)))
    assert all(answer["result"]["tools"] for answer in lists)
    assert notes().count("initialize") == 3
    await until(lambda: gateway.process_count() == 2, what="the end of the process that showed the era")


@pytest.mark.parametrize("limits", [Limits(probe_timeout=60)])
async def test_a_client_that_no_longer_waits_for_the_probe_gets_one_process(odd):
    configure, notes = odd
    gateway = configure("asleep")
    client = Client(gateway)
    async with asyncio.TaskGroup() as group:
        probe = group.create_task(client.ask("server/discover"))
        await until(gateway.process_count, what="the start for the probe")
        answer = await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
        assert answer["result"]["serverInfo"]["name"] == "odd"
    error = probe.result()["error"]
    assert (error["code"], error["data"]["outcome"]) == (-31002, "not_sent")
    assert "the client has begun a handshake" in error["message"]
    answer = await client.ask("tools/list", _meta=None)
    assert answer["result"]["tools"]
    assert notes().count("start") == 2


async def test_a_question_before_the_handshake_is_answered_holds_nobody(odd):
    configure, _ = odd
    answer = await Client(configure("asks-first")).ask("tools/list")
    assert answer["result"]["tools"]


async def test_one_error_does_not_make_a_modern_server_a_server_of_the_handshake_era(odd):
    configure, _ = odd
    gateway = configure("modern-later")
    assert "still starting" in (await Client(gateway).ask("tools/list"))["error"]["message"]
    assert (await Client(gateway).ask("tools/list"))["result"]["tools"]
    assert gateway.servers["odd"].era == "modern"


@pytest.mark.parametrize("behaviour", ["slow-modern", "behind-a-wrapper"])
async def test_a_server_slow_to_answer_the_probe_is_still_detected_as_modern(odd, behaviour):
    configure, notes = odd
    gateway = configure(behaviour)
    assert (await Client(gateway).ask("tools/list"))["result"]["tools"]
    assert gateway.servers["odd"].era == "modern"
    assert notes().count("start") == 1


@pytest.mark.parametrize("limits", [Limits(probe_timeout=0.5)])
async def test_a_server_that_refuses_the_handshake_and_never_answers_the_probe_is_reported(odd):
    configure, _ = odd
    gateway = configure("mute-modern")
    answer = await Client(gateway).ask("tools/list")
    assert "it refused the handshake: Method not found" in answer["error"]["message"]
    report = await try_server(gateway, gateway.servers["odd"].spec, "me")
    assert not report.ok


async def test_a_refused_handshake_starts_no_bridge_where_the_server_is_not_modern(odd):
    configure, _ = odd
    gateway = configure("refuses")
    client = Client(gateway)
    answer = await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
    assert answer["error"]["message"] == "no capabilities, no handshake"
    assert "no capabilities" in (await client.ask("tools/list"))["error"]["message"]
    assert not gateway.servers["odd"].needs_bridge


async def test_without_the_bridge_exiting_on_the_probe_is_not_a_crash(odd):
    configure, _ = odd
    gateway = configure("exits", bridge=False)
    assert (await Client(gateway).ask("tools/list"))["error"]["code"] == -32601
    assert gateway.servers["odd"].crash_loop("me").delay() == 0


@pytest.mark.parametrize("behaviour", ["exits", "silent"])
async def test_a_client_that_declines_the_bridge_is_told_to_shake_hands_where_the_server_wants_that(
    odd, behaviour
):
    configure, notes = odd
    gateway = configure(behaviour)
    for known in (False, True):
        client = Client(gateway)
        answer = await client.ask("server/discover", _meta=DECLINING)
        assert answer["error"]["code"] == -32601
        handshake = {"protocolVersion": "2025-11-25", "capabilities": {}}
        assert (await client.ask("initialize", _meta=None, **handshake))["result"]["serverInfo"][
            "name"
        ] == "odd"
        assert notes().count("server/discover") == 1, f"the era was known: {known}"


@pytest.mark.parametrize(("behaviour", "sharing"), [("silent", "always"), ("modern-mute", "auto")])
async def test_a_client_that_declines_the_bridge_is_served_as_any_other_where_that_gains_nothing(
    odd, behaviour, sharing
):
    configure, _ = odd
    answer = await Client(configure(behaviour, sharing=sharing)).ask("server/discover", _meta=DECLINING)
    assert "2026-07-28" in answer["result"]["supportedVersions"]


async def test_the_members_of_a_group_are_bridged_even_for_a_client_that_declines_it(gateway, tmp_path):
    group = group_of(gateway, tmp_path, old="silent")
    answer = await Client(gateway, server=group).ask("server/discover", _meta=DECLINING)
    assert UNAVAILABLE_KEY not in answer["result"].get("_meta", {})


async def test_an_internal_error_while_sending_fails_the_waiting_requests(odd, monkeypatch):
    configure, _ = odd
    gateway = configure("silent")

    def fails(version: str) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("mcp_ws_ide.core.era.probe", fails)
    assert "internal error" in (await Client(gateway).ask("tools/list"))["error"]["message"]
    await until(lambda: not gateway.process_count())


ASKABLE = {**MODERN, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


async def test_a_shared_server_distinguishes_exchanges_with_a_group(odd):
    configure, _ = odd
    gateway = configure("silent", sharing="always")
    group = gateway.find("+odd")
    assert group is not None
    one, other = (Client(gateway, "http", group) for _ in range(2))
    call = {"_meta": ASKABLE, "name": "odd__t", "arguments": {"calls": 2}}
    answers = await asyncio.gather(one.ask("tools/call", **call), other.ask("tools/call", **call))
    for answer in answers:
        assert "several clients share this server" in answer["result"]["content"][0]["text"]
    alone = await Client(gateway, "http", group).ask("tools/call", **{**call, "arguments": {"calls": 3}})
    assert alone["result"]["resultType"] == "input_required"


def group_of(gateway: Gateway, notes: Path, **members: str) -> Server:
    """Configure a group of odd servers: names, and how they behave."""
    specs = {
        name: ServerSpec(
            name, "test", command=sys.executable, args=("-I", "-S", ODD, behaviour, str(notes / name))
        )
        for name, behaviour in members.items()
    }
    for name in members:
        (notes / name).touch()
    gateway.configure(Configuration(specs, []))
    group = gateway.find("+" + "+".join(members))
    assert group is not None
    return group


@pytest.mark.parametrize("how", ["refuses", "cancels"])
async def test_an_unanswered_question_ends_at_its_own_member(gateway, tmp_path, how):
    client = Client(gateway, server=group_of(gateway, tmp_path, one="silent", two="silent"))
    await client.ask("initialize", None, protocolVersion="2025-11-25", capabilities={"elicitation": {}})
    client.say(id=50, method="tools/call", params={"name": "two__t", "arguments": {"calls": 1}})
    await until(lambda: any(m.get("method") == "elicitation/create" for m in client.link.sent))
    question = next(m for m in client.link.sent if m.get("method") == "elicitation/create")
    if how == "refuses":
        client.say(id=question["id"], error={"code": -1, "message": "no"})
    else:
        client.say(method="notifications/cancelled", params={"requestId": 50})
    seen = tmp_path / "two"
    await until(lambda: seen.read_text().split()[-2:] == ["None", "notifications/cancelled"], what="the end")


async def test_a_member_that_acknowledges_no_subscription_is_not_waited_for_long(gateway, tmp_path):
    client = Client(gateway, server=group_of(gateway, tmp_path, mute="modern-mute", old="silent"))
    await client.ask("tools/list")
    client.say(
        id=50,
        method="subscriptions/listen",
        params={"_meta": MODERN, "notifications": {"toolsListChanged": True}},
    )
    seen = tmp_path / "mute"
    await until(lambda: "subscriptions/listen" in seen.read_text())
    await until(
        lambda: sum(s.server.name == "old" and bool(s.core.pending) for s in gateway.sessions.values())
    )
    for passed in (0, ACKNOWLEDGE_TIME):
        gateway.tick(time.monotonic() + passed)
    await until(lambda: "acknowledged" in client.link.sent[-1].get("method", ""), what="an acknowledgement")
    assert list(client.link.sent[-1]["params"]["_meta"][UNAVAILABLE_KEY]) == ["mute"]


class Reader:
    """A receiver of a group's transport."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.paused: list[bool] = []

    def message_received(self, message: bytes) -> None:
        self.received.append(json.loads(message))

    def parsed_received(self, message: messages.Message) -> None:
        self.message_received(message.data)

    def noise_received(self, source: str, text: str) -> None:
        pass

    def transport_closed(self, reason: str) -> None:
        pass

    def write_paused(self, paused: bool) -> None:
        self.paused.append(paused)

    async def answer(self, number: int) -> dict[str, Any]:
        await until(lambda: any(m.get("id") == number for m in self.received), what=f"an answer to {number}")
        return next(m for m in self.received if m.get("id") == number)


async def attached(gateway: Gateway, group: Server) -> tuple[GroupTransport, Reader]:
    transport, reader = gateway.group_transport(group, "me", False), Reader()
    await transport.connect(reader)
    return transport, reader


def modern_call(number: int, name: str, arguments: dict[str, Any], **meta: Any) -> bytes:
    params = {"name": name, "arguments": arguments, "_meta": {**MODERN, **meta}}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


@pytest.mark.parametrize("held_first", [True, False])
async def test_a_member_waits_for_a_group_that_is_not_read_and_loses_nothing(gateway, tmp_path, held_first):
    group = group_of(
        gateway, tmp_path, loud="floods", other="modern-mute"
    )  # the other is shared, and goes on
    gateway.servers["loud"].era = Era.LEGACY
    steps = 1000  # of 10 kB: more than a pipe holds
    transport, reader = await attached(gateway, group)
    call = modern_call(1, "loud__t", {"steps": steps}, progressToken=1)
    if held_first:
        transport.pause_reading()
        transport.send(call)
        await until(lambda: "tools/call" in (tmp_path / "loud").read_text())
    else:
        transport.send(call)
        await until(lambda: reader.received)
        transport.pause_reading()
        await asyncio.sleep(0)  # what has been read already
    seen = len(reader.received)
    for number in range(10, 110):  # meanwhile all of it would come
        transport.send(modern_call(number, "other__t", {}))
        await reader.answer(number)
    assert len(reader.received) == seen + 100
    assert seen < steps
    transport.resume_reading()
    await reader.answer(1)
    assert [m["params"]["progress"] for m in reader.received if "method" in m] == list(range(steps))
    await transport.close()


async def test_a_group_reads_no_faster_than_its_slowest_member(gateway, tmp_path):
    group = group_of(gateway, tmp_path, deaf="deaf", other="floods")
    gateway.servers["deaf"].era = Era.LEGACY
    transport, reader = await attached(gateway, group)
    for number in range(1, 41):
        transport.send(modern_call(number, "deaf__t", {"x": "x" * 100_000}))
    notes = tmp_path / "deaf"
    await until(
        lambda: "tools/call" in notes.read_text() and reader.paused[-1:] == [True], what="that it is full"
    )
    notes.unlink()
    await reader.answer(40)
    await until(lambda: reader.paused[-1] is False, what="that it takes more")
    await transport.close()


async def test_a_removed_member_is_not_reached_through_a_group(odd):
    configure, _ = odd
    gateway = configure("silent", sharing="always")
    group = gateway.find("+odd")
    assert (await Client(gateway, "http", group).ask("tools/list"))["result"]["tools"]
    gateway.configure(Configuration({}, []))
    answer = await Client(gateway, "http", group).ask("tools/list")
    assert "server 'odd' is not configured" in answer["error"]["message"]


async def test_a_group_does_not_reach_a_member_that_requires_more_than_when_it_was_opened(odd):
    """What a member requires of users is checked when the group is opened."""
    configure, _ = odd
    gateway = configure("silent", sharing="always")
    group = gateway.find("+odd")
    early = Client(gateway, "http", group)
    configure("silent", sharing="always", authorize=("execute kernels",))
    answer = await early.ask("tools/list")
    assert "requires more of its users since this session was opened" in answer["error"]["message"]
    again = gateway.find("+odd")
    assert again.spec.authorize == ("execute kernels",)
    assert gateway.find("+odd") is again
    assert (await Client(gateway, "http", again).ask("tools/list"))["result"]["tools"]


async def test_a_cancelled_list_shows_no_denied_tools(odd):
    configure, _ = odd
    gateway = configure("silent", tools=ToolRules(deny=("t",)))
    client = Client(gateway)
    await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
    listing = {"jsonrpc": "2.0", "id": 50, "method": "tools/list"}
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 50}}
    again = {"jsonrpc": "2.0", "id": 50, "method": "prompts/list"}
    for message in (listing, cancelled, again):
        client.session.receive(json.dumps(message).encode(), time.perf_counter())
    await client.ask("ping", _meta=None)
    assert [m["result"] for m in client.link.sent if m.get("id") == 50 and "result" in m] == [{"tools": []}]


@pytest.mark.parametrize("limits", [Limits(probe_timeout=0.5, max_processes=1)])
@pytest.mark.parametrize("behaviour", ["silent", "exits"])
async def test_era_detection_counts_as_one_process(odd, behaviour):
    configure, _ = odd
    gateway = configure(behaviour)
    client = Client(gateway)
    assert (await client.ask("tools/list"))["result"]["tools"]
    answer = await Client(gateway).ask("tools/list")
    assert "max_processes" in answer["error"]["message"], "a limit it is all the same"


@pytest.mark.parametrize("meta", [MODERN, None])
async def test_a_sessions_own_process_is_not_read_while_its_client_reads_slowly(odd, monkeypatch, meta):
    configure, _ = odd
    client = Client(configure("silent"))
    if meta is None:
        await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
    await client.ask("tools/list", _meta=meta)
    held: list[str] = []
    for name in ("pause_reading", "resume_reading"):
        monkeypatch.setattr(
            "mcp_ws_ide.transports.stdio.StdioTransport." + name, lambda _, name=name: held.append(name)
        )
    for full in (True, True, False):
        client.session.link_full(full)
    assert held == ["pause_reading", "resume_reading"]


async def test_a_client_waits_until_the_last_of_its_full_processes_has_room(odd):
    configure, _ = odd
    client = Client(configure("silent"))
    await client.ask("tools/list")
    one = client.session.attachments._own_upstream()
    other = client.session.attachments._own_upstream()
    for upstream, full in ((one, True), (other, True), (one, False), (other, False)):
        client.session.attachments.set_reading(not full, upstream)
    assert client.link.reading == [False, False, True]
    one.close()
    other.close()


async def test_a_shared_process_is_read_even_if_one_client_reads_slowly(odd, monkeypatch):
    configure, _ = odd
    client = Client(configure("silent", sharing="always"))
    await client.ask("tools/list")
    held: list[str] = []
    monkeypatch.setattr(
        "mcp_ws_ide.transports.stdio.StdioTransport.pause_reading", lambda _: held.append("it was")
    )
    client.session.link_full(True)
    assert held == []


async def test_a_server_with_unshared_processes_refuses_http_with_a_cure(odd):
    configure, _ = odd
    gateway = configure("modern-later", sharing="never")
    gateway.servers["odd"].era = Era.MODERN
    answer = await Client(gateway, "http").ask("tools/list")
    assert "sharing: never" in answer["error"]["message"]


async def test_cancelled_http_calls_leave_nothing_behind(odd):
    """The server answers none of them."""
    configure, _ = odd
    gateway = configure("silent")
    link = HttpLink(16, 1 << 20)
    session = gateway.open_http_session(gateway.servers["odd"], link, LinkInfo("me", link="http"))

    def post(**members: Any) -> Stream | None:
        message = messages.parse(json.dumps({"jsonrpc": "2.0", **members}).encode())
        stream = link.open_request(message) if "id" in members else None
        session.take(message, time.perf_counter())
        return stream

    shaken = post(id=0, method="initialize", params={})
    assert shaken is not None
    await until(lambda: shaken.last)
    for number in range(1, 101):
        call = {"name": "t", "arguments": {"calls": 1000}, "_meta": {"progressToken": number}}
        stream = post(id=number, method="tools/call", params=call)
        post(method="notifications/cancelled", params={"requestId": number})
        assert stream is not None
        assert stream.last, "its response ends"
        answer = json.loads(stream.take()[1])
        assert (answer["id"], answer["error"]["code"]) == (number, CANCELLED)
    assert len(link._streams) == 1, "what GET reads"
    assert (link._by_id, link._by_token, session.core.pending) == ({}, {}, {})
    link.deliver(messages.response(b"7", b"{}"))
    assert link.queued_bytes == 0, "a late answer is nobody's"


def processes_of(notes: Path) -> list[int]:
    """Return the processes that have this file as an argument."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(notes) in (p.info["cmdline"] or ())]


@pytest.mark.parametrize("then", ["restart", "take out"])
async def test_simultaneous_restarts_leave_no_uncounted_process(odd, tmp_path, then):
    """With prewarmed processes, and a session whose process every restart must end."""
    configure, _ = odd
    gateway = configure("silent", prewarm=2)
    server = gateway.servers["odd"]
    client = Client(gateway)
    await client.ask("initialize", _meta=None, protocolVersion="2025-11-25", capabilities={})
    await until(lambda: server.prewarmed is not None and len(server.prewarmed) == 2)
    restarts = [asyncio.create_task(gateway.restart(server)) for _ in range(2)]
    await until(lambda: client.session.ended)
    if then == "take out":
        gateway.configure(Configuration({}, []))
    await asyncio.gather(*restarts)
    assert (server.prewarmed is None) == (then == "take out")
    expected = 2 if then == "restart" else 0
    await until(lambda: gateway.process_count() == expected)
    await until(lambda: len(processes_of(tmp_path / "notes")) == expected)


@pytest.mark.parametrize("first", ["server/discover", "tools/list", None])
async def test_a_server_that_cannot_start_is_started_once_by_a_client_that_probes_and_shakes_hands(
    gateway, tmp_path, first
):
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x'); import no_such_module"
    spec = ServerSpec("odd", "test", command=sys.executable, args=("-I", "-S", "-c", code))
    gateway.configure(Configuration({"odd": spec}, []))
    client = Client(gateway)
    if first is not None:
        refused = await client.ask(first)
        assert "no_such_module" in refused["error"]["message"]
        assert refused["error"]["data"]["outcome"] == "not_sent"
    refused = await client.ask("initialize", None, protocolVersion="2025-11-25", capabilities={})
    assert "no_such_module" in refused["error"]["message"]
    assert starts.read_text() == "x"


@pytest.mark.parametrize(("other", "received"), [("t1", 1), ("t2", 0), (None, 0)])
async def test_a_log_message_that_could_be_for_the_holder_of_another_token_reaches_no_one(
    gateway, other, received
):
    spec = ServerSpec("fast", "test", command=FAST_SERVER["command"], args=tuple(FAST_SERVER["args"]))
    gateway.configure(Configuration({"fast": spec}, []))
    line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
    meta = {**MODERN, "io.modelcontextprotocol/logLevel": "info"}
    links = [HeldLink(), HeldLink()]
    slow = {"name": "slow", "arguments": {"steps": 2, "delay": 0.3}, "_meta": meta}
    raw = {"name": "raw", "arguments": {"line": line}, "_meta": meta}
    for link, token, params in zip(links, ("t1", other), (slow, raw), strict=True):
        session = gateway.open_session(gateway.servers["fast"], link, LinkInfo("me", token_id=token))
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        session.receive(json.dumps(request).encode(), time.perf_counter())
    await until(lambda: all(any("result" in m for m in link.sent) for link in links), what="both results")
    logs = [sum(m.get("method") == "notifications/message" for m in link.sent) for link in links]
    assert logs == [received, received]
