"""Export a journal for other programs: as JSON, or as HAR 1.2 for browser tools.

In HAR, each request is an entry, as if it were a POST of its own, with the time on the server leg as ``wait``. Each
session is another entry of type ``websocket`` whose ``_webSocketMessages`` (written and read by Chrome) are all its
messages on the client leg.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from mcp_ws_ide.inspector.export_html import as_html
from mcp_ws_ide.inspector.export_otlp import as_otlp
from mcp_ws_ide.inspector.export_pytest import as_pytest
from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.filters import Filter
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, MARK, Kind, Lane, Status
from mcp_ws_ide.inspector.model.store import MARKED, TRUNCATED
from mcp_ws_ide.inspector.recording import Header, Recorder, create_private
from mcp_ws_ide.version import __version__

SUFFIXES: Final = (".jsonl", ".jsonl.zst", ".json", ".har", ".html")

RECORDS: Final = 100
"""Records that are written at a time."""


def export(journal: Journal, header: Header, form: str, filter_: Filter | None = None) -> Iterator[str]:
    """Yield the text of an export, in pieces.

    Args:
        journal: the traffic to export.
        header: describes where it was recorded.
        form: one of :data:`FORMATS`.
        filter_: the rows to export; None for all.
    """
    store = journal.store
    rows = filter_.rows(store) if filter_ is not None else range(store.first, store.end)
    yield from _FORMS[form](journal, header, rows)


def write(journal: Journal, header: Header, path: str, rows: Sequence[int]) -> Iterator[None]:
    """Write rows to a new private file whose suffix gives the format (:data:`SUFFIXES`), a piece for each step.

    Between two steps, the journal may grow but must not forget these rows. The first step creates the file.

    Raises:
        RecordingError: the file exists, or cannot be written.
        OSError: likewise.
    """
    if ".jsonl" in os.path.basename(path):
        with Recorder(path, header) as recorder:
            for start in range(0, len(rows), RECORDS):
                recorder.write(_record(journal, row) for row in rows[start : start + RECORDS])
                yield
        return
    form = os.path.splitext(path)[1].removeprefix(".")
    with private_file(path) as file:
        for piece in _FORMS[form](journal, header, rows):
            file.write(piece)
            yield


def _record(journal: Journal, row: int) -> str:
    """Return a row as the tap sent it, as far as it was kept."""
    store = journal.store
    members = _row(journal, row)
    names = (
        "seq",
        "time",
        "server",
        "session",
        "leg",
        "direction",
        "kind",
        "method",
        "id",
        "size",
        "truncated",
    )
    record = {name: members[name] for name in names}
    record |= {"mono": store.mono[row - store.first], "drops": 0, "raw": members["raw"]}
    if store.kind_of(row) in (Kind.EVENT, Kind.NOISE):
        record["event"] = record.pop("method")
    if store.kind_of(row) is Kind.EVENT:
        record["detail"] = record.pop("raw")
    twin = store.linked(store.twin, row)
    if twin is not None and store.lane_of(row) is Lane.UPSTREAM_OUT and store.kind_of(row) is Kind.REQUEST:
        record |= {"origin_session": store.session_of(twin), "origin_id": content_of(store.body(twin).id)}
    if store.kind_of(row) in (Kind.RESPONSE, Kind.ERROR):
        record["method"] = None
    return json.dumps(record | {name: members[name] for name in ("marked", "comment") if members[name]})


def mark_line(journal: Journal, row: int) -> str:
    """Return a record of what the user noted at a held row, to be written after the row itself."""
    members = _row(journal, row)
    names = ("seq", "time", "server", "session", "marked", "comment")
    mono = journal.store.mono[row - journal.store.first]
    return json.dumps({"kind": MARK, "mono": mono, **{name: members[name] for name in names}})


def private_file(path: str, overwrite: bool = False) -> TextIO:
    """Open a text file for writing that only its owner may read.

    Raises:
        RecordingError: the file exists, or cannot be written.
    """

    return open(create_private(path, overwrite), "w", encoding="utf-8", errors="replace")


def _json(journal: Journal, header: Header, rows: Any) -> Iterator[str]:
    yield '{"gateway":' + json.dumps(header.gateway) + ',"time":' + json.dumps(header.time) + ',"records":['
    problems: dict[int, list[str]] = {}
    for problem in journal.problems:
        problems.setdefault(problem.row, []).append(problem.violation.code)
    for number, row in enumerate(rows):
        members = {**_row(journal, row), "problems": problems.get(row, [])}
        yield (",\n" if number else "\n") + json.dumps(members)
    yield "\n]}\n"


def _row(journal: Journal, row: int) -> dict[str, Any]:
    store = journal.store
    index, body = row - store.first, store.body(row)
    lane = store.lane_of(row)
    members: dict[str, Any] = {
        "seq": store.seq[index],
        "time": store.time[index],
        "server": store.server_of(row),
        "session": store.session_of(row) or None,
        "leg": None if lane is Lane.NONE else "client" if lane in CLIENT_LEG else "upstream",
        "direction": {Lane.CLIENT_IN: "in", Lane.UPSTREAM_IN: "in", Lane.NONE: None}.get(lane, "out"),
        "kind": store.kind_of(row).name.lower(),
        "method": store.method_of(row) or None,
        "target": store.target_of(row) or None,
        "id": content_of(body.id) if body.id else None,
        "status": None if store.status_of(row) is Status.NONE else store.status_of(row).name.lower(),
        "latency_ms": _milliseconds(store.latency_of(row)),
        "size": store.size[index],
        "truncated": store.has(row, TRUNCATED),
        "marked": store.has(row, MARKED),
        "comment": journal.comments.get(row),
    }
    for name, column in (("pair", store.pair), ("parent", store.parent), ("other_leg", store.twin)):
        other = store.linked(column, row)
        members[name] = None if other is None else store.seq[other - store.first]
    members["raw"] = body.text
    return members


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


# --- HAR -----------------------------------------------------------------------------------------


def _har(journal: Journal, header: Header, rows: Any) -> Iterator[str]:
    creator = {"name": "mcp-ws-inspect", "version": __version__}
    yield '{"log":{"version":"1.2","creator":' + json.dumps(creator) + ',"pages":[],"entries":['
    comma, store = "", journal.store
    sessions: dict[str, list[int]] = {}
    for row in rows:
        if store.lane_of(row) in CLIENT_LEG and store.session_of(row):
            sessions.setdefault(store.session_of(row), []).append(row)
        twin = store.linked(store.twin, row)
        if store.kind_of(row) is Kind.REQUEST and (store.lane_of(row) in CLIENT_LEG or twin is None):
            yield comma + "\n" + json.dumps(_operation(journal, header, row, twin))
            comma = ","
        else:
            yield ""
    for session, mine in sessions.items():
        yield comma + "\n"
        yield from _link(journal, header, session, mine)
        comma = ","
    yield "\n]}}\n"


def _operation(journal: Journal, header: Header, row: int, twin: int | None) -> dict[str, Any]:
    store = journal.store
    total = store.latency_of(row)
    upstream = store.latency_of(twin) if twin is not None else None
    wait = total or 0.0 if upstream is None else upstream
    answer = store.linked(store.pair, row)
    text = store.body(row).text
    content = "" if answer is None else store.body(answer).text
    request = {
        "method": "POST",
        "url": f"{_endpoint(header, store.server_of(row), 'http')}#{_fragment(store, row)}",
        "httpVersion": "MCP",
        "cookies": [],
        "headers": [],
        "queryString": [],
        "postData": {"mimeType": "application/json", "text": text},
        "headersSize": -1,
        "bodySize": store.size[row - store.first],
    }
    size = 0 if answer is None else store.size[answer - store.first]
    word = store.status_of(row).name
    response = {
        "status": {Status.OK: 200, Status.INPUT: 200, Status.PENDING: 0}.get(store.status_of(row), 500),
        "statusText": word,
        "httpVersion": "MCP",
        "cookies": [],
        "headers": [],
        "content": {"size": size, "mimeType": "application/json", "text": content},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": size,
    }
    return {
        "startedDateTime": _moment(store.time[row - store.first]),
        "time": total or 0.0,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": max(0.0, (total or 0.0) - wait)},
        "_session": store.session_of(row),
        "_resourceType": "fetch",
    }


def _link(journal: Journal, header: Header, session: str, rows: Sequence[int]) -> Iterator[str]:
    """Yield the entry of a session, whose messages come last."""
    store = journal.store
    first, last = rows[0] - store.first, rows[-1] - store.first
    entry = {
        "startedDateTime": _moment(store.time[first]),
        "time": max(0.0, (store.mono[last] - store.mono[first]) * 1000),
        "request": _empty_request(_endpoint(header, store.server_of(rows[0]), "ws")),
        "response": _empty_response(),
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
        "_session": session,
        "_resourceType": "websocket",
    }
    yield json.dumps(entry).removesuffix("}") + ', "_webSocketMessages": ['
    for number, row in enumerate(rows):
        yield (", " if number else "") + json.dumps(_frame(store, row))
    yield "]}"


def _frame(store: Any, row: int) -> dict[str, Any]:
    sent = store.lane_of(row) is Lane.CLIENT_IN
    moment = store.time[row - store.first]
    return {"type": "send" if sent else "receive", "time": moment, "opcode": 1, "data": store.body(row).text}


def _empty_request(url: str) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "cookies": [],
        "headers": [],
        "queryString": [],
        "headersSize": -1,
        "bodySize": 0,
    }
    return {"method": "GET", "url": url, "httpVersion": "HTTP/1.1", **empty}


def _empty_response() -> dict[str, Any]:
    empty: dict[str, Any] = {
        "cookies": [],
        "headers": [],
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": 0,
    }
    content = {"size": 0, "mimeType": "x-unknown"}
    return {
        "status": 101,
        "statusText": "Switching Protocols",
        "httpVersion": "HTTP/1.1",
        "content": content,
        **empty,
    }


def _endpoint(header: Header, server: str, scheme: str) -> str:
    base = header.gateway or "http://gateway.invalid/"
    return f"{scheme}{base.removeprefix('http')}mcp-ws/servers/{server}"


def _fragment(store: Any, row: int) -> str:
    return "/".join(filter(None, (store.method_of(row), store.target_of(row))))


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_FORMS: Final = {"json": _json, "har": _har, "html": as_html, "otlp": as_otlp, "pytest": as_pytest}
FORMATS: Final = tuple(_FORMS)
"""The formats of :func:`export`."""
