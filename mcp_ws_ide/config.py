"""Which servers there are: reads mcp.json in its three dialects, checks it, says every mistake with file,
key and reason. Knows files and environment variables; nothing of processes or HTTP.

One mistake disables at most one server. Nothing here raises for what a file contains.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_ws_ide.binding import SERVER_NAME
from mcp_ws_ide.errors import ConfigError

SUPPORTED_KINDS: Final = frozenset({"stdio"})
"""Transports this version can attach to."""
MAX_FILE_BYTES: Final = 1 << 20
TRAIT: Final = "trait MCPWebSocketApp.servers"

_BASE_ENVIRONMENT: Final = frozenset({"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR"})
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"})
_LIMITS: Final = frozenset({"max_message_bytes"})
_SHARING: Final = frozenset({"auto", "never", "always"})
_KNOWN: Final = frozenset(
    {"command", "args", "env", "cwd", "url", "headers", "type", "transport", "python", "mcp_ws", "name", "disabled",
     "description", "timeout", "alwaysAllow", "autoApprove", "envFile", "dev"}
)  # fmt: skip
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_SECRET_OPTION: Final = re.compile(r"(?i)(token|secret|passw|api[_-]?key|auth|credential|bearer)")
HIDDEN: Final = "••••"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Configuration of one server; equality decides whether a reload changed it.

    Attributes:
        kind: ``stdio``, ``http``, ``sse``, ``ws``, ``unix`` or ``python``.
        env: variables on top of the base environment (:func:`child_environment`).
        source: the file it comes from, or the trait.
        sharing: ``auto``, ``never`` or ``always``.
        idle_timeout: seconds a shared process is kept without sessions; None takes the trait's.
        limits: numeric bounds by name.
        disabled_reason: why it cannot be used, in words; None if it can.
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
    sharing: str = "auto"
    prewarm: int = 0
    idle_timeout: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    disabled_reason: str | None = None

    def censored(self) -> dict[str, Any]:
        """What may be shown: names of variables and headers, never their values."""
        shown: dict[str, Any] = {"kind": self.kind, "env": sorted(self.env), "headers": sorted(self.headers)}
        if self.command is not None:
            shown |= {"command": self.command, "args": censor_args(self.args), "cwd": self.cwd}
        if self.url is not None:
            shown["url"] = _censor_url(self.url)
        return shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. ``severity`` is ``error`` (a server is missing or disabled) or ``notice``."""

    source: str
    key: str
    reason: str
    severity: str = "error"

    def __str__(self) -> str:
        return str(ConfigError(self.source, self.key, self.reason))


@dataclass(frozen=True, slots=True)
class Configuration:
    """All servers in order of precedence, and what was found wrong."""

    servers: dict[str, ServerSpec]
    problems: list[Problem]


def load(
    trait_servers: Mapping[str, Any],
    server_files: Sequence[str],
    config_dirs: Sequence[str],
    environ: Mapping[str, str],
) -> Configuration:
    """Read every source. The first definition of a name wins; the later ones are reported."""
    reader = _Reader(environ)
    reader.read_object(TRAIT, "", dict(trait_servers))
    for path in server_files:
        reader.read_file(path, required=True)
    for directory in config_dirs:
        reader.read_file(os.path.join(directory, "mcp.json"), required=False)
    return Configuration(reader.servers, reader.problems)


