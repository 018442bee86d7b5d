"""One URL for several servers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import ConnectError, UnauthorizedError, connect
from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, until
from tests.interop.test_python_2 import elicit, roots, sample, text_of

CALLBACKS = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Iterator[Jupyter]:
    home = tmp_path_factory.mktemp("several")
    old = home / "old.py"
    old.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    m = json.loads(line)\n"
        "    r = {'initialize': {'protocolVersion': '2025-11-25', 'capabilities': {'tools': {}},\n"
        "         'serverInfo': {'name': 'old', 'version': '1'}},\n"
        "         'tools/list': {'tools': [{'name': 'hi', 'inputSchema': {'type': 'object'}}]},\n"
        "         'tools/call': {'content': [{'type': 'text', 'text': 'hi'}]}}.get(m.get('method'))\n"
        "    e = {'code': -32601, 'message': 'unknown'}\n"
        "    if 'id' in m: print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], **({'result': r} if r else {'error': e})}),\n"
        "                        flush=True)\n"
    )
    running = Jupyter(
        home,
        {
            "demo": DEMO,
            "fast": FAST_SERVER,
            "old": {"command": sys.executable, "args": [str(old)]},
            "gone": {"command": "no-such-command"},
            "team": {"group": ["demo", "fast", "gone"], "mcp_ws": {"tools": {"deny": ["demo__crash"]}}},
        },
    )
    yield running
    running.stop()


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_tools_of_several_servers_of_both_eras_under_one_url(several, mode):
    url = several.endpoint("demo").replace("servers/demo", "servers/+demo+fast+old")
    progress: list[float] = []

    async def on_progress(done, total, message):
        progress.append(done)

    async with connect(url, token=several.token, mode=mode, **CALLBACKS) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"demo__echo", "fast__echo", "old__hi"} <= names
        assert text_of(await client.call_tool("demo__echo", {"text": "x"})) == "x"
        assert text_of(await client.call_tool("old__hi", {})) == "hi"
        assert text_of(await client.call_tool("demo__elicit", {})) == "hello Ann"
        slow = {"steps": 2, "delay": 0.01}
        await client.call_tool("demo__slow", slow, progress_callback=on_progress)
        await until(lambda: progress == [1, 2])
        assert (await client.read_resource("demo://item/7")).contents[0].text == "item 7"
        assert (await client.get_prompt("demo__greet", {"name": "Bo"})).messages
        with pytest.raises(MCPError, match="several members have 'echo'; call one of demo__echo, fast__echo"):
            await client.call_tool("echo", {})
    await until(lambda: not several.rest("GET", "sessions")[1]["sessions"], what="that every session ended")


async def test_a_configured_group_reports_a_missing_member_and_applies_its_rules(several):
    async with connect(several.endpoint("team"), token=several.token, mode="2026-07-28") as client:
        listed = await client.list_tools()
        names = {tool.name for tool in listed.tools}
        assert "demo__echo" in names
        assert "demo__crash" not in names
        assert "no-such-command" in listed.meta["mcp-ws-ide/unavailable"]["gone"]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("demo__crash", {})


async def test_a_subscription_reports_changes_in_any_member(several):
    url = several.endpoint("demo").replace("servers/demo", "servers/+fast+demo")
    async with connect(url, token=several.token, mode="2026-07-28") as client:
        # A member that starts for longer than ACKNOWLEDGE_TIME would be subscribed to only later.
        await client.call_tool("demo__echo", {"text": "it runs"})
        async with client.listen(tools_list_changed=True) as changes:
            await client.call_tool("demo__grow", {})
            async with asyncio.timeout(BOUND):
                async for event in changes:
                    assert "Tool" in type(event).__name__
                    break


async def test_the_death_of_a_member_is_reported_and_the_others_continue(make_jupyter):
    own = make_jupyter({"demo": DEMO, "fast": FAST_SERVER})
    url = own.endpoint("demo").replace("servers/demo", "servers/+fast+demo")
    async with connect(url, token=own.token, mode="2026-07-28") as client:
        with pytest.raises(MCPError) as lost:
            await client.call_tool("fast__crash", {})
        assert lost.value.error.data == {"outcome": "unknown"}
        assert text_of(await client.call_tool("demo__echo", {"text": "on"})) == "on"


async def test_a_token_opens_a_group_only_with_every_member(several):
    def mint(*servers: str) -> str:
        return several.rest("POST", "tokens", {"servers": list(servers)})[1]["token"]

    url = several.endpoint("demo").replace("servers/demo", "servers/+demo+fast")
    async with connect(url, token=mint("demo", "fast")) as client:
        assert (await client.list_tools()).tools
    with pytest.raises(UnauthorizedError):
        async with connect(url, token=mint("demo")):
            pass
    with pytest.raises(ConnectError, match="is not configured"):
        async with connect(url.replace("+fast", "+nope"), token=several.token):
            pass


def test_an_invalid_group_is_reported_as_a_mistake(make_jupyter):
    many = [f"s{n}" for n in range(33)]
    shapes = {"itself": ["itself"], "twice": ["demo", "demo"], "bad": ["a b"], "text": "demo", "many": many}
    jupyter = make_jupyter({name: {"group": members} for name, members in shapes.items()})
    problems = jupyter.rest("GET", "servers")[1]["problems"]
    assert sorted(problem["key"].split(".")[1] for problem in problems) == sorted(shapes)
    for problem in problems:
        assert problem["key"].startswith(f"mcpServers.{problem['key'].split('.')[1]}.group")


def test_groups_share_one_label_in_the_metrics(several):
    status, _, body = several.request("GET", "metrics", None, {"Authorization": f"token {several.token}"})
    assert status == 200
    assert json.dumps("+demo+fast") not in body.decode()


async def test_a_group_over_http_carries_modern_exchanges_and_names_unsupported_members(several):
    url = f"{several.url}mcp-ws/servers/+fast+old"
    options = {"token": several.token, "transports": ("http",), "mode": "2026-07-28"}
    async with connect(url, **options) as client:
        listed = await client.list_tools()
        assert {tool.name for tool in listed.tools} == {"fast__echo"}
        assert "old" in listed.meta["mcp-ws-ide/unavailable"]
        assert text_of(await client.call_tool("fast__echo", {"text": "x"})) == "x"
        assert len(several.processes("fast")) == 1
    async with connect(url, token=several.token, transports=("http",), mode="legacy") as client:
        assert "old__hi" in {tool.name for tool in (await client.list_tools()).tools}
