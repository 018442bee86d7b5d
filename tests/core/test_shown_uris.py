"""A URI that clients of mcp 1.x refuse is seen by them behind a scheme, and asked for as the server wrote it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.list_items import read_list
from mcp_ws_ide.core.shown_uris import FAULT, SCHEME, as_written, shown, shown_contents
from mcp_ws_ide.core.usable_uris import is_usable

USABLE = [
    "urn:a:b", "custom:op", "screen://", "file://", "file:///x y", "C:\\x", "ui://{x}", "http://{x}/", "x://ü", "mailto:a",
    " x://y ", "x:", "db://a:b@c:1/", "memory://[::1]:80/x", "http:///x", "https:/x", "x://a%zz", "db://a#b", "data:,x",
]  # fmt: skip
REFUSED = [
    "notes.txt", "/abs/x", "my_scheme://x", "http://", "ws://", "http://exa mple/", "://x", "memory://[x", "a b://x",
    "config://app name/x", "1x://y", "http://h:x/", "http://h:99999/", "x://h:port", "?q", "#f", "note://a<b", "note://a|b",
    "note://a^b", "tb://db\\schema", "res://a:b", "file://my file/x", "",
]  # fmt: skip
"""Each as the type AnyUrl of pydantic 2.14 decides, which mcp 1.x uses."""


@pytest.mark.parametrize("uri", USABLE)
def test_a_uri_that_every_client_reads_stays(uri):
    assert is_usable(uri)
    assert shown(uri) == uri


@pytest.mark.parametrize("uri", REFUSED)
def test_any_other_is_seen_in_a_form_that_every_client_reads(uri):
    assert not is_usable(uri)
    assert is_usable(shown(uri))
    assert shown(shown(uri)) == shown(uri)


@given(st.text().filter(lambda text: text.isprintable()))
def test_a_client_asks_for_what_the_server_wrote(uri):
    request = messages.request(b"1", "resources/read", json.dumps({"uri": shown(uri), "own": 1}).encode())
    assert json.loads(as_written(request).params) == {"uri": uri, "own": 1}


def test_a_request_for_a_usable_uri_stays_to_the_byte():
    for params in (b'{ "uri":"x:1" }', b'{"uri":7}', b"", b"[]"):
        request = messages.request(b"1", "resources/read", params)
        assert as_written(request) is request


def test_one_bad_uri_costs_no_client_the_list():
    listed = {
        "resources": [
            {"uri": "a b.txt", "name": "n", "own": None},
            {"uri": "x:1", "name": "x", "title": 7},
            5,
        ]
    }
    result, notices = read_list("resources", json.dumps(listed).encode(), strict=True)
    assert json.loads(result)["resources"] == [
        {"uri": f"{SCHEME}a%20b.txt", "name": "n", "own": None},
        {"uri": "x:1", "name": "x"},
    ]
    assert any("'a b.txt'" in text and FAULT in text for text in notices.values())
    only = json.dumps({"resources": listed["resources"][:1]}).encode()
    assert read_list("resources", only, strict=False) == (only, {}), "clients of 2026-07-28 take any string"


@pytest.mark.parametrize(
    "result", [b'{"contents":[{"uri":"x:1","text":""}]}', b'{"contents":7}', b'{"contents":[7]}', b"{}"]
)
def test_contents_that_are_not_concerned_stay_to_the_byte(result):
    assert shown_contents(result) == (result, {})


def test_contents_are_seen_under_the_uri_that_was_asked_for():
    result, notices = shown_contents(b'{"contents":[{"uri":"n","text":"a"},{"uri":"x:1","blob":""}],"own":1}')
    assert json.loads(result) == {
        "contents": [{"uri": f"{SCHEME}n", "text": "a"}, {"uri": "x:1", "blob": ""}],
        "own": 1,
    }
    assert FAULT in notices["contents uri"]
