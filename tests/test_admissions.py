"""POSTs whose head was admitted a moment ago (admissions.py): faster, and no less strict."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import pytest

from mcp_ws_ide.admissions import ADMITTED_BODY_SECONDS, ADMITTED_FOR, Admission, Admissions
from tests.conftest import BOUND, MODERN, Jupyter, Peer, response_in, until
from tests.handlers.test_security import cookie_of
from tests.handlers.test_streamable_http import Http, events

COUNT = re.compile(
    r'http_request_duration_seconds_count\{handler="([\w.]+)",method="(?:POST|GET)",status_code="\d+"\} (\d+)'
)


def served(jupyter: Jupyter) -> tuple[int, int]:
    """POSTs so far on the endpoint: the long way, and the short ones."""
    found = handled(jupyter)
    return found["ServerEndpointHandler"], found["RepeatedPost"] + found["KeptAliveReader"]


def handled(jupyter: Jupyter) -> Counter[str]:
    """POSTs so far by what handled them."""
    _, _, text = jupyter.request("GET", "metrics", headers={"Authorization": f"token {jupyter.token}"})
    found: Counter[str] = Counter()
    for name, count in COUNT.findall(re.sub(r"\.0\b", "", text.decode())):
        found[name.rpartition(".")[2]] += int(count)
    return found


@pytest.fixture
async def http(jupyter) -> AsyncIterator[Http]:
    """A client whose head no other client shares, and that keeps no cookie."""
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=BOUND, cookies=jar) as client:
        http = Http(jupyter, client)
        http.headers["X-Test"] = str(id(http))
        yield http
        if "Mcp-Session-Id" in http.headers:
            await client.delete(http.url, headers=http.headers)


async def test_the_second_call_is_admitted_by_the_first_and_answered_alike(http, jupyter):
    await http.initialize()
    before = served(jupyter)
    fields = {"Content-Type", "X-Content-Type-Options", "Content-Security-Policy", "Server", "Mcp-Session-Id"}
    fields.add("Cross-Origin-Resource-Policy")
    for tool, arguments in (
        ("echo", {"text": "ü"}),
        ("no such tool", {}),
        ("slow", {"steps": 2, "delay": 0.01}),
    ):
        http.headers["X-Test"] += "."
        first, second = [await http.legacy(1, tool, arguments) for _ in range(2)]
        assert first.status_code == second.status_code == 200
        assert re.sub(r"id: p\d+", "", first.text) == re.sub(r"id: p\d+", "", second.text)
        assert {name: first.headers.get(name) for name in fields} == {
            name: second.headers.get(name) for name in fields
        }
        assert "Date" in second.headers
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [3, 3]


async def test_a_modern_call_and_a_slow_one_are_admitted_too(http, jupyter):
    await http.modern(1, "tools/list")
    before = served(jupyter)
    answer = await http.modern("x", "tools/call", {"name": "echo", "arguments": {"text": "x"}})
    assert response_in(answer)["result"]["content"][0]["text"] == "x"
    silent = await http.modern(1, "tools/call", {"name": "slow", "arguments": {"steps": 1, "delay": 1}})
    assert [message["id"] for _, message in events(silent)] == [1]
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [0, 2]


async def test_further_calls_on_a_connection_are_read_before_tornado(http, jupyter):
    """Also the SDKs' kind of client, which sends head and body apart."""
    await http.initialize()
    before = handled(jupyter)
    for number in range(10):
        answer = await http.legacy(number, "echo", {"text": "x" * number})
        assert response_in(answer)["id"] == number
        assert response_in(answer)["result"]["content"][0]["text"] == "x" * number
    assert handled(jupyter)["KeptAliveReader"] - before["KeptAliveReader"] == 10


async def test_calls_with_progress_or_without_quick_answer_are_complete_too(http, jupyter):
    await http.initialize()
    for number in range(4):
        answer = await http.legacy(number, "slow", {"steps": 2, "delay": 0.01})
        seen = [message for _, message in events(answer)]
        assert [m.get("params", {}).get("progress") for m in seen] == [0, 1, 2, None]
        assert seen[-1]["id"] == number
    for number in range(3):
        silent = await http.legacy(number, "slow", {"steps": 1, "delay": 1})
        assert events(silent)[-1][1]["id"] == number
    before = handled(jupyter)["KeptAliveReader"]
    for name in "abc":  # an admission that has expired meanwhile takes two calls
        assert response_in(await http.legacy(name, "echo", {"text": "x"}))["id"] == name
    assert handled(jupyter)["KeptAliveReader"] > before, "the connection is read before Tornado again"


async def test_a_traced_call_is_admitted_too(http, jupyter):
    before = served(jupyter)
    for number in range(3):
        trace = f"00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016x}-01"
        answer = await http.modern(1, "tools/list", traceparent=trace, User_Agent="traced")
        assert answer.status_code == 200
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [1, 2]


