"""Every mistake names file, key and reason; one bad server never takes the others down."""

from __future__ import annotations

import json
import os
import re
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_ws_ide.config import load as config

KEYS = [
    "a",
    "b",
    "mcpServers",
    "servers",
    "mcp_servers",
    "inputs",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "type",
    "transport",
    "python",
    "name",
    "disabled",
    "enabled",
    "mcp_ws",
    "sharing",
    "prewarm",
    "idle_timeout",
    "max_message_bytes",
    "value",
    "envFile",
]
TEXTS = [
    "x",
    "stdio",
    "http",
    "sse",
    "ws",
    "never",
    "http://h",
    "http://[",
    "unix:///s",
    "ftp://h",
    "${A}",
    "${env:B}",
    "${",
    "${input:k}",
    "${C:-d}",
    "${${",
    "\x00",
    "\ud800",
    "..",
    "//",
    "/*",
    "*/",
    "$$",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-1, 10**400)
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=8)
)


def objects(of: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), of, max_size=5)


JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=20)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "command": SCALARS,
        "url": SCALARS,
        "type": SCALARS,
        "args": JSON,
        "env": JSON,
        "disabled": SCALARS,
        "mcp_ws": JSON
        | st.dictionaries(
            st.sampled_from(["sharing", "prewarm", "idle_timeout", "max_message_bytes"]),
            st.lists(SCALARS, max_size=1) | SCALARS,
            min_size=1,
            max_size=2,
        ),
    },
)


def load(tmp_path: Path, document: object, **environ: str) -> config.Configuration:
    path = tmp_path / "mcp.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(text.encode(errors="surrogatepass"))
    return config.load({}, [str(path)], [], environ)


