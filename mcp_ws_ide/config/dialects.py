"""Translates the entries of other programs into this project's own keys and shapes.

A key that has one meaning is accepted under the name that another program gives it; for any other, the notice names
the key to write instead. The keys are data in :mod:`.dialect_keys`; published descriptions of servers are read by
:mod:`.manifests`. Pure; knows nothing of files, of variables, or of which values are valid (:mod:`.entry`).
:func:`translate` is idempotent: whatever reads an entry may call it.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mcp_ws_ide.config.dialect_keys import (
    ALIASES,
    ALLOWED_TOOLS,
    BEARERS,
    DENIED_TOOLS,
    HEADER_VARIABLES,
    IMPLIED_TYPES,
    INSTEAD,
    NESTED,
    OWN_KEYS,
    OWN_SETTINGS,
    REQUEST_OPTIONS,
    WAYS,
    WITHOUT_MEANING,
    Notice,
)
from mcp_ws_ide.config.file_sections import is_entry
from mcp_ws_ide.config.manifests import is_manifest, read_manifest

MAX_LINE: Final = 8192
"""Characters of the longest command line that is split into words."""
_ADDRESS: Final = re.compile(r"\s*(?:https?|wss?)://\S+\s*\Z")
_WINDOWS_PROGRAM: Final = re.compile(r"([A-Za-z0-9_-]+)\.(?:cmd|exe|bat)", re.IGNORECASE)
_OPENCODE_VARIABLE: Final = re.compile(r"(?<!\$)\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE_VARIABLE: Final = re.compile(
    r"((?i:bearer|basic|token) +)?\$(?:env:)?([A-Za-z_][A-Za-z0-9_]*)|(COPILOT_MCP_[A-Za-z0-9_]+)"
)
"""A value that is a variable for Gemini CLI, Crush, mcporter and Copilot, behind the scheme of a header or alone."""
_BARE_IN_ARGUMENT: Final = re.compile(r"(?<!\$)\$[A-Z_][A-Z0-9_]*")
_SHELLS: Final = frozenset({"sh", "bash", "zsh", "dash", "ksh", "fish", "env"})
"""Programs that fill in such variables themselves."""
_FOREIGN_FORM: Final = re.compile(r"\$\([^)]*\)|%[A-Z_]+%")
"""What Crush and Windows replace."""
_FOREIGN_VALUE: Final = re.compile(r"(?<!\$)\{file:[^}]*\}|\{\{[A-Z_][A-Z0-9_]*\}\}")
"""What opencode and LibreChat replace by a value that only they know."""
_ADDRESS_TYPES: Final = frozenset({"remote", "mcp", "url"})
"""Types that say no more than that there is an address (opencode, OpenAI's API, Anthropic's API)."""
_SWITCHES: Final = {"true": True, "false": False}


class Translation(NamedTuple):
    """An entry in this project's own keys, and what to tell its author."""

    entry: dict[str, Any]
    notices: list[Notice]


def translate(entry: Mapping[str, Any]) -> Translation:
    """Return an entry in this project's own keys. What has a wrong type stays as it is, for the reader to report."""
    translation = Translation(*read_manifest(entry)) if is_manifest(entry) else Translation(dict(entry), [])
    _unwrap(translation)
    _rename(translation)
    _move_settings(translation)
    _drop_empty(translation)
    _split_command(translation)
    _read_windows(translation)
    _read_values(translation)
    _read_credentials(translation)
    _read_sources(translation)
    _read_tools(translation)
    _read_foreign_variables(translation)
    _report_the_rest(translation)
    return translation


# --- shapes -------------------------------------------------------------------------------------------


def _unwrap(translation: Translation) -> None:
    """Move the members of objects that other programs nest into the entry itself."""
    entry = translation.entry
    for key, implied in NESTED.items():
        nested = entry.get(key)
        if not isinstance(nested, dict) or not is_entry(nested):
            continue
        del entry[key]
        for name, value in {**({"type": implied} if implied else {}), **nested}.items():
            entry.setdefault(name, value)
    for key in REQUEST_OPTIONS:
        _unwrap_options(translation, key)


