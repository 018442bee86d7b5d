"""The sources of the configuration: precedence, unreadable files, packages; one bad server leaves the others alone."""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.config.load import AWAITS_CONSENT, ENTRY_POINTS, MAX_FILE_BYTES
from mcp_ws_ide.config.load import load as load_configuration
from mcp_ws_ide.config.spec import Configuration
from mcp_ws_ide.config.watcher import ConfigWatcher
from tests.config.loading import load, only_problem


@pytest.mark.parametrize(
    "document",
    [
        {"mcpServers": {"a": {"command": "x", "args": ["1"], "env": {"K": "v"}}}},
        {"servers": {"a": {"type": "stdio", "command": "x", "args": ["1"], "env": {"K": "v"}}}, "inputs": []},
        {"mcp_servers": [{"name": "a", "command": "x", "args": ["1"], "env": [{"name": "K", "value": "v"}]}]},
    ],
)
def test_three_dialects_mean_the_same(tmp_path, document):
    configuration = load(tmp_path, document)
    assert configuration.problems == []
    spec = configuration.servers["a"]
    assert (spec.kind, spec.command, spec.args, dict(spec.env)) == ("stdio", "x", ("1",), {"K": "v"})


def test_one_invalid_server_does_not_affect_the_others(tmp_path):
    configuration = load(tmp_path, {"mcpServers": {"bad": {"command": 5}, "good": {"command": "x"}}})
    assert configuration.servers["good"].disabled_reason is None
    assert "string" in (configuration.servers["bad"].disabled_reason or "")


def test_two_files_in_one_option_are_reported_with_what_to_write(tmp_path):
    (problem,) = load_configuration({}, [f"{tmp_path}/a.json,b.json"], [], {}).problems
    assert "repeat --MCPWebSocketApp.server_files=FILE" in problem.reason


def test_unreadable_files_are_reported(tmp_path):
    binary, huge, pipe = tmp_path / "binary.json", tmp_path / "huge.json", tmp_path / "pipe.json"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    os.mkfifo(pipe)
    files = [
        str(binary),
        str(huge),
        str(pipe),
        str(tmp_path),
        str(tmp_path / "none.json"),
        f"{tmp_path}/a\0b",
    ]
    configuration = load_configuration({}, files, [str(tmp_path), str(binary)], {})
    assert [problem.source for problem in configuration.problems] == files
    for problem, word in zip(
        configuration.problems,
        ["begins in UTF-16", "larger than", "regular file", "regular file", "does not exist", "null"],
        strict=True,
    ):
        assert word in problem.reason


@pytest.mark.parametrize(
    "text",
    ['{"mcpServers": {\n  "a": {"command": "x"', "", "\xff", "x" * (MAX_FILE_BYTES + 1), "[]", '"text"', "1"],
)
def test_the_last_good_version_replaces_an_unreadable_file(tmp_path, text):
    documents: dict = {}
    file = tmp_path / "mcp.json"

    def read(text: str) -> Configuration:
        file.write_text(text, encoding="latin-1")
        return load_configuration({}, [], [str(tmp_path)], {}, (), lambda spec, entry: needed, documents)

    needed = None
    good = read('{"mcpServers": {"a": {"command": "x"}}}')
    bad = read(text)
    assert bad.servers == good.servers
    assert [(p.source, p.severity) for p in bad.problems] == [(str(file), "error")]
    assert bad.unread == bad.problems
    assert "last valid version" in bad.problems[0].reason
    if text.startswith("{"):
        assert "line 2, column 23" in bad.problems[0].reason
    needed = "digest"
    assert read(text).servers["a"].disabled_reason == AWAITS_CONSENT, "it is asked for each time"
    needed = None
    assert not read("{}").servers, "it is well formed"
    assert not read(text).servers, "the good version before the last does not come back"
    read('{"mcpServers": {"a": {"command": "x"}}}')
    file.unlink()
    assert not load_configuration({}, [], [str(tmp_path)], {}, documents=documents).servers
    assert not read(text).servers, "a file that was gone is not remembered"


def test_a_group_requires_what_its_members_require_of_users(tmp_path):
    runs = {"command": "x", "mcp_ws": {"authorize": ["execute  kernels", "write contents"]}}
    group = {"group": ["plain", "the runner"], "mcp_ws": {"authorize": "read contents"}}
    servers = {"g": group, "plain": {"command": "x"}, "the runner": runs}
    loaded = load(tmp_path, {"mcpServers": servers}).servers
    assert loaded["the-runner"].authorize == ("execute kernels", "write contents")
    assert loaded["g"].authorize == ("read contents", "execute kernels", "write contents")
    assert loaded["plain"].authorize == ()


