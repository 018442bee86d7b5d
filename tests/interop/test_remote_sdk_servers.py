"""The HTTP and SSE servers of both majors of the Python SDK, and objects of SDK 1.x, behind our transports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports import Supplies, Transport, make_transport
from mcp_ws_ide.transports.processes import ProcessSupervisor
from tests.conftest import BOUND, MODERN, SERVERS, free_port, until, wait_until
from tests.interop.conftest import ON_SDK_1
from tests.prefork import Prefork
from tests.transports.peers import Recorder

ROOT = Path(__file__).parents[2]
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


@pytest.fixture
def serve() -> Iterator[Callable[[Prefork, str], str]]:
    """Start ``over_http.py``; returns the URL."""
    running: list[subprocess.Popen[bytes]] = []

    def start(prefork: Prefork, kind: str) -> str:
        port = free_port()
        program = ROOT / "tests" / "servers" / "over_http.py"
        prefork.begin()
        running.append(subprocess.Popen(prefork.command(str(program), kind, str(port)), cwd="/"))

        def listens() -> bool:
            assert running[-1].poll() is None
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, what="that the server listens")
        return f"http://127.0.0.1:{port}/{'mcp' if kind == 'http' else 'sse'}"

    yield start
    for process in running:
        process.kill()
        process.wait()


class Conversation:
    def __init__(self, transport: Transport) -> None:
        self.transport, self.receiver = transport, Recorder()

    async def ask(self, number: Any, method: str, params: dict[str, Any]) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.transport.send(json.dumps(message).encode())

        def answer() -> Any:
            found = map(json.loads, self.receiver.messages)
            return next((m for m in found if m.get("id") == number and "method" not in m), None)

        return await until(answer)


async def begin(kind: str, url: str) -> Conversation:
    spec = ServerSpec("sdk", "test", kind=kind, url=url)
    conversation = Conversation(make_transport(spec, Supplies(ProcessSupervisor(), {}, 10 << 20)))
    await conversation.transport.connect(conversation.receiver)
    return conversation


async def handshake(conversation: Conversation) -> None:
    answer = await conversation.ask("i", "initialize", INITIALIZE)
    assert answer["result"]["protocolVersion"] == "2025-11-25"
    conversation.transport.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    call = {"name": "slow", "arguments": {"steps": 3}, "_meta": {"progressToken": "p"}}
    answer = await conversation.ask(1, "tools/call", call)
    assert answer["result"]["content"][0]["text"] == "3"
    await until(lambda: sum(b"notifications/progress" in m for m in conversation.receiver.messages) == 3)
    large = {"name": "echo", "arguments": {"text": "x" * (2 << 20)}}
    assert len((await conversation.ask(2, "tools/call", large))["result"]["content"][0]["text"]) == 2 << 20


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_sdk_2_serves_the_handshake_era(serve, kind):
    conversation = await begin(kind, serve(SERVERS, kind))
    await handshake(conversation)
    await conversation.transport.close()
    assert conversation.receiver.reasons == ["the gateway closed it"]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_sdk_1_serves_the_handshake_era_and_reports_that_it_supports_no_other(serve, mcp1_python, kind):
    url = serve(ON_SDK_1, kind)
    conversation = await begin(kind, url)
    await handshake(conversation)
    await conversation.transport.close()
    probing = await begin(kind, url)
    answer = await probing.ask(0, "server/discover", {"_meta": MODERN})
    assert answer["error"]["code"] not in (-32020, -32021, -32022)
    await probing.transport.close()


@pytest.mark.heavy
async def test_sdk_2_serves_the_modern_era(serve):
    conversation = await begin("http", serve(SERVERS, "http"))
    answer = await conversation.ask(0, "server/discover", {"_meta": MODERN})
    assert "2026-07-28" in answer["result"]["supportedVersions"]
    call = {"name": "slow", "arguments": {"steps": 3}, "_meta": {**MODERN, "progressToken": 7}}
    assert (await conversation.ask(1, "tools/call", call))["result"]["content"][0]["text"] == "3"
    assert sum(b"notifications/progress" in m for m in conversation.receiver.messages) == 3
    answer = await conversation.ask(2, "no/such/method", {"_meta": MODERN})
    assert answer["error"]["code"] == -32601
    await conversation.transport.close()


IN_PROCESS = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from mcp_ws_ide.transports.inprocess import InProcessTransport

class Receiver:
    def message_received(self, message): answers.put_nowait(json.loads(message))
    def noise_received(self, source, text): print(text)
    def transport_closed(self, reason): print("closed:", reason)
    def write_paused(self, paused): pass

async def main():
    global answers
    answers = asyncio.Queue()
    transport = InProcessTransport("objects:server", load_timeout=%r)
    await transport.connect(Receiver())
    transport.send(json.dumps({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": %r}).encode())
    print((await answers.get())["result"]["protocolVersion"])
    transport.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    call = {"name": "echo", "arguments": {"text": "hello"}}
    transport.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode())
    print((await answers.get())["result"]["content"][0]["text"])
    await transport.close()

asyncio.run(asyncio.wait_for(main(), %r))
"""


@pytest.mark.heavy
def test_an_object_of_sdk_1_serves_in_process(run_program, mcp1_python):
    printed = run_program(
        mcp1_python, "-c", IN_PROCESS % (BOUND, INITIALIZE, 2 * BOUND), str(ROOT / "tests" / "servers")
    )
    assert printed.split("\n")[:3] == ["2025-11-25", "hello", "closed: the gateway closed it"]


OAUTH = """
import asyncio, pathlib, sys, httpx2
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.transports.authorizations import Authorizations

async def main():
    authorizations = Authorizations(pathlib.Path(sys.argv[1]), lambda: "http://localhost:8888/", 5)
    far = ServerSpec("far", "test", kind="http", url="http://localhost/mcp", oauth={})
    refuse = httpx2.MockTransport(lambda request: httpx2.Response(401))
    async with httpx2.AsyncClient(transport=refuse) as client:
        try:
            await authorizations.of(far, "me").send(client, httpx2.Request("POST", far.url))
        except Exception as error:
            print(type(error).__name__, error)
    await authorizations.aclose()

asyncio.run(main())
"""


@pytest.mark.heavy
def test_beside_sdk_1_a_server_that_requires_oauth_is_refused_with_a_reason(
    run_program, mcp1_python, tmp_path
):
    printed = run_program(mcp1_python, "-c", OAUTH, str(tmp_path))
    assert printed.startswith(
        "AuthorizationMissingError server 'far' is not authorized; OAuth needs version 2"
    )


def test_no_gateway_module_imports_the_sdk_before_a_python_server_is_used():
    program = "import sys, mcp_ws_ide.app; assert not {'mcp', 'mcp_types', 'pydantic'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
