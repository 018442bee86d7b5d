"""Opening one WebSocket, and every way in which that fails, in words."""

from __future__ import annotations

import json
import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, NegotiationError

from mcp_ws_ide import __version__
from mcp_ws_ide.binding import CLIENT_USER_AGENT, SUBPROTOCOL_MCP, SUBPROTOCOL_RESUME
from mcp_ws_ide.errors import ConnectError, Unauthorized, UnknownServer

CLOSE_TIMEOUT: Final = 5.0
"""Seconds to wait for the peer's close frame."""
PING_INTERVAL: Final = 20.0
"""Seconds between Pings, and to wait for each answer: a dead link is noticed within two of them."""

Token = str | Callable[[], str]


class LinkOpener:
    """Knows how to reach one endpoint, and which subprotocols it refused.

    Args:
        url: ``ws://`` or ``wss://`` address.
        token: a credential, or a function that gives a fresh one for each link.
        headers: further headers of the handshake.
        options: passed to ``websockets``' ``connect``.
    """

    def __init__(
        self, url: str, token: Token | None, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> None:
        self.url = url
        self.open_timeout = float(options["open_timeout"])
        self._token = token
        self._headers = dict(headers)
        self._options = {
            "user_agent_header": f"{CLIENT_USER_AGENT}/{__version__}",
            "close_timeout": CLOSE_TIMEOUT,
            "ping_interval": PING_INTERVAL,
            "ping_timeout": PING_INTERVAL,
            "compression": None,
            **options,
        }

    @property
    def where(self) -> str:
        """The address for messages: a query may hold a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def open(self, *, resume: bool, nothing_else: bool = False) -> ClientConnection:
        """A link, preferably one that resumes; ``nothing_else`` where a session is to be resumed.

        Raises:
            Unauthorized, UnknownServer, ConnectError: as :func:`websocket_transport` documents.
        """
        offers: list[Sequence[str]] = [[SUBPROTOCOL_MCP], []]
        if nothing_else:
            offers = [[SUBPROTOCOL_RESUME]]
        elif resume and self.url not in _refused_resume:
            offers.insert(0, [SUBPROTOCOL_RESUME, SUBPROTOCOL_MCP])
        for number, offered in enumerate(offers):
            try:
                link = await self._open(offered)
            except _OfferRefused as refusal:
                if number == len(offers) - 1:
                    raise refusal.error from None
            else:
                if len(offers) == 3 and number > 0:
                    _refused_resume.add(self.url)
                return link
        raise AssertionError("the last offer either opens or raises")

    async def _open(self, offered: Sequence[str]) -> ClientConnection:
        headers, options = dict(self._headers), dict(self._options)
        if token := self._current_token():
            headers["Authorization"] = f"Bearer {token}"
        if offered:
            options["subprotocols"] = offered
        where = self.where
        try:
            return await open_websocket(self.url, additional_headers=headers, **options)
        except InvalidStatus as error:
            refusal = _refusal(where, error.response)
            if error.response.status_code in (400, 500, 501):  # may be about the offer: try another
                raise _OfferRefused(refusal) from None
            raise refusal from None
        except InvalidURI:
            raise ConnectError(f"{where} is no ws:// or wss:// address") from None
        except ssl_module.SSLError as error:
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

    def _current_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            return self._token()
        except Exception as error:  # whoever gives tokens may be out of reach for the same reason as we are
            raise ConnectError(f"no token for {self.where}: {type(error).__name__}: {error}") from error


_refused_resume: set[str] = set()
"""Addresses that refused a link because of the subprotocols offered; remembered for the process's life."""


class _OfferRefused(Exception):
    def __init__(self, error: ConnectError) -> None:
        super().__init__(str(error))
        self.error = error


def _refusal(where: str, response: Any) -> ConnectError:
    status, words = response.status_code, _message(response)
    if status in (401, 403):
        return Unauthorized(f"{where} refused the credential ({status}): {words}")
    if status == 404:
        return UnknownServer(f"{where} is unknown (404): {words}")
    return ConnectError(f"{where} answered {status}: {words}")


def _message(response: Any) -> str:
    try:
        return str(json.loads(response.body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return response.reason_phrase or "no reason was given"