def test_members_of_a_group_that_are_not_configured_are_reported(tmp_path):
    groups = {"g": {"group": ["nosuch", "ok"]}, "off": {"group": ["nosuch"], "disabled": True}}
    configuration = load(tmp_path, {"mcpServers": {**groups, "ok": {"command": "x"}}})
    problem = configuration.problems[-1]
    assert (problem.key, problem.severity) == ("mcpServers.g.group", "error")
    assert "'nosuch' is not configured" in problem.reason
    assert configuration.servers["g"].disabled_reason is None
    assert not any("nosuch" in p.reason for p in configuration.problems[:-1])


def test_a_file_of_exactly_the_greatest_size_is_read(tmp_path):
    text = '{"mcpServers": {"a": {"command": "x"}}}'
    assert "a" in load(tmp_path, text + " " * (MAX_FILE_BYTES - len(text))).servers


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "mcp.json").write_bytes(b'\xef\xbb\xbf{"mcpServers": {"a": {"command": "x"}}}')
    assert load_configuration({}, [], [str(tmp_path)], {}).problems == []


@pytest.mark.parametrize("unit", ["/*", '\\"', '"', ",", ", ", "${", "//", "{"])
def test_the_longest_file_of_any_bytes_is_refused_quickly(tmp_path, unit):
    started = time.process_time()
    load(tmp_path, unit * (MAX_FILE_BYTES // len(unit)))
    load(tmp_path, json.dumps({"mcpServers": {"a": {"command": unit * 200_000}}}))
    assert time.process_time() - started < 30


def test_text_of_a_file_is_logged_without_control_characters(tmp_path):
    problem = only_problem(load(tmp_path, {"mcpServers": {"\x1b[2J\nx": {"command": "x"}}}))
    assert str(problem).isprintable()
    assert "\\x1b[2J\\nx" in problem.key
    for problem in load(tmp_path, {"mcpServers": {"é" * 9999: {}}}).problems:
        assert len(str(problem)) < 2000


@pytest.mark.parametrize("switch", [{"disabled": True}, {"enabled": False}])
def test_a_server_switched_off_on_purpose_is_a_notice(tmp_path, switch):
    problem = only_problem(load(tmp_path, {"mcpServers": {"a": {"command": "${MISSING}", **switch}}}))
    assert (problem.severity, problem.reason.split(":")[0]) == ("notice", "disabled")


def test_a_name_twice_in_the_lists_of_one_file_is_shadowed(tmp_path):
    document = {"mcpServers": {"a": {"command": "x"}}, "mcp_servers": [{"name": "a", "command": "y"}]}
    configuration = load(tmp_path, document)
    problem = only_problem(configuration)
    assert (problem.key, problem.severity) == ("mcp_servers[0]", "notice")
    assert configuration.servers["a"].command == "x"


def test_the_first_definition_wins_and_the_shadowed_one_is_reported(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "mcp.json"
    for path, command in ((first, "file"), (second, "directory")):
        path.write_text(
            json.dumps({"mcpServers": {"a": {"command": command}, command: {"command": command}}})
        )
    configuration = load_configuration({"a": {"command": "trait"}}, [str(first)], [str(tmp_path)], {})
    assert {name: spec.command for name, spec in configuration.servers.items()} == {
        "a": "trait",
        "file": "file",
        "directory": "directory",
    }
    assert [(problem.severity, "shadowed" in problem.reason) for problem in configuration.problems] == [
        ("notice", True)
    ] * 2


def test_a_tilde_in_a_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    watcher = ConfigWatcher(["~/own.json", "a\0b"])
    (tmp_path / "own.json").write_text('{"mcpServers": {"a": {"command": "x"}}}')
    assert watcher.changed()
    assert "a" in load_configuration({}, ["~/own.json"], [], {}).servers


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:/*\\\n $a1', max_size=60).map(str.encode))
def test_no_bytes_raise(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(data)
    assert isinstance(load_configuration({}, [str(path)], [], {}), Configuration)


async def test_a_changed_file_is_loaded_while_sessions_live(make_jupyter):
    from tests.conftest import FAST_SERVER, Peer, until

    own = make_jupyter({"fast": FAST_SERVER})
    async with own.connect("fast") as link:
        await Peer(link).call(1, "tools/list")
        own.configuration.write_text(json.dumps({"mcpServers": {"other": FAST_SERVER}}))
        await until(
            lambda: [s["name"] for s in own.rest("GET", "servers")[1]["servers"]] == ["other"],
            what="the reload",
        )
        assert (await Peer(link).call(2, "tools/list"))["id"] == 2
        async with own.connect("other") as fresh:
            assert (await Peer(fresh).call(1, "tools/list"))["id"] == 1


async def test_a_half_written_file_removes_no_server(make_jupyter):
    from tests.conftest import FAST_SERVER, Peer, until, wait_until

    own = make_jupyter({"fast": FAST_SERVER})
    own.configuration.write_text('{"mcpServers": {\n"fast": {')
    await until(lambda: own.rest("GET", "servers")[1]["problems"], what="the reload")
    async with own.connect("fast") as link:
        assert "result" in await Peer(link).call(1, "tools/list")
    own.stop()
    again = make_jupyter({})
    again.configuration.write_text('{"mcpServers": {\n"fast": {')
    wait_until(lambda: again.rest("GET", "servers")[1]["problems"], what="the reload")
    headers = {"Authorization": f"Bearer {again.token}"}
    status, _, body = again.request("POST", "mcp-ws/servers/fast", {}, headers)
    words = json.loads(body)["message"]
    assert status == 404
    assert f"cannot be read: {again.configuration}: not valid JSON" in words
    assert "line 2" in words


def servers_of_a_package() -> dict:
    return {"brought": {"command": "x"}, "a": {"command": "theirs"}, "bad": {}}


NOT_SERVERS = ["brought"]


def failing() -> dict:
    raise RuntimeError("no luck")


def leaving() -> dict:
    raise SystemExit(1)


def package(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", ENTRY_POINTS)


def test_installed_packages_provide_servers_and_hand_written_ones_win():
    found = load_configuration({"a": {"command": "mine"}}, [], [], {}, [package("servers_of_a_package")])
    assert found.servers["brought"].command == "x"
    assert "servers_of_a_package" in found.servers["brought"].source
    assert found.servers["a"].command == "mine"
    assert {problem.key: problem.severity for problem in found.problems} == {
        "a": "notice",
        "bad.command": "error",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NOT_SERVERS", "must be a mapping"),
        ("failing", "no luck"),
        ("leaving", "SystemExit"),
        ("absent", "failed"),
    ],
)
def test_a_failing_package_does_not_affect_the_others(name, words):
    found = load_configuration({"a": {"command": "x"}}, [], [], {}, [package(name)])
    assert list(found.servers) == ["a"]
    assert words in only_problem(found).reason


def test_a_relative_path_reads_nothing_from_the_current_directory(tmp_path, monkeypatch):
    """Whoever starts Jupyter in a directory of somebody else must not run what is configured there."""
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"planted": {"command": "x"}}}')
    monkeypatch.chdir(tmp_path)
    for path in ("mcp.json", "./mcp.json", "../x/mcp.json"):
        configuration = load_configuration({}, [path], [], {})
        assert configuration.servers == {}
        assert "must be absolute; write /" in configuration.problems[0].reason


@pytest.mark.parametrize(
    ("key", "entry", "what"),
    [
        ("command", '{"command": "C:\\temp\\\\run.exe"}', "a tab, from the escape \\t, at character 3"),
        (
            "cwd",
            '{"command": "x", "cwd": "C:\\\\a\\new"}',
            "a line feed, from the escape \\n, at character 5",
        ),
        ("args[1]", '{"command": "x", "args": ["-v", "--root=D:\\\\a b\\\\c\\bin"]}', "a backspace"),
        ("args[0]", '{"command": "x", "args": ["--root=D:\\\\c\\run"]}', "a carriage return"),
        ("env.P", '{"command": "x", "env": {"P": "C:\\food"}}', "a form feed"),
        ("env.P", '{"command": "x", "env": {"P": "..\\tools"}}', "a tab"),
        ("env.P", '{"command": "x", "env": {"P": "a\\u001b"}}', "the control character U+001B"),
    ],
)
def test_a_backslash_that_began_an_escape_is_reported(tmp_path, key, entry, what):
    path = tmp_path / "mcp.json"
    path.write_text('{"mcpServers": {"a": %s}}' % entry)  # noqa: UP031 - braces
    configuration = load_configuration({}, [str(path)], [], {})
    [problem] = configuration.problems
    assert (problem.key, problem.severity) == (f"mcpServers.a.{key}", "notice")
    assert what in problem.reason
    assert "write each backslash twice" in problem.reason
    assert configuration.servers["a"].disabled_reason is None


def test_scripts_and_keys_may_have_line_breaks_and_tabs(tmp_path):
    script = "import os\nif True:\n\tprint('a: b', r'C:/x')\n"
    entry = {"command": "x", "args": ["-c", script], "env": {"KEY": "-----BEGIN KEY-----\nabc:\n-----END"}}
    assert load(tmp_path, {"mcpServers": {"a": entry}}).problems == []
