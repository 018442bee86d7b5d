"""What can be told of text that is almost JSON, and the repairs that leave one meaning."""

from __future__ import annotations

import json

import msgspec
import pytest

from mcp_ws_ide.core import json_scan


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        (b'{"a":1}', b'{"a":1}', b""),
        (b'{"a":1}{"b":2}', b'{"a":1}', b'{"b":2}'),
        (b"[1] then", b"[1] ", b"then"),
    ],
)
def test_the_first_value_ends_where_the_next_begins(text, value, rest):
    end = json_scan.end_of_value(b"x" + text, 1) - 1
    assert (text[:end], text[end:]) == (value, rest)
    assert json_scan.is_whole(text) is not bool(rest)


@pytest.mark.parametrize("text", [b'{"a":', b"{x}", b"[" * 100_000])
def test_a_text_that_begins_with_no_value_says_so(text):
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        json_scan.end_of_value(text)
    assert not json_scan.is_whole(text)


@pytest.mark.parametrize(
    ("text", "names", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"id":8', {b"jsonrpc", b"id", b"result"}, [b"7"]),
        (b'{"result":{"id":8,"x":[{"id":9}]},"id":"a\\"b"}', {b"result", b"id"}, [b'"a\\"b"']),
        (b"{'id': 'x', 'result': {}}", {b"id", b"result"}, [b'"x"']),
        (b'{"id":12,"id":1,"id":12}', {b"id"}, [b"12", b"1"]),
        (b'{"id":null,"result":"\\"id\\":5', {b"id", b"result"}, []),
        (b'{"a":{]},"id":3}', {b"a"}, []),
        (b'{"result":{},"id":1', {b"result", b"id"}, []),
        (b'{"text":"say "hi"","id":4}', {b"text", b"id"}, [b"4"]),
    ],
)
def test_the_members_of_a_broken_object_are_found_at_its_top(text, names, ids):
    top = json_scan.top_of(text)
    assert (top.names, top.ids) == (names, ids)


@pytest.mark.parametrize(
    ("text", "mark", "path"),
    [
        (b'{"result":{"rows":[{"p":1},{"p":X}]}}', b"X", "result.rows[1].p"),
        (b'{"a b":{"c":[0,[1,X]]}}', b"X", "['a b'].c[1][1]"),
        (b"X", b"X", ""),
        (b"[X]", b"X", "[0]"),
        (b"]:,X", b"X", ""),
        (b'{"%b":X}' % (b"k" * 300), b"X", "k" * 200 + "…"),
    ],
)
def test_a_place_has_a_path(text, mark, path):
    assert json_scan.path_at(text, text.index(mark)) == path


def test_numbers_that_json_lacks_become_null_outside_strings():
    text = b'{"a":NaN,"b":[-Infinity,Infinity,nan,-inf],"c":"NaN \\" Infinity","d":null,"e":-1,"f":"n'
    mended, places = json_scan.without_non_finite(text)
    assert mended == b'{"a":null,"b":[null,null,null,null],"c":"NaN \\" Infinity","d":null,"e":-1,"f":"n'
    assert len(places) == 5
    assert text[places[0] :].startswith(b"NaN")
    assert json_scan.without_non_finite(b'{"a":1}') == (b'{"a":1}', [])


def test_control_characters_become_escapes_inside_strings_alone():
    text = b'{\t"a":"x\ty\n",\n"b":"z"}'
    assert json_scan.has_controls(text)
    mended, places = json_scan.without_controls(text)
    assert json.loads(mended) == {"a": "x\ty\n", "b": "z"}
    assert len(places) == 1


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (b'[{"a":1}, 2]', [b'{"a":1}', b"2"]),
        (b'[{"a":[1,2]},{"b":x}, {"c":1}]', [b'{"a":[1,2]}', b'{"b":x}', b'{"c":1}']),
        (b'[{"a":1},{"b":', [b'{"a":1}', b'{"b":']),
    ],
)
def test_an_array_has_items_also_where_one_is_broken(text, items):
    assert list(json_scan.items_of(text, 10)) == items
    assert list(json_scan.items_of(text, 1)) == items[:1]
