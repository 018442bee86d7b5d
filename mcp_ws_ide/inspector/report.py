"""The results of ``stats`` and ``check`` on a journal: tables, findings, JUnit. Performs no I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

from mcp_ws_ide.inspector.expectations import Expectations, unmet
from mcp_ws_ide.inspector.model.definitions import CODES as DEFINITION_CODES
from mcp_ws_ide.inspector.model.definitions import Drift, definitions_of
from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.failures import ENDLESS, FAILURES, failure_of, is_probe, reason_of
from mcp_ws_ide.inspector.model.journal import ALARMING, STDOUT, Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, Status
from mcp_ws_ide.inspector.model.sizes import size_of, tokens
from mcp_ws_ide.inspector.model.statistics import OperationStats
from mcp_ws_ide.inspector.model.store import TRUNCATED
from mcp_ws_ide.inspector.model.violations import CODES
from mcp_ws_ide.sanitise import visible

CATEGORIES: Final = {
    "error": "requests answered with a JSON-RPC error",
    "failed": "tool results with isError",
    "lost": "requests whose link or server ended before the response",
    "pending": "requests without a response",
    "dup-id": "ids reused while in flight",
    "violation": "messages that violate a rule of JSON-RPC or MCP",
    "event": "links lost, records dropped, servers that exited while in use",
    "stdout": "text that a server printed on stdout, where only messages may stand",
    "gap": "periods in which nothing was recorded",
}
"""The categories that ``check`` can look for, and their meaning."""
NAMES: Final = frozenset(CATEGORIES) | CODES
"""All values of ``--fail-on``: categories, and codes of single violations."""
DEFAULT: Final = ("error", "violation", "pending", "dup-id")
MAX_SHOWN: Final = 1000
"""Findings listed per category; all are counted."""
_BY_STATUS: Final = {**FAILURES, Status.PENDING: "pending"}
NOTHING_EXPECTED: Final = Expectations()
_EVENTS: Final = frozenset({*ALARMING, "upstream_closed"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``code`` is its category, or the code of the violation."""

    category: str
    code: str
    seq: int
    time: float
    server: str
    session: str
    what: str
    text: str
    section: str = ""


def findings(journal: Journal, pending_after: float = 0.0) -> Iterator[Finding]:
    """Yield all findings; each kind in order of its rows.

    Args:
        journal: the traffic.
        pending_after: seconds that a request must have waited, at the last record, to count as pending.
    """
    yield from _of_requests(journal, pending_after)
    store = journal.store
    for problem in journal.problems:
        if store.holds(problem.row) and problem.violation.code not in FAILURES.values():
            violation = problem.violation
            yield _finding(
                journal,
                _on_clients_leg(journal, problem.row),
                _category(violation.code),
                violation.code,
                violation.text,
                violation.section,
            )


def _category(code: str) -> str:
    if code in ("dup-id", "gap", STDOUT):
        return code
    return "event" if code in _EVENTS else "violation"


def _is_repeated(journal: Journal, row: int) -> bool:
    """Return whether the same message was also seen on the client leg."""
    return _on_clients_leg(journal, row) != row


def _on_clients_leg(journal: Journal, row: int) -> int:
    """Return the row of the same message on the client leg, which has the session; the row itself if there is none."""
    store = journal.store
    twin = None if store.lane_of(row) in CLIENT_LEG else store.linked(store.twin, row)
    return row if twin is None else twin


def _of_requests(journal: Journal, pending_after: float) -> Iterator[Finding]:
    store = journal.store
    limit = (store.mono[-1] if len(store) else 0.0) - pending_after
    for index, code in enumerate(store.status):
        row, category = index + store.first, _BY_STATUS.get(Status(code))
        if category is None or is_probe(store, row) or _is_repeated(journal, row):
            continue
        if category == "lost" and not failure_of(store, row):
            continue
        if store.kind_of(row) is not Kind.REQUEST and not (
            category in ("error", "failed") and store.linked(store.pair, row) is None
        ):
            continue
        if category == "pending" and (store.mono[index] > limit or store.method_of(row) in ENDLESS):
            continue
        yield _finding(journal, row, category, category, _description(journal, row, category))


def _description(journal: Journal, row: int, category: str) -> str:
    store = journal.store
    if category == "pending":
        return f"open for {store.mono[-1] - store.mono[row - store.first]:.1f} s at the end"
    answer = store.linked(store.pair, row) if store.kind_of(row) is Kind.REQUEST else row
    content = content_of(store.body(answer).text) if answer is not None else None
    return reason_of(category, content if isinstance(content, dict) else None)


