"""``mcp-ws-connect``: a stdio MCP server that forwards to a gateway, over WebSocket or, where that is blocked, POSTs.

For programs that can only launch a command. Lines of stdin are sent to the gateway and its messages are written to
stdout, byte for byte. The session resumes after a lost link; the launching program does not notice.

Exit codes: 0 end of stdin; 1 refused, unreachable or lost permanently; 2 wrong usage or an unusable file;
130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import anyio.lowlevel

from mcp_ws_ide.client.links import ADDRESS_CURE
from mcp_ws_ide.client.negotiating import raw_transport
from mcp_ws_ide.client.states import Lost, Negotiated, Reconnect, Reconnecting, Resumed, State
from mcp_ws_ide.client.stdin_messages import StdinMessages
from mcp_ws_ide.client.stdio_lines import Stdout, stdin_reader
from mcp_ws_ide.client.transport import SessionTransport
from mcp_ws_ide.core.binding import SERVER_NAME
from mcp_ws_ide.core.headers import brings_credential, check_headers
from mcp_ws_ide.core.messages import one_line
from mcp_ws_ide.discovery import (
    ENDPOINTS,
    RunningGateway,
    as_address,
    base_of,
    check_name,
    endpoint_url,
    find_gateway,
    normal_url,
    text_of_file,
    token_of_file,
)
from mcp_ws_ide.errors import ConnectError, UnauthorizedError, UnusableArgumentError, UnusableHeaderError
from mcp_ws_ide.ide_entries import IDES, TOKEN_VARIABLE, entry
from mcp_ws_ide.rest_client import GatewayClient, gateway_with
from mcp_ws_ide.sanitise import one_visible_line
from mcp_ws_ide.version import __version__

RESUMING: Final = ("websocket", "poll")
"""Transports on which a session survives the loss of its link, in the order in which they are tried."""
LAST_ANSWERS: Final = 10.0
"""Seconds to wait, after the end of stdin, for responses to open requests."""
LAST_LINES: Final = 5.0
"""Seconds, after that, for the reader of stdout to take what was received."""

LINE_END: Final = 0.5
"""Seconds without data after which a complete message on stdin is read without its line end."""

TYPED: Final = (
    "connected to {}; reading MCP messages from this terminal, one JSON object per line; "
    "an MCP client starts this command itself ('mcp-ws-connect config' prints its entry)"
)
"""What to tell a person who starts the command in a terminal, where it would otherwise be silent."""

HEADER_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
"""A header field (RFC 9110 sections 5.1 and 5.5), limited to ASCII."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    configuring = arguments[:1] == ["config"]
    options = (_config_parser() if configuring else _parser()).parse_args(arguments[configuring:])
    try:
        if configuring:
            return _print_entry(options)
        headers = _read_headers(options.header_file) if options.header_file else {}
        url, token = _target(options, headers)
        return asyncio.run(_carry(url, token, headers, options))
    except UnusableArgumentError as error:
        _report(str(error))
        return 2
    except ConnectError as error:
        _report(f"{error}{_cure(error, options)}")
        return 1
    except KeyboardInterrupt:
        return 130


def _report(message: str) -> None:
    """Write one line to stderr. It may quote a peer, so control characters are escaped and its length is bounded."""
    print(f"mcp-ws-connect: {one_visible_line(message)}", file=sys.stderr)


def _cure(error: ConnectError, options: argparse.Namespace) -> str:
    """Return what to do about an error, as far as the command line tells; ``""`` if it does not."""
    if "target" not in options:
        return ""
    if "://" in options.target and ENDPOINTS not in options.target:
        return "" if ADDRESS_CURE in str(error) else ADDRESS_CURE
    if isinstance(error, UnauthorizedError):
        withheld = f"; {options.withheld}" if getattr(options, "withheld", "") else ""
        return f"{withheld}; give a token with --token-file, {TOKEN_VARIABLE} or JUPYTER_TOKEN"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcp-ws-connect",
        description="Forward stdin and stdout to an MCP server behind a gateway, and reconnect automatically. "
        "'mcp-ws-connect config IDE NAME' prints the configuration entry for an IDE.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "target", metavar="NAME|URL", help="name of a configured server, or a ws:// or http:// URL"
    )
    _add_common(parser)
    parser.add_argument(
        "--transport",
        choices=RESUMING,
        help="use only this transport (default: websocket, or poll if the network blocks WebSockets)",
    )
    parser.add_argument(
        "--header-file",
        help="file with additional headers, one 'Name: value' per line, for example those that a proxy requires",
    )
    parser.add_argument(
        "--give-up-after",
        type=_amount,
        default=3600.0,
        metavar="SECONDS",
        help="give up reconnecting after this time (default 3600)",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="do not report connections and lost links on stderr"
    )
    return parser


