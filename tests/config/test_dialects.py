"""Entries as other programs write them: each documented form means here what it means there, or names the key to write."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.config.dialect_keys import (
    ALIASES,
    ALLOWED_TOOLS,
    DENIED_TOOLS,
    INSTEAD,
    NESTED,
    OWN_KEYS,
    REQUEST_OPTIONS,
)
from mcp_ws_ide.config.dialects import translate
from mcp_ws_ide.config.load import FILES
from mcp_ws_ide.config.load import load as load_configuration
from mcp_ws_ide.config.masking import masked, unmasked
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from mcp_ws_ide.core.names import MAX_ADDRESS, address_of, is_address
from tests.config.loading import ENTRY, JSON, load, objects, only_problem

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dialects.json").read_text())


WITHIN_ENTRY = re.compile(
    r"^(\w+(\.\w+)?\[0\]|((mcpServers|servers|mcp|mcp\.servers|mcp_servers|context_servers|extensions)\.)?s)(\.|$)"
)
"""The part of a dotted path that leads to the entry."""


def read(vector: dict[str, Any], folder: Path) -> Configuration:
    path = folder / ("config.toml" if "toml" in vector else "mcp.json")
    path.write_text(vector["toml"] if "toml" in vector else json.dumps(vector["file"]))
    return load_configuration({}, [str(path)], [], VECTORS["environ"], root_dir=VECTORS["root_dir"])


def with_folders(expected: Any, folder: Path) -> Any:
    """What a vector expects, with the home directory and the file's folder filled in."""
    text = (
        json.dumps(expected)
        .replace("{folder}", str(folder))
        .replace('"~', f'"{os.path.expanduser("~")}')
        .replace("{tilde}", "~")
    )
    return json.loads(text)


def plain(value: Any) -> Any:
    """The value of an attribute as JSON has it; what is empty or missing is None."""
    if hasattr(value, "allow"):
        return {"allow": value.allow and list(value.allow), "deny": list(value.deny)}
    value = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, dict) else value
    return value or None


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["program"])
def test_the_documented_form_of_each_program_means_the_same_here(tmp_path, vector):
    configuration = read(vector, tmp_path)
    (spec,) = configuration.servers.values()
    for attribute, expected in {"disabled_reason": None, **vector["means"]}.items():
        assert plain(getattr(spec, attribute)) == (with_folders(expected, tmp_path) or None), attribute
    keys = {WITHIN_ENTRY.sub("", problem.key) for problem in configuration.problems}
    assert keys == set(vector.get("notices", [])), configuration.problems
    assert {problem.severity for problem in configuration.problems} <= {"notice"}, configuration.problems


