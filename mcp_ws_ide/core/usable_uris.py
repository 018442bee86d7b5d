"""Which URIs every client can read. Pure; see :mod:`mcp_ws_ide.core.shown_uris` for what is done about the others."""

from __future__ import annotations

import re
from typing import Final

_HOST: Final = r"(?:\[[0-9a-f:.]+\]|[^\s/?#@:<>\[\]^|\\]*)"
_PORT: Final = r":(?:[1-5]?\d{0,4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
_AUTHORITY: Final = rf"//(?:[^/?#@]*@)?{_HOST}(?:{_PORT})?(?:[/?#]|\s*\Z)"
_USABLE: Final = re.compile(
    rf"\s*(?!(?:https?|wss?|ftp):/*\s*\Z)[a-z][a-z0-9+.\-]*:(?:(?!//)|{_AUTHORITY})", re.IGNORECASE
)
"""A scheme, and a host and port if there is an authority, as the WHATWG URL standard reads them (section 4.4)."""


def is_usable(uri: str) -> bool:
    """Return whether every client can read a URI."""
    return _USABLE.match(uri) is not None
