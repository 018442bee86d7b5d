"""The trait ``otlp_endpoint``: traces of real sessions, read by OpenTelemetry's own definition of its messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import BOUND, FAST_SERVER, Peer, until
from tests.otlp import Receiver, attributes_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "s3cr3t-of-a-call"


async def test_sessions_and_calls_of_both_eras_are_exported_as_traces(make_jupyter):
    receiver = Receiver()
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=value"}
    jupyter = make_jupyter(
        {"fast": FAST_SERVER}, f"--MCPWebSocketApp.otlp_endpoint={receiver.url}", environment=environment
    )
    async with jupyter.connect() as link:
        echo = {"name": "echo", "arguments": {"text": SECRET, "password": SECRET}}
        assert "result" in await Peer(link).call(1, "tools/call", echo, traceparent=PARENT)
    async with jupyter.connect() as link:
        peer = Peer(link)
        await peer.initialize()
        await peer.send(id=2, method="tools/call", params={"name": "missing", "_meta": {"progressToken": 1}})
        assert "error" in await peer.receive()

    def found(name: str, leg: str = "") -> list:
        return [
            span
            for _, span in receiver.spans
            if span.name == name and attributes_of(span).get("mcp_ws.leg", "") == leg
        ]

    await until(lambda: len(found("session fast")) == 2 and found("tools/call missing", "server"))
    (outer,), (inner,) = found("tools/call echo", "client"), found("tools/call echo", "server")
    _, trace, parent, _ = PARENT.split("-")
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (trace, parent)
    assert (inner.trace_id.hex(), inner.parent_span_id) == (trace, outer.span_id)
    assert (
        outer.start_time_unix_nano
        <= inner.start_time_unix_nano
        < inner.end_time_unix_nano
        <= outer.end_time_unix_nano
    )
    sessions = {attributes_of(span)["mcp.session.id"]: span for span in found("session fast")}
    assert outer.links[0].span_id == sessions[attributes_of(outer)["mcp.session.id"]].span_id
    revisions = {attributes_of(span)["mcp.protocol.version"] for span in sessions.values()}
    assert revisions == {"2026-07-28", "2025-11-25"}
    (failed,) = found("tools/call missing", "client")
    assert attributes_of(failed)["error.type"] == "-32602"
    assert (failed.status.code, failed.status.message) == (2, "no tool missing")
    assert failed.parent_span_id == sessions[attributes_of(failed)["mcp.session.id"]].span_id
    assert {server for server, _ in receiver.spans} == {"fast"}
    assert SECRET not in str(receiver.spans)
    assert receiver.headers[0]["x-key"] == "value"
    token = {"Authorization": f"token {jupyter.token}"}
    await until(
        lambda: b'mcp_ws_spans_total{outcome="exported"}' in jupyter.request("GET", "metrics", None, token)[2]
    )
    receiver.close()


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [("collector:4317", "is not an address"), ("http://collector.example:4318", "would be sent unencrypted")],
)
def test_an_endpoint_that_cannot_be_used_is_reported_at_the_start(endpoint, said, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=value")
    code = f"from mcp_ws_ide.app import MCPWebSocketApp; MCPWebSocketApp(otlp_endpoint={endpoint!r})"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert ended.returncode == 1 and said in ended.stderr
