"""The URLs of the gateway as a client has dialled them: through proxies, a hub's prefix, and any base URL.

Clients compare these URLs with the one they were given, so they are not made of what Jupyter is configured with, unless
``public_url`` is. They only go back to whoever sent the request.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from tornado.httputil import HTTPServerRequest

from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.origin import is_proxied, needs_no_credential
from mcp_ws_ide.signin.clients import SCOPE

SIGN_IN: Final = "mcp-ws/sign-in"
"""Path of the authorization server below the base URL; with the base URL, it is the issuer."""
SERVERS: Final = "mcp-ws/servers/"
"""Path below the base URL where the MCP endpoints begin."""
RESOURCE_METADATA: Final = ".well-known/oauth-protected-resource"
"""RFC 9728 section 3."""
SERVER_METADATA: Final = (".well-known/oauth-authorization-server", ".well-known/openid-configuration")
"""RFC 8414 section 3 and OpenID Connect Discovery 1.0 section 4."""

_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._~%-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


def offers_sign_in(handler: GatewayHandler) -> bool:
    """Return whether clients can sign in: it is not switched off, and Jupyter has a login."""
    return handler.runtime.sign_in is not None and not needs_no_credential(handler)


def dialled_base(handler: GatewayHandler) -> str:
    """Return the base URL of Jupyter as the client has dialled it, with a slash at its end; ``""`` if unknown."""
    configured = handler.runtime.settings.public_url
    if configured:
        return configured.rstrip("/") + "/"
    request = handler.request
    origin = _origin(request)
    path = request.path
    for name in (RESOURCE_METADATA, *SERVER_METADATA):
        if path.startswith(f"/{name}/"):
            path = path.removeprefix(f"/{name}")
    before, found, _ = path.partition("/mcp-ws/")
    base = f"{before}/" if found else str(handler.base_url)
    return f"{origin}{base}" if origin else ""


def _origin(request: HTTPServerRequest) -> str:
    headers = request.headers
    forwarded = headers.get("X-Scheme") or headers.get("X-Forwarded-Proto", "")  # in Tornado's order
    scheme = _first(forwarded).lower() or request.protocol
    host = _first(headers.get("X-Forwarded-Host", "")) or request.headers.get("Host", "")
    if scheme not in ("http", "https") or not _AUTHORITY.fullmatch(host):
        return ""
    return f"{scheme}://{host.lower()}"


def _first(value: str) -> str:
    return value.partition(",")[0].strip()


def issuer_of(base: str) -> str:
    """Return the issuer for a base URL (RFC 8414 section 2)."""
    return base + SIGN_IN


def resource_of(handler: GatewayHandler) -> str:
    """Return the URL of the MCP endpoint that a request is about, with a slash at its end if that is dialled, too.

    ``""`` if there is none, or its address is not known.
    """
    base = dialled_base(handler)
    _, found, rest = handler.request.path.partition(f"/{SERVERS}")
    name = rest.partition("/")[0]
    slash = "/" if rest == f"{name}/" else ""
    return f"{base}{SERVERS}{name}{slash}" if base and found and name else ""


def server_of(resource: str, base: str) -> str | None:
    """Return the name of the server or group that a resource (RFC 8707) is the endpoint of; None if it is none of ours.

    Scheme and host may be in upper case (MCP 2026-07-28, basic/authorization, Canonical Server URI).
    """
    given, own = _parts(resource), _parts(base)
    if given is None or own is None or given[:2] != own[:2]:
        return None
    path = given[2].rstrip("/")
    start = own[2] + SERVERS
    name = path.removeprefix(start)
    return name if path.startswith(start) and name and "/" not in name else None


def _parts(url: str) -> tuple[str, str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.query or parts.fragment or "#" in url:
        return None
    return parts.scheme.lower(), parts.netloc.lower(), unquote(parts.path)


def challenge_parameters(handler: GatewayHandler) -> str:
    """Return what a 401 of an MCP endpoint adds to ``WWW-Authenticate`` (RFC 9728 section 5.1); ``""`` for nothing."""
    resource = resource_of(handler) if offers_sign_in(handler) else ""
    if not resource:
        return ""
    return f', resource_metadata="{_metadata_url(handler, resource)}", scope="{SCOPE}"'


def _metadata_url(handler: GatewayHandler, resource: str) -> str:
    """Return where the metadata of a resource is: where RFC 9728 section 3.1 puts it, if that path is this server's.

    Some clients accept no other place. But behind a hub, or another proxy that gives Jupyter a part of its paths, only
    what is below the resource is this server's.
    """
    scheme, _, rest = resource.partition("://")
    host, slash, path = rest.partition("/")
    direct = not handler.runtime.settings.public_url and not is_proxied(handler)
    if direct or path.startswith("mcp-ws/"):
        return f"{scheme}://{host}/{RESOURCE_METADATA}{slash}{path}"
    return f"{resource.rstrip('/')}/{RESOURCE_METADATA}"
