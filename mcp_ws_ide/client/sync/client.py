"""``connect_sync``: a client whose calls block, for notebooks, scripts and the prompt of Python."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from mcp_ws_ide.client.arguments import check_target
from mcp_ws_ide.client.sync.html import text
from mcp_ws_ide.client.sync.namespaces import Prompts, Resources, Tools
from mcp_ws_ide.client.sync.results import PromptMessages, ResourceContents, ToolResult
from mcp_ws_ide.client.sync.session import OnElicit, OnProgress, OnSample, Questions, Session
from mcp_ws_ide.client.sync.tracebacks import short

T = TypeVar("T")


@short
def connect_sync(
    name_or_url: str,
    *,
    on_elicit: OnElicit | None = None,
    on_sample: OnSample | None = None,
    progress: bool = True,
    **options: Any,
) -> SyncClient:
    """Return a connected client whose calls block.

    Works in notebooks, in scripts and at the prompt, also while an event loop runs, and from several threads. The
    sessions of all these clients live on one event loop in a thread of its own. A session ends with ``close()``, at the
    end of a ``with`` block, when nothing refers to the client, or when the process exits.

    Args:
        name_or_url: as in :func:`~mcp_ws_ide.client.connect`.
        on_elicit: answers what a server asks the user: ``on_elicit(message, schema)`` returns the answer, an object
            that fits the JSON schema, or None to decline. ``schema`` is None if the user is to open the URL that ends
            the message. If omitted, the user is asked with ``input()`` where that is possible.
        on_sample: answers in place of a model: ``on_sample(params)`` returns the text, or None to refuse; ``params`` is
            an object as on the wire (``messages``, ``systemPrompt``, ``maxTokens``, …). If omitted, the user answers.
        progress: whether to show the progress of calls, in notebooks and on terminals.
        options: of :func:`~mcp_ws_ide.client.connect`.

    Raises:
        ConnectError: as :func:`~mcp_ws_ide.client.connect`.
    """
    check_target(name_or_url)
    name = _name_of(name_or_url)
    session = Session(name_or_url, name, Questions(name, on_elicit, on_sample), progress, options)
    try:
        client = SyncClient(session)
    except BaseException:
        session.close()
        raise
    if any("outputSchema" in tool for tool in client.tools._items):
        # The SDK checks results with it from the first call on; its import takes one to three seconds.
        threading.Thread(target=import_module, args=("jsonschema",), daemon=True).start()
    return client


def _name_of(target: str) -> str:
    """Return how to call a server: its name, or the last part of its URL."""
    if "://" not in target:
        return target
    parts = urlsplit(target)
    return unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc.rpartition("@")[2]


class SyncClient:
    """A client whose calls block; :func:`connect_sync` returns it.

    Attributes:
        tools, prompts, resources: what the server offers, as functions: ``mcp.tools.echo(text="hi")``.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.tools = Tools(session)
        self.prompts = Prompts(session)
        self.resources = Resources(session)

    @short
    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> ToolResult:
        """Call a tool with arguments that are not checked here.

        Args:
            tool: its name.
            arguments: by name.
            timeout: seconds, after which the call is cancelled; None waits.
            on_progress: called as ``on_progress(done, total, message)`` in this thread, in place of the bar.

        Raises:
            ToolError: the tool reported an error.
            TimeoutError: the time is over.
            Exception: the SDK's ``MCPError`` (``McpError`` on 1.x), if the server or the gateway refused the call, or
                the connection was lost. The outcome of the call is in its ``error.data``.
        """
        listed = next((item for item in self.tools._items if item["name"] == tool), None)
        return self._session.tool(tool, arguments or {}, timeout, on_progress, listed)

    @short
    def read(self, uri: str, *, timeout: float | None = None) -> ResourceContents:
        """Read a resource by its URI."""
        return self._session.resource(uri, timeout)

    @short
    def prompt(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> PromptMessages:
        """Get the messages of a prompt."""
        return self._session.prompt(name, arguments or {}, timeout)

    @property
    def client(self) -> Any:
        """The asynchronous client of the SDK, for :meth:`run`."""
        return self._session.client

    @short
    def run(self, awaitable: Awaitable[T], *, timeout: float | None = None) -> T:
        """Wait for a call of :attr:`client`: ``mcp.run(mcp.client.send_ping())``."""
        return self._session.call(lambda client, caller: awaitable, "the call", timeout)

    @short
    def refresh(self) -> None:
        """List tools, prompts and resources again."""
        for namespace in (self.tools, self.prompts, self.resources):
            namespace._refresh()

    @short
    def close(self) -> None:
        """End the session."""
        self._session.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        found = [each for each in self._namespaces() if len(each)]
        counts = (f"{len(each)} {each._kind}{'' if len(each) == 1 else 's'}" for each in found)
        return f"<{self._session.name}: {', '.join(counts) or 'nothing'}>"

    def _repr_html_(self) -> str:
        tables = "".join(each._repr_html_() for each in self._namespaces() if len(each))
        return f"<b>{text(self._session.name)}</b>{tables}"

    def _namespaces(self) -> tuple[Tools, Resources, Prompts]:
        return self.tools, self.resources, self.prompts
