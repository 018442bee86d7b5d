"""Where commands get their traffic from: a recording, or the live gateway for a while; and how they report."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.collecting import Sieve, collect, end_with_reader, stop_on_signals
from mcp_ws_ide.inspector.durations import seconds
from mcp_ws_ide.inspector.model.filters import literal, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.names import check_live, check_recorded
from mcp_ws_ide.inspector.recording import Header, Recording, RecordingError
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible

MANY: Final = 20_000_000
"""Records that a command holds at most; a file of several GiB has fewer."""

Find = Callable[[], RunningGateway]
AddCommand = Callable[..., argparse.ArgumentParser]
"""Adds a command to the command line; takes the subparsers, its name, its function and its help."""


def say(text: str) -> None:
    """Print a message on stderr, on one line, separate from the command's output; it may quote a peer."""
    print(f"mcp-ws-inspect: {visible(text)}", file=sys.stderr)


def say_lines(text: str) -> None:
    """Print a message of several lines on stderr, whose line breaks are ours."""
    shown = "\n".join(visible(line) for line in text.split("\n"))
    print(f"mcp-ws-inspect: {shown}", file=sys.stderr)


def set_stdout_utf8() -> None:
    """Print in UTF-8 from now on, whatever the locale: what follows is for programs, or is a file."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def narrowed(text: str, options: argparse.Namespace) -> str:
    """Return the filter combined with ``--server`` and ``--session``.

    Raises:
        FilterError: the filter is invalid.
    """
    parse(text)  # an error names a character of this text
    parts = [("server", options.server), ("session", options.session)]
    terms = [f"{key}:{literal(value)}" for key, value in parts if value]
    return " ".join([f"({text})" if terms and text.strip() else text, *terms]).strip()


def load(options: argparse.Namespace, take: Callable[[list[str]], object], journal: Journal) -> Header:
    """Pass the batches of a file to ``take``, which fills the journal; report what is wrong with its end."""
    path = options.file
    recording = Recording(path, max_bytes(options))
    with closing(recording):
        for batch in recording.batches():
            take(batch)
    if recording.note:
        say(recording.note)
    if unreadable := journal.problem_counts["unreadable"]:
        say(f"{path}: {unreadable} lines are not records and were skipped")
    return recording.header


def max_bytes(options: argparse.Namespace) -> int | None:
    """The bytes that a file may hold when it is decompressed; None if the command line does not say."""
    return None if options.max_mib is None else options.max_mib << 20


def file_argument(parser: argparse.ArgumentParser, help_text: str, nargs: str | None = None) -> None:
    """Add the arguments of :func:`load`."""
    parser.add_argument("file", metavar="FILE", nargs=nargs, help=help_text)
    size_argument(parser)


def size_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument of :func:`max_bytes`."""
    text = "decompress at most this many MiB of a .zst file (default: the larger of 64 and 200 times the file's size)"
    parser.add_argument("--max-mib", type=_mib, metavar="N", help=text)


def _mib(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give a whole number of MiB above 0")
    return int(text)


@contextmanager
def journal_of(find: Find, options: argparse.Namespace) -> Iterator[tuple[Journal, Header]]:
    """Yield the traffic in a file, or of the live gateway for a while."""
    if options.file is not None and options.seconds is not None:
        raise RecordingError("--for limits how long a live gateway is watched; give either --for or FILE")
    journal = Journal(max_records=MANY, max_spill=1 << 40, max_problems=1_000_000)
    sieve = Sieve(narrowed("", options))
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


def say_if_empty(journal: Journal) -> None:
    """Report that there was nothing to look at, which is no proof that all is well."""
    if not len(journal.store):
        say("no message was seen, so there is nothing to report")


def source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`journal_of`."""
    file_argument(parser, "a recording, or - for standard input (default: watch the live gateway)", "?")
    parser.add_argument("--server", help="consider only this server")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=seconds,
        metavar="TIME",
        help="how long to watch the live gateway, for example 30s (default: until interrupted)",
    )
    parser.set_defaults(interrupted=False, session=None)
