"""Which servers there are: reads mcp.json in its three dialects, checks it, says every mistake with file,
key and reason. Knows files and environment variables; nothing of processes or HTTP.

One mistake disables at most one server. Nothing here raises for what a file contains.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_ws_ide.core.binding import SERVER_NAME
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import UnusableHeader
from mcp_ws_ide.observe.redaction import HIDDEN, is_secret_name
from mcp_ws_ide.transports import TRANSPORTS
from mcp_ws_ide.transports.oauth import is_private

MAX_FILE_BYTES: Final = 1 << 20
MAX_MEMBERS: Final = 32
"""Servers in one group."""
ENTRY_POINTS: Final = "mcp_ws_ide.servers"
"""Group of entry points by which installed packages bring servers."""
TRAIT: Final = "trait MCPWebSocketApp.servers"

_BASE_ENVIRONMENT: Final = frozenset({"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR"})
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"})
_SHARING: Final = ("auto", "never", "always")
_NUMBERS: Final[Mapping[str, tuple[type, float]]] = {
    "prewarm": (int, 0),
    "idle_timeout": (float, 0),
    "max_message_bytes": (int, 1024),
    "connect_timeout": (float, 0.1),
    "read_timeout": (float, 0.1),
    "reconnect_timeout": (float, 0),
}
"""Numeric settings under ``mcp_ws``: what they are, and the least value."""
_LIMITS: Final = frozenset({"max_message_bytes", "connect_timeout", "read_timeout", "reconnect_timeout"})
TIMEOUTS: Final[Mapping[str, float]] = {
    "connect_timeout": 10.0,
    "read_timeout": 300.0,
    "reconnect_timeout": 60.0,
}
"""Seconds, where nothing is configured."""
SETTINGS: Final = ("sharing", "bridge", "tools", "ca_file", "oauth", *_NUMBERS)
"""Keys under ``mcp_ws``."""
_MAX_NUMBER: Final = 1 << 53
_OAUTH: Final = frozenset({"scope", "client_id", "client_secret"})
_OAUTH_TEXT: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
_KNOWN: Final = frozenset(
    {"command", "args", "env", "cwd", "url", "headers", "type", "transport", "python", "group", "mcp_ws", "name",
     "disabled", "enabled", "description", "timeout", "alwaysAllow", "autoApprove", "dev"}
)  # fmt: skip
_HARMLESS: Final[Mapping[str, Any]] = {
    "command": "true",
    "url": "http://localhost",
    "python": "a:b",
    "group": ["a"],
}
"""What stands for a value that is wrong, while the rest of its entry is checked."""
_MAX_PROBLEMS: Final = 50
_IGNORED: Final = {"envFile": 'not supported, ignored: put the variables under "env"'}
_TYPES: Final = {
    **{kind: kind for kind in TRANSPORTS},
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "websocket": "ws",
}
"""What the dialects write as ``type``, in lower case, and the kind it means."""
_SCHEMES: Final = {scheme: kind for kind, made in TRANSPORTS.items() for scheme in made.schemes}
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
AWAITS_CONSENT: Final = "awaits a consent: look at what it would run, and agree, on the page of the gateway"
_SWITCHED_OFF: Final = 'switched off by "disabled" or "enabled"'
_VARIABLE: Final = re.compile(r"\$\{([^}]*+)(?:(\})|\Z)")
"""Without the closing brace it takes the rest of the text, so that the time stays linear."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VSCODE: Final = frozenset({"workspaceFolder", "workspaceFolderBasename", "userHome", "pathSeparator", "cwd"})
_COMMENT: Final = re.compile(r'"(?:\\.|[^"\\\n])*+"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r'"(?:\\.|[^"\\\n])*+"?|(?<=[\w"}\]])\s*+,(?=\s*+[}\]])', re.DOTALL)
"""Both match strings too, terminated or not, so that nothing inside one is taken for syntax."""

