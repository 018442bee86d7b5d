"""The extension of IPython: ``%load_ext mcp_ws_ide``.

It adds the magic ``%mcp``, and shows objects of the SDK, which ``await client.list_tools()`` and the like return, as
tables, text and images, with either major of the SDK.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp_ws_ide.client.sync import html
from mcp_ws_ide.client.sync.client import SyncClient, connect_sync
from mcp_ws_ide.client.sync.plain import plain
from mcp_ws_ide.client.sync.tracebacks import short
from mcp_ws_ide.discovery import find_gateway
from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.rest_client import GatewayClient

try:
    import mcp_types as types
except ImportError:  # SDK 1.x
    from mcp import types

COMPLETING_SECONDS: Final = 10.0
"""Seconds that a server may take to be connected while its tools are completed."""
_NAME: Final = "mcp"
_LINE: Final = re.compile(rf"\s*(?:\w+\s*=\s*)?%%?{_NAME}\s(.*)", re.DOTALL)
"""A line with the magic up to the cursor, be it assigned to a name."""

FORMATS: Final[dict[type, Callable[[Any], str]]] = {
    types.ListToolsResult: lambda result: html.tools(plain(result)["tools"]),
    types.ListPromptsResult: lambda result: html.prompts(plain(result)["prompts"]),
    types.ListResourcesResult: lambda result: html.resources(plain(result)["resources"]),
    types.ListResourceTemplatesResult: lambda result: html.resources(plain(result)["resourceTemplates"]),
    types.Tool: lambda tool: html.tools([plain(tool)]),
    types.CallToolResult: lambda result: html.tool_result(plain(result)),
    types.ReadResourceResult: lambda result: html.contents(plain(result)),
    types.GetPromptResult: lambda result: html.messages(plain(result)),
}
"""The formatter of each SDK type."""


def load_ipython_extension(ipython: Any) -> None:
    """Register the formatters and the magic; called by ``%load_ext``."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for shown, show in FORMATS.items():
        formatter.for_type(shown, show)
    magic = ServerMagic(ipython)
    ipython.register_magic_function(magic.run, "line_cell", _NAME)
    ipython.Completer.custom_matchers.append(magic.complete)


def unload_ipython_extension(ipython: Any) -> None:
    """Remove the formatters and the magic; called by ``%unload_ext``."""
    formatter = ipython.display_formatter.formatters["text/html"]
    for shown in FORMATS:
        formatter.pop(shown, None)
    for kind in ("line", "cell"):
        magic = ipython.magics_manager.magics[kind].pop(_NAME, None)
    if magic is not None:
        magic.__self__.close()
        ipython.Completer.custom_matchers.remove(magic.__self__.complete)


