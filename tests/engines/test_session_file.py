"""The SQLite file: who may open it, what is wrong with it, and what happens when it cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import socket
import sqlite3
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_ws_ide.engines import locked_database, machine, session_file, sqlite
from mcp_ws_ide.engines.base import (
    EngineFullError,
    EngineRefusedError,
    EngineUnavailableError,
    Frame,
    Outcome,
    SessionLostError,
)
from mcp_ws_ide.engines.sqlite import SqliteEngine
from tests.conftest import BOUND, until
from tests.engines.conftest import MAX_BYTES, abandon, changed_file, new_sqlite, rows_of_log
from tests.engines.owner import Owner, committed, new_session, request


@contextlib.asynccontextmanager
async def running(engine: SqliteEngine):
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


# --- restart ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", [False, True])
async def test_sessions_survive_the_process(tmp_path, killed):
    engine = new_sqlite(tmp_path)
    await engine.start()
    owner = await Owner.of_new(engine, expires_at=9.0)
    await owner.commit(2, (b"a", b"b"), 1, added=[request(1), request(2, transmitted=False)])
    await (abandon(engine) if killed else engine.stop())
    async with running(new_sqlite(tmp_path)) as engine:
        stored = await owner_after(engine, owner)
        assert [(f.data, f.outcome) for f in stored.frames] == [
            (b"b", ""),
            (b'{"id":1}', "unknown"),
            (b'{"id":2}', "not_sent"),
        ]
        assert (stored.received, stored.base, stored.sent, stored.epoch, stored.expires_at) == (
            2,
            1,
            4,
            2,
            9.0,
        )


async def owner_after(engine, owner):
    stored = await engine.take(owner.stored.id, "alice")
    assert stored is not None
    return stored


async def test_the_log_is_compacted_while_sessions_work_and_nothing_is_lost_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "LOG_BYTES", 5000)
    engine = new_sqlite(tmp_path)
    await engine.start()
    owners = [await Owner.of_new(engine) for _ in range(5)]
    for _ in range(100):
        batches = [owner.batch(1, (b"x" * 100,), owner.stored.sent) for owner in owners]
        assert set(await asyncio.gather(*(committed(engine, batch) for batch in batches))) == {
            Outcome.COMMITTED
        }
        for owner, batch in zip(owners, batches, strict=True):
            owner.note(batch)
    await abandon(engine)
    assert len(rows_of_log(tmp_path)) < 50
    async with running(new_sqlite(tmp_path)) as engine:
        for owner in owners:
            stored = await owner_after(engine, owner)
            assert (stored.received, stored.base, stored.frames) == (100, 99, [Frame(100, b"x" * 100)])


async def test_after_the_machine_has_stopped_sessions_are_lost_unless_each_commit_was_on_the_disk(
    tmp_path, monkeypatch, caplog
):
    for durable in (False, True):
        path = tmp_path / f"{durable}.sqlite"
        monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "first"))
        engine = SqliteEngine(path, durable, MAX_BYTES)
        await engine.start()
        owner = await Owner.of_new(engine)
        await abandon(engine)
        monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "second"))
        async with running(SqliteEngine(path, durable, MAX_BYTES)) as engine:
            assert (await engine.take(owner.stored.id, "alice") is not None) is durable
            assert engine.statistics.lost["machine"] == (0 if durable else 1)
    assert "engine_durability" in caplog.text


async def test_after_the_machine_has_stopped_a_log_that_did_not_reach_the_disk_costs_no_start(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "first"))
    engine = new_sqlite(tmp_path)
    await engine.start()
    await Owner.of_new(engine)
    await abandon(engine)
    (tmp_path / "sessions.sqlite-log").unlink()
    monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "second"))
    async with running(new_sqlite(tmp_path)) as engine:
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED


def boot_file(directory: Path, name: str) -> Path:
    path = directory / name
    path.write_text(name)
    return path


async def test_a_file_that_was_closed_survives_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "first"))
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
    monkeypatch.setattr(machine, "BOOT_ID", boot_file(tmp_path, "second"))
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.take(owner.stored.id, "alice") is not None


@pytest.mark.parametrize("slow", [False, True])
async def test_a_disk_that_does_not_answer_holds_up_no_loop_once_it_was_slow(tmp_path, monkeypatch, slow):
    monkeypatch.setattr("mcp_ws_ide.engines.writer.SLOW_SECONDS", 0.0 if slow else 1e9)
    append, threads, answers = session_file.SessionFile.append, [], threading.Event()

    def hung(self, entries):
        threads.append(threading.current_thread())
        if threads[-1] is not threading.main_thread():
            answers.wait(60)
        append(self, entries)

    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        for _ in range(2):
            await owner.commit(1)
        monkeypatch.setattr(session_file.SessionFile, "append", hung)
        batch = owner.batch(1, (b"x",))
        outcome = committed(engine, batch)
        await until(lambda: threads)
        assert (threads[0] is threading.main_thread()) != slow
        assert outcome.done() or slow
        answers.set()
        assert await outcome is Outcome.COMMITTED


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_a_second_gateway_is_refused_and_the_first_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(locked_database, "LOCK_SECONDS", 0.1)
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        with pytest.raises(EngineRefusedError, match=r"in use by another gateway; .*sqlite:///path"):
            await new_sqlite(tmp_path).start()
        assert await owner.commit(1) is Outcome.COMMITTED


async def test_a_gateway_waits_for_the_one_before_it_to_stop(tmp_path):
    first, second = new_sqlite(tmp_path), new_sqlite(tmp_path)
    await first.start()
    owner = await Owner.of_new(first)
    starting = asyncio.get_running_loop().create_task(second.start())
    await asyncio.sleep(0)
    await first.stop()
    await starting
    assert await second.take(owner.stored.id, "alice") is not None
    await second.stop()


async def test_the_file_is_its_owners_alone(tmp_path, caplog):
    path = tmp_path / "deep" / "sessions.sqlite"
    async with running(SqliteEngine(path, False, MAX_BYTES)) as engine:
        await Owner.of_new(engine)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {f"sessions.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-log")}
    assert [file.name for file in path.parent.iterdir()] == ["sessions.sqlite"]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    engine = SqliteEngine(path, False, MAX_BYTES)
    await engine.start()
    log = path.with_name("sessions.sqlite-log")
    await abandon(engine)
    for file in (path, log):
        file.chmod(0o644)
    async with running(SqliteEngine(path, False, MAX_BYTES)):
        assert [stat.S_IMODE(file.stat().st_mode) for file in (path, log)] == [0o600, 0o600]
    assert "was open to other users" in caplog.text


async def test_the_file_of_another_user_is_refused(tmp_path, monkeypatch):
    async with running(new_sqlite(tmp_path)):
        pass
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EngineRefusedError, match="belongs to another user"):
        await new_sqlite(tmp_path).start()


async def refusal(path: Path) -> str:
    """Return why a file is refused, after checking that it is untouched."""
    before = content(path)
    with pytest.raises(EngineRefusedError) as refused:
        await SqliteEngine(path, False, MAX_BYTES).start()
    assert content(path) == before
    return str(refused.value)


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_directory_and_a_place_where_nothing_can_be_written_are_refused(tmp_path):
    assert "is not a file" in await refusal(tmp_path)
    assert "cannot be created" in await refusal(Path("/proc/sessions.sqlite"))
    assert "cannot be created" in await refusal(boot_file(tmp_path, "file") / "sessions.sqlite")


@pytest.mark.parametrize("suffix", ["-log", "-wal"])
@pytest.mark.parametrize("kind", ["a symbolic link", "a directory", "a named pipe", "a socket"])
@pytest.mark.parametrize("killed", [False, True])
async def test_what_is_no_file_and_has_the_name_of_a_log_is_refused_and_left_alone(
    tmp_path, suffix, kind, killed
):
    path = tmp_path / "sessions.sqlite"
    engine = new_sqlite(tmp_path)
    await engine.start()
    await (abandon(engine) if killed else engine.stop())
    beside = make(Path(f"{path}{suffix}"), kind)
    assert f"'{beside}' is {kind}, and the engine needs a file of that name" in await refusal(path)
    remove(beside, kind)
    async with running(new_sqlite(tmp_path)) as engine:
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED


def make(path: Path, kind: str) -> Path:
    """Make something that is no file."""
    path.unlink(missing_ok=True)
    if kind == "a symbolic link":
        path.symlink_to("elsewhere")
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a named pipe":
        os.mkfifo(path)
    else:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.bind(str(path))
    return path


def remove(path: Path, kind: str) -> None:
    if kind == "a directory":
        path.rmdir()
    else:
        path.unlink()


async def test_a_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE thoughts (thought TEXT)")
    path.chmod(0o644)
    assert "is a database of another program" in await refusal(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("layout", [0, -5])
async def test_a_layout_that_no_version_has_written_is_damage(tmp_path, layout):
    async with running(new_sqlite(tmp_path)):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.sqlite")) as db:
        db.execute(f"PRAGMA user_version = {layout}")
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.sessions() == []
    assert (tmp_path / "sessions.sqlite.damaged").exists()


async def test_a_file_of_a_newer_layout_is_refused(tmp_path):
    async with running(new_sqlite(tmp_path)):
        pass
    path = tmp_path / "sessions.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {locked_database.SCHEMA + 1}")
    assert "written by a newer version (layout 3; this one knows up to 2)" in await refusal(path)


async def test_a_file_of_an_older_layout_is_migrated_and_keeps_its_sessions(tmp_path, monkeypatch):
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
    monkeypatch.setattr(locked_database, "SCHEMA", 3)
    monkeypatch.setitem(locked_database.MIGRATIONS, 2, "ALTER TABLE sessions ADD COLUMN note TEXT")
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.take(owner.stored.id, "alice") is not None


@pytest.mark.parametrize("rows", [0, 1])
async def test_a_file_with_its_log_in_a_table_keeps_its_sessions_unless_the_log_holds_something(
    tmp_path, caplog, rows
):
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
    with changed_file(tmp_path) as db:
        db.execute("CREATE TABLE log (number INTEGER PRIMARY KEY, entries BLOB NOT NULL)")
        db.execute("DELETE FROM facts WHERE name IN ('log', 'held')")
        if rows:
            db.execute("INSERT INTO log VALUES (1, x'90')")
            db.execute("UPDATE facts SET value = 'no' WHERE name = 'closed'")
        db.execute("PRAGMA user_version = 1")
    async with running(new_sqlite(tmp_path)) as engine:
        assert (await engine.take(owner.stored.id, "alice") is None) == bool(rows)
        assert engine.statistics.lost["corrupt"] == rows
    assert ("its log has the form of an older version" in caplog.text) == bool(rows)


async def test_a_symbolic_link_and_its_file_are_one_file_with_one_log(tmp_path):
    engine = new_sqlite(tmp_path)
    await engine.start()
    owner = await Owner.of_new(engine)
    await abandon(engine)
    (tmp_path / "link").symlink_to(tmp_path / "sessions.sqlite")
    async with running(SqliteEngine(tmp_path / "link", False, MAX_BYTES)) as engine:
        assert await engine.take(owner.stored.id, "alice") is not None
    assert sorted(os.listdir(tmp_path)) == ["link", "sessions.sqlite"]


# --- damaged ----------------------------------------------------------------------------------------------------------


def overwrite(path: Path, start: float, end: float, data: bytes) -> None:
    """Overwrite a part of a file, given in fractions of its size."""
    size = path.stat().st_size
    first, last = int(size * start), int(size * end)
    with path.open("r+b") as file:
        file.seek(first)
        file.write((data * (last - first))[: last - first])


def start_of_last_row(log: Path) -> int:
    """Return where the last row of a log begins, in bytes from its start."""
    content, start, last = log.read_bytes(), 32, 32
    while start < len(content):
        last = start
        (length,) = struct.unpack_from("<I", content, start)
        start += 16 + length
    return last


DAMAGES: dict[str, Callable[[Path, Path, Path], object]] = {
    "not a database": lambda path, wal, log: path.write_bytes(b"MCP" * 5000),
    "one byte": lambda path, wal, log: path.write_bytes(b"x"),
    "empty": lambda path, wal, log: path.write_bytes(b""),
    "half": lambda path, wal, log: os.truncate(path, path.stat().st_size // 2),
    "zeros at the start": lambda path, wal, log: overwrite(path, 0, 0.1, b"\0"),
    "noise in the middle": lambda path, wal, log: overwrite(path, 0.3, 0.7, b"\xa5"),
    "noise at the end": lambda path, wal, log: overwrite(path, 0.8, 1, b"\x5a"),
    "half of the write-ahead log": lambda path, wal, log: os.truncate(wal, wal.stat().st_size // 2),
    "noise in the write-ahead log": lambda path, wal, log: overwrite(wal, 0.4, 0.6, b"\x77"),
    "no write-ahead log": lambda path, wal, log: wal.unlink(),
    "no file, but logs": lambda path, wal, log: path.unlink(),
    "half of the log": lambda path, wal, log: os.truncate(log, log.stat().st_size // 2),
    "noise in the log": lambda path, wal, log: overwrite(log, 0.4, 0.6, b"\x77"),
    "zeros at the end of the log": lambda path, wal, log: overwrite(log, 0.9, 1, b"\0"),
    "without the last row": lambda path, wal, log: os.truncate(log, start_of_last_row(log)),
    "without a byte of it": lambda path, wal, log: os.truncate(log, log.stat().st_size - 1),
    "an empty log": lambda path, wal, log: log.write_bytes(b""),
    "no log": lambda path, wal, log: log.unlink(),
    "the log of another file": lambda path, wal, log: overwrite(log, 0, 0.01, b"MCPWSLOG"),
}
IN_WORDS = frozenset(
    {
        *(
            "no file, but logs",
            "empty",
            "an empty log",
            "no log",
            "the log of another file",
            "noise in the log",
        ),
        *("half of the log", "zeros at the end of the log", "without the last row", "without a byte of it"),
    }
)
"""Damages that must not look like an earlier state: what the sessions did since would be done again."""


@pytest.mark.parametrize("damage", list(DAMAGES))
async def test_a_damaged_file_costs_sessions_but_no_start(tmp_path, monkeypatch, caplog, damage):
    """Each session is whole, an earlier state of itself, or gone; the damaged file is kept beside the new one."""
    monkeypatch.setattr(sqlite, "LOG_BYTES", 20_000)
    engine = new_sqlite(tmp_path)
    await engine.start()
    owners = [await Owner.of_new(engine) for _ in range(20)]
    for _ in range(10):
        await asyncio.gather(*(owner.commit(1, (b"y" * 200,)) for owner in owners))
    files = [tmp_path / f"sessions.sqlite{suffix}" for suffix in ("", "-wal", "-log")]
    for file in files:
        shutil.copy(file, f"{file}.copy")
    await engine.stop()
    for file in files:
        os.replace(f"{file}.copy", file)
    DAMAGES[damage](*files)
    async with running(new_sqlite(tmp_path)) as engine:
        for owner in owners:
            with contextlib.suppress(SessionLostError):
                stored = await engine.take(owner.stored.id, "alice")
                if stored is not None:
                    assert stored.sent == stored.received == stored.number == len(stored.frames)
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED
    aside = tmp_path / "sessions.sqlite.damaged"
    assert aside.exists() == ("is damaged" in caplog.text) == bool(engine.statistics.lost["corrupt"])
    assert aside.exists() or damage not in IN_WORDS


async def test_an_earlier_state_of_a_file_is_not_continued_beside_the_log_of_a_later_one(tmp_path, caplog):
    path = tmp_path / "sessions.sqlite"
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
    earlier = path.read_bytes()
    engine = new_sqlite(tmp_path)
    await engine.start()
    again = await Owner.taking(engine, owner.stored.id)
    assert again is not None
    await again.commit(1)
    await abandon(engine)
    path.write_bytes(earlier)
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.sessions() == []
        assert engine.statistics.lost == {"corrupt": 1}
    assert "it is older than its log" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE facts SET value = '1x' WHERE name = 'held'",
        "UPDATE facts SET value = 'zz' WHERE name = 'log'",
        "ALTER TABLE facts RENAME TO facte",
    ],
)
async def test_facts_that_are_damaged_cost_no_start(tmp_path, caplog, change):
    engine = new_sqlite(tmp_path)
    await engine.start()
    await Owner.of_new(engine)
    engine._compact()
    await until(lambda: not engine._compacting)
    await abandon(engine)
    with changed_file(tmp_path) as db:
        db.execute(change)
    async with running(new_sqlite(tmp_path)) as engine:
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED
    assert "is damaged" in caplog.text


async def test_a_record_that_cannot_be_read_costs_its_session_alone(tmp_path):
    async with running(new_sqlite(tmp_path)) as engine:
        owners = [await Owner.of_new(engine) for _ in range(3)]
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.sqlite")) as db:
        db.execute("UPDATE sessions SET record = x'c1' WHERE id = ?", (owners[1].stored.id,))
        db.commit()
    async with running(new_sqlite(tmp_path)) as engine:
        with pytest.raises(SessionLostError, match="it is not what was stored"):
            await engine.take(owners[1].stored.id, "alice")
        for owner in (owners[0], owners[2]):
            assert await engine.take(owner.stored.id, "alice") is not None
        assert engine.statistics.lost == {"damaged": 1}


async def test_a_process_that_is_killed_again_and_again_leaves_no_growing_write_ahead_log(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(session_file, "JOURNAL_BYTES", 200_000)
    files = [tmp_path / f"sessions.sqlite{suffix}" for suffix in ("", "-wal", "-log")]
    sizes = []
    for _ in range(8):
        engine = new_sqlite(tmp_path)
        await engine.start()
        await Owner.of_new(engine, facts=b"f" * 100_000)
        engine._compact()
        await until(lambda engine=engine: not engine._compacting)
        contents = [file.read_bytes() for file in files]
        sizes.append(len(contents[1]))
        await abandon(engine)
        for file, data in zip(
            files, contents, strict=True
        ):  # closing moves the write-ahead log into the file
            file.write_bytes(data)
    assert max(sizes) < 500_000
    async with running(new_sqlite(tmp_path)) as engine:
        assert len(await engine.sessions()) == 8


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("suffix", ["", "-log"])
async def test_a_file_that_is_deleted_while_it_is_open_is_written_again(
    tmp_path, monkeypatch, caplog, suffix, replaced
):
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", 0.01)
    path = tmp_path / f"sessions.sqlite{suffix}"
    engine = new_sqlite(tmp_path)
    await engine.start()
    owners = [await Owner.of_new(engine) for _ in range(3)]
    idle = await Owner.of_new(engine)
    path.unlink()
    if replaced:
        path.write_bytes(b"something else")
    for _ in range(10):
        for owner in owners:
            await commit_until_committed(owner)
    gone = f"the session file '{tmp_path / 'sessions.sqlite'}' was deleted or replaced while this gateway had it open"
    await until(lambda: f"{gone}; all sessions are now written into a new file from memory" in caplog.text)
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", 1e9)
    await until(lambda: not engine.problem and not engine._pending)
    await abandon(engine)
    async with running(new_sqlite(tmp_path)) as engine:
        assert [(await owner_after(engine, owner)).received for owner in owners] == [10, 10, 10]
        assert (await owner_after(engine, idle)).received == 0


async def test_a_file_that_is_deleted_is_missed_though_no_session_sends_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", 0.01)
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        (tmp_path / "sessions.sqlite").unlink()
        await until(lambda: (tmp_path / "sessions.sqlite").exists() and not engine.problem)
        assert (engine.statistics.commits, engine.statistics.failures) == (1, 0)
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.take(owner.stored.id, "alice") is not None


@pytest.mark.parametrize("deleted", [("",), ("", "-wal", "-log")])
async def test_a_gateway_whose_path_another_one_uses_stores_nothing_and_leaves_that_one_alone(
    tmp_path, monkeypatch, caplog, deleted
):
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", 1e9)
    async with running(new_sqlite(tmp_path)) as first:
        owner = await Owner.of_new(first)
        await until(lambda: not first._pending)
        for suffix in deleted:
            (tmp_path / f"sessions.sqlite{suffix}").unlink()
        async with running(new_sqlite(tmp_path)) as second:
            other = await Owner.of_new(second)
            first._look()
            await until(lambda: "another gateway uses the new one; stop one of the two" in first.problem)
            assert await owner.commit(1) is Outcome.FAILED
            await until(lambda: not first._pending)
            for _ in range(3):
                assert await other.commit(1) is Outcome.COMMITTED
            second._look()
            await until(lambda: not second._pending)
            assert second.problem == ""
        await until(lambda: not first.problem)
        await commit_until_committed(owner)
    assert caplog.text.count("another gateway uses the new one") == 1
    async with running(new_sqlite(tmp_path)) as engine:
        assert (await owner_after(engine, owner)).received == 1


async def test_a_gateway_that_waits_for_a_file_which_is_replaced_meanwhile_gets_the_new_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", 1e9)
    first, second = new_sqlite(tmp_path), new_sqlite(tmp_path)
    await first.start()
    owner = await Owner.of_new(first)
    await until(lambda: not first._pending)
    waiting = threading.Event()
    monkeypatch.setattr(
        locked_database.time, "sleep", lambda seconds: waiting.set() or threading.Event().wait(seconds)
    )
    starting = asyncio.get_running_loop().create_task(second.start())
    await until(waiting.is_set)
    first._writer._file.replace()
    first._all_due = True
    await first.stop()
    await starting
    assert second._writer._file.in_place
    assert await second.take(owner.stored.id, "alice") is not None
    await second.stop()


async def commit_until_committed(owner: Owner) -> None:
    batch = owner.batch(1, (b"z",))
    async with asyncio.timeout(BOUND):
        while await committed(owner.engine, batch) is Outcome.FAILED:
            pass  # each attempt takes a turn of the event loop
    owner.note(batch)


# --- no room ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_file_may_grow(limit: int = 100) -> Iterator[None]:
    """Let every write fail beyond these bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_cannot_be_written_is_failed_and_committed_once_when_it_can_be_written_again(
    tmp_path, caplog
):
    engine = new_sqlite(tmp_path)
    await engine.start()
    owners = [await Owner.of_new(engine) for _ in range(3)]
    batches = [owner.batch(1, (b"x" * 9000,), added=[request(1)]) for owner in owners]
    with no_file_may_grow():
        for _ in range(3):
            outcomes = await asyncio.gather(*(committed(engine, batch) for batch in batches))
            assert outcomes == [Outcome.FAILED] * 3
        assert engine.problem.endswith(
            "or its log, cannot grow: a file of this process may have at most 100 bytes; "
            "raise the limit (ulimit -f, LimitFSIZE=)"
        )
        for refused in (engine.create(new_session()), engine.take(owners[0].stored.id, "alice")):
            with pytest.raises(EngineUnavailableError, match="cannot grow"):
                await refused
    await until(lambda: not engine.problem)  # without anything that is sent
    assert await asyncio.gather(*(committed(engine, batch) for batch in batches)) == [Outcome.COMMITTED] * 3
    await abandon(engine)
    assert caplog.text.count("sessions cannot be stored; their messages wait") == 1
    assert caplog.text.count("sessions are stored again") == 1
    async with running(new_sqlite(tmp_path)) as engine:
        for owner in owners:
            stored = await owner_after(engine, owner)
            assert (stored.received, stored.sent, stored.number) == (1, 2, 1)
        assert len(await engine.sessions()) == 3


