"""Which addresses name an engine."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from traitlets import TraitError
from traitlets.config import Config

from mcp_ws_ide.app import MCPWebSocketApp
from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.choosing import check_address, sqlite_file
from mcp_ws_ide.engines.redis_address import redis_address

DEFAULT = Path("/data/sessions.sqlite")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", None),
        ("sqlite", DEFAULT),
        ("sqlite:///var/lib/mcp/sessions.db", Path("/var/lib/mcp/sessions.db")),
        ("sqlite:////var/lib/sessions.db", Path("/var/lib/sessions.db")),
        ("sqlite:///~/sessions.db", Path.home() / "sessions.db"),
        ("sqlite:///~root/sessions.db", Path(pwd.getpwnam("root").pw_dir) / "sessions.db"),
        ("sqlite:///with%20blank/%C3%BC", Path("/with blank/ü")),
    ],
)
def test_an_address_names_a_file_or_none(address, path):
    assert sqlite_file(address, DEFAULT) == path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (
            "postgres://user:hunter2@host/db",
            "use '' (sessions end with the gateway), 'sqlite', 'sqlite:///path', or 'redis://host'",
        ),
        ("unix:///run/redis.sock", "engine is an address of 'unix'; use ''"),
        ("redis:host", "engine is 'redis:host'; use ''"),
        ("redis://", "it names no host"),
        ("redis://:hunter2@/0", "it names no host"),
        ("redis://host:port", "it cannot be read"),
        ("redis://user:hunter2@host:99999", "it cannot be read"),
        ("redis://[", "it cannot be read"),
        ("redis://host/zero", "its database is not a number"),
        ("redis://host/0/1", "its database is not a number"),
        ("redis://host?pasword_file=/x", "it has the unknown option 'pasword_file'; options are ca_file,"),
        ("redis://host?prefix", "it cannot be read"),
        ("redis://host#fragment", "it has a fragment"),
        ("redis://:hunter2@host?password_file=/x", "it has a password and a password_file; keep one of them"),
        ("redis://host?ca_file=/x", "it has a ca_file, but is not encrypted"),
        ("memory", "engine is 'memory'; use ''"),
        ("SQLite3", "engine is 'SQLite3'; use ''"),
        ("sqlite:", "use ''"),
        ("sqlite:relative.db", "use ''"),
        ("/var/lib/sessions.db", "engine is '/var/lib/sessions.db'; use ''"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///directory/", "names no file"),
        ("sqlite://host/path", "with two slashes, a host follows; write three before an absolute path"),
        ("sqlite://relative.db", "with two slashes, a host follows; write three before an absolute path"),
        ("sqlite:///~nobody-here/sessions.db", "there is no user 'nobody-here'"),
        ("sqlite:///path?mode=ro", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite://[", "use ''"),
    ],
)
def test_anything_else_is_refused_with_what_to_use_and_without_a_password(address, reason):
    with pytest.raises(EngineRefusedError) as refused:
        check_address(address)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "redis://"),
        ("peer_address", "host"),
        ("peer_address", ":80"),
        ("peer_address", "0.0.0.0:7800"),
        ("peer_address", "[::]:7800"),
        ("engine_durability", "some"),
        ("engine_max_bytes", 1000),
    ],
)
def test_the_traits_are_checked_when_they_are_read(name, value):
    with pytest.raises(TraitError):
        MCPWebSocketApp(config=Config({"MCPWebSocketApp": {name: value}}))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://localhost", ("localhost", 6379, 0, False, "", "", "mcpws:")),
        ("rediss://gateway@redis.example:6380/3", ("redis.example", 6380, 3, True, "gateway", "", "mcpws:")),
        ("valkey://127.0.0.1?prefix=team:", ("127.0.0.1", 6379, 0, False, "", "", "team:")),
        ("valkeys://u%40d:p%2Fw@[::1]/", ("::1", 6379, 0, True, "u@d", "p/w", "mcpws:")),
    ],
)
def test_an_address_of_redis_names_server_database_user_and_prefix(address, expected):
    parsed = redis_address(address)
    assert parsed is not None
    found = (parsed.host, parsed.port, parsed.database, parsed.encrypted, parsed.user, parsed.password)
    assert (*found, parsed.prefix) == expected
    assert "p/w" not in repr(parsed)
    check_address(address)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_is_local(host, is_local):
    parsed = redis_address(f"redis://{host}")
    assert parsed is not None
    assert parsed.is_local is is_local
