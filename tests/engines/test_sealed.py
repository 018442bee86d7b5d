"""Sealing: what the engine's files show, and what happens to sessions whose keys are lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mcp_ws_ide.engines import keys
from mcp_ws_ide.engines.base import EngineRefusedError, Frame, InFlight, Outcome, SessionLostError
from mcp_ws_ide.engines.keys import Sealer, TamperedError, UnknownKeyError, load_sealer
from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.engines.rows import Rows
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.private_files import PrivateJsonFile
from tests.engines.conftest import abandon, changed_file, new_sqlite, rows_of_log, sealed_sqlite
from tests.engines.owner import Owner, committed, new_session

CANARY = "canary-5f0e2d"


@pytest.fixture(params=["rows", "values"])
def sealed(request):
    """Makes engines on files that seal whole rows, or each value."""

    def made(directory: Path) -> Any:
        if request.param == "rows":
            return sealed_sqlite(directory)
        return SealedEngine(new_sqlite(directory), directory / "keys.json")

    return made


@contextlib.asynccontextmanager
async def running(engine: Any):
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


# --- what is in the file ----------------------------------------------------------------------------------------------


async def test_no_file_beside_the_keys_holds_a_secret_at_any_time(tmp_path, sealed):
    """Planted wherever a session has user data; found in no file, of the log, the sessions, and what was deleted."""
    planted = iter(f"{CANARY}-{number}".encode() for number in range(1000))

    def look() -> None:
        for path in tmp_path.iterdir():
            data = path.read_bytes()
            assert CANARY.encode() not in data, path.name
            assert CANARY.encode().hex().encode() not in data, path.name
        assert any(path.suffix == ".sqlite" for path in tmp_path.iterdir())

    async with running(sealed(tmp_path)) as engine:
        stored = new_session(principal=next(planted).decode(), facts=next(planted), state=next(planted))
        stored.frames, stored.sent = [Frame(1, next(planted)), Frame(2, next(planted), droppable=True)], 2
        stored.in_flight = [
            InFlight(next(planted), next(planted)),
            InFlight(next(planted), next(planted), False),
        ]
        await engine.create(stored)
        owner = Owner(engine, stored)
        for _ in range(20):
            key = next(planted)
            more = {"added": [InFlight(key, next(planted))], "state": next(planted), "facts": next(planted)}
            assert await owner.commit(1, (next(planted), next(planted)), **more) is Outcome.COMMITTED
            assert await owner.commit(0, (next(planted),), 3, removed=[key]) is Outcome.COMMITTED
        look()
        getattr(engine, "_inner", engine)._compact()
        taken = await engine.take(stored.id, stored.principal)
        assert taken is not None
        assert taken.principal == stored.principal
        await engine.rewrite(msgspec.structs.replace(taken, state=next(planted)))
        look()
        await engine.end(stored.id, taken.epoch)
        look()
    look()


async def test_what_was_sealed_opens_only_in_its_place(tmp_path):
    inner = MemoryEngine()
    engine = SealedEngine(inner, tmp_path / "keys.json")
    await engine.start()
    for moved in ("facts", "state", "frames", "in_flight"):
        first, second = new_session(), new_session()
        for stored in (first, second):
            stored.frames, stored.sent, stored.in_flight = [Frame(1, b"f")], 1, [InFlight(b"1", b"detail")]
            await engine.create(stored)
        source, target = (inner.table.by_id[stored.id] for stored in (first, second))
        if moved == "in_flight":
            target.in_flight = dict(source.in_flight)
        else:
            setattr(target.stored, moved, getattr(source.stored, moved)[:])
        with pytest.raises(SessionLostError, match="it is not what was stored") as lost:
            await engine.take(second.id, "alice")
        assert lost.value.cause == "damaged"
        assert await engine.take(second.id, "alice") is None
        assert await engine.take(first.id, "alice") is not None
    assert engine.statistics.lost == {"damaged": 4}


async def test_a_row_opens_only_in_its_place(tmp_path):
    async with running(sealed_sqlite(tmp_path)) as engine:
        first, second, third = [await Owner.of_new(engine) for _ in range(3)]
    with changed_file(tmp_path) as db:
        (row,) = db.execute("SELECT record FROM sessions WHERE id = ?", (first.stored.id,)).fetchone()
        db.execute("UPDATE sessions SET record = ? WHERE id = ?", (row, second.stored.id))
    async with running(sealed_sqlite(tmp_path)) as engine:
        with pytest.raises(SessionLostError, match="it is not what was stored"):
            await engine.take(second.stored.id, "alice")
        assert await engine.take(second.stored.id, "alice") is None
        assert await engine.take(first.stored.id, "alice") is not None
        assert await engine.take(third.stored.id, "alice") is not None
        assert engine.statistics.lost == {"damaged": 1}


LOG_CHANGES = {
    "a row is missing": lambda rows: rows[1:],
    "other numbers": lambda rows: [(number + 100, row) for number, row in rows],
    "cut": lambda rows: [(number, row[:40]) for number, row in rows],
    "two places": lambda rows: [(1, rows[1][1]), (2, rows[0][1]), *rows[2:]],
}


@pytest.mark.parametrize("change", list(LOG_CHANGES))
async def test_a_log_that_was_changed_costs_the_sessions_that_it_would_have_continued(tmp_path, change):
    engine = sealed_sqlite(tmp_path)
    await engine.start()
    owner = await Owner.of_new(engine)
    assert await owner.commit(1) is Outcome.COMMITTED
    await abandon(engine)
    rows_of_log(tmp_path, LOG_CHANGES[change])
    async with running(sealed_sqlite(tmp_path)) as engine:
        assert await engine.take(owner.stored.id, "alice") is None
        assert engine.statistics.lost == {"corrupt": 1}


async def test_without_the_key_of_the_log_no_session_goes_on_as_it_was_before(tmp_path):
    """What the log holds was done; a session without it would do that again. A crash right after changes nothing."""
    async with running(sealed_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
    keys_file = tmp_path / "keys.json"
    content = json.loads(keys_file.read_bytes())
    newer = {"id": "00000000", "created": time.time(), "secret": content["keys"][0]["secret"]}
    keys_file.write_text(json.dumps({**content, "keys": [*content["keys"], newer]}))
    engine = sealed_sqlite(tmp_path)
    await engine.start()
    taker = await Owner.taking(engine, owner.stored.id)
    assert taker is not None
    assert await taker.commit(1) is Outcome.COMMITTED
    await abandon(engine)
    assert rows_of_log(tmp_path)
    with changed_file(tmp_path) as db:  # the rows are those of the first key again
        first = Rows(tmp_path / "first.json")
        (tmp_path / "first.json").write_text(json.dumps(content))
        first.load_keys()
        db.execute("UPDATE sessions SET record = ?", (first.session(owner.stored),))
    keys_file.write_text(json.dumps(content))
    for lost in ({"key": 1}, {}):
        engine = sealed_sqlite(tmp_path)
        opened = engine._writer.open()
        assert (opened.table.by_id, opened.lost) == ({}, lost)
        engine._writer._file.close()


async def test_two_frames_of_a_session_cannot_change_places(tmp_path):
    inner = MemoryEngine()
    engine = SealedEngine(inner, tmp_path / "keys.json")
    await engine.start()
    stored = new_session(frames=[Frame(1, b"a"), Frame(2, b"b")], sent=2)
    await engine.create(stored)
    one, two = inner.table.by_id[stored.id].stored.frames
    inner.table.by_id[stored.id].stored.frames[:] = [
        msgspec.structs.replace(one, data=two.data),
        msgspec.structs.replace(two, data=one.data),
    ]
    with pytest.raises(SessionLostError):
        await engine.take(stored.id, "alice")


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_key_file_is_its_owners_alone_and_the_same_each_time(tmp_path, caplog):
    path = tmp_path / "deep" / "keys.json"
    sealed_value = load_sealer(path).seal(b"value", b"place")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_sealer(path).open(sealed_value, b"place") == b"value"
    path.chmod(0o640)
    load_sealer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "was open to other users" in caplog.text


def test_a_directory_in_place_of_the_key_file_is_refused_and_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(EngineRefusedError, match="is not a file"):
        load_sealer(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_key_file_on_a_read_only_mount_is_used_but_not_rotated_unless_it_is_open_to_all(
    tmp_path, monkeypatch, caplog
):
    """As Kubernetes mounts a secret: a symbolic link to a file whose mode and content cannot be changed."""

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    load_sealer(tmp_path / "data.json")
    path = tmp_path / "keys.json"
    path.symlink_to("data.json")
    value, content = load_sealer(path).seal(b"value", b"place"), path.read_bytes()
    later = time.time() + 100 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    caplog.set_level("INFO")
    path.chmod(0o440)
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(PrivateJsonFile, "write", refuse)
    assert load_sealer(path).open(value, b"place") == b"value"
    assert (path.is_symlink(), path.read_bytes()) == (True, content)
    assert "is not rotated, as it cannot be written: Read-only file system" in caplog.text
    monkeypatch.undo()
    path.chmod(0o444)
    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(EngineRefusedError, match="is open to all users; set its mode to 0640 or 0440"):
        load_sealer(path)


def test_the_key_file_of_another_user_is_refused(tmp_path, monkeypatch):
    load_sealer(tmp_path / "keys.json")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(keys, "ADMINISTRATOR", os.getuid() + 2)
    with pytest.raises(EngineRefusedError, match="belongs to another user"):
        load_sealer(tmp_path / "keys.json")


def test_the_key_file_of_the_administrator_is_used_unless_it_is_open_to_all(tmp_path, monkeypatch):
    fingerprint = load_sealer(tmp_path / "keys.json").fingerprint
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(keys, "ADMINISTRATOR", os.getuid())
    (tmp_path / "keys.json").chmod(0o640)
    assert load_sealer(tmp_path / "keys.json").fingerprint == fingerprint
    (tmp_path / "keys.json").chmod(0o644)
    with pytest.raises(EngineRefusedError, match="open to all users"):
        load_sealer(tmp_path / "keys.json")


def test_keys_that_several_gateways_have_are_not_rotated(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "ROTATE_SECONDS", -1.0)
    load_sealer(tmp_path / "keys.json")
    before = (tmp_path / "keys.json").read_bytes()
    load_sealer(tmp_path / "keys.json", rotate=False)
    assert (tmp_path / "keys.json").read_bytes() == before
    load_sealer(tmp_path / "keys.json")
    assert (tmp_path / "keys.json").read_bytes() != before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"principals":"x","keys":[]}', b'{"principals":"AAAA","keys":[]}', b"\xff\xfe"],
)
def test_a_key_file_that_cannot_be_used_is_renamed_and_replaced(tmp_path, caplog, content):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    load_sealer(path).seal(b"value", b"place")
    assert (tmp_path / "keys.json.damaged").read_bytes() == content
    assert "the key file is damaged, and was renamed" in caplog.text


def test_a_key_file_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (Path("/proc/keys.json"), tmp_path / "file" / "keys.json"):
        with pytest.raises(EngineRefusedError, match="the key file"):
            load_sealer(path)


def test_a_new_key_seals_after_a_month_and_the_old_ones_open_for_another(tmp_path, monkeypatch):
    path, start = tmp_path / "keys.json", time.time()
    values = []
    for days in (0, 20, 31, 62):
        monkeypatch.setattr(time, "time", lambda days=days: start + days * 86400)
        values.append(load_sealer(path).seal(b"%d" % days, b"place"))
    ids = [value[: keys.ID_BYTES] for value in values]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    sealer = load_sealer(path)
    assert [sealer.open(value, b"place") for value in values[2:]] == [b"31", b"62"]
    with pytest.raises(UnknownKeyError):
        sealer.open(values[0], b"place")


def test_the_hash_of_a_principal_survives_every_rotation(tmp_path, monkeypatch):
    path, start = tmp_path / "keys.json", time.time()
    sealer = load_sealer(path)
    first, value = sealer.principal("alice"), sealer.seal(b"value", b"place")
    monkeypatch.setattr(time, "time", lambda: start + 300 * 86400)
    assert load_sealer(path).principal("alice") == first
    assert load_sealer(path).open(value, b"place") == b"value"  # the newest key until then is kept
    assert len(json.loads(path.read_bytes())["keys"]) == 2


def test_keys_work_as_before_when_the_clock_is_set_back(tmp_path, monkeypatch):
    path, start = tmp_path / "keys.json", time.time()
    value = load_sealer(path).seal(b"value", b"place")
    monkeypatch.setattr(time, "time", lambda: start - 1000 * 86400)
    assert load_sealer(path).open(value, b"place") == b"value"
    assert len(json.loads(path.read_bytes())["keys"]) == 1


def test_no_nonce_is_used_twice(tmp_path):
    sealer = load_sealer(tmp_path / "keys.json")
    start, end = keys.ID_BYTES, keys.ID_BYTES + keys.NONCE_BYTES
    nonces = {sealer.seal(b"", b"")[start:end] for _ in range(5000)}
    sealer._count = keys.NONCES_PER_PREFIX - 2
    nonces |= {sealer.seal(b"", b"")[start:end] for _ in range(5000)}
    assert len(nonces) == 10_000


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_value_that_is_cut_or_changed_does_not_open(tmp_path, length):
    sealer: Sealer = load_sealer(tmp_path / "keys.json")
    value = sealer.seal(b"a value of some length", b"place")
    for wrong in (value[:length], value[:length] + b"\0" + value[length + 1 :]):
        if wrong != value:
            with pytest.raises((TamperedError, UnknownKeyError)):
                sealer.open(wrong, b"place")


# --- lost keys --------------------------------------------------------------------------------------------------------


async def test_without_their_keys_sessions_are_lost_and_the_gateway_starts(tmp_path, sealed, caplog):
    async with running(sealed(tmp_path)) as engine:
        owners = [await Owner.of_new(engine) for _ in range(3)]
    (tmp_path / "keys.json").unlink()
    async with running(sealed(tmp_path)) as engine:
        with contextlib.suppress(SessionLostError):
            assert await engine.take(owners[0].stored.id, "alice") is None
        assert await engine.sessions() == []
        assert engine.statistics.lost == {"key": 3}
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED
    keys = tmp_path / "keys.json"
    assert f"stored sessions that are lost, because their keys are not in '{keys}': 3" in caplog.text


async def test_without_the_keys_of_its_log_sessions_that_only_the_log_had_are_not_lost_silently(
    tmp_path, caplog
):
    engine = sealed_sqlite(tmp_path)
    await engine.start()
    await Owner.of_new(engine)
    await abandon(engine)
    (tmp_path / "keys.json").unlink()
    async with running(sealed_sqlite(tmp_path)) as engine:
        assert engine.statistics.lost == {"key": 1}
    assert f"because their keys are not in '{tmp_path / 'keys.json'}': at least 1" in caplog.text


async def test_a_session_whose_key_was_removed_is_lost_and_the_others_go_on(tmp_path, sealed):
    path = tmp_path / "keys.json"
    async with running(sealed(tmp_path)) as engine:
        lost = await Owner.of_new(engine)
    content = json.loads(path.read_bytes())
    content["keys"] = [{"id": "00000000", "created": time.time(), "secret": content["keys"][0]["secret"]}]
    path.write_text(json.dumps(content))
    async with running(sealed(tmp_path)) as engine:
        kept = await Owner.of_new(engine)
        with pytest.raises(SessionLostError, match=r"its key [0-9a-f]{8} is not in") as error:
            await engine.take(lost.stored.id, "alice")
        assert error.value.cause == "key"
        assert await kept.commit(1) is Outcome.COMMITTED


async def test_a_session_that_is_taken_over_is_sealed_with_the_newest_key(tmp_path, sealed, monkeypatch):
    start = time.time()
    async with running(sealed(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        await owner.commit(1, (b"a",), added=[InFlight(b"1", b"detail")])
    monkeypatch.setattr(time, "time", lambda: start + 31 * 86400)
    async with running(sealed(tmp_path)) as engine:
        first = await engine.take(owner.stored.id, "alice")
    content = json.loads((tmp_path / "keys.json").read_bytes())
    content["keys"] = content["keys"][-1:]
    (tmp_path / "keys.json").write_text(json.dumps(content))
    async with running(sealed(tmp_path)) as engine:
        assert await engine.take(owner.stored.id, "alice") == msgspec.structs.replace(
            first, epoch=first.epoch + 1
        )


async def test_the_same_batch_sealed_again_is_committed_once(tmp_path, sealed):
    async with running(sealed(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        batch = owner.batch(1, (b"x",), added=[InFlight(b"1", b"detail")])
        assert await asyncio.gather(*(committed(engine, batch) for _ in range(3))) == [Outcome.COMMITTED] * 3
        stored = await owner.taken()
        assert [frame.data for frame in stored.frames] == [b"x", b"detail"]
