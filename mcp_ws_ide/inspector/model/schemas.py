"""Check arguments and structured results of tools against the schemas that the server listed (MCP, server/tools).

Schemas are learned from complete responses to ``tools/list``; tools whose schema was not seen are not checked. Schemas
come from peers, so checking is bounded: nothing is fetched, a regular expression has a time limit, a check has
:data:`BUDGET`, and a schema that exceeds it :data:`STRIKES` times is no longer used. ``format`` is not asserted (JSON
Schema 2020-12 section 7.2.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import regex
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from mcp_ws_ide.inspector.model.records import part
from mcp_ws_ide.inspector.model.references import dangling

BUDGET: Final = 0.02
"""Seconds of processor time for one check: on a busy machine, time passes without any work on it."""
PATTERN: Final = 0.005
"""Seconds for one regular expression on one string."""
STRIKES: Final = 3
MAX_TOOLS: Final = 5000
"""Tools whose schemas are kept, over all servers; the oldest are dropped first."""
MAX_FAULTS: Final = 5
"""Errors reported per message."""
MAX_NAME: Final = 100
"""Characters of a tool's name that a text repeats."""
UNBOUNDED: Final = ("patternProperties", "unevaluatedProperties", "unevaluatedItems")
"""Keywords for which jsonschema uses its own regular expressions, without a time limit; such schemas are not used."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]


class TooLongError(Exception):
    """The check takes too long."""


class Schemas:
    """The schemas of each server's tools."""

    def __init__(self) -> None:
        self._tools: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._strikes: dict[tuple[str, str], int] = {}
        self._classes: dict[type, Any] = {}
        self._end = 0.0

    def learn(self, server: str, tools: list[Any]) -> None:
        """Learn the tools of a response to ``tools/list``."""
        for tool in tools[:MAX_TOOLS]:
            name = part(tool, "name")
            if isinstance(name, str):
                key = server, name
                self._tools.pop(key, None)
                self._tools[key] = (
                    self._validator(part(tool, "inputSchema")),
                    self._validator(part(tool, "outputSchema")),
                )
                self._strikes.pop(key, None)
        while len(self._tools) > MAX_TOOLS:
            del self._tools[next(iter(self._tools))]

    def broken(self, tools: list[Any]) -> list[str]:
        """Return what is wrong with the schemas of these tools, at most :data:`MAX_FAULTS`, each with its tool."""
        faults: list[str] = []
        for tool in tools[:MAX_TOOLS]:
            for key in ("inputSchema", "outputSchema"):
                schema = part(tool, key)
                name = str(part(tool, "name"))[:MAX_NAME]
                faults += [f"{key} of {name!r}: the reference {fault}" for fault in dangling(schema)]
            if len(faults) >= MAX_FAULTS:
                break
        return faults[:MAX_FAULTS]

    def arguments(self, server: str, tool: str, arguments: Any) -> list[str]:
        """Return the errors in the arguments of a call; none if that cannot be decided."""
        return self._faults(server, tool, 0, {} if arguments is None else arguments)

    def output(self, server: str, tool: str, content: Any) -> list[str]:
        """Return the errors in ``structuredContent``; a tool with an ``outputSchema`` must return it."""
        validator = self._tools.get((server, tool), (None, None))[1]
        if content is None:
            return (
                ["the tool has an outputSchema, but its result has no structuredContent"]
                if validator is not None
                else []
            )
        return self._faults(server, tool, 1, content)

    def _faults(self, server: str, tool: str, which: int, value: Any) -> list[str]:
        key = server, tool
        validator = self._tools.get(key, (None, None))[which]
        if validator is None or self._strikes.get(key, 0) >= STRIKES:
            return []
        self._end = time.thread_time() + BUDGET
        errors = []
        try:
            for error in validator.iter_errors(value):
                errors.append(_message(error))
                if len(errors) >= MAX_FAULTS:
                    break
        except TooLongError:
            self._strikes[key] = self._strikes.get(key, 0) + 1
            return []
        except (Unresolvable, SchemaError, RecursionError, ValueError, TypeError, KeyError, AttributeError):
            return []  # the schema itself is broken, so nothing is certain
        return errors

    # --- bounded validators -------------------------------------------------------------------------

    def _validator(self, schema: Any) -> Any:
        """Return a bounded validator; None if it is not a schema, or checking it cannot be bounded."""
        if not isinstance(schema, dict):
            return None
        try:
            if _mentions(schema, UNBOUNDED):
                return None
            base = validator_for(schema, default=Draft202012Validator)
            return self._bounded(base)(schema, registry=Registry())
        except (RecursionError, ValueError, TypeError, AttributeError):
            return None

    def _bounded(self, base: Any) -> Any:
        bounded = self._classes.get(base)
        if bounded is None:
            keywords: dict[str, Any] = {name: self._timed(check) for name, check in base.VALIDATORS.items()}
            keywords["pattern"] = self._timed(_pattern)
            extend: Any = validators.extend
            bounded = self._classes[base] = extend(base, keywords)
        return bounded

    def _timed(self, check: Keyword) -> Keyword:
        def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            if time.thread_time() > self._end:
                raise TooLongError
            yield from check(validator, value, instance, schema) or ()

        return timed


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str) or not isinstance(pattern, str):
        return
    try:
        matches = regex.search(pattern, instance, timeout=PATTERN) is not None
    except (TimeoutError, regex.error):
        return  # cannot be decided
    if not matches:
        yield ValidationError(f"it does not match {pattern[:100]!r}")


def _mentions(value: Any, names: tuple[str, ...]) -> bool:
    """Return whether ``value`` contains one of these keys, at any depth; not recursive."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if any(name in item for name in names):
                return True
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _message(error: ValidationError) -> str:
    place = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    ).lstrip(".")
    text = str(error.message)
    return f"{place}: {text[:200]}" if place else text[:200]
