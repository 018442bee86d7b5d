"""What a link is to a client; opening one WebSocket, and every way in which that fails, in words."""

from __future__ import annotations

import contextlib
import json
import ssl as ssl_module
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, NegotiationError

from mcp_ws_ide.core.binding import CLIENT_USER_AGENT, SUBPROTOCOL_MCP, SUBPROTOCOL_RESUME
from mcp_ws_ide.core.headers import check_headers
from mcp_ws_ide.discovery import split_address
from mcp_ws_ide.errors import ConnectError, Unauthorized, UnknownServer
from mcp_ws_ide.version import __version__

CLOSE_TIMEOUT: Final = 5.0
"""Seconds to wait for the peer's close frame."""
PING_INTERVAL: Final = 20.0
"""Seconds between Pings, and to wait for each answer: a dead link is noticed within two of them."""

TLS_PATIENCE: Final = 3.0
"""Seconds without an answer to a TLS handshake after which one looks whether the port speaks TLS at all."""

Token = str | Callable[[], str]


class ClientLink(Protocol):
    """One connection to a gateway: text frames both ways, until it is closed.

    ``send`` and ``recv`` raise :class:`websockets.exceptions.ConnectionClosed` when it is over.
    """

    @property
    def subprotocol(self) -> str | None:
        """What was agreed upon."""

    @property
    def close_code(self) -> int | None:
        """How it ended (RFC 6455 section 7.4); None while it is open."""

    @property
    def close_reason(self) -> str | None:
        """Why it ended, in words."""

    async def send(self, message: bytes, text: bool | None = None) -> None:
        """Send one text frame."""

    async def recv(self, decode: bool | None = None) -> bytes:
        """The next frame."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; bounded."""


class Opener(ABC):
    """Knows one endpoint and the credential for it.

    Args:
        url: its address.
        token: a credential, or a function that gives a fresh one for each link.
        headers: further headers of every request.
        open_timeout: seconds for a connection and its handshake.

    Raises:
        UnusableHeader: one of ``headers`` is not the user's to set.
    """

    def __init__(
        self, url: str, token: Token | None, headers: Mapping[str, str], open_timeout: float
    ) -> None:
        check_headers(headers, token=token is not None)
        self.url = url
        self.open_timeout = open_timeout
        self._token = token
        self._headers = dict(headers)

    @property
    def where(self) -> str:
        """The address for messages: a query may hold a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def below(self, name: str) -> str:
        """The address of something of the endpoint's, as it stands: a decoded path would be another one."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def credential(self) -> dict[str, str]:
        """The headers of one request.

        Raises:
            ConnectError: the function that gives tokens failed, or a header has an impossible value.
        """
        headers = dict(self._headers)
        if token := self._current_token():
            headers["Authorization"] = f"Bearer {token}"
        for name, value in headers.items():  # checked here, since libraries repeat the value in their errors
            if not (value.isascii() and value.isprintable()):
                raise ConnectError(
                    f"the value of {name} for {self.where} is not one line of printable ASCII text"
                )
        return headers

    def _current_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            return self._token()
        except Exception as error:  # whoever gives tokens may be out of reach for the same reason as we are
            raise ConnectError(f"no token for {self.where}: {type(error).__name__}: {error}") from error

    @abstractmethod
    async def open(self, *, resume: bool, nothing_else: bool = False) -> ClientLink:
        """A link, preferably one that resumes; ``nothing_else`` where a session is to be resumed.

        Raises:
            Unauthorized, UnknownServer, ConnectError: as :func:`websocket_transport` documents.
        """


class LinkOpener(Opener):
    """Opens WebSockets, and remembers which subprotocols were refused.

    Args:
        url: ``ws://`` or ``wss://`` address.
        token, headers: as of :class:`Opener`.
        options: passed to ``websockets``' ``connect``.

    Raises:
        UnusableArgument: the address is none.
    """

    def __init__(
        self, url: str, token: Token | None, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> None:
        split_address(url, ("ws", "wss"))
        super().__init__(url, token, headers, float(options["open_timeout"]))
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
            except _OfferRefused as other:
                if number == len(offers) - 1:
                    raise other.error from None
            else:
                if len(offers) == 3 and number > 0:
                    _refused_resume.add(self.url)
                return link
        raise AssertionError("the last offer either opens or raises")

    async def _open(self, offered: Sequence[str]) -> ClientLink:
        headers, options = self.credential(), dict(self._options)
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
            if response.status_code in (400, 500, 501):  # may be about the offer: try another
                raise _OfferRefused(refused) from None
            raise refused from None
        except InvalidURI:  # of a redirect, or one with a fragment
            raise ConnectError(f"{where} is no ws:// or wss:// address") from None
        except ssl_module.SSLError as error:
            if not isinstance(error, ssl_module.SSLCertVerificationError):
                await check_for_tls(self.url)
            words = f"{where}: TLS failed ({error.reason or error}); is the certificate trusted?"
            raise ConnectError(words) from None
        except TimeoutError:
            raise ConnectError(f"{where} did not answer within {options['open_timeout']:g} s") from None
        except OSError as error:
            raise ConnectError(f"{where} cannot be reached: {error.strerror or error}") from None
        except InvalidHandshake as error:
            refused = ConnectError(f"{where} does not answer as a WebSocket server: {error}")
            if isinstance(error, NegotiationError):
                raise _OfferRefused(refused) from None
            raise refused from None

    async def _connect(self, options: dict[str, Any]) -> ClientLink:
        """A server without TLS may wait for ever for the end of what it takes for a request: look, before we wait."""
        if urlsplit(self.url).scheme == "wss":
            patience = min(TLS_PATIENCE, self.open_timeout / 2)
            try:
                link: Any = await open_websocket(self.url, ssl_handshake_timeout=patience, **options)
                return cast(ClientLink, link)
            except ConnectionAbortedError as error:
                if error.errno is not None:  # the network's, and not that of asyncio's patience
                    raise
            await check_for_tls(self.url)
        link = await open_websocket(self.url, **options)
        return cast(ClientLink, link)


_refused_resume: set[str] = set()
"""Addresses that refused a link because of the subprotocols offered; remembered for the process's life."""


class _OfferRefused(Exception):
    def __init__(self, error: ConnectError) -> None:
        super().__init__(str(error))
        self.error = error


class NoTls(ConnectError):
    """The address begins with ``wss`` or ``https``, and its port serves HTTP in the clear."""


async def check_for_tls(url: str) -> None:
    """Ask a port that does not answer TLS whether it serves HTTP; nothing but ``HEAD /`` is sent.

    A server that speaks TLS answers such a request with 400, an address that begins with https, an alert or nothing.

    Raises:
        NoTls: it does.
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
        raise NoTls(f"{where} serves HTTP without TLS: write ws:// or http://, not wss:// or https://")


def refusal(where: str, status: int, body: bytes, phrase: str) -> ConnectError:
    """An HTTP answer that is a refusal, as the error to raise."""
    words = _message(body) or phrase or "no reason was given"
    if status in (401, 403):
        return Unauthorized(f"{where} refused the credential ({status}): {words}")
    if status == 404:
        return UnknownServer(f"{where} is unknown (404): {words}")
    return ConnectError(f"{where} answered {status}: {words}")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return ""
