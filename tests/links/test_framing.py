"""The frame layer: whole text messages out, violations closed with the right code."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Close, Frame, apply_mask
from websockets.protocol import CLIENT
from websockets.protocol import Protocol as Reference

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.links.framing import FrameLayer
from tests.fuzz.reference_framing import ReferenceLayer


def masked(opcode: int, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def closed_with(layer: FrameLayer) -> int:
    peer = Reference(CLIENT)
    peer.receive_data(b"".join(layer.data_to_send()))
    assert peer.close_rcvd is not None
    return peer.close_rcvd.code


def test_messages_are_complete_however_the_bytes_arrive():
    wire = masked(TEXT, b"one") + masked(TEXT, "zwei ü".encode()) + masked(TEXT, b"x" * 70_000)
    for step in (1, 7, 1000, len(wire)):
        layer, out = FrameLayer(1 << 20), []
        for start in range(0, len(wire), step):
            out += layer.receive(wire[start : start + step])
        assert out == [b"one", "zwei ü".encode(), b"x" * 70_000]


def test_a_close_by_this_side_in_the_middle_of_a_frame_leaves_the_frame_readable():
    layer = FrameLayer(1 << 20)
    wire = masked(TEXT, b"x" * 1000) + masked(CLOSE, Close(1000, "").serialize())
    assert layer.receive(wire[:500]) == []
    layer.close(CloseCode.GOING_AWAY, "bye")
    assert layer.receive(wire[500:]) == []
    assert layer.close_code == 1000, "the peer's close frame was found after the rest of the message"


def test_bytes_are_copied_before_the_buffer_is_used_again():
    layer = FrameLayer(1 << 20)
    wire = masked(TEXT, b"x" * 1000) + masked(TEXT, b"y" * 1000)[:500]
    buffer = bytearray(wire)
    out = layer.receive(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert out == [b"x" * 1000]
    assert len(layer._kept) == 500
    assert layer._kept in wire


def test_fragments_are_joined_around_control_frames():
    layer = FrameLayer(1 << 20)
    euro = "€".encode()
    wire = (
        masked(TEXT, euro[:1], fin=False)
        + masked(PING, b"p")
        + masked(CONT, b"", fin=False)
        + masked(CONT, euro[1:])
    )
    assert layer.receive(wire) == [euro]
    assert b"".join(layer.data_to_send()) == Frame(PONG, b"p").serialize(mask=False)
    assert layer.open


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (masked(BINARY, b"x"), 1003),
        (masked(TEXT, b"\xff"), 1007),
        (masked(TEXT, b"\xc3", fin=False) + masked(CONT, b"\x28"), 1007),
        (masked(TEXT, b"x" * 101), 1009),
        (masked(TEXT, b"x" * 60, fin=False) + masked(CONT, b"x" * 60), 1009),
        (Frame(TEXT, b"unmasked").serialize(mask=False), 1002),
        (masked(CONT, b"x"), 1002),
        (masked(TEXT, b"x", fin=False) + masked(TEXT, b"y"), 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),  # RSV1 without an extension
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # reserved opcode
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, (999).to_bytes(2, "big")), 1002),
    ],
    ids=[
        *("binary", "not UTF-8", "not UTF-8 in fragments", "too long", "too long in fragments", "unmasked"),
        *(
            "nothing to continue",
            "not continued",
            "a reserved bit",
            "a reserved opcode",
            "half a code",
            "no code",
        ),
    ],
)
def test_violations_close_with_their_code(wire: bytes, code: int):
    layer = FrameLayer(100)
    assert layer.receive(wire) == []
    assert not layer.open
    assert closed_with(layer) == code


def test_nothing_after_a_violation_is_delivered():
    layer = FrameLayer(100)
    assert layer.receive(masked(TEXT, b"a") + masked(BINARY, b"x") + masked(TEXT, b"b")) == [b"a"]


@given(st.binary(max_size=70_000))
def test_text_frames_equal_those_of_the_reference(payload: bytes):
    layer = FrameLayer(1 << 20)
    layer.send_text(payload)
    assert b"".join(layer.data_to_send()) == Frame(TEXT, payload).serialize(mask=False)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_arbitrary_bytes_never_raise(chunks: list[bytes]):
    layer = FrameLayer(1000)
    for chunk in chunks:
        layer.receive(chunk)
        layer.data_to_send()
        if layer._protocol is not None and layer._protocol.eof_sent:
            break


def test_an_unconfirmed_close_is_reported_with_the_code_that_was_sent():
    layer = FrameLayer(100)
    layer.close(CloseCode.EXPIRED, "the token has expired")
    assert layer.data_to_send()
    layer.receive_eof()
    assert layer.close_code == 1006
    assert layer.close_reason.startswith("the token has expired (closed by the gateway with 4401")


def test_the_peers_close_is_answered_and_ends_the_socket():
    layer = FrameLayer(100)
    layer.receive(masked(CLOSE, Close(1000, "bye").serialize()))
    sent = layer.data_to_send()
    assert sent[-1] == b""
    assert (layer.close_code, layer.close_reason) == (1000, "bye")


def test_an_end_without_a_close_frame_is_1006():
    layer = FrameLayer(100)
    layer.receive_eof()
    assert layer.close_code == 1006


def test_a_violation_ends_the_link_whether_or_not_the_peer_confirms_it():
    layer = FrameLayer(100)
    layer.receive(masked(BINARY, b"x"))
    assert layer.close_code == 1003
    layer.receive(masked(CLOSE, Close(1000, "").serialize()))
    layer.receive_eof()
    assert layer.close_code == 1003


def test_data_queued_before_a_close_goes_out_before_it():
    layer = FrameLayer(100)
    layer.send_text(b"last words")
    layer.close(CloseCode.GOING_AWAY, "bye")
    layer.close(CloseCode.INTERNAL, "twice")
    layer.send_text(b"too late")
    sent = b"".join(layer.data_to_send())
    assert sent.startswith(b"\x81\x0alast words\x88")
    assert b"too late" not in sent
    assert layer.close_code == 1006, "the peer has confirmed nothing"


def test_pongs_are_counted():
    layer = FrameLayer(100)
    layer.ping()
    assert layer.data_to_send()[0][:1] == b"\x89"
    layer.receive(masked(PONG, b"mcp"))
    assert layer.pongs == 1


@st.composite
def wire_frames(draw: st.DrawFn) -> bytes:
    """A frame, mostly legal."""
    opcode = draw(st.sampled_from([1, 1, 1, 1, 0, 0, 2, 3, 8, 9, 10]))
    first = opcode | draw(st.sampled_from([0x80, 0x80, 0x80, 0, 0xC0]))
    payload = draw(st.one_of(st.text(max_size=200).map(str.encode), st.binary(max_size=140)))
    masked_bit = draw(st.sampled_from([0x80] * 9 + [0]))
    size = len(payload)
    form = draw(st.sampled_from(["short", "short", "long", "longer"]))
    if size < 126 and form == "short":
        header = bytes((first, masked_bit | size))
    elif form != "longer":
        header = bytes((first, masked_bit | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, masked_bit | 127)) + size.to_bytes(8, "big")
    key = draw(st.binary(min_size=4, max_size=4))
    return header + (key + apply_mask(payload, key) if masked_bit else payload)


@settings(max_examples=400)
@given(st.lists(wire_frames(), max_size=6), st.lists(st.integers(1, 300), max_size=8))
def test_the_fast_path_equals_the_reference(frames: list[bytes], cuts: list[int]):
    wire = b"".join(frames)
    layer, reference, out, position = FrameLayer(160), ReferenceLayer(160), [], 0
    for size in [*cuts, len(wire)]:
        chunk = wire[position : position + size]
        position += size
        if chunk:
            out += layer.receive(chunk)
            reference.receive(chunk)
        if size % 2:  # the layer may forget its protocol now
            layer.ping()
            layer.data_to_send()
    assert out == reference.messages
    close = layer._protocol.close_sent if layer._protocol is not None else None
    assert (None if close is None else close.code) == reference.code


def test_fragments_survive_the_pings_and_pongs_between_them():
    layer = FrameLayer(1 << 20)
    assert layer.receive(masked(TEXT, b"on", fin=False)) == []
    layer.ping()
    layer.data_to_send()
    assert layer.receive(masked(PONG, b"mcp") + masked(CONT, b"e", fin=False) + masked(PING, b"p")) == []
    layer.data_to_send()
    layer.ping()
    assert layer.receive(masked(CONT, b"!") + masked(TEXT, b"two")) == [b"one!", b"two"]
    assert layer.pongs == 1


@pytest.mark.parametrize("pong", [b"\x8a\x03mcp", b"\xca\x83\0\0\0\0mcp", b"\x0a\x83\0\0\0\0mcp"])
def test_an_illegal_pong_is_a_violation(pong: bytes):
    layer = FrameLayer(1 << 20)
    layer.receive(pong)
    assert closed_with(layer) == 1002
    assert layer.pongs == 0


def test_an_idle_layer_takes_little_memory_after_every_kind_of_frame():
    wire = masked(TEXT, b"a", fin=False) + masked(CONT, b"b") + masked(PING, b"p") + masked(TEXT, b"c" * 9000)
    gc.collect()
    tracemalloc.start()
    try:
        layers = [FrameLayer(1 << 20) for _ in range(300)]
        for layer in layers:
            assert layer.receive(wire[:30]) + layer.receive(wire[30:]) == [b"ab", b"c" * 9000]
            layer.data_to_send()
            layer.ping()
            layer.data_to_send()
            layer.receive(masked(PONG, b"mcp"))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] / len(layers) < 500, "the protocol alone takes 1,200 bytes"
    finally:
        tracemalloc.stop()
