"""Replay a recording: send its clients' requests again, in order, and report where the responses differ.

Each session of the recording gets its own link, opened before its first request and closed after its last. One request
is in flight at a time. Requests of the server are answered as the recording's client answered the same method, in
order; rounds of input_required (MCP 2026-07-28) use the live ``requestState``.

Not replayed, and counted by reason: requests that were truncated, contain a redacted secret, or have no complete
response in the recording.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mcp_ws_ide.errors import ConnectError, UnauthorizedError
from mcp_ws_ide.inspector.model.copy_forms import INITIALIZED, Call
from mcp_ws_ide.inspector.model.difference import Difference, Path, differences
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import Kind, Lane, Status, part
from mcp_ws_ide.inspector.model.store import TRUNCATED
from mcp_ws_ide.observe.tap_record import HIDDEN
from mcp_ws_ide.proxy_environment import route, via

OPEN_TIMEOUT: Final = 15.0
NOT_SENT: Final = frozenset({"notifications/cancelled", "notifications/progress"})
"""Notifications about the recording's own requests, which would be meaningless here."""


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """A message that a client sent. ``answer`` is the recorded response; None for a notification."""

    row: int
    seq: int
    session: str
    server: str
    method: str
    target: str
    message: dict[str, Any]
    answer: dict[str, Any] | None