def one(tmp_path: Path, entry: object, **environ: str) -> config.ServerSpec:
    return load(tmp_path, {"mcpServers": {"a": entry}}, **environ).servers["a"]


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
        ({"mcpServers": {"a": {"url": "https://"}}}, "mcpServers.a.url", "needs a host"),
        ({"mcpServers": {"a": {"url": "https://x:99999"}}}, "mcpServers.a.url", "valid URL"),
        ({"mcpServers": {"a": {"url": "http://x/a b"}}}, "mcpServers.a.url", "needs a host"),
        ({"mcpServers": {"a": {"url": "unix://run/s"}}}, "mcpServers.a.url", "three slashes"),
        ({"mcpServers": {"a": {"python": "os.system"}}}, "mcpServers.a.python", "module:object"),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"A\r\nB": "x"}}}},
            "mcpServers.a.headers.A\\r\\nB",
            "no header name",
        ),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"Mcp-Session-Id": "x"}}}},
            "mcpServers.a.headers.Mcp-Session-Id",
            "transport sets it",
        ),
        (
            {"mcpServers": {"a": {"url": "ws://x", "headers": {"Sec-WebSocket-Protocol": "x"}}}},
            "mcpServers.a.headers.Sec-WebSocket-Protocol",
            "handshake",
        ),
        (
            {
                "mcpServers": {
                    "a": {"url": "http://x", "headers": {"Authorization": "x", "authorization": "y"}}
                }
            },
            "mcpServers.a.headers.authorization",
            "twice",
        ),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"K": "a\nb"}}}},
            "mcpServers.a.headers.K",
            "one line",
        ),
        (
            {"mcpServers": {"a": {"url": "http://x", "mcp_ws": {"connect_timeout": 0}}}},
            "mcpServers.a.mcp_ws.connect_timeout",
            "0.1 or more",
        ),
        *[
            ({"mcpServers": {"a": {"url": "https://x", "mcp_ws": {"oauth": value}, **more}}}, key, word)
            for value, more, key, word in [
                (1, {}, "mcpServers.a.mcp_ws.oauth", "true or an object"),
                ({"secret": "x"}, {}, "mcpServers.a.mcp_ws.oauth", "client_id, client_secret, scope"),
                ({"client_id": ""}, {}, "mcpServers.a.mcp_ws.oauth.client_id", "not empty"),
                ({"scope": 'a" b'}, {}, "mcpServers.a.mcp_ws.oauth.scope", "quotes"),
                ({"client_secret": "x"}, {}, "mcpServers.a.mcp_ws.oauth.client_secret", "client_id"),
                (True, {"headers": {"authorization": "x"}}, "mcpServers.a.mcp_ws.oauth", "header"),
                (True, {"url": "http://x"}, "mcpServers.a.mcp_ws.oauth", "https"),
                (True, {"url": "wss://x"}, "mcpServers.a.mcp_ws.oauth", "http and sse"),
            ]
        ],
        (
            {"mcpServers": {"a": {"url": "http://x", "mcp_ws": {"ca_file": 5}}}},
            "mcpServers.a.ca_file",
            "text",
        ),
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
        *(
            (
                '{"mcpServers": {"a": {"command": "x", "mcp_ws": {"' + setting + '": ' + value + "}}}}",
                f"mcpServers.a.mcp_ws.{setting}",
                "number",
            )
            for setting, value in [
                ("prewarm", "1.5"),
                ("prewarm", "Infinity"),
                ("prewarm", "NaN"),
                ("prewarm", "true"),
                ("idle_timeout", "1e999"),
                ("idle_timeout", "9" * 400),
                ("idle_timeout", "null"),
                ("max_message_bytes", "1023"),
            ]
        ),
        (
            {"mcpServers": {"a": {"command": "x", "mcp_ws": {"sharing": []}}}},
            "mcpServers.a.mcp_ws.sharing",
            "one of",
        ),
        ({"mcpServers": {"a": {"command": "x", "mcp_ws": []}}}, "mcpServers.a.mcp_ws", "object"),
        ({"mcpServers": {"a": {"command": "\ud800"}}}, "mcpServers.a.command", "surrogate"),
        ({"mcpServers": {"a": {"command": "x", "args": ["\0"]}}}, "mcpServers.a.args[0]", "NUL"),
        ({"mcpServers": {"a": {"command": "x", "env": {"A=B": "1"}}}}, "mcpServers.a.env.A=B", "name"),
        ({"mcpServers": {"a": {"command": "x", "env": [{"value": "1"}]}}}, "mcpServers.a.env", '"name"'),
        ({"mcpServers": {"a": {"command": "x", "env": "K=v"}}}, "mcpServers.a.env", "object"),
        ({"mcpServers": {"a": {"command": "x", "disabled": "no"}}}, "mcpServers.a.disabled", "true or false"),
        ({"mcpServers": {"a": {"command": "x", "type": "pipe"}}}, "mcpServers.a.type", "'pipe' is unknown"),
        ({"mcpServers": {"a": {"command": "x", "type": "http"}}}, "mcpServers.a.type", "contradicts"),
        (
            {"mcpServers": {"a": {"url": "ws://x", "transport": "sse"}}},
            "mcpServers.a.transport",
            "contradicts",
        ),
        ({"mcpServers": {"a": {"url": "http://["}}}, "mcpServers.a.url", "valid URL"),
        ({"mcpServers": {"a": {"url": 5}}}, "mcpServers.a.url", "text"),
        (
            {"mcpServers": {"a": {"command": "x", "envFile": ".env"}}},
            "mcpServers.a.envFile",
            'under "env"',
        ),
        ({"mcpServers": {"a": {"command": "x", "colour": 1}}}, "mcpServers.a.colour", "unknown key"),
        ("[" * 100_000, "", "nested"),
        ("9" * 5000, "", "digits"),
        ("", "", "line 1, column 1"),
        ({"mcpServers": {"a": {"command": "${MISSING}"}}}, "mcpServers.a", "MISSING"),
        ({"mcpServers": {"a": {"command": "${EMPTY:-}"}}}, "mcpServers.a", "empty"),
        ({"mcpServers": {"a": {"command": "${workspaceFolder}/x"}}}, "mcpServers.a", "VS Code"),
        ({"mcpServers": {"a": {"command": "${command:pick}"}}}, "mcpServers.a", "no environment variable"),
        ({"mcpServers": {"a": {"command": "${A:-${B}}"}}}, "mcpServers.a", "inside a default"),
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


def examples() -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "guides" / "configure-servers.md").read_text(
        encoding="utf-8"
    )
    return re.findall(r"```json\n(.*?)```", text, re.DOTALL)