async def test_a_limit_on_the_size_of_files_is_kept_by_writing_the_sessions_more_often(tmp_path, caplog):
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        await until(lambda: not engine._pending)
        with no_file_may_grow(1 << 19):
            for number in range(30):
                batch = owner.batch(1, (b"x" * 50_000,), acknowledged=number)
                async with asyncio.timeout(BOUND):
                    while await committed(engine, batch) is Outcome.FAILED:
                        await until(lambda: not engine._pending)
                owner.note(batch)
        assert engine.problem == ""
    assert caplog.text.count("sessions cannot be stored") == 1, "the limit came after the start"
    async with running(new_sqlite(tmp_path)) as engine:
        assert (await owner_after(engine, owner)).received == 30


async def test_sessions_whose_gateway_has_ended_expire_though_that_cannot_be_stored_at_once(tmp_path):
    async with running(new_sqlite(tmp_path)) as engine:
        owner = await Owner.of_new(engine)
        with no_file_may_grow():
            assert await engine.orphan(5.0) == 1
        await until(lambda: not engine.problem)
        assert await engine.expire(4.0) == []  # the clock may be set back: it only takes longer
        assert await engine.expire(5.0) == [owner.stored.id]
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.sessions() == []


async def test_a_session_that_could_not_be_created_does_not_appear_later(tmp_path):
    engine = new_sqlite(tmp_path)
    await engine.start()
    stored = new_session(facts=b"f" * 50_000)
    with no_file_may_grow(), pytest.raises(EngineUnavailableError):
        await engine.create(stored)
    await until(lambda: not engine.problem)
    assert await engine.take(stored.id, "alice") is None
    await engine.stop()
    async with running(new_sqlite(tmp_path)) as engine:
        assert await engine.sessions() == []