def _unwrap_options(translation: Translation, key: str) -> None:
    """Take the headers out of an object with the options of each request."""
    entry = translation.entry
    options = entry.get(key)
    if not isinstance(options, dict):
        return
    del entry[key]
    inner = options.get("requestInit")
    if isinstance(inner, dict):  # tiny-agents
        options = {**{name: value for name, value in options.items() if name != "requestInit"}, **inner}
    if "headers" in options:
        entry.setdefault("headers", options["headers"])
    translation.notices.extend(
        Notice(f"{key}.{name}", INSTEAD.get(name, "ignored")) for name in options if name != "headers"
    )


def _rename(translation: Translation) -> None:
    """Give each key that has one meaning the name that it has here."""
    entry, notices = translation
    for key in [key for key in entry if key in ALIASES]:
        value, own = entry.pop(key), ALIASES[key]
        if key == "httpUrl" and _other_address(entry, value):  # Gemini CLI
            del entry["url"]
            notices.append(Notice("url", 'ignored, because "httpUrl" is set, which is preferred'))
        if entry.get(own) in (None, value):
            entry[own] = value
            if key in IMPLIED_TYPES and entry.get("type") is None and entry.get("transport") is None:
                entry["type"] = IMPLIED_TYPES[key]
        else:
            notices.append(Notice(key, f'ignored, because "{own}" is set'))
    kind = entry.get("type")
    if isinstance(kind, str) and kind in _ADDRESS_TYPES:  # the address says which kind
        del entry["type"]


def _other_address(entry: Mapping[str, Any], preferred: Any) -> bool:
    """Return whether ``preferred`` is used instead of ``url``: two addresses, and no ``type`` that chooses one."""
    undeclared = entry.get("type") is None and entry.get("transport") is None
    return undeclared and isinstance(preferred, str) and entry.get("url") not in (None, "", preferred)


def _move_settings(translation: Translation) -> None:
    """Read the gateway's own settings beside ``mcp_ws`` as if they were in it."""
    entry, notices = translation
    settings = {} if entry.get("mcp_ws") is None else entry["mcp_ws"]
    if not isinstance(settings, dict):
        return
    found = [name for name, kinds in OWN_SETTINGS.items() if isinstance(entry.get(name), kinds)]
    for name in found:
        value = entry.pop(name)
        if name not in settings:
            notices.append(Notice(name, f'read as "mcp_ws": {{"{name}": …}}; write it there'))
        elif settings[name] != value:
            notices.append(Notice(name, f'ignored, because "mcp_ws.{name}" is set'))
        settings = {name: value, **settings}
    if found:
        entry["mcp_ws"] = settings


def _drop_empty(translation: Translation) -> None:
    """Leave out an empty ``url`` beside a ``command``, as forms write it, and the like."""
    entry, notices = translation
    given = [key for key in WAYS if not _is_empty(entry.get(key))]
    if len(given) == 1:
        for key in WAYS:
            if entry.get(key) is not None and key not in given and _is_empty(entry[key]):
                del entry[key]
                notices.append(Notice(key, f'empty, ignored, because "{given[0]}" is set'))


def _is_empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _split_command(translation: Translation) -> None:
    """Separate a program from its arguments where both are in ``command``."""
    entry, notices = translation
    command = entry.get("command")
    if isinstance(command, dict):  # Zed before 2025-08
        program = next((command[key] for key in ("path", "program", "command") if key in command), None)
        entry["command"] = program
        for key in ("args", "env", "cwd"):
            if key in command:
                entry.setdefault(key, command[key])
    elif isinstance(command, list) and command and all(isinstance(part, str) for part in command):  # opencode
        rest = entry.get("args")
        entry["command"] = command[0]
        entry["args"] = [*command[1:], *(rest if isinstance(rest, list) else [])]
    elif isinstance(command, str) and not entry.get("args"):
        words = _words(command)
        if len(words) > 1 and "/" not in words[0] and "\\" not in command:
            entry["command"], entry["args"] = words[0], words[1:]
            reason = f'read as the program {words[0]!r} with arguments; write those under "args"'
            notices.append(Notice("command", reason))
    if isinstance(command, str) and _ADDRESS.match(command) and not (entry.get("url") or entry.get("args")):
        entry["url"] = entry.pop("command")
        notices.append(Notice("command", 'an address; read as "url"'))
    if isinstance(args := entry.get("args"), str):
        entry["args"] = _words(args)
        notices.append(Notice("args", "split at spaces; write a list of strings"))


