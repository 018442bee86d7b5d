"""What a client writes on stdin is read as what servers write; what cannot be read is answered, and ends nothing."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.client.stdin_messages import StdinMessages
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR


def request(number: int, **more: object) -> dict:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "x"}, **more}


def text(number: int) -> str:
    return json.dumps(request(number))


def reading(*chunks: bytes, limit: int = 1 << 20) -> tuple[StdinMessages, list[str]]:
    notices: list[str] = []
    stdin = StdinMessages(notices.append, limit)
    for chunk in chunks:
        stdin.feed(chunk)
    return stdin, notices


def ids(messages: list[bytes]) -> list[object]:
    assert not any(b"\n" in message or b"\r" in message for message in messages)
    return [json.loads(message)["id"] for message in messages]


FIRST = text(1).encode() + b"\n"
PRETTY = json.dumps(request(2), indent=2)


@pytest.mark.parametrize(
    ("written", "expected", "notice"),
    [
        (PRETTY.encode() + b"\n", [2], "several lines"),
        (PRETTY.replace("\n", "\r\n").encode() + b"\r\n", [2], "several lines"),
        (json.dumps([request(2)]).encode() + b"\n", [2], "array"),
        (json.dumps([request(2), request(3)], indent=1).encode() + b"\n", [2, 3], "array"),
        ((text(2) + text(3)).encode() + b"\n", [2, 3], "separated"),
        ((text(2) + " " + text(3)).encode() + b"\r\n", [2, 3], "separated"),
        (b")]}'," + text(2).encode() + b"\n", [2], "separated"),
        ((text(2) + "\n").encode("utf-16"), [2], "utf-16"),
        ((text(2) + "\n").encode("utf-16-be") + (text(3) + "\n").encode("utf-16-be"), [2, 3], "utf-16"),
        ((text(2) + "\n").encode("utf-16") + (text(3) + "\n").encode("utf-16"), [2, 3], "utf-16"),
        ((text(2) + "\n").encode("utf-16") + FIRST, [2, 1], "utf-16"),
        (b"\xef\xbb\xbf" + text(2).encode() + b"\n", [2], "byte order mark"),
        (text(2).encode() + b"\0\n", [2], ""),
        (b"Content-Length: %d\r\n\r\n%b" % (len(text(2)), text(2).encode()), [2], "Content-Length"),
    ],
)
def test_what_has_one_meaning_is_passed_on_with_one_notice(written, expected, notice):
    for chunks in ([FIRST, written], [FIRST, *(bytes([byte]) for byte in written)]):
        stdin, notices = reading(*chunks)
        assert ids(stdin.outgoing) == [1, *expected]
        assert stdin.answers == []
        assert any(notice in text for text in notices) or not notice
        before = list(notices)
        stdin.feed(written)
        assert notices == before, "a kind is reported once"


def test_a_stream_that_begins_in_utf_16_is_converted():
    stdin, notices = reading("".join(f"{text(number)}\n" for number in (1, 2)).encode("utf-16"))
    assert ids(stdin.outgoing) == [1, 2]
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("written", "number", "code"),
    [
        (text(7)[:-10], 7, PARSE_ERROR),
        (text(7).replace('"x"', "NaN"), 7, PARSE_ERROR),
        (text(7).replace('"2.0"', '"1.0"'), 7, INVALID_REQUEST),
        (text(7).replace('"jsonrpc": "2.0", ', ""), 7, INVALID_REQUEST),
        (text(7).replace('"x"', "[" * 5000 + "]" * 5000), 7, PARSE_ERROR),
        (f"[{text(7).replace('2.0', '1.0')}]", 7, INVALID_REQUEST),
        (text(7).replace('"x"', '"\udcff"'), 7, PARSE_ERROR),
        ("hello", None, PARSE_ERROR),
        ("{nonsense}", None, PARSE_ERROR),
    ],
)
def test_what_cannot_be_read_is_answered_with_the_id_that_it_shows_and_ends_nothing(written, number, code):
    line = written.encode(errors="surrogateescape") + b"\n"
    stdin, notices = reading(*[line] * 20, FIRST)
    stdin.finish()
    assert ids(stdin.outgoing) == [1]
    assert {json.loads(answer)["id"] for answer in stdin.answers} == {number}
    assert {json.loads(answer)["error"]["code"] for answer in stdin.answers} == {code}
    assert len(notices) <= 2


def test_the_good_message_beside_a_bad_one_is_passed_on():
    stdin, _ = reading((text(2) + text(3).replace("2.0", "1.0") + text(4)).encode() + b"\n")
    assert ids(stdin.outgoing) == [2, 4]
    assert ids(stdin.answers) == [3]


def test_an_answer_that_cannot_be_read_fails_the_request_of_the_server():
    stdin, _ = reading(b'{"jsonrpc": "2.0", "id": 5, "result": {"roots": NaN}}\n')
    (sent,) = map(json.loads, stdin.outgoing)
    assert sent["id"] == 5
    assert "error" in sent
    assert stdin.answers == []


def test_a_message_over_the_limit_is_answered_and_the_next_one_is_read():
    huge = json.dumps(request(6, params={"text": "x" * 5000})).encode()
    stdin, notices = reading(huge[:3000], huge[3000:] + b"\n" + FIRST, limit=1000)
    assert ids(stdin.answers) == [6]
    assert ids(stdin.outgoing) == [1]
    assert not stdin.complete
    assert "exceeds the limit of 1000 bytes" in notices[0]


def test_a_message_without_its_line_end_is_read_after_a_while_or_at_the_end():
    stdin, _ = reading(text(1).encode())
    assert stdin.unfinished
    stdin.look()
    assert ids(stdin.outgoing) == [1]
    assert not stdin.unfinished
    stdin.feed(PRETTY[:-1].encode())
    stdin.look()
    stdin.feed(b"}")
    stdin.finish()
    assert ids(stdin.outgoing) == [1, 2]
