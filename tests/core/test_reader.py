"""What is read though it is not one canonical message, and what is told of the rest."""

from __future__ import annotations

import json
import random
import time
import tracemalloc

import pytest

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR
from tests.conftest import cpu_seconds

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}'
VALUE = json.loads(ANSWER)
MARK = b"\xef\xbb\xbf"


def read(data: bytes) -> list[object]:
    return [json.loads(message.data) for message in reader.read_server(data).messages]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (MARK + ANSWER, "byte order mark"),
        (b" \n" + MARK + ANSWER + b"\n", "byte order mark"),
        (ANSWER.decode().encode("utf-16"), "utf-16"),
        (ANSWER.decode().encode("utf-16-le"), "utf-16-le"),
        (ANSWER.decode().encode("utf-16-be"), "utf-16-be"),
        (ANSWER.decode().encode("utf-32"), "utf-32"),
        (b"[%b]" % ANSWER, "array"),
        (b"[[%b]]" % ANSWER, "array"),
        (b" [ %b , ] " % ANSWER, "array"),
        (b"starting%b" % ANSWER, "one line"),
        (b"[12:30] ready %b" % ANSWER, "one line"),
        (b"[INFO] ready %b" % ANSWER, "one line"),
        (b"%b done" % ANSWER, "one line"),
        (ANSWER.replace(b"}}", b'},"error":null}'), "null members"),
        (
            b'{"error":null,"id":1,"jsonrpc":"2.0","method":null,"params":null,"result":{"a":1}}',
            "null members",
        ),
        (b'{"id":1,"result":{"a":1}}', "jsonrpc"),
        (b'{"jsonrpc":2.0,"id":1,"result":{"a":1}}', "jsonrpc"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{},"result":{"a":1}}', "echo"),
        (b'{"id":1,"method":"tools/call","result":{"a":1},"error":null}', "echo"),
        (b'{"JsonRpc":"2.0","ID":1,"Result":{"a":1}}', "case"),
    ],
)
def test_what_has_one_meaning_is_read_with_a_notice(data, kind):
    reading = reader.read_server(data)
    assert [json.loads(message.data) for message in reading.messages] == [VALUE]
    assert kind in reading.notices
    assert not reading.unreadable


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            {"id": 1, "result": None, "error": {"code": 1, "message": "x"}},
            {"id": 1, "error": {"code": 1, "message": "x"}},
        ),
        ({"id": 1, "result": None, "error": None}, {"id": 1, "result": {}}),
        ({"id": 1, "result": {}, "error": None, "x": 2}, {"id": 1, "result": {}, "x": 2}),
        ({"id": None, "method": "notifications/x", "params": None}, {"method": "notifications/x"}),
        (
            {"id": 1, "method": "ping", "params": None, "result": None, "error": None},
            {"id": 1, "method": "ping"},
        ),
        (
            {"id": 1, "error": "no such table"},
            {"id": 1, "error": {"code": -32603, "message": "no such table", "data": "no such table"}},
        ),
        (
            {"id": 1, "method": "tools/call", "params": {"name": "t"}, "error": {"code": 1, "message": "x"}},
            {"id": 1, "error": {"code": 1, "message": "x"}},
        ),
        ({"id": 1, "error": 5}, {"id": 1, "error": {"code": -32603, "message": "5", "data": 5}}),
    ],
)
def test_members_that_mean_nothing_are_ignored(written, meant):
    assert read(json.dumps({"jsonrpc": "2.0", **written}).encode()) == [{"jsonrpc": "2.0", **meant}]


def test_a_number_that_json_lacks_becomes_null_and_its_path_is_told():
    data = b'{"jsonrpc":"2.0","id":1,"result":{"rows":[{"p":1.5},{"p":NaN}]}}'
    reading = reader.read_server(data)
    assert json.loads(reading.messages[0].result) == {"rows": [{"p": 1.5}, {"p": None}]}
    assert "byte 57, at result.rows[1].p" in reading.notices["NaN"]
    assert "2 numbers, the first" in reader.read_server(data.replace(b"1.5", b"-Infinity")).notices["NaN"]


def test_raw_control_characters_and_wrong_bytes_in_strings_are_mended():
    assert read(b'{"jsonrpc":"2.0","id":1,"result":{"t":"a\tb\nc"}}')[0]["result"] == {"t": "a\tb\nc"}
    reading = reader.read_server(b'{"jsonrpc":"2.0","id":1,"result":{"t":"caf\xe9"}}')
    assert json.loads(reading.messages[0].result) == {"t": "caf\ufffd"}
    assert "at result.t" in reading.notices["utf-8"]


def test_several_messages_are_read_in_turn_and_none_spoils_another():
    other = ANSWER.replace(b'"id":1', b'"id":2')
    assert [m["id"] for m in read(ANSWER + other)] == [1, 2]
    assert [m["id"] for m in read(b"[%b,%b]" % (ANSWER, other))] == [1, 2]
    assert [m["id"] for m in read(b"[%b,{x},%b, 5]" % (ANSWER, other))] == [1, 2]
    reading = reader.read_server(b'[%b,{"jsonrpc":"2.0","id":3,"result":{]}},%b' % (ANSWER, other))
    assert len(reading.unreadable) == 1
    cut = reader.read_server(b'{"jsonrpc":"2.0","id":3,"result":{"te' + other)
    assert ([m.id for m in cut.messages], [f.ids for f in cut.unreadable]) == ([b"2"], [[b"3"]])