def _read_windows(translation: Translation) -> None:
    """Take ``cmd /c PROGRAM`` and ``PROGRAM.cmd``, as documentation writes them for Windows, for the program."""
    entry, notices = translation
    command, args = entry.get("command"), entry.get("args")
    if not isinstance(command, str) or not isinstance(args, list | None):
        return
    suffixed = _WINDOWS_PROGRAM.fullmatch(command)
    if command.lower() in ("cmd", "cmd.exe") and args and str(args[0]).lower() == "/c":
        if len(args) > 1 and isinstance(args[1], str):
            entry["command"], entry["args"] = args[1], args[2:]
    elif suffixed and suffixed[1].lower() != "cmd":
        entry["command"] = suffixed[1]
    if entry["command"] != command:
        notices.append(
            Notice("command", f"{command!r} is of Windows; read as the program {entry['command']!r}")
        )


def _read_values(translation: Translation) -> None:
    """Read values of another type that mean one thing."""
    entry, notices = translation
    for key in ("disabled", "enabled"):
        value = entry.get(key)
        if isinstance(value, str) and value.strip().lower() in _SWITCHES:
            entry[key] = _SWITCHES[value.strip().lower()]
            reason = f"{value!r} was read as {value.strip().lower()}; write it without quotes"
            notices.append(Notice(key, reason))
    args = entry.get("args")
    if isinstance(args, list) and None in args:
        entry["args"] = [arg for arg in args if arg is not None]
        notices.append(Notice("args", "null was left out"))
    for key, separator in (("env", "="), ("headers", ":")):
        pairs = _pairs_in(entry.get(key), separator)
        if pairs is not None:
            entry[key] = pairs


def _pairs_in(items: Any, separator: str) -> dict[str, Any] | None:
    """Return the pairs of a list of ``NAME=VALUE``, or of objects with ``key`` and ``value``; None for other values."""
    pairs: dict[str, Any] = {}
    for item in items if isinstance(items, list) else (None,):
        if isinstance(item, str) and separator in item:
            name, _, value = item.partition(separator)
            pairs[name.strip()] = value.strip() if separator == ":" else value
        elif isinstance(item, dict) and isinstance(item.get("key"), str):
            pairs[item["key"]] = item.get("value")
        else:
            return None
    return pairs


def _words(line: str) -> list[str]:
    """Return the words of a command line, as a shell would; the whole line if it is none, or too long for one."""
    if len(line) > MAX_LINE:
        return [line]
    try:
        return shlex.split(line)
    except ValueError:  # an open quotation
        return [line]


def _read_credentials(translation: Translation) -> None:
    """Read headers that are given by other keys (Codex, Mistral Vibe)."""
    entry = translation.entry
    if isinstance(entry.get("auth"), dict) and entry["auth"].get("type") == "static":  # Mistral Vibe
        for name, value in entry.pop("auth").items():
            if name != "type":
                entry.setdefault(name, value)
    headers: dict[str, Any] = {}
    if isinstance(entry.get("api_key_env"), str):
        name, form = (
            entry.pop("api_key_header", "Authorization"),
            entry.pop("api_key_format", "Bearer {token}"),
        )
        headers[str(name)] = str(form).replace("{token}", f"${{env:{entry.pop('api_key_env')}}}")
    for key, form in BEARERS:
        if isinstance(entry.get(key), str):
            headers["Authorization"] = form % entry.pop(key)
    for key in HEADER_VARIABLES:
        names = entry.get(key)
        if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()):
            del entry[key]
            headers |= {header: f"${{env:{name}}}" for header, name in names.items()}
    if headers:
        written = entry["headers"] if isinstance(entry.get("headers"), dict) else {}
        names = {str(name).lower() for name in written}
        entry["headers"] = {**{k: v for k, v in headers.items() if k.lower() not in names}, **written}


def _read_sources(translation: Translation) -> None:
    """Point out variables that another program takes from elsewhere than its own environment (Codex)."""
    names = translation.entry.get("env_vars")
    for index, item in enumerate(names if isinstance(names, list) else []):
        source = item.get("source") if isinstance(item, dict) else None
        if source not in (None, "local"):
            reason = f"source {source!r} is not supported; the variable is taken from Jupyter's environment"
            translation.notices.append(Notice(f"env_vars[{index}]", reason))


