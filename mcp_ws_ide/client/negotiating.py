"""From an ``http(s)://`` address to a transport that works on this network (docs/reference/binding.md, section 12).

Chosen once, before anything is sent, and kept: a session never changes its transport. What was chosen, and why what
stands before it was not, is told as :class:`~mcp_ws_ide.client.states.Negotiated`.
"""

from __future__ import annotations

import json
import logging
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final

import anyio
import httpx2

from mcp_ws_ide.client.links import LinkOpener, NoTls, Opener, Token, refusal
from mcp_ws_ide.client.poll_socket import PollOpener
from mcp_ws_ide.client.states import Negotiated, Reconnect, State
from mcp_ws_ide.client.transport import SessionTransport, verbatim
from mcp_ws_ide.core.headers import check_headers
from mcp_ws_ide.discovery import split_address
from mcp_ws_ide.errors import ConnectError, Unauthorized, UnknownServer, UnusableArgument

TRANSPORTS: Final = ("http", "websocket", "poll")
"""What can be negotiated, in the order in which it is tried unless told otherwise."""
FIRST_EVENT: Final = 3.0
"""Seconds in which the first event of an event stream must arrive."""
NO_PROBE: Final = frozenset({400, 404, 405, 406, 415})
"""Status codes with which a server that knows no probe, or what stands before it, refuses one."""
SSE_TIMEOUT: Final = 300.0
"""Seconds without a byte after which an event stream counts as lost; the gateway sends one every 15 s."""

log = logging.getLogger(__name__)


class NegotiatingTransport:
    """An async context manager that yields ``(read, write)`` streams; use :func:`negotiating_transport`.

    Attributes:
        negotiated: what was chosen, and why not the others; None before it is entered.
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
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> tuple[Any, Any]:
        refused: dict[str, ConnectError] = {}
        for name in self._transports:
            try:
                streams = await self._enter(name)
            except NoTls:
                raise  # no transport can heal that
            except ConnectError as error:
                refused[name] = error
                if name == "http" and isinstance(error, (Unauthorized, UnknownServer)):
                    break  # nobody stands between us and whoever says so
                continue
            self.negotiated = Negotiated(name, {other: str(error) for other, error in refused.items()})
            log.info("%s: %s", self._url.partition("?")[0], self.negotiated)
            if self._on_state is not None:
                try:
                    self._on_state(self.negotiated)
                except Exception:  # the watcher's mistake must not end the session
                    log.exception("on_state failed for %s", self.negotiated)
            return streams
        raise _nothing_works(refused)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(None, None, None)

    async def _enter(self, name: str) -> tuple[Any, Any]:
        candidate: AbstractAsyncContextManager[Any]
        if name == "http":
            await self._probe()
            candidate = _streamable_http(self._url, self._opener("http").credential(), self._ssl)
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

    def _opener(self, name: str) -> Opener:
        if name != "websocket":
            return PollOpener(
                self._url, self._token, self._headers, ssl=self._ssl, open_timeout=self._open_timeout
            )
        options: dict[str, Any] = {"max_size": self._max_size, "open_timeout": self._open_timeout}
        if self._ssl is not None:
            options["ssl"] = self._ssl
        return LinkOpener("ws" + self._url.removeprefix("http"), self._token, self._headers, options)

    async def _probe(self) -> None:
        """Whether an event reaches us at once. A server that knows no probe is believed to serve HTTP.

        Raises:
            ConnectError: it does not, or the gateway refused us.
        """
        opener = self._opener("http")
        headers = {**opener.credential(), "Accept": "text/event-stream"}
        timeout = httpx2.Timeout(self._open_timeout)
        try:
            async with httpx2.AsyncClient(timeout=timeout, verify=_verify(self._ssl)) as client:
                with anyio.fail_after(FIRST_EVENT):
                    await _first_event(client, opener.below("probe"), headers, opener.where)
        except TimeoutError:
            words = f"no event of a stream arrived within {FIRST_EVENT:g} s: nothing answers, or something buffers it"
            raise ConnectError(words) from None
        except (httpx2.HTTPError, OSError) as error:
            words = f"{opener.where} cannot be reached: {str(error).strip() or type(error).__name__}"
            raise ConnectError(words) from None


async def _first_event(client: httpx2.AsyncClient, url: str, headers: dict[str, str], where: str) -> None:
    """Wait for an event, on a GET or where something forbids that on a POST, which calls are made of."""
    for method in ("GET", "POST"):
        async with client.stream(method, url, headers=headers) as response:
            if response.status_code == 200:
                return await _some_of(response)
            body = await response.aread()
            if _is_ours(body):
                raise refusal(where, response.status_code, body, response.reason_phrase)
            if response.status_code not in NO_PROBE:
                words = response.reason_phrase or "no reason was given"
                raise ConnectError(f"{where} answered {response.status_code}: {words}")


async def _some_of(response: httpx2.Response) -> None:
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        raise ConnectError("something on the way answers in the gateway's place")
    async for _ in response.aiter_bytes():
        return
    raise ConnectError("the stream ended without an event: something on the way cuts it")


def _is_ours(body: bytes) -> bool:
    """Whether an error has the shape of a gateway's."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and {"message", "status"} <= answer.keys()


