"""The command ``check``.

Exit codes: 0 all is well; 1 something was found; 2 the check could not be done.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from typing import Any, Final

from mcp_ws_ide.inspector import baseline, network, report
from mcp_ws_ide.inspector.asking import ask
from mcp_ws_ide.inspector.durations import milliseconds, seconds
from mcp_ws_ide.inspector.expectations import Expectations
from mcp_ws_ide.inspector.model.definitions import (
    UNSEEN,
    Drift,
    ServerDefinitions,
    definitions_of,
    drift,
    unseen,
)
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.recording import STANDARD
from mcp_ws_ide.inspector.sarif import as_sarif
from mcp_ws_ide.inspector.sources import (
    AddCommand,
    Find,
    journal_of,
    say,
    say_if_empty,
    set_stdout_utf8,
    source_arguments,
)
from mcp_ws_ide.rest_client import GatewayClient

WAITS: Final = 5.0
"""Seconds after which an open request counts as pending on a live gateway."""
FORMATS: Final = {**report.FORMATS, "sarif": as_sarif}


def run_check(find: Find, options: argparse.Namespace) -> int:
    """Run ``check``."""
    definitions = options.baseline or options.save_baseline
    approved = None if options.baseline is None else baseline.read(options.baseline)
    if definitions and options.file is None and options.seconds is None:
        options.seconds = 0.0  # the servers are asked
    after = options.pending_after
    if after is None:
        after = 0.0 if options.file is not None else WAITS
    expected = Expectations(tuple(options.expect_tool), tuple(options.forbid_tool), options.max_duration)
    with journal_of(find, options) as (journal, _):
        servers, failures = _definitions(find, options, journal) if definitions else ({}, {})
        if not servers:
            say_if_empty(journal)
        drifts = None
        if approved is not None:
            drifts = [*drift(servers, approved), *_unasked(failures)]
        verdict = report.judge(journal, options.fail_on, after, expected, drifts)
    source = "" if options.file in (None, STANDARD) else options.file
    verdict = replace(verdict, source=source, baseline=options.baseline or "")
    if approved is not None:
        if options.server:
            approved = {name: members for name, members in approved.items() if name == options.server}
        verdict.uncompared.extend(unseen(servers, approved))
    if options.file is None:
        verdict.network.extend(network.test_path(GatewayClient(find())))
    if options.save_baseline is not None:
        _save(options.save_baseline, servers, failures)
    if options.format == "junit":
        set_stdout_utf8()
    print(FORMATS[options.format](verdict))
    if not verdict.passed:
        return 1
    return 130 if options.interrupted else 0


def _definitions(
    find: Find, options: argparse.Namespace, journal: Journal
) -> tuple[dict[str, ServerDefinitions], dict[str, str]]:
    """Return the definitions in a recording, or those of live servers; and why servers could not be asked."""
    if options.file is not None:
        return definitions_of(journal), {}
    gateway = find()
    known = GatewayClient(gateway).call("GET", "servers")["servers"]
    names = (
        [options.server]
        if options.server
        else [entry["name"] for entry in known if entry["state"] != "disabled"]
    )
    return asyncio.run(ask(gateway, names))


def _unasked(failures: dict[str, str]) -> list[Drift]:
    return [Drift(UNSEEN, name, None, "server", reason) for name, reason in failures.items()]


def _save(path: str, servers: dict[str, ServerDefinitions], failures: dict[str, str]) -> None:
    saved = baseline.save(path, servers)
    for name, reason in failures.items():
        say(f"{name} is not in the baseline: {reason}")
    if saved:
        say(f"{path}: approved the definitions of {', '.join(saved)}")
    else:
        say(f"{path} was not written: no complete list of definitions was seen")


def categories(text: str) -> tuple[str, ...]:
    """Return the names given to ``--fail-on``."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in report.NAMES]
    if unknown or not names:
        known = ", ".join([*report.CATEGORIES, *sorted(report.NAMES - set(report.CATEGORIES))])
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown) or 'an empty list'} cannot be checked; known names: {known}"
        )
    return names


def add(commands: Any, command: AddCommand) -> None:
    """Add the command to the parser."""
    check = command(commands, "check", run_check, "check traffic for problems; exit with 1 if any is found")
    source_arguments(check)
    help_text = f"comma-separated problems to look for (default {','.join(report.DEFAULT)})"
    check.add_argument("--fail-on", type=categories, default=report.DEFAULT, metavar="WHAT", help=help_text)
    check.add_argument(
        "--format", choices=list(FORMATS), default="text", help="format of the report (default text)"
    )
    help_text = "report requests as pending after this time (default 0s in a file, 5s live)"
    check.add_argument("--pending-after", type=seconds, metavar="TIME", help=help_text)
    help_text = "fail unless a tool that matches is called (* and ? as in file names); may be repeated"
    check.add_argument("--expect-tool", action="append", default=[], metavar="PATTERN", help=help_text)
    help_text = "fail if a tool that matches is called; may be repeated"
    check.add_argument("--forbid-tool", action="append", default=[], metavar="PATTERN", help=help_text)
    help_text = "fail if a request takes longer than this, for example 500ms or 2s"
    check.add_argument("--max-duration", type=milliseconds, metavar="TIME", help=help_text)
    kept = check.add_mutually_exclusive_group()
    help_text = (
        "fail where the definitions of tools, prompts or instructions differ from those approved in FILE"
    )
    kept.add_argument("--baseline", metavar="FILE", help=help_text)
    help_text = "approve the definitions: write them to FILE, which keeps those of other servers"
    kept.add_argument("--save-baseline", metavar="FILE", help=help_text)
