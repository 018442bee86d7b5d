"""Traces while they happen: which spans records become, and how they are sent."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from mcp_ws_ide.inspector.export_otlp import as_otlp
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.recording import Header
from mcp_ws_ide.observe import trace_export
from mcp_ws_ide.observe.live_spans import MAX_OPEN, LiveSpans
from mcp_ws_ide.observe.tap import Tap
from mcp_ws_ide.observe.tap_record import TapRecord
from mcp_ws_ide.observe.trace_export import MAX_QUEUED, TraceExporter, headers_in, receiver_url
from tests.conftest import until
from tests.inspector.records import Transcript, call, done
from tests.otlp import Receiver

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_decode = msgspec.json.Decoder(TapRecord).decode
Found = list[tuple[str, dict[str, Any]]]


def live(lines: Iterable[str], owner: str = "me") -> Found:
    """Return the spans of records, each with its server."""
    found: Found = []
    spans = LiveSpans(lambda server, span: found.append((server, span)))
    for line in lines:
        spans.add(owner, _decode(line))
    return found


def named(found: Found) -> dict[str, dict[str, Any]]:
    """Return spans by name and leg."""
    return {" ".join(filter(None, (span["name"], known(span).get("mcp_ws.leg")))): span for _, span in found}


def known(span: dict[str, Any]) -> dict[str, str]:
    return {one["key"]: one["value"]["stringValue"] for one in span["attributes"]}


def session() -> list[str]:
    """A session with calls on both legs that end in every way, and a question of the server."""
    t, other = Transcript(step=0.1), {"session": None, "origin_session": "s1"}
    return [
        t.line(kind="event", event="link_opened", detail="127.0.0.1:9 a client/1"),
        t.message("c>", {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}),
        t.message("c<", {"id": 0, "result": {"protocolVersion": "2025-11-25"}}),
        t.message("c>", call(1, "fails", progressToken="p", traceparent=PARENT, tracestate="a=b")),
        t.message(">s", call(9, "fails", progressToken="p", traceparent=PARENT), **other, origin_id=1),
        t.message("<s", {"method": "notifications/progress", "params": {"progressToken": "p", "message": "half"}}, session=None),
        t.message("<s", done(9, isError=True), session=None),
        t.message("c<", done(1, isError=True)),
        t.message("c>", {"id": "1", "method": "resources/read", "params": {"uri": "file:///a"}}),
        t.message("c<", {"id": "1", "error": {"code": -32002, "message": "not found"}}),
        t.message("c>", call(2, "slow")),
        t.message("c>", {"method": "notifications/cancelled", "params": {"requestId": 2}}),
        t.message("c>", {"id": 3, "method": "prompts/get", "params": {"name": "greet"}}),
        t.message("<s", {"id": "q", "method": "roots/list"}),
        t.message("c<", {"id": "q", "method": "roots/list"}),
        t.message("c>", {"id": "q", "result": {}}),
        t.message(">s", {"id": "q", "result": {}}),
        t.line(kind="event", event="link_closed", detail="1000"),
    ]  # fmt: skip


def shape(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return spans without their ids, but with what they belong to, in the order of their start."""
    names = {span["spanId"]: span["name"] for span in spans}
    return [
        {
            **{
                key: value
                for key, value in span.items()
                if key not in ("spanId", "parentSpanId", "traceId", "links")
            },
            "attributes": sorted(known(span).items()),
            "parent": names.get(span.get("parentSpanId", ""), span.get("parentSpanId")),
            "linked": [names[link["spanId"]] for link in span.get("links", ())],
            "own trace": span["traceId"] != PARENT.split("-")[1],
        }
        for span in sorted(spans, key=lambda span: (span["startTimeUnixNano"], span["name"]))
    ]


def test_spans_are_those_that_the_inspector_exports_from_a_recording_of_the_same_traffic():
    lines = session()
    journal = Journal()
    journal.feed(lines)
    recorded = json.loads("".join(as_otlp(journal, Header(), range(len(lines)))))
    journal.close()
    expected = [span for one in recorded["resourceSpans"] for span in one["scopeSpans"][0]["spans"]]
    found = [span for _, span in live(lines)]
    assert len(found) == 9
    for span in expected:  # a recording may end without what ended a request
        if "cancelled" in known(span).values():
            span["endTimeUnixNano"] = next(one for one in found if "cancelled" in known(one).values())[
                "endTimeUnixNano"
            ]
    assert shape(found) == shape(expected)


def test_a_call_continues_its_callers_trace_unless_that_program_does_not_record_it():
    t = Transcript()
    lines = [
        t.message("c>", call(1, "kept", traceparent=PARENT)),
        t.message("c<", done(1)),
        t.message("c>", call(2, "not recorded", traceparent=PARENT[:-2] + "00")),
        t.message(">s", call(8, "not recorded"), session=None, origin_session="s1", origin_id=2),
        t.message("<s", done(8), session=None),
        t.message("c<", done(2)),
    ]
    ((_, span),) = live(lines)
    assert (span["traceId"], span["parentSpanId"]) == tuple(PARENT.split("-")[1:3])