def _finding(journal: Journal, row: int, category: str, code: str, text: str, section: str = "") -> Finding:
    store = journal.store
    index = row - store.first
    what = f"{store.method_of(row)} {store.target_of(row)}".strip()
    return Finding(
        category,
        code,
        store.seq[index],
        store.time[index],
        store.server_of(row),
        store.session_of(row),
        what,
        text[:2000],
        section,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of ``check`` for the categories given to ``--fail-on``."""

    fail_on: tuple[str, ...]
    counts: Counter[str]
    shown: list[Finding]
    records: int
    gaps: int = 0
    """Periods in which nothing was recorded; their messages were not checked."""
    truncated: Counter[str] = field(default_factory=Counter)
    """By method, the messages whose content was not checked, because the gateway truncated them."""

    network: list[str] = field(default_factory=list)
    """What was noticed on the way to a live gateway, a sentence each."""

    uncompared: list[str] = field(default_factory=list)
    """What of the baseline was not compared, a phrase each."""

    source: str = ""
    """The file that was checked; ``""`` for a live gateway, and for standard input."""

    baseline: str = ""
    """The file with the approved definitions; ``""`` for none."""

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.counts


def judge(
    journal: Journal,
    fail_on: Collection[str],
    pending_after: float = 0.0,
    expectations: Expectations = NOTHING_EXPECTED,
    drifts: Collection[Drift] | None = None,
) -> Verdict:
    """Look for ``fail_on``: names of categories, or codes of single violations; and for what is not as expected.

    Args:
        drifts: differences from the approved definitions; None if they were not compared.
    """
    counts: Counter[str] = Counter()
    shown: list[Finding] = []
    fail_on = (*fail_on, *expectations.categories, *(() if drifts is None else DEFINITION_CODES))
    unmet_ones = (*_unmet(journal, expectations), *_of_drifts(journal, drifts or ()))
    for finding in (*findings(journal, pending_after), *unmet_ones):
        name = finding.category if finding.category in fail_on else finding.code
        if name in fail_on:
            counts[name] += 1
            if counts[name] <= MAX_SHOWN:
                shown.append(finding)
    records = len(journal.store) + journal.store.forgotten
    gaps = journal.problem_counts["gap"]
    return Verdict(tuple(fail_on), counts, shown, records, gaps, _truncated(journal))


def _unmet(journal: Journal, expectations: Expectations) -> Iterator[Finding]:
    for category, row, text in unmet(journal, expectations):
        if row is None:
            yield Finding(category, category, 0, 0.0, "", "", "", text)
        else:
            yield _finding(journal, row, category, category, text)


def _of_drifts(journal: Journal, drifts: Collection[Drift]) -> Iterator[Finding]:
    store = journal.store
    for drift in drifts:
        seq, moment, session = 0, 0.0, ""
        if drift.row is not None:
            index, session = drift.row - store.first, store.session_of(drift.row)
            seq, moment = store.seq[index], store.time[index]
        yield Finding(drift.code, drift.code, seq, moment, drift.server, session, drift.what, drift.text)


def _truncated(journal: Journal) -> Counter[str]:
    """Count the truncated messages by method; one that was seen on both legs counts once."""
    store, counts = journal.store, Counter[str]()
    for row in range(store.first, store.end):
        if store.has(row, TRUNCATED):
            request = row if store.kind_of(row) is Kind.REQUEST else store.linked(store.pair, row)
            if request is None or not _is_repeated(journal, request):
                counts[store.method_of(row) or "response"] += 1
    return counts


def as_text(verdict: Verdict) -> str:
    """Return a line per finding, and a summary."""
    lines = [visible(_line(finding)) for finding in verdict.shown]
    summary = ", ".join(f"{count} {name}" for name, count in verdict.counts.items()) or "nothing found"
    looked_at = f" in {verdict.records} records" if verdict.records else ""
    lines.append(f"{'ok' if verdict.passed else 'FAILED'}: {summary}{looked_at}")
    lines += [f"note: {note}" for note in notes(verdict)]
    return "\n".join(lines)


def notes(verdict: Verdict) -> list[str]:
    """Return what the reader of the result must know: what was not checked, and what was noticed on the way."""
    incomplete = _incomplete(verdict)
    return [*([incomplete] if incomplete else []), *(f"network: {sentence}" for sentence in verdict.network)]


def _incomplete(verdict: Verdict) -> str:
    parts = []
    if verdict.gaps:
        hint = "" if "gap" in verdict.fail_on else "; use --fail-on gap to make that a failure"
        parts.append(f"{_number(verdict.gaps, 'gap')}, in which messages were missed{hint}")
    if verdict.truncated:
        methods = ", ".join(f"{name} ({count})" for name, count in verdict.truncated.most_common())
        total = _number(verdict.truncated.total(), "message")
        parts.append(f"{total} truncated by the gateway, whose content was not checked: {methods}")
    if verdict.uncompared:
        parts.append(
            f"not compared with the baseline, as no complete list was seen: {'; '.join(verdict.uncompared)}"
        )
    return f"the check is incomplete: {'; '.join(parts)}" if parts else ""


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _line(finding: Finding) -> str:
    where = " ".join(filter(None, (finding.session[:4], finding.server, finding.what)))
    section = f" ({finding.section})" if finding.section else ""
    number = f"#{finding.seq}" if finding.seq else ""  # a gap has none
    place = " ".join(filter(None, (number, where)))
    return ": ".join(filter(None, (place, finding.code, finding.text))) + section


def as_json(verdict: Verdict) -> str:
    """Return one JSON object: ``ok``, ``records``, ``gaps``, ``fail_on``, ``findings``, ``network``, ``uncompared``;
    ``truncated`` counts by method, ``counts`` by name."""
    members = {
        "ok": verdict.passed,
        "records": verdict.records,
        "gaps": verdict.gaps,
        "truncated": dict(verdict.truncated),
        "fail_on": list(verdict.fail_on),
        "counts": dict(verdict.counts),
        "network": verdict.network,
        "uncompared": verdict.uncompared,
        "findings": [asdict(finding) for finding in verdict.shown],
    }
    return json.dumps(members, indent=1)


def as_junit(verdict: Verdict) -> str:
    """Return JUnit XML with a test case per category."""
    suite = ElementTree.Element(
        "testsuite",
        name="mcp-ws-inspect check",
        tests=str(len(verdict.fail_on)),
        failures=str(len(verdict.counts)),
        errors="0",
    )
    for name in verdict.fail_on:
        case = ElementTree.SubElement(suite, "testcase", classname="mcp", name=f"no {name}")
        if count := verdict.counts[name]:
            failure = ElementTree.SubElement(case, "failure", message=f"{count} found", type=name)
            mine = [f for f in verdict.shown if name in (f.category, f.code)]
            failure.text = "\n".join(visible(_line(finding)) for finding in mine)
    if note := "\n".join(notes(verdict)):
        ElementTree.SubElement(suite, "system-out").text = note
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


FORMATS: Final = {"text": as_text, "json": as_json, "junit": as_junit}


# --- stats ---------------------------------------------------------------------------------------


def stats_json(journal: Journal, order: str) -> str:
    """Return one JSON object: ``records``, ``dropped``, ``sessions`` by server and era, ``operations`` (ms),
    ``definitions`` by server, kind and name."""
    store = journal.store
    members = {
        "records": len(store) + store.forgotten,
        "dropped": journal.missed,
        "sessions": [
            {"server": server, "era": era or None, "revision": revision or None, "count": count}
            for (server, era, revision), count in _sessions(journal)
        ],
        "operations": [_members(line) for line in journal.statistics.ordered(order)],
        "definitions": [
            {"server": server, "kind": kind, "name": name, "bytes": size, "tokens": tokens(size)}
            for server, kind, sizes in _definitions(journal)
            for name, size in sizes.items()
        ],
    }
    return json.dumps(members, indent=1)


def _sessions(journal: Journal) -> list[tuple[tuple[str, str, str], int]]:
    """Return the number of sessions per server, era and revision, of the sessions that are still remembered."""
    counts = Counter((session.server, session.era, session.revision) for session in journal.sessions.values())
    return sorted(counts.items())


def _definitions(journal: Journal) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield server, kind, and the size of each of its newest definitions by name."""
    for server, known in sorted(definitions_of(journal).items()):
        for kind, listing in known.lists.items():
            yield (
                server,
                kind,
                {
                    name: size_of(next(reversed(versions.values()))[0])
                    for name, versions in listing.versions.items()
                },
            )


def _members(line: OperationStats) -> dict[str, Any]:
    return {
        "server": line.server,
        "method": line.method,
        "target": line.target,
        "count": line.count,
        "errors": line.errors,
        "p50_ms": _rounded(line.durations.quantile(0.5)),
        "p95_ms": _rounded(line.durations.quantile(0.95)),
        "p99_ms": _rounded(line.durations.quantile(0.99)),
        "max_ms": _rounded(line.durations.worst) if line.durations else None,
        "gateway_ms": _rounded(line.overhead),
        "tokens": line.tokens,
        "bytes": line.size,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def stats_table(journal: Journal, order: str) -> str:
    """Return a table of operations; durations in milliseconds."""
    head = ("server", "method", "target", "count", "err", "p50", "p95", "p99", "max", "gw+", "~tok", "bytes")
    rows = [[_cell(value) for value in _members(line).values()] for line in journal.statistics.ordered(order)]
    widths = [max(len(row[column]) for row in [list(head), *rows]) for column in range(len(head))]
    lines = []
    for row in [list(head), *rows]:
        cells = [
            cell.ljust(width) if number < 3 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    if not rows:
        lines.append("(no request got a response)")
    for (server, era, revision), count in _sessions(journal):
        spoken = f"{era} {revision}".strip() or "era not seen"
        lines.append(visible(f"{count} {'session' if count == 1 else 'sessions'} of {server}: {spoken}"))
    for server, kind, sizes in _definitions(journal):
        whole = sum(sizes.values())
        largest = max(sizes, key=lambda name: sizes[name], default="")
        text = f"{kind} of {server}: {len(sizes)}, {whole:,} bytes, about {tokens(whole):,} tokens"
        lines.append(
            visible(f"{text}; the largest is {largest} ({tokens(sizes[largest]):,})" if sizes else text)
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else visible(str(value))[:60]
