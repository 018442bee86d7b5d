"""The choice of an engine from the configuration. An engine is imported only if it is configured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from mcp_ws_ide.engines.base import EngineRefusedError

if TYPE_CHECKING:
    from mcp_ws_ide.engines.sealed import SealedEngine

NORMAL: Final = "normal"
FULL: Final = "full"
DURABILITIES: Final = (NORMAL, FULL)
"""Whether a commit waits until it is on the disk (``full``) or with the operating system (``normal``)."""
KNOWN: Final = "use '' (sessions end with the gateway), 'sqlite', or 'sqlite:///path'"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The values of the traits that begin with ``engine``."""

    address: str
    durability: str
    max_bytes: int
    keys_file: Path
    default_file: Path
    """The file of ``sqlite`` without a path."""


def sqlite_file(address: str, default: Path) -> Path | None:
    """Return the session file that an address names; None for ``""``.

    Raises:
        EngineRefusedError: it names no engine of this version.
    """
    if not address:
        return None
    if address == "sqlite":
        return default
    try:
        parts = urlsplit(address)
        scheme, host, path = parts.scheme, parts.netloc, unquote(parts.path)
    except ValueError:
        scheme, host, path = "", "", ""
    if scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
        # Not the address itself: it may hold a password.
        raise EngineRefusedError(
            f"engine is an address of {scheme!r}, which comes with a later version; {KNOWN}"
        )
    if scheme != "sqlite" or "://" not in address:
        shown = f"an address of {scheme!r}" if "://" in address and scheme else repr(address)
        raise EngineRefusedError(f"engine is {shown}; {KNOWN}")
    if host or path in ("", "/") or path.endswith("/") or parts.query or parts.fragment or "\0" in path:
        raise EngineRefusedError(f"engine is {address!r}, which names no file; {KNOWN} with an absolute path")
    return Path("/" + path.lstrip("/"))


def open_engine(settings: EngineSettings) -> SealedEngine | None:
    """Return the configured engine, which is not started; None if there is none.

    Raises:
        EngineRefusedError: the address names no engine of this version.
    """
    path = sqlite_file(settings.address, settings.default_file)
    if path is None:
        return None
    from mcp_ws_ide.engines.sealed import SealedEngine
    from mcp_ws_ide.engines.sqlite import SqliteEngine

    engine = SqliteEngine(path, settings.durability == FULL, settings.max_bytes)
    return SealedEngine(engine, settings.keys_file)
