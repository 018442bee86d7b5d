"""Descriptions of one server that others publish: manifests of MCP bundles, and ``server.json`` of the MCP registry.

Owns how such a description becomes an entry. Formats: ``MANIFEST.md`` of MCPB (once DXT), versions 0.1 to 0.4, and the
registry's server.json from 2025-07 to 2025-12, in both spellings of its keys. Knows nothing of files; an ``input`` that
the author leaves to the user becomes a variable that has no value here (:mod:`.environment`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mcp_ws_ide.config.dialect_keys import ALIASES, WAYS, Notice

_DESCRIPTION: Final = frozenset(
    {"server", "packages", "remotes", "mcp_config", "entry_point", "manifest_version", "dxt_version", "user_config",
     "compatibility", "prompts", "tools_generated", "prompts_generated", "author", "repository", "homepage",
     "documentation", "support", "screenshots", "localization", "long_description", "keywords", "license",
     "privacy_policies", "_meta", "status", "websiteUrl", "website_url", "version_detail"}
)  # fmt: skip
"""Keys of a description that are not kept in the entry."""
_FOLDER: Final = "${__dirname}"
_USER_FOLDERS: Final = {"DESKTOP": "Desktop", "DOCUMENTS": "Documents", "DOWNLOADS": "Downloads"}
"""Variables of a bundle, and the folder in the user's home directory that each means."""
_USER_FOLDER: Final = re.compile(rf"\$\{{({'|'.join(_USER_FOLDERS)})\}}")
_OPTION: Final = re.compile(r"\$\{user_config\.([^{}]*)\}")
_INPUT: Final = re.compile(r"(?<!\$)\{([^{}]+)\}")
_TAKES_A_VALUE: Final = ("valueHint", "format", "choices", "placeholder", "variables")
"""Members of a named argument that only one with a value has."""
_UNDERSCORED: Final = re.compile(r"(?<=[a-z])([A-Z])")


class _Runner(NamedTuple):
    """How a package of one registry is run without being installed.

    Attributes:
        command: the program.
        options: its arguments before the package.
        version: what separates a package from its version.
        rest: its arguments between the package and those of the package.
        host: the registry that the program asks; "" if the package's name contains it.
    """

    command: str
    options: tuple[str, ...]
    version: str
    rest: tuple[str, ...]
    host: str


_CONTAINER: Final = _Runner("docker", ("run", "-i", "--rm"), ":", (), "")
_RUNNERS: Final[Mapping[str, _Runner]] = {
    "npm": _Runner("npx", ("-y",), "@", (), "registry.npmjs.org"),
    "pypi": _Runner("uvx", (), "==", (), "pypi.org"),
    "nuget": _Runner("dnx", (), "@", ("--yes", "--"), "api.nuget.org"),
    "oci": _CONTAINER,
    "docker": _CONTAINER,
}
"""The runner for each ``registryType``."""
_SAME_OPTIONS: Final = {"npx": "npm", "uvx": "pypi", "dnx": "nuget", "docker": "oci", "podman": "oci"}
"""Values of ``runtimeHint`` that replace the runner's command, and the type of registry whose options each takes."""


def is_manifest(entry: Mapping[str, Any]) -> bool:
    """Return whether an object describes a server as a bundle or the registry does, and not as an entry."""
    if any(ALIASES.get(key, key) in WAYS for key in entry):  # it says itself how its server is reached
        return False
    return _bundle(entry) is not None or _listing(entry) is not None


def manifest_name(document: Mapping[str, Any]) -> str | None:
    """Return the name of the server that a document describes; None if it describes none, or has no name."""
    if not is_manifest(document):
        return None
    inner = document.get("server")
    names = (document.get("name"), inner.get("name") if isinstance(inner, dict) else None)
    return next((name for name in names if isinstance(name, str) and name), None)


def read_manifest(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[Notice]]:
    """Return the entry that a description means, and what to tell about it; :func:`is_manifest` must hold.

    What the entry itself says takes precedence over the description.
    """
    own = {key: value for key, value in entry.items() if key not in _DESCRIPTION}
    bundle, listing = _bundle(entry), _listing(entry)
    if bundle is not None:
        if bundle is entry:
            own.pop("type", None)  # the type of program
        described, notices = _read_bundle(bundle, entry.get("user_config"))
    else:
        described, notices = _read_listing(listing or {})
    if isinstance(own.get("tools"), list) and any(isinstance(tool, dict) for tool in own["tools"]):
        del own["tools"]  # a bundle describes its tools
    for key in ("env", "headers"):
        if isinstance(described.get(key), dict) and isinstance(own.get(key), dict):
            own[key] = {**described[key], **own[key]}
    return {**described, **own}, notices


