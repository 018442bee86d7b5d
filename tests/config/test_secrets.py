"""No secret of a configuration is shown, and ordinary texts are shown as they are."""

from __future__ import annotations

import json

import pytest

from mcp_ws_ide.config.secrets import censor_args, censor_text, censored_spec, known_secrets
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.observe.tap_record import HIDDEN
from tests.config.loading import one
from tests.conftest import cpu_seconds

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
def test_the_shown_entry_contains_no_secret(args):
    spec = ServerSpec(
        "a",
        "s",
        command="x",
        args=(*args, "plain"),
        url="https://u:T0P@host/?api_key=T0P",
        env={"KEY": "T0P"},
        headers={"Authorization": "T0P"},
    )
    shown = censored_spec(spec)
    assert "T0P" not in json.dumps(shown)
    assert shown["args"][-1] == "plain"
    assert (shown["env"], shown["headers"]) == (["KEY"], ["Authorization"])


def test_the_value_of_a_variable_is_not_shown(tmp_path):
    entry = {"command": "${env:V}/x", "args": ["--v", "${env:V}", "-x${V:-d}"], "cwd": "/${V}"}
    spec = one(tmp_path, entry, V="T0P-value")
    assert spec.args[1] == "T0P-value"
    shown = censored_spec(spec)
    assert (shown["command"], shown["args"], shown["cwd"]) == (entry["command"], entry["args"], "/${V}")
    assert spec.unresolved("command not found: 'T0P-value/x'") == "command not found: '${env:V}/x'"
    for entry in ({"url": "https://x/${V}"}, {"python": "a:${V}"}, {"group": ["${V}"]}):
        assert "T0P" not in json.dumps(censored_spec(one(tmp_path, entry, V="T0P")))


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
def test_the_value_of_a_variable_with_a_secret_name_counts_as_secret(tmp_path, entry, secret):
    spec = one(tmp_path, entry, API_KEY="T0P-value", DB_PASSWORD="T0P-value", HOST="host")
    assert known_secrets([spec]) == ({secret} if secret else set())


@pytest.mark.parametrize(
    "arg",
    ["-y", "@scope/server", "--port=8080", "https://host:8080/p?q=1", "/home/me/monkey", "C:\\x", "a:b"],
)
def test_ordinary_arguments_are_shown_as_they_are(arg):
    assert censor_args([arg]) == [arg]


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
def test_hiding_credentials_takes_linear_time(unit):
    """The ends make that nothing matches where much could."""

    def censor(length: int) -> None:
        for end in ("", " ", "=", ":"):
            censor_text(unit * (length // len(unit)) + end)

    assert cpu_seconds(censor, 16_000) < 60 * max(cpu_seconds(censor, 1000), 0.001)


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
def test_credentials_are_recognised_by_the_text_before_them(text):
    shown = censor_text(text)
    assert "PLANTED" not in shown
    assert HIDDEN in shown


def test_a_secret_that_is_passed_on_by_name_is_known(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "s3cret-of-jupyter")
    monkeypatch.setenv("MY_REGION", "north")
    assert known_secrets([ServerSpec("a", "s", command="x", env_vars=("MY_*",))]) == {"s3cret-of-jupyter"}
    assert known_secrets([ServerSpec("a", "s", command="x")]) == set()
