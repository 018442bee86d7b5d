"""Secrets of an entry are hidden from the browser, and return to their own place only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.config.json_edit import DefinitionError
from mcp_ws_ide.config.masking import masked, unmasked

TEXTS = st.text(st.sampled_from('ab{}[],:"/*\\ \n\tü😀'), max_size=8)
ENTRIES = st.fixed_dictionaries({"command": TEXTS}, optional={"args": st.lists(TEXTS, max_size=3), "env": st.dictionaries(TEXTS, TEXTS, max_size=2)})  # fmt: skip


@given(ENTRIES, st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3))
def test_masked_values_are_restored_unchanged(entry, headers):
    stored = {
        **entry,
        "headers": headers,
        "odd": {"deep": [1]},
        "mcp_ws": {"oauth": {"client_secret": "s", "scope": "x"}},
    }
    for pairs in ("env", "headers"):
        stored.setdefault(pairs, {})
    seen = masked(stored)
    assert unmasked(json.loads(json.dumps(seen)), stored) == stored
    assert seen["mcp_ws"]["oauth"]["scope"] == "x"
    assert "client_secret" in seen["mcp_ws"]["oauth"]
    assert seen["mcp_ws"]["oauth"]["client_secret"] != "s"
    assert all(
        isinstance(value, dict) for value in (*seen["env"].values(), *seen["headers"].values(), seen["odd"])
    )


def test_a_masked_value_is_restored_only_under_its_own_key():
    with pytest.raises(DefinitionError, match="type it again"):
        unmasked({"command": {"hidden": "/env/A"}}, {"env": {"A": "s"}})
    with pytest.raises(DefinitionError, match="no longer has"):
        unmasked({"env": {"B": {"hidden": "/env/B"}}}, {"env": {"A": "s"}})
    assert unmasked({"env": {"hidden": "/tmp"}}, {}) == {"env": {"hidden": "/tmp"}}


SECRET = "s3cr3t-value"


def hidden(pointer: str) -> dict[str, str]:
    return {"hidden": pointer}


OAUTH = {"url": "https://x", "mcp_ws": {"oauth": {"client_id": "me", "client_secret": SECRET}}}
ARGS = {"command": "x", "args": ["--token", SECRET, "--verbose", "plain", f"--api-key={SECRET}"]}
MIXED = {"command": "x", "args": ["--token", SECRET, 5]}
ENVIRONMENT = {"command": "x", "env": [{"name": "A", "value": SECRET}]}

MOVES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (OAUTH, {"url": "https://x", "mcp_ws": {"oauth": {"client_id": hidden("/mcp_ws/oauth/client_secret")}}}),
    (OAUTH, {"url": "https://x", "mcp_ws": {"ca_file": hidden("/mcp_ws/oauth/client_secret")}}),
    (OAUTH, {"description": hidden("/mcp_ws/oauth/client_secret")}),
    (ARGS, {"command": "x", "args": ["--verbose", hidden("/args/1")]}),
    (ARGS, {"command": "x", "args": [hidden("/args/1")]}),
    (ARGS, {"command": "x", "args": ["--api-key", hidden("/args/1")]}),
    (ARGS, {"command": "x", "args": ["--key", "--token", hidden("/args/1")]}),
    (ARGS, {"command": "x", "args": ["--token", hidden("/args/1"), "--token", hidden("/args/1")]}),
    (ARGS, {"command": hidden("/args/4"), "args": []}),
    (ARGS, {"command": "x", "args": {"1": hidden("/args/1")}}),
    (ARGS, {"command": "x", "cwd": hidden("/args/1")}),
    (MIXED, {"command": "x", "args": ["x", hidden("/args/1"), "5"]}),
    (ENVIRONMENT, {"command": "x", "env": {"0": {"value": hidden("/env/0/value")}}}),
    (ENVIRONMENT, {"command": "x", "env": [{"name": hidden("/env/0/value"), "value": ""}]}),
    ({"url": f"https://u:{SECRET}@x", "odd": {"a": SECRET}}, {"url": "https://x", "odd": hidden("/odd/a")}),
    ({"odd": {"a": SECRET}}, {"odd": {"a": hidden("/odd/a")}}),
]


@pytest.mark.parametrize(("stored", "changed"), MOVES)
def test_a_masked_value_is_restored_only_at_its_own_place(stored, changed):
    assert SECRET not in json.dumps(masked(stored))
    with pytest.raises(DefinitionError, match="type it again"):
        unmasked(changed, stored)


def test_an_argument_moves_with_its_option():
    args = [*masked(ARGS)["args"][2:], "--more", *masked(ARGS)["args"][:2]]
    found = unmasked({"command": "x", "args": args}, ARGS)
    assert found["args"] == ["--verbose", "plain", ARGS["args"][4], "--more", "--token", SECRET]
    for stored in (OAUTH, ARGS, MIXED, ENVIRONMENT):
        assert unmasked(masked(stored), stored) == stored


def test_values_of_settings_that_the_gateway_does_not_know_are_hidden():
    settings = {"api_key": SECRET, "sharing": "never", "oauth": {"scope": "a", "extra": SECRET}}
    assert masked({"command": "x", "mcp_ws": settings})["mcp_ws"] == {
        "api_key": hidden("/mcp_ws/api_key"),
        "sharing": "never",
        "oauth": {"scope": "a", "extra": {"hidden": "/mcp_ws/oauth/extra", "shown": "••••"}},
    }
    assert SECRET not in json.dumps(masked({"mcp_ws": {"oauth": SECRET}}))
    assert SECRET not in json.dumps(masked({"mcp_ws": SECRET}))


WORDS = st.sampled_from(["--token", "--key", "-p", "--verbose", "--url", "plain", f"--key={SECRET}", SECRET])
POINTERS = st.integers(0, 5).map(lambda index: hidden(f"/args/{index}"))


@given(
    st.lists(WORDS, max_size=6),
    st.lists(WORDS.filter(lambda word: SECRET not in word) | POINTERS, max_size=6),
)
def test_no_change_of_arguments_reveals_a_masked_value(stored, changed):
    entry = {"command": "x", "args": stored}
    if SECRET in json.dumps(masked(entry)):
        return  # it is shown already
    try:
        found = unmasked({"command": "x", "args": changed}, entry)
    except DefinitionError:
        return
    assert SECRET not in json.dumps(masked(found))