@pytest.mark.parametrize(
    ("entry", "means", "key", "word"),
    [
        ({"command": "x", "env": {"A=B": "1", "K": "v"}}, {"env": {"K": "v"}}, "env.A=B", "'A=B'"),
        ({"command": "x", "env": {"": "1", "K": "v"}}, {"env": {"K": "v"}}, "env.", "''"),
        ({"command": "x", "env": {"A\0": "1", "K": "v"}}, {"env": {"K": "v"}}, "env.A\\x00", "NUL"),
        (
            {"command": "x", "env": [{"name": "", "value": "1"}, {"name": "K", "value": "v"}]},
            {"env": {"K": "v"}},
            "env.",
            "''",
        ),
        (
            {"url": "http://h", "headers": {"A\r\nB": "1", "K": "v"}},
            {"headers": {"K": "v"}},
            "headers.A\\r\\nB",
            "header name",
        ),
        (
            {"url": "http://h", "headers": {"A B": [], "K": "v"}},
            {"headers": {"K": "v"}},
            "headers.A B",
            "'A B'",
        ),
        ({"command": "x", "url": ""}, {"kind": "stdio", "url": None}, "url", "empty"),
        ({"command": " ", "url": "http://h"}, {"kind": "http", "command": None}, "command", "empty"),
        (
            {"httpUrl": "http://h/mcp", "url": "http://h/sse"},
            {"kind": "http", "url": "http://h/mcp"},
            "url",
            '"httpUrl"',
        ),
        (
            {"url": "http://h/sse", "httpUrl": "http://h/mcp", "type": "sse"},
            {"kind": "sse", "url": "http://h/sse"},
            "httpUrl",
            '"url"',
        ),
        (
            {
                "command": "x",
                "env_vars": ["A", {"name": "B", "source": "remote"}, {"name": "C", "source": "local"}],
            },
            {"env_vars": ("A", "B", "C")},
            "env_vars[1]",
            "'remote'",
        ),
        ({"command": "x", "env": {"K": "${{ secrets.K }}"}}, {"env": {}}, "env.K", "'${{ secrets.K }}'"),
        ({"command": "x", "args": ["${{ a }}!"]}, {"args": ("${{ a }}!",)}, "args[0]", "'${{ a }}'"),
    ],
)
def test_an_oddity_without_harm_costs_no_server(tmp_path, entry, means, key, word):
    configuration = load(tmp_path, {"mcpServers": {"s": entry}})
    problem = only_problem(configuration)
    assert problem.severity == "notice"
    assert problem.key == f"mcpServers.s.{key}"
    assert word in problem.reason
    spec = configuration.servers["s"]
    assert {name: getattr(spec, name) for name in means} == means
    assert spec.disabled_reason is None


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"type": "http", "url": "unix:///tmp/s"}, "http"),
        ({"type": "http", "url": "unix:///tmp/s#/mcp/subpath"}, "http"),
        ({"type": "sse", "url": "unix:///tmp/s#/sse"}, "sse"),
        ({"url": "unix:///tmp/s#/mcp"}, "http"),
        ({"url": "unix:///tmp/s"}, "unix"),
        ({"type": "unix", "url": "unix:///tmp/s"}, "unix"),
    ],
)
def test_a_socket_speaks_http_where_its_type_or_a_path_says_so(tmp_path, entry, kind):
    configuration = load(tmp_path, {"servers": {"s": entry}})
    assert configuration.problems == []
    assert (configuration.servers["s"].kind, configuration.servers["s"].url) == (kind, entry["url"])


def test_servers_of_projects_and_blocks_of_a_hub_are_named(tmp_path):
    projects = {"/home/me/p": {"mcpServers": {"one": {"command": "x"}, "two": {}}}, "/q": {"mcpServers": {}}}
    for more, servers in (({}, []), ({"mcpServers": {"s": {"command": "x"}}}, ["s"])):
        configuration = load(tmp_path, {"numStartups": 3, "projects": projects, **more})
        problem = only_problem(configuration)
        assert (problem.key, problem.severity) == ("projects./home/me/p.mcpServers", "notice")
        assert "one, two" in problem.reason
        assert '"mcpServers"' in problem.reason
        assert list(configuration.servers) == servers
    listed = [{"uses": "a/memory", "with": {"K": "v"}}, {"name": "s", "command": "x"}]
    configuration = load(tmp_path, {"mcpServers": listed})
    problem = only_problem(configuration)
    assert (problem.key, problem.severity) == ("mcpServers[0].uses", "error")
    assert "'a/memory'" in problem.reason
    assert list(configuration.servers) == ["s"]


def test_the_servers_of_the_project_that_jupyter_serves_are_read_before_those_of_the_file(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "p")
    own = {"one": {"command": "own"}, "off": {"command": "x"}}
    document = {
        "mcpServers": {"one": {"command": "of the file"}, "two": {"command": "x"}},
        "projects": {
            str(tmp_path / "link"): {"mcpServers": own, "disabledMcpServers": ["off", 7]},
            f"{tmp_path}/p/sub": {"mcpServers": {"three": {"command": "x"}}},
        },
    }
    file = tmp_path / ".claude.json"
    file.write_text(json.dumps(document))
    configuration = load_configuration({}, [str(file)], [], {}, root_dir=f"{tmp_path}/p")
    assert configuration.servers["one"].command == "own"
    assert configuration.servers["off"].disabled_reason
    assert "two" in configuration.servers
    assert "three" not in configuration.servers
    (notice,) = [problem for problem in configuration.problems if "three" in problem.reason]
    assert f"because Jupyter serves {tmp_path}/p" in notice.reason


