"""The commands for recordings: ``record``, ``open``, ``replay``, ``stats``, ``check``, ``export``.

Exit codes of ``check`` and ``replay``: 0 all is well; 1 something was found or differs; 2 the command could not be
done. Of the others: 0 success; 1 the gateway refused or cannot be reached; 2 a file cannot be used. A server or session
that does not exist is 2 for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, TextIO

from mcp_ws_ide.discovery import RunningGateway, check_name, endpoint_url, find_gateway
from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.importing import many_imports
from mcp_ws_ide.inspector import export, network, report
from mcp_ws_ide.inspector.collecting import Sieve, collect, end_with_reader, stop_on_signals
from mcp_ws_ide.inspector.expectations import Expectations, milliseconds
from mcp_ws_ide.inspector.model.difference import Path
from mcp_ws_ide.inspector.model.filters import Filter, literal, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.names import check_live, check_recorded
from mcp_ws_ide.inspector.recording import STANDARD, Header, Recorder, Recording, RecordingError
from mcp_ws_ide.inspector.replay import Replay, ReplayOutcome, lines, script
from mcp_ws_ide.inspector.terminal import no_full_screen
from mcp_ws_ide.rest_client import GatewayClient, gateway_with
from mcp_ws_ide.sanitise import visible

MANY: Final = 20_000_000
"""Records that a command holds at most; a file of several GiB has fewer."""
WAITS: Final = 5.0
"""Seconds after which an open request counts as pending on a live gateway."""

Find = Callable[[], RunningGateway]
AddCommand = Callable[..., argparse.ArgumentParser]
"""Adds a command to the command line; takes the subparsers, its name, its function and its help."""


def say(text: str) -> None:
    """Print a message on stderr, separate from the command's output."""
    print(f"mcp-ws-inspect: {visible(text)}", file=sys.stderr)


# --- record --------------------------------------------------------------------------------------


def run_record(find: Find, options: argparse.Namespace) -> int:
    """Run ``record``."""
    sieve = Sieve(_narrowed(options.filter, options))
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


def _narrowed(text: str, options: argparse.Namespace) -> str:
    """Return the filter combined with ``--server`` and ``--session``."""
    parts = [("server", options.server), ("session", options.session)]
    narrowed = [f"{key}:{literal(value)}" for key, value in parts if value]
    return " ".join([f"({text})" if narrowed and text.strip() else text, *narrowed]).strip()


# --- files ---------------------------------------------------------------------------------------


def load(options: argparse.Namespace, take: Callable[[list[str]], object], journal: Journal) -> Header:
    """Pass the batches of a file to ``take``, which fills the journal; report what is wrong with its end."""
    path = options.file
    recording = Recording(path, _most(options))
    with closing(recording):
        for batch in recording.batches():
            take(batch)
    if recording.note:
        say(recording.note)
    if unreadable := journal.problem_counts["unreadable"]:
        say(f"{path}: {unreadable} lines are not records and were skipped")
    return recording.header


def _most(options: argparse.Namespace) -> int | None:
    """The bytes that a file may hold when it is decompressed; None if the command line does not say."""
    return None if options.max_mib is None else options.max_mib << 20


def _file(parser: argparse.ArgumentParser, help_text: str, nargs: str | None = None) -> None:
    parser.add_argument("file", metavar="FILE", nargs=nargs, help=help_text)
    text = "decompress at most this many MiB of a .zst file (default: the larger of 64 and 200 times the file's size)"
    parser.add_argument("--max-mib", type=_mib, metavar="N", help=text)


