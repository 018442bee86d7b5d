"""A transport whose other end is in the gateway itself."""

from __future__ import annotations

from abc import abstractmethod

from mcp_ws_ide.transports.base import Transport


class MessageTransport(Transport):
    """A transport to sessions of the gateway, which may keep calls parked."""

    @abstractmethod
    def abandon(self, state: str) -> None:
        """End the parked call that waits for this ``requestState``, if there is one."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Do what is due; called about once a second (``now``: ``time.monotonic``)."""
