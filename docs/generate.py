"""Write the reference pages that follow from the code: traits, command line, errors, metrics and REST.

``make docs`` runs it. The pages are committed, so that they can be read without building the site;
tests/docs/test_generated.py fails when they differ from the code. It knows where each fact is defined, and adds none.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from traitlets import TraitType

from mcp_ws_ide import errors
from mcp_ws_ide.app import MCPWebSocketApp
from mcp_ws_ide.client import shim
from mcp_ws_ide.conformance import cli as conformance_cli
from mcp_ws_ide.conformance.clauses import CLAUSES, SECTIONS
from mcp_ws_ide.conformance.client.run import CLIENT
from mcp_ws_ide.conformance.server.run import SERVER
from mcp_ws_ide.conformance.verdicts import MEANINGS, Checks
from mcp_ws_ide.core import binding
from mcp_ws_ide.engines.collector import EngineCollector
from mcp_ws_ide.engines.memory import MemoryEngine
from mcp_ws_ide.inspector import cli
from mcp_ws_ide.observe.metrics import GatewayCollector, Metrics

REFERENCE: Final = Path(__file__).parent / "reference"
(OPENAPI,) = Path(inspect.getfile(MCPWebSocketApp)).parent.glob("handlers/**/openapi.json")
NOTICE: Final = "<!-- Written by docs/generate.py from {source}; edit that, then run make docs. -->\n\n"


def flat(text: str) -> str:
    """One line, with code in the form of Markdown."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    return re.sub(r":\w+:`~?\.?([^`]+)`", r"`\1`", text)


def cell(text: str) -> str:
    """One cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", flat(text)).replace("<", "&lt;")


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


# --- traits ----------------------------------------------------------------------------------------


def traits() -> str:
    """Every trait of the extension with type, default, bound and help."""
    parts = [
        "# Traits\n\nOptions of the server extension. Set them in `jupyter_server_config.py` as "
        "`c.MCPWebSocketApp.NAME = …`, or on the command line as `--MCPWebSocketApp.NAME=…`.\n"
    ]
    for name, trait in own_traits().items():
        lower = getattr(trait, "min", None)
        bound = "" if lower is None else f", at least `{lower}`"
        parts.append(f"## {name}\n\n*{type(trait).__name__}{bound}{default(trait)}*\n\n{flat(trait.help)}\n")
    return "\n".join(parts)


def own_traits() -> dict[str, TraitType[Any, Any]]:
    """The configurable traits that the extension itself declares, in their order."""
    declared = MCPWebSocketApp.class_own_traits(config=True)
    return {name: declared[name] for name in vars(MCPWebSocketApp) if name in declared}


def default(trait: TraitType[Any, Any]) -> str:
    """The default, unless it depends on the installation or is empty text."""
    value = trait.default()
    return f", default `{value!r}`" if value not in ("", None) else ""


# --- command line ----------------------------------------------------------------------------------


def command_line() -> str:
    """Every command and option of the programs."""
    parts = [
        "# Command line\n\nGuides: [the inspector](../guides/inspector.md), [IDEs and agents](../guides/ides.md) and "
        "[conformance](../guides/conformance.md).\n",
        *commands(cli._parser()),
        *commands(cli._wrap_parser(), f"{cli._parser().prog} -- COMMAND"),
        *commands(shim._parser()),
        *commands(shim._config_parser()),
        *commands(conformance_cli.server_parser()),
        *commands(conformance_cli.client_parser(), f"{conformance_cli.client_parser().prog} -- COMMAND"),
        "## `jupyter mcp-ws-ide`\n\nStart Jupyter Server with the extension, whether or not it is enabled there. "
        "The options are those of `jupyter server` and the [traits](traits.md); `--help-all` lists them.\n",
    ]
    return "\n".join(parts)


def commands(parser: argparse.ArgumentParser, title: str = "", level: int = 2) -> Iterator[str]:
    """The section of a parser, and those of its subcommands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    positional = " ".join(placeholder(action) for action in parser._actions if not action.option_strings)
    heading = title or f"{parser.prog} {positional}".strip()
    rows = [
        (cell(label(action)), cell(explained(action)))
        for action in parser._actions
        if action not in groups and not isinstance(action, (argparse._HelpAction, argparse._VersionAction))
    ]
    if rows or parser.description:
        yield f"{'#' * level} `{heading}`\n\n{sentence(parser.description or '')}"
    if rows:
        yield table(("argument", "meaning"), *rows)
    for group in groups:
        for child in group.choices.values():
            yield from commands(child, level=3)


def sentence(text: str) -> str:
    """A paragraph that begins and ends as one."""
    text = flat(text)
    return f"{text[0].upper()}{text[1:].removesuffix('.')}.\n" if text else ""


def placeholder(action: argparse.Action) -> str:
    """What stands for a positional argument in the synopsis; nothing for the choice of a subcommand."""
    if isinstance(action, argparse._SubParsersAction):
        return ""
    name = str(action.metavar or action.dest.upper())
    return f"[{name}]" if action.nargs == "?" else name


def label(action: argparse.Action) -> str:
    """How an argument is written."""
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return f"`[{value}]`" if action.nargs == "?" else f"`{value}`"
    suffix = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{suffix}`" for option in action.option_strings)


