"""Secrets in a configuration: what may be shown of a server, and which values must be hidden everywhere.

Values count as secret by the name beside them or by their form. Every rule takes time linear in the text: no two
parts of a pattern can match the same characters.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_ws_ide.config.environment import inherited, variables_in
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.observe.secret_rules import is_secret_name
from mcp_ws_ide.observe.tap_record import HIDDEN

_SENSITIVE: Final = (
    r"(?:token|secret|passw|pwd|api[_-]?key|access[_-]?key|auth|credential|bearer|cookie|private"
    r"|(?<![a-z])(?:key|pat)(?![a-z]))"
)
_SECRET_OPTION: Final = re.compile(rf"(?i){_SENSITIVE}")
_USERINFO: Final = re.compile(r"(?<=\w://)[^/?#\s]*(?=@)")
_AUTH_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic)\s++\S+")
_KNOWN_FORM: Final = re.compile(r"\b(sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|AKIA|eyJ)[\w.-]{8,}")
_QUERY_NAME: Final = re.compile(r"[?&;]([^=&#?;\s]++)=")
_QUERY_VALUE: Final = re.compile(r"[^&#\s]+")
_MEMBER_NAME: Final = re.compile(r"(?<![\w-])([\w-]++)[\"']?\s*+:\s*+[\"']?(?!//)")
_MEMBER_VALUE: Final = re.compile(r"[^\"',}]+")


def censored_spec(spec: ServerSpec) -> dict[str, Any]:
    """Return what may be shown of a server: variables as written, and names of ``env`` and headers without values."""
    written = {"cwd": spec.cwd, "target": spec.target, "group": spec.group} | dict(spec.written)
    shown: dict[str, Any] = {"kind": spec.kind, "env": sorted(spec.env), "headers": sorted(spec.headers)}
    if spec.command is not None:
        shown["command"] = censor_text(written.get("command", spec.command))
        shown |= {"args": censor_args(written.get("args", spec.args)), "cwd": written["cwd"]}
    if spec.group:
        shown["group"] = list(written["group"])
    if spec.url is not None:
        shown["url"] = censor_text(written.get("url", spec.url))
    if spec.target is not None:
        shown["python"] = written["target"]
    return shown


def censor_args(args: Iterable[str]) -> list[str]:
    """Return command-line arguments with everything that looks like a secret hidden."""
    shown: list[str] = []
    hide_next = False
    for arg in args:
        option, equals, _ = arg.partition("=")
        if hide_next:
            shown.append(HIDDEN)
        elif equals and _SECRET_OPTION.search(option):
            shown.append(f"{option}={HIDDEN}")
        else:
            shown.append(censor_text(arg))
        hide_next = not hide_next and arg.startswith("-") and not equals and bool(_SECRET_OPTION.search(arg))
    return shown


def censor_value(name: str, value: str) -> str:
    """Return the value of a variable, hidden if its name or its form makes it a secret."""
    return HIDDEN if is_secret_name(name) or _SECRET_OPTION.search(name) else censor_text(value)


def censor_text(text: str) -> str:
    """Return a text with the credentials hidden that URLs, header lines and well-known token forms reveal."""
    text = _USERINFO.sub(HIDDEN, text)
    text = _without_values(text, _QUERY_NAME, _QUERY_VALUE)
    text = _AUTH_SCHEME.sub(rf"\g<1> {HIDDEN}", text)
    text = _without_values(text, _MEMBER_NAME, _MEMBER_VALUE)
    return _KNOWN_FORM.sub(rf"\g<1>{HIDDEN}", text)


def _without_values(text: str, name: re.Pattern[str], value: re.Pattern[str]) -> str:
    """Hide the values after secret names. The text after any other name is searched too: values nest."""
    parts, copied, searched = [], 0, 0
    while (match := name.search(text, searched)) is not None:
        searched = match.end()
        if _SECRET_OPTION.search(match[1]) and (secret := value.match(text, searched)) is not None:
            parts += [text[copied:searched], HIDDEN]
            copied = searched = secret.end()
    return "".join([*parts, text[copied:]])


def known_secrets(specs: Iterable[ServerSpec]) -> set[str]:
    """Return the values in a configuration that are secret by their names; a server may repeat them in its output."""
    secrets: set[str] = set()
    for spec in specs:
        secrets.update(_named_values(spec))
        secrets.update(_credentials_in_headers(spec))
        secrets.update(_secret_args(spec))
        secrets.update(secret for secret in _secrets_in_url(spec.url) if secret)
        secrets.update(_values_of_variables(spec))
    return secrets


def _named_values(spec: ServerSpec) -> Iterator[str]:
    passed_on = inherited(os.environ, spec.env_vars) if spec.env_vars else {}
    named = (passed_on, spec.env, spec.headers, spec.oauth or {})
    for name, value in (pair for pairs in named for pair in pairs.items()):
        if _names_secret(name):
            yield value


def _names_secret(name: str) -> bool:
    return is_secret_name(name) or name.lower().endswith(("key", "pat"))


def _credentials_in_headers(spec: ServerSpec) -> Iterator[str]:
    for value in spec.headers.values():
        scheme, _, credential = value.partition(" ")
        if scheme.lower() in ("bearer", "basic", "token"):
            yield credential


def _secret_args(spec: ServerSpec) -> Iterator[str]:
    for arg, shown in zip(spec.args, censor_args(spec.args), strict=True):
        option, _, value = arg.partition("=")
        if shown == HIDDEN:
            yield arg
        elif shown == f"{option}={HIDDEN}":
            yield value


def _secrets_in_url(url: str | None) -> tuple[str | None, ...]:
    try:
        parts = urlsplit(url or "")
        pairs = [pair.partition("=") for pair in parts.query.split("&")]
        return (parts.password, *(value for name, _, value in pairs if _SECRET_OPTION.search(name)))
    except ValueError:
        return ()


def _values_of_variables(spec: ServerSpec) -> Iterator[str]:
    """Yield the values of variables whose names are those of secrets, wherever the entry uses them."""
    for resolved, written in spec.substitutions():
        variables = variables_in(written)
        if any(_names_secret(name) for name, _, _ in variables):
            # The values of several variables cannot be told apart, so the text between them counts as secret too.
            start, end = variables[0][1], variables[-1][2]
            yield resolved[start : len(resolved) - (len(written) - end)]
