"""A configuration file that another editor, shell or system has written is read, or refused with its cure."""

from __future__ import annotations

import json

import pytest

from tests.config.loading import load_configuration

ENTRY = '{"mcpServers": {"a": {"command": "caf\u00e9"}}}'


def read(tmp_path, data: bytes, name: str = "mcp.json"):
    file = tmp_path / name
    file.write_bytes(data)
    return load_configuration({}, [str(file)], [], {})


@pytest.mark.parametrize("before", ["", "\n  ", "// for VS Code\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_and_32_are_read_with_a_notice(tmp_path, encoding, mark, before):
    configuration = read(tmp_path, f"{mark}{before}{ENTRY}".encode(encoding))
    assert configuration.servers["a"].command == "caf\u00e9"
    (notice,) = configuration.problems
    assert notice.severity == "notice"
    assert encoding[:6].upper() in notice.reason and "save it as UTF-8" in notice.reason


def test_utf_8_with_a_byte_order_mark_is_read_without_a_notice(tmp_path):
    configuration = read(tmp_path, ENTRY.encode("utf-8-sig"))
    assert configuration.servers["a"].command == "caf\u00e9"
    assert configuration.problems == []


BAD = [
    (ENTRY.encode("latin-1"), ["byte 0xE9", "line 1, column 38", "Windows-1252", "save it as UTF-8"]),
    (ENTRY.encode()[:-5], ["middle of a character"]),
    (("\ufeff" + ENTRY).encode("utf-16-le")[:-1], ["UTF-16", "save it as UTF-8"]),
    (b"\0" * 4096, ["nothing but NUL bytes", "restore it"]),
    (b'{"mcpServers": {}}\n\0\0', ["2 NUL bytes, the first at line 2, column 1", "remove"]),
    (b"\0{}", ["a NUL byte at line 1, column 1"]),
    (b"", ["the file is empty", '{"mcpServers": {}}']),
    (b'{"mcpServers": {"a": {"command": "C:\\Users\\x"}}}', ["\\U", "column", "write each backslash twice"]),
    (b'{"mcpServers": {"a": {"command": "C:\\users\\x"}}}', ["\\u", "write each backslash twice"]),
    (b'{"mcpServers": {"a": {"command": "D:\\x\\y"}}}', ["\\x", "write each backslash twice"]),
    ("{\u201cmcpServers\u201d: {}}".encode(), ["quotation mark \u201c", 'write "']),
    (b"{'mcpServers': {}}", ["write \" instead of '"]),
    (b'{"mcpServers": {"a": {"disabled": True}}}', ["found True", "write true"]),
    ('{"mcpServers":\u00a0{}}'.encode(), ["U+00A0, NO-BREAK SPACE", "remove this character"]),
    (b'{"mcpServers": {"a"', ["the text ends", "cut off"]),
    (b'{"mcpServers": {"a": {"command": "x\ty"}}}', ["a tab as \\t"]),
    (b'{\n<<<<<<< HEAD\n"mcpServers": {}\n=======\n}', ["merge conflict at line 2", "resolve it"]),
]


@pytest.mark.parametrize(("data", "expected"), BAD)
def test_a_mistake_is_named_with_its_place_and_cure(tmp_path, data, expected):
    configuration = read(tmp_path, data)
    assert configuration.servers == {}
    (problem,) = configuration.problems
    assert problem.severity == "error"
    for text in expected:
        assert text in problem.reason
    assert problem.reason.isprintable()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", 'mcpServers:\n  a:\n    command: "C:\\Users\\x"\n'),
        ("a.yaml", 'mcpServers:\n  a:\n    command: "C:\\qsers"\n'),
        ("a.toml", '[mcp_servers.a]\ncommand = "C:\\Users\\x"\n'),
        ("a.toml", '[mcp_servers.a]\ncommand = "C:\\qsers"\n'),
    ],
)
def test_a_backslash_in_yaml_and_toml_has_its_cure(tmp_path, name, text):
    (problem,) = read(tmp_path, text.encode(), name).problems
    assert "write each backslash twice" in problem.reason and "single quotes" in problem.reason


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_the_page_does_not_change_a_file_in_another_encoding(tmp_path, encoding):
    from mcp_ws_ide.config.document import DefinitionFile
    from mcp_ws_ide.config.json_edit import DefinitionError

    file = tmp_path / "mcp.json"
    file.write_bytes(ENTRY.encode(encoding))
    with pytest.raises(DefinitionError, match="save it as UTF-8"):
        DefinitionFile(str(file), lambda data: json.dumps(len(data))).read()
