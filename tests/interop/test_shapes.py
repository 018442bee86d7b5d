"""The twenty shapes that users of similar products report (issue 16), each by the test that shows its end.

Shapes of messages, names, lists and schemas are tested here: on one Jupyter, with every transport of the client and in
both eras. :data:`ELSEWHERE` names the tests of the others, which need a proxy, a remote server or another machine.
Each test here has a bound in seconds and records the time to its end.
"""

from __future__ import annotations

import ast
import importlib
import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from mcp_ws_ide.client import connect
from tests.conftest import TESTS, Jupyter
from tests.servers.shapes import LEVELS, WIDE

SHAPES = str(TESTS / "servers" / "shapes.py")
BOUND = 15.0
"""Seconds in which each shape must have come to its end, also on a loaded machine."""
FRAMED = 30.0
"""Seconds for a server that reads frames alone: it is asked after 6 s of silence."""

ELSEWHERE = {
    "a proxy in the environment": (
        "test_proxy_environment.py::test_the_clients_reach_a_gateway_on_this_machine_whatever_the_proxy",
        "test_proxy_environment.py::test_the_commands_reach_this_machine_whatever_the_proxy",
        "test_proxy_environment.py::test_a_remote_server_on_this_machine_is_reached_directly",
        "test_proxy_environment.py::test_a_socks_proxy_without_its_package_is_an_error_with_the_cure",
    ),
    "a server that pings while its client is away": (
        "gateway/test_pings.py::test_a_detached_session_is_answered_for_at_once",
        "gateway/test_pings.py::test_an_http_client_without_an_open_response_is_answered_for_at_once",
        "gateway/test_pings.py::test_a_client_that_does_not_answer_is_answered_for",
    ),
    "headers that the transport owns": (
        "config/test_dialects.py::test_a_header_that_the_transport_sets_is_ignored_with_a_notice",
    ),
    "a client opened in one place and closed in another": (
        "client/test_own_task.py::test_a_client_is_opened_in_one_task_and_closed_in_another",
        "client/test_own_task.py::test_the_first_of_two_exit_stacks_is_closed_first",
        "client/test_own_task.py::test_a_notebook_opens_a_client_in_one_cell_and_closes_it_in_another",
    ),
    "a remote server that forgets its session": (
        "handlers/test_remote_servers.py::"
        "test_a_remote_server_that_forgets_sessions_costs_no_session_of_the_gateway",
        "transports/test_http.py::test_a_server_that_forgets_at_once_is_not_asked_for_ever",
        "handlers/test_renewed_sessions.py::test_a_lost_session_is_opened_again_with_the_same_handshake",
    ),
    "Jupyter without a token": (
        "handlers/test_no_token.py::test_a_program_needs_no_credential_and_no_xsrf_token",
        "handlers/test_no_token.py::test_other_pages_and_foreign_hosts_are_refused_with_the_reason",
        "handlers/test_no_token.py::test_a_websocket_obeys_the_same_policy",
        "handlers/test_no_token.py::test_commands_need_no_credential",
    ),
    "an SSE endpoint elsewhere": (
        "transports/test_sse.py::test_another_spelling_of_this_machine_is_taken_as_the_address_of_the_stream",
        "transports/test_sse.py::test_a_refused_endpoint_is_an_error_with_both_addresses_and_a_cure",
        "transports/test_sse.py::test_a_404_of_the_announced_address_is_not_blamed_on_the_configured_one",
    ),
    "two protected resources on one host": (
        "handlers/test_oauth.py::test_a_call_waits_for_the_user_and_continues_with_a_stored_token",
        "handlers/test_oauth.py::test_a_refused_token_is_refreshed_also_after_a_restart",
    ),
    "a recorded host name that does not resolve": (
        "test_discovery.py::test_commands_and_clients_reach_a_server_whose_recorded_name_does_not_resolve",
        "test_discovery.py::test_the_recorded_token_is_not_sent_elsewhere",
    ),
    "variables of the user's shell": (
        "handlers/test_variables.py::"
        "test_the_error_of_a_failed_start_names_the_variables_that_were_not_passed_on",
        "handlers/test_variables.py::test_the_list_of_servers_names_them",
        "config/test_environment.py::test_the_certificates_of_a_company_reach_every_program",
    ),
    "a proxy that always says Connection: upgrade": (
        "interop/test_nginx.py::test_an_event_stream_is_not_held_back",
        "interop/test_nginx.py::test_a_call_survives_a_restart_of_the_proxy",
    ),
    "answers that cannot be read": (
        "gateway/test_odd_answers.py::test_what_cannot_be_read_fails_its_request_and_spoils_no_other",
        "gateway/test_odd_answers.py::test_one_bad_content_item_costs_no_client_the_result",
        "client/test_foreign_servers.py::test_every_call_ends_whatever_a_foreign_server_answers",
        "interop/test_odd_answers.py::test_the_own_typescript_client_waits_for_no_foreign_server",
    ),
    "large and deep messages on the screen": (
        "inspector/test_screens.py::test_a_line_that_is_cut_ends_in_a_mark_and_v_shows_it_in_full",
    ),
}
"""Shapes that are tested elsewhere, with their tests under tests/."""

NAMES = [
    "com.example/example-server",
    "Example Server",
    "\u65e5\u672c\u8a9e",
    "@scope/server",
    "a+b",
    "caf\u00e9",
    "x:y",
]
CLIENTS = ("websocket", "websocket, handshake", "http", "poll")