_SENSITIVE: Final = (
    r"(?:token|secret|passw|pwd|api[_-]?key|access[_-]?key|auth|credential|bearer|cookie|private"
    r"|(?<![a-z])(?:key|pat)(?![a-z]))"
)
_WRITTEN: Final = ("command", "args", "cwd", "url", "target", "group")
_SECRET_OPTION: Final = re.compile(rf"(?i){_SENSITIVE}")
_USERINFO: Final = re.compile(r"(?<=\w://)[^/?#\s]*(?=@)")
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic)\s++\S+")
_KNOWN_FORM: Final = re.compile(r"\b(sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|AKIA|eyJ)[\w.-]{8,}")
_IN_QUERY: Final = re.compile(r"[?&;]([^=&#?;\s]++)=")
_QUERY_VALUE: Final = re.compile(r"[^&#\s]+")
_NAMED: Final = re.compile(r"(?<![\w-])([\w-]++)[\"']?\s*+:\s*+[\"']?(?!//)")
_NAMED_VALUE: Final = re.compile(r"[^\"',}]+")
"""No two of their parts can match the same characters, so that the time stays linear whatever the text is."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Configuration of one server; equality decides whether a reload changed it.

    Attributes:
        kind: ``stdio``, ``http``, ``sse``, ``ws``, ``unix``, ``python`` or ``group``.
        group: names of the servers that a group presents as one.
        env: variables on top of the base environment (:func:`child_environment`).
        source: the file it comes from, or the trait.
        sharing: ``auto`` (modern servers are shared by the sessions of a user), ``never`` or ``always``.
        tools: which of its tools may be seen and called; None means all.
        bridge: whether clients of one protocol era reach the server when it speaks only the other.
        prewarm: processes to keep ready for sessions that need one of their own.
        idle_timeout: seconds a shared process is kept without sessions; None takes the trait's.
        limits: numeric bounds by name.
        oauth: None, or how its tokens are got: ``scope``, ``client_id``, ``client_secret``, where configured.
        ca_file: certificates to trust for ``https`` and ``wss`` instead of the usual ones.
        disabled_reason: why it cannot be used, in words; None if it can.
        consent: the digest of what a user has to agree to before it is started; None if nobody has to.
        written: attributes with variables (``${env:NAME}``) as they are written, by name: what may be shown of them.
    """

    name: str
    source: str
    kind: str = "stdio"
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    group: tuple[str, ...] = ()
    sharing: str = "auto"
    bridge: bool = True
    tools: ToolRules | None = None
    prewarm: int = 0
    idle_timeout: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    ca_file: str | None = None
    oauth: Mapping[str, str] | None = None
    disabled_reason: str | None = None
    consent: str | None = None
    written: Mapping[str, Any] = field(default_factory=dict)

    def timeout(self, name: str) -> float:
        """Seconds of one of the :data:`TIMEOUTS`, as configured or by default."""
        return self.limits.get(name, TIMEOUTS[name])

    def censored(self) -> dict[str, Any]:
        """What may be shown: names of variables and headers, never their values, nor what a variable stands for."""
        written = {"cwd": self.cwd, "target": self.target, "group": self.group} | dict(self.written)
        shown: dict[str, Any] = {"kind": self.kind, "env": sorted(self.env), "headers": sorted(self.headers)}
        if self.command is not None:
            shown["command"] = censor_text(written.get("command", self.command))
            shown |= {"args": censor_args(written.get("args", self.args)), "cwd": written["cwd"]}
        if self.group:
            shown["group"] = list(written["group"])
        if self.url is not None:
            shown["url"] = censor_text(written.get("url", self.url))
        if self.target is not None:
            shown["python"] = written["target"]
        return shown

    def unresolved(self, text: str) -> str:
        """A text about this server with what its variables stand for as it is written in the configuration."""
        for key, written in self.written.items():
            value = getattr(self, key)
            pairs = zip(value, written, strict=True) if isinstance(value, tuple) else [(value, written)]
            for now, before in pairs:
                if now and now != before:
                    text = text.replace(now, before)
        return text


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in the configuration.

    Attributes:
        source: the file, or :data:`TRAIT`.
        key: dotted path inside it, ``""`` for the whole.
        reason: what is wrong and what to do.
        severity: ``error`` (a server is missing or disabled) or ``notice``.
    """

    source: str
    key: str
    reason: str
    severity: str = "error"

    def __str__(self) -> str:
        where = f"{self.source}: {self.key}" if self.key else self.source
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """All servers in order of precedence, and what was found wrong.

    Attributes:
        unread: those of the problems that are of a whole file, which cannot be read or parsed.
    """

    servers: dict[str, ServerSpec]
    problems: list[Problem]
    unread: list[Problem] = field(default_factory=list)


ConsentCheck = Callable[[ServerSpec, Mapping[str, Any]], str | None]
"""From a server and its entry as it is written to the digest of what needs a consent; None if nothing does."""


def load(
    trait_servers: Mapping[str, Any],
    server_files: Sequence[str],
    config_dirs: Sequence[str],
    environ: Mapping[str, str],
    packages: Iterable[EntryPoint] = (),
    consent: ConsentCheck = lambda spec, entry: None,
    documents: dict[str, Any] | None = None,
) -> Configuration:
    """Read every source. The first definition of a name wins; the later ones are reported.

    Args:
        packages: entry points of installed packages that bring servers (:func:`installed_packages`).
        consent: what a user has to agree to before an entry is started; None where nobody has to.
        documents: what the files held when they could last be read, by path; kept up to date here. It stands in for
            a file that is there and cannot be read or parsed: half a saved edit takes nobody's servers away.
    """
    reader = _Reader(environ, consent, documents)
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
    """The entry points of the group :data:`ENTRY_POINTS` in this environment, by name."""
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda found: found.name)


class _Mistake(ValueError):
    """Something in one server's entry: its key and the reason."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class _Unusable(Exception):
    """The entry is well formed, but cannot be used here."""


