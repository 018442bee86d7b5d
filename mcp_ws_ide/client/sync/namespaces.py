"""What a server offers, as functions: ``mcp.tools.echo(text="hi")``, with signature, docstring and completion."""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

from mcp_ws_ide.client.sync import html
from mcp_ws_ide.client.sync.plain import bounded, first_line
from mcp_ws_ide.client.sync.schemas import arguments_of, attribute_name, docstring_of, signature_of
from mcp_ws_ide.client.sync.session import Session
from mcp_ws_ide.client.sync.tracebacks import short

_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
"""An expression of an URI template (RFC 6570)."""
_SUGGESTED: Final = 10
"""Names that an error lists."""

Function = Callable[..., Any]


class Namespace(ABC):
    """The functions of one kind that a server offers, as attributes.

    A name that is no identifier has ``_`` for each other character; ``[…]`` takes any name as it is. The list is read
    when the client is opened, and again when a name is unknown.
    """

    _kind: str

    def __init__(self, session: Session) -> None:
        self._session = session
        self._items: list[dict[str, Any]] = []
        self._functions: dict[str, Function] = {}
        self._refresh()

    @abstractmethod
    def _fetch(self) -> list[dict[str, Any]]:
        """Return what the server lists."""

    @abstractmethod
    def _function(self, item: dict[str, Any]) -> Function:
        """Return the function for one item of the list."""

    def _refresh(self) -> None:
        """Read the list of the server again."""
        self._items = self._fetch()
        self._functions = {str(item["name"]): self._function(item) for item in self._items}
        names = Counter(map(attribute_name, self._functions))
        for old in [name for name in self.__dict__ if not name.startswith("_")]:
            delattr(self, old)
        for name, function in self._functions.items():
            attribute = attribute_name(name)
            if not attribute.startswith("_") and names[attribute] == 1:
                setattr(self, attribute, function)

    def _named(self, function: Function, name: str, schema: Any, description: str) -> Function:
        """Give a function the name, signature and docstring of what it calls."""
        function.__name__ = attribute_name(name)
        function.__qualname__ = f"{self._kind}s.{function.__name__}"
        function.__module__ = self._session.name  # IPython shows it before the name
        function.__doc__ = docstring_of(description, schema)
        function.__signature__ = signature_of(schema)  # type: ignore[attr-defined]
        return function

    @short
    def __getattr__(self, name: str) -> Function:
        if not name.startswith("_"):
            self._refresh()
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(
            self._unknown(name, [each for each in self.__dict__ if not each.startswith("_")])
        )

    @short
    def __getitem__(self, name: str) -> Function:
        if name not in self._functions:
            self._refresh()
        try:
            return self._functions[name]
        except KeyError:
            raise KeyError(self._unknown(name, list(self._functions))) from None

    def _unknown(self, name: str, known: list[str]) -> str:
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known[:_SUGGESTED]) or 'none'}"
        )
        more = ", …" if not near and len(known) > _SUGGESTED else ""
        return f"{self._session.name} has no {self._kind} {name!r}{hint}{more}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __dir__(self) -> list[str]:
        return [name for name in self.__dict__ if not name.startswith("_")]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._functions)

    def __repr__(self) -> str:
        if not self._items:
            return f"<{self._session.name} has no {self._kind}s>"
        lines = [
            f"{item['name']}{self._arguments(str(item['name']))}  {first_line(str(item.get('description', '')))}"
            for item in self._items
        ]
        return bounded("\n".join(lines), f"list({self._kind}s)")

    def _arguments(self, name: str) -> str:
        parameters = self._functions[name].__signature__.parameters  # type: ignore[attr-defined]
        return f"({', '.join(parameters)})"

    def _repr_html_(self) -> str:
        return (
            self._html(self._items)
            if self._items
            else html.note(f"{self._session.name} has no {self._kind}s")
        )

    @abstractmethod
    def _html(self, items: list[dict[str, Any]]) -> str:
        """Return the list as a table."""


