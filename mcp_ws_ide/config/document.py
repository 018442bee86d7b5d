"""Entries of the user's own ``mcp.json``: read, shown without secrets, changed in place.

Only the text of that entry changes; comments, order and formatting of the rest stay. This module knows the file and its
syntax; :mod:`.load` knows what an entry means, and :mod:`.consents` whether it may be started.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.config.load import (
    MAX_FILE_BYTES,
    SETTINGS,
    censor_args,
    censor_text,
    parse_text,
    without_comments,
)
from mcp_ws_ide.observe.redaction import HIDDEN
from mcp_ws_ide.private_files import write_private

SECTIONS: Final = ("mcpServers", "servers")
"""Keys of a file that hold servers by name, in the order in which they are read."""
MISSING: Final = "none"
"""Version of a file that does not exist."""
_SHOWN: Final = frozenset(
    {"cwd", "type", "transport", "python", "group", "disabled", "enabled", "description", "timeout",
     "alwaysAllow", "autoApprove"}
)  # fmt: skip
"""Keys whose values are shown as they are; what is not known may be a secret."""
_REFERENCE: Final = re.compile(r"\$\{(env:)?[A-Za-z_][A-Za-z0-9_]*\}")
_SPACE: Final = re.compile(r"\s*")


class DefinitionError(Exception):
    """A file or an entry that cannot be changed, in words."""


class Changed(DefinitionError):
    """The file is another one than the one that was looked at."""


# --- the text ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of an object; offsets into the text. ``start`` is that of its key, ``end`` behind its value."""

    key: str
    start: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """An object in a text: offsets of its braces, and its members."""

    opens: int
    closes: int
    members: tuple[_Member, ...]

    def member(self, key: str) -> _Member | None:
        """The member of this key.

        Raises:
            DefinitionError: it occurs twice.
        """
        found = [member for member in self.members if member.key == key]
        if len(found) > 1:
            raise DefinitionError(f"the key {key!r} occurs twice in the file; repair it by hand")
        return found[0] if found else None


def _scan(plain: str, opens: int) -> _Object:
    """The object that begins at ``opens``; ``plain`` is valid JSON."""
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
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