class _Reader:
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
        """Where each server stands in its source."""
        self.servers: dict[str, ServerSpec] = {}
        self.problems: list[Problem] = []
        self.unread: list[Problem] = []

    def _problem(self, source: str, key: str, reason: str, severity: str = "error") -> None:
        self.problems.append(Problem(source, _printable(key), _printable(reason), severity))

    def read_file(self, path: str, *, required: bool) -> None:
        try:
            document, twice = parse_text(_read_text(path))
        except (FileNotFoundError, NotADirectoryError):
            self._documents.pop(path, None)
            if required:
                self._problem(path, "", "the file does not exist (named in server_files)")
        except _Mistake as mistake:
            self._stand_in(path, mistake.reason)
        except OSError as error:
            self._stand_in(path, f"cannot be read: {error.strerror or error}")
        except ValueError as error:
            self._stand_in(path, f"cannot be read: {error}")
        else:
            self._documents[path] = document
            for key in twice:
                self._problem(path, key, "the key occurs twice in one object; the last one counts")
            self._read_document(path, document)

    def _stand_in(self, path: str, reason: str) -> None:
        """What the file held when it could last be read stands in for it; whatever needs a consent still does."""
        kept = path in self._documents
        words = "; until it is mended its servers are those of its last good version" if kept else ""
        self._problem(path, "", f"{reason}{words}")
        self.unread.append(self.problems[-1])
        if kept:
            self._read_document(path, self._documents[path])

    def check_members(self) -> None:
        """Groups whose members nobody configured; to be called when everything was read."""
        for spec in self.servers.values():
            missing = [repr(member) for member in spec.group if member not in self.servers]
            if missing and spec.disabled_reason is None:
                words = f"there is no server {', '.join(missing)}; the group goes on without"
                self._problem(spec.source, f"{self._keys[spec.name]}.group", words)

    def read_package(self, package: EntryPoint) -> None:
        """Servers that an installed package brings: a mapping by name, or a function that returns one."""
        source = f"entry point {package.name} ({package.value})"
        try:
            found = package.load()
            servers = found() if callable(found) else found
            servers = dict(servers) if isinstance(servers, Mapping) else servers
        except (
            Exception,
            SystemExit,
        ) as error:  # whatever a package does wrong concerns its own servers alone
            return self._problem(source, "", f"failed: {type(error).__name__}: {error}")
        if not isinstance(servers, Mapping):
            return self._problem(
                source, "", "must be a mapping of servers by name, or a function that returns one"
            )
        self.read_object(source, "", servers)

    def _read_document(self, path: str, document: Any) -> None:
        if not isinstance(document, dict):
            return self._problem(path, "", 'the file must be a JSON object with the key "mcpServers"')
        found = [key for key in ("mcpServers", "servers", "mcp_servers") if key in document]
        if not found:
            self._problem(path, "", 'none of the keys "mcpServers", "servers", "mcp_servers" is present')
        for key in found:
            value = document[key]
            if isinstance(value, list):
                self._read_list(path, key, value)
            elif isinstance(value, dict):
                self.read_object(path, key, value)
            else:
                self._problem(path, key, "must be an object of servers by name, or a list of servers")

    def _read_list(self, path: str, key: str, entries: list[Any]) -> None:
        """jupyter-ai: a list of objects that carry their name."""
        for index, entry in enumerate(entries):
            where = f"{key}[{index}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                self._problem(path, where, 'must be an object with a "name"')
            else:
                self._add(path, where, entry["name"], entry)

    def read_object(self, source: str, key: str, entries: Mapping[str, Any]) -> None:
        """Servers by name."""
        for name, entry in entries.items():
            self._add(source, f"{key}.{name}" if key else str(name), name, entry)

    def _add(self, source: str, where: str, name: object, entry: Any) -> None:
        if not isinstance(name, str) or not SERVER_NAME.fullmatch(name) or name in (".", ".."):
            return self._problem(
                source, where, f"{name!r} is no server name: use letters, digits, '.', '_' and '-'"
            )
        if name in self.servers:
            first = self.servers[name].source
            return self._problem(source, where, f"shadowed: {name!r} is already defined in {first}", "notice")
        if not isinstance(entry, dict):
            return self._problem(source, where, "must be an object")
        for key in sorted(str(key) for key in set(entry) - _KNOWN):
            self._problem(source, f"{where}.{key}", _IGNORED.get(key, "unknown key, ignored"), "notice")
        try:
            spec = _read_server(name, source, entry, self._environ)
        except _Mistake as mistake:
            self._problem(source, f"{where}.{mistake.key}", mistake.reason)
            spec = ServerSpec(name, source, disabled_reason=_printable(f"{mistake.key}: {mistake.reason}"))
        else:
            if spec.disabled_reason is None and (needed := self._consent(spec, entry)) is not None:
                spec = replace(spec, disabled_reason=AWAITS_CONSENT, consent=needed)
            self._report(where, spec)
        self.servers[name] = spec
        self._keys[name] = where

    def _report(self, where: str, spec: ServerSpec) -> None:
        """Say what is well formed and yet not as the author may expect."""
        if spec.disabled_reason is not None:
            severity = "notice" if spec.disabled_reason in (_SWITCHED_OFF, AWAITS_CONSENT) else "error"
            self._problem(spec.source, where, f"disabled: {spec.disabled_reason}", severity)


