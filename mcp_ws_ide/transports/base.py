"""The seam between the gateway and the servers: connect, send, receive, close.

A transport carries JSON-RPC messages, as bytes, to *one* live server and back. It knows nothing of sessions; the
gateway knows nothing of pipes, sockets or HTTP. ``tests/transports/test_contract.py`` holds every transport to this
contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports.processes import ProcessSupervisor

if TYPE_CHECKING:
    import httpx2


class Receiver(Protocol):
    """Receives what a transport reads. Each transport has exactly one; all calls run on the event loop's thread.

    A transport calls these methods synchronously, in the order of events; none may raise or block.
    """

    def message_received(self, message: bytes) -> None:
        """Handle one message as the server wrote it, without the line end.

        It may be anything that may contain a message; the receiver reads it (:mod:`mcp_ws_ide.core.reader`).
        """

    def noise_received(self, source: str, text: str) -> None:
        """Handle text that is worth showing and is not a message: a line, or several with a line feed between them.

        ``source`` is ``"stdout"`` or ``"stderr"`` for output of the server, and ``"transport"`` for reports of the
        transport itself (a lost stream, a resumed link).
        """

    def transport_closed(self, reason: str) -> None:
        """Note that the server has ended, and why.

        Called exactly once, after the last message, also after :meth:`Transport.close`; never called if ``connect``
        raised.
        """

    def write_paused(self, paused: bool) -> None:
        """Note that the send buffer rose above (``True``) or fell below (``False``) the high-water mark."""


class Authorizer(Protocol):
    """Authorizes the HTTP requests of one principal to one server, and asks the user for consent where needed."""

    @property
    def authorized(self) -> bool:
        """Whether the server has accepted a token or requires none, and no authorization is pending."""

    async def send(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        """Send a request as ``client.send(request, stream=True)`` does, with the token."""

    async def prepare(self, client: httpx2.AsyncClient, request: httpx2.Request) -> None:
        """Obtain a token if the server's response to a harmless request requires one."""


class Authorizers(Protocol):
    """The authorizers of all servers and principals."""

    def of(self, spec: ServerSpec, principal: str) -> Authorizer:
        """Return the authorizer of this server and principal."""


@dataclass(frozen=True, slots=True)
class Supplies:
    """What a transport needs from the gateway, besides the configuration of its server.

    Attributes:
        supervisor: starts and kills processes.
        environment: complete environment of a server process.
        max_message_bytes: longest message in either direction.
        principal: whose attachment it is.
        authorizations: authorizers for remote servers with OAuth; None if OAuth is not possible here.
    """

    supervisor: ProcessSupervisor
    environment: Mapping[str, str]
    max_message_bytes: int
    principal: str = ""
    authorizations: Authorizers | None = None


class SessionKeeper(Protocol):
    """The part of a transport by which another gateway can continue its session at the server."""

    @property
    def kept(self) -> bytes:
        """What the other gateway needs; ``b""`` before the session is negotiated."""

    @property
    def changes(self) -> int:
        """The number of changes of :attr:`kept`."""

    def restore(self, kept: bytes) -> None:
        """Continue a session, from what was kept of it; before :meth:`Transport.connect`."""

    def leave_open(self) -> None:
        """Leave the session open at the server when the transport is closed."""


class Transport(ABC):
    """One attachment to one server.

    Life: ``connect`` once, then any number of ``send``, then ``close``.

    Cancellation: a cancelled ``connect`` leaves nothing behind. ``close`` is idempotent, bounded in time, and may be
    called in any state and from a cancelled task; cancelling it does not stop the shutdown it began.

    Errors: ``connect`` raises :class:`~mcp_ws_ide.errors.TransportError`; afterwards only
    :meth:`Receiver.transport_closed` reports the end of the server. If one request fails and the server lives on
    (HTTP), the transport answers it with a JSON-RPC error whose ``data.outcome`` is ``not_sent`` or ``unknown``.
    Nothing a server sends is buffered without bound, or raises.
    """

    kind: ClassVar[str]
    """Short name shown to users, and the ``type`` in configurations: a key of
    :data:`mcp_ws_ide.config.spec.URL_SCHEMES`."""
    process: ClassVar[bool] = False
    """Whether an attachment is a process of its own, which counts against ``max_processes``."""
    remote: ClassVar[bool] = False
    """Whether it leads to another machine's server, the end of whose connection is not a crash."""

    renewed: bool = False
    """Whether a new session is opened in place of this one when it ends; set by the receiver. Then a message that the
    server has not run is kept in :attr:`unsent`, and not answered with an error."""

    keeper: SessionKeeper | None = None
    """What another gateway needs to continue the session at the server; None if that ends with this attachment."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport for a configured server, not connected yet.

        Raises:
            TransportError: the configuration cannot work.
        """

    @abstractmethod
    async def connect(self, receiver: Receiver) -> None:
        """Start the server, or open the link to it.

        Raises:
            TransportError: it failed; the message tells the user what to do (command not found, permission, …).
        """

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Queue one message (bytes without a line end, no raw CR or LF). Never blocks.

        Raises:
            TransportClosedError: the server is gone; nothing was sent.
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop calling ``message_received`` until :meth:`resume_reading`; backpressure reaches the server."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """Bytes accepted by ``send`` and not yet taken by the server's side."""

    @property
    def renewable(self) -> bool:
        """Whether another connection may help after the end: the server is gone, or has forgotten its session."""
        return False

    @property
    def unsent(self) -> list[bytes]:
        """After the end: the messages that are known not to have reached the server, in order."""
        return []

    @property
    def read_nothing(self) -> bool:
        """Whether the server is known to have exited without reading anything that was sent to it."""
        return False

    @property
    def pid(self) -> int | None:
        """Process id of a local server, else None."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Let the server end, then force it to. Afterwards no process, descriptor or task is left."""