def test_only_so_many_messages_of_one_line_are_read():
    assert len(read(ANSWER * (reader.MAX_ITEMS + 5))) == reader.MAX_ITEMS
    assert len(read(ANSWER * reader.MAX_ITEMS)) == reader.MAX_ITEMS
    reading = reader.read_server(b"[%b]" % b",".join([ANSWER] * (reader.MAX_ITEMS + 5)))
    assert len(reading.messages) == reader.MAX_ITEMS
    assert "array limit" in reading.notices


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"[INFO] hello",
        b"[1,2]",
        b'{"level":30,"msg":"started"}',
        b'{"level":50,"error":"boom"}',
        b"{started}",
        b"{ error: 'boom' }",
        b'{"level":50,"err',
        b"{",
        b'log: {"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        b'received {"jsonrpc":"2.0","method":"x"',
        b"",
        b"  ",
    ],
)
def test_logs_are_noise_whatever_their_form(data):
    reading = reader.read_server(data)
    assert not reading.messages
    assert not [fault for fault in reading.unreadable if fault.answer]


@pytest.mark.parametrize(
    ("data", "ids", "certain", "words"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":1,}}', [b"1"], True, "byte 40, at result.a"),
        (b'{"jsonrpc":"2.0","result":{"a":01},"id":1}', [b"1"], False, "byte 32, at result.a"),
        (b'{"result":{"a":\'x\'},"id":1}', [b"1"], False, "at result.a"),
        (b'{"jsonrpc":"2.0","id":"x","result":{"te', [b'"x"'], True, "it is cut off"),
        (b'{"jsonrpc":"2.0","result":{"te', [], True, "cut off"),
        (b'{"result":{"te', [], True, "cut off"),
        (b'{"jso', [], True, "cut off"),
        (b"{'jsonrpc': '2.0', 'id': 1, 'result': {}}", [b"1"], False, "{'jsonrpc': '2.0'"),
        (b'"id":1,"result":{"a":1}}', [b"1"], False, "does not begin"),
        (b'c":"2.0","id":1,"result":{"id":2,"jsonrpc":1}}', [], False, "does not begin"),
        (b'{"jsonrpc":"2.0","id":1}', [b"1"], True, "result"),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1}}', [b"1"], True, "result"),
        (b'{"jsonrpc":"2.0","id":12,"result":{},"id":1}', [b"12", b"1"], True, "occurs twice"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"result":{},"error":null}', [b"1", b"2"], True, "occurs twice"),
        (b'{"jsonrpc":"2.0","id":1,"error":null}', [b"1"], True, "error"),
        (b'{"jsonrpc":"2.0","id":1,"result":%b}' % (b"[" * 100_000), [b"1"], True, "deep"),
        (b'{"jsonrpc":"2.0","id":1,"result":{"n":NaN,}}', [b"1"], True, "byte 38"),
    ],
)
def test_an_answer_that_cannot_be_read_tells_its_request_and_the_reason(data, ids, certain, words):
    (fault,) = reader.read_server(data).unreadable
    assert fault.answer
    assert (fault.ids, fault.certain) == (ids, certain)
    assert words in fault.reason
    assert len(fault.reason) < 600


def test_a_message_of_the_server_that_is_no_answer_fails_nothing():
    (fault,) = reader.read_server(b'{"jsonrpc":"2.0","method":"notifications/x","params":{x}}').unreadable
    assert not fault.answer
    (fault,) = reader.read_server(b'{"jsonrpc":"2.0","id":null,"method":"tools/call","params":7}').unreadable
    assert not fault.answer


def test_a_quote_is_one_line_with_dots_for_what_is_left_out():
    text = b"a" * 100 + b"\n\x1b" + b"b" * 100
    assert reader.quote(text, 101) == "…" + "a" * 59 + "\ufffd\ufffd" + "b" * 59 + "…"
    assert reader.quote(b"short", 2) == "short"


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"x', b"...}}", b"7"),
        (b'{"jsonrpc":"2.0","x":1,"result":{"x', b"...}}", b"null"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"x', b"...}}", b""),
        (b"text text", b"text", b""),
        (b'{"jsonrpc":"2.0","x":1,"result":{"x', b"...", b""),
    ],
)
def test_an_answer_of_which_only_the_ends_are_known_may_have_an_id(head, tail, expected):
    assert reader.cut_answer(head, tail) == expected


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (MARK + b'{"jsonrpc":"2.0","id":1,"method":"a"}', {"id": 1, "method": "a"}),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":null}', {"id": 1, "method": "a"}),
        ('{"jsonrpc":"2.0","id":1,"method":"a"}'.encode("utf-16"), {"id": 1, "method": "a"}),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":null}', {"id": 1, "result": {}}),
    ],
)
def test_a_client_is_read_where_it_has_one_meaning(data, value):
    (message,) = reader.read_client(data).messages
    assert json.loads(message.data) == {"jsonrpc": "2.0", **value}


