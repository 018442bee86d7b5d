"""What anonymous connections can cost: next to no memory, and no connection for long."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import time
from urllib.parse import urlsplit

import psutil
import pytest

from mcp_ws_ide.handlers import ROUTES, SIGN_IN_ROUTES
from tests.conftest import BOUND, FAST_SERVER, Jupyter

MIB = 1 << 20
PATHS = ["servers/fast", "servers/fast/poll", "api/tokens", "servers/none"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    started = Jupyter(tmp_path_factory.mktemp("anonymous"), {"fast": FAST_SERVER})
    yield started
    started.stop()


async def flood(jupyter: Jupyter, path: str, size: int, *, chunked: bool) -> bytes:
    """Send a request with a long body as fast as it is taken; return the beginning of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /mcp-ws/{path} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n{length}\r\n\r\n"
    writer.write(head.encode())
    chunk = b"x" * 65536
    framed = b"10000\r\n" + chunk + b"\r\n" if chunked else chunk
    with contextlib.suppress(OSError):
        for _ in range(size // len(chunk)):
            writer.write(framed)
            await writer.drain()
    answer = b""
    with contextlib.suppress(OSError):
        answer = await reader.read(1000)
    writer.close()
    return answer


@pytest.mark.parametrize("chunked", [False, True])
async def test_anonymous_bodies_are_not_kept(running, chunked):
    process = psutil.Process(running.process.pid)
    await flood(running, PATHS[0], MIB, chunked=chunked)
    before, most = process.memory_info().rss, 0
    async with asyncio.timeout(BOUND):
        floods = [
            asyncio.ensure_future(flood(running, PATHS[number % len(PATHS)], 100 * MIB, chunked=chunked))
            for number in range(20)
        ]
        while not all(task.done() for task in floods):
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.05)
    for task in floods:
        status = task.result().split(b" ")[1:2]
        assert status in ([], [b"401"], [b"403"], [b"400"]), task.result()
    assert most - before <= 40 * MIB


async def test_a_short_refused_body_gets_its_answer(running):
    """Also when the body comes after the head: the connection is not reset before the response is read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    head = f"POST /mcp-ws/servers/fast HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(2):  # and the connection can be used again
        writer.write(head.encode())
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 401 " in answer.splitlines()[0]
        length = next(line for line in answer.splitlines() if line.lower().startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


@pytest.mark.parametrize("length", ["5x", "5\r\nContent-Length: 6", "9" * 5000, "", "٥"])
@pytest.mark.parametrize("known", [False, True])
async def test_a_malformed_length_is_a_client_error(running, length, known):
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    credential = f"Authorization: token {running.token}\r\n" if known else ""
    head = f"POST /mcp-ws/api/tokens HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n{credential}"
    writer.write(f"{head}Content-Length: {length}\r\n\r\n12345".encode())
    async with asyncio.timeout(BOUND):
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    assert answer.split()[1] == (b"400" if known else b"401")
    assert "ValueError" not in running.log.read_text()


async def test_silence_half_heads_and_half_bodies_do_not_stay(running):
    halves = [
        b"",
        b"GET /mcp-ws/ HTTP/1.1\r\nHost: x\r\n",
        b"POST /mcp-ws/servers/fast HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        b"POST /mcp-ws/servers/fast/poll HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        b"POST /mcp-ws/api/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n{",
    ]
    streams = [await asyncio.open_connection("127.0.0.1", running.port) for _ in halves]
    for (_, writer), half in zip(streams, halves, strict=True):
        writer.write(half)
    idle, writing = await asyncio.open_connection("127.0.0.1", running.port)
    whole = (
        f"GET /mcp-ws/api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token {running.token}\r\n\r\n"
    )
    writing.write(whole.encode())
    assert b" 200 " in await idle.read(1000)
    started = time.monotonic()
    async with asyncio.timeout(BOUND):
        for number, (reader, writer) in enumerate(streams):
            answer = b""
            with contextlib.suppress(OSError):
                answer = await reader.read()
            writer.close()
            assert number < 2 or b" 401 " in answer.partition(b"\r\n")[0], (
                "a half body is refused with a status"
            )
    assert time.monotonic() - started <= 30
    writing.write(whole.encode())
    assert b" 200 " in await idle.read(1000), "a connection between two requests stays"
    writing.close()


def half_bodies(jupyter: Jupyter) -> list[bytes]:
    """For every route of ours, and paths that are none: half a body, of a stranger and of a user, in both framings."""
    patterns = [pattern for pattern, _ in [*ROUTES, *SIGN_IN_ROUTES]]
    paths = [re.sub(r"\(\?P<name>[^)]*\)", "fast", pattern) for pattern in patterns]
    paths = [re.sub(r"\(.*?\)+", "abc", path).replace("?", "") for path in paths]
    paths += ["/mcp-ws/api/editor", "/mcp-ws/nothing/here", "/mcp-ws/api/sessions/NO/faults"]
    halves = []
    for path in dict.fromkeys(paths):
        for method in ("POST", "PUT"):
            for framing in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
                for credential in ("", f"Authorization: token {jupyter.token}\r\n"):
                    head = (
                        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{jupyter.port}\r\n{credential}{framing}"
                    )
                    halves.append(f"{head}\r\n\r\n{'a' if 'chunked' in framing else '{'}".encode())
    return halves


async def test_half_a_body_stays_on_no_route(running):
    """Also after a whole request on the same connection, whose answer ends the wait for the first bytes."""
    whole = f"GET /mcp-ws/api/live HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n\r\n".encode()
    stay: list[bytes] = []

    async def send(half: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(whole)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(half)
        stay.append(half)
        with contextlib.suppress(OSError):
            await reader.read()
        stay.remove(half)
        writer.close()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(half)) for half in half_bodies(running)]
        _, pending = await asyncio.wait(tasks, timeout=30)
        left = list(stay)
        for task in pending:
            task.cancel()
    assert left == []


def test_a_long_body_of_a_user_is_refused_with_the_limit(running):
    """The refusal comes while the body is sent, which the gateway then reads no further."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=BOUND)
    path = f"{urlsplit(running.url).path}mcp-ws/api/tokens"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", path, b"x" * 2 * MIB, {"Authorization": f"token {running.token}"})
    response = connection.getresponse()
    body = response.read()
    assert response.status == 413, body
    assert b"at most" in body
    connection.close()
