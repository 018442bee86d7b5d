"""Export a journal as one HTML file to read, keep or send: no other file, no network, and a script only to filter."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Status
from mcp_ws_ide.inspector.model.store import TRUNCATED
from mcp_ws_ide.inspector.model.view import representative
from mcp_ws_ide.inspector.recording import Header
from mcp_ws_ide.sanitise import visible

STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:light-dark(#616161,#a4a4a4);
--bad:light-dark(#b03a2e,#ec7063);--good:light-dark(#1e8449,#58d68d);--wait:light-dark(#9c640c,#f5b041);--bar:#2e86c1}
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.35rem;margin:0 0 .2rem} h2{font-size:1.05rem;margin:2rem 0 .4rem} p{margin:.2rem 0;color:var(--soft)}
input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem .6rem;margin:1rem 0 0}
details,.row{border-top:1px solid var(--line)} summary{cursor:pointer}
summary,.row{display:grid;gap:.8rem;padding:.25rem 0;align-items:baseline;list-style:none;
grid-template-columns:7.5rem minmax(0,1fr) 5rem 5.5rem 12rem} summary::-webkit-details-marker{display:none}
.what{overflow-wrap:anywhere} .time,.ms,pre,.state{font-family:ui-monospace,monospace;font-size:.86em}
.time,.note{color:var(--soft)} .ms{text-align:right}
.bad{color:var(--bad)} .good{color:var(--good)} .wait{color:var(--wait)}
.track{position:relative;height:.7rem;align-self:center} .bar{position:absolute;height:100%;min-width:2px;
background:var(--bar);border-radius:2px}
.bar.bad{background:var(--bad)} .bar.wait{background:var(--wait)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0 .9rem;
padding:.6rem;border:1px solid var(--line);border-radius:4px;max-height:32rem;overflow:auto}
b{font-weight:600} [hidden]{display:none} @media(max-width:44rem){summary,.row{grid-template-columns:1fr 4rem 5rem}
.time,.track{display:none}} @media print{input{display:none}}
"""
SCRIPT: Final = """
const field=document.querySelector("input"),rows=[...document.querySelectorAll("[data-t]")];
field.hidden=false;
field.addEventListener("input",()=>{const word=field.value.toLowerCase();
for(const row of rows)row.hidden=!row.textContent.toLowerCase().includes(word)});
"""
MAX_TEXT: Final = 20_000
"""Characters shown of one message."""
STATES: Final = {
    Status.OK: ("OK", "good"),
    Status.FAILED: ("FAIL", "bad"),
    Status.ERROR: ("ERR", "bad"),
    Status.LOST: ("LOST", "bad"),
    Status.PENDING: ("OPEN", "wait"),
    Status.CANCELLED: ("CXL", "wait"),
    Status.INPUT: ("ASK", "wait"),
    Status.UNKNOWN: ("?", "wait"),
    Status.NONE: ("", ""),
}
"""The word for each status, and its class in the style sheet."""


@dataclass(slots=True)
class _Section:
    """The operations and events of a session, in order, and the monotonic time that they cover."""

    start: float
    end: float
    rows: dict[int, None] = field(default_factory=dict)


def as_html(journal: Journal, header: Header, rows: Sequence[int]) -> Iterator[str]:
    """Yield the text of the file: the operations and events of each session, in order, with their messages."""
    store = journal.store
    sessions: dict[tuple[str, str], _Section] = {}
    for row in rows:
        stands = representative(store, row)
        start = store.mono[stands - store.first]
        key = store.server_of(stands), store.session_of(stands)
        section = sessions.setdefault(key, _Section(start, start))
        section.rows[stands] = None
        section.end = max(section.end, start + (store.latency_of(stands) or 0.0) / 1000)
        yield ""
    yield _head(header, len(rows), len(sessions))
    for (server, session), section in sessions.items():
        seen = journal.sessions.get(session)
        about = " ".join(filter(None, (seen.era, seen.revision, seen.client))) if seen is not None else ""
        name = f"session {session[:8]}" if session else "without a session"
        yield f"<h2>{_text(server)} · {_text(name)}</h2><p>{_text(about)}</p>\n"
        yield from _session(journal, section)
    yield f"<script>{SCRIPT}</script>\n</body></html>\n"


def _head(header: Header, records: int, sessions: int) -> str:
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_hash(SCRIPT)}'"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(header.time)) if header.time else ""
    about = " · ".join(filter(None, (when, header.gateway, f"{records} records", f"{sessions} sessions")))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>MCP traffic {_text(when)}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>MCP traffic</h1><p>{_text(about)}</p>"
        '<input type="search" hidden placeholder="Show only what contains this text" aria-label="Filter">\n'
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _session(journal: Journal, section: _Section) -> Iterator[str]:
    store, start = journal.store, section.start
    span = max(section.end - start, 1e-6)
    for row in section.rows:
        index, latency = row - store.first, store.latency_of(row)
        left = 100 * (store.mono[index] - start) / span
        word, style = STATES[store.status_of(row)]
        width = 100.0 if store.status_of(row) is Status.PENDING else (latency or 0.0) / 10 / span
        bar = (
            f'<span class="bar {style}" style="left:{left:.2f}%;width:{min(width, 100 - left):.2f}%"></span>'
        )
        problems = [f"{problem.code}: {problem.text}" for problem in journal.problems_of(row)]
        what = " ".join(
            filter(None, (store.method_of(row) or store.kind_of(row).name.lower(), store.target_of(row)))
        )
        cells = (
            f'<span class="time">{_clock(store.time[index])}</span><span class="what"><b>{_text(what)}</b>'
            f"{''.join(f' <span class=bad>{_text(text)}</span>' for text in problems)}</span>"
            f'<span class="state {style}">{word}</span>'
            f'<span class="ms">{"" if latency is None else f"{latency:,.1f} ms"}</span>'
            f'<span class="track">{bar}</span>'
        )
        yield f"<details data-t><summary>{cells}</summary>{''.join(_messages(journal, row))}</details>\n"


def _messages(journal: Journal, row: int) -> Iterator[str]:
    store = journal.store
    answer = store.linked(store.pair, row) if store.kind_of(row) is Kind.REQUEST else None
    for name, one in (("", row), ("response", answer)):
        if one is None:
            continue
        text = store.body(one).text
        content = content_of(text)
        if not isinstance(content, str):
            text = json.dumps(content, indent=2, ensure_ascii=False)
        cut = store.has(one, TRUNCATED) or len(text) > MAX_TEXT
        note = f"{name or store.kind_of(one).name.lower()} #{store.seq[one - store.first]}"
        size = f", {store.size[one - store.first]:,} bytes{', cut' if cut else ''}"
        yield f'<p class="note">{note}{size}</p><pre>{_lines(text[:MAX_TEXT])}</pre>'
    if comment := journal.comments.get(row):
        yield f'<p class="note">comment: {_text(comment)}</p>'


def _lines(text: str) -> str:
    return "\n".join(_text(line) for line in text.split("\n"))


def _text(text: str) -> str:
    """Return a peer's text as it may stand in HTML, with control and direction characters escaped."""
    return escape(visible(text))


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03}"
