"""One bad content item never costs a client the result, and what is good stays as it was written."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import mcp_types
import msgspec
import pytest
from mcp_types import CallToolResult, CompleteResult, GetPromptResult, ReadResourceResult

from mcp_ws_ide.core.call_results import CALLS, read_result
from mcp_ws_ide.core.readable_results import SMALL, is_readable
from mcp_ws_ide.core.shown_uris import FAULT, SCHEME

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(10)).decode()
GOOD: list[dict[str, Any]] = [
    {"type": "text", "text": "t", "annotations": {"audience": ["user"]}, "own": None, "_meta": {"a": None}},
    {"type": "image", "data": PNG, "mimeType": "image/png"},
    {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "x:1", "text": "t"}},
    {"type": "resource", "resource": {"uri": "x:1", "blob": "AA==", "mimeType": "a/b"}},
    {"type": "resource_link", "uri": "x:1", "name": "n"},
]
TEXT = {"type": "text", "text": "good"}
ITEMS: list[tuple[str, Any, list[dict[str, Any]] | None]] = [
    ("no type, a text", {"text": "a"}, [{"text": "a", "type": "text"}]),
    ("another type for texts", {"type": "output_text", "text": "a"}, [{"type": "text", "text": "a"}]),
    ("a type in capitals", {"type": "TEXT", "text": "a"}, [{"type": "text", "text": "a"}]),
    ("text is a number", {"type": "text", "text": 7}, [{"type": "text", "text": "7"}]),
    ("text is an object", {"type": "text", "text": {"a": 1}}, [{"type": "text", "text": '{"a": 1}'}]),
    ("text is null", {"type": "text", "text": None}, [{"type": "text", "text": ""}]),
    ("null members", {"type": "text", "text": "a", "annotations": None}, [{"type": "text", "text": "a"}]),
    ("bad annotations", {"type": "text", "text": "a", "annotations": 7}, [{"type": "text", "text": "a"}]),
    ("null", None, []),
    ("a string", "a", [{"type": "text", "text": "a"}]),
    ("an array", [{"type": "text", "text": "a"}, {"text": "b"}], None),
    ("a number", 7, None),
    ("an empty object", {}, None),
    ("an unknown type", {"type": "chart", "points": [1]}, None),
    ("an image without data", {"type": "image", "mimeType": "image/png"}, None),
    ("an image with a URL", {"type": "image", "url": "https://x/y.png"}, None),
    ("an image that is no base64", {"type": "image", "data": "<svg>", "mimeType": "image/svg+xml"}, None),
    (
        "an image without a MIME type",
        {"type": "image", "data": PNG},
        [{"type": "image", "data": PNG, "mimeType": "image/png"}],
    ),
    (
        "an image without a type",
        {"data": PNG, "mimeType": "image/png"},
        [{"data": PNG, "mimeType": "image/png", "type": "image"}],
    ),
    (
        "a data URL",
        {"type": "image", "data": f"data:image/png;base64,{PNG}"},
        [{"type": "image", "data": PNG, "mimeType": "image/png"}],
    ),
    (
        "the URL-safe alphabet",
        {"type": "image", "data": "_-8=", "mimeType": "image/png"},
        [{"type": "image", "data": "/+8=", "mimeType": "image/png"}],
    ),
    (
        "a buffer of Node.js",
        {"type": "image", "data": {"type": "Buffer", "data": [0, 0, 0]}, "mimeType": "image/png"},
        [{"type": "image", "data": "AAAA", "mimeType": "image/png"}],
    ),
    ("an unknown format", {"type": "audio", "data": "AAAA"}, None),
    ("a text under another name", {"type": "text", "value": "a"}, None),
    ("a resource without contents", {"type": "resource", "resource": {"uri": "x:1"}}, None),
    ("a resource that is a string", {"type": "resource", "resource": "x:1"}, None),
    ("a resource's text beside it", {"type": "resource", "uri": "x:1", "text": "t"}, None),
    ("a resource without a URI", {"type": "resource", "resource": {"text": "t"}}, None),
    ("a blob that is no base64", {"type": "resource", "resource": {"uri": "x:1", "blob": "é"}}, None),
    ("a link without a name", {"type": "resource_link", "uri": "x:1"}, None),
    ("a link without a URI", {"type": "resource_link", "name": "n"}, None),
]
"""What is wrong, a content item, and what is shown in its place, if that is more than readable."""
MODELS = {
    "tools/call": CallToolResult,
    "prompts/get": GetPromptResult,
    "resources/read": ReadResourceResult,
    "completion/complete": CompleteResult,
}


def read(method: str, result: Any, *, strict: bool = True) -> tuple[dict[str, Any], list[str]]:
    mended, notices = read_result(method, json.dumps(result).encode(), strict=strict)
    if method in MODELS:
        MODELS[method].model_validate_json(mended)
    return json.loads(mended), list(notices.values())


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("size", [1, SMALL])
@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/call", {"content": GOOD, "structuredContent": {"a": []}, "isError": False, "own": None}),
        ("tools/call", {"content": [TEXT]}),
        ("prompts/get", {"description": "d", "messages": [{"role": "user", "content": c} for c in GOOD]}),
        ("resources/read", {"contents": [GOOD[3]["resource"], GOOD[4]["resource"]], "ttlMs": 0}),
        ("completion/complete", {"completion": {"values": ["a"], "total": 1, "hasMore": False}}),
        ("tools/call", {"resultType": "input_required", "inputRequests": {}}),
        ("tools/call", {"task": {"taskId": "t"}}),
    ],
)
def test_a_result_that_clients_can_read_stays_to_the_byte(method, result, size, strict):
    written = json.dumps({**result, "_meta": {"long": "x" * size}}, indent=1).encode()
    assert is_readable(written) is not bool({"task", "inputRequests"} & result.keys())
    assert read_result(method, written, strict=strict) == (written, {})


@pytest.mark.parametrize("size", [1, SMALL])
@pytest.mark.parametrize(("item", "shown"), [case[1:] for case in ITEMS], ids=[case[0] for case in ITEMS])
def test_a_bad_content_item_costs_neither_the_good_ones_nor_what_it_says(item, shown, size):
    good = {"type": "text", "text": "x" * size}
    written = {"content": [good, item, TEXT], "isError": True}
    assert not is_readable(json.dumps(written).encode())
    result, notices = read("tools/call", written)
    assert result["isError"] is True
    assert (result["content"][0], result["content"][-1]) == (good, TEXT)
    assert shown is None or result["content"][1:-1] == shown
    assert any("item 2" in notice for notice in notices)


@pytest.mark.parametrize(("item", "shown"), [case[1:] for case in ITEMS], ids=[case[0] for case in ITEMS])
def test_a_bad_item_of_a_prompt_costs_neither_the_other_messages_nor_what_it_says(item, shown):
    good = {"role": "assistant", "content": TEXT}
    result, notices = read("prompts/get", {"messages": [good, {"role": "user", "content": item}]})
    assert result["messages"][0] == good
    assert shown is None or result["messages"][1:] == [{"role": "user", "content": one} for one in shown]
    assert notices


LINKS = [
    {"type": "resource_link", "uri": "my notes.txt", "name": "n", "own": 1},
    {"type": "resource", "resource": {"uri": "/abs", "blob": "AA=="}, "own": 1},
]
"""Content items whose URIs mcp 1.x refuses."""
SHOWN = [
    {"type": "resource_link", "uri": f"{SCHEME}my%20notes.txt", "name": "n", "own": 1},
    {"type": "resource", "resource": {"uri": f"{SCHEME}/abs", "blob": "AA=="}, "own": 1},
]


@pytest.mark.parametrize("size", [1, SMALL])
@pytest.mark.parametrize(("link", "shown"), list(zip(LINKS, SHOWN, strict=True)))
def test_a_uri_without_a_scheme_is_seen_behind_one_in_the_handshake_era(link, shown, size):
    good = [*GOOD, {"type": "text", "text": "x" * size}]
    called = {"content": [*good, link, TEXT], "structuredContent": {"uri": "my notes.txt"}}
    assert not is_readable(json.dumps(called).encode())
    result, (notice,) = read("tools/call", called)
    assert result == {**called, "content": [*good, shown, TEXT]}
    assert notice == f"tools/call: item {len(good) + 1}: {FAULT}"
    told = {"messages": [{"role": "user", "content": item} for item in (TEXT, link)], "description": "d"}
    result, (notice,) = read("prompts/get", told)
    assert result == {**told, "messages": [told["messages"][0], {"role": "user", "content": shown}]}
    assert FAULT in notice
    for method, written in (("tools/call", called), ("prompts/get", told)):
        raw = json.dumps(written).encode()
        assert read_result(method, raw, strict=False) == (raw, {}), "clients of 2026-07-28 take any string"


def test_a_link_that_is_mended_has_a_uri_that_every_client_reads():
    items = [{"type": "resource_link", "uri": "a b"}, {"uri": "n", "text": "t"}, [LINKS[0]]]
    result, notices = read("tools/call", {"content": items})
    uris = [item.get("uri") or item["resource"]["uri"] for item in result["content"]]
    assert uris == [f"{SCHEME}a%20b", f"{SCHEME}n", f"{SCHEME}my%20notes.txt"]
    assert all(FAULT in notice and "; " in notice for notice in notices)
    told, _ = read("prompts/get", {"messages": [{"role": "user", "content": items}]})
    assert [message["content"] for message in told["messages"]] == result["content"]
    modern, _ = read("tools/call", {"content": items}, strict=False)
    assert modern["content"][0]["uri"] == "a b"


@pytest.mark.parametrize(
    ("written", "readable"),
    [
        (b'{"content":[{"type":"text","text":"a"}]}', True),
        (b'{"content":[{"type":"text","text":""}],"isError":true}', True),
        (b'{"content":[{"type":"text","text":"a\\"}]}"}]}', True),
        (b'{"content":[{"type":"text","text":"a\\\\"}]}', True),
        (b'{"content":[{"type":"text","text":"a"}],"isError":"no"}', False),
        (b'{"content":[{"type":"text","text":"a"},7]}', False),
        (b'{"content":[{"type":"text","text":"a","_meta":"}]}"}]}', False),
    ],
)
def test_quotes_in_a_text_do_not_end_it(written, readable):
    assert is_readable(written) is readable
    assert isinstance(json.loads(written), dict)


@pytest.mark.parametrize(
    "written",
    [b'{"content":[{"type":"text","text":"a\x01"}]}', b'{"content":[{"type":"text","text":"\\q"}]}'],
)
def test_what_is_no_json_is_no_result(written):
    with pytest.raises(msgspec.DecodeError):
        is_readable(written)


def test_what_cannot_be_read_is_shown_as_text():
    result, _ = read(
        "tools/call", {"content": [{"type": "chart", "points": [1]}, 7, {"type": "image", "url": "u:v"}]}
    )
    assert [item["text"] for item in result["content"]] == [
        '{"type":"chart","points":[1]}',
        "7",
        '{"type":"image","url":"u:v"}',
    ]


def test_the_text_of_an_unreadable_image_has_not_all_of_its_bytes():
    result, _ = read(
        "tools/call", {"content": [{"type": "image", "data": "!" * 50_000, "mimeType": "image/png"}]}
    )
    assert "50000 characters" in result["content"][0]["text"]
    assert len(result["content"][0]["text"]) < 200


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ({"content": "a"}, ["a"]),
        ({"content": {"type": "text", "text": "a"}}, ["a"]),
        ({"content": None}, []),
        ({}, []),
        ({"structuredContent": {"a": 1}}, ['{"a": 1}']),
        ({"structuredContent": [1], "content": []}, ["[1]"]),
        ({"structuredContent": "s", "content": [TEXT]}, ["good"]),
        ({"structuredContent": None, "content": [TEXT]}, ["good"]),
        ({"type": "text", "text": "a"}, ["a"]),
        ({"output": "a"}, ['{"output":"a"}']),
        ({"toolResult": {"a": 1}}, ['{"toolResult":{"a":1}}']),
        ({"content": 7}, ["7"]),
        ({"content": [TEXT], "_meta": []}, ["good"]),
    ],
)
def test_a_result_without_an_array_of_content_says_what_it_says(written, content):
    result, notices = read("tools/call", written)
    assert [item["text"] for item in result["content"]] == content
    assert not isinstance(result.get("structuredContent", {}), list | str | None)
    assert notices


def test_structured_content_may_be_anything_in_the_modern_era():
    written = {"content": [TEXT], "structuredContent": [1]}
    assert read_result("tools/call", json.dumps(written).encode(), strict=False)[1] == {}
    mended = read_result("tools/call", json.dumps({**written, "isError": 1}).encode(), strict=False)
    assert json.loads(mended[0]) == {**written, "isError": True}


@pytest.mark.parametrize(
    ("flag", "read_as"), [("true", True), ("False", False), (0, False), (1, True), (None, False)]
)
def test_an_error_flag_of_another_type_keeps_its_meaning(flag, read_as):
    assert read("tools/call", {"content": [], "isError": flag})[0]["isError"] is read_as


@pytest.mark.parametrize(
    ("written", "messages"),
    [
        ({"messages": "a"}, [("user", "a")]),
        ({"messages": {"role": "assistant", "content": TEXT}}, [("assistant", "good")]),
        ({"messages": [{"role": "system", "content": TEXT}]}, [("user", "good")]),
        ({"messages": [{"role": "user", "content": "a"}]}, [("user", "a")]),
        ({"messages": [{"role": "user", "content": [TEXT, TEXT]}]}, [("user", "good")] * 2),
        ({"messages": ["a", None]}, [("user", "a")]),
        ({"messages": [], "description": None}, []),
        ({"description": "d"}, []),
    ],
)
def test_the_messages_of_a_prompt_are_read_where_they_mean_one_thing(written, messages):
    result, notices = read("prompts/get", written)
    assert [(message["role"], message["content"]["text"]) for message in result["messages"]] == messages
    assert notices


@pytest.mark.parametrize(
    ("written", "contents"),
    [
        ({"contents": {"uri": "x:1", "text": "a"}}, [{"uri": "x:1", "text": "a"}]),
        ({"uri": "x:1", "text": "a"}, [{"uri": "x:1", "text": "a"}]),
        ({"content": [{"uri": "x:1", "text": "a"}]}, [{"uri": "x:1", "text": "a"}]),
        ({"contents": ["a"]}, [{"uri": "about:blank", "text": "a"}]),
        ({"contents": [{"uri": "x:1", "text": {"a": 1}}]}, [{"uri": "x:1", "text": '{"a": 1}'}]),
        ({"contents": [{"uri": "x:1", "text": "a", "mimeType": None}]}, [{"uri": "x:1", "text": "a"}]),
        ({"contents": [{"uri": "x:1", "blob": "é"}]}, [{"uri": "x:1", "text": "é"}]),
        ({"contents": [{"uri": "x:1", "blob": "_w=="}]}, [{"uri": "x:1", "blob": "/w=="}]),
        ({"contents": [{"uri": "x:1"}]}, [{"uri": "x:1", "text": ""}]),
        ({"contents": [GOOD[3]]}, [GOOD[3]["resource"]]),
        ({"contents": None}, []),
    ],
)
def test_the_contents_of_a_resource_are_read_where_they_mean_one_thing(written, contents):
    result, notices = read("resources/read", written)
    assert result["contents"] == contents
    assert notices


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"completion": {"values": ["a", 7, None]}}, ["a", "7"]),
        ({"completion": {"values": None}}, []),
        ({"completion": {"values": [str(n) for n in range(200)]}}, [str(n) for n in range(100)]),
        ({"completion": {"values": ["a"], "total": None, "hasMore": "no"}}, ["a"]),
        ({}, []),
    ],
)
def test_a_bad_completion_costs_no_other(written, values):
    result, notices = read("completion/complete", written)
    assert result["completion"]["values"] == values
    assert notices


def test_a_result_nested_too_deeply_stays_as_it_is():
    written = b'{"content":[{"type":"x","a":' + b"[" * 2000 + b"]" * 2000 + b"}]}"
    for method in CALLS:
        assert read_result(method, written, strict=True) == (written, {})


def test_no_result_is_unreadable_after_it_was_mended():
    random_ = random.Random(16)
    values = [
        None,
        7,
        True,
        "a",
        [],
        {},
        [[]],
        [None],
        {"type": "text"},
        PNG,
        *(case[1] for case in ITEMS),
        *GOOD,
    ]
    names = ["content", "contents", "messages", "role", "type", "text", "data", "uri", "resource", "isError"]
    for _ in range(3000):
        part = {random_.choice(names): random_.choice(values) for _ in range(random_.randrange(4))}
        outer = {
            random_.choice(names): random_.choice([part, [part, *values[:2]], *values]) for _ in range(3)
        }
        for method in MODELS:
            read(method, outer)


INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {"listChanged": True}, "logging": {}, "experimental": {"a": {}}},
    "serverInfo": {"name": "s", "version": "1"},
}


def test_a_handshake_that_clients_can_read_stays_to_the_byte():
    written = json.dumps({**INITIALIZED, "instructions": "x", "own": None}, indent=1).encode()
    assert read_result("initialize", written, strict=True) == (written, {})


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        ("protocolVersion", None, "2024-11-05"),
        ("protocolVersion", 1, "2024-11-05"),
        ("capabilities", None, {}),
        ("capabilities", [], {}),
        ("capabilities", {"tools": True, "prompts": None, "resources": False}, {"tools": {}}),
        ("capabilities", {"tools": {"listChanged": None}}, {"tools": {}}),
        ("capabilities", {"tools": {"listChanged": "yes", "a": 1}}, {"tools": {"a": 1}}),
        ("serverInfo", None, {"name": "unknown", "version": "unknown"}),
        ("serverInfo", "git", {"name": "git", "version": "unknown"}),
        ("serverInfo", {"name": "git"}, {"name": "git", "version": "unknown"}),
        ("serverInfo", {"name": "git", "version": 1.5, "title": None}, {"name": "git", "version": "1.5"}),
        ("instructions", ["a"], ...),
    ],
)
def test_an_odd_member_of_the_handshake_costs_no_server(name, written, shown):
    mended, notices = read_result(
        "initialize", json.dumps({**INITIALIZED, name: written}).encode(), strict=True
    )
    result = json.loads(mended)
    mcp_types.InitializeResult.model_validate(result)
    assert result == ({**INITIALIZED, name: shown} if shown is not ... else INITIALIZED)
    assert next(iter(notices)).startswith("initialize ")


@pytest.mark.parametrize(("more", "kept"), [(True, {"hasMore": True}), ("yes", {})])
def test_a_completion_whose_other_members_are_odd_keeps_its_values(more, kept):
    result = json.dumps({"completion": {"values": ["a", 7], "total": "many", "hasMore": more}}).encode()
    mended, _ = read_result("completion/complete", result, strict=False)
    assert json.loads(mended)["completion"] == {"values": ["a", "7"], **kept}


def test_an_embedded_resource_gets_the_media_type_that_it_names_elsewhere():
    resource = {"uri": "x:1", "blob": f"data:image/png;base64,{PNG}"}
    result = json.dumps({"contents": [resource]}).encode()
    mended, _ = read_result("resources/read", result, strict=False)
    assert json.loads(mended)["contents"] == [{"uri": "x:1", "blob": PNG, "mimeType": "image/png"}]


def test_a_media_type_of_contents_that_is_no_string_is_found_under_other_names():
    contents = {"uri": "x:1", "text": "t", "mediaType": "text/plain", "mimeType": 7}
    result = json.dumps({"contents": [contents]}).encode()
    mended, _ = read_result("resources/read", result, strict=False)
    assert json.loads(mended)["contents"] == [{**contents, "mimeType": "text/plain"}]


def test_a_good_completion_stays_where_another_member_is_odd():
    result = json.dumps({"completion": {"values": ["a"]}, "_meta": 7}).encode()
    mended, notices = read_result("completion/complete", result, strict=False)
    assert json.loads(mended) == {"completion": {"values": ["a"]}}
    assert list(notices.values()) == [
        "completion/complete: _meta: it was ignored, because it is not an object"
    ]
