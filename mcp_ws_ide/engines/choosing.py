"""The choice of an engine from the configuration. An engine is imported only if it is configured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mcp_ws_ide.engines.base import Engine, EngineRefusedError
from mcp_ws_ide.engines.redis_address import redis_address

NORMAL: Final = "normal"
FULL: Final = "full"
DURABILITIES: Final = (NORMAL, FULL)
"""Whether a commit waits until it is on the disk (``full``) or with the operating system (``normal``)."""
KNOWN: Final = "use '' (sessions end with the gateway), 'sqlite', 'sqlite:///path', or 'redis://host'"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The values of the traits that begin with ``engine``."""

    address: str
    durability: str
    max_bytes: int
    keys_file: Path
    default_file: Path
    """The file of ``sqlite`` without a path."""
    allow_unencrypted: bool = False


def sqlite_file(address: str, default: Path) -> Path | None:
    """Return the session file that an address names; None for ``""``.

    Raises:
        EngineRefusedError: it names no engine.
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
    if scheme != "sqlite" or "://" not in address:
        # Not the address itself: it may hold a password.
        shown = f"an address of {scheme!r}" if "://" in address and scheme else repr(address)
        raise EngineRefusedError(f"engine is {shown}; {KNOWN}")
    if host:
        reason = "with two slashes, a host follows; write three before an absolute path: 'sqlite:///path'"
        raise EngineRefusedError(f"engine is {address!r}: {reason}")
    if path in ("", "/") or path.endswith("/") or parts.query or parts.fragment or "\0" in path:
        raise EngineRefusedError(f"engine is {address!r}, which names no file; {KNOWN} with an absolute path")
    if path.startswith("/~"):
        return _in_home(address, path[1:])
    return Path("/" + path.lstrip("/"))


def _in_home(address: str, path: str) -> Path:
    """Return the file that a path below the home directory of a user names."""
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise EngineRefusedError(
            f"engine is {address!r}, and there is no user {path[1:].partition('/')[0]!r}"
        )
    return Path(expanded)


def check_address(address: str) -> None:
    """Check that an address names an engine, or none.

    Raises:
        EngineRefusedError: it does not.
    """
    if redis_address(address) is None:
        sqlite_file(address, Path())


def open_engine(settings: EngineSettings) -> Engine | None:
    """Return the configured engine, which is not started; None if there is none.

    Raises:
        EngineRefusedError: the address names no engine.
    """
    server = redis_address(settings.address)
    path = None if server is not None else sqlite_file(settings.address, settings.default_file)
    if server is None and path is None:
        return None
    if server is not None:
        from mcp_ws_ide.engines.redis import RedisEngine
        from mcp_ws_ide.engines.sealed import SealedEngine

        shared = RedisEngine(server, settings.max_bytes, settings.allow_unencrypted)
        return SealedEngine(shared, settings.keys_file)
    from mcp_ws_ide.engines.sqlite import SqliteEngine

    assert path is not None
    return SqliteEngine(path, settings.durability == FULL, settings.max_bytes, settings.keys_file)
