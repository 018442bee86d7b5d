"""Reads one server's entry, in any of the dialects of ``mcp.json``, into a :class:`~.spec.ServerSpec`.

Knows nothing of files or of other servers. The keys of other programs are in :mod:`.dialect_keys`, kinds and URL rules
in :mod:`.spec`, variables in :mod:`.environment`; the spellings of ``type`` are data here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.environment import (
    UnresolvedVariableError,
    Variables,
    substitute,
    substitute_editors,
    substitute_known,
)
from mcp_ws_ide.config.spec import (
    CLIENT_CREDENTIALS,
    DEFAULT_TIMEOUTS,
    GROUP,
    MAX_MEMBERS,
    OAUTH_KINDS,
    PREFIX,
    SHARING,
    URL_SCHEMES,
    ServerSpec,
    check_url,
    is_confidential_url,
    kind_of_url,
)
from mcp_ws_ide.core.headers import brings_credential, check_headers, is_header_name, reserved
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import UnusableHeaderError

SWITCHED_OFF: Final = 'switched off by "disabled" or "enabled"'
"""Reason of a server that its author disabled."""

_KIND_OF_KEY: Final = {"command": "stdio", "url": "http", "python": "python", "group": GROUP}
"""The keys that say how a server is reached (an entry has one of the four), with the kind that each implies."""
_KIND_OF_TYPE: Final = {
    **{kind: kind for kind in URL_SCHEMES},
    "local": "stdio",
    "streamable": "http",
    "streamablehttp": "http",
    "httpstream": "http",
    "httpstreamable": "http",
    "https": "http",
    "wss": "ws",
    "websocket": "ws",
    "stdioserverparams": "stdio",  # AutoGen
    "sseserverparams": "sse",
    "streamablehttpserverparams": "http",
}
"""Spellings of ``type`` in the dialects, in lower case without ``-``, ``_`` and blanks, and the kind of each."""
_NAME_SEPARATORS: Final = re.compile(r"[-_ ]")
_NUMBERS: Final[Mapping[str, tuple[type, float]]] = {
    "prewarm": (int, 0),
    "idle_timeout": (float, 0),
    "max_message_bytes": (int, 1024),
    "connect_timeout": (float, 0.1),
    "read_timeout": (float, 0.1),
    "reconnect_timeout": (float, 0),
}
"""Numeric settings under ``mcp_ws``: their type and least value."""
_LIMITS: Final = frozenset({"max_message_bytes", *DEFAULT_TIMEOUTS})
_CHOICES: Final = {"sharing": SHARING, "prefix": PREFIX}
"""Settings that have one of some values."""
SETTINGS: Final = (*_CHOICES, "bridge", "tools", "authorize", "ca_file", "oauth", *_NUMBERS)
"""Keys under ``mcp_ws``."""
_MAX_NUMBER: Final = 1 << 53
_OAUTH_SETTINGS: Final = frozenset(
    {"scope", "client_id", "client_secret", "issuer", "grant", "private_key_file"}
)
_GRANTS: Final = ("authorization_code", CLIENT_CREDENTIALS)
_OAUTH_TEXT: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, appendix A: visible ASCII and space, without quotes and backslashes."""
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_WRITTEN: Final = ("command", "args", "cwd", "url", "target", "group")
"""Attributes that are shown as written, with the names of their environment variables."""


