"""Every mistake names file, key and reason; one bad server never takes the others down."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide import config

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "mcpServers",
                    "servers",
                    "mcp_servers",
                    "a",
                    "command",
                    "args",
                    "env",
                    "url",
                    "mcp_ws",
                    "name",
                    "type",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def load(tmp_path: Path, document: object, **environ: str) -> config.Configuration:
    path = tmp_path / "mcp.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return config.load({}, [str(path)], [], environ)


def only_problem(configuration: config.Configuration) -> config.Problem:
    (problem,) = configuration.problems
    return problem


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


@pytest.mark.parametrize(
    ("document", "key", "word"),
    [
        ("{", "", "line 1"),
        ("[]", "", "object"),
        ({"other": {}}, "", "mcpServers"),
        ({"mcpServers": 5}, "mcpServers", "object"),
        ({"mcpServers": {"a/b": {"command": "x"}}}, "mcpServers.a/b", "server name"),
        ({"mcpServers": {"..": {"command": "x"}}}, "mcpServers...", "server name"),
        ({"mcpServers": {"a": 5}}, "mcpServers.a", "object"),
        ({"mcpServers": {"a": {}}}, "mcpServers.a.command", "exactly one"),
        ({"mcpServers": {"a": {"command": "x", "url": "http://x"}}}, "mcpServers.a.command", "exactly one"),
        ({"mcpServers": {"a": {"command": 5}}}, "mcpServers.a.command", "text"),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "mcpServers.a.args", "list"),
        ({"mcpServers": {"a": {"command": "x", "args": [1]}}}, "mcpServers.a.args[0]", "text"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K": []}}}}, "mcpServers.a.env.K", "text"),
        ({"mcpServers": {"a": {"command": "x\0"}}}, "mcpServers.a.command", "NUL"),
        ({"mcpServers": {"a": {"url": "ftp://x"}}}, "mcpServers.a.url", "scheme"),
        ({"mcpServers": {"a": {"url": "https://x"}}}, "mcpServers.a", "not carried"),
        (
            {"mcpServers": {"a": {"command": "x", "mcp_ws": {"sharing": "yes"}}}},
            "mcpServers.a.mcp_ws.sharing",
            "one of",
        ),
        (
            {"mcpServers": {"a": {"command": "x", "mcp_ws": {"nope": 1}}}},
            "mcpServers.a.mcp_ws.nope",
            "unknown",
        ),
        (
            {"mcpServers": {"a": {"command": "x", "mcp_ws": {"idle_timeout": -1}}}},
            "mcpServers.a.mcp_ws.idle_timeout",
            "number",
        ),
        ({"mcpServers": {"a": {"command": "${MISSING}"}}}, "mcpServers.a", "MISSING"),
        ({"mcpServers": {"a": {"command": "x", "args": ["${input:key}"]}}}, "mcpServers.a", "VS Code"),
        ({"mcp_servers": [{"command": "x"}]}, "mcp_servers[0]", "name"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "a", "twice"),
    ],
)
def test_every_mistake_names_file_key_and_reason(tmp_path, document, key, word):
    problem = only_problem(load(tmp_path, document))
    assert problem.source == str(tmp_path / "mcp.json")
    assert problem.key == key
    assert word in problem.reason
    assert str(problem).startswith(problem.source)


def test_one_bad_server_leaves_the_others_alone(tmp_path):
    configuration = load(tmp_path, {"mcpServers": {"bad": {"command": 5}, "good": {"command": "x"}}})
    assert configuration.servers["good"].disabled_reason is None
    assert "text" in (configuration.servers["bad"].disabled_reason or "")


def test_files_that_cannot_be_read_are_said(tmp_path):
    binary, huge = tmp_path / "binary.json", tmp_path / "huge.json"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b" " * (config.MAX_FILE_BYTES + 1))
    configuration = config.load(
        {}, [str(binary), str(huge), str(tmp_path / "none.json")], [str(tmp_path)], {}
    )
    assert [problem.reason.split()[0] for problem in configuration.problems] == ["cannot", "cannot", "the"]


def test_the_first_definition_wins_and_the_shadowed_one_is_reported(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "mcp.json"
    for path, command in ((first, "file"), (second, "directory")):
        path.write_text(
            json.dumps({"mcpServers": {"a": {"command": command}, command: {"command": command}}})
        )
    configuration = config.load({"a": {"command": "trait"}}, [str(first)], [str(tmp_path)], {})
    assert {name: spec.command for name, spec in configuration.servers.items()} == {
        "a": "trait",
        "file": "file",
        "directory": "directory",
    }
    assert [(problem.severity, "shadowed" in problem.reason) for problem in configuration.problems] == [
        ("notice", True)
    ] * 2


def test_variables_are_substituted_everywhere(tmp_path):
    entry = {
        "command": "${env:BIN}/x",
        "args": ["${A}", "${B:-default}", "$A $$"],
        "env": {"K": "${A}"},
        "cwd": "${A}",
    }
    spec = load(tmp_path, {"mcpServers": {"a": entry}}, BIN="/bin", A="1").servers["a"]
    assert (spec.command, spec.args, dict(spec.env), spec.cwd) == (
        "/bin/x",
        ("1", "default", "$A $$"),
        {"K": "1"},
        "1",
    )


def test_what_is_shown_holds_no_secret():
    spec = config.ServerSpec(
        "a",
        "s",
        command="x",
        args=("--token", "T0P", "--api-key=T0P", "https://u:T0P@host/", "plain"),
        env={"KEY": "T0P"},
        headers={"Authorization": "T0P"},
    )
    assert "T0P" not in json.dumps(spec.censored())
    assert "plain" in spec.censored()["args"]


def test_a_child_gets_a_short_environment():
    environ = {
        "HOME": "/h",
        "PATH": "/p",
        "LC_ALL": "C",
        "https_proxy": "p",
        "JUPYTER_TOKEN": "secret",
        "LD_PRELOAD": "x",
    }
    spec = config.ServerSpec("a", "s", command="x", env={"EXTRA": "1", "PATH": "/own"})
    assert config.child_environment(spec, environ) == {
        "HOME": "/h",
        "PATH": "/own",
        "LC_ALL": "C",
        "https_proxy": "p",
        "EXTRA": "1",
    }


def test_changes_of_files_are_noticed(tmp_path):
    path = tmp_path / "mcp.json"
    watcher = config.ConfigWatcher([str(path)])
    assert not watcher.changed()
    path.write_text("{}")
    assert watcher.changed()
    assert not watcher.changed()
    os.utime(path, ns=(1, 1))
    assert watcher.changed()
    path.unlink()
    assert watcher.changed()


@given(JSON)
def test_no_content_raises(tmp_path_factory, document):
    configuration = load(tmp_path_factory.mktemp("c"), document)
    assert all(problem.reason for problem in configuration.problems)


async def test_a_changed_file_is_taken_over_while_sessions_live(make_jupyter):
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
