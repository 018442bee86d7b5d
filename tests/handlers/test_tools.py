"""Allow and deny lists of tools, by server and by gateway token."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import UnauthorizedError, connect
from tests.conftest import BOUND, DEMO, MODERN, Jupyter, Peer, response_in
from tests.handlers.test_poll import Poller, lines_of
from tests.handlers.test_streamable_http import Http

TOLERANT = str(Path(__file__).parents[1] / "servers" / "tolerant.py")


@pytest.fixture
def narrowed(make_jupyter) -> Jupyter:
    rules = {"allow": ["e*", "add", "big"], "deny": ["elicit"]}
    return make_jupyter({"demo": {**DEMO, "mcp_ws": {"tools": rules}}, "all": DEMO})


def mint(jupyter: Jupyter, *servers: str, **tools: list[str]) -> str:
    return jupyter.rest("POST", "tokens", {"servers": list(servers), "tools": tools})[1]["token"]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_forbidden_tool_is_neither_listed_nor_callable(narrowed, mode):
    async with connect(narrowed.endpoint("demo"), token=narrowed.token, mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"echo", "add", "big"}
        assert (await client.call_tool("echo", {"text": "x"})).content[0].text == "x"
        for name in ("elicit", "crash", "nowhere"):
            with pytest.raises(MCPError, match=f"Unknown tool: {name}"):
                await client.call_tool(name, {})


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_tokens_rules_add_to_the_servers(narrowed, mode):
    token = mint(narrowed, "demo", allow=["add", "crash"])
    async with connect(narrowed.endpoint("demo"), token=token, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
    token = mint(narrowed, "all", deny=["*"])
    async with connect(narrowed.endpoint("all"), token=token, mode=mode) as client:
        assert (await client.list_tools()).tools == []


async def test_a_narrower_token_cannot_use_what_a_wider_one_opened(narrowed):
    narrow = mint(narrowed, "all", allow=["add"])
    async with narrowed.connect("all", subprotocols=["mcp.resume.v1"]) as link:
        await link.send(json.dumps({"mcp.ws": "open"}))
        token = json.loads(await link.recv())["token"]
        link.transport.abort()  # a proper close would end the session
    headers = {"Authorization": f"Bearer {narrow}"}
    async with narrowed.connect("all", subprotocols=["mcp.resume.v1"], additional_headers=headers) as link:
        await link.send(json.dumps({"mcp.ws": "resume", "token": token, "recv": 0}))
        assert json.loads(await link.recv())["mcp.ws"] == "gone", "its replay may hold what is hidden"
    async with httpx.AsyncClient(timeout=BOUND) as client:
        poller = Poller(narrowed, client, "all")
        await poller.hello()
        assert (await poller.post(poller.head(), **headers)).status_code == 410
        client.cookies.clear()
        url = f"{narrowed.url}mcp-ws/servers/all"
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        opened = await client.post(
            url,
            json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params},
            headers={"Authorization": f"Bearer {narrowed.token}"},
        )
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        client.cookies.clear()
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        assert (await client.post(url, json=call, headers={**headers, **session})).status_code == 404


@pytest.mark.parametrize("rules", [[], {}, {"allow": "x"}, {"deny": [1]}, {"only": ["x"]}, {"allow": [""]}])
def test_invalid_rules_are_refused_with_a_reason(narrowed, rules):
    status, answer = narrowed.rest("POST", "tokens", {"servers": ["all"], "tools": rules})
    assert status == 400
    assert "must be" in answer["message"]


def test_rules_are_listed_with_their_token(narrowed):
    mint(narrowed, "all", allow=["add"], deny=["a*"])
    (token,) = narrowed.rest("GET", "tokens")[1]["tokens"]
    assert token["tools"] == {"allow": ["add"], "deny": ["a*"]}


@pytest.mark.parametrize("method", [r"tools\/call", r"tools/c\u0061ll"])
async def test_an_escaped_method_name_bypasses_no_rule(narrowed, method):
    async with narrowed.connect("demo") as link:
        peer = Peer(link)
        params = json.dumps({"name": "crash", "arguments": {}, "_meta": MODERN})
        await link.send(f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}')
        assert "Unknown tool" in (await peer.receive())["error"]["message"]
        await link.send(f'{{"jsonrpc":"2.0","id":2,"method":"initiali\\u007ae","params":{params}}}')
        assert (await peer.receive())["error"]["code"] == -32601


async def test_nesting_bypasses_no_list(narrowed):
    async with narrowed.connect("demo") as link:
        peer = Peer(link)
        for depth in range(900, 1100, 3):
            nested = "[" * depth + "]" * depth
            params = f'{{"name":"elicit","x":{nested},"_meta":{json.dumps(MODERN)}}}'
            await link.send(f'{{"jsonrpc":"2.0","id":{depth},"method":"tools/call","params":{params}}}')
            error = (await peer.receive())["error"]
            assert error["code"] in (-32602, -32700, -32600), error
            if error["code"] != -32602:
                break  # from here on no message is so deep


async def test_a_token_with_lists_opens_no_group_in_a_url(narrowed):
    token = mint(narrowed, "all", "demo", deny=["crash"])
    url = narrowed.endpoint("all").replace("servers/all", "servers/+all+demo")
    with pytest.raises(UnauthorizedError, match="limited to certain tools"):
        async with connect(url, token=token):
            pass


async def test_another_spelling_of_name_bypasses_no_list(narrowed):
    async with narrowed.connect("demo") as link:
        peer = Peer(link)
        answer = await peer.call(
            1, "tools/call", {"name": "echo", "Name": "crash", "arguments": {"text": "x"}}
        )
        assert "'Name'" in answer["error"]["message"]


# --- servers that read JSON differently -----------------------------------------------------------

META = json.dumps(MODERN)
AMBIGUOUS = [
    '"method":"tools/call","params":{"name":"open","Name":"secret"%s}',
    '"method":"tools/call","params":{"n\\u0061Me":"secret","name":"open"%s}',
    '"method":"tools/call","params":{"name":"secret","name":"open"%s}',
    '"method":"tools/call","params":{"name":"secret", "n\\u0061me":"open"%s}',
    '"method":"tools/call","params":{"name":"open"%s},"Params":{"name":"secret"}',
    '"method":"tools/call","params":{"name":"open"%s},"param\u017f":{"name":"secret"}',
    '"method":"ping","params":{"name":"secret"%s},"METHOD":"tools/call"',
    '"method":"tools/call\\u0000","params":{"name":"secret"%s}',
    '"method":"tools/call","params":{"name":"secret\\u0000"%s}',
    '"method":"TOOLS/CALL","params":{"name":"secret"%s}',
]
"""Members of calls of "secret" for a tolerant parser, and of "open", or of nothing, for a strict one."""


def texts(*, modern: bool) -> list[str]:
    """The ambiguous messages, as requests and as notifications, then one clean call."""
    meta = f',"_meta":{META}' if modern else ""
    bodies = [body % meta for body in AMBIGUOUS]
    requests = [f'{{"jsonrpc":"2.0","id":{number},{body}}}' for number, body in enumerate(bodies)]
    clean = f'{{"jsonrpc":"2.0","id":"last","method":"tools/call","params":{{"name":"open"{meta}}}}}'
    return [*requests, *(f'{{"jsonrpc":"2.0",{body}}}' for body in bodies), clean]


@pytest.fixture(params=["first", "last"])
def tolerant(make_jupyter, tmp_path, request) -> Jupyter:
    command = [TOLERANT, request.param, str(tmp_path / "ran")]
    entry = {
        "command": sys.executable,
        "args": ["-I", *command],
        "mcp_ws": {"tools": {"deny": ["*secret"]}},
    }
    group = {"group": ["tolerant"]}
    return make_jupyter({"tolerant": entry, "team": group})


async def through_socket(peer: Peer, modern: bool) -> None:
    for text in texts(modern=modern):
        await peer.link.send(text)
    answer: dict = {}
    while answer.get("id") != "last":
        answer = await peer.receive()
        if isinstance(answer.get("id"), int):
            assert "error" in answer, answer
    assert "result" in answer


async def test_no_spelling_of_a_call_reaches_a_server_that_reads_it_differently(tolerant, tmp_path):
    for protocol in ("mcp", "mcp.resume.v1"):
        for modern in (False, True):
            async with tolerant.connect("tolerant", subprotocols=[protocol]) as link:
                if protocol != "mcp":
                    await link.send('{"mcp.ws":"open"}')
                    await link.recv()
                peer = Peer(link)
                if not modern:
                    await peer.initialize()
                await through_socket(peer, modern)
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(tolerant, client, "tolerant")
        await http.initialize()
        for text in texts(modern=False):
            answer = await http.post(text)
        assert "result" in answer.text
        http = Http(tolerant, client, "tolerant")
        for text in texts(modern=True):
            decoded = json.loads(text)
            head = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": decoded["method"].rstrip("\0")}
            await http.post(text, **head, **{"Mcp-Name": "open"})
        poller = Poller(tolerant, client, "tolerant")
        await poller.hello()
        body = "\n".join([json.dumps(poller.head()), *texts(modern=True)])
        answer = await client.post(poller.url, content=body.encode(), headers=poller.headers)
        poller.sent += len(texts(modern=True))
        answered = lines_of(answer)
        while not any(frame.get("id") == "last" for frame in answered):
            answered = await poller.poll()
    assert set((tmp_path / "ran").read_text().split()) == {"open"}


async def test_a_group_forwards_no_ambiguous_call_to_a_restricted_member(tolerant, tmp_path):
    async with tolerant.connect("team") as link:
        peer = Peer(link)
        answer: dict = {}
        for text in texts(modern=True):
            await link.send(
                text.replace('"open"', '"tolerant__open"').replace('"secret', '"tolerant__secret')
            )
            answer = await peer.receive() if '"id"' in text else answer
        assert "result" in answer
    assert set((tmp_path / "ran").read_text().split()) == {"open"}


async def test_a_narrower_token_cannot_continue_a_call_that_waits_for_answers(narrowed):
    """Neither of a wider token nor of another narrow one; its own calls it continues."""
    tokens = {
        "wide": narrowed.token,
        "narrow": mint(narrowed, "all", allow=["elicit"]),
        "other": mint(narrowed, "all", allow=["elicit", "add"]),
    }
    asking = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}}
    call = {"name": "elicit", "arguments": {}, **asking}

    async with httpx.AsyncClient(timeout=BOUND) as client:
        clients = {}
        for name, token in tokens.items():
            clients[name] = Http(narrowed, client, "all")
            clients[name].headers["Authorization"] = f"Bearer {token}"

        async def begin(name: str) -> dict:
            result = response_in(await clients[name].modern(1, "tools/call", call))["result"]
            (question,) = result["inputRequests"]
            answers = {question: {"action": "accept", "content": {"name": name, "agree": True}}}
            return {**call, "requestState": result["requestState"], "inputResponses": answers}

        for owner, thief in (("wide", "narrow"), ("other", "narrow"), ("narrow", "other")):
            again = await begin(owner)
            refused = response_in(await clients[thief].modern(2, "tools/call", again))["error"]
            assert refused["code"] == -32602
            assert "given to another credential" in refused["message"]
            answered = response_in(await clients[owner].modern(3, "tools/call", again))
            assert answered["result"]["content"][0]["text"] == f"hello {owner}", (
                "the attempt costs it nothing"
            )
