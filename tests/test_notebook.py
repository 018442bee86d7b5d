"""What notebooks show of tools and results; and the guide for notebooks, in a kernel of the Jupyter that is the gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.blocking.client import BlockingKernelClient

from mcp_ws_ide.client import Connected, connect, connect_sync
from tests.conftest import BOUND, DEMO, Jupyter, wait_until

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
    shell.run_line_magic("load_ext", "mcp_ws_ide")
    yield shell
    shell.run_line_magic("unload_ext", "mcp_ws_ide")
    InteractiveShell.clear_instance()


def show(shell: InteractiveShell, value: object) -> Elements:
    data, _ = shell.display_formatter.format(value)
    return Elements(data["text/html"])


async def test_tools_and_results_of_a_real_server_are_shown(jupyter, shell):
    async with connect(jupyter.endpoint("demo"), token=jupyter.token) as client:
        tools = show(shell, await client.list_tools())
        assert "echo" in tools.text
        assert "text: str" in tools.text
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
    names: dict[str, Any] = {"connect_sync": connect_sync, "print": lambda *shown: None}
    other: list[object] = []
    async with connect(jupyter.endpoint("demo"), token=jupyter.token, on_state=other.append) as client:
        await asyncio.to_thread(exec, source, names)
        await client.call_tool("echo", {"text": "still there"})
    assert [type(state).__name__ for state in names["states"]][:3] == ["Connected", "Reconnecting", "Resumed"]
    assert names["progress"] == [1, 2, 3, 4, 5, 6]
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
    assert "a: str optional" in shown.text


@pytest.mark.parametrize(
    ("texts", "structured", "shown"),
    [
        (["5.0"], {"result": 5.0}, "5.0"),
        (['{"a": 1}'], {"a": 1}, '{\n  "a": 1\n}'),
        (['[{"a": 1}]'], {"result": [{"a": 1}]}, "a1"),
        (['{"n": 1, "rows": [{"a": 1}]}'], {"n": 1, "rows": [{"a": 1}]}, '{\n  "n": 1\n}rowsa1'),
        (["one"], {"a": 1}, 'onestructured content{\n  "a": 1\n}'),
    ],
)
def test_text_that_repeats_the_structured_content_is_shown_once(shell, texts, structured, shown):
    contents = [types.TextContent(text=text) for text in texts]
    result = types.CallToolResult(content=contents, structured_content=structured)
    assert show(shell, result).text == shown


def test_long_text_is_cut(shell):
    much = types.CallToolResult(content=[types.TextContent(text="x" * 1_000_000)])
    assert "(1000000 characters)" in show(shell, much).text


def test_without_the_extension_objects_are_shown_unchanged(shell):
    shell.run_line_magic("unload_ext", "mcp_ws_ide")
    data, _ = shell.display_formatter.format(types.CallToolResult(content=[]))
    assert "text/html" not in data
    shell.run_line_magic("load_ext", "mcp_ws_ide")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Kernel:
    """A kernel that a Jupyter server has started, as for a notebook."""

    def __init__(self, jupyter: Jupyter) -> None:
        self._jupyter = jupyter
        self.id = self._api("POST", "", {"name": "python3"})["id"]
        self._client = BlockingKernelClient()
        self._client.load_connection_file(str(jupyter.home / "runtime" / f"kernel-{self.id}.json"))
        self._client.start_channels()
        wait_until(self._is_ready, what="the kernel")

    def _is_ready(self) -> bool:
        try:
            self._client.wait_for_ready(BOUND)
        except RuntimeError:  # it has not answered a heartbeat yet
            return False
        return True

    def _api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"token {self._jupyter.token}"}
        status, _, text = self._jupyter.request(method, f"api/kernels{path}", body, headers)
        assert status < 300, text
        return json.loads(text) if text else None

    def interrupt(self) -> None:
        self._api("POST", f"/{self.id}/interrupt", {})

    def end(self) -> None:
        self._client.stop_channels()
        self._api("DELETE", f"/{self.id}")

    def run(self, code: str, answers: Sequence[str] = (), until: str = "") -> str:
        """Run a cell; return the text of its outputs. Answers what it asks; interrupts it when it has shown ``until``."""
        answering, shown, interrupted = iter(answers), [], False

        def answer(message: dict[str, Any]) -> None:
            shown.append(message["content"]["prompt"])
            self._client.input(next(answering))

        def show(message: dict[str, Any]) -> None:
            nonlocal interrupted
            content = message["content"]
            text = content.get("text", "") or content.get("data", {}).get("text/plain", "")
            text += "\n".join(content.get("traceback", []))
            if message["msg_type"] == "stream" and shown and shown[-1].endswith("\n"):
                shown[-1] += text  # what a cell prints comes in pieces
            elif text:
                shown.append(text)
            if until and until in text and not interrupted:
                interrupted = True
                self.interrupt()

        self._client.execute_interactive(
            code, allow_stdin=True, stdin_hook=answer, output_hook=show, timeout=BOUND
        )
        return without_colours("\n".join(shown))

    def complete(self, code: str) -> list[str]:
        return self._client.complete(code, reply=True, timeout=BOUND)["content"]["matches"]

    def inspect(self, code: str) -> str:
        shown = self._client.inspect(code, reply=True, timeout=BOUND)["content"]["data"]["text/plain"]
        return without_colours(shown)


@pytest.fixture(scope="module")
def kernel(jupyter, tmp_path_factory) -> Iterator[Kernel]:
    kernel = Kernel(jupyter)
    folder = tmp_path_factory.mktemp("notebook")  # the guide writes a file
    kernel.run(f"import os; os.chdir({str(folder)!r})")
    kernel.run("from mcp_ws_ide.client import connect_sync; mcp = connect_sync('demo')")
    yield kernel
    kernel.end()


@pytest.mark.heavy
def test_the_examples_of_the_guide_work_as_printed(kernel):
    guide = (ROOT / "docs" / "guides" / "notebook.md").read_text(encoding="utf-8")
    cells = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    expected = [
        "<demo: ",
        "hello",
        "41",
        "",
        "user: Greet Ann kindly.",
        "fail said: Error executing tool fail: no luck",
        "2.0 of 2.0\n2 steps done",
        "hello Ann\nthe model says: forty-two",
        "demo  running",
        "Several lines\nof text",
        "from a script",
        "True",
        "['a', 'b', 'c']",
    ]
    shown = [kernel.run(cell) for cell in cells]
    for cell, text, part in zip(cells, shown, expected, strict=True):
        assert part in text, cell
        assert "Traceback" not in text, cell


@pytest.mark.heavy
def test_a_cell_asks_is_interrupted_and_shows_short_tracebacks(kernel):
    asked = kernel.run("mcp.tools.elicit()", answers=["", "Ann", "n"])
    assert "demo asks: What is your name?" in asked
    assert "A value is required." in asked
    assert "hello Ann" in asked
    assert "elicitation was decline" in kernel.run("mcp.tools.elicit()", answers=["/decline"])
    interrupted = kernel.run("mcp.tools.slow(10_000, 0.02)", until="slow: ")
    assert "KeyboardInterrupt" in interrupted
    failed = kernel.run("mcp.tools.fail()")
    assert "ToolError: fail: Error executing tool fail" in failed
    absent = kernel.run("connect_sync('absent')")
    assert "ServerUnavailableError: server 'absent': command not found: 'no-such-command'" in absent
    for traceback in (interrupted, failed, absent):
        assert "----> 1 " in traceback
        assert "mcp_ws_ide" not in traceback, "only the lines of the user are shown"
    assert "hello" in kernel.run("mcp.tools.echo('hello')")
    assert "slow: 3 of 3" in kernel.run("mcp.tools.slow(3, 0)")


@pytest.mark.heavy
def test_tab_completes_tools_arguments_and_the_magic(kernel):
    kernel.run("%load_ext mcp_ws_ide")
    assert "mcp.tools.slow" in [f"mcp.tools.{name}" for name in kernel.complete("mcp.tools.sl")]
    assert {"steps=", "delay="} <= set(kernel.complete("mcp.tools.slow("))
    assert "mcp.tools.slow(steps: int = 5, delay: float = 0.2)" in kernel.inspect("mcp.tools.slow")
    assert "and" not in kernel.complete("%mcp "), "what Python has does not follow"
    assert kernel.complete("%mcp de") == ["demo"]
    assert kernel.complete("result = %mcp demo sl") == ["slow"]
    assert kernel.complete("%mcp demo demo://c") == ["demo://counter"]
    assert kernel.complete("%%mcp demo slow steps=1 d") == ["delay="]
    assert "echo() " in kernel.run("mcp.tools.echo(txt=1)")
    assert "echo needs text as well" in kernel.run("%mcp demo echo")
    assert "'c=3' is no argument; write NAME=VALUE, with NAME one of a, b" in kernel.run(
        "%mcp demo add a=1 c=3"
    )
    assert "steps=x is no int; write it as JSON" in kernel.run("%mcp demo slow steps=x")
    assert "7.0" in kernel.run("x = 5\nresult = %mcp demo add a=$x b=2\nresult.json")
