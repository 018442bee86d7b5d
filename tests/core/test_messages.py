"""Messages are parsed once, checked, built, and rewritten without touching the payload."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.message import MAX_METHOD_NAMES, method_names
from mcp_ws_ide.core.messages import Kind
from mcp_ws_ide.errors import INVALID_REQUEST, PARSE_ERROR, MalformedMessageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IDS = st.integers(-(2**70), 2**70) | st.text(max_size=20)


def test_the_members_determine_the_kind():
    assert messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"a"}').kind is Kind.REQUEST
    assert messages.parse(b'{"jsonrpc":"2.0","method":"a"}').kind is Kind.NOTIFICATION
    assert messages.parse(b'{"jsonrpc":"2.0","id":1,"result":{}}').kind is Kind.RESPONSE
    assert messages.parse(b'{"jsonrpc":"2.0","id":null,"error":{}}').kind is Kind.RESPONSE


def test_members_keep_their_bytes():
    message = messages.parse(b' {"jsonrpc" : "2.0", "id":"\\u0037" ,"method":"x","params":{"b" : 1.0e5}}\n')
    assert message.params == b'{"b" : 1.0e5}'
    assert message.id == b'"\\u0037"'
    assert message.id_key == "7"


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":7,"method":"a/b","params":{"_meta":{"progressToken":1}}}',
        '{"jsonrpc": "2.0", "id": 7, "method": "a/b", "params": {"_meta":{"progressToken":1}}}',
        '{"method":"a/b","params":{"_meta":{"progressToken":1}},"jsonrpc":"2.0","id":7}',
        '{"method":"a/b","params":{"_meta":{"progressToken":1}},"jsonrpc":"2.0"}',
    ],
)
def test_one_decoding_of_a_message_in_a_usual_order_gives_what_routing_needs(text):
    message = messages.parse(text.encode())
    assert message.routing is not None
    assert message.params == b'{"_meta":{"progressToken":1}}'
    assert message.id == (b"7" if '"id"' in text else b"")
    assert messages.params_of(message) == messages.Params(messages.Meta(progress_token=Raw(b"1")))


@pytest.mark.parametrize(
    "text",
    [
        '{"result":{"a":"},\\"jsonrpc\\":\\"2.0\\""},"jsonrpc":"2.0","id":"x"}',
        '{"jsonrpc":"2.0","id":"x","result":{"a":"},\\"jsonrpc\\":\\"2.0\\""}}',
    ],
)
def test_a_payload_that_quotes_an_envelope_is_not_taken_for_one(text):
    message = messages.parse(text.encode())
    assert (message.kind, message.id, message.extra) == (Kind.RESPONSE, b'"x"', b"")
    assert json.loads(message.result) == {"a": '},"jsonrpc":"2.0"'}


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":7,"method":"a","params":{}},"method":"b"}}',
        '{"jsonrpc":"2.0","id":7,"result":{},"id":8}',
        '{"id":8,"result":{},"jsonrpc":"2.0","id":7}',
        '{"result":{}}},"jsonrpc":"2.0","id":7}',
        '{"jsonrpc":"2.0","result":{}}',
        '{"jsonrpc":"2.0","id":07,"result":{}}',
    ],
)
def test_what_only_begins_or_ends_like_a_usual_message_is_refused(text):
    with pytest.raises(MalformedMessageError):
        messages.parse(text.encode())


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"x", PARSE_ERROR, "JSON"),
        (b"", PARSE_ERROR, "JSON"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":NaN}}', PARSE_ERROR, "JSON"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * 100_000, PARSE_ERROR, "deep"),
        (b"[" * 100_000, INVALID_REQUEST, "batch"),
        (b"[]", INVALID_REQUEST, "batch"),
        (b"7", INVALID_REQUEST, "object"),
        (b"{}", INVALID_REQUEST, "jsonrpc"),
        (b'{"jsonrpc":"1.0","id":1,"method":"a"}', INVALID_REQUEST, "2.0"),
        (b'{"jsonrpc":"2.0","id":null,"method":"a"}', INVALID_REQUEST, "null"),
        (b'{"jsonrpc":"2.0","id":true,"method":"a"}', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":{},"method":"a"}', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":1e400,"method":"a"}', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 2000 + b'","method":"a"}', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', INVALID_REQUEST, "method"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":"p"}', INVALID_REQUEST, "params"),
        (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST, "result"),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', INVALID_REQUEST, "result"),
        (b'{"jsonrpc":"2.0","result":1}', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","result":1}', INVALID_REQUEST, "result"),
    ],
)
def test_malformed_messages_are_refused_with_a_reason(data: bytes, code: int, word: str):
    with pytest.raises(MalformedMessageError) as caught:
        messages.parse(data)
    assert caught.value.code == code
    assert word in caught.value.reason


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":7,"id":8,"method":"a"}',
        b'{"jsonrpc":"2.0","id":7,"\\u0069d":8,"method":"a"}',
        b'{"jsonrpc":"2.0","method":"a","id":7,"method":"b"}',
        b'{"jsonrpc":"2.0","id":7,"method":"a","params":{},"params":{}}',
        b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":7,"method":"a"}',
    ],
)
def test_a_duplicate_member_is_refused(data: bytes):
    with pytest.raises(MalformedMessageError, match="occurs twice"):
        messages.parse(data)


def test_duplicates_inside_the_payload_pass():
    data = b'{"jsonrpc":"2.0","id":7,"method":"a","params":{"id":1,"id":2}}'
    assert messages.parse(data).params == b'{"id":1,"id":2}'


def test_unknown_members_survive_a_rewrite():
    message = messages.parse(b'{"jsonrpc":"2.0","x-trace":{"a": [1]},"id":7,"method":"a"}')
    assert json.loads(messages.with_id(message, b"99").data) == {
        "jsonrpc": "2.0",
        "id": 99,
        "method": "a",
        "x-trace": {"a": [1]},
    }


@given(IDS, JSON, st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.sampled_from([None, 2]))
def test_a_rewrite_changes_the_id_and_nothing_else(request_id, value, unknown, indent):
    known = {"jsonrpc", "id", "method", "params", "result", "error"}
    original = {k: v for k, v in unknown.items() if k not in known}
    original |= {"jsonrpc": "2.0", "id": request_id, "method": "m", "params": {"v": value}}
    message = messages.parse(json.dumps(original, indent=indent).encode())
    assert message.id_key == request_id
    assert json.loads(messages.with_id(message, b"1").data) == original | {"id": 1}
    assert json.loads(messages.with_id(message, message.id).data) == original


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_are_refused_with_a_reason(data: bytes):
    try:
        message = messages.parse(data)
    except MalformedMessageError as error:
        assert error.reason
    else:
        assert message.kind in Kind


def test_ids_keep_their_type():
    keys = [messages.decode_id(raw) for raw in (b"7", b'"7"', b"9223372036854775808", b"-1", b"7.5")]
    assert keys == [7, "7", 2**63, -1, 7.5]
    assert [type(key) for key in keys] == [int, str, int, int, float]


def test_pretty_printed_json_becomes_one_line_of_the_same_meaning():
    pretty = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "a", "params": {"t": "x\r\ny"}}, indent=2
    ).encode()
    line = messages.one_line(pretty.replace(b"\n", b"\r\n"))
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == json.loads(pretty)


def test_ill_typed_params_do_not_affect_routing():
    for params in (b"[1]", b'{"_meta":5}', b'{"_meta":{"progressToken":1e999}}'):
        message = messages.parse(b'{"jsonrpc":"2.0","id":1,"method":"a","params":%b}' % params)
        messages.params_of(message)  # no exception is the point: the payload is opaque
    assert messages.params_of(messages.parse(b'{"jsonrpc":"2.0","method":"a"}')) is messages.NO_PARAMS


def test_a_member_of_meta_is_replaced_or_removed():
    assert json.loads(messages.with_meta(b'{"a":1,"_meta":{"x":1,"y":2}}', "x", b'"z"')) == {
        "a": 1,
        "_meta": {"x": "z", "y": 2},
    }
    assert json.loads(messages.with_meta(b'{"_meta":{"x":1}}', "x", b"")) == {"_meta": {}}
    assert json.loads(messages.with_member(b'{"a":1}', "a", b"")) == {}


def test_text_is_checked_for_utf8():
    assert messages.is_text(b"plain")
    assert messages.is_text("ü€𝄞".encode())
    assert not messages.is_text(b"\xc3\x28")
    assert not messages.is_text(b"\xed\xa0\x80")


@pytest.mark.parametrize(
    ("head", "tail", "found"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"x', b"...}}", b"7"),
        (b'{"id":"a\\"b","error":{', b"}}", b'"a\\"b"'),
        (b'{"result":{"content', b'..."}]},"jsonrpc":"2.0","id":12}', b"12"),
        (b'{"jsonrpc":"2.0","result":{', b'},"id":"z"}\r', b'"z"'),
        (b'{"result":{', b'},"id":3,"jsonrpc":"2.0"}', b"3"),
        (b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{', b"}}", b""),
        (b'{"jsonrpc":"2.0","method":"m","params":{', b',"id":5}}', b""),
        (b'{"result":{', b'{"id":5}}}', b""),
        (b'{"result":{', b'"a \\"id\\":5}"}', b""),
        (b"xxxx", b'"id":5}', b""),
    ],
)
def test_the_id_of_a_cut_answer_is_found_at_either_end(head, tail, found):
    assert messages.answered_id(head, tail) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\ude00 and \uD83D\uD83D\uDE00", "\ufffd and \ufffd\U0001f600"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
    ],
)
def test_half_a_surrogate_pair_is_repaired(text, expected):
    parsed = messages.parse(b'{"jsonrpc":"2.0","id":1,"result":{"text":"%b"}}' % text)
    assert json.loads(parsed.result) == {"text": expected}
    assert json.loads(parsed.data)["result"] == {"text": expected}


def test_every_half_that_is_alone_is_repaired_and_no_other_escape():
    rng = random.Random(1)
    pieces = [r"\ud83d", r"\uD83D", r"\ude00", r"\uDE00", r"\\", r"\n", r"\u00e9", r"\"", "ud83d", "é"]
    for _ in range(2000):
        text = "".join(['{"a": "', *rng.choices(pieces, k=rng.randrange(12)), '"}'])
        parsed = messages.parse(b'{"jsonrpc":"2.0","id":1,"result":%b}' % text.encode())
        exact = json.loads(text)["a"].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert json.loads(parsed.result) == {"a": exact}, text


def test_a_message_of_nothing_but_halves_is_refused_with_the_reason():
    halves = rb"\udc80" * (messages.MAX_LONE_HALVES + 1)
    with pytest.raises(MalformedMessageError, match="more than 100000 halves of surrogate pairs"):
        messages.parse(b'{"jsonrpc":"2.0","id":1,"result":{"text":"%b"}}' % halves)


@pytest.mark.parametrize("number", ["9" * 5000, "1." + "0" * 5000])
def test_a_number_of_any_length_passes_whatever_the_white_space(number):
    for blank in ("", " "):
        data = f'{{"jsonrpc":"2.0","id":1,"method":"a",{blank}"params":{{"n":{number}}}}}'
        assert messages.parse(data.encode()).params == f'{{"n":{number}}}'.encode()


@pytest.mark.parametrize("raw", [b"9" * 5000, b"-" + b"9" * 5000, b"1e999"])
def test_a_number_beyond_the_range_of_a_double_is_not_an_id(raw):
    with pytest.raises(MalformedMessageError, match="invalid id"):
        messages.decode_id(raw)


def test_a_long_message_with_blanks_parses_quickly():
    """As json.dumps writes it; one callback for each of its values would take seconds."""
    tools = [{"name": f"t{number}", "inputSchema": {"type": "object"}} for number in range(150_000)]
    data = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).encode()
    plain = data.replace(b", ", b",").replace(b": ", b":")
    began = time.process_time()
    messages.parse(plain)
    quick = time.process_time() - began
    began = time.process_time()
    messages.parse(data)
    assert time.process_time() - began < 20 * quick + 0.1


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc": "2.0", "id": 1, "method": "a", "method": "b"}',
        '{"jsonrpc":"2.0","method":"a","id":1,"\\u0069d":1}',
        ' { "x" : 1 , "jsonrpc" : "2.0", "x" : 1, "method":"a"}',
        '{"jsonrpc": "2.0", "method": "a", "x": {"y": [1, 2]}, "x": {"y": [1, 3]}}',
    ],
)
def test_a_member_that_occurs_twice_is_refused_however_it_is_written(text):
    with pytest.raises(MalformedMessageError, match="occurs twice"):
        messages.parse(text.encode())


def test_unknown_members_are_kept_whatever_the_blanks_around_them():
    data = b' {\n"jsonrpc" : "2.0" ,\t"a \\"b" : { "c": 1 } , "id" : 3 , "method" : "m" } '
    assert messages.parse(data).extra == b',"a \\"b":{ "c": 1 }'


def test_built_messages_equal_parsed_ones():
    built = [
        messages.request(b"7", "tools/list", b'{"a":1}'),
        messages.notification("a"),
        messages.notification("a", b"{}"),
        messages.response(b'"x"', b"{}"),
        messages.failure(b"", b'{"code":1}'),
        messages.error(b"2", -5, "no", {"outcome": "not_sent"}),
    ]
    for message in built:
        parsed = messages.parse(message.data)
        for name in ("kind", "id", "method", "params", "result", "error", "extra", "data"):
            assert getattr(message, name) == getattr(parsed, name), name
    assert messages.error_response(b"2", -5, "no") == messages.error(b"2", -5, "no").data


def test_the_repr_of_a_message_omits_its_payload():
    text = repr(messages.parse(b'{"jsonrpc":"2.0","id":7,"method":"a","params":{"secret":1}}'))
    assert text == '<Message REQUEST "a" id=7 59 bytes>'


def test_a_method_is_compared_without_needless_escapes():
    message = messages.parse(b'{"jsonrpc":"2.0","method":"tools\\u002flist"}')
    assert (message.method, message.method_name) == (b'"tools/list"', "tools/list")
    assert messages.parse(b'{"jsonrpc":"2.0","id":1,"result":{}}').method_name == ""


def test_the_number_of_remembered_methods_is_limited():
    for number in range(MAX_METHOD_NAMES + 1):
        parsed = messages.parse(b'{"jsonrpc":"2.0","method":"m%d"}' % number)
        assert parsed.method_name == f"m{number}"
    assert len(method_names) == MAX_METHOD_NAMES
    method_names.clear()


@pytest.mark.parametrize(
    ("raw", "key"),
    [(b"7", 7), (b'"a"', "a"), (b"1.5", 1.5), (b"", None), (b"true", None), (b"[1]", None), (b"1e999", None)],
)
def test_a_progress_token_is_a_string_or_a_number(raw, key):
    assert messages.token_key(raw) == key


def test_a_progress_token_has_a_longest_length():
    assert messages.token_key(b'"%b"' % (b"x" * 2000)) is None


def test_a_result_without_meta_has_empty_meta():
    assert messages.result_meta(messages.response(b"1", b"{}")) is messages.NO_META
    assert messages.result_meta(messages.failure(b"1", b"{}")) is messages.NO_META


@pytest.mark.parametrize(("raw", "text"), [(b'"a"', "a"), (b"7", None), (b"x", None)])
def test_only_a_json_string_is_decoded_as_text(raw, text):
    assert messages.text_in(raw) == text


@pytest.mark.parametrize(
    ("payload", "value"), [(b'{"a":1.10}', b"1.10"), (b'{"b":1}', b""), (b"[", b""), (b"[1]", b"")]
)
def test_a_member_is_found_or_empty(payload, value):
    assert messages.member(payload, "a") == value


def test_a_message_on_one_line_is_not_copied():
    line = b'{"jsonrpc":"2.0","method":"a"}'
    assert messages.one_line(line) is line


def test_members_that_json_rpc_does_not_define_stay_in_a_rewritten_response():
    message = messages.parse(b'{"jsonrpc":"2.0","id":1,"result":{"a":1},"x":[2]}')
    assert (
        messages.with_id(message, b'"own"').data == b'{"jsonrpc":"2.0","id":"own","result":{"a":1},"x":[2]}'
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":12,"method":"a","id":1}',
        '{"jsonrpc":"2.0","id": 12 ,"result":{},"id": 1 }',
        '{"jsonrpc":"2.0","id":"ab","result":{},"id":"a"}',
    ],
)
def test_a_duplicate_whose_last_value_begins_like_the_first_is_refused(text):
    with pytest.raises(MalformedMessageError, match="occurs twice"):
        messages.parse(text.encode())


def test_a_message_with_more_members_than_anyone_needs_is_refused_before_they_are_looked_at():
    many = ",".join(f'"m{n}":{{"a":["b"]}}' for n in range(200_000))
    with pytest.raises(MalformedMessageError, match="at most 100 members"):
        messages.parse(f'{{"jsonrpc":"2.0","method":"a",{many}}}'.encode())
    few = ",".join(f'"m{n}":1' for n in range(90))
    texts = json.dumps(["quotes"] * 1000)
    assert messages.parse(f'{{"jsonrpc": "2.0","method":"a",{few},"t":{texts}}}'.encode()).extra


def test_an_error_is_an_object():
    with pytest.raises(MalformedMessageError, match='"error" must be an object'):
        messages.parse(b'{"jsonrpc":"2.0","id":1,"error":"no"}')


@pytest.mark.parametrize(
    ("raw", "others", "same"),
    [
        (b"7", [b"7", b'"7"'], b"7"),
        (b'"7"', [b"7", b'"7"'], b'"7"'),
        (b'"7"', [b"7"], b"7"),
        (b"7.0", [b"7"], b"7"),
        (b"7", [b'"7"'], b'"7"'),
        (b'"-7"', [b"-7"], b"-7"),
        (b'"x"', [b"7"], b""),
        (b"null", [b"7"], b""),
        (b"1e999", [b"7"], b""),
    ],
)
def test_an_id_is_recognized_where_a_server_has_changed_its_type(raw, others, same):
    assert messages.alike(raw, others) == same


@pytest.mark.parametrize(
    ("key", "number"), [(7, 7), ("7", 7), (7.0, 7), (7.5, 0), (-1, 0), ("x", 0), ("\0null", 0)]
)
def test_an_id_of_the_gateway_is_a_whole_number(key, number):
    assert messages.whole_number(key) == number


def test_an_object_that_is_cut_in_a_value_is_not_counted():
    quotes = b'"a":"' + b'\\"' * messages.FEW_QUOTES
    messages.refuse_many(b"{" + quotes)
    messages.refuse_many(b"{" + b'"a":"b",' * 60 + b'"c":"d')
