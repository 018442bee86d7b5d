"""Reads the configuration from every source: the trait, ``mcp.json`` files in three dialects, installed packages.

Owns the order of precedence and what needs the whole configuration (shadowed names, members of groups). One mistake
disables at most one server, and nothing here raises for what a file contains. Knows nothing of processes or HTTP.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from mcp_ws_ide.config.entry import KNOWN_KEYS, SWITCHED_OFF, UNSUPPORTED_KEYS, EntryError, read_entry
from mcp_ws_ide.config.jsonc import InvalidJson, parse_text
from mcp_ws_ide.config.spec import ConfigProblem, Configuration, ServerSpec
from mcp_ws_ide.core.binding import SERVER_NAME

MAX_FILE_BYTES: Final = 1 << 20
"""Largest configuration file, in bytes."""
ENTRY_POINTS: Final = "mcp_ws_ide.servers"
"""Group of the entry points by which installed packages provide servers."""
TRAIT: Final = "trait MCPWebSocketApp.servers"
"""Source of the servers in Jupyter's own configuration."""
AWAITS_CONSENT: Final = "awaits consent: review what it would run and agree to it on the gateway's page"
"""Reason of a server that awaits consent."""
_SECTIONS: Final = ("mcpServers", "servers", "mcp_servers")
"""Keys under which the dialects keep their servers."""
_MAX_CHARACTERS: Final = 500

ConsentCheck = Callable[[ServerSpec, Mapping[str, Any]], str | None]
"""Takes a server and its entry as written; returns the digest that needs consent, or None if nothing does."""


def load(
    trait_servers: Mapping[str, Any],
    server_files: Sequence[str],
    config_dirs: Sequence[str],
    environ: Mapping[str, str],
    packages: Iterable[EntryPoint] = (),
    consent: ConsentCheck = lambda spec, entry: None,
    documents: dict[str, Any] | None = None,
) -> Configuration:
    """Read every source. The first definition of a name wins; later ones are reported.

    Args:
        packages: entry points of installed packages that provide servers (:func:`installed_packages`).
        consent: says what a user must consent to before a server is started.
        documents: the last readable content of each file, by path; updated here. It replaces the content of a file
            that exists but cannot be read or parsed, so that a half-saved edit removes no servers.
    """
    reader = ConfigReader(environ, consent, documents)
    reader.read_object(TRAIT, "", dict(trait_servers))
    for path in server_files:
        reader.read_file(path, required=True)
    for directory in config_dirs:
        reader.read_file(os.path.join(directory, "mcp.json"), required=False)
    for package in packages:
        reader.read_package(package)
    reader.check_members()
    return Configuration(reader.servers, reader.problems, reader.unread)


def installed_packages() -> Iterable[EntryPoint]:
    """Return the entry points of group :data:`ENTRY_POINTS` in this environment, sorted by name."""
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry_point: entry_point.name)


