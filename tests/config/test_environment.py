"""Variables in entries, and those of server processes."""

from __future__ import annotations

import pytest

from mcp_ws_ide.config.environment import child_environment, hint, hint_for, inherited, withheld
from mcp_ws_ide.config.spec import ServerSpec
from tests.config.loading import load


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


def test_a_child_gets_a_short_environment():
    environ = {
        "HOME": "/h",
        "PATH": "/p",
        "LC_ALL": "C",
        "https_proxy": "p",
        "JUPYTER_TOKEN": "secret",
        "LD_PRELOAD": "x",
    }
    spec = ServerSpec("a", "s", command="x", env={"EXTRA": "1", "PATH": "/own"})
    assert child_environment(spec, environ) == {
        "HOME": "/h",
        "PATH": "/own",
        "LC_ALL": "C",
        "https_proxy": "p",
        "EXTRA": "1",
    }


def test_what_an_entry_lists_is_passed_on_and_jupyters_own_variables_only_by_name():
    environ = {
        "UV_INDEX_URL": "u",
        "DOCKER_HOST": "d",
        "DOCKER_TLS": "t",
        "JUPYTER_TOKEN": "s",
        "OTHER": "o",
        "TZ": "z",
    }
    listed = {("UV_INDEX_URL", "NOT_SET"): {"UV_INDEX_URL"}, ("DOCKER_*",): {"DOCKER_HOST", "DOCKER_TLS"}}
    listed |= {("*",): set(environ) - {"JUPYTER_TOKEN"}, ("JUPYTER_TOKEN",): {"JUPYTER_TOKEN"}, (): set()}
    for names, expected in listed.items():
        child = child_environment(ServerSpec("a", "s", command="x", env_vars=names), environ)
        assert set(child) == expected | {"TZ"}, names


def test_the_certificates_of_a_company_reach_every_program():
    environ = dict.fromkeys(
        ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "npm_config_cafile"],
        "/ca",
    )
    assert inherited(environ) == environ


def test_a_hint_names_what_the_output_names_first_then_what_is_often_needed_and_no_values():
    environ = {
        name: "s3cret" for name in ("UV_INDEX_URL", "npm_config_registry", "XDG_RUNTIME_DIR", "DOCKER_HOST")
    }
    environ |= {
        "HOME": "/h",
        "MY_SETTING": "m",
        "COLUMNS": "80",
        "JUPYTER_TOKEN": "t",
        "VIRTUAL_ENV": "/v",
        "SOME_PROXY": "/p",
    }
    child = inherited(environ)
    assert set(withheld(environ, child)) == {*list(environ)[:4], "SOME_PROXY"}
    names = withheld(environ, child, "KeyError: 'MY_SETTING'")
    assert names[0] == "MY_SETTING"
    said = hint(names)
    assert "env_vars" in said
    assert all(name in said for name in names)
    assert "s3cret" not in said
    assert hint([]) == ""
    assert "and 88 more" in hint([f"V{number}" for number in range(100)])


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ("exited with code 1; stderr: no key", True),
        ("exited with code 0", False),
        ("exited with code 1; stderr: AttributeError: 'x'", False),
        ("exited with code 1; stderr: TypeError: SEARCH_API_KEY is None", True),
    ],
)
def test_a_failure_with_another_cause_gets_no_hint_about_variables(output, named):
    spec = ServerSpec("s", "test", command="x")
    assert ("SEARCH_API_KEY" in hint_for(spec, {"SEARCH_API_KEY": "s3cret"}, output)) == named
