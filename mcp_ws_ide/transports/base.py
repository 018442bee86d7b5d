"""The seam between the gateway and the servers: connect, send, receive, close.

A transport carries JSON-RPC messages, as bytes, to *one* live server and back. It knows nothing of
sessions; the gateway knows nothing of pipes, sockets or HTTP. ``tests/transports/test_contract.py`` holds
every transport to what is said here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from mcp_ws_ide.transports.processes import ProcessSupervisor

if TYPE_CHECKING:
    from mcp_ws_ide.config.load import ServerSpec
    from mcp_ws_ide.transports.oauth import Authorizations


class Receiver(Protocol):
    """Who reads a transport. Exactly one per transport; all calls come on the event loop's thread.

    No method may raise or block; a transport calls them synchronously, in the order things happened.
    """

    def message_received(self, message: bytes) -> None:
        """One JSON object as the server wrote it, without the line end. May be pretty much anything
        that looks like an object: the caller validates it."""

    def noise_received(self, source: str, text: str) -> None:
        """What is worth showing and no message. ``source`` is ``"stdout"`` or ``"stderr"`` for output of a
        server, ``"transport"`` for what the transport itself has to say (a lost stream, a resumed link)."""

    def transport_closed(self, reason: str) -> None:
        """The server is gone, for the reason given in words. Called exactly once, after the last
        message, also after :meth:`Transport.close`; never called if ``connect`` raised."""

    def write_paused(self, paused: bool) -> None:
        """The send buffer rose above (``True``) or fell below (``False``) the high-water mark."""


@dataclass(frozen=True, slots=True)
class Supplies:
    """What the gateway gives to a transport besides the configuration of its server.

    Attributes:
        supervisor: who starts and kills processes.
        environment: the complete environment of a server process.
        max_message_bytes: longest message, either way.
        principal: whose attachment it is.
        authorizations: what users have authorized at remote servers; None where nothing can be authorized.
    """

    supervisor: ProcessSupervisor
    environment: Mapping[str, str]
    max_message_bytes: int
    principal: str = ""
    authorizations: Authorizations | None = None


class Transport(ABC):
    """One attachment to one server.

    Life: ``connect`` once, then any number of ``send``, then ``close``.

    Cancellation: a cancelled ``connect`` leaves nothing behind. ``close`` is idempotent, may be called in any
    state and from a cancelled task, and is bounded in time; cancelling it does not stop the end it began.

    Errors: ``connect`` raises :class:`~mcp_ws_ide.errors.TransportError`; afterwards the end of the server is
    told by :meth:`Receiver.transport_closed` alone. Where one request fails and the server lives on (HTTP),
    the transport answers it with a JSON-RPC error whose ``data.outcome`` is ``not_sent`` or ``unknown``.
    Nothing a server sends is buffered without bound or raises.
    """

    kind: ClassVar[str]
    """Short name shown to people, and the ``type`` in configurations: ``stdio``, ``http``, …"""
    schemes: ClassVar[tuple[str, ...]] = ()
    """URL schemes that mean this kind."""
    process: ClassVar[bool] = False
    """Whether an attachment is a process of its own, which ``max_processes`` counts."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """A transport for a configured server, not connected yet.

        Raises:
            TransportError: the configuration cannot work, in words.
        """

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

    @abstractmethod
    async def close(self) -> None:
        """Let the server end, then make it end. Afterwards no process, descriptor or task is left."""
