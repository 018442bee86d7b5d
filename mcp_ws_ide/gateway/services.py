"""What every part of the gateway uses: the limits, the event loop, tasks, metrics and the tap.

Knows nothing of servers and sessions; :class:`Services` is made once, by the gateway, and never changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.links.base import MAX_QUEUED_BYTES
from mcp_ws_ide.observe.metrics import Metrics
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.tasks import TaskGroupOwner

SESSIONS_SHARE: Final = 10
"""The part of all sessions that one of several users may have, unless configured: a tenth."""
PROCESSES_SHARE: Final = 4
"""The part of all server processes that one of several users may have, unless configured: a quarter."""

MESSAGES_SHARE: Final = 2000
"""Messages per second that one of several users may send, unless configured: a tenth of what a core passes on."""


class Limits(msgspec.Struct, frozen=True):
    """Limits of the gateway; each is a trait of the same name (docs/reference/traits.md). Times are in seconds.

    Of those per principal, 0 means none but the limit in total; ``max_messages_per_second`` is per principal.
    """

    max_sessions: int = 10_000
    max_sessions_per_principal: int = 0
    max_processes: int = 64
    max_processes_per_principal: int = 0
    max_in_flight: int = 1024
    max_message_bytes: int = 10 << 20
    max_queued_bytes: int = MAX_QUEUED_BYTES
    max_links_per_second: int = 0
    max_messages_per_second: int = 0
    idle_timeout: float = 60.0
    probe_timeout: float = 10.0
    park_timeout: float = 600.0
    task_timeout: float = 3600.0
    grace: float = 900.0
    window_frames: int = 4096
    window_bytes: int = 4 << 20
    hello_timeout: float = 30.0
    drain_timeout: float = 2.0
    oauth_timeout: float = 300.0
    tap_grace: float = 60.0

    def shared(self) -> Limits:
        """Return these limits for a gateway with several users: where no share is set, each user gets one."""
        sessions = self.max_sessions_per_principal or max(1, self.max_sessions // SESSIONS_SHARE)
        processes = self.max_processes_per_principal or max(1, self.max_processes // PROCESSES_SHARE)
        return msgspec.structs.replace(
            self,
            max_sessions_per_principal=sessions,
            max_processes_per_principal=processes,
            max_messages_per_second=self.max_messages_per_second or MESSAGES_SHARE,
        )

    def message_bytes(self, spec: ServerSpec) -> int:
        """Return the longest message of a server in either direction, in bytes."""
        return int(spec.limits.get("max_message_bytes", self.max_message_bytes))


@dataclass(frozen=True, slots=True)
class Services:
    """The collaborators that sessions and upstreams share.

    Attributes:
        limits: bounds of the gateway.
        loop: the event loop that everything runs on.
        tasks: owner of the gateway's background tasks.
        metrics: counters of the gateway.
        tap: the live feed of records.
    """

    limits: Limits
    loop: asyncio.AbstractEventLoop
    tasks: TaskGroupOwner
    metrics: Metrics
    tap: Tap
