"""Export a journal as traces: one message ``TracesData`` of OTLP 1 in JSON, for ``/v1/traces`` or a file receiver.

A session is a span; each request of a client is a span below it, and the same request on the server leg one below that.
Names and attributes are those of OpenTelemetry's semantic conventions for MCP. A request whose ``_meta`` has a W3C
``traceparent`` continues that trace, and is linked to its session.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.failures import failure_of
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Lane, Status, part
from mcp_ws_ide.inspector.recording import Header
from mcp_ws_ide.version import __version__

TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
"""A ``traceparent`` with a valid trace and parent (W3C Trace Context, section 3.2)."""
INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
ERROR: Final = 2
"""The code of a span's status."""
MAX_TEXT: Final = 1000
"""Characters of a status and of an event's text."""


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
                attributes = [_attribute("message", message[:MAX_TEXT])] if isinstance(message, str) else []
                moment = _nanoseconds(store.time[row - store.first])
                event = {"timeUnixNano": moment, "name": store.method_of(row), "attributes": attributes}
                events.setdefault(request, []).append(event)
        return events

    def _session(self, name: str, rows: Sequence[int]) -> dict[str, Any]:
        store, seen = self._journal.store, self._journal.sessions.get(name)
        attributes = [_attribute("mcp.session.id", name)]
        if seen is not None and seen.revision:
            attributes.append(_attribute("mcp.protocol.version", seen.revision))
        if seen is not None and seen.client:
            attributes.append(_attribute("user_agent.original", seen.client))
        return {
            "traceId": self._trace_of(name),
            "spanId": self._id(8, "session", name),
            "name": f"session {store.server_of(rows[0])}",
            "kind": INTERNAL,
            "startTimeUnixNano": _nanoseconds(store.time[rows[0] - store.first]),
            "endTimeUnixNano": _nanoseconds(store.time[rows[-1] - store.first]),
            "attributes": attributes,
        }

    def _call(self, row: int, events: list[dict[str, Any]]) -> dict[str, Any]:
        store = self._journal.store
        moment, latency = store.time[row - store.first], store.latency_of(row)
        end = self._end if latency is None else moment + latency / 1000
        content = content_of(store.body(row).text)
        own_leg = store.lane_of(row) in CLIENT_LEG
        span: dict[str, Any] = {
            **self._place(row, content),
            "name": _name(store.method_of(row), store.target_of(row)),
            # The gateway is the server of its clients, and the client of its servers; a server asks the other way.
            "kind": SERVER if store.lane_of(row) in (Lane.CLIENT_IN, Lane.UPSTREAM_IN) else CLIENT,
            "startTimeUnixNano": _nanoseconds(moment),
            "endTimeUnixNano": _nanoseconds(max(moment, end)),
            "attributes": [
                *self._attributes(row),
                _attribute("mcp_ws.leg", "client" if own_leg else "server"),
            ],
        }
        if events:
            span["events"] = events
        code, text = self._failure(row)
        if code:
            span["attributes"].append(_attribute("error.type", code))
            span["status"] = {"code": ERROR, "message": text[:MAX_TEXT]}
        return span

    def _place(self, row: int, content: Any) -> dict[str, Any]:
        """Return the ids of a span: its trace, itself, its parent, and a link to its session where that is another."""
        store = self._journal.store
        twin = store.linked(store.twin, row)
        inner = twin is not None and store.lane_of(row) in (Lane.UPSTREAM_OUT, Lane.CLIENT_OUT)
        outer = twin if inner and twin is not None else row
        if outer != row:
            content = content_of(store.body(outer).text)
        session = store.session_of(outer)
        ids: dict[str, Any] = {"spanId": self._span_of(row)}
        meta = part(content, "params", "_meta")
        match = TRACEPARENT.fullmatch(text) if isinstance(text := part(meta, "traceparent"), str) else None
        own = {"traceId": self._trace_of(session), "spanId": self._id(8, "session", session)}
        if match is not None:
            ids |= {"traceId": match[1], "parentSpanId": match[2]}
            if isinstance(state := part(meta, "tracestate"), str):
                ids["traceState"] = state[:512]
            if session and not inner:
                ids["links"] = [own]
        else:
            ids |= {"traceId": own["traceId"], **({"parentSpanId": own["spanId"]} if session else {})}
        if inner:
            ids["parentSpanId"] = self._span_of(outer)
        return ids

    def _attributes(self, row: int) -> Iterator[dict[str, Any]]:
        store = self._journal.store
        method, target, session = store.method_of(row), store.target_of(row), store.session_of(row)
        yield _attribute("mcp.method.name", method)
        yield _attribute("jsonrpc.request.id", str(content_of(store.body(row).id)))
        if method == "tools/call":
            yield _attribute("gen_ai.operation.name", "execute_tool")
            yield _attribute("gen_ai.tool.name", target)
        elif method == "prompts/get":
            yield _attribute("gen_ai.prompt.name", target)
        elif method.startswith("resources/") and target:
            yield _attribute("mcp.resource.uri", target)
        if session:
            yield _attribute("mcp.session.id", session)
        answer = store.linked(store.pair, row)
        if answer is not None and store.status_of(row) is Status.ERROR:
            code = part(content_of(store.body(answer).text), "error", "code")
            yield _attribute("rpc.response.status_code", str(code))
        if store.status_of(row) in (Status.PENDING, Status.CANCELLED, Status.UNKNOWN):
            yield _attribute("mcp_ws.status", store.status_of(row).name.lower())

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
        resource = {
            "attributes": [_attribute("service.name", server), _attribute("service.namespace", "mcp")]
        }
        yield f'{"," if number else ""}{{"resource":{json.dumps(resource)},"scopeSpans":[{{"scope":{json.dumps(scope)},'
        yield '"spans":['
        for place, span in enumerate(spans):
            yield f"{',' if place else ''}{json.dumps(span)}"
        yield "]}]}"
    yield "]}\n"


def _name(method: str, target: str) -> str:
    """Return the name of a span: with the target only where there are few different ones."""
    return f"{method} {target}" if target and method in ("tools/call", "prompts/get") else method


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


def _nanoseconds(moment: float) -> str:
    """Return Unix time in nanoseconds, which JSON of OTLP has as text; exact to microseconds."""
    return str(round(moment * 1e6) * 1000)
