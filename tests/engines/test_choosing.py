"""Which addresses name an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets import TraitError
from traitlets.config import Config

from mcp_ws_ide.app import MCPWebSocketApp
from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.choosing import sqlite_file

DEFAULT = Path("/data/sessions.sqlite")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", None),
        ("sqlite", DEFAULT),
        ("sqlite:///var/lib/mcp/sessions.db", Path("/var/lib/mcp/sessions.db")),
        ("sqlite:////var/lib/sessions.db", Path("/var/lib/sessions.db")),
        ("sqlite:///with%20blank/%C3%BC", Path("/with blank/ü")),
    ],
)
def test_an_address_names_a_file_or_none(address, path):
    assert sqlite_file(address, DEFAULT) == path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("redis://localhost:6379/0", "an address of 'redis', which comes with a later version"),
        ("rediss://user:hunter2@host/0", "an address of 'rediss', which comes with a later version"),
        (
            "postgres://user:hunter2@host/db",
            "use '' (sessions end with the gateway), 'sqlite', or 'sqlite:///path'",
        ),
        ("memory", "engine is 'memory'; use ''"),
        ("SQLite3", "engine is 'SQLite3'; use ''"),
        ("sqlite:", "use ''"),
        ("sqlite:relative.db", "use ''"),
        ("/var/lib/sessions.db", "engine is '/var/lib/sessions.db'; use ''"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///directory/", "names no file"),
        ("sqlite://host/path", "names no file"),
        ("sqlite://relative.db", "names no file"),
        ("sqlite:///path?mode=ro", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite://[", "use ''"),
    ],
)
def test_anything_else_is_refused_with_what_to_use_and_without_a_password(address, reason):
    with pytest.raises(EngineRefusedError) as refused:
        sqlite_file(address, DEFAULT)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"), [("engine", "redis://host"), ("engine_durability", "some"), ("engine_max_bytes", 1000)]
)
def test_the_traits_are_checked_when_they_are_read(name, value):
    with pytest.raises(TraitError):
        MCPWebSocketApp(config=Config({"MCPWebSocketApp": {name: value}}))
