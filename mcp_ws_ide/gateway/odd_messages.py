"""What a server writes that is not one canonical message: mended, paired, or failed (docs/reference/reading.md).

Owns that no request of an upstream stays open after an answer that cannot be read, or names no request. What can be
read is decided by :mod:`mcp_ws_ide.core.reader`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Final

from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.lenient_json import encode, error_code, error_text
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.reader import Unreadable
from mcp_ws_ide.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
)
from mcp_ws_ide.gateway.doubts import Doubts
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.observe.redaction import Redactor
from mcp_ws_ide.transports.lines import printable

_TO_NOTIFICATIONS: Final = frozenset({METHOD_NOT_FOUND, INVALID_REQUEST, INVALID_PARAMS})
"""Codes with which careless servers answer notifications."""

log = logging.getLogger(__name__)


class Conversation(ABC):
    """An upstream, as this module sees it."""

    server: Server

    @abstractmethod
    def open_ids(self) -> list[bytes]:
        """Return the ids, as JSON, of the requests that the server has not answered."""

    @abstractmethod
    def was_used(self, raw_id: bytes) -> bool:
        """Return whether an id named a request that is open no longer, as far as that is known."""

    @property
    @abstractmethod
    def has_cancelled(self) -> bool:
        """Whether any request was cancelled, so that an answer without its id may be the one to that."""

    @abstractmethod
    def parsed_received(self, message: Message) -> None:
        """Take a message that was mended."""

    @abstractmethod
    def fail_open(self, raw_id: bytes, error: bytes) -> None:
        """Pass on an error object in place of the answer to an open request; its id toward the server, both as JSON."""

    @abstractmethod
    def observe(self, data: bytes, message: Message | None) -> None:
        """Report a message on the tap."""

    @abstractmethod
    def noise_received(self, source: str, text: str) -> None:
        """Report text that is no message."""

    @abstractmethod
    def tell(self, event: str, detail: str) -> None:
        """Report an event on the tap."""


class OddMessages:
    """Reads the odd messages of one upstream.

    Attributes:
        unanswerable: messages sent that need no answer. Careless servers answer each of them, with the id ``null``.
    """

    def __init__(self, upstream: Conversation, loop: asyncio.AbstractEventLoop, redactor: Redactor) -> None:
        self.unanswerable = 0
        self._upstream = upstream
        self._redactor = redactor
        self._doubts = Doubts(loop, upstream.open_ids, upstream.fail_open)
        self._mended: set[str] = set()

    def close(self) -> None:
        """End: the upstream fails what is open."""
        self._doubts.close()

    def read(self, data: bytes) -> None:
        """Take what :func:`mcp_ws_ide.core.messages.parse` refuses."""
        upstream = self._upstream
        reading = reader.read_server(data)
        for kind, text in reading.notices.items():
            self.note_mended(kind, text)
        for noise in reading.noise:
            source = "stdout" if upstream.server.spec.kind == "stdio" else "transport"
            upstream.noise_received(source, printable(noise))
        if reading.unreadable:
            upstream.server.counters.dropped += 1
            upstream.observe(data, None)
        for message in reading.messages:
            upstream.parsed_received(message)
        for fault in reading.unreadable:
            self._fail(fault)

    def note_mended(self, kind: str, text: str) -> None:
        """Report, once for each kind, that messages of this server are read though they are not as they should be."""
        if kind in self._mended:
            return
        self._mended.add(kind)
        text = self._redactor.text(text)
        log.warning("server %s: %s; this is reported once", self._upstream.server.name, text)
        self._upstream.tell("mended", text)

    def _fail(self, fault: Unreadable) -> None:
        """Fail the request that an unreadable message may answer."""
        upstream = self._upstream
        reason = self._redactor.text(f"the server's response is not a JSON-RPC message: {fault.reason}")
        log.warning("server %s: %s", upstream.server.name, reason)
        upstream.tell("dropped", reason)
        if not fault.answer:
            return
        error = encode({"code": INTERNAL_ERROR, "message": reason, "data": {"outcome": "unknown"}})
        if len(fault.ids) == 1:
            named = messages.alike(fault.ids[0], upstream.open_ids())
            if named:
                return upstream.fail_open(named, error)
            if fault.certain and upstream.was_used(fault.ids[0]):
                return  # a late answer
        self._doubts.add(error)

    def _answers_notification(self, answer: Message) -> bool:
        """Return whether an answer without an id is one to a notification, as careless servers write them."""
        if "notifications/" in error_text(answer.error):
            return True
        usual = (
            error_code(answer.error) in _TO_NOTIFICATIONS
            if answer.error
            else answer.result in (b"{}", b"null")
        )
        if not usual or not self.unanswerable:
            return False
        self.unanswerable -= 1
        return True

    def take_unnamed(self, answer: Message) -> bool:
        """Take an answer whose id names nothing that was ever asked, such as ``null``.

        Returns:
            Whether it was taken for the answer to a request.
        """
        upstream = self._upstream
        shown = answer.id.decode()[:80]
        if error_code(answer.error) not in (PARSE_ERROR, RESPONSE_TOO_LARGE):
            if self._answers_notification(answer):
                return False
            open_ids = upstream.open_ids()
            if len(open_ids) == 1 and not upstream.has_cancelled:
                self.note_mended(
                    "id", f"an answer with the id {shown} was taken for that to the only open request"
                )
                upstream.parsed_received(messages.with_id(answer, open_ids[0]))
                return True
        text = f"the server answered with the id {shown}, which names no request"
        data = {"outcome": "unknown"}
        return self._doubts.add(
            answer.error or encode({"code": INTERNAL_ERROR, "message": text, "data": data})
        )
