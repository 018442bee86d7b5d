"""The seam between the gateway and the servers: connect, send, receive, close.

A transport carries JSON-RPC messages, as bytes, to *one* live server and back. It knows nothing of
sessions, eras or JSON-RPC ids; the gateway knows nothing of pipes, sockets or HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol


class Receiver(Protocol):
    """Who reads a transport. Exactly one per transport; all calls come on the event loop's thread.

    No method may raise or block; a transport calls them synchronously, in the order things happened.
    """

    def message_received(self, message: bytes) -> None:
        """One JSON object as the server wrote it, without the line end. May be pretty much anything
        that looks like an object: the caller validates it."""

    def noise_received(self, source: str, text: str) -> None:
        """Output that is not a message. ``source`` is ``"stdout"`` or ``"stderr"``."""

    def transport_closed(self, reason: str) -> None:
        """The server is gone, for the reason given in words. Called exactly once, after the last
        message, also after :meth:`Transport.close`; never called if ``connect`` raised."""

    def write_paused(self, paused: bool) -> None:
        """The send buffer rose above (``True``) or fell below (``False``) the high-water mark."""


class Transport(ABC):
    """One attachment to one server.

    Life: ``connect`` once, then any number of ``send``, then ``close``. ``close`` is idempotent, may be
    called in any state and from a cancelled task, and is bounded in time.
    """

    kind: str = ""
    """Short name shown to people: ``stdio``, ``http``, …"""

    @abstractmethod
    async def connect(self, receiver: Receiver) -> None:
        """Start the server or open the link to it.

        Raises:
            TransportError: in words a user can act on (command not found, permission, exit code …).
        """

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Queue one message (bytes without a line end, no raw CR or LF). Never blocks.

        Raises:
            TransportClosed: the server is gone; nothing was sent.
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop calling ``message_received`` until :meth:`resume_reading`; the server feels it."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """Bytes accepted by ``send`` and not yet taken by the server's side."""

    @property
    def pid(self) -> int | None:
        """Process id of a local server, else None."""
        return None

    @property
    def stderr_tail(self) -> list[str]:
        """The newest stderr lines of a local server, oldest first."""
        return []

    @abstractmethod
    async def close(self) -> None:
        """Let the server end, then make it end. Afterwards no process, descriptor or task is left."""