def printable(text: str) -> str:
    """Return ``text`` shortened and with control characters escaped, for logs and terminals."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: _MAX_CHARACTERS + 1]
    )
    return shown if len(text) <= _MAX_CHARACTERS else f"{shown}…"


class ConfigReader:
    """Collects servers and problems from one source after another.

    Args:
        environ: values of the variables in entries.
        consent: see :func:`load`.
        documents: see :func:`load`.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        consent: ConsentCheck = lambda spec, entry: None,
        documents: dict[str, Any] | None = None,
    ) -> None:
        self._environ = environ
        self._consent = consent
        self._documents = {} if documents is None else documents
        self._keys: dict[str, str] = {}
        """Dotted path of each server in its source."""
        self.servers: dict[str, ServerSpec] = {}
        self.problems: list[ConfigProblem] = []
        self.unread: list[ConfigProblem] = []

    def _report(self, source: str, key: str, reason: str, severity: str = "error") -> None:
        self.problems.append(ConfigProblem(source, printable(key), printable(reason), severity))

    # --- files ----------------------------------------------------------------------------------

    def read_file(self, path: str, *, required: bool) -> None:
        """Read one file; report it as missing if it is ``required``."""
        try:
            document, duplicates = parse_text(_read_text(path))
        except (FileNotFoundError, NotADirectoryError):
            self._documents.pop(path, None)
            if required:
                self._report(path, "", "the file named in server_files does not exist")
        except InvalidJson as error:
            self._use_last_good(path, str(error))
        except OSError as error:
            self._use_last_good(path, f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self._use_last_good(path, f"cannot be read: {error}")
        else:
            self._documents[path] = document
            for key in duplicates:
                self._report(path, key, "the key occurs twice in one object; the last one counts")
            self._read_document(path, document)

    def _use_last_good(self, path: str, reason: str) -> None:
        """Read the last readable content of a file again. Whatever needs consent still does."""
        known = path in self._documents
        fallback = "; its servers are those of its last good version until it is fixed" if known else ""
        self._report(path, "", f"{reason}{fallback}")
        self.unread.append(self.problems[-1])
        if known:
            self._read_document(path, self._documents[path])

    def _read_document(self, path: str, document: Any) -> None:
        if not isinstance(document, dict):
            return self._report(path, "", 'the file must be a JSON object with the key "mcpServers"')
        sections = [key for key in _SECTIONS if key in document]
        if not sections:
            self._report(path, "", 'none of the keys "mcpServers", "servers", "mcp_servers" is present')
        for key in sections:
            value = document[key]
            if isinstance(value, list):
                self._read_list(path, key, value)
            elif isinstance(value, dict):
                self.read_object(path, key, value)
            else:
                self._report(path, key, "must be an object of servers by name, or a list of servers")

    def _read_list(self, path: str, key: str, entries: list[Any]) -> None:
        """Read jupyter-ai's dialect: a list of objects, each with its name."""
        for index, entry in enumerate(entries):
            entry_key = f"{key}[{index}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                self._report(path, entry_key, 'must be an object with a "name"')
            else:
                self._add(path, entry_key, entry["name"], entry)

    # --- packages -------------------------------------------------------------------------------

    def read_package(self, package: EntryPoint) -> None:
        """Read the servers of an installed package: a mapping by name, or a function that returns one."""
        source = f"entry point {package.name} ({package.value})"
        try:
            provided = package.load()
            servers = provided() if callable(provided) else provided
            servers = dict(servers) if isinstance(servers, Mapping) else servers
        except (Exception, SystemExit) as error:  # a package's failure must concern its own servers alone
            return self._report(source, "", f"failed: {type(error).__name__}: {error}")
        if not isinstance(servers, Mapping):
            reason = "must be a mapping of servers by name, or a function that returns one"
            return self._report(source, "", reason)
        self.read_object(source, "", servers)

    # --- entries --------------------------------------------------------------------------------

    def read_object(self, source: str, key: str, entries: Mapping[str, Any]) -> None:
        """Read servers by name; ``key`` is where the object stands in the source."""
        for name, entry in entries.items():
            self._add(source, f"{key}.{name}" if key else str(name), name, entry)

    def _add(self, source: str, key: str, name: object, entry: Any) -> None:
        if not isinstance(name, str) or not SERVER_NAME.fullmatch(name) or name in (".", ".."):
            reason = f"{name!r} is not a valid server name; use letters, digits, '.', '_' and '-'"
            return self._report(source, key, reason)
        if name in self.servers:
            reason = f"shadowed: {name!r} is already defined in {self.servers[name].source}"
            return self._report(source, key, reason, "notice")
        if not isinstance(entry, dict):
            return self._report(source, key, "must be an object")
        for member in sorted(str(member) for member in set(entry) - KNOWN_KEYS):
            reason = UNSUPPORTED_KEYS.get(member, "unknown key, ignored")
            self._report(source, f"{key}.{member}", reason, "notice")
        self.servers[name] = self._read_entry(source, key, name, entry)
        self._keys[name] = key

    def _read_entry(self, source: str, key: str, name: str, entry: Mapping[str, Any]) -> ServerSpec:
        """Return the server of an entry; one with a mistake is reported and disabled."""
        try:
            spec = read_entry(name, source, entry, self._environ)
        except EntryError as mistake:
            self._report(source, f"{key}.{mistake.key}", mistake.reason)
            return ServerSpec(name, source, disabled_reason=printable(f"{mistake.key}: {mistake.reason}"))
        if spec.disabled_reason is None and (digest := self._consent(spec, entry)) is not None:
            spec = replace(spec, disabled_reason=AWAITS_CONSENT, consent=digest)
        if spec.disabled_reason is not None:
            severity = "notice" if spec.disabled_reason in (SWITCHED_OFF, AWAITS_CONSENT) else "error"
            self._report(source, key, f"disabled: {spec.disabled_reason}", severity)
        return spec

    def check_members(self) -> None:
        """Report members of groups that are not configured. Call it after every source has been read."""
        for spec in self.servers.values():
            missing = [repr(member) for member in spec.group if member not in self.servers]
            if missing and spec.disabled_reason is None:
                subject = "member" if len(missing) == 1 else "members"
                verb = "is" if len(missing) == 1 else "are"
                reason = f"{subject} {', '.join(missing)} {verb} not configured; the group works without them"
                self._report(spec.source, f"{self._keys[spec.name]}.group", reason)


def _read_text(path: str) -> str:
    """Return the text of a configuration file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file, too large, or not UTF-8.
    """
    path = os.path.expanduser(path)
    if not stat.S_ISREG(
        os.stat(path).st_mode
    ):  # opening a FIFO would block all of Jupyter until there is a writer
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from None
