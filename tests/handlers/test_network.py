"""``api/network`` lists what users' requests show, and not what anybody else writes into headers."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_ws_ide.core.intermediaries import SENDS
from mcp_ws_ide.observe.intermediaries import UNVERIFIED
from tests.conftest import FAST_SERVER, Jupyter

EVIL = "https://evil.example"
EDITOR = "https://editor.example"


@pytest.fixture
def gateway(make_jupyter) -> Jupyter:
    return make_jupyter({"fast": FAST_SERVER}, f"--ServerApp.allow_origin={EDITOR}")


def listed(gateway: Jupyter) -> dict[str, dict[str, Any]]:
    status, answer = gateway.rest("GET", "network")
    assert status == 200
    return {entry["code"]: entry for entry in answer["network"]}


def with_token(gateway: Jupyter, **headers: str) -> dict[str, str]:
    return {"Authorization": f"token {gateway.token}", **_named(headers)}


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def cookie_of(gateway: Jupyter) -> str:
    _, headers, _ = gateway.request("GET", "mcp-ws/", None, with_token(gateway))
    return headers["Set-Cookie"].split(";")[0]


FORGED = [
    ("OPTIONS", "mcp-ws/servers/fast", {"Origin": EVIL, "X_Forwarded_For": "1.2.3.4"}),
    ("OPTIONS", "mcp-ws/servers/fast", {"Origin": EVIL, "X_Forwarded_Host": "evil.example"}),
    ("POST", "mcp-ws/servers/fast", {"Origin": EVIL, "Sec_Fetch_Site": "same-origin"}),
    ("POST", "mcp-ws/api/tickets", {"Origin": EVIL, "X_Forwarded_Host": "evil.example"}),
    ("POST", "mcp-ws/api/tickets", {"Origin": EVIL, "Via": "x", "Authorization": "token wrong"}),
    ("GET", "mcp-ws/", {"X_Forwarded_Proto": "https"}),
    ("GET", "mcp-ws/", {"Host": "evil.example"}),
    ("GET", "mcp-ws/api/servers", {"Host": "evil.example", "Authorization": "token wrong"}),
    ("GET", "mcp-ws/servers/fast", {"Host": "evil.example"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), FORGED)
def test_what_a_request_without_a_credential_shows_is_not_listed(gateway, method, path, headers):
    gateway.request(method, path, None, _named(headers))
    assert listed(gateway) == {}
    assert "mcp-ws-ide: a proxy" not in gateway.log.read_text()


@pytest.mark.parametrize("forwarded", [{}, {"X_Forwarded_For": "1.2.3.4"}, {"Via": "1.1 x"}])
@pytest.mark.parametrize("origin", [EVIL, "http://127.0.0.1:3000", "null"])
def test_another_page_cannot_be_taken_for_the_gateways_own_behind_a_proxy(gateway, origin, forwarded):
    """A browser sends the user's cookie with the requests of any page; the cure would be to allow that page."""
    headers = _named({"Cookie": cookie_of(gateway), "Origin": origin, **forwarded})
    status, _, body = gateway.request("POST", "mcp-ws/api/tickets", {"server": "fast"}, headers)
    assert status == 403, body
    assert listed(gateway) == {}


def test_a_page_of_an_allowed_origin_says_nothing_about_the_scheme(gateway):
    assert gateway.request("GET", "mcp-ws/", None, with_token(gateway, Origin=EDITOR))[0] in (200, 503)
    assert listed(gateway) == {}


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        (
            "POST",
            "mcp-ws/api/tickets",
            {"Origin": "https://a.example", "X_Real_IP": "1.2.3.4"},
            "host_replaced",
        ),
        (
            "POST",
            "mcp-ws/api/tickets",
            {"Origin": "https://127.0.0.1:8443", "Host": "127.0.0.1"},
            "port_removed",
        ),
        ("GET", "mcp-ws/", {"Host": "a.example"}, "host_not_local"),
        ("GET", "mcp-ws/servers/fast", {"Host": "a.example"}, "host_not_local"),
        ("GET", "mcp-ws/", {"X_Forwarded_Proto": "https"}, "scheme_unknown"),
    ],
)
def test_what_a_request_with_a_token_shows_is_listed(gateway, method, path, headers, code):
    gateway.request(method, path, None, with_token(gateway, **headers))
    assert listed(gateway)[code]["verified"] is True


@pytest.mark.parametrize(
    "shown",
    [{"Sec_Fetch_Site": "same-origin"}, {"X_Forwarded_Host": "jupyter.example"}],
)
def test_what_only_the_gateways_own_page_can_send_is_listed(gateway, shown):
    headers = _named({"Cookie": cookie_of(gateway), "Origin": "https://jupyter.example", **shown})
    assert gateway.request("POST", "mcp-ws/api/tickets", {"server": "fast"}, headers)[0] == 403
    assert "https://jupyter.example" in listed(gateway)["host_replaced"]["message"]


def test_a_removed_credential_is_listed_as_unverified_and_once(gateway):
    """By its nature, such a request has no credential."""
    for number in range(5):
        headers = {SENDS: f"authorization, {'x' * number}", "Authorization": f"Basic {number}"}
        assert gateway.request("GET", "mcp-ws/api/servers", None, headers)[0] == 401
    entry = listed(gateway)["authorization_removed"]
    assert entry["verified"] is False
    assert entry["count"] == 5
    assert entry["message"].endswith(UNVERIFIED)
    assert gateway.log.read_text().count(UNVERIFIED) == 1
