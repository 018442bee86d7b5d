"""What servers define for a model to read (tools, prompts, resource templates, instructions), and what has changed.

Learned from responses to the list methods, each server's own where the server leg was seen. Resources are left out:
they are data, which comes and goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.inspector.model.catalogue import INTRODUCTIONS, LISTS
from mcp_ws_ide.inspector.model.difference import content_of, differences
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Lane, part
from mcp_ws_ide.inspector.model.store import TRUNCATED

KINDS: Final = {"tools": "tool", "prompts": "prompt", "resourceTemplates": "resource template"}
"""The kinds that are compared, and how a sentence calls one definition of each."""
_LISTS: Final = {method: names for method, names in LISTS.items() if names[0] in KINDS}

CHANGED: Final = "definition-changed"
ADDED: Final = "definition-added"
REMOVED: Final = "definition-removed"
UNSEEN: Final = "definition-unseen"
CODES: Final = {
    CHANGED: "definitions that differ from the approved ones",
    ADDED: "definitions that were not approved",
    REMOVED: "approved definitions that the server no longer lists",
    UNSEEN: "servers whose definitions could not be compared",
}
"""The codes of differences, and their meaning."""

Approved = Mapping[str, Mapping[str, Any]]
"""By server: its ``instructions``, and by kind the definitions by name."""


@dataclass(slots=True)
class Listing:
    """One list of a server.

    Attributes:
        versions: of each name its definitions, each with the row that showed it first (None if the server was asked);
            in the order they were seen.
        names: those of the newest complete list; None if no complete one was seen.
    """

    versions: dict[str, dict[str, tuple[Any, int | None]]] = field(default_factory=dict)
    names: list[str] | None = None
    _pages: dict[str, list[str]] = field(default_factory=dict)
    """The names up to a page, by the cursor at which the next page is requested."""

    def add(
        self, key: str, entries: list[Any], row: int | None, asked: str | None, following: str | None
    ) -> None:
        """Add one page, which was requested with the cursor ``asked``."""
        before = [] if asked is None else self._pages.get(asked)
        names = []
        for entry in entries:
            name = part(entry, key)
            if isinstance(name, str):
                names.append(name)
                text = json.dumps(entry, sort_keys=True)
                seen = self.versions.setdefault(name, {})
                seen[text] = seen.pop(text, (entry, row))  # the newest one last
        if before is None:
            return
        if following is None:
            self.names = [*before, *names]
        else:
            self._pages[following] = [*before, *names]


@dataclass(slots=True)
class ServerDefinitions:
    """One server: its lists by kind, and its instructions with the row that showed them."""

    lists: dict[str, Listing] = field(default_factory=dict)
    instructions: dict[str, int | None] = field(default_factory=dict)
    introduced: bool = False
    cut: bool = False
    """Whether a response with definitions was truncated, so that some may be missing."""

    @property
    def complete(self) -> bool:
        """Whether at least one complete list was seen."""
        return any(listing.names is not None for listing in self.lists.values())

    def newest(self) -> dict[str, Any]:
        """Return the newest definitions of the complete lists, as a baseline holds them."""
        members: dict[str, Any] = {}
        if self.introduced:
            members["instructions"] = next(reversed(self.instructions), "")
        for kind, listing in self.lists.items():
            if listing.names is not None:
                members[kind] = {
                    name: next(reversed(listing.versions[name].values()))[0] for name in listing.names
                }
        return members


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference from the approved definitions.

    Attributes:
        code: one of :data:`CODES`.
        row: the row that showed it; None if no message did.
        what: the kind and name, for instance ``tool read_file``.
    """

    code: str
    server: str
    row: int | None
    what: str
    text: str


def definitions_of(journal: Journal) -> dict[str, ServerDefinitions]:
    """Return what the servers of a journal define, by server."""
    store, servers = journal.store, dict[str, ServerDefinitions]()
    methods = {store.names.number(method): method for method in (*_LISTS, *INTRODUCTIONS)}
    for index, number in enumerate(store.method):
        row = index + store.first
        if number in methods and store.kind_of(row) is Kind.RESPONSE and _is_own(journal, row):
            server = servers.setdefault(store.server_of(row), ServerDefinitions())
            if store.has(row, TRUNCATED):
                server.cut = True
            else:
                _learn(journal, server, methods[number], row)
    return servers


