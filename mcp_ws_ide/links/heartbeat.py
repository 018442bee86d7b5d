"""One timer for the heartbeats of all links, and for the gateway's own periodic chores.

Each link decides when it pings, and how long it waits for the pong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

TICK: Final = 1.0
"""Seconds between two beats."""

log = logging.getLogger(__name__)


class Beating(Protocol):
    """A link that notices when its peer is gone."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    def heartbeat(self, now: float) -> None:
        """Check the peer; called every :data:`TICK` seconds with ``time.monotonic()``."""


class Heartbeat:
    """Calls every link, then one chore, once per :data:`TICK`."""

    def __init__(self) -> None:
        self._links: set[Beating] = set()

    def add(self, link: Beating) -> None:
        """Call ``link`` until it is closed."""
        self._links.add(link)

    async def run(self, on_tick: Callable[[], Any]) -> None:
        """Beat until cancelled; an exception of a link or of ``on_tick`` is logged and the clock continues."""
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for link in list(self._links):
                if link.closed:
                    self._links.discard(link)
                else:
                    self._beat(link, now)
            try:
                on_tick()
            except Exception:  # one failed task must not stop pings, expiry and reloads
                log.exception("a periodic task failed")

    def _beat(self, link: Beating, now: float) -> None:
        """Call a link; one that fails must not cost the others their pings."""
        try:
            link.heartbeat(now)
        except Exception:
            log.exception("the heartbeat of a link failed")
