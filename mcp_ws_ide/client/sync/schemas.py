"""From what a server lists to what Python shows of a function: its signature and its docstring. Performs no I/O.

A server may list anything: invalid schemas are left out and raise nothing.
"""

from __future__ import annotations

import functools
import inspect
import keyword
import operator
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

TYPES: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}
DEPTH: Final = 3
"""Levels of a schema that the annotations show."""
_BOUNDS: Final = ("format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
"""Keywords of a schema that the docstring shows."""


class _Left:
    """The default of an argument that is not sent, so that the server uses its own."""

    def __repr__(self) -> str:
        return "<server's default>"


LEFT: Final = _Left()


def attribute_name(name: str) -> str:
    """Return a name as a Python identifier, such as ``git_log`` for ``git-log``."""
    plain = re.sub(r"\W", "_", name)
    if not plain or plain[0].isdigit():
        plain = f"_{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def properties_of(schema: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of an object's schema; a property without a valid schema accepts anything."""
    found = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name): about if isinstance(about, dict) else {} for name, about in found.items()}


def required_of(schema: Any) -> list[str]:
    """Return the names of an object's required properties."""
    found = schema.get("required") if isinstance(schema, Mapping) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def annotation(schema: Any, definitions: Any = None, depth: int = DEPTH) -> Any:
    """Return the Python type of what a schema describes; ``Any`` where that is unknown."""
    if not isinstance(schema, dict) or depth == 0:
        return Any
    if isinstance(reference := schema.get("$ref"), str) and isinstance(definitions, dict):
        return annotation(definitions.get(reference.rpartition("/")[2]), definitions, depth - 1)
    if isinstance(values := schema.get("enum"), list) and values and all(_is_literal(v) for v in values):
        return Literal[tuple(values)]
    either = next((schema[key] for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list)), None)
    if either:
        return _union(annotation(option, definitions, depth - 1) for option in either)
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union(TYPES.get(one, Any) if isinstance(one, str) else Any for one in kind)
    if kind == "array" and isinstance(schema.get("items"), dict):
        items = annotation(schema["items"], definitions, depth - 1)
        return list if items is Any else types.GenericAlias(list, (items,))
    return TYPES.get(kind, Any) if isinstance(kind, str) else Any


def _is_literal(value: Any) -> bool:
    return isinstance(value, str | int | bool) or value is None


def _union(options: Iterable[Any]) -> Any:
    members = list(dict.fromkeys(options))
    if not members or Any in members:
        return Any
    return functools.reduce(operator.or_, sorted(members, key=lambda each: each is None))


def signature_of(schema: Any) -> inspect.Signature:
    """Return the signature of a tool with this input schema.

    Required arguments come first. Names that are no identifiers are accepted as ``**`` arguments.
    """
    definitions = schema.get("$defs", schema.get("definitions")) if isinstance(schema, Mapping) else None
    required = required_of(schema)
    parameters, others = [], False
    for name, about in sorted(properties_of(schema).items(), key=lambda item: item[0] not in required):
        if not name.isidentifier() or keyword.iskeyword(name):
            others = True
            continue
        default = inspect.Parameter.empty if name in required else about.get("default", LEFT)
        kind = annotation(about, definitions)
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=inspect.Parameter.empty if kind is Any else kind,
            )
        )
    if others:
        parameters.append(inspect.Parameter(_others(schema), inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def arguments_of(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments to send: those that are given. What is not given is left to the server.

    Raises:
        TypeError: as for a Python function with this signature.
    """
    bound = signature.bind(*args, **kwargs).arguments
    for name, each in signature.parameters.items():
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, {}))
    return {name: value for name, value in bound.items() if value is not LEFT}


def _others(schema: Any) -> str:
    """Return a name for the ``**`` parameter that no property has."""
    name, properties = "arguments", properties_of(schema)
    while name in properties:
        name += "_"
    return name


def type_name(schema: Any, definitions: Any = None) -> str:
    """Return the type of what a schema describes, as an annotation shows it."""
    kind = annotation(schema, definitions)
    return "any" if kind is Any else inspect.formatannotation(kind).replace("typing.", "")


def title_of(name: str, about: Mapping[str, Any]) -> str:
    """Return what a schema says of a property, in one line; ``""`` if that only repeats its name."""
    text = " ".join(str(about.get("description", about.get("title", ""))).split())
    return "" if re.sub(r"\W|_", "", text).lower() == re.sub(r"\W|_", "", name).lower() else text


def docstring_of(description: str, schema: Any) -> str:
    """Return the docstring of a function: the description, and each argument with what its schema says."""
    definitions = schema.get("$defs", schema.get("definitions")) if isinstance(schema, Mapping) else None
    required = required_of(schema)
    lines = []
    for name, about in properties_of(schema).items():
        bounds = [f"{key} {about[key]}" for key in _BOUNDS if isinstance(about.get(key), str | int | float)]
        facts = ", ".join(
            [type_name(about, definitions), *([] if name in required else ["optional"]), *bounds]
        )
        lines.append(f"    {name} ({facts}): {title_of(name, about)}".rstrip(": "))
    parts = [inspect.cleandoc(description), "Args:\n" + "\n".join(lines) if lines else ""]
    return "\n\n".join(part for part in parts if part)