def _read_server(name: str, source: str, entry: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSpec:
    extras = _read_extras(_typed(entry, "mcp_ws", dict, {}))
    raw: dict[str, Any] = {
        "command": _typed(entry, "command", str, None),
        "args": tuple(_strings(entry, "args")),
        "env": _pairs_of(entry, "env"),
        "cwd": _typed(entry, "cwd", str, None),
        "url": _typed(entry, "url", str, None),
        "headers": _pairs_of(entry, "headers"),
        "target": _typed(entry, "python", str, None),
        "group": tuple(_strings(entry, "group")),
        "oauth": _read_oauth(entry.get("mcp_ws") or {}),
    }
    _check_group(name, raw["group"])
    unresolved = "${" in (raw["url"] or "")
    kind = _kind(entry, None if unresolved else raw["url"])
    try:
        if _switched_off(entry):
            raise _Unusable(_SWITCHED_OFF)
        values = {key: _substitute(value, environ) for key, value in raw.items()}
        if kind == "stdio" and not values["command"]:
            raise _Unusable('"command" is empty once its variables are filled in')
        kind = _kind(entry, values["url"])
        _check_remote(values)
        _check_oauth(kind, values)
    except _Unusable as reason:
        return ServerSpec(name, source, kind, **raw, **extras, disabled_reason=str(reason))
    written = {key: raw[key] for key in _WRITTEN if raw[key] != values[key]}
    return ServerSpec(name, source, kind, **values, **extras, written=written)


def launch_parts(spec: ServerSpec, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which program runs, or which address gets which credential: what a user agrees to.

    Program, arguments, directory and address count with their variables filled in; those of the environment and the
    headers as they are written, so that a renewed password is no new program.
    """
    return {
        "kind": spec.kind,
        "command": spec.command,
        "args": spec.args,
        "cwd": spec.cwd,
        "url": spec.url,
        "python": spec.target,
        "group": spec.group,
        "ca_file": spec.ca_file,
        "env": _pairs_of(entry, "env"),
        "headers": _pairs_of(entry, "headers"),
        "oauth": _read_oauth(entry.get("mcp_ws") or {}),
    }


def check_entry(
    name: str, source: str, entry: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[ServerSpec | None, list[Problem]]:
    """Read one entry that is not in a file yet: the server, or None, and everything that is wrong with it."""
    reader = _Reader(environ)
    reader.read_object(source, "", {name: entry})
    problems = [problem for problem in reader.problems if problem.severity == "notice"]
    rest: Any = json.loads(json.dumps(entry))
    while mistake := _first_mistake(name, source, rest, environ):
        problems.append(Problem(source, _printable(f"{name}.{mistake.key}"), _printable(mistake.reason)))
        if len(problems) >= _MAX_PROBLEMS or not _mend(rest, mistake.key):
            break
    if any(problem.severity == "error" for problem in problems) or name not in reader.servers:
        return None, problems or reader.problems
    return reader.servers[name], reader.problems


def _first_mistake(
    name: str, source: str, entry: Mapping[str, Any], environ: Mapping[str, str]
) -> _Mistake | None:
    try:
        _read_server(name, source, entry, environ)
    except _Mistake as mistake:
        return mistake
    return None


def _mend(entry: dict[str, Any], key: str) -> bool:
    """Take what is wrong out of the way, to see what else is; False where nothing can be taken."""
    first, _, rest = re.sub(r"\[.*", "", key).partition(".")
    if rest and isinstance(entry.get(first), dict) and rest in entry[first]:
        del entry[first][rest]
    elif first in _HARMLESS and entry.get(first) not in (None, _HARMLESS[first]):
        entry[first] = _HARMLESS[first]
    elif first in entry and first not in _HARMLESS:
        del entry[first]
    else:
        return False
    return True


def _check_group(name: str, members: Sequence[str]) -> None:
    for index, member in enumerate(members):
        if not SERVER_NAME.fullmatch(member) or member == name or member in members[:index]:
            raise _Mistake(f"group[{index}]", f"{member!r} is no server name, or stands here already")
    if len(members) > MAX_MEMBERS:
        raise _Mistake("group", f"has {len(members)} members; {MAX_MEMBERS} are the most")


def _switched_off(entry: Mapping[str, Any]) -> bool:
    for key in ("disabled", "enabled"):
        if not isinstance(entry.get(key, False), bool):
            raise _Mistake(key, "must be true or false")
    return entry.get("disabled") is True or entry.get("enabled") is False


def _kind(entry: Mapping[str, Any], url: str | None) -> str:
    """How the server is reached. ``url`` is None while its variables are not filled in: then ``type`` alone
    tells."""
    present = [key for key in ("command", "url", "python", "group") if entry.get(key)]
    if len(present) != 1:
        given = " and ".join(present) or "none"
        words = f'exactly one of "command", "url", "python" and "group" is needed, given: {given}'
        raise _Mistake("command", words)
    declared = _declared_type(entry)
    if present[0] == "url":
        found = (declared or "http") if url is None else _kind_of_url(url)
        found = "sse" if declared == "sse" and found == "http" else found
    else:
        found = {"command": "stdio", "python": "python", "group": "group"}[present[0]]
    if declared not in (None, found):
        key = "type" if entry.get("type") is not None else "transport"
        raise _Mistake(key, f"{declared!r} contradicts the {present[0]}, which means {found!r}; remove one")
    return found


def _check_remote(values: Mapping[str, Any]) -> None:
    """Whether a URL, its headers or a target can work, once their variables are filled in."""
    if values["target"] is not None and not _TARGET.fullmatch(values["target"]):
        raise _Mistake("python", 'must be "module:object", as in "my_package.server:mcp"')
    if values["url"] is not None:
        _check_url(values["url"])
    try:
        check_headers(values["headers"])
    except UnusableHeader as error:
        raise _Mistake(f"headers.{error.name}", error.reason) from None
    for name, value in values["headers"].items():
        if not _HEADER_VALUE.fullmatch(value):
            raise _Mistake(f"headers.{name}", "must be one line of Latin-1 text")


def _read_oauth(extras: Mapping[str, Any]) -> dict[str, str] | None:
    """``true``, or an object with what is known of the client."""
    value = extras.get("oauth", False)
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict) or set(value) - _OAUTH:
        raise _Mistake("mcp_ws.oauth", f"must be true or an object with any of {', '.join(sorted(_OAUTH))}")
    for key, text in value.items():
        if not isinstance(text, str) or not text:
            raise _Mistake(f"mcp_ws.oauth.{key}", "must be a text, and not empty")
        _check_text(f"mcp_ws.oauth.{key}", text)
    if "client_secret" in value and "client_id" not in value:
        raise _Mistake("mcp_ws.oauth.client_secret", 'needs a "client_id"')
    return dict(value)


def _check_oauth(kind: str, values: Mapping[str, Any]) -> None:
    """Whether tokens can be got and sent, once variables are filled in."""
    oauth = values["oauth"]
    if oauth is None:
        return
    if kind not in ("http", "sse"):
        raise _Mistake("mcp_ws.oauth", f'is for servers of type http and sse, and this is of type "{kind}"')
    if brings_credential(values["headers"]):
        raise _Mistake("mcp_ws.oauth", "excludes an Authorization header; remove one of them")
    if not is_private(values["url"]):
        raise _Mistake(
            "mcp_ws.oauth", "needs an https address, or one of this machine: tokens are sent there"
        )
    for key, text in oauth.items():
        if not _OAUTH_TEXT.fullmatch(text):
            raise _Mistake(
                f"mcp_ws.oauth.{key}", "must be ASCII text without quotes and backslashes, and not empty"
            )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _Mistake("url", f"is no valid URL: {error}") from None
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise _Mistake("url", "must be unix:///path, with three slashes")
    elif not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise _Mistake("url", "needs a host, as in https://example.org/mcp")


def _declared_type(entry: Mapping[str, Any]) -> str | None:
    for key in ("type", "transport"):
        value = _typed(entry, key, str, None)
        if value is not None:
            if value.lower() not in _TYPES:
                raise _Mistake(
                    key, f"{value!r} is unknown; use one of {', '.join(sorted(set(_TYPES.values())))}"
                )
            return _TYPES[value.lower()]
    return None


def _kind_of_url(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise _Mistake("url", f"is no valid URL: {error}") from None
    if scheme not in _SCHEMES:
        raise _Mistake("url", f"the scheme {scheme!r} is unknown; use http, https, ws, wss or unix")
    return _SCHEMES[scheme]


def _typed(entry: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = entry.get(key, default)
    if value is not None and not isinstance(value, kind):
        names: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
        raise _Mistake(key, f"must be {names[kind]}, not {type(value).__name__}")
    if isinstance(value, str):
        _check_text(key, value)
    return default if value is None else value


def _check_text(key: str, text: str) -> None:
    """A process takes no NUL, and no half of a surrogate pair, which JSON can write."""
    if "\0" in text:
        raise _Mistake(key, "must not contain a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _Mistake(key, "must not contain a lone surrogate (\\ud800 to \\udfff)")


def _strings(entry: Mapping[str, Any], key: str) -> list[str]:
    values = _typed(entry, key, list, [])
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise _Mistake(f"{key}[{index}]", "must be a text; put it in quotes")
        _check_text(f"{key}[{index}]", value)
    return list(values)


def _pairs_of(entry: Mapping[str, Any], key: str) -> dict[str, str]:
    """An object of texts, or jupyter-ai's list of ``{"name": …, "value": …}``."""
    value = entry.get(key)
    if isinstance(value, list):
        if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in value):
            raise _Mistake(key, 'must be a list of objects with "name" and "value"')
        value = {item["name"]: item.get("value") for item in value}
    if value is not None and not isinstance(value, dict):
        raise _Mistake(key, "must be an object of texts")
    pairs = {}
    for name, item in (value or {}).items():
        if isinstance(item, bool) or not isinstance(item, (str, int, float)):
            raise _Mistake(f"{key}.{name}", "must be a text; put it in quotes")
        if not isinstance(name, str) or not name or "=" in name:
            raise _Mistake(f"{key}.{name}", "is no usable name: it is empty or contains '='")
        _check_text(f"{key}.{name}", f"{name}{item}")
        pairs[name] = str(item)
    return pairs


def _read_extras(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Our own settings, under ``mcp_ws``."""
    known: dict[str, Any] = {}
    limits: dict[str, float] = {}
    for key, value in extras.items():
        where = f"mcp_ws.{key}"
        if key == "sharing":
            if value not in _SHARING:
                raise _Mistake(where, f"must be one of {', '.join(_SHARING)}")
            known[key] = value
        elif key == "bridge":
            if not isinstance(value, bool):
                raise _Mistake(where, "must be true or false")
            known[key] = value
        elif key == "tools":
            known[key] = read_rules(where, value)
        elif key == "oauth":
            pass  # its texts may have variables: _read_oauth
        elif key == "ca_file":
            known[key] = os.path.expanduser(_typed(extras, key, str, None) or "") or None
        elif key in _NUMBERS:
            (limits if key in _LIMITS else known)[key] = _number(where, value, *_NUMBERS[key])
        else:
            raise _Mistake(
                where,
                f"unknown setting; known: {', '.join(SETTINGS)}",
            )
    return {**known, "limits": limits}


def read_rules(where: str, value: Any) -> ToolRules:
    """Allow and deny lists of tools, as JSON writes them.

    Raises:
        _Mistake: they are of another shape; a :class:`ValueError` to callers outside of this module.
    """
    if not isinstance(value, dict) or not value or set(value) - {"allow", "deny"}:
        raise _Mistake(where, 'must be an object with "allow" and "deny", each a list of patterns')
    for key, patterns in value.items():
        if not isinstance(patterns, list) or not all(isinstance(p, str) and p for p in patterns):
            raise _Mistake(f"{where}.{key}", 'must be a list of names; "*" stands for anything')
    allow = tuple(value["allow"]) if "allow" in value else None
    return ToolRules(allow, tuple(value.get("deny", ())))


def _number(where: str, value: Any, kind: type, least: float) -> float:
    """JSON also has 1e999, numbers of a thousand digits and, in Python, NaN: none of them passes."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value < _MAX_NUMBER or value != kind(value):
        whole = "whole number" if kind is int else "number"
        raise _Mistake(where, f"must be a {whole}, {least:g} or more")
    converted: float = kind(value)
    return converted


def _substitute(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], environ) if found[2] else found[0], value)
    if isinstance(value, tuple):
        return tuple(_substitute(item, environ) for item in value)
    if isinstance(value, dict):
        return {key: _substitute(item, environ) for key, item in value.items()}
    return value