class _Text:
    """The text of a file, and where its objects are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.document, _ = parse_text(text)
        if not isinstance(self.document, dict):
            raise DefinitionError("the file is no JSON object; repair it by hand")
        self._plain = text if _is_plain(text) else without_comments(text)
        self.root = _scan(self._plain, _skip(self._plain, 0))
        self._line_end = "\r\n" if "\r\n" in text else "\n"

    def section(self, name: str) -> tuple[str, _Object] | None:
        """The first section that has this server."""
        for key in SECTIONS:
            member = self.root.member(key)
            if member is not None and self._plain[member.value] == "{":
                found = _scan(self._plain, member.value)
                if found.member(name) is not None:
                    return key, found
        return None

    def place(self) -> tuple[str, _Object | None]:
        """The section for a new server, and its object if there is one."""
        for key in SECTIONS:
            member = self.root.member(key)
            if member is not None and self._plain[member.value] == "{":
                return key, _scan(self._plain, member.value)
        if self.root.member(SECTIONS[0]) is not None:
            raise DefinitionError(f'"{SECTIONS[0]}" of the file is no object; repair it by hand')
        return SECTIONS[0], None

    # --- writing ---

    @property
    def _unit(self) -> str:
        """One step of indentation."""
        found = re.search(r"\n([ \t]+)[\"/]", self.text)
        return found[1] if found else "  "

    def _indent(self, at: int) -> str:
        """What stands before this place on its line, if that is nothing but space."""
        line = self.text[self.text.rfind("\n", 0, at) + 1 : at]
        return line if not line.strip() else line[: len(line) - len(line.lstrip())]

    def dump(self, value: Any, indent: str, *, flat: bool) -> str:
        """A value as this file writes them."""
        if flat or "\n" not in self.text:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, indent=self._unit)
        return text.replace("\n", f"{self._line_end}{indent}")

    def replaced(self, member: _Member, value: Any) -> str:
        """The text with another value for a member."""
        old = self.text[member.value : member.end]
        flat = "\n" not in old and len(json.dumps(value)) <= 100
        new = self.dump(value, self._indent(member.start), flat=flat)
        return self.text[: member.value] + new + self.text[member.end :]

    def added(self, into: _Object, key: str, value: Any) -> str:
        """The text with one more member, at the end of an object."""
        name = json.dumps(key, ensure_ascii=False)
        between = self.text[into.opens : into.closes]
        spread = "\n" in between or ("\n" in self.text and not into.members)
        outer = self._indent(into.closes) if "\n" in between else self._indent(into.opens)
        inner = self._indent(into.members[-1].start) if into.members else outer + self._unit
        if not spread:
            return self._insert(into, f" {name}: {self.dump(value, '', flat=True)}", "")
        written = f"{self._line_end}{inner}{name}: {self.dump(value, inner, flat=False)}"
        return self._insert(into, written, f"{self._line_end}{outer}")

    def _insert(self, into: _Object, written: str, tail: str) -> str:
        """``written`` behind everything that stands in an object, comments too, with the comma that it needs."""
        text, end = self.text, into.members[-1].end if into.members else into.opens + 1
        rest = text[end : into.closes].rstrip()
        comma = "," if into.members and not self._comma_follows(end) else ""
        if not into.members and not rest and "\n" not in self.text:
            written, tail = written.lstrip(), ""
        return text[:end] + comma + rest + written + tail + text[into.closes :]

    def _comma_follows(self, end: int) -> bool:
        """Whether a trailing comma stands there; it is blanked out of the plain text."""
        rest = without_comments(self.text, commas=False)[end:]
        return rest.lstrip().startswith(",")

    def removed(self, of: _Object, member: _Member) -> str:
        """The text without a member."""
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
    """The text without this piece, and without the lines that would be left empty."""
    line = text.rfind("\n", 0, start) + 1
    behind = re.compile(r"[ \t]*\r?(\n|\Z)").match(text, end)
    if not text[line:start].strip() and behind is not None and line > 0:
        return text[:line] + text[behind.end() :]
    tail = text[end:].lstrip(" \t")
    head = text[:start].rstrip(" \t") if tail.startswith("}") else text[:start]
    return head + tail


def _is_plain(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def with_entry(text: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text of a file with this entry, changed or new; ``""`` is that of a new file.

    Raises:
        DefinitionError: the file cannot be changed safely.
    """
    if not text:
        return json.dumps({SECTIONS[0]: {name: entry}}, ensure_ascii=False, indent=2) + "\n"
    file = _Text(text)
    if (found := file.section(name)) is not None:
        key, section = found
        member = section.member(name)
        assert member is not None
        return _checked(file, file.replaced(member, entry), key, name, entry)
    key, place = file.place()
    written = file.added(place, name, entry) if place else file.added(file.root, key, {name: entry})
    return _checked(file, written, key, name, entry)


def without_entry(text: str, name: str) -> str:
    """The text of a file without this entry.

    Raises:
        DefinitionError: it has none that could be removed.
    """
    file = _Text(text)
    found = file.section(name)
    if found is None:
        raise DefinitionError(f"the file has no entry {name!r} that could be removed")
    key, section = found
    member = section.member(name)
    assert member is not None
    return _checked(file, file.removed(section, member), key, name, None)


def _checked(file: _Text, text: str, key: str, name: str, entry: Mapping[str, Any] | None) -> str:
    """The new text, once it is known to mean the old one with this one change."""
    wanted = json.loads(json.dumps(file.document))
    section = wanted.setdefault(key, {})
    if entry is None:
        del section[name]
    else:
        section[name] = json.loads(json.dumps(entry))
    try:
        found, _ = parse_text(text)
    except ValueError:
        found = None
    if found != wanted or list(found.get(key, ())) != list(section):
        raise DefinitionError("the file is written in a way that cannot be changed safely; change it by hand")
    return text


# --- the file ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file at one moment. ``version`` tells it from every other content."""

    text: str
    version: str
    bom: bool = False

    def entry(self, name: str) -> Any:
        """The entry of this name as it is written; None if there is none in a section that can be changed."""
        if not self.text:
            return None
        file = _Text(self.text)
        found = file.section(name)
        return None if found is None else file.document[found[0]][name]