def test_every_key_of_another_program_has_one_place_in_the_tables():
    tables = [set(ALIASES), set(ALLOWED_TOOLS) | set(DENIED_TOOLS), set(INSTEAD), set(OWN_KEYS)]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert set(ALIASES.values()) <= OWN_KEYS
    for reason in INSTEAD.values():
        assert "ignored" in reason


@pytest.mark.parametrize(
    "value", [None, True, 1.5, "", [], [[]], [None], [{}], {}, {"x": []}, {"x": {}}], ids=repr
)
def test_a_value_of_a_wrong_type_under_any_key_is_left_to_the_reader(value):
    described = ("packages", "remotes", "server", "mcp_config", "user_config")
    keys = {
        *OWN_KEYS,
        *ALIASES,
        *ALLOWED_TOOLS,
        *DENIED_TOOLS,
        *INSTEAD,
        *NESTED,
        *REQUEST_OPTIONS,
        *described,
    }
    for key in sorted(keys):
        for entry in ({key: value}, {"command": "x", key: value}, {"url": "http://x/", key: value}):
            once = translate(entry).entry
            assert translate(once).entry == once


@given(ENTRY | objects(JSON))
def test_translating_twice_changes_nothing_more(entry):
    once = translate(entry).entry
    assert translate(once).entry == once


IN_OBJECTS = [
    v for v in VECTORS["files"] if "toml" not in v and isinstance(next(iter(v["file"].values())), dict)
]
"""Files whose servers are members of an object."""


@pytest.mark.parametrize("vector", IN_OBJECTS, ids=lambda vector: vector["program"])
def test_no_secret_of_a_foreign_key_reaches_a_browser_and_each_comes_back(vector, tmp_path):
    entries = next(iter(vector["file"].values()))
    entry = {
        **entries.get("s", entries),
        "envs": {"API_KEY": "s3cret"},
        "bearer_token": "s3cret",
        "cmd": ["x", "--token", "s3cret"],
    }
    assert "s3cret" not in json.dumps(masked(entry))
    assert unmasked(masked(entry), entry) == entry


# --- variables ---------------------------------------------------------------------------------------


def one(tmp_path: Path, entry: object, **environ: str) -> ServerSpec:
    return load(tmp_path, {"mcpServers": {"a": entry}}, **environ).servers["a"]


def test_an_entrys_own_variables_are_filled_in_and_come_first(tmp_path):
    entry = {
        "command": "x",
        "args": ["--header", "Authorization:${H}", "${env:H:-d}"],
        "env": {"H": "Bearer ${T}"},
    }
    spec = one(tmp_path, entry, H="of Jupyter", T="1")
    assert spec.args == ("--header", "Authorization:Bearer 1", "Bearer 1")
    remote = {"url": "https://${HOST}/mcp", "headers": {"A": "${K}"}, "env": {"HOST": "h.example", "K": "v"}}
    spec = one(tmp_path, remote)
    assert (spec.url, dict(spec.headers)) == ("https://h.example/mcp", {"A": "v"})


def test_a_variable_of_env_may_extend_jupyters_and_use_a_plain_one_beside_it(tmp_path):
    spec = one(
        tmp_path, {"command": "x", "env": {"PATH": "/own:${PATH}", "B": "${A}/b", "A": "a"}}, PATH="/usr/bin"
    )
    assert spec.env == {"PATH": "/own:/usr/bin", "B": "a/b", "A": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "${UNSET}",
        "${fileDirname}/x",
        "${workspaceFolder:other}/x",
        "${input:key}",
        "${command:pick}",
        "${VAR:?fail}",
        "${VAR-default}",
        "${#VAR}",
        "${a.b}",
    ],
)
def test_a_text_that_is_not_the_gateways_is_passed_on_with_a_notice(tmp_path, text):
    configuration = load(tmp_path, {"mcpServers": {"a": {"command": "x", "args": [text]}}})
    spec, problem = configuration.servers["a"], only_problem(configuration)
    assert (spec.disabled_reason, spec.args) == (None, (text,))
    assert (problem.severity, problem.key) == ("notice", "mcpServers.a.args[0]")
    assert "passed to the program unchanged" in problem.reason


