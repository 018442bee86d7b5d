"""The blocking client: functions, results and errors, threads and event loops, and sessions that end."""

from __future__ import annotations

import gc
import inspect
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp_ws_ide.client import Connected, SyncClient, ToolError, UnknownServerError, connect_sync
from mcp_ws_ide.client.sync.namespaces import expanded, variables_of
from mcp_ws_ide.client.sync.questions import value_of
from mcp_ws_ide.client.sync.results import table_of
from mcp_ws_ide.client.sync.schemas import LEFT, annotation, arguments_of, attribute_name, signature_of
from tests.conftest import BOUND, PROGRAMS, Jupyter, wait_until


def opened(jupyter: Jupyter, name: str = "demo", **options: Any) -> SyncClient:
    return connect_sync(jupyter.endpoint(name), token=jupyter.token, **options)


def in_flight(jupyter: Jupyter, session: str) -> int | None:
    """How many requests of a session are open; None if the session has ended."""
    listed = jupyter.rest("GET", "sessions")[1]["sessions"]
    return next((each["in_flight"] for each in listed if each["id"] == session), None)


def session_of(states: list[Any]) -> str:
    return [state.session for state in states if isinstance(state, Connected)][-1]


@pytest.fixture(scope="module")
def mcp(jupyter):
    with opened(jupyter, progress=False) as client:
        yield client


# --- functions --------------------------------------------------------------------------------------


def test_a_tool_is_a_function_with_signature_and_docstring(mcp):
    slow = mcp.tools.slow
    assert str(inspect.signature(slow)) == "(steps: int = 5, delay: float = 0.2)"
    assert inspect.getdoc(slow).startswith("Take a number of steps")
    assert "    steps (int, optional)" in slow.__doc__
    assert {"echo", "slow"} <= set(dir(mcp.tools))
    assert mcp.tools.echo("hi").text == mcp.tools["echo"](text="hi").text == "hi"
    assert mcp.tools.slow(1, delay=0).text == "1 steps done"


def test_resources_and_prompts_are_functions(mcp):
    assert mcp.resources.item(item_id="a b").text == "item a b"
    assert mcp.resources.counter().text == mcp.read("demo://counter").text
    greeting = mcp.prompts.greet(name="Ann")
    assert greeting.messages[0]["role"] == "user"
    assert repr(greeting) == "user: Greet Ann kindly."
    assert mcp.prompt("greet", {"name": "Ann"}).text == greeting.text


def test_a_list_is_shown_in_one_line_each_and_a_client_in_one(mcp):
    assert "slow(steps, delay)  Take a number of steps" in repr(mcp.tools)
    assert repr(mcp).startswith("<demo: ")
    assert "<code>demo://counter</code>" in mcp._repr_html_()


def test_what_does_not_exist_or_fit_is_named(mcp):
    with pytest.raises(AttributeError, match=r"demo has no tool 'ecoh'; did you mean 'echo'\?"):
        _ = mcp.tools.ecoh
    with pytest.raises(KeyError, match="it has greet"):
        mcp.prompts["zzz"]
    with pytest.raises(
        TypeError, match=r"echo\(\) missing a required argument: 'text'; its signature is \(text: str"
    ):
        mcp.tools.echo()
    assert not hasattr(mcp.tools, "_repr_png_")


def test_a_tool_that_was_added_later_is_found(jupyter):
    with opened(jupyter) as mcp:
        name = mcp.tools.grow().text
        assert getattr(mcp.tools, name)().text == f"I am {name}"


def test_any_call_of_the_asynchronous_client_can_be_run(mcp):
    assert "echo" in [tool.name for tool in mcp.run(mcp.client.list_tools()).tools]


# --- results ----------------------------------------------------------------------------------------


