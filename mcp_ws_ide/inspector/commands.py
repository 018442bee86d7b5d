"""The commands for recordings: ``record``, ``open``, ``replay``, ``stats``, ``export``.

Exit codes of ``replay``: 0 all is well; 1 something differs; 2 the command could not be done. Of the others: 0 success;
1 the gateway refused or cannot be reached; 2 a file cannot be used. A server or session that does not exist is 2 for
all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, TextIO

from mcp_ws_ide.importing import many_imports
from mcp_ws_ide.inspector import export, report
from mcp_ws_ide.inspector.choosing import endpoint
from mcp_ws_ide.inspector.collecting import Sieve, collect, end_with_reader, stop_on_signals
from mcp_ws_ide.inspector.durations import seconds
from mcp_ws_ide.inspector.model.difference import Path
from mcp_ws_ide.inspector.model.filters import Filter, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.names import check_live, check_recorded
from mcp_ws_ide.inspector.recording import STANDARD, Header, Recorder, RecordingError
from mcp_ws_ide.inspector.replay import Replay, ReplayOutcome, lines, script
from mcp_ws_ide.inspector.sources import (
    MANY,
    AddCommand,
    Find,
    file_argument,
    journal_of,
    load,
    max_bytes,
    narrowed,
    say,
    say_if_empty,
    set_stdout_utf8,
    source_arguments,
)
from mcp_ws_ide.inspector.terminal import no_full_screen
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible

# --- record --------------------------------------------------------------------------------------


def run_record(find: Find, options: argparse.Namespace) -> int:
    """Run ``record``."""
    sieve = Sieve(narrowed(options.filter, options))
    gateway = find()
    client = GatewayClient(gateway)
    instance = client.attached().get("instance")  # a refusal comes before the file is created
    check_live(client, options.server, options.session)
    header = Header(time.time(), gateway.url, instance if isinstance(instance, str) else None)
    stop_on_signals()
    if options.output == STANDARD:
        end_with_reader()
    with closing(sieve), Recorder(options.output, header, overwrite=options.force) as recorder:
        if options.output != STANDARD:
            say(f"recording {gateway.url} to {options.output}; press Ctrl-C to stop")
        try:
            collect(find, lambda batch: recorder.write(sieve.passed(batch)), options.seconds, sieve.scope)
        finally:
            say(f"{recorder.records} records, {recorder.bytes} bytes")
    return 0


def run_stats(find: Find, options: argparse.Namespace) -> int:
    """Run ``stats``."""
    with journal_of(find, options) as (journal, _):
        say_if_empty(journal)
        print((report.stats_json if options.json else report.stats_table)(journal, options.sort))
    return 130 if options.interrupted else 0


def run_export(find: Find, options: argparse.Namespace) -> int:
    """Run ``export``."""
    filter_: Filter | None = parse(options.filter) if options.filter.strip() else None
    with closing(Journal(max_records=MANY, max_spill=1 << 40)) as journal:
        header = load(options, journal.feed, journal)
        rows = range(journal.store.first, journal.store.end)
        if filter_ is not None and not any(filter_.matches(journal.store, row) for row in rows):
            say(f"no message in {options.file} matches the filter")
        pieces = export.export(journal, header, options.format, filter_)
        first = next(pieces, "")  # what cannot be exported creates no file
        with _output(options.output, options.force) as out:
            for piece in chain((first,), pieces):
                out.write(piece)
    return 0


@contextmanager
def _output(path: str, overwrite: bool) -> Iterator[TextIO]:
    if path == STANDARD:
        set_stdout_utf8()
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        with export.private_file(path, overwrite) as file:
            yield file
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from None


def run_open(find: Find, options: argparse.Namespace) -> int:
    """Run ``open``: the full-screen inspector on a recording."""
    if options.file == STANDARD:
        say("open reads the keyboard from standard input; save the recording to a file first")
        return 2
    if reason := no_full_screen("open"):
        say(reason)
        return 2
    with many_imports():
        from mcp_ws_ide.inspector.app.app import run_file

    return run_file(options.file, max_bytes(options), parse(options.filter))


# --- replay --------------------------------------------------------------------------------------


def run_replay(find: Find, options: argparse.Namespace) -> int:
    """Run ``replay``."""
    with closing(Journal(max_records=MANY, max_spill=1 << 40)) as journal:
        load(options, journal.feed, journal)
        _check_names(journal, options)
        replayed = script(journal, options.server or "", options.session or "")
    servers = {step.server for step in replayed.steps}
    if not any(step.answer is not None for step in replayed.steps):
        _left_out(replayed.left_out)
        say("the recording holds no request that can be replayed")
        return 2
    if len(servers) > 1:
        say(f"the recording covers several servers ({', '.join(sorted(servers))}); choose one with --server")
        return 2
    url, token = endpoint(options.against, options.url, options.token_file)
    replay = Replay(replayed, url, token, timeout=options.timeout, ignore=options.ignore)
    sent, different = asyncio.run(_replay(replay, options.quiet))
    _left_out(replayed.left_out)
    print(f"{sent} requests replayed, {different} with a different response")
    return 1 if different and options.exit_code else 0


def _check_names(journal: Journal, options: argparse.Namespace) -> None:
    store = journal.store
    rows = range(store.first, store.end)
    if options.server:
        check_recorded(options.file, "server", options.server, {store.server_of(row) for row in rows} - {""})
    if options.session:
        check_recorded(
            options.file, "session", options.session, {store.session_of(row) for row in rows} - {""}
        )


async def _replay(replay: Replay, quiet: bool) -> tuple[int, int]:
    sent = different = 0

    def show(outcome: ReplayOutcome) -> None:
        for line in lines(outcome, visible):
            print(line, flush=True)

    async for outcome in replay.run():
        sent += 1
        different += not outcome.same
        if not (outcome.same and quiet):
            show(outcome)
    return sent, different


def _left_out(counts: dict[str, int]) -> None:
    for reason, count in counts.items():
        say(f"{count} not replayed: {reason}")


def path(text: str) -> Path:
    """Return a :class:`Path` given on the command line."""
    try:
        return Path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add(commands: Any, command: AddCommand) -> None:
    """Add the commands of this module to the parser."""
    _add_record(commands, command)
    _add_open(commands, command)
    _add_replay(commands, command)
    _add_stats(commands, command)
    _add_export(commands, command)


def _add_record(commands: Any, command: AddCommand) -> None:
    record = command(commands, "record", run_record, "record traffic to a file, until interrupted")
    record.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="FILE.jsonl, FILE.jsonl.zst, or - for standard output",
    )
    record.add_argument("--force", action="store_true", help="overwrite an existing file")
    record.add_argument("--server", help="record only this server")
    record.add_argument("--session", help="record only sessions whose id begins with this")
    record.add_argument(
        "--filter", default="", help="record only what matches; the same filter language as on the screens"
    )
    record.add_argument(
        "--for",
        dest="seconds",
        type=seconds,
        metavar="TIME",
        help="stop after this time, for example 30s or 5m (default: until interrupted)",
    )


def _add_open(commands: Any, command: AddCommand) -> None:
    opened = command(commands, "open", run_open, "open the full-screen inspector on a recording")
    file_argument(opened, "a recording")
    opened.add_argument("--filter", default="", help="show only what matches, in the filter language")


def _add_replay(commands: Any, command: AddCommand) -> None:
    replay = command(
        commands, "replay", run_replay, "send a recording's requests again and compare the responses"
    )
    file_argument(replay, "a recording; - for standard input")
    replay.add_argument(
        "--against", required=True, metavar="URL", help="endpoint or name of the server to send them to"
    )
    help_text = "exit with 1 if a response differs (on by default)"
    replay.add_argument("--exit-code", action=argparse.BooleanOptionalAction, default=True, help=help_text)
    replay.add_argument("--server", help="replay only requests to this server")
    replay.add_argument("--session", help="replay only sessions whose id begins with this")
    help_text = "a path that may differ, for example result.content[*].text; may be repeated"
    replay.add_argument("--ignore", type=path, action="append", default=[], metavar="PATH", help=help_text)
    replay.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="TIME", help="timeout of one response (default 30s)"
    )
    replay.add_argument("--quiet", action="store_true", help="print only differences")


def _add_stats(commands: Any, command: AddCommand) -> None:
    stats = command(
        commands, "stats", run_stats, "print counts, durations and sizes per server, method and tool"
    )
    source_arguments(stats)
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    orders = ("count", "errors", "p50", "p95", "max", "size")
    stats.add_argument("--sort", choices=orders, default="count", help="sort order (default count)")


def _add_export(commands: Any, command: AddCommand) -> None:
    exported = command(commands, "export", run_export, "convert a recording for other programs")
    file_argument(exported, "a recording; - for standard input")
    exported.add_argument(
        "--format", choices=export.FORMATS, default="json", help="format to convert to (default json)"
    )
    exported.add_argument("--filter", default="", help="export only what matches")
    exported.add_argument(
        "-o", "--output", default=STANDARD, metavar="FILE", help="output file (default: standard output)"
    )
    exported.add_argument("--force", action="store_true", help="overwrite an existing file")
