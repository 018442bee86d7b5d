"""HTTP to remote servers, for every transport based on it: one pooled client, and an explanation of each failure.

Decides what leaves this machine: credentials come only from the configuration, cookies are not kept, a redirect is
followed only within its origin and with its method, TLS is verified. Knows nothing of JSON-RPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Self

import httpx2

from mcp_ws_ide.config.spec import ServerSpec, http_socket
from mcp_ws_ide.core.web_pages import title_of
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.proxy_environment import proxy_for, reason_of
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.transports.base import Authorizer, Supplies
from mcp_ws_ide.transports.tasked import TaskedTransport
from mcp_ws_ide.version import __version__

MAX_CONNECTIONS: Final = 256
"""Maximum number of simultaneous connections of one attachment, event streams included."""
KEEPALIVE_EXPIRY: Final = 4.0
"""Seconds to keep an idle connection: less than the 5 s after which common servers close theirs, because a request
that crosses the close has an unknown outcome."""
WRITE_TIMEOUT: Final = 30.0
"""Seconds after which a request fails if the server accepts no byte of it."""
MAX_REDIRECTS: Final = 3
"""Maximum number of redirects of one request."""
ERROR_BYTES: Final = 64 << 10
"""Bytes that are read of the body of an error."""
EVENT_OVERHEAD: Final = 1024
"""Bytes allowed for the field names of an event, which count toward its size."""
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
BODY_STALL: Final = 3.5
"""Seconds of silence after which a body that has begun counts as ended."""
PINNED: Final = "mcp_ws_ide.pinned"
"""Key in the extensions of a request whose URL has an address in place of the host's name."""
DISCOVER: Final = b'"server/discover"'
"""The method, as JSON, that asks a server for its protocol versions (MCP 2026-07-28)."""

UNTRUSTED_HINT: Final = "if its certificate is signed by a private authority, set ca_file"
NO_TLS_HINT: Final = "it does not speak TLS there; write http:// or ws:// in the URL"
TLS_HINT: Final = "if it expects TLS, write https:// in the URL"

_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Detects within two minutes that the peer of a silent stream has vanished (Linux names; defaults elsewhere)."""

for _name in ("httpx2", "httpcore2"):  # at INFO they log URLs, and a query may be a credential
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.WARNING)


class RequestFailedError(Exception):
    """The server did not answer a request; the message says why and what to do.

    Attributes:
        sent: whether the request may have reached the server; if not, retrying is safe.
        status: HTTP status, 0 if there was none.
        refused: whether something answered that cannot be used as an MCP server here, so that the failure says nothing
            about the server's era.
    """

    def __init__(self, reason: str, *, sent: bool, status: int = 0, refused: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.status = status
        self.refused = refused or status in (401, 403, 407, 408, 429) or status >= 500

    @property
    def of_older_server(self) -> bool:
        """Whether a server of the handshake era refuses a request before ``initialize`` in this way: with any 4xx, in
        text or HTML (MCP 2026-07-28, basic/transports/streamable-http, backward compatibility)."""
        return 400 <= self.status < 500 and not self.refused


class AuthorizationMissingError(RequestFailedError):
    """The server requires an authorization, and none was given in time; the request did not run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=False, refused=True)


class _Progress:
    """How far a request has got, from the HTTP client's trace events.

    Args:
        seconds: timeout from the end of the request to the head of its response; None for none.
        on_sent: called as soon as the request has left.

    Attributes:
        sent: whether any part of it may have reached the server.
        answered: whether the head of a response has arrived.
    """

    def __init__(self, seconds: float | None, on_sent: Callable[[], None] | None) -> None:
        self.sent = self.answered = False
        self._seconds = seconds
        self._on_sent = on_sent
        self._clock = asyncio.timeout(None)

    def bounded(self) -> asyncio.Timeout:
        """Return the timeout of one attempt; a redirect begins another attempt."""
        self._clock = asyncio.timeout(None)
        return self._clock

    async def trace(self, event: str, _: Any) -> None:
        """Handle an event of the client's ``trace`` extension."""
        self.sent = self.sent or event.endswith("send_request_headers.started")
        if event.endswith("send_request_body.complete"):
            if self._seconds is not None:
                self._clock.reschedule(asyncio.get_running_loop().time() + self._seconds)
            if self._on_sent is not None:
                self._on_sent()
        elif event.endswith("receive_response_headers.complete"):
            self.answered = True
            self._clock.reschedule(None)