def test_results_have_text_json_and_binary_parts(mcp):
    assert mcp.tools.add(1, 2).json == 3
    assert mcp.tools.add(1, 2).structured == {"result": 3}
    assert mcp.read("demo://counter").json >= 0
    assert mcp.tools.image().blobs[0].startswith(b"\x89PNG")
    assert repr(mcp.tools.image()).startswith("[image/png, ")
    with pytest.raises(ValueError, match=r"the resource demo://item/7 has no JSON, but begins with 'item 7'"):
        _ = mcp.read("demo://item/7").json


def test_the_display_of_a_long_text_is_bounded_and_says_so(mcp):
    shown = repr(mcp.tools.big(1_000_000))
    assert len(shown) < 6_000
    assert shown.endswith("… 1,000,000 characters in 1 lines; .text has all")


def test_a_data_frame_needs_pandas_and_says_how_to_get_it(mcp, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"\.df needs pandas: pip install pandas"):
        _ = mcp.tools.add(1, 2).df


@pytest.mark.parametrize(
    ("value", "table"),
    [
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ({"total": 2, "rows": [{"a": 1}, {"a": 2}]}, [{"a": 1}, {"a": 2}]),
        ({"a": [1, 2], "b": [3, 4]}, {"a": [1, 2], "b": [3, 4]}),
        ({"a": [1, 2], "b": [3]}, [{"a": [1, 2], "b": [3]}]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([1, "x"], {"value": [1, "x"]}),
        ([], {"value": []}),
        ({"a": 1}, [{"a": 1}]),
    ],
)
def test_lists_and_objects_are_tables(value, table):
    assert table_of(value, "it") == table


def test_a_number_is_no_table():
    with pytest.raises(ValueError, match=r"the result of add is no table, but 3; use \.json"):
        table_of(3, "the result of add")


# --- errors, time limits and interrupts -------------------------------------------------------------


def test_an_error_of_a_tool_is_an_exception_with_the_result(mcp):
    with pytest.raises(ToolError, match=r"fail: .*no luck") as raised:
        mcp.tools.fail("no luck")
    assert raised.value.tool == "fail"
    assert "no luck" in raised.value.result.text
    assert [frame.name for frame in raised.traceback] == [
        "test_an_error_of_a_tool_is_an_exception_with_the_result",
        "called",
    ]


def test_errors_of_connecting_and_of_the_protocol_pass_unchanged(jupyter, mcp):
    with pytest.raises(UnknownServerError, match=r"configured servers: .*demo"):
        opened(jupyter, "nosuch")
    with pytest.raises(MCPError):
        mcp.read("demo://nothing/there")


@pytest.fixture
def interrupts():
    """Let SIGINT raise KeyboardInterrupt, also where the tests run in the background, which ignores it."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.parametrize("stop", ["timeout", "interrupt"])
def test_a_call_that_is_given_up_is_cancelled_at_the_server(jupyter, interrupts, stop):
    states: list[Any] = []
    with opened(jupyter, "fast", on_state=states.append) as mcp:
        slow = {"steps": 1000, "delay": 0.05}
        if stop == "timeout":
            with pytest.raises(TimeoutError, match=r"slow took more than 0.2 s, and was cancelled"):
                mcp.call("slow", slow, timeout=0.2)
        else:
            with pytest.raises(KeyboardInterrupt):
                mcp.call("slow", slow, on_progress=lambda *_: signal.raise_signal(signal.SIGINT))
        wait_until(lambda: in_flight(jupyter, session_of(states)) == 0, what="the cancellation")
        assert mcp.call("echo", {"text": "after"}).text == "after"


def test_an_exception_of_a_callback_ends_the_call_and_is_raised(jupyter):
    def refuse(message: str, schema: Any) -> dict[str, Any]:
        raise ZeroDivisionError(message)

    with opened(jupyter, on_elicit=refuse) as mcp:
        with pytest.raises(ZeroDivisionError, match=r"What is your name\?") as raised:
            mcp.tools.elicit()
        assert raised.traceback[-1].name == "refuse", "frames of the user are kept"
        assert mcp.tools.echo("after").text == "after"


# --- questions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_questions_are_answered_in_the_thread_of_the_call_in_both_eras(jupyter, mode):
    threads, seen = [], []

    def answer(message: str, schema: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        seen.append((message, sorted(schema["properties"])))
        assert mcp.tools.echo("meanwhile").text == "meanwhile"
        return {"name": "Ann"}

    def complete(params: dict[str, Any]) -> str | None:
        return params["messages"][0]["content"]["text"].upper()

    with opened(jupyter, mode=mode, on_elicit=answer, on_sample=complete) as mcp:
        assert mcp.tools.elicit().text == "hello Ann"
        assert mcp.tools.sample(prompt="why").text == "the model says: WHY"
    assert threads == [threading.current_thread()]
    assert seen == [("What is your name?", ["agree", "name"])]


def test_a_server_learns_that_nobody_can_be_asked(mcp):
    with pytest.raises((ToolError, MCPError)):
        mcp.tools.elicit()


@pytest.mark.parametrize(
    ("typed", "schema", "value"),
    [
        ("7", {"type": "integer"}, 7),
        ("0.5", {"type": "number"}, 0.5),
        ("Yes", {"type": "boolean"}, True),
        ("n", {"type": "boolean"}, False),
        ("b", {"type": "string", "enum": ["a", "b"]}, "b"),
        ("b", {"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, "b"),
        ("a, b", {"type": "array", "items": {"enum": ["a", "b", "c"]}}, ["a", "b"]),
        ("free text", {"type": "string"}, "free text"),
    ],
)
def test_a_typed_answer_becomes_the_value_that_the_form_wants(typed, schema, value):
    assert value_of(typed, schema) == value


@pytest.mark.parametrize(
    ("typed", "schema", "reason"),
    [
        ("7.5", {"type": "integer"}, "whole number"),
        ("nan", {"type": "number"}, "number"),
        ("maybe", {"type": "boolean"}, "y or n"),
        ("d", {"enum": ["a", "b"]}, "one of a, b"),
        ("", {"type": "string"}, "required"),
    ],
)
def test_a_typed_answer_that_does_not_fit_is_explained(typed, schema, reason):
    with pytest.raises(ValueError, match=reason):
        value_of(typed, schema)


# --- threads, loops and ends ------------------------------------------------------------------------


def test_one_client_serves_several_threads(mcp):
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda number: mcp.tools.echo(str(number)).text, range(20)))
    assert texts == [str(number) for number in range(20)]


async def test_it_works_while_an_event_loop_runs(mcp):
    assert mcp.tools.echo("from a coroutine").text == "from a coroutine"


def test_the_loop_itself_may_not_wait_for_itself(jupyter):
    raised: list[BaseException] = []

    def on_state(state: Any) -> None:
        try:
            mcp_before.tools.echo("deadlock")
        except RuntimeError as error:
            raised.append(error)

    with opened(jupyter) as mcp_before, opened(jupyter, on_state=on_state):
        assert "may not make a blocking call" in str(raised[0])


def test_a_session_ends_with_its_client(jupyter):
    closed, dropped = [], []
    mcp = opened(jupyter, "fast", on_state=closed.append)
    assert in_flight(jupyter, session_of(closed)) == 0
    mcp.close()
    mcp.close()
    wait_until(lambda: in_flight(jupyter, session_of(closed)) is None, what="the end of the closed session")
    with pytest.raises(RuntimeError, match="the client of fast is closed; call connect_sync again"):
        mcp.call("echo", {"text": "late"})
    mcp = opened(jupyter, "fast", on_state=dropped.append)
    assert in_flight(jupyter, session_of(dropped)) == 0
    del mcp
    gc.collect()
    wait_until(lambda: in_flight(jupyter, session_of(dropped)) is None, what="the end of the dropped session")


def test_a_process_that_exits_closes_its_sessions_and_a_fork_uses_none(jupyter, tmp_path):
    PROGRAMS.begin()
    program = tmp_path / "program.py"
    program.write_text(f"""
import os
from mcp_ws_ide.client import connect_sync

states = []
mcp = connect_sync({jupyter.endpoint("fast")!r}, token={jupyter.token!r}, on_state=states.append)
if (child := os.fork()) == 0:
    try:
        mcp.call("echo", {{"text": "from a fork"}})
    except RuntimeError as error:
        os._exit(7 if "belongs to the process that was forked" in str(error) else 1)
print(states[0].session, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), mcp.call("echo", {{"text": "hi"}}))
""")
    done = subprocess.run(PROGRAMS.command(str(program)), capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stderr) == (0, "")
    session, *printed = done.stdout.split()
    assert printed == ["7", "hi"]
    wait_until(lambda: in_flight(jupyter, session) is None, what="the end of the session")


def test_a_session_that_was_lost_is_opened_again_by_the_next_call(jupyter):
    states: list[Any] = []
    with opened(jupyter, on_state=states.append, mode="legacy") as mcp:
        first = session_of(states)
        assert jupyter.rest("DELETE", f"sessions/{first}")[0] == 204
        wait_until(lambda: type(states[-1]).__name__ == "Lost", what="the loss")
        assert mcp.tools.echo("again").text == "again"
        assert session_of(states) != first


# --- signatures -------------------------------------------------------------------------------------


def test_a_signature_follows_from_a_schema():
    schema = {
        "properties": {
            "limit": {"type": "integer", "default": 10},
            "path": {"type": "string"},
            "since": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "order": {"enum": ["asc", "desc"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"$ref": "#/$defs/Where"},
            "with-dash": {},
        },
        "required": ["path"],
        "$defs": {"Where": {"type": "object"}},
    }
    signature = signature_of(schema)
    assert str(signature) == (
        "(path: str, limit: int = 10, since: str | None = <server's default>, order: "
        "Literal['asc', 'desc'] = <server's default>, tags: list[str] = <server's default>, "
        "where: dict = <server's default>, **arguments)"
    ).replace("Literal", "typing.Literal" if "typing.Literal" in str(signature) else "Literal")
    sent = arguments_of(signature, ("here",), {"with-dash": 1, "order": LEFT})
    assert sent == {"path": "here", "with-dash": 1}, "what is not given is left to the server"


@pytest.mark.parametrize(
    "broken", [None, 5, [], {"properties": 3}, {"properties": {"a": None}, "required": 1}]
)
def test_an_invalid_schema_makes_a_function_all_the_same(broken):
    assert isinstance(signature_of(broken), inspect.Signature)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, str),
        ({"type": ["string", "null"]}, str | None),
        ({"type": "array"}, list),
        ({"type": "no such"}, Any),
        ({"anyOf": [{"type": "null"}]}, None),
        ({"enum": [[1]]}, Any),
    ],
)
def test_a_schema_is_annotated_as_its_type(schema, kind):
    assert annotation(schema) == kind


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("git_log", "git_log"), ("git-log", "git_log"), ("2d", "_2d"), ("class", "class_")],
)
def test_any_name_becomes_an_attribute(name, attribute):
    assert attribute_name(name) == attribute


@pytest.mark.parametrize(
    ("template", "values", "uri"),
    [
        ("demo://item/{id}", {"id": "a b/c"}, "demo://item/a%20b%2Fc"),
        ("file:///{+path}", {"path": "a/b"}, "file:///a/b"),
        ("x://y{/a,b}{?q,r}", {"a": "1", "b": "2", "r": "&"}, "x://y/1/2?r=%26"),
        ("x://y{?q}", {}, "x://y"),
    ],
)
def test_the_template_of_an_uri_is_expanded(template, values, uri):
    assert expanded(template, values) == uri
    assert {name for name, optional in variables_of(template) if not optional} <= set(values)
