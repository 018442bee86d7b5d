"""The TypeScript client's credentials, and its errors when it is refused."""

from __future__ import annotations

import pytest
from websockets.asyncio.server import serve

from tests.chaos import ChaosLink
from tests.conftest import until
from tests.frontend.conftest import ONE_LOOP, RUNTIMES, RefusedError, endpoint, in_chromium

pytestmark = ONE_LOOP


async def echoes(driver, text: str) -> None:
    assert await driver.do("call", tool="echo", args={"text": text}) == text


@in_chromium
@pytest.mark.parametrize(("kind", "chosen"), [("websocket", None), ("poll", None), ("negotiate", "http")])
async def test_in_a_page_of_the_gateway_the_cookie_is_enough_and_the_address_may_be_relative(
    own, drivers, kind, chosen
):
    driver = await drivers("chromium", own, cookie=True)
    await driver.connect("/mcp-ws/servers/fast", kind=kind)
    await echoes(driver, "by cookie")
    if chosen:
        assert [event["transport"] for event in driver.named("negotiated")] == [chosen]
        assert driver.named("negotiated")[0]["refused"] == {}
    await driver.do("close")
    assert driver.page.complaints == []


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_ticket_is_fetched_for_each_link(own, drivers, runtime):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers(runtime, own, link, **({"cookie": True} if runtime == "chromium" else {}))
        credential = {} if runtime == "chromium" else {"token": own.token}
        await driver.connect(endpoint(own, "fast", link), options={"ticket": True, **credential})
        for number in range(3):
            await echoes(driver, f"by ticket {number}")
            link.cut_all()
            await until(lambda number=number: driver.states.count("resumed") > number)
        await echoes(driver, "still")
        await driver.do("close")


@pytest.mark.node
async def test_tickets_may_come_from_a_function(own, drivers):
    status, answer = own.rest("POST", "tickets", {"server": "fast"})
    assert status == 201
    driver = await drivers("node", own)
    await driver.connect(endpoint(own), options={"tickets": [answer["ticket"]]})
    await echoes(driver, "hello")


@pytest.mark.node
async def test_headers_can_be_set_in_node(own, drivers):
    driver = await drivers("node", own)
    await driver.connect(endpoint(own), options={"headersInNode": {"Authorization": f"Bearer {own.token}"}})
    await echoes(driver, "hello")


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [("node", "websocket"), ("node22", "websocket"), ("node", "poll"), ("node", "negotiate")],
)
@pytest.mark.parametrize(
    ("options", "name", "kind_of_error", "reason"),
    [
        (
            {"token": "wrong"},
            "fast",
            "Unauthorized",
            "refused the credential (401): the credential is missing",
        ),
        ({}, "fast", "Unauthorized", "(401)"),
        (None, "nope", "UnknownServer", "server 'nope' is not configured"),
        ({"token": "secret\n"}, "fast", "ConnectError", "the token for"),
        ({"tokens": [None]}, "fast", "ConnectError", "could not obtain the token for"),
    ],
)
@pytest.mark.node
async def test_refusals_raise_errors_with_a_reason(
    own, drivers, runtime, kind, options, name, kind_of_error, reason
):
    driver = await drivers(runtime, own)
    given = {"token": own.token} if options is None else options
    with pytest.raises(RefusedError) as refused:
        await driver.connect(endpoint(own, name), kind=kind, options=given)
    assert refused.value.error["name"] == kind_of_error
    assert reason in refused.value.error["message"]
    assert "secret" not in refused.value.error["message"]
    if kind != "negotiate":
        assert driver.states == ["connecting", "closed"]


@in_chromium
async def test_a_page_learns_why_it_is_refused(own, drivers):
    driver = await drivers("chromium", own)
    with pytest.raises(RefusedError, match=r"Unauthorized: .*\(401\): the credential is missing or wrong"):
        await driver.connect(endpoint(own), options={"token": "wrong"})
    with pytest.raises(RefusedError, match=r"UnknownServer: .*server 'nope' is not configured"):
        await driver.connect(endpoint(own, "nope"), options={"token": own.token})