class DefinitionFile:
    """The one file that is changed for a user.

    Args:
        path: the file; it need not exist.
        seal: from its content to its version.
    """

    def __init__(self, path: str, seal: Callable[[bytes], str]) -> None:
        self.path = path
        self._seal = seal

    def read_only(self) -> str:
        """Why the file is not changed, in words; ``""`` if it may be."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return self._directory_read_only()
        except OSError as error:
            return f"it cannot be looked at: {error.strerror}"
        if stat.S_ISLNK(status.st_mode):
            return "it is a symbolic link, which would be replaced; change the file that it points to by hand"
        if not stat.S_ISREG(status.st_mode):
            return "it is no regular file"
        if status.st_nlink > 1:
            return "it has another name (a hard link), which would keep the old content; change it by hand"
        if status.st_uid != os.geteuid():
            return "it belongs to another user"
        if not status.st_mode & stat.S_IWUSR:
            return "it is write-protected"
        return self._directory_read_only()

    def _directory_read_only(self) -> str:
        directory = os.path.dirname(self.path)
        while not os.path.exists(directory) and directory != os.path.dirname(directory):
            directory = os.path.dirname(directory)
        if not os.path.isdir(directory):
            return f"{directory} is no directory"
        return (
            "" if os.access(directory, os.W_OK | os.X_OK) else f"the directory {directory} is write-protected"
        )

    def read(self) -> Snapshot:
        """The file as it is now.

        Raises:
            DefinitionError: it cannot be read, or is no JSON; it must then be repaired by hand.
        """
        try:
            data = Path(self.path).read_bytes()
        except FileNotFoundError:
            return Snapshot("", MISSING)
        except OSError as error:
            raise DefinitionError(f"it cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise DefinitionError(f"it is larger than {MAX_FILE_BYTES} bytes")
        try:
            text = data.decode("utf-8-sig")
            if text.strip():
                _Text(text)
        except UnicodeDecodeError:
            raise DefinitionError("it is not UTF-8; save it as UTF-8 by hand") from None
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"{error}; repair it by hand") from None
        # One with nothing in it, as an editor or `touch` makes it, is filled like a new one.
        return Snapshot(text if text.strip() else "", self._version(data), data.startswith(b"\xef\xbb\xbf"))

    def write(self, before: Snapshot, text: str) -> str:
        """Put ``text`` in the place of what was read; returns the new version.

        Raises:
            Changed: it is not what was read any more.
            DefinitionError: it cannot be written.
        """
        data = (b"\xef\xbb\xbf" if before.bom else b"") + text.encode()
        if len(data) > MAX_FILE_BYTES:
            raise DefinitionError(f"it would be larger than {MAX_FILE_BYTES} bytes")
        if reason := self.read_only():
            raise DefinitionError(reason)
        if self.read().version != before.version:
            raise Changed("the file has changed meanwhile; look at it again")
        try:
            write_private(Path(self.path), data)
        except OSError as error:
            raise DefinitionError(f"it cannot be written: {error.strerror}") from None
        return self._version(data)

    def _version(self, data: bytes) -> str:
        return self._seal(data)[:32]


# --- secrets ----------------------------------------------------------------------------------------


def shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry for a browser. What may be a secret is ``{"hidden": POINTER}`` (RFC 6901, into the stored entry), with
    ``"shown"`` where a part may be seen; a mere ``${env:NAME}`` is shown."""
    return {key: _shown_member(key, value) for key, value in entry.items()}


def _shown_member(key: str, value: Any) -> Any:
    pointer = f"/{_escape(key)}"
    if key in _SHOWN:
        return value
    if key == "args" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        pairs = zip(value, censor_args(value), strict=True)
        return [_part(f"{pointer}/{index}", arg, seen) for index, (arg, seen) in enumerate(pairs)]
    if key in ("command", "url") and isinstance(value, str):
        return _part(pointer, value, censor_text(value))
    if key in ("env", "headers") and isinstance(value, dict):
        return {name: _value(f"{pointer}/{_escape(name)}", item) for name, item in value.items()}
    if key == "mcp_ws" and isinstance(value, dict):
        return {name: _shown_setting(pointer, name, item) for name, item in value.items()}
    return {"hidden": pointer}


def _part(pointer: str, value: str, seen: str) -> Any:
    return value if seen == value else {"hidden": pointer, "shown": seen}


def _value(pointer: str, value: Any) -> Any:
    plain = isinstance(value, str) and _REFERENCE.fullmatch(value)
    return value if plain else {"hidden": pointer, "shown": HIDDEN}


