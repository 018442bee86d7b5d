"""What notebooks show of tools and results."""

from __future__ import annotations

import ast
import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import mcp_types as types
import pytest
from IPython.core.interactiveshell import InteractiveShell

from mcp_ws_ide.client import Connected, connect
from tests.conftest import DEMO

ROOT = Path(__file__).parents[1]
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


class Elements(HTMLParser):
    """The elements of a piece of HTML, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def shell():
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "mcp_ws_ide.notebook")
    yield shell
    shell.run_line_magic("unload_ext", "mcp_ws_ide.notebook")
    InteractiveShell.clear_instance()


def show(shell: InteractiveShell, value: object) -> Elements:
    data, _ = shell.display_formatter.format(value)
    return Elements(data["text/html"])


async def test_tools_and_results_of_a_real_server_are_shown(jupyter, shell):
    async with connect(jupyter.endpoint("demo"), token=jupyter.token) as client:
        tools = show(shell, await client.list_tools())
        assert "echo" in tools.text
        assert "text: string" in tools.text
        assert "hello" in show(shell, await client.call_tool("echo", {"text": "hello"})).text
        picture = show(shell, await client.call_tool("image", {}))
        ((_, attributes),) = [entry for entry in picture.found if entry[0] == "img"]
        media, _, data = attributes["src"].partition(";base64,")
        assert media == "data:image/png"
        assert base64.b64decode(data).startswith(b"\x89PNG")
        failed = show(shell, await client.call_tool("fail", {}))
        assert "reported an error" in failed.text
        assert "demo://" in show(shell, await client.read_resource("demo://item/7")).text


async def test_descriptions_of_the_demo_are_plain_text(jupyter):
    async with connect(jupyter.endpoint("demo"), token=jupyter.token) as client:
        lists = [await client.list_tools(), await client.list_resources()]
        lists += [await client.list_resource_templates(), await client.list_prompts()]
    described = "\n".join(each.model_dump_json() for each in lists)
    assert "report progress after each" in described
    assert "`" not in described


async def test_the_notebook_of_the_demo_cuts_its_own_session_alone(make_jupyter, monkeypatch):
    jupyter = make_jupyter({"demo": DEMO}, "--MCPWebSocketApp.allow_faults=True")
    monkeypatch.setenv("JUPYTER_SERVER_URL", jupyter.url)
    monkeypatch.setenv("JUPYTER_TOKEN", jupyter.token)
    cells = json.loads((ROOT / "binder" / "demo.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (source,) = [source for source in sources if "/faults" in source]
    code = compile(source, "demo.ipynb", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {"connect": connect, "print": lambda *shown: None}
    other: list[object] = []
    async with connect(jupyter.endpoint("demo"), token=jupyter.token, on_state=other.append) as client:
        await eval(code, names)
        await client.call_tool("echo", {"text": "still there"})
    assert [type(state).__name__ for state in names["states"]][:3] == ["Connected", "Reconnecting", "Resumed"]
    assert [type(state).__name__ for state in other if not isinstance(state, Connected)] == []


def test_what_a_server_wrote_is_shown_as_text(shell):
    schema = {"type": EVIL, "properties": {EVIL: {"type": EVIL}}, "required": [EVIL]}
    tool = types.Tool(name=EVIL, description=EVIL, input_schema=schema)
    results = [
        types.CallToolResult(content=[types.TextContent(text=EVIL)], structured_content={EVIL: EVIL}),
        types.CallToolResult(content=[types.ImageContent(data=f'"{EVIL}', mime_type="image/png")]),
        types.CallToolResult(content=[types.ImageContent(data=EVIL, mime_type="image/svg+xml")]),
        types.CallToolResult(content=[types.AudioContent(data=f'"{EVIL}', mime_type="audio/wav")]),
    ]
    for value in (tool, *results):
        shown = show(shell, value)
        assert "script" not in [tag for tag, _ in shown.found]
        assert not any("onerror" in attributes for _, attributes in shown.found)


@pytest.mark.parametrize("broken", [None, 5, "a", {"a": 1}])
def test_an_invalid_schema_does_not_break_the_list(shell, broken):
    schemas = [
        {"properties": {"a": {"type": "string"}}, "required": broken},
        {"properties": {"a": broken}},
        {"properties": broken},
    ]
    tools = [types.Tool(name=f"tool{number}", input_schema=schema) for number, schema in enumerate(schemas)]
    shown = show(shell, types.ListToolsResult(tools=tools))
    assert [f"tool{number}" in shown.text for number in range(3)] == [True] * 3
    assert "a: string optional" in shown.text


def test_long_text_is_cut(shell):
    much = types.CallToolResult(content=[types.TextContent(text="x" * 1_000_000)])
    assert "(1000000 characters)" in show(shell, much).text


def test_without_the_extension_objects_are_shown_unchanged(shell):
    shell.run_line_magic("unload_ext", "mcp_ws_ide.notebook")
    data, _ = shell.display_formatter.format(types.CallToolResult(content=[]))
    assert "text/html" not in data
    shell.run_line_magic("load_ext", "mcp_ws_ide.notebook")
