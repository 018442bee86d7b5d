"""Approvals, registrations and redirect URIs, with a clock of the test."""

from __future__ import annotations

import base64
import json

import pytest

from mcp_ws_ide.signin.approvals import ACCESS_SECONDS, CODE_SECONDS, RETRY_SECONDS, Approval, Approvals
from mcp_ws_ide.signin.clients import BadClientError, Client, client_from, problem_of, same_redirect_uri
from mcp_ws_ide.signin.registrations import REGISTRATION_SECONDS, Registrations
from mcp_ws_ide.tokens import TokenStore

DAY = 86400.0
CLIENT = Client("client", "An editor", ("http://127.0.0.1/callback",))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def revoked() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path, clock) -> TokenStore:
    return TokenStore(tmp_path / "tokens.json", now=clock)


@pytest.fixture
def approvals(store, clock, revoked) -> Approvals:
    return Approvals(store, revoked.append, clock)


def approve(approvals: Approvals, client: Client = CLIENT, seconds: float = DAY) -> None:
    approval = Approval("me", "Me", ("fast",), "https://h/mcp-ws/servers/fast", seconds, "An editor")
    approvals.approve(approval, client, "the-code", client.redirect_uris[0], "challenge", "mcp")


def issued(approvals: Approvals):
    token = approvals.of_code("the-code")
    assert token is not None
    return approvals.issue(token)


def test_a_code_is_good_for_a_minute(approvals, clock):
    approve(approvals)
    clock.now += CODE_SECONDS - 1
    assert approvals.of_code("the-code") is not None
    clock.now += 1
    assert approvals.of_code("the-code") is None


def test_an_access_token_is_good_for_an_hour_and_the_approval_for_as_long_as_it_says(approvals, store, clock):
    approve(approvals)
    first = issued(approvals)
    assert first.expires_in == ACCESS_SECONDS
    (token,) = store.of("me")
    assert token.expires == clock.now + DAY
    clock.now += ACCESS_SECONDS
    assert store.find(first.access_token) is None
    assert store.alive(token.id), "its sessions go on"
    held = approvals.of_refresh_token(first.refresh_token, "client")
    second = approvals.issue(held, first.refresh_token)
    assert store.find(second.access_token).id == token.id
    clock.now += DAY
    assert store.find(second.access_token) is None
    assert approvals.of_refresh_token(second.refresh_token, "client") is None
    assert not store.alive(token.id)


def test_the_last_access_token_ends_with_the_approval(approvals, clock):
    approve(approvals, seconds=5400)
    first = issued(approvals)
    clock.now += 3600
    second = approvals.issue(approvals.of_refresh_token(first.refresh_token, "client"), first.refresh_token)
    assert second.expires_in == 1800


def test_a_client_that_lost_a_response_can_refresh_again_for_a_moment(approvals, store, clock, revoked):
    approve(approvals)
    first = issued(approvals)
    second = approvals.issue(approvals.of_refresh_token(first.refresh_token, "client"), first.refresh_token)
    clock.now += RETRY_SECONDS
    again = approvals.of_refresh_token(first.refresh_token, "client")
    assert again is not None
    third = approvals.issue(again, first.refresh_token)
    assert (third.access_token, third.refresh_token) == (second.access_token, second.refresh_token)
    assert third.expires_in == second.expires_in - RETRY_SECONDS
    assert store.find(third.access_token) is not None
    clock.now += RETRY_SECONDS + 1
    assert revoked == []
    assert approvals.of_refresh_token(first.refresh_token, "client") is None
    assert revoked == [again.id]
    assert store.find(third.access_token) is None


def test_two_processes_of_a_client_that_refresh_at_the_same_time_both_go_on(approvals, clock, revoked):
    approve(approvals)
    first = issued(approvals)
    answers = [
        approvals.issue(approvals.of_refresh_token(first.refresh_token, "client"), first.refresh_token)
        for _ in range(2)
    ]
    clock.now += ACCESS_SECONDS
    for answer in answers:  # whichever of the two the client has kept
        assert approvals.of_refresh_token(answer.refresh_token, "client") is not None
    assert revoked == []


def test_a_refresh_after_the_repeated_one_makes_the_old_token_a_stolen_one(approvals, clock, revoked):
    approve(approvals)
    first = issued(approvals)
    second = approvals.issue(approvals.of_refresh_token(first.refresh_token, "client"), first.refresh_token)
    approvals.issue(approvals.of_refresh_token(second.refresh_token, "client"), second.refresh_token)
    assert approvals.of_refresh_token(first.refresh_token, "client") is None
    assert len(revoked) == 1


def test_a_made_up_refresh_token_of_an_unknown_family_revokes_nothing(approvals, revoked):
    approve(approvals)
    first = issued(approvals)
    family = first.refresh_token.partition(".")[0]
    for guess in ("mcpwsr_x.y", "x", ".", f"{family}", f"x{first.refresh_token}"):
        assert approvals.of_refresh_token(guess, "client") is None
    assert revoked == []


