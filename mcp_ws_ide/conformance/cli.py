"""The command line of ``mcp-ws-conformance``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_ws_ide.conformance.client.play import URL_VARIABLE, ClientTarget
from mcp_ws_ide.conformance.client.run import CLIENT, NoClientError, check_client
from mcp_ws_ide.conformance.html import html_report
from mcp_ws_ide.conformance.reports import json_report, junit_report, text_report
from mcp_ws_ide.conformance.running import Run
from mcp_ws_ide.conformance.server.run import SERVER, check_server
from mcp_ws_ide.conformance.server.target import Target, UnreachableError
from mcp_ws_ide.conformance.verdicts import Check, Checks, selected, unmatched
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.version import __version__

TOKEN_VARIABLE: Final = "MCP_WS_TOKEN"  # noqa: S105 - the name of a variable
_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 if a check failed, 2 if it could not be run."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return _client_main(given[1:]) if given[:1] == ["client"] else _server_main(given)
    except KeyboardInterrupt:
        return 130


def _server_main(given: list[str]) -> int:
    parser = server_parser()
    options = parser.parse_args(given)
    _check_selectors(parser, SERVER, options)
    if options.list:
        return _list(SERVER, options)
    if options.url is None:
        parser.error("a URL is required: ws://HOST:PORT/PATH")
    try:
        run = asyncio.run(check_server(_target(parser, options), options.only, options.slow, _progress()))
    except UnreachableError as error:
        print(f"mcp-ws-conformance: {visible(str(error))}", file=sys.stderr)
        return 2
    return _report(run, options)


def server_parser() -> argparse.ArgumentParser:
    """The options for an endpoint."""
    parser = argparse.ArgumentParser(
        prog="mcp-ws-conformance",
        description="Check a WebSocket MCP endpoint against the wire contract, clause by clause. Exit status: 0 if "
        "no check failed, 1 if one did, 2 if not every check could be run. `mcp-ws-conformance client -- COMMAND` "
        "checks a client.",
        allow_abbrev=False,
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="ws:// or wss:// URL of the endpoint")
    parser.add_argument("--token", help=f"credential of the endpoint (default: {TOKEN_VARIABLE})")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="file with the credential")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="header to send; may be repeated",
    )
    parser.add_argument(
        "--era",
        choices=["modern", "handshake"],
        help="era of the requests (default: modern if it is answered)",
    )
    parser.add_argument(
        "--echo-tool",
        metavar="TOOL",
        help="tool that returns its text, for the checks of what passes unchanged",
    )
    parser.add_argument(
        "--progress-tool",
        metavar="TOOL[=JSON]",
        help="tool that reports progress for about a second, with its arguments, for the checks of progress, "
        "cancellation and isolation",
    )
    parser.add_argument(
        "--max-message-bytes", type=_positive(int), metavar="BYTES", help="longest message that it accepts"
    )
    parser.add_argument("--slow", action="store_true", help="also run the checks that take up to 80 s")
    _common_options(parser, timeout=5.0)
    return parser


def _common_options(parser: argparse.ArgumentParser, timeout: float) -> None:
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CHECK",
        help="check or clause by its id or the beginning of it (`frames`), or section (`6.2`); may be repeated",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the checks, with their clauses, and run none"
    )
    parser.add_argument(
        "--timeout",
        type=_positive(float),
        default=timeout,
        metavar="SECONDS",
        help="seconds to wait for each response (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the report in JUnit's format")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show what went over the wire in each check"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def _positive(kind: type[Any]) -> Any:
    def number(text: str) -> Any:
        value = kind(text)
        if not 0 < value < 1e9:
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return value

    number.__name__ = kind.__name__
    return number


def _target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Target:
    parts = urlsplit(options.url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        parser.error(f"{options.url} is no ws:// or wss:// URL")
    tool, separator, arguments = (options.progress_tool or "").partition("=")
    try:
        parsed = json.loads(arguments) if separator else {}
    except ValueError as error:
        parser.error(f"--progress-tool: the arguments of {tool} are not JSON: {error}")
    return Target(
        url=parts._replace(scheme=_SCHEMES[parts.scheme], fragment="").geturl(),
        token=_token(parser, options),
        headers=_headers(parser, options.header),
        timeout=options.timeout,
        era=options.era,
        echo_tool=options.echo_tool,
        progress_tool=tool or None,
        progress_arguments=parsed,
        max_message_bytes=options.max_message_bytes,
    )


def _token(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str | None:
    if options.token_file is None:
        return options.token or os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = str(options.token_file.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--token-file: {error}")
    if not token:
        parser.error(f"--token-file: {options.token_file} is empty")
    return token


def _headers(parser: argparse.ArgumentParser, given: list[str]) -> dict[str, str]:
    headers = {}
    for header in given:
        name, separator, value = header.partition(":")
        if not separator or not name.strip():
            parser.error(f"--header {header}: not of the form 'NAME: VALUE'")
        headers[name.strip()] = value.strip()
    return headers


def _check_selectors(parser: argparse.ArgumentParser, checks: Checks, options: argparse.Namespace) -> None:
    if unknown := unmatched(checks.in_order(), options.only):
        parser.error(f"--only {unknown[0]}: no such check, clause or section; --list shows them")


def _list(checks: Checks, options: argparse.Namespace) -> int:
    for check in selected(checks.in_order(), options.only, True):
        slow = f" ({check.slow:g} s; --slow)" if check.slow else ""
        print(f"{check.clause.section:<4} {check.id:<26} {check.title}{slow}")
    return 0


def _progress() -> Any:
    """Return what shows the current check on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda check: None

    def show(check: Check) -> None:
        print(f"\r\x1b[K{check.id} …", end="", file=sys.stderr, flush=True)

    return show


