"""The Origin check: which web pages may use this server."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import urlparse

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import urldecode_unix_socket_path

from mcp_ws_ide.core.intermediaries import sentence
from mcp_ws_ide.proxy_environment import this_machine

PROXY_HEADERS: Final = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Forwarded",
    "Via",
)
"""Headers that proxies add."""


def origin_of(handler: JupyterHandler) -> str | None:
    """The Origin that a request declares, if any."""
    headers = handler.request.headers
    origin: str | None = headers.get("Origin", headers.get("Sec-Websocket-Origin"))
    return origin


def origin_allowed(handler: JupyterHandler) -> bool:
    """Whether the request's Origin is this server's own or one that ``ServerApp.allow_origin`` allows.

    Stricter than Jupyter, which skips the check for requests with a token. Requests without an Origin come from scripts
    and pass, unless the browser marks them as cross-site. If no credential is required, ``*`` allows no other origin:
    any page that a user visits could run code.
    """
    headers, origin = handler.request.headers, origin_of(handler)
    if handler.allow_origin == "*" and not needs_no_credential(handler):
        return True
    if origin is None:
        return bool(headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin", "same-site"))
    origin = origin.lower()
    if _authority(origin) == headers.get("Host", "").lower() and origin not in ("", "null"):
        return not _in_clear(handler, origin)
    if handler.allow_origin:
        return bool(handler.allow_origin.lower() == origin)
    pattern = handler.allow_origin_pat
    return bool(pattern and _matches(pattern, origin))


def _in_clear(handler: JupyterHandler, origin: str) -> bool:
    """Whether a page that came over http asks a server of https: whoever controls the network could have written it.

    The other way round, a proxy has ended TLS, and need not have said so.
    """
    outside = handler.request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    return handler.request.protocol == "https" and origin.startswith("http://") and outside != "http"


def needs_no_credential(handler: JupyterHandler) -> bool:
    """Whether Jupyter has neither a token nor a password, so that whoever reaches it may use it."""
    return not handler.identity_provider.auth_enabled


def host_is_safe(handler: JupyterHandler) -> bool:
    """Whether a request's Host rules out DNS rebinding; checked if no credential is required.

    Jupyter checks no Host once it listens on more than loopback. An attacker's page can reach this server under the
    attacker's name, whose address is changed to this machine's; never under an address or under a name of this machine.
    """
    if not needs_no_credential(handler):
        return True
    serverapp = handler.serverapp
    if serverapp is not None and serverapp.config.get("ServerApp", {}).get("allow_remote_access"):
        return True  # the operator's own decision
    host = host_name(handler.request.host)
    if host.startswith("/") or host in handler.settings.get("local_hostnames", ()):
        return True  # a Unix socket
    allowed = {host_name(_authority(origin)) for origin in (handler.allow_origin or "",) if origin != "*"}
    return _is_address(host) or this_machine(host) or host.lower() in allowed


def host_name(authority: str) -> str:
    """Return the host of a Host header or an authority, without port and brackets; the path of a Unix socket."""
    host = urldecode_unix_socket_path(re.sub(r":\d+$", "", authority))
    return host.removeprefix("[").removesuffix("]")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def from_no_foreign_page(handler: JupyterHandler) -> bool:
    """Whether a request that changes something comes from a program or an allowed page, and needs no XSRF token.

    Browsers state the Origin of every such request of a page; a request without one that a browser has sent carries
    ``Sec-Fetch-Site``.
    """
    if origin_of(handler) is None:
        return handler.request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return origin_allowed(handler)


def refusal_message(handler: JupyterHandler) -> str:
    """The error text for a request whose Origin is not allowed."""
    origin, noticed = origin_of(handler), interference(handler)
    if origin is None:
        return "the browser marks this request as cross-site (Sec-Fetch-Site) and it has no Origin to allow"
    if origin == "":
        return "the header Origin is empty, which no browser sends; leave it out"
    if noticed is not None:
        host = handler.request.headers.get("Host", "")
        return f"Origin {origin} is not allowed where Host is {host}: {sentence(*noticed)}"
    if handler.allow_origin == "*":
        return (
            f"Origin {origin} is not allowed: without a token and a password, '*' in ServerApp.allow_origin allows no "
            "other origin; set a token, or name the origins"
        )
    return f"Origin {origin} is not allowed; add it to ServerApp.allow_origin"


def is_proxied(handler: JupyterHandler) -> bool:
    """Whether a request has a header that only proxies add."""
    return any(name in handler.request.headers for name in PROXY_HEADERS)


def interference(handler: JupyterHandler) -> tuple[str, str] | None:
    """Return what makes this server's own page foreign to it; None if the page is likely to be another's.

    Returns:
        A code of :mod:`mcp_ws_ide.core.intermediaries`, and its detail.
    """
    headers, origin = handler.request.headers, origin_of(handler)
    if origin in (None, "", "null") or headers.get("Sec-Fetch-Site") == "cross-site":
        return None
    public, host = _authority(origin.lower()), headers.get("Host", "").lower()
    if _hostname(public) == _hostname(host) != "":
        return "port_removed", origin
    same_port = public.rpartition(":")[2] == host.rpartition(":")[2]
    if same_port and this_machine(_hostname(public)) and this_machine(_hostname(host)):
        return "other_spelling", f"{public} and {host}"
    forwarded = headers.get("X-Forwarded-Host", "").partition(",")[0].strip().lower()
    by_proxy = is_proxied(handler) and this_machine(_hostname(host))
    if headers.get("Sec-Fetch-Site") == "same-origin" or forwarded == public or by_proxy:
        return "host_replaced", origin
    return None


def from_own_page(handler: JupyterHandler) -> bool:
    """Whether what no page can write says that a page of this server, under another address, has sent the request.

    Tells only where :func:`interference` finds something.
    """
    headers, public = handler.request.headers, _authority((origin_of(handler) or "").lower())
    host = headers.get("Host", "").lower()
    same_port = this_machine(_hostname(public)) and public.rpartition(":")[2] == host.rpartition(":")[2]
    port_missing = _hostname(public) == _hostname(host) and not re.search(r":\d+$", host)
    forwarded = headers.get("X-Forwarded-Host", "").partition(",")[0].strip().lower()
    by_browser = headers.get("Sec-Fetch-Site") == "same-origin"
    return bool(same_port or port_missing or forwarded == public or by_browser)


def browser_uses_https(handler: JupyterHandler) -> bool:
    """Whether a browser has sent the request over https, as a proxy says or a page of the same host."""
    headers, origin = handler.request.headers, (origin_of(handler) or "").lower()
    outside = headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    same = origin.startswith("https://") and _authority(origin) == headers.get("Host", "").lower()
    return outside == "https" or same


def _hostname(authority: str) -> str:
    try:
        return urlparse(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def _authority(origin: str) -> str:
    try:
        return urlparse(origin).netloc
    except ValueError:  # not an Origin, such as "http://[::1"
        return ""


def _matches(pattern: Any, origin: str) -> bool:
    """``allow_origin_pat`` must match the whole Origin: a prefix match would allow ``…example.com.evil``."""
    return re.fullmatch(pattern, origin) is not None
