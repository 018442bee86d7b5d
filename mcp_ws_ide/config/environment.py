"""Environment variables: those a server process receives, those an entry refers to, and where its program is found.

Knows nothing of files or entries.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mcp_ws_ide.config.spec import ServerSpec

INHERITED: Final = (
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR", "TZ", "LC_*",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "PIP_CERT", "DENO_CERT", "NODE_USE_SYSTEM_CA",
    "*_CA_BUNDLE", "*_CA_CERTS", "*_CA_CERTS_FILE", "*_CAINFO", "*_CAFILE",
)  # fmt: skip
"""Names of the variables that every server process gets: no credentials, but what programs need in order to find their
files, the network and the certificates of a company. ``*`` stands for any characters, and case is ignored."""
OFTEN_NEEDED: Final = (
    "*_CERT", "*_CERTS", "*_CERT_*", "*_CA_*", "*_CAFILE", "*CAINFO", "*_PROXY", "*_INDEX*", "*_REGISTRY", "*_MIRROR*",
    "UV_*", "PIP_*", "NPM_CONFIG_*", "NODE_*", "YARN_*", "PNPM_*", "BUN_*", "DENO_*", "CONDA_*", "NVM_*",
    "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_*", "JAVA_HOME", "GOPATH", "GOPROXY", "CARGO_HOME",
    "XDG_*", "DBUS_*", "DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK", "DOCKER_*", "CONTAINER_HOST", "KUBECONFIG",
    "AWS_*", "AZURE_*", "GOOGLE_*", "CLOUDSDK_*", "GITHUB_*", "GH_*", "GIT_*", "HF_*", "OPENAI_*", "ANTHROPIC_*",
    "*_API_KEY", "*_TOKEN", "DATABASE_URL", "PG*", "*_HOST", "*_ENDPOINT",
)  # fmt: skip
"""Names of variables that a server may need and does not get, as patterns: a failed start points to them."""
PRIVATE: Final = ("JUPYTER*", "JPY_*", "MCP_WS_*")
"""Names of Jupyter's own variables, some of them credentials: no pattern passes them on, only the exact name does."""
MAX_NAMED: Final = 12
"""Variables that a hint names."""
_VARIABLE: Final = re.compile(r"(\$?)\$\{(\{[^{}]*+\}(?=\})|[^}]*+)(?:(\})|\Z)")
"""``$${`` is the escape. Without a closing brace it matches the rest of the text, which keeps the time linear."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OTHER_CAUSE: Final = re.compile(
    r"exited with code 0\b|"
    r"\b(?:Attribute|Assertion|Import|Indentation|ModuleNotFound|Name|Recursion|Reference|Syntax|Type)Error\b"
)
"""Tells of a failed start that a fault of the program, or its regular end, is the cause; of Python and JavaScript."""
_VSCODE_VARIABLES: Final = frozenset(
    {"cwd", "file", "fileBasename", "fileDirname", "fileWorkspaceFolder", "relativeFile", "workspaceRoot"}
)
"""Variables of VS Code that have no value here. Their reasons say what they are."""


class Variables(NamedTuple):
    """The values of the variables in an entry.

    Attributes:
        environ: environment variables. They precede a variable of editors with the same name.
        editor: variables of editors (:func:`~mcp_ws_ide.config.workspace.editor_variables`).
    """

    environ: Mapping[str, str]
    editor: Mapping[str, str]

    def over(self, environ: Mapping[str, str]) -> Variables:
        """Return these variables and, with lower precedence, other environment variables."""
        return Variables({**environ, **self.environ}, self.editor)

    def under(self, environ: Mapping[str, str]) -> Variables:
        """Return these variables and, with higher precedence, other environment variables."""
        return Variables({**self.environ, **environ}, self.editor)


class UnresolvedVariableError(Exception):
    """A variable in an entry has no value here; the message says which one and what to write instead."""


def child_environment(spec: ServerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment of a server process: what is inherited, and what the entry lists and sets.

    Nothing else of the gateway's own environment (``environ``) is passed on, since it holds credentials.
    """
    return {**inherited(environ, spec.env_vars), **spec.env}


