"""The names and rules of the wire contract."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import CloseCode

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["mcp"], "mcp"),
        (["mcp", "mcp.resume.v1"], "mcp.resume.v1"),
        (["mcp.version.2025-11-25", "mcp"], "mcp"),
        (["mcp.version.2025-11-25"], "mcp.version.2025-11-25"),
        (["mcp.auth.abc", "mcp"], "mcp"),
        (
            ["v1.token.websocket.jupyter.org", "v1.token.websocket.jupyter.org.abc"],
            "v1.token.websocket.jupyter.org",
        ),
        (["mcp.auth.abc"], None),
    ],
)
def test_the_first_known_subprotocol_is_selected_and_never_a_token(offered, selected):
    assert binding.select_subprotocol(offered) == selected


def test_only_unknown_subprotocols_are_refused():
    with pytest.raises(binding.UnknownSubprotocolError, match="mcp"):
        binding.select_subprotocol(["graphql-ws"])


def test_a_token_is_read_from_the_subprotocols():
    encoded = base64.urlsafe_b64encode("s€cret/+".encode()).decode().rstrip("=")
    assert binding.token_from_subprotocols([f"mcp.auth.{encoded}", "mcp"]) == "s€cret/+"
    assert binding.token_from_subprotocols(["v1.token.websocket.jupyter.org.abc"]) == "abc"
    assert binding.token_from_subprotocols(["mcp"]) is None


def test_an_undecodable_token_is_a_wrong_token():
    assert binding.token_from_subprotocols(["mcp.auth.!!!"]) not in (None, "")


def test_only_the_client_of_python_sdk_1_is_fragile():
    agent = "Python/3.11 websockets/15.0"
    assert binding.is_fragile("mcp", agent)
    assert not binding.is_fragile(None, agent)
    assert not binding.is_fragile("mcp", f"mcp-ws-ide-client/0.1 {agent}")
    assert not binding.is_fragile("mcp", "node")


def test_a_fragile_peer_receives_only_close_codes_1000_and_1001():
    for code in CloseCode:
        assert binding.close_code_for(code, fragile=True) in (1000, 1001)
        assert binding.close_code_for(code, fragile=False) is code


def test_reasons_fit_a_close_frame():
    assert binding.close_reason("short") == "short"
    assert len(binding.close_reason("ü" * 200).encode()) <= 123


def test_headers_may_be_split_over_lines():
    assert binding.offered_subprotocols(["a, b", " c ,"]) == ["a", "b", "c"]


def test_every_close_code_is_documented():
    page = (ROOT / "frontend_static/page/src/mcp/closing.ts").read_text()
    worded = {int(code) for code in re.findall(r"^  (\d{4}): \"", page, re.M)}
    assert worded == set(CloseCode) | {1006}


# --- poll bodies ----------------------------------------------------------------------------------


def test_a_poll_body_is_a_head_its_frames_and_perhaps_the_end_of_the_link():
    lines = [
        binding.poll_head("L", 3, 5),
        b'{"jsonrpc":"2.0","method":"a"}',
        b"",
        binding.poll_close(4404, "gone"),
    ]
    head, frames, end = binding.parse_poll(b"\n".join(lines))
    assert (head.link, head.sent, head.recv) == ("L", 3, 5)
    assert frames == [b'{"jsonrpc":"2.0","method":"a"}']
    assert end is not None
    assert (end.code, end.reason) == (4404, "gone")
    assert binding.parse_poll(lines[0])[1:] == ([], None)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"mcp.ws":"poll"}', b'{"mcp.ws":"poll","link":"L","sent":0}\n{"mcp.ws":"close"}']
)
def test_a_malformed_poll_body_is_refused_with_what_is_expected(body):
    with pytest.raises(binding.ControlError, match="the first line must be"):
        binding.parse_poll(body)


def test_a_poll_head_is_recognised_in_any_spelling():
    assert binding.is_poll_head(b' { "link":"L", "sent":0, "mcp.ws" : "poll" }\nx')
    assert binding.is_poll_head(b'{"mcp.ws":"poll","sent":-1}'), "to be refused as malformed"
    assert not binding.is_poll_head(b'{"jsonrpc":"2.0","method":"a"}')
    assert not binding.is_poll_head(b"")


def test_a_message_is_told_from_a_control_frame():
    assert binding.is_data(b'{"jsonrpc":"2.0","id":1,"result":{"a":"mcp.ws"}}')
    assert not binding.is_data(binding.ack(3))
