"""Gateway tokens and tickets: scope, life, storage."""

from __future__ import annotations

import stat

import pytest

from mcp_ws_ide.tokens import MAX_TICKETS, TICKET_LIFETIME, TicketStore, TokenStore

CREDENTIAL = ("token T", "", "localhost")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_token_lives_until_it_expires(tmp_path, clock):
    store = TokenStore(tmp_path / "t.json", now=clock)
    secret, token = store.mint("me", "Me", ["b", "a", "a"], 60)
    assert token.servers == ["a", "b"]
    assert store.find(secret) is token
    assert store.alive(token.id)
    clock.now += 60
    assert store.find(secret) is None
    assert not store.alive(token.id)
    assert store.of("me") == []


def test_tokens_survive_a_restart_as_hashes_in_a_private_file(tmp_path, clock):
    path = tmp_path / "deep" / "t.json"
    secret, token = TokenStore(path, now=clock).mint("me", "Me", ["a"], 60)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert secret.encode() not in path.read_bytes()
    again = TokenStore(path, now=clock)
    assert again.find(secret) is not None
    assert again.revoke("me", token.id)
    assert TokenStore(path, now=clock).find(secret) is None


def test_only_its_owner_revokes_a_token(tmp_path, clock):
    store = TokenStore(tmp_path / "t.json", now=clock)
    secret, token = store.mint("me", "Me", ["a"], 60)
    assert not store.revoke("you", token.id)
    assert store.find(secret) is token


def test_an_unreadable_file_is_logged_and_ignored(tmp_path, caplog):
    path = tmp_path / "t.json"
    path.write_text("{broken")
    assert TokenStore(path).of("me") == []
    assert "unreadable" in caplog.text


def test_a_planted_link_is_not_followed(tmp_path, clock):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "t.json"
    path.symlink_to(victim)
    TokenStore(path, now=clock).mint("me", "Me", ["a"], 60)
    assert victim.read_text() == "precious"


def test_a_ticket_opens_its_server_once_before_it_expires(clock):
    store = TicketStore(clock)
    once, late = store.issue("me", "Me", "a", CREDENTIAL), store.issue("me", "Me", "a", CREDENTIAL)
    assert store.redeem(once, "a").principal == "me"
    assert store.redeem(once, "a") is None
    clock.now += TICKET_LIFETIME
    assert store.redeem(late, "a") is None


def test_tickets_are_bounded(clock):
    store = TicketStore(clock)
    first = store.issue("me", "Me", "a", CREDENTIAL)
    newest = [store.issue("me", "Me", "a", CREDENTIAL) for _ in range(MAX_TICKETS)][-1]
    assert store.redeem(first, "a") is None, "the oldest gave way"
    assert store.redeem(newest, "a") is not None


def test_a_token_that_cannot_be_stored_is_not_minted_and_leaves_no_file(tmp_path, clock):
    store = TokenStore(tmp_path / "t.json", now=clock)
    secret, token = store.mint("me", "Me", ["a"], 60)
    (tmp_path / "t.json").unlink()
    (tmp_path / "t.json").mkdir()
    with pytest.raises(OSError, match=r"directory|exists"):
        store.mint("me", "Me", ["b"], 60)
    assert store.find(secret) is token
    assert store.of("me") == [token]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.json"]


def test_a_revocation_that_cannot_be_stored_holds_at_once_and_is_stored_later(tmp_path, clock):
    path = tmp_path / "t.json"
    store = TokenStore(path, now=clock)
    secret, token = store.mint("me", "Me", ["a"], 60)
    stored = path.read_bytes()
    path.unlink()
    path.mkdir()
    for _ in range(2):  # the second attempt reports the same, and not that there is no such token
        with pytest.raises(OSError, match=r"directory|exists"):
            store.revoke("me", token.id)
        assert store.find(secret) is None
        assert not store.alive(token.id)
    assert not store.revoke("you", token.id)
    store.save_revocations()
    path.rmdir()
    path.write_bytes(stored)
    store.save_revocations()
    assert TokenStore(path, now=clock).find(secret) is None
    assert not store.revoke("me", token.id)
