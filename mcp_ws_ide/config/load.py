"""Reads the configuration from every source: the trait, ``mcp.json`` and other programs' files, installed packages.

Owns the addresses of servers whose names cannot be part of a URL, the order of precedence and what needs the whole
configuration (shadowed names, members of groups). One mistake disables at most one server, and nothing here raises for
what a file contains. Knows nothing of processes or HTTP.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.entry import SWITCHED_OFF, EntryError, read_entry
from mcp_ws_ide.config.environment import Variables
from mcp_ws_ide.config.file_denials import unused_switches, without_denied
from mcp_ws_ide.config.file_sections import Project, name_in_list, projects_of, sections_of
from mcp_ws_ide.config.file_text import decoded
from mcp_ws_ide.config.json_mistakes import ESCAPES, misread_escapes
from mcp_ws_ide.config.jsonc import InvalidJsonError, parse_text
from mcp_ws_ide.config.manifests import manifest_name
from mcp_ws_ide.config.spec import ConfigProblem, Configuration, ServerSpec, rights_of
from mcp_ws_ide.config.workspace import editor_variables, workspace_of
from mcp_ws_ide.config.yaml_text import parse_yaml
from mcp_ws_ide.core.names import address_of, is_address

MAX_FILE_BYTES: Final = 1 << 20
"""Largest configuration file, in bytes."""
ENTRY_POINTS: Final = "mcp_ws_ide.servers"
"""Group of the entry points by which installed packages provide servers."""
TRAIT: Final = "trait MCPWebSocketApp.servers"
"""Source of the servers in Jupyter's own configuration."""
AWAITS_CONSENT: Final = "awaits consent: review what it would run and agree to it on the gateway's page"
"""Reason of a server that awaits consent."""
FILES: Final = ("mcp.json", "mcp_servers.json", "mcp_settings.json")
"""Files in each of Jupyter's configuration directories, in the order in which they are read: this project's own, and
those of jupyter-mcp-manager and jupyter-ai."""
_MAX_CHARACTERS: Final = 500
_ESCAPE: Final = re.compile(r"\\|hex value")
"""What the errors of the TOML parser have in common that are about a backslash."""

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
    root_dir: str = "",
) -> Configuration:
    """Read every source. The first definition of a name wins; later ones are reported.

    Args:
        packages: entry points of installed packages that provide servers (:func:`installed_packages`).
        consent: says what a user must consent to before a server is started.
        documents: the last readable content of each file, by path; updated here. It replaces the content of a file
            that exists but cannot be read or parsed, so that a half-saved edit removes no servers.
        root_dir: what Jupyter serves, the workspace of entries that are in no project; ``""`` if there is none.
    """
    reader = ConfigReader(environ, consent, documents, root_dir)
    reader.read_object(TRAIT, "", dict(trait_servers))
    for path in server_files:
        reader.read_named_file(path)
    for path in files_in(config_dirs):
        reader.read_file(path, required=False)
    for package in packages:
        reader.read_package(package)
    reader.resolve_members()
    return Configuration(reader.servers, reader.problems, reader.unread)


