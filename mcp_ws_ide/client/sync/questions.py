"""Questions of a server to the user, asked with ``input()``: forms, pages to open, and what a model would answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp_ws_ide.client.sync.notebooks import kernel
from mcp_ws_ide.client.sync.plain import as_json, bounded, described
from mcp_ws_ide.client.sync.schemas import properties_of, required_of, title_of, type_name

DECLINE: Final = "/decline"
CANCEL: Final = "/cancel"
_TRUE: Final = frozenset({"y", "yes", "true", "1"})
_FALSE: Final = frozenset({"n", "no", "false", "0"})


class RefusedError(Exception):
    """The user refuses to answer; the text is ``decline`` or ``cancel``."""


def can_ask() -> bool:
    """Return whether there is somebody whom ``input()`` asks: in a notebook that allows it, or in a terminal."""
    if (notebook := kernel()) is not None:
        return bool(getattr(notebook, "_allow_stdin", True))
    return sys.stdin is not None and sys.stdin.isatty()


def ask_form(server: str, message: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for each property of a form.

    Raises:
        RefusedError: the user refuses.
    """
    _announce(f"{server} asks: {message}")
    properties, required = properties_of(schema), required_of(schema)
    if not properties:
        _typed("Press Enter to accept: ")
    answers: dict[str, Any] = {}
    for name, about in properties.items():
        if (value := _ask_value(name, about, name in required)) is not None:
            answers[name] = value
    return answers


def ask_to_open(server: str, message: str, url: str) -> None:
    """Ask the user to open a page, and to say when that is done.

    Raises:
        RefusedError: the user refuses.
    """
    _announce(f"{server} asks: {message}\nOpen {url}")
    _typed("Press Enter when done: ")


def ask_as_model(server: str, params: Mapping[str, Any]) -> str:
    """Show the messages for a model, and ask the user for the answer.

    Raises:
        RefusedError: the user refuses.
    """
    lines = [f"{server} asks a model, and you answer in its place:"]
    if system := params.get("systemPrompt"):
        lines.append(f"system: {system}")
    for each in params.get("messages", []):
        found = each.get("content", {})
        contents = found if isinstance(found, list) else [found]
        lines += [f"{each.get('role')}: {described(content)}" for content in contents]
    _announce("\n".join(lines))
    return _typed("Answer: ")


def _announce(text: str) -> None:
    print(f"{bounded(text, 'the inspector')}\n({DECLINE} or {CANCEL} refuses)", flush=True)


def _typed(prompt: str) -> str:
    answer = input(bounded(prompt, "the schema"))
    if answer.strip() in (DECLINE, CANCEL):
        raise RefusedError(answer.strip().removeprefix("/"))
    return answer


def _ask_value(name: str, about: dict[str, Any], required: bool) -> Any:
    """Return the value of one property; None if it is left out."""
    default = about.get("default")
    facts = [_kind(about)]
    if default is not None:
        facts.append(f"default {as_json(default)}")
    elif not required:
        facts.append("optional")
    title = title_of(name, about)
    known = f": {title}" if title else ""
    while True:
        answer = _typed(f"{name}{known} ({', '.join(facts)}): ").strip()
        if not answer and (default is not None or not required):
            return default
        try:
            return value_of(answer, about)
        except ValueError as error:
            print(error, flush=True)


def _options(about: Mapping[str, Any]) -> list[Any]:
    """Return the values that a schema allows; none if it does not list them."""
    if isinstance(found := about.get("enum"), list):
        return found
    titled = about.get("oneOf", about.get("anyOf"))
    if isinstance(titled, list):
        return [each["const"] for each in titled if isinstance(each, dict) and "const" in each]
    return []


def _kind(about: dict[str, Any]) -> str:
    items = about.get("items") if isinstance(about.get("items"), dict) else {}
    if options := _options(about) or _options(items or {}):
        several = ", several with commas" if items else ""
        return f"one of {', '.join(map(str, options))}{several}"
    return "y or n" if about.get("type") == "boolean" else type_name(about)


def value_of(answer: str, about: Mapping[str, Any]) -> Any:
    """Return what a user has typed, as the schema wants it.

    Raises:
        ValueError: it is nothing of that kind; the text is for the user.
    """
    kind, options = about.get("type"), _options(about)
    if options:
        return _one_of(answer, options)
    if kind == "array":
        allowed = _options(about.get("items", {}))
        given = [part.strip() for part in answer.split(",") if part.strip()]
        return [_one_of(part, allowed) for part in given] if allowed else given
    if kind == "boolean":
        if answer.lower() not in _TRUE | _FALSE:
            raise ValueError("Type y or n.")
        return answer.lower() in _TRUE
    if not answer:
        raise ValueError("A value is required.")
    convert: Callable[[str], Any] | None = {"integer": int, "number": float}.get(str(kind))
    if convert is None:
        return answer
    try:
        number = convert(answer)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("Type a whole number." if kind == "integer" else "Type a number.")
    return number


def _one_of(answer: str, options: list[Any]) -> Any:
    for option in options:
        if str(option) == answer:
            return option
    raise ValueError(f"Type one of {', '.join(map(str, options))}.")