def _config_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mcp-ws-connect config", description="Print an entry for an IDE.")
    parser.add_argument("ide", choices=sorted(IDES), help="program that the entry is for")
    parser.add_argument("name", metavar="NAME", help="name of a configured server")
    _add_common(parser)
    parser.add_argument(
        "--no-token",
        action="store_true",
        help="do not mint a token: the IDE asks for one, or the environment provides it",
    )
    parser.add_argument(
        "--days", type=_amount, default=30.0, help="lifetime of the minted token, in days (default 30)"
    )
    return parser


def _amount(text: str) -> float:
    """Return a positive number; ``inf`` is allowed."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; give a number above 0") from None
    if not value > 0:  # false for NaN too
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="base URL of the Jupyter server (default: the running one)")
    parser.add_argument(
        "--token-file",
        help=f"file with the token (default: {TOKEN_VARIABLE}; at a gateway also JUPYTER_TOKEN, or the running "
        "server's token)",
    )


def _target(options: argparse.Namespace, headers: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the address of the endpoint and the credential for it."""
    file = options.token_file
    token = os.environ.get(TOKEN_VARIABLE) if file is None else None
    address = as_address(options.target)
    if address is None:
        check_name(options.target)
        gateway = gateway_with(options.target, options.url, token, file)
        address = endpoint_url(gateway, options.target)
    elif base := base_of(address):
        gateway = find_gateway(base, token, file)
    else:  # a server that is no gateway
        return address, token if file is None else token_of_file(file)
    options.withheld = gateway.withheld
    given = token or file is not None
    brings = brings_credential(headers) or "token=" in address.partition("?")[2]
    return address, gateway.token if given or not brings else None


def _print_entry(options: argparse.Namespace) -> int:
    if not SERVER_NAME.fullmatch(options.name):
        raise UnusableArgumentError(
            f"{options.name!r} is not a server name; to combine servers under one name, define a group in mcp.json"
        )
    gateway = gateway_with(options.name, options.url, None, options.token_file)
    client = GatewayClient(gateway)
    if options.no_token:
        client.call("GET", f"servers/{options.name}")  # so that a mistyped name fails here and not in the IDE
        token = None
    else:
        token = _mint(client, gateway, options)
    url = gateway.url if options.url is None else normal_url(options.url)
    print(json.dumps(entry(options.ide, options.name, url, token), indent=2))
    if gateway.everywhere and options.url is None:
        _report(
            f"the entry works on this machine only; for another machine, give the address at which it "
            f"reaches Jupyter with --url (Jupyter has recorded {gateway.recorded})"
        )
    return 0


def _mint(client: GatewayClient, gateway: RunningGateway, options: argparse.Namespace) -> str:
    body = {"servers": [options.name], "expires_in": options.days * 86400, "note": f"for {options.ide}"}
    minted = client.call("POST", "tokens", body)
    print(
        f"minted token {minted['id']} for {options.name}; revoke it with: mcp-ws-inspect token revoke {minted['id']}",
        file=sys.stderr,
    )
    return str(minted["token"])


def _read_headers(path: str) -> dict[str, str]:
    """Return the headers in a file; not from arguments, which every user of the machine can see.

    Raises:
        UnusableArgumentError: the file cannot be read, a line is not a header field (RFC 9110 section 5), or a header
            may not be set. Values are not repeated in the message.
    """
    lines = text_of_file(path, "header file").splitlines()
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            header = HEADER_LINE.fullmatch(line)
            if header is None:
                raise UnusableArgumentError(f"line {number} of {path} is not a header; write 'Name: value'")
            try:
                check_headers([*headers, header[1]])
            except UnusableHeaderError as error:
                raise UnusableArgumentError(f"line {number} of {path}: {error}") from None
            headers[header[1]] = header[2]
    return headers