class EntryError(ValueError):
    """A mistake in one server's entry.

    Attributes:
        key: dotted path inside the entry.
        reason: what is wrong, and what to do.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class _UnusableError(Exception):
    """An entry is well formed, but cannot be used here; the message becomes its ``disabled_reason``."""


def read_entry(
    name: str,
    source: str,
    entry: Mapping[str, Any],
    variables: Variables,
    notice: Callable[[str, str], None] = lambda key, reason: None,
) -> ServerSpec:
    """Read one entry and fill in its variables.

    An entry that is well formed but cannot be used here (its command is a variable that is not set) has a
    ``disabled_reason``.

    Args:
        notice: takes the key and a reason for each part of the entry that is left out or used unchanged.

    Raises:
        EntryError: the entry has a mistake.
    """
    entry = translate(entry).entry
    settings = _read_settings(_typed(entry, "mcp_ws", dict, {}))
    raw = _raw_values(entry, notice)
    _check_group(name, raw["group"])
    if "prefix" in settings and not raw["group"]:
        raise EntryError("mcp_ws.prefix", "is only for groups; remove it")
    has_variables = "${" in (raw["url"] or "")
    raw["url"] = _websocket_address(entry, raw["url"])
    kind = _kind(entry, None if has_variables else raw["url"])
    try:
        if _is_switched_off(entry):
            raise _UnusableError(SWITCHED_OFF)
        values = _resolved(raw, variables, notice)
        if kind == "stdio" and not values["command"]:
            raise _UnusableError('"command" is empty once its variables are filled in')
        values["url"] = _websocket_address(entry, values["url"])
        kind = _kind(entry, values["url"])
        _check_remote(values)
        _check_oauth(kind, values)
    except (_UnusableError, UnresolvedVariableError) as reason:
        return ServerSpec(name, source, kind, **raw, **settings, disabled_reason=str(reason))
    return ServerSpec(name, source, kind, **values, **settings)


def launch_parts(spec: ServerSpec, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides which program runs, or which address receives which credential: what a user consents to.

    Program, arguments, directory and address have their variables filled in. Environment and headers are taken as
    written, so that a renewed password needs no new consent.
    """
    entry = translate(entry).entry
    return {
        "kind": spec.kind,
        "command": spec.command,
        "args": spec.args,
        "cwd": spec.cwd,
        "url": spec.url,
        "python": spec.target,
        "group": spec.group,
        "ca_file": spec.ca_file,
        "env": _pairs(entry, "env"),
        "headers": _pairs(entry, "headers"),
        "oauth": _read_oauth(entry.get("mcp_ws") or {}),
        **({"env_vars": spec.env_vars} if spec.env_vars else {}),
    }


def read_rules(key: str, value: Any) -> ToolRules:
    """Read the allow and deny lists of tools from their JSON object; ``key`` is where it stands.

    Raises:
        EntryError: the object has another shape.
    """
    if not isinstance(value, dict) or not value or set(value) - {"allow", "deny"}:
        raise EntryError(key, 'must be an object with "allow" and "deny", each a list of patterns')
    for list_name, patterns in value.items():
        if not isinstance(patterns, list) or not all(isinstance(p, str) and p for p in patterns):
            raise EntryError(f"{key}.{list_name}", 'must be a list of tool names; "*" matches any characters')
    allow = tuple(value["allow"]) if "allow" in value else None
    return ToolRules(allow, tuple(value.get("deny", ())))


# --- how the server is reached ----------------------------------------------------------------------


def _raw_values(entry: Mapping[str, Any], notice: Callable[[str, str], None]) -> dict[str, Any]:
    """Return the attributes of a spec whose texts may contain variables, as written."""
    return {
        "command": _typed(entry, "command", str, None),
        "args": tuple(_strings(entry, "args")),
        "env": _pairs(entry, "env", notice),
        "env_vars": tuple(_names(entry, "env_vars")),
        "cwd": _typed(entry, "cwd", str, None),
        "url": _typed(entry, "url", str, None),
        "headers": _pairs(entry, "headers", notice),
        "target": _typed(entry, "python", str, None),
        "group": tuple(_strings(entry, "group")),
        "oauth": _read_oauth(entry.get("mcp_ws") or {}),
    }