async def test_an_admitted_message_is_validated_too(http, jupyter):
    await http.modern(1, "tools/list")
    before = served(jupyter)
    assert (await http.post("{")).json()["error"]["code"] == -32700
    assert (await http.modern(1, "no/such")).status_code == 404
    assert (await http.modern(1, "tools/list", Mcp_Method="ping")).json()["error"]["code"] == -32020
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    missing, unknown = await http.post(call), await http.post(call, Mcp_Session_Id="f" * 32)
    assert (missing.status_code, unknown.status_code) == (400, 404)
    assert "send initialize" in unknown.json()["message"]
    note = await http.modern(None, "x")
    assert note.status_code in (202, 400)
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [0, 6]


async def test_an_admission_covers_no_other_head(http, jupyter):
    for _ in range(2):
        assert (await http.modern(1, "tools/list")).status_code == 200
    assert (await http.modern(1, "tools/list", Authorization="Bearer wrong")).status_code in (401, 403)
    assert (await http.modern(1, "tools/list", Authorization=None)).status_code == 401
    assert (await http.modern(1, "tools/list", Origin="https://evil.example")).status_code == 403
    assert (await http.modern(1, "tools/list", Host="evil.example")).status_code == 403
    assert (await http.modern(1, "tools/list", Content_Type="text/plain")).status_code == 415


async def test_pages_are_checked_each_time(http, jupyter):
    before = served(jupyter)
    own = {"Origin": jupyter.url.partition("/user")[0]}
    by_cookie = {**own, "Authorization": None, "Cookie": cookie_of(jupyter)}
    for headers, status in ((own, 200), (by_cookie, 403)):  # the cookie alone needs an XSRF token as well
        for _ in range(2):
            assert (await http.modern(1, "tools/list", **headers)).status_code == status
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [4, 0]


async def test_a_client_that_returns_jupyters_cookie_is_admitted_too(jupyter):
    """As the Python SDK's does."""
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(jupyter, client)
        http.headers["X-Test"] = "cookies"
        before = served(jupyter)
        for _ in range(5):
            assert (await http.modern(1, "tools/list")).status_code == 200
    assert [after - start for start, after in zip(before, served(jupyter), strict=True)] == [2, 3]


async def test_a_revoked_gateway_token_is_refused_at_once(http, jupyter):
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"], "expires_in": 600})[1]
    http.headers["Authorization"] = f"Bearer {minted['token']}"
    await http.modern(1, "tools/list")
    before = served(jupyter)
    assert (await http.modern(1, "tools/list")).status_code == 200
    assert served(jupyter)[1] == before[1] + 1, "the short way"
    jupyter.rest("DELETE", f"tokens/{minted['id']}")
    assert (await http.modern(1, "tools/list")).status_code == 401


async def test_a_ticket_is_never_admitted_again(http, jupyter):
    ticket = jupyter.rest("POST", "tickets", {"server": "fast"})[1]["ticket"]
    del http.headers["Authorization"]
    http.url += f"?ticket={ticket}"
    assert [(await http.modern(1, "tools/list")).status_code for _ in range(2)] == [200, 401]


async def test_an_admission_expires(http, jupyter):
    """A user who loses the permission keeps it no longer than that."""
    await http.modern(1, "tools/list")
    before = served(jupyter)[0]
    async with asyncio.timeout(ADMITTED_FOR + 5):
        while served(jupyter)[0] == before:
            await http.modern(1, "tools/list")


@pytest.mark.parametrize(("expired", "holds"), [(0.5, True), (ADMITTED_BODY_SECONDS + 0.5, False)])
def test_a_body_that_ends_just_after_its_admission_is_taken(expired, holds):
    """The call that is under way when an admission expires was refused with 401, which no client repeats."""
    until = time.monotonic() - expired
    admission = Admission("fast", "me", ("", "", ""), "token", None, {}, until)
    assert not Admissions(lambda token: True).still_holds(admission)
    assert Admissions(lambda token: True).still_holds(admission, ADMITTED_BODY_SECONDS) is holds
    assert not Admissions(lambda token: False).still_holds(admission, ADMITTED_BODY_SECONDS)


async def test_a_client_that_disconnects_ends_its_admitted_exchange_too(http, jupyter):
    await http.modern(1, "tools/list")
    with pytest.raises(httpx.ReadTimeout):
        arguments = {"name": "slow", "arguments": {"steps": 1, "delay": 30}}
        http.client.timeout = httpx.Timeout(0.2)
        await http.modern(1, "tools/call", arguments)
    http.client.timeout = httpx.Timeout(20)

    def working() -> list:
        return [session for session in jupyter.rest("GET", "sessions")[1]["sessions"] if session["in_flight"]]

    await until(lambda: not working(), what="the end of the exchange")


