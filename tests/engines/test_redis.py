"""The Redis engine on a real server: what it refuses, what it does when the server fails, and what is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from mcp_ws_ide.engines import redis as redis_engine
from mcp_ws_ide.engines import redis_connection
from mcp_ws_ide.engines.base import (
    ATTACHED,
    Batch,
    EngineFullError,
    EngineRefusedError,
    EngineUnavailableError,
    Frame,
    Outcome,
    OwnedError,
    SessionLostError,
)
from mcp_ws_ide.engines.redis import RedisEngine
from mcp_ws_ide.engines.redis_address import PASSWORD_VARIABLE, redis_address
from mcp_ws_ide.engines.redis_link import check_server
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.fleet.shared_tokens import EXPIRED_SECONDS, FORGOTTEN_AT_ONCE, SharedTokens
from mcp_ws_ide.tokens import TokenStore
from tests.conftest import BOUND, free_port, until
from tests.engines.conftest import MAX_BYTES, new_redis
from tests.engines.owner import Owner, committed, new_session, request
from tests.redis_server import RedisServer

REDIS_PAGE = Path(__file__).parents[2] / "docs" / "operate" / "redis.md"


@pytest.fixture
def server(tmp_path):
    """Start servers that belong to one test."""
    started = []

    def start(**options: str) -> RedisServer:
        directory = tmp_path / f"redis{len(started)}"
        directory.mkdir()
        started.append(RedisServer(directory, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@contextlib.asynccontextmanager
async def running(engine: RedisEngine | SealedEngine) -> AsyncIterator[RedisEngine | SealedEngine]:
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def refusal(engine: RedisEngine | SealedEngine) -> str:
    with pytest.raises(EngineRefusedError) as refused:
        await engine.start()
    return str(refused.value)


def with_password(address: str, password: str) -> str:
    return address.replace("redis://", f"redis://:{password}@")


async def decided(engine: RedisEngine, batch: Batch) -> Outcome:
    """Commit again and again until the server can be reached, as the owner of a session does."""
    async with asyncio.timeout(60):
        while (outcome := await committed(engine, batch)) is Outcome.FAILED:
            await asyncio.sleep(0.05)
    return outcome


async def recovered(owner: Owner, engine: RedisEngine) -> None:
    """Store a batch as soon as the server can be reached."""
    batch = owner.batch(1)
    assert await decided(engine, batch) is Outcome.COMMITTED
    owner.note(batch)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_delete_sessions_is_refused(server, policy):
    assert f"maxmemory-policy '{policy}'" in await refusal(new_redis(server(maxmemory_policy=policy).address))


async def test_a_policy_that_is_set_while_sessions_are_stored_stops_the_writing_until_it_is_set_back(
    server, monkeypatch
):
    monkeypatch.setattr(redis_engine, "MEASURE_SECONDS", 0.05)
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one = server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        one.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await until(lambda: "allkeys-lru" in engine.problem)
        assert await committed(engine, owner.batch(1)) is Outcome.FAILED
        assert "allkeys-lru" in engine.problem
        one.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await until(lambda: not engine.problem)


async def test_another_machine_is_refused_without_tls_and_localhost_is_not(server):
    address = "redis://192.0.2.1:6379"
    assert "has no TLS; use rediss://, or set MCPWebSocketApp.engine_allow_unencrypted" in await refusal(
        new_redis(address)
    )
    parsed = redis_address(server().address.replace("127.0.0.1", "localhost"))
    assert parsed is not None
    async with running(RedisEngine(parsed, MAX_BYTES)):
        pass


async def test_another_machine_without_tls_may_be_allowed(monkeypatch):
    monkeypatch.setattr(redis_connection, "TIMEOUT", 0.1)
    parsed = redis_address("redis://192.0.2.1:6379")
    assert parsed is not None
    assert "192.0.2.1:6379" in await refusal(RedisEngine(parsed, MAX_BYTES, allow_unencrypted=True))


async def test_a_server_that_is_not_there_is_named(monkeypatch):
    port = free_port()
    assert f"Redis at 127.0.0.1:{port} cannot be reached" in await refusal(
        new_redis(f"redis://127.0.0.1:{port}")
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol of Redis: "),
        (b"+OK\r\n+OK\r\n", "more replies than it got commands"),
        (b"", "has closed the connection"),
    ],
)
async def test_a_server_that_is_no_redis_is_refused_with_what_it_does(answer, reason):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert reason in await refusal(new_redis(f"redis://127.0.0.1:{port}"))


@pytest.mark.parametrize("given", ["", "hunter2"])
async def test_a_wrong_password_is_refused_and_not_shown(server, given, caplog):
    address = with_password(server(requirepass="correct horse").address, given)
    assert "correct horse" not in (text := await refusal(new_redis(address)))
    assert "hunter2" not in text + caplog.text
    assert "refuses the user or the password" in text or "NOAUTH" in text or "Authentication" in text


@pytest.mark.parametrize("source", ["address", "file", "environment"])
async def test_the_password_comes_from_the_address_a_file_or_the_environment(
    server, tmp_path, monkeypatch, source
):
    address = server(requirepass="correct horse").address
    if source == "address":
        address = with_password(address, "correct%20horse")
    elif source == "file":
        (tmp_path / "password").write_text("correct horse\n")
        address += f"&password_file={tmp_path}/password"
    else:
        monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse")
    async with running(new_redis(address)) as engine:
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED


async def test_the_rights_that_the_docs_name_suffice(server, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    one = server()
    rule = next(line for line in REDIS_PAGE.read_text().splitlines() if line.startswith("user gateway"))
    prefix = one.address.partition("prefix=")[2]
    rights = rule.removeprefix("user gateway ").replace("mcpws:", prefix).replace(">…", ">secret").split()
    assert one.ask("ACL", "SETUSER", "gateway", *rights).startswith(b"+OK")
    address = one.address.partition("prefix=")[0] + f"prefix={prefix}"
    async with running(new_redis(address.replace("redis://", "redis://gateway@"))) as engine:
        owner = await Owner.of_new(engine, expires_at=5.0)
        await owner.commit(2, (b"a", b"b"), 1, added=[request(1)], state=b"x")
        await owner.taken()
        assert await engine.expire(6.0) == [owner.stored.id]
        await engine.orphan(7.0)
        await engine.end(owner.stored.id, 1)
        assert (await engine.sessions(), await engine.count("alice")) == ([], 0)
    other = address.replace("redis://", "redis://gateway@").replace(prefix, "foreign:")
    assert "key" in await refusal(new_redis(other))


async def test_a_password_file_that_cannot_be_read_is_refused(tmp_path):
    text = await refusal(new_redis(f"redis://localhost?password_file={tmp_path}/none"))
    assert text == f"the password file '{tmp_path}/none' cannot be read: No such file or directory"


async def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "hiredis", None)
    assert "pip install 'mcp-ws-ide[redis]'" in await refusal(new_redis("redis://localhost"))


@pytest.mark.parametrize(
    ("facts", "error", "reason"),
    [
        ({"redis_version": "6.2.14"}, EngineRefusedError, "version 6.2.14; use Redis 7 or newer"),
        ({}, EngineRefusedError, "version unknown"),
        ({"redis_version": "7.0.15", "cluster_enabled": "1"}, EngineRefusedError, "is a cluster"),
        ({"redis_version": "8.0.0", "role": "slave"}, EngineUnavailableError, "is a replica"),
    ],
)
def test_other_servers_are_refused(facts, error, reason):
    with pytest.raises(error, match=reason):
        check_server(facts, "host:1")


@pytest.mark.parametrize("version", ["7.0.15", "7.2.4", "8.4.0"])
def test_redis_from_7_on_and_valkey_are_used(version):
    check_server({"redis_version": version, "valkey_version": "8.1.0", "role": "master"}, "host:1")


async def test_keys_that_sealed_other_sessions_are_refused_and_the_sessions_stay(redis, tmp_path):
    address = redis.address
    async with running(SealedEngine(new_redis(address), tmp_path / "keys.json")) as first:
        owner = await Owner.of_new(first)
        other = SealedEngine(new_redis(address), tmp_path / "other.json")
        assert "give every gateway of this engine the same file" in await refusal(other)
        async with running(SealedEngine(new_redis(address), tmp_path / "keys.json")) as second:
            assert await second.take(owner.stored.id, "alice") is not None
            await second.end(owner.stored.id, 2)
        async with running(other):
            pass  # nothing is stored under the first keys any more


async def test_a_connection_over_tls_checks_the_certificate(server, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    (tmp_path / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "cert.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = free_port()
    server(
        tls_port=str(port),
        tls_cert_file=str(tmp_path / "cert.pem"),
        tls_key_file=str(tmp_path / "key.pem"),
        tls_ca_cert_file=str(tmp_path / "ca.pem"),
        tls_auth_clients="no",
    )
    address = f"rediss://localhost:{port}?prefix=tls:"
    assert "over TLS" in await refusal(new_redis(address))
    async with running(new_redis(f"{address}&ca_file={tmp_path}/ca.pem")) as engine:
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED


# --- a server that fails ----------------------------------------------------------------------------------------------


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(redis):
    async with running(new_redis(redis.address)) as engine:
        owner = await Owner.of_new(engine)
        redis.ask("SCRIPT", "FLUSH")
        assert await owner.commit(1, (b"a",)) is Outcome.COMMITTED
        redis.ask("SCRIPT", "FLUSH")
        assert (await owner.taken()).sent == 1
        assert engine.problem == ""


async def test_a_server_that_is_killed_fails_batches_until_it_is_back_and_keeps_what_was_in_its_log(
    server, monkeypatch, caplog
):
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one = server(appendonly="yes", appendfsync="always")
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        await owner.commit(1, (b"a", b"b"), 1, added=[request(1)])
        one.kill()
        assert await committed(engine, owner.batch(1)) is Outcome.FAILED
        assert "cannot be reached" in engine.problem
        with pytest.raises(EngineUnavailableError):
            await engine.take(owner.stored.id, "alice")
        await engine.end("another", 1)
        one.start()
        await recovered(owner, engine)
        await until(lambda: not engine.problem, what="the end of the problem")
        stored = await owner.taken()
        assert [frame.data for frame in stored.frames] == [b"b", b'{"id":1}']
    assert [record.levelno for record in caplog.records if "stored again" in record.message] == [
        logging.WARNING
    ]


async def test_a_server_that_cannot_save_its_data_is_named_in_few_words(server):
    one = server(save="3600 1")
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        (one.directory / "dump.rdb").mkdir()
        one.ask("BGSAVE")
        await until(lambda: b"rdb_last_bgsave_status:err" in one.ask("INFO", "persistence"))
        assert await committed(engine, owner.batch(1)) is Outcome.FAILED
        assert engine.problem == (
            "Redis has refused to write: it cannot save its data on its disk (MISCONF); its log says why"
        )
        (one.directory / "dump.rdb").rmdir()


async def test_the_expiry_of_a_session_is_by_the_clock_of_the_server(server, monkeypatch, caplog):
    address, right, ahead = server().address, time.time, 3600.0
    async with running(new_redis(address)) as engine:
        owner = await Owner.of_new(engine, expires_at=right() + 100)
        monkeypatch.setattr(time, "time", lambda: right() + ahead)
        async with running(new_redis(address)) as fast:
            assert await fast.expire(time.time()) == []
            (listed,) = await fast.sessions()
            assert listed.expires_at == pytest.approx(time.time() + 100, abs=BOUND)
            taken = await Owner.taking(fast, owner.stored.id)
            assert await taken.commit(expires_at=time.time() + 500) is Outcome.COMMITTED
        monkeypatch.setattr(time, "time", right)
        (listed,) = await engine.sessions()
        assert listed.expires_at == pytest.approx(right() + 500, abs=BOUND)
    assert "3600 s ahead of that of Redis" in caplog.text


async def test_a_session_that_ended_while_the_server_was_away_is_deleted_when_it_is_back(server, monkeypatch):
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one = server(appendonly="yes", appendfsync="always")
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        one.kill()
        await engine.end(owner.stored.id, 1)
        one.start()
        await until(lambda: not engine.problem and not engine._unended)
        assert await engine.sessions() == []


async def test_a_server_that_comes_back_empty_gets_the_whole_session_of_a_living_owner(
    server, monkeypatch, caplog
):
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(redis_engine, "MEASURE_SECONDS", 0.05)
    one = server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        await owner.commit(2, (b"a",), added=[request(1)])
        one.lose_everything()
        await until(lambda: not engine.problem)
        batch = owner.batch(1)
        assert await decided(engine, batch) is Outcome.BEHIND
        owner.stored.frames = [Frame(1, b"a")]
        await engine.rewrite(owner.stored)
        assert await owner.commit(1) is Outcome.COMMITTED
        assert (await owner.taken()).received == 3
        await until(lambda: "stored again as a whole: 1" in caplog.text)


async def test_a_session_that_nobody_has_any_more_is_surely_gone_after_the_server_came_back_empty(server):
    one = server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        one.lose_everything()
        while True:
            with contextlib.suppress(EngineUnavailableError):
                assert await engine.take(owner.stored.id, "alice") is None
                break


async def test_a_suspended_server_fails_batches_in_time_and_stores_each_once(server, monkeypatch):
    monkeypatch.setattr(redis_connection, "TIMEOUT", 0.3)
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one = server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        with one.suspended():
            since = time.monotonic()
            batch = owner.batch(1, (b"a",), added=[request(1)])
            outcomes = [await committed(engine, batch) for _ in range(2)]
            assert outcomes == [Outcome.FAILED] * 2
            assert time.monotonic() - since < 30
            assert "does not answer" in engine.problem
        assert await decided(engine, batch) is Outcome.COMMITTED
        owner.note(batch)
        assert await owner.commit(1) is Outcome.COMMITTED
        stored = await owner.taken()
        assert (stored.received, stored.sent, len(stored.frames)) == (2, 2, 2)


async def test_an_attempt_to_rewrite_that_comes_late_changes_nothing(redis):
    async with running(new_redis(redis.address)) as engine:
        owner = await Owner.of_new(engine)
        late = new_session(id=owner.stored.id, number=1, received=1)
        await engine.rewrite(late)
        owner.stored.number = owner.stored.received = 1
        await owner.commit(1)
        await owner.commit(1)
        await engine.rewrite(late)
        assert (await owner.taken()).received == 3


async def test_a_full_server_writes_nothing_and_says_so(server, monkeypatch):
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one = server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        one.ask("CONFIG", "SET", "maxmemory", "1")
        batch = owner.batch(1, (b"a",))
        assert await committed(engine, batch) is Outcome.FAILED
        assert engine.problem == "Redis has refused to write: its memory is full (maxmemory)"
        await until(lambda: engine._link.facts["maxmemory"] == "1")
        with pytest.raises(EngineFullError, match="maxmemory"):
            await engine.create(new_session())
        one.ask("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: not engine.problem)
        assert await committed(engine, batch) is Outcome.COMMITTED


async def test_new_sessions_are_refused_when_the_configured_size_is_used(redis, monkeypatch):
    monkeypatch.setattr(redis_engine, "MEASURE_SECONDS", 0.05)
    async with running(new_redis(redis.address, max_bytes=4000)) as engine:
        owner = await Owner.of_new(engine, state=b"x" * 10_000)
        await until(lambda: engine.statistics.bytes > 10_000)
        assert engine.statistics.sessions == 1
        with pytest.raises(EngineFullError, match="engine_max_bytes"):
            await engine.create(new_session())
        assert await owner.commit(1) is Outcome.COMMITTED


async def test_a_primary_that_becomes_a_replica_is_not_written_to(server, monkeypatch):
    monkeypatch.setattr(redis_engine, "RETRY_SECONDS", 0.05)
    one, other = server(), server()
    async with running(new_redis(one.address)) as engine:
        owner = await Owner.of_new(engine)
        one.ask("REPLICAOF", "127.0.0.1", str(other.port))
        assert await committed(engine, owner.batch(1)) is Outcome.FAILED
        await until(lambda: "is a replica" in engine.problem)
        one.ask("REPLICAOF", "NO", "ONE")
        await until(lambda: not engine.problem)


async def test_a_damaged_session_is_lost_with_the_reason_and_costs_the_others_nothing(redis):
    address = redis.address
    prefix = address.partition("prefix=")[2]
    async with running(new_redis(address)) as engine:
        owners = [await Owner.of_new(engine) for _ in range(3)]
        redis.ask("HSET", f"{prefix}s:{owners[0].stored.id}", "head", "nonsense")
        redis.ask("HDEL", f"{prefix}s:{owners[1].stored.id}", "facts")
        for owner in owners[:2]:
            with pytest.raises(SessionLostError):
                await owner.taken()
        assert engine.statistics.lost["damaged"] == 2
        assert [summary.id for summary in await engine.sessions()] == [owners[2].stored.id]
        assert await owners[2].commit(1) is Outcome.COMMITTED


# --- several gateways -------------------------------------------------------------------------------------------------


async def test_a_session_of_another_gateway_is_taken_with_everything_and_that_one_is_fenced(redis):
    address = redis.address
    async with running(new_redis(address)) as first, running(new_redis(address)) as second:
        owner = await Owner.of_new(first)
        await owner.commit(1, (b"a",), added=[request(1)])
        successor = await Owner.taking(second, owner.stored.id)
        assert successor is not None
        assert [frame.data for frame in successor.stored.frames] == [b"a", b'{"id":1}']
        assert await owner.commit(1) is Outcome.FENCED
        assert await successor.commit(1) is Outcome.COMMITTED


async def test_two_owners_under_the_same_epoch_cannot_both_write(redis):
    """A failover may lose a take-over, and a second one then gets its epoch."""
    address = redis.address
    async with running(new_redis(address)) as first, running(new_redis(address)) as second:
        owner = await Owner.of_new(first)
        other = Owner(second, new_session(id=owner.stored.id))
        assert await other.commit(1) is Outcome.FENCED
        assert await owner.commit(1) is Outcome.COMMITTED


async def test_only_sessions_whose_gateway_is_gone_are_orphans(redis):
    address = redis.address
    prefix = address.partition("prefix=")[2]
    async with running(new_redis(address)) as first, running(new_redis(address)) as second:
        await first.create(new_session())
        await second.create(new_session())
        redis.ask("SET", f"{prefix}instance:{first.instance}", "lives")
        assert await second.orphan(77.0) == 1
        assert [s.expires_at for s in await first.sessions()] == [ATTACHED, 77.0]


async def test_after_an_outage_no_gateway_is_taken_for_dead_before_it_could_renew_its_lease(redis):
    address, seconds = redis.address, 0.5
    prefix = address.partition("prefix=")[2]
    async with running(new_redis(address)) as first, running(new_redis(address)) as second:
        owner = await Owner.of_new(first)
        assert not await first.renew(b"facts", 60)
        assert not await second.renew(b"facts", seconds)
        redis.ask("DEL", f"{prefix}instance:{first.instance}", f"{prefix}instance:{second.instance}")
        for renewed in (False, True):  # its own lease has ended too, or has begun only now
            if renewed:
                assert not await second.renew(b"facts", seconds)
            with pytest.raises(OwnedError):
                await second.take(owner.stored.id, owner.stored.principal)
            assert await second.orphan(77.0) == 0
            await second.forget(first.instance)
            assert (await second.instances())[first.instance] == b"facts"
        async with asyncio.timeout(BOUND):
            while (await second.instances())[first.instance] is not None:
                assert await second.renew(b"facts", seconds)
        assert await second.take(owner.stored.id, owner.stored.principal) is not None


# --- what is on the disk ----------------------------------------------------------------------------------------------


async def test_nothing_of_a_message_is_on_the_servers_disk(server, tmp_path):
    one = server(appendonly="yes", appendfsync="always")
    canary = b"canary-0123456789"
    async with running(SealedEngine(new_redis(one.address), tmp_path / "keys.json")) as engine:
        owner = await Owner.of_new(engine, principal=canary.decode(), facts=canary, state=canary)
        outcome = await owner.commit(
            1, (canary,), added=[request(1)], state=canary * 2, facts=canary * 2, transmitted=[b"1"]
        )
        assert outcome is Outcome.COMMITTED
        one.ask("SAVE")
        files = [path for path in one.directory.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} >= {".rdb", ".aof"}
        for path in files:
            assert canary not in path.read_bytes(), path
        stored = await engine.take(owner.stored.id, canary.decode())
        assert stored is not None
        assert stored.frames[0].data == canary


async def test_an_idle_session_takes_less_than_two_kibibytes(redis, tmp_path):
    address = redis.address
    async with running(SealedEngine(new_redis(address), tmp_path / "keys.json")) as engine:
        owner = await Owner.of_new(engine, facts=b"f" * 200, state=b"s" * 400)
        await owner.commit(1, (b"x" * 512,), added=[request(1)])
        await owner.commit(0, (b"y" * 512,), 2, removed=[b"1"])
        await engine._inner._look()
        assert engine.statistics.sessions == 1
        assert 0 < engine.statistics.bytes < 2048 - 300, "with its places in the indexes"


# --- gateway tokens ---------------------------------------------------------------------------------------------------


def expiring(engine: SealedEngine, path: Path, *ends: float) -> SharedTokens:
    """The tokens of a gateway that takes them for valid; each ends at a time in seconds from now."""
    early = min(0.0, *ends) - 60
    store = TokenStore(path, now=lambda: time.time() + early)
    for end in ends:
        store.mint("me", "me", ["fast"], end - early)
    return SharedTokens(engine, engine.shared, store, lambda token_id: None)


async def test_gateway_tokens_that_expired_long_ago_are_deleted_some_at_a_time(redis, tmp_path):
    address = redis.address
    key = f"{address.partition('prefix=')[2]}tokens"
    long_ago = [-EXPIRED_SECONDS - 100] * (FORGOTTEN_AT_ONCE + 5)
    async with running(SealedEngine(new_redis(address), tmp_path / "keys.json")) as engine:
        await expiring(engine, tmp_path / "one.json", *long_ago, 100 - EXPIRED_SECONDS, 600).sync()
        other = TokenStore(tmp_path / "other.json")
        shared = SharedTokens(engine, engine.shared, other, lambda token_id: None)
        left = [redis.ask("HLEN", key)]
        for _ in range(2):
            await shared.sync()
            left.append(redis.ask("HLEN", key))
        assert left == [b":107\r\n", b":7\r\n", b":2\r\n"]
        assert len(other.all) == 1, "expired tokens are not taken over"


async def test_a_gateway_token_that_was_renewed_meanwhile_is_not_deleted_as_expired(redis):
    async with running(new_redis(redis.address)) as engine:
        await engine.add_token("renewed", b"new")
        await engine.add_token("expired", b"old")
        await engine.forget_tokens({"renewed": b"old", "expired": b"old", "unknown": b"old"})
        assert (await engine.tokens())[0] == {"renewed": b"new"}
