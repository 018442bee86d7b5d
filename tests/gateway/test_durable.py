"""Sessions that are stored, over one gateway after the other, on an engine in memory."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

import pytest

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.engines.base import InFlight, SessionLostError
from mcp_ws_ide.errors import UPSTREAM_LOST
from mcp_ws_ide.gateway import Limits, commits, durable
from mcp_ws_ide.gateway.stored_state import state_of
from mcp_ws_ide.gateway.whole_requests import MAX_BYTES
from mcp_ws_ide.links.base import LinkInfo
from tests.conftest import MODERN, until
from tests.gateway.stored import INITIALIZE, Client, House, fast

ASLEEP = ServerSpec("asleep", "test", command=sys.executable, args=("-c", "import time; time.sleep(3600)"))
"""A server that reads nothing: requests wait for it."""
RAN_PERHAPS = {"outcome": "unknown", "method": "tools/call"}


@pytest.fixture
async def house():
    """Gateways with the fast server, privately, shared by all eras, and one that never becomes ready."""
    house = House(fast(), fast("always", sharing="always"), ASLEEP)
    yield house
    await house.close()


def session_of(client):
    """The session of a client at the present gateway."""
    return client.house.gateway.sessions[client.end.session]


def stored(client):
    """What is stored of the session of a client."""
    return client.house.engine.table.by_id[client.end.session].copied()


def whole(client):
    """The requests of a client that are stored whole."""
    return [json.loads(request.data)["method"] for request in state_of(stored(client)).whole]


async def sent_to_server(client, request):
    """Wait until a request was handed to its server."""
    await until(
        lambda: getattr(session_of(client).core.pending.get(request), "sent", 0), what="a call that runs"
    )


async def test_a_modern_session_goes_on_after_a_crash(house):
    client = await Client(house).connected()
    assert await client.ask("echo", {"text": "before"}) == "before"
    await house.crash()
    await client.connected()
    assert client.events["resumed"] == 1
    assert await client.ask("echo", {"text": "after"}) == "after"
    assert session_of(client).restored
    assert not session_of(await Client(house).connected()).restored


async def test_what_was_in_flight_ends_with_the_outcome_unknown(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    call = client.call("slow", {"steps": 1000, "delay": 1})
    await sent_to_server(client, call)
    await house.crash()
    await client.connected()
    error = (await client.answer(call))["error"]
    assert (error["code"], error["data"]) == (UPSTREAM_LOST, RAN_PERHAPS)


async def test_what_waited_for_its_server_is_forwarded_by_the_next_gateway(house):
    """Over and over: while the server is not ready, no gateway hands it over."""
    client = await Client(house, "asleep").connected()
    call, read = client.call("echo", {"text": "late"}), client.request("tools/list")
    await until(lambda: len(whole(client)) == 2)
    await house.crash()
    await client.connected()
    await until(lambda: call in session_of(client).core.pending)
    assert not stored(client).in_flight
    house.specs = (fast("asleep"),)
    await house.crash()
    await client.connected()
    assert (await client.answer(call))["result"]["content"][0]["text"] == "late"
    assert (await client.answer(read))["result"]["tools"]
    await until(lambda: not whole(client))


async def test_an_unanswered_discovery_is_repeated_and_the_session_stays_modern(house):
    client = await Client(house, "asleep").connected()
    discover = client.request("server/discover")
    await until(lambda: whole(client))
    house.specs = (fast("asleep"),)
    await house.crash()
    await client.connected()
    assert "2026-07-28" in (await client.answer(discover))["result"]["supportedVersions"]
    assert session_of(client).era == "modern"


@pytest.mark.parametrize("server", ["fast", "always"])
async def test_a_request_that_only_reads_is_sent_again_though_its_server_may_have_it(house, server):
    client, meta = await Client(house, server).connected(), MODERN
    if server == "always":  # a handshake-era client at a bridge
        meta = None
        await client.handshake()
    await client.ask("echo", {"text": "warm"}, meta)
    house.engine.lag()
    read = client.request("tools/list", None, meta)
    await until(lambda: house.engine.held)
    house.engine.catch_up()
    house.engine.lag()
    await until(lambda: house.engine.held, what="the answer of the server")
    assert read not in client.answers
    await house.crash()
    await client.connected()
    assert (await client.answer(read))["result"]["tools"]


async def test_what_waited_is_marked_before_a_server_that_is_ready_by_now_gets_it(house):
    client = await Client(house, "asleep").connected()
    call = client.call("echo", {"text": "late"})
    await until(lambda: whole(client))
    house.specs = (fast("asleep"),)
    await house.crash()
    other = await Client(house, "asleep").connected()
    await other.ask("echo", {"text": "the server is ready"})
    house.engine.lag()
    client.connect()
    await until(lambda: house.engine.held, what="the new token")
    house.engine.catch_up()
    house.engine.lag()
    await until(lambda: house.engine.held, what="the mark")
    assert stored(client).in_flight == []
    assert call not in session_of(client).core.pending
    house.engine.catch_up()
    assert (await client.answer(call))["result"]["content"][0]["text"] == "late"


async def test_a_mark_that_joins_a_batch_which_the_engine_has_lost_holds_nothing_up(house):
    client = await Client(house).connected()
    first = client.call("echo", {"text": "1"})
    await until(lambda: whole(client))
    house.engine.lag()
    second = client.call("echo", {"text": "2"})
    await until(lambda: house.engine.held)
    await until(lambda: session_of(client)._intake._marking, what="the mark")
    house.engine.table.by_id.clear()
    house.engine.catch_up()
    for call, text in ((first, "1"), (second, "2")):
        assert (await client.answer(call))["result"]["content"][0]["text"] == text


async def test_what_is_too_large_to_be_stored_whole_ends_with_the_outcome_not_sent(house):
    client = await Client(house, "asleep").connected()
    call = client.call("echo", {"text": "x" * MAX_BYTES})
    await until(lambda: stored(client).in_flight)
    assert not stored(client).in_flight[0].transmitted
    await house.crash()
    await client.connected()
    error = (await client.answer(call))["error"]
    assert error["data"] == {"outcome": "not_sent", "method": "tools/call"}
    assert "tools/call" in error["message"]


async def test_what_waits_for_a_process_of_its_own_ends_with_it(house):
    client = await Client(house, "asleep").connected()
    handshake, read = client.request("initialize", INITIALIZE, None), client.request("tools/list", None, None)
    await until(lambda: len(stored(client).in_flight) == 2)
    await house.crash()
    await client.connected()
    for request, method in ((handshake, "initialize"), (read, "tools/list")):
        error = (await client.answer(request))["error"]
        assert error["data"] == {"outcome": "not_sent", "method": method}


async def test_what_was_read_for_a_session_that_ends_with_its_gateway_gets_an_error(house):
    """A client that asks a server as a modern one, and then shakes hands with a process of its own."""
    client = await Client(house).connected()
    client.call("stuck")
    read = client.request("tools/list")
    await until(lambda: whole(client) == ["tools/list"])
    assert (await client.answer(client.request("initialize", INITIALIZE, None)))["result"]
    await house.crash()
    wire = (await client.connected()).wire
    assert (await client.answer(read))["error"]["data"] == {"outcome": "unknown", "method": "tools/list"}
    await until(lambda: wire.closes)
    assert wire.closes[0][0] == CloseCode.UPSTREAM_ENDED


async def test_a_request_that_an_earlier_version_stored_ends_with_its_id(house):
    client = await Client(house, "asleep").connected()
    call = client.call("echo", {"text": "x" * MAX_BYTES})
    await until(lambda: stored(client).in_flight)
    in_flight = house.engine.table.by_id[client.end.session].in_flight
    (entry,) = in_flight.values()
    in_flight[entry.key] = InFlight(entry.key, b"%d" % call)
    await house.crash()
    await client.connected()
    assert (await client.answer(call))["error"]["data"] == {"outcome": "unknown"}


async def test_a_request_that_waited_is_marked_before_it_is_handed_over(house):
    client = await Client(house).connected()
    call = client.call("slow", {"steps": 1000, "delay": 1})
    await sent_to_server(client, call)
    assert stored(client).in_flight[0].transmitted
    second = client.call("echo", {"text": "x"})
    assert (await client.answer(second))["result"]["content"][0]["text"] == "x"


async def test_nothing_is_forwarded_sent_or_acknowledged_before_it_is_stored(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.lag()
    call = client.call("echo", {"text": "x"})
    await until(lambda: house.engine.held)
    await asyncio.sleep(0)
    assert not session_of(client).core.pending
    session_of(client).send_ack()
    assert session_of(client).resumption.channel.received == client.end.channel.sent - 1
    house.engine.catch_up()
    house.engine.lag()
    await until(lambda: house.engine.held, what="the answer of the server")
    assert call not in client.answers
    house.engine.catch_up()
    await client.answer(call)


async def test_a_batch_is_outstanding_alone_and_what_is_staged_meanwhile_joins_the_next(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.lag()
    calls = [client.call("echo", {"text": str(number)}) for number in range(5)]
    await until(lambda: session_of(client)._changes.received == client.end.channel.sent)
    assert len(house.engine.held) == 1
    house.engine.catch_up()
    for call in calls:
        await client.answer(call)


async def test_a_client_that_resumes_while_the_engine_lags_gets_everything_once(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.lag()
    calls = [client.call("echo", {"text": str(number)}) for number in range(3)]
    await until(lambda: house.engine.held)
    wire = client.wire
    client.connect()
    await until(lambda: wire.closes)
    assert wire.closes[0][0] == CloseCode.SUPERSEDED
    client.connect()
    house.engine.catch_up()
    for call in calls:
        await client.answer(call)
    assert client.events["resumed"] == 1


async def test_subscriptions_are_made_again_and_announce_that_something_may_have_changed(house):
    client = await Client(house).connected()
    listen = client.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    await client.change("notifications/subscriptions/acknowledged")
    assert not stored(client).in_flight
    await house.crash()
    await client.connected()
    assert await client.ask("change") == "1"
    (changed,) = await client.change("notifications/tools/list_changed")
    assert changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == listen
    assert len(await client.change("notifications/subscriptions/acknowledged")) == 1
    client.say(method="notifications/cancelled", params={"requestId": listen})
    assert await client.ask("change") == "0"
    await house.crash()
    await client.connected()
    assert await client.ask("change") == "0"


async def test_a_handshake_session_on_a_shared_server_goes_on(house):
    client = await Client(house, "always").connected()
    await client.handshake()
    assert await client.ask("echo", {"text": "before"}, None) == "before"
    await house.crash()
    await client.connected()
    assert await client.ask("echo", {"text": "after"}, None) == "after"
    await client.change("notifications/tools/list_changed")
    assert session_of(client).era == "legacy"


async def test_a_session_with_a_process_of_its_own_ends_with_its_errors_and_4502(house):
    client = await Client(house).connected()
    await client.handshake()
    await client.ask("echo", {"text": "before"}, None)
    call = client.call("slow", {"steps": 1000, "delay": 1}, None)
    await sent_to_server(client, call)
    await house.crash()
    wire = (await client.connected()).wire
    assert (await client.answer(call))["error"]["data"] == RAN_PERHAPS
    await until(lambda: wire.closes)
    code, reason = wire.closes[0]
    assert code == CloseCode.UPSTREAM_ENDED
    assert "ended with the gateway" in reason
    wire.on_closed(code, reason)
    await until(lambda: not house.engine.table.by_id)


async def test_a_stop_lets_calls_finish_and_leaves_new_ones_to_the_next_gateway():
    house = House(fast(), limits=Limits(drain_timeout=60))
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    finishes = client.call("slow", {"steps": 3, "delay": 0.1})
    await sent_to_server(client, finishes)
    stopping = asyncio.create_task(house.restart())
    await until(lambda: house.gateway.closing)
    later = client.call("echo", {"text": "later"})
    wire = client.wire
    await stopping
    assert wire.closes == [(CloseCode.SERVICE_RESTART, durable.LEAVING)]
    assert (await client.answer(finishes))["result"]
    assert later not in client.answers
    await client.connected()
    assert (await client.answer(later))["result"]["content"][0]["text"] == "later"
    await house.close()


async def test_a_stop_answers_nothing_for_calls_that_do_not_finish(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    call = client.call("slow", {"steps": 1000, "delay": 1})
    await sent_to_server(client, call)
    await house.restart()
    assert call not in client.answers
    await client.connected()
    assert (await client.answer(call))["error"]["data"] == RAN_PERHAPS


async def test_a_session_that_ends_is_deleted(house):
    ways = {
        "by the client": lambda client: client.wire.cut(CloseCode.NORMAL),
        "by its owner": lambda client: session_of(client).end(CloseCode.NORMAL, "ended"),
        "by a broken frame": lambda client: client.wire.write(b'{"mcp.ws":"ack","recv":99}'),
    }
    for name, way in ways.items():
        client = await Client(house).connected()
        await client.ask("echo", {"text": "warm"})
        way(client)
        await until(lambda: not house.engine.table.by_id, what=f"the end {name}")


async def test_only_its_owner_resumes_a_stored_session(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    await house.crash()
    stranger = Client(house, principal="another")
    stranger.end = client.end
    stranger.connect()
    await until(lambda: stranger.events["gone"])
    token = client.end._token
    client.end._token = token + "x"
    client.connect()
    await until(lambda: client.events["gone"])
    client.end._token = token
    await client.connected()
    assert await client.ask("echo", {"text": "after"}) == "after"


async def test_a_session_that_was_given_to_another_user_in_the_engine_is_not_restored(house):
    client = await Client(house).connected()
    held = house.engine.table.by_id[session_of(client).id]
    await house.crash()
    held.stored.principal = "mallory"
    house.engine.table.of_principal["mallory"] += 1
    with pytest.raises(SessionLostError, match="it belongs to another user") as lost:
        async with house.gateway.restoring(f"{held.stored.id}.token", LinkInfo("mallory")):
            pass
    assert lost.value.cause == "unusable"
    assert house.engine.statistics.lost == {"unusable": 1}


async def test_a_gateway_token_for_fewer_tools_resumes_no_session_of_more(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    await house.crash()
    client.info = client.info.__class__("me", tools=ToolRules(allow=["echo"]))
    client.connect()
    await until(lambda: client.events["gone"])


async def test_a_session_of_a_revoked_token_is_gone(house):
    client = await Client(house, token_id="t1").connected()
    await house.crash()
    house.gateway._stored._token_alive = lambda token_id: False
    client.connect()
    await until(lambda: any("no longer valid" in event for event in client.events))
    assert not house.engine.table.by_id


async def test_a_session_expires_though_its_gateway_has_ended(house):
    house.limits = Limits(grace=0.05)
    await Client(house).connected()
    await house.crash()
    assert house.engine.table.by_id
    hours = itertools.count(3600, 3600)
    await until(lambda: house.gateway.tick(time.monotonic() + next(hours)) or not house.engine.table.by_id)


async def test_an_engine_that_has_lost_everything_is_given_the_session_again(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.table.by_id.clear()
    assert await client.ask("echo", {"text": "again"}) == "again"
    await house.crash()
    await client.connected()
    assert await client.ask("echo", {"text": "after"}) == "after"


async def test_a_fenced_session_is_dropped_and_goes_on_with_its_new_owner(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    call = client.call("slow", {"steps": 1000, "delay": 1})
    await sent_to_server(client, call)
    house.engine.table.take(client.end.session, "me")
    late = client.call("echo", {"text": "late"})
    wire = client.wire
    await until(lambda: wire.closes)
    assert wire.closes[0][0] == CloseCode.SERVICE_RESTART
    await client.connected()
    assert (await client.answer(call))["error"]["data"] == RAN_PERHAPS
    assert (await client.answer(late))["result"]


async def test_an_engine_that_fails_for_a_moment_costs_nothing(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.reachable = False
    call = client.call("echo", {"text": "x"})
    await until(lambda: session_of(client)._commits.failing)
    assert call not in client.answers
    house.engine.reachable = True
    await client.answer(call)
    assert not client.wire.closes


async def test_a_client_is_told_to_come_back_later_while_nothing_can_be_stored(house, monkeypatch):
    monkeypatch.setattr(commits, "STALL", 0.1)
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    house.engine.reachable = False
    call = client.call("echo", {"text": "x"})
    wire = client.wire
    await until(lambda: wire.closes)
    assert wire.closes[0][0] == CloseCode.TRY_AGAIN_LATER
    again = client.connect()
    await until(lambda: again.closes)
    assert again.closes[0][0] == CloseCode.TRY_AGAIN_LATER
    newcomer = Client(house).connect()
    await until(lambda: newcomer.closes)
    assert newcomer.closes[0][0] == CloseCode.TRY_AGAIN_LATER
    house.engine.reachable = True
    await until(lambda: not session_of(client)._commits.failing)
    await client.connected()
    assert (await client.answer(call))["result"]


async def test_an_unreachable_engine_is_no_reason_to_call_a_session_gone(house):
    client = await Client(house).connected()
    await house.crash()
    house.engine.reachable = False
    wire = client.connect()
    await until(lambda: wire.closes)
    assert wire.closes[0][0] == CloseCode.TRY_AGAIN_LATER
    assert not client.events["gone"]


async def test_a_link_that_is_lost_before_its_token_is_stored_leaves_the_old_token_valid(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    client.wire.cut()
    house.engine.lag()
    wire = client.connect()
    await until(lambda: house.engine.held)
    wire.cut()
    house.engine.catch_up()
    await until(lambda: not session_of(client).attached)
    await client.connected()
    assert await client.ask("echo", {"text": "after"}) == "after"


async def test_the_outcome_survives_a_second_crash_before_the_client_is_back(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "warm"})
    call = client.call("slow", {"steps": 1000, "delay": 1})
    await sent_to_server(client, call)
    await house.crash()
    house.engine.table.take(client.end.session, "me")
    await house.crash()
    await client.connected()
    assert (await client.answer(call))["error"]["data"] == RAN_PERHAPS


async def test_a_malformed_message_is_stored_counted_and_refused(house):
    client = await Client(house).connected()
    client.wire.write(client.end.send(b'{"jsonrpc":"2.0","id":"x","method"'))
    await until(lambda: any("error" in message for message in client.got))
    assert await client.ask("echo", {"text": "x"}) == "x"
    assert stored(client).received == client.end.channel.sent


async def test_an_idle_session_keeps_nothing_that_its_client_has_acknowledged(house):
    client = await Client(house).connected()
    await client.ask("echo", {"text": "x"})
    client.wire.write(client.end.channel.take_ack())
    await until(lambda: house.gateway.tick(time.monotonic()) or not stored(client).frames)


async def test_a_session_that_gets_a_process_of_its_own_while_its_gateway_drains_goes_on_there(house):
    """What its client sent meanwhile was left to another gateway, and is sent again to this one."""
    client = await Client(house).connected()
    house.engine.lag()
    initialize = client.request("initialize", INITIALIZE, None)
    await until(lambda: house.engine.held)
    house.gateway.drain()
    session = session_of(client)
    await until(lambda: session.leaving)
    later = client.request("tools/list", None, None)
    await until(lambda: session.holding)
    wire = client.wire
    house.engine.catch_up()
    await until(lambda: wire.closes, what="the end of the link")
    assert wire.closes[0][0] == CloseCode.SERVICE_RESTART
    assert later not in client.answers
    await client.connected()
    assert "result" in await client.answer(initialize)
    assert "result" in await client.answer(later)
    client.say(method="notifications/initialized")
    assert await client.ask("echo", {"text": "goes on"}, None) == "goes on"
    assert session_of(client) is session
    assert not session.attachments.movable
