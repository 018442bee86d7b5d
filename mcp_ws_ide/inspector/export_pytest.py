"""Export sessions as a file of tests for pytest, which replays them against a server (:mod:`.testing`)."""

from __future__ import annotations

import pprint
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.recording import Header, RecordingError
from mcp_ws_ide.inspector.replay import ReplayStep, Script, script, without_envelope
from mcp_ws_ide.sanitise import visible

WIDTH: Final = 100
"""Columns of the generated file."""
HEAD: Final = '''\
"""{what}, recorded {when}, as tests: `mcp-ws-inspect export --format pytest` wrote them.

    MCP_SERVER="python my_server.py" pytest THIS_FILE

MCP_SERVER is the command of a stdio server, or the URL of an endpoint at a gateway. Each test sends the requests of
one session again and compares the responses. Not compared are ids, `_meta`, states and timestamps, and what IGNORE
names. Change the responses below to what they should be.{left_out}
"""

import os

import pytest

from mcp_ws_ide.inspector.testing import ReplayServer

IGNORE = []  # for example "result.content[*].text" or "**.version"


@pytest.fixture(scope="module")
def server():
    with ReplayServer(os.environ.get("MCP_SERVER", "")) as server:
        yield server

'''
TAIL: Final = """
# What the client answered when the server asked, by method.
ANSWERS = {answers}


@pytest.mark.parametrize("session", SESSIONS)
def test_session(server, session):
    different = server.differences(SESSIONS[session], ANSWERS.get(session, {{}}), IGNORE)
    assert not different, "\\n".join(different)
"""


def as_pytest(journal: Journal, header: Header, rows: Sequence[int]) -> Iterator[str]:
    """Yield the text of the file: the whole sessions that have a message in ``rows``.

    Raises:
        RecordingError: there is no request to replay, or there are several servers.
    """
    store = journal.store
    wanted = {store.session_of(row) for row in rows} - {""}
    replayed = script(journal)
    steps = [step for step in replayed.steps if step.session in wanted]
    servers = sorted({step.server for step in steps})
    if not any(step.answer is not None for step in steps):
        raise RecordingError("there is no request that can be replayed")
    if len(servers) > 1:
        named = ", ".join(servers)
        raise RecordingError(
            f"a test replays sessions of one server; choose one with --filter server:NAME: {named}"
        )
    yield _head(header, servers[0], replayed)
    yield "# By session: its requests, each with its response; None for a notification, which has none.\nSESSIONS = {\n"
    for session in dict.fromkeys(step.session for step in steps):
        yield f"    {session[:8]!r}: [\n"
        for step in steps:
            if step.session == session:
                yield _step(step)
        yield "    ],\n"
    yield "}\n"
    yield TAIL.format(answers=_answers(replayed, wanted))


def _head(header: Header, server: str, replayed: Script) -> str:
    when = (
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(header.time)) if header.time else "at an unknown time"
    )
    parts = [f"{count} ({reason})" for reason, count in replayed.left_out.items()]
    left_out = f"\n\nNot among them, of the whole recording: {', '.join(parts)}." if parts else ""
    what = visible(f"Sessions of the server {server}").replace("\\", "\\\\").replace('"', "'")
    return HEAD.format(what=what, when=when, left_out=left_out)


def _step(step: ReplayStep) -> str:
    request = {name: step.message[name] for name in ("method", "params") if name in step.message}
    answer = None
    if step.answer is not None:
        answer = without_envelope(step.answer)
    return f"        (\n{_literal(request, 12)},\n{_literal(answer, 12)},\n        ),\n"


def _literal(value: Any, indent: int) -> str:
    text = pprint.pformat(value, width=WIDTH - indent, sort_dicts=False)
    return "\n".join(" " * indent + line for line in text.split("\n"))


def _answers(replayed: Script, wanted: set[str]) -> str:
    answers: dict[str, dict[str, list[Any]]] = {}
    for (session, method), given in replayed.answers.items():
        if session in wanted:
            answers.setdefault(session[:8], {})[method] = [without_envelope(one) for one in given]
    return pprint.pformat(answers, width=WIDTH, sort_dicts=False)