def test_requests_end_with_their_server_and_with_their_link():
    t, other = Transcript(), {"session": None, "origin_session": "s1"}
    lines = [
        t.message("c>", call(1, "lost")),
        t.message(">s", call(7, "lost"), **other, origin_id=1),
        t.message("c>", call(2, "cancelled")),
        t.message(">s", call(8, "cancelled"), **other, origin_id=2),
        t.message(">s", {"method": "notifications/cancelled", "params": {"requestId": 8}}, session=None),
        t.message("c>", {"id": 3, "method": "subscriptions/listen"}),
        t.line(kind="event", event="upstream_closed", session=None),
        t.line(kind="event", event="link_closed", detail="1000"),
    ]
    found = named(live(lines))
    errors = {
        name: known(span).get("error.type", known(span).get("mcp_ws.status")) for name, span in found.items()
    }
    assert errors == {
        **{"tools/call lost server": "lost", "tools/call lost client": "lost"},
        **{"tools/call cancelled server": "cancelled", "tools/call cancelled client": "cancelled"},
        **{"subscriptions/listen client": None, "session demo": None},
    }


def test_equal_ids_of_two_users_do_not_mix_and_what_is_open_is_bounded():
    found: Found = []
    spans = LiveSpans(lambda server, span: found.append((server, span)))
    t = Transcript()
    begun, ended = (
        _decode(t.message(">s", call(1), session=None)),
        _decode(t.message("<s", done(1), session=None)),
    )
    spans.add("me", begun)
    spans.add("you", ended)
    assert found == []
    spans.add("me", ended)
    assert len(found) == 1
    for number in range(MAX_OPEN + 5):
        begun.id = msgspec.Raw(b"%d" % number)
        spans.add("me", begun)
    assert spans.ignored == 5


@pytest.mark.parametrize(
    "raw", ["", "[]", '{"params":[1]}', '{"params":{"_meta":7}}', '{"params":{"name":{}}}', "\ud800"]
)
def test_messages_of_any_form_get_a_span(raw):
    t = Transcript()
    line = t.message("c>", raw.encode(errors="replace").decode(), kind="request", method="tools/call", id=1)
    ((_, span),) = live([line, t.message("c<", done(1))])
    assert span["name"] == "tools/call"


def test_the_tap_reports_to_it_without_a_watcher_and_with_secrets_hidden():
    tap, found = Tap(), []
    tap.message("me", "s", "id", "client", "in", b'{"jsonrpc":"2.0","id":1,"method":"a"}')
    tap.report_to(lambda owner, record: found.append((owner, record)))
    message = b'{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":"https://u:s3cret@x/"}}'
    tap.message("me", "s", "id", "client", "in", message)
    tap.event("you", "s", None, "link_opened")
    tap.tick(1e9)
    assert tap.active
    assert [(owner, record.kind) for owner, record in found] == [("me", "request"), ("you", "event")]
    assert "s3cret" not in found[0][1].raw


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
async def exporter(receiver, monkeypatch) -> AsyncIterator[TraceExporter]:
    monkeypatch.setattr(trace_export, "INTERVAL", 0.01)
    counts: Counter[str] = Counter()
    url = receiver_url(receiver.url)
    made = TraceExporter(url, lambda: httpx2.AsyncClient(trust_env=False), counts)
    made.counts = counts  # type: ignore[attr-defined]
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with pytest.raises(asyncio.CancelledError):  # anything else is a failure of the exporter
        await task
    await made.aclose()


def report(exporter: TraceExporter, count: int) -> None:
    t = Transcript()
    for number in range(count):
        exporter.take("me", _decode(t.message("c>", call(number))))
        exporter.take("me", _decode(t.message("c<", done(number))))


async def test_spans_wait_for_a_receiver_that_is_away_and_are_sent_in_batches(receiver, exporter, caplog):
    receiver.answers = [(503, b""), (429, b"")]
    report(exporter, 1000)
    await until(lambda: exporter.counts["exported"] == 1000)
    assert len(receiver.spans) == 1000
    assert set(receiver.paths) == {"/v1/traces"}
    assert len(receiver.headers) == 4, "two refusals, two batches"
    assert [record.levelno for record in caplog.records if "do not reach" in record.message] == [
        logging.WARNING
    ] * 2


async def test_what_a_receiver_refuses_is_counted_and_not_sent_again(receiver, exporter):
    receiver.answers = [(400, b"")]
    report(exporter, 3)
    await until(lambda: exporter.counts["rejected"] == 3)
    receiver.answers = [(200, b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}}')]
    report(exporter, 3)
    await until(lambda: exporter.counts["rejected"] == 4)
    assert exporter.counts["exported"] == 2


async def test_spans_beyond_the_queue_are_dropped_and_counted(receiver, exporter):
    report(exporter, MAX_QUEUED + 10)
    assert exporter.counts["dropped"] == 10
    await until(lambda: exporter.counts["exported"] == MAX_QUEUED)


def test_addresses_and_headers_are_those_of_other_exporters():
    assert receiver_url("http://collector:4318") == "http://collector:4318/v1/traces"
    assert receiver_url("https://x.example/otlp/v1/traces") == "https://x.example/otlp/v1/traces"
    for wrong in ("collector:4317", "grpc://collector", "http://"):
        with pytest.raises(ValueError, match="is not an address"):
            receiver_url(wrong)
    assert headers_in({"OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b, y=1=2"}) == {"x-key": "a b", "y": "1=2"}
    assert headers_in({}) == {}
