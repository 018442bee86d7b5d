"""What a stream of bytes is split into: lines, messages on several lines, frames, and what never ends."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from mcp_ws_ide.core import reader, stand_ins
from mcp_ws_ide.core.frames import FrameSplitter, framed
from mcp_ws_ide.transports import lines as lines_module
from mcp_ws_ide.transports.lines import MessageLines
from tests.conftest import until
from tests.transports.peers import Recorder

ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {"text": 'a "quoted" {brace', "list": [1, {"x": []}]}}
LINE = json.dumps(ANSWER).encode()


def fed(data: bytes, rng: random.Random | None = None, limit: int = 10_000) -> Recorder:
    """Feed a stream, in pieces of any size."""
    receiver, stream = Recorder(), MessageLines(limit, "stdout")
    at = 0
    while at < len(data):
        size = rng.randrange(1, 40) if rng is not None else len(data)
        stream.feed(data[at : at + size], receiver)
        at += size
    stream.finish(receiver)
    return receiver


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "data",
    [
        LINE + b"\n" + LINE + b"\n",
        LINE + b"\r\n\r\n" + LINE,
        json.dumps(ANSWER, indent=2).encode() + b"\n" + LINE + b"\n",
        json.dumps(ANSWER, indent=0).encode() + b"\n" + json.dumps(ANSWER, indent=4).encode() + b"\n",
        b"\xff\xfe" + (LINE + b"\n" + LINE + b"\n").decode().encode("utf-16-le"),
        (LINE + b"\n" + LINE + b"\n").decode().encode("utf-16"),
        b"Content-Length: %d\r\n\r\n%b" % (len(LINE), LINE) * 2,
        b"content-type: application/json\r\nContent-Length:%d\r\n\r\n%b" % (len(LINE), LINE) + LINE + b"\n",
        framed(LINE) + b"\n" + framed(LINE) + b"\n",
        b"started\n" + LINE + b"\n[INFO] {x} ready\n" + LINE,
    ],
)
async def test_messages_are_found_in_pieces_of_any_size(data, seed):
    if data.startswith(b"content-type"):
        data = data.replace(b"content-type: application/json\r\n", b"")
    receiver = fed(data, random.Random(seed) if seed else None)
    assert [json.loads(message) for message in receiver.messages] == [ANSWER, ANSWER]


@pytest.mark.parametrize(
    "encodings",
    [
        *("utf-16 utf-8", "utf-8 utf-16 utf-8", "utf-16 utf-8 utf-16", "utf-16-be utf-8"),
        *("utf-8 utf-32 utf-8", "utf-8 utf-32-le utf-32-le utf-8", "utf-8 utf-32-be utf-32-be utf-8"),
    ],
)
async def test_a_server_may_change_its_encoding_between_lines(encodings):
    receiver, stream = Recorder(), MessageLines(10_000, "stdout")
    for encoding in encodings.split():
        stream.feed((LINE + b"\n").decode().encode(encoding), receiver)
    stream.finish(receiver)
    assert [json.loads(message) for message in receiver.messages] == [ANSWER] * len(encodings.split())


async def test_a_line_break_in_a_string_is_part_of_the_message():
    receiver = fed(b'{"jsonrpc":"2.0","id":1,"result":{"t":"a\nb"}}\n' + LINE + b"\n")
    assert receiver.messages == [b'{"jsonrpc":"2.0","id":1,"result":{"t":"a\nb"}}', LINE]


async def test_a_message_that_never_ends_does_not_take_the_next_one_along():
    receiver = fed(b'{"jsonrpc":"2.0","id":1,"result":{"t\n' + LINE + b"\n")
    assert receiver.messages == [b'{"jsonrpc":"2.0","id":1,"result":{"t', LINE]


async def test_text_in_brackets_and_braces_is_noise_at_once():
    receiver = fed(b"[INFO] started\n{started}\n[1/3]\n")
    assert [text for _, text in receiver.noise] == ["[INFO] started", "[1/3]"]
    assert receiver.messages == [b"{started}"]


TEXTS = [
    *(
        b"2026-01-01 INFO ready",
        b"",
        b"  indented  ",
        b"[INFO] {x} ready",
        b"x" * 3000,
        "größe".encode("latin-1"),
    ),
    *(b'{"level": "info", "msg": "a {b"}', b'{"level":"warn","n":{"a":[1]}}\r', b"a\rb\r", b"Http 1.1"),
]
"""What is passed on together."""
ODD = [
    *(
        b"[",
        b"Http/1.1 200",
        b"[ {",
        b"\tat <main>",
        b"<p>x</p>",
        b"a\x01b",
        b'say "id": 7',
        b"{x}",
        b'{"cut": 1',
        b'{"error": "x"}',
    ),
    *(LINE, json.dumps(ANSWER, indent=1).encode(), b"  " + LINE, b"text " + LINE, b"{", b"}", b"\0a\0b"),
]


class Heard(Recorder):
    """Keeps messages and text in one order; what is surely a record of a log counts as text."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str | bytes] = []

    def message_received(self, message: bytes) -> None:
        is_text = message[:1] == b"{" and reader.is_log_record(message)
        self.all.append(lines_module.printable(message) if is_text else message)

    def noise_received(self, source: str, text: str) -> None:
        super().noise_received(source, text)
        self.all += text.split("\n")