def test_every_example_of_the_documentation_works(tmp_path):
    found = [
        load(tmp_path, example, HOME="/h", SEARCH_TOKEN="s", HUB_TOKEN="h", FAR_SECRET="f")
        for example in examples()
    ]
    assert [list(configuration.servers) for configuration in found] == [
        ["git", "search"],
        ["time"],
        ["notes"],
        ["desk"],
        ["search", "old", "lab", "local", "mine"],
        ["far"],
    ]
    assert [spec.kind for spec in found[4].servers.values()] == ["http", "sse", "ws", "unix", "python"]
    desk = found.pop(3)
    assert [problem.key for problem in desk.problems] == ["mcpServers.desk.group"], (
        "its members are elsewhere"
    )
    assert all(configuration.problems == [] for configuration in found)
    assert dict(found[0].servers["search"].env) == {"API_KEY": "none"}


def test_one_bad_server_leaves_the_others_alone(tmp_path):
    configuration = load(tmp_path, {"mcpServers": {"bad": {"command": 5}, "good": {"command": "x"}}})
    assert configuration.servers["good"].disabled_reason is None
    assert "text" in (configuration.servers["bad"].disabled_reason or "")


def test_files_that_cannot_be_read_are_said(tmp_path):
    binary, huge, pipe = tmp_path / "binary.json", tmp_path / "huge.json", tmp_path / "pipe.json"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b" " * (config.MAX_FILE_BYTES + 1))
    os.mkfifo(pipe)
    files = [str(binary), str(huge), str(pipe), str(tmp_path), str(tmp_path / "none.json"), "a\0b"]
    configuration = config.load({}, files, [str(tmp_path), str(binary)], {})
    assert [problem.source for problem in configuration.problems] == files
    for problem, word in zip(
        configuration.problems,
        ["not UTF-8 at byte 0", "larger than", "regular file", "regular file", "does not exist", "null"],
        strict=True,
    ):
        assert word in problem.reason


@pytest.mark.parametrize(
    "text", ['{"mcpServers": {\n  "a": {"command": "x"', "", "\xff", "x" * (config.MAX_FILE_BYTES + 1)]
)
def test_the_last_good_version_of_a_file_stands_in_for_one_that_cannot_be_read(tmp_path, text):
    documents: dict = {}
    file = tmp_path / "mcp.json"

    def read(text: str) -> config.Configuration:
        file.write_text(text, encoding="latin-1")
        return config.load({}, [], [str(tmp_path)], {}, (), lambda spec, entry: needed, documents)

    needed = None
    good = read('{"mcpServers": {"a": {"command": "x"}}}')
    bad = read(text)
    assert bad.servers == good.servers
    assert [(p.source, p.severity) for p in bad.problems] == [(str(file), "error")]
    assert bad.unread == bad.problems
    assert "last good version" in bad.problems[0].reason
    if text.startswith("{"):
        assert "line 2, column 23" in bad.problems[0].reason
    needed = "digest"
    assert read(text).servers["a"].disabled_reason == config.AWAITS_CONSENT, "it is asked for each time"
    needed = None
    assert not read("{}").servers, "it is well formed"
    assert not read(text).servers, "the good version before the last does not come back"
    read('{"mcpServers": {"a": {"command": "x"}}}')
    file.unlink()
    assert not config.load({}, [], [str(tmp_path)], {}, documents=documents).servers
    assert not read(text).servers, "a file that was gone is not remembered"


def test_members_of_a_group_that_nobody_configured_are_said(tmp_path):
    groups = {"g": {"group": ["nosuch", "ok"]}, "off": {"group": ["nosuch"], "disabled": True}}
    configuration = load(tmp_path, {"mcpServers": {**groups, "ok": {"command": "x"}}})
    problem = configuration.problems[-1]
    assert (problem.key, problem.severity) == ("mcpServers.g.group", "error")
    assert "there is no server 'nosuch'" in problem.reason
    assert configuration.servers["g"].disabled_reason is None
    assert not any("nosuch" in p.reason for p in configuration.problems[:-1])


def test_a_file_of_exactly_the_greatest_size_is_read(tmp_path):
    text = '{"mcpServers": {"a": {"command": "x"}}}'
    assert "a" in load(tmp_path, text + " " * (config.MAX_FILE_BYTES - len(text))).servers


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "mcp.json").write_bytes(b'\xef\xbb\xbf{"mcpServers": {"a": {"command": "x"}}}')
    assert config.load({}, [], [str(tmp_path)], {}).problems == []