def explained(action: argparse.Action) -> str:
    """Its help, with what argparse would fill in."""
    return (action.help or "") % {"default": action.default, "prog": ""}


# --- errors and close codes ------------------------------------------------------------------------


def error_codes() -> str:
    """JSON-RPC errors, close codes, and the exceptions of the Python package."""
    codes = documented(errors)
    own = [
        (f"`{getattr(errors, n)}`", cell(text))
        for n, text in codes
        if is_code(n) and getattr(errors, n) > -32000
    ]
    reserved = [
        (f"`{getattr(errors, n)}`", cell(text))
        for n, text in codes
        if is_code(n) and getattr(errors, n) <= -32000
    ]
    closing = [
        (f"`{int(code)}`", f"`{code.name}`", cell(text))
        for name, text in documented(binding, "CloseCode")
        for code in [binding.CloseCode[name]]
    ]
    tree = inspect.cleandoc(errors.__doc__ or "").split("::\n")[1].split("\n\nCodes of")[0].strip("\n")
    return (
        "# Errors and close codes\n\n"
        "What to do about the common ones: [Troubleshooting](../operate/troubleshooting.md).\n\n"
        "## JSON-RPC errors of the gateway\n\n"
        + table(("code", "meaning"), *sorted(own, reverse=True))
        + "\n## JSON-RPC errors of the protocol\n\nThe gateway answers with these as well; servers do too.\n\n"
        + table(("code", "meaning"), *sorted(reserved, reverse=True))
        + "\n## Close codes\n\nOf a WebSocket or poll link (RFC 6455, section 7.4, and its private range).\n\n"
        + table(("code", "name", "meaning"), *closing)
        + f"\n## Exceptions of the Python package\n\nAll in `mcp_ws_ide.errors`.\n\n```text\n{dedented(tree)}\n```\n"
    )


def is_code(name: str) -> bool:
    """Whether a constant of the error module is one JSON-RPC code."""
    return isinstance(getattr(errors, name, None), int)


