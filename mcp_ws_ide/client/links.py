"""A client's link: its protocol, how a WebSocket is opened, and the error for each way in which that fails."""

from __future__ import annotations

import contextlib
import json
import re
import ssl as ssl_module
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, NegotiationError, ProxyError

from mcp_ws_ide.core.binding import CLIENT_USER_AGENT, PING_INTERVAL, SUBPROTOCOL_MCP, SUBPROTOCOL_RESUME
from mcp_ws_ide.core.headers import check_headers
from mcp_ws_ide.core.intermediaries import KINDS, SEEN, SENDS, of_status
from mcp_ws_ide.core.web_pages import title_of
from mcp_ws_ide.discovery import ENDPOINTS, split_address
from mcp_ws_ide.errors import ConnectError, ServerUnavailableError, UnauthorizedError, UnknownServerError
from mcp_ws_ide.proxy_environment import proxy_failure, route, untrusted, via
from mcp_ws_ide.version import __version__

ADDRESS_CURE: Final = f"; the address of a server behind a gateway ends in {ENDPOINTS}NAME"
"""What to do about an error of Jupyter at any other address."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds to wait for the peer's close frame."""

TLS_PATIENCE: Final = 3.0
"""Seconds without an answer to a TLS handshake after which the port is checked for plain HTTP."""

OF_STATUS: Final[Mapping[object, type[ConnectError]]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: UnknownServerError,
    502: ServerUnavailableError,
}
"""The error for each status with which a gateway refuses a link or a request; any other is a ``ConnectError``."""

BY_GATEWAY: Final = "by_gateway"
"""Member of the ``data`` of a -31008: whether the gateway itself refused the request; absent in the gateway's own."""

Token = str | Callable[[], str]
_SCHEME: Final = re.compile(r"\A(?:bearer|token) +", re.IGNORECASE)
"""What people copy with a token, which has no blanks itself (RFC 6750, section 2.1)."""


class ClientLink(Protocol):
    """One physical connection to a gateway that carries text frames in both directions.

    ``send`` and ``recv`` raise :class:`websockets.exceptions.ConnectionClosed` once the link is closed.
    """

    @property
    def subprotocol(self) -> str | None:
        """The negotiated WebSocket subprotocol."""

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455 section 7.4); None while the link is open."""

    @property
    def close_reason(self) -> str | None:
        """The close reason."""

    async def send(self, message: bytes, text: bool | None = None) -> None:
        """Send one text frame."""

    async def recv(self, decode: bool | None = None) -> bytes:
        """Return the next frame."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the link; returns within a bounded time."""


class Opener(ABC):
    """Opens links to one endpoint, with its credential.

    Args:
        url: address of the endpoint.
        token: a credential, or a function that returns a fresh one for each link.
        headers: additional headers of every request.
        open_timeout: seconds for a connection and its handshake.

    Raises:
        UnusableHeaderError: one of ``headers`` may not be set by the user.
    """

    def __init__(
        self, url: str, token: Token | None, headers: Mapping[str, str], open_timeout: float
    ) -> None:
        check_headers(headers, token=token is not None)
        self.url = url
        self.open_timeout = open_timeout
        self.noticed: set[str] = set()
        """Codes of what was noticed on the way to the gateway, reported to it with the next link."""
        self._token = token
        self._headers = dict(headers)

    @property
    def where(self) -> str:
        """The address for messages, without user information and query, which may contain a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def below(self, name: str) -> str:
        """Return the address of a resource below the endpoint; the path is not decoded, which could change it."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def credential(self) -> dict[str, str]:
        """Return the headers of one request.

        Raises:
            ConnectError: the token function failed, or a header value is not printable ASCII.
        """
        headers = dict(self._headers)
        if token := self._current_token():
            headers["Authorization"] = f"Bearer {_SCHEME.sub('', token.strip())}"
        for name, value in headers.items():  # checked here because libraries repeat the value in their errors
            if not (value.isascii() and value.isprintable()):
                raise ConnectError(
                    f"the value of header {name!r} for {self.where} is not one line of printable ASCII text"
                )
        return headers

    def head(self, *sent: str) -> dict[str, str]:
        """Return the headers that open a link: those of :meth:`credential`, and what a proxy may have removed.

        Args:
            sent: further headers that the request carries, in lower case.
        """
        headers = self.credential()
        schemes = [
            value.partition(" ")[0].lower()
            for name, value in headers.items()
            if name.lower() == "authorization"
        ]
        names = [*sent, *(["authorization"] if {"bearer", "token"}.intersection(schemes) else [])]
        if names:
            headers[SENDS] = ", ".join(names)
        if self.noticed:
            headers[SEEN] = ", ".join(sorted(self.noticed))
        return headers

    def _current_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            return self._token()
        except Exception as error:  # the token service may be unreachable for the same reason as the gateway
            raise ConnectError(f"no token for {self.where}: {type(error).__name__}: {error}") from error

    @abstractmethod
    async def open(self, *, resume: bool, nothing_else: bool = False) -> ClientLink:
        """Open a link, preferably a resumable one; with ``nothing_else``, only a resumable one, to resume a session.

        Raises:
            UnauthorizedError, UnknownServerError, ConnectError: see :func:`websocket_transport`.
        """


