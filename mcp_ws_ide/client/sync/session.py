"""One session of a blocking client: calls from any thread, on the event loop of :mod:`.loop_thread`."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from mcp_ws_ide.client.connecting import connect
from mcp_ws_ide.client.states import Lost, State
from mcp_ws_ide.client.sync import apps, questions
from mcp_ws_ide.client.sync.loop_thread import Caller, LoopThread, current_caller, loop_thread
from mcp_ws_ide.client.sync.notebooks import kernel
from mcp_ws_ide.client.sync.plain import plain
from mcp_ws_ide.client.sync.progress import Progress
from mcp_ws_ide.client.sync.results import PromptMessages, ResourceContents, ToolResult
from mcp_ws_ide.errors import METHOD_NOT_FOUND, ToolError

log = logging.getLogger(__name__)

T = TypeVar("T")

OnElicit = Callable[[str, Any], "dict[str, Any] | None"]
OnSample = Callable[[dict[str, Any]], "str | None"]
OnProgress = Callable[[float, "float | None", "str | None"], None]

REFUSED: Final = -1
"""Error code with which a client refuses to sample (MCP, Sampling, "Error Handling")."""
MOST_PAGES: Final = 1000
"""Pages of a list that are read."""
LONGEST_REASON: Final = 2000
"""Characters of a tool's error that its exception repeats."""


class Questions:
    """What a server asks during a call: asked in the thread of that call.

    Args:
        server: its name, for the user.
        on_elicit, on_sample: see :func:`~mcp_ws_ide.client.sync.client.connect_sync`.
    """

    def __init__(self, server: str, on_elicit: OnElicit | None, on_sample: OnSample | None) -> None:
        self._server = server
        self._on_elicit, self._on_sample = on_elicit, on_sample
        self.callers: list[Caller] = []
        """The threads that wait for a call, the newest last."""

    def callbacks(self) -> dict[str, Any]:
        """Return the callbacks for the SDK. The server does not ask what has none."""
        asks = questions.can_ask()
        found = {"elicitation_callback": self._elicit if asks or self._on_elicit else None}
        found["sampling_callback"] = self._sample if asks or self._on_sample else None
        return {name: callback for name, callback in found.items() if callback is not None}

    def _caller(self) -> Caller | None:
        """Return the thread to ask: of the call that the question belongs to, where the protocol tells."""
        known = current_caller.get()
        if known in self.callers:
            return known
        main = threading.main_thread().ident
        in_main = [each for each in self.callers if each.thread == main]
        return (in_main or self.callers or [None])[-1]  # type: ignore[list-item]

    async def _elicit(self, context: Any, params: Any) -> Any:
        types, asked = _types(), plain(params)
        if (caller := self._caller()) is None:
            return types.ElicitResult(action="cancel")
        try:
            content = await caller.ask(partial(self._form, asked), questions.RefusedError)
        except questions.RefusedError as refused:
            return types.ElicitResult(action=str(refused))
        return types.ElicitResult(action="accept", content=None if asked.get("mode") == "url" else content)

    def _form(self, asked: dict[str, Any]) -> dict[str, Any]:
        schema = None if asked.get("mode") == "url" else asked.get("requestedSchema", {})
        message = str(asked.get("message", ""))
        if self._on_elicit is not None:
            whole = message if schema is not None else f"{message} {asked.get('url', '')}"
            answer = self._on_elicit(whole, schema)
            if answer is None:
                raise questions.RefusedError("decline")
            return answer
        if schema is None:
            questions.ask_to_open(self._server, message, str(asked.get("url", "")))
            return {}
        return questions.ask_form(self._server, message, schema)

    async def _sample(self, context: Any, params: Any) -> Any:
        types = _types()
        refusal = types.ErrorData(code=REFUSED, message="The user refused to sample")
        if (caller := self._caller()) is None:
            return refusal
        try:
            answer = await caller.ask(partial(self._answer, plain(params)), questions.RefusedError)
        except questions.RefusedError:
            return refusal
        content = types.TextContent(type="text", text=answer)
        model = "human" if self._on_sample is None else getattr(self._on_sample, "__name__", "function")
        return types.CreateMessageResult(role="assistant", content=content, model=model)

    def _answer(self, params: dict[str, Any]) -> str:
        if self._on_sample is None:
            return questions.ask_as_model(self._server, params)
        answer = self._on_sample(params)
        if answer is None:
            raise questions.RefusedError("decline")
        return answer


