"""A baseline: a JSON file with the definitions of servers that somebody has approved; made to be kept in git.

``{"format": "mcp-ws-definitions", "version": 1, "servers": {NAME: {"instructions": …, "tools": {NAME: …}, …}}}``, with
each definition as the server listed it. Its lines are sorted, so that a diff shows what was approved.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.inspector.model.definitions import ServerDefinitions

FORMAT: Final = "mcp-ws-definitions"
VERSION: Final = 1


def read(path: str) -> dict[str, dict[str, Any]]:
    """Return the approved definitions, by server.

    Raises:
        UnusableArgumentError: the file cannot be read, or is not a baseline.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; --save-baseline writes it" if isinstance(error, FileNotFoundError) else ""
        raise UnusableArgumentError(f"{path} cannot be read: {error.strerror or error}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise UnusableArgumentError(f"{path} is not a baseline: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UnusableArgumentError(f"{path} is not a baseline; --save-baseline writes one")
    if content.get("version") != VERSION:
        version = content.get("version")
        raise UnusableArgumentError(f"{path} has version {version!r}, and this program reads {VERSION}")
    servers = content.get("servers")
    if not isinstance(servers, dict) or not all(isinstance(members, dict) for members in servers.values()):
        raise UnusableArgumentError(
            f"{path} is not a baseline: its member 'servers' is not an object of objects"
        )
    return servers


def save(path: str, servers: Mapping[str, ServerDefinitions]) -> list[str]:
    """Approve the newest definitions of servers; what was not seen stays as the file has it.

    Returns:
        The servers that were approved.

    Raises:
        UnusableArgumentError: the file is not a baseline, or cannot be written.
    """
    known = read(path) if os.path.exists(path) else {}
    complete = {name: server.newest() for name, server in servers.items() if server.complete}
    if not complete:
        return []
    for name, members in complete.items():
        known[name] = {**known.get(name, {}), **members}
    content = {"format": FORMAT, "version": VERSION, "servers": known}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        _replace(Path(path), text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnusableArgumentError(f"{path} cannot be written: {reason}") from None
    return sorted(complete)


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, with the mode of other new files, or that of the one it replaces."""
    mask = os.umask(0)
    os.umask(mask)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
