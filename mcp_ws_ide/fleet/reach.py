"""Which other gateways can be reached at their peer ports. Knows nothing of what is called for.

A refused connection shows that a gateway has ended only if it has answered here before. Otherwise a firewall may block
its peer port, or its ``peer_address`` may lead to another machine, such as this one.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from mcp_ws_ide.fleet.instances import LEASE_SECONDS, RENEW_SECONDS
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError

LEASE_OVER_SECONDS: Final = LEASE_SECONDS + 2 * RENEW_SECONDS
"""Seconds after which the lease of a gateway that has ended is over, and this gateway knows it."""

log = logging.getLogger(__name__)


class Reach:
    """What calls to other gateways have shown.

    Attributes:
        problems: why living gateways do not answer, by id.
    """

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self._answered: set[str] = set()
        self._refused: dict[str, float] = {}
        """When a gateway that had answered was first refused (``time.monotonic``)."""

    def answers(self, instance: str) -> None:
        """Note that a gateway has just answered."""
        self._answered.add(instance)
        self._refused.pop(instance, None)

    def check_ended(self, instance: str, address: str, reason: str) -> None:
        """Return if a gateway has certainly ended, as its address does not lead to it any more.

        Args:
            reason: what its address leads to.

        Raises:
            PeerUnreachableError: it has never answered, or has renewed its lease since it was first refused.
        """
        now = time.monotonic()
        if instance in self._answered and now - self._refused.setdefault(instance, now) < LEASE_OVER_SECONDS:
            return
        raise PeerUnreachableError(
            f"gateway {instance} cannot be reached: {address} {reason}; check its peer_address, and that no "
            "firewall blocks that port"
        )

    def note(self, problems: dict[str, str], living: set[str]) -> None:
        """Note which gateways do not answer, and log what is new.

        Args:
            problems: the reasons by gateway.
            living: all gateways.
        """
        for instance, problem in problems.items():
            if instance not in self.problems:
                log.warning("%s; clients of its sessions that come here have to try again", problem)
        for instance in self.problems.keys() - problems.keys():
            log.info("gateway %s %s", instance, "answers again" if instance in living else "has ended")
        self.problems = problems
        self._answered &= living
        self._refused = {one: since for one, since in self._refused.items() if one in living}