def _name_of(expression: str) -> str:
    return expression.removeprefix("env:").partition(":-")[0]


def _variable(expression: str, environ: Mapping[str, str]) -> str:
    written = f"${{{expression}}}"
    if expression.startswith("input:"):
        raise _Unusable(f"{written!r} asks for input, which only VS Code can do; use ${{env:NAME}}")
    name, has_default, default = expression.removeprefix("env:").partition(":-")
    if not _NAME.fullmatch(name):
        raise _Unusable(f"{written!r} is no environment variable; use ${{env:NAME}} or ${{NAME:-default}}")
    if "${" in default:
        raise _Unusable(f"{written!r} has a variable inside a default, which is not supported")
    if name in environ:
        return environ[name]
    if has_default:
        return default
    hint = " (it is a variable of VS Code; write the path)" if name in _VSCODE else ""
    raise _Unusable(f"the environment variable {name!r} is not set{hint}")


def _read_text(path: str) -> str:
    path = os.path.expanduser(path)
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for a writer, with all of Jupyter
        raise _Mistake("", "cannot be read: not a regular file")
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _Mistake("", f"cannot be read: larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Mistake("", f"cannot be read: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def parse_text(text: str) -> tuple[Any, list[str]]:
    """The JSON document, and the keys that occur twice in one object.

    Comments and trailing commas, which VS Code allows, are blanked out only where plain JSON fails, in place:
    the line and column of an error stay those of the file.

    Raises:
        ValueError: it is no JSON; the text says where.
    """
    try:
        return _parse_json(text)
    except _Mistake:
        return _parse_json(without_comments(text))


def _parse_json(text: str) -> tuple[Any, list[str]]:
    twice: list[str] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in pairs:
            if key in built:
                twice.append(key)
            built[key] = value
        return built

    try:
        return json.loads(text, object_pairs_hook=build), twice
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _Mistake("", f"not valid JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise _Mistake("", "JSON is nested too deeply") from None
    except ValueError as error:
        raise _Mistake("", f"not valid JSON: {error}") from None


def without_comments(text: str, *, commas: bool = True) -> str:
    """A text with its comments blanked out in place, and with its trailing commas too if ``commas``."""
    plain = _COMMENT.sub(_blank, text)
    return _TRAILING_COMMA.sub(_blank, plain) if commas else plain


def _blank(found: re.Match[str]) -> str:
    matched = found[0]
    unterminated = matched.startswith("/*") and (len(matched) < 4 or not matched.endswith("*/"))
    if matched.startswith('"') or unterminated:
        return matched
    return re.sub(r"[^\n]", " ", matched)


def _printable(text: str) -> str:
    """Short, and without control characters: it goes to logs and terminals."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:501])
    return shown if len(text) <= 500 else f"{shown}…"


def child_environment(spec: ServerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a server: a short list of harmless variables, and what is configured.

    Nothing else of the gateway's own environment is passed on; it holds credentials.
    """
    base = {
        name: value
        for name, value in environ.items()
        if name in _BASE_ENVIRONMENT or name.startswith("LC_") or name.lower() in _PROXIES
    }
    return {**base, **spec.env}


def censor_args(args: Iterable[str]) -> list[str]:
    """Arguments without what looks like a secret."""
    shown: list[str] = []
    hide = False
    for arg in args:
        option, equals, _ = arg.partition("=")
        if hide:
            shown.append(HIDDEN)
        elif equals and _SECRET_OPTION.search(option):
            shown.append(f"{option}={HIDDEN}")
        else:
            shown.append(censor_text(arg))
        hide = not hide and arg.startswith("-") and not equals and bool(_SECRET_OPTION.search(arg))
    return shown


def known_secrets(specs: Iterable[ServerSpec]) -> set[str]:
    """Values of the configuration that by their names are secrets; a server may repeat them in what it says."""
    found: set[str] = set()
    for spec in specs:
        for name, value in (*spec.env.items(), *spec.headers.items(), *(spec.oauth or {}).items()):
            if _names_secret(name):
                found.add(value)
        for value in spec.headers.values():
            scheme, _, credential = value.partition(" ")
            if scheme.lower() in ("bearer", "basic", "token"):
                found.add(credential)
        for arg, shown in zip(spec.args, censor_args(spec.args), strict=True):
            if shown == HIDDEN:
                found.add(arg)
            elif shown == f"{arg.partition('=')[0]}={HIDDEN}":
                found.add(arg.partition("=")[2])
        found |= {secret for secret in _in_url(spec.url) if secret}
        found |= set(_from_variables(spec))
    return found


def _names_secret(name: str) -> bool:
    return is_secret_name(name) or name.lower().endswith(("key", "pat"))


def _from_variables(spec: ServerSpec) -> Iterator[str]:
    """What variables with the name of a secret stand for, wherever the entry has them."""
    for key, written in spec.written.items():
        value = getattr(spec, key)
        pairs = zip(value, written, strict=True) if isinstance(value, tuple) else [(value, written)]
        for now, before in pairs:
            found = list(_VARIABLE.finditer(before))
            if any(_names_secret(_name_of(variable[1])) for variable in found):
                # with several of them their values cannot be told apart: the text between is hidden with them
                yield now[found[0].start() : len(now) - (len(before) - found[-1].end())]


def _in_url(url: str | None) -> tuple[str | None, ...]:
    try:
        parts = urlsplit(url or "")
        pairs = [pair.partition("=") for pair in parts.query.split("&")]
        return (parts.password, *(value for name, _, value in pairs if _SECRET_OPTION.search(name)))
    except ValueError:
        return ()


def censor_value(name: str, value: str) -> str:
    """The value of a variable without what looks like a secret, by its name or its form."""
    return HIDDEN if is_secret_name(name) or _SECRET_OPTION.search(name) else censor_text(value)


def censor_text(text: str) -> str:
    """A text without the credentials that URLs, header lines and well-known tokens show by their form."""
    text = _USERINFO.sub(HIDDEN, text)
    text = _without_values(text, _IN_QUERY, _QUERY_VALUE)
    text = _SCHEME.sub(rf"\g<1> {HIDDEN}", text)
    text = _without_values(text, _NAMED, _NAMED_VALUE)
    return _KNOWN_FORM.sub(rf"\g<1>{HIDDEN}", text)


def _without_values(text: str, name: re.Pattern[str], value: re.Pattern[str]) -> str:
    """Without the values that follow secret names; what follows another name is looked through too."""
    parts, at, searched = [], 0, 0
    while (found := name.search(text, searched)) is not None:
        searched = found.end()
        if _SECRET_OPTION.search(found[1]) and (secret := value.match(text, searched)) is not None:
            parts += [text[at:searched], HIDDEN]
            at = searched = secret.end()
    return "".join([*parts, text[at:]])


class ConfigWatcher:
    """Tells whether any file changed since it was last asked; meant to be polled."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = [os.path.expanduser(path) for path in paths]
        self._seen = self._look()

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_fingerprint(path) for path in self._paths]

    def changed(self) -> bool:
        """Whether a file appeared, disappeared or was written."""
        seen = self._look()
        changed, self._seen = seen != self._seen, seen
        return changed


def _fingerprint(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    # the last: of its rights too, without which it cannot be read
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns
