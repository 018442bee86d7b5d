"""A request copied as a command: it repeats the request and contains no secret."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mcp_ws_ide.inspector.model.copy_forms import FORMS, TOKEN, NoCommandError, ascii_json, call_of
from tests.conftest import BOUND, MODERN, PROGRAMS
from tests.inspector.records import Transcript, call, done
from tests.programs import need

CURL = shutil.which("curl")
HANDSHAKE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "copied", "version": "1"},
}
ODD = 'it\'s "quoted" $HOME `id` \u202e\U0001f389 \\ é\n'


def seen(modern: bool, method: str = "tools/call", **params: object) -> Transcript:
    """A journal whose newest row is the response to a request of a client."""
    t = Transcript()
    if not modern:
        t.send("c>", {"id": 0, "method": "initialize", "params": HANDSHAKE}, server="fast")
    given = {**params, **({"_meta": MODERN} if modern else {})}
    # Laid out over lines, as some clients write.
    message = {"jsonrpc": "2.0", "id": "again", "method": method, "params": given}
    raw = json.dumps(message, indent=1, ensure_ascii=False)
    t.send("c>", message, server="fast", raw=raw)
    t.send("c<", done("again"), server="fast")
    return t


def copied(t: Transcript, base: str, form: str) -> str:
    return FORMS[form](call_of(t.journal, t.journal.store.end - 1, base))


def program(file: Path, text: str) -> list[str]:
    """A command that runs a copied program."""
    PROGRAMS.begin()
    file.write_text(text)
    return PROGRAMS.command(str(file))


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("tools/call", {"name": "echo", "arguments": {"text": ODD}}, ODD),
        ("tools/list", {}, "echo"),
        ("tools/none", {"x": ODD}, "not found"),
    ],
)
@pytest.mark.parametrize("form", ["curl", "Python"])
async def test_a_copied_command_repeats_the_request(
    jupyter, tmp_path, form, modern, method, params, expected
):
    need(form != "curl" or CURL, "curl")
    text = copied(seen(modern, method, **params), jupyter.url, form)
    assert jupyter.token not in text
    assert text.replace("\n", "").isprintable()
    assert text.isascii()
    command = ["sh", "-c", text] if form == "curl" else program(tmp_path / "copied.py", text)
    environment = {**os.environ, TOKEN: jupyter.token}
    ran = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=BOUND, check=False
    )
    output = ran.stdout + ran.stderr
    # Python prints values as it writes them, curl as JSON.
    wanted = [
        expected,
        json.dumps(expected)[1:-1],
        repr(expected)[1:-1],
        json.dumps(expected, ensure_ascii=False)[1:-1],
    ]
    assert any(word.lower() in output.lower() for word in wanted), f"{text}\n{output}"


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
def test_websocat_gets_every_message_on_a_line_and_the_token_from_the_environment(modern):
    t = seen(modern, name="echo", arguments={"text": ODD})
    text = copied(t, "http://h:1/base/", "websocat")
    words = shlex.split(text.replace("\\\n", " "))
    pipe = words.index("|")
    messages = [json.loads(word) for word in words[2:pipe]]
    assert words[:2] == ["printf", "%s\\n"]
    assert [message["method"] for message in messages][-1] == "tools/call"
    assert messages[-1]["params"]["arguments"]["text"] == ODD
    assert len(messages) == (1 if modern else 3)
    assert words[pipe + 1 :] == [
        *("websocat", "-n", f"-H=Authorization: Bearer ${TOKEN}", "--protocol", "mcp"),
        "ws://h:1/base/mcp-ws/servers/fast",
    ]
    printed = subprocess.run(
        ["sh", "-c", text.partition("\\\n")[0]], capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in printed.stdout.splitlines()] == messages


def test_a_copied_command_repeats_the_handshake_of_the_session():
    t = seen(False, name="echo", arguments={})
    assert '"copied"' in copied(t, "http://h/", "curl")
    assert "MCP-Protocol-Version: 2025-06-18" in copied(t, "http://h/", "curl")


def test_a_row_of_the_server_leg_copies_the_clients_request():
    t = Transcript()
    t.send("c>", call("mine"))
    row = t.send(">s", call(77), origin_session="s1", origin_id="mine")
    assert '"mine"' in FORMS["curl"](call_of(t.journal, row, "http://h/"))


def test_a_message_that_cannot_be_repeated_is_reported():
    t = Transcript()
    cut = t.send("c>", call(1), truncated=True)
    question = t.send("c<", {"id": 1, "method": "roots/list"})
    note = t.send("c>", {"method": "notifications/initialized"})
    for row, words in ((cut, "truncated"), (question, "client's request"), (note, "client's request")):
        with pytest.raises(NoCommandError, match=words):
            call_of(t.journal, row, "http://h/")


def test_json_in_ascii_means_the_same():
    text = '{ "a" :\n"\u202e\U0001f389\x9b",\t"n": 1.50e3, "n": 12345678901234567890 }'
    plain = ascii_json(text)
    assert re.fullmatch(r"[\x20-\x7e]*", plain)
    assert json.loads(plain) == json.loads(text)
    assert "1.50e3" in plain