@pytest.mark.parametrize("seed", range(8))
async def test_a_flood_of_text_is_read_as_its_lines_are(seed):
    rng = random.Random(seed)
    together, one_by_one = MessageLines(1 << 20, "stdout"), MessageLines(1 << 20, "stdout")
    heard, expected = Heard(), Heard()
    for _ in range(8):
        lines = rng.choices(TEXTS, k=rng.randrange(40, 200))
        if rng.random() < 0.3:
            lines.insert(rng.randrange(len(lines)), rng.choice(ODD))
        together.feed(b"\n".join(lines) + b"\n", heard)
        for line in (*lines, b"text"):
            one_by_one.feed(line + b"\n", expected)
        together.feed(b"text\n", heard)
    together.finish(heard)
    one_by_one.finish(expected)
    assert heard.all == expected.all
    assert len(heard.all) > 100


async def test_a_message_without_a_line_end_is_taken_after_a_while(monkeypatch):
    monkeypatch.setattr(lines_module, "LOOK_INTERVAL", 0.05)
    receiver, stream = Recorder(), MessageLines(10_000, "stdout")
    stream.feed(LINE, receiver)
    await until(lambda: receiver.messages)
    stream.feed(b"\n" + LINE, receiver)
    await until(lambda: len(receiver.messages) == 2)
    assert receiver.messages == [LINE, LINE]
    assert [text for _, text in receiver.noise if "line end" in text]


@pytest.mark.parametrize("frames", [b"", b"Content-Length: 2\r\n\r\n{}"])
@pytest.mark.parametrize(
    "written",
    [gzip.compress(LINE, mtime=0), b"<a>x</a>", b"Content-Length: 9", b"Content-Length: 9\r\n\r\n", b"\x01"],
    ids=["gzip", "markup", "half a header", "header", "binary"],
)
async def test_what_no_log_has_is_passed_on_without_a_line_end(monkeypatch, written, frames):
    monkeypatch.setattr(lines_module, "LOOK_INTERVAL", 0.01)
    receiver, stream = Recorder(), MessageLines(10_000, "stdout")
    stream.feed(frames + written, receiver)
    await until(lambda: [m for m in receiver.messages if m != b"{}"])
    assert stand_ins.stands_for_response(receiver.messages[-1])
    stream.close()


async def test_half_a_message_is_given_up_and_its_rest_is_dropped(monkeypatch):
    monkeypatch.setattr(lines_module, "LOOK_INTERVAL", 0.05)
    receiver, stream = Recorder(), MessageLines(10_000, "stdout")
    stream.feed(LINE[:30], receiver)
    await until(lambda: receiver.messages)
    assert receiver.messages == [LINE[:30]]
    assert "flush" in receiver.noise[0][1]
    stream.feed(LINE[30:] + b"\n" + LINE + b"\n", receiver)
    assert receiver.messages[1:] == [LINE]


async def test_a_stream_that_is_not_read_is_not_given_up(monkeypatch):
    monkeypatch.setattr(lines_module, "LOOK_INTERVAL", 0.02)
    looked: list[int] = []
    reading = False

    def is_read() -> bool:
        looked.append(1)
        return reading

    receiver, stream = Recorder(), MessageLines(10_000, "stdout", is_read)
    stream.feed(LINE[:30], receiver)
    await until(lambda: len(looked) > 6)
    assert not receiver.messages
    stream.close()


async def test_a_line_over_the_limit_ends_its_request_also_without_an_id():
    long = json.dumps({"jsonrpc": "2.0", "x": 1, "result": "y" * 20_000}).encode()
    (message,) = fed(long + b"\n").messages
    assert json.loads(message)["id"] is None
    note = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {"x": "y" * 20_000}}).encode()
    assert not fed(note + b"\n").messages


def test_a_frame_over_the_limit_is_dropped_and_the_next_is_read():
    splitter = FrameSplitter(100)
    body = b'{"jsonrpc":"2.0","id":7,"result":"%b"}' % (b"x" * 5000)
    pieces = []
    for at in range(0, 6000, 70):
        pieces += splitter.feed(
            (b"Content-Length: %d\r\n\r\n%b" % (len(body), body) + framed(b"{}") + b"\n")[at : at + 70]
        )
    assert pieces == [b"{}\n"]
    assert splitter.skipped == len(body)
    assert splitter.ends[0].startswith(body[:30])
    assert splitter.ends[1].endswith(body[-30:])


def test_a_line_that_is_no_header_and_grows_without_end_is_passed_on():
    splitter = FrameSplitter(100)
    assert splitter.feed(b"x" * 9000) == [b"x" * 9000]
    assert not splitter.has_partial