@dataclass(slots=True)
class Script:
    """The messages to send, those left out by reason, and how the clients answered the server's requests."""

    steps: list[ReplayStep] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    answers: dict[tuple[str, str], deque[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """The result of one replayed request: the differences of its response, or why there is none."""

    step: ReplayStep
    differences: list[Difference]
    failure: str = ""

    @property
    def same(self) -> bool:
        """Whether the response is the same as in the recording."""
        return not self.differences and not self.failure


# --- what is to be sent --------------------------------------------------------------------------


def script(journal: Journal, server: str = "", session: str = "") -> Script:
    """Return the script of what the clients of a journal sent."""
    store, script = journal.store, Script()
    for row in range(store.first, store.end):
        if (server and store.server_of(row) != server) or not store.session_of(row).startswith(session):
            continue
        lane, kind = store.lane_of(row), store.kind_of(row)
        if lane is Lane.CLIENT_IN and kind in (Kind.REQUEST, Kind.NOTIFICATION):
            _add(journal, row, script)
        elif lane is Lane.CLIENT_IN and kind in (Kind.RESPONSE, Kind.ERROR):
            _add_answer(journal, row, script)
    return script


def _add(journal: Journal, row: int, script: Script) -> None:
    store = journal.store
    method, answer = store.method_of(row), None
    if method in NOT_SENT:
        return
    if reason := _unusable(journal, row):
        script.left_out[reason] += 1
        return
    if store.kind_of(row) is Kind.REQUEST:
        pair = store.linked(store.pair, row)
        if pair is None or store.status_of(row) is Status.CANCELLED:
            script.left_out["no response in the recording"] += 1
            return
        if store.has(pair, TRUNCATED):
            script.left_out["the response was truncated"] += 1
            return
        answer = _content(journal, pair)
    message, target = _content(journal, row), store.target_of(row)
    seq, session = store.seq[row - store.first], store.session_of(row)
    script.steps.append(ReplayStep(row, seq, session, store.server_of(row), method, target, message, answer))


def _add_answer(journal: Journal, row: int, script: Script) -> None:
    """Keep how a client answered a request from the server."""
    store = journal.store
    question = store.linked(store.pair, row)
    if question is not None and not _unusable(journal, row):
        key = store.session_of(row), store.method_of(question)
        script.answers.setdefault(key, deque()).append(_content(journal, row))


def _unusable(journal: Journal, row: int) -> str:
    if journal.store.has(row, TRUNCATED):
        return "truncated by the gateway"
    text = journal.store.body(row).text
    if HIDDEN in text:
        return "contains redacted secrets"
    return "" if _content(journal, row) else "unreadable"


def _content(journal: Journal, row: int) -> dict[str, Any]:
    try:
        content = json.loads(journal.store.body(row).text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# --- sending it ----------------------------------------------------------------------------------


class Replay:
    """Sends a script to one endpoint.

    Raises:
        ConnectError: the endpoint refuses, or cannot be reached.
    """

    def __init__(
        self, script: Script, url: str, token: str, *, timeout: float = 30.0, ignore: Sequence[Path] = ()
    ) -> None:
        self._script = script
        self._url, self._token = url, token
        self._timeout = timeout
        self._ignore = ignore
        self._links: dict[str, tuple[ClientConnection, AsyncExitStack]] = {}
        self._states: dict[str, str] = {}
        self._questions: dict[str, dict[str, str]] = {}
        self._ids = itertools.count(1)

    async def run(self) -> AsyncIterator[ReplayOutcome]:
        """Send all messages; yield the outcome of each request."""
        last = {step.session: step.row for step in self._script.steps}
        try:
            for step in self._script.steps:
                outcome = await self._send(step)
                if outcome is not None:
                    yield outcome
                if last[step.session] == step.row:
                    await self._leave(step.session)
        finally:
            for session in list(self._links):
                await self._leave(session)

    async def _leave(self, session: str) -> None:
        if (entry := self._links.pop(session, None)) is not None:
            await entry[1].aclose()

    async def _link(self, session: str) -> ClientConnection:
        if session not in self._links:
            stack = AsyncExitStack()
            self._links[session] = await stack.enter_async_context(self._opened()), stack
        return self._links[session][0]

    def _opened(self) -> Opening:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return Opening(self._url, headers)

    async def _send(self, step: ReplayStep) -> ReplayOutcome | None:
        link = await self._link(step.session)
        message = self._adapted(step.message)
        try:
            if step.answer is None:
                await link.send(json.dumps(message))
                return None
            message["id"] = next(self._ids)
            async with asyncio.timeout(self._timeout):
                await link.send(json.dumps(message))
                answer = await self._answer(link, step, message["id"])
        except TimeoutError:
            return ReplayOutcome(step, [], f"no response within {self._timeout:g} s")
        except ConnectionClosed as error:
            await self._leave(step.session)
            return ReplayOutcome(step, [], f"the link was closed before the response: {error}")
        self._learn(step.answer, answer)
        return ReplayOutcome(step, list(differences(_bare(step.answer), _bare(answer), self._ignore)))

    async def _answer(self, link: ClientConnection, step: ReplayStep, wanted: int) -> dict[str, Any]:
        while True:
            message = json.loads(await link.recv())
            if "method" in message:
                if "id" in message:
                    await link.send(json.dumps(self._reply(step.session, message)))
            elif message.get("id") == wanted:
                return dict(message)

    def _reply(self, session: str, question: dict[str, Any]) -> dict[str, Any]:
        """Answer as the recording's client answered the same method."""
        waiting = self._script.answers.get((session, str(question.get("method"))))
        if waiting:
            return {**waiting.popleft(), "id": question["id"]}
        if question.get("method") == "ping":
            return {"jsonrpc": "2.0", "id": question["id"], "result": {}}
        error = {"code": -32601, "message": "the recording has no answer to this method"}
        return {"jsonrpc": "2.0", "id": question["id"], "error": error}

    # --- rounds of questions ----------------------------------------------------------------------

    def _learn(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Map the recorded ``requestState`` and names of input requests to the live ones."""
        old, new = part(before, "result", "requestState"), part(after, "result", "requestState")
        if not isinstance(old, str) or not isinstance(new, str):
            return
        self._states[old] = new
        asked, asks = part(before, "result", "inputRequests"), part(after, "result", "inputRequests")
        if isinstance(asked, dict) and isinstance(asks, dict):
            self._questions[old] = dict(zip(asked, asks, strict=False))

    def _adapted(self, message: dict[str, Any]) -> dict[str, Any]:
        params = message.get("params")
        state = part(params, "requestState")
        if not isinstance(state, str) or state not in self._states or not isinstance(params, dict):
            return dict(message)
        changed = {**params, "requestState": self._states[state]}
        names, responses = self._questions.get(state, {}), params.get("inputResponses")
        if isinstance(responses, dict):
            changed["inputResponses"] = {names.get(name, name): value for name, value in responses.items()}
        return {**message, "params": changed}


def without_envelope(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a response without the members ``jsonrpc`` and ``id``."""
    return {name: value for name, value in answer.items() if name not in ("jsonrpc", "id")}


def _bare(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a response that is compared; names of input requests may differ on each run."""
    bare = without_envelope(answer)
    asked = part(bare, "result", "inputRequests")
    if isinstance(asked, dict):
        bare["result"] = {**bare["result"], "inputRequests": list(asked.values())}
    return bare


class Opening:
    """Opens a link; raises a refusal as ConnectError."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url
        self._connect = connect(
            url,
            additional_headers=headers,
            subprotocols=["mcp"],  # type: ignore[list-item]  # a NewType of str
            max_size=None,
            compression=None,
            open_timeout=OPEN_TIMEOUT,
            proxy=route(url, headers, "websockets"),
        )

    async def __aenter__(self) -> ClientConnection:
        try:
            return await self._connect.__aenter__()
        except InvalidStatus as error:
            status = error.response.status_code
            detail = bytes(error.response.body or b"")[:300].decode(errors="replace").strip()
            kind = UnauthorizedError if status in (401, 403) else ConnectError
            raise kind(f"{self._url} refused ({status}): {detail}") from None
        except (OSError, WebSocketException, TimeoutError) as error:
            detail = f"cannot be reached{via(self._url)}: {error or type(error).__name__}"
            raise ConnectError(f"{self._url} {detail}") from None

    async def __aexit__(self, *error: Any) -> None:
        await self._connect.__aexit__(*error)


async def again(call: Call, token: str, before: dict[str, Any]) -> ReplayOutcome:
    """Send one request on its own link, after a handshake if its era has one, and compare the response.

    Raises:
        ConnectError: the endpoint refuses, or cannot be reached.
    """
    opening = [json.loads(call.initialize), json.loads(INITIALIZED)] if call.initialize else []
    method = str(call.content.get("method"))
    steps = [
        ReplayStep(0, 0, "", call.server, "", "", message, {} if "id" in message else None)
        for message in opening
    ]
    steps.append(ReplayStep(1, 0, "", call.server, method, "", call.content, before))
    return [outcome async for outcome in Replay(Script(steps), call.websocket, token).run()][-1]


def lines(outcome: ReplayOutcome, show: Callable[[str], str]) -> Iterator[str]:
    """Yield the lines that report one request; ``show`` escapes a peer's text."""
    step = outcome.step
    sign = "=" if outcome.same else "≠"
    name = " ".join(
        filter(None, (f"#{step.seq}" if step.seq else "", step.session[:4], step.method, step.target))
    )
    yield show(f"{sign} {name}")
    if outcome.failure:
        yield show(f"    {outcome.failure}")
    for difference in outcome.differences[:50]:
        yield show(f"    {difference}")
    if len(outcome.differences) > 50:
        yield f"    … and {len(outcome.differences) - 50} more"