@pytest.mark.parametrize("key", ["env", "headers"])
@pytest.mark.parametrize("text", ["${UNSET}", "${input:key}", "Bearer ${file}"])
def test_a_variable_or_header_without_a_value_is_left_out_with_a_notice(tmp_path, key, text):
    start = {"command": "x"} if key == "env" else {"url": "http://h"}
    configuration = load(tmp_path, {"mcpServers": {"a": {**start, key: {"K": text, "L": "l"}}}})
    spec, problem = configuration.servers["a"], only_problem(configuration)
    assert (spec.disabled_reason, dict(getattr(spec, key))) == (None, {"L": "l"})
    assert (problem.severity, problem.key) == ("notice", f"mcpServers.a.{key}.K")
    assert "left out" in problem.reason


def test_two_dollar_signs_keep_a_text_as_it_is(tmp_path):
    entry = {"command": "x", "args": ["$${A}", "$$${A}", "$$", "${A}$${B}", "$${open"], "env": {"K": "$${A}"}}
    configuration = load(tmp_path, {"mcpServers": {"a": entry}}, A="1")
    spec = configuration.servers["a"]
    assert spec.args == ("${A}", "$${A}", "$$", "1${B}", "$${open")
    assert spec.env == {"K": "${A}"}
    assert configuration.problems == []


@pytest.mark.parametrize(
    "name", ["Accept", "content-type", "Mcp-Session-Id", "MCP-Protocol-Version", "Host", "Mcp-Param-X"]
)
def test_a_header_that_the_transport_sets_is_ignored_with_a_notice(tmp_path, name):
    entry = {"url": "http://h/mcp", "headers": {name: "x", "Authorization": "Bearer abc", "User-Agent": "u"}}
    configuration = load(tmp_path, {"mcpServers": {"a": entry}})
    spec, problem = configuration.servers["a"], only_problem(configuration)
    assert spec.disabled_reason is None
    assert spec.headers == {"Authorization": "Bearer abc", "User-Agent": "u"}
    assert (problem.severity, problem.key) == ("notice", f"mcpServers.a.headers.{name}")
    assert "the transport sets it" in problem.reason


def test_the_same_header_twice_with_one_value_counts_once(tmp_path):
    spec = one(tmp_path, {"url": "http://h", "headers": {"X-A": "1", "x-a": "1"}})
    assert (spec.disabled_reason, spec.headers) == (None, {"X-A": "1"})


# --- names -------------------------------------------------------------------------------------------

NAMES = {
    "com.example/example-mcp-server": "com.example-example-mcp-server",
    "Example MCP Server": "Example-MCP-Server",
    "@scope/server": "scope-server",
    "a+b": "a-b",
    "café": "cafe",
    "x:y": "x-y",
    " plain ": "plain-1",
    "plain": "plain",
    "日本語": None,
    "Сервер": None,
    "🚀": None,
    "..": None,
    "": None,
    "x" * 300 + "!": None,
}


def name_of(spec: ServerSpec) -> str:
    return spec.name if spec.title is None else spec.title


def test_every_name_has_an_address_of_its_own(tmp_path):
    configuration = load(tmp_path, {"mcpServers": {name: {"command": "x"} for name in NAMES}})
    assert len(configuration.servers) == len(NAMES)
    assert {name_of(spec) for spec in configuration.servers.values()} == set(NAMES)
    for address, spec in configuration.servers.items():
        assert address == spec.name
        assert is_address(address), address
        assert len(address) <= MAX_ADDRESS
        expected = NAMES[name_of(spec)]
        assert expected in (None, address) or (spec.title == " plain " and address.startswith("plain-")), (
            address
        )
    reached = [problem for problem in configuration.problems if "reached as" in problem.reason]
    assert {problem.severity for problem in configuration.problems} == {"notice"}
    assert len(reached) >= len(NAMES) - 1


def test_a_name_keeps_its_address_when_others_come_and_an_exact_name_comes_first(tmp_path):
    alone = load(tmp_path, {"mcpServers": {"a b": {"command": "1"}}}).servers
    assert list(alone) == ["a-b"]
    servers = load(
        tmp_path, {"mcpServers": {"a b": {"command": "1"}, "a+b": {"command": "2"}, "a-b": {"command": "3"}}}
    ).servers
    assert servers["a-b"].command == "3"
    assert {spec.title: name for name, spec in servers.items() if spec.title is not None} == {
        "a b": address_of("a b", distinct=True),
        "a+b": address_of("a+b", distinct=True),
    }


