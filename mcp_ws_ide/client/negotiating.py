"""Choose a transport that works on this network, for an ``http(s)://`` address (docs/reference/binding.md, section 12).

The choice is made once, before anything is sent, and kept: a session never changes its transport. The chosen transport
and the reasons why earlier ones failed are reported as :class:`~mcp_ws_ide.client.states.Negotiated`.
"""

from __future__ import annotations

import json
import logging
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import anyio

from mcp_ws_ide.client.arguments import check_options
from mcp_ws_ide.client.links import ADDRESS_CURE, LinkOpener, NoTlsError, Opener, Token, refusal
from mcp_ws_ide.client.own_task import OwnTask
from mcp_ws_ide.client.states import Negotiated, Reconnect, State
from mcp_ws_ide.client.transport import SessionTransport, verbatim
from mcp_ws_ide.core.headers import check_headers
from mcp_ws_ide.core.intermediaries import of_status
from mcp_ws_ide.discovery import ENDPOINTS, split_address
from mcp_ws_ide.errors import ConnectError, UnauthorizedError, UnknownServerError, UnusableArgumentError
from mcp_ws_ide.proxy_environment import reason_of, route, untrusted, via

if TYPE_CHECKING:
    import httpx2

TRANSPORTS: Final = ("http", "websocket", "poll")
"""Transports that can be negotiated, in the default order."""
FIRST_EVENT: Final = 3.0
"""Seconds within which the first event of an event stream must arrive."""
RAW_TIMEOUT: Final = 15.0
"""Seconds for each attempt of ``mcp-ws-connect``: the programs that launch it give up after 30 s, as a rule."""
BUFFERED: Final = "buffered"
"""Code of :mod:`mcp_ws_ide.core.intermediaries` for a proxy that holds events back."""
NO_PROBE: Final = frozenset({202, 400, 404, 405, 406, 415})
"""Status codes with which a server without a probe endpoint, or a proxy in front of it, answers the probe."""
PING: Final = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
"""The request that shows whether an address is an MCP endpoint."""
log = logging.getLogger(__name__)