async def _carry(url: str, token: str | None, headers: dict[str, str], options: argparse.Namespace) -> int:
    if sys.stdout is None:
        raise UnusableArgumentError("stdout is closed; nothing can read the server's messages")
    address = f"http{url.removeprefix('ws')}" if url.startswith("ws") else url
    negotiating = raw_transport(
        address,
        transports=RESUMING if options.transport is None else (options.transport,),
        token=token,
        headers=headers,
        reconnect=Reconnect(give_up_after=options.give_up_after),
        on_state=None if options.quiet else _report_state,
    )
    async with negotiating as (read, write), anyio.create_task_group() as group:
        assert negotiating.active is not None
        if sys.stdin is not None and sys.stdin.isatty() and not options.quiet:
            _report(TYPED.format(options.target))
        pipe = _Pipe(read, write, await Stdout.open(), negotiating.active, group.cancel_scope)
        # An IDE ends what it launched with a signal: leave in order, so that the session ends too.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, group.cancel_scope.cancel)
        for task in (pipe.down, pipe.up, pipe.until_unread):
            group.start_soon(task)
    if pipe.problem:
        raise UnusableArgumentError(f"stdout cannot be written: {pipe.problem}")
    lost = negotiating.active is None or negotiating.active.error is not None
    return 1 if lost or not pipe.complete else 0


def _report_state(state: State) -> None:
    if message := _description(state):
        _report(message)


def _description(state: State) -> str:
    """Return what to report of a state; ``""`` for the expected ones."""
    match state:
        case Negotiated(transport, refused) if refused:
            return f"using {transport}; {'; '.join(f'{name}: {reason}' for name, reason in refused.items())}"
        case Reconnecting(attempt, delay, reason):
            return f"the link was lost ({reason}); reconnecting in {delay:.1f} s (attempt {attempt})"
        case Resumed(replayed):
            return f"the session was resumed; {replayed} messages were sent again"
        case Lost(reason):
            return f"the session was lost: {reason}"
    return ""


class _Pipe:
    """Carries stdin and stdout over one session in three tasks; when one ends, it cancels the others.

    Attributes:
        complete: whether every line of stdin was sent and every request got its response.
        problem: why stdout cannot be written; ``""`` if it can.
    """

    def __init__(
        self, read: Any, write: Any, out: Stdout, transport: SessionTransport, scope: anyio.CancelScope
    ) -> None:
        self.complete = True
        self.problem = ""
        self._read, self._write, self._out = read, write, out
        self._transport, self._scope = transport, scope

    async def down(self) -> None:
        """Write the server's messages to stdout until the session ends."""
        self.problem = await _to_stdout(self._read, self._out)
        with anyio.move_on_after(LAST_LINES), suppress(OSError):
            await self._out.finish()
        self._scope.cancel()

    async def up(self) -> None:
        """Send stdin to its end, wait for outstanding responses, and write what was received."""
        self.complete = await _from_stdin(self._write, self._out)
        await self._write.aclose()
        await self._transport.settle(LAST_ANSWERS)
        with anyio.move_on_after(LAST_LINES) as patience, suppress(OSError):
            await anyio.lowlevel.checkpoint()  # a message just handed to down() is in no buffer
            while self._read.statistics().current_buffer_used:
                await anyio.lowlevel.checkpoint()
            for error in self._transport.abandon("stdin ended before the response arrived"):
                self.complete = False
                await self._out.write(error)
            await self._out.finish()
        self.complete = self.complete and not patience.cancelled_caught
        self._scope.cancel()

    async def until_unread(self) -> None:
        """Wait until nothing reads stdout any more."""
        await self._out.gone()
        self._scope.cancel()


async def _from_stdin(write: Any, out: Stdout) -> bool:
    """Send messages until stdin or the session ends. Return whether everything was sent."""
    stdin = StdinMessages(_report)
    read = await stdin_reader()
    try:
        data: bytes | None = None
        while data != b"":
            data = await read(LINE_END if stdin.unfinished else None)
            if data:
                stdin.feed(data)
            else:
                stdin.look() if data is None else stdin.finish()
            await _pass_on(stdin, write, out)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        pass
    except OSError:  # nothing reads the answers, or a full disk
        return False
    return stdin.complete


async def _pass_on(stdin: StdinMessages, write: Any, out: Stdout) -> None:
    outgoing, answers = stdin.outgoing, stdin.answers
    stdin.outgoing, stdin.answers = [], []
    for message in outgoing:
        await write.send(message)
    for answer in answers:
        await out.write(answer)


async def _to_stdout(read: Any, out: Stdout) -> str:
    """Write messages until the session ends or nothing reads stdout. Return the error if stdout cannot be written."""
    try:
        async for message in read:
            await out.write(one_line(message))
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError as error:  # for example a full disk
        return error.strerror or str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