@pytest.mark.node
@pytest.mark.parametrize("runtime", ["node", "node22"])
async def test_an_unreachable_address_is_reported(drivers, own, unused_tcp_port, runtime):
    driver = await drivers(runtime, own)
    with pytest.raises(RefusedError, match=r"cannot be reached: .*ECONNREFUSED"):
        await driver.connect(f"ws://127.0.0.1:{unused_tcp_port}/mcp-ws/servers/x")
    with pytest.raises(RefusedError) as refused:
        await driver.connect(f"http://127.0.0.1:{unused_tcp_port}/mcp-ws/servers/x", kind="negotiate")
    message = refused.value.error["message"]
    assert message.count("cannot be reached") == 1, "a reason that all transports share is reported once"


@pytest.mark.node
async def test_transports_that_fail_for_different_reasons_report_each(drivers, own, unused_tcp_port):
    driver = await drivers("node", own)
    url = f"http://127.0.0.1:{unused_tcp_port}/mcp-ws/servers/x"
    options = {"tickets": ["one"]}
    with pytest.raises(
        RefusedError, match=r"^ConnectError: http: .*; websocket: .*reached.*; poll: a ticket "
    ):
        await driver.connect(url, kind="negotiate", options=options)


@pytest.mark.node
@pytest.mark.parametrize("address", ["ftp://host/x", "no address", "http://[::1/", "http://h:99999/"])
async def test_an_invalid_address_fails_at_once(drivers, own, address):
    driver = await drivers("node", own)
    with pytest.raises(RefusedError, match=r"ConnectError: .*address"):
        await driver.connect(address, options={"token": "t"})


@pytest.mark.node
async def test_a_fresh_token_is_requested_for_each_link_and_its_failures_are_retried(own, drivers):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers("node", own)
        await driver.connect(endpoint(own, "fast", link), options={"tokens": [own.token, None, own.token]})
        link.cut_all()
        await until(lambda: "resumed" in driver.states)
        reasons = [s["reason"] for s in driver.named("state") if s["kind"] == "reconnecting"]
        assert "nobody gives one" in reasons[-1]
        await echoes(driver, "back")


@pytest.mark.node
@pytest.mark.parametrize("runtime", ["node", "node22"])
async def test_a_credential_that_is_refused_later_ends_the_session_with_a_reason(own, drivers, runtime):
    async with ChaosLink(own.port, 1) as link:
        driver = await drivers(runtime, own)
        await driver.connect(endpoint(own, "fast", link), options={"tokens": [own.token, "expired"]})
        call = driver.start("call", tool="slow", args={"steps": 1, "delay": 60})
        await until(lambda: driver.named("progress"))
        link.cut_all()
        with pytest.raises(RefusedError, match="401") as refused:
            await call
        assert refused.value.error["data"] == {"outcome": "unknown"}
        assert driver.states[-1] == "closed"


@pytest.mark.node
@pytest.mark.parametrize(("runtime", "wanted"), [("node", "mcp"), ("node", None), ("node22", "mcp")])
async def test_a_plain_server_that_accepts_only_one_subprotocol_gets_it(drivers, own, runtime, wanted):
    """Like strict servers, it refuses every handshake that offers another one. It writes binary frames with NaN."""
    offers = []

    def strict(connection, request):
        offered = request.headers.get("Sec-WebSocket-Protocol")
        offers.append(offered)
        return None if offered == wanted else connection.respond(400, "no such subprotocol\n")

    async def plain(link):
        import json

        async for text in link:
            message = json.loads(text)
            answers = {
                "initialize": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "plain", "version": "1"},
                },
                "tools/list": {
                    "tools": [{"name": "one", "inputSchema": {"type": "object", "default": float("nan")}}]
                },
            }
            if "id" in message:
                answer = {"jsonrpc": "2.0", "id": message["id"], "result": answers[message["method"]]}
                await link.send(json.dumps(answer).encode())

    server = await serve(
        plain, "127.0.0.1", 0, process_request=strict, subprotocols=[wanted] if wanted else None
    )
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/strict"
    driver = await drivers(runtime, own)
    for _ in range(2):
        await driver.connect(url, mode="legacy")
        assert await driver.do("list") == ["one"]
        opened = [state for state in driver.named("state") if state["kind"] == "open"]
        assert [state["resumable"] for state in opened] == [False] * len(opened)
        await driver.do("close")
    websocket = [offered for offered in offers if offered is not None or wanted is None]
    assert offers[0] == "mcp.resume.v1, mcp"
    assert offers.count("mcp.resume.v1, mcp") == 1, "the refusal is remembered"
    assert websocket[-1] == wanted
    server.close()