def _verify(ssl: ssl_module.SSLContext | None) -> ssl_module.SSLContext | bool:
    return ssl if ssl is not None else True


@asynccontextmanager
async def _streamable_http(
    url: str, headers: dict[str, str], ssl: ssl_module.SSLContext | None
) -> AsyncIterator[tuple[Any, Any]]:
    """The SDK's own transport, of either major."""
    from mcp.client.streamable_http import streamable_http_client

    http: Any = import_module("httpx2" if find_spec("mcp_types") else "httpx")  # what mcp 2.x, 1.x take
    timeout = http.Timeout(30.0, read=SSE_TIMEOUT)
    async with (
        http.AsyncClient(headers=headers, timeout=timeout, verify=_verify(ssl)) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams[0], streams[1]


def _check(url: str, transports: Sequence[str]) -> None:
    split_address(url, ("http", "https"))
    unknown = [name for name in transports if name not in TRANSPORTS]
    if unknown or not transports:
        raise UnusableArgument(f"unknown transports {unknown}; name some of {', '.join(TRANSPORTS)}")


def _nothing_works(refused: Mapping[str, ConnectError]) -> ConnectError:
    names: dict[str, list[str]] = {}
    for name, error in refused.items():
        names.setdefault(str(error), []).append(name)
    words = "; ".join(f"{', '.join(same)}: {reason}" for reason, same in names.items())
    kinds = {type(error) for error in refused.values()}
    kind = kinds.pop() if len(kinds) == 1 else ConnectError
    return kind(words)


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
    """An MCP transport over whatever works: Streamable HTTP, WebSocket, or POSTs alone.

    Args:
        url: ``http://`` or ``https://`` address of an MCP endpoint.
        transports: which ones to try, in this order. Only ``websocket`` and ``poll`` resume.
        token, headers, ssl, reconnect, on_state, max_size: as of
            :func:`~mcp_ws_ide.client.transport.websocket_transport`.
        open_timeout: seconds for each attempt.

    Returns:
        An async context manager that yields ``(read, write)``. Entering raises :class:`ConnectError` with the
        reason of each transport; :class:`Unauthorized` or :class:`UnknownServer` where that is what all say.

    Raises:
        UnusableArgument: the address is none, or a transport unknown.
        UnusableHeader: one of ``headers`` is not the user's to set.
    """
    from mcp_ws_ide.sdk import as_message, as_text

    return NegotiatingTransport(
        url,
        (transports,) if isinstance(transports, str) else tuple(transports),
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
    """As :func:`negotiating_transport`, of those that resume, with streams of JSON text as ``bytes``."""
    return NegotiatingTransport(
        url,
        transports,
        token=token,
        headers=headers,
        ssl=None,
        reconnect=reconnect,
        on_state=on_state,
        open_timeout=30.0,
        max_size=None,
        codec=(verbatim, verbatim),
    )
