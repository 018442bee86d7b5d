"""Which records a watcher of the tap gets: its filters, applied to one record at a time.

Filters arrive as query parameters (handlers/tap.py), which say how they are written.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from mcp_ws_ide.observe.tap_record import NO_ID, TapRecord

MAX_ASKED: Final = 4096
"""Open requests that a watcher of methods remembers, to recognize their responses; one more forgets the oldest."""
_TROUBLE: Final = frozenset({"dropped", "link_lost", "upstream_closed", "fault", "intermediary"})
"""Events that count as failures."""


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
    return record.kind in ("error", "malformed") or record.event in _TROUBLE


class Asked:
    """Open requests of the methods that a watcher selected, because a response does not name its method."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None, str | None, str | None, bytes], None] = {}

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
        key = (record.server, record.session, record.leg, back, bytes(record.id))
        return self._open.pop(key, 0) is None

    def _remember(self, record: TapRecord) -> None:
        if len(self._open) >= MAX_ASKED:
            del self._open[next(iter(self._open))]
        self._open[(record.server, record.session, record.leg, record.direction, bytes(record.id))] = None


def method_pattern(globs: Collection[str]) -> re.Pattern[str]:
    """Compile method names in which ``*`` stands for any characters."""
    return re.compile("|".join(".*".join(map(re.escape, glob.split("*"))) for glob in globs))
