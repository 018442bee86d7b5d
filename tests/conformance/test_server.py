"""``mcp-ws-conformance URL`` against this gateway, which passes, and against others, whose known faults it finds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mcp_ws_ide.conformance.cli import main
from mcp_ws_ide.conformance.running import Run
from mcp_ws_ide.conformance.server.run import check_server
from mcp_ws_ide.conformance.server.target import Target, UnreachableError
from mcp_ws_ide.conformance.verdicts import Verdict
from mcp_ws_ide.conformance.wire import Exchange, Link, open_link
from tests.conftest import DEMO, FAST_SERVER, SERVERS, free_port, wait_until
from tests.handlers.test_no_token import OPEN
from tests.interop.conftest import MCP1, PACKAGES, node
from tests.programs import need

PATIENCE = 60.0
"""Seconds to wait for an answer that comes."""
SILENCE = 10.0
"""Seconds to wait for an answer of an endpoint that does not always answer."""
PROGRESS = {"steps": 4, "delay": 0.15}


def target(url: str, token: str | None = None, **more: object) -> Target:
    options = {"timeout": PATIENCE, "echo_tool": "echo", "progress_tool": "slow", **more}
    return Target(url, token, progress_arguments=PROGRESS, **options)  # type: ignore[arg-type]


def having(run: Run, verdict: Verdict) -> set[str]:
    return {result.check.id for result in run.results if result.verdict is verdict}


def others(run: Run) -> dict[str, str]:
    """What did not pass, and is applicable."""
    good = (Verdict.PASS, Verdict.NOT_APPLICABLE)
    return {
        result.check.id: f"{result.verdict}: {result.outcome.came}"
        for result in run.results
        if result.verdict not in good
    }


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_this_gateway_passes(jupyter, era):
    run = await check_server(target(jupyter.endpoint("fast"), jupyter.token, era=era), [], False)
    assert others(run) == {}
    assert having(run, Verdict.NOT_APPLICABLE) == {"host-rebinding"}
    assert run.count(Verdict.PASS) > 90
    assert set(run.left_out) == {"liveness-ping", "liveness-lost", "hello-first/timeout"}


async def test_this_gateway_without_a_token_refuses_a_foreign_host(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, *OPEN)
    run = await check_server(target(jupyter.endpoint("fast")), ["origin", "host-rebinding"], False)
    assert others(run) == {}
    assert having(run, Verdict.PASS) == {
        "origin-foreign",
        "origin-foreign/own",
        "origin-fetch-site",
        "host-rebinding",
    }


@contextlib.contextmanager
def program(port: int, *command: str) -> Iterator[None]:
    """A server in a process of its own."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:

        def listens() -> bool:
            assert process.poll() is None
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False

        wait_until(listens, what="the server")
        yield
    finally:
        process.terminate()
        process.wait()


async def test_the_websocket_server_of_the_python_sdk_1():
    need(MCP1.exists(), "the environment with mcp 1.x")
    port = free_port()
    with program(port, str(MCP1), str(Path(__file__).with_name("sdk1_server.py")), str(port)):
        run = await check_server(target(f"ws://127.0.0.1:{port}/ws", timeout=SILENCE), [], False)
    assert having(run, Verdict.FAIL) == {
        "endpoint-404",  # it takes any path
        "subprotocol-none",  # it selects mcp, which was not offered
        "subprotocol-unknown",
        "origin-foreign",
        "host-rebinding",
        "frames-surrogate",  # what does not parse is not answered
        "frames-json",
        "frames-message/batch",
        "frames-message/version",
        "frames-same-id",
    }
    assert {"frames-binary", "frames-fragile"} <= having(run, Verdict.WARN)  # it crashes at a binary message
    assert having(run, Verdict.NOT_REACHED) == set()


@pytest.mark.node
async def test_supergateway():
    script, program_of_node = PACKAGES / "supergateway" / "dist" / "index.js", node()
    need(program_of_node is not None and script.exists(), "supergateway")
    SERVERS.begin()
    port, server = free_port(), " ".join([DEMO["command"], *DEMO["args"]])
    options = ["--outputTransport", "ws", "--messagePath", "/message", "--logLevel", "none"]
    command = [str(program_of_node), str(script), "--stdio", server, "--port", str(port), *options]
    with program(port, *command):
        run = await check_server(target(f"ws://127.0.0.1:{port}/message", timeout=SILENCE), [], False)
    assert having(run, Verdict.FAIL) == {
        "subprotocol-unknown",  # it selects whatever is offered first,
        "subprotocol-token",  # also a token,
        "control-open",  # and mcp.resume.v1, which it does not speak
        "origin-foreign",
        "host-rebinding",
        "frames-surrogate",
        "frames-binary",
        "frames-json",
        "frames-message/batch",
        "frames-message/version",
        "frames-same-id",
        "id-verbatim/text",  # comes back as null
        "id-verbatim/digits",  # "12" comes back as 12
        "cancel-id",  # names an id that the server never saw
        "subscription-id",
        "isolation/progress",  # progress reaches every client
    }
    assert having(run, Verdict.NOT_REACHED) == set()


