"""Client ID Metadata Documents: fetched over TLS from a real server, and read with suspicion."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from mcp_ws_ide.signin import documents
from mcp_ws_ide.signin.clients import BadClientError
from mcp_ws_ide.signin.documents import MAX_DOCUMENT, ClientDocuments, problem_of_id


class Site(http.server.ThreadingHTTPServer):
    """A host that publishes one document, with TLS."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}/client.json"
        self.status, self.headers = 200, {"Content-Type": "application/json"}
        self.body = b""
        self.asked: list[dict[str, str]] = []
        self.publish()

    def publish(self, **changed: Any) -> None:
        document = {
            "client_id": self.url,
            "client_name": "An editor",
            "redirect_uris": ["http://127.0.0.1/callback"],
            **changed,
        }
        self.body = json.dumps(
            {name: value for name, value in document.items() if value is not None}
        ).encode()


class _Page(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        self.send_response(self.server.status)
        for name, value in {**self.server.headers, "Content-Length": str(len(self.server.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def site(authority) -> Iterator[Site]:
    with Site(authority) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetched(authority, clock) -> ClientDocuments:
    """Documents that may come from this machine, over TLS of an authority of the test."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return ClientDocuments(trust, lambda addresses: None, clock)


async def test_a_client_is_what_its_document_says(site, fetched):
    client = await fetched.client(site.url)
    assert client.id == site.url
    assert client.name == "An editor"
    assert client.host == f"localhost:{site.server_port}"
    assert client.check_redirect_uri("http://127.0.0.1:4567/callback")
    assert not client.check_redirect_uri("http://127.0.0.1:4567/other")


async def test_a_client_that_prefers_a_key_can_do_without_if_it_says_so(site, fetched):
    """As ChatGPT's document does."""
    site.publish(
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_methods_supported=["none", "private_key_jwt"],
        token_endpoint_auth_signing_alg="RS256",
        jwks_uri="https://chatgpt.com/oauth/jwks.json",
    )
    assert (await fetched.client(site.url)).check_endpoint_auth_method("none", "token")


async def test_a_request_for_a_document_has_no_credential(site, fetched):
    await fetched.client(site.url)
    (headers,) = site.asked
    assert not {name.lower() for name in headers} & {"authorization", "cookie", "referer", "origin"}


async def test_a_document_is_kept_for_as_long_as_it_says(site, fetched, clock):
    site.headers["Cache-Control"] = "public, max-age=600"
    await fetched.client(site.url)
    clock.now = 599
    await fetched.client(site.url)
    assert len(site.asked) == 1
    clock.now = 601
    await fetched.client(site.url)
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("said", "kept"), [("max-age=0", 60), ("no-store", 60), ("max-age=999999999", 86400)]
)
async def test_a_document_is_kept_for_a_minute_at_least_and_a_day_at_most(site, fetched, clock, said, kept):
    site.headers["Cache-Control"] = said
    await fetched.client(site.url)
    clock.now = kept - 1
    await fetched.client(site.url)
    assert len(site.asked) == 1
    clock.now = kept + 1
    await fetched.client(site.url)
    assert len(site.asked) == 2


async def test_a_failure_is_not_kept(site, fetched):
    site.status = 503
    with pytest.raises(BadClientError, match="503"):
        await fetched.client(site.url)
    site.status = 200
    assert (await fetched.client(site.url)).name == "An editor"


async def test_as_many_documents_are_kept_as_are_allowed(site, fetched, monkeypatch):
    monkeypatch.setattr(documents, "MAX_KEPT", 2)
    urls = [f"{site.url}?{number}" for number in range(3)]
    for url in urls:
        site.publish(client_id=url)
        await fetched.client(url)
    site.publish(client_id=urls[2])
    await fetched.client(urls[2])
    assert len(site.asked) == 3
    site.publish(client_id=urls[0])
    await fetched.client(urls[0])
    assert len(site.asked) == 4


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"client_id": "https://other.example/client.json"}, "another client_id"),
        ({"client_id": None}, "another client_id"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": "http://127.0.0.1/"}, "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "cannot be used"),
        ({"redirect_uris": ["http://127.0.0.1/"] * 21}, "redirect_uris"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "token_endpoint_auth_method"),
        ({"client_secret": "x"}, "token_endpoint_auth_method"),
    ],
)
async def test_a_document_that_cannot_be_used_is_refused(site, fetched, changed, reason):
    site.publish(**changed)
    with pytest.raises(BadClientError, match=reason):
        await fetched.client(site.url)


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (302, {"Location": "https://localhost/other", "Content-Type": "application/json"}, b"{}", "302"),
        (404, {"Content-Type": "application/json"}, b"{}", "404"),
        (200, {"Content-Type": "text/html"}, b"{}", "text/html"),
        (200, {"Content-Type": "application/json"}, b"[]", "not a JSON object"),
        (200, {"Content-Type": "application/json"}, b"\xff", "not a JSON object"),
        (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", "compressed"),
        (200, {"Content-Type": "application/json"}, b" " * (MAX_DOCUMENT + 1), "longer than"),
    ],
)
async def test_a_response_that_is_no_document_is_refused(site, fetched, status, headers, body, reason):
    site.status, site.headers, site.body = status, headers, body
    with pytest.raises(BadClientError, match=reason):
        await fetched.client(site.url)
    assert len(site.asked) == 1, "no redirect is followed"