def documented(module: ModuleType, inside: str = "") -> list[tuple[str, str]]:
    """Assigned names of a module, or of a class in it, with the docstring below each; "" where there is none."""
    body: list[ast.stmt] = ast.parse(inspect.getsource(module)).body
    if inside:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == inside)
    found = []
    for node, below in zip(body, [*body[1:], None], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            found.append((target.id, str(text.value) if isinstance(text, ast.Constant) else ""))
    return found


def dedented(text: str) -> str:
    """Without the indentation that all lines share."""
    return inspect.cleandoc("\n" + text)


# --- conformance -----------------------------------------------------------------------------------


def conformance() -> str:
    """Every clause of the wire contract, with its checks or why there are none."""
    verdicts = table(
        ("verdict", "meaning"), *((f"**{verdict}**", text) for verdict, text in MEANINGS.items())
    )
    parts = [
        "# Conformance checks\n\nThe clauses of the [wire contract](binding.md), and what `mcp-ws-conformance` checks "
        "of them: of an endpoint, and of a client. How to run it: [Check an implementation]"
        f"(../guides/conformance.md).\n\n{verdicts}\nA check in *italics* warns where others fail.\n"
    ]
    for section, title in SECTIONS.items():
        rows = [
            (
                f"[`{clause.id}`](binding.md#{clause.id})",
                cell(clause.text),
                named(SERVER, clause.id),
                named(CLIENT, clause.id),
            )
            if not clause.unchecked
            else (
                f"[`{clause.id}`](binding.md#{clause.id})",
                cell(clause.text),
                f"no check: {clause.unchecked}",
                "",
            )
            for clause in CLAUSES.values()
            if clause.section == section
        ]
        parts.append(
            f"## {section} {title}\n\n" + table(("clause", "what it says", "endpoint", "client"), *rows)
        )
    return "\n".join(parts)


def named(checks: Checks, clause: str) -> str:
    """The checks of one side for a clause: what has to hold."""
    texts = []
    for check in checks.in_order():
        if check.clause.id == clause:
            title = cell(check.title).removesuffix(".").replace("*", r"\*")
            slow = f" ({check.slow:g} s; `--slow`)" if check.slow else ""
            texts.append((f"*{title}*" if check.lenient else title) + slow)
    return ";<br>".join(texts)


# --- metrics ---------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric with type, labels and meaning."""
    collected = [
        *GatewayCollector(Metrics(), dict).collect(),
        *EngineCollector(MemoryEngine(), str).collect(),
    ]
    families = sorted(collected, key=lambda family: family.name)
    rows = [
        (
            f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
            family.type,
            ", ".join(f"`{name}`" for name in family._labelnames),  # type: ignore[attr-defined]
            cell(family.documentation),
        )
        for family in families
    ]
    return (
        "# Metrics\n\nOn Jupyter's `/metrics`, in Prometheus' format; authenticated like every page of Jupyter. "
        "How to read them: [Capacity and limits](../operate/capacity.md).\n\n"
        + table(("name", "type", "labels", "meaning"), *rows)
    )


# --- REST ------------------------------------------------------------------------------------------


def rest() -> str:
    """Every operation of the REST interface."""
    document = json.loads(OPENAPI.read_text(encoding="utf-8"))
    parts = [
        f"# REST\n\n{flat(document['info']['description'])}\n\nThe machine-readable description, with the schema of "
        "every body, is `GET {base_url}mcp-ws/api/openapi.json`; this page is made from it.\n"
    ]
    for path, operations in document["paths"].items():
        for method in ("get", "post", "put", "delete"):
            if method in operations:
                parts.append(operation(document, path, method, operations))
    return "\n".join(parts)


def operation(document: dict[str, Any], path: str, method: str, operations: dict[str, Any]) -> str:
    """The section of one operation."""
    described = operations[method]
    rows = [
        (f"`{item['name']}`", item["in"], cell(meaning(item, item.get("schema", {}))))
        for item in [*operations.get("parameters", []), *described.get("parameters", [])]
    ]
    schema = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    required = schema.get("required", [])
    for name, item in schema.get("properties", {}).items():
        place = "body" if name in required else "body, optional"
        rows.append((f"`{name}`", place, cell(meaning(item, resolved(document, item)))))
    answers = [
        (f"`{status}`", cell(resolved(document, answer)["description"]))
        for status, answer in sorted(described["responses"].items())
    ]
    text = f"## `{method.upper()} {path}`\n\n{flat(described['summary'])}\n\n"
    if rows:
        text += table(("parameter", "in", "meaning"), *rows) + "\n"
    return text + table(("status", "meaning"), *answers)


def resolved(document: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """What a ``$ref`` within the document names."""
    for part in item["$ref"].removeprefix("#/").split("/") if "$ref" in item else ():
        document = document[part]
    return document if "$ref" in item else item


def meaning(item: dict[str, Any], schema: dict[str, Any]) -> str:
    """Description, values and default of a parameter."""
    parts = [item.get("description", schema.get("description", ""))]
    if "enum" in schema:
        parts.append("One of " + ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"]) + ".")
    if "default" in schema:
        parts.append(f"Default `{json.dumps(schema['default'])}`.")
    return " ".join(part for part in parts if part) or str(schema.get("type", ""))


PAGES: Final[dict[str, tuple[Callable[[], str], str]]] = {
    "traits.md": (traits, "mcp_ws_ide/app.py"),
    "cli.md": (
        command_line,
        "mcp_ws_ide/inspector/cli.py, mcp_ws_ide/client/shim.py and mcp_ws_ide/conformance/cli.py",
    ),
    "errors.md": (error_codes, "mcp_ws_ide/errors.py and mcp_ws_ide/core/binding.py"),
    "conformance.md": (conformance, "mcp_ws_ide/conformance/"),
    "metrics.md": (metrics, "mcp_ws_ide/observe/metrics.py and mcp_ws_ide/engines/collector.py"),
    "rest.md": (rest, "mcp_ws_ide/handlers/api/openapi.json"),
}
"""What writes each page of docs/reference, and the source it names."""


def pages() -> dict[str, str]:
    """The text of every generated page by its file name."""
    return {name: NOTICE.format(source=source) + write() for name, (write, source) in PAGES.items()}


def main() -> int:
    """Write the pages that changed."""
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
