"""The command line ``mcp-ws-inspect``.

Exit codes: 0 success; 1 the gateway refused or cannot be reached; 2 wrong usage, a server or session that does not
exist, or an unusable file; 130 interrupted.
``check``, ``diff`` and ``replay``: 1 something was found or differs; 2 the command could not be done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from mcp_ws_ide.discovery import RunningGateway, find_gateway
from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.importing import many_imports
from mcp_ws_ide.inspector import (
    check_command,
    commands,
    diff_command,
    drain,
    durations,
    instances,
    network,
    wrap_command,
)
from mcp_ws_ide.inspector.choosing import AmbiguousError, address
from mcp_ws_ide.inspector.collecting import end_with_reader, stop_on_signals
from mcp_ws_ide.inspector.model.filters import FilterError, FilterTooSlowError, parse
from mcp_ws_ide.inspector.names import check_live
from mcp_ws_ide.inspector.recording import RecordingError
from mcp_ws_ide.inspector.sources import Find, narrowed, say, say_lines, set_stdout_utf8
from mcp_ws_ide.inspector.tail import format_record
from mcp_ws_ide.inspector.terminal import is_plain, no_full_screen
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.version import __version__, build

WRAP: Final = (
    "Run the MCP server COMMAND behind a private gateway on this machine, print how to connect to it, and show its "
    "traffic: full-screen, or line by line without a terminal. Gateway and server end with the inspector."
)
EXAMPLES: Final = """\
examples:
  mcp-ws-inspect                                 watch the running gateway
  mcp-ws-inspect -- python my_server.py          run and watch one MCP server
  mcp-ws-inspect --page -- python my_server.py   and call its tools on a page
  mcp-ws-inspect -h --                           options of the last two
  mcp-ws-inspect record -o run.jsonl             record until Ctrl-C
  mcp-ws-inspect open run.jsonl                  look at the recording
  mcp-ws-inspect export run.jsonl --format pytest -o test_sessions.py
  mcp-ws-inspect check --save-baseline approved.json    approve definitions
  mcp-ws-inspect check --baseline approved.json         see what has changed
"""
OF_WRAP: Final = frozenset({"--name", "--port", "--env-vars", "--token-file"})
"""Options before ``--`` that take a value."""


class Formatter(argparse.HelpFormatter):
    """Fills descriptions, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text is EXAMPLES else super()._fill_text(text, width, indent)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    _prepare_streams()
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as ended:  # help was printed, or a signal came: what is printed may fail even now
        code = ended.code if isinstance(ended.code, int) else 1
        raise SystemExit(_guarded(lambda: code)) from None


def _main(arguments: list[str]) -> int:
    if "--" in arguments:
        cut = arguments.index("--")
        if all(
            word.startswith("-") or before in OF_WRAP for before, word in pairwise(["", *arguments[:cut]])
        ):
            options = _wrapping(arguments[:cut], arguments[cut + 1 :])
            return _guarded(lambda: run_wrapped(options))
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = ["tail" if no_full_screen("attach") else "attach", *arguments]
    options = _parsed(arguments)
    return _guarded(
        lambda: _run(options),
        2 if options.run in (check_command.run_check, commands.run_replay, diff_command.run_diff) else 1,
    )


def _prepare_streams() -> None:
    """Replace standard streams that are closed (``>&-``), and escape characters that the locale lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the whole run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command; an unknown argument is reported with the usage of that command."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        hint = ""
        if options.run is run_tail and not unknown[0].startswith("-"):
            hint = "; tail takes no filter: use --server and --session, or filter with / in 'attach'"
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _wrapping(arguments: Sequence[str], command: Sequence[str]) -> argparse.Namespace:
    """Parse the options of ``mcp-ws-inspect [OPTIONS] -- COMMAND ARGS``."""
    parser = _wrap_parser()
    options = parser.parse_args(arguments)
    if not command:
        parser.error("COMMAND is missing after --")
    options.command = list(command)
    return options


def _wrap_parser() -> argparse.ArgumentParser:
    usage = "mcp-ws-inspect [OPTIONS] -- COMMAND [ARGS …]"
    parser = argparse.ArgumentParser(prog="mcp-ws-inspect", usage=usage, description=WRAP)
    wrap_command.gateway_arguments(parser, port)
    parser.add_argument(
        "--json", action="store_true", help="without a terminal: print one JSON object per record"
    )
    parser.add_argument("--page", action="store_true", help="also open the page at this server in a browser")
    return parser


def run_wrapped(options: argparse.Namespace) -> int:
    """Run ``mcp-ws-inspect -- COMMAND ARGS``."""
    from mcp_ws_ide.inspector.private import CannotWrapError, announce

    stop_on_signals()
    try:
        with wrap_command.private_gateway(options) as private:
            announce(private, private.greet())
            if options.page and not private.open_page():
                say("no browser was found; open the page at the address above")
            if not no_full_screen("attach"):
                with many_imports():
                    from mcp_ws_ide.inspector.app.app import run

                return run(lambda: private.gateway, private=True)
            options.server = options.session = None
            return run_tail(lambda: private.gateway, options)
    except CannotWrapError as error:
        say_lines(str(error))
        return error.code


def _run(options: argparse.Namespace) -> int:
    def find() -> RunningGateway:
        gateway = find_gateway(address(options.url, options.token_file), None, options.token_file)
        options.url = gateway.url  # a reconnect does not change to another gateway
        return gateway

    return int(options.run(find, options))


def _guarded(run: Callable[[], int], unreachable: int = 1) -> int:
    """Run a command and report its errors; return the exit code."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except FilterError as error:
        say(f"{error} (character {error.position + 1} of the filter)")
        return 2
    except (AmbiguousError, RecordingError, FilterTooSlowError, UnusableArgumentError) as error:
        say_lines(str(error))
        return 2
    except ConnectError as error:
        say(str(error))
        return unreachable
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output is gone.
        _let_go_of_stdout()
        return 0
    except OSError as error:
        say(str(error))
        _let_go_of_stdout()
        return 2


