"""``connect``: from a server's name to a client that is ready to use."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from mcp_ws_ide.client.links import Token
from mcp_ws_ide.client.negotiating import TRANSPORTS, NegotiatingTransport, negotiating_transport
from mcp_ws_ide.client.states import Reconnect, State
from mcp_ws_ide.client.transport import SessionTransport, websocket_transport
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.discovery import check_name, endpoint_url, find_gateway

if TYPE_CHECKING:
    from mcp import ClientSession


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
    """A connected MCP client.

    Args:
        name_or_url: name of a configured server, or the URL of an endpoint: ``ws://`` means WebSocket,
            ``http://`` whatever works (see :func:`~mcp_ws_ide.client.negotiating.negotiating_transport`).
        token: credential; found with the gateway when omitted.
        url: base URL of the Jupyter server; found when omitted.
        mode: as of ``mcp.Client``: ``auto``, ``legacy`` or a protocol version (mcp 2.x only).
        transports: which transports to try, in this order, of ``http``, ``websocket`` and ``poll``.
        headers, ssl, reconnect, on_state: as of :func:`websocket_transport`.
        client_options: passed to ``mcp.Client`` (2.x) or ``ClientSession`` (1.x).

    Returns:
        An async context manager that yields an entered ``mcp.Client``, or an initialised ``ClientSession``
        on mcp 1.x. Raises as :func:`websocket_transport` does.
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
    try:
        from mcp import Client
    except ImportError:  # mcp 1.x
        return _session(transport, client_options)
    client: AbstractAsyncContextManager[Any] = Client(transport, mode=mode, **client_options)
    return client


def transport_for(
    where: str, transports: Sequence[str] | None, **options: Any
) -> SessionTransport | NegotiatingTransport:
    """A ``ws://`` address means WebSocket; an ``http://`` one, or named transports, what works of them."""
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
    """The endpoint's URL and the credential for it; a name is looked up at the gateway that is found, and its
    credential used unless ``headers`` bring one.

    Raises:
        ConnectError: there is no gateway.
        UnusableArgument: the name is none.
    """
    if name_or_url.startswith(("ws://", "wss://", "http://", "https://")):
        return name_or_url, token
    check_name(name_or_url)
    gateway = find_gateway(url, token if isinstance(token, str) else None)
    found = None if brings_credential(headers or {}) else gateway.token
    return endpoint_url(gateway, name_or_url), token or found


class LinkOptions(TypedDict, total=False):
    """What the adapters of agent frameworks take besides a name or a URL, as :func:`connect` does."""

    token: Token | None
    headers: Mapping[str, str] | None
    ssl: ssl_module.SSLContext | None
    transports: Sequence[str] | None
    reconnect: Reconnect | None
    on_state: Callable[[State], None] | None


def split_options(options: Mapping[str, Any]) -> tuple[LinkOptions, dict[str, Any]]:
    """Keywords of an adapter: those of the link, and those of its framework."""
    ours = {name: value for name, value in options.items() if name in LinkOptions.__annotations__}
    return cast(LinkOptions, ours), {name: value for name, value in options.items() if name not in ours}


class Endpoint:
    """Where an adapter connects to, again and again: a WebSocket, unless ``transports`` names others.

    Attributes:
        url: of the endpoint; ``http://`` is written as ``ws://`` where only a WebSocket will do.
        link: the newest transport; its ``state`` and ``states()`` tell how it fares.

    Raises:
        ConnectError: there is no gateway, the name is none, or a header is not the user's to set.
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
        """A transport for one more connection."""
        self.link = transport_for(self.url, **self._options)
        return self.link


@asynccontextmanager
async def _session(transport: Any, options: dict[str, Any]) -> AsyncIterator[ClientSession]:
    from mcp import ClientSession

    async with transport as (read, write), ClientSession(read, write, **options) as session:
        await session.initialize()
        yield session
