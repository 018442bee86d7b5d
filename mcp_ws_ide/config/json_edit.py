"""Changes one server's entry in the text of an ``mcp.json``; comments, order and formatting of the rest stay. Pure.

Works on offsets into the text. A change is only returned once the new text is known to mean the old one with exactly
that change. Knows nothing of files or of what an entry means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp_ws_ide.config.jsonc import parse_text, without_comments

SECTIONS: Final = ("mcpServers", "servers")
"""Keys that hold servers by name and can be edited, in the order in which they are read."""
_SPACE: Final = re.compile(r"\s*")
_FLAT_CHARACTERS: Final = 100
"""Longest value that stays on one line when it replaces another value on one line."""


class DefinitionError(Exception):
    """A file or an entry cannot be changed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an object, by offsets into the text: ``start`` of its key, ``value``, and ``end`` of its value."""

    key: str
    start: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """An object in a text: the offsets of its braces, and its members."""

    opens: int
    closes: int
    members: tuple[_Member, ...]

    def member(self, key: str) -> _Member | None:
        """Return the member with this key, or None.

        Raises:
            DefinitionError: the key occurs twice.
        """
        matches = [member for member in self.members if member.key == key]
        if len(matches) > 1:
            raise DefinitionError(f"the key {key!r} occurs twice in the file; fix the file by hand")
        return matches[0] if matches else None


def _scan(plain: str, opens: int) -> _Object:
    """Return the object that begins at ``opens``; ``plain`` is valid JSON."""
    decoder = json.JSONDecoder()
    members = []
    at = _skip(plain, opens + 1)
    while plain[at] != "}":
        key, end = decoder.raw_decode(plain, at)
        value = _skip(plain, _skip(plain, end) + 1)
        _, end = decoder.raw_decode(plain, value)
        members.append(_Member(key, at, value, end))
        at = _skip(plain, end)
        if plain[at] == ",":
            at = _skip(plain, at + 1)
    return _Object(opens, at, tuple(members))


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


class JsonText:
    """The text of a file, and where its objects are.

    Raises:
        ValueError: the text is not JSON, comments and trailing commas allowed.
        DefinitionError: it is not an object.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.document, _ = parse_text(text)
        if not isinstance(self.document, dict):
            raise DefinitionError("the file is not a JSON object; fix it by hand")
        self._plain = text if _is_plain_json(text) else without_comments(text)
        self.root = _scan(self._plain, _skip(self._plain, 0))
        self._line_end = "\r\n" if "\r\n" in text else "\n"

    def section_of(self, name: str) -> tuple[str, _Object] | None:
        """Return the first section that defines server ``name``, and its key."""
        for key in SECTIONS:
            member = self.root.member(key)
            if member is not None and self._plain[member.value] == "{":
                section = _scan(self._plain, member.value)
                if section.member(name) is not None:
                    return key, section
        return None

    def section_for_new(self) -> tuple[str, _Object | None]:
        """Return the key of the section for a new server, and the section if it exists.

        Raises:
            DefinitionError: the section exists and is not an object.
        """
        for key in SECTIONS:
            member = self.root.member(key)
            if member is not None and self._plain[member.value] == "{":
                return key, _scan(self._plain, member.value)
        if self.root.member(SECTIONS[0]) is not None:
            raise DefinitionError(f'"{SECTIONS[0]}" in the file is not an object; fix the file by hand')
        return SECTIONS[0], None

    # --- writing --------------------------------------------------------------------------------

    @property
    def _unit(self) -> str:
        """One step of indentation."""
        match = re.search(r"\n([ \t]+)[\"/]", self.text)
        return match[1] if match else "  "

    def _indent(self, at: int) -> str:
        """Return the indentation of the line that contains offset ``at``."""
        line = self.text[self.text.rfind("\n", 0, at) + 1 : at]
        return line if not line.strip() else line[: len(line) - len(line.lstrip())]

    def _dump(self, value: Any, indent: str, *, flat: bool) -> str:
        """Write a value in the style of this file."""
        if flat or "\n" not in self.text:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, indent=self._unit)
        return text.replace("\n", f"{self._line_end}{indent}")

    def replaced(self, member: _Member, value: Any) -> str:
        """Return the text with another value for a member."""
        old = self.text[member.value : member.end]
        flat = "\n" not in old and len(json.dumps(value)) <= _FLAT_CHARACTERS
        new = self._dump(value, self._indent(member.start), flat=flat)
        return self.text[: member.value] + new + self.text[member.end :]

    def added(self, into: _Object, key: str, value: Any) -> str:
        """Return the text with one more member at the end of an object."""
        name = json.dumps(key, ensure_ascii=False)
        between = self.text[into.opens : into.closes]
        on_lines = "\n" in between or ("\n" in self.text and not into.members)
        outer = self._indent(into.closes) if "\n" in between else self._indent(into.opens)
        inner = self._indent(into.members[-1].start) if into.members else outer + self._unit
        if not on_lines:
            return self._insert(into, f" {name}: {self._dump(value, '', flat=True)}", "")
        written = f"{self._line_end}{inner}{name}: {self._dump(value, inner, flat=False)}"
        return self._insert(into, written, f"{self._line_end}{outer}")

    def _insert(self, into: _Object, written: str, tail: str) -> str:
        """Return the text with ``written`` after everything in an object, comments too, and with the comma it needs."""
        text, end = self.text, into.members[-1].end if into.members else into.opens + 1
        rest = text[end : into.closes].rstrip()
        comma = "," if into.members and not self._comma_follows(end) else ""
        if not into.members and not rest and "\n" not in self.text:
            written, tail = written.lstrip(), ""
        return text[:end] + comma + rest + written + tail + text[into.closes :]

    def _comma_follows(self, end: int) -> bool:
        """Return whether a trailing comma follows offset ``end``; the plain text has it blanked out."""
        rest = without_comments(self.text, commas=False)[end:]
        return rest.lstrip().startswith(",")

    def removed(self, of: _Object, member: _Member) -> str:
        """Return the text without a member."""
        text, index = self.text, of.members.index(member)
        start, end = member.start, member.end
        if self._comma_follows(end):
            end = without_comments(text, commas=False).index(",", end) + 1
        elif index > 0:
            before = of.members[index - 1].end
            comma = without_comments(text, commas=False).index(",", before)
            text = f"{text[:comma]}{text[comma + 1 :]}"
            start, end = start - 1, end - 1
        return _without_line(text, start, end)


