"""Checks one entry that is not in a file yet, and reports everything that is wrong with it, not only the first mistake.

Used by the editor while an entry is being typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.entry import EntryError, read_entry
from mcp_ws_ide.config.environment import Variables
from mcp_ws_ide.config.load import ConfigReader, printable
from mcp_ws_ide.config.spec import ConfigProblem, ServerSpec

_MAX_PROBLEMS: Final = 50
_PLACEHOLDERS: Final[Mapping[str, Any]] = {
    "command": "true",
    "url": "http://localhost",
    "python": "a:b",
    "group": ["a"],
}
"""Valid values that replace wrong ones while the rest of an entry is checked; a server must have one of these keys."""


def check_entry(
    name: str, source: str, entry: Mapping[str, Any], environ: Mapping[str, str], root_dir: str = ""
) -> tuple[ServerSpec | None, list[ConfigProblem]]:
    """Return the server that an entry describes, or None if it has errors, and every problem.

    Args:
        root_dir: see :func:`~.load.load`; with another value, the preview would show another entry.
    """
    reader = ConfigReader(environ, root_dir=root_dir)
    variables = reader.variables(source)
    reader.read_object(source, "", {name: entry})
    problems = [problem for problem in reader.problems if problem.severity == "notice"]
    rest: Any = json.loads(json.dumps(translate(entry).entry))
    while mistake := _first_mistake(name, source, rest, variables):
        problems.append(ConfigProblem(source, printable(f"{name}.{mistake.key}"), printable(mistake.reason)))
        if len(problems) >= _MAX_PROBLEMS or not _remove_mistake(rest, mistake.key):
            break
    spec = next(iter(reader.servers.values()), None)
    if any(problem.severity == "error" for problem in problems) or spec is None:
        return None, problems or reader.problems
    return spec, reader.problems


def _first_mistake(
    name: str, source: str, entry: Mapping[str, Any], variables: Variables
) -> EntryError | None:
    try:
        read_entry(name, source, entry, variables)
    except EntryError as mistake:
        return mistake
    return None


def _remove_mistake(entry: dict[str, Any], key: str) -> bool:
    """Remove or replace the value at ``key``, so that the next mistake shows; return False if that is impossible."""
    first, _, rest = re.sub(r"\[.*", "", key).partition(".")
    if rest and isinstance(entry.get(first), dict) and rest in entry[first]:
        del entry[first][rest]
    elif first in _PLACEHOLDERS and entry.get(first) not in (None, _PLACEHOLDERS[first]):
        entry[first] = _PLACEHOLDERS[first]
    elif first in entry and first not in _PLACEHOLDERS:
        del entry[first]
    else:
        return False
    return True
