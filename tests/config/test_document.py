"""Changing one entry in the text of a configuration file."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ws_ide.config.document import (
    Changed,
    DefinitionError,
    DefinitionFile,
    restored,
    shown,
    with_entry,
    without_entry,
)
from mcp_ws_ide.config.load import parse_text

NAMES = st.sampled_from(["a", "b", "c.d", "e-f", "new"])
TEXTS = st.text(st.sampled_from('ab{}[],:"/*\\ \n\tü😀'), max_size=8)
ENTRIES = st.fixed_dictionaries({"command": TEXTS}, optional={"args": st.lists(TEXTS, max_size=3), "env": st.dictionaries(TEXTS, TEXTS, max_size=2)})  # fmt: skip
COMMENTS = st.sampled_from(["", " ", "\n  ", "\n\t\t", "/* , } */", " // , {\"a\": 1}\n", "\r\n"])  # fmt: skip


@st.composite
def files(draw: Any) -> str:
    """A file as people write them: space and comments anywhere, trailing commas."""

    def gap() -> str:
        return draw(COMMENTS)

    def value(found: Any) -> str:
        if not isinstance(found, dict):
            return json.dumps(found, ensure_ascii=draw(st.booleans()))
        members = [
            f"{gap()}{json.dumps(key)}{gap()}:{gap()}{value(item)}{gap()}" for key, item in found.items()
        ]
        trailing = "," if members and draw(st.booleans()) else ""
        return "{" + ",".join(members) + trailing + gap() + "}"

    section = draw(st.sampled_from(["mcpServers", "servers"]))
    document: dict[str, Any] = {section: draw(st.dictionaries(NAMES, ENTRIES, max_size=4))}
    if draw(st.booleans()):
        document = {"inputs": [1, {"x": []}], **document}
    return gap() + value(document) + gap()


@settings(deadline=None)
@given(files(), NAMES, ENTRIES)
def test_a_change_means_that_one_change_and_keeps_the_rest_of_the_text(text, name, entry):
    before, _ = parse_text(text)
    section = next(key for key in ("mcpServers", "servers") if key in before)
    after = with_entry(text, name, entry)
    assert parse_text(after)[0] == {**before, section: {**before[section], name: entry}}
    if name not in before[section]:
        rest = iter("".join(after.split()))
        assert all(character in rest for character in "".join(text.split())), "something was lost"
    gone = without_entry(after, name)
    expected = dict(before[section])
    expected.pop(name, None)
    assert parse_text(gone)[0] == {**before, section: expected}


def test_a_new_file_and_a_file_without_servers_get_the_usual_section():
    assert json.loads(with_entry("", "a", {"command": "x"})) == {"mcpServers": {"a": {"command": "x"}}}
    assert with_entry('{\n  "x": 1\n}\n', "a", {"command": "y"}).startswith(
        '{\n  "x": 1,\n  "mcpServers": {\n    "a": {'
    )


def test_what_was_written_by_hand_comes_back_when_an_added_entry_is_removed():
    text = '{\n\t"servers": {\n\t\t// one\n\t\t"a": {"command": "x"}\n\t}\n}\n'
    assert without_entry(with_entry(text, "b", {"command": "y"}), "b") == text


@pytest.mark.parametrize(
    "text", ['{"mcpServers": {"a": {}, "a": {}}}', '{"servers": {}, "servers": {"a": {}}}', "[]"]
)
def test_a_file_that_means_two_things_is_not_changed(text):
    with pytest.raises(DefinitionError, match="by hand"):
        with_entry(text, "a", {"command": "x"})


@settings(deadline=None)
@given(ENTRIES, st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3))
def test_what_is_hidden_is_put_back_as_it_was(entry, headers):
    stored = {
        **entry,
        "headers": headers,
        "odd": {"deep": [1]},
        "mcp_ws": {"oauth": {"client_secret": "s", "scope": "x"}},
    }
    for pairs in ("env", "headers"):
        stored.setdefault(pairs, {})
    seen = shown(stored)
    assert restored(json.loads(json.dumps(seen)), stored) == stored
    assert seen["mcp_ws"]["oauth"]["scope"] == "x"
    assert "client_secret" in seen["mcp_ws"]["oauth"]
    assert seen["mcp_ws"]["oauth"]["client_secret"] != "s"
    assert all(
        isinstance(value, dict) for value in (*seen["env"].values(), *seen["headers"].values(), seen["odd"])
    )


def test_what_is_hidden_stays_under_its_own_key():
    with pytest.raises(DefinitionError, match="type it again"):
        restored({"command": {"hidden": "/env/A"}}, {"env": {"A": "s"}})
    with pytest.raises(DefinitionError, match="any more"):
        restored({"env": {"B": {"hidden": "/env/B"}}}, {"env": {"A": "s"}})
    assert restored({"env": {"hidden": "/tmp"}}, {}) == {"env": {"hidden": "/tmp"}}


def test_a_file_that_changed_after_it_was_read_is_not_overwritten_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "mcp.json"
    file = DefinitionFile(str(path), lambda data: sha256(data).hexdigest())
    before = file.read()
    assert before.version == "none"
    path.write_text('{"mcpServers": {}}')
    with pytest.raises(Changed):
        file.write(before, "{}")
    assert path.read_text() == '{"mcpServers": {}}'
    file.write(file.read(), '{"servers": {}}')
    assert path.read_text() == '{"servers": {}}'
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf"])
def test_a_file_with_nothing_in_it_is_as_good_as_none_and_still_told_from_it(tmp_path, data):
    path = tmp_path / "mcp.json"
    path.write_bytes(data)
    file = DefinitionFile(str(path), lambda data: sha256(data).hexdigest())
    before = file.read()
    assert before.text == ""
    assert before.version != "none"
    path.unlink()
    with pytest.raises(Changed):
        file.write(before, with_entry("", "new", {"command": "true"}))
    path.write_bytes(data)
    file.write(before, with_entry(before.text, "new", {"command": "true"}))
    assert json.loads(path.read_text("utf-8-sig")) == {"mcpServers": {"new": {"command": "true"}}}


# --- what comes back to its place ----------------------------------------------------------------------

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
def test_what_is_hidden_comes_back_nowhere_but_at_its_own_place(stored, changed):
    assert SECRET not in json.dumps(shown(stored))
    with pytest.raises(DefinitionError, match="type it again"):
        restored(changed, stored)


def test_an_argument_moves_with_its_option():
    args = [*shown(ARGS)["args"][2:], "--more", *shown(ARGS)["args"][:2]]
    found = restored({"command": "x", "args": args}, ARGS)
    assert found["args"] == ["--verbose", "plain", ARGS["args"][4], "--more", "--token", SECRET]
    for stored in (OAUTH, ARGS, MIXED, ENVIRONMENT):
        assert restored(shown(stored), stored) == stored


def test_values_of_settings_that_the_gateway_does_not_know_are_hidden():
    settings = {"api_key": SECRET, "sharing": "never", "oauth": {"scope": "a", "extra": SECRET}}
    assert shown({"command": "x", "mcp_ws": settings})["mcp_ws"] == {
        "api_key": hidden("/mcp_ws/api_key"),
        "sharing": "never",
        "oauth": {"scope": "a", "extra": {"hidden": "/mcp_ws/oauth/extra", "shown": "••••"}},
    }
    assert SECRET not in json.dumps(shown({"mcp_ws": {"oauth": SECRET}}))
    assert SECRET not in json.dumps(shown({"mcp_ws": SECRET}))


WORDS = st.sampled_from(["--token", "--key", "-p", "--verbose", "--url", "plain", f"--key={SECRET}", SECRET])
POINTERS = st.integers(0, 5).map(lambda index: hidden(f"/args/{index}"))


@settings(deadline=None)
@given(
    st.lists(WORDS, max_size=6),
    st.lists(WORDS.filter(lambda word: SECRET not in word) | POINTERS, max_size=6),
)
def test_no_change_of_arguments_shows_what_was_hidden(stored, changed):
    entry = {"command": "x", "args": stored}
    if SECRET in json.dumps(shown(entry)):
        return  # it is shown already
    try:
        found = restored({"command": "x", "args": changed}, entry)
    except DefinitionError:
        return
    assert SECRET not in json.dumps(shown(found))
