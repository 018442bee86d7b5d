"""The TypeScript client on networks that block, and over the lifecycle of a page."""

from __future__ import annotations

import asyncio
import re

import pytest
from tornado.web import Application
from websockets.asyncio.server import serve

from tests.chaos import ChaosLink
from tests.client.test_negotiating import (
    NETWORKS,
    OnlyGreetings,
    RefusesAfterTheFirst,
    locations,
    url_through,
)
from tests.conftest import BOUND, until
from tests.frontend.conftest import ONE_LOOP, QUICK, RefusedError, endpoint, in_chromium, session_of
from tests.interop.nginx import Nginx
from tests.transports.raw_http import Request, Server

pytestmark = ONE_LOOP
LONG = {**QUICK, "firstDelay": 1e9, "maxDelay": 1e9, "giveUpAfter": 1e10}
"""Longer than a test: only an event that triggers an immediate attempt ends the wait."""


@pytest.fixture(scope="module")
def networks(own, tmp_path_factory):
    running = Nginx(locations(own), tmp_path_factory.mktemp("nginx"))
    yield running
    running.stop()


@pytest.mark.node
@pytest.mark.parametrize(
    ("network", "sdk", "mode"), [("open", 1, "legacy"), *((network, 2, "auto") for network in NETWORKS)]
)
async def test_it_works_on_every_network_and_reports_the_transport(
    own, networks, drivers, network, sdk, mode
):
    driver = await drivers("node", own)
    url = url_through(networks, network)
    await driver.connect(url, kind="negotiate", sdk=sdk, mode=mode, options={"token": own.token})
    assert await driver.do("call", tool="slow", args={"steps": 3, "delay": 0.05}) == "3 steps done"
    assert [event["progress"] for event in driver.named("progress")] == [1, 2, 3]
    (negotiated,) = driver.named("negotiated")
    refused = NETWORKS[network][2]
    assert negotiated["transport"] == ["http", "websocket", "poll"][len(refused)]
    assert negotiated["refused"].keys() == refused.keys()
    if "http" in refused:
        assert "buffers" in negotiated["refused"]["http"]
    if "websocket" in refused:
        assert "the gateway answers, but the WebSocket handshake failed" in negotiated["refused"]["websocket"]
    await driver.do("close")


@pytest.mark.node
async def test_the_caller_determines_the_order(own, networks, drivers):
    driver = await drivers("node", own)
    url = url_through(networks, "blocks upgrade", "fast")
    order = ["websocket", "poll", "http"]
    await driver.connect(url, kind="negotiate", options={"token": own.token, "transports": order})
    assert driver.named("negotiated")[0]["transport"] == "poll"
    with pytest.raises(RefusedError, match="unknown transports"):
        await driver.connect(url, kind="negotiate", options={"transports": ["sse"]})


@pytest.mark.node
async def test_a_session_never_changes_its_transport(own, networks, drivers):
    """The upgrade is blocked later: the session stays with WebSocket, and ends."""
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("node", own)
        policy = {**QUICK, "giveUpAfter": 1000}
        options = {"token": own.token, "transports": ["websocket", "poll"], "reconnect": policy}
        url = endpoint(own, "fast", link).replace("ws:", "http:")
        await driver.connect(url, kind="negotiate", options=options)
        call = driver.start("call", tool="slow", args={"steps": 1, "delay": 60})
        await until(lambda: driver.named("progress"))
        link.refusing = True
        link.cut_all()
        with pytest.raises(RefusedError) as refused:
            await call
        assert refused.value.error["data"] == {"outcome": "unknown"}
        assert [event["transport"] for event in driver.named("negotiated")] == ["websocket"]


