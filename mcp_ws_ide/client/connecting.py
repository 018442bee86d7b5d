"""``connect``: from a server's name to a client that is ready to use, within a bounded time."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, cast

from mcp_ws_ide.client.arguments import check_base_url, check_options, check_target, check_timeout
from mcp_ws_ide.client.links import BY_GATEWAY, OF_STATUS, Token
from mcp_ws_ide.client.negotiating import TRANSPORTS, NegotiatingTransport, negotiating_transport
from mcp_ws_ide.client.own_task import OwnTask, only
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import SessionTransport, websocket_transport
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.discovery import as_address, check_name, endpoint_url
from mcp_ws_ide.errors import (
    GATEWAY_ERRORS,
    REFUSED,
    UPSTREAM_LOST,
    UPSTREAM_UNAVAILABLE,
    ConnectError,
    ServerUnavailableError,
)
from mcp_ws_ide.rest_client import gateway_with

if TYPE_CHECKING:
    from mcp import ClientSession

log = logging.getLogger(__name__)

FOREIGN_PATIENCE: Final = 60.0
"""Seconds for the handshake with a server that is no gateway, from the moment at which the link is open."""
GATEWAY_PATIENCE: Final = 330.0
"""Seconds for the handshake with a server behind a gateway, which gives up earlier and says why: after its probe and
30 times ``probe_timeout`` at the latest, 310 s unless configured."""


def connect(
    name_or_url: str,
    *,
    token: Token | None = None,
    url: str | None = None,
    mode: str = "auto",
    transports: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
    on_state: Callable[[State], None] | None = None,
    timeout: float | None = None,
    **client_options: Any,
) -> AbstractAsyncContextManager[Any]:
    """Return a connected MCP client.

    Args:
        name_or_url: name of a configured server, or URL of an endpoint: ``ws://`` for a WebSocket, ``http://`` for
            the first transport that works (see :func:`~mcp_ws_ide.client.negotiating.negotiating_transport`).
        token: credential; if omitted, the credential of the discovered gateway is used.
        url: base URL of the Jupyter server; if omitted, the one this process runs under, else the running one that
            has the server.
        mode: as in ``mcp.Client``: ``auto``, ``legacy`` or a protocol version (mcp 2.x only).
        transports: transports to try, in order: ``http``, ``websocket``, ``poll``.
        headers, ssl, reconnect, on_state: see :func:`websocket_transport`.
        timeout: seconds until the client must be ready; ``math.inf`` for no limit. If omitted: 30 s for a link, then
            :data:`FOREIGN_PATIENCE` for the handshake; behind a gateway as long as the gateway waits for its server.
        client_options: passed to ``mcp.Client`` (2.x) or ``ClientSession`` (1.x).

    Returns:
        An async context manager that yields an entered ``mcp.Client``, or on mcp 1.x an initialized
        ``ClientSession``. Entering it raises the errors of :func:`websocket_transport`, ``ServerUnavailableError`` if
        the server could not be started or reached or does not answer, and ``ConnectionLostError`` if the link is lost
        permanently before that. It may be entered and left in different tasks of one event loop.

    Raises:
        UnusableArgumentError: an argument is not of the type that is accepted.
    """
    check_timeout(timeout)
    check_options(token=token, headers=headers, ssl=ssl, reconnect=reconnect, on_state=on_state)
    where, credential = address(name_or_url, token, url, headers)
    options = {"headers": headers, "ssl": ssl, "reconnect": reconnect, "on_state": on_state}
    transport = transport_for(where, transports, token=credential, **options)
    opening = _Opening(transport, timeout, what := f"connect({name_or_url.partition('?')[0]!r})")
    try:
        from mcp import Client
    except ImportError:  # mcp 1.x
        return OwnTask(opening.client(_session(opening.streams(), client_options)), what)
    client: AbstractAsyncContextManager[Any] = Client(opening.streams(), mode=mode, **client_options)
    return OwnTask(opening.client(client), what)


class _Opening:
    """Enters a client within a bounded time, and raises one documented error for each way in which that fails.

    Args:
        transport: what the client uses.
        seconds: limit for everything; None for the limits of this module.
        what: the call, for messages.
    """

    def __init__(
        self, transport: SessionTransport | NegotiatingTransport, seconds: float | None, what: str
    ) -> None:
        self._transport, self._seconds, self._what = transport, seconds, what
        self._clock = asyncio.Timeout(None)
        self._waited: float | None = None
        """Seconds of the limit that applies; None for none."""
        self._linked = False

    @asynccontextmanager
    async def client(self, client: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        """Enter the client, which uses :meth:`streams`."""
        async with AsyncExitStack() as stack:
            try:
                async with self._clock:
                    self._limit(self._seconds)
                    entered = await stack.enter_async_context(client)
            except Exception as error:
                reason = await self._reason(only(error))
                if reason is error:
                    raise
                raise reason from (None if isinstance(error, TimeoutError) else error)
            yield entered

    def _limit(self, seconds: float | None) -> None:
        """Set how long to wait from now on."""
        if self._clock.expired():
            return
        self._waited = seconds
        if seconds is not None and seconds != math.inf:
            self._clock.reschedule(asyncio.get_running_loop().time() + seconds)

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Any]:
        """Enter the transport; from then on, the limit for the handshake applies."""
        async with self._transport as streams:
            self._linked = True
            if self._seconds is None:
                self._limit(GATEWAY_PATIENCE if self._transport.behind_gateway else FOREIGN_PATIENCE)
            yield streams

    async def _reason(self, error: BaseException) -> BaseException:
        """Return the error to raise in place of what the SDK raised."""
        transport, answered = self._transport, _of_gateway(error)
        active = transport.active if isinstance(transport, NegotiatingTransport) else transport
        lost = active.error if active is not None else None
        if lost is None and isinstance(error, TimeoutError) and self._clock.expired():
            return self._too_late()
        if isinstance(transport, NegotiatingTransport) and (reason := await transport.foreign_answer()):
            return ConnectError(reason)
        if isinstance(answered, ServerUnavailableError):
            return answered  # a close reason may be cut
        if active is not None and lost is not None:
            return (
                ServerUnavailableError(str(lost)) if active.close_code == CloseCode.UPSTREAM_ENDED else lost
            )
        return answered or error

    def _too_late(self) -> ConnectError:
        missing = "the server did not answer the handshake" if self._linked else "no link could be opened"
        cure = (
            "pass timeout= if its start takes longer" if self._linked else "check the address and the network"
        )
        detail = f"{self._what}: {missing} within {self._waited:g} s; {cure}"
        return ServerUnavailableError(detail) if self._linked else ConnectError(detail)


def _of_gateway(error: BaseException) -> ConnectError | None:
    """Return the error for one with which a gateway answered in place of its server; None for any other."""
    answer = getattr(error, "error", None)  # the SDK's error object, in both majors
    code, data = getattr(answer, "code", None), getattr(answer, "data", None)
    if code not in GATEWAY_ERRORS:
        return None
    status = None
    if code == REFUSED and isinstance(data, dict) and data.get(BY_GATEWAY, True):
        status = data.get("status")
    gone = code in (UPSTREAM_LOST, UPSTREAM_UNAVAILABLE)
    kind = ServerUnavailableError if gone else OF_STATUS.get(status, ConnectError)
    return kind(str(getattr(answer, "message", error)))


def transport_for(
    where: str, transports: Sequence[str] | None, **options: Any
) -> SessionTransport | NegotiatingTransport:
    """Return a WebSocket transport for ``ws://``, a negotiating one for ``http://`` or explicit ``transports``."""
    if transports is None and where.startswith("ws"):
        return websocket_transport(where, **options)
    url = f"http{where.removeprefix('ws')}" if where.startswith("ws") else where
    return negotiating_transport(url, transports=TRANSPORTS if transports is None else transports, **options)