def _resolved(
    raw: dict[str, Any], variables: Variables, notice: Callable[[str, str], None]
) -> dict[str, Any]:
    """Return the attributes with their variables filled in, and ``written``.

    What is left out is removed from ``raw`` as well.

    Variables of the entry's own ``env`` come before those of the gateway's environment, except in ``env`` itself.

    Raises:
        UnresolvedVariableError: a variable without which the server cannot be used has no value.
    """
    plain = {name: value for name, value in raw["env"].items() if "${" not in value}
    env = _resolved_pairs("env", raw["env"], variables.over(plain), notice)
    known = variables.under(env)
    headers = _resolved_pairs("headers", _sendable(raw["headers"], notice), known, notice)
    raw["env"] = {name: raw["env"][name] for name in env}
    raw["headers"] = {name: raw["headers"][name] for name in headers}
    args = []
    for index, arg in enumerate(raw["args"]):
        filled, reasons = substitute_known(arg, known)
        args.append(filled)
        for reason in reasons:
            notice(f"args[{index}]", f"{reason}; passed to the program unchanged")
    cwd, reasons = substitute_known(raw["cwd"] or "", known)
    if reasons:
        notice("cwd", f"{reasons[0]}; ignored")
        raw["cwd"] = cwd = ""
    strict = {key: substitute(raw[key], known) for key in ("command", "url", "target", "group", "oauth")}
    strict["url"] = strict["url"].strip() if strict["url"] else strict["url"]
    strict["command"] = _at_home(strict["command"])
    place = _at_home(cwd or raw["cwd"])
    values = {**raw, **strict, "args": tuple(args), "env": env, "headers": headers, "cwd": place}
    return {**values, "written": _written(raw, values, known)}


def _at_home(path: str | None) -> str | None:
    """Return a path that begins with ``~/`` below the home directory, as shells and editors read it."""
    return os.path.expanduser(path) if path is not None and path.startswith("~/") else path


def _written(raw: Mapping[str, Any], values: Mapping[str, Any], variables: Variables) -> dict[str, Any]:
    """Return what is shown of the attributes that contain environment variables."""
    shown = {key: substitute_editors(raw[key], variables) for key in _WRITTEN}
    return {key: text for key, text in shown.items() if text != values[key]}


def _resolved_pairs(
    key: str, pairs: Mapping[str, str], variables: Variables, notice: Callable[[str, str], None]
) -> dict[str, str]:
    """Return variables or headers with their values; one without a value is left out."""
    resolved = {}
    for name, text in pairs.items():
        value, reasons = substitute_known(text, variables)
        if reasons:
            notice(f"{key}.{name}", f"left out: {reasons[0]}")
        else:
            resolved[name] = value.strip() if key == "headers" else value
    return resolved


def _sendable(headers: Mapping[str, str], notice: Callable[[str, str], None]) -> dict[str, str]:
    """Return the headers without those that the transport sets itself, and without repetitions in other case."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        same = next((other for other in kept if other.lower() == name.lower()), None)
        if reason := reserved(name):
            notice(f"headers.{name}", f"ignored: {reason}")
        elif same is not None and kept[same] == value:
            notice(f"headers.{name}", f"ignored: the same as {same!r}")
        else:
            kept[name] = value
    return kept


def _check_group(name: str, members: Sequence[str]) -> None:
    for index, member in enumerate(members):
        if not member:
            raise EntryError(f"group[{index}]", "is empty; write the name of a server")
        if member == name or member in members[:index]:
            reason = f"{member!r} is the group itself" if member == name else f"{member!r} is listed twice"
            raise EntryError(f"group[{index}]", f"{reason}; remove it")
    if len(members) > MAX_MEMBERS:
        raise EntryError("group", f"has {len(members)} members; at most {MAX_MEMBERS} are allowed")


def _is_switched_off(entry: Mapping[str, Any]) -> bool:
    for key in ("disabled", "enabled"):
        if not isinstance(entry.get(key, False), bool):
            raise EntryError(key, "must be true or false")
    return entry.get("disabled") is True or entry.get("enabled") is False


def _kind(entry: Mapping[str, Any], url: str | None) -> str:
    """Return the kind of an entry. ``url`` is None until its variables are filled in; then ``type`` alone decides."""
    present = [key for key in _KIND_OF_KEY if entry.get(key)]
    if len(present) != 1:
        given = " and ".join(present) or "none"
        reason = f'exactly one of "command", "url", "python" and "group" is needed, given: {given}'
        if not present and entry.get("source") == "extension":
            reason = "an extension of Zed supplies it, which the gateway cannot use; write the program that it runs"
        raise EntryError("command", reason)
    declared = _declared_kind(entry)
    kind = _kind_at(url, declared) if present[0] == "url" else _KIND_OF_KEY[present[0]]
    if declared not in (None, kind):
        key = "type" if entry.get("type") is not None else "transport"
        raise EntryError(key, f"{declared!r} contradicts the {present[0]}, which means {kind!r}; remove one")
    return kind


def _websocket_address(entry: Mapping[str, Any], url: str | None) -> str | None:
    """Return the address as WebSocket needs it, where ``type`` says that ``http://`` or ``https://`` means it."""
    scheme, separator, rest = (url or "").strip().partition("://")
    if scheme.lower() not in ("http", "https") or _declared_kind(entry) != "ws":
        return url
    return f"{'wss' if scheme.lower() == 'https' else 'ws'}{separator}{rest}"


