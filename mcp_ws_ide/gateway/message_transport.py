"""A transport whose other end is in the gateway itself: messages pass in parsed form."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, runtime_checkable

from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.transports.base import Receiver, Transport


@runtime_checkable
class MessageReceiver(Receiver, Protocol):
    """A receiver that takes parsed messages as well."""

    def parsed_received(self, message: Message) -> None:
        """Handle one message; otherwise as :meth:`~mcp_ws_ide.transports.base.Receiver.message_received`."""


class MessageTransport(Transport):
    """A transport to sessions here, which may keep calls parked. Its receiver is a :class:`MessageReceiver`."""

    @abstractmethod
    def send_message(self, message: Message) -> None:
        """Send one parsed message; otherwise as :meth:`~mcp_ws_ide.transports.base.Transport.send`."""

    @abstractmethod
    def abandon(self, state: str) -> None:
        """End the parked call that waits for this ``requestState``, if there is one."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Do what is due; called about once a second (``now``: ``time.monotonic``)."""
