"""The policy of the frame in which the page shows apps of servers."""

from __future__ import annotations

import pytest

from mcp_ws_ide.handlers.app_frame import MAX_SOURCES, policy


def directives(text: str) -> dict[str, str]:
    return dict(part.strip().partition(" ")[::2] for part in text.split(";"))


def test_an_app_has_an_origin_of_its_own_and_reaches_nothing_by_default():
    got = directives(policy([], [], []))
    assert got["sandbox"] == "allow-scripts"
    assert got["default-src"] == got["connect-src"] == got["frame-src"] == got["base-uri"] == "'none'"
    assert got["form-action"] == "'none'"
    assert got["frame-ancestors"] == "'self'"
    assert got["script-src"].split() == ["'unsafe-inline'"]


def test_an_app_reaches_the_hosts_that_its_resource_names():
    got = directives(
        policy(["https://api.example.org", "wss://*.example.org:8443"], ["https://cdn.example.org"], [])
    )
    assert got["connect-src"] == "https://api.example.org wss://*.example.org:8443"
    assert got["style-src"].split() == ["'unsafe-inline'", "https://cdn.example.org"]
    assert "https://api.example.org" not in got["img-src"]
    many = policy([f"https://h{at}.org" for at in range(2 * MAX_SOURCES)], [], [])
    assert many.count("https://") == MAX_SOURCES


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "https:",
        "https://*",
        "'self'",
        "'unsafe-eval'",
        "data:",
        "http://example.org",
        "https://x.org; script-src *",
        "https://x.org/path",
        "https://a.org https://b.org",
        "https://x.org\n",
        "javascript:alert(1)",
        "",
    ],
)
def test_what_is_no_host_is_left_out(name):
    assert policy([name], [name], [name]) == policy([], [], [])