def test_one_name_twice_is_shadowed_and_gets_no_second_address(tmp_path):
    document = {"mcpServers": {"a b": {"command": "x"}}, "servers": {"a b": {"command": "y"}}}
    configuration = load(tmp_path, document)
    assert [spec.command for spec in configuration.servers.values()] == ["x"]
    assert "shadowed" in configuration.problems[-1].reason


def test_a_group_names_its_members_as_they_are_written(tmp_path):
    servers = {
        "日本語": {"command": "x"},
        "a b": {"command": "y"},
        "g": {"group": ["日本語", "a b", "nosuch one"]},
    }
    configuration = load(tmp_path, {"mcpServers": servers})
    assert configuration.servers["g"].group == (address_of("日本語"), "a-b", "nosuch one")
    assert "'nosuch one' is not configured" in configuration.problems[-1].reason


@given(st.lists(st.text(max_size=12) | st.sampled_from(sorted(NAMES)), unique=True, max_size=6))
def test_addresses_are_unique_and_usable_whatever_the_names(tmp_path_factory, names):
    entries = {name: {"command": "x"} for name in names}
    servers = load_configuration(entries, [], [], {}).servers
    assert len(servers) == len(names)
    assert all(is_address(address) for address in servers)


# --- files -------------------------------------------------------------------------------------------


def test_the_files_of_other_jupyter_extensions_are_read_after_our_own(tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"a": {"command": "own"}}}))
    for name in ("mcp_servers.json", "mcp_settings.json"):
        entries = [
            {"name": "a", "command": name},
            {"name": name, "type": "http", "url": "http://h", "headers": []},
        ]
        (tmp_path / name).write_text(json.dumps({"mcp_servers": entries}))
    configuration = load_configuration({}, [], [str(tmp_path)], {})
    assert FILES[0] == "mcp.json"
    assert configuration.servers["a"].command == "own"
    assert {"mcp_servers.json", "mcp_settings.json"} <= set(configuration.servers)
    assert {problem.severity for problem in configuration.problems} == {"notice"}, "the shadowed ones"


YAML = {
    "goose.yaml": """
GOOSE_MODE: auto
extensions:
  developer: {type: builtin, name: developer, enabled: true, bundled: true, timeout: 300}
  files:
    type: stdio
    cmd: npx
    args: [-y, "@x/files", -p, 22:22, yes]
    envs: {LEVEL: "3"}
    env_keys: [FILES_TOKEN]
    enabled: true
    timeout: 300
  far: {type: streamable_http, uri: "http://far.example/mcp", enabled: true, headers: {X: y}}
""",
    "config.yaml": """
name: Local
version: 1.0.0
schema: v1
base: &base {command: uvx}
mcpServers:
  - <<: *base
    name: files
    args:
      - -y
      - "@x/files"
      - -p
      - 22:22
      - yes
    env: {LEVEL: "3"}
  - {name: far, type: streamable-http, url: http://far.example/mcp}
""",
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_files_of_other_programs_are_read_as_they_read_them(tmp_path, name):
    (tmp_path / name).write_text(YAML[name])
    loaded = load_configuration({}, [str(tmp_path / name)], [], {})
    assert {problem.reason for problem in loaded.problems if problem.severity == "error"} == set()
    assert set(loaded.servers) == {"files", "far"}
    files = loaded.servers["files"]
    assert files.args == ("-y", "@x/files", "-p", "22:22", "yes")
    assert files.env["LEVEL"] == "3"
    assert loaded.servers["far"].url == "http://far.example/mcp"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mcpServers: [", "line 1"),
        ("mcpServers:\n\tx: y", "line 2"),
        ("a: !!python/object:os.system {}", "python"),
        ("a: &a [x]\nb: [" + ", ".join(["*a"] * 200) + "]", "aliases"),
    ],
)
def test_yaml_that_cannot_be_read_says_where(tmp_path, text, words):
    (tmp_path / "config.yaml").write_text(text)
    loaded = load_configuration({}, [str(tmp_path / "config.yaml")], [], {})
    assert words in loaded.problems[0].reason


