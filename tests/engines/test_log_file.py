"""The log beside a session file: rows survive whatever happens to a later one, and nothing else passes for a row."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_ws_ide.engines.log_file import DamagedFileError, LogFile

ROWS = [(number, bytes([64 + number]) * (number * 7)) for number in range(1, 5)]


@contextlib.contextmanager
def written(path: Path, durable: bool = False) -> Iterator[str]:
    """Write a log and leave it as a killed process does; yield its token."""
    log = LogFile(path, durable)
    token = log.create()
    for row in ROWS:
        log.append(*row)
    log.close()
    yield token


def read(path: Path, token: str, durable: bool = False) -> list[tuple[int, bytes]]:
    """Read a log, and check that what is appended then follows."""
    log = LogFile(path, durable)
    log.open(token)
    with contextlib.closing(log):
        rows = list(log.rows())
        log.append(9, b"next")
        assert list(log.rows()) == [*rows, (9, b"next")]
    return rows


@pytest.mark.parametrize("durable", [False, True])
def test_rows_are_read_in_their_order(tmp_path, durable):
    with written(tmp_path / "log", durable) as token:
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
        assert read(tmp_path / "log", token, durable) == ROWS


def unreported(content: bytes, number: int = len(ROWS) - 1) -> bytes:
    """Return a log as it is before the head names the last row."""
    return content[:24] + struct.pack("<Q", number) + content[32:]


def test_of_a_row_that_was_written_in_part_nothing_is_left_and_those_before_it_are_whole(tmp_path):
    path = tmp_path / "log"
    with written(path) as token:
        content = unreported(path.read_bytes())
        last = len(content) - len(ROWS[-1][1]) - 16
        for size in range(last, len(content)):
            path.write_bytes(content[:size])
            assert read(path, token) == ROWS[:-1]
        path.write_bytes(content)
        assert read(path, token) == ROWS


@pytest.mark.parametrize("noise", [b"\0", b"\xa5"])
def test_a_last_row_that_reached_the_disk_in_part_is_cut_off_if_the_log_is_durable(tmp_path, noise):
    path = tmp_path / "log"
    with written(path, durable=True) as token:
        content = bytearray(unreported(path.read_bytes()))
        content[-5:] = noise * 5
        path.write_bytes(content)
        assert read(path, token, durable=True) == ROWS[:-1]


def test_a_log_that_was_cut_anywhere_is_damaged_if_a_row_is_missing_that_was_reported(tmp_path):
    path = tmp_path / "log"
    with written(path) as token:
        content = path.read_bytes()
        for size in range(len(content)):
            path.write_bytes(content[:size])
            with pytest.raises(DamagedFileError, match="row 4 was committed" if size >= 32 else "another"):
                read(path, token)
            assert path.read_bytes() == content[:size]


@pytest.mark.parametrize("noise", [b"\0", b"\xa5"])
def test_a_last_row_that_was_reported_and_has_changed_is_damage_if_the_log_is_durable(tmp_path, noise):
    path = tmp_path / "log"
    with written(path, durable=True) as token:
        content = bytearray(path.read_bytes())
        content[-5:] = noise * 5
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="the last that can be read is 3"):
            read(path, token, durable=True)
        assert path.read_bytes() == content


@pytest.mark.parametrize("held", [0, 3, 4, 5])
def test_rows_that_the_sessions_include_may_be_missing(tmp_path, held):
    path = tmp_path / "log"
    with written(path) as token:
        os.truncate(path, 32)
        log = LogFile(path, False)
        log.open(token)
        missing = pytest.raises(DamagedFileError, match=r"row 4 was committed, and the last .* is none")
        with contextlib.closing(log), missing if held < 4 else contextlib.nullcontext():
            assert list(log.rows(held)) == []


def test_zeros_after_the_last_row_are_no_row(tmp_path):
    path = tmp_path / "log"
    with written(path, durable=True) as token:
        with path.open("ab") as file:
            file.write(bytes(500))
        assert read(path, token, durable=True) == ROWS


def test_a_damaged_row_with_others_after_it_is_damage(tmp_path):
    path = tmp_path / "log"
    with written(path, durable=True) as token:
        content = bytearray(path.read_bytes())
        content[content.index(ROWS[1][1])] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="is damaged, 23 bytes from the first"):
            read(path, token, durable=True)


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_row_whose_length_is_damaged_is_no_half_row_while_another_follows(tmp_path, damaged):
    path = tmp_path / "log"
    with written(path) as token:
        content = bytearray(path.read_bytes())
        content[content.index(ROWS[damaged][1]) - 14] ^= 0x40  # 4 MiB more
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="is damaged"):
            read(path, token)
        assert path.read_bytes() == content


def test_the_log_of_another_file_and_a_missing_one_are_damage(tmp_path):
    path = tmp_path / "log"
    with written(path), pytest.raises(DamagedFileError, match="belongs to another file"):
        read(path, "00" * 16)
    path.unlink()
    with pytest.raises(DamagedFileError, match="is missing"):
        read(path, "00" * 16)


@pytest.mark.parametrize("room", [0, 1, 16, 20, 500])
def test_a_row_for_which_there_is_no_room_is_not_there_and_the_next_one_takes_its_place(tmp_path, room):
    path = tmp_path / "log"
    log = LogFile(path, False)
    token = log.create()
    log.append(*ROWS[0])
    like_rows = (struct.pack("<IIQ", 3, 0, 7) + b"abc") * 60
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            log.append(2, like_rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(2, b"y" * 19)  # ends where one of these would begin
    log.close()
    assert read(path, token) == [ROWS[0], (2, b"y" * 19)]


def test_a_log_that_is_created_replaces_a_file_or_a_symbolic_link_and_does_not_follow_it(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "log").symlink_to(tmp_path / "precious")
    with written(tmp_path / "log") as token:
        assert read(tmp_path / "log", token) == ROWS
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_cleared_log_is_empty_and_a_deleted_one_is_gone(tmp_path):
    log = LogFile(tmp_path / "log", False)
    log.create()
    log.append(*ROWS[0])
    log.clear()
    assert (log.size, list(log.rows())) == (0, [])
    assert log.in_place
    log.delete()
    assert os.listdir(tmp_path) == []