class Remote:
    """The address of one remote server, and the HTTP client for it.

    Args:
        url: URL of the endpoint; ``unix:///tmp/s#/mcp`` for HTTP over a Unix socket.
        headers: configured headers, sent with every request.
        ca_file: certificates to trust instead of the system's.
        connect_timeout: seconds to open a connection, or for one of the pool to become free.
        read_timeout: seconds of silence after which a response counts as lost; also the limit for a whole response that
            is not an event stream.
        authorizer: adds OAuth tokens to requests; None if the server is used without OAuth.
        tls: verifies certificates in place of ``ca_file``.
        cookies: keeps the server's cookies; None to keep none.

    Raises:
        TransportError: ``ca_file``, or the proxy in the environment, cannot be used.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        ca_file: str | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
        authorizer: Authorizer | None = None,
        tls: ssl.SSLContext | None = None,
        cookies: CookieJar | None = None,
    ) -> None:
        self._authorizer = authorizer
        socket_path, path = http_socket(url)
        self.url = httpx2.URL(f"http://localhost{path}" if socket_path else url)
        self._shown = f"unix:{socket_path}#{path.partition('?')[0]}" if socket_path else ""
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self._timeout = httpx2.Timeout(
            connect=connect_timeout, read=read_timeout, write=WRITE_TIMEOUT, pool=connect_timeout
        )
        self._endless = httpx2.Timeout(
            connect=connect_timeout, read=None, write=WRITE_TIMEOUT, pool=connect_timeout
        )
        proxy = proxy_for(url) if not socket_path else None
        if proxy is not None and (problem := proxy.problem("httpx2")):
            raise TransportError(f"{self.where} cannot be reached: {problem}")
        self.via = f", {proxy.via}" if proxy is not None else ""
        """The proxy, to append to an error; ``""`` if the server is reached directly."""
        self.hop = self.via if self.url.scheme == "http" else ""
        """The proxy, if it could answer in place of the server: over TLS it only passes bytes on."""
        self._client = new_client(headers, tls or ca_file, self._timeout, cookies, socket_path)

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return the remote server that a spec names.

        Raises:
            TransportError: ``ca_file`` cannot be used, or OAuth is not possible here.
        """
        authorizer = None
        if spec.oauth is not None:
            if supplies.authorizations is None:
                raise TransportError("OAuth is not possible here: the gateway has no public URL")
            authorizer = supplies.authorizations.of(spec, supplies.principal)
        return cls(
            spec.url or "",
            spec.headers,
            ca_file=spec.ca_file,
            connect_timeout=spec.timeout("connect_timeout"),
            read_timeout=spec.timeout("read_timeout"),
            authorizer=authorizer,
        )

    @property
    def where(self) -> str:
        """The address for messages, without userinfo and query, which may be credentials."""
        return self._shown or f"{origin(self.url)}{path_of(self.url)}"

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        headers: Mapping[str, str],
        *,
        url: httpx2.URL | None = None,
        content: bytes | None = None,
        endless: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; the block reads the body of its response, which is closed at the end.

        Args:
            url: another URL than the endpoint's.
            endless: whether the response may be silent forever; TCP detects a peer that has vanished.
            on_sent: called as soon as the request has left.

        Raises:
            RequestFailedError: there is no response, or reading it in the block failed.
        """
        progress = _Progress(None if endless else self.read_timeout, on_sent)
        build = partial(
            self._client.build_request,
            method,
            headers=httpx2.Headers(headers, encoding="utf-8"),
            content=content,
            timeout=self._endless if endless else self._timeout,
            extensions={"trace": progress.trace},
        )
        target = url or self.url
        with self._failures(progress):
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._response(build(url=target), progress)
                try:
                    redirect = _redirect(response, method)
                    if redirect is None:
                        if endless:
                            _detect_vanished_peer(response)
                        check_coding(response)
                        yield response
                        return
                    target = redirect
                finally:
                    await response.aclose()
            raise RequestFailedError(f"{self.where} redirects in a loop", sent=False, refused=True)

    async def _response(self, request: httpx2.Request, progress: _Progress) -> httpx2.Response:
        try:
            async with progress.bounded():
                response = await self._send(request)
        except TimeoutError:
            raise _unfinished(self.where, self.read_timeout) from None
        # Events and JSON are UTF-8, whatever codec the Content-Type names.
        response.encoding = "utf-8"
        return response

    @contextlib.contextmanager
    def _failures(self, progress: _Progress) -> Iterator[None]:
        """Turn the HTTP client's errors in the block into :class:`RequestFailedError`."""
        try:
            yield
        except httpx2.SSEError as error:
            raise RequestFailedError(f"{self.where}: {error}", sent=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise RequestFailedError(self._explanation(error, progress), sent=progress.sent) from None
        except (OSError, ssl.SSLError) as error:
            raise RequestFailedError(f"{self.where}: {error}", sent=progress.sent) from None

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        if self._authorizer is None:
            return await self._client.send(request, stream=True)
        return await self._authorizer.send(self._client, request)

    async def prepare(self, method: str, headers: Mapping[str, str], content: bytes | None = None) -> None:
        """Obtain an authorization if the server requires one and there is none.

        This comes before any message, because a user takes longer than a request may wait for its answer. Any other
        failure shows with the first message.

        Raises:
            TransportError: the authorization was not given.
        """
        if self._authorizer is None or self._authorizer.authorized:
            return
        request = self._client.build_request(method, self.url, headers=headers, content=content)
        try:
            with contextlib.suppress(httpx2.HTTPError, httpx2.InvalidURL, OSError):
                await self._authorizer.prepare(self._client, request)
        except BaseException as error:
            await self.aclose()
            if isinstance(error, AuthorizationMissingError):
                raise TransportError(str(error)) from None
            raise

    def _explanation(self, error: Exception, progress: _Progress) -> str:
        where, timeout = self.where, self._timeout
        if isinstance(error, httpx2.ConnectTimeout):
            return f"{where} did not accept a connection within {timeout.connect:g} s (connect_timeout){self.via}"
        if isinstance(error, httpx2.PoolTimeout):
            return f"{MAX_CONNECTIONS} requests to {where} are open, which is the maximum; wait for their responses"
        if isinstance(error, httpx2.ReadTimeout):
            return f"{where} sent nothing for {timeout.read:g} s (read_timeout)"
        if isinstance(error, httpx2.WriteTimeout):
            return f"{where} accepted no byte of the request for {WRITE_TIMEOUT:g} s"
        detail = str(error) or "it closed the connection without an answer"
        if isinstance(error, httpx2.ConnectError):
            reason = reason_of(error)
            hint = tls_hint(reason)
            return f"{where} cannot be reached{self.via}: {reason}{hint and f'; {hint}'}"
        wants_tls = self.url.scheme == "http" and not progress.answered and _like_tls(error)
        return f"the request to {where} failed{self.via}: {visible(detail)}{f'; {TLS_HINT}' if wants_tls else ''}"

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _like_tls(error: Exception) -> bool:
    """Return whether a plain HTTP request may have failed because the server expects TLS.

    It then closes the connection without a byte, or sends a TLS alert: a record of type 21 with major version 3 (RFC
    8446, sections 5.1 and 6).
    """
    if isinstance(error, httpx2.RemoteProtocolError):
        return "without sending a response" in str(error) or "\\x15\\x03" in str(error)
    return isinstance(error, httpx2.ReadError)


def tls_hint(detail: str) -> str:
    """Return what to do about a failed TLS handshake, by OpenSSL's text; ``""`` if that says enough."""
    text = detail.lower().replace("_", " ")
    if any(
        words in text for words in ("wrong version number", "record layer failure", "eof occurred", "(eof)")
    ):
        return NO_TLS_HINT
    return UNTRUSTED_HINT if "certificate" in text else ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one attachment over HTTP.

    Attributes:
        max_message_bytes: longest message from the server.
        reconnect_timeout: seconds for which a broken response is requested again, if the server can replay it.
        high_water: queued bytes above which ``write_paused`` is called.
        max_queued_bytes: queued bytes above which requests are refused, or the server counts as stuck.
    """

    max_message_bytes: int = 10 << 20
    reconnect_timeout: float = 60.0
    high_water: int = 1 << 20
    max_queued_bytes: int = 64 << 20


DEFAULT_BOUNDS: Final = Bounds()


class RemoteTransport(TaskedTransport):
    """Base of the transports that consist of HTTP requests to one :class:`Remote`."""

    remote = True

    @classmethod
    def from_spec(cls, spec: ServerSpec, supplies: Supplies) -> Self:
        """Return a transport with the address, headers and limits of a spec."""
        reconnect_timeout = spec.timeout("reconnect_timeout")
        return cls(Remote.from_spec(spec, supplies), Bounds(supplies.max_message_bytes, reconnect_timeout))

    def __init__(self, remote: Remote, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        super().__init__(remote.where, bounds.high_water, bounds.max_queued_bytes)
        self._remote = remote
        self._max_message = bounds.max_message_bytes
        self._reconnect_timeout = bounds.reconnect_timeout

    async def _hang_up(self) -> None:
        await self._remote.aclose()


def new_client(
    headers: Mapping[str, str],
    trust: ssl.SSLContext | str | None,
    timeout: httpx2.Timeout,
    cookies: CookieJar | None = None,
    socket_path: str = "",
) -> httpx2.AsyncClient:
    """Return a client that follows no redirects and verifies TLS.

    Args:
        trust: what verifies certificates, or the file with the trusted ones; None for the system's.
        cookies: where cookies are kept; None to keep none.
        socket_path: path of the Unix socket to which every request goes; ``""`` for none.

    Raises:
        TransportError: ``ca_file`` cannot be used.
    """
    merged = httpx2.Headers({"User-Agent": f"mcp-ws-ide/{__version__}", "Accept-Encoding": "identity"})
    merged.update(headers)  # names compare as in HTTP: a configured "user-agent" replaces ours
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=socket_path, limits=_limits())
        if socket_path
        else _Routed(trust if isinstance(trust, ssl.SSLContext) else tls_context(trust)),
        headers=merged,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])) if cookies is None else cookies,
        follow_redirects=False,
        trust_env=False,
        timeout=timeout,
    )


def _limits() -> httpx2.Limits:
    return httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_EXPIRY)


def peer_address(response: httpx2.Response) -> str:
    """Return the IP address that an open response comes from; ``""`` if it is not known."""
    stream = response.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream is not None else None
    return str(address[0]).partition("%")[0] if isinstance(address, tuple) else ""


def pinned(request: httpx2.Request, address: str) -> httpx2.Request:
    """Return a request that has been read, for a direct connection to an address of its host.

    ``Host`` and the name that the certificate must have stay those of its URL.
    """
    extensions = {**request.extensions, PINNED: True, "sni_hostname": request.url.host}
    url = request.url.copy_with(host=address)
    return httpx2.Request(
        request.method, url, headers=request.headers, content=request.content, extensions=extensions
    )


async def send_to(
    client: httpx2.AsyncClient, request: httpx2.Request, addresses: list[str]
) -> httpx2.Response:
    """Send a request to one of the addresses that its host had when they were checked: it may lead elsewhere by now.

    A proxy resolves the name itself.
    """
    url = request.url
    if proxy_for(str(url)) is not None or url.host in addresses or not addresses:
        return await client.send(request, stream=True)
    await request.aread()
    for address in addresses[:-1]:
        with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
            return await client.send(pinned(request, address), stream=True)
    return await client.send(pinned(request, addresses[-1]), stream=True)


class _Routed(httpx2.AsyncBaseTransport):
    """Sends each request directly or through a proxy of the environment, as :func:`proxy_for` decides for its origin.

    So a server behind a company's proxy is reached in the same way as from the gateway's child processes, which receive
    the same variables; this machine is reached directly. Nothing is read from netrc.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._verify = verify
        self._pools: dict[str | None, httpx2.AsyncHTTPTransport] = {}
        """One pool for each proxy; None: for direct connections."""
        self._origins: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises:
            ProxyError: the proxy cannot be used.
        """
        if PINNED in request.extensions:
            return await self._pool(None).handle_async_request(request)
        where = origin(request.url)
        transport = self._origins.get(where)
        if transport is None:
            transport = self._origins[where] = self._transport(str(request.url))
        return await transport.handle_async_request(request)

    def _transport(self, url: str) -> httpx2.AsyncHTTPTransport:
        proxy = proxy_for(url)
        if proxy is not None and (problem := proxy.problem("httpx2")):
            raise httpx2.ProxyError(problem)
        return self._pool(proxy.url if proxy is not None else None)

    def _pool(self, key: str | None) -> httpx2.AsyncHTTPTransport:
        if key not in self._pools:
            pool = httpx2.AsyncHTTPTransport(
                verify=self._verify, trust_env=False, limits=_limits(), proxy=key
            )
            self._pools[key] = pool
        return self._pools[key]

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()


async def read_body(response: httpx2.Response, limit: int, seconds: float) -> bytes | None:
    """Return the body, or what arrived of one that stopped; None if it is longer than ``limit`` bytes.

    Raises:
        RequestFailedError: it did not end within ``seconds``, even if it kept trickling, or never began.
    """
    parts, size, loop = [], 0, asyncio.get_running_loop()
    deadline = loop.time() + seconds
    try:
        async with asyncio.timeout_at(deadline) as clock:
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > limit:
                    return None
                if not part.isspace():
                    clock.reschedule(min(deadline, loop.time() + BODY_STALL))
    except TimeoutError:
        if loop.time() >= deadline or not parts:
            raise _unfinished(origin(response.request.url), seconds) from None
    return b"".join(parts)


def _unfinished(where: str, seconds: float) -> RequestFailedError:
    return RequestFailedError(
        f"{where} did not finish its response within {seconds:g} s (read_timeout)", sent=True
    )


def media_type(response: httpx2.Response) -> str:
    """Return the media type, without parameters, in lower case."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


HINTS: Final = {
    401: 'it requires a credential, or refused the one sent; set it under "headers" in the entry',
    403: 'it refused the credential; check "headers" in the entry',
    404: 'there is nothing at this address; check "url" in the entry',
    405: "it accepts no messages at this address; is it the MCP endpoint?",
    407: "it is a proxy that requires a credential; put it into the proxy's address",
    408: "it, or a proxy before it, gave up waiting for the request",
    411: "it, or a proxy before it, requires a Content-Length",
    413: "the message is too large for it, or for a proxy before it (nginx: client_max_body_size)",
    429: "too many requests",
    **dict.fromkeys(
        (414, 431, 494), "the address or the headers are too long for it, or for a proxy before it"
    ),
    502: "a proxy before it got no usable response from it",
    503: "it is overloaded or stopped, or a proxy before it has no server to pass requests to",
    **dict.fromkeys((504, 522, 524), "a proxy before it waited too long for it"),
    **dict.fromkeys((520, 527), "a proxy before it got no usable response from it"),
    **dict.fromkeys((521, 523, 530), "a proxy before it cannot reach it"),
    **dict.fromkeys((525, 526), "a proxy before it cannot speak TLS with it"),
}
"""What a status means, and what to do; from 520 on they are Cloudflare's."""


def status_message(where: str, status: int, body: bytes, hop: str = "") -> str:
    """Return what an HTTP error means and what to do; ``body`` is quoted if it is short text.

    Args:
        hop: the proxy that may have answered instead, as :attr:`Remote.hop`.
    """
    hint = HINTS.get(status, "")
    return f"{where} answered {status}{hop}" + "".join(
        f": {part}" for part in (hint, body_text(body)) if part
    )


def body_text(body: bytes) -> str:
    """Return a body for people, on one line: the title of a web page, or the beginning of a text; else ``""``."""
    text = " ".join(body[:200].decode(errors="replace").split())
    if text.startswith("<"):
        shown = title_of(body)
        return f"a web page titled {shown!r}" if shown else ""
    return "" if "\0" in text or "\ufffd" in text.rstrip("\ufffd") else visible(text)


def origin(url: httpx2.URL) -> str:
    """Return scheme, host and port, without userinfo."""
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}"