class Link:
    """The asynchronous client of a session; belongs to the loop, and is replaced when its session is lost."""

    def __init__(self, opened: AbstractAsyncContextManager[Any]) -> None:
        self._opened = opened
        self.client: Any = None
        self.lost = False

    async def open(self) -> None:
        """Connect."""
        self.client = await self._opened.__aenter__()

    async def close(self) -> None:
        """End the session; what fails then is of no use to anybody."""
        try:
            await self._opened.__aexit__(None, None, None)
        except Exception as error:
            log.debug("a session did not close cleanly", exc_info=error)


class Session:
    """A session of one server, for calls from any thread.

    It ends with :meth:`close`, with the process, or when nothing refers to it any more. If the connection was lost for
    good, the next call opens another one.

    Args:
        target: name or URL.
        name: of the server, for the user.
        asked: what the server may ask.
        progress: whether to show progress.
        options: of :func:`~mcp_ws_ide.client.connect`.

    Raises:
        ConnectError: the server cannot be reached.
    """

    def __init__(
        self, target: str, name: str, asked: Questions, progress: bool, options: Mapping[str, Any]
    ) -> None:
        self._target, self.name = target, name
        self._asked, self._progress, self._options = asked, progress, dict(options)
        self._lock = threading.Lock()
        self._closed = False
        self._thread: LoopThread = loop_thread()
        self._link = self._open()

    def _open(self) -> Link:
        thread = self._thread
        link, on_state = None, self._options.get("on_state")

        def note(state: State) -> None:
            if link is not None and isinstance(state, Lost):
                link.lost = True
            if on_state is not None:
                on_state(state)

        options = {**_defaults(), **self._asked.callbacks(), **self._options, "on_state": note}
        link = Link(connect(self._target, **options))
        thread.call(lambda caller: link.open())
        thread.opened(link, link.close)
        self._finalizer = weakref.finalize(self, _abandon, thread, link)
        self._finalizer.atexit = False
        return link

    def close(self) -> None:
        """End the session."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._finalizer.detach()
            self._thread.closed(self._link)
            self._thread.call(lambda caller: self._link.close())

    @property
    def client(self) -> Any:
        """The asynchronous client.

        Raises:
            RuntimeError: the session is closed.
            ConnectError: the connection was lost, and cannot be opened again.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the client of {self.name} is closed; call connect_sync again")
            if self._link.lost:
                self._finalizer()
                self._link = self._open()
            return self._link.client

    def call(
        self, function: Callable[[Any, Caller], Awaitable[T]], what: str, timeout: float | None = None
    ) -> T:
        """Run a coroutine function with the asynchronous client.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds, and was cancelled.
        """
        client, callers = self.client, self._asked.callers

        async def run(caller: Caller) -> T:
            callers.append(caller)
            try:
                async with asyncio.timeout(timeout) as clock:
                    return await function(client, caller)
            except TimeoutError:
                if clock.expired():
                    raise TimeoutError(f"{what} took more than {timeout:g} s, and was cancelled") from None
                raise
            finally:
                callers.remove(caller)

        return self._thread.call(run)

    def tool(
        self,
        name: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        listed: Mapping[str, Any] | None = None,
    ) -> ToolResult:
        """Call a tool; see :meth:`.client.SyncClient.call`. ``listed`` is the tool as the server lists it."""
        bar = Progress(name) if self._progress and on_progress is None else None
        show = on_progress or (bar.update if bar else None)

        async def call(client: Any, caller: Caller) -> Any:
            async def report(done: float, total: float | None, message: str | None) -> None:
                if show is not None:
                    caller.tell(partial(show, done, total, message))

            async with _cancelled_at_server(client):
                return await client.call_tool(name, dict(arguments), progress_callback=report)

        try:
            result = ToolResult(name, self.call(call, name, timeout), self._app(listed or {}, arguments))
        finally:
            if bar is not None:
                bar.end()
        if plain(result.raw).get("isError"):
            reason = result.text or "the tool reported an error without a text"
            more = f" … ({len(reason)} characters)" if len(reason) > LONGEST_REASON else ""
            raise ToolError(name, reason[:LONGEST_REASON] + more, result)
        return result

    def _app(self, tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> Callable[[Any], apps.App] | None:
        """Return the function that makes an app of a result; None if the tool has no app."""
        if not (uri := apps.uri_of(tool)):
            return None

        def read(result: Any) -> apps.App:
            contents = plain(self.resource(uri).raw).get("contents", [])
            return apps.app_of(contents, tool, arguments, result)

        return read

    def resource(self, uri: str, timeout: float | None = None) -> ResourceContents:
        """Read a resource."""
        return ResourceContents(
            uri, self.call(lambda client, caller: client.read_resource(uri), uri, timeout)
        )

    def prompt(self, name: str, arguments: Mapping[str, str], timeout: float | None = None) -> PromptMessages:
        """Get the messages of a prompt."""
        given = {key: str(value) for key, value in arguments.items()}
        found = self.call(lambda client, caller: client.get_prompt(name, given), name, timeout)
        return PromptMessages(name, found)

    def items(self, method: str, member: str, capability: str) -> list[dict[str, Any]]:
        """Return a whole list of the server, as on the wire; nothing if the server has no such list.

        Args:
            method: of the client, such as ``list_tools``.
            member: of the result, such as ``tools``.
            capability: of the server, such as ``tools``.
        """
        return self.call(lambda client, caller: _items(client, method, member, capability), member)


async def _items(client: Any, method: str, member: str, capability: str) -> list[dict[str, Any]]:
    if getattr(_capabilities(client), capability, None) is None:
        return []
    found: list[dict[str, Any]] = []
    cursor = None
    try:
        for _ in range(MOST_PAGES):
            page = plain(
                await (getattr(client, method)(cursor=cursor) if cursor else getattr(client, method)())
            )
            found += page.get(member, [])
            cursor = page.get("nextCursor")
            if not cursor:
                break
    except Exception as error:
        if getattr(getattr(error, "error", None), "code", None) != METHOD_NOT_FOUND:
            raise
    return found


def _capabilities(client: Any) -> Any:
    if hasattr(client, "get_server_capabilities"):  # mcp 1.x
        return client.get_server_capabilities()
    return client.server_capabilities


def _defaults() -> dict[str, Any]:
    """Return options of ``mcp.Client``: it asks the server each time, and in a notebook it shows apps. mcp 1.x has
    neither."""
    try:
        from mcp.client.extension import advertise
    except ImportError:
        return {}
    shows = [advertise(apps.EXTENSION, {"mimeTypes": [apps.MEDIA_TYPE]})] if kernel() is not None else []
    return {"cache": None, "extensions": shows}


def _types() -> Any:
    try:
        import mcp_types
    except ImportError:  # mcp 1.x
        from mcp import types

        return types
    return mcp_types


@asynccontextmanager
async def _cancelled_at_server(client: Any) -> AsyncIterator[None]:
    """Tell the server if its request is cancelled; mcp 2.x does so itself."""
    request = getattr(client, "_request_id", None)  # that of the next request, on mcp 1.x
    try:
        yield
    except asyncio.CancelledError:
        if isinstance(request, int):
            types = _types()
            params = types.CancelledNotificationParams(requestId=request, reason="interrupted")
            cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
            await client.send_notification(types.ClientNotification(cancelled))
        raise


def _abandon(thread: LoopThread, link: Link) -> None:
    """Close a link that nothing refers to any more."""
    thread.closed(link)
    thread.start(link.close)
