"""Clients that sign in, and where their users' browsers may be sent back.

Every client is public (RFC 6749 section 2.1): it has no secret, and is bound to its codes and tokens by PKCE and by its
id. Knows neither how a client was registered nor how its document is fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mcp_ws_ide.config.spec import is_loopback_host
from mcp_ws_ide.sanitise import one_visible_line

SCOPE: Final = "mcp"
"""The scope that opens an MCP endpoint. What a token may do is up to its servers and tools, not to scopes."""
OFFLINE: Final = "offline_access"
"""The scope with which clients ask for a refresh token (MCP 2026-07-28, basic/authorization, Refresh Tokens)."""
SCOPES: Final = (SCOPE, OFFLINE)
GRANTS: Final = ("authorization_code", "refresh_token")
"""Grant types that a client may use."""
MAX_REDIRECT_URIS: Final = 20
"""Redirect URIs that a client may have."""
MAX_URI: Final = 2048
"""Longest redirect URI and client id, in characters."""
MAX_NAME: Final = 80
"""Characters of a client's name that are kept."""

_SCHEME: Final = re.compile("[a-z][a-z0-9+.-]{1,60}")
_FOREIGN: Final = frozenset(
    (
        *(
            "about",
            "blob",
            "chrome",
            "chrome-extension",
            "content",
            "data",
            "devtools",
            "edge",
            "file",
            "filesystem",
        ),
        *(
            "ftp",
            "ftps",
            "http",
            "intent",
            "jar",
            "javascript",
            "mailto",
            "moz-extension",
            "res",
            "sms",
            "tel",
        ),
        *(
            "callto",
            "git",
            "irc",
            "ircs",
            "ldap",
            "ldaps",
            "magnet",
            "rdp",
            "search",
            "search-ms",
            "sftp",
            "shell",
        ),
        *("skype", "smb", "ssh", "steam", "svn", "telnet", "vnc", "webcal"),
        *("urn", "vbscript", "view-source", "ws", "wss"),
    )
)
"""Schemes that a browser handles itself or that reach something other than the client."""
_OF_THE_SYSTEM: Final = ("ms-", "x-apple.")
"""Begin schemes with which Windows and macOS start parts of themselves."""


class BadClientError(Exception):
    """A client's metadata cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client as Authlib asks for one (``authlib.oauth2.rfc6749.ClientMixin``).

    Attributes:
        id: what the client calls itself towards this server: an https URL, or a registration.
        name: what the client says that it is called; nobody has verified it.
        redirect_uris: where its users' browsers may be sent back.
        refreshes: whether it can use refresh tokens.
    """

    id: str
    name: str = ""
    redirect_uris: tuple[str, ...] = ()
    refreshes: bool = True

    @property
    def host(self) -> str:
        """The host that publishes this client's metadata; ``""`` for a registered client, which anybody may be."""
        return host_of(self.id) if self.id.startswith("https://") else ""

    @property
    def client_id(self) -> str:
        """The id, as Authlib names it."""
        return self.id

    def get_client_id(self) -> str:
        """Return the id."""
        return self.id

    def get_default_redirect_uri(self) -> None:
        """Return None: every request must name its redirect URI."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """Return the scopes that a client gets: always :data:`SCOPE`, and :data:`OFFLINE` if it can refresh."""
        wanted = (scope or "").split()
        return f"{SCOPE} {OFFLINE}" if OFFLINE in wanted and self.refreshes else SCOPE

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Return whether a redirect URI is registered: character by character, but with any port of the loopback
        interface (RFC 8252 section 7.3)."""
        return any(same_redirect_uri(known, redirect_uri) for known in self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        """Return False: no client has a secret."""
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Return whether a client may authenticate in this way."""
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        """Return whether a client may ask for this type of response."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Return whether a client may use this type of grant."""
        return grant_type in GRANTS


def same_redirect_uri(known: str, given: str) -> bool:
    """Return whether a given redirect URI is the known one."""
    if known == given:
        return True
    first, second = _split(known), _split(given)
    if first is None or second is None or not (_is_loopback(first) and _is_loopback(second)):
        return False
    return _without_port(first) == _without_port(second) and problem_of(given) is None


def _without_port(parts: SplitResult) -> tuple[str, str | None, str, str]:
    return parts.scheme, parts.hostname, parts.path, parts.query


def problem_of(redirect_uri: object) -> str | None:
    """Return why a redirect URI must not be registered; None if it may be."""
    parts = _split(redirect_uri) if isinstance(redirect_uri, str) else None
    if parts is None or len(parts.geturl()) > MAX_URI:
        return "it is not a URL"
    if "#" in str(redirect_uri):
        return "it has a fragment"
    if parts.username is not None or parts.password is not None:
        return "it has a user name"
    if parts.scheme == "https":
        return None if parts.hostname else "it has no host"
    if parts.scheme == "http":
        return None if _is_loopback(parts) else "http leads to this computer only; use https"
    foreign = parts.scheme in _FOREIGN or parts.scheme.startswith(_OF_THE_SYSTEM)
    return f"the scheme {parts.scheme!r} is not an application's" if foreign else None


def _split(uri: str) -> SplitResult | None:
    """Return the parts of an absolute URI; None if a browser may read it in another way."""
    if not uri.isascii() or not uri.isprintable() or re.search(r'[\s\\"<>^`{|}]', uri):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts if _SCHEME.fullmatch(parts.scheme) and uri.startswith(f"{parts.scheme}:") else None


def _is_loopback(parts: SplitResult) -> bool:
    return parts.scheme == "http" and is_loopback_host(parts.hostname)


def is_loopback_uri(redirect_uri: str) -> bool:
    """Return whether a redirect URI leads to a program on the computer of the browser."""
    parts = _split(redirect_uri)
    return parts is not None and _is_loopback(parts)


def host_of(uri: str) -> str:
    """Return what a user is to recognise of a URI: its host with the port, or its scheme if it has no host."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def client_from(client_id: str, metadata: dict[str, object]) -> Client:
    """Return the client that has this metadata (RFC 7591 section 2).

    Raises:
        BadClientError: there is no usable redirect URI.
    """
    uris = metadata.get("redirect_uris")
    if not isinstance(uris, list) or not 0 < len(uris) <= MAX_REDIRECT_URIS:
        raise BadClientError(f"redirect_uris must be a list of 1 to {MAX_REDIRECT_URIS} URLs")
    for uri in uris:
        if (problem := problem_of(uri)) is not None:
            raise BadClientError(f"redirect URI {str(uri)[:200]!r} cannot be used: {problem}")
    grants = metadata.get("grant_types")
    name = metadata.get("client_name")
    return Client(
        client_id,
        one_visible_line(name)[:MAX_NAME].strip() if isinstance(name, str) else "",
        tuple(str(uri) for uri in uris),
        not isinstance(grants, list) or "refresh_token" in grants,
    )