HERE = "https://x.example/mcp"


@pytest.mark.parametrize(
    ("document", "attribute", "means"),
    [
        ({"mcpServers": {"s": {"command": "x", "env": ["A=b=c", "B="]}}}, "env", {"A": "b=c", "B": ""}),
        ({"mcpServers": {"s": {"url": HERE, "headers": ["A: b", "C:d"]}}}, "headers", {"A": "b", "C": "d"}),
        (
            {"mcpServers": {"s": {"url": HERE, "headers": [{"key": "A", "value": "b"}]}}},
            "headers",
            {"A": "b"},
        ),
        ({"mcpServers": {"s": {"url": HERE, "requestInit": {"headers": {"A": "b"}}}}}, "headers", {"A": "b"}),
        ({"mcpServers": {"s": {"url": HERE, "bearerToken": "t"}}}, "headers", {"Authorization": "Bearer t"}),
        ({"mcpServers": {"s": {"command": "x", "args": ["a", None]}}}, "args", ["a"]),
        ({"mcpServers": {"s": {"command": "x", "disabled": "False"}}}, "command", "x"),
        ({"mcpServers": {"s": {"command": "x", "active": True}}}, "command", "x"),
        ({"mcpServers": {"s": "x -y"}}, "args", ["-y"]),
        ({"mcpServers": {"s": HERE}}, "url", HERE),
        ({"mcp": {"servers": {"s": {"params": {"command": "x"}}}}}, "command", "x"),
        ({"mcpServers": {"s": {"command": "x", "environmentVariables": {"A": "b"}}}}, "env", {"A": "b"}),
        (
            {"mcpServers": {"s": {"url": HERE, "envHeaders": {"A": "B"}, "env": {"B": "v"}}}},
            "headers",
            {"A": "v"},
        ),
        ({"mcpServers": {"s": {"http": {"url": HERE, "headers": {"A": "b"}}}}}, "headers", {"A": "b"}),
        ({"mcpServers": {"s": {"sse": {"url": HERE}}}}, "kind", "sse"),
        (
            {"mcp_servers": [{"type": "url", "name": "s", "url": HERE, "authorization_token": "t"}]},
            "url",
            HERE,
        ),
        ({"mcpServers": {"s": {"type": "mcp", "server_label": "s", "server_url": HERE}}}, "url", HERE),
        ({"augment.advanced": {"mcpServers": [{"name": "s", "command": "x"}]}}, "command", "x"),
        ({"cody.mcpServers": {"s": {"command": "x"}}}, "command", "x"),
    ],
)
def test_what_means_one_thing_is_read_whatever_its_form(tmp_path, document, attribute, means):
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps(document))
    configuration = load_configuration({}, [str(path)], [], {}, root_dir=None)
    (spec,) = configuration.servers.values()
    assert spec.disabled_reason is None
    assert plain(getattr(spec, attribute)) == means
    assert {problem.severity for problem in configuration.problems} <= {"notice"}


@pytest.mark.parametrize(
    ("entry", "key", "word"),
    [
        ({"apiKey": "k"}, "apiKey", "headers"),
        ({"queryParams": {}}, "queryParams", "url"),
        ({"verifySsl": False}, "verifySsl", "ca_file"),
        ({"requestOptions": {"verifySsl": False}}, "requestOptions.verifySsl", "ca_file"),
        ({"oauthScopes": ["a"]}, "oauthScopes", "oauth"),
        ({"read_timeout_seconds": 3}, "read_timeout_seconds", "read_timeout"),
        ({"headers": {"A": "Bearer $(cat t)"}}, "headers.A", "literally"),
        ({"headers": {"A": "{file:~/t}"}}, "headers.A", "left out"),
        ({"headers": {"A": "{{LIBRECHAT_USER_ID}}"}}, "headers.A", "left out"),
        ({"url": f"{HERE}/{{{{LIBRECHAT_USER_ID}}}}"}, "url", "write the value"),
        ({"command": "x", "args": ["--host=$SENTRY_HOST"]}, "args[0]", "${NAME}"),
        ({"tools": {"a": {"enabled": False}}}, "tools", "deny"),
        ({"env": {"A": "%APPDATA%"}}, "env.A", "literally"),
        ({"target": "@scope/server /tmp"}, "target", '"command"'),
    ],
)
def test_what_another_program_does_is_named_where_it_is_not_done_here(entry, key, word):
    notices = dict(translate({"url": HERE, **entry}).notices)
    assert word in notices[key]