class _Mistake(Exception):
    """Something in one server's entry: its key and the reason."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class _Unusable(Exception):
    """The entry is well formed, but cannot be used here."""


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.servers: dict[str, ServerSpec] = {}
        self.problems: list[Problem] = []

    def _problem(self, source: str, key: str, reason: str, severity: str = "error") -> None:
        self.problems.append(Problem(source, key, reason, severity))

    def read_file(self, path: str, *, required: bool) -> None:
        try:
            text = _read_text(path)
            document = json.loads(text, object_pairs_hook=self._pairs(path))
        except FileNotFoundError:
            if required:
                self._problem(path, "", "the file does not exist (named in server_files)")
        except json.JSONDecodeError as error:
            self._problem(
                path, "", f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            )
        except RecursionError:
            self._problem(path, "", "JSON is nested too deeply")
        except (OSError, ValueError) as error:
            self._problem(path, "", f"cannot be read: {error}")
        else:
            self._read_document(path, document)

    def _pairs(self, path: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
        def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            seen: dict[str, Any] = {}
            for key, value in pairs:
                if key in seen:
                    self._problem(path, key, "the key occurs twice in one object; the last one counts")
                seen[key] = value
            return seen

        return build

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
        for key in sorted(set(entry) - _KNOWN):
            self._problem(source, f"{where}.{key}", "unknown key, ignored", "notice")
        try:
            self.servers[name] = _read_server(name, source, entry, self._environ)
        except _Mistake as mistake:
            self._problem(source, f"{where}.{mistake.key}", mistake.reason)
            disabled = ServerSpec(name, source, disabled_reason=f"{mistake.key}: {mistake.reason}")
            self.servers[name] = disabled
            return
        if self.servers[name].disabled_reason:
            self._report_disabled(source, where, self.servers[name].disabled_reason or "")

    def _report_disabled(self, source: str, where: str, reason: str) -> None:
        self._problem(source, where, f"disabled: {reason}", "notice" if "disabled by" in reason else "error")


def _read_server(name: str, source: str, entry: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSpec:
    extras = _read_extras(_typed(entry, "mcp_ws", dict, {}))
    kind = _kind(entry)
    raw: dict[str, Any] = {
        "command": _typed(entry, "command", str, None),
        "args": tuple(_strings(entry, "args")),
        "env": _pairs_of(entry, "env"),
        "cwd": _typed(entry, "cwd", str, None),
        "url": _typed(entry, "url", str, None),
        "headers": _pairs_of(entry, "headers"),
        "target": _typed(entry, "python", str, None),
    }
    try:
        if entry.get("disabled") is True:
            raise _Unusable('disabled by "disabled": true')
        substituted = {key: _substitute(value, environ) for key, value in raw.items()}
        if kind not in SUPPORTED_KINDS:
            raise _Unusable(
                f"transport {kind!r} is not carried by this version, only {', '.join(SUPPORTED_KINDS)}"
            )
    except _Unusable as reason:
        return ServerSpec(name, source, kind, **raw, **extras, disabled_reason=str(reason))
    return ServerSpec(name, source, kind, **substituted, **extras)


def _kind(entry: Mapping[str, Any]) -> str:
    present = [key for key in ("command", "url", "python") if entry.get(key)]
    if len(present) != 1:
        given = " and ".join(present) or "none"
        raise _Mistake("command", f'exactly one of "command", "url" and "python" is needed, given: {given}')
    if present[0] == "command":
        return "stdio"
    if present[0] == "python":
        return "python"
    declared = str(entry.get("type") or entry.get("transport") or "")
    scheme = urlsplit(str(entry["url"])).scheme
    by_scheme = {"ws": "ws", "wss": "ws", "unix": "unix", "http": "http", "https": "http"}
    if scheme not in by_scheme:
        raise _Mistake("url", f"the scheme {scheme!r} is unknown; use http, https, ws, wss or unix")
    return "sse" if declared == "sse" and by_scheme[scheme] == "http" else by_scheme[scheme]


def _typed(entry: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = entry.get(key, default)
    if value is not None and not isinstance(value, kind):
        names: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
        raise _Mistake(key, f"must be {names[kind]}, not {type(value).__name__}")
    if isinstance(value, str) and "\0" in value:
        raise _Mistake(key, "must not contain a NUL character")
    return default if value is None else value


def _strings(entry: Mapping[str, Any], key: str) -> list[str]:
    values = _typed(entry, key, list, [])
    for index, value in enumerate(values):
        if not isinstance(value, str) or "\0" in value:
            raise _Mistake(f"{key}[{index}]", "must be a text without NUL characters")
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
            raise _Mistake(f"{key}.{name}", "must be a text")
        if not name or "=" in name or "\0" in f"{name}{item}":
            raise _Mistake(f"{key}.{name}", "is no usable name or value")
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
                raise _Mistake(where, f"must be one of {', '.join(sorted(_SHARING))}")
            known[key] = value
        elif key in ("prewarm", "idle_timeout") or key in _LIMITS:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise _Mistake(where, "must be a number, not below 0")
            if key in _LIMITS:
                limits[key] = value
            else:
                known[key] = int(value) if key == "prewarm" else float(value)
        else:
            raise _Mistake(where, "unknown setting; known: sharing, prewarm, idle_timeout, max_message_bytes")
    return {**known, "limits": limits}


def _substitute(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], environ), value)
    if isinstance(value, tuple):
        return tuple(_substitute(item, environ) for item in value)
    if isinstance(value, dict):
        return {key: _substitute(item, environ) for key, item in value.items()}
    return value


def _variable(expression: str, environ: Mapping[str, str]) -> str:
    if expression.startswith("input:"):
        raise _Unusable(f"${{{expression}}} asks for input, which only VS Code can do; use ${{env:NAME}}")
    name, has_default, default = expression.removeprefix("env:").partition(":-")
    if name in environ:
        return environ[name]
    if has_default:
        return default
    raise _Unusable(f"the environment variable {name!r} is not set")


def _read_text(path: str) -> str:
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None


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
            shown.append(_censor_url(arg))
        hide = not hide and arg.startswith("-") and not equals and bool(_SECRET_OPTION.search(arg))
    return shown


def _censor_url(text: str) -> str:
    return re.sub(r"(\w+://)[^/@\s]+@", rf"\1{HIDDEN}@", text)


class ConfigWatcher:
    """Tells whether any file changed since it was last asked; meant to be polled."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = list(paths)
        self._seen = self._look()

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_fingerprint(path) for path in self._paths]

    def changed(self) -> bool:
        """Whether a file appeared, disappeared or was written."""
        seen = self._look()
        changed, self._seen = seen != self._seen, seen
        return changed


def _fingerprint(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
