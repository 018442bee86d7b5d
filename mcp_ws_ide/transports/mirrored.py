"""The headers that mirror a modern message (MCP 2026-07-28, basic/transports: standard and custom headers). Pure."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import NAMED_BY
from mcp_ws_ide.core.lenient_json import items_of
from mcp_ws_ide.core.messages import Message

MAX_TOOLS: Final = 1000
"""Maximum number of tools whose ``x-mcp-header`` annotations are remembered."""
MAX_DEPTH: Final = 16
"""Deepest nesting of properties that is searched for annotations."""
MAX_ANNOTATIONS: Final = 64
"""Maximum number of annotations of one tool; servers commonly accept a hundred headers, or a few KiB of them."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_ENCODED: Final = re.compile(r"=\?base64\?.*\?=")
_TYPES: Final = frozenset({"string", "integer", "boolean"})

Path = tuple[str, ...]


def encode_value(text: str) -> str:
    """Return a header value: the text itself, or ``=?base64?…?=`` if a header would not preserve it."""
    if _PLAIN.fullmatch(text) and text == text.strip() and not _ENCODED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


class _Tool(msgspec.Struct):
    name: str
    schema: Any = msgspec.field(name="inputSchema", default=None)


class _Call(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


class MirroredHeaders:
    """Derives the headers of each message; learns the custom ones of tools from the tool lists that pass."""

    def __init__(self) -> None:
        self._tools: dict[str, dict[Path, str]] = {}

    def of(self, message: Message, version: str) -> dict[str, str]:
        """Return the headers of a modern request."""
        method = message.method_name
        headers = {"MCP-Protocol-Version": encode_value(version), "Mcp-Method": encode_value(method)}
        member = NAMED_BY.get(method)
        if (
            member is not None
            and (name := messages.text_in(messages.member(message.params, member))) is not None
        ):
            headers["Mcp-Name"] = encode_value(name)
            if method == "tools/call" and name in self._tools:
                headers |= self._parameters(message, self._tools[name])
        return headers

    def _parameters(self, message: Message, paths: dict[Path, str]) -> dict[str, str]:
        try:
            arguments = msgspec.json.decode(message.params, type=_Call).arguments
        except (msgspec.DecodeError, RecursionError):
            return {}
        headers = {}
        for path, token in paths.items():
            value: Any = arguments
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, bool):
                headers[f"Mcp-Param-{token}"] = "true" if value else "false"
            elif isinstance(value, (str, int, float)):
                headers[f"Mcp-Param-{token}"] = encode_value(str(value))
        return headers

    def learn(self, answer: Message) -> None:
        """Learn the annotations in a response to ``tools/list``."""
        for tool in _tools_of(messages.member(answer.result, "tools")):
            paths = annotated(tool.schema)
            if not paths:
                self._tools.pop(tool.name, None)
            elif tool.name in self._tools or len(self._tools) < MAX_TOOLS:
                self._tools[tool.name] = paths


def _tools_of(tools: bytes) -> Iterator[_Tool]:
    """Yield the tools of a list that can be read; an unreadable one does not affect the others."""
    for tool in items_of(tools):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            yield msgspec.json.decode(tool, type=_Tool)


def annotated(schema: Any) -> dict[Path, str]:
    """Return the properties with ``x-mcp-header``: the path of each, and the token that ends its header name.

    Empty if any annotation is invalid, or if there are more than :data:`MAX_ANNOTATIONS`. Takes time linear in the
    schema.
    """
    annotations: dict[str, tuple[Path, str]] = {}
    return dict(annotations.values()) if _collect(schema, (), annotations) else {}


def _collect(schema: Any, path: Path, annotations: dict[str, tuple[Path, str]]) -> bool:
    """Collect annotations by token in lower case; return whether all are valid: a token, used once, of a plain type."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(path) >= MAX_DEPTH:
        return True
    for name, inner in properties.items():
        if not isinstance(inner, dict):
            continue
        token = inner.get("x-mcp-header")
        if token is not None:
            if (
                not _valid(token, inner)
                or token.lower() in annotations
                or len(annotations) >= MAX_ANNOTATIONS
            ):
                return False
            annotations[token.lower()] = (*path, name), token
        if not _collect(inner, (*path, name), annotations):
            return False
    return True


def _valid(token: Any, schema: dict[str, Any]) -> bool:
    declared = schema.get("type")
    return (
        isinstance(token, str)
        and _TOKEN.fullmatch(token) is not None
        and isinstance(declared, str)
        and declared in _TYPES
    )