async def test_a_slow_body_is_admitted_by_the_rules_at_its_end(http, jupyter):
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"]})[1]
    http.headers["Authorization"] = f"Bearer {minted['token']}"
    await http.modern(1, "tools/list")
    body = http.client.build_request("POST", "http://x/", json=message_of(2)).content
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    head = [
        f"POST {http.url.split(str(jupyter.port), 1)[1]} HTTP/1.1",
        f"Host: 127.0.0.1:{jupyter.port}",
        *(f"{name}: {value}" for name, value in http.headers.items()),
        "Mcp-Method: tools/list",
        "MCP-Protocol-Version: 2026-07-28",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    for _ in range(2):  # the second one repeats the head of the first
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        if _ == 0:
            writer.write(body)
            assert b"200" in await asyncio.wait_for(reader.readline(), BOUND)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND)
            await asyncio.wait_for(reader.read(1 << 16), BOUND)
    await writer.drain()
    jupyter.rest("DELETE", f"tokens/{minted['id']}")
    writer.write(body)
    assert b"401" in await asyncio.wait_for(reader.readline(), BOUND)
    writer.close()


@pytest.mark.parametrize("between", [b"\r\n", b""])
async def test_a_request_that_comes_before_the_response_is_answered_after_it_and_each_once(jupyter, between):
    """Also in the middle of a head that is read before Tornado: a request was run twice there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)

    def call(number: int, seconds: float) -> bytes:
        arguments = {"steps": 1, "delay": seconds}
        params = {"name": "slow", "arguments": arguments, "_meta": MODERN}
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
        fields = {
            "Host": f"127.0.0.1:{jupyter.port}",
            "Authorization": f"Bearer {jupyter.token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "slow",
            "X-Test": between.hex(),
            "Content-Length": str(len(body)),
        }
        path = f"{jupyter.url}mcp-ws/servers/fast".split(str(jupyter.port), 1)[1]
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    async def answered() -> int:
        async with asyncio.timeout(BOUND):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            return json.loads(await reader.readexactly(length))["id"]

    for number in range(3):
        writer.write(call(number, 0))
        assert await answered() == number

    def in_flight() -> int:
        return sum(session["in_flight"] for session in jupyter.rest("GET", "sessions")[1]["sessions"])

    writer.write(call(10, 0.3))
    await until(lambda: in_flight() == 1, what="the call")
    writer.write(between + call(11, 0))
    writer.write(call(12, 0))
    assert [await answered() for _ in range(3)] == [10, 11, 12]
    writer.write(call(13, 0))
    assert await answered() == 13, "no response to a request that was run twice"
    writer.close()


def message_of(number: int) -> dict:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {"_meta": MODERN}}


# --- handshakes -------------------------------------------------------------------------------------


async def test_a_handshake_is_admitted_by_an_equal_one(jupyter):
    before = handled(jupyter)
    for subprotocols in (["mcp"], ["mcp"], ["mcp.resume.v1", "mcp"], ["mcp.resume.v1", "mcp"]):
        async with jupyter.connect("fast", subprotocols=subprotocols, user_agent_header="equal") as link:
            assert link.subprotocol == subprotocols[0]
            if link.subprotocol == "mcp":
                assert (await Peer(link).initialize())["result"]["serverInfo"]
    after = handled(jupyter)
    assert after["ServerEndpointHandler"] - before["ServerEndpointHandler"] == 2
    assert after["RepeatedUpgrade"] - before["RepeatedUpgrade"] == 2


async def test_a_repeated_handshake_is_refused_as_a_first_one_is(jupyter):
    minted = jupyter.rest("POST", "tokens", {"servers": ["fast"], "expires_in": 600})[1]
    assert [await upgrade_status(jupyter, minted["token"], {}) for _ in range(2)] == [101, 101]
    for headers, status in (({"Mcp-Session-Id": "f" * 32}, 101), ({"Origin": "https://evil.example"}, 403)):
        assert await upgrade_status(jupyter, minted["token"], headers) == status
    assert await upgrade_status(jupyter, minted["token"], {}) == 101
    assert await upgrade_status(jupyter, minted["token"], {"Sec-WebSocket-Key": "short"}) == 400
    jupyter.rest("DELETE", f"tokens/{minted['id']}")
    assert await upgrade_status(jupyter, minted["token"], {}) == 401


async def upgrade_status(jupyter: Jupyter, token: str, headers: dict[str, str]) -> int:
    """The status of a handshake whose head varies in ``headers`` only."""
    fields = {
        "Host": f"127.0.0.1:{jupyter.port}",
        "Authorization": f"Bearer {token}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    path = f"{jupyter.url}mcp-ws/servers/fast".split(str(jupyter.port), 1)[1]
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status = int((await asyncio.wait_for(reader.readline(), BOUND)).split()[1])
    writer.close()
    return status
