"""Export a journal as traces: one message ``TracesData`` of OTLP 1 in JSON, for ``/v1/traces`` or a file receiver.

What the spans look like, which the gateway's own export shares, is in :mod:`mcp_ws_ide.observe.spans`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.failures import failure_of
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Lane, Status, part
from mcp_ws_ide.inspector.recording import Header
from mcp_ws_ide.observe.spans import (
    CLIENT,
    INTERNAL,
    SERVER,
    attribute,
    caller_of,
    event,
    fail,
    name_of,
    nanoseconds,
    place_of,
    request_attributes,
    resource_of,
    session_attributes,
)
from mcp_ws_ide.version import __version__


class Trace:
    """The spans of one journal. Ids follow from the recording, so that a second export has the same ones."""

    def __init__(self, journal: Journal, header: Header, rows: Sequence[int]) -> None:
        self._journal = journal
        self._rows = rows
        store = journal.store
        start = store.time[rows[0] - store.first] if len(rows) else 0.0
        self._seed = f"{header.instance} {header.gateway} {header.time or start}"
        self._end = store.time[-1] if len(store) else 0.0

    def spans(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield spans with the server that each belongs to."""
        store = self._journal.store
        events = self._events()
        sessions: dict[str, list[int]] = {}
        for row in self._rows:
            if name := store.session_of(row):
                sessions.setdefault(name, []).append(row)
            if store.kind_of(row) is Kind.REQUEST and store.lane_of(row) is not Lane.NONE:
                yield store.server_of(row), self._call(row, events.get(row, []))
        for name, mine in sessions.items():
            yield store.server_of(mine[0]), self._session(name, mine)

    def _events(self) -> dict[int, list[dict[str, Any]]]:
        """Return by request what happened on its way: progress, a cancellation, notifications of its task."""
        store, events = self._journal.store, dict[int, list[dict[str, Any]]]()
        for row in self._rows:
            request = store.linked(store.parent, row)
            if store.kind_of(row) is Kind.NOTIFICATION and request is not None:
                message = part(content_of(store.body(row).text), "params", "message")
                happened = event(store.time[row - store.first], store.method_of(row), message)
                events.setdefault(request, []).append(happened)
        return events

    def _session(self, name: str, rows: Sequence[int]) -> dict[str, Any]:
        store, seen = self._journal.store, self._journal.sessions.get(name)
        known = (seen.revision, seen.client) if seen is not None else ("", "")
        return {
            "traceId": self._trace_of(name),
            "spanId": self._id(8, "session", name),
            "name": f"session {store.server_of(rows[0])}",
            "kind": INTERNAL,
            "startTimeUnixNano": nanoseconds(store.time[rows[0] - store.first]),
            "endTimeUnixNano": nanoseconds(store.time[rows[-1] - store.first]),
            "attributes": session_attributes(name, *known),
        }

    def _call(self, row: int, events: list[dict[str, Any]]) -> dict[str, Any]:
        store = self._journal.store
        moment, latency = store.time[row - store.first], store.latency_of(row)
        end = self._end if latency is None else moment + latency / 1000
        content = content_of(store.body(row).text)
        own_leg = store.lane_of(row) in CLIENT_LEG
        span: dict[str, Any] = {
            **self._place(row, content),
            "name": name_of(store.method_of(row), store.target_of(row)),
            # The gateway is the server of its clients, and the client of its servers; a server asks the other way.
            "kind": SERVER if store.lane_of(row) in (Lane.CLIENT_IN, Lane.UPSTREAM_IN) else CLIENT,
            "startTimeUnixNano": nanoseconds(moment),
            "endTimeUnixNano": nanoseconds(max(moment, end)),
            "attributes": [
                *self._attributes(row),
                attribute("mcp_ws.leg", "client" if own_leg else "server"),
            ],
        }
        if events:
            span["events"] = events
        code, text = self._failure(row)
        if code:
            fail(span, code, text)
        return span

    def _place(self, row: int, content: Any) -> dict[str, Any]:
        """Return the ids of a span: its trace, itself, its parent, and a link to its session where that is another."""
        store = self._journal.store
        twin = store.linked(store.twin, row)
        inner = twin is not None and store.lane_of(row) in (Lane.UPSTREAM_OUT, Lane.CLIENT_OUT)
        outer = twin if inner and twin is not None else row
        if outer != row:
            content = content_of(store.body(outer).text)
        session, meta = store.session_of(outer), part(content, "params", "_meta")
        caller = caller_of(part(meta, "traceparent"), part(meta, "tracestate"))
        own = self._id(8, "session", session) if session else ""
        place = place_of(caller, self._trace_of(session), own, self._span_of(outer) if inner else "")
        return {"spanId": self._span_of(row), **place}

    def _attributes(self, row: int) -> Iterator[dict[str, Any]]:
        store = self._journal.store
        request_id = str(content_of(store.body(row).id))
        yield from request_attributes(
            store.method_of(row), store.target_of(row), request_id, store.session_of(row)
        )
        answer = store.linked(store.pair, row)
        if answer is not None and store.status_of(row) is Status.ERROR:
            code = part(content_of(store.body(answer).text), "error", "code")
            yield attribute("rpc.response.status_code", str(code))
        if store.status_of(row) in (Status.PENDING, Status.CANCELLED, Status.UNKNOWN):
            yield attribute("mcp_ws.status", store.status_of(row).name.lower())

    def _failure(self, row: int) -> tuple[str, str]:
        """Return ``error.type`` and a text; ``""`` for both if the request did not fail."""
        store = self._journal.store
        failure, answer = failure_of(store, row), store.linked(store.pair, row)
        if not failure:
            return "", ""
        content = content_of(store.body(answer).text) if answer is not None else None
        if failure == "error":
            return str(part(content, "error", "code")), str(part(content, "error", "message"))
        return (
            ("tool_error", "the result has isError") if failure == "failed" else (failure, "got no response")
        )

    def _span_of(self, row: int) -> str:
        store = self._journal.store
        return self._id(8, "row", str(store.seq[row - store.first]), str(row))

    def _trace_of(self, session: str) -> str:
        return self._id(16, "trace", session)

    def _id(self, size: int, *names: str) -> str:
        return hashlib.sha256("\0".join((self._seed, *names)).encode(errors="replace")).hexdigest()[
            : 2 * size
        ]


def as_otlp(journal: Journal, header: Header, rows: Sequence[int]) -> Iterator[str]:
    """Yield the text of an export, which is one line; the spans of each server are one resource."""
    servers: dict[str, list[dict[str, Any]]] = {}
    for server, span in Trace(journal, header, rows).spans():
        servers.setdefault(server, []).append(span)
    scope = {"name": "mcp-ws-inspect", "version": __version__}
    yield '{"resourceSpans":['
    for number, (server, spans) in enumerate(servers.items()):
        resource = json.dumps(resource_of(server))
        yield f'{"," if number else ""}{{"resource":{resource},"scopeSpans":[{{"scope":{json.dumps(scope)},'
        yield '"spans":['
        for place, span in enumerate(spans):
            yield f"{',' if place else ''}{json.dumps(span)}"
        yield "]}]}"
    yield "]}\n"
