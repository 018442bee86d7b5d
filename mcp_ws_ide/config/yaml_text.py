"""YAML as other programs write it: plain values as in YAML 1.2, which they read. Pure.

``yes`` and ``8080:80`` are texts, as they are there; PyYAML's own rules are those of YAML 1.1. Knows nothing of what a
document means.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from mcp_ws_ide.config.json_mistakes import ESCAPES
from mcp_ws_ide.config.jsonc import InvalidJsonError

MAX_ALIASES: Final = 20
"""References to other parts of a document; with many more, a few lines could stand for gigabytes."""

_RESOLVERS: Final = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
)
"""Tag, form, and first characters of the plain values that are no texts (YAML 1.2, core schema)."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Builds nothing but JSON values, and notes the keys that occur twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below, as PyYAML does

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[str] = []
        self._aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count the references to other parts."""
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > MAX_ALIASES:
                raise yaml.YAMLError(f"more than {MAX_ALIASES} aliases")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build an object."""
        names = [key.value for key, _ in node.value if isinstance(key.value, str) and key.value != "<<"]
        self.duplicates += sorted({name for name in names if names.count(name) > 1})
        return dict(super().construct_mapping(node, deep))


for _tag, _form, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_form})\Z"), ["" if c == "\0" else c for c in _first]
    )


def parse_yaml(text: str) -> tuple[Any, list[str]]:
    """Parse a document; return it, and the keys that occur twice in one object (the last one counts).

    Raises:
        InvalidJsonError: the text is not YAML, or has values that JSON does not have.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.duplicates
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        cure = f"; {ESCAPES}, or use single quotes" if "escape" in str(error) else ""
        raise InvalidJsonError(f"not valid YAML: {error.problem}{place}{cure}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InvalidJsonError(f"not valid YAML: {error}") from None
    finally:
        loader.dispose()
