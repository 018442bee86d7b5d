"""The result of ``check`` as SARIF 2.1.0, which code hosts show beside the code: a rule per finding's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from mcp_ws_ide.inspector.model.definitions import CODES
from mcp_ws_ide.inspector.report import CATEGORIES, Finding, Verdict, notes
from mcp_ws_ide.version import __version__

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
DOCUMENTATION: Final = (
    "https://github.com/mcp-ws-ide/mcp-ws-ide/blob/main/docs/guides/inspector.md#check-traffic-for-errors"
)


def as_sarif(verdict: Verdict) -> str:
    """Return one SARIF log with one run."""
    driver = {
        "name": "mcp-ws-inspect",
        "version": __version__,
        "informationUri": DOCUMENTATION,
        "rules": list(_rules(verdict)),
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": list(_notifications(verdict))}
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(verdict, finding) for finding in verdict.shown],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _rules(verdict: Verdict) -> Iterator[dict[str, Any]]:
    for code, finding in {finding.code: finding for finding in verdict.shown}.items():
        text = CATEGORIES.get(code) or CODES.get(code) or CATEGORIES.get(finding.category) or code
        yield {"id": code, "shortDescription": {"text": text}, "helpUri": DOCUMENTATION}


def _notifications(verdict: Verdict) -> Iterator[dict[str, Any]]:
    for note in notes(verdict):
        yield {"level": "warning", "message": {"text": note}}


def _result(verdict: Verdict, finding: Finding) -> dict[str, Any]:
    names = [part for part in (finding.server, finding.what) if part]
    section = f" ({finding.section})" if finding.section else ""
    text = f"{' '.join(names)}: {finding.text}{section}" if names else f"{finding.text}{section}"
    location: dict[str, Any] = {}
    if names:
        location["logicalLocations"] = [{"fullyQualifiedName": "/".join(names), "kind": "member"}]
    if where := (verdict.baseline if finding.code in CODES else "") or verdict.source:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(where)},
            "region": {"startLine": 1},
        }
    # What stays the same when the same fault is found again: neither number nor session.
    mark = hashlib.sha256(
        "\0".join((finding.code, *names, finding.text)).encode(errors="replace")
    ).hexdigest()
    return {
        "ruleId": finding.code,
        "level": "error",
        "message": {"text": text},
        "locations": [location] if location else [],
        "partialFingerprints": {"finding/v1": mark[:32]},
        "properties": {"seq": finding.seq, "session": finding.session, "time": finding.time},
    }
