"""Environment variables: those a server process receives, those an entry refers to, and where its program is found.

Knows nothing of files or entries.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Final

from mcp_ws_ide.config.spec import ServerSpec

_INHERITED: Final = frozenset({"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR"})
_INHERITED_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"})
"""In lower case; programs read either case."""
_VARIABLE: Final = re.compile(r"\$\{([^}]*+)(?:(\})|\Z)")
"""Without a closing brace it matches the rest of the text, which keeps the time linear."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VSCODE_VARIABLES: Final = frozenset(
    {"workspaceFolder", "workspaceFolderBasename", "userHome", "pathSeparator", "cwd"}
)


class UnresolvedVariable(Exception):
    """A variable in an entry has no value here; the message says which one and what to write instead."""


def child_environment(spec: ServerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment of a server process: a few harmless variables, and those configured.

    Nothing else of the gateway's own environment (``environ``) is passed on, since it holds credentials.
    """
    inherited = {
        name: value
        for name, value in environ.items()
        if name in _INHERITED or name.startswith("LC_") or name.lower() in _INHERITED_PROXIES
    }
    return {**inherited, **spec.env}


def find_program(command: str, environment: Mapping[str, str]) -> str | None:
    """Return the path of a program, or None.

    Jupyter's own ``bin`` directory comes first, so that servers installed in its environment are found.
    """
    if os.sep in command:
        return command
    path = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    return shutil.which(command, path=path)


def substitute(value: Any, environ: Mapping[str, str]) -> Any:
    """Return ``value`` (a text, tuple or dict, nested) with ``${NAME}`` and ``${env:NAME:-default}`` filled in.

    Raises:
        UnresolvedVariable: a variable has no value.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _resolve(match[1], environ) if match[2] else match[0], value)
    if isinstance(value, tuple):
        return tuple(substitute(item, environ) for item in value)
    if isinstance(value, dict):
        return {key: substitute(item, environ) for key, item in value.items()}
    return value


def variables_in(text: str) -> list[tuple[str, int, int]]:
    """Return the variables in a text: the name of each, and its start and end offsets."""
    return [(_split(match[1])[0], match.start(), match.end()) for match in _VARIABLE.finditer(text)]


def _split(expression: str) -> tuple[str, str | None]:
    """Return name and default of what stands between the braces; None without a default."""
    name, separator, default = expression.removeprefix("env:").partition(":-")
    return name, default if separator else None


def _resolve(expression: str, environ: Mapping[str, str]) -> str:
    written = f"${{{expression}}}"
    if expression.startswith("input:"):
        raise UnresolvedVariable(f"{written!r} asks for input, which only VS Code can do; use ${{env:NAME}}")
    name, default = _split(expression)
    if not _NAME.fullmatch(name):
        raise UnresolvedVariable(
            f"{written!r} is not an environment variable; use ${{env:NAME}} or ${{NAME:-default}}"
        )
    if default is not None and "${" in default:
        raise UnresolvedVariable(f"{written!r} has a variable inside a default, which is not supported")
    if name in environ:
        return environ[name]
    if default is not None:
        return default
    hint = " (it is a variable of VS Code; write the path)" if name in _VSCODE_VARIABLES else ""
    raise UnresolvedVariable(f"the environment variable {name!r} is not set{hint}")
