"""The bodies and event streams of Streamable HTTP responses, as messages.

Owns what counts as the answer of an exchange, and what is dropped as noise. Knows nothing of requests or sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.messages import Kind, Message
from mcp_ws_ide.errors import INTERNAL_ERROR, MalformedMessage
from mcp_ws_ide.transports import batch
from mcp_ws_ide.transports.http_exchange import Exchange
from mcp_ws_ide.transports.lines import over_limit, printable
from mcp_ws_ide.transports.remote import EVENT_OVERHEAD


class ResponseReader:
    """Passes the messages in responses on: answers to their exchange, all others to the receiver.

    Args:
        deliver: takes the server's own requests and notifications.
        noise: takes reports of what was dropped.
        note_answer: looks at each answer before it is delivered.
        reading: cleared while the receiver has paused reading.
        limit: longest message, in bytes.
    """

    def __init__(
        self,
        deliver: Callable[[bytes], None],
        noise: Callable[[str], None],
        note_answer: Callable[[Exchange, Message], None],
        reading: asyncio.Event,
        limit: int,
    ) -> None:
        self._deliver = deliver
        self._noise = noise
        self._note_answer = note_answer
        self._reading = reading
        self._limit = limit

    async def read_events(self, exchange: Exchange, response: httpx2.Response) -> None:
        """Read an event stream until the answer has arrived, or until the stream ends."""
        try:
            async for event in httpx2.EventSource(response, max_event_size=self._limit + EVENT_OVERHEAD):
                await self._reading.wait()
                exchange.note_event(event)
                if event.event == "message" and event.data:
                    await self.take(exchange, messages.one_line(event.data.encode()))
                if exchange.answered and exchange.is_request:
                    return
        except httpx2.SSEError:
            self._noise(f"an event was dropped, {over_limit(self._limit)}")
            exchange.fail_too_large("an event of the response", self._limit)

    async def take(self, exchange: Exchange, data: bytes) -> None:
        """Take one message, or a batch (MCP 2025-03-26 only)."""
        if data[:1] != b"[":
            return self._take_message(exchange, data)
        try:
            for item in batch.items(data):
                self._take_message(exchange, item)
                await asyncio.sleep(0)  # let other tasks run; the receiver may have paused reading
                await self._reading.wait()
        except ValueError as error:
            self._noise(f"a malformed batch was dropped ({error}): {printable(data[:200])}")

    def _take_message(self, exchange: Exchange, data: bytes) -> None:
        try:
            if not messages.is_text(data):
                raise MalformedMessage(INTERNAL_ERROR, "not UTF-8")
            message = messages.parse(data)
        except MalformedMessage as error:
            self._noise(f"a malformed message was dropped ({error}): {printable(data[:200])}")
            return
        if message.kind is not Kind.RESPONSE:
            self._deliver(data)
        elif _same_id(message.id, exchange.message.id):
            self._note_answer(exchange, message)
            exchange.answer(data)
        else:
            self._noise(f"a response was dropped: no request has its id {printable(message.id[:80])}")


def _same_id(one: bytes, other: bytes) -> bool:
    """Return whether two raw ids are equal; ``7`` is not ``"7"``."""
    try:
        return messages.decode_id(one) == messages.decode_id(other)
    except MalformedMessage:
        return False
