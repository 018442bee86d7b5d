"""``connect``: from a server's name to a client that is ready to use."""

from __future__ import annotations

import logging
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.negotiating import TRANSPORTS, NegotiatingTransport, negotiating_transport
from mcp_ws_ide.client.own_task import OwnTask
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import SessionTransport, websocket_transport
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.discovery import check_name, endpoint_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.rest_client import gateway_with

if TYPE_CHECKING:
    from mcp import ClientSession

log = logging.getLogger(__name__)


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
        client_options: passed to ``mcp.Client`` (2.x) or ``ClientSession`` (1.x).

    Returns:
        An async context manager that yields an entered ``mcp.Client``, or on mcp 1.x an initialized
        ``ClientSession``. Entering it raises the same errors as :func:`websocket_transport`, and
        :class:`~mcp_ws_ide.client.ConnectionLostError` if the link is lost permanently before that. It may be entered
        and left in different tasks of one event loop, for example in two cells of a notebook.
    """
    where, credential = address(name_or_url, token, url, headers)
    transport = transport_for(
        where,
        transports,
        token=credential,
        headers=headers,
        ssl=ssl,
        reconnect=reconnect,
        on_state=on_state,
    )
    what = f"connect({name_or_url.partition('?')[0]!r})"
    try:
        from mcp import Client
    except ImportError:  # mcp 1.x
        return OwnTask(_opened(_session(transport, client_options), transport), what)
    client: AbstractAsyncContextManager[Any] = Client(transport, mode=mode, **client_options)
    return OwnTask(_opened(client, transport), what)


@asynccontextmanager
async def _opened(
    client: AbstractAsyncContextManager[Any], transport: SessionTransport | NegotiatingTransport
) -> AsyncIterator[Any]:
    """Enter a client; if its transport gives up first, raise its reason, which the SDK's error may lack."""
    async with AsyncExitStack() as stack:
        try:
            entered = await stack.enter_async_context(client)
        except Exception as error:
            active = transport.active if isinstance(transport, NegotiatingTransport) else transport
            if active is not None and active.error is not None:
                raise active.error from None
            if (
                isinstance(transport, NegotiatingTransport)
                and not isinstance(error, ConnectError)
                and (reason := await transport.foreign_answer())
            ):
                raise ConnectError(reason) from error
            raise
        yield entered


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
        UnusableArgumentError: the name is not a valid server name.
    """
    if name_or_url.startswith(("ws://", "wss://", "http://", "https://")):
        return name_or_url, token
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
