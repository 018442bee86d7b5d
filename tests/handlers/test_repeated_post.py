"""POSTs whose head repeats: what they leave in memory, and how long half of one stays.

Their answers are tested in test_streamable_http.py.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from mcp_ws_ide.admissions import Admission, Admissions
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.links.half_open import BODY_SECONDS, HalfOpen
from tests.conftest import until

BENCHMARKS: Final = Path(__file__).parents[2] / "benchmarks"
COUNT: Final = """
import asyncio, gc
from instructions import http_calls
from mcp_ws_ide.handlers.repeated_post import RepeatedPost

async def main():
    gc.disable()
    await http_calls(140)
    print(sum(isinstance(thing, RepeatedPost) for thing in gc.get_objects()))

asyncio.run(main())
"""
"""Makes calls over HTTP as ``make bench-instructions`` does; prints how many of their objects are left."""


def test_an_answered_post_is_freed_without_the_garbage_collector():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(BENCHMARKS), *sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"], done.stderr


class AdmitsAll(Admissions):
    """Admissions that need no first request of a head."""

    def find(self, request: Any) -> Admission:
        """Return an admission."""
        return Admission("a", "me", ("", "", ""), None, None, {}, time.monotonic() + 3600)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"]
)
async def test_half_a_body_of_a_post_whose_head_repeats_does_not_stay(framing):
    half_open = HalfOpen()
    runtime: Any = SimpleNamespace(
        gateway=Gateway(Limits()), admissions=AdmitsAll(lambda token_id: True), half_open=half_open
    )
    server = HTTPServer(RepeatRouter(runtime))
    ours, theirs = socket.socketpair()
    stream = IOStream(ours)
    server.handle_stream(stream, ("127.0.0.1", 0))
    theirs.sendall(b"POST /mcp-ws/servers/a HTTP/1.1\r\nHost: x\r\n" + framing)
    clock = itertools.count(0.0, BODY_SECONDS)

    def closed() -> bool:
        half_open.tick([], next(clock))
        return stream.closed()

    await until(closed, 10)
    assert theirs.recv(10) == b""
    theirs.close()
    await server.close_all_connections()