def _without_line(text: str, start: int, end: int) -> str:
    """Return the text without a piece, and without the lines that this leaves empty."""
    line = text.rfind("\n", 0, start) + 1
    behind = re.compile(r"[ \t]*\r?(\n|\Z)").match(text, end)
    if not text[line:start].strip() and behind is not None and line > 0:
        return text[:line] + text[behind.end() :]
    tail = text[end:].lstrip(" \t")
    head = text[:start].rstrip(" \t") if tail.startswith("}") else text[:start]
    return head + tail


def _is_plain_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def with_entry(text: str, name: str, entry: Mapping[str, Any]) -> str:
    """Return the text of a file with this entry changed or added; the text of a new file is ``""``.

    Raises:
        DefinitionError: the file cannot be changed safely.
    """
    if not text:
        return json.dumps({SECTIONS[0]: {name: entry}}, ensure_ascii=False, indent=2) + "\n"
    file = JsonText(text)
    if (located := file.section_of(name)) is not None:
        key, section = located
        member = section.member(name)
        assert member is not None
        return _checked(file, file.replaced(member, entry), key, name, entry)
    key, place = file.section_for_new()
    written = file.added(place, name, entry) if place else file.added(file.root, key, {name: entry})
    return _checked(file, written, key, name, entry)


def without_entry(text: str, name: str) -> str:
    """Return the text of a file without this entry.

    Raises:
        DefinitionError: there is no entry that can be removed, or not safely.
    """
    file = JsonText(text)
    located = file.section_of(name)
    if located is None:
        raise DefinitionError(f"the file has no entry {name!r} that could be removed")
    key, section = located
    member = section.member(name)
    assert member is not None
    return _checked(file, file.removed(section, member), key, name, None)


def _checked(file: JsonText, text: str, key: str, name: str, entry: Mapping[str, Any] | None) -> str:
    """Return the new text, once it is known to mean the old document with this one change."""
    expected = json.loads(json.dumps(file.document))
    section = expected.setdefault(key, {})
    if entry is None:
        del section[name]
    else:
        section[name] = json.loads(json.dumps(entry))
    try:
        parsed, _ = parse_text(text)
    except ValueError:
        parsed = None
    if parsed != expected or list(parsed.get(key, ())) != list(section):
        raise DefinitionError("the file has a form that cannot be changed safely here; change it by hand")
    return text
