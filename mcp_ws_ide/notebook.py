"""Show tools and results in notebooks: ``%load_ext mcp_ws_ide.notebook``.

Results of a client (``await client.list_tools()``, ``await client.call_tool(…)``, …) are then shown as tables, text
and images, with either major of the SDK. Everything a server wrote is shown as text; none of it becomes HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any, Final

try:
    import mcp_types as types
except ImportError:  # SDK 1.x
    from mcp import types

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types of images that are shown; SVG is excluded because it can contain scripts."""
SOUNDS: Final = frozenset({"audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg", "audio/webm"})
SHOWN_CHARACTERS: Final = 20_000
"""Characters of one text that are shown."""


def load_ipython_extension(ipython: Any) -> None:
    """Register the formatters; called by ``%load_ext``."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for shown, show in FORMATS.items():
        formatter.for_type(shown, show)


def unload_ipython_extension(ipython: Any) -> None:
    """Remove the formatters; called by ``%unload_ext``."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for shown in FORMATS:
        formatter.pop(shown, None)


def _plain(value: Any) -> dict[str, Any]:
    """Return the value as it was on the wire; the majors of the SDK name their attributes differently."""
    plain: dict[str, Any] = value.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain


def tools_html(result: Any) -> str:
    """Return a table of tools."""
    return _tools(_plain(result)["tools"])


def tool_html(tool: Any) -> str:
    """Return a table of one tool."""
    return _tools([_plain(tool)])


def _tools(tools: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        _row(
            f"<code>{_text(tool['name'])}</code>",
            _text(tool.get("description", tool.get("title", ""))),
            _arguments(tool.get("inputSchema", {})),
        )
        for tool in tools
    )
    return f"<table><thead>{_row('tool', 'description', 'arguments', cell='th')}</thead><tbody>{rows}</tbody></table>"


def _row(*cells: str, cell: str = "td") -> str:
    style = ' style="text-align:left;vertical-align:top"'
    return f"<tr>{''.join(f'<{cell}{style}>{content}</{cell}>' for content in cells)}</tr>"


def _arguments(schema: dict[str, Any]) -> str:
    listed = schema.get("required")
    required = listed if isinstance(listed, list) else []
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return ""
    lines = []
    for name, about in properties.items():
        kind = about.get("type", "any") if isinstance(about, dict) else "any"
        mark = "" if name in required else " <i>optional</i>"
        lines.append(f"<code>{_text(name)}</code>: {_text(kind)}{mark}")
    return "<br>".join(lines)


def result_html(result: Any) -> str:
    """Return the result of a tool call."""
    plain = _plain(result)
    parts = [_content(content) for content in plain.get("content", [])]
    if plain.get("isError"):
        parts.insert(0, "<b>The tool reported an error.</b>")
    if "structuredContent" in plain:
        parts.append(_details("structured content", plain["structuredContent"]))
    return "".join(parts) or "<i>no content</i>"


def _content(content: dict[str, Any]) -> str:
    kind, media = content.get("type"), content.get("mimeType", "")
    if kind == "text":
        return f"<pre>{_text(content['text'])}</pre>"
    if kind == "image" and media in PICTURES:
        return f'<img alt="image ({media})" src="data:{media};base64,{escape(content["data"])}">'
    if kind == "audio" and media in SOUNDS:
        return f'<audio controls src="data:{media};base64,{escape(content["data"])}"></audio>'
    return _details(str(kind), content)


def contents_html(result: Any) -> str:
    """Return the contents of a resource."""
    contents = _plain(result).get("contents", [])
    return "".join(
        f"<p><code>{_text(content.get('uri', ''))}</code></p>"
        + (f"<pre>{_text(content['text'])}</pre>" if "text" in content else _details("binary", content))
        for content in contents
    )


def _details(title: str, value: Any) -> str:
    shown = json.dumps(value, indent=2, ensure_ascii=False)
    return f"<details><summary>{_text(title)}</summary><pre>{_text(shown)}</pre></details>"


def _text(value: Any) -> str:
    text = str(value)
    cut = f"{text[:SHOWN_CHARACTERS]} … ({len(text)} characters)" if len(text) > SHOWN_CHARACTERS else text
    return escape(cut)


FORMATS: Final[dict[type, Callable[[Any], str]]] = {
    types.ListToolsResult: tools_html,
    types.Tool: tool_html,
    types.CallToolResult: result_html,
    types.ReadResourceResult: contents_html,
}
"""The formatter of each SDK type."""