def address(
    name_or_url: str,
    token: Token | None,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[str, Token | None]:
    """Return the URL of the endpoint and the credential for it.

    A name is looked up at the discovered gateway, whose credential is used unless ``headers`` contain one.

    Raises:
        ConnectError: no gateway was found, or several have a server of this name.
        UnusableArgumentError: it is neither a server name nor an address.
    """
    check_target(name_or_url)
    check_base_url(url)
    if (given_address := as_address(name_or_url)) is not None:
        return given_address, token
    check_name(name_or_url)
    given = token if isinstance(token, str) else None
    gateway = gateway_with(name_or_url, url, given, cure="choose one with connect(…, url=…)")
    own_token = None if brings_credential(headers or {}) else gateway.token
    if gateway.withheld and not (token or own_token):
        log.warning("%s; give a token for %s with token=", gateway.withheld, gateway.url)
    return endpoint_url(gateway, name_or_url), token or own_token


class LinkOptions(TypedDict, total=False):
    """Options that the adapters of agent frameworks accept besides a name or URL; see :func:`connect`."""

    token: Token | None
    headers: Mapping[str, str] | None
    ssl: ssl_module.SSLContext | None
    transports: Sequence[str] | None
    reconnect: Reconnect | None
    on_state: Callable[[State], None] | None


def split_options(options: Mapping[str, Any]) -> tuple[LinkOptions, dict[str, Any]]:
    """Split the keyword arguments of an adapter into link options and options of its framework."""
    ours = {name: value for name, value in options.items() if name in LinkOptions.__annotations__}
    return cast(LinkOptions, ours), {name: value for name, value in options.items() if name not in ours}


class Endpoint:
    """The endpoint that an adapter connects to, repeatedly; over WebSocket unless ``transports`` is given.

    Attributes:
        url: of the endpoint; ``http://`` is rewritten to ``ws://`` if only a WebSocket is allowed.
        link: the newest transport; see its ``state`` and ``states()``.

    Raises:
        ConnectError: no gateway was found, the name is not a server name, or a header may not be set by the user.
    """

    def __init__(self, name_or_url: str, **options: Unpack[LinkOptions]) -> None:
        self._options: dict[str, Any] = dict(options)
        self._transports = options.get("transports")
        checked = ("token", "headers", "ssl", "reconnect", "on_state")
        check_options(**{name: self._options.get(name) for name in checked})
        headers = options.get("headers") or {}
        where, token = address(name_or_url, options.get("token"), headers=headers)
        check_headers(headers, token=token is not None)
        as_websocket = self._transports is None and where.startswith("http")
        self.url = f"ws{where.removeprefix('http')}" if as_websocket else where
        self._options |= {"token": token, "transports": self._transports}
        self.link: SessionTransport | NegotiatingTransport | None = None

    def transport(self) -> SessionTransport | NegotiatingTransport:
        """Return a transport for another connection."""
        self.link = transport_for(self.url, **self._options)
        return self.link


@asynccontextmanager
async def _session(transport: Any, options: dict[str, Any]) -> AsyncIterator[ClientSession]:
    from mcp import ClientSession

    async with transport as (read, write), ClientSession(read, write, **options) as session:
        await session.initialize()
        yield session
