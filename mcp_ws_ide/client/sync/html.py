"""HTML of what servers send, for notebooks. All of it is text or an image: nothing of a server becomes markup.

Functions take objects as they were on the wire, and bound what they return.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, Final

from mcp_ws_ide.client.sync.plain import SHOWN_CHARACTERS, as_json, base64_of, text_of, unwrapped
from mcp_ws_ide.client.sync.schemas import properties_of, required_of, type_name

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types of images that are shown; SVG is excluded because it can contain scripts."""
SOUNDS: Final = frozenset({"audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg", "audio/webm"})
SHOWN_ROWS: Final = 20
"""Rows that are shown of a table of data."""
SHOWN_COLUMNS: Final = 12
SHOWN_ITEMS: Final = 100
"""Rows that are shown of a list of tools, resources or prompts."""
SHOWN_CELL: Final = 300
"""Characters that are shown of one cell."""
_LEFT: Final = ' style="text-align:left;vertical-align:top"'
_TEXT: Final = (
    ' style="max-height:30em;overflow:auto;white-space:pre-wrap;text-align:left;'
    'font-family:var(--jp-code-font-family,monospace)"'
)
_IMAGE: Final = ' style="max-width:100%"'


def text(value: Any, longest: int = SHOWN_CHARACTERS) -> str:
    """Return a value as escaped text, cut with a note."""
    found = str(value)
    cut = f"{found[:longest]} … ({len(found)} characters)" if len(found) > longest else found
    return escape(cut)


