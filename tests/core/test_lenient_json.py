"""Payloads of peers: missing or ill-typed values read as empty."""

from __future__ import annotations

import pytest

from mcp_ws_ide.core import lenient_json

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("read", "empty"),
    [
        (lenient_json.members_of, {}),
        (lenient_json.items_of, []),
        (lenient_json.value_of, None),
        (lenient_json.object_of, {}),
        (lenient_json.text_of, ""),
        (lenient_json.texts_of, []),
        (lenient_json.error_code, 0),
    ],
)
@pytest.mark.parametrize("raw", [b"", b"x", b'{"code":"7"', DEEP])
def test_invalid_json_reads_as_empty(read, empty, raw):
    assert read(raw) == empty


def test_a_value_of_another_type_reads_as_empty():
    assert lenient_json.members_of(b"[1]") == {}
    assert lenient_json.items_of(b'{"a":1}') == []
    assert lenient_json.object_of(b"[1]") == {}
    assert lenient_json.text_of(b"7") == ""
    assert lenient_json.texts_of(b'["a",7]') == []
    assert lenient_json.error_code(b'{"code":"7"}') == 0


def test_values_are_decoded_to_the_requested_depth():
    assert {name: bytes(raw) for name, raw in lenient_json.members_of(b'{"a":1.10}').items()} == {
        "a": b"1.10"
    }
    assert [bytes(raw) for raw in lenient_json.items_of(b"[1.10,2]")] == [b"1.10", b"2"]
    assert lenient_json.object_of(b'{"a":{"b":[1]}}') == {"a": {"b": [1]}}
    assert lenient_json.texts_of(b'["a","b"]') == ["a", "b"]
    assert lenient_json.error_code(b'{"code":-5}') == -5


def test_the_text_of_an_error_is_cut_and_never_empty():
    assert lenient_json.error_text(b'{"message":"%b"}' % (b"x" * 400)) == "x" * 300
    assert lenient_json.error_text(b"{}") == "no reason was given"