class NegotiatingTransport:
    """An async context manager that yields ``(read, write)`` streams; created by :func:`negotiating_transport`.

    Attributes:
        negotiated: the chosen transport and why the others failed; None before it is entered.
        active: the :class:`~mcp_ws_ide.client.transport.SessionTransport` in use; None with ``http``.
    """

    def __init__(
        self,
        url: str,
        transports: Sequence[str],
        *,
        token: Token | None,
        headers: Mapping[str, str],
        ssl: ssl_module.SSLContext | None,
        reconnect: Reconnect | None,
        on_state: Callable[[State], None] | None,
        open_timeout: float,
        max_size: int | None,
        codec: tuple[Callable[[bytes], Any], Callable[[Any], bytes]],
    ) -> None:
        _check(url, transports)
        check_headers(headers, token=token is not None)
        self.negotiated: Negotiated | None = None
        self.active: SessionTransport | None = None
        self._url, self._transports = url, transports
        self._token, self._headers, self._ssl = token, headers, ssl
        self._reconnect, self._on_state = reconnect, on_state
        self._open_timeout, self._max_size = open_timeout, max_size
        self._codec = codec
        self._probed = False
        """Whether a gateway answered the probe, and not a server that has none."""
        self._noticed: set[str] = set()
        """Codes of what proxies did, of :mod:`mcp_ws_ide.core.intermediaries`."""
        self._stack = AsyncExitStack()
        self._own_task: OwnTask[tuple[Any, Any]] | None = None

    @property
    def behind_gateway(self) -> bool:
        """Whether the server is behind a gateway, as far as is known after entering."""
        return self._probed if self.active is None else self.active.behind_gateway

    async def __aenter__(self) -> tuple[Any, Any]:
        self._own_task = OwnTask(self._streams(), f"the transport of {self._url.partition('?')[0]}")
        return await self._own_task.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own_task is None:
            address = self._url.partition("?")[0]
            raise RuntimeError(f"the transport of {address} is not open; open it first, with `async with`")
        await self._own_task.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[tuple[Any, Any]]:
        async with self._stack:
            yield await self._first_that_works()

    async def _first_that_works(self) -> tuple[Any, Any]:
        refused: dict[str, ConnectError] = {}
        for name, patience in self._attempts(refused):
            try:
                streams = await self._enter(name, patience)
            except NoTlsError:
                raise  # no other transport helps
            except ConnectError as error:
                refused[name] = error
                self._note(name, error)
                if name == "http" and isinstance(error, (UnauthorizedError, UnknownServerError)):
                    break  # the gateway itself refused: no proxy is in the way
                continue
            self.negotiated = Negotiated(name, {other: str(error) for other, error in refused.items()})
            log.info("%s: %s", self._url.partition("?")[0], self.negotiated)
            if self._on_state is not None:
                try:
                    self._on_state(self.negotiated)
                except Exception:  # an error in the callback must not end the session
                    log.exception("on_state failed for %s", self.negotiated)
            return streams
        raise _nothing_works(refused)

    def _attempts(self, refused: Mapping[str, ConnectError]) -> Iterator[tuple[str, float]]:
        """Return the transports to try, each with the seconds in which its probe must be answered.

        A slow server that is no gateway looks like a proxy that buffers: if nothing else works, HTTP is tried again.
        """
        yield from ((name, FIRST_EVENT) for name in self._transports)
        if (late := refused.get("http")) is not None and late.noticed == BUFFERED:
            self._noticed.discard(BUFFERED)
            yield "http", self._open_timeout

    def _note(self, name: str, error: ConnectError) -> None:
        """Note what made a transport unusable, for the gateway, if another transport reaches it."""
        if error.noticed:
            self._noticed.add(error.noticed)
        elif name == "websocket" and not error.by_gateway:
            self._noticed.add("websocket_blocked")

    async def _enter(self, name: str, patience: float) -> tuple[Any, Any]:
        candidate: AbstractAsyncContextManager[Any]
        if name == "http":
            await self._probe(patience)
            candidate = self._streamable_http(self._opener("http").credential())
        else:
            candidate = transport = SessionTransport(
                self._opener(name), self._reconnect, self._on_state, *self._codec
            )
            self.active = transport
        try:
            read, write, *_ = await self._stack.enter_async_context(candidate)
        except BaseException:
            self.active = None
            raise
        return read, write

    def _streamable_http(self, headers: dict[str, str]) -> AbstractAsyncContextManager[Any]:
        if not self._probed:
            try:  # takes time, and most connect to a gateway
                from mcp_ws_ide.client.foreign_http import foreign_http
            except ImportError as error:  # not a POSIX system
                log.debug("responses of servers other than a gateway are left to the SDK: %s", error)
            else:
                return foreign_http(self._url, headers, self._ssl, self._max_size, self._codec)
        from mcp_ws_ide.client.gateway_http import gateway_http

        return gateway_http(self._url, self._opener("http").where, headers, self._ssl)

    def _opener(self, name: str) -> Opener:
        opener = self._new_opener(name)
        opener.noticed = self._noticed
        return opener

    def _new_opener(self, name: str) -> Opener:
        if name != "websocket":
            from mcp_ws_ide.client.poll_socket import PollOpener  # takes time, and most connect by WebSocket

            return PollOpener(
                self._url, self._token, self._headers, ssl=self._ssl, open_timeout=self._open_timeout
            )
        options: dict[str, Any] = {"max_size": self._max_size, "open_timeout": self._open_timeout}
        if self._ssl is not None:
            options["ssl"] = self._ssl
        return LinkOpener("ws" + self._url.removeprefix("http"), self._token, self._headers, options)

    async def _probe(self, patience: float) -> None:
        """Check that the network passes an event through without buffering, within ``patience`` seconds.

        A server without a probe endpoint is assumed to serve Streamable HTTP.

        Raises:
            ConnectError: no event arrived in time, or the gateway refused the request.
        """
        import httpx2

        opener = self._opener("http")
        headers = {**opener.head(), "Accept": "text/event-stream"}
        try:
            async with self._http(headers) as client:
                with anyio.fail_after(patience):
                    self._probed = await _first_event(client, opener.below("probe"), headers, opener.where)
        except TimeoutError:
            detail = f"no event arrived within {patience:g} s; no gateway responds, or a proxy buffers event streams"
            late = ConnectError(f"{detail}{via(self._url)}")
            late.noticed = BUFFERED
            raise late from None
        except (httpx2.HTTPError, OSError) as error:
            detail = reason_of(error)
            where = f"{opener.where} cannot be reached{via(self._url)}"
            raise ConnectError(f"{where}: {detail}{untrusted(detail)}") from None

    def _http(self, headers: Mapping[str, str]) -> httpx2.AsyncClient:
        import httpx2

        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(self._open_timeout),
            verify=self._ssl if self._ssl is not None else httpx2.create_ssl_context(),
            proxy=route(self._url, headers, "httpx2"),
            trust_env=False,
        )

    async def foreign_answer(self) -> str:
        """Return why the address is no MCP endpoint, after the SDK failed there; ``""`` if it is or may be one."""
        if self.negotiated is None or self.negotiated.transport != "http" or self._probed:
            return ""
        import httpx2

        opener = self._opener("http")
        headers = {**opener.head(), "Accept": "application/json, text/event-stream"}
        try:
            async with self._http(headers) as client:
                answer = await client.post(self._url, headers=headers, json=PING)
        except (httpx2.HTTPError, OSError):
            return ""
        media = answer.headers.get("Content-Type", "").partition(";")[0] or "no content"
        if answer.status_code < 300 and media != "text/html":
            return ""
        if media in ("application/json", "text/event-stream") and not _is_jupyters(answer.content):
            return ""
        who = "Jupyter" if b"jupyter" in answer.content.lower() else "what answers there"
        return f"{opener.where} is not an MCP endpoint: {who} answered {answer.status_code} with {media}{ADDRESS_CURE}"


