"""Recordings: written records can be read, whatever happens to the file."""

from __future__ import annotations

import json
import os
import stat
import time
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ws_ide.inspector.export import private_file
from mcp_ws_ide.inspector.recording import VERSION, Header, Recorder, Recording, RecordingError
from tests.inspector.records import Transcript, call

NAMES = ["r.jsonl", "r.jsonl.zst"]


def some_lines(count: int) -> list[str]:
    transcript = Transcript()
    return [transcript.message("c>", call(number, "té\u202e🎉")) for number in range(count)]


def everything(path: str) -> tuple[list[str], str]:
    recording = Recording(path)
    lines = [line for batch in recording.batches(7) for line in batch]
    recording.close()
    return lines, recording.note


def write(path: str, batches: list[list[str]], header: Header | None = None) -> None:
    with Recorder(path, header or Header(12.5, "http://user:pass@host:1/base/", "run-7")) as recorder:
        for batch in batches:
            recorder.write(batch)


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_read_back_with_its_header_and_is_private(tmp_path, name):
    path, lines = str(tmp_path / name), some_lines(100)
    write(path, [lines[:1], [], lines[1:]])
    assert everything(path) == (lines, "")
    recording = Recording(path)
    assert (recording.header.time, recording.header.instance) == (12.5, "run-7")
    assert recording.header.gateway == "http://host:1/base/", "a credential in the address is left out"
    recording.close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_opens_up_to_its_last_complete_line_and_is_reported(
    tmp_path_factory, name, share
):
    path, lines = str(tmp_path_factory.mktemp("r") / name), some_lines(40)
    write(path, [[line] for line in lines])
    size = os.path.getsize(path)
    os.truncate(path, int(share * size))
    try:
        read, note = everything(path)
    except RecordingError as error:
        assert "not a recording" in str(error), "not even the header is there"
        return
    assert read == lines[: len(read)]
    if read != lines:
        whole = name == "r.jsonl" and not note  # cut exactly after a line
        assert whole or "is truncated" in note


def test_a_killed_process_loses_nothing_that_was_written(tmp_path):
    for name in NAMES:
        path, lines = str(tmp_path / name), some_lines(50)
        child = os.fork()
        if child == 0:
            recorder = Recorder(path, Header())
            recorder.write(lines)
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        assert everything(path)[0] == lines


def test_a_damaged_compressed_file_is_read_up_to_the_damage(tmp_path):
    path = tmp_path / "r.jsonl.zst"
    lines = some_lines(2000)
    write(str(path), [lines[start : start + 100] for start in range(0, 2000, 100)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    path.write_bytes(data)
    read, note = everything(str(path))
    assert 0 < len(read) < 2000
    assert read[:100] == lines[:100]
    assert "damaged" in note


def test_frames_that_follow_each_other_are_one_recording(tmp_path):
    lines = some_lines(10)
    one, other = tmp_path / "1.zst", tmp_path / "2.zst"
    write(str(one), [lines])
    write(str(other), [lines])
    whole = tmp_path / "whole.zst"
    whole.write_bytes(one.read_bytes() + other.read_bytes())
    read, note = everything(str(whole))
    assert (read[:10], read[11:], note) == (lines, lines, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps({"format": "mcp-ws-recording", "version": VERSION + 1}), f"version {VERSION + 1}"),
        (json.dumps({"format": "mcp-ws-recording", "version": "1"}), "no valid format version"),
        (json.dumps({"format": "har", "version": 1}), "not a recording of mcp-ws-inspect"),
        ("[1, 2]", "not a recording"),
        ("", "not a recording: it is empty"),
        ("\x00\x01\x02", "not a recording: it does not begin with a JSON object"),
        ("[" * 100_000, "not a recording"),
    ],
)
def test_a_file_that_is_no_recording_or_too_new_is_refused_with_a_reason(tmp_path, text, words):
    path = tmp_path / "r"
    path.write_text(text)
    with pytest.raises(RecordingError, match=words):
        Recording(str(path))


def test_records_without_a_header_are_taken_as_tail_prints_them(tmp_path):
    path, lines = tmp_path / "tail", some_lines(3)
    path.write_text("\n".join(lines) + "\n")
    assert everything(str(path)) == (lines, "")


def test_an_existing_file_is_overwritten_only_on_request(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("precious")
    path.chmod(0o644)
    with pytest.raises(RecordingError, match="--force"):
        Recorder(str(path), Header())
    assert path.read_text() == "precious"
    Recorder(str(path), Header(), overwrite=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert everything(str(path)) == ([], "")


def test_a_full_disk_is_reported():
    with pytest.raises(RecordingError, match="/dev/full cannot be written: No space left"):
        Recorder("/dev/full", Header())


def bomb(path: Path, line: bytes, mib: int) -> None:
    """A small compressed file that holds that many MiB of one line."""
    compress = zstandard.ZstdCompressor(level=3).compressobj()
    header = Header(1.0, "http://x/").line().encode() + b"\n"
    block = line * ((1 << 20) // len(line))
    path.write_bytes(
        compress.compress(header) + b"".join(compress.compress(block) for _ in range(mib)) + compress.flush()
    )


@pytest.mark.parametrize(
    "line", [b"\0", b'{"kind":"x","raw":"%b"}\n' % (b"x" * 1000)], ids=["no line", "lines"]
)
def test_a_small_file_that_holds_gigabytes_is_refused_in_little_memory(tmp_path, line):
    path = tmp_path / "bomb.zst"
    bomb(path, line, 320)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        refused = pytest.raises(RecordingError, match=r"--max-mib|more than 64 MiB")
        with closing(Recording(str(path))) as recording, refused:
            for _ in recording.batches():
                pass
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_expands_far_is_read_on_request(tmp_path):
    path = tmp_path / "much.zst"
    line = json.dumps({"kind": "event", "raw": "x" * 1000}).encode() + b"\n"
    bomb(path, line, 100)
    with closing(Recording(str(path))) as refused, pytest.raises(RecordingError, match="--max-mib"):
        list(refused.batches())
    with closing(Recording(str(path), 128 << 20)) as recording:
        records = sum(map(len, recording.batches()))
    assert records == 100 * ((1 << 20) // len(line))


@pytest.mark.parametrize(
    "make", [lambda path: Recorder(path, Header(), overwrite=True), lambda path: private_file(path, True)]
)
def test_overwriting_replaces_the_file_whoever_may_read_it_and_wherever_a_link_leads(tmp_path, make):
    victim, link, readable = tmp_path / "victim", tmp_path / "link", tmp_path / "readable"
    victim.write_text("precious")
    link.symlink_to(victim)
    readable.write_text("old")
    readable.chmod(0o644)
    for path in (link, readable):
        make(str(path)).close()
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("chunk", [b"x", b"{"])
def test_an_endless_line_is_refused_in_time_linear_in_its_length(tmp_path, chunk):
    """What has arrived of the line is not copied with each piece, which takes 20 s."""
    path = tmp_path / "r.jsonl"
    with path.open("wb") as file:
        file.write(Header(1.0, "http://x/").line().encode() + b"\n")
        file.writelines(chunk * (1 << 20) for _ in range(80))
    began = time.process_time()
    with closing(Recording(str(path))) as recording, pytest.raises(RecordingError, match="more than 64 MiB"):
        list(recording.batches())
    assert time.process_time() - began < 8
