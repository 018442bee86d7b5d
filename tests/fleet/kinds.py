"""The kinds of session, each with a client that goes on when its links are lost."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import httpx

from mcp_ws_ide.client import negotiating_transport
from mcp_ws_ide.tasks import TaskGroupOwner
from tests.conftest import BOUND, MODERN, response_in, until
from tests.fleet.haproxy import HAProxy
from tests.handlers.test_restart import Patient, ask
from tests.handlers.test_streamable_http import Http, lines
from tests.interop.test_chaos import QUICK

SLOW = {"steps": 40, "delay": 0.1}
"""Arguments of a call that outlasts the beginning of an event."""
FORMS = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}


class Session(Protocol):
    """A client with a session."""

    async def call(self, text: str) -> str:
        """Make a call with this text; return the text of its result, or ``ended`` if the session has ended."""

    async def begin(self) -> asyncio.Task[str]:
        """Make a call, and return when it is under way.

        Returns:
            What becomes of it: ``answered``, the outcome in its error, or ``ended``.
        """


Opened = Callable[[HAProxy, str], AbstractAsyncContextManager[Session]]
"""Opens a session, with this token."""


def outcome(response: dict[str, Any]) -> str:
    """What has become of a request."""
    return "answered" if "result" in response else response["error"]["data"]["outcome"]


class Streams:
    """A session of a client on raw streams.

    Args:
        tasks: the owner of its calls.
        prefix: what a group puts before the names of its tools.
    """

    def __init__(self, one: Patient, tasks: TaskGroupOwner, prefix: str = "") -> None:
        self._one = one
        self._tasks = tasks
        self._prefix = prefix
        self._numbers = itertools.count(1)

    @property
    def _ended(self) -> bool:
        return self._one.states["Lost"] > 0 or self._one.states["Connected"] > 1

    async def call(self, text: str) -> str:
        call = ask(self._one, next(self._numbers), f"{self._prefix}echo", text=text)
        asked = self._tasks.spawn(call, f"call {text!r}")
        await until(lambda: asked.done() or self._ended)
        try:
            return await (asked if asked.done() else asyncio.wait_for(asked, 0))
        except (AssertionError, TimeoutError):  # an error, or no answer at all
            await until(lambda: self._ended)
            return "ended"

    async def begin(self) -> asyncio.Task[str]:
        own = next(self._numbers)
        meta = {"progressToken": own, **({} if self._one.legacy else MODERN)}
        params = {"name": f"{self._prefix}slow", "arguments": SLOW, "_meta": meta}

        async def finish() -> str:
            return outcome(await self._one.call(own, "tools/call", params))

        call = self._tasks.spawn(finish(), "slow call")
        await until(lambda: self._one.progress.get(own), what="progress")
        return call


class Asked(Streams):
    """A session with a call that waits for the user's answer."""

    async def begin(self) -> asyncio.Task[str]:
        params = {"name": "elicit", "arguments": {}, "_meta": {**MODERN, **FORMS}}
        asked = (await self._one.call(next(self._numbers), "tools/call", params))["result"]
        (question,) = asked["inputRequests"]
        answers = {question: {"action": "accept", "content": {"name": "Ada", "agree": True}}}
        continued = {**params, "requestState": asked["requestState"], "inputResponses": answers}

        async def finish() -> str:
            await self._answer.wait()
            response = await self._one.call(next(self._numbers), "tools/call", continued)
            return "answered" if "result" in response else "refused"

        self._answer = asyncio.Event()
        return self._tasks.spawn(finish(), "continued call")

    async def call(self, text: str) -> str:
        """Make a call; the user answers afterwards."""
        result = await super().call(text)
        if hasattr(self, "_answer"):
            self._answer.set()
        return result


class HandshakeHttp:
    """A handshake-era session over HTTP; each request has a connection of its own."""

    def __init__(self, http: Http, tasks: TaskGroupOwner) -> None:
        self._http = http
        self._tasks = tasks
        self._numbers = itertools.count(1)
        self._progress = False

    async def call(self, text: str) -> str:
        own = next(self._numbers)
        while (answer := await self._http.legacy(own, "echo", {"text": text})).status_code == 503:
            await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
        if answer.status_code == 404:
            return "ended"
        return response_in(answer)["result"]["content"][0]["text"]

    async def begin(self) -> asyncio.Task[str]:
        call = self._tasks.spawn(self._follow(next(self._numbers)), "slow call")
        await until(lambda: self._progress or call.done(), what="progress")
        return call

    async def _follow(self, own: int) -> str:
        """Make the slow call, and fetch the rest of its response as often as its stream is cut."""
        http = self._http
        params = {"name": "slow", "arguments": SLOW, "_meta": {"progressToken": own}}
        body = json.dumps({"jsonrpc": "2.0", "id": own, "method": "tools/call", "params": params})
        headers = {**http.headers, "Content-Type": "application/json"}
        stream = http.client.stream("POST", http.url, content=body, headers=headers)
        last = ""
        while True:
            try:
                async with stream as response:
                    if response.status_code == 503:
                        await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
                    elif response.status_code != 200:
                        return "ended" if response.status_code == 404 else f"status {response.status_code}"
                    else:
                        async for event, message in lines(response):
                            last, self._progress = event or last, True
                            if message.get("id") == own:
                                return outcome(message)
            except httpx.TransportError:
                if not last:
                    return "unknown"
            stream = http.client.stream("GET", http.url, headers={**http.headers, "Last-Event-ID": last})


@asynccontextmanager
async def owner() -> AsyncIterator[TaskGroupOwner]:
    """An owner of tasks, which end with the block."""
    tasks = TaskGroupOwner()
    try:
        yield tasks
    finally:
        await tasks.aclose(BOUND)


def streams(server: str, *, legacy: bool = False, poll: bool = False, prefix: str = "") -> Opened:
    @asynccontextmanager
    async def opened(proxy: HAProxy, token: str) -> AsyncIterator[Session]:
        one = Patient(proxy.endpoint(server), token, 1, legacy)
        if poll:
            url = proxy.endpoint(server).replace("ws://", "http://")
            one.transport = negotiating_transport(  # type: ignore[assignment]
                url, token=token, reconnect=QUICK, transports=["poll"], on_state=one.note
            )
        async with one, owner() as tasks:
            yield Streams(one, tasks, prefix)

    return opened


@asynccontextmanager
async def asked(proxy: HAProxy, token: str) -> AsyncIterator[Session]:
    async with Patient(proxy.endpoint("demo"), token, 1, False) as one, owner() as tasks:
        yield Asked(one, tasks)


@asynccontextmanager
async def handshake_http(proxy: HAProxy, token: str) -> AsyncIterator[Session]:
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=BOUND, limits=limits) as client, owner() as tasks:
        http = Http.__new__(Http)
        http.client, http.url = client, proxy.endpoint("fast").replace("ws://", "http://")
        http.headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        await http.initialize()
        yield HandshakeHttp(http, tasks)


KINDS: dict[str, Opened] = {
    "modern": streams("fast"),
    "modern, a call waits for the user's answer": asked,
    "modern, poll link": streams("fast", poll=True),
    "modern, group": streams("+fast+always", prefix="always__"),
    "handshake era, `sharing: always`": streams("always", legacy=True),
    "handshake era, remote server": streams("remote", legacy=True),
    "handshake era, a process of its own": streams("fast", legacy=True),
    "handshake era over HTTP": handshake_http,
}
"""The rows of the table in docs/operate/several.md."""