def test_settings_of_the_gateway_beside_mcp_ws_are_read_as_if_in_it(tmp_path):
    beside = {
        "sharing": "always",
        "prewarm": 1,
        "idle_timeout": 2.5,
        "max_message_bytes": 4096,
        "bridge": False,
    }
    entry = {"command": "x", **beside, "reconnect_timeout": 5, "ca_file": "/c", "authorize": "read contents"}
    loaded = load(tmp_path, {"mcpServers": {"s": {**entry, "mcp_ws": {"sharing": "never", "prewarm": 1}}}})
    spec = loaded.servers["s"]
    assert (spec.sharing, spec.prewarm, spec.idle_timeout, spec.bridge) == ("never", 1, 2.5, False)
    assert spec.limits == {"max_message_bytes": 4096, "reconnect_timeout": 5}
    assert (spec.ca_file, spec.authorize) == ("/c", ("read contents",))
    notices = {problem.key.rpartition(".")[2]: problem.reason for problem in loaded.problems}
    assert notices["bridge"] == 'read as "mcp_ws": {"bridge": …}; write it there'
    assert notices["sharing"] == 'ignored, because "mcp_ws.sharing" is set'
    assert {problem.severity for problem in loaded.problems} == {"notice"}
    assert set(notices) == {*beside, "reconnect_timeout", "ca_file", "authorize"} - {"prewarm"}


def test_a_setting_beside_mcp_ws_of_another_type_is_not_the_gateways(tmp_path):
    loaded = load(tmp_path, {"mcpServers": {"s": {"command": "x", "bridge": {"a": 1}, "sharing": None}}})
    assert loaded.servers["s"].bridge
    assert {problem.reason for problem in loaded.problems} == {'ignored here; write it under "mcp_ws"'}


def test_variables_without_braces_are_read_where_they_have_one_meaning():
    entry = {
        "command": "sh",
        "args": ["-c", "$RUN"],
        "env": {"A": "$MY_KEY", "B": "COPILOT_MCP_B", "C": "a$b"},
    }
    translated = translate({**entry, "stderr": "inherit", "tools": {"open": {"approval_mode": "approve"}}})
    assert translated.entry["env"] == {"A": "${env:MY_KEY}", "B": "${env:COPILOT_MCP_B}", "C": "a$b"}
    assert {notice.key for notice in translated.notices} == {"env.A", "env.B"}


def test_a_variable_that_is_unknown_in_both_forms_gets_one_notice(tmp_path):
    loaded = load(tmp_path, {"mcpServers": {"s": {"url": HERE, "headers": {"X": "${file:/etc/hostname}"}}}})
    assert only_problem(loaded).reason.startswith("left out: ")
    assert loaded.servers["s"].headers == {}


def test_what_a_file_forbids_outside_its_entries_is_forbidden_here(tmp_path):
    server = {"command": "x"}
    gemini = {"mcp": {"allowed": ["a", "b"], "excluded": ["b"]}, "mcpServers": dict.fromkeys("abc", server)}
    loaded = load(tmp_path, gemini)
    assert [spec.name for spec in loaded.servers.values() if not spec.disabled_reason] == ["a"]
    assert {"mcp.excluded", "mcp.allowed"} <= {problem.key for problem in loaded.problems}
    qwen = {
        "mcp": {"allowed": ["a?", "[b"], "excluded": ["*x"]},
        "mcpServers": dict.fromkeys(["a1", "ax", "[b", "b"], server),
    }
    loaded = load(tmp_path, qwen)
    assert {spec.title or spec.name for spec in loaded.servers.values() if not spec.disabled_reason} == {
        "a1",
        "[b",
    }
    tools = {"my-mcp*": False, "b_rm": False, "c_*": True, "*_x": False}
    switch = {"off": {"enabled": False}}
    loaded = load(tmp_path, {"mcp": {"my-mcp-1": server, "b": server, **switch}, "tools": tools})
    assert loaded.servers["my-mcp-1"].disabled_reason
    assert loaded.servers["b"].tools.deny == ("rm",)
    assert {"mcp.off", "tools.my-mcp*", "tools.b_rm", "tools.*_x"} <= {
        problem.key for problem in loaded.problems
    }


