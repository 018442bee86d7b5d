"""No secret is without a needle: what the search for literals skips, no rule would have hidden."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from re import _constants as sre
from re import _parser as parser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ws_ide.observe import secret_rules, suspicion
from mcp_ws_ide.observe.redaction import Redactor
from mcp_ws_ide.observe.secret_rules import NEEDLES, RULES, fold, hide_secrets
from mcp_ws_ide.observe.suspicion import CONDITIONS, may_contain_secret
from mcp_ws_ide.observe.tap_record import HIDDEN

FORMS = [rule for rule in RULES if isinstance(rule, secret_rules._Form)]
NAMED = [rule for rule in RULES if isinstance(rule, secret_rules._Named)]
GAP = "\0"
"""Stands for anything in a skeleton."""


# --- by proof ---------------------------------------------------------------------------------------


def skeletons(tree: Any) -> list[str]:
    """What the matches of a parsed pattern consist of: its literals, and :data:`GAP` for what varies too much."""
    whole = [""]
    for operator, argument in tree:
        whole = [before + part for before in whole for part in parts(operator, argument)]
    return whole


def parts(operator: Any, argument: Any) -> list[str]:
    if operator is sre.LITERAL:
        return [chr(argument)]
    if operator is sre.IN and all(kind is sre.LITERAL for kind, _ in argument) and len(argument) < 10:
        return [chr(char) for _, char in argument]
    if operator is sre.BRANCH:
        return [skeleton for branch in argument[1] for skeleton in skeletons(branch)]
    if operator is sre.SUBPATTERN:
        return skeletons(argument[3])
    if operator in (sre.MAX_REPEAT, sre.POSSESSIVE_REPEAT):
        least, most, repeated = argument
        once = skeletons(repeated)
        if most == 1:
            return once if least else ["", *once]
        return [f"{part}{GAP}" for part in once] if least else [GAP]
    if operator in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        return [""]
    return [GAP]


def literals(pattern: str) -> list[str]:
    return [fold(skeleton) for skeleton in skeletons(parser.parse(pattern))]


@pytest.mark.parametrize("rule", FORMS, ids=lambda rule: rule.needles[0])
def test_every_match_of_a_form_begins_with_a_needle_of_its_rule(rule):
    for literal in literals(rule.pattern.pattern):
        assert literal.startswith(rule.needles), literal


def test_every_secret_name_contains_a_needle_of_the_rules_for_names():
    for literal in literals(secret_rules._SECRET_NAME.pattern):
        assert any(needle in literal for needle in secret_rules.NAMES), literal
    parameters = next(rule for rule in NAMED if "code" in rule.needles)
    assert set(secret_rules.NAMES) <= set(parameters.needles)
    for name in secret_rules._IN_QUERIES:
        assert any(needle in name for needle in parameters.needles), name


def test_whatever_a_rule_needs_the_search_of_raw_json_looks_for():
    patterns = [secret_rules._SECRET_NAME.pattern, *(rule.pattern.pattern for rule in FORMS)]
    known = [needle.decode() for needle in CONDITIONS]
    for literal in [literal for pattern in patterns for literal in literals(pattern)]:
        assert any(needle in literal for needle in known), literal
    for name in secret_rules._IN_QUERIES:
        assert f"{name}=" in known or name in known


def test_folding_keeps_every_position_and_finds_every_letter():
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    folded = fold(every)
    assert len(folded) == len(every)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for match in re.finditer(f"(?i){letter}", every):
            assert folded[match.start()] == letter
            assert suspicion.fold_bytes(match[0].encode()) == letter.encode()


# --- by example -------------------------------------------------------------------------------------


def plain(char: str, chance: random.Random) -> str:
    return json.dumps(char, ensure_ascii=False)[1:-1]


def ascii_only(char: str, chance: random.Random) -> str:
    return json.dumps(char)[1:-1]


def like_php(char: str, chance: random.Random) -> str:
    return "\\/" if char == "/" else ascii_only(char, chance)


def like_gson(char: str, chance: random.Random) -> str:
    return f"\\u{ord(char):04x}" if char in "<>&='" else plain(char, chance)


def like_dotnet(char: str, chance: random.Random) -> str:
    return f"\\u{ord(char):04X}" if char in "<>&'+`\"" else ascii_only(char, chance)


def at_random(char: str, chance: random.Random) -> str:
    if ord(char) > 0xFFFF or chance.random() < 0.7:
        return like_php(char, chance)
    return chance.choice(["\\u{:04x}", "\\u{:04X}"]).format(ord(char))


STYLES = (plain, ascii_only, like_php, like_gson, like_dotnet, at_random)
"""How libraries escape the characters of a string."""


def as_json(value: Any, style: Callable[[str, random.Random], str], chance: random.Random) -> str:
    if isinstance(value, str):
        return '"' + "".join(style(char, chance) for char in value) + '"'
    if isinstance(value, list):
        return "[" + ",".join(as_json(item, style, chance) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{as_json(k, style, chance)}:{as_json(v, style, chance)}" for k, v in value.items())
            + "}"
        )
    return json.dumps(value)


def is_noticed(value: Any) -> bool:
    """Whether raw JSON with this value is suspicious, however it escapes it."""
    chance = random.Random(repr(value))
    texts = [as_json(value, style, chance) for style in STYLES]
    for text in texts:
        assert json.loads(text) == value
    return all(may_contain_secret(text.encode()) for text in texts)


def matches_of(pattern: re.Pattern[str]) -> st.SearchStrategy[str]:
    """Texts that match, with others around it."""
    alphabet = st.characters(exclude_categories=["Cs"])
    return st.from_regex(pattern, alphabet=alphabet)


@pytest.mark.parametrize("rule", FORMS, ids=lambda rule: rule.needles[0])
def test_whatever_a_form_matches_is_noticed_and_hidden(rule):
    @settings(derandomize=True, max_examples=100, deadline=None)
    @given(matches_of(rule.pattern))
    def holds(text: str) -> None:
        assert is_noticed([text])
        assert HIDDEN in hide_secrets(text)

    holds()


@settings(derandomize=True, max_examples=300, deadline=None)
@given(matches_of(secret_rules._SECRET_NAME))
def test_every_secret_name_is_noticed(name):
    if secret_rules.is_secret_name(name):
        assert is_noticed({name: 1})
        assert is_noticed([{"name": name, "value": 1}])
        assert is_noticed([f"--{name}", "x"])


@pytest.mark.parametrize(
    "name", sorted({*secret_rules._IN_QUERIES, "Key", "to\u212aen", "pa\u017f\u017fword"})
)
@pytest.mark.parametrize("mark", "?&;")
def test_every_secret_parameter_is_noticed(name, mark):
    assert is_noticed({"url": f"x://y{mark}{name}=abcdefgh"})
    assert hide_secrets(f"x://y{mark}{name}=abcdefgh").endswith(f"={HIDDEN}")


@pytest.mark.parametrize("value", ["ab+c/d==", "p\u00e4ss\u00e4d\u00e4", "a-b.c_d", "x'y;z&u"])
def test_a_known_value_is_noticed_however_it_is_escaped(value):
    redactor, chance = Redactor(values=[value]), random.Random(1)
    for style in STYLES:
        shown = redactor.message(as_json({"a": f"<{value}>"}, style, chance).encode())[0]
        assert json.loads(shown) == {"a": f"<{HIDDEN}>"}


def every_match(data: bytes) -> bool:
    """Whether any needle stands in lower-case text where its condition holds, also within another."""
    harmless = [needle for needle, condition in CONDITIONS.items() if condition is suspicion._NEVER]
    without = re.sub(b"|".join(harmless) + b"(?!ecret)", lambda match: b"." * len(match[0]), data)
    return any(
        (without if needle == b"token" else data).startswith(needle, at)
        and not (needle.decode() in secret_rules.FORMS and data[:at][-1:].isalnum())
        and (condition is None or condition.match(data, at) is not None)
        for needle, condition in CONDITIONS.items()
        for at in range(len(data))
    )


def test_no_needle_contains_another():
    assert not [(one, other) for one in NEEDLES for other in NEEDLES if one != other and one in other]


def test_no_needle_hides_another_that_it_overlaps():
    chance = random.Random(1)
    pieces = [*CONDITIONS, *(bytes([char]) for char in b"ad03?&; :/@n")]
    for _ in range(8000):
        data = b"".join(chance.choices(pieces, k=4))
        assert may_contain_secret(data) or not every_match(data), data
    for first in CONDITIONS:
        for second in CONDITIONS:
            for common in range(1, min(len(first), len(second))):
                if first.endswith(second[:common]):
                    data = first + second[common:]
                    assert may_contain_secret(data) or not every_match(data), data


# --- against rules that search the whole text -------------------------------------------------------

PIECES = (
    *NEEDLES,
    *(
        "password",
        "Authorization",
        "Set-Cookie",
        "proxy-authorization",
        "api_key",
        "apiKey",
        "private key",
        "max_tokens",
    ),
    *(
        "progressToken",
        "digest user=",
        "Basic ",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
    ),
    *(
        "sk-proj-",
        "ghp_",
        "eyJ",
        "AKIA",
        "xoxb-",
        "https://user:pw@host/",
        "?a=1&",
        "?code=",
        ";sig=",
        "&Key=",
    ),
    *("--token", "-p", "--db.secret", "['--password', '", '", "', "'", '"', '\\"', "\\\\\\'", HIDDEN),
    *(
        ":",
        "=",
        ": ",
        " = ",
        "://",
        "//",
        "@",
        "?",
        "&",
        ";",
        "#",
        ",",
        ")",
        "}",
        "(",
        "[",
        ".",
        "-",
        "_",
        "--",
    ),
    *(
        " ",
        "  ",
        "     ",
        "\t",
        "\n",
        "\n\n",
        "\r\n",
        "a",
        "B9",
        "x" * 40,
        "aZ.z-9_" * 8,
        "0123456789abcdefghij",
    ),
    *(
        "\u212aey",
        "\u017fecret",
        "cred\u0131t",
        "\u0130",
        "\u00e9",
        "\u4e2d",
        "\U0001f600",
        "the quick brown fox",
    ),
)


def whole_text(text: str) -> str:
    """What :func:`hide_secrets` must return: every rule, applied to the text from its first character to its last."""
    for rule in RULES:
        if isinstance(rule, secret_rules._Form):
            text = rule.pattern.sub(rule.replacement, text)
        else:
            text = whole_text_named(text, rule)
    return text


def whole_text_named(text: str, rule: Any) -> str:
    parts, at, searched = [], 0, 0
    while (name := rule._name.search(text, searched)) is not None:
        searched = name.end()
        value = rule._value.match(text, searched) if rule._is_secret(name[1]) else None
        if value is not None:
            parts += [text[at:searched], re.match(r"\\*([\"']?)", value[0])[1], HIDDEN]
            at = searched = value.end()
    return "".join([*parts, text[at:]])


@pytest.mark.parametrize("seed", range(4))
def test_looking_at_needles_alone_hides_what_searching_everything_hides(seed):
    chance = random.Random(seed)
    for _ in range(400):
        text = "".join(chance.choices(PIECES, k=chance.randrange(1, 30)))
        expected = whole_text(text)
        assert hide_secrets(text) == expected
        assert expected == text or is_noticed([text])
