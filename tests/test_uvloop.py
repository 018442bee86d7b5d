"""A Jupyter on uvloop, chosen as docs/operate/event-loop.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.conftest import BOUND, FAST_SERVER, MODERN, Peer

pytest.importorskip("uvloop", reason="there is no uvloop for this platform")

PAGE: Final = Path(__file__).parents[1] / "docs" / "operate" / "event-loop.md"
SHOW: Final = """
from jupyter_server.serverapp import ServerApp

start = ServerApp.start_ioloop


def shown(self):
    self.log.warning("the loop is %s", type(self.io_loop.asyncio_loop))
    start(self)


ServerApp.start_ioloop = shown
"""
"""Logs which event loop serves."""


@pytest.fixture
def jupyter(make_jupyter, tmp_path):
    documented = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert documented is not None
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "jupyter_server_config.py").write_text(documented[1] + SHOW)
    return make_jupyter({"fast": FAST_SERVER}, environment={"JUPYTER_CONFIG_DIR": str(folder)})


async def test_a_jupyter_on_uvloop_serves_calls_over_websocket_and_http(jupyter):
    call = {"name": "echo", "arguments": {"text": "x" * 300_000}}
    async with jupyter.connect() as link:
        answer = await Peer(link).call(1, "tools/call", call)
        assert answer["result"]["content"][0]["text"] == call["arguments"]["text"]
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
    headers |= {"Authorization": f"Bearer {jupyter.token}", "Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(timeout=BOUND, headers=headers) as client:
        for number in range(4):  # from the second on, the head repeats
            params = {"name": "echo", "arguments": {"text": str(number)}, "_meta": MODERN}
            message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
            response = await client.post(jupyter.url + "mcp-ws/servers/fast", json=message)
            assert f'"text":"{number}"' in response.text
    assert "uvloop.Loop" in jupyter.log.read_text()