@contextlib.asynccontextmanager
async def relay(url: str, token: str, fault: str) -> AsyncIterator[str]:
    """The URL of an endpoint like this gateway, but with one fault in its control frames."""
    headers = {"Authorization": f"Bearer {token}"}

    async def back(inner: ClientConnection, outer: ServerConnection) -> None:
        dropped = False
        async for message in inner:
            frame = json.loads(message)
            kind = frame.get("mcp.ws")
            if kind == fault or (fault == "replay" and kind is None and not dropped and resuming):
                dropped = kind is None
                continue
            if kind == "resumed":
                resuming.append(True)
                frame["recv"] += fault == "count"
            if fault == "window" and kind == "opened":
                del frame["window"]
            await outer.send(json.dumps(frame) if kind else message)

    async def carry(outer: ServerConnection) -> None:
        options = {"subprotocols": ["mcp.resume.v1"], "additional_headers": headers}
        async with connect(url, **options) as inner, asyncio.TaskGroup() as group:
            carrying = group.create_task(back(inner, outer))
            with contextlib.suppress(ConnectionClosed):
                async for message in outer:
                    await inner.send(message)
            if outer.close_code == 1000:
                await inner.close()
            else:
                inner.transport.abort()
            carrying.cancel()

    resuming: list[bool] = []
    async with serve(carry, "127.0.0.1", 0, subprotocols=["mcp.resume.v1"], compression=None) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


FAULTS = {
    "pong": ({"control-ping", "control-members", "liveness-control"}, set()),
    "ack": (set(), {"ack-often/frames", "ack-often/second"}),
    "count": ({"control-resumed/count", "control-count"}, set()),
    "replay": ({"resume-replay"}, set()),
    "window": ({"opened-window"}, set()),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_resuming_is_found(jupyter, fault):
    failing, warning = FAULTS[fault]
    async with relay(jupyter.endpoint("fast"), jupyter.token, fault) as url:
        only = [*failing, *warning, "control-open"]
        run = await check_server(Target(url, timeout=5.0), only, False)
    assert having(run, Verdict.FAIL) == failing
    assert having(run, Verdict.WARN) == warning
    assert having(run, Verdict.PASS) == {"control-open"}


async def test_no_check_waits_for_ever_for_an_endpoint_that_says_nothing():
    async def mute(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async with serve(mute, "127.0.0.1", 0, subprotocols=["mcp"], compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        run = await check_server(target(f"ws://127.0.0.1:{port}/", timeout=1.0, echo_tool=None), [], False)
    assert run.count(Verdict.NOT_REACHED) > 10
    assert "era-fallback" in having(run, Verdict.FAIL)
    assert run.status == 1


async def test_an_endpoint_that_changes_ids_is_told_which_ids_came():
    async def renaming(connection: ServerConnection) -> None:
        async for frame in connection:
            message = json.loads(frame)
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": str(message["id"]), "result": {}}))

    async with serve(renaming, "127.0.0.1", 0, subprotocols=["mcp"], compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        only = ["era-fallback", "id-verbatim/text"]
        run = await check_server(target(f"ws://127.0.0.1:{port}/", timeout=0.5, echo_tool=None), only, False)
    said = {result.check.id: result.outcome.came for result in run.results}
    assert 'request 1 got no response: the response that came has the id "1"' in said["era-fallback"]
    assert 'the response that came has the id "1"' in said["id-verbatim/text"]


async def test_the_close_frame_is_found_behind_messages_that_nobody_has_read():
    async def talk(connection: ServerConnection) -> None:
        await connection.send("one")
        await connection.send("two")
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        link = await open_link(f"ws://127.0.0.1:{port}/", Exchange(), PATIENCE)
        assert isinstance(link, Link)
        await link.receive(PATIENCE)
        closed = await link.close(1000, PATIENCE)
    assert closed is not None
    assert closed.code == 1000


async def test_an_endpoint_that_cannot_be_reached_is_no_failure_of_a_check(jupyter):
    with pytest.raises(UnreachableError, match="no connection: Connection refused; check the address"):
        await check_server(Target(f"ws://127.0.0.1:{free_port()}/"), [], False)
    with pytest.raises(UnreachableError, match=r"asks for a credential \(--token, .* and says: .*credential"):
        await check_server(Target(jupyter.endpoint("fast"), timeout=PATIENCE), [], False)


def test_the_command_writes_its_reports(jupyter, tmp_path, capsys):
    junit, page = tmp_path / "report.xml", tmp_path / "report.html"
    given = [
        jupyter.endpoint("fast"),
        "--token",
        jupyter.token,
        "--only",
        "2",
        "--timeout",
        str(PATIENCE),
        "--json",
    ]
    assert main([*given, "--junit", str(junit), "--html", str(page)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["pass"] == len(report["results"]) == 7
    assert jupyter.token not in json.dumps(report)
    assert ElementTree.parse(junit).getroot().attrib["tests"] == "7"
    assert "subprotocol-order" in page.read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "a URL is required"),
        (["ftp://h/"], "no ws:// or wss:// URL"),
        (["ws://h/", "--only", "nothing"], "--only nothing: no such check"),
        (["ws://h/", "--header", "X"], "not of the form"),
        (["client"], "a command is required"),
        (["client", "--", "no-such-command"], "cannot be started"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_2_and_a_reason(given, said, capsys):
    try:
        status = main(given)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_the_list_names_each_check(capsys):
    assert main(["--list", "--only", "6.3"]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "6.3  ack-count                  An ack of more than was sent ends the link."
    )
    assert main(["client", "--list"]) == 0
    assert "once " in capsys.readouterr().out
