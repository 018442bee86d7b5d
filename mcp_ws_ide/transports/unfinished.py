"""Answers in events that a server does not end with an empty line, or writes without ``data:``.

A server that keeps the stream open after such an answer would keep the request open. Decides when an
unfinished event is read as it is; :mod:`mcp_ws_ide.core.reader` decides what it means.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

import httpx2

from mcp_ws_ide.core import json_scan
from mcp_ws_ide.core.stand_ins import replaces_response

LOOK_INTERVAL: Final = 1.0
"""Seconds of silence after which an unfinished event is read if its answer is complete."""
STALLED_LOOKS: Final = 3
"""Checks without new data after which the beginning of an answer counts as cut off."""
_BYTE_ORDER_MARK: Final = "\ufeff"
_BARE: Final = re.compile(r"(^|\n)(?=\{)")
"""A line that begins with a brace: not a field of an event, but JSON without ``data:``."""
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_END: Final = re.compile(r"(?:\r\n|\r|\n){2}")
"""The empty line that ends an event."""


class WatchedEvents:
    """An event stream for :class:`httpx2.EventSource` that also notices answers in events that do not end.

    Args:
        take: receives the data of an unfinished event in which an answer begins, after some seconds of silence.
    """

    def __init__(self, response: httpx2.Response, take: Callable[[bytes], None]) -> None:
        self._response = response
        self._take = take
        self.headers, self.request = response.headers, response.request
        self._tail: list[str] = []
        """What has arrived since the last empty line, and perhaps what was before it."""
        self._timer: asyncio.TimerHandle | None = None

    def as_response(self) -> httpx2.Response:
        """Return it as what the event source reads."""
        return cast("httpx2.Response", self)

    async def aiter_text(self) -> AsyncIterator[str]:
        """Yield the text of the stream; lines of bare JSON become data, and a complete answer at the end an event."""
        begun, at_line_start, after_return = False, True, False
        try:
            async for text in self._response.aiter_text():
                if not begun:
                    begun, text = True, text.removeprefix(_BYTE_ORDER_MARK)
                if after_return and text.startswith("\n"):
                    text = text[1:]
                after_return = text.endswith("\r") or (after_return and not text)
                if after_return:  # the parser would wait for a line feed
                    text = text.replace("\r\n", "\n").replace("\r", "\n")
                if "\n{" in text or (at_line_start and text.startswith("{")):
                    text = _BARE.sub(r"\1data: ", text) if at_line_start else text.replace("\n{", "\ndata: {")
                at_line_start = text.endswith(("\n", "\r")) if text else at_line_start
                self._note(text)
                yield text
            if _is_complete(self._data()):
                yield "\n\n"
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _note(self, text: str) -> None:
        if text.endswith(("\n\n", "\r\n\r\n")):
            self._tail.clear()
            return
        self._tail.append(text)
        if self._timer is None:
            self._look_later(0, len(self._tail))

    def _look_later(self, looks: int, pieces: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_INTERVAL, self._look, looks, pieces)

    def _look(self, looks: int, pieces: int) -> None:
        """Check an event that has not ended."""
        self._timer = None
        if len(self._tail) != pieces:
            return self._look_later(0, len(self._tail)) if self._tail else None
        data = self._data()
        if not has_answer(data):
            if not data:
                self._tail.clear()  # comments
            elif replaces_response(self._field("event") or "message", data):
                self._tail.clear()
                self._take(data)
        elif _is_complete(data) or looks + 1 >= STALLED_LOOKS:
            self._tail.clear()
            self._take(data)
        else:
            self._look_later(looks + 1, pieces)

    def _data(self) -> bytes:
        """Return the data of the event that has not ended."""
        return self._field("data").strip().encode()

    def _field(self, name: str) -> str:
        return field_of(_END.split("".join(self._tail))[-1], name)


def field_of(event: str, name: str) -> str:
    """Return the lines of one field of an unfinished event; ``""`` for none."""
    fields = (line.partition(":") for line in _LINE_END.split(event))
    return "\n".join(value.removeprefix(" ") for given, _, value in fields if given == name)


def has_answer(data: bytes) -> bool:
    """Return whether data may be, or begin, an answer, or have one on one of its lines."""
    return any(
        text[:1] in (b"{", b"[") and bool(text) and b"method" not in json_scan.top_of(text).names
        for text in {data, *data.split(b"\n")}
    )


def _is_complete(data: bytes) -> bool:
    return has_answer(data) and (json_scan.is_whole(data) or all(map(json_scan.is_whole, data.split(b"\n"))))
