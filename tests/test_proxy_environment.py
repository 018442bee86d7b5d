"""Which connections go through a proxy of the environment, and what the error says where one cannot."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from mcp_ws_ide import proxy_environment
from mcp_ws_ide.client import ConnectError, connect
from mcp_ws_ide.client.links import refusal
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.proxy_environment import proxy_for, reason_of, route, this_machine
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.transports import make_transport
from mcp_ws_ide.transports.base import Supplies
from tests.conftest import BOUND, Jupyter
from tests.inspector.test_cli import run
from tests.transports.peers import Recorder

VARIABLES = [f"{kind}_proxy" for kind in ("http", "https", "all", "ws", "wss", "socks", "no")]
INIT = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy_that_refuses() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers 403 to everything, and the heads of what it was asked."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\ndenied")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "jupyter.localhost", "127.0.0.1", "127.9.9.9", "127.1", "[::1]", "::1"),
        *("0.0.0.0", "::", "::ffff:127.0.0.1", "0x7f000001", "", socket.gethostname()),
    ],
)
def test_every_spelling_of_this_machine_is_recognised(host):
    assert this_machine(host)


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "2001:db8::1", "1localhost", "127.example.org"])
def test_other_machines_are_not_this_one(host):
    assert not this_machine(host)


def test_a_name_in_the_hosts_file_is_this_machine_if_its_address_is(tmp_path, monkeypatch):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.1.1 dev.corp.example dev # mine\n192.0.2.9\tbox.example\nbroken\n")
    monkeypatch.setattr(proxy_environment, "HOSTS", hosts)
    assert this_machine("Dev.corp.example") and this_machine("dev")
    assert not this_machine("box.example") and not this_machine("mine")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_this_machine_is_reached_directly_and_others_through_the_proxy(variable, scheme, monkeypatch):
    monkeypatch.setenv(variable, "http://user:canary@proxy.example:3128")
    for host in ("127.0.0.1", "[::1]", "localhost", socket.gethostname()):
        assert proxy_for(f"{scheme}://{host}:8888/x") is None
    chosen = proxy_for(f"{scheme}://server.example/x")
    assert chosen is not None
    assert (chosen.variable, chosen.where) == (variable, "http://proxy.example:3128")
    assert "canary" in chosen.url
    assert "canary" not in repr(chosen) + chosen.via
    assert "NO_PROXY" in chosen.via


@pytest.mark.parametrize(
    "listed", ["server.example", ".example", "*", "other, server.example:80", "192.0.2.0/24"]
)
def test_no_proxy_exempts_names_suffixes_and_networks(listed, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    host = "192.0.2.7" if "/" in listed else "server.example:80"
    assert proxy_for(f"http://{host}/") is None


def test_a_credential_is_not_sent_through_a_proxy_in_clear(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3129")
    with pytest.raises(ConnectError, match=r"unencrypted.*HTTPS_PROXY.*NO_PROXY.*wss://"):
        route("ws://server.example/x", {"authorization": "Bearer x"}, "websockets")
    with pytest.raises(ConnectError, match=r"http://server.example:1 was not contacted.*HTTP_PROXY"):
        route("http://u:p@server.example:1/x", {"Authorization": "Bearer x"}, "httpx2")
    assert route("http://server.example/x", {}, "httpx2") == "http://proxy.example:3128"
    assert route("https://server.example/x", {"Authorization": "x"}, "httpx2") == "http://proxy.example:3129"


@pytest.mark.parametrize("library", ["websockets", "httpx2", "httpx", "urllib"])
def test_a_socks_proxy_without_its_package_is_an_error_with_the_cure(library, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setattr(proxy_environment, "find_spec", lambda name: None)
    with pytest.raises(
        ConnectError, match=r"ALL_PROXY names the SOCKS proxy socks5://127.0.0.1:1080.*NO_PROXY"
    ):
        route("https://server.example/x", {}, library)


@pytest.fixture(params=["http", "socks5", "invalid"])
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An environment whose proxies are of no use; nothing listens on port 9."""
    address = {"http": "http://127.0.0.1:9", "socks5": "socks5://127.0.0.1:9", "invalid": "gopher:canary"}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, address[request.param])
    yield address[request.param]


@pytest.mark.parametrize("transports", [("http",), ("websocket",), ("poll",), None])
async def test_the_clients_reach_a_gateway_on_this_machine_whatever_the_proxy(jupyter, hostile, transports):
    url = (
        jupyter.endpoint("fast")
        if transports is None
        else f"http{jupyter.endpoint('fast').removeprefix('ws')}"
    )
    async with connect(url, token=jupyter.token, transports=transports) as client:
        assert (await client.list_tools()).tools