def test_an_entry_of_an_extension_of_zed_says_so(tmp_path):
    entry = {"source": "extension", "enabled": True, "settings": {}}
    loaded = load(tmp_path, {"context_servers": {"s": entry}})
    assert any("extension of Zed" in problem.reason for problem in loaded.problems)


def test_a_derived_address_that_moves_is_reported_once(tmp_path):
    loaded = load(tmp_path, {"mcpServers": {"a b/c": {"command": "x"}, "a-b-c": {"command": "x"}}})
    assert only_problem(loaded).reason.startswith("'a b/c' is reached as 'a-b-c-")


# --- descriptions of servers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "word"),
    [
        ({"registryType": "mcpb", "identifier": "https://h.example/s.mcpb"}, "manifest.json in server_files"),
        ({"registryType": "cargo", "identifier": "p"}, "'cargo'"),
        ({"registryType": "npm", "identifier": "p", "registryBaseUrl": "https://npm.example"}, "npm.example"),
        (
            {"registryType": "npm", "identifier": "p", "transport": {"type": "sse", "url": "http://h"}},
            '"url"',
        ),
        ({"registryType": "npm"}, '"identifier"'),
        ({}, "''"),
    ],
)
def test_a_package_that_cannot_be_run_says_what_to_do_and_costs_no_other_way(tmp_path, package, word):
    remote = {"type": "streamable-http", "url": HERE}
    alone = load(tmp_path, {"name": "s", "packages": [package]})
    assert word in next(problem.reason for problem in alone.problems if problem.key == "s.packages[0]")
    assert alone.servers["s"].disabled_reason
    beside = load(tmp_path, {"name": "s", "packages": [package], "remotes": [remote]})
    assert (beside.servers["s"].url, beside.servers["s"].disabled_reason) == (HERE, None)
    assert {problem.severity for problem in beside.problems} == {"notice"}


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"name": "s", "server": {"type": "node", "entry_point": "s.js"}}, '"mcp_config"'),
        ({"name": "p", "mcpServers": "./.mcp.json"}, "server_files"),
    ],
)
def test_a_description_that_says_too_little_says_what_to_write(tmp_path, document, word):
    assert any(word in problem.reason for problem in load(tmp_path, document).problems)


def test_a_bundle_that_is_still_packed_says_to_unpack_it(tmp_path):
    bundle = tmp_path / "s.mcpb"
    bundle.write_bytes(b"PK\x03\x04" + bytes(30))
    problem = only_problem(load_configuration({}, [str(bundle)], [], {}))
    assert "manifest.json" in problem.reason


def test_the_folder_of_a_plugin_is_the_one_around_its_description(tmp_path):
    (tmp_path / ".claude-plugin").mkdir()
    file = tmp_path / ".claude-plugin" / "plugin.json"
    file.write_text(json.dumps({"mcpServers": {"s": {"command": "${CLAUDE_PLUGIN_ROOT}/s"}}}))
    assert load_configuration({}, [str(file)], [], {}).servers["s"].command == f"{tmp_path}/s"


DESCRIPTION = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["npm", "oci", "-y", "{a}", "https://h", "a/b:1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "packages",
                    "remotes",
                    "server",
                    "mcp_config",
                    "entry_point",
                    "registryType",
                    "identifier",
                    "version",
                    "transport",
                    "url",
                    "type",
                    "headers",
                    "runtimeHint",
                    "runtimeArguments",
                    "packageArguments",
                    "environmentVariables",
                    "name",
                    "value",
                    "default",
                    "isRequired",
                    "variables",
                    "a",
                    "command",
                    "args",
                    "env",
                    "platform_overrides",
                    "user_config",
                    "registryBaseUrl",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(DESCRIPTION)
def test_no_description_stops_the_reader(tmp_path_factory, description):
    load_configuration({"s": description}, [], [], {})
    if isinstance(description, dict):
        once = translate(description).entry
        assert translate(once).entry == once