class Tools(Namespace):
    """The tools of a server."""

    _kind = "tool"

    def _fetch(self) -> list[dict[str, Any]]:
        return self._session.items("list_tools", "tools", "tools")

    def _function(self, item: dict[str, Any]) -> Function:
        session, name, schema = self._session, str(item["name"]), item.get("inputSchema", {})
        signature = signature_of(schema)

        @short
        def call(*args: Any, **kwargs: Any) -> Any:
            return session.tool(name, _given(call, signature, args, kwargs), listed=item)

        return self._named(call, name, schema, str(item.get("description", item.get("title", ""))))

    def _html(self, items: list[dict[str, Any]]) -> str:
        return html.tools(items)


class Prompts(Namespace):
    """The prompts of a server."""

    _kind = "prompt"

    def _fetch(self) -> list[dict[str, Any]]:
        return self._session.items("list_prompts", "prompts", "prompts")

    def _function(self, item: dict[str, Any]) -> Function:
        session, name, listed = self._session, str(item["name"]), item.get("arguments", [])
        properties = {each["name"]: {"type": "string", **each} for each in listed}
        schema = {
            "properties": properties,
            "required": [each["name"] for each in listed if each.get("required")],
        }
        signature = signature_of(schema)

        @short
        def call(*args: Any, **kwargs: Any) -> Any:
            return session.prompt(name, _given(call, signature, args, kwargs))

        return self._named(call, name, schema, str(item.get("description", item.get("title", ""))))

    def _html(self, items: list[dict[str, Any]]) -> str:
        return html.prompts(items)


class Resources(Namespace):
    """The resources of a server, and its templates, whose variables are arguments."""

    _kind = "resource"

    def _fetch(self) -> list[dict[str, Any]]:
        found = self._session.items("list_resources", "resources", "resources")
        templates = self._session.items("list_resource_templates", "resourceTemplates", "resources")
        return [*found, *templates]

    def _function(self, item: dict[str, Any]) -> Function:
        session, uri = self._session, str(item.get("uri", item.get("uriTemplate", "")))
        variables = [] if "uri" in item else variables_of(uri)
        required = [name for name, optional in variables if not optional]
        schema = {"properties": {name: {"type": "string"} for name, _ in variables}, "required": required}
        signature = signature_of(schema)

        @short
        def read(*args: Any, **kwargs: Any) -> Any:
            given = _given(read, signature, args, kwargs)
            return session.resource(expanded(uri, given) if variables else uri)

        description = f"{item.get('description', item.get('title', ''))}\n\n{uri}"
        return self._named(read, str(item["name"]), schema, description)

    @property
    def _uris(self) -> list[str]:
        return [str(item.get("uri", item.get("uriTemplate", ""))) for item in self._items]

    def _html(self, items: list[dict[str, Any]]) -> str:
        return html.resources(items)


def _given(
    function: Function, signature: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    try:
        return arguments_of(signature, args, kwargs)
    except TypeError as error:
        raise TypeError(f"{function.__name__}() {error}; its signature is {signature}") from None


def variables_of(template: str) -> list[tuple[str, bool]]:
    """Return the variables of a URI template, and whether each may be left out."""
    return [
        (re.sub(r"(\*|:\d+)$", "", name), operator in ("?", "&"))
        for operator, names in _EXPRESSION.findall(template)
        for name in names.split(",")
        if name
    ]


def expanded(template: str, values: dict[str, Any]) -> str:
    """Return a URI template with its variables replaced (RFC 6570; values are strings, so levels 1 to 3)."""

    def replace(match: re.Match[str]) -> str:
        operator, names = match[1], [name for name, _ in variables_of(match[0])]
        safe = ":/?#[]@!$&'()*+,;=%" if operator in ("+", "#") else ""
        given = [(name, quote(str(values[name]), safe=safe)) for name in names if name in values]
        if not given:
            return ""
        if operator in ("?", "&", ";"):
            first = "?" if operator == "?" else operator
            rest = "&" if operator != ";" else ";"
            return first + rest.join(f"{name}={value}" for name, value in given)
        separator = operator if operator in (".", "/") else ","
        first = operator if operator in ("#", ".", "/") else ""
        return first + separator.join(value for _, value in given)

    return _EXPRESSION.sub(replace, template)
