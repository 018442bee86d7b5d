"""The address of a Redis server, as the trait ``engine`` names it. Knows nothing of connections."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mcp_ws_ide.engines.base import EngineRefusedError

SCHEMES: Final = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
"""Whether the connection is encrypted, by scheme."""
PORT: Final = 6379
"""The port of an address without one."""
PREFIX: Final = "mcpws:"
"""What all keys begin with, unless the address has ``prefix``."""
PASSWORD_VARIABLE: Final = "MCP_WS_ENGINE_PASSWORD"  # noqa: S105
"""The environment variable of a password that is neither in the address nor in a file."""
OPTIONS: Final = ("ca_file", "password_file", "prefix")
FORM: Final = "use redis://[user@]host[:port][/database][?option=…], or rediss:// for TLS"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis server is, and how to log in.

    Attributes:
        password: as the address has it; ``""`` if it comes from ``password_file`` or the environment.
        password_file: file whose first line is the password, read at each connection; ``""`` for none.
        ca_file: certificates of the authorities that may have signed the server's; ``""`` for those of the system.
        prefix: what all keys begin with.
    """

    host: str
    port: int
    database: int
    encrypted: bool
    user: str
    password: str = field(repr=False)
    password_file: str
    ca_file: str
    prefix: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that no one else can read the connection."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def read_password(self) -> str:
        """Return the password; ``""`` if there is none.

        Raises:
            EngineRefusedError: its file cannot be read.
        """
        if not self.password_file:
            return self.password or os.environ.get(PASSWORD_VARIABLE, "")
        try:
            lines = Path(self.password_file).read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise EngineRefusedError(
                f"the password file {self.password_file!r} cannot be read: {reason}"
            ) from None
        return lines[0] if lines else ""


def redis_address(address: str) -> RedisAddress | None:
    """Return the server that an address names; None if it is not an address of Redis or Valkey.

    Raises:
        EngineRefusedError: it is one, but malformed; the text never shows the address, which may hold a password.
    """
    scheme = address.partition("://")[0]
    if scheme not in SCHEMES or "://" not in address:
        return None
    try:
        parts = urlsplit(address)
        port = PORT if parts.port is None else parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _malformed("it cannot be read") from None
    if not parts.hostname:
        raise _malformed("it names no host")
    unknown = sorted(options.keys() - OPTIONS)
    if unknown or parts.fragment:
        named = f"it has the unknown option {unknown[0]!r}" if unknown else "it has a fragment"
        raise _malformed(f"{named}; options are {', '.join(OPTIONS)}")
    if parts.password and options.get("password_file"):
        raise _malformed("it has a password and a password_file; keep one of them")
    if options.get("ca_file") and not SCHEMES[scheme]:
        raise _malformed("it has a ca_file, but is not encrypted")
    return RedisAddress(
        parts.hostname,
        port,
        _database(parts),
        SCHEMES[scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        options.get("password_file", ""),
        options.get("ca_file", ""),
        options.get("prefix") or PREFIX,
    )


def _database(parts: SplitResult) -> int:
    path = parts.path.removeprefix("/")
    if path and not (path.isascii() and path.isdigit()):
        raise _malformed("its database is not a number")
    return int(path or 0)


def _malformed(reason: str) -> EngineRefusedError:
    return EngineRefusedError(f"engine is an address of Redis, but {reason}; {FORM}")
