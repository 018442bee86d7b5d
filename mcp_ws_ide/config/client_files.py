"""Where other MCP clients keep their servers in a user's home, and the entries of those files.

Owns the paths, as data. The files are read as those of ``server_files`` are (:mod:`.load`), and never written.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.config.dialect_keys import Notice
from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.load import ConfigReader
from mcp_ws_ide.core.names import address_of

MAX_ENTRIES: Final = 500
"""Entries that are listed of one file."""
_STORAGE: Final = "User/globalStorage"
_EDITORS: Final = ("Code", "Code - Insiders", "VSCodium", "Cursor")
"""Folders of VS Code and of editors made from it."""
IN_HOME: Final = (
    ("Claude Code", ".claude.json"),
    ("Cursor", ".cursor/mcp.json"),
    ("Windsurf", ".codeium/windsurf/mcp_config.json"),
    ("Cline", ".cline/data/settings/cline_mcp_settings.json"),
    ("Gemini CLI", ".gemini/settings.json"),
    ("Qwen Code", ".qwen/settings.json"),
    ("Codex", ".codex/config.toml"),
    ("Continue", ".continue/config.yaml"),
    ("Continue", ".continue/config.json"),
    ("Continue", ".continue/mcpServers/*.yaml"),
    ("Continue", ".continue/mcpServers/*.json"),
    ("LM Studio", ".lmstudio/mcp.json"),
    ("LM Studio", ".cache/lm-studio/mcp.json"),
    ("GitHub Copilot CLI", ".copilot/mcp-config.json"),
    ("Kiro", ".kiro/settings/mcp.json"),
    ("Amazon Q", ".aws/amazonq/mcp.json"),
    ("Zed", ".config/zed/settings.json"),
    ("Goose", ".config/goose/config.yaml"),
    ("opencode", ".config/opencode/opencode.json"),
    ("Crush", ".config/crush/crush.json"),
    ("Amp", ".config/amp/settings.json"),
)
"""Programs, and their files below the home directory."""
IN_CONFIGURATION: Final = (
    ("Claude Desktop", "Claude/claude_desktop_config.json"),
    *(("VS Code", f"{editor}/User/{name}.json") for editor in _EDITORS[:-1] for name in ("mcp", "settings")),
    *(
        (program, f"{editor}/{_STORAGE}/{extension}/settings/{name}_settings.json")
        for editor in _EDITORS
        for program, extension, name in (
            ("Cline", "saoudrizwan.claude-dev", "cline_mcp"),
            ("Roo Code", "rooveterinaryinc.roo-cline", "mcp"),
            ("Kilo Code", "kilocode.kilo-code", "mcp"),
        )
    ),
)
"""Programs, and their files below the directory in which desktop programs keep their settings."""


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry of another client.

    Attributes:
        key: its dotted path in the file, by which it is found again.
        name: its name there.
        address: the name that it has in an address here.
        entry: the entry in this project's own keys, with its secrets.
        notices: what is read in another way than it is written, or not at all.
    """

    key: str
    name: str
    address: str
    entry: Mapping[str, Any]
    notices: tuple[Notice, ...]


@dataclass(slots=True)
class ClientFile:
    """A file of another client that exists.

    Attributes:
        program: the client.
        path: the absolute path.
        problem: why it cannot be read; ``""`` if it can.
        entries: the servers in it.
    """

    program: str
    path: str
    problem: str = ""
    entries: list[FoundEntry] = field(default_factory=list)


class _Collector(ConfigReader):
    """Keeps the entries of a file as they are, instead of reading them."""

    def __init__(self, file: ClientFile, root_dir: str) -> None:
        super().__init__({}, root_dir=root_dir)
        self._file = file

    def add(self, source: str, key: str, name: object, entry: Any) -> None:
        """Keep one entry."""
        if isinstance(name, str) and isinstance(entry, dict) and len(self._file.entries) < MAX_ENTRIES:
            own, notices = translate(entry)
            self._file.entries.append(FoundEntry(key, name, address_of(name), own, tuple(notices)))


def home() -> str:
    """Return the home directory of the account that this process runs under."""
    return os.path.expanduser("~")


def find_files(directory: str, root_dir: str) -> list[ClientFile]:
    """Return the files of other clients that have servers, or cannot be read.

    Args:
        directory: the user's home directory.
        root_dir: as of :func:`~.load.load`.
    """
    found = [_read(program, path, root_dir) for program, path in _existing(directory)]
    return [file for file in found if file.entries or file.problem]


def find_entry(directory: str, root_dir: str, path: str, key: str) -> FoundEntry | None:
    """Return the entry at ``key`` of the file ``path``; None if no client has such a file, or the file no such entry.

    Args:
        directory, root_dir: as of :func:`find_files`.
    """
    program = next((program for program, known in _existing(directory) if known == path), None)
    entries = [] if program is None else _read(program, path, root_dir).entries
    return next((entry for entry in entries if entry.key == key), None)


def _existing(directory: str) -> Iterator[tuple[str, str]]:
    """Yield the programs and paths of files that exist."""
    settings = os.path.join(
        directory, "Library/Application Support" if sys.platform == "darwin" else ".config"
    )
    for base, files in ((directory, IN_HOME), (settings, IN_CONFIGURATION)):
        for program, pattern in files:
            for path in sorted(glob.glob(os.path.join(glob.escape(base), pattern))):
                yield program, path


def _read(program: str, path: str, root_dir: str) -> ClientFile:
    file = ClientFile(program, path)
    reader = _Collector(file, root_dir)
    reader.read_file(path, required=False)
    if reader.unread:
        file.problem = reader.unread[0].reason
    return file