def test_another_client_neither_uses_nor_revokes_a_refresh_token(approvals, revoked):
    approve(approvals)
    first = issued(approvals)
    assert approvals.of_refresh_token(first.refresh_token, "other") is None
    assert approvals.of_refresh_token(first.refresh_token + "x", "other") is None
    assert revoked == []


def test_what_is_stored_is_found_again_after_a_restart(approvals, store, tmp_path, clock):
    approve(approvals)
    first = issued(approvals)
    again = TokenStore(tmp_path / "tokens.json", now=clock)
    assert again.find(first.access_token) is not None
    assert Approvals(again, lambda _: None, clock).of_refresh_token(first.refresh_token, "client") is not None
    text = (tmp_path / "tokens.json").read_text()
    assert first.access_token not in text
    assert first.refresh_token not in text
    assert "the-code" not in text


def test_nothing_is_issued_if_it_cannot_be_stored(approvals, store, tmp_path, monkeypatch):
    approve(approvals)
    token = approvals.of_code("the-code")

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("mcp_ws_ide.tokens.PrivateJsonFile.write", full)
    with pytest.raises(OSError, match="no space"):
        approvals.issue(token)
    monkeypatch.undo()
    assert approvals.of_code("the-code") is token
    assert approvals.issue(token)


# --- registrations --------------------------------------------------------------------------------

METADATA = {
    "client_name": "An editor",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "grant_types": ["authorization_code"],
}


def test_a_registration_is_known_for_a_year_with_the_same_key(clock):
    registrations = Registrations(lambda: b"k" * 32, clock)
    client = registrations.register(METADATA)
    found = Registrations(lambda: b"k" * 32, clock).find(client.id)
    assert found == client
    assert not found.refreshes
    assert Registrations(lambda: b"x" * 32, clock).find(client.id) is None
    clock.now += REGISTRATION_SECONDS
    assert registrations.find(client.id) is None
    assert registrations.find(client.id, expired=True) == client


def test_two_registrations_of_the_same_metadata_are_two_clients(clock):
    registrations = Registrations(lambda: b"k" * 32, clock)
    assert registrations.register(METADATA).id != registrations.register(METADATA).id


@pytest.mark.parametrize(
    "broken", ["", "mcpwsc_", "mcpwsc_x.y", "mcpwsc_x", "mcpwsc_x.y.z", "mcpwsc_ä.ü", "x"]
)
def test_what_is_no_registration_is_unknown(clock, broken):
    assert Registrations(lambda: b"k" * 32, clock).find(broken) is None


def test_a_registration_cannot_be_changed(clock):
    registrations = Registrations(lambda: b"k" * 32, clock)
    content, mac = registrations.register(METADATA).id.removeprefix("mcpwsc_").split(".")
    values = json.loads(base64.urlsafe_b64decode(content + "=="))
    values[2] = ["https://evil.example/"]
    changed = (
        base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")
    )
    assert registrations.find(f"mcpwsc_{changed}.{mac}") is None


def test_metadata_that_makes_too_long_an_id_is_refused(clock):
    uris = [f"https://app.example/{number}/{'x' * 400}" for number in range(15)]
    with pytest.raises(BadClientError, match="too long"):
        Registrations(lambda: b"k" * 32, clock).register({"redirect_uris": uris})


# --- redirect URIs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "https://claude.ai/api/mcp/auth_callback",
        "http://localhost:3334/oauth/callback",
        "http://127.0.0.1:0/",
        "http://[::1]:9/callback?x=1",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://vscode.github-authentication/did-authenticate",
        "com.example.app:/oauth",
    ],
)
def test_redirect_uris_of_real_clients_can_be_registered(uri):
    assert problem_of(uri) is None
    assert client_from("x", {"redirect_uris": [uri]}).check_redirect_uri(uri)


@pytest.mark.parametrize(
    ("known", "given", "same"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", True),
        ("http://localhost:1/cb", "http://localhost:2/cb", True),
        ("http://[::1]:1/cb", "http://[::1]:2/cb", True),
        ("http://127.0.0.1:1/cb", "http://localhost:1/cb", False),
        ("http://127.0.0.1:1/cb", "https://127.0.0.1:1/cb", False),
        ("http://127.0.0.1:1/cb?a=1", "http://127.0.0.1:2/cb", False),
        ("http://127.0.0.1:1/cb", "http://user@127.0.0.1:1/cb", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb#x", False),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:99999/cb", False),
        ("https://a.example/cb", "https://a.example:443/cb", False),
        ("https://a.example/cb", "https://A.example/cb", False),
        ("https://a.example/cb", "https://a.example/cb/", False),
        ("cursor://x/cb", "cursor://x/cb", True),
        ("cursor://x/cb", "cursor://x:1/cb", False),
    ],
)
def test_only_the_port_of_a_loopback_uri_may_differ(known, given, same):
    assert same_redirect_uri(known, given) is same
