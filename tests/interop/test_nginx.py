"""docs/operate/nginx.conf, run: WebSocket, resume and event streams through a real nginx with TLS."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from mcp_ws_ide.client import Reconnect, connect
from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Jupyter, until
from tests.handlers.test_tls import Certificates
from tests.interop.nginx import Nginx, documented
from tests.interop.sign_in_clients import (
    BY_URL_ALONE,
    PAGE,
    UrlClient,
    approve,
    secrets_of_signing_in,
    with_token,
)


@pytest.fixture
def nginx(make_jupyter, tmp_path) -> Iterator[tuple[Nginx, Jupyter, Certificates]]:
    jupyter, certificates = make_jupyter({"fast": FAST_SERVER, "demo": DEMO}), Certificates(tmp_path)
    running = Nginx(documented(jupyter, certificates), tmp_path)
    yield running, jupyter, certificates
    running.stop()


async def test_a_call_survives_a_restart_of_the_proxy(nginx, monkeypatch):
    proxy, jupyter, certificates = nginx
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    states: list = []
    url = f"wss://127.0.0.1:{proxy.port}/mcp-ws/servers/demo"
    policy = Reconnect(first_delay=0.05, max_delay=0.2)
    async with connect(url, token=jupyter.token, reconnect=policy, on_state=states.append) as client:
        seen: list[float] = []

        async def progress(done, total, message):
            seen.append(done)
            if done == 2:
                proxy.stop()
                proxy.start()

        result = await client.call_tool("slow", {"steps": 5, "delay": 0.1}, progress_callback=progress)
        assert result.content[0].text == "5 steps done"
        assert seen == [1, 2, 3, 4, 5]
    assert [type(state).__name__ for state in states].count("Resumed") == 1


async def test_an_event_stream_is_not_held_back(nginx):
    proxy, jupyter, certificates = nginx
    url = f"https://127.0.0.1:{proxy.port}/mcp-ws/servers/fast"
    params = {
        "name": "slow",
        "arguments": {"steps": 1, "delay": 600},
        "_meta": {**MODERN, "progressToken": 1},
    }
    headers = {
        "Authorization": f"Bearer {jupyter.token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "slow",
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with (
        httpx.AsyncClient(verify=certificates.trusting, timeout=BOUND) as client,
        client.stream("POST", url, json=message, headers=headers) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                break
        assert '"progress":0' in line, "the first event came before the call had ended"
    await until(lambda: jupyter.rest("GET", "health")[1]["sessions"] == 0, what="the cancellation")


@pytest.mark.chromium
@pytest.mark.parametrize("name", BY_URL_ALONE)
async def test_a_client_signs_in_by_url_through_tls(nginx, name, tmp_path):
    proxy, jupyter, certificates = nginx
    url = f"https://127.0.0.1:{proxy.port}/mcp-ws/servers/demo"
    with UrlClient(name, url, tmp_path, certificates.authority) as client:
        page = client.until(PAGE)
        assert page.startswith(f"https://127.0.0.1:{proxy.port}/mcp-ws/sign-in/authorize?")
        code = await approve(page, with_token(jupyter.token), name)
        client.until_it_has_called()
    assert [secrets_of_signing_in(log, code) for log in (jupyter.log, proxy.log)] == [[], []]
