"""Apps in the output of a cell: what they are told, and that they reach nothing."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from mcp_ws_ide.client.sync.apps import App, app_of, policy, uri_of

TOOL = {"name": "weather", "_meta": {"ui": {"resourceUri": "ui://weather/main"}}}
CONTENTS = {
    "uri": "ui://weather/main",
    "mimeType": "text/html;profile=mcp-app",
    "text": "<p>'\"</script>&amp;",
}


def app(**changes: Any) -> App:
    result = {"content": [{"type": "text", "text": "</script><script>alert(1)</script>"}]}
    return app_of([{**CONTENTS, **changes}], TOOL, {"city": "Bern"}, result)


def host_of(shown: App) -> str:
    """The document of the outer frame."""
    (srcdoc,) = re.findall(r'srcdoc="([^"]*)"', shown._repr_html_())
    return unescape(srcdoc)


def test_an_app_is_shown_in_frames_with_an_opaque_origin():
    assert re.findall(r'sandbox="([^"]*)"', app()._repr_html_()) == ["allow-scripts"]
    assert re.findall(r'sandbox="([^"]*)"', host_of(app())) == ["allow-scripts"]
    assert "allow-same-origin" not in app()._repr_html_()


def test_the_frame_gets_the_app_the_arguments_and_the_result_as_data():
    host = host_of(app())
    assert host.count("</script>") == 2, "no text of the server ends a script"
    (data,) = re.findall(r'id="data">(.*?)</script>', host)
    told = json.loads(data)
    assert told["html"] == CONTENTS["text"]
    assert told["input"] == {"city": "Bern"}
    assert told["result"]["content"][0]["text"].startswith("</script>")
    assert told["told"]["tool"]["name"] == "weather"


def test_an_app_reaches_nothing_that_its_server_does_not_declare():
    assert "default-src 'none'" in policy({})
    assert "connect-src 'none'; frame-src 'none'" in policy({})
    declared = {
        "connectDomains": [
            "https://api.example.org",
            "*",
            "http://plain.example.org",
            "https://a; script-src *",
        ],
        "resourceDomains": ["https://*.example.org:8443"],
    }
    allowed = policy({"_meta": {"ui": {"csp": declared}}})
    assert "connect-src https://api.example.org; frame-src 'none'" in allowed
    assert "script-src 'unsafe-inline' https://*.example.org:8443;" in allowed


@pytest.mark.parametrize(
    "meta", [None, {}, {"ui": None}, {"ui": {"resourceUri": 5}}, {"ui": {"resourceUri": "https://x"}}]
)
def test_a_tool_without_a_ui_address_has_no_app(meta):
    assert uri_of({"name": "a", "_meta": meta}) == ""
    assert uri_of(TOOL) == "ui://weather/main"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"mimeType": "image/svg+xml"}, "is no HTML"), ({"text": "x" * (5 << 20)}, "more than")],
)
def test_what_is_no_app_or_too_large_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        app(**changes)