def test_the_rest_client_and_the_tap_reach_this_machine_whatever_the_proxy(jupyter, hostile):
    client = GatewayClient(RunningGateway(jupyter.url, jupyter.token))
    assert client.call("GET", "servers")["servers"]
    assert client.attached()["event"] == "attached"


def test_the_commands_reach_this_machine_whatever_the_proxy(jupyter: Jupyter, hostile, monkeypatch):
    variables = {name: hostile for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy")}
    monkeypatch.setattr(jupyter, "environment", {**jupyter.environment, **variables})
    done = run(jupyter, "servers")
    assert done.returncode == 0, done.stderr
    assert "fast" in done.stdout


async def test_mcp_ws_connect_reaches_this_machine_whatever_the_proxy(jupyter: Jupyter, hostile):
    launched = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcp_ws_ide.client.shim", "fast"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**jupyter.environment, "HTTP_PROXY": hostile, "ALL_PROXY": hostile},
        cwd=os.getcwd(),
    )
    out, _ = await asyncio.wait_for(launched.communicate(INIT + b"\n"), BOUND)
    assert json.loads(out)["id"] == 1


async def attempt(kind: str, url: str) -> tuple[Recorder, str]:
    """Send ``initialize`` to a remote server; return what came back, or why nothing could be sent."""
    spec = ServerSpec("s", "test", kind=kind, url=url, limits={"connect_timeout": 5})
    receiver = Recorder()
    try:
        transport = make_transport(spec, Supplies(supervisor=None, environment={}, max_message_bytes=1000))
        await transport.connect(receiver)
        transport.send(INIT)
        async with asyncio.timeout(BOUND):
            while not (receiver.messages or receiver.reasons):
                await asyncio.sleep(0.01)
        await transport.close()
    except TransportError as error:
        return receiver, str(error)
    return receiver, str(receiver.messages) + str(receiver.reasons)


@pytest.mark.parametrize("kind", ["http", "sse", "ws"])
async def test_a_remote_server_on_this_machine_is_reached_directly(kind, monkeypatch):
    async with proxy_that_refuses() as (proxy, asked), proxy_that_refuses() as (server, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy}")
        _, said = await attempt(kind, f"{'ws' if kind == 'ws' else 'http'}://{server}/mcp")
        assert asked == []
        assert seen and "403" in said


@pytest.mark.parametrize("kind", ["http", "sse", "ws"])
async def test_the_error_of_a_remote_server_names_the_proxy_its_variable_and_no_proxy(kind, monkeypatch):
    async with proxy_that_refuses() as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://bob:canary@{proxy}")
        _, said = await attempt(kind, f"{'ws' if kind == 'ws' else 'http'}://server.invalid/mcp")
        assert asked
    assert all(part in said for part in (proxy, "HTTP_PROXY", "NO_PROXY", "server.invalid")), said
    assert "canary" not in said


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b'{"message":"Origin x is not allowed","status":403}', "refused the request (403): Origin x"),
        (401, b'{"message":"the credential is wrong","status":401}', "refused the credential (401)"),
        (404, b"<html><title>Jupyter Server</title></html>", "Jupyter, not its gateway, answered 404"),
        (
            403,
            b'{"message": "Forbidden", "reason": null}',
            "Jupyter, not its gateway, answered 403: Forbidden",
        ),
        (
            403,
            b"denied by\nthe company",
            "something other than the gateway answered 403: Forbidden, 'denied by the",
        ),
        (502, b"<html>Bad Gateway</html>", "something other than the gateway answered 502: Forbidden; check"),
    ],
)
def test_an_error_of_a_client_names_the_hop_that_refused(status, body, reason):
    assert reason in str(refusal("http://host/x", status, body, "Forbidden"))


def test_an_error_of_the_rest_client_names_the_hop_that_refused():
    client = GatewayClient(RunningGateway("http://host/"))
    assert "has no MCP gateway" in str(client.refused(404, b"<html>Jupyter Server</html>"))
    assert "something other than the gateway answered 502" in str(client.refused(502, b"<html>nginx</html>"))
    assert "something other than the gateway answered 404" in str(client.refused(404, b"<html>nginx</html>"))
    assert "something other than Jupyter" in str(client.refused(403, b"denied"))
    assert "http://host/ answered 409: busy" in str(client.refused(409, b'{"message":"busy","status":409}'))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)"), "Connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), …"),
            "Connection refused",
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (EOFError(), "EOFError"),
    ],
)
def test_the_reason_of_a_failed_connection_is_told_in_words(error, reason):
    assert reason_of(error) == reason