def _read_tools(translation: Translation) -> None:
    """Read the lists of tools of other programs as the gateway's rules."""
    entry, notices = translation
    rules: dict[str, list[str]] = {}
    for list_name, keys in (("allow", ALLOWED_TOOLS), ("deny", DENIED_TOOLS)):
        for key in keys:
            names = entry.get(key)
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                continue
            del entry[key]
            if names and not (list_name == "allow" and names == ["*"]):
                rules.setdefault(list_name, []).extend(names)
    if not rules:
        return
    settings = entry.get("mcp_ws") or {}
    if not isinstance(settings, dict) or "tools" in settings:
        notices.append(Notice("tools", 'ignored, because "mcp_ws.tools" is set'))
    else:
        entry["mcp_ws"] = {**settings, "tools": rules}


def _read_foreign_variables(translation: Translation) -> None:
    """Read ``{env:NAME}`` (opencode) and ``$NAME`` (Gemini CLI); point out what else other programs would replace."""
    entry, notices = translation
    for key in ("env", "headers"):
        values = entry.get(key)
        if isinstance(values, dict):
            entry[key] = {}
            for name, value in values.items():
                _read_foreign_value(translation, key, name, value)
    url = entry.get("url")
    if isinstance(url, str):
        entry["url"] = _own_variables(url)
        if foreign := _FOREIGN_VALUE.search(url):
            notices.append(
                Notice("url", f"{foreign[0]!r} has no value here and is used literally; write the value")
            )
    args = entry.get("args")
    for index, arg in enumerate(args if isinstance(args, list) and not _is_shell(entry) else ()):
        if isinstance(arg, str) and " " not in arg and (bare := _BARE_IN_ARGUMENT.search(arg)):
            reason = f"{bare[0]!r} is passed to the program unchanged; for a variable write ${{NAME}}"
            notices.append(Notice(f"args[{index}]", reason))


def _read_foreign_value(translation: Translation, key: str, name: str, value: Any) -> None:
    """Read one variable or header."""
    (entry, notices), place = translation, f"{key}.{name}"
    text = value if isinstance(value, str) else ""
    if bare := _BARE_VARIABLE.fullmatch(text):
        value = f"{bare[1] or ''}${{env:{bare[2] or bare[3]}}}"
        notices.append(Notice(place, f"{text!r} was read as {value}; write it so"))
    elif foreign := _FOREIGN_VALUE.search(text):
        return notices.append(
            Notice(place, f"left out: {foreign[0]!r} has no value here; write the value, or ${{NAME}}")
        )
    elif unread := _FOREIGN_FORM.search(text):  # the rest of the value may be a secret
        notices.append(Notice(place, f"{unread[0]!r} is used literally; for a variable write ${{NAME}}"))
    entry[key][name] = _own_variables(value)


def _is_shell(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("command")).rpartition("/")[2] in _SHELLS


def _own_variables(value: Any) -> Any:
    return _OPENCODE_VARIABLE.sub(r"${env:\1}", value) if isinstance(value, str) else value


# --- what is left -------------------------------------------------------------------------------------


def _report_the_rest(translation: Translation) -> None:
    entry, notices = translation
    if isinstance(tools := entry.get("tools"), dict):
        del entry["tools"]
        if not all(isinstance(tool, dict) and set(tool) <= {"approval_mode"} for tool in tools.values()):
            reason = 'ignored; write "mcp_ws": {"tools": {"allow": [NAME], "deny": [NAME]}}'
            notices.append(Notice("tools", reason))  # else it says what Codex asks its user
    for key in sorted(str(key) for key in translation.entry if key not in OWN_KEYS | WITHOUT_MEANING):
        translation.notices.append(Notice(key, INSTEAD.get(key) or _unknown(key)))


def _unknown(key: str) -> str:
    folded = {own.lower(): own for own in (*OWN_KEYS, *ALIASES)}
    close = difflib.get_close_matches(key.lower(), folded, 1, 0.75) if len(key) <= 40 else []
    if not close:
        return "unknown key, ignored"
    own = folded[close[0]]
    return f'unknown key, ignored; did you mean "{ALIASES.get(own, own)}"?'
