"""The tap record: its members and types on the wire, defined once (docs/reference/tap.md, Records).

The gateway writes these records, the inspector and recordings read them, and the page's TypeScript is tested against
tests/vectors/tap_record.json, which a test derives from here. Knows nothing of feeds, watchers or display.
"""

from __future__ import annotations

from typing import Final

import msgspec

KINDS: Final = ("request", "notification", "response", "error", "malformed", "noise", "event", "gap")
"""Values of ``kind``."""
LEGS: Final = ("client", "upstream")
"""Values of ``leg``: the side of the gateway on which the record was seen; ``upstream`` is the server leg."""
DIRECTIONS: Final = ("in", "out")
"""Values of ``direction``, seen from the gateway."""
HIDDEN: Final = "••••"
"""Stands for redacted text."""
NO_ID: Final = msgspec.Raw(b"null")
"""The id of a record whose message has none."""


class TapRecord(msgspec.Struct, gc=False):
    """One observation of the gateway.

    Defaults apply to members that an older gateway does not write; unknown members of a newer one are ignored.

    Attributes:
        seq: number in the feed, from 1.
        time: Unix time in seconds.
        mono: monotonic time in seconds.
        id: the message's id as raw JSON; :data:`NO_ID` if there is none.
        size: bytes of the message, also where ``raw`` is truncated.
        raw: the message as redacted text.
        drops: how many records this watcher has missed so far.
        origin_session, origin_id: session and id of the client's request that this one carries to a server.
        gateway: id of the gateway that observed it, if that is one of several.
    """

    seq: int = 0
    time: float = 0.0
    mono: float = 0.0
    server: str = ""
    session: str | None = None
    leg: str | None = None
    direction: str | None = None
    kind: str = "event"
    method: str | None = None
    id: msgspec.Raw = NO_ID
    size: int = 0
    raw: str | None = None
    truncated: bool = False
    event: str | None = None
    detail: str | None = None
    drops: int = 0
    origin_session: str | None = None
    origin_id: msgspec.Raw = NO_ID
    gateway: str | msgspec.UnsetType = msgspec.UNSET


class AttachedRecord(TapRecord):
    """The first record of a tap connection, ``event`` "attached".

    Attributes:
        instance: identifies the feed that the numbers belong to; ``seq`` is the number after which this link starts.
    """

    instance: str = ""


class GapRecord(TapRecord):
    """What a watcher has missed, ``kind`` "gap": records ``from`` to ``to``; each None if unknown."""

    from_: int | None = msgspec.field(name="from", default=None)
    to: int | None = None
    count: int | None = None


LEFT: Final = "1001"
"""The close code of a client that goes away, like a browser whose tab is closed (RFC 6455 section 7.4.1)."""


def client_left(record: TapRecord) -> bool:
    """Return whether a record is the end of a link that its client closed because it goes away: no failure."""
    return record.event == "link_lost" and (record.detail or "").partition(" ")[0] == LEFT


encode: Final = msgspec.json.Encoder().encode
"""A record as one line of JSON, without the newline."""
