"""The bodies and event streams of Streamable HTTP responses, as messages.

Decides what counts as the answer of an exchange, and what is dropped as noise. Knows nothing of requests or sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import httpx2

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.messages import RESPONSE, IdKey, Message
from mcp_ws_ide.core.reader import ReportedKinds, Unreadable
from mcp_ws_ide.core.stand_ins import replaces_response
from mcp_ws_ide.errors import INTERNAL_ERROR, UPSTREAM_LOST, MalformedMessageError
from mcp_ws_ide.transports.http_exchange import Exchange
from mcp_ws_ide.transports.lines import over_limit, printable
from mcp_ws_ide.transports.remote import EVENT_OVERHEAD
from mcp_ws_ide.transports.unfinished import WatchedEvents, has_answer

EVENT_DOUBT: Final = 2.5
"""Seconds of silence after an event in place of a response, which is no message, before its request fails."""
LISTEN: Final = b'"subscriptions/listen"'
DOUBT_SECONDS: Final = 2.0
"""Seconds to wait for the answer to a request after an answer that names no request has arrived in its place."""


class ResponseReader:
    """Passes the messages in responses on: answers to their exchange, all others to the receiver.

    Args:
        deliver: takes the server's own requests and notifications.
        noise: takes reports of what was dropped.
        note_answer: looks at each answer before it is delivered.
        exchanges: the open exchanges whose messages are requests.
        reading: cleared while the receiver has paused reading.
        limit: longest message, in bytes.
    """

    def __init__(
        self,
        deliver: Callable[[bytes], None],
        noise: Callable[[str], None],
        note_answer: Callable[[Exchange, Message], None],
        exchanges: Mapping[IdKey, Exchange],
        reading: asyncio.Event,
        limit: int,
    ) -> None:
        self._deliver = deliver
        self._noise = noise
        self._note_answer = note_answer
        self._exchanges = exchanges
        self._mended = ReportedKinds()
        self._reading = reading
        self._limit = limit

    async def read_events(self, exchange: Exchange, response: httpx2.Response) -> None:
        """Read an event stream until the answer has arrived, or until the stream ends."""
        try:
            watched = WatchedEvents(response, partial(self._take_unfinished, exchange)).as_response()
            async for event in httpx2.EventSource(watched, max_event_size=self._limit + EVENT_OVERHEAD):
                await self._reading.wait()
                exchange.note_event(event)
                exchange.settle()
                if event.data and not await self._take_event(exchange, event):
                    self._doubt_event(exchange, event.event, event.data.encode())
                if exchange.answered and exchange.is_request:
                    return
        except httpx2.SSEError:
            self._noise(f"an event was dropped: {over_limit(self._limit)}")
            exchange.fail_too_large("an event of the response", self._limit)
        finally:
            exchange.settle()

    async def _take_event(self, exchange: Exchange, event: httpx2.ServerSentEvent) -> bool:
        """Handle an event with data; return whether it has a message."""
        if event.event != "message" and not self._is_answer(event):
            return False
        return await self.take(exchange, messages.one_line(event.data.encode()))

    def _doubt_event(self, exchange: Exchange, name: str, data: bytes) -> None:
        """Fail a request if nothing follows an event that stands in place of its response."""
        if not exchange.is_request or exchange.message.method == LISTEN or not replaces_response(name, data):
            return
        named = "" if name == "message" else f"an event named {name[:80]!r}: "
        exchange.odd_event = f"{named}{reader.quote(data, 0)}"
        reason = f"the server sent a response that does not answer the request: {exchange.odd_event}"
        exchange.doubt_answer(EVENT_DOUBT, UPSTREAM_LOST, reason)

    def _is_answer(self, event: httpx2.ServerSentEvent) -> bool:
        """Return whether an event of another name holds an answer."""
        answer = has_answer(event.data.encode())
        if answer:
            self._note_mended({"event name": f"an event named {event.event[:80]!r} was read as a message"})
        return answer

    def _take_unfinished(self, exchange: Exchange, data: bytes) -> None:
        """Handle the answer in an unfinished event; stop reading the response if the answer is that of its request."""
        self._note_mended({"event end": "an event without an empty line after it was read"})
        reading = reader.read_server(messages.one_line(data))
        for message in reading.messages:
            self._take_message(exchange, message)
        faults = [fault for fault in reading.unreadable if not fault.doubtful]
        for fault in faults:
            self._fail(exchange, fault)
        if not reading.messages and not faults:
            self._doubt_event(exchange, "message", data)
        if exchange.is_request and exchange.answered and exchange.task is not None:
            exchange.task.cancel()

    async def take(self, exchange: Exchange, data: bytes) -> bool:
        """Handle a body, or the data of an event: one message, as a rule. Return whether there was one."""
        try:
            if not messages.is_text(data):
                raise MalformedMessageError(INTERNAL_ERROR, "not UTF-8")
            message = messages.parse_server(data)
        except MalformedMessageError:
            return await self._read(exchange, data)
        self._take_message(exchange, message)
        return True

    async def take_other(self, exchange: Exchange, media: str, body: bytes) -> bool:
        """Handle a body of another type than JSON; return whether it is one or more JSON-RPC messages."""
        if body.lstrip()[:1] == b"<":  # a page, which may quote anything
            return False
        reading = reader.read_server(body)
        if not reading.messages and not any(f.answer and not f.doubtful for f in reading.unreadable):
            return False
        self._note_mended({"media type": f"a response with the Content-Type {media[:60]!r} was read as JSON"})
        await self.take(exchange, reader.on_one_line(body))
        return True

    async def _read(self, exchange: Exchange, data: bytes) -> bool:
        """Handle anything but one valid message: a batch (MCP 2025-03-26), or a message to mend."""
        reading = reader.read_server(data)
        self._note_mended(reading.notices)
        for message in reading.messages:
            self._take_message(exchange, message)
            await asyncio.sleep(0)  # let other tasks run; the receiver may have paused reading
            await self._reading.wait()
        faults = [fault for fault in reading.unreadable if not fault.doubtful]
        for fault in faults:
            self._fail(exchange, fault)
        for noise in reading.noise:
            self._noise(f"text that is not a message was dropped: {printable(noise[:200])}")
        return bool(reading.messages or faults)

    def _note_mended(self, notices: dict[str, str]) -> None:
        for text in self._mended.add(notices):
            self._noise(f"{text}; this is reported once")

    def _fail(self, exchange: Exchange, fault: Unreadable) -> None:
        """Fail the request that an unreadable message may answer: that of this response, unless it names another."""
        self._noise(f"a malformed message was dropped: {fault.reason}")
        if not fault.answer:
            return
        other = self._find(fault.ids[0]) if len(fault.ids) == 1 else None
        if other is None and fault.certain and fault.ids and not self._is_for(exchange, fault):
            return  # a late answer to another request
        reason = f"the server's response is not a JSON-RPC message: {fault.reason}"
        (other or exchange).fail(INTERNAL_ERROR, reason, sent=True)

    def _is_for(self, exchange: Exchange, fault: Unreadable) -> bool:
        return bool(messages.alike(exchange.message.id or b"null", fault.ids))

    def _take_message(self, exchange: Exchange, message: Message) -> None:
        if message.kind is not RESPONSE:
            return self._deliver(message.data)
        if message.id == exchange.message.id:
            answered: Exchange | None = exchange
        else:
            answered = self._answered_by(exchange, message)
        if answered is None:
            return self._doubt(exchange, message)
        if message.id != answered.message.id:
            message = messages.with_id(message, answered.message.id)
        self._note_answer(answered, message)
        answered.answer(message.data)
        if answered is not exchange and answered.task is not None:
            answered.task.cancel()  # its own response brings nothing any more

    def _doubt(self, exchange: Exchange, answer: Message) -> None:
        """Drop a response that names no request; if the request of this one gets no other soon, it fails."""
        text = f"no request has its id {printable(answer.id[:80])}"
        self._noise(f"a response was dropped: {text}")
        if exchange.is_request and not exchange.answered:
            loop, reason = asyncio.get_running_loop(), f"the server's response cannot be used: {text}"
            loop.call_later(DOUBT_SECONDS, exchange.give_up, INTERNAL_ERROR, reason)

    def _answered_by(self, exchange: Exchange, message: Message) -> Exchange | None:
        """Return the exchange that a response belongs to whose id is not simply that of its request."""
        if message.id == b"null":
            return exchange if exchange.is_request else None  # nothing else is answered there
        if exchange.is_request and messages.alike(message.id, [exchange.message.id]):
            return exchange
        return self._find(message.id)

    def _find(self, raw_id: bytes) -> Exchange | None:
        """Return the open exchange whose request has this id, also where its type was changed; None for none."""
        raw_ids = {exchange.message.id: exchange for exchange in self._exchanges.values()}
        return raw_ids.get(messages.alike(raw_id, raw_ids))
