"""Which records a watcher of the tap gets: its filters, applied to one record at a time.

Filters, and the position that a watcher continues from, arrive as query parameters (docs/reference/tap.md).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from mcp_ws_ide.observe.tap_record import NO_ID, TapRecord, client_left

MAX_ASKED: Final = 4096
"""Open requests that a watcher of methods remembers, to recognize their responses; one more forgets the oldest."""
_TROUBLE: Final = frozenset({"dropped", "link_lost", "upstream_closed", "fault", "intermediary"})
"""Events that count as failures."""


MAX_VALUES: Final = 32
"""Values that one filter may have."""
MAX_VALUE: Final = 100
"""Characters that one value may have."""
CHOICES: Final = {
    "kind": ("request", "response", "error", "notification", "malformed", "noise", "event"),
    "direction": ("in", "out"),
    "leg": ("client", "upstream"),
    "errors": ("0", "1"),
}
"""Filters with fixed values; docs/reference/tap.md says what they mean."""
FILTERS: Final = ("server", "session", "kind", "method", "direction", "leg", "errors")
OTHERS: Final = ("after", "instance")


Query = Mapping[str, list[str]]
"""The query parameters of a watcher, each with all its values."""


class BadQueryError(ValueError):
    """A query parameter is invalid; the text says why."""


class Scope(msgspec.Struct, frozen=True):
    """The records that a watcher asked for. Empty members select everything.

    Attributes:
        sessions: session ids, or prefixes of them.
        methods: must match the whole method; a response has the method of its request.
        errors: select only failures: JSON-RPC errors, results with ``isError``, malformed messages, losses.
    """

    servers: frozenset[str] = frozenset()
    sessions: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    methods: re.Pattern[str] | None = None
    leg: str = ""
    direction: str = ""
    errors: bool = False

    def accepts(self, record: TapRecord, asked: Asked) -> bool:
        """Whether ``record`` is selected; ``asked`` keeps one watcher's open requests."""
        if self.servers and record.server not in self.servers:
            return False
        if self.sessions and not (record.session or record.origin_session or "").startswith(self.sessions):
            return False
        if self.methods is not None and not asked.is_about(record, self.methods):
            return False
        if self.kinds and record.kind not in self.kinds:
            return False
        if (self.leg and record.leg != self.leg) or (self.direction and record.direction != self.direction):
            return False
        return not self.errors or _is_trouble(record)


EVERYTHING: Final = Scope()
"""Selects all records."""


def _is_trouble(record: TapRecord) -> bool:
    if record.kind == "response":
        return record.raw is not None and '"isError":true' in record.raw.replace(" ", "")
    return record.kind in ("error", "malformed") or (record.event in _TROUBLE and not client_left(record))


_RequestKey = tuple[str, str | None, str | msgspec.UnsetType, str | None, str | None, bytes]
"""Server, session, gateway, leg, direction and id of a request."""


class Asked:
    """Open requests of the methods that a watcher selected, because a response does not name its method."""

    def __init__(self) -> None:
        self._open: dict[_RequestKey, None] = {}

    def is_about(self, record: TapRecord, methods: re.Pattern[str]) -> bool:
        """Whether ``record`` is a message of one of ``methods``, or the response to one."""
        if record.method is not None:
            wanted = methods.fullmatch(record.method) is not None
            if wanted and record.id != NO_ID:
                self._remember(record)
            return wanted
        if record.id == NO_ID:
            return False
        back = "out" if record.direction == "in" else "in"
        return self._open.pop(_request_key(record, back), 0) is None

    def _remember(self, record: TapRecord) -> None:
        if len(self._open) >= MAX_ASKED:
            del self._open[next(iter(self._open))]
        self._open[_request_key(record, record.direction)] = None


def _request_key(record: TapRecord, direction: str | None) -> _RequestKey:
    return record.server, record.session, record.gateway, record.leg, direction, bytes(record.id)


def method_pattern(globs: Collection[str]) -> re.Pattern[str]:
    """Compile method names in which ``*`` stands for any characters."""
    return re.compile("|".join(".*".join(map(re.escape, glob.split("*"))) for glob in globs))


def read_scope(query: Query) -> Scope:
    """Read the filters of a query.

    Raises:
        BadQueryError: a parameter or a value is unknown.
    """
    for name in query:
        if name not in FILTERS and name not in OTHERS:
            known = ", ".join((*FILTERS, *OTHERS))
            raise BadQueryError(f"the tap has no parameter {name[:MAX_VALUE]!r}; known parameters: {known}")
    direction, leg, errors = (_only(query, name) for name in ("direction", "leg", "errors"))
    methods = _values(query, "method")
    return Scope(
        servers=frozenset(_values(query, "server")),
        sessions=tuple(_values(query, "session")),
        kinds=frozenset(_values(query, "kind")),
        methods=method_pattern(methods) if methods else None,
        direction=direction,
        leg=leg,
        errors=errors == "1",
    )


def _values(query: Query, name: str) -> list[str]:
    """Return the values of one filter, which may be repeated or separated by commas."""
    values = [part.strip() for value in query.get(name, ()) for part in value.split(",")]
    values = list(dict.fromkeys(value for value in values if value))
    if len(values) > MAX_VALUES or any(len(value) > MAX_VALUE or value.count("*") > 4 for value in values):
        raise BadQueryError(
            f'"{name}" may have at most {MAX_VALUES} values of at most {MAX_VALUE} characters, each with at most 4 "*"'
        )
    choices = CHOICES.get(name, values)
    for value in values:
        if value not in choices:
            raise BadQueryError(f'"{name}" is {value!r}; it must be one of {", ".join(choices)}')
    return values


def _only(query: Query, name: str) -> str:
    values = _values(query, name)
    if len(values) > 1:
        raise BadQueryError(f'"{name}" has {len(values)} values; it takes one value')
    return values[0] if values else ""


def read_place(query: Query) -> tuple[int | None, str | None]:
    """Return the number of the newest record that a watcher has, and the feed instance that the number belongs to.

    Raises:
        BadQueryError: only one of the two is given, or the number is malformed.
    """
    after, instance = query.get("after", [""])[-1], query.get("instance", [""])[-1]
    if not after and not instance:
        return None, None
    if not after or not instance:
        raise BadQueryError(
            '"after" and "instance" must be given together: a number is valid for one instance only'
        )
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise BadQueryError(f'"after" is {after[:MAX_VALUE]!r}; it must be the "seq" of a record')
    return int(after), instance
