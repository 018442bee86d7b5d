"""New against old: each target gives the same input to the quick way and to the plain one, and compares.

The plain ways are ``reference_parser.py`` and ``reference_framing.py``; both directions of each are compared.
"""

from __future__ import annotations

import json
from typing import Any

from websockets.frames import Frame, Opcode

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.effects import Deliver, Forward
from mcp_ws_ide.core.messages import Kind, Message
from mcp_ws_ide.core.multiplexer import Multiplexer
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import MalformedMessageError
from mcp_ws_ide.links.framing import FrameLayer
from tests.conftest import MODERN
from tests.fuzz import reference_parser
from tests.fuzz.mutation import Mutator
from tests.fuzz.reference_framing import ReferenceLayer
from tests.fuzz.reference_parser import MEMBERS, Parsed

MESSAGES: tuple[dict[str, Any], ...] = (
    {
        **{"jsonrpc": "2.0", "id": 7, "method": "tools/call"},
        "params": {"name": "x", "arguments": {"a": [1.5, "é"]}, "_meta": {**MODERN, "progressToken": "p"}},
    },
    {"jsonrpc": "2.0", "id": "a-1", "method": "tools/list", "params": {"_meta": MODERN}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "reason": "x"}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 2}},
    {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": 'a "q" },'}], "_meta": {}}},
    {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "x", "data": [{}]}},
    {"jsonrpc": "2.0", "id": 2, "method": "ping"},
)
ORDERS = (
    MEMBERS,
    ("method", "params", "result", "error", "jsonrpc", "id"),
    ("id", "jsonrpc", "method", "params", "result", "error"),
    ("result", "id", "params", "error", "method", "jsonrpc"),
)
LIMIT = 2000
"""Bytes of the longest message that the frame layers take."""


def written(mutator: Mutator) -> bytes:
    """Return a message as some SDK writes it, and often with a fault."""
    rng = mutator.random
    message = rng.choice(MESSAGES)
    order = rng.choice(ORDERS)
    message = {name: message[name] for name in order if name in message}
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        message = mutator.value(message)
    separators = rng.choice(((",", ":"), (",", ":"), (", ", ": "), (" ,", " :")))
    text = json.dumps(message, separators=separators, ensure_ascii=rng.random() < 0.5)
    data = text.encode(errors="surrogatepass")
    return mutator.bytes(data) if rng.random() < 0.5 else data


def parser(mutator: Mutator) -> None:
    """A message, and what is made of it in both directions: the same from both parsers."""
    data = written(mutator)
    if not messages.is_text(data):  # links and upstreams refuse it before it gets here
        return
    refusal: tuple[int, str] | None = None
    try:
        plain = reference_parser.parse(data)
    except MalformedMessageError as error:
        refusal = error.code, error.reason
    try:
        message = messages.parse(data)
    except MalformedMessageError as error:
        too_deep = error.reason == messages.TOO_DEEP or (
            refusal is not None and refusal[1] == messages.TOO_DEEP
        )
        assert too_deep or refusal == (error.code, error.reason), (
            data,
            refusal,
            error,
        )  # one has a deeper stack
        return
    assert refusal is None, (data, refusal)
    assert (message.kind, message.data) == (plain.kind, plain.data), data
    compare(message, plain.members, plain.extra)
    assert messages.params_of(message) == (
        reference_parser.routing(plain.members["params"]) or messages.NO_PARAMS
    )
    rewritten = messages.with_id(message, b'"new"')
    same_text(rewritten, plain, b'"new"', plain.members["params"] or plain.members["result"])
    to_server(message, plain)
    to_client(message, plain)


def compare(message: Message, members: dict[str, bytes], extra: bytes) -> None:
    """Compare the members of a message with those that it should have."""
    found = {name: getattr(message, name) for name in MEMBERS if name != "jsonrpc"}
    assert {"jsonrpc": members["jsonrpc"], **found} == members, (message.data, members)
    assert message.extra == extra, message.data