class ServerMagic:
    """The magic ``%mcp``, and its clients: one for each server, opened when it is first named."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._clients: dict[str, SyncClient] = {}
        self.complete: Final = _matcher(self.following)

    def close(self) -> None:
        """End every session."""
        while self._clients:
            self._clients.popitem()[1].close()

    def client(self, server: str, **options: Any) -> SyncClient:
        """Return the client of a server."""
        if server not in self._clients:
            self._clients[server] = connect_sync(server, **options)
        return self._clients[server]

    def run(self, line: str, cell: str | None = None) -> Any:
        """Use the MCP servers of the gateway.

        %mcp                                list the servers
        %mcp SERVER                         list what a server offers
        %mcp SERVER TOOL [NAME=VALUE …]     call a tool, or get a prompt
        %mcp SERVER URI                     read a resource
        %%mcp SERVER TOOL [ARGUMENT] [NAME=VALUE …]
            call a tool; the cell is the value of ARGUMENT, or of the first one that the line does not give

        A value is text or JSON, as the tool wants it; $name is the value of a variable. To keep the result:
        result = %mcp git git_log repo_path=.
        """
        return short(self._run)(line, cell)

    def _run(self, line: str, cell: str | None) -> Any:
        words = _words(line)
        if not words:
            return Servers(servers())
        client = self.client(words[0])
        if len(words) == 1:
            return client
        name, given = words[1], words[2:]
        if "://" in name:
            return client.read(name)
        if name in client.prompts and name not in client.tools:
            return client.prompt(name, self._arguments(client.prompts[name], given, cell))
        try:
            function = client.tools[name]
        except KeyError as error:
            raise UnusableArgumentError(error.args[0]) from None
        return client.call(name, self._arguments(function, given, cell))

    def _arguments(self, function: Callable[..., Any], given: list[str], cell: str | None) -> dict[str, Any]:
        """Return the arguments of a line, and of a cell.

        Raises:
            UnusableArgumentError: one is unknown, has no value, or cannot be read as the tool wants it.
        """
        parameters = function.__signature__.parameters  # type: ignore[attr-defined]
        any_name = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        found: dict[str, Any] = {}
        for word in given:
            name, mark, value = word.partition("=")
            if mark and (name in parameters or any_name):
                found[name] = self._value(name, value, parameters)
            elif cell is not None and name in parameters:
                found[name] = self._value(name, cell, parameters)
                cell = None
            else:
                raise UnusableArgumentError(
                    f"{word!r} is no argument; write NAME=VALUE, with {_names(parameters)}"
                )
        if cell is not None:
            free = next((name for name in parameters if name not in found), None)
            if free is None:
                raise UnusableArgumentError(
                    "the line gives every argument, and none is left for the cell; remove one from the line"
                )
            found[free] = self._value(free, cell, parameters)
        if missing := [name for name in _required(parameters) if name not in found]:
            raise UnusableArgumentError(f"{function.__name__} needs {' and '.join(missing)} as well")
        return found

    def _value(self, name: str, value: str, parameters: Mapping[str, Any]) -> Any:
        if value.startswith("$") and value[1:].isidentifier():
            if value[1:] not in self._ipython.user_ns:
                raise UnusableArgumentError(f"{name}={value}: there is no variable {value[1:]!r}")
            return self._ipython.user_ns[value[1:]]
        wanted = parameters[name].annotation if name in parameters else Any
        if wanted is str:
            return value.removesuffix("\n")
        try:
            return json.loads(value)
        except ValueError:
            if wanted in (int, float, bool, dict, list):
                raise UnusableArgumentError(
                    f"{name}={value} is no {wanted.__name__}; write it as JSON"
                ) from None
            return value

    def following(self, words: list[str]) -> list[str]:
        """Return what may follow these words: a server, a tool or prompt or resource, an argument."""
        if not words:
            return [str(each["name"]) for each in servers()]
        client = self.client(words[0], timeout=COMPLETING_SECONDS)
        if len(words) == 1:
            return [*client.tools, *client.prompts, *client.resources._uris]
        function = client.tools[words[1]] if words[1] in client.tools else client.prompts[words[1]]
        given = {word.partition("=")[0] for word in words[2:]}
        parameters = function.__signature__.parameters  # type: ignore[attr-defined]
        return [f"{name}=" for name in parameters if name not in given]


def _matcher(following: Callable[[list[str]], list[str]]) -> Callable[[Any], Any]:
    """Return what completes lines with the magic, in place of IPython's other matchers, which know Python only."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def complete(context: Any) -> Any:
        line = _LINE.fullmatch(context.text_until_cursor)
        if line is None:
            return {"completions": []}
        *words, begun = re.split(r"\s+", line[1].lstrip())
        try:
            found = [each for each in following(words) if each.startswith(begun)]
        except Exception:
            found = []  # a completion that fails is none
        completions = [SimpleCompletion(each) for each in found]
        return {"completions": completions, "matched_fragment": begun, "suppress": True, "ordered": True}

    matcher: Callable[[Any], Any] = context_matcher()(complete)
    return matcher


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UnusableArgumentError(f"{line!r} cannot be read: {error}; quote values with blanks") from None


def _names(parameters: Mapping[str, Any]) -> str:
    return f"NAME one of {', '.join(parameters)}" if parameters else "but it takes none"


def _required(parameters: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, each in parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]


def servers() -> list[dict[str, Any]]:
    """Return the servers of the gateway that this process uses (docs/reference/rest.md).

    Raises:
        ConnectError: no gateway was found, or it refuses.
    """
    gateway = find_gateway()
    try:
        found: list[dict[str, Any]] = GatewayClient(gateway).call("GET", "servers")["servers"]
    except KeyError:
        raise ConnectError(f"{gateway.url} does not list its servers; check that it is a gateway") from None
    return found


class Servers:
    """The servers of a gateway, as a table."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._listed = listed

    def _rows(self) -> list[tuple[str, str]]:
        return [
            (str(each["name"]), ": ".join(filter(None, [each["state"], each["reason"]])))
            for each in self._listed
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{name}  {state}" for name, state in self._rows()) or "no server is configured"

    def _repr_html_(self) -> str:
        if not self._listed:
            return html.note("no server is configured; put one into mcp.json")
        rows = (html.row(f"<code>{html.text(name)}</code>", html.text(state)) for name, state in self._rows())
        return html.table(("server", "state"), rows)