def files_in(config_dirs: Sequence[str]) -> list[str]:
    """Return the paths of the files that are read in these directories; they need not exist."""
    return [os.path.join(directory, name) for directory in config_dirs for name in FILES]


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
        root_dir: see :func:`load`.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        consent: ConsentCheck = lambda spec, entry: None,
        documents: dict[str, Any] | None = None,
        root_dir: str = "",
    ) -> None:
        self._environ = environ
        self._root_dir = root_dir
        self._consent = consent
        self._documents = {} if documents is None else documents
        self._keys: dict[str, str] = {}
        """Dotted path of each server in its source."""
        self._addresses: dict[str, str] = {}
        """The address of each server, by its name as written."""
        self.servers: dict[str, ServerSpec] = {}
        self.problems: list[ConfigProblem] = []
        self.unread: list[ConfigProblem] = []

    def _report(self, source: str, key: str, reason: str, severity: str = "error") -> None:
        self.problems.append(ConfigProblem(source, printable(key), printable(reason), severity))

    def variables(self, source: str) -> Variables:
        """Return the variables that entries of a source may contain."""
        return Variables(self._environ, editor_variables(workspace_of(source, self._root_dir), source))

    # --- files ----------------------------------------------------------------------------------

    def read_named_file(self, path: str) -> None:
        """Read a file that ``server_files`` names; a relative path would mean the file of any current directory."""
        if os.path.isabs(os.path.expanduser(path)):
            return self.read_file(path, required=True)
        reason = f"is not read: a path in server_files must be absolute; write {os.path.abspath(path)}"
        self._report(path, "", reason)

    def read_file(self, path: str, *, required: bool) -> None:
        """Read one file; report it as missing if it is ``required``."""
        try:
            text, notice = _read_text(path)
            document, duplicates = _parse(path, text)
        except (FileNotFoundError, NotADirectoryError):
            self._documents.pop(path, None)
            if required:
                cure = (
                    "; for several files, repeat --MCPWebSocketApp.server_files=FILE" if "," in path else ""
                )
                self._report(path, "", f"the file named in server_files does not exist{cure}")
        except InvalidJsonError as error:
            self._use_last_good(path, str(error))
        except OSError as error:
            self._use_last_good(path, f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self._use_last_good(path, f"cannot be read: {error}")
        else:
            if not isinstance(document, dict):
                return self._use_last_good(path, 'the file must be a JSON object with the key "mcpServers"')
            self._documents[path] = document
            if notice:
                self._report(path, "", notice, "notice")
            for key in duplicates:
                self._report(path, key, "the key occurs twice in one object; the last one counts")
            self._read_document(path, document)

    def _use_last_good(self, path: str, reason: str) -> None:
        """Read the last readable content of a file again. Whatever needs consent still does."""
        known = path in self._documents
        fallback = "; until it is fixed, the servers of its last valid version stay" if known else ""
        self._report(path, "", f"{reason}{fallback}")
        self.unread.append(self.problems[-1])
        if known:
            self._read_document(path, self._documents[path])

    def _read_document(self, path: str, document: dict[str, Any]) -> None:
        if (name := manifest_name(document)) is not None:
            return self.add(path, name, name, document)
        sections, projects = sections_of(document), projects_of(document)
        for project in projects:
            self._read_project(path, project)
        for switch in unused_switches(document):
            self._report(path, switch.key, switch.reason, "notice")
        if not sections and not projects:
            self._report(path, "", 'none of the keys "mcpServers", "servers", "mcp_servers" is present')
        for key, value in sections:
            if not key:
                self._report(
                    path, "", 'read as servers by name; put them under the key "mcpServers"', "notice"
                )
            if isinstance(value, list):
                self._read_list(path, key, value)
            elif isinstance(value, dict):
                entries, denials = without_denied(document, value)
                for denial in denials:
                    self._report(path, denial.key, denial.reason, "notice")
                self.read_object(path, key, entries)
            elif isinstance(value, str) and value.endswith(".json"):  # a plugin of Claude Code
                reason = f"names another file, {value!r}, which is not read; add its path to server_files"
                self._report(path, key, reason)
            else:
                self._report(path, key, "must be an object of servers by name, or a list of servers")

    def _read_project(self, path: str, project: Project) -> None:
        """Read the servers of the project that Jupyter serves; they come before those of the whole file."""
        if self._root_dir and os.path.realpath(project.folder) == os.path.realpath(self._root_dir):
            return self.read_object(path, project.key, project.servers)
        served = f", because Jupyter serves {self._root_dir}" if self._root_dir else ""
        names = ", ".join(map(str, project.servers))
        reason = f'servers of one project are not read ({names}){served}; put them under "mcpServers"'
        self._report(path, project.key, f"{reason} at the top of this file or of another", "notice")

    def _read_list(self, path: str, key: str, entries: list[Any]) -> None:
        """Read jupyter-ai's dialect: a list of objects, each with its name."""
        for index, entry in enumerate(entries):
            entry_key = f"{key}[{index}]"
            if isinstance(entry, dict) and "uses" in entry and _is_reference(entry):
                reason = (
                    f"{entry['uses']!r} refers to a block of Continue's hub, which the gateway does not read; "
                    "write its command or url"
                )
                self._report(path, f"{entry_key}.uses", reason)
            elif (name := name_in_list(key, index, entry)) is None:
                self._report(path, entry_key, 'must be an object with a "name"')
            else:
                if not isinstance(entry, dict) or name not in (entry.get("name"), manifest_name(entry)):
                    self._report(path, entry_key, f'has no "name"; it is called {name!r}', "notice")
                self.add(path, entry_key, name, entry)

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
        """Read servers by name; ``key`` is the position of the object in the source."""
        for name, entry in entries.items():
            self.add(source, f"{key}.{name}" if key else str(name), name, entry)

    def add(self, source: str, key: str, name: object, entry: Any) -> None:
        """Add one server; ``key`` is its position in the source."""
        if not isinstance(name, str):
            return self._report(source, key, f"{name!r} is not a valid server name; write a string")
        if name in self._addresses:
            reason = f"shadowed: {name!r} is already defined in {self.servers[self._addresses[name]].source}"
            return self._report(source, key, reason, "notice")
        if isinstance(entry, str) and entry.strip():
            member = "url" if "://" in entry else "command"
            self._report(source, key, f'read as an object with this text as "{member}"', "notice")
            entry = {member: entry.strip()}
        if not isinstance(entry, dict):
            return self._report(source, key, "must be an object")
        translated = translate(entry)
        for member, reason in (*translated.notices, *misread_escapes(translated.entry)):
            self._report(source, f"{key}.{member}", reason, "notice")
        address = self._address_for(name)
        spec = self._read_entry(source, key, address, entry)
        if address != name:
            spec = replace(spec, title=name)
            self._report(source, key, f"{name!r} is reached as {address!r}", "notice")
        self.servers[address], self._keys[address], self._addresses[name] = spec, key, address

    def _address_for(self, name: str) -> str:
        """Return the address of a new server. If an earlier server was given this one's name as a derived address, it
        gets another address."""
        address = address_of(name)
        other = self.servers.get(address)
        if other is None:
            return address
        if not is_address(name):
            return self._distinct_address(name)
        title = other.title
        assert title is not None  # names that are addresses are unique
        moved = self._distinct_address(title)
        self.servers = {
            (moved if known == address else known): (replace(spec, name=moved) if known == address else spec)
            for known, spec in self.servers.items()
        }
        self._keys[moved], self._addresses[title] = self._keys.pop(address), moved
        outdated = printable(f"{title!r} is reached as {address!r}")
        self.problems = [problem for problem in self.problems if problem.reason != outdated]
        reason = f"{title!r} is reached as {moved!r}, because {address!r} is the name of another server"
        self._report(other.source, self._keys[moved], reason, "notice")
        return address

    def _distinct_address(self, name: str) -> str:
        address = address_of(name, distinct=True)
        while address in self.servers:
            address += "-1"
        return address

    def _read_entry(self, source: str, key: str, name: str, entry: Mapping[str, Any]) -> ServerSpec:
        """Return the server of an entry; one with a mistake is reported and disabled."""

        def notice(member: str, reason: str) -> None:
            self._report(source, f"{key}.{member}", reason, "notice")

        try:
            spec = read_entry(name, source, entry, self.variables(source), notice)
        except EntryError as mistake:
            self._report(source, f"{key}.{mistake.key}", mistake.reason)
            return ServerSpec(name, source, disabled_reason=printable(f"{mistake.key}: {mistake.reason}"))
        if spec.disabled_reason is None and (digest := self._consent(spec, entry)) is not None:
            spec = replace(spec, disabled_reason=AWAITS_CONSENT, consent=digest)
        if spec.disabled_reason is not None:
            severity = "notice" if spec.disabled_reason in (SWITCHED_OFF, AWAITS_CONSENT) else "error"
            self._report(source, key, f"disabled: {spec.disabled_reason}", severity)
        return spec

    def resolve_members(self) -> None:
        """Replace members of groups by their addresses, and report those that are not configured. A group requires
        what its members require of users (:func:`~mcp_ws_ide.config.spec.rights_of`).

        Call it after every source has been read.
        """
        for address, spec in list(self.servers.items()):
            members = tuple(self._addresses.get(member, member) for member in spec.group)
            missing = [repr(member) for member in members if member not in self.servers]
            rights = rights_of(members, self.servers, spec.authorize)
            if (members, rights) != (spec.group, spec.authorize):
                self.servers[address] = replace(spec, group=members, authorize=rights)
            if missing and spec.disabled_reason is None:
                subject = "member" if len(missing) == 1 else "members"
                verb = "is" if len(missing) == 1 else "are"
                reason = f"{subject} {', '.join(missing)} {verb} not configured; the group works without them"
                self._report(spec.source, f"{self._keys[address]}.group", reason)


def _is_reference(entry: Mapping[str, Any]) -> bool:
    """Return whether an item of Continue's list only names a server that is defined elsewhere."""
    return not any(key in entry for key in ("command", "url"))


def _parse(path: str, text: str) -> tuple[Any, list[str]]:
    """Return the content of a file, and the keys that occur twice.

    TOML (Codex) and YAML (Goose, Continue, LibreChat) are known by the file's ending.

    Raises:
        InvalidJsonError: it cannot be parsed.
    """
    if path.endswith((".yaml", ".yml")):
        return parse_yaml(text)
    if not path.endswith(".toml"):
        return parse_text(text)
    try:
        return tomllib.loads(text), []
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        cure = f"; {ESCAPES}, or use single quotes" if _ESCAPE.search(str(error)) else ""
        raise InvalidJsonError(f"not TOML: {error}{cure}") from None


def _read_text(path: str) -> tuple[str, str]:
    """Return the text of a configuration file, and a notice about its encoding (:func:`~.file_text.decoded`).

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file, too large, or in no encoding that is certain.
    """
    path = os.path.expanduser(path)
    if not stat.S_ISREG(
        os.stat(path).st_mode
    ):  # opening a FIFO would block all of Jupyter until there is a writer
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if data.startswith(b"PK\x03\x04"):
        raise ValueError("it is an archive (zip); unpack a bundle, and name its manifest.json")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return decoded(data)
