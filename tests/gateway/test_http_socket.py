"""HTTP over a Unix socket, as VS Code writes it: ``unix:///tmp/s#/mcp``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mcp_ws_ide.client import connect
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits
from tests.conftest import BOUND
from tests.gateway.test_odd_answers import Client, Http


@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("form", ["http body", "http events", "sse"])
async def test_a_server_behind_a_socket_is_called_whatever_the_proxy(tmp_path: Path, monkeypatch, form, era):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    path = tmp_path / "a b.sock"
    server = await asyncio.start_unix_server(Http(form).accepted, path)
    url = f"unix://{tmp_path}/a%20b.sock#/mcp?x=1"
    gateway = Gateway(Limits())
    spec = ServerSpec("odd", "test", kind="sse" if form == "sse" else "http", url=url)
    gateway.configure(Configuration({"odd": spec}, []))
    client = Client(gateway, era)
    await client.open()
    assert "result" in await client.call("plain")
    await gateway.aclose()
    server.close()


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_an_older_server_behind_a_url_without_its_type_is_called(tmp_path: Path, era):
    class Older(Http):
        async def request(self, head, reader, writer):
            if head.startswith(b"POST /mcp") or b"/probe" in head:
                writer.write(b"HTTP/1.1 405 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return writer.close()
            await super().request(head, reader, writer)

    server = await asyncio.start_server(Older("sse").accepted, "127.0.0.1", 0)
    gateway = Gateway(Limits())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    gateway.configure(Configuration({"odd": ServerSpec("odd", "test", kind="http", url=url)}, []))
    client = Client(gateway, era)
    await client.open()
    assert "result" in await client.call("plain")
    assert "error" in await client.call("comma")
    assert "result" in await client.call("plain", 1)
    async with connect(url) as own:
        assert (await own.call_tool("t", {"how": "plain"})).content
    await gateway.aclose()
    server.close()


async def test_an_error_names_the_socket(tmp_path: Path):
    gateway = Gateway(Limits())
    spec = ServerSpec("odd", "test", kind="http", url=f"unix://{tmp_path}/none#/mcp")
    gateway.configure(Configuration({"odd": spec}, []))
    client = Client(gateway, "modern")
    answer = await client.ended(client.begin("tools/list", {}), seconds=BOUND)
    assert f"unix:{tmp_path}/none#/mcp cannot be reached" in answer["error"]["message"]
    await gateway.aclose()