def _let_go_of_stdout() -> None:
    """Redirect stdout to nowhere: Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcp-ws-inspect",
        description="Watch the MCP traffic of a running gateway, and manage gateway tokens. "
        "Without a command: 'attach' to the running Jupyter server, or 'tail' if there is no terminal. "
        "With '-- COMMAND ARGS': run that MCP server behind a private gateway and watch it.",
        epilog=EXAMPLES,
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"{__version__} ({build()})")
    known = parser.add_subparsers(required=True, metavar="COMMAND")

    attach = _command(known, "attach", run_attach, "open the full-screen inspector")
    attach.add_argument("--server", help="show only this server; Esc shows all")
    attach.add_argument("--session", help="show only sessions whose id begins with this")
    attach.add_argument("--filter", default="", help="show only what matches, in the filter language")
    tail = _command(known, "tail", run_tail, "print messages and events as they pass")
    tail.add_argument("--json", action="store_true", help="print one JSON object per record")
    tail.add_argument("--server", help="show only this server")
    tail.add_argument("--session", help="show only this session (id, or beginning of it)")
    commands.add(known, _command)
    check_command.add(known, _command)
    drain.add(known, _command)
    instances.add(known, _command)
    diff_command.add(known)
    wrap_command.add(known, port)
    _json_option(_command(known, "servers", run_servers, "list the configured servers"))
    _json_option(_command(known, "sessions", run_sessions, "list your live sessions"))
    _add_token(known)
    return parser


def _add_token(known: Any) -> None:
    token = known.add_parser("token", help="mint, list or revoke gateway tokens")
    actions = token.add_subparsers(required=True, metavar="ACTION")
    mint = _command(actions, "mint", run_mint, "mint a token and print it (shown only once)")
    mint.add_argument(
        "--server",
        action="append",
        required=True,
        help="a server that the token gives access to; may be repeated",
    )
    mint.add_argument(
        "--expires",
        type=durations.seconds,
        default=30 * 86400,
        help="lifetime, for example 1h or 30d (default 30d)",
    )
    mint.add_argument(
        "--allow-tool",
        action="append",
        metavar="PATTERN",
        help="allow only tools that match; may be repeated",
    )
    mint.add_argument(
        "--deny-tool", action="append", metavar="PATTERN", help="deny tools that match; may be repeated"
    )
    mint.add_argument("--note", default="", help="description of its purpose")
    _json_option(_command(actions, "list", run_list, "list your tokens, without their secrets"))
    revoke = _command(actions, "revoke", run_revoke, "revoke a token and close the links opened with it")
    revoke.add_argument("id", help="the token's id; see 'token list'")


def _command(known: Any, name: str, run: Any, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = known.add_parser(name, help=help_text, description=help_text)
    parser.add_argument("--url", help="base URL of the Jupyter server (default: the running one)")
    parser.add_argument(
        "--token-file",
        help="file with the token (default: JUPYTER_TOKEN, the running server's token, or MCP_WS_TOKEN)",
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the gateway's response as one JSON object")


def port(text: str) -> int:
    """Return a TCP port."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535")
    return int(text)


def run_attach(find: Find, options: argparse.Namespace) -> int:
    """Run ``attach``: the full-screen inspector."""
    if reason := no_full_screen("attach"):
        say(reason)
        return 2
    # Imported here: the other commands must start quickly.
    with many_imports():
        from mcp_ws_ide.inspector.app.app import run

    filter_ = parse(narrowed(options.filter, options))
    client = GatewayClient(find())
    client.attached()  # report a refusal in the shell, not on a screen that closes at once
    check_live(client, options.server, options.session)
    return run(find, filter_=filter_)


