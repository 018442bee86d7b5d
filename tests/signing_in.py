"""A client that signs in by URL, and the person who approves it, both over plain HTTP: every value can be set wrong."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.conftest import BOUND, Jupyter

REDIRECT = "http://127.0.0.1:3334/callback"


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def parameters_of(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


class Person:
    """A browser without scripts, whose user has logged in to Jupyter with its token."""

    def __init__(self, jupyter: Jupyter, *, logged_in: bool = True) -> None:
        self.jupyter = jupyter
        self.cookies = httpx.Cookies()
        if logged_in:
            self.log_in(f"{jupyter.url}login")

    def log_in(self, url: str) -> httpx.Response:
        """Fill in Jupyter's login form; return where it leads."""
        page = self.send("GET", url)
        form = {
            "_xsrf": re.search(r'name="_xsrf" value="([^"]+)"', page.text)[1],
            "password": self.jupyter.token,
        }
        answer = self.send("POST", url, form, Origin=self.origin)
        assert answer.status_code == 302, answer.text
        return answer

    def send(
        self, method: str, url: httpx.URL | str, form: dict[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """Send one request, as a navigation."""
        sent = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", **headers}
        with httpx.Client(timeout=BOUND, cookies=self.cookies, headers=sent) as http:
            answer = http.request(method, url, data=form)
            self.cookies = http.cookies
        return answer

    @property
    def origin(self) -> str:
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.jupyter.url))

    def open(self, url: str, **headers: str) -> httpx.Response:
        return self.send("GET", url, **headers)

    def decide(
        self, url: str, decision: str = "approve", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Open the page, and press one of its buttons."""
        page = self.open(url)
        assert page.status_code == 200, page.text
        action = httpx.URL(url).join(html.unescape(re.search(r'action="([^"]+)"', page.text)[1]))
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)[1]
        form = {"_xsrf": xsrf, "decision": decision, "seconds": "86400", **fields}
        sent = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        return self.send("POST", action, form, **sent)


@dataclass
class Application:
    """An OAuth client that knows nothing but the URL of an MCP endpoint."""

    endpoint: str
    redirect_uri: str = REDIRECT
    client_id: str = ""
    server: dict[str, Any] = field(default_factory=dict)
    resource: str = ""
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def discover(self) -> None:
        """Follow the 401, as the MCP specification says."""
        refused = httpx.post(self.endpoint, json={}, timeout=BOUND)
        assert refused.status_code == 401
        url = re.search(r'resource_metadata="([^"]+)"', refused.headers["WWW-Authenticate"])[1]
        metadata = httpx.get(url, timeout=BOUND).json()
        self.resource = metadata["resource"]
        issuer = metadata["authorization_servers"][0]
        self.server = httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=BOUND).json()
        assert self.server["issuer"] == issuer

    def register(self, **metadata: Any) -> httpx.Response:
        body = {"client_name": "Tester", "redirect_uris": [self.redirect_uri], **metadata}
        answer = httpx.post(self.server["registration_endpoint"], json=body, timeout=BOUND)
        self.client_id = answer.json().get("client_id", "")
        return answer

    def authorization_url(self, **changed: str | None) -> str:
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            "resource": self.resource,
            "scope": "mcp",
            "state": self.state,
            **changed,
        }
        kept = {name: value for name, value in parameters.items() if value is not None}
        return f"{self.server['authorization_endpoint']}?{urlencode(kept)}"

    def exchange(self, code: str, **changed: str | None) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
            "resource": self.resource,
            **changed,
        }
        return self._post("token_endpoint", form)

    def refresh(self, refresh_token: str, **changed: str | None) -> httpx.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self.client_id,
            "resource": self.resource,
            **changed,
        }
        return self._post("token_endpoint", form)

    def revoke(self, token: str, **changed: str | None) -> httpx.Response:
        return self._post("revocation_endpoint", {"token": token, "client_id": self.client_id, **changed})

    def _post(self, endpoint: str, form: dict[str, str | None]) -> httpx.Response:
        kept = {name: value for name, value in form.items() if value is not None}
        return httpx.post(self.server[endpoint], data=kept, timeout=BOUND)

    def call(self, access_token: str, endpoint: str = "") -> int:
        """Return the status of a request with a token."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, text/event-stream"}
        answer = httpx.post(endpoint or self.endpoint, json=body, headers=headers, timeout=BOUND)
        return answer.status_code

    def code(self, person: Person, **fields: Any) -> str:
        """Return the code that an approval gives."""
        answer = person.decide(self.authorization_url(), **fields)
        assert answer.status_code == 303, answer.text
        return parameters_of(answer.headers["Location"])["code"]

    def sign_in(self, person: Person, **fields: Any) -> dict[str, Any]:
        """Return the token response that an approval gives."""
        answer = self.exchange(self.code(person, **fields))
        assert answer.status_code == 200, answer.text
        return answer.json()


_registered: dict[tuple[str, str], str] = {}
"""The ids of clients, by issuer and redirect URI: a gateway slows down an address that registers many."""


def application(
    jupyter: Jupyter, name: str = "fast", *, another: bool = False, **options: Any
) -> Application:
    """Return a registered client of an endpoint: the one of earlier tests, or another one."""
    made = Application(f"{jupyter.url}mcp-ws/servers/{name}", **options)
    made.discover()
    key = made.server["issuer"], made.redirect_uri
    if another or key not in _registered:
        assert made.register().status_code == 201
    if another:
        return made
    made.client_id = _registered.setdefault(key, made.client_id)
    return made