class LinkOpener(Opener):
    """Opens WebSockets and remembers which endpoints refused the resumable subprotocol.

    Args:
        url: ``ws://`` or ``wss://`` address.
        token, headers: see :class:`Opener`.
        options: passed to ``connect`` of ``websockets``.

    Raises:
        UnusableArgumentError: the address is not a valid ws:// or wss:// URL.
    """

    def __init__(
        self, url: str, token: Token | None, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> None:
        split_address(url, ("ws", "wss"))
        super().__init__(url.partition("#")[0], token, headers, float(options["open_timeout"]))
        self._options = {
            "user_agent_header": f"{CLIENT_USER_AGENT}/{__version__}",
            "close_timeout": CLOSE_TIMEOUT,
            "ping_interval": PING_INTERVAL,
            "ping_timeout": PING_INTERVAL,
            "compression": None,
            **options,
        }

    async def open(self, *, resume: bool, nothing_else: bool = False) -> ClientLink:
        """See :meth:`Opener.open`."""
        offers: list[Sequence[str]] = [[SUBPROTOCOL_MCP], []]
        if nothing_else:
            offers = [[SUBPROTOCOL_RESUME]]
        elif resume and self.url not in _refused_resume:
            offers.insert(0, [SUBPROTOCOL_RESUME, SUBPROTOCOL_MCP])
        for number, offered in enumerate(offers):
            try:
                link = await self._open(offered)
            except _OfferRefusedError as other:
                if number == len(offers) - 1:
                    raise other.error from None
            else:
                if len(offers) == 3 and number > 0:
                    _refused_resume.add(self.url)
                return link
        raise AssertionError("the last offer either opens or raises")

    async def _open(self, offered: Sequence[str]) -> ClientLink:
        headers, options = self.head(*(["sec-websocket-protocol"] if offered else [])), dict(self._options)
        options["proxy"] = route(self.url, headers, "websockets")
        if offered:
            options["subprotocols"] = offered
        where = self.where
        try:
            return await self._connect({"additional_headers": headers, **options})
        except InvalidStatus as error:
            response = error.response
            refused = refusal(
                where, response.status_code, bytes(response.body or b""), response.reason_phrase
            )
            if response.status_code in (400, 500, 501):  # may concern the offered subprotocol: try another
                raise _OfferRefusedError(refused) from None
            raise refused from None
        except InvalidURI as error:  # the target of a redirect
            if error.uri != self.url:
                target = urlsplit(error.uri)
                raise ConnectError(
                    f"{where} redirects to {target.scheme}://{target.netloc.rpartition('@')[2]}, which is not a "
                    "WebSocket; if it is a proxy's login, send the header that the proxy requires"
                ) from None
            raise ConnectError(f"{where} is not a ws:// or wss:// address") from None
        except ssl_module.SSLError as error:
            if not isinstance(error, ssl_module.SSLCertVerificationError):
                await check_for_tls(self.url)
            raise ConnectError(
                f"{where}: TLS handshake failed ({error.reason or error}){untrusted(str(error))}"
            ) from None
        except TimeoutError:
            seconds = f"{options['open_timeout']:g} s"
            raise ConnectError(f"{where} did not answer within {seconds}{via(self.url)}") from None
        except OSError as error:
            raise ConnectError(
                f"{where} cannot be reached{via(self.url)}: {error.strerror or error}"
            ) from None
        except ProxyError as error:
            raise ConnectError(f"{where} cannot be reached{via(self.url)}: {proxy_failure(error)}") from None
        except InvalidHandshake as error:
            refused = ConnectError(f"{where} is not a WebSocket server: {error}")
            if isinstance(error, NegotiationError):
                raise _OfferRefusedError(refused) from None
            raise refused from None

    async def _connect(self, options: dict[str, Any]) -> ClientLink:
        """Open a WebSocket; check for plain HTTP if a ``wss://`` server does not answer the TLS handshake.

        Such a server may wait indefinitely for the end of what it takes for an HTTP request.
        """
        if urlsplit(self.url).scheme == "wss":
            patience, began = min(TLS_PATIENCE, self.open_timeout / 2), anyio.current_time()
            try:
                link: Any = await open_websocket(self.url, ssl_handshake_timeout=patience, **options)
                return cast(ClientLink, link)
            except ConnectionAbortedError as error:
                if error.errno is not None:  # a network error, not asyncio's handshake timeout
                    raise
            await check_for_tls(self.url)
            left = self.open_timeout - (anyio.current_time() - began)
            options = {**options, "open_timeout": max(left, patience)}
        link = await open_websocket(self.url, **options)
        return cast(ClientLink, link)


_refused_resume: set[str] = set()
"""Endpoints that refused a link because of the offered subprotocols; kept for the lifetime of the process."""


class _OfferRefusedError(Exception):
    def __init__(self, error: ConnectError) -> None:
        super().__init__(str(error))
        self.error = error


class NoTlsError(ConnectError):
    """The URL begins with ``wss`` or ``https``, but the port serves plain HTTP."""


async def check_for_tls(url: str) -> None:
    """Check whether a port that does not answer TLS serves plain HTTP; only ``HEAD /`` is sent.

    A TLS server answers such a request with 400, with a redirect to https, with an alert, or not at all.

    Raises:
        NoTlsError: the port serves plain HTTP.
    """
    parts = urlsplit(url)
    answer = b""
    with contextlib.suppress(OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError):
        with anyio.fail_after(TLS_PATIENCE):
            async with await anyio.connect_tcp(str(parts.hostname), parts.port or 443) as stream:
                await stream.send(f"HEAD / HTTP/1.0\r\nHost: {parts.hostname}\r\n\r\n".encode())
                answer = await stream.receive()
    if answer.startswith(b"HTTP/") and answer[9:12] != b"400" and b"https://" not in answer:
        where = parts.netloc.rpartition("@")[2]
        raise NoTlsError(
            f"{where} serves HTTP without TLS; use ws:// or http:// instead of wss:// or https://"
        )


def refusal(where: str, status: int, body: bytes, phrase: str) -> ConnectError:
    """Return the error for an HTTP response that refuses a request; it names the hop that answered."""
    kind, answer = OF_STATUS.get(status, ConnectError), _object(body)
    detail = str(answer.get("message") or phrase or "no reason given")[:500]
    if {"message", "status"} <= answer.keys():  # the gateway
        verdict = {
            401: "refused the credential (401)",
            403: "refused the request (403)",
            404: "does not exist (404)",
        }
        refused = kind(f"{where} {verdict.get(status, f'answered {status}')}: {detail}")
        refused.by_gateway = True
        return refused
    kind = ConnectError if kind is ServerUnavailableError else kind  # Jupyter's, or a proxy's
    if b"jupyter" in body.lower() or "message" in answer:
        cure = (
            "; check that mcp-ws-ide is installed and enabled there, and the base URL"
            if status == 404
            else ""
        )
        cure = cure if ENDPOINTS in where else ADDRESS_CURE
        return kind(f"{where}: Jupyter, not its gateway, answered {status}: {detail}{cure}")
    noticed = of_status(status, body)
    cure = KINDS[noticed[0]].cure if noticed else "check the address, and the proxies on the way"
    said = f"{phrase or 'no reason given'}{_quoted(body)}"
    refused = kind(f"{where}: something other than the gateway answered {status}: {said}; {cure}")
    refused.noticed = noticed[0] if noticed else ""
    return refused


def _quoted(body: bytes) -> str:
    """Return the beginning of a body for the end of a sentence, of a web page its title."""
    if body.lstrip().startswith(b"<"):
        title = title_of(body)
        return f", a web page titled {title!r}" if title else ""
    text = "".join(c for c in " ".join(body[:300].decode(errors="replace").split()) if c.isprintable())
    return f", {text!r}" if text else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
