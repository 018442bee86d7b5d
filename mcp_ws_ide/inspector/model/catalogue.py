"""A server's identity, capabilities, tools, prompts and resources, learned from its own responses.

Uses responses on the server leg; a paginated list is collected over its pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.inspector.model.records import part
from mcp_ws_ide.inspector.model.sizes import size_of

LISTS: Final = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
INTRODUCTIONS: Final = frozenset({"initialize", "server/discover"})
MAX_ITEMS: Final = 1000
"""Entries kept per list."""
MAX_TEXT: Final = 200
"""Characters kept of a name."""
MAX_DESCRIPTION: Final = 2000
"""Characters kept of a description."""


@dataclass(slots=True)
class Catalogue:
    """One server.

    Attributes:
        items: entries as (name, description), by kind.
        sizes: characters of the entries as JSON, by kind and name.
        notes: what is odd about a list, by kind: its cursors repeat, or one page lists an entry twice.
        incomplete: the kinds whose lists may have more entries, because a response was truncated or had too many.
    """

    who: str = ""
    versions: list[str] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    items: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    _next: dict[tuple[str, str], str] = field(default_factory=dict)
    """The cursor that the newest page had, by kind and the cursor at which it was requested."""

    def learn(self, method: str, content: dict[str, Any], asked: str | None = None) -> None:
        """Learn from a response to ``method``; ``asked`` is the cursor of its request."""
        result = part(content, "result")
        if not isinstance(result, dict):
            return
        if method in INTRODUCTIONS:
            self._introduce(result)
        elif method in LISTS:
            self._list(*LISTS[method], result)
            self._follow(*LISTS[method], result, asked)

    def learn_truncated(self, method: str) -> None:
        """Note a response to ``method`` that was truncated, so that nothing can be learned from it."""
        if method in LISTS:
            kind, _ = LISTS[method]
            self.items.setdefault(kind, [])
            self.incomplete.add(kind)

    def _introduce(self, result: dict[str, Any]) -> None:
        info = result.get("serverInfo") or part(result, "_meta", "io.modelcontextprotocol/serverInfo")
        name, version = part(info, "name"), part(info, "version")
        if isinstance(name, str):
            self.who = f"{name} {version if isinstance(version, str) else ''}".strip()[:MAX_TEXT]
        versions = result.get("supportedVersions") or [result.get("protocolVersion")]
        if isinstance(versions, list):
            new = [
                version
                for version in versions[:20]
                if isinstance(version, str) and version not in self.versions
            ]
            self.versions = [*self.versions, *(version[:20] for version in new)][-20:]
        offered = result.get("capabilities")
        if isinstance(offered, dict):
            self.capabilities = [_capability(str(key), value) for key, value in list(offered.items())[:50]]

    def _list(self, name: str, key: str, result: dict[str, Any]) -> None:
        entries = result.get(name)
        if not isinstance(entries, list):
            return
        known, sizes = dict(self.items.get(name, [])), self.sizes.get(name, {})
        if len(entries) > MAX_ITEMS:
            self.incomplete.add(name)
        for entry in entries[:MAX_ITEMS]:
            title, text = part(entry, key), part(entry, "description")
            if isinstance(title, str):
                known[title[:MAX_TEXT]] = text.strip()[:MAX_DESCRIPTION] if isinstance(text, str) else ""
                sizes[title[:MAX_TEXT]] = size_of(entry)
        self.items[name] = list(known.items())[-MAX_ITEMS:]
        self.sizes[name] = {title: sizes.get(title, 0) for title, _ in self.items[name]}

    def _follow(self, name: str, key: str, result: dict[str, Any], asked: str | None) -> None:
        """Note whether the cursors of a list run in a circle, and whether this page lists an entry twice.

        Several sessions may list at the same time, so that only the cursors say which page follows which.
        """
        following = result.get("nextCursor")
        start = f"={asked}" if asked is not None else ""
        self._next.pop((name, start), None)
        notes = []
        if isinstance(following, str):
            if len(self._next) < MAX_ITEMS:
                self._next[name, start] = f"={following[:MAX_TEXT]}"
            at: str | None = f"={following[:MAX_TEXT]}"
            passed = {start}
            while at is not None and at not in passed:
                passed.add(at)
                at = self._next.get((name, at))
            if at is not None:
                notes.append(f"the cursor {following[:MAX_TEXT]!r} is repeated")
        entries = result.get(name)
        titles = [part(entry, key) for entry in entries] if isinstance(entries, list) else []
        twice = len(titles) - len({title for title in titles if isinstance(title, str)})
        if twice and all(isinstance(title, str) for title in titles):
            notes.append(f"{twice} listed twice")
        if notes:
            self.notes[name] = "; ".join(notes)
        else:
            self.notes.pop(name, None)


def _capability(name: str, value: Any) -> str:
    options = [key for key, on in value.items() if on is True] if isinstance(value, dict) else []
    return (f"{name}({', '.join(options)})" if options else name)[:MAX_TEXT]