def row(*cells: str, cell: str = "td") -> str:
    """Return one row of a table; cells are HTML."""
    return f"<tr>{''.join(f'<{cell}{_LEFT}>{content}</{cell}>' for content in cells)}</tr>"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table of rows."""
    return f"<table><thead>{row(*head, cell='th')}</thead><tbody>{''.join(rows)}</tbody></table>"


def note(message: str) -> str:
    """Return a remark of this package."""
    return f"<p><i>{escape(message)}</i></p>"


def preformatted(value: str) -> str:
    """Return a text that scrolls if it is long."""
    return f"<pre{_TEXT}>{text(value)}</pre>"


def details(title: str, value: Any) -> str:
    """Return a value as JSON, folded."""
    return f"<details><summary>{text(title)}</summary>{preformatted(as_json(value))}</details>"


# --- lists ------------------------------------------------------------------------------------------


def _listed(
    head: tuple[str, ...], items: list[dict[str, Any]], cells: Callable[[dict[str, Any]], tuple[str, ...]]
) -> str:
    shown = table(head, (row(*cells(item)) for item in items[:SHOWN_ITEMS]))
    more = len(items) - SHOWN_ITEMS
    return shown + (note(f"… and {more} more") if more > 0 else "")


def _about(item: Mapping[str, Any]) -> str:
    return text(item.get("description", item.get("title", "")), 4 * SHOWN_CELL)


def _code(value: Any) -> str:
    return f"<code>{text(value, SHOWN_CELL)}</code>"


def tools(items: list[dict[str, Any]]) -> str:
    """Return a table of tools."""
    return _listed(
        ("tool", "description", "arguments"),
        items,
        lambda item: (_code(item["name"]), _about(item), _properties(item.get("inputSchema", {}))),
    )


def _properties(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return ""
    required, definitions = required_of(schema), schema.get("$defs")
    return "<br>".join(
        f"{_code(name)}: {text(type_name(about, definitions), SHOWN_CELL)}"
        + ("" if name in required else " <i>optional</i>")
        for name, about in properties_of(schema).items()
    )


def prompts(items: list[dict[str, Any]]) -> str:
    """Return a table of prompts."""

    def cells(item: dict[str, Any]) -> tuple[str, ...]:
        arguments = (
            _code(each.get("name", "")) + ("" if each.get("required") else " <i>optional</i>")
            for each in item.get("arguments", [])
        )
        return _code(item["name"]), _about(item), "<br>".join(arguments)

    return _listed(("prompt", "description", "arguments"), items, cells)


def resources(items: list[dict[str, Any]]) -> str:
    """Return a table of resources and resource templates."""
    return _listed(
        ("resource", "description", "uri"),
        items,
        lambda item: (_code(item["name"]), _about(item), _code(item.get("uri", item.get("uriTemplate", "")))),
    )


# --- answers ----------------------------------------------------------------------------------------


def data(value: Any) -> str:
    """Return a table of a list of objects, alone or as the only list in an object; any other value as JSON."""
    if isinstance(value, dict) and len(lists := [name for name in value if _is_table(value[name])]) == 1:
        others = {name: each for name, each in value.items() if name not in lists}
        return (
            (preformatted(as_json(others)) if others else "")
            + f"<p>{_code(lists[0])}</p>"
            + data(value[lists[0]])
        )
    if not _is_table(value):
        return preformatted(value if isinstance(value, str) else as_json(value))
    names = list(dict.fromkeys(name for each in value[:SHOWN_ROWS] for name in each))
    shown = names[:SHOWN_COLUMNS]
    rows = (
        row(*(_cell(each[name]) if name in each else "" for name in shown)) for each in value[:SHOWN_ROWS]
    )
    cut = [f"{len(value):,} rows" if len(value) > SHOWN_ROWS else ""]
    cut += [f"{len(names)} columns" if len(names) > SHOWN_COLUMNS else ""]
    cut = [each for each in cut if each]
    more = note(f"… {' and '.join(cut)}; .json or .df has all") if cut else ""
    return table((text(name, SHOWN_CELL) for name in shown), rows) + more


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _cell(value: Any) -> str:
    return text(value if isinstance(value, str) else as_json(value), SHOWN_CELL)


def part(content: dict[str, Any]) -> str:
    """Return one part of a result, a prompt or a resource."""
    inner = content.get("resource", content)
    kind, media = content.get("type"), inner.get("mimeType", "")
    encoded = base64_of(content)
    if encoded is not None and media in PICTURES:
        return f'<img{_IMAGE} alt="image ({media})" src="data:{media};base64,{escape(encoded)}">'
    if encoded is not None and media in SOUNDS:
        return f'<audio controls src="data:{media};base64,{escape(encoded)}"></audio>'
    if (found := text_of(content)) is not None:
        return preformatted(found)
    return details(str(kind or media or "binary"), content)


def parts(contents: Iterable[dict[str, Any]]) -> str:
    """Return the parts of an answer."""
    return "".join(map(part, contents)) or note("no content")


def tool_result(result: dict[str, Any]) -> str:
    """Return the result of a tool. Text that repeats the structured content is left out."""
    contents, structured = result.get("content", []), result.get("structuredContent")
    begin = "<b>The tool reported an error.</b>" if result.get("isError") else ""
    if structured is None:
        return begin + parts(contents)
    value, texts = unwrapped(structured), [text_of(content) for content in contents]
    if _repeats([each for each in texts if each is not None], structured):
        others = (content for content in contents if text_of(content) is None)
        return begin + data(value) + "".join(map(part, others))
    return begin + "".join(map(part, contents)) + details("structured content", structured)


def _repeats(texts: list[str], structured: Any) -> bool:
    """Return whether texts only repeat the structured content, as servers write it for clients that do not know it."""
    value = unwrapped(structured)
    if not texts or texts == [value]:
        return True
    try:
        found = [json.loads(each) for each in texts]
    except ValueError:
        return False
    return found in ([value], [structured], value)


def contents(result: dict[str, Any]) -> str:
    """Return the contents of a resource."""
    found = result.get("contents", [])
    return "".join(f"<p>{_code(each.get('uri', ''))}</p>{part(each)}" for each in found) or note("no content")


def messages(result: dict[str, Any]) -> str:
    """Return the messages of a prompt."""
    found = result.get("messages", [])
    begin = f"<p>{text(result['description'])}</p>" if result.get("description") else ""
    rows = (row(f"<b>{text(each.get('role', ''))}</b>", part(each.get("content", {}))) for each in found)
    return begin + (f"<table><tbody>{''.join(rows)}</tbody></table>" if found else note("no messages"))