async def test_a_slow_response_ends_in_time(site, fetched, monkeypatch):
    monkeypatch.setattr(documents, "FETCH_SECONDS", 0.2)
    held = threading.Event()
    monkeypatch.setattr(_Page, "do_GET", lambda page: held.wait(60))
    try:
        with pytest.raises(BadClientError, match=r"within 0\.2 s|request failed"):
            await fetched.client(site.url)
    finally:
        held.set()


async def test_an_address_of_this_machine_or_its_network_is_not_asked(site, authority):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with pytest.raises(BadClientError, match=r"127\.0\.0\.1 is not public|::1 is not public"):
        await ClientDocuments(trust).client(site.url)
    assert site.asked == []


async def test_a_certificate_of_an_unknown_authority_is_refused(site):
    with pytest.raises(BadClientError, match="request failed"):
        await ClientDocuments(None, lambda addresses: None).client(site.url)
    assert site.asked == []


async def test_where_documents_cannot_be_reached_clients_are_told_to_register(site, fetched, clock):
    assert fetched.reachable
    with pytest.raises(BadClientError, match="connect again"):
        await fetched.client("https://no-such-host.invalid/client.json")
    assert not fetched.reachable
    site.status = 404
    with pytest.raises(BadClientError, match="404"):
        await fetched.client(site.url)
    assert not fetched.reachable
    clock.now += 3600
    assert fetched.reachable
    with pytest.raises(BadClientError):
        await fetched.client("https://no-such-host.invalid/client.json")
    site.status = 200
    await fetched.client(site.url)
    assert fetched.reachable


async def test_one_host_that_cannot_be_reached_says_nothing_about_others_that_were(site, fetched, clock):
    await fetched.client(site.url)
    for _ in range(2):
        with pytest.raises(BadClientError, match=r"request failed: .*\w"):
            await fetched.client("https://no-such-host.invalid/client.json")
    assert fetched.reachable
    clock.now += 3601
    with pytest.raises(BadClientError, match="connect again"):
        await fetched.client("https://no-such-host.invalid/client.json")
    assert not fetched.reachable


async def test_a_document_that_is_refused_says_nothing_about_the_others(site, fetched):
    site.publish(redirect_uris=[])
    for url in (site.url, "http://app.example/client.json"):
        with pytest.raises(BadClientError):
            await fetched.client(url)
    assert fetched.reachable


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://user:secret@app.example/client.json",
        "https://app.example/client.json#x",
        "https://app.example/../client.json",
        "https://app.example/a/./client.json",
        "https://app.example/ä",
        "https://app.example/a b",
        "https://app.example:port/client.json",
        "https:///client.json",
        "https://app.example/" + "x" * 3000,
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_no_client_id(url):
    assert problem_of_id(url) is not None


def test_a_usual_url_is_a_client_id():
    assert problem_of_id("https://claude.ai/oauth/mcp-oauth-client-metadata") is None
