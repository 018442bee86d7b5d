"""What is fuzzed: each target takes a mutator and runs one input; it raises if the input breaks what it promises."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import mcp_types
from pydantic import BaseModel
from websockets.frames import Frame, Opcode

from mcp_ws_ide.core import binding, messages, reader, stand_ins
from mcp_ws_ide.core.binding import ControlError
from mcp_ws_ide.core.call_results import read_result
from mcp_ws_ide.core.list_items import read_list
from mcp_ws_ide.core.resume import (
    ClientEnd,
    GatewayEnd,
    ProtocolViolationError,
    ResumeRefusedError,
    WindowOverflowError,
)
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.core.tools import ToolRules, problem, visible
from mcp_ws_ide.errors import MalformedMessageError
from mcp_ws_ide.inspector import export, report
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.inspector.recording import Header, Recording, RecordingError
from mcp_ws_ide.links.framing import FrameLayer
from mcp_ws_ide.transports.lines import MessageLines, printable
from tests.conftest import FAST_SERVER, MODERN, Jupyter
from tests.fuzz import differences
from tests.fuzz.mutation import Mutator
from tests.inspector.records import Transcript, call

Target = Callable[[Mutator], None]
RULES = (ToolRules(deny=("secret",)),)
MESSAGES = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "open", "arguments": {"a": [1]}, "_meta": MODERN},
    },
    {
        "jsonrpc": "2.0",
        "id": "é",
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}},
    },
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "x"}},
    {
        "jsonrpc": "2.0",
        "id": 2,
        "result": {"tools": [{"name": "secret"}, {"name": "open"}], "nextCursor": "c"},
    },
    {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "x", "data": {}}},
]
LISTED: dict[str, dict[str, Any]] = {
    "tools": {
        "name": "t",
        "title": "T",
        "inputSchema": {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        "outputSchema": {"type": "object"},
        "annotations": {"title": "x", "readOnlyHint": True},
        "icons": [{"src": "x:1", "sizes": ["any"]}],
        "execution": {"taskSupport": "optional"},
        "_meta": {},
    },
    "prompts": {"name": "p", "arguments": [{"name": "a", "required": False}]},
    "resources": {"uri": "x:1", "name": "r", "size": 3, "annotations": {"audience": ["user"], "priority": 1}},
    "resourceTemplates": {"uriTemplate": "x:{a}", "name": "t", "mimeType": "text/plain"},
}
RESULTS: dict[str, type[BaseModel]] = {
    "tools": mcp_types.ListToolsResult,
    "prompts": mcp_types.ListPromptsResult,
    "resources": mcp_types.ListResourcesResult,
    "resourceTemplates": mcp_types.ListResourceTemplatesResult,
}
"""How the SDK reads lists."""
TEXT = {"type": "text", "text": "t", "annotations": {"audience": ["user"], "priority": 1}, "_meta": {}}
CONTENT = [
    TEXT,
    {"type": "image", "data": "AAAA", "mimeType": "image/png"},
    {"type": "resource", "resource": {"uri": "x:1", "blob": "AA==", "mimeType": "a/b"}},
    {"type": "resource_link", "uri": "x:1", "name": "n", "size": 3},
]
CALLED: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "tools/call": (
        mcp_types.CallToolResult,
        {"content": CONTENT, "structuredContent": {"a": 1}, "isError": False, "_meta": {}},
    ),
    "prompts/get": (
        mcp_types.GetPromptResult,
        {"description": "d", "messages": [{"role": "user", "content": item} for item in CONTENT]},
    ),
    "resources/read": (
        mcp_types.ReadResourceResult,
        {"contents": [{"uri": "x:1", "text": "t", "mimeType": "a/b"}, {"uri": "x:2", "blob": "AA=="}]},
    ),
    "completion/complete": (
        mcp_types.CompleteResult,
        {"completion": {"values": ["a", "b"], "total": 2, "hasMore": False}},
    ),
    "initialize": (
        mcp_types.InitializeResult,
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            "serverInfo": {"name": "s", "version": "1", "title": "S"},
            "instructions": "i",
        },
    ),
}
"""How the SDK reads the results of calls, and one of each."""
CONTROLS = [
    {"mcp.ws": "open"},
    {"mcp.ws": "resume", "token": "a.b", "recv": 3},
    {"mcp.ws": "opened", "session": "s", "token": "a.b", "grace": 9.0, "window": {"frames": 9, "bytes": 99}},
    {"mcp.ws": "resumed", "token": "a.b", "recv": 0},
    {"mcp.ws": "ack", "recv": 1},
    {"mcp.ws": "gap", "dropped": 1},
    {"mcp.ws": "gone", "reason": "x"},
    {"mcp.ws": "ping"},
    {"mcp.ws": "poll", "link": "L", "sent": 1, "recv": 1},
    {"mcp.ws": "close", "code": 1000, "reason": "x"},
]


def frames(mutator: Mutator) -> None:
    """Bytes of a WebSocket, in any pieces: messages or a close, and no exception."""
    layer = FrameLayer(2000, fragile=mutator.random.random() < 0.2)
    data = b""
    for _ in range(mutator.random.randrange(1, 4)):
        payload = mutator.encoded(mutator.random.choice(MESSAGES))
        opcode = mutator.random.choice([Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.CLOSE, Opcode.CONT])
        frame = Frame(
            opcode, payload[:100] if opcode >= Opcode.CLOSE else payload, mutator.random.random() < 0.8
        )
        data += _serialized(frame)
    if mutator.random.random() < 0.7:
        data = mutator.bytes(data)
    for piece in mutator.pieces(data):
        for message in layer.receive(piece):
            message.decode()
            assert len(message) <= 2000
    layer.receive_eof()
    layer.data_to_send()


def _serialized(frame: Frame) -> bytes:
    size, mask = len(frame.data), b"\1\2\3\4"
    length = (
        bytes([0x80 | size])
        if size < 126
        else b"\xfe" + size.to_bytes(2)
        if size < 65536
        else b"\xff" + size.to_bytes(8)
    )
    masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(bytes(frame.data)))
    return bytes([(0x80 if frame.fin else 0) | frame.opcode]) + length + mask + masked


def parsing(mutator: Mutator) -> None:
    """A message: parsed or refused; what passes restricted sessions reads the same to every parser of JSON."""
    data = mutator.encoded(mutator.random.choice(MESSAGES))
    if not messages.is_text(data):  # links refuse it before it gets here
        return
    try:
        message = messages.parse(data)
    except MalformedMessageError:
        return
    messages.params_of(message)
    messages.result_meta(message)
    effect = SessionCore(10).from_client(message, 0.0)
    assert effect is not None
    if message.result:
        shown = json.loads(visible(RULES, message).data, parse_int=float)["result"]
        tools = shown.get("tools") if isinstance(shown, dict) else None
        tools = tools if isinstance(tools, list) else []
        assert not any(isinstance(tool, dict) and tool.get("name") == "secret" for tool in tools)
    if problem(RULES, message) is None:
        plain = messages.with_id(message, message.id)
        first = json.loads(plain.data, object_pairs_hook=lambda pairs: dict(reversed(pairs)), parse_int=float)
        assert (first.get("method") or "") == message.method_name
        if message.method_name == "tools/call":
            folded = {name.casefold(): value for name, value in first["params"].items()}
            assert RULES[0].permit(folded.get("name", ""))


def reading(mutator: Mutator) -> None:
    """What a peer writes in place of a message: canonical messages, bounded reasons, and no exception."""
    pieces = [mutator.encoded(mutator.random.choice(MESSAGES)) for _ in range(mutator.random.randrange(1, 4))]
    data = mutator.random.choice([b"", b" ", b",", b"\n"]).join(pieces)
    if mutator.random.random() < 0.3:
        data = b"[%b]" % data
    if mutator.random.random() < 0.7:
        data = mutator.bytes(data)
    client = ClientEnd()
    client.start_plain()
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    for read in (reader.read_server(data), reader.read_client(data)):
        for message in read.messages:
            assert messages.parse(message.data).kind is message.kind
        for fault in read.unreadable:
            assert len(fault.reason) < 2000
            assert fault.reason.isprintable()
            messages.alike(fault.ids[0] if fault.ids else b"null", [b"1"])
    with suppress(ProtocolViolationError):
        client.receive(data)
        for made in client.readable(data):
            messages.parse(made)
    reader.cut_answer(data[:40], data[-40:])


PRINTED = [
    *(
        b"INFO ready",
        b"",
        b"  [1/3] {x}",
        b"\x1b[32mok",
        b"<p>x</p>",
        b'{"level": "info"}',
        b'{"a": [1, {"b": "}"}]}',
    ),
    *(
        b'{"error": "x"}',
        b"[",
        b"{",
        b"}",
        b"a" * 700,
        "größe".encode("latin-1"),
        b'say "id": 7',
        b"{'a': 1}",
    ),
]


class Heard:
    """The receiver of what a server prints: messages and text in one order."""

    def __init__(self) -> None:
        self.all: list[str | bytes] = []

    def message_received(self, message: bytes) -> None:
        """Take what no response can be for the text that it is."""
        reading = reader.read_server(message)
        found = reading.messages or reading.unreadable or stand_ins.stands_for_response(message)
        self.all.append(message if found else printable(message))

    def noise_received(self, source: str, text: str) -> None:
        """Take each line, unless the transport itself reports something."""
        if source == "stdout":
            self.all += text.split("\n")

    def transport_closed(self, reason: str) -> None:
        """Nothing ends here."""

    def write_paused(self, paused: bool) -> None:
        """Nothing is written."""


def printing(mutator: Mutator) -> None:
    """What a server prints: the same is read of it in pieces of any size."""
    rng = mutator.random
    printed = rng.sample(PRINTED, rng.randrange(1, len(PRINTED)))
    lines = [line for _ in range(rng.randrange(4)) for line in rng.choices(printed, k=rng.randrange(120))]
    for message in rng.choices(MESSAGES, k=rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), mutator.encoded(message).replace(b"\n", b" "))
    data = b"begin\n" + b"\n".join(lines) + b"\n"
    if rng.random() < 0.3:
        data = b"begin\n" + mutator.bytes(data) + b"\n"
    cuts = sorted(rng.randrange(6, len(data)) for _ in range(rng.randrange(4)))
    in_pieces, by_line = Heard(), Heard()

    async def read() -> None:
        at = [0, 6, *cuts, len(data)]
        pieces = [data[start:end] for start, end in pairwise(at)]
        for heard, parts in ((in_pieces, pieces), (by_line, data.splitlines(keepends=True))):
            stream = MessageLines(1 << 20, "stdout")
            for part in parts:
                stream.feed(part, heard)
            stream.finish(heard)

    if b"ontent" not in data:  # the body of a frame ends where its header says, unless more has arrived
        asyncio.run(read())
        assert in_pieces.all == by_line.all


def lists(mutator: Mutator) -> None:
    """A list as a server wrote it: what is mended can be read by the SDK, and is mended once."""
    key = mutator.random.choice(list(RESULTS))
    good = LISTED[key]
    written = mutator.value({key: [mutator.value(good), good, mutator.value(good)], "nextCursor": "c"})
    data = json.dumps(written).encode()
    try:
        message = messages.parse_server(b'{"jsonrpc":"2.0","id":1,"result":%b}' % data)
    except MalformedMessageError:
        return
    strict = mutator.random.random() < 0.5
    result, notices = read_list(key, message.result, strict=strict)
    if not notices:
        assert result == message.result
    assert read_list(key, result, strict=strict) == (result, {}) or not isinstance(written.get(key), list)
    if key in written and isinstance(written[key], list) and not set(written) & {"ttlMs", "cacheScope", ""}:
        RESULTS[key].model_validate_json(result, by_name=False)


def results(mutator: Mutator) -> None:
    """The result of a call as a server wrote it: what is mended can be read by the SDK, and is mended once."""
    method = mutator.random.choice(list(CALLED))
    model, good = CALLED[method]
    data = json.dumps(mutator.value(good)).encode()
    try:
        message = messages.parse_server(b'{"jsonrpc":"2.0","id":1,"result":%b}' % data)
    except MalformedMessageError:
        return
    mended, notices = read_result(method, message.result, strict=mutator.random.random() < 0.5)
    if not notices:
        assert mended == message.result
        return
    model.model_validate_json(mended, by_name=False)
    assert read_result(method, mended, strict=False) == (mended, {})


def resuming(mutator: Mutator) -> None:
    """Control frames and poll bodies, at both ends: an effect, a refusal or a violation, and nothing else."""
    data = mutator.encoded(mutator.random.choice(CONTROLS + MESSAGES))
    try:
        control = binding.parse_control(data)
    except ControlError:
        control = None
    ours = ClientEnd()
    ours.hello()
    for piece in (mutator.encoded(CONTROLS[2]), mutator.encoded(mutator.random.choice(CONTROLS)), data):
        try:
            ours.receive(piece)
        except (ProtocolViolationError, ControlError):
            break
    if control is not None:
        theirs = GatewayEnd(object(), b"digest", binding.Window(10, 1000), 60.0)
        try:
            theirs.push(data, True)
            theirs.control(control)
        except (ProtocolViolationError, ControlError, WindowOverflowError, ResumeRefusedError):
            pass
    with suppress(ControlError):
        binding.parse_poll(b"\n".join([mutator.encoded(CONTROLS[8]), data, mutator.encoded(CONTROLS[9])]))


def recordings(mutator: Mutator) -> None:
    """A recording: every tool reads it, or says what is wrong with it."""
    transcript = Transcript()
    lines = [transcript.message("c>", call(number, "x")) for number in range(4)]
    lines += [transcript.message("c<", {"jsonrpc": "2.0", "id": number, "result": {}}) for number in range(3)]
    changed = [
        mutator.encoded(json.loads(line)).replace(b"\n", b" ")
        if mutator.random.random() < 0.5
        else line.encode()
        for line in lines
    ]
    head = Header(1.0, "http://x/").line().encode()
    if mutator.random.random() < 0.5:
        head = mutator.encoded(json.loads(head)).replace(b"\n", b" ")
    data = b"\n".join([head, *changed]) + b"\n"
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(mutator.bytes(data) if mutator.random.random() < 0.3 else data)
        file.flush()
        _read_with_all_tools(file.name)


def _read_with_all_tools(path: str) -> None:
    journal = Journal(max_records=1000, max_spill=1 << 20)
    try:
        recording = Recording(path)
        for batch in recording.batches():
            journal.feed(batch)
        recording.close()
        playback = Playback(path)
        while playback.take() is not None:
            pass
        playback.close()
        verdict = report.judge(journal, report.DEFAULT)
        for present in report.FORMATS.values():
            present(verdict)
        report.stats_json(journal, "count")
        report.stats_table(journal, "p95")
        for name in export.FORMATS:
            for _ in export.export(journal, recording.header, name, None):
                pass
    except RecordingError:
        pass
    finally:
        journal.close()


class Rest:
    """A Jupyter whose REST interface gets odd bodies: it answers, and never with an internal error."""

    BODIES: ClassVar = {
        "tokens": {
            "servers": ["fast"],
            "expires_in": 60,
            "note": "x",
            "tools": {"allow": ["a"], "deny": ["b"]},
        },
        "tickets": {"server": "fast"},
        "servers/fast/entry": {"ide": "vscode", "token": False, "expires_in": 60},
        "servers/new/preview": {
            "entry": {
                "command": "x",
                "args": ["a"],
                "env": {"A": "b"},
                "mcp_ws": {"tools": {"allow": ["a"]}, "sharing": "auto", "limits": {}, "prewarm": 1},
            }
        },
        "servers/far/preview": {
            "entry": {"url": "https://x/", "headers": {"A": "b"}, "mcp_ws": {"oauth": {"client_id": "x"}}}
        },
        "servers/new/consent": {"digest": "x"},
        "servers/new/try": {"entry": {"command": "/no/such"}, "consent": "x"},
        "sessions/abc/faults": {"fault": "delay", "ms": 1, "seconds": 1},
    }

    def __init__(self, jupyter: Jupyter) -> None:
        self.jupyter = jupyter

    def __call__(self, mutator: Mutator) -> None:
        path, body = mutator.random.choice(list(self.BODIES.items()))
        data = mutator.encoded(body)
        headers = {"Authorization": f"token {self.jupyter.token}", "If-Match": '"x"'}
        status, answer = send(self.jupyter, path, data, headers)
        assert status < 500 or status == 507, (path, data[:500], status, answer[:500])


def send(jupyter: Jupyter, path: str, data: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """POST bytes as they are."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"{jupyter.url}mcp-ws/api/{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextmanager
def rest() -> Iterator[Target]:
    """A started Jupyter as a target."""
    with tempfile.TemporaryDirectory() as home:
        jupyter = Jupyter(Path(home), {"fast": FAST_SERVER}, "--MCPWebSocketApp.allow_faults=True")
        try:
            yield Rest(jupyter)
        finally:
            jupyter.stop()


PURE: dict[str, Target] = {
    "parser": differences.parser,
    "framing": differences.framing,
    "frames": frames,
    "messages": parsing,
    "reading": reading,
    "printing": printing,
    "lists": lists,
    "results": results,
    "resume": resuming,
    "recordings": recordings,
}
"""Targets that need no server; ``rest`` is the last one."""


def run(target: Target, seconds: float, seed: int, most: int = 1 << 40) -> int:
    """Run a target with new inputs until the time is up; return how many there were. A failure names its seed."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and number < most:
        try:
            target(Mutator(seed + number))
        except BaseException as error:
            error.add_note(f"reproduce it with: --seed {seed + number} --count 1")
            raise
        number += 1
    return number