async def _first_event(client: httpx2.AsyncClient, url: str, headers: dict[str, str], where: str) -> bool:
    """Wait for the first event of a GET; if GET is not allowed, of a POST, which is what calls use.

    Returns:
        False if the server has no probe endpoint.
    """
    for method in ("GET", "POST"):
        async with client.stream(method, url, headers=headers) as response:
            if response.status_code == 200:
                if method == "POST" and b'"jsonrpc"' in await _json_of(response):
                    return False  # an MCP server that takes any path for its endpoint
                await _some_of(response, where)
                return True
            body = await response.aread()
            if _is_ours(body):
                raise refusal(where, response.status_code, body, response.reason_phrase)
            if of_status(response.status_code, body) is not None:
                raise refusal(where, response.status_code, body, response.reason_phrase)
            if response.status_code >= 300 and response.status_code not in NO_PROBE:
                detail = response.reason_phrase or "no reason given"
                raise ConnectError(f"{where} answered {response.status_code}: {detail}")
    return False


async def _json_of(response: httpx2.Response) -> bytes:
    """Return a body of JSON; ``b""`` for a response of another type, which may not end."""
    media = response.headers.get("Content-Type", "")
    return await response.aread() if media.startswith("application/json") else b""


async def _some_of(response: httpx2.Response, where: str) -> None:
    media = response.headers.get("Content-Type", "")
    if media.startswith("text/html") and ENDPOINTS not in where:
        raise ConnectError(f"{where} is not an MCP endpoint: it answered 200 with text/html{ADDRESS_CURE}")
    if not media.startswith("text/event-stream"):
        raise ConnectError("something on the network path answers in place of the gateway; check the proxy")
    async for _ in response.aiter_bytes():
        return
    raise ConnectError(
        "the event stream ended without an event; something on the network path cuts event streams"
    )


