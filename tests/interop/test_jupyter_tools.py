"""Jupyter's own tools: the real jupyter-mcp-server and jupyter-server-mcp in the Jupyter of a gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import FAST_SERVER, Jupyter, Peer
from tests.programs import need

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-tools" / "bin" / "python"
EXTENSIONS = {
    "tests.servers.audit": True,
    **dict.fromkeys(("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook_shim"), False),
}
"""One that sees who calls, and none that the tools do without."""
USERS = {"alice-token": "alice", "viewer-token": "viewer", "test-token-0123456789": "root"}
"""The viewer may use MCP, but start no kernel (:class:`tests.servers.identity.NoGuests`)."""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Jupyter]:
    need(PYTHON.exists(), "the environment with the MCP servers of Jupyter")
    home = tmp_path_factory.mktemp("tools")
    (home / "users.json").write_text(json.dumps(USERS))
    started = Jupyter(
        home,
        {"fast": FAST_SERVER, "all": {"group": ["fast", "jupyter"]}},
        "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
        "--ServerApp.authorizer_class=tests.servers.identity.NoGuests",
        f"--ServerApp.jpserver_extensions={EXTENSIONS}",
        "--MCPExtensionApp.mcp_port=0",
        "--MCPExtensionApp.mcp_tools=os:getcwd",
        environment={
            "USERS_FILE": str(home / "users.json"),
            "PYTHONPATH": str(ROOT),
            "AUDIT_FILE": str(home / "audit"),
        },
        python=PYTHON,
    )
    yield started
    started.stop()


def link_of(jupyter: Jupyter, server: str, user: str = "alice") -> Any:
    return jupyter.connect(server, additional_headers={"Authorization": f"Bearer {user}-token"})


async def names_of(peer: Peer) -> list[str]:
    return [tool["name"] for tool in (await peer.call("list", "tools/list"))["result"]["tools"]]


def text_of(answer: dict[str, Any]) -> str:
    return "".join(part["text"] for part in answer["result"]["content"])


async def test_the_tools_of_jupyter_mcp_server_work_on_this_jupyter_for_the_user_who_calls(running):
    (running.home / "notes").mkdir()
    async with link_of(running, "jupyter") as link:
        peer = Peer(link)
        names = await names_of(peer)
        assert {"use_notebook", "execute_code", "list_files"} <= set(names)
        assert "connect_to_jupyter" not in names
        moved = await peer.call(
            1, "tools/call", {"name": "connect_to_jupyter", "arguments": {"jupyter_url": "x"}}
        )
        assert "error" in moved
        opened = {
            "notebook_name": "a",
            "notebook_path": "notes/a.ipynb",
            "mode": "create",
            "kernel_id": "NEW",
        }
        await peer.call(2, "tools/call", {"name": "use_notebook", "arguments": opened})
        assert json.loads((running.home / "notes/a.ipynb").read_text())["nbformat"] == 4
        ran = await peer.call(
            3, "tools/call", {"name": "execute_code", "arguments": {"code": "print(6 * 7)"}}
        )
        assert "42" in text_of(ran)
    assert set((running.home / "audit").read_text().split()) == {"alice"}


async def test_the_tools_of_jupyter_server_mcp_are_a_server_too_and_their_port_is_not_used(running):
    async with link_of(running, "jupyter-server-mcp") as link:
        peer = Peer(link)
        assert await names_of(peer) == ["getcwd"]
        answer = await peer.call(1, "tools/call", {"name": "getcwd", "arguments": {}})
        assert text_of(answer).startswith("/")
        (info,) = (running.home / "runtime").glob("jpserver-mcp-*.json")
        port = json.loads(info.read_text())["port"]
        connections = psutil.Process(running.process.pid).net_connections("tcp")
        assert [c for c in connections if c.laddr.port == port and c.status != psutil.CONN_LISTEN] == []


@pytest.mark.parametrize("server", ["jupyter", "jupyter-server-mcp", "all", "+fast+jupyter"])
async def test_a_user_who_may_not_run_code_in_jupyter_may_not_use_its_tools(running, server):
    with pytest.raises(InvalidStatus) as refused:
        await link_of(running, server, "viewer")
    assert refused.value.response.status_code == 403
    assert b"execute on kernels" in refused.value.response.body


async def test_a_gateway_token_opens_the_servers_that_it_names_alone(running):
    token = running.rest(
        "POST", "tokens", {"servers": ["jupyter"], "tools": {"allow": ["list_*"]}}, "alice-token"
    )[1]
    headers = {"Authorization": f"Bearer {token['token']}"}
    async with running.connect("jupyter", additional_headers=headers) as link:
        names = await names_of(Peer(link))
        assert names
        assert all(name.startswith("list_") for name in names)
    with pytest.raises(InvalidStatus, match="403"):
        await running.connect("jupyter-server-mcp", additional_headers=headers)