def _kind_at(url: str | None, declared: str | None) -> str:
    if url is None:
        return declared or _KIND_OF_KEY["url"]
    try:
        kind = kind_of_url(url)
    except ValueError as error:
        raise EntryError("url", str(error)) from None
    if kind == "unix" and (declared in ("http", "sse") or urlsplit(url).fragment):  # as VS Code writes it
        kind = "http"
    return "sse" if declared == "sse" and kind == "http" else kind


def _declared_kind(entry: Mapping[str, Any]) -> str | None:
    for key in ("type", "transport"):
        value = _typed(entry, key, str, None)
        if value is not None:
            spelled = _NAME_SEPARATORS.sub("", value.lower())
            if spelled not in _KIND_OF_TYPE:
                known = ", ".join(sorted(URL_SCHEMES))
                raise EntryError(key, f"{value!r} is unknown; use one of {known}")
            return _KIND_OF_TYPE[spelled]
    return None


def _check_remote(values: Mapping[str, Any]) -> None:
    """Check that URL, headers and target can be used, variables filled in."""
    if values["target"] is not None and not _TARGET.fullmatch(values["target"]):
        raise EntryError("python", 'must be "module:object", as in "my_package.server:mcp"')
    if values["url"] is not None:
        try:
            check_url(values["url"])
        except ValueError as error:
            raise EntryError("url", str(error)) from None
    try:
        check_headers(values["headers"])
    except UnusableHeaderError as error:
        raise EntryError(f"headers.{error.name}", error.reason) from None
    for name, value in values["headers"].items():
        if not _HEADER_VALUE.fullmatch(value):
            raise EntryError(f"headers.{name}", "must be one line of Latin-1 text")


# --- settings of the gateway, under "mcp_ws" --------------------------------------------------------