def test_comments_and_trailing_commas_are_accepted(tmp_path):
    configuration = load(
        tmp_path,
        r"""// as VS Code writes it
        {"servers": { /* one
            of them */
            "a": {"command": "x", "args": ["http://h/*y*/", "a,]", "\\", "//"],},
        },}""",
    )
    assert configuration.problems == []
    assert configuration.servers["a"].args == ("http://h/*y*/", "a,]", "\\", "//")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{ // one\n /* two\n */ "a": oops}', "line 3, column 10"),
        ('{"mcpServers": {}} /* no end', "line 1, column 20"),
        ('{"mcpServers": {}} /*/', "line 1, column 20"),
        ('{"mcpServers": {,}}', "line 1, column 17"),
    ],
)
def test_a_mistake_in_a_file_with_comments_is_placed_where_it_is(tmp_path, text, place):
    assert place in only_problem(load(tmp_path, text)).reason


@pytest.mark.parametrize("unit", ["/*", '\\"', '"', ",", ", ", "${", "//", "{"])
def test_the_longest_file_of_anything_is_refused_quickly(tmp_path, unit):
    started = time.process_time()
    load(tmp_path, unit * (config.MAX_FILE_BYTES // len(unit)))
    load(tmp_path, json.dumps({"mcpServers": {"a": {"command": unit * 200_000}}}))
    assert time.process_time() - started < 5.0


def test_what_a_file_says_reaches_a_log_without_control_characters(tmp_path):
    problem = only_problem(load(tmp_path, {"mcpServers": {"\x1b[2J\nx": {"command": "x"}}}))
    assert str(problem).isprintable()
    assert "\\x1b[2J\\nx" in problem.key
    assert len(str(only_problem(load(tmp_path, {"mcpServers": {"é" * 9999: {}}})))) < 2000


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"command": "x"}, "stdio"),
        ({"command": "x", "type": "stdio"}, "stdio"),
        ({"url": "https://h"}, "http"),
        ({"url": "http://h", "type": "streamable-http"}, "http"),
        ({"url": "http://h", "type": "sse"}, "sse"),
        ({"url": "http://h", "transport": "sse"}, "sse"),
        ({"url": "wss://h"}, "ws"),
        ({"url": "unix:///run/s"}, "unix"),
        ({"url": "${U}"}, "ws"),
        ({"url": "${NOT_SET}", "type": "sse"}, "sse"),
        ({"python": "m:o"}, "python"),
    ],
)
def test_the_kind_follows_from_what_is_given(tmp_path, entry, kind):
    spec = one(tmp_path, entry, U="ws://h")
    assert spec.kind == kind
    assert (spec.disabled_reason is None) == (entry.get("url") != "${NOT_SET}")


def test_a_remote_server_of_jupyter_ai_keeps_its_headers(tmp_path):
    entry = {"name": "a", "type": "http", "url": "http://h", "headers": [{"name": "K", "value": "${V}"}]}
    configuration = load(tmp_path, {"mcp_servers": [entry]}, V="v")
    assert configuration.problems == []
    assert configuration.servers["a"].kind == "http"
    assert dict(configuration.servers["a"].headers) == {"K": "v"}


@pytest.mark.parametrize("switch", [{"disabled": True}, {"enabled": False}])
def test_a_server_switched_off_on_purpose_is_a_notice(tmp_path, switch):
    problem = only_problem(load(tmp_path, {"mcpServers": {"a": {"command": "${MISSING}", **switch}}}))
    assert (problem.severity, problem.reason.split(":")[0]) == ("notice", "disabled")


def test_our_own_settings_are_taken_over(tmp_path):
    ours = {"idle_timeout": 0.5, "max_message_bytes": 2048, "sharing": "auto", "bridge": True, "prewarm": 0}
    configuration = load(tmp_path, {"mcpServers": {"a": {"command": "x", "mcp_ws": ours}}})
    assert configuration.problems == []
    spec = configuration.servers["a"]
    assert (spec.idle_timeout, dict(spec.limits)) == (0.5, {"max_message_bytes": 2048})


def test_the_credentials_of_an_oauth_client_may_be_variables(tmp_path):
    oauth = {"client_id": "me", "client_secret": "${SECRET}"}
    entry = {"url": "https://x", "mcp_ws": {"oauth": oauth}}
    spec = one(tmp_path, entry, SECRET="s3cret")
    assert spec.oauth == {"client_id": "me", "client_secret": "s3cret"}
    assert "s3cret" not in json.dumps(spec.censored())
    assert "SECRET" in (one(tmp_path, entry).disabled_reason or "")
    assert one(tmp_path, {"url": "https://x", "mcp_ws": {"oauth": True}}).oauth == {}
    assert one(tmp_path, {"url": "https://x", "mcp_ws": {"oauth": False}}).oauth is None


