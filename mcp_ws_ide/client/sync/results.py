"""What calls return: results of tools, contents of resources, and messages of prompts, which notebooks show."""

from __future__ import annotations

import base64
import binascii
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib import import_module
from typing import Any

from mcp_ws_ide.client.sync import html
from mcp_ws_ide.client.sync.apps import App
from mcp_ws_ide.client.sync.plain import as_json, base64_of, bounded, described, plain, text_of, unwrapped
from mcp_ws_ide.client.sync.tracebacks import short


class Answer(ABC):
    """An answer of a server. A notebook shows it as tables, text and images; ``repr`` shows the beginning of its text.

    Attributes:
        raw: the object of the SDK.
    """

    def __init__(self, raw: Any, what: str) -> None:
        self.raw = raw
        self._what = what

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return plain(self.raw)

    @abstractmethod
    def _parts(self) -> list[dict[str, Any]]:
        """The parts of the content, as on the wire."""

    @property
    def text(self) -> str:
        """All text, its parts separated by a line end; ``""`` if there is none."""
        return "\n".join(self._texts())

    def _texts(self) -> list[str]:
        return [text for part in self._parts() if (text := text_of(part)) is not None]

    @property
    @short
    def blobs(self) -> list[bytes]:
        """The binary parts, such as images, in their order.

        Raises:
            ValueError: the server sent invalid base64.
        """
        encoded = [found for part in self._parts() if (found := base64_of(part)) is not None]
        try:
            return [base64.b64decode(found, validate=True) for found in encoded]
        except binascii.Error as error:
            raise ValueError(f"{self._what} has binary data that is no base64: {error}") from None

    @property
    @short
    def json(self) -> Any:
        """The text, decoded as JSON; a list if each of several parts is JSON.

        Raises:
            ValueError: it is no JSON.
        """
        texts = self._texts()
        try:
            return json.loads("\n".join(texts))
        except ValueError:
            pass
        try:
            if len(texts) > 1:
                return [json.loads(text) for text in texts]
        except ValueError:
            pass
        begin = f", but begins with {self.text[:60]!r}; use .text" if texts else "; use .blobs or .raw"
        raise ValueError(f"{self._what} has no JSON{begin}") from None

    @property
    @short
    def df(self) -> Any:
        """What :attr:`json` holds, as a ``pandas.DataFrame``.

        A list of objects has a row for each; so has an object whose only list is one of objects. An object of equally
        long lists has a column for each. Any other object is one row, and any other list one column, ``value``.

        Raises:
            ImportError: pandas is not installed.
            ValueError: it is no JSON, or neither a list nor an object.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise ImportError(f".df needs pandas: pip install pandas ({error})") from None
        return pandas.DataFrame(table_of(self.json, self._what))

    def __repr__(self) -> str:
        return bounded("\n".join(map(described, self._parts())) or f"<{self._what}: no content>", ".text")

    def _repr_html_(self) -> str:
        return html.parts(self._parts())


class ToolResult(Answer):
    """The result of a tool.

    Attributes:
        raw: ``CallToolResult`` of the SDK.
        tool: name of the tool.
    """

    def __init__(self, tool: str, raw: Any, read_app: Callable[[Any], App] | None = None) -> None:
        super().__init__(raw, f"the result of {tool}")
        self.tool = tool
        self._read_app = read_app

    @property
    @short
    def app(self) -> App:
        """The app of the tool with this result, which a notebook shows in a frame.

        Raises:
            ValueError: the tool has none.
        """
        if self._read_app is None:
            raise ValueError(f"{self.tool} has no app")
        return self._read_app(self._plain)

    def _parts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._plain.get("content", [])
        return found

    @property
    def structured(self) -> Any:
        """The structured content as the server sent it; None if there is none."""
        return self._plain.get("structuredContent")

    @property
    def json(self) -> Any:
        """The structured content, else the text decoded as JSON.

        Servers wrap a value that is not an object in ``{"result": value}``; this returns the value.

        Raises:
            ValueError: it has neither.
        """
        if self.structured is None:
            return super().json
        return unwrapped(self.structured)

    def __repr__(self) -> str:
        if not self._parts() and self.structured is not None:
            return bounded(as_json(self.structured), ".json")
        return super().__repr__()

    def _repr_html_(self) -> str:
        hint = html.note("This tool has an app: .app shows it") if self._read_app is not None else ""
        return html.tool_result(self._plain) + hint


class ResourceContents(Answer):
    """The contents of a resource.

    Attributes:
        raw: ``ReadResourceResult`` of the SDK.
        uri: what was read.
    """

    def __init__(self, uri: str, raw: Any) -> None:
        super().__init__(raw, f"the resource {uri}")
        self.uri = uri

    def _parts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._plain.get("contents", [])
        return found

    def _repr_html_(self) -> str:
        return html.contents(self._plain)


class PromptMessages(Answer):
    """The messages of a prompt.

    Attributes:
        raw: ``GetPromptResult`` of the SDK.
        name: name of the prompt.
    """

    def __init__(self, name: str, raw: Any) -> None:
        super().__init__(raw, f"the prompt {name}")
        self.name = name

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages as on the wire: each has a ``role`` and a ``content``."""
        found: list[dict[str, Any]] = self._plain.get("messages", [])
        return found

    def _parts(self) -> list[dict[str, Any]]:
        return [message.get("content", {}) for message in self.messages]

    def __repr__(self) -> str:
        lines = [
            f"{message.get('role')}: {described(message.get('content', {}))}" for message in self.messages
        ]
        return bounded("\n".join(lines) or f"<{self._what}: no messages>", ".text")

    def _repr_html_(self) -> str:
        return html.messages(self._plain)


def table_of(value: Any, what: str) -> Any:
    """Return what pandas makes a table of; see :attr:`Answer.df`.

    Raises:
        ValueError: it is neither a list nor an object.
    """
    if isinstance(value, list):
        return value if value and all(isinstance(each, dict | list) for each in value) else {"value": value}
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no table, but {value!r:.60}; use .json")
    lists = [each for each in value.values() if isinstance(each, list)]
    if len(lists) == 1 and lists[0] and _objects(lists[0]):
        return lists[0]
    if lists and len(lists) == len(value) and len({len(each) for each in lists}) == 1:
        return value
    return [value]


def _objects(values: Iterable[Any]) -> bool:
    return all(isinstance(each, dict) for each in values)
