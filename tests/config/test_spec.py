"""Equality of specs, and the URL rules."""

from __future__ import annotations

import pytest

from mcp_ws_ide.config.spec import is_confidential_url
from tests.config.loading import one


def test_equal_files_make_equal_specs_and_any_difference_shows(tmp_path):
    entry = {"command": "x", "env": {"K": "${V}"}}
    assert one(tmp_path, entry, V="1") == one(tmp_path, entry, V="1")
    assert one(tmp_path, entry, V="1") != one(tmp_path, entry, V="2")


@pytest.mark.parametrize(
    ("url", "confidential"),
    [
        ("https://x.example/mcp", True),
        ("http://127.0.0.1:1/mcp", True),
        ("http://[::1]/mcp", True),
        ("http://localhost.evil.example/", False),
        ("http://x@evil.example/", False),
        ("javascript:alert(1)", False),
        ("ftp://localhost/", False),
    ],
)
def test_secrets_are_sent_only_over_tls_or_within_this_machine(url, confidential):
    assert is_confidential_url(url) is confidential