@pytest.mark.parametrize(
    ("data", "code", "ids", "words"),
    [
        (
            b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":NaN}}',
            PARSE_ERROR,
            [b"1"],
            "byte 51, at params.x",
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"\xff"}}', PARSE_ERROR, [b"1"], "UTF-8"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","id":2}', INVALID_REQUEST, [b"1", b"2"], "twice"),
        (b"[" + ANSWER + b"]", INVALID_REQUEST, [], "batch"),
        (b"{nonsense", PARSE_ERROR, [], "{nonsense"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a"} x', PARSE_ERROR, [b"1"], "trailing"),
    ],
)
def test_a_client_that_cannot_be_read_is_told_where(data, code, ids, words):
    reading = reader.read_client(data)
    (fault,) = reading.unreadable
    assert not reading.messages
    assert (fault.code, fault.ids) == (code, ids)
    assert words in fault.reason


def test_what_is_told_of_any_bytes_is_bounded_and_never_raises():
    rng = random.Random(16)
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b"NaN",
        b"-",
        b",",
        b":",
        b'"id"',
        b"1",
        b"jsonrpc",
        b"\xff",
        b"\n",
        MARK,
    ]
    for _ in range(2000):
        data = b"".join(rng.choices([*pieces, ANSWER, ANSWER[: rng.randrange(40)]], k=rng.randrange(12)))
        for reading in (reader.read_server(data), reader.read_client(data)):
            for message in reading.messages:
                messages.parse(message.data)
            for fault in reading.unreadable:
                assert len(fault.reason) < 1000


def test_each_kind_of_mended_message_is_reported_once():
    reported = reader.ReportedKinds()
    assert reported.add({"null members": "a", "array": "b"}) == ["a", "b"]
    assert reported.add({"array": "c", "byte order mark": "d"}) == ["d"]
    assert reported.add({"null members": "e"}) == []


def test_a_message_with_hundreds_of_thousands_of_members_costs_little():
    data = b'{"jsonrpc":"2.0","id":1,"method":"a"%b}' % b"".join(b',"m%d":1' % n for n in range(300_000))
    began = time.process_time()
    (fault,) = reader.read_client(data).unreadable
    assert "at most 100 members" in fault.reason
    assert time.process_time() - began < 10


def test_raw_line_breaks_are_taken_out_of_utf_8_alone():
    assert reader.on_one_line(b"{\n}\r\n") == b"{ }"
    other = "{\n}".encode("utf-16")
    assert reader.on_one_line(other) is other


@pytest.mark.parametrize("text", [MARK + b"{", b"[ {", b'x "jsonrpc"', b'"id":1,"result":{}'])
def test_a_line_may_be_a_message_without_beginning_like_one(text):
    assert reader.may_be_message(text)
    assert not reader.may_be_message(b"[INFO] " + text[-1:])


def test_a_request_with_a_result_and_an_error_may_be_a_response_and_cannot_be_read():
    both = b'{"jsonrpc":"2.0","id":1,"method":"a","result":{},"error":{"code":1,"message":"x"}}'
    (fault,) = reader.read_server(both).unreadable
    assert (fault.ids, fault.answer) == ([b"1"], True)


def test_a_client_that_writes_a_request_with_a_result_is_refused():
    (fault,) = reader.read_client(b'{"jsonrpc":"2.0","id":1,"method":"a","result":{}}').unreadable
    assert fault.code == INVALID_REQUEST


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(b'{"a":1} ', id="values"),
        pytest.param(b"[x %b " % ANSWER, id="broken arrays"),
        pytest.param(b'[x {"jsonrpc":"2.0","id":1,"result":"NaN"} ', id="broken arrays with NaN in strings"),
        pytest.param(b'"x" %b ' % ANSWER, id="strings"),
        pytest.param(b"x %b " % ANSWER, id="text"),
    ],
)
def test_many_values_on_a_long_line_cost_little(unit):
    """What follows a value is neither copied nor searched again for each of them."""
    few, many = ((unit * number).ljust(6 << 20, b"x") for number in (50, reader.MAX_ITEMS))
    for read_line in (reader.read_server, reader.read_client_line):
        assert cpu_seconds(read_line, many) < 5 * cpu_seconds(read_line, few) + 0.1, "twenty times the values"
        reading = read_line(unit * ((6 << 20) // len(unit)))
        values = len(reading.messages) + len(reading.noise) + len(reading.unreadable)
        assert values >= reader.MAX_ITEMS


def test_the_items_of_a_long_array_are_not_all_taken_apart():
    array = b"[%b]" % b",".join([b"{}"] * 300_000)
    tracemalloc.start()
    try:
        reading = reader.read_server(array)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reading.noise) == reader.MAX_ITEMS
    assert most < 8 * len(array)


def test_a_mended_line_is_mended_to_its_end():
    text = b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}} '
    assert len(reader.read_server(text * 5).messages) == 5
