"""What OAuth toward a remote server refuses: addresses, sizes, and tokens that were got for something else."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports import addresses
from mcp_ws_ide.transports.authorizations import Authorizations
from mcp_ws_ide.transports.remote import AuthorizationMissingError, RequestFailedError
from tests.conftest import BOUND
from tests.handlers.test_tls import Certificates

Answers = Callable[[str], dict[str, tuple[int, dict[str, str], str]]]


@asynccontextmanager
async def serve(answers: Answers) -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP server of fixed answers by path, given its origin; the heads of the requests."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        status, headers, body = answers(origin).get(head.split()[1], (404, {}, ""))
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield origin, heads


def far(origin: str, **changed: Any) -> ServerSpec:
    return ServerSpec(
        **{"name": "far", "source": "test", "kind": "http", "url": f"{origin}/mcp", "oauth": {}, **changed}
    )


async def refusal(directory: Path, answers: Answers, **changed: Any) -> str:
    authorizations = Authorizations(directory, lambda: "http://localhost:8888/", 5)
    async with serve(answers) as (origin, _), httpx2.AsyncClient(timeout=BOUND) as client:
        spec = far(origin, **changed)
        with pytest.raises(AuthorizationMissingError) as refused:
            await authorizations.of(spec, "me").send(client, httpx2.Request("POST", str(spec.url)))
    await authorizations.aclose()
    assert not refused.value.sent
    assert not authorizations._expected
    return str(refused.value)


def challenge(metadata: str) -> tuple[int, dict[str, str], str]:
    return 401, {"WWW-Authenticate": f'Bearer resource_metadata="{metadata}"'}, ""


async def test_metadata_is_not_fetched_in_clear_from_another_machine(tmp_path):
    words = await refusal(tmp_path, lambda _: {"/mcp": challenge("http://meta.invalid/x")})
    assert "http://meta.invalid is not an https URL" in words


async def test_an_endless_answer_is_not_read(tmp_path):
    def answers(origin: str) -> dict[str, Any]:
        return {"/mcp": challenge(f"{origin}/meta"), "/meta": (200, {}, " " * 70_000)}

    assert "more than 65536 bytes" in await refusal(tmp_path, answers)


@pytest.mark.parametrize(
    ("page", "issuer", "word"),
    [
        ("http://evil.example/authorize", None, "not at a usable https URL"),
        ("https://fine.example/authorize", "https://other.example", "is inconsistent"),
    ],
)
async def test_an_authorization_server_that_cannot_be_trusted_is_refused(tmp_path, page, issuer, word):
    def answers(origin: str) -> dict[str, Any]:
        resource = {"resource": f"{origin}/mcp", "authorization_servers": [origin]}
        server = {
            "issuer": issuer or origin,
            "authorization_endpoint": page,
            "token_endpoint": f"{origin}/token",
        }
        return {
            "/mcp": challenge(f"{origin}/meta"),
            "/meta": (200, {}, json.dumps(resource)),
            "/.well-known/oauth-authorization-server": (200, {}, json.dumps(server)),
        }

    assert word in await refusal(tmp_path, answers, oauth={"client_id": "me"})


async def test_the_response_of_a_registration_is_not_shown(tmp_path, caplog):
    def answers(origin: str) -> dict[str, Any]:
        return {
            "/mcp": (401, {}, ""),
            "/register": (400, {}, '{"error": "invalid_client_metadata", "error_description": "s3cret"}'),
        }

    words = await refusal(tmp_path, answers)
    assert "registered no client" in words
    assert "(400 invalid_client_metadata)" in words
    assert "s3cret" not in words + caplog.text


async def test_a_token_is_valid_for_its_own_address_client_and_user(tmp_path):
    async with (
        serve(lambda _: {"/mcp": (200, {}, "")}) as (origin, heads),
        serve(lambda _: {"/mcp": (200, {}, "")}) as (other, others),
        httpx2.AsyncClient(timeout=BOUND) as client,
    ):
        storage = Authorizations(tmp_path / "oauth", lambda: "http://a/", 5).of(far(origin), "me")._storage
        storage.stored.tokens = {"access_token": "s3cret"}
        storage._save()
        (file,) = (tmp_path / "oauth").iterdir()
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
        known = Authorizations(tmp_path / "oauth", lambda: "http://b/", 5)
        for spec, principal in (
            (far(origin), "me"),
            (far(other), "me"),
            (far(origin, oauth={"client_id": "x"}), "me"),
            (far(origin), "you"),
            (far(origin, name="near"), "me"),
        ):
            await known.of(spec, principal).send(client, httpx2.Request("POST", str(spec.url)))
    assert "Bearer s3cret" in heads[0], "another port of ours changes nothing"
    assert (len(heads), len(others)) == (4, 1)
    assert not any("authorization" in head.lower() for head in heads[1:] + others)


async def test_an_unreadable_file_is_no_token(tmp_path, caplog):
    known = Authorizations(tmp_path, lambda: "http://a/", 5)
    path = known.of(far("http://localhost"), "me")._storage._file.path
    path.write_text('{"server": "s3cret')
    again = Authorizations(tmp_path, lambda: "http://a/", 5).of(far("http://localhost"), "me")
    assert again._storage.access_token == ""
    assert "unreadable" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "inner",
    [
        "https://127.0.0.1:1/x",
        "http://localhost:1/x",
        "https://[::1]:1/x",
        "https://[::ffff:127.0.0.1]:1/x",
        "https://[64:ff9b::7f00:1]:1/x",
        "https://10.0.0.7/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/x",
        "https://[fd00::1]/x",
        "https://0.0.0.0/x",
    ],
)
async def test_a_public_server_cannot_make_the_gateway_ask_an_inner_address(tmp_path, inner):
    authorizations = Authorizations(tmp_path, lambda: "http://localhost:8888/", 5)
    server = ServerSpec("far", "test", kind="http", url="https://93.184.216.34/mcp", oauth={})
    flow = authorizations.of(server, "me")
    assert "not a public address" in await flow._run(httpx2.Response(401, headers=dict(challenge(inner)[1])))
    await authorizations.aclose()


@pytest.mark.parametrize("path", ["/token", "/register"])
async def test_credentials_go_only_to_the_pinned_issuer(tmp_path, path):
    """The MCP server names another authorization server, whose metadata is consistent in itself."""
    seen: list[str] = []

    def answers(origin: str) -> dict[str, Any]:
        seen.append(origin)
        resource = {"resource": f"{origin}/mcp", "authorization_servers": [f"{origin}/evil"]}
        server = {
            "issuer": f"{origin}/evil",
            "authorization_endpoint": "https://fine.example/authorize",
            "token_endpoint": f"{origin}/token",
            "registration_endpoint": f"{origin}/register",
        }
        return {
            "/mcp": challenge(f"{origin}/meta"),
            "/meta": (200, {}, json.dumps(resource)),
            "/.well-known/oauth-authorization-server/evil": (200, {}, json.dumps(server)),
        }

    client = {"client_id": "me", "client_secret": "s3cret"} if path == "/token" else {}
    message = await refusal(tmp_path, answers, oauth={**client, "issuer": "https://good.example"})
    assert "expected https://good.example (mcp_ws.oauth.issuer)" in message


@asynccontextmanager
async def listening(address: str, port: int = 0, **options: Any) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that answers 404 at one address of this machine; its port, and the heads of the requests."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, address, port, **options)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


class Rebinding:
    """A resolver that first gives ``public`` for a name, then always an inner address; other names stay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, *public: str) -> None:
        self.asked = 0
        real = socket.getaddrinfo

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            if host not in (name, name.encode()):
                return real(host, *arguments, **options)
            self.asked += 1
            addresses = public if self.asked == 1 else ("127.0.0.1",)
            return [entry for address in addresses for entry in real(address, *arguments, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(
            addresses, "_is_public", lambda address: str(address) in (*public, "93.184.216.34")
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_that_changes_its_address_after_the_check_leads_to_the_checked_one(
    tmp_path, monkeypatch, scheme
):
    """DNS rebinding: the name is public when it is checked, and this machine when it is connected to."""
    certificates, tls = Certificates(tmp_path), None
    if scheme == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificates.chain, certificates.key)
    async with (
        listening("127.0.0.1", ssl=tls) as (port, inner),
        listening("127.0.0.2", port, ssl=tls) as (_, outer),
    ):
        resolver = Rebinding(monkeypatch, "localhost", "127.0.0.2")
        authorizations = Authorizations(tmp_path, lambda: "http://localhost:8888/", 5)
        server = ServerSpec(
            *("far", "test"),
            kind="http",
            url="https://93.184.216.34/mcp",
            oauth={},
            ca_file=str(certificates.authority),
        )
        flow = authorizations.of(server, "me")
        metadata = f"{scheme}://localhost:{port}/meta"
        async with flow._client() as client:
            response = await flow._request(client, httpx2.Request("GET", metadata))
        assert response.status_code == 404
        assert (inner, len(outer), resolver.asked) == ([], 1, 1)
        assert f"host: localhost:{port}" in outer[0].lower(), "the name stays in Host, and in the certificate"
        await authorizations.aclose()


async def test_the_next_address_is_tried_where_the_first_does_not_answer(tmp_path, monkeypatch):
    async with listening("127.0.0.3") as (port, heads):
        Rebinding(monkeypatch, "localhost", "127.0.0.2", "127.0.0.3")
        authorizations = Authorizations(tmp_path, lambda: "http://localhost:8888/", 5)
        flow = authorizations.of(far("https://93.184.216.34"), "me")
        async with flow._client() as client:
            await flow._request(client, httpx2.Request("GET", f"http://localhost:{port}/meta"))
        assert len(heads) == 1
        await authorizations.aclose()


async def test_a_server_that_only_claims_to_be_an_inner_one_is_public(tmp_path, monkeypatch):
    """What counts is the address that its connection had, not what its name leads to later."""
    monkeypatch.setattr(addresses, "_is_public", lambda address: str(address) == "127.0.0.2")
    async with listening("127.0.0.2") as (port, _):
        authorizations = Authorizations(tmp_path, lambda: "http://localhost:8888/", 5)
        flow = authorizations.of(far(f"http://localhost:{port}"), "me")
        async with httpx2.AsyncClient() as client:
            response = await client.send(httpx2.Request("GET", f"http://127.0.0.2:{port}/mcp"), stream=True)
            response.status_code = 401
            assert flow._is_refused(response)
            await response.aclose()
            with pytest.raises(RequestFailedError, match="not a public address"):
                await flow._request(client, httpx2.Request("GET", "http://127.0.0.1:1/meta"))
        await authorizations.aclose()
