"""Every mistake in an entry names file, key and reason, and no content raises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_ws_ide.config.load import TRAIT
from mcp_ws_ide.config.load import load as load_configuration
from mcp_ws_ide.config.secrets import censored_spec
from tests.config.loading import ENTRY, JSON, load, one, only_problem


@pytest.mark.parametrize(
    ("document", "key", "word"),
    [
        ("{", "", "line 1"),
        ("[]", "", "object"),
        ({"other": {}}, "", "mcpServers"),
        ({"mcpServers": 5}, "mcpServers", "object"),
        ({"mcpServers": {"a/b": {"command": "x"}}}, "mcpServers.a/b", "reached as 'a-b'"),
        ({"mcpServers": {"..": {"command": "x"}}}, "mcpServers...", "reached as 'server-"),
        ({"mcpServers": {"a": 5}}, "mcpServers.a", "object"),
        ({"mcpServers": {"a": {}}}, "mcpServers.a.command", "exactly one"),
        ({"mcpServers": {"a": {"command": "x", "url": "http://x"}}}, "mcpServers.a.command", "exactly one"),
        ({"mcpServers": {"a": {"command": 5}}}, "mcpServers.a.command", "string"),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "mcpServers.a.args", "list"),
        ({"mcpServers": {"a": {"command": "x", "args": [[]]}}}, "mcpServers.a.args[0]", "string"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K": []}}}}, "mcpServers.a.env.K", "string"),
        ({"mcpServers": {"a": {"command": "x\0"}}}, "mcpServers.a.command", "NUL"),
        ({"mcpServers": {"a": {"url": "ftp://x"}}}, "mcpServers.a.url", "scheme"),
        ({"mcpServers": {"a": {"url": "https://"}}}, "mcpServers.a.url", "needs a host"),
        ({"mcpServers": {"a": {"url": "https://x:99999"}}}, "mcpServers.a.url", "valid URL"),
        ({"mcpServers": {"a": {"url": "http://x/a b"}}}, "mcpServers.a.url", "needs a host"),
        ({"mcpServers": {"a": {"url": "unix://run/s"}}}, "mcpServers.a.url", "three slashes"),
        ({"mcpServers": {"a": {"url": "unix:///run/s#mcp"}}}, "mcpServers.a.url", "unix:///tmp/s#/mcp"),
        ({"mcpServers": {"a": {"type": "unix", "url": "unix:///s#/m"}}}, "mcpServers.a.type", "contradicts"),
        ({"mcpServers": {"a": {"python": "os.system"}}}, "mcpServers.a.python", "module:object"),
        (
            {"mcpServers": {"a": {"command": "x", "mcp_ws": {"authorize": ["kernels"]}}}},
            "mcpServers.a.mcp_ws.authorize",
            "execute kernels",
        ),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"A\r\nB": "x"}}}},
            "mcpServers.a.headers.A\\r\\nB",
            "not a valid header name",
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
                (
                    {"secret": "x"},
                    {},
                    "mcpServers.a.mcp_ws.oauth",
                    "client_id, client_secret, grant, issuer, private_key_file, scope",
                ),
                ({"client_id": ""}, {}, "mcpServers.a.mcp_ws.oauth.client_id", "non-empty"),
                ({"scope": 'a" b'}, {}, "mcpServers.a.mcp_ws.oauth.scope", "quotes"),
                ({"client_secret": "x"}, {}, "mcpServers.a.mcp_ws.oauth.client_secret", "client_id"),
                (True, {"headers": {"authorization": "x"}}, "mcpServers.a.mcp_ws.oauth", "header"),
                (True, {"url": "http://x"}, "mcpServers.a.mcp_ws.oauth", "https"),
                (True, {"url": "wss://x"}, "mcpServers.a.mcp_ws.oauth", "http and sse"),
            ]
        ],
        (
            {"mcpServers": {"a": {"url": "http://x", "mcp_ws": {"ca_file": 5}}}},
            "mcpServers.a.mcp_ws.ca_file",
            "string",
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
        ({"mcpServers": {"a": {"url": 5}}}, "mcpServers.a.url", "string"),
        (
            {"mcpServers": {"a": {"command": "x", "envFile": ".env"}}},
            "mcpServers.a.envFile",
            'under "env"',
        ),
        ({"mcpServers": {"a": {"command": "x", "colour": 1}}}, "mcpServers.a.colour", "unknown key"),
        ("[" * 100_000, "", "nested"),
        ("9" * 5000, "", "must be a JSON object"),
        ("", "", "the file is empty"),
        ({"mcpServers": {"a": {"command": "${MISSING}"}}}, "mcpServers.a", "MISSING"),
        ({"mcpServers": {"a": {"command": "${EMPTY:-}"}}}, "mcpServers.a", "empty"),
        ({"mcpServers": {"a": {"command": "${fileDirname}/x"}}}, "mcpServers.a", "VS Code"),
        (
            {"mcpServers": {"a": {"command": "${command:pick}"}}},
            "mcpServers.a",
            "is not a variable of the gateway",
        ),
        ({"mcpServers": {"a": {"command": "${A:-${B}}"}}}, "mcpServers.a", "inside a default"),
        (
            {"mcpServers": {"a": {"command": "x", "args": ["${input:key}"]}}},
            "mcpServers.a.args[0]",
            "asks for a value, which the gateway cannot do",
        ),
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


GUIDES = Path(__file__).parents[2] / "docs" / "guides"


def examples() -> list[str]:
    """Every entry that the guides show, page by page."""
    pages = ("configure-servers", "groups", "remote-servers", "oauth")
    texts = [(GUIDES / f"{page}.md").read_text(encoding="utf-8") for page in pages]
    return [example for text in texts for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def test_every_example_of_the_documentation_works(tmp_path):
    found = [
        load(tmp_path, example, HOME="/h", SEARCH_TOKEN="s", HUB_TOKEN="h", FAR_SECRET="f")
        for example in examples()
    ]
    assert [list(configuration.servers) for configuration in found] == [
        ["git", "search"],
        ["time"],
        ["notes"],
        ["search"],
        ["desk"],
        ["search", "old", "lab", "local", "mine"],
        ["jupyter"],
        ["far"],
        ["far"],
        ["far"],
    ]
    assert [spec.kind for spec in found[5].servers.values()] == ["http", "sse", "ws", "unix", "python"]
    desk = found.pop(4)
    assert [problem.key for problem in desk.problems] == ["mcpServers.desk.group"], (
        "its members are elsewhere"
    )
    assert all(configuration.problems == [] for configuration in found)
    assert dict(found[0].servers["search"].env) == {"API_KEY": "none"}


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


def test_the_settings_of_mcp_ws_are_applied(tmp_path):
    ours = {"idle_timeout": 0.5, "max_message_bytes": 2048, "sharing": "auto", "bridge": True, "prewarm": 0}
    configuration = load(tmp_path, {"mcpServers": {"a": {"command": "x", "mcp_ws": ours}}})
    assert configuration.problems == []
    spec = configuration.servers["a"]
    assert (spec.idle_timeout, dict(spec.limits)) == (0.5, {"max_message_bytes": 2048})


@pytest.mark.parametrize(
    ("oauth", "key", "reason"),
    [
        ({"grant": "implicit"}, "grant", "must be one of authorization_code, client_credentials"),
        ({"grant": "client_credentials"}, "grant", 'needs "client_id": the client'),
        (
            {"grant": "client_credentials", "client_id": "me", "client_secret": "s"},
            "grant",
            'needs "issuer": the only server that gets its credential',
        ),
        (
            {"grant": "client_credentials", "client_id": "me", "issuer": "https://i"},
            "grant",
            'needs either "client_secret" or "private_key_file"',
        ),
        ({"private_key_file": "k"}, "private_key_file", 'needs "grant": "client_credentials"'),
    ],
)
def test_a_client_that_obtains_tokens_for_itself_names_its_credential_and_who_gets_it(
    tmp_path, oauth, key, reason
):
    entry = {"url": "https://x", "mcp_ws": {"oauth": oauth}}
    problem = only_problem(load(tmp_path, {"mcpServers": {"a": entry}}))
    assert (problem.key, problem.reason) == (f"mcpServers.a.mcp_ws.oauth.{key}", reason)


def test_a_group_may_show_names_without_prefixes(tmp_path):
    spec = one(tmp_path, {"group": ["b"], "mcp_ws": {"prefix": "never"}})
    assert spec.prefix == "never"
    for entry, reason in (
        ({"group": ["b"], "mcp_ws": {"prefix": False}}, "must be one of always, never"),
        ({"command": "x", "mcp_ws": {"prefix": "never"}}, "is only for groups; remove it"),
    ):
        configuration = load(tmp_path, {"mcpServers": {"a": entry}})
        assert [(each.key, each.reason) for each in configuration.problems] == [
            ("mcpServers.a.mcp_ws.prefix", reason)
        ]


def test_the_credentials_of_an_oauth_client_may_be_variables(tmp_path):
    oauth = {"client_id": "me", "client_secret": "${SECRET}"}
    entry = {"url": "https://x", "mcp_ws": {"oauth": oauth}}
    spec = one(tmp_path, entry, SECRET="s3cret")
    assert spec.oauth == {"client_id": "me", "client_secret": "s3cret"}
    assert "s3cret" not in json.dumps(censored_spec(spec))
    assert "SECRET" in (one(tmp_path, entry).disabled_reason or "")
    assert one(tmp_path, {"url": "https://x", "mcp_ws": {"oauth": True}}).oauth == {}
    assert one(tmp_path, {"url": "https://x", "mcp_ws": {"oauth": False}}).oauth is None


def test_the_trait_may_hold_any_python_object():
    trait = {
        1: {},
        "keys": {1: 2, "x": 3, "command": "x"},
        "env": {"command": "x", "env": {1: "2"}},
        "ours": {"command": "x", "mcp_ws": {1: 2}},
        "fine": {"command": "x"},
    }
    configuration = load_configuration(trait, [], [], {})
    assert configuration.servers["fine"].disabled_reason is None
    assert {problem.source for problem in configuration.problems} == {TRAIT}
    assert {problem.key for problem in configuration.problems} == {
        "1",
        "keys.1",
        "keys.x",
        "env.env.1",
        "ours.mcp_ws.1",
    }


@settings(max_examples=300)
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
        json.dumps(censored_spec(spec))


@pytest.mark.parametrize("url", ["localhost:8000/mcp", "npx -y some-server", "<https//>"])
def test_an_address_without_a_scheme_says_what_to_write(tmp_path, url):
    problem = only_problem(load(tmp_path, {"mcpServers": {"s": {"url": url}}}))
    assert "has no scheme; write http:// or https:// in front" in problem.reason
