"""Changing one entry in the text of a configuration file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.config.json_edit import DefinitionError, with_entry, without_entry
from mcp_ws_ide.config.jsonc import parse_text

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


@given(files(), NAMES, ENTRIES)
def test_a_change_keeps_the_rest_of_the_text(text, name, entry):
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


def test_adding_and_removing_an_entry_restores_a_hand_written_file():
    text = '{\n\t"servers": {\n\t\t// one\n\t\t"a": {"command": "x"}\n\t}\n}\n'
    assert without_entry(with_entry(text, "b", {"command": "y"}), "b") == text


@pytest.mark.parametrize(
    "text", ['{"mcpServers": {"a": {}, "a": {}}}', '{"servers": {}, "servers": {"a": {}}}', "[]"]
)
def test_an_ambiguous_file_is_not_changed(text):
    with pytest.raises(DefinitionError, match="by hand"):
        with_entry(text, "a", {"command": "x"})