def _shown_setting(above: str, name: str, value: Any) -> Any:
    """One of the gateway's own settings, under ``mcp_ws``."""
    pointer = f"{above}/{_escape(name)}"
    if name == "oauth" and isinstance(value, dict):
        return {key: _shown_oauth(f"{pointer}/{_escape(key)}", key, item) for key, item in value.items()}
    known = name in SETTINGS and (name != "oauth" or isinstance(value, bool))
    return value if known else {"hidden": pointer}


def _shown_oauth(pointer: str, key: str, value: Any) -> Any:
    return value if key in ("scope", "client_id") else _value(pointer, value)


def restored(entry: Any, stored: Mapping[str, Any] | None) -> Any:
    """An entry with what :func:`shown` hid of the stored one put back.

    Raises:
        DefinitionError: it asks for what is not hidden there, or would have it where it is another thing, or shown.
    """
    given = dict(_placeholders(shown(stored or {}), ""))
    kept: dict[str, str] = {}
    found = _restored(entry, stored or {}, given, kept, "")
    if kept:
        _check_options(found, stored or {}, kept)
        _check_still_hidden(found, given, kept)
    return found


def _restored(
    value: Any, stored: Mapping[str, Any], given: Mapping[str, str | None], kept: dict[str, str], at: str
) -> Any:
    """``kept`` takes where something was put back, and its pointer."""
    if (pointer := _placeholder(value, at)) is not None:
        moved = at.rpartition("/")[0] == pointer.rpartition("/")[0] == "/args"
        if (pointer != at and not moved) or pointer in kept.values():
            raise DefinitionError(f"what is hidden at {pointer} cannot be used for {at}; type it again")
        if pointer not in given:
            raise DefinitionError(f"the stored entry has nothing hidden at {pointer} any more; type it again")
        kept[at] = pointer
        return _pointed(stored, pointer)
    if isinstance(value, dict):
        return {
            key: _restored(item, stored, given, kept, f"{at}/{_escape(key)}") for key, item in value.items()
        }
    if isinstance(value, list):
        return [_restored(item, stored, given, kept, f"{at}/{index}") for index, item in enumerate(value)]
    return value


def _placeholders(value: Any, at: str) -> Iterator[tuple[str, str | None]]:
    """What is hidden of a shown entry: its pointers, each with what may be seen of it."""
    if _placeholder(value, at) == at:
        yield at, value.get("shown")
    elif isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _placeholders(item, f"{at}/{_escape(str(key))}")


def _check_options(found: Mapping[str, Any], stored: Mapping[str, Any], kept: Mapping[str, str]) -> None:
    """An argument may change its place, but not the option that it belongs to."""
    for at, pointer in kept.items():
        if at.startswith("/args/"):
            now, before = (
                _option(of["args"], int(where.rpartition("/")[2]))
                for of, where in ((found, at), (stored, pointer))
            )
            if now != before:
                raise DefinitionError(
                    f"the argument hidden at {pointer} stood behind another option; type it again"
                )


def _option(args: Any, index: int) -> Any:
    """What stands before an argument, if that is an option which takes it."""
    before = args[index - 1] if index and isinstance(args, list) else None
    return before if isinstance(before, str) and before.startswith("-") and "=" not in before else None


def _check_still_hidden(
    found: Mapping[str, Any], given: Mapping[str, str | None], kept: Mapping[str, str]
) -> None:
    """Whatever was put back, and wherever: no more of it is shown than before."""
    now = dict(_placeholders(shown(found), ""))
    for at, pointer in kept.items():
        if at not in now or now[at] != given[pointer]:
            raise DefinitionError(f"what is hidden at {pointer} would be shown at {at}; type it again")


def _placeholder(value: Any, at: str) -> str | None:
    """The pointer of what stands for something hidden. A variable or a header may be called ``hidden``."""
    if not isinstance(value, dict) or not set(value) <= {"hidden", "shown"}:
        return None
    pointer = value.get("hidden")
    if not isinstance(pointer, str) or (at in ("/env", "/headers") and pointer != at):
        return None
    return pointer


def _pointed(stored: Any, pointer: str) -> Any:
    found = stored
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise DefinitionError(f"the stored entry has nothing at {pointer} any more; type it again")
    return found


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
