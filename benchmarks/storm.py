"""A network failure: many clients lose their links at once and resume at once, while a neighbour keeps calling.

``make bench-storm``. Each client has a call under way when its link is lost. Prints, for each storm, the time from then
until every client has its session back and the response to that call, the CPU of Jupyter in that time, the slowest call
of a neighbour whose link stays open, and the CPU of the clients, which must not be the bottleneck. Before a storm, the
clients are idle for longer than the gateway admits repeated heads, as after hours of work. Jupyter runs on one core;
clients, neighbour and MCP server run on another. Prints Markdown; docs/operate/performance.md explains it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import socket
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from bench import TOKEN, UNLIMITED, Rig, compile_programs, cpu_seconds, spread

AT_ONCE: Final = 64
"""Clients that open their sessions, or call, at the same time before a storm."""
IDLE: Final = 6.0
"""Seconds before a storm: more than ``ADMITTED_FOR`` of the gateway."""
PAUSE: Final = 0.02
"""Seconds between the calls of as many clients: what is measured is a storm of resumes, not of calls."""
STORM_SECONDS: Final = 120.0
"""Seconds after which a storm has failed."""
HEAD: Final = "\r\n".join(
    (
        *("GET /mcp-ws/servers/echo HTTP/1.1", "Host: 127.0.0.1:{port}", "Upgrade: websocket"),
        *("Connection: Upgrade", "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Protocol: {protocol}", f"Authorization: token {TOKEN}", "User-Agent: storm", "", ""),
    )
)
META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "storm", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class StormRig(Rig):
    """One Jupyter with the gateway."""

    def _start_all(self, configuration: Path) -> None:
        self.start_gateway("gateway", configuration, *UNLIMITED)


def head(port: int, protocol: str) -> bytes:
    """Return a handshake."""
    return HEAD.format(port=port, protocol=protocol).encode()


def call(number: int) -> bytes:
    """Return a request."""
    params = {"name": "echo", "arguments": {"text": "x" * 512}, "_meta": META}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


def frame(data: bytes) -> bytes:
    """Return a client's text frame, with the mask 0."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


def take_frames(sock: socket.socket, data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of the server's whole text frames, and the rest of ``data``; answer its Pings."""
    payloads: list[bytes] = []
    while len(data) >= 2:
        start, size = 2, data[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            break
        payload, kind = data[start : start + size], data[0]
        if kind == 0x89:
            sock.send(bytes([0x8A, 0x80 | size]) + bytes(4) + payload)
        else:
            assert kind == 0x81, data
            payloads.append(payload)
        data = data[start + size :]
    return payloads, data


class Client:
    """A client on a bare socket, which opens a session and resumes it whenever it connects again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._head = head(port, "mcp.resume.v1")
        self._token = ""
        self._sent = self._received = 0
        self._upgraded = False
        self.done = False
        """Whether each request has its response."""

    def connect(self, poller: select.epoll) -> int:
        """Begin to connect; return the number of the socket."""
        self.done = self._upgraded = False
        self._unread = b""
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._sock.connect_ex(("127.0.0.1", self._port))
        poller.register(self._sock, select.EPOLLOUT)
        return self._sock.fileno()

    def call(self) -> None:
        """Send the next request."""
        self._sent += 1
        self._sock.send(frame(call(self._sent)))

    def vanish(self) -> None:
        """Lose the link."""
        self._sock.close()

    def ready(self, poller: select.epoll, event: int) -> None:
        """Go on: the socket is connected, or has data."""
        if event & select.EPOLLOUT:
            poller.modify(self._sock, select.EPOLLIN)
            self._sock.send(self._head)
            return
        self._unread += self._sock.recv(1 << 16)
        if not self._upgraded:
            answer, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            assert answer.startswith(b"HTTP/1.1 101"), answer
            self._upgraded, self._unread = True, rest
            self._sock.send(frame(json.dumps(self._hello()).encode()))
        payloads, self._unread = take_frames(self._sock, self._unread)
        for payload in payloads:
            self._receive(json.loads(payload))

    def _hello(self) -> dict[str, Any]:
        if self._token:
            return {"mcp.ws": "resume", "token": self._token, "recv": self._received}
        return {"mcp.ws": "open"}

    def _receive(self, message: dict[str, Any]) -> None:
        kind = message.get("mcp.ws")
        if kind == "opened":
            self._token = message["token"]
            self.call()
        elif kind == "resumed":
            self._token = message["token"]
            if message["recv"] < self._sent:  # the request was lost with the link
                self._sock.send(frame(call(self._sent)))
        elif kind is None:
            self._received += 1
            self.done = message["id"] == self._sent
        else:
            assert kind == "ack", message


def connected(clients: list[Client]) -> None:
    """Connect all clients at once; return when each has the response to its last request."""
    with select.epoll() as poller:
        of_number = {client.connect(poller): client for client in clients}
        waiting, end = set(clients), time.monotonic() + STORM_SECONDS
        while waiting:
            for number, event in poller.poll(1.0, len(clients)):
                client = of_number[number]
                client.ready(poller, event)
                if client.done:
                    waiting.discard(client)
            assert time.monotonic() < end, f"{len(waiting)} clients are not back"


def neighbour(port: int, pipe: Connection) -> None:
    """Call without pause over one link; answer whatever comes over ``pipe`` with the slowest call since then."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.send(head(port, "mcp"))
    assert sock.recv(1 << 16).startswith(b"HTTP/1.1 101")
    number, slowest = 0, 0.0
    while True:
        number += 1
        began, unread, answers = time.perf_counter(), b"", []
        sock.send(frame(call(number)))
        while not answers:
            answers, unread = take_frames(sock, unread + sock.recv(1 << 16))
        slowest = max(slowest, time.perf_counter() - began)
        if pipe.poll():
            if pipe.recv() is None:
                return
            pipe.send(slowest)
            slowest = 0.0


def storm(rig: StormRig, clients: list[Client], pipe: Connection) -> tuple[float, float, float, float]:
    """Return seconds until all are back, Jupyter's CPU, the neighbour's slowest call, and the clients' CPU."""
    time.sleep(IDLE)
    pipe.send("begin")
    pipe.recv()
    for number, client in enumerate(clients):
        client.call()
        if number % AT_ONCE == 0:
            time.sleep(PAUSE)
    began, cpu, own = time.perf_counter(), cpu_seconds(rig.pids["gateway"]), time.process_time()
    for client in clients:
        client.vanish()
    connected(clients)
    taken = time.perf_counter() - began
    used, own = cpu_seconds(rig.pids["gateway"]) - cpu, time.process_time() - own
    pipe.send("end")
    return taken, used, pipe.recv(), own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--storms", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        compile_programs(build)
        with StormRig(build) as rig:
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
            port = rig.ports["gateway"]
            clients = [Client(port) for _ in range(options.sessions)]
            for start in range(0, len(clients), AT_ONCE):
                connected(clients[start : start + AT_ONCE])
            ours, its = multiprocessing.Pipe()
            process = multiprocessing.Process(target=neighbour, args=(port, its), daemon=True)
            process.start()
            storms = [storm(rig, clients, ours) for _ in range(options.storms)]
            ours.send(None)
            process.join()
    print(f"{options.storms} storms of {options.sessions} sessions; median (min … max)\n")
    names = (
        "until all were back, s",
        "CPU of Jupyter, s",
        "slowest call of a neighbour, s",
        "CPU of clients, s",
    )
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    print("| " + " | ".join(spread(list(values), 2) for values in zip(*storms, strict=True)) + " |")


if __name__ == "__main__":
    main()
