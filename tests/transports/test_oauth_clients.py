"""Tokens that the gateway obtains for itself at an authorization server, without a user."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports.authorizations import Authorizations
from mcp_ws_ide.transports.remote import AuthorizationMissingError
from tests.conftest import BOUND, until


class Protected:
    """An MCP server and its authorization server, at one address."""

    def __init__(self) -> None:
        self.origin = ""
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []
        """Headers and form of each request for a token."""
        self.valid: set[str] = set()
        self.reads_documents = False
        self.named: list[str] = []
        """The authorization servers that it names; none: a foreign one, and its own."""

    def answer(self, path: str, headers: dict[str, str], body: str) -> tuple[int, dict[str, str], Any]:
        if path == "/mcp" and headers.get("authorization", "").removeprefix("Bearer ") in self.valid:
            return 200, {}, {"ok": True}
        if path == "/mcp":
            return 401, {"WWW-Authenticate": f'Bearer resource_metadata="{self.origin}/meta"'}, {}
        if path == "/meta":
            servers = self.named or ["https://evil.example", self.origin]
            return 200, {}, {"resource": f"{self.origin}/mcp", "authorization_servers": servers}
        if path == "/.well-known/oauth-authorization-server":
            names = ("authorization_endpoint", "token_endpoint", "registration_endpoint")
            supports = {"client_id_metadata_document_supported": self.reads_documents}
            return 200, {}, {"issuer": self.origin, **supports, **{n: f"{self.origin}/{n}" for n in names}}
        if path == "/registration_endpoint":
            return 201, {}, {**json.loads(body), "client_id": f"of {self.origin}"}
        if path == "/token_endpoint":
            self.asked.append((headers, {name: value for name, (value,) in parse_qs(body).items()}))
            token = f"token-{len(self.asked)}-of-{self.origin}"
            self.valid.clear()
            self.valid.add(token)
            return 200, {}, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return 404, {}, {}


@asynccontextmanager
async def serve(protected: Protected) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, more, value = protected.answer(head.split()[1], headers, body.decode())
        text = json.dumps(value)
        sent = {"Content-Length": str(len(text)), "Content-Type": "application/json", **more}
        named = "".join(f"{name}: {each}\r\n" for name, each in sent.items())
        writer.write(f"HTTP/1.1 {status} x\r\nConnection: close\r\n{named}\r\n{text}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    protected.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield


def far(protected: Protected, **oauth: str) -> ServerSpec:
    settings = {"grant": "client_credentials", "client_id": "me", "issuer": protected.origin, **oauth}
    return ServerSpec("far", "test", "http", url=f"{protected.origin}/mcp", oauth=settings)


async def call(authorizations: Authorizations, spec: ServerSpec) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=BOUND) as client:
        response = await authorizations.of(spec, "me").send(client, httpx2.Request("POST", str(spec.url)))
        await response.aclose()
        return response


async def test_a_client_with_a_secret_gets_a_token_for_itself_and_a_new_one_when_it_is_refused(tmp_path):
    protected = Protected()
    async with serve(protected):
        spec = far(protected, client_secret="s3cret", scope="read")
        authorizations = Authorizations(tmp_path, lambda: "http://localhost/", 5)
        assert (await call(authorizations, spec)).status_code == 200
        ((headers, form),) = protected.asked
        assert headers["authorization"] == f"Basic {base64.b64encode(b'me:s3cret').decode()}"
        assert form["grant_type"] == "client_credentials"
        assert (form["scope"], form["resource"]) == ("read", f"{protected.origin}/mcp")
        protected.valid.clear()
        assert (await call(authorizations, spec)).status_code == 200
        later = Authorizations(tmp_path, lambda: "http://localhost/", 5)
        assert (await call(later, spec)).status_code == 200, "the token outlives the gateway"
        assert len(protected.asked) == 2
        await authorizations.aclose()
        await later.aclose()


KEYS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def written(directory: Path, key: Any) -> Path:
    path = directory / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_client_with_a_key_signs_who_it_is(tmp_path, algorithm):
    key, protected = KEYS[algorithm](), Protected()
    async with serve(protected):
        spec = far(protected, private_key_file=str(written(tmp_path, key)))
        authorizations = Authorizations(tmp_path / "tokens", lambda: "http://localhost/", 5)
        assert (await call(authorizations, spec)).status_code == 200
        await authorizations.aclose()
    ((headers, form),) = protected.asked
    assert "authorization" not in headers
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    claims = jwt.decode(
        form["client_assertion"], key.public_key(), algorithms=[algorithm], audience=protected.origin
    )
    assert (claims["iss"], claims["sub"]) == ("me", "me")
    assert 0 < claims["exp"] - time.time() <= 300


async def test_a_credential_goes_to_the_pinned_issuer_only(tmp_path):
    protected = Protected()
    async with serve(protected):
        spec = far(protected, client_secret="s3cret", issuer="https://other.example")
        authorizations = Authorizations(tmp_path, lambda: "http://localhost/", 5)
        with pytest.raises(AuthorizationMissingError) as refused:
            await call(authorizations, spec)
        await authorizations.aclose()
    assert protected.asked == []
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("content", [None, "no key", "ß"])
async def test_a_key_that_cannot_be_used_is_named_with_what_is_needed(tmp_path, content):
    path, protected = tmp_path / "key.pem", Protected()
    if content is not None:
        path.write_text(content)
    async with serve(protected):
        authorizations = Authorizations(tmp_path / "tokens", lambda: "http://localhost/", 5)
        with pytest.raises(AuthorizationMissingError, match="it must be a PEM file") as refused:
            await call(authorizations, far(protected, private_key_file=str(path)))
        await authorizations.aclose()
    assert str(path) in str(refused.value)


DOCUMENT = "https://gateway.example/user/me/mcp-ws/oauth/client.json"


async def authorized_as(protected: Protected, directory: Path, documented: bool = False) -> str:
    """The id of the client for which a user is asked, who consents."""
    authorizations = Authorizations(
        directory, lambda: "https://gateway.example/user/me/", BOUND, documented=documented
    )
    spec = ServerSpec("far", "test", "http", url=f"{protected.origin}/mcp", oauth={})
    protected.valid.clear()
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(call(authorizations, spec))
        waiting = await until(lambda: authorizations.pending("far", "me"), what="the page")
        query = parse_qs(urlsplit(waiting.page).query)
        assert query["redirect_uri"] == [authorizations.redirect_uri]
        assert authorizations.complete("me", {"code": "c", "state": query["state"][0]}) == "far"
    assert calling.result().status_code == 200
    await authorizations.aclose()
    return query["client_id"][0]


@pytest.mark.parametrize(
    ("reads_documents", "documented", "client"),
    [(True, True, DOCUMENT), (False, True, "of {}"), (True, False, "of {}")],
)
async def test_an_authorization_server_that_reads_documents_gets_the_address_of_the_gateways(
    tmp_path, reads_documents, documented, client
):
    protected = Protected()
    protected.reads_documents = reads_documents
    async with serve(protected):
        protected.named = [protected.origin]
        used = await authorized_as(protected, tmp_path, documented)
        assert used == client.format(protected.origin)
        headers, form = protected.asked[0]
        assert ("authorization" in headers, "client_secret" in form, form["client_id"]) == (
            False,
            False,
            used,
        )
        again = await authorized_as(protected, tmp_path)
        assert again == f"of {protected.origin}", "a document that is not published any more is not named"


async def test_a_registration_is_used_only_at_the_authorization_server_that_issued_it(tmp_path):
    protected, other = Protected(), Protected()
    other.valid = protected.valid
    async with serve(protected), serve(other):
        for one in (protected, other, protected):
            protected.named = [one.origin]
            assert await authorized_as(protected, tmp_path) == f"of {one.origin}"
            assert one.asked[-1][1]["client_id"] == f"of {one.origin}"