async def test_the_file_keeps_to_its_size_and_messages_wait_until_there_is_room(tmp_path, caplog):
    limit = 1 << 20
    async with running(new_sqlite(tmp_path, limit)) as engine:
        owner, other = await Owner.of_new(engine), await Owner.of_new(engine)
        while await owner.commit(1, (b"m" * 20_000,)) is Outcome.COMMITTED:
            sizes = [
                path.stat().st_size
                for path in tmp_path.glob("sessions.sqlite*")
                if path.suffix != ".sqlite-wal"
            ]
            assert sum(sizes) <= limit + 4096
        assert "engine_max_bytes" in engine.problem
        file_full, log_full = (
            caplog.text.index(t) for t in ("the log beside it grows", "sessions cannot be stored")
        )
        assert file_full < log_full
        assert caplog.text.count("the log beside it grows") == 1
        with pytest.raises(EngineUnavailableError, match="engine_max_bytes"):
            await engine.create(new_session())
        waiting = other.batch(1, (b"n",))
        assert await committed(engine, waiting) is Outcome.FAILED
        await engine.end(owner.stored.id, 1)
        await until(lambda: not engine.problem)
        assert await committed(engine, waiting) is Outcome.COMMITTED
        assert await (await Owner.of_new(engine)).commit(1) is Outcome.COMMITTED


