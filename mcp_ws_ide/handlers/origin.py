"""The Origin check: which web pages may use this server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlparse

from jupyter_server.base.handlers import JupyterHandler


def origin_of(handler: JupyterHandler) -> str | None:
    """The Origin that a request states, if any."""
    headers = handler.request.headers
    origin: str | None = headers.get("Origin") or headers.get("Sec-Websocket-Origin")
    return origin


def origin_allowed(handler: JupyterHandler) -> bool:
    """Whether the request's Origin is this server's own or one that ``ServerApp.allow_origin`` allows.

    Stricter than Jupyter, which skips the check for requests with a token. Requests without an Origin come from
    scripts and pass, unless the browser marks them as cross-site.
    """
    headers, origin = handler.request.headers, origin_of(handler)
    if handler.allow_origin == "*":
        return True
    if origin is None:
        return bool(headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin", "same-site"))
    origin = origin.lower()
    if _authority(origin) == headers.get("Host", "").lower() and origin != "null":
        return True
    if handler.allow_origin:
        return bool(handler.allow_origin.lower() == origin)
    pattern = handler.allow_origin_pat
    return bool(pattern and _matches(pattern, origin))


def refusal_message(handler: JupyterHandler) -> str:
    """The error text for a request whose Origin is not allowed."""
    origin = origin_of(handler)
    if origin is None:
        return "the browser marks this request as cross-site (Sec-Fetch-Site) and it has no Origin to allow"
    return f"Origin {origin} is not allowed; add it to ServerApp.allow_origin"


def _authority(origin: str) -> str:
    try:
        return urlparse(origin).netloc
    except ValueError:  # not an Origin, such as "http://[::1"
        return ""


def _matches(pattern: Any, origin: str) -> bool:
    """``allow_origin_pat`` must match the whole Origin: a prefix match would allow ``…example.com.evil``."""
    return re.fullmatch(pattern, origin) is not None
