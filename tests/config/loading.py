"""Reads configurations for the tests: from a document, from one entry, and from anything hypothesis writes."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from mcp_ws_ide.config.load import load as load_configuration
from mcp_ws_ide.config.spec import ConfigProblem, Configuration, ServerSpec

KEYS = [
    "a",
    "b",
    "mcpServers",
    "servers",
    "mcp_servers",
    "inputs",
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "type",
    "transport",
    "python",
    "name",
    "disabled",
    "enabled",
    "mcp_ws",
    "sharing",
    "prewarm",
    "idle_timeout",
    "max_message_bytes",
    "value",
    "envFile",
]


TEXTS = [
    "x",
    "stdio",
    "http",
    "sse",
    "ws",
    "never",
    "http://h",
    "http://[",
    "unix:///s",
    "ftp://h",
    "${A}",
    "${env:B}",
    "${",
    "${input:k}",
    "${C:-d}",
    "${${",
    "\x00",
    "\ud800",
    "..",
    "//",
    "/*",
    "*/",
    "$$",
]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-1, 10**400)
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=8)
)


def objects(of: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), of, max_size=5)


JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=20)


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "command": SCALARS,
        "url": SCALARS,
        "type": SCALARS,
        "args": JSON,
        "env": JSON,
        "disabled": SCALARS,
        "mcp_ws": JSON
        | st.dictionaries(
            st.sampled_from(["sharing", "prewarm", "idle_timeout", "max_message_bytes"]),
            st.lists(SCALARS, max_size=1) | SCALARS,
            min_size=1,
            max_size=2,
        ),
    },
)


def load(tmp_path: Path, document: object, **environ: str) -> Configuration:
    path = tmp_path / "mcp.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(text.encode(errors="surrogatepass"))
    return load_configuration({}, [str(path)], [], environ)


def one(tmp_path: Path, entry: object, **environ: str) -> ServerSpec:
    return load(tmp_path, {"mcpServers": {"a": entry}}, **environ).servers["a"]


def only_problem(configuration: Configuration) -> ConfigProblem:
    (problem,) = configuration.problems
    return problem
