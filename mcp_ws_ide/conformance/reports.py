"""Reports of a run: text for a terminal, JSON, and JUnit's XML. What peers sent is made safe first."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final
from xml.etree import ElementTree

from mcp_ws_ide.conformance.clauses import PAGE, SECTIONS
from mcp_ws_ide.conformance.running import ENDED, Run
from mcp_ws_ide.conformance.verdicts import Result, Verdict
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.version import __version__

MARKS: Final = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "FAIL",
    Verdict.WARN: "warn",
    Verdict.NOT_APPLICABLE: "n/a ",
    Verdict.NOT_REACHED: "????",
}
_COLOURS: Final = {
    Verdict.PASS: "32",
    Verdict.FAIL: "1;31",
    Verdict.WARN: "33",
    Verdict.NOT_APPLICABLE: "2",
    Verdict.NOT_REACHED: "35",
}
LONGEST: Final = 240
"""Characters of one item in the text report; the other reports have more."""
_META: Final = re.compile(r'"_meta": \{"io\.modelcontextprotocol/.*?/clientCapabilities": \{\}')
_SHOWN: Final = frozenset({Verdict.FAIL, Verdict.WARN, Verdict.NOT_REACHED})


def by_section(run: Run) -> Iterator[tuple[str, list[Result]]]:
    """Title and results of each section that was checked."""
    for section, results in groupby(run.results, lambda result: result.check.clause.section):
        yield f"{section} {SECTIONS[section]}", list(results)


def text_report(run: Run, *, colour: bool, verbose: bool, width: int) -> str:
    """The report for a terminal: a line for each check, and more about those that did not pass."""
    lines = [f"mcp-ws-conformance {__version__}: {visible(run.subject)}", visible(run.about)]
    lines += [f"clauses: {PAGE}#CLAUSE", ""]
    for title, results in by_section(run):
        lines.append(title)
        shown, grouped = (results, []) if verbose else _parted(results)
        for result in shown:
            lines.extend(_entry(result, colour=colour, verbose=verbose, width=width))
        lines.extend(_groups(grouped, colour))
        lines.append("")
    return "\n".join([*lines, summary(run)]) + "\n"


def _parted(results: list[Result]) -> tuple[list[Result], list[Result]]:
    """The results that are shown one by one, and those that share their reason with others."""
    grouped = [
        result
        for result in results
        if result.verdict is Verdict.NOT_APPLICABLE or result.outcome.came.startswith(ENDED)
    ]
    return [result for result in results if result not in grouped], grouped


def _groups(results: list[Result], colour: bool) -> Iterator[str]:
    """One line for each verdict and reason."""
    reasons = Counter((result.verdict, result.outcome.came) for result in results)
    for (verdict, reason), number in reasons.items():
        checks = f"{number} check{'s' if number > 1 else ''}"
        yield f"  {_mark(verdict, colour)}  {checks:<26} {visible(reason)}"


def _mark(verdict: Verdict, colour: bool) -> str:
    return f"\x1b[{_COLOURS[verdict]}m{MARKS[verdict]}\x1b[0m" if colour else MARKS[verdict]


def _entry(result: Result, *, colour: bool, verbose: bool, width: int) -> Iterator[str]:
    title = textwrap.wrap(result.check.title, max(width - 35, 40))
    yield f"  {_mark(result.verdict, colour)}  {result.check.id:<26} {title[0]}"
    for line in title[1:]:
        yield f"{'':<35}{line}"
    if result.verdict in _SHOWN or verbose:
        yield from _details(result, width)
    if verbose:
        for step in result.exchange:
            yield from _wrapped(visible(step), " " * 10, " " * 12, width)


def _details(result: Result, width: int) -> Iterator[str]:
    for name, text in (
        ("sent", _META.sub(r'"_meta": {…', result.sent)),
        ("expected", result.check.expected),
        ("came", result.outcome.came),
        ("clause", f"{result.check.clause.id}: {result.check.clause.text}"),
    ):
        yield from _wrapped(visible(text), f"        {name:<10}", " " * 18, width)


def _wrapped(text: str, first: str, other: str, width: int) -> list[str]:
    return textwrap.wrap(
        _cut(text), max(width, 60), initial_indent=first, subsequent_indent=other, break_on_hyphens=False
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def summary(run: Run) -> str:
    """The last line: how many checks have which verdict."""
    counts = [f"{run.count(verdict)} {verdict}" for verdict in Verdict if run.count(verdict)]
    slow = f"; {len(run.left_out)} slow checks were left out (--slow)" if run.left_out else ""
    return f"{', '.join(counts) or 'no checks'}, in {run.seconds:.1f} s{slow}"


def as_data(run: Run) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "program": f"mcp-ws-conformance {__version__}",
        "side": run.side,
        "subject": run.subject,
        "about": run.about,
        "seconds": round(run.seconds, 3),
        "status": run.status,
        "counts": {verdict.value: run.count(verdict) for verdict in Verdict},
        "left_out": run.left_out,
        "results": [_result_data(result) for result in run.results],
    }


def _result_data(result: Result) -> dict[str, Any]:
    return {
        "check": result.check.id,
        "clause": result.check.clause.id,
        "section": result.check.clause.section,
        "url": result.check.clause.url,
        "title": result.check.title,
        "verdict": result.verdict.value,
        "sent": result.sent,
        "expected": result.check.expected,
        "came": result.outcome.came,
        "seconds": round(result.seconds, 3),
        "exchange": list(result.exchange),
    }


def json_report(run: Run) -> str:
    """The report as JSON text; half of a surrogate pair, which UTF-8 cannot carry, is escaped."""
    return json.dumps(as_data(run), indent=1) + "\n"


def junit_report(run: Run) -> str:
    """The report in JUnit's format: a suite for each section; warnings pass, with their text in system-out."""
    suites = ElementTree.Element("testsuites", _counted("mcp-ws-conformance", run.results, run.seconds))
    for title, results in by_section(run):
        seconds = sum(result.seconds for result in results)
        suite = ElementTree.SubElement(suites, "testsuite", _counted(title, results, seconds))
        for result in results:
            _case(suite, result)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _counted(name: str, results: list[Result], seconds: float) -> dict[str, str]:
    left = sum(result.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_REACHED) for result in results)
    failures = sum(result.verdict is Verdict.FAIL for result in results)
    return {
        "name": name,
        "tests": str(len(results)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(left),
        "time": f"{seconds:.3f}",
    }


def _case(suite: ElementTree.Element, result: Result) -> None:
    check = result.check
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": check.clause.id, "name": f"{check.id}: {check.title}", "time": f"{result.seconds:.3f}"},
    )
    came = visible(result.outcome.came)
    details = "\n".join(
        [
            f"sent: {visible(result.sent)}",
            f"expected: {check.expected}",
            f"came: {came}",
            f"clause: {check.clause.url}",
        ]
    )
    if result.verdict is Verdict.FAIL:
        failure = ElementTree.SubElement(case, "failure", {"message": came, "type": check.clause.id})
        failure.text = "\n".join([details, "", *map(visible, result.exchange)])
    elif result.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_REACHED):
        ElementTree.SubElement(case, "skipped", {"message": f"{result.verdict}: {came}"})
    elif result.verdict is Verdict.WARN:
        ElementTree.SubElement(case, "system-out").text = f"warning\n{details}"
