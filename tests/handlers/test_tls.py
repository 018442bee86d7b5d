"""wss: where Jupyter ends TLS itself, and where something in front of it does."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mcp_ws_ide.client import ConnectError, websocket_transport
from mcp_ws_ide.client import connect as connect_client
from tests.conftest import BOUND, FAST_SERVER, MODERN, Jupyter, Peer


class Certificates:
    """An authority, a certificate for addresses of loopback, and a context that trusts it."""

    def __init__(self, folder) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "127.0.0.2", "localhost")
        self.key, self.chain = folder / "key.pem", folder / "chain.pem"
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        issued.private_key_pem.write_to_path(self.key)
        for part in issued.cert_chain_pems:
            part.write_to_path(self.chain, append=True)
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def jupyter_with_tls(make_jupyter, certificates) -> Jupyter:
    arguments = (f"--ServerApp.certfile={certificates.chain}", f"--ServerApp.keyfile={certificates.key}")
    return make_jupyter({"fast": FAST_SERVER}, *arguments, tls=certificates.trusting)


@pytest.mark.parametrize("size", [10, 1 << 20])
async def test_jupyter_ends_tls(jupyter_with_tls, size):
    async with jupyter_with_tls.connect(origin=jupyter_with_tls.url.rstrip("/")) as link:
        text = "x" * size
        answer = await Peer(link).call(1, "tools/call", {"name": "echo", "arguments": {"text": text}})
        assert answer["result"]["content"][0]["text"] == text
        with pytest.raises(InvalidStatus, match="403"):  # a page that anyone on the network may have written
            await jupyter_with_tls.connect(origin=jupyter_with_tls.url.replace("https:", "http:").rstrip("/"))
        # Many at once, so that reads and writes interleave inside TLS records.
        for number in range(200):
            await Peer(link).send(
                id=number,
                method="tools/call",
                params={"name": "echo", "arguments": {"text": "y" * 3000}, "_meta": MODERN},
            )
        assert [(await Peer(link).receive())["id"] for _ in range(200)] == list(range(200))


async def test_the_client_accepts_a_context_and_reports_an_untrusted_certificate(
    jupyter_with_tls, certificates
):
    url, token = jupyter_with_tls.endpoint("fast"), jupyter_with_tls.token
    assert url.startswith("wss://")
    async with websocket_transport(url, token=token, ssl=certificates.trusting) as (_, write):
        assert write is not None
    with pytest.raises(ConnectError, match="certificate"):
        await websocket_transport(url, token=token).__aenter__()


@pytest.mark.parametrize("transport", ["http", "websocket", "poll"])
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_variable_names_the_authority_to_trust(
    jupyter_with_tls, certificates, monkeypatch, transport, trusted
):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    url = f"{jupyter_with_tls.url}mcp-ws/servers/fast"
    client = connect_client(url, token=jupyter_with_tls.token, transports=(transport,))
    if not trusted:
        with pytest.raises(ConnectError, match=r"(?i)certificate"):
            await client.__aenter__()
        return
    async with client as entered:
        assert (await entered.list_tools()).tools


async def test_an_untrusted_certificate_is_reported_with_the_variable(jupyter_with_tls):
    url = jupyter_with_tls.endpoint("fast")
    for transports in (("websocket",), ("poll",), ("http",)):
        with pytest.raises(ConnectError, match="; if you trust the certificate, set SSL_CERT_FILE"):
            async with connect_client(f"http{url[2:]}", token="t", transports=transports):
                pass
    command = [sys.executable, "-m", "mcp_ws_ide.inspector.cli", "servers", "--url", jupyter_with_tls.url]
    environment = {**jupyter_with_tls.environment, "JUPYTER_TOKEN": "t"}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert "set SSL_CERT_FILE" in done.stderr, done.stderr


def test_the_variable_serves_the_commands(jupyter_with_tls, certificates):
    environment = {**jupyter_with_tls.environment, "SSL_CERT_FILE": str(certificates.authority)}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    for words, given, wanted in (
        (["client.shim", "fast"], json.dumps(request), '"tools"'),
        (["client.shim", "fast", "--transport", "poll"], json.dumps(request), '"tools"'),
        (["inspector.cli", "servers"], "", "fast"),
        (["inspector.cli", "record", "-o", "-", "--for", "1s"], "", "mcp-ws-recording"),
    ):
        command = [sys.executable, "-m", f"mcp_ws_ide.{words[0]}", *words[1:], "--url", jupyter_with_tls.url]
        done = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, timeout=BOUND, check=False
        )
        assert (done.returncode, wanted in done.stdout) == (0, True), done.stderr


async def test_a_proxy_ends_tls(make_jupyter, certificates):
    jupyter = make_jupyter({"fast": FAST_SERVER}, base_url="/user/me/")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    port = proxy.sockets[0].getsockname()[1]
    url = f"wss://127.0.0.1:{port}/user/me/mcp-ws/servers/fast"
    options = {
        "ssl": certificates.trusting,
        "subprotocols": ["mcp"],
        "additional_headers": {"Authorization": f"Bearer {jupyter.token}"},
    }
    async with connect(url, origin=f"https://127.0.0.1:{port}", **options) as link:
        assert (await Peer(link).call(1, "tools/list"))["id"] == 1
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin=f"https://127.0.0.1:{port}.evil.example", **options)
    assert refused.value.response.status_code == 403
    proxy.close()