def entry(*arguments: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-I", "-S", SHAPES, *arguments], **more}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    configured = {
        "variable": entry("variables", "Bearer ${SHAPE_SECRET}", env={"SHAPE_SECRET": "abc"}),
        **{f"cursor-{kind}": entry("cursor", kind) for kind in ("empty", "same", "two")},
        **{f"nulls-{kind}": entry("nulls", kind) for kind in ("sorted", "reverse", "array")},
        **{f"mark-{kind}": entry("mark", kind) for kind in ("first", "each")},
        **{f"frames-{kind}": entry("frames", kind) for kind in ("headers", "silent")},
        **{name: entry(name) for name in ("numbers", "schemas", "large")},
        **{name: entry("shape") for name in NAMES},
    }
    importlib.import_module("mcp.client.streamable_http")  # takes seconds that are not the server's
    running = Jupyter(tmp_path_factory.mktemp("shapes"), configured)
    yield running
    running.stop()


def opened(shapes: Jupyter, name: str, how: str) -> AbstractAsyncContextManager[Any]:
    """Return a client of a server, over a transport and in an era."""
    url = shapes.endpoint(name)
    mode = {"mode": "legacy"} if "handshake" in how else {}
    if how.startswith("websocket"):
        return connect(url, token=shapes.token, **mode)
    return connect(f"http{url.removeprefix('ws')}", token=shapes.token, transports=(how,), **mode)


@pytest.fixture
def until_the_end(shapes, request, record_property) -> Iterator[None]:
    """Record how long the test took, and hold it to the bound."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    record_property("seconds", round(seconds, 2))
    assert seconds < (FRAMED if "frames_alone" in request.node.name else BOUND)


every_client = pytest.mark.parametrize("how", CLIENTS)
timed = pytest.mark.usefixtures("until_the_end")


@timed
@every_client
@pytest.mark.parametrize(
    "name", ["nulls-sorted", "nulls-reverse", "nulls-array", "mark-first", "mark-each", "frames-headers"]
)
async def test_a_server_that_writes_in_its_own_way_is_listed_and_called(shapes, name, how):
    async with opened(shapes, name, how) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["t"]
        assert (await client.call_tool("t", {})).content[0].text == "ok"


@timed
@pytest.mark.parametrize("how", ["websocket", "websocket, handshake"])
async def test_a_server_that_reads_frames_alone_is_understood(shapes, how):
    async with opened(shapes, "frames-silent", how) as client:
        assert (await client.call_tool("t", {})).content[0].text == "ok"


@timed
@every_client
async def test_a_variable_that_the_entry_itself_defines_is_filled_in(shapes, how):
    async with opened(shapes, "variable", how) as client:
        assert (await client.call_tool("t", {})).content[0].text == "Bearer abc"


@timed
@every_client
@pytest.mark.parametrize("kind", ["empty", "same", "two"])
async def test_a_list_whose_cursor_never_ends_holds_no_client(shapes, kind, how):
    async with opened(shapes, f"cursor-{kind}", how) as client:
        first = await client.list_tools()
        assert [tool.name for tool in first.tools] == list("abc")
        if kind == "two":
            second = await client.list_tools(cursor=first.next_cursor)
            assert [tool.name for tool in second.tools] == list("def")
        assert int((await client.call_tool("a", {})).content[0].text) <= 3


@timed
@every_client
async def test_numbers_that_json_does_not_have_reach_the_client(shapes, how):
    async with opened(shapes, "numbers", how) as client:
        values = (await client.call_tool("t", {})).structured_content["values"]
    assert values[0] == 1.5
    assert all(value is None or not math.isfinite(value) for value in values[1:])


@timed
@every_client
@pytest.mark.parametrize("name", NAMES)
async def test_any_text_names_a_server(shapes, name, how):
    listed = shapes.rest("GET", "servers")[1]["servers"]
    (address,) = [server["name"] for server in listed if name in (server["name"], server["title"])]
    async with opened(shapes, address, how) as client:
        assert (await client.call_tool("t", {})).content[0].text == "ok"


@timed
@every_client
async def test_schemas_that_lead_nowhere_cost_no_other_tool(shapes, how):
    async with opened(shapes, "schemas", how) as client:
        tools = (await client.list_tools()).tools
        assert len(tools) == 6
        assert (await client.call_tool("t", {})).structured_content == {"n": 7}
        assert (await client.call_tool("input", {})).content[0].text == "ok"


@timed
@every_client
async def test_large_and_deep_results_reach_the_client(shapes, how):
    async with opened(shapes, "large", how) as client:
        assert len((await client.list_tools()).tools) == 303
        assert (await client.call_tool("wide", {})).content[0].text == WIDE
        if how != "http":  # the SDK's own transport reads at most 200 levels
            value = (await client.call_tool("deep", {})).structured_content
            for _ in range(LEVELS):
                value = value["down"]
            assert value == "bottom"


def test_every_test_that_is_named_for_a_shape_exists():
    missing = [test for tests in ELSEWHERE.values() for test in tests if not _exists(test)]
    assert missing == []


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    tree = ast.parse((Path(TESTS) / path).read_text())
    return any(getattr(node, "name", "") == name for node in ast.walk(tree))