def _mib(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give a whole number of MiB above 0")
    return int(text)


@contextmanager
def _journal(find: Find, options: argparse.Namespace) -> Iterator[tuple[Journal, Header]]:
    """Yield the traffic in a file, or of the live gateway for a while."""
    if options.file is not None and options.seconds is not None:
        raise RecordingError("--for limits how long a live gateway is watched; give either --for or FILE")
    journal = Journal(max_records=MANY, max_spill=1 << 40, max_problems=1_000_000)
    sieve = Sieve(_narrowed("", options))
    with closing(journal), closing(sieve):

        def take(batch: list[str]) -> None:
            journal.feed(sieve.passed(batch))

        if options.file is not None:
            header = load(options, take, journal)
            if options.server:
                check_recorded(options.file, "server", options.server, sieve.servers)
            yield journal, header
            return
        gateway = find()
        client = GatewayClient(gateway)
        client.attached()
        check_live(client, options.server, options.session)
        if options.seconds is None:
            say(
                f"watching {gateway.url}; press Ctrl-C to stop and see the result (or give --for 30s, or a FILE)"
            )
        stop_on_signals()
        end_with_reader()
        try:
            collect(find, take, options.seconds, sieve.scope)
        except KeyboardInterrupt:
            options.interrupted = True
        yield journal, Header(time.time(), gateway.url)


def _say_if_empty(journal: Journal) -> None:
    """Report that there was nothing to look at, which is no proof that all is well."""
    if not len(journal.store):
        say("no message was seen, so there is nothing to report")


def run_stats(find: Find, options: argparse.Namespace) -> int:
    """Run ``stats``."""
    with _journal(find, options) as (journal, _):
        _say_if_empty(journal)
        print((report.stats_json if options.json else report.stats_table)(journal, options.sort))
    return 130 if options.interrupted else 0


def run_check(find: Find, options: argparse.Namespace) -> int:
    """Run ``check``."""
    with _journal(find, options) as (journal, _):
        _say_if_empty(journal)
        after = options.pending_after
        if after is None:
            after = 0.0 if options.file is not None else WAITS
        expected = Expectations(tuple(options.expect_tool), tuple(options.forbid_tool), options.max_duration)
        verdict = report.judge(journal, options.fail_on, after, expected)
    if options.file is None:
        verdict.network.extend(network.noticed(GatewayClient(find())))
    print(report.FORMATS[options.format](verdict))
    if not verdict.passed:
        return 1
    return 130 if options.interrupted else 0


def run_export(find: Find, options: argparse.Namespace) -> int:
    """Run ``export``."""
    filter_: Filter | None = parse(options.filter) if options.filter.strip() else None
    with closing(Journal(max_records=MANY, max_spill=1 << 40)) as journal:
        header = load(options, journal.feed, journal)
        rows = range(journal.store.first, journal.store.end)
        if filter_ is not None and not any(filter_.matches(journal.store, row) for row in rows):
            say(f"no message in {options.file} matches the filter")
        with _output(options.output, options.force) as out:
            for piece in export.export(journal, header, options.format, filter_):
                out.write(piece)
    return 0


@contextmanager
def _output(path: str, overwrite: bool) -> Iterator[TextIO]:
    if path == STANDARD:
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

    return run_file(options.file, _most(options))


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
    url, token = target(options)
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


def target(options: argparse.Namespace) -> tuple[str, str]:
    """Return the endpoint's WebSocket URL and its credential, from a URL or a server's name."""
    against: str = options.against
    if not against.startswith(("ws://", "wss://", "http://", "https://")):
        check_name(against)
        gateway = gateway_with(against, options.url, None, options.token_file)
        return endpoint_url(gateway, against), gateway.token
    url = f"http{against.removeprefix('ws')}" if against.startswith("ws") else against
    base, mark, name = url.partition("/mcp-ws/servers/")
    if not mark or not name:
        raise UnusableArgumentError(
            f"{against!r} is not an endpoint; give http://HOST:PORT/mcp-ws/servers/NAME, or a server's name"
        )
    gateway = find_gateway(base, None, options.token_file)
    return endpoint_url(gateway, name.strip("/")), gateway.token


def path(text: str) -> Path:
    """Return a :class:`Path` given on the command line."""
    try:
        return Path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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


def add(commands: Any, command: AddCommand, duration: Callable[[str], float]) -> None:
    """Add the commands of this module to the parser."""
    _add_record(commands, command, duration)
    _add_open(commands, command)
    _add_replay(commands, command, duration)
    _add_stats(commands, command, duration)
    _add_check(commands, command, duration)
    _add_export(commands, command)


def _add_record(commands: Any, command: AddCommand, duration: Callable[[str], float]) -> None:
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
        type=duration,
        metavar="TIME",
        help="stop after this time, for example 30s or 5m (default: until interrupted)",
    )


def _add_open(commands: Any, command: AddCommand) -> None:
    opened = command(commands, "open", run_open, "open the full-screen inspector on a recording")
    _file(opened, "a recording")


def _add_replay(commands: Any, command: AddCommand, duration: Callable[[str], float]) -> None:
    replay = command(
        commands, "replay", run_replay, "send a recording's requests again and compare the responses"
    )
    _file(replay, "a recording; - for standard input")
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
        "--timeout", type=duration, default=30.0, metavar="TIME", help="timeout of one response (default 30s)"
    )
    replay.add_argument("--quiet", action="store_true", help="print only differences")


def _add_stats(commands: Any, command: AddCommand, duration: Callable[[str], float]) -> None:
    stats = command(
        commands, "stats", run_stats, "print counts, durations and sizes per server, method and tool"
    )
    _source(stats, duration)
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    orders = ("count", "errors", "p50", "p95", "max", "size")
    stats.add_argument("--sort", choices=orders, default="count", help="sort order (default count)")


def _add_check(commands: Any, command: AddCommand, duration: Callable[[str], float]) -> None:
    check = command(commands, "check", run_check, "check traffic for problems; exit with 1 if any is found")
    _source(check, duration)
    help_text = f"comma-separated problems to look for (default {','.join(report.DEFAULT)})"
    check.add_argument("--fail-on", type=categories, default=report.DEFAULT, metavar="WHAT", help=help_text)
    check.add_argument(
        "--format", choices=list(report.FORMATS), default="text", help="format of the report (default text)"
    )
    help_text = "report requests as pending after this time (default 0s in a file, 5s live)"
    check.add_argument("--pending-after", type=duration, metavar="TIME", help=help_text)
    help_text = "fail unless a tool that matches is called (* and ? as in file names); may be repeated"
    check.add_argument("--expect-tool", action="append", default=[], metavar="PATTERN", help=help_text)
    help_text = "fail if a tool that matches is called; may be repeated"
    check.add_argument("--forbid-tool", action="append", default=[], metavar="PATTERN", help=help_text)
    help_text = "fail if a request takes longer than this, for example 500ms or 2s"
    check.add_argument("--max-duration", type=milliseconds, metavar="TIME", help=help_text)


def _add_export(commands: Any, command: AddCommand) -> None:
    exported = command(commands, "export", run_export, "convert a recording for other programs")
    _file(exported, "a recording; - for standard input")
    exported.add_argument(
        "--format", choices=export.FORMATS, default="json", help="format to convert to (default json)"
    )
    exported.add_argument("--filter", default="", help="export only what matches")
    exported.add_argument(
        "-o", "--output", default=STANDARD, metavar="FILE", help="output file (default: standard output)"
    )
    exported.add_argument("--force", action="store_true", help="overwrite an existing file")


def _source(parser: argparse.ArgumentParser, duration: Callable[[str], float]) -> None:
    _file(parser, "a recording, or - for standard input (default: watch the live gateway)", "?")
    parser.add_argument("--server", help="consider only this server")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        metavar="TIME",
        help="how long to watch the live gateway, for example 30s (default: until interrupted)",
    )
    parser.set_defaults(interrupted=False, session=None)
