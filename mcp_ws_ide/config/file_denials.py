"""What a file of another program forbids outside its entries: whole servers (Gemini CLI, Qwen Code), and tools
(opencode).

Pure; the entries themselves are read by :mod:`.entry`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mcp_ws_ide.config.dialect_keys import Notice
from mcp_ws_ide.config.file_sections import is_entry

_NOT_IN_TOOL_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
"""What opencode replaces in a server's name, which begins the names of its tools."""
_SWITCHES: Final = frozenset({"enabled", "disabled"})


def without_denied(
    document: Mapping[str, Any], entries: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Notice]]:
    """Return the entries of a section with what the rest of the file forbids, and a notice for each prohibition.

    A forbidden server is disabled; a forbidden tool is added to the rules of its server.
    """
    kept, notices = dict(entries), []
    for name in [name for name, entry in entries.items() if isinstance(entry, dict)]:
        for key in _keys_against(document, name):
            kept[name] = {**entries[name], "disabled": True}
            notices.append(Notice(key, f"switches off {name!r}"))
    for pattern in _forbidden_tools(document):
        notices.extend(_forbid(kept, pattern))
    return kept, notices


def unused_switches(document: Mapping[str, Any]) -> list[Notice]:
    """Return a notice for each member of ``mcp`` that is only a switch for a server of another file (opencode)."""
    section = document.get("mcp")
    members = section.items() if isinstance(section, dict) else ()
    reason = (
        "switches off no server here, because it has no command and no url; switch it off where it is defined"
    )
    return [
        Notice(f"mcp.{name}", reason)
        for name, entry in members
        if isinstance(entry, dict) and entry and _SWITCHES.issuperset(entry)
    ]


def _keys_against(document: Mapping[str, Any], name: str) -> list[str]:
    """Return the keys of Gemini CLI and Qwen Code that forbid a server."""
    section = document.get("mcp")
    if not isinstance(section, dict) or is_entry(section):
        return []
    allowed, excluded = section.get("allowed"), section.get("excluded")
    keys = ["mcp.excluded"] if isinstance(excluded, list) and _is_named(name, excluded) else []
    return [*keys, "mcp.allowed"] if isinstance(allowed, list) and not _is_named(name, allowed) else keys


def _is_named(name: str, patterns: list[Any]) -> bool:
    """Return whether a name is among names in which ``*`` and ``?`` are wildcards (Qwen Code)."""
    return any(
        fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns if isinstance(pattern, str)
    )


def _forbidden_tools(document: Mapping[str, Any]) -> list[str]:
    """Return the patterns that opencode's ``tools`` switches off, beside its ``mcp``."""
    tools = document.get("tools")
    if not isinstance(tools, dict) or not isinstance(document.get("mcp"), dict):
        return []
    return [str(pattern) for pattern, value in tools.items() if value is False]


def _forbid(entries: dict[str, Any], pattern: str) -> list[Notice]:
    """Apply one pattern to the entries; ``server_tool`` is the name of a tool in opencode."""
    notices, key = [], f"tools.{pattern}"
    literal, star, _ = pattern.partition("*")
    for name, entry in entries.items():
        prefix = f"{_NOT_IN_TOOL_NAME.sub('_', name)}_"
        if not isinstance(entry, dict):
            continue
        if pattern.endswith("*") and fnmatchcase(prefix, pattern):
            entries[name] = {**entry, "disabled": True}
            notices.append(Notice(key, f"switches off {name!r}"))
        elif pattern.startswith(prefix) and "mcp_ws" not in entry:
            denied = [*entry.get("disabledTools", ()), pattern.removeprefix(prefix)]
            entries[name] = {**entry, "disabledTools": denied}
            notices.append(Notice(key, f"denies {pattern.removeprefix(prefix)!r} of {name!r}"))
        elif pattern.startswith(prefix) or (star and prefix.startswith(literal)):
            reason = f'not applied to {name!r}; write "mcp_ws": {{"tools": {{"deny": [NAME]}}}} in its entry'
            notices.append(Notice(key, reason))
    return notices
