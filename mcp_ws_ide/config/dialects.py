"""The entries of other programs: their keys and shapes, as data, and the translation into this project's own.

A key that has one meaning is accepted under the name that another program gives it; for any other, the notice names
the key to write instead. Pure; knows nothing of files, of variables, or of which values are valid (:mod:`.entry`).
:func:`translate` is idempotent: whatever reads an entry may call it.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

OWN_KEYS: Final = frozenset(
    {"command", "args", "env", "env_vars", "cwd", "url", "headers", "type", "transport", "python", "group", "mcp_ws",
     "name", "disabled", "enabled"}
)  # fmt: skip
"""Keys of an entry that mean something here."""
WITHOUT_MEANING: Final = frozenset(
    {
        *(
            "description",
            "displayName",
            "display_name",
            "title",
            "icon",
            "iconPath",
            "icons",
            "logoUrl",
            "provider",
        ),
        *(
            "tags",
            "version",
            "gallery",
            "source",
            "bundled",
            "registryUrl",
            "installSource",
            "chatMenu",
            "longRunning",
        ),
        *("timeout", "alwaysAllow", "autoApprove", "trust", "dev", "required", "default_tools_approval_mode"),
        *("available_tools_approval", "extensionName", "id", "$schema", "serverInstructions"),
        *(
            "fromGalleryId",
            "official",
            "alwaysLoad",
            "include_instructions",
            "cache_tools_list",
            "server_label",
        ),
        *("require_approval", "remote"),
    }
)
"""Keys that describe a server, or tell another program what to ask its user: ignored silently."""
ALIASES: Final[Mapping[str, str]] = {
    "cmd": "command",  # Goose
    "httpUrl": "url",  # Gemini CLI, Qwen Code
    "serverUrl": "url",  # Windsurf, Antigravity
    "uri": "url",  # Goose
    "baseUrl": "url",  # Cherry Studio
    "endpointUrl": "url",  # n8n
    "sseEndpoint": "url",  # n8n
    "environment": "env",  # opencode
    "envs": "env",  # Goose
    "env_keys": "env_vars",  # Goose: names of variables, whose values it keeps itself
    "http_headers": "headers",  # Codex
    "workingDirectory": "cwd",  # JetBrains
    "working_directory": "cwd",  # Warp
    "transportType": "type",  # Cline
    "transport_type": "type",
    "serverTransport": "type",  # n8n
    "isActive": "enabled",  # Cherry Studio
    "active": "enabled",  # Jan
    "server_url": "url",  # OpenAI's API
}
"""Keys of other programs, and the key that means the same here."""
IMPLIED_TYPES: Final[Mapping[str, str]] = {"httpUrl": "http", "sseEndpoint": "sse"}
"""Keys that also say how a server is reached."""
ALLOWED_TOOLS: Final = (
    "includeTools",
    "enabled_tools",
    "enabledTools",
    "available_tools",
    "tools",
    "allowed_tools",
)
"""Keys whose list names the only tools that may be used (Gemini CLI, Codex, Goose, Copilot, OpenAI's API)."""
DENIED_TOOLS: Final = ("excludeTools", "disabled_tools", "disabledTools")
"""Keys whose list names tools that may not be used (Gemini CLI, Codex, Windsurf, Roo Code, Kiro)."""
_SECONDS: Final = 'write "mcp_ws": {"%s": SECONDS} for a remote server'
_OAUTH: Final = 'ignored; for OAuth write "mcp_ws": {"oauth": true}, for a fixed credential "headers"'
_OWN_SETTING: Final = 'ignored here; write it under "mcp_ws"'
INSTEAD: Final[Mapping[str, str]] = {
    "envFile": 'not supported, ignored; put the variables under "env", or list their names under "env_vars"',
    "env_file": 'not supported, ignored; put the variables under "env", or list their names under "env_vars"',
    **dict.fromkeys(
        ("oauth", "auth", "authentication", "authProviderType", "authorization", "scopes", "oauthScopes",
         "oauth_resource", "requiresOAuth", "targetAudience", "targetServiceAccount"),
        _OAUTH,
    ),
    **dict.fromkeys(("apiKey", "api_key"), 'ignored; write the header that the server expects under "headers"'),
    **dict.fromkeys(("queryParams", "query"), 'ignored; write them at the end of "url"'),
    **dict.fromkeys(
        ("verifySsl", "verify_ssl", "verify", "caBundlePath"),
        'ignored; for a certificate of your own write "mcp_ws": {"ca_file": PATH}',
    ),
    "image": 'ignored; write "command": "docker", "args": ["run", "-i", "--rm", IMAGE]',
    "customUserVars": "ignored, because the gateway cannot ask; use ${env:NAME}",
    "roots": "ignored; clients name their roots themselves",
    "anythingllm": 'belongs to AnythingLLM, ignored; write "disabled", or "mcp_ws": {"tools": {"deny": [NAME]}}',
    "headersHelper": 'not supported, ignored; write "headers", with variables for what changes',
    **dict.fromkeys(
        ("startup_timeout_sec", "startup_timeout_ms", "startupTimeout", "connectionTimeout", "initTimeout",
         "init_timeout", "connect_timeout"),
        f"ignored; {_SECONDS % 'connect_timeout'}",
    ),
    **dict.fromkeys(
        ("tool_timeout_sec", "networkTimeout", "requestTimeout", "request_timeout", "sse_read_timeout",
         "sseReadTimeout", "read_timeout", "read_timeout_seconds", "http_timeout_seconds",
         "client_session_timeout_seconds"),
        f"ignored; {_SECONDS % 'read_timeout'}",
    ),
    **dict.fromkeys(("idle_timeout", "sharing", "prewarm", "bridge", "ca_file", "max_message_bytes"), _OWN_SETTING),
    **dict.fromkeys(
        ("start_on_launch", "autoStart", "auto_start", "load_on_start"), 'ignored; write "mcp_ws": {"prewarm": 1}'
    ),
    **dict.fromkeys(
        ("sandbox", "sandboxEnabled", "permissions", "permissionProfile"),
        "not supported, ignored; the program runs with all rights of the user",
    ),
    **dict.fromkeys(
        ("watch", "watchPaths", "restart", "keep_alive", "restartOnChange"),
        "not supported, ignored; restart a server on the gateway's page",
    ),
    "shell": "not supported, ignored; no program is run by a shell",
    "settings": "belongs to an extension of Zed, ignored",
    "inputs": "ignored, because the gateway cannot ask; use ${env:NAME}",
    "http_proxy": 'ignored; write it under "env"',
}  # fmt: skip
"""Keys of other programs that have another form here, or none, and what to do instead."""
SECTIONS: Final = ("mcpServers", "servers", "mcp_servers", "context_servers", "amp.mcpServers", "mcp.servers")
"""Keys under which the programs keep their servers, by name or as a list; also below ``mcp`` (:func:`sections_of`)."""
MAX_LINE: Final = 8192
"""Characters of the longest command line that is split into words."""
_WAYS: Final = ("command", "url", "python", "group")
"""Keys that say how a server is reached, one in each entry."""
_TRANSPORT_WORDS: Final = frozenset({"url", "command", "cmd", "args", "type", "uri"})
_BUILT_IN: Final = ("builtin", "platform", "frontend", "inline_python")
"""Types of Goose's extensions that are no MCP servers of their own."""
_OPENCODE_VARIABLE: Final = re.compile(r"(?<!\$)\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE_VARIABLE: Final = re.compile(r"\$[A-Z_][A-Z0-9_]*")
_FOREIGN_FORM: Final = re.compile(r"\$\([^)]*\)|\{file:[^}]*\}|%[A-Z_]+%")
"""What Crush, opencode and Windows replace."""
_ADDRESS_TYPES: Final = frozenset({"remote", "mcp", "url"})
"""Types that say no more than that there is an address (opencode, OpenAI's API, Anthropic's API)."""
_BEARERS: Final = (
    ("bearer_token_env_var", "Bearer ${env:%s}"),  # Codex
    ("bearer_token", "Bearer %s"),
    ("bearerToken", "Bearer %s"),
    ("authorization_token", "Bearer %s"),  # Anthropic's API
)
"""Keys that hold a credential, and the header that carries it."""
_SWITCHES: Final = {"true": True, "false": False}


class Notice(NamedTuple):
    """Something in an entry that is ignored, or read in another way than it is written."""

    key: str
    reason: str


class Translation(NamedTuple):
    """An entry in this project's own keys, and what to tell its author."""

    entry: dict[str, Any]
    notices: list[Notice]


def translate(entry: Mapping[str, Any]) -> Translation:
    """Return an entry in this project's own keys. What has a wrong type stays as it is, for the reader to report."""
    translation = Translation(dict(entry), [])
    _unwrap(translation)
    _rename(translation)
    _drop_empty(translation)
    _split_command(translation)
    _read_values(translation)
    _read_credentials(translation)
    _read_sources(translation)
    _read_tools(translation)
    _read_foreign_variables(translation)
    _report_the_rest(translation)
    return translation


def sections_of(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the parts of a file that hold servers, each with its dotted path, in the order in which they are read."""
    found: list[tuple[str, Any]] = [(key, document[key]) for key in SECTIONS if key in document]
    found += [
        (key, document[key]) for key in document if key.endswith(".mcpServers") and key not in SECTIONS
    ]  # Cody
    inner = document.get("mcp")  # VS Code's settings.json; opencode; in Gemini's settings.json something else
    if isinstance(inner, dict):
        if isinstance(inner.get("servers"), dict):
            found.append(("mcp.servers", inner["servers"]))
        else:
            entries = {name: entry for name, entry in inner.items() if _is_entry(entry)}
            found += [("mcp", entries)] if entries else []
    extensions = document.get("extensions")  # Goose
    if isinstance(extensions, dict):
        entries = {name: entry for name, entry in extensions.items() if _is_extension(entry)}
        found += [("extensions", entries)] if entries else []
    if not found:  # Augment
        nested = {key: value for key, value in document.items() if isinstance(value, dict)}
        found += [(f"{k}.mcpServers", v["mcpServers"]) for k, v in nested.items() if "mcpServers" in v]
    if not found and document and all(_is_entry(entry) for entry in document.values()):
        found.append(("", dict(document)))
    return found


class Project(NamedTuple):
    """The servers of one project in a file of Claude Code.

    Attributes:
        folder: the project.
        key: where its servers are in the file.
        servers: entries by name.
    """

    folder: str
    key: str
    servers: dict[str, Any]


def projects_of(document: Mapping[str, Any]) -> list[Project]:
    """Return the projects of a file that have servers; one that the user switched off there is disabled."""
    projects = document.get("projects")
    found = []
    for folder, project in projects.items() if isinstance(projects, dict) else ():
        servers = project.get("mcpServers") if isinstance(project, dict) else None
        if not isinstance(servers, dict) or not servers:
            continue
        off = project.get("disabledMcpServers")
        for name in off if isinstance(off, list) else ():
            if isinstance(name, str) and isinstance(servers.get(name), dict):
                servers = {**servers, name: {**servers[name], "disabled": True}}
        found.append(Project(str(folder), f"projects.{folder}.mcpServers", servers))
    return found


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and not _TRANSPORT_WORDS.isdisjoint(map(_own_name, value))


def _is_extension(value: Any) -> bool:
    """Return whether an extension of Goose is a server, not a part of Goose."""
    return _is_entry(value) and value.get("type") not in _BUILT_IN


def _own_name(key: str) -> str:
    return ALIASES.get(key, key)


# --- shapes -------------------------------------------------------------------------------------------


def _unwrap(translation: Translation) -> None:
    """Move the members of objects that other programs nest into the entry itself."""
    entry = translation.entry
    for key in (
        "transport",
        "config",
        "params",
    ):  # Continue before 2025, Goose before 1.0, OpenAI's Agents SDK
        nested = entry.get(key)
        if isinstance(nested, dict) and _is_entry(nested):
            del entry[key]
            for name, value in nested.items():
                entry.setdefault(name, value)
    for key in ("requestOptions", "requestInit"):  # Continue, Mastra
        options = entry.get(key)
        if not isinstance(options, dict):
            continue
        del entry[key]
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


def _drop_empty(translation: Translation) -> None:
    """Leave out an empty ``url`` beside a ``command``, as forms write it, and the like."""
    entry, notices = translation
    given = [key for key in _WAYS if not _is_empty(entry.get(key))]
    if len(given) == 1:
        for key in _WAYS:
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
        entry["command"], entry["args"] = (
            command[0],
            [*command[1:], *(rest if isinstance(rest, list) else [])],
        )
    elif isinstance(command, str) and not entry.get("args"):
        words = _words(command)
        if len(words) > 1 and "/" not in words[0] and "\\" not in command:
            entry["command"], entry["args"] = words[0], words[1:]
            notices.append(
                Notice(
                    "command", f'read as the program {words[0]!r} with arguments; write those under "args"'
                )
            )
    if isinstance(args := entry.get("args"), str):
        entry["args"] = _words(args)
        notices.append(Notice("args", "split at blanks; write a list of strings"))


def _read_values(translation: Translation) -> None:
    """Read values of another type that mean one thing."""
    entry, notices = translation
    for key in ("disabled", "enabled"):
        value = entry.get(key)
        if isinstance(value, str) and value.strip().lower() in _SWITCHES:
            entry[key] = _SWITCHES[value.strip().lower()]
            notices.append(
                Notice(key, f"{value!r} was read as {value.strip().lower()}; write it without quotes")
            )
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
    """Read headers that are given by other keys (Codex)."""
    entry = translation.entry
    headers: dict[str, Any] = {}
    for key, form in _BEARERS:
        if isinstance(entry.get(key), str):
            headers["Authorization"] = form % entry.pop(key)
    names = entry.get("env_http_headers")
    if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()):
        headers |= {header: f"${{env:{name}}}" for header, name in entry.pop("env_http_headers").items()}
    if headers:
        written = entry.get("headers")
        entry["headers"] = {**headers, **(written if isinstance(written, dict) else {})}


def _read_sources(translation: Translation) -> None:
    """Point out variables that another program takes from elsewhere than its own environment (Codex)."""
    names = translation.entry.get("env_vars")
    for index, item in enumerate(names if isinstance(names, list) else []):
        source = item.get("source") if isinstance(item, dict) else None
        if source not in (None, "local"):
            reason = (
                f"the source {source!r} is not supported; the variable is taken from Jupyter's environment"
            )
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
    """Read ``{env:NAME}`` (opencode), and point out ``$NAME`` (Gemini CLI) and the like, which may be values."""
    entry, notices = translation
    for key in ("env", "headers"):
        values = entry.get(key)
        if not isinstance(values, dict):
            continue
        entry[key] = {name: _own_variables(value) for name, value in values.items()}
        for name, value in values.items():
            if isinstance(value, str) and (_BARE_VARIABLE.fullmatch(value) or _FOREIGN_FORM.search(value)):
                notices.append(
                    Notice(f"{key}.{name}", f"{value!r} is used literally; for a variable write ${{NAME}}")
                )
    if isinstance(entry.get("url"), str):
        entry["url"] = _own_variables(entry["url"])


def _own_variables(value: Any) -> Any:
    return _OPENCODE_VARIABLE.sub(r"${env:\1}", value) if isinstance(value, str) else value


# --- what is left -------------------------------------------------------------------------------------


def _report_the_rest(translation: Translation) -> None:
    for key in sorted(str(key) for key in translation.entry if key not in OWN_KEYS | WITHOUT_MEANING):
        translation.notices.append(Notice(key, INSTEAD.get(key) or _unknown(key)))


def _unknown(key: str) -> str:
    folded = {own.lower(): own for own in (*OWN_KEYS, *ALIASES)}
    close = difflib.get_close_matches(key.lower(), folded, 1, 0.75) if len(key) <= 40 else []
    return (
        f'unknown key, ignored; did you mean "{_own_name(folded[close[0]])}"?'
        if close
        else "unknown key, ignored"
    )
