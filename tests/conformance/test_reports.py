"""Reports: what a peer sent does no harm in any of them."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from mcp_ws_ide.conformance.html import html_report
from mcp_ws_ide.conformance.reports import json_report, junit_report, text_report
from mcp_ws_ide.conformance.running import Run
from mcp_ws_ide.conformance.server.run import SERVER
from mcp_ws_ide.conformance.verdicts import Outcome, Result, Verdict

HOSTILE = "\x1b[2J<script>alert(1)</script>\ud83d]]>&\x00"
IDS = ("frames-json", "frames-fifth", "frames-binary", "frames-surrogate", "control-ping")


def run() -> Run:
    """One result of each verdict, with hostile text everywhere."""
    results = [
        Result(SERVER.all[name], Outcome(verdict, HOSTILE), 0.1, HOSTILE, (f"→ {HOSTILE}", f"← {HOSTILE}"))
        for name, verdict in zip(IDS, Verdict, strict=True)
    ]
    return Run("server", f"ws://h/{HOSTILE}", HOSTILE, results, 1.5, ["liveness-ping"])


def test_the_text_has_a_line_for_each_check_and_more_about_those_that_did_not_pass():
    text = text_report(run(), colour=False, verbose=False, width=100)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "  pass  frames-json " in text
    assert "  FAIL  frames-fifth " in text
    assert "        came      \\x1b[2J<script>" in text
    assert text.splitlines()[-1].startswith(
        "1 pass, 1 fail, 1 warn, 1 not applicable, 1 not reached, in 1.5 s; 1 slow"
    )
    assert "→" not in text
    assert "→ \\x1b[2J" in text_report(run(), colour=False, verbose=True, width=100)


def test_the_page_has_no_markup_of_a_peer():
    page = html_report(run())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<details open>") == 3


def test_junit_is_xml_with_a_suite_for_each_section():
    suites = ElementTree.fromstring(junit_report(run()))
    assert [suite.get("name") for suite in suites] == ["4 Frames", "6.1 Data frames and control frames"]
    assert suites.attrib["tests"] == "5"
    assert suites.attrib["failures"] == "1"
    assert suites.attrib["skipped"] == "2"
    (failure,) = suites.iter("failure")
    assert failure.get("type") == "frames-fifth"
    assert "binding.md#frames-fifth" in str(failure.text)


def test_json_has_what_was_sent_expected_and_came():
    report = json.loads(json_report(run()))
    assert report["status"] == 1
    assert report["counts"]["warn"] == 1
    first = report["results"][0]
    assert first["clause"] == "frames-json"
    assert first["came"] == first["sent"] == HOSTILE
    assert first["expected"].startswith("error -32700")


def test_the_exit_status_tells_a_failure_from_a_run_that_is_not_complete():
    complete = run()
    assert complete.status == 1
    complete.results = [result for result in complete.results if result.verdict is not Verdict.FAIL]
    assert complete.status == 2
    complete.results = [result for result in complete.results if result.verdict is not Verdict.NOT_REACHED]
    assert complete.status == 0
