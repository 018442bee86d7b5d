"""A link with MCP on it: the handshake of either kind, requests and their responses, and the count of data frames."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.verdicts import UnmetError
from mcp_ws_ide.conformance.wire import Closed, Event, Link

RESUME: Final = "mcp.resume.v1"
GRACE: Final = 0.3
"""Seconds in which an answer may come after the answer to a later request."""


def parsed(event: Event) -> Any:
    """The JSON value of a text message; None if it is none."""
    if not isinstance(event, str):
        return None
    try:
        return json.loads(event)
    except ValueError:
        return None


def said(event: Event) -> str:
    """What came, in a few words."""
    if isinstance(event, bytes):
        return f"a binary message of {len(event)} bytes"
    return "silence" if event is None else str(event)[:200]


@dataclass(slots=True)
class Reaction:
    """What came between something odd and the response to the next good request."""

    messages: list[Any] = field(default_factory=list)
    closed: Closed | None = None
    goes_on: bool = False
    """The good request was answered."""

    def code(self) -> int | None:
        """The code of the first error."""
        return next((code for code in map(mcp.error_code, self.messages) if code is not None), None)

    def error(self) -> dict[str, Any]:
        """The first error message; empty if there is none."""
        return next((item for item in self.messages if mcp.error_code(item) is not None), {})

    def __str__(self) -> str:
        said = ", ".join(short(message) for message in self.messages)
        after = "the next request was answered" if self.goes_on else "the next request was not answered"
        return "; ".join(filter(None, [said or "no answer", str(self.closed) if self.closed else after]))


def short(message: Any) -> str:
    """A message in a few words."""
    if (code := mcp.error_code(message)) is not None:
        return f"error {code} with id {json.dumps(message.get('id'))}"
    if isinstance(message, dict) and "method" in message:
        return f"{message['method']}"
    if isinstance(message, dict) and "result" in message:
        return f"a result with id {json.dumps(message.get('id'))}"
    text = json.dumps(message, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


class Conversation:
    """One link, or the links of one session one after the other.

    Args:
        link: an open link; :meth:`go_on` puts another in its place.
        era: of the requests.
        seconds: how long to wait for each response.
    """

    def __init__(self, link: Link, era: mcp.Era, seconds: float) -> None:
        self.link = link
        self.era = era
        self.seconds = seconds
        self.ids = itertools.count(1)
        self.received = 0
        """Data frames that have come."""
        self.sent = 0
        """Data frames that were sent."""
        self.opened: dict[str, Any] = {}
        self.token = ""
        self.controls: list[dict[str, Any]] = []
        """Control frames that have come since the session was opened or resumed."""
        self.other: list[Any] = []
        """Messages that answered no request of :meth:`request`."""
        self.frames: list[str] = []
        """Every data frame that has come, as text."""

    @property
    def resumable(self) -> bool:
        """Whether the link speaks ``mcp.resume.v1``."""
        return self.link.subprotocol == RESUME

    async def open(self) -> None:
        """Open the session, where the link is resumable.

        Raises:
            UnmetError: it was not opened.
        """
        if self.resumable:
            await self.link.send_json({"mcp.ws": "open"})
            self.opened = await self.control("opened")
            self.token = str(self.opened.get("token"))

    async def begin(self) -> None:
        """Open the session, with the handshake where the era has one.

        Raises:
            UnmetError: it was not opened.
        """
        await self.open()
        if self.era == "handshake":
            answer = await self.request(mcp.initialize(next(self.ids)))
            if "result" not in answer:
                raise UnmetError(f"initialize was answered with {short(answer)}")
            await self.send(mcp.INITIALIZED)

    async def send(self, message: Any) -> None:
        """Send a message."""
        self.sent += 1
        await self.link.send_json(message)

    async def data(self, seconds: float) -> Any:
        """Return the next message, parsed; a :class:`Closed` at the end of the link, None for silence."""
        deadline = time.monotonic() + seconds
        while True:
            event = await self.link.receive(deadline - time.monotonic())
            if event is None or isinstance(event, Closed):
                return event
            message = parsed(event)
            if (
                self.resumable
                and isinstance(message, dict)
                and "mcp.ws" in message
                and "jsonrpc" not in message
            ):
                self.controls.append(message)
                if message["mcp.ws"] == "gap":
                    self.received += message.get("dropped", 0)
                continue
            self.received += 1
            self.frames.append(event if isinstance(event, str) else repr(event))
            return message

    async def control(self, kind: str, seconds: float | None = None) -> dict[str, Any]:
        """Return the next control frame of that kind.

        Raises:
            UnmetError: the link ended, or none came in time.
        """
        deadline = time.monotonic() + (seconds or self.seconds)
        while True:
            for number, frame in enumerate(self.controls):
                if frame.get("mcp.ws") == kind:
                    del self.controls[: number + 1]
                    return frame
            event = await self.link.receive(deadline - time.monotonic())
            message = parsed(event)
            if isinstance(message, dict) and "mcp.ws" in message and "jsonrpc" not in message:
                self.controls.append(message)
            elif event is None or isinstance(event, Closed):
                raise UnmetError(f"no control frame {kind}: {said(event)}")
            else:
                self.received += 1
                self.frames.append(str(event))
                self.other.append(message)

    async def request(self, message: dict[str, Any], seconds: float | None = None) -> Any:
        """Send a request and return its response; others are kept.

        Raises:
            UnmetError: the link ended, or no response came in time.
        """
        await self.send(message)
        return await self.response(message["id"], seconds)

    async def response(self, id: Any, seconds: float | None = None) -> Any:
        """Return the response to a request that was sent before."""
        deadline = time.monotonic() + (seconds or self.seconds)
        while True:
            answer = await self.data(deadline - time.monotonic())
            if answer is None or isinstance(answer, Closed):
                came = self._unpaired() if answer is None else ""
                raise UnmetError(f"request {json.dumps(id)} got no response: {came or answer or 'silence'}")
            if mcp.is_response(answer, id):
                return answer
            self.other.append(answer)

    def _unpaired(self) -> str:
        """Say under which id a response came that no client can pair with its request; ``""`` if none came."""
        ids = [json.dumps(other.get("id")) for other in self.other if mcp.answers_any(other)]
        return f"the response that came has the id {ids[-1]}" if ids else ""

    async def small(self) -> Any:
        """Send a request that every server answers, and return its response."""
        return await self.request(mcp.small(self.era, next(self.ids)))

    async def reaction(self) -> Reaction:
        """After something odd was sent: what comes until a good request is answered, or the link ends."""
        number, provoked = next(self.ids) + 1000, self.link.exchange.point
        await self.send(mcp.small(self.era, number))
        self.link.exchange.point = provoked
        found = Reaction()
        deadline = time.monotonic() + self.seconds
        while (event := await self.data(deadline - time.monotonic())) is not None:
            if isinstance(event, Closed):
                found.closed = event
                break
            if mcp.is_response(event, number):
                found.goes_on = True
                deadline = time.monotonic() + GRACE
            else:
                found.messages.append(event)
        return found

    async def go_on(
        self, link: Link, *, count: int | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Resume the session on another link; return ``resumed``. Acknowledges, as clients must.

        Raises:
            UnmetError: the session was not resumed.
        """
        self.link = link
        self.controls.clear()
        shown = self.received if count is None else count
        await link.send_json({"mcp.ws": "resume", "token": token or self.token, "recv": shown})
        resumed = await self.control("resumed")
        self.received = shown
        self.token = str(resumed.get("token"))
        await link.send_json({"mcp.ws": "ack", "recv": shown})
        return resumed