def run_tail(find: Find, options: argparse.Namespace) -> int:
    """Run ``tail``."""
    stop_on_signals()
    end_with_reader()
    terminal = sys.stdout.isatty()
    colour = terminal and "NO_COLOR" not in os.environ and not is_plain()
    dropped = 0
    if options.json:
        set_stdout_utf8()
    client = GatewayClient(find())
    check_live(client, options.server, options.session)
    for text in client.records(server=options.server, session=options.session):
        if options.json:
            print(text, flush=True)
            continue
        record = json.loads(text)
        if record["drops"] > dropped:
            print(
                f"-- {record['drops'] - dropped} records were dropped: this terminal is too slow", flush=True
            )
            dropped = record["drops"]
        width = shutil.get_terminal_size().columns if terminal else 10_000
        print(format_record(record, width, colour), flush=True)
    print("mcp-ws-inspect: the gateway closed the connection", file=sys.stderr)
    return 1


def run_servers(find: Find, options: argparse.Namespace) -> int:
    """Run ``servers``."""
    client = GatewayClient(find())
    answer = client.call("GET", "servers")
    if options.json:
        print(json.dumps(answer, indent=1))
        return 0
    for server in answer["servers"]:
        line = (
            f"{server['name']:<20} {server['state']:<9} {server['era']:<8} {server['sessions']:>4} sessions"
        )
        title = server.get("title", server["name"])
        named = f"  ({title})" if title != server["name"] else ""
        print(visible(f"{line}{named}  {server['reason']}").rstrip())
        if "authorization" in server:
            print(
                visible(f"  requests wait until you authorize the gateway: {server['authorization']['url']}")
            )
    sys.stdout.flush()  # in one file, the problems stand below the list
    for problem in answer["problems"]:
        parts = (problem["severity"], problem["source"], problem["key"], problem["reason"])
        print(visible(": ".join(part for part in parts if part)), file=sys.stderr)
    missing = answer.get("withheld", [])
    if missing and any(server["transport"] == "stdio" for server in answer["servers"]):
        what = 'not passed to servers (list those that they need under "env_vars")'
        print(visible(f"notice: {what}: {', '.join(missing)}"), file=sys.stderr)
    for sentence in network.test_path(client):
        print(f"notice: network: {sentence}", file=sys.stderr)
    return 0


def run_sessions(find: Find, options: argparse.Namespace) -> int:
    """Run ``sessions``."""
    answer = GatewayClient(find()).call("GET", "sessions")
    if options.json:
        print(json.dumps(answer, indent=1))
        return 0
    for session in answer["sessions"]:
        waits = "(stored)" if session.get("stored") else "(waiting)"
        link = session["link"] if session["attached"] else waits
        counts = f"{session['in_flight']} in flight, {session['messages']['in']} in, {session['messages']['out']} out"
        line = f"{session['id']} {session['server']:<20} {session['era']:<8} {link:<10} {session['remote']} {counts}"
        print(visible(f"{line}, restored" if session.get("restored") and not session.get("stored") else line))
    return 0


def run_mint(find: Find, options: argparse.Namespace) -> int:
    """Run ``token mint``; only the token goes to stdout."""
    body = {"servers": options.server, "expires_in": options.expires, "note": options.note}
    rules = {"allow": options.allow_tool, "deny": options.deny_tool}
    if any(rules.values()):
        body["tools"] = {key: patterns for key, patterns in rules.items() if patterns}
    token = GatewayClient(find()).call("POST", "tokens", body)
    print(token["token"], flush=True)  # if the disk is full, nothing is reported as shown
    print(f"id {token['id']}, valid for {', '.join(token['servers'])}; shown only once", file=sys.stderr)
    return 0


def run_list(find: Find, options: argparse.Namespace) -> int:
    """Run ``token list``."""
    answer = GatewayClient(find()).call("GET", "tokens")
    if options.json:
        print(json.dumps(answer, indent=1))
        return 0
    for token in answer["tokens"]:
        expires = time.strftime("%Y-%m-%d %H:%M", time.localtime(token["expires"]))
        line = f"{token['id']} {','.join(token['servers'])} expires {expires} {token['note']}"
        print(visible(line).rstrip())
    return 0


def run_revoke(find: Find, options: argparse.Namespace) -> int:
    """Run ``token revoke``."""
    if not re.fullmatch(r"[0-9a-f]{1,64}", options.id):
        print(f"mcp-ws-inspect: {visible(options.id)!r} is not a token id; see 'token list'", file=sys.stderr)
        return 2
    GatewayClient(find()).call("DELETE", f"tokens/{options.id}")
    print("revoked", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
