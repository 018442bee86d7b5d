"""What an entry would run, for people to review before they consent to it.

Shows an entry as written, with placeholders where values are hidden. Knows nothing of files or consents.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.environment import child_environment, find_program
from mcp_ws_ide.config.secrets import censor_value, censored_spec
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.observe.tap_record import HIDDEN

_CODE_VARIABLE: Final = re.compile(
    r"(LD|DYLD|GIT|UV|PIP|PIPX|NPM_CONFIG|YARN|PNPM|BUN|DENO|COREPACK|NVM|CONDA|MAMBA|PIXI|POETRY|HATCH|BUNDLE|GEM|CARGO|RUSTUP"
    r"|RUSTC|DOTNET|NUGET|DOCKER|CONTAINER|PODMAN|NIX|XDG|BASH_FUNC|MAVEN|GRADLE|JBANG|PHP|JULIA|PLAYWRIGHT|PUPPETEER)_.*"
    r"|PYTHON.*|PERL5.*|RUBY(OPT|LIB)|RUSTC|NODE_(OPTIONS|PATH)|ELECTRON_RUN_AS_NODE|PHPRC|VIRTUAL_ENV|GCONV_PATH"
    r"|ENV|BASH_ENV|ZDOTDIR|SHELL(OPTS)?|BASHOPTS|IFS|PATH|PATHEXT|CDPATH|HOME|EDITOR|VISUAL|PAGER|BROWSER|SSH_ASKPASS"
    r"|_?JAVA_(TOOL_)?OPTIONS|JDK_JAVA_OPTIONS|JAVA_HOME|CLASSPATH|LUA_(PATH|CPATH|INIT).*|R_(PROFILE|ENVIRON|LIBS).*"
    r"|GO(FLAGS|PROXY|PRIVATE|NOSUMDB|SUMDB|INSECURE|TOOLCHAIN|ROOT|PATH|ENV)|OPENSSL_(CONF|MODULES|ENGINES)",
    re.IGNORECASE,
)
"""Variables that decide which code a program runs, or from where a launcher (uvx, npx, …) downloads it. Case is
ignored: npm and others read their own in any case."""
_NETWORK_VARIABLE: Final = re.compile(
    r".*_PROXY|SSL_CERT_.*|SSLKEYLOGFILE|.*_CA_(BUNDLE|CERTS?|FILE|PATH)|NODE_(TLS_.*|USE_.*_CA)|RES_OPTIONS|HOSTALIASES|LOCALDOMAIN",
    re.IGNORECASE,
)
"""Variables that decide which proxy a program uses, or which peers it trusts on the network."""


def launch_view(entry: Mapping[str, Any], spec: ServerSpec) -> dict[str, Any]:
    """Return what an entry would run, as the page shows it.

    ``program`` is the file that would be started, or None; ``values`` holds what may be seen of the variables;
    ``notes`` point out what is easily overlooked.

    Args:
        entry: the entry as the browser sent it, secrets masked.
        spec: the server it describes.
    """
    entry = translate(entry).entry
    environment = child_environment(spec, os.environ)
    usable = spec.command and spec.disabled_reason is None
    censored = censored_spec(spec)
    args = entry.get("args")
    settings = entry.get("mcp_ws")
    return {
        "kind": spec.kind,
        "command": _shown(entry.get("command"), censored.get("command")),
        "program": find_program(spec.command or "", environment) if usable else None,
        "args": [_text(arg) for arg in args or ()] if _are_texts(args) else censored.get("args", []),
        "cwd": censored.get("cwd"),
        "env": sorted(spec.env),
        "env_vars": list(spec.env_vars),
        "values": _values(entry.get("env"), spec),
        "url": _shown(entry.get("url"), censored.get("url")),
        "headers": sorted(spec.headers),
        "python": censored.get("python"),
        "group": censored.get("group", []),
        "ca_file": spec.ca_file,
        "oauth": _oauth(settings.get("oauth") if isinstance(settings, dict) else None, spec),
        "notes": _notes(entry, spec),
    }


def _notes(entry: Mapping[str, Any], spec: ServerSpec) -> list[str]:
    hidden = [str(index + 1) for index, arg in enumerate(entry.get("args") or ()) if isinstance(arg, dict)]
    notes = [
        f"{name} changes which code the program runs, or from where it is downloaded"
        for name in spec.env
        if _CODE_VARIABLE.fullmatch(name)
    ]
    notes += [
        f"{name} changes which proxy the program uses, or which peers it trusts"
        for name in spec.env
        if _NETWORK_VARIABLE.fullmatch(name)
    ]
    if spec.env_vars:
        notes.append(f"it gets these variables of Jupyter, too: {', '.join(spec.env_vars)}")
    if hidden:
        notes.append(f"arguments partly hidden here: {', '.join(hidden)}; the file has them in full")
    if spec.kind == "python":
        notes.append("it is imported into Jupyter's own process")
    if spec.ca_file is not None:
        notes.append(f"it trusts only the certificates in {spec.ca_file}")
    return notes


def _values(given: Any, spec: ServerSpec) -> dict[str, str]:
    """Return the values of variables that may be seen: those just typed in the browser, unless they are secrets."""
    if isinstance(given, list):
        given = {item.get("name"): item.get("value") for item in given if isinstance(item, dict)}
    values = given if isinstance(given, dict) else {}
    return {name: _value(name, values.get(name)) for name in sorted(spec.env)}


def _value(name: str, value: Any) -> str:
    return HIDDEN if value is None or isinstance(value, dict) else censor_value(name, str(value))


def _oauth(given: Any, spec: ServerSpec) -> dict[str, str] | None:
    """Return what may be seen of the OAuth settings."""
    if spec.oauth is None:
        return None
    values = given if isinstance(given, dict) else {}
    return {
        key: HIDDEN if key == "client_secret" else _text(values.get(key)) or HIDDEN
        for key in sorted(spec.oauth)
    }


def _shown(value: Any, censored: str | None) -> str | None:
    """Return the text that the browser has; if all of it is masked there, ``censored``."""
    if isinstance(value, str) or (isinstance(value, dict) and "shown" in value):
        return _text(value)
    return censored


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, (str, dict)) for item in value)


def _text(value: Any) -> str | None:
    """Return a text, or what a placeholder shows of it."""
    if isinstance(value, dict):
        return str(value.get("shown", HIDDEN))
    return value if isinstance(value, str) else None