def path_of(url: httpx2.URL) -> str:
    """Return the path as it is sent, with percent escapes, without the query."""
    return url.raw_path.partition(b"?")[0].decode("ascii", "replace")


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names.

    Raises:
        TransportError: ``ca_file`` cannot be used.
    """
    try:
        return _tls_context(ca_file, os.stat(ca_file).st_mtime_ns if ca_file is not None else 0)
    except (OSError, ssl.SSLError) as error:
        detail = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise TransportError(
            f"ca_file {ca_file} cannot be used: {detail}; it must be a PEM file that Jupyter can read"
        ) from None


@lru_cache(maxsize=16)
def _tls_context(ca_file: str | None, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _redirect(response: httpx2.Response, method: str) -> httpx2.URL | None:
    """Return the target of a redirect; None if the response is not one.

    Raises:
        RequestFailedError: the target has another origin, or the redirect would change the method.
    """
    location = response.headers.get("location")
    if response.status_code not in (301, 302, 303, 307, 308) or location is None:
        return None
    here = response.request.url
    try:
        there = here.join(location)
    except (httpx2.InvalidURL, ValueError):
        raise RequestFailedError(
            f"{origin(here)} redirects to an invalid address", sent=False, refused=True
        ) from None
    if origin(there) != origin(here):
        reason = f"{origin(here)} redirects to another origin, {origin(there)}, which is not followed"
        raise RequestFailedError(f"{reason}; configure that URL if you trust it", sent=False, refused=True)
    if method != "GET" and response.status_code < 307:
        reason = f"{origin(here)} redirects to {path_of(there)} with {response.status_code}"
        cure = "which would drop the message; configure that URL"
        raise RequestFailedError(f"{reason}, {cure}", sent=False, refused=True)
    return there


def check_coding(response: httpx2.Response) -> None:
    """Check that a response is not compressed: it was not requested, and could inflate a small body past every limit.

    Raises:
        RequestFailedError: it is.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        reason = f"{origin(response.request.url)} compressed its response ({coding[:40]!r}), which was not requested"
        raise RequestFailedError(reason, sent=True, status=response.status_code)


def _detect_vanished_peer(response: httpx2.Response) -> None:
    """Turn on TCP keep-alive for the connection of a response."""
    stream = response.extensions.get("network_stream")
    raw = stream.get_extra_info("socket") if stream is not None else None
    if raw is None:
        return
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