def inherited(environ: Mapping[str, str], listed: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of ``environ`` that a child process gets: those that all processes get, and ``listed`` ones.

    Args:
        listed: names, in which ``*`` stands for any characters.
    """
    exact = set(listed)
    always, wanted = _matcher(INHERITED), _matcher(exact)
    private = _matcher(PRIVATE)
    return {
        name: value
        for name, value in environ.items()
        if name in exact or always(name) or (wanted(name) and not private(name))
    }


def withheld(environ: Mapping[str, str], child: Mapping[str, str], output: str = "") -> list[str]:
    """Return the names of variables that a child process may have needed and did not get.

    First those that its output names, then those that programs often need, in the order of :data:`OFTEN_NEEDED`.

    Args:
        child: its environment.
        output: what it wrote to stderr before it failed.
    """
    private, named = _matcher(PRIVATE), set(_NAME.findall(output))
    often = [_matcher([pattern]) for pattern in OFTEN_NEEDED]

    def rank(name: str) -> int:
        if name in named:
            return -1
        return next((index for index, matches in enumerate(often) if matches(name)), len(often))

    missing = sorted((rank(name), name) for name in environ if name not in child and not private(name))
    return [name for place, name in missing if place < len(often)]


def hint_for(spec: ServerSpec, environ: Mapping[str, str], output: str) -> str:
    """Return what to tell the user about variables when a server's process failed to start; ``""`` if nothing.

    Nothing if the failure has another cause, unless the process names a variable that it did not get.

    Args:
        environ: the gateway's own environment.
        output: the reason of the failure, and what the process wrote to stderr.
    """
    if spec.kind != "stdio":
        return ""
    names = withheld(environ, child_environment(spec, environ), output)
    if _OTHER_CAUSE.search(output) and not set(names).intersection(_NAME.findall(output)):
        return ""
    return hint(names)


def hint(names: Sequence[str]) -> str:
    """Return what to tell the user about variables that a failed process did not get; ``""`` if there are none."""
    if not names:
        return ""
    shown = ", ".join(names[:MAX_NAMED]) + (
        f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    )
    return f'it did not get these variables: {shown}; list those it needs under "env_vars" in its entry'


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether a name matches one of the patterns; case is ignored."""
    return _compiled(tuple(patterns))


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    expression = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    matches = re.compile(expression or r"(?!)", re.IGNORECASE).fullmatch
    return lambda name: matches(name) is not None


def find_program(command: str, environment: Mapping[str, str]) -> str | None:
    """Return the path of a program, or None.

    Jupyter's own ``bin`` directory comes first, so that servers installed in its environment are found.
    """
    if os.sep in command:
        return command
    path = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    return shutil.which(command, path=path)


def substitute(value: Any, variables: Variables) -> Any:
    """Return ``value`` (a text, tuple or dict, nested) with its variables (``${env:NAME:-default}``) filled in.

    Raises:
        UnresolvedVariableError: a variable has no value.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, variables), value)
    if isinstance(value, tuple):
        return tuple(substitute(item, variables) for item in value)
    if isinstance(value, dict):
        return {key: substitute(item, variables) for key, item in value.items()}
    return value


def substitute_known(text: str, variables: Variables) -> tuple[str, list[str]]:
    """Return ``text`` with the variables filled in that have a value, and why each of the others has none.

    Those stay as written: they may be the program's own.
    """
    reasons: list[str] = []

    def value(match: re.Match[str]) -> str:
        try:
            return _value(match, variables)
        except UnresolvedVariableError as reason:
            reasons.append(str(reason))
            return match[0]

    return _VARIABLE.sub(value, text), reasons


def substitute_editors(value: Any, variables: Variables) -> Any:
    """Return ``value`` (a text or a tuple of texts) with the variables of editors filled in, and the rest as written.

    Paths may be shown; environment variables may be secret.
    """
    if isinstance(value, tuple):
        return tuple(substitute_editors(item, variables) for item in value)
    if not isinstance(value, str):
        return value

    def shown(match: re.Match[str]) -> str:
        name = match[2]
        if match[1] or not match[3] or name in variables.environ:
            return match[0]
        return variables.editor.get(name, match[0])

    return _VARIABLE.sub(shown, value)


def variables_in(text: str) -> list[tuple[str, int, int]]:
    """Return the variables in a text: the name of each (``""`` for an escape), and its start and end offsets."""
    return [
        ("" if match[1] else _split(match[2])[0], match.start(), match.end())
        for match in _VARIABLE.finditer(text)
    ]


def _value(match: re.Match[str], variables: Variables) -> str:
    if not match[3]:  # no closing brace
        return match[0]
    return match[0][1:] if match[1] else _resolve(match[2], variables)  # the escape is one dollar sign less


def _split(expression: str) -> tuple[str, str | None]:
    """Return name and default of what stands between the braces; None without a default."""
    name, separator, default = expression.removeprefix("env:").partition(":-")
    return name, default if separator else None


def _resolve(expression: str, variables: Variables) -> str:
    written = f"${{{expression}}}"
    if expression.startswith(("input:", "user_config.")):  # VS Code, the registry; bundles
        raise UnresolvedVariableError(
            f"{written!r} asks for a value, which the gateway cannot do; write the value, or ${{env:NAME}}"
        )
    if expression.startswith("{") and expression.endswith("}"):  # ${{ secrets.NAME }}
        raise UnresolvedVariableError(f"{written!r} is a variable of Continue; use ${{env:NAME}}")
    name, default = _split(expression)
    if not _NAME.fullmatch(name) and expression not in variables.editor:
        raise UnresolvedVariableError(
            f"{written!r} is not a variable of the gateway; use ${{env:NAME}} or ${{NAME:-default}}, "
            "or $${…} for literal text"
        )
    if default is not None and "${" in default:
        raise UnresolvedVariableError(f"{written!r} has a variable inside a default, which is not supported")
    if name in variables.environ:
        return variables.environ[name]
    if name in variables.editor and not expression.startswith("env:"):
        return variables.editor[name]
    if default is not None:
        return default
    cause = " (it is a variable of VS Code; write the path)" if name in _VSCODE_VARIABLES else ""
    raise UnresolvedVariableError(f"the environment variable {name!r} is not set{cause}")
