"""What real proxies do to links, named alike by the client, REST, `servers`, `check` and Jupyter's log."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_ws_ide.client import connect, negotiating_transport
from mcp_ws_ide.core.intermediaries import KINDS
from mcp_ws_ide.errors import ConnectError, UnauthorizedError
from tests.conftest import BOUND, DEMO, FAST_SERVER, Jupyter, until
from tests.interop.haproxy import HAProxy
from tests.interop.nginx import Nginx
from tests.interop.proxies import Outside

PASSING = (
    "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $connection_upgrade;"
)
MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }"

Behind = Callable[[str], Outside]


@pytest.fixture
def jupyter(make_jupyter) -> Jupyter:
    return make_jupyter({"fast": FAST_SERVER, "demo": DEMO})


@pytest.fixture
def behind_nginx(jupyter, tmp_path) -> Iterator[Behind]:
    """Starts an nginx with these lines in its location; gives the gateway as seen through it."""
    running: list[Nginx] = []

    def start(lines: str) -> Outside:
        served = (
            f"{MAP} server {{ listen 127.0.0.1:PORT; location / {{ "
            f"proxy_pass http://127.0.0.1:{jupyter.port}; {lines} }} }}"
        )
        running.append(Nginx(served, tmp_path))
        return Outside(f"http://127.0.0.1:{running[-1].port}/", jupyter.token)

    yield start
    for proxy in running:
        proxy.stop()


@pytest.fixture
def behind_haproxy(jupyter, tmp_path) -> Iterator[Callable[..., Outside]]:
    running: list[HAProxy] = []

    def start(settings: str, rules: str = "") -> Outside:
        running.append(HAProxy(settings, rules, jupyter.port, tmp_path))
        return Outside(f"http://127.0.0.1:{running[-1].port}/", jupyter.token)

    yield start
    for proxy in running:
        proxy.stop()


def noticed(jupyter: Jupyter) -> dict[str, dict[str, Any]]:
    status, answer = jupyter.rest("GET", "servers")
    assert status == 200
    return {entry["code"]: entry for entry in answer["network"]}


async def inspect(jupyter: Jupyter, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the inspector, with the address of ``jupyter``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcp_ws_ide.inspector.cli", *arguments, "--url", jupyter.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "JUPYTER_TOKEN": jupyter.token},
    )
    output, _ = await asyncio.wait_for(process.communicate(), BOUND)
    return process.returncode or 0, output.decode()


async def is_named_everywhere(jupyter: Jupyter, outside: Outside, code: str) -> None:
    """The same sentence in REST, the log, `servers` and `check`."""
    entry = noticed(jupyter)[code]
    assert entry["cure"] == KINDS[code].cure
    sentence = f"{entry['message']}; {entry['cure']}"
    log = jupyter.log.read_text()
    assert log.count(entry["message"]) == 1, "once in the log"
    for arguments in (["servers"], ["check", "--for", "1s"]):
        _, output = await inspect(outside, *arguments)
        assert sentence in output


async def test_an_nginx_that_drops_upgrade_is_named(jupyter, behind_nginx):
    outside = behind_nginx("proxy_http_version 1.1; proxy_set_header Host $http_host;")
    with pytest.raises(InvalidStatus) as refused:
        async with outside.connect():
            pass
    assert refused.value.response.status_code == 400
    assert b"proxy_set_header Upgrade $http_upgrade" in refused.value.response.body
    await is_named_everywhere(jupyter, outside, "upgrade_removed")


async def test_an_nginx_that_sets_connection_itself_is_named(jupyter, behind_nginx):
    outside = behind_nginx(PASSING.replace("$connection_upgrade", "keep-alive"))
    with pytest.raises(ConnectError, match="removed or changed the header Connection"):
        async with connect(outside.endpoint("demo"), token=outside.token):
            pass
    await is_named_everywhere(jupyter, outside, "connection_removed")


async def test_an_nginx_that_drops_subprotocols_is_named_although_links_open(jupyter, behind_nginx):
    outside = behind_nginx(f'{PASSING} proxy_set_header Sec-WebSocket-Protocol "";')
    async with connect(outside.endpoint("demo"), token=outside.token) as client:
        assert (await client.list_tools()).tools
    assert "subprotocol_removed" in noticed(jupyter)


@pytest.mark.parametrize("instead", ['""', '"Basic cHJveHk6c2VjcmV0"'])
async def test_an_nginx_that_replaces_the_credential_is_named(jupyter, behind_nginx, instead):
    outside = behind_nginx(f"{PASSING} proxy_set_header Authorization {instead};")
    with pytest.raises(UnauthorizedError, match="a proxy removed or replaced the header Authorization"):
        async with connect(outside.endpoint("demo"), token=outside.token):
            pass
    assert "authorization_removed" in noticed(jupyter)
    _, output = await inspect(outside, "servers")
    assert "a proxy removed or replaced the header Authorization" in output


async def test_an_nginx_with_a_short_body_limit_is_found_without_sending_a_body(jupyter, behind_nginx):
    outside = behind_nginx(f"{PASSING} client_max_body_size 1m;")
    assert noticed(jupyter) == {}
    await inspect(outside, "servers")
    await is_named_everywhere(jupyter, outside, "body_limit")


async def test_an_nginx_that_buffers_events_is_reported_by_the_client(jupyter, behind_nginx):
    outside = behind_nginx(
        "proxy_http_version 1.0; proxy_set_header Host $http_host; proxy_ignore_headers X-Accel-Buffering;"
    )
    url = f"{outside.url}mcp-ws/servers/demo"
    transport = negotiating_transport(url, token=outside.token)
    async with transport:
        assert transport.negotiated is not None
        assert "buffers event streams" in transport.negotiated.refused["http"]
    assert "buffered" in noticed(jupyter)


async def test_an_nginx_whose_jupyter_is_away_is_named_by_the_client(jupyter, behind_nginx):
    outside = behind_nginx(PASSING)
    jupyter.stop()
    with pytest.raises(
        ConnectError, match=r"something other than the gateway answered 502.*check that the proxy"
    ):
        async with connect(outside.endpoint("demo"), token=outside.token):
            pass
    code, output = await inspect(outside, "servers")
    assert code == 1
    assert "check that the proxy reaches Jupyter" in output


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ("proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;", "host_replaced"),
        ("proxy_http_version 1.1; proxy_set_header Host $host;", "port_removed"),
    ],
)
async def test_an_nginx_that_changes_host_is_named_for_pages(jupyter, behind_nginx, headers, code):
    outside = behind_nginx(headers)
    origin = (
        outside.url.rstrip("/").replace("127.0.0.1", "jupyter.example") if code == "host_replaced" else None
    )
    origin = origin or outside.url.rstrip("/")
    credential = {"Authorization": f"token {outside.token}", "Origin": origin}
    status, _, body = outside.request("POST", "mcp-ws/api/tickets", {"server": "demo"}, credential)
    assert status == 403
    assert KINDS[code].cure.encode() in body
    assert code in noticed(jupyter)


async def test_tls_in_front_of_a_jupyter_that_does_not_know_is_named(jupyter, behind_nginx):
    outside = behind_nginx(f"{PASSING} proxy_set_header X-Forwarded-Proto https;")
    async with outside.connect():
        pass
    assert "scheme_unknown" in noticed(jupyter)


async def cut_again_and_again(outside: Outside) -> None:
    """Open links one after the other, and wait until something cuts all of them."""
    links = []
    for _ in range(4):
        links.append(await outside.connect())
        await asyncio.sleep(1.2)  # as far apart as limits are told from an outage
    for link in links:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(link.recv(), BOUND)


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
async def test_an_idle_limit_is_recognised_with_its_seconds(jupyter, request, proxy):
    if proxy == "nginx":
        outside = request.getfixturevalue("behind_nginx")(f"{PASSING} proxy_read_timeout 3s;")
    else:
        outside = request.getfixturevalue("behind_haproxy")(" timeout tunnel 3s")
    await cut_again_and_again(outside)
    await until(lambda: "idle_limit" in noticed(jupyter), what="the limit")
    assert "cuts links after 3 s without traffic" in noticed(jupyter)["idle_limit"]["message"]
    await is_named_everywhere(jupyter, jupyter, "idle_limit")


async def test_a_haproxy_that_removes_headers_is_named(jupyter, behind_haproxy):
    outside = behind_haproxy(
        "", " http-request del-header Sec-WebSocket-Protocol\n http-request del-header Authorization"
    )
    with pytest.raises(UnauthorizedError, match="a proxy removed or replaced the header Authorization"):
        async with connect(outside.endpoint("demo"), token=outside.token):
            pass
    assert "authorization_removed" in noticed(jupyter)


async def test_a_link_without_a_proxy_notices_nothing(jupyter, tmp_path: Path):
    async with connect(jupyter.endpoint("demo"), token=jupyter.token) as client:
        assert (await client.list_tools()).tools
    _, output = await inspect(jupyter, "servers")
    assert "network" not in output
    assert noticed(jupyter) == {}