def _read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings without variables; :func:`_read_oauth` reads the one that may have some."""
    values: dict[str, Any] = {}
    limits: dict[str, float] = {}
    for name, value in settings.items():
        key = f"mcp_ws.{name}"
        if name == "oauth":
            continue
        if name in _LIMITS:
            limits[name] = _number(key, value, *_NUMBERS[name])
        elif name in _NUMBERS:
            values[name] = _number(key, value, *_NUMBERS[name])
        else:
            values[name] = _read_setting(name, key, value)
    return {**values, "limits": limits}


def _read_setting(name: object, key: str, value: Any) -> Any:
    if isinstance(name, str) and name in _CHOICES:
        if value not in _CHOICES[name]:
            raise EntryError(key, f"must be one of {', '.join(_CHOICES[name])}")
        return value
    if name == "bridge":
        if not isinstance(value, bool):
            raise EntryError(key, "must be true or false")
        return value
    if name == "tools":
        return read_rules(key, value)
    if name == "authorize":
        return _read_rights(key, value)
    if name == "ca_file":
        return os.path.expanduser(_checked_type(key, value, str, None) or "") or None
    raise EntryError(key, f"unknown setting; known settings: {', '.join(SETTINGS)}")


def _read_rights(key: str, value: Any) -> tuple[str, ...]:
    """Read what Jupyter's authorizer is asked for; blanks between the two words count as one."""
    rights = value if isinstance(value, list) else [value]
    if not all(isinstance(right, str) and len(right.split()) == 2 for right in rights):
        raise EntryError(key, 'must be a list of actions on resources of Jupyter, as in ["execute kernels"]')
    return tuple(" ".join(right.split()) for right in rights)


