"""Registered clients (RFC 7591), of which nothing is stored: the id of a client is its metadata, with a signature.

Anybody may register without a credential, so a store would have to be bounded, and a flood would push out those in use
(RFC 7591, appendix A.5.2, describes the stateless form). The key is derived from those in ``engine_keys_file``, so a
registration outlives a restart and is valid at every gateway that has the file.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from mcp_ws_ide.signin.clients import BadClientError, Client, client_from
from mcp_ws_ide.tokens import MAX_LIFETIME

REGISTRATION_SECONDS: Final = MAX_LIFETIME
"""Seconds for which a registration is valid: as long as the longest approval."""
MAX_ID: Final = 4096
"""Longest id, in characters; a client with more metadata cannot be registered."""

_PREFIX: Final = "mcpwsc_"
"""Begins the id of every registered client."""
_MAC_BYTES: Final = 16


class _Registration(msgspec.Struct, array_like=True):
    nonce: str
    name: str
    redirect_uris: tuple[str, ...]
    refreshes: bool
    expires: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Registration).decode


class Registrations:
    """Issues and reads ids of registered clients.

    Args:
        key: returns the key of the signatures.
        now: the clock, in seconds since the epoch.
    """

    def __init__(self, key: Callable[[], bytes], now: Callable[[], float] = time.time) -> None:
        self._key, self._now = key, now

    def register(self, metadata: dict[str, object]) -> Client:
        """Return a new client with this metadata.

        Raises:
            BadClientError: it cannot be registered.
        """
        client = client_from("", metadata)
        expires = int(self._now() + REGISTRATION_SECONDS)
        nonce = secrets.token_urlsafe(9)  # two copies of one application are two clients
        content = _encode(_Registration(nonce, client.name, client.redirect_uris, client.refreshes, expires))
        client_id = _PREFIX + _text(content) + "." + _text(self._mac(content))
        if len(client_id) > MAX_ID:
            raise BadClientError("redirect_uris and client_name are too long")
        return Client(client_id, client.name, client.redirect_uris, client.refreshes)

    def find(self, client_id: str, *, expired: bool = False) -> Client | None:
        """Return the client with this id; None if none was registered here, or its registration has expired.

        Args:
            expired: whether an expired registration counts too.
        """
        if not client_id.startswith(_PREFIX) or len(client_id) > MAX_ID:
            return None
        try:
            content, mac = (_bytes(part) for part in client_id.removeprefix(_PREFIX).split("."))
            if not hmac.compare_digest(mac, self._mac(content)):
                return None
            known = _decode(content)
        except (ValueError, binascii.Error, msgspec.DecodeError):
            return None
        if known.expires <= self._now() and not expired:
            return None
        return Client(client_id, known.name, known.redirect_uris, known.refreshes)

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key(), content, "sha256")[:_MAC_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
