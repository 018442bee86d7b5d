"""Where the files of other programs keep their servers: the paths in a document, as data, and the projects of one file.

Knows nothing of what an entry contains, apart from the keys by which it is recognized as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from mcp_ws_ide.config.dialect_keys import ALIASES, NESTED
from mcp_ws_ide.config.manifests import is_manifest, manifest_name

SECTIONS: Final = (
    "mcpServers", "servers", "mcp_servers", "context_servers",
    "modelContextProtocolServers", "experimental.modelContextProtocolServers",  # Continue before 2025
    "amp.mcpServers", "mcp.servers", "mcp.mcpServers",
    "mcp.stdio_servers", "mcp.shttp_servers", "mcp.sse_servers",  # OpenHands
    "settings.mcp.servers",  # VS Code's .code-workspace
    "customizations.vscode.mcp.servers",  # devcontainer.json
)  # fmt: skip
"""Paths under which the programs keep their servers, by name or as a list: as one key, or as nested objects."""
_RECOGNIZED_BY: Final = frozenset({"url", "command", "args", "type"})
"""Keys, under their names here, by which an object is recognized as an entry."""
_BUILT_IN: Final = ("builtin", "platform", "frontend", "inline_python")
"""Types of Goose's extensions that are no MCP servers of their own."""


def sections_of(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the parts of a file that hold servers, each with its dotted path, in the order in which they are read."""
    found = [section for path in SECTIONS for section in _section_at(document, path)]
    dotted = [key for key in document if key.endswith(".mcpServers") and key not in SECTIONS]  # Cody
    found += [(key, document[key]) for key in dotted]
    if not any(path.startswith("mcp.") for path, _ in found):  # opencode; Gemini has other things there
        found += _entries_below(document, "mcp", is_entry)
    found += _entries_below(document, "extensions", _is_extension)  # Goose
    if not found:  # Augment
        nested = {key: value for key, value in document.items() if isinstance(value, dict)}
        found += [(f"{k}.mcpServers", v["mcpServers"]) for k, v in nested.items() if "mcpServers" in v]
    if not found and document and all(is_entry(entry) for entry in document.values()):
        found.append(("", dict(document)))
    return found


def _section_at(document: Mapping[str, Any], path: str) -> list[tuple[str, Any]]:
    """Return the section at a dotted path, with the path, or nothing: one key, or nested objects."""
    if path in document:
        return [(path, document[path])]
    *outer, last = path.split(".")
    inner: Any = document
    for key in outer:
        inner = inner.get(key) if isinstance(inner, dict) else None
    value = inner.get(last) if outer and isinstance(inner, dict) else None
    return [(path, value)] if isinstance(value, (dict, list)) and not is_entry(value) else []


def _entries_below(
    document: Mapping[str, Any], key: str, accepted: Callable[[Any], bool]
) -> list[tuple[str, Any]]:
    """Return the entries among the members of an object that also holds other things."""
    section = document.get(key)
    members = section.items() if isinstance(section, dict) else ()
    entries = {name: entry for name, entry in members if accepted(entry)}
    return [(key, entries)] if entries else []


def name_in_list(section: str, index: int, entry: Any) -> str | None:
    """Return the name of an entry of a list, or one made from its place; None if it is not an entry.

    Args:
        section: dotted path of the list.
    """
    name = entry.get("name") if isinstance(entry, dict) else None
    if isinstance(name, str):
        return name
    if isinstance(entry, dict) and (name := manifest_name(entry)) is not None:
        return name
    is_address = isinstance(entry, str) and "://" in entry  # OpenHands
    return f"{section.rpartition('.')[2]}-{index + 1}" if is_address or is_entry(entry) else None


class Project(NamedTuple):
    """The servers of one project in a file of Claude Code.

    Attributes:
        folder: the project.
        key: where its servers are in the file.
        servers: entries by name.
    """

    folder: str
    key: str
    servers: dict[str, Any]


def projects_of(document: Mapping[str, Any]) -> list[Project]:
    """Return the projects of a file that have servers; one that the user switched off there is disabled."""
    projects = document.get("projects")
    found = []
    for folder, project in projects.items() if isinstance(projects, dict) else ():
        servers = project.get("mcpServers") if isinstance(project, dict) else None
        if not isinstance(servers, dict) or not servers:
            continue
        off = project.get("disabledMcpServers")
        for name in off if isinstance(off, list) else ():
            if isinstance(name, str) and isinstance(servers.get(name), dict):
                servers = {**servers, name: {**servers[name], "disabled": True}}
        found.append(Project(str(folder), f"projects.{folder}.mcpServers", servers))
    return found


def is_entry(value: Any) -> bool:
    """Return whether an object is an entry of a server, by its keys."""
    if not isinstance(value, dict):
        return False
    return _has_own_keys(value) or any(_has_own_keys(value.get(key)) for key in NESTED) or is_manifest(value)


def _has_own_keys(value: Any) -> bool:
    keys = value if isinstance(value, dict) else ()
    return not _RECOGNIZED_BY.isdisjoint(ALIASES.get(key, key) for key in keys)


def _is_extension(value: Any) -> bool:
    """Return whether an extension of Goose is a server, not a part of Goose."""
    return is_entry(value) and value.get("type") not in _BUILT_IN