def _read_oauth(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Read ``true``, or an object with what is known of the OAuth client."""
    value = settings.get("oauth", False)
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict) or set(value) - _OAUTH_SETTINGS:
        known = ", ".join(sorted(_OAUTH_SETTINGS))
        raise EntryError("mcp_ws.oauth", f"must be true or an object with any of {known}")
    for name, text in value.items():
        key = f"mcp_ws.oauth.{name}"
        if not isinstance(text, str) or not text:
            raise EntryError(key, "must be a non-empty string")
        _check_text(key, text)
    if "client_secret" in value and "client_id" not in value:
        raise EntryError("mcp_ws.oauth.client_secret", 'needs a "client_id"')
    _check_grant(value)
    return dict(value)


def _check_grant(oauth: Mapping[str, str]) -> None:
    """Check that a client that obtains tokens for itself has all it needs, and that no other has a key."""
    if oauth.get("grant", _GRANTS[0]) not in _GRANTS:
        raise EntryError("mcp_ws.oauth.grant", f"must be one of {', '.join(_GRANTS)}")
    if oauth.get("grant") != CLIENT_CREDENTIALS:
        if "private_key_file" in oauth:
            raise EntryError("mcp_ws.oauth.private_key_file", f'needs "grant": "{CLIENT_CREDENTIALS}"')
        return
    for name, reason in (("client_id", "the client"), ("issuer", "the only server that gets its credential")):
        if name not in oauth:
            raise EntryError("mcp_ws.oauth.grant", f'needs "{name}": {reason}')
    if ("client_secret" in oauth) == ("private_key_file" in oauth):
        raise EntryError("mcp_ws.oauth.grant", 'needs either "client_secret" or "private_key_file"')


def _check_oauth(kind: str, values: Mapping[str, Any]) -> None:
    """Check that tokens can be obtained and sent, variables filled in."""
    oauth = values["oauth"]
    if oauth is None:
        return
    if kind not in OAUTH_KINDS:
        reason = f'is only for servers of type http and sse, and this is of type "{kind}"; remove it'
        raise EntryError("mcp_ws.oauth", reason)
    if brings_credential(values["headers"]):
        raise EntryError(
            "mcp_ws.oauth", "cannot be combined with an Authorization header; remove one of them"
        )
    if not is_confidential_url(values["url"]):
        reason = "needs an https URL, or one of this machine, because tokens are sent there"
        raise EntryError("mcp_ws.oauth", reason)
    for name, text in oauth.items():
        if name != "private_key_file" and not _OAUTH_TEXT.fullmatch(text):
            reason = "must be non-empty ASCII text without quotes or backslashes"
            raise EntryError(f"mcp_ws.oauth.{name}", reason)
    if "issuer" in oauth and not is_confidential_url(oauth["issuer"]):
        raise EntryError("mcp_ws.oauth.issuer", "must be an https URL: the authorization server's issuer")


def _number(key: str, value: Any, kind: type, least: float) -> float:
    """Return a number in range. JSON also has 1e999, thousand-digit numbers and, in Python, NaN; all are refused."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value < _MAX_NUMBER or value != kind(value):
        noun = "whole number" if kind is int else "number"
        raise EntryError(key, f"must be a {noun}, {least:g} or more")
    converted: float = kind(value)
    return converted


# --- values of JSON ---------------------------------------------------------------------------------


def _typed(entry: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return ``entry[key]`` if it has the right type; ``default`` if it is missing or null."""
    return _checked_type(key, entry.get(key), kind, default)


def _checked_type(key: str, value: Any, kind: type, default: Any) -> Any:
    if value is not None and not isinstance(value, kind):
        nouns: dict[type, str] = {str: "a string", dict: "an object", list: "a list"}
        raise EntryError(key, f"must be {nouns[kind]}, not {type(value).__name__}")
    if isinstance(value, str):
        _check_text(key, value)
    return default if value is None else value


def _check_text(key: str, text: str) -> None:
    """Check for what no process accepts: a NUL, or half of a surrogate pair, which JSON can write."""
    if "\0" in text:
        raise EntryError(key, "must not contain a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise EntryError(key, "must not contain a lone surrogate (\\ud800 to \\udfff)")


def _strings(entry: Mapping[str, Any], key: str) -> list[str]:
    """Return a list of texts. Numbers and truth values are taken as they are written in JSON."""
    values = _typed(entry, key, list, [])
    for index, value in enumerate(values):
        _check_text(f"{key}[{index}]", _text(f"{key}[{index}]", value))
    return [_text(key, value) for value in values]


def _names(entry: Mapping[str, Any], key: str) -> list[str]:
    """Return names of variables: texts, or objects with a ``name`` (Codex)."""
    values = _typed(entry, key, list, [])
    names: list[str] = []
    for index, value in enumerate(values):
        name = value.get("name") if isinstance(value, dict) else value
        if not isinstance(name, str) or not name or "=" in name:
            raise EntryError(f"{key}[{index}]", 'must be the name of a variable; "*" matches any characters')
        _check_text(f"{key}[{index}]", name)
        names.append(name)
    return names


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise EntryError(key, "must be a string; put it in quotes")
    return value if isinstance(value, str) else _number_text(key, value)


def _number_text(key: str, value: float) -> str:
    try:
        return str(value)
    except ValueError:  # an integer of more digits than Python converts
        raise EntryError(key, "must be a string; put it in quotes") from None


def _pairs(
    entry: Mapping[str, Any], key: str, notice: Callable[[str, str], None] = lambda key, reason: None
) -> dict[str, str]:
    """Return an object with strings as values, or jupyter-ai's list of ``{"name": …, "value": …}``, as a dict.

    A name that no variable or header can have is left out, with a notice.
    """
    value = entry.get(key)
    if isinstance(value, list):
        if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in value):
            raise EntryError(key, 'must be a list of objects with "name" and "value"')
        value = {item["name"]: item.get("value") for item in value}
    if value is not None and not isinstance(value, dict):
        raise EntryError(key, "must be an object with strings as values")
    pairs = {}
    for name, item in (value or {}).items():
        if item is None:  # VS Code: the variable is not set
            continue
        if reason := _unusable_name(key, name):
            notice(f"{key}.{name}", f"left out: {name!r} {reason}")
            continue
        text = _text(f"{key}.{name}", item)
        _check_text(f"{key}.{name}", f"{name}{text}")
        pairs[name] = text
    return pairs


def _unusable_name(key: str, name: object) -> str:
    """Return why a variable (``env``) or header cannot have this name; ``""`` if it can."""
    if not isinstance(name, str) or not name:
        return "is not a name"
    if key == "headers":
        return "" if is_header_name(name) else "is not a valid header name (RFC 9110, section 5.1)"
    if any(character in "=\0" or "\ud800" <= character <= "\udfff" for character in name):
        return "is not the name of a variable: it contains '=', NUL or a lone surrogate"
    return ""
