"""What is hidden, by name, by form, by value, by pattern; and what is shown unchanged."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.observe.redaction import RAW_LIMIT, BadPatternError, Redactor
from mcp_ws_ide.observe.tap_record import HIDDEN
from mcp_ws_ide.proxy_environment import proxy_for
from mcp_ws_ide.transports.remote import status_message
from tests.conftest import cpu_seconds

CANARY = "c4n4ryc4n4ryc4n4ry"


def shown(value: object, redactor: Redactor | None = None) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return (redactor or Redactor()).message(data)[0]


def message(**arguments: object) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": arguments}}


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "db_password_value", "Passwort", "passwd", "passphrase", "pwd", "userPwd"),
        *("token", "accessToken", "refresh_token", "X-Auth-Token", "id_token", "csrfToken"),
        *("secret", "client_secret", "AWS_SECRET_ACCESS_KEY", "secretKey"),
        *("apikey", "apiKey", "api_key", "X-Api-Key", "x-api-key", "OPENAI_API_KEY"),
        *("authorization", "Proxy-Authorization", "auth", "oauth", "Cookie", "Set-Cookie", "credentials"),
        *("API Key", "api.key", "private key", "private_key", "privateKey", "signing-key", "bearer"),
    ],
)
def test_a_member_of_a_secret_name_is_hidden(name):
    for value in (CANARY, [CANARY], {"a": CANARY}, 123456789):
        text = shown(message(**{name: value}))
        assert CANARY not in text
        assert "123456789" not in text
        assert HIDDEN in text
    assert CANARY not in shown(message(env=[{"name": name, "value": CANARY}]))
    if " " in name:
        return  # in text that is no name
    assert CANARY not in shown(message(text=f"{name}: {CANARY}"))
    assert CANARY not in shown(message(text=f"export {name}={CANARY}\n"))
    assert CANARY not in shown(message(text=json.dumps({name: f"{CANARY} {CANARY}"})))
    assert CANARY not in shown(message(text=json.dumps(json.dumps({name: CANARY}))))
    assert CANARY not in Redactor().text(f"  {name} = '{CANARY}'")


@pytest.mark.parametrize("option", ["--password", "--token", "-token", "--api-key", "--db.secret", "--pwd"])
def test_the_value_after_an_option_of_a_secret_name_is_hidden(option):
    for words in ([option, CANARY], ["run", option, CANARY, "--verbose"], [option, f"{CANARY} {CANARY}"]):
        text = shown(message(args=words))
        assert CANARY not in text
        assert "--verbose" in text or "--verbose" not in words
    assert "123456789" not in shown(message(args=[option, 123456789]))
    for line in (
        f"db {option} {CANARY} -u me",
        f"db {option} '{CANARY} x' -u me",
        f'db {option} "{CANARY}" -u me',
    ):
        text = shown(message(command=line))
        assert CANARY not in text
        assert "-u me" in text
    for line in (str(["db", option, CANARY, "-u"]), json.dumps(["db", option, CANARY, "-u"])):
        assert CANARY not in shown(message(command=line))
        assert CANARY not in shown(message(command=json.dumps(line)))
        assert CANARY not in Redactor().text(line)


def test_only_the_value_of_a_secret_option_is_hidden():
    assert '"--token","--verbose"' in shown(message(args=["--token", "--verbose"])).replace(" ", "")
    assert HIDDEN not in shown(
        message(args=["--max-tokens", "100"], command="run --max-tokens 100 x-token-y")
    )


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-c4n4ryc4n4ryc4n4ry",
        "ghp_c4n4ryc4n4ryc4n4ry",
        "ghs_c4n4ryc4n4ryc4n4ry",
        "github_pat_c4n4ryc4n4ryc4n4ry",
        "glpat-c4n4ryc4n4ryc4n4ry",
        "xoxb-1-c4n4ryc4n4ryc4n4ry",
        "hf_c4n4ryc4n4ryc4n4ry",
        "AKIAc4n4ryc4n4ryc4n4ry",
        "AIzac4n4ryc4n4ryc4n4ry",
        "mcpws_c4n4ryc4n4ryc4n4ry",
        "eyJhbGciOiJIUzI1NiJ9.c4n4ryc4n4ryc4n4ry.c4n4ryc4n4ryc4n4ry",
        "https://user:c4n4ryc4n4ryc4n4ry@example.org/x",
        "postgres://c4n4ryc4n4ryc4n4ry@db/x",
        "https://example.org/x?a=1&token=c4n4ryc4n4ryc4n4ry",
        "https://example.org/x?code=c4n4ryc4n4ryc4n4ry&state=1",
        "https://example.org/x?a=1&sig=c4n4ryc4n4ryc4n4ry",
        "https://example.org/x?key=c4n4ryc4n4ryc4n4ry",
        "wss://example.org/mcp-ws/servers/x?ticket=c4n4ryc4n4ryc4n4ry",
        "curl -H 'Authorization: Bearer c4n4ryc4n4ryc4n4ry' x",
        "Authorization: Basic c4n4ryc4n4ryc4n4ry",
        "Authorization: Digest username=me, response=c4n4ryc4n4ryc4n4ry",
        "Cookie: a=b; session=c4n4ryc4n4ryc4n4ry",
        "-----BEGIN RSA PRIVATE KEY-----\nc4n4ryc4n4ryc4n4ry\n-----END RSA PRIVATE KEY-----",
        "token c4n4ryc4n4ryc4n4ry",
    ],
)
def test_anything_like_a_credential_is_hidden_in_free_text(text):
    for value in (text, f"said: {text} and so on", f"({text})"):
        assert CANARY not in shown(message(text=value)), value
        assert CANARY not in Redactor().text(value), value
    assert CANARY not in shown({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"text": text}]}})


@pytest.mark.parametrize(
    "value",
    [
        message(text="a task-oriented author of music, basic functionality, token validation"),
        message(max_tokens=100, total_tokens=7, tokenizer="bpe", nextPageToken="page2"),
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p1"}},
        {"result": {"properties": {"password": {"type": "string", "description": "yours"}}}},
        message(password=None, token=False),
        message(code='print("no token:", file=sys.stderr)', more="x = 'password=', y"),
        message(mail="someone@example.org", link="https://example.org/a?b=c"),
    ],
)
def test_what_is_no_secret_is_shown_unchanged(value):
    text = json.dumps(value, indent=1)
    assert shown(text.encode()) == text


def test_the_examples_in_the_schema_of_a_secret_are_hidden():
    schema = {"properties": {"password": {"type": "string", "default": CANARY, "examples": [CANARY]}}}
    text = shown(schema)
    assert CANARY not in text
    assert '"type"' in text


def test_known_secrets_are_hidden_in_any_position():
    values = ["pl41n-known", 'qu"oted\\kn0wn-1', "ünïcödé-kn0wn"]
    redactor = Redactor(values=[*values, "abc"])
    for value in values:
        for text in (shown(message(a=[value]), redactor), redactor.text(f"x{value}y")):
            assert json.dumps(value)[1:-1] not in text
            assert value not in text
        assert value not in shown(json.dumps(message(a=value), ensure_ascii=False).encode(), redactor)
    assert "abc" in redactor.text("abc"), "what is too short is everywhere"


def test_a_secret_at_the_cut_of_a_text_is_hidden_entirely():
    known = "kn0wn-s3cret-value"
    filler = "x" * (RAW_LIMIT - len(json.dumps(message(a="")).encode()) - 8)
    text = shown(message(a=filler, b=known), Redactor(values=[known]))
    assert "kn0wn" not in text
    assert len(text.encode()) <= RAW_LIMIT + 8
    assert "kn0wn" not in Redactor(values=[known]).text("x" * (RAW_LIMIT - 5) + known)


def test_configured_patterns_hide_what_they_match():
    redactor = Redactor([r"ACME-\d{4}", r"(?<=pin )\d+"])
    text = shown(message(a="ACME-1234 and ACME-x", b='pin 77, say "pin 88"', c={"ACME-5678": 1}), redactor)
    assert "1234" not in text
    assert "5678" not in text
    assert "77" not in text
    assert "88" not in text
    assert "ACME-x" in text
    assert redactor.text("stderr ACME-9999") == f"stderr {HIDDEN}"


@pytest.mark.parametrize(("pattern", "words"), [("(", "not a regular expression"), ("a*", "empty string")])
def test_an_invalid_pattern_is_reported(pattern, words):
    with pytest.raises(BadPatternError, match=words):
        Redactor([pattern])


def test_a_catastrophic_pattern_hides_everything_and_blocks_nothing(caplog):
    redactor = Redactor([r"(a+)+$"])
    assert "aaa" not in redactor.text("a" * 5000 + "!")
    assert "took longer than 0.02 s" in caplog.text
    assert "harmless" not in shown(message(a="harmless"), redactor)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "://",
        "?a=",
        "sk-",
        '"',
        "token ",
        "cookie:",
        "password=",
        "-----BEGIN PRIVATE KEY-----",
        "a.",
        "\\",
        "&;?",
        "_k",
        "eyJ.",
    ],
)
def test_every_rule_takes_linear_time_for_any_text(unit):
    small, large = ("password " + unit * (size // len(unit)) for size in (16_000, 128_000))

    def seconds(text: str) -> float:
        return cpu_seconds(Redactor()._without_secrets, json.dumps(message(a=text)).encode())

    assert seconds(large) < 40 * seconds(small) + 0.01, "eight times the text; a square would be sixty-four"


@given(st.text(max_size=300))
def test_redaction_never_fails_and_keeps_json(text):
    value = message(password=text, text=f"token: {text}")
    found = json.loads(shown(value))
    assert found["params"]["arguments"]["password"] == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "user=bob password=PLANTED",
        "login: bob password: PLANTED",
        "INFO: password=PLANTED",
        "error: api_key=PLANTED",
        "--token=PLANTED",
        "exited with code 7; stderr: oops password=PLANTED",
        '{"cmd": "curl -H \'X-Api-Key: PLANTED\'"}',
        'Authorization: Digest username="bob", response="PLANTED"',
    ],
)
def test_a_harmless_name_before_a_secret_does_not_reveal_it(text):
    assert "PLANTED" not in Redactor().text(text)


@pytest.mark.parametrize("unit", ["a=", "a-", "password=", "x: ", "a=b c=", "token='"])
def test_nested_names_take_linear_time(unit):
    def seconds(length: int) -> float:
        return cpu_seconds(Redactor().text, unit * (length // len(unit)))

    assert seconds(160_000) < 40 * max(seconds(20_000), 0.002)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 413, 429])
def test_the_gateways_own_advice_is_shown_without_the_secret_beside_it(status):
    words = status_message("far.example", status, b"more words that it said")
    assert Redactor().text(words) == words
    told = status_message("far.example", status, f"api_key: {CANARY}".encode())
    assert CANARY not in Redactor().text(told)


def test_the_advice_about_a_bad_proxy_is_shown_without_the_proxy(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{CANARY}@[bad")
    problem = proxy_for("https://far.example/").problem("httpx2")
    assert "HTTPS_PROXY" in problem
    assert CANARY not in problem
    assert Redactor().text(problem) == problem
