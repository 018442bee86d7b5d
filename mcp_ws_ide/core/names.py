"""The address of a server whose name cannot be part of a URL: derived from the name, the same at every start. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from mcp_ws_ide.core.binding import SERVER_NAME

MAX_ADDRESS: Final = 64
"""Characters of the longest address that is made from a name."""
_OTHER: Final = re.compile(r"[^A-Za-z0-9._]+")
_DIGEST_CHARACTERS: Final = 8


def is_address(name: str) -> bool:
    """Return whether a name can be part of a URL unchanged."""
    return SERVER_NAME.fullmatch(name) is not None and name not in (".", "..")


def address_of(name: str, *, distinct: bool = False) -> str:
    """Return the address of a server: its name, or one made from it.

    Accents are dropped, and every other character that a URL cannot contain becomes ``-``. A digest of the name is
    appended where letters are lost (such as those of other scripts), where the address is too long, and with
    ``distinct``.
    """
    if is_address(name) and not distinct:
        return name
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    address = _OTHER.sub("-", plain).strip("-.")
    lossy = any(not c.isascii() for c in plain)
    if address and len(address) <= MAX_ADDRESS and not lossy and not distinct:
        return address
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    kept = address[: MAX_ADDRESS - _DIGEST_CHARACTERS - 1].rstrip("-.") or "server"
    return f"{kept}-{digest}"