def _bundle(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the part of a manifest that says how to run the server; None if the object is not one of a bundle."""
    for part in (entry.get("server"), entry):
        if isinstance(part, dict) and (isinstance(part.get("mcp_config"), dict) or "entry_point" in part):
            return part
    return None


def _listing(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the registry's description, also out of the answer of its API; None if the object is not one."""
    for part in (entry, entry.get("server")):
        if isinstance(part, dict) and any(isinstance(part.get(key), list) for key in ("packages", "remotes")):
            return part
    return None


# --- bundles -----------------------------------------------------------------------------------------


def _read_bundle(server: Mapping[str, Any], options: Any) -> tuple[dict[str, Any], list[Notice]]:
    config = server.get("mcp_config")
    if not isinstance(config, dict):
        if server.get("type") != "uv":
            reason = 'has no "mcp_config", which says how to start it; write "command" and "args"'
            return {}, [Notice("server", reason)]
        config = {"command": "uv", "args": ["run", "--directory", _FOLDER, server.get("entry_point")]}
    config = _for_this_platform(config)
    defaults = _defaults(options)
    entry: dict[str, Any] = {"cwd": _FOLDER, **config}
    command = config.get("command")
    if isinstance(command, str) and "/" in command and not command.startswith(("/", "~", "${")):
        entry["command"] = f"{_FOLDER}/{command}"
    if isinstance(entry.get("args"), list):
        entry["args"] = [filled for arg in entry["args"] for filled in _filled_argument(arg, defaults)]
    if isinstance(entry.get("env"), dict):
        entry["env"] = {name: _filled(value, defaults) for name, value in entry["env"].items()}
    if isinstance(entry.get("command"), str):
        entry["command"] = _filled(entry["command"], defaults)
    return entry, []


def _for_this_platform(config: Mapping[str, Any]) -> dict[str, Any]:
    overrides = config.get("platform_overrides")
    override = overrides.get(sys.platform) if isinstance(overrides, dict) else None
    merged = {key: value for key, value in config.items() if key != "platform_overrides"}
    for key, value in override.items() if isinstance(override, dict) else ():
        both = key == "env" and isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _defaults(options: Any) -> dict[str, Any]:
    """Return the default of each option that has one."""
    fields = options.items() if isinstance(options, dict) else ()
    return {key: field["default"] for key, field in fields if isinstance(field, dict) and "default" in field}


def _filled_argument(arg: Any, defaults: Mapping[str, Any]) -> list[Any]:
    """Return the arguments that one means: an option with several values becomes as many."""
    option = _OPTION.fullmatch(arg) if isinstance(arg, str) else None
    values = defaults.get(option[1]) if option else None
    return [_filled(value, {}) for value in values] if isinstance(values, list) else [_filled(arg, defaults)]


def _filled(value: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a value with the defaults of options filled in, and folders as this project writes them."""
    if not isinstance(value, str):
        return value
    text = _OPTION.sub(lambda match: _text(defaults.get(match[1])) or match[0], value)
    return _USER_FOLDER.sub(lambda match: f"${{userHome}}/{_USER_FOLDERS[match[1]]}", text)


# --- the registry ------------------------------------------------------------------------------------


def _read_listing(listing: Mapping[str, Any]) -> tuple[dict[str, Any], list[Notice]]:
    """Return an entry for the first package that can be run, or for the first address."""
    packages, remotes = _objects(listing, "packages"), _objects(listing, "remotes")
    refused = {key: _why_not(package) for key, package in packages.items()}
    runnable = {key: package for key, package in packages.items() if not refused[key]}
    addresses = {key: remote for key, remote in remotes.items() if isinstance(remote.get("url"), str)}
    if not runnable and not addresses:
        return {}, [Notice(key, reason) for key, reason in refused.items()]
    used = next(iter(runnable or addresses))
    others = ", ".join(key for key in (*packages, *remotes) if key != used)
    notices = [Notice(used, f"this is how the server is reached; not used: {others}")] if others else []
    return _run(packages[used]) if runnable else _reach(remotes[used]), notices


def _objects(listing: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Return the objects of a list, by their paths."""
    items = _member(listing, key)
    numbered = enumerate(items) if isinstance(items, list) else ()
    return {f"{key}[{index}]": item for index, item in numbered if isinstance(item, dict)}


def _why_not(package: Mapping[str, Any]) -> str:
    """Return why a package cannot be run, and what to do instead; "" if it can."""
    kind, base = _registry_type(package), _member(package, "registryBaseUrl")
    transport = package.get("transport")
    if kind in ("mcpb", "dxt"):
        return "is a bundle; download and unpack it, and name its manifest.json in server_files"
    runner = _RUNNERS.get(kind)
    if runner is None:
        return (
            f'no program runs packages of type {kind!r} directly; install it, and write "command" and "args"'
        )
    if not _identifier(package):
        return 'needs an "identifier"'
    if isinstance(transport, dict) and transport.get("type") not in (None, "stdio"):
        return 'listens at an address; start it yourself, and write that address as "url"'
    if runner.host and isinstance(base, str) and _host(base) not in ("", runner.host):
        return f'is in another registry, {_host(base)}; write "command" and "args" that take it from there'
    return ""


def _run(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a package that :data:`_RUNNERS` can run."""
    kind, hint = _registry_type(package), _member(package, "runtimeHint")
    runner = _RUNNERS[kind]
    given = _arguments(package, "runtimeArguments")
    if isinstance(hint, str) and _SAME_OPTIONS.get(hint) in (kind, "oci" if kind == "docker" else None):
        runner = runner._replace(command=hint)
    elif isinstance(hint, str) and hint and given:
        runner = runner._replace(command=hint, options=(), rest=())
    missing = [option for option in runner.options if option not in given]
    first = given[:1] if given[:1] == list(runner.options[:1]) else []
    env, passed_on = _environment(package)
    options = [*first, *missing, *given[len(first) :]]
    if runner.version == ":":
        options += [part for name in (*env, *passed_on) for part in ("-e", name)]
    args = [*options, _versioned(package, runner), *runner.rest, *_arguments(package, "packageArguments")]
    entry: dict[str, Any] = {"type": "stdio", "command": runner.command, "args": args}
    return entry | ({"env": env} if env else {}) | ({"env_vars": passed_on} if passed_on else {})


def _versioned(package: Mapping[str, Any], runner: _Runner) -> str:
    name, version = _identifier(package), package.get("version")
    base = _member(package, "registryBaseUrl")
    if runner.version == ":":
        host = _host(base) if isinstance(base, str) else ""
        if host not in ("", "docker.io", "hub.docker.com") and not name.startswith(f"{host}/"):
            name = f"{host}/{name}"
        if any(separator in name.rpartition("/")[2] for separator in ":@"):
            return name
    return f"{name}{runner.version}{version}" if isinstance(version, str) and version else name


def _reach(remote: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of an address."""
    headers = {name: _value(field, name) for name, field in _named(remote.get("headers"))}
    return {
        "type": remote.get("type") or _member(remote, "transportType"),
        "url": _value({**remote, "value": remote["url"]}, "url"),
        "headers": {name: value for name, value in headers.items() if value is not None},
    }


def _environment(package: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the variables to set, and the names of those to pass on if Jupyter has them.

    What the author leaves to the user is taken from Jupyter's variable of that name.
    """
    env: dict[str, str] = {}
    passed_on = []
    for name, field in _named(_member(package, "environmentVariables")):
        default = _text(field.get("default"))
        if "value" in field:
            env[name] = _value(field, name) or ""
        elif default is not None:
            env[name] = default if "}" in default else f"${{{name}:-{default}}}"
        elif _is_required(field):
            env[name] = f"${{{name}}}"
        else:
            passed_on.append(name)
    return env, passed_on


def _arguments(package: Mapping[str, Any], key: str) -> list[str]:
    args: list[str] = []
    for field in _objects(package, key).values():
        name = field.get("name")
        value = _value(field, str(name or _member(field, "valueHint") or "value"))
        if isinstance(name, str) and name and (value is not None or _is_switch(field)):
            args += [name] if value is None else [f"{name}{value}"] if name.endswith("=") else [name, value]
        elif value is not None:
            args.append(value)
    return args


def _is_switch(field: Mapping[str, Any]) -> bool:
    """Return whether a named argument stands for itself: nothing says that it takes a value."""
    return not any(_member(field, key) for key in _TAKES_A_VALUE)


def _named(fields: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield the fields of a list that have a name, with it."""
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict) and isinstance(field.get("name"), str) and field["name"]:
            yield field["name"], field


def _value(field: Mapping[str, Any], name: str) -> str | None:
    """Return the value of a field: as given, by default, or a variable that asks for it; None if it may be left out."""
    text = _text(field.get("value"))
    if text is None:
        text = _text(field.get("default"))
        return f"${{input:{name}}}" if text is None and _is_required(field) else text
    variables = field.get("variables")

    def filled(match: re.Match[str]) -> str:
        variable = variables.get(match[1]) if isinstance(variables, dict) else None
        if not isinstance(variable, dict):
            return match[0]
        given = _text(variable.get("value")) or _text(variable.get("default"))
        return f"${{input:{match[1]}}}" if given is None else given

    return _INPUT.sub(filled, text)


def _is_required(field: Mapping[str, Any]) -> bool:
    return _member(field, "isRequired") is True


def _registry_type(package: Mapping[str, Any]) -> str:
    kind = _member(package, "registryType") or package.get("registry_name")
    return kind if isinstance(kind, str) else ""


def _identifier(package: Mapping[str, Any]) -> str:
    name = package.get("identifier") or package.get("name")
    return name if isinstance(name, str) else ""


def _host(base: str) -> str:
    try:
        return urlsplit(base if "://" in base else f"https://{base}").hostname or ""
    except ValueError:
        return base


def _member(field: Mapping[str, Any], key: str) -> Any:
    """Return a member under its name, or as it was spelled before 2025-09 (``registry_type``)."""
    return field[key] if key in field else field.get(_UNDERSCORED.sub(r"_\1", key).lower())


def _text(value: Any) -> str | None:
    """Return a value as text, as JSON has it; None for an object, a list or null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value) if isinstance(value, (str, int, float)) else None
    except ValueError:  # an integer of more digits than Python converts
        return None