async def test_new_sessions_are_refused_before_there_is_no_room_for_those_that_are_open(tmp_path):
    async with running(new_sqlite(tmp_path, 1 << 20)) as engine:
        owner = await Owner.of_new(engine)
        with pytest.raises(EngineFullError, match=r"raise MCPWebSocketApp\.engine_max_bytes, or lower grace"):
            while True:
                await engine.create(new_session(facts=b"f" * 10_000))
        assert await owner.commit(1, (b"x" * 10_000,)) is Outcome.COMMITTED


async def test_the_space_of_expired_sessions_is_given_back(tmp_path):
    path = tmp_path / "sessions.sqlite"
    async with running(new_sqlite(tmp_path)) as engine:
        for _ in range(300):
            await engine.create(new_session(facts=b"f" * 100_000, expires_at=5.0))
        engine._compact()
        await until(lambda: path.stat().st_size > 20_000_000)
        assert len(await engine.expire(6.0)) == 300
        await until(lambda: path.stat().st_size < 7_000_000)
        await until(lambda: engine.statistics.bytes < 100_000)


# --- a file system that cannot be written -------------------------------------------------------------------------------


@pytest.fixture
def read_only_directory():
    """A directory of a user without rights, which this process is meanwhile."""
    directory = Path(tempfile.mkdtemp(prefix="mcp-ws-ide-"))
    nobody = 65534
    if os.geteuid() == 0:
        os.chown(directory, nobody, nobody)
        os.seteuid(nobody)
    yield directory
    directory.chmod(0o700)
    if os.getuid() == 0:
        os.seteuid(0)
    shutil.rmtree(directory)


async def test_a_file_that_must_not_be_written_is_refused(read_only_directory):
    async with running(new_sqlite(read_only_directory)):
        pass
    path = read_only_directory / "sessions.sqlite"
    path.chmod(0o400)
    assert "sessions.sqlite' cannot be written" in await refusal(path)
    path.chmod(0o600)
    read_only_directory.chmod(0o500)
    assert "cannot be written" in await refusal(path)


async def test_nothing_is_logged_while_everything_works(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        async with running(new_sqlite(tmp_path)) as engine:
            await (await Owner.of_new(engine)).commit(1)
    assert [record.message for record in caplog.records if record.name.startswith("mcp_ws_ide")] == []