def _report(run: Run, options: argparse.Namespace) -> int:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    try:
        for path, write in ((options.junit, junit_report), (options.html, html_report)):
            if path is not None:
                path.write_text(write(run), encoding="utf-8")
    except OSError as error:
        print(f"mcp-ws-conformance: the report cannot be written: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json_report(run), end="")
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = min(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else 110
        print(text_report(run, colour=colour, verbose=options.verbose, width=width), end="")
    return run.status


def _client_main(given: list[str]) -> int:
    parser = client_parser()
    own, separator, command = _parted(given)
    options = parser.parse_args(own)
    _check_selectors(parser, CLIENT, options)
    if options.list:
        return _list(CLIENT, options)
    if not command:
        parser.error("a command is required after --" if separator else "a command is required: -- COMMAND")
    target = ClientTarget(tuple(command), options.timeout)
    try:
        run = asyncio.run(check_client(target, options.only, _progress()))
    except NoClientError as error:
        print(f"mcp-ws-conformance: {visible(str(error))}", file=sys.stderr)
        return 2
    return _report(run, options)


def _parted(given: list[str]) -> tuple[list[str], bool, list[str]]:
    """Own options, whether there is a ``--``, and the command after it."""
    if "--" not in given:
        return given, False, []
    place = given.index("--")
    return given[:place], True, given[place + 1 :]


def client_parser() -> argparse.ArgumentParser:
    """The options for a client; the command comes after them."""
    parser = argparse.ArgumentParser(
        prog="mcp-ws-conformance client",
        usage="%(prog)s [options] -- COMMAND",
        description="Check a WebSocket MCP client: run its command against a scripted gateway, once for each check. "
        "The command gets the URL where it has {url}, or as its last argument, and in the variable "
        f"{URL_VARIABLE}. It calls the tool echo three times, one call after the other, with any text, and exits with "
        "0. Exit status: 0 if no check failed, 1 if one did, 2 if not every check could be run",
        allow_abbrev=False,
    )
    _common_options(parser, timeout=10.0)
    return parser