def test_a_name_twice_in_the_lists_of_one_file_is_shadowed(tmp_path):
    document = {"mcpServers": {"a": {"command": "x"}}, "mcp_servers": [{"name": "a", "command": "y"}]}
    configuration = load(tmp_path, document)
    problem = only_problem(configuration)
    assert (problem.key, problem.severity) == ("mcp_servers[0]", "notice")
    assert configuration.servers["a"].command == "x"


def test_the_trait_may_hold_any_python_object():
    trait = {
        1: {},
        "keys": {1: 2, "x": 3, "command": "x"},
        "env": {"command": "x", "env": {1: "2"}},
        "ours": {"command": "x", "mcp_ws": {1: 2}},
        "fine": {"command": "x"},
    }
    configuration = config.load(trait, [], [], {})
    assert configuration.servers["fine"].disabled_reason is None
    assert {problem.source for problem in configuration.problems} == {config.TRAIT}
    assert {problem.key for problem in configuration.problems} == {
        "1",
        "keys.1",
        "keys.x",
        "env.env.1",
        "ours.mcp_ws.1",
    }


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


SECRETS = [
    ["--token", "T0P"],
    ["--api-key=T0P"],
    ["--key", "T0P"],
    ["API_KEY=T0P"],
    ["https://u:T0P@host/"],
    ["https://u:p@T0P@host/"],
    ["--url=https://host/?x=1&access_token=T0P#f"],
    ["--header", "x-api-key: T0P"],
    ["--header=Authorization: Bearer T0P"],
    ["Basic T0P"],
    ['{"Authorization": "T0P"}'],
    ["ghp_T0P000000000"],
]


@pytest.mark.parametrize("args", SECRETS)
def test_what_is_shown_holds_no_secret(args):
    spec = config.ServerSpec(
        "a",
        "s",
        command="x",
        args=(*args, "plain"),
        url="https://u:T0P@host/?api_key=T0P",
        env={"KEY": "T0P"},
        headers={"Authorization": "T0P"},
    )
    shown = spec.censored()
    assert "T0P" not in json.dumps(shown)
    assert shown["args"][-1] == "plain"
    assert (shown["env"], shown["headers"]) == (["KEY"], ["Authorization"])


def test_what_a_variable_stands_for_is_not_shown(tmp_path):
    entry = {"command": "${env:V}/x", "args": ["--v", "${env:V}", "-x${V:-d}"], "cwd": "/${V}"}
    spec = one(tmp_path, entry, V="T0P-value")
    assert spec.args[1] == "T0P-value"
    shown = spec.censored()
    assert (shown["command"], shown["args"], shown["cwd"]) == (entry["command"], entry["args"], "/${V}")
    assert spec.unresolved("command not found: 'T0P-value/x'") == "command not found: '${env:V}/x'"
    for entry in ({"url": "https://x/${V}"}, {"python": "a:${V}"}, {"group": ["${V}"]}):
        assert "T0P" not in json.dumps(one(tmp_path, entry, V="T0P").censored())


@pytest.mark.parametrize(
    ("entry", "secret"),
    [
        ({"command": "x", "args": ["run", "${env:API_KEY}"]}, "T0P-value"),
        ({"command": "x", "args": ["db=${DB_PASSWORD:-none}/main"]}, "T0P-value"),
        ({"command": "x", "args": ["${env:HOST}:${env:API_KEY}@db"]}, "host:T0P-value"),
        ({"url": "https://x/${env:API_KEY}/mcp"}, "T0P-value"),
        ({"command": "x", "args": ["${env:HOST}"]}, None),
    ],
)
def test_what_a_variable_with_the_name_of_a_secret_stands_for_is_known_as_one(tmp_path, entry, secret):
    spec = one(tmp_path, entry, API_KEY="T0P-value", DB_PASSWORD="T0P-value", HOST="host")
    assert config.known_secrets([spec]) == ({secret} if secret else set())