def _is_ours(body: bytes) -> bool:
    """Return whether an error body has the gateway's format."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and {"message", "status"} <= answer.keys()


def _is_jupyters(body: bytes) -> bool:
    """Return whether a JSON body is an error of Jupyter, not a message of an MCP server."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and "message" in answer and "jsonrpc" not in answer


def _names(transports: Any) -> tuple[str, ...]:
    if isinstance(transports, str):
        return (transports,)
    if not isinstance(transports, Iterable):
        raise UnusableArgumentError(
            f"transports is a sequence of {', '.join(TRANSPORTS)}, not of type {type(transports).__name__}"
        )
    return tuple(transports)


def _check(url: str, transports: Sequence[str]) -> None:
    split_address(url, ("http", "https"))
    unknown = [name for name in transports if name not in TRANSPORTS]
    if unknown or not transports:
        raise UnusableArgumentError(
            f"unknown transports {unknown}; known transports: {', '.join(TRANSPORTS)}"
        )


def _nothing_works(refused: Mapping[str, ConnectError]) -> ConnectError:
    names: dict[str, list[str]] = {}
    for name, error in refused.items():
        answer = str(error).replace("ws", "http", 1) if str(error).startswith("ws") else str(error)
        names.setdefault(answer, []).append(name)  # the same answer over two transports is reported once
    reasons = [(", ".join(same), str(refused[same[0]])) for same in names.values()]
    detail = reasons[0][1] if len(reasons) == 1 else "; ".join(f"{tried}: {why}" for tried, why in reasons)
    if ADDRESS_CURE in detail:
        detail = f"{detail.replace(ADDRESS_CURE, '')}{ADDRESS_CURE}"
    kinds = {type(error) for error in refused.values()}
    kind = kinds.pop() if len(kinds) == 1 else ConnectError
    return kind(detail)


def negotiating_transport(
    url: str,
    *,
    transports: Sequence[str] = TRANSPORTS,
    token: Token | None = None,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    reconnect: Reconnect | None = Reconnect(),  # noqa: B008 - immutable
    on_state: Callable[[State], None] | None = None,
    open_timeout: float = 10.0,
    max_size: int = 10 << 20,
) -> NegotiatingTransport:
    """Return an MCP transport that uses the first method that works: Streamable HTTP, WebSocket, or plain POSTs.

    Args:
        url: ``http://`` or ``https://`` address of an MCP endpoint.
        transports: transports to try, in order. Only ``websocket`` and ``poll`` are resumable.
        token, headers, ssl, reconnect, on_state, max_size: see
            :func:`~mcp_ws_ide.client.transport.websocket_transport`.
        open_timeout: seconds for each attempt.

    Returns:
        An async context manager that yields ``(read, write)``. Entering it raises :class:`ConnectError` with the
        reason of each transport, or :class:`UnauthorizedError` or :class:`UnknownServerError` if all attempts failed
        with it.

    Raises:
        UnusableArgumentError: the address is invalid, a transport is unknown, or an argument is of another type.
        UnusableHeaderError: one of ``headers`` may not be set by the user.
    """
    check_options(token=token, headers=headers, ssl=ssl, reconnect=reconnect, on_state=on_state)
    from mcp_ws_ide.sdk import as_message, as_text

    return NegotiatingTransport(
        url,
        _names(transports),
        token=token,
        headers=headers or {},
        ssl=ssl,
        reconnect=reconnect,
        on_state=on_state,
        open_timeout=open_timeout,
        max_size=max_size,
        codec=(as_message, as_text),
    )


def raw_transport(
    url: str,
    *,
    transports: Sequence[str],
    token: Token | None,
    headers: Mapping[str, str],
    reconnect: Reconnect | None,
    on_state: Callable[[State], None] | None,
) -> NegotiatingTransport:
    """As :func:`negotiating_transport`, with resumable transports only and streams of JSON text as ``bytes``."""
    return NegotiatingTransport(
        url,
        transports,
        token=token,
        headers=headers,
        ssl=None,
        reconnect=reconnect,
        on_state=on_state,
        open_timeout=RAW_TIMEOUT,
        max_size=None,
        codec=(verbatim, verbatim),
    )