def _is_own(journal: Journal, row: int) -> bool:
    """Return whether a response is the server's own, or what the client got where the server leg was not seen."""
    store = journal.store
    if store.lane_of(row) is Lane.UPSTREAM_IN:
        return True
    request = store.linked(store.pair, row)
    known = any(store.linked(store.twin, one) is not None for one in (row, request) if one is not None)
    return store.lane_of(row) is Lane.CLIENT_OUT and not known


def _learn(journal: Journal, server: ServerDefinitions, method: str, row: int) -> None:
    result = part(content_of(journal.store.body(row).text), "result")
    if not isinstance(result, dict):
        return
    if method in INTRODUCTIONS:
        server.introduced = True
        text = result.get("instructions")
        text = text if isinstance(text, str) else ""
        server.instructions[text] = server.instructions.pop(text, row)
        return
    kind, key = _LISTS[method]
    entries, following = result.get(kind), result.get("nextCursor")
    if isinstance(entries, list):
        request = journal.store.linked(journal.store.pair, row)
        asked = None
        if request is not None:
            asked = part(content_of(journal.store.body(request).text), "params", "cursor")
        listing = server.lists.setdefault(kind, Listing())
        listing.add(
            key,
            entries,
            row,
            asked if isinstance(asked, str) else None,
            following if isinstance(following, str) else None,
        )


# --- comparison ----------------------------------------------------------------------------------


def drift(servers: Mapping[str, ServerDefinitions], approved: Approved) -> Iterator[Drift]:
    """Yield how the definitions differ from the approved ones; every version that was seen counts."""
    for name, server in servers.items():
        if name in approved:
            yield from _drift_of(name, server, approved[name])
        elif server.complete:
            counts = [
                f"{len(listing.versions)} {kind}"
                for kind, listing in server.lists.items()
                if listing.versions
            ]
            text = f"the server is not in the baseline; it defines {', '.join(counts) or 'nothing'}"
            yield Drift(ADDED, name, None, "server", text)
    if not any(name in approved and server.complete for name, server in servers.items()):
        text = "no complete list of definitions of a server in the baseline was seen"
        yield Drift(UNSEEN, "", None, "", text)


def _drift_of(name: str, server: ServerDefinitions, approved: Mapping[str, Any]) -> Iterator[Drift]:
    if "instructions" in approved:
        before = approved["instructions"]
        for text, row in server.instructions.items():
            for difference in differences(before, text, varying=frozenset()):
                yield Drift(CHANGED, name, row, "instructions", difference.change)
    for kind, listing in server.lists.items():
        known = approved.get(kind)
        yield from _drift_of_list(name, KINDS[kind], listing, known if isinstance(known, dict) else {})


def _drift_of_list(server: str, noun: str, listing: Listing, approved: Mapping[str, Any]) -> Iterator[Drift]:
    for name, versions in listing.versions.items():
        what = f"{noun} {name}"
        if name not in approved:
            yield Drift(ADDED, server, next(iter(versions.values()))[1], what, "it is not in the baseline")
            continue
        told = set[str]()
        for definition, row in versions.values():
            for difference in differences(approved[name], definition, varying=frozenset()):
                if (text := str(difference)) not in told:
                    told.add(text)
                    yield Drift(CHANGED, server, row, what, text)
    for name in approved if listing.names is not None else ():
        if name not in listing.versions:
            yield Drift(REMOVED, server, None, f"{noun} {name}", "the server no longer lists it")


def unseen(servers: Mapping[str, ServerDefinitions], approved: Approved) -> list[str]:
    """Return what of the baseline was not compared, a phrase each."""
    parts = []
    for name, members in approved.items():
        server = servers.get(name, ServerDefinitions())
        missing = [
            kind
            for kind in KINDS
            if members.get(kind) and getattr(server.lists.get(kind), "names", None) is None
        ]
        if missing:
            reason = ", as a response was truncated" if server.cut else ""
            parts.append(f"{', '.join(missing)} of {name}{reason}")
    return parts