@pytest.mark.parametrize(
    "arg",
    ["-y", "@scope/server", "--port=8080", "https://host:8080/p?q=1", "/home/me/monkey", "C:\\x", "a:b"],
)
def test_ordinary_arguments_are_shown_as_they_are(arg):
    assert config.censor_args([arg]) == [arg]


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
    path.with_suffix(".new").write_text("[]")
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(1, 1))  # an editor that replaces the file and keeps time and size
    assert watcher.changed()
    path.chmod(0o400)
    assert watcher.changed(), "it may be readable now"
    path.unlink()
    assert watcher.changed()
    assert not watcher.changed()


def test_a_home_directory_in_a_path_is_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    watcher = config.ConfigWatcher(["~/own.json", "a\0b"])
    (tmp_path / "own.json").write_text('{"mcpServers": {"a": {"command": "x"}}}')
    assert watcher.changed()
    assert "a" in config.load({}, ["~/own.json"], [], {}).servers


def test_equal_files_make_equal_specs_and_any_difference_shows(tmp_path):
    entry = {"command": "x", "env": {"K": "${V}"}}
    assert one(tmp_path, entry, V="1") == one(tmp_path, entry, V="1")
    assert one(tmp_path, entry, V="1") != one(tmp_path, entry, V="2")


@settings(max_examples=300, deadline=None)
@given(
    JSON
    | st.builds(lambda key, entry: {key: {"a": entry}}, st.sampled_from(["mcpServers", "servers"]), ENTRY)
)
@example("\ud800")
def test_no_content_raises(tmp_path_factory, document):
    configuration = load(tmp_path_factory.getbasetemp(), document, A="1", B="http://[")
    assert all(problem.reason for problem in configuration.problems)
    for name, spec in configuration.servers.items():
        assert spec.name == name
        reached = spec.command or spec.url or spec.target or spec.group
        assert spec.disabled_reason is not None or reached
        json.dumps(spec.censored())


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:/*\\\n $a1', max_size=60).map(str.encode))
def test_no_bytes_raise(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(data)
    assert isinstance(config.load({}, [str(path)], [], {}), config.Configuration)


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


async def test_half_a_saved_edit_takes_no_server_away(make_jupyter):
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
    assert f"cannot be used: {again.configuration}: not valid JSON" in words
    assert "line 2" in words


def servers_of_a_package() -> dict:
    return {"brought": {"command": "x"}, "a": {"command": "theirs"}, "bad": {}}


NOT_SERVERS = ["brought"]


def failing() -> dict:
    raise RuntimeError("no luck")


def leaving() -> dict:
    raise SystemExit(1)


def package(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", config.ENTRY_POINTS)


def test_installed_packages_bring_servers_and_hand_written_ones_win():
    found = config.load({"a": {"command": "mine"}}, [], [], {}, [package("servers_of_a_package")])
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
def test_a_package_that_fails_takes_nobody_down(name, words):
    found = config.load({"a": {"command": "x"}}, [], [], {}, [package(name)])
    assert list(found.servers) == ["a"]
    assert words in only_problem(found).reason


HOSTILE = [
    "a",
    "a://",
    "?",
    "?key",
    "?a",
    "bearer ",
    "token",
    "-",
    "auth://",
    "&token",
    "://x@",
    "pat",
    "key: ",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hiding_credentials_takes_time_in_proportion_to_the_text(unit):
    """The ends make that nothing matches where much could."""

    def seconds(length: int) -> float:
        began = time.process_time()
        for end in ("", " ", "=", ":"):
            config.censor_text(unit * (length // len(unit)) + end)
        return time.process_time() - began

    seconds(1000)
    assert seconds(16_000) < 60 * max(seconds(1000), 0.001)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://me:PLANTED@host/",
            "wss://PLANTED@host",
            "http://h/?a=b&token=PLANTED",
            "?x;sig-key=PLANTED",
        ),
        *(
            "http://h/?next=http://i/?token=PLANTED",
            "Bearer PLANTED",
            "x: basic  PLANTED",
            "note: token: PLANTED",
        ),
        *("X-Api-Key: PLANTED", '"secret" : "PLANTED"', "my.token: PLANTED", "sk-PLANTEDPLANTED"),
    ],
)
def test_credentials_are_hidden_by_what_stands_before_them(text):
    shown = config.censor_text(text)
    assert "PLANTED" not in shown
    assert config.HIDDEN in shown