def same_text(made: Message, plain: Parsed, raw_id: bytes, payload: bytes) -> None:
    """Compare a rewritten message, and what any parser reads in it, with the one that is built from its parts."""
    expected = reference_parser.parse(reference_parser.rewritten(plain, raw_id, payload))
    compare(made, expected.members, expected.extra)
    read = reference_parser.parse(made.data)
    assert (read.kind, read.members, read.extra) == (expected.kind, expected.members, expected.extra), (
        made.data
    )


def to_server(message: Message, plain: Parsed) -> None:
    """What a shared upstream sends for a client's request."""
    if message.kind is not Kind.REQUEST:
        return
    effect = SessionCore(10).from_client(message, 0.0)
    if not isinstance(effect, Forward):
        return
    mux: Multiplexer[str] = Multiplexer()
    sent = mux.outbound("owner", message, effect.params, effect.pending)
    meta = effect.params.meta or messages.NO_META
    payload = plain.members["params"]
    if bytes(meta.progress_token):
        payload = messages.with_meta(payload, "progressToken", b"1")
    same_text(sent, plain, b"1", payload)


def to_client(message: Message, plain: Parsed) -> None:
    """What a client gets of a server's answer to its request."""
    mux: Multiplexer[str] = Multiplexer()
    effect = SessionCore(10).from_client(messages.request(b'"own"', "tools/call", b"{}"), 0.0)
    assert isinstance(effect, Forward)
    mux.outbound("owner", effect.message, effect.params, effect.pending)
    owner, delivery = mux.inbound(message)
    if message.kind is not Kind.RESPONSE or not isinstance(delivery, Deliver):
        return
    assert owner == "owner"
    assert message.id_key in (1, "1"), message.data
    same_text(delivery.message, plain, b'"own"', plain.members["result"])


def framing(mutator: Mutator) -> None:
    """Bytes of a WebSocket, in any pieces, and messages to write: the same from both frame layers."""
    rng = mutator.random
    wire = b"".join(_frame(mutator) for _ in range(rng.randrange(1, 5)))
    if rng.random() < 0.4:
        wire = mutator.bytes(wire)
    layer, reference, received = FrameLayer(LIMIT), ReferenceLayer(LIMIT), []
    for piece in mutator.pieces(wire):
        if piece:
            received += layer.receive(piece)
            reference.receive(piece)
        if rng.random() < 0.5:  # the layer may forget its protocol now
            layer.ping()
            layer.data_to_send()
    assert received == reference.messages, wire
    close = layer._protocol.close_sent if layer._protocol is not None else None
    if not layer._kept:  # the quick way judges a header when it is complete, the plain one byte by byte
        assert (None if close is None else close.code) == reference.code, wire
    layer = FrameLayer(LIMIT)
    payloads = [written(mutator) * rng.choice((1, 1, 80)) for _ in range(rng.randrange(4))]
    for payload in payloads:
        layer.send_text(payload)
    expected = b"".join(Frame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads)
    assert b"".join(layer.data_to_send()) == expected


def _frame(mutator: Mutator) -> bytes:
    """Return a masked frame, mostly a whole text message; its length may be written longer than needed."""
    rng = mutator.random
    payload = written(mutator)[: rng.choice((4, 60, 300, 3000))]
    opcode = rng.choice([Opcode.TEXT] * 6 + list(Opcode))
    if opcode >= Opcode.CLOSE:
        payload = payload[:100]
    first, size, key = opcode | (0x80 if rng.random() < 0.9 else 0), len(payload), rng.randbytes(4)
    if size < 126 and rng.random() < 0.8:
        head = bytes((first, 0x80 | size))
    elif rng.random() < 0.8:
        head = bytes((first, 0xFE)) + size.to_bytes(2)
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8)
    return head + key + bytes(byte ^ key[number % 4] for number, byte in enumerate(payload))