@pytest.mark.node
async def test_links_that_carry_only_the_greeting_count_as_failed_attempts(own, drivers):
    network = {"closed": False}
    target = f"{own.url}mcp-ws/servers/fast/poll"
    routes = [(r"/.*", OnlyGreetings, {"target": target, "state": network})]
    server = Application(routes).listen(0, "127.0.0.1")
    (port,) = {sock.getsockname()[1] for sock in server._sockets.values()}
    driver = await drivers("node", own)
    policy = {"firstDelay": 20, "maxDelay": 100, "giveUpAfter": 2000}
    options = {"token": own.token, "reconnect": policy}
    await driver.connect(f"http://127.0.0.1:{port}/mcp-ws/servers/fast", kind="poll", options=options)
    network["closed"] = True
    with pytest.raises(RefusedError, match="could not be reached again within 2 s"):
        await driver.do("call", tool="slow", args={"steps": 1, "delay": 60})
    server.stop()
    await server.close_all_connections()
    attempts = [state["attempt"] for state in driver.named("state") if state["kind"] == "reconnecting"]
    assert attempts == list(range(1, len(attempts) + 1))
    assert "resumed" in driver.states, "the greeting passed"
    for session in own.rest("GET", "sessions")[1]["sessions"]:  # it would wait for its client
        own.rest("DELETE", f"sessions/{session['id']}")


@pytest.mark.node
async def test_a_half_open_link_is_detected(own, drivers):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("node", own)
        await driver.connect(endpoint(own, "fast", link), options={"token": own.token, "heartbeat": 200})
        swallow(link)
        await until(lambda: "resumed" in driver.states)
        reasons = [state["reason"] for state in driver.named("state") if state["kind"] == "reconnecting"]
        assert reasons[0] == "1006 the gateway did not answer a ping"
        assert await driver.do("call", tool="echo", args={"text": "back"}) == "back"


def swallow(link: ChaosLink) -> None:
    """Discard all data on the open links from now on, without closing them."""
    for pair in link._open:
        pair.latency = 3600.0


@in_chromium
async def test_a_page_that_may_have_lost_its_network_checks_its_link_at_once(own, drivers):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("chromium", own, link)
        await driver.connect(endpoint(own, "fast", link), options={"token": own.token})
        swallow(link)
        await driver.page.evaluate("dispatchEvent(new Event('offline'))")
        await until(lambda: "resumed" in driver.states, 30)  # without a hint it takes 40 s
        assert await driver.do("call", tool="echo", args={"text": "back"}) == "back"


@in_chromium
async def test_a_page_whose_network_is_back_reconnects_at_once(own, drivers):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("chromium", own, link)
        options = {"token": own.token, "reconnect": LONG}
        await driver.connect(endpoint(own, "fast", link), options=options)
        await driver.page.context.set_offline(True)
        link.cut_all()
        await until(lambda: "reconnecting" in driver.states)
        call = driver.start("call", tool="echo", args={"text": "queued"})
        assert driver.states[-1] == "reconnecting"
        await driver.page.context.set_offline(False)
        assert await call == "queued"
        assert driver.states[-1] == "resumed"


STAND_STILL = """() => {
  const end = Date.now() + 1500;
  while (Date.now() < end);
  document.dispatchEvent(new Event("resume"));
}"""


@in_chromium
async def test_a_page_that_was_frozen_resumes(own, drivers):
    """Headless Chromium does not freeze pages, so the page is blocked. As after a freeze, it first sees the wake-up event
    and then the loss."""
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("chromium", own, link)
        options = {"token": own.token, "reconnect": LONG}
        await driver.connect(endpoint(own, "demo", link), options=options)
        call = driver.start("call", tool="slow", args={"steps": 10, "delay": 0.1})
        await until(lambda: driver.named("progress"))
        blocked = asyncio.create_task(driver.page.evaluate(STAND_STILL))
        link.cut_all()
        await blocked
        assert await call == "10 steps done"
        assert [event["progress"] for event in driver.named("progress")] == list(range(1, 11))
        assert driver.states == ["connecting", "open", "reconnecting", "resumed"]


