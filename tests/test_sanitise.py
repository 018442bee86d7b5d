"""Text of a peer in logs and on terminals: no escape sequence of it arrives, and it has an end."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from mcp_ws_ide.client.shim import _report
from mcp_ws_ide.errors import ServerUnavailableError
from mcp_ws_ide.observe.log_records import SafeRecords
from mcp_ws_ide.sanitise import LONGEST_LINE
from mcp_ws_ide.transports.remote import status_message
from tests.conftest import wait_until

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp\r\n[E] forged line " + "x" * 100_000


@pytest.fixture
def logged():
    """Return a function that logs with a handler of Jupyter's kind, and gives the text."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(SafeRecords("mcp_ws_ide", "MCPWebSocketApp"))
    handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
    loggers = []

    def log(name: str, text: str, error: BaseException | None = None) -> str:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        loggers.append(logger)
        logger.warning("server %s ended: %s", "git", text, exc_info=error)
        return stream.getvalue()

    yield log
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["mcp_ws_ide.gateway.upstream", "MCPWebSocketApp"])
def test_a_log_record_is_one_bounded_line(logged, name):
    text = logged(name, HOSTILE)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;owned" in text
    assert "more characters" in text
    assert len(text) < 2 * LONGEST_LINE


def test_a_traceback_keeps_its_lines_and_nothing_else(logged):
    text = logged("mcp_ws_ide.x", "y", ValueError(HOSTILE))
    assert "ValueError: \\x1b]0;owned" in text
    assert "\x1b" not in text
    assert len(text) < 4 * LONGEST_LINE


def test_records_of_others_stay_as_they_are(logged):
    assert HOSTILE in logged("somebody.else", HOSTILE)


def test_mcp_ws_connect_reports_one_bounded_line(capsys):
    _report(HOSTILE)
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(text) < 2 * LONGEST_LINE


async def test_the_log_of_jupyter_shows_no_escape_of_a_server(make_jupyter):
    dies = "import sys; sys.stderr.write('\\x1b[31mred\\x1b]0;owned\\x07\\n'); sys.exit('\\x1b[2J bye')"
    running = make_jupyter({"dies": {"command": sys.executable, "args": ["-c", dies]}})
    async with running.connect("dies") as link:
        await link.send('{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}')
        await link.recv()
    wait_until(lambda: "server dies ended" in running.log.read_text(), what="the log")
    assert "\x1b[2J" not in running.log.read_text()
    assert "\x1b]0;" not in running.log.read_text()


def test_errors_of_the_client_and_of_remote_servers_hold_no_escape_sequences():
    assert str(ServerUnavailableError("stderr: \x1b[31mred")) == r"stderr: \x1b[31mred"
    said = status_message("s", 500, b"\x1b]0;owned\x07 boom\n\nmore")
    assert said.endswith(r"\x1b]0;owned\x07 boom more")
    assert status_message("s", 500, b"<html><h1>Boom</h1>").endswith("'Boom'")
    assert status_message("s", 500, b"\0\xff\xfe") == "s answered 500"
