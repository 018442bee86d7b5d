"""The gateway's end of a session in a script: an MCP server with one tool, and the count of data frames.

The server answers requests of both eras, and keeps what it has received and sent. Nothing is sent again, acknowledged
or resumed but where a script says so.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.verdicts import NotReachedError, UnmetError
from mcp_ws_ide.conformance.wire import Closed, Event, Link

RESUME: Final = "mcp.resume.v1"
TOOL: Final = "echo"
CALLS: Final = 3
"""How often the client's command calls the tool."""
_SCHEMA: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_LISTED: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """The response of the server to a request of either era."""
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        version = str(params.get("protocolVersion", mcp.HANDSHAKE_VERSION))
        result: dict[str, Any] = {
            "protocolVersion": version,
            "capabilities": {"tools": {}},
            "serverInfo": mcp.PROGRAM,
        }
    elif method == "server/discover":
        versions = [mcp.MODERN_VERSION]
        result = {
            **_LISTED,
            "supportedVersions": versions,
            "capabilities": {"tools": {}},
            "serverInfo": mcp.PROGRAM,
        }
    elif method == "tools/list":
        tool = {"name": TOOL, "description": "Return the text.", "inputSchema": _SCHEMA}
        result = {**_LISTED, "tools": [tool]}
    elif method == "tools/call":
        text = str((params.get("arguments") or {}).get("text"))
        result = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": f"the scripted gateway has no method {method}"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def is_call(message: dict[str, Any]) -> bool:
    """Return whether a message is a call of the tool."""
    return message.get("method") == "tools/call"


def is_control(message: Any) -> bool:
    """Return whether a message is a control frame."""
    return isinstance(message, dict) and "mcp.ws" in message and "jsonrpc" not in message


class Served:
    """One session, over one link or several.

    Args:
        link: a link that the client has opened.
        seconds: how long to wait for each frame.
    """

    def __init__(self, link: Link, seconds: float) -> None:
        self.link = link
        self.seconds = seconds
        self.token = ""
        self.frames: list[str] = []
        """Data frames that the client has sent, as text."""
        self.sent: list[str] = []
        """Data frames that were sent to the client, as text."""
        self.acknowledged = 0
        """Data frames that the client has acknowledged."""
        self.controls: list[dict[str, Any]] = []
        """Control frames of the client but pings, in order."""
        self.calls = 0
        """Calls of the tool that have come."""
        self.ended: Closed | None = None
        self.strange: list[str] = []
        """What was neither a control frame nor one JSON-RPC object in a text message."""

    async def hello(self) -> Any:
        """Return the first frame of the link, parsed."""
        return self._parsed(await self.link.receive(self.seconds))

    async def begin(self, *, frames: int = 4096, **more: Any) -> None:
        """Take ``open`` and answer it, with further members if given; on a plain link do nothing.

        Raises:
            NotReachedError: the first frame is no ``open``.
        """
        if self.link.subprotocol != RESUME:
            return
        first = await self.hello()
        if not is_control(first) or first["mcp.ws"] != "open":
            raise NotReachedError(f"the first frame is not an 'open' frame: {json.dumps(first)[:100]}")
        await self.opened(frames=frames, **more)

    async def opened(self, *, frames: int = 4096, **more: Any) -> None:
        """Answer ``open``."""
        self.token = secrets.token_urlsafe(32)
        window = {"frames": frames, "bytes": 4 << 20}
        frame = {
            "mcp.ws": "opened",
            "session": "scripted",
            "token": self.token,
            "grace": 60,
            "window": window,
        }
        await self.link.send_json({**frame, **more})

    async def resumed(self, link: Link, *, received: int | None = None) -> dict[str, Any]:
        """Take ``resume`` on a new link, answer it, and send again what the client has not received.

        Args:
            link: the new link.
            received: the count that the client is told; by default every data frame that has come.

        Returns:
            the client's frame.

        Raises:
            UnmetError: the first frame is no ``resume`` of this session.
        """
        self.link = link
        first = await self.hello()
        if not is_control(first) or first["mcp.ws"] != "resume":
            raise UnmetError(f"the first frame is no resume: {json.dumps(first)[:100]}")
        self.token = secrets.token_urlsafe(32)
        count = len(self.frames) if received is None else received
        del self.frames[count:]
        await link.send_json({"mcp.ws": "resumed", "recv": count, "token": self.token})
        for frame in self.sent[int(first.get("recv", 0)) :]:
            await link.send(frame)
        return dict(first)

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self.sent.append(json.dumps(message))
        await self.link.send(self.sent[-1])

    async def acknowledge(self) -> None:
        """Acknowledge every data frame that has come."""
        if self.link.subprotocol == RESUME:
            await self.link.send_json({"mcp.ws": "ack", "recv": len(self.frames)})

    async def next(self, seconds: float | None = None) -> dict[str, Any] | Closed | None:
        """Return the client's next message; control frames are taken in, and pings answered."""
        deadline = time.monotonic() + (seconds or self.seconds)
        while True:
            event = await self.link.receive(deadline - time.monotonic())
            if event is None:
                return None
            if isinstance(event, Closed):
                self.ended = event
                return event
            message = self._parsed(event)
            if is_control(message):
                await self._control(message)
                continue
            self.frames.append(str(event))
            if isinstance(message, dict) and message.get("jsonrpc") == "2.0" and isinstance(event, str):
                self.calls += is_call(message)
                return message
            self.strange.append(str(event)[:200])

    async def controlled(self, kind: str, seconds: float) -> bool:
        """Wait for a control frame of that kind, which has not come before; return whether it comes in time."""
        self.controls.clear()
        deadline = time.monotonic() + seconds
        while not any(frame["mcp.ws"] == kind for frame in self.controls):
            if time.monotonic() > deadline or isinstance(await self.next(0.05), Closed):
                return False
        return True

    async def _control(self, frame: dict[str, Any]) -> None:
        if frame["mcp.ws"] == "ping":
            await self.link.send_json({"mcp.ws": "pong"})
            return
        self.controls.append(frame)
        if frame["mcp.ws"] == "ack" and isinstance(frame.get("recv"), int):
            self.acknowledged = frame["recv"]

    async def serve(
        self, stop: Callable[[dict[str, Any]], bool] = lambda message: False
    ) -> dict[str, Any] | None:
        """Answer requests until one for which ``stop`` is true, or until the link ends.

        Returns:
            the message that stopped it, neither acknowledged nor answered; None at the end of the link.

        Raises:
            UnmetError: the client is silent.
        """
        while True:
            message = await self.next()
            if isinstance(message, Closed):
                return None
            if message is None:
                raise UnmetError(f"the client sent nothing for {self.seconds:g} s")
            if stop(message):
                return message
            await self.acknowledge()
            if "method" in message and "id" in message:
                await self.send(answer(message))

    async def until_call(self, number: int) -> dict[str, Any]:
        """Answer requests until the call of that number comes; return it, unanswered.

        Raises:
            UnmetError: the link ends before.
        """
        call = await self.serve(lambda message: is_call(message) and self.calls == number)
        if call is None:
            raise UnmetError(f"the client ended the link before call {number} of the tool: {self.ended}")
        return call

    def _parsed(self, event: Event) -> Any:
        if not isinstance(event, str):
            return None
        try:
            return json.loads(event)
        except ValueError:
            return None
