"""Client ID Metadata Documents: a client whose id is an https URL describes itself there.

The user's client names the URL, so the gateway must not be made to ask what only its own network can reach: https
alone, public addresses, the address that was checked, no redirect, no credential, bounded in size and time. See
draft-ietf-oauth-client-id-metadata-document and MCP 2026-07-28, basic/authorization/client-registration.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx2
import msgspec

from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.proxy_environment import proxy_for
from mcp_ws_ide.sanitise import one_visible_line
from mcp_ws_ide.signin.clients import MAX_URI, BadClientError, Client, client_from
from mcp_ws_ide.transports.addresses import addresses_of, inner_of
from mcp_ws_ide.transports.remote import (
    RequestFailedError,
    check_coding,
    media_type,
    new_client,
    read_body,
    send_to,
)

MAX_DOCUMENT: Final = 16 << 10
"""Longest document, in bytes."""
FETCH_SECONDS: Final = 8.0
"""Seconds that fetching a document may take."""
SHORTEST: Final = 60.0
"""Seconds for which a document is kept at least, also without ``Cache-Control``."""
LONGEST: Final = 86400.0
"""Seconds for which a document is kept at most."""
MAX_KEPT: Final = 200
"""Documents that are kept; one more forgets the oldest."""
UNREACHABLE_SECONDS: Final = 3600.0
"""Seconds for which no client is told to use a document after one could not be reached."""
AGAIN: Final = (
    "; end the application's waiting sign-in, and connect again: it can register without it for an hour"
)
MAX_FETCHES: Final = 8
"""Documents that are fetched at the same time; others wait."""

_MAX_AGE: Final = re.compile(r"(?i)(?:^|[\s,])max-age=\"?(\d{1,9})")
_decode = msgspec.json.Decoder(dict[str, object]).decode


def problem_of_id(client_id: str) -> str | None:
    """Return why a URL cannot be a client's id; None if it can."""
    try:
        parts = urlsplit(client_id)
        _ = parts.port
    except ValueError:
        return "it is not a URL"
    if parts.scheme != "https" or not parts.hostname:
        return "it is not an https URL"
    if len(client_id) > MAX_URI or not client_id.isascii() or not client_id.isprintable() or " " in client_id:
        return "it is too long, or has characters that a URL cannot have"
    if parts.username is not None or parts.password is not None or "#" in client_id:
        return "it has a user name or a fragment"
    if parts.path in ("", "/") or any(part in (".", "..") for part in parts.path.split("/")):
        return "it needs a path without dots"
    return None


class ClientDocuments:
    """Fetches documents, and keeps them for a while.

    Args:
        trust: what verifies certificates; None for the system's authorities.
        inner: returns the first address that must not be asked.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        trust: ssl.SSLContext | None = None,
        inner: Callable[[list[str]], str | None] = inner_of,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trust, self._inner, self._now = trust, inner, now
        self._kept: dict[str, tuple[Client, float]] = {}
        self._turn = asyncio.Semaphore(MAX_FETCHES)
        self._unreachable_until = self._reached = -math.inf

    @property
    def reachable(self) -> bool:
        """Whether documents can be fetched, as far as is known; where they cannot, clients have to register.

        Clients that find both prefer documents, and a gateway without a way to the Internet could serve none of them.
        """
        return self._now() >= self._unreachable_until

    async def client(self, client_id: str) -> Client:
        """Return the client with this id.

        Raises:
            BadClientError: its document cannot be fetched or used.
        """
        known = self._kept.get(client_id)
        if known is not None and known[1] > self._now():
            return known[0]
        if (problem := problem_of_id(client_id)) is not None:
            raise BadClientError(f"client id {client_id[:200]!r} cannot be used: {problem}")
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._turn:
                body, seconds = await self._fetch(client_id)
        except TimeoutError:
            self._note_unreachable()
            reason = f"no complete response within {FETCH_SECONDS:g} s"
        except (RequestFailedError, TransportError) as error:
            reason = str(error)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            self._note_unreachable()
            reason = f"the request failed: {one_visible_line(str(error))[:200] or type(error).__name__}"
        else:
            self._unreachable_until, self._reached = -math.inf, self._now()
            client = read_document(client_id, body)
            self._keep(client, seconds)
            return client
        cure = "" if self.reachable else AGAIN
        raise BadClientError(
            f"the client's document at {client_id[:200]!r} cannot be fetched: {reason}{cure}"
        )

    def _note_unreachable(self) -> None:
        """Have clients register, unless another document was fetched lately: then it is that one host."""
        if self._now() - self._reached > UNREACHABLE_SECONDS:
            self._unreachable_until = self._now() + UNREACHABLE_SECONDS

    def _keep(self, client: Client, seconds: float) -> None:
        self._kept.pop(client.id, None)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[client.id] = client, self._now() + seconds

    async def _fetch(self, url: str) -> tuple[bytes, float]:
        """Return a document, and the seconds for which it may be kept."""
        async with new_client(
            {"Accept": "application/json"}, self._trust, httpx2.Timeout(FETCH_SECONDS)
        ) as http:
            request = http.build_request("GET", url)
            addresses = await addresses_of(request.url.host)
            if not addresses and proxy_for(url) is None:  # a proxy resolves names itself
                raise OSError("the host has no address")
            if (inner := self._inner(addresses)) is not None:
                raise RequestFailedError(f"its address {inner} is not public", sent=False)
            response = await send_to(http, request, addresses)
            try:
                check_coding(response)
                kind = media_type(response)
                if response.status_code != 200 or not (kind == "application/json" or kind.endswith("+json")):
                    raise RequestFailedError(f"the response is {response.status_code} {kind[:60]}", sent=True)
                body = await read_body(response, MAX_DOCUMENT, FETCH_SECONDS)
            finally:
                await response.aclose()
        if body is None:
            raise RequestFailedError(f"it is longer than {MAX_DOCUMENT} bytes", sent=True)
        return body, _lifetime(response.headers.get("cache-control", ""))


def _lifetime(cache_control: str) -> float:
    named = _MAX_AGE.search(cache_control)
    return SHORTEST if named is None else min(max(float(named[1]), SHORTEST), LONGEST)


def read_document(client_id: str, body: bytes) -> Client:
    """Return the client that a document describes.

    Raises:
        BadClientError: the document is not one of this client, or needs what this server does not support.
    """
    try:
        metadata = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadClientError("the client's document is not a JSON object") from None
    if metadata.get("client_id") != client_id:
        raise BadClientError("the client's document names another client_id than its own URL")
    if "client_secret" in metadata or not _can_be_public(metadata):
        raise BadClientError('the client\'s document must allow the token_endpoint_auth_method "none"')
    return client_from(client_id, metadata)


def _can_be_public(metadata: dict[str, object]) -> bool:
    """Return whether a client can do without authentication, as it may say beside the method that it prefers (OpenID
    Connect Relying Party Metadata Choices 1.0); then it chooses by what the server's metadata supports."""
    choices = metadata.get("token_endpoint_auth_methods_supported")
    if isinstance(choices, list):
        return "none" in choices
    return metadata.get("token_endpoint_auth_method", "none") == "none"