@in_chromium
@pytest.mark.parametrize("kind", ["websocket", "poll"])
async def test_a_page_that_ends_ends_its_session(own, drivers, kind):
    """Otherwise the session, and in the handshake era its process, would live on for the grace period."""
    driver = await drivers("chromium", own)
    await driver.connect(endpoint(own), kind=kind, mode="legacy", options={"token": own.token})
    assert session_of(own, driver) is not None
    await driver.page.goto("about:blank")
    await until(lambda: session_of(own, driver) is None)


@pytest.mark.node
@pytest.mark.parametrize("kind", ["websocket", "negotiate"])
async def test_a_redirect_is_reported_and_not_followed(drivers, own, kind):
    asked = []

    def redirect(connection, request):
        asked.append(request.path)
        answer = connection.respond(302, "")
        answer.headers["Location"] = "/hub/login"
        return answer

    driver = await drivers("node", own)
    async with serve(None, "127.0.0.1", 0, process_request=redirect) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp-ws/servers/x"
        with pytest.raises(RefusedError, match="is redirected: the login has expired"):
            await driver.connect(url, kind=kind, options={"transports": ["http", "websocket"]})
    assert asked
    assert not [path for path in asked if path.startswith("/hub")]


@pytest.mark.node
@pytest.mark.parametrize("kind", ["websocket", "poll", "negotiate"])
async def test_closing_while_it_connects_ends_the_attempt(drivers, own, kind):
    """The other side accepts the connection and never answers."""

    async def never(request: Request) -> None:
        await asyncio.Event().wait()

    driver = await drivers("node", own)
    options = {"transports": ["websocket", "poll"]} if kind == "negotiate" else {}
    async with Server(never) as silent:
        url = f"{silent.url.removesuffix('/mcp')}/mcp-ws/servers/x"
        connecting = driver.start("connect", url=url, kind=kind, options=options)
        await until(lambda: "connecting" in driver.states)
        await driver.do("abandon")
        with pytest.raises(RefusedError, match=r"closed"):
            await asyncio.wait_for(connecting, BOUND)
    assert driver.states.count("connecting") == 1


@pytest.mark.node
async def test_posts_that_are_refused_end_a_poll_session_and_do_not_loop(own, drivers):
    driver = await drivers("node", own)
    async with Server(handler := RefusesAfterTheFirst(own, 403)) as proxy:
        url = f"{proxy.url.removesuffix('/mcp')}/mcp-ws/servers/fast"
        with pytest.raises(RefusedError, match="something other than the gateway answered 403"):
            reconnect = {**QUICK, "giveUpAfter": 1000 * BOUND}
            await driver.connect(url, kind="poll", options={"token": own.token, "reconnect": reconnect})
        assert handler.opened == 1


@pytest.mark.node
@pytest.mark.parametrize("sdk", [1, 2])
@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("lab/tree/x", "Jupyter answered 4.* with "),
        ("api/status", "is not an MCP endpoint: Jupyter answered 4.* with application/json"),
        ("", "answered 200 with text/html"),
    ],
)
async def test_an_address_of_jupyter_that_is_no_endpoint_is_named_as_such(own, drivers, sdk, path, detail):
    driver = await drivers("node", own)
    url = f"http://127.0.0.1:{own.port}/{path}"
    with pytest.raises(RefusedError) as refused:
        await driver.connect(url, kind="negotiate", sdk=sdk, options={"token": own.token})
    message = refused.value.error["message"]
    assert re.search(detail, message)
    assert message.count("ends in /mcp-ws/servers/NAME") == 1


@pytest.mark.node
@pytest.mark.parametrize("sdk", [1, 2])
async def test_a_web_page_in_place_of_an_mcp_server_is_named(own, drivers, sdk):
    async def handler(request: Request) -> None:
        status = 404 if request.target.endswith("/probe") else 200
        await request.answer(status, b"<title>Shop</title>", "text/html")

    driver = await drivers("node", own)
    async with Server(handler) as server:
        text = "/mcp is not an MCP endpoint: what answers there answered 200 with text/html; the address of a server"
        with pytest.raises(RefusedError, match=text):
            await driver.connect(server.url, kind="negotiate", sdk=sdk, options={"token": ""})
