"""Instructions that one call costs in the gateway's own Python, without sockets: repeatable on a busy machine.

Runs a session, its upstream and a transport that answers at once in one process, under valgrind's callgrind, with two
numbers of calls; the difference, divided by the calls in between, is what one call costs. System calls and the kernel
are not in it: ``bench.py`` measures those. Compare two states of the code by running this file in each.

Usage: ``python benchmarks/instructions.py`` (needs valgrind; takes about two minutes).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from typing import Any, Final

from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core import binding, messages
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.gateway import Gateway, Limits, server_registry
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.transports.base import Transport

CALLS: Final = (700, 2100)
"""Calls of the two runs."""
PAYLOAD: Final = b"x" * 900
WAYS: Final = ("modern", "handshake", "resumable")
META: Final = json.dumps(
    {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
).encode()


class Answering(Transport):
    """A server that answers each request at once."""

    kind = "answering"
    queued_bytes = 0

    @classmethod
    def from_spec(cls, spec: Any, supplies: Any) -> Answering:
        """Return a transport; it needs nothing."""
        return cls()

    async def connect(self, receiver: Any) -> None:
        """Keep the receiver."""
        self._receiver = receiver

    def send(self, message: bytes) -> None:
        """Answer a request."""
        start = message.index(b'"id":') + 5
        raw_id = message[start : message.index(b",", start)]
        result = b'{"content":[{"type":"text","text":"%b"}]}' % PAYLOAD
        self._receiver.message_received(b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (raw_id, result))

    def pause_reading(self) -> None:
        """Do nothing: answers are not held back."""

    def resume_reading(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Report the end."""
        self._receiver.transport_closed("closed")


class Counting:
    """A link that counts what it is given."""

    queued_bytes = 0
    count = 0

    def send(self, data: bytes) -> None:
        """Count a frame."""
        self.count += 1

    def deliver(self, message: messages.Message) -> None:
        """Count a message."""
        self.count += 1

    def close(self, *_: Any) -> None:
        """Do nothing."""

    def set_reading(self, reading: bool) -> None:
        """Do nothing."""

    def bind(self, *_: Any) -> None:
        """Do nothing."""


async def calls(way: str, number: int) -> None:
    """Make ``number`` calls through one session."""
    server_registry.make_transport = lambda spec, supplies: Answering()
    gateway = Gateway(Limits())
    gateway.configure(Configuration({"a": ServerSpec("a", "bench", command="x")}, []))
    server, link = gateway.servers["a"], Counting()
    meta = b',"_meta":%b' % META if way != "handshake" else b""
    if way != "handshake":
        server.era = Era.MODERN
    resumable = way == "resumable"
    open_session = gateway.open_resumable_session if resumable else gateway.open_session
    session: Any = open_session(server, link, LinkInfo("me"))
    frames = [
        b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%b"}%b}}'
        % (own, PAYLOAD, meta)
        for own in range(number + 1)
    ]

    def receive(data: bytes) -> None:
        if resumable:
            session.receive_frame(link, data, time.perf_counter())
        else:
            session.receive(data, time.perf_counter())

    receive(frames[0])
    while session.core.pending:  # noqa: ASYNC110 - no event: the upstream connects within a few turns
        await asyncio.sleep(0)
    for own, frame in enumerate(frames[1:], 1):
        receive(frame)
        if resumable and own % 7 == 0:
            receive(binding.ack(own))
    assert link.count >= number, f"{link.count} of {number} answers came"


def instructions(way: str, number: int) -> int:
    """Return the instructions of a run in a process of its own."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*command, way, str(number)], env=environment, capture_output=True, text=True, check=True
    )
    counted = re.search(r"Collected : (\d+)", done.stderr)
    assert counted is not None, done.stderr
    return int(counted[1])


def main() -> None:
    """Print the instructions of one call, for each way."""
    if len(sys.argv) == 3:
        return asyncio.run(calls(sys.argv[1], int(sys.argv[2])))
    few, many = CALLS
    for way in WAYS:
        cost = (instructions(way, many) - instructions(way, few)) / (many - few)
        print(f"{way:10} {cost / 1000:7.1f} thousand instructions a call", flush=True)
    return None


if __name__ == "__main__":
    main()
