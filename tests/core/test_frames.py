"""Messages behind a Content-Length header, as language servers send them, and messages on several lines."""

from __future__ import annotations

import time

import pytest

from mcp_ws_ide.core.fragments import Fragment
from mcp_ws_ide.core.frames import FrameSplitter


def test_a_frame_is_read_past_other_headers():
    pieces = FrameSplitter(limit=100).feed(b"Content-Length: 2\r\nContent-Type: a\r\n\r\n{}")
    assert pieces == [b"{}"]


def test_a_body_over_the_limit_is_skipped_and_the_next_one_read():
    frames = FrameSplitter(limit=100)
    assert frames.feed(b"Content-Length: 200\r\n\r\n" + b"x" * 200) == []
    assert frames.skipped == 200
    assert frames.feed(b"Content-Length: 2\r\n\r\n{}") == [b"{}"]


def test_a_part_that_is_abandoned_is_forgotten():
    frames = FrameSplitter(limit=100)
    assert frames.feed(b"Content-Length: 9\r\n\r\n{") == []
    frames.abandon_partial()
    assert (frames.partial, frames.feed(b"Content-Length: 2\r\n\r\n{}")) == (b"", [b"{}"])


def test_a_string_may_span_several_lines():
    fragment = Fragment(b'{"a": "b')
    assert not fragment.add(b"still the string")
    assert fragment.add(b'its end"}')


@pytest.mark.parametrize(
    ("lines", "is_whole"),
    [
        ([b'{"a": "]}"', b"}"], True),
        ([b'{"a": "\\"}"', b"}"], True),
        ([b'{"a": "\\\\"', b"}"], True),
        ([b'{"a": [1,', b"2]"], False),
        ([b'{"a": "}', b'}"', b"}"], True),
        ([b'{"a": "}', b"}"], False),
    ],
)
def test_a_message_ends_with_its_last_bracket_outside_strings(lines, is_whole):
    fragment = Fragment(lines[0])
    assert [fragment.add(line) for line in lines[1:]][-1] is is_whole


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b"[{},", b'"",'])
def test_a_line_of_brackets_or_strings_costs_little(unit):
    line = b'{"jsonrpc":"2.0","id":5,"result":[' + unit * ((9 << 20) // len(unit))
    began = time.process_time()
    assert not Fragment(line).add(b"")
    assert time.process_time() - began < 2.5


def test_a_line_is_read_whole_behind_a_header_that_announces_less():
    line = '{"id": 1, "result": "größe"}\n'
    counted = FrameSplitter(limit=100, with_headers=True)
    assert counted.feed(b"Content-Length: %d\r\n\r\n%b" % (len(line) - 1, line.encode())) == [line.encode()]
    other = FrameSplitter(limit=100, with_headers=True)
    assert other.feed(b"Content-Length: 5\r\n\r\n" + line.encode()) == [b"Content-Length: 5 ", line.encode()]


def test_a_body_that_is_no_message_comes_with_its_header_where_that_is_wanted():
    frame = b"Content-Length: 6\r\n\r\nkaputt"
    assert FrameSplitter(limit=100).feed(frame) == [b"kaputt"]
    assert FrameSplitter(limit=100, with_headers=True).feed(frame) == [b"Content-Length: 6 kaputt"]
