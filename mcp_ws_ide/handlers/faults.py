"""``api/sessions/{id}/faults``: break a session's link on purpose, to test what its client does then.

Off unless ``allow_faults`` is set; needs Jupyter's credential and the authorizer's ``execute`` on ``mcp-faults``. Each
fault is bounded in time or number, concerns one session of the caller's own, and is told on the tap.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.faults import Faults
from mcp_ws_ide.handlers.api import ApiHandler
from mcp_ws_ide.links.poll import PollLink
from mcp_ws_ide.links.streams import ByteStream, OnData, OnEnd
from mcp_ws_ide.links.websocket import WebSocketLink

MAX_SECONDS: Final = 600.0
MAX_DELAY_MS: Final = 10_000.0
MAX_COUNT: Final = 1000
FAULTS: Final = {
    "cut": (),
    "half_open": ("seconds",),
    "delay": ("ms", "seconds"),
    "duplicate": ("count",),
    "refuse_resume": ("how", "count"),
}
"""Each fault and its parameters; docs/inspector.md says what they do."""


class FaultyStream(ByteStream):
    """Stands between a link and its stream: holds back what is written, or lets nothing pass at all."""

    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._inner.on_written = self._inner_written
        self.pending = inner.pending
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._delay = 0.0
        self._until = 0.0
        self._timers: set[asyncio.TimerHandle] = set()
        self.frozen = False

    def start(self, on_data: OnData, on_end: OnEnd) -> None:
        """It has been started before."""
        self._inner.start(on_data, on_end)

    def freeze(self, seconds: float) -> None:
        """Neither read nor write any more; close after ``seconds``."""
        self._inner.set_reading(False)
        self.frozen = True
        self._held.clear()
        self._held_bytes = 0
        self._later(seconds, self.close)

    def slow_down(self, delay: float, seconds: float) -> None:
        """Hold back what is written within the next ``seconds`` by ``delay`` each."""
        self._delay, self._until = delay, self._loop.time() + seconds

    @property
    def delaying(self) -> bool:
        """Whether what is written now is held back."""
        return self._loop.time() < self._until

    def write(self, data: bytes) -> bool:
        """As of :class:`ByteStream`."""
        if self.frozen:
            return True
        if not self._held and not self.delaying:
            return self._counted(self._inner.write(data))
        delay = self._delay if self.delaying else 0.0
        self._held.append((self._loop.time() + delay, data))
        self._held_bytes += len(data)
        self._later(delay, self._release)
        return self._counted(False)

    def _counted(self, written: bool) -> bool:
        self.pending = self._held_bytes + self._inner.pending
        return written

    def _later(self, seconds: float, what: Any) -> None:
        def due() -> None:
            self._timers.discard(handle)
            what()

        handle = self._loop.call_later(seconds, due, context=contextvars.Context())
        self._timers.add(handle)

    def _release(self) -> None:
        """Let go, in order, of what has waited long enough."""
        written = True
        while self._held and self._held[0][0] <= self._loop.time() + 0.001:
            _, data = self._held.popleft()
            self._held_bytes -= len(data)
            written = self._inner.write(data)
        self._counted(written)
        if not self._held:
            if written:
                self.on_written()
        elif not self._timers:
            self._later(self._held[0][0] - self._loop.time(), self._release)

    def _inner_written(self) -> None:
        if not self._held:
            self.pending = 0
            self.on_written()

    def set_reading(self, reading: bool) -> None:
        """As of :class:`ByteStream`."""
        if not self.frozen:
            self._inner.set_reading(reading)

    def close(self) -> None:
        """As of :class:`ByteStream`."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._inner.close()


class FaultsHandler(ApiHandler):
    """``api/sessions/{id}/faults``."""

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def get(self, session_id: str) -> None:
        """What is armed."""
        self.finish(armed(self._session(session_id)))

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def post(self, session_id: str) -> None:
        """Order one fault."""
        session, body = self._session(session_id), self.body()
        fault = body.pop("fault", None)
        if fault not in FAULTS:
            raise web.HTTPError(400, f'"fault" must be one of {", ".join(FAULTS)}')
        for name in body:
            if name not in FAULTS[fault]:
                known = " and ".join(f'"{known}"' for known in FAULTS[fault]) or "no parameter"
                raise web.HTTPError(400, f"{fault} does not know {name[:100]!r}; it has {known}")
        detail = getattr(self, f"_{fault}")(session, body)
        session.observe("fault", detail)
        self._perform(session, fault)
        self.set_status(202)
        self.finish({"session": session.id, "fault": fault, "detail": detail})

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def delete(self, session_id: str) -> None:
        """Disarm what has not happened yet; a link that is half-open is cut, since it has lost bytes."""
        session = self._session(session_id)
        session.faults = None
        stream = _faulty(session)
        if stream is not None:
            stream.slow_down(0.0, 0.0)
            if stream.frozen:
                stream.close()
        session.observe("fault", "disarmed")
        self.set_status(204)
        self.finish()

    def _session(self, session_id: str) -> Session:
        if not self.runtime.allow_faults:
            words = "fault injection is off; set MCPWebSocketApp.allow_faults = True where clients are tested"
            raise web.HTTPError(403, words)
        return self.session_of(session_id)

    def _perform(self, session: Session, fault: str) -> None:
        """What cannot be armed happens now, after the tap was told."""
        link = session.link
        if fault != "cut" or link is None:
            return
        if isinstance(link, WebSocketLink):
            link.cut()
        elif isinstance(link, PollLink):
            link.client_closed(1006, "cut by an injected fault")

    def _cut(self, session: Session, body: dict[str, Any]) -> str:
        if not isinstance(session.link, WebSocketLink | PollLink):
            raise _no_link(session, "cut")
        return "cut"

    def _half_open(self, session: Session, body: dict[str, Any]) -> str:
        seconds = _number(body, "seconds", 60.0, 1.0, MAX_SECONDS)
        _stream(session, "half_open").freeze(seconds)
        return f"half_open for {seconds:g} s"

    def _delay(self, session: Session, body: dict[str, Any]) -> str:
        delay = _number(body, "ms", 1000.0, 1.0, MAX_DELAY_MS)
        seconds = _number(body, "seconds", 60.0, 1.0, MAX_SECONDS)
        _stream(session, "delay").slow_down(delay / 1000, seconds)
        return f"delay of {delay:g} ms for {seconds:g} s"

    def _duplicate(self, session: Session, body: dict[str, Any]) -> str:
        if session.info.link not in ("websocket", "poll"):
            raise _no_link(session, "duplicate")
        count = int(_number(body, "count", 1, 1, MAX_COUNT))
        session.faults = session.faults or Faults()
        session.faults.duplicates = count
        return "duplicate the next message" if count == 1 else f"duplicate the next {count} messages"

    def _refuse_resume(self, session: Session, body: dict[str, Any]) -> str:
        how = body.get("how", "gone")
        if how not in ("gone", "later"):
            raise web.HTTPError(400, '"how" must be gone or later')
        if session.resumption is None:
            raise web.HTTPError(409, f"session {session.id} cannot be resumed anyway (mcp.resume.v1)")
        count = int(_number(body, "count", 1, 1, MAX_COUNT))
        session.faults = session.faults or Faults()
        session.faults.refusals, session.faults.for_good = count, how == "gone"
        return f"refuse the next resume: {how}" if how == "gone" else f"refuse {count} resumes: later"


def armed(session: Session) -> dict[str, Any]:
    """What is armed for a session, as REST shows it."""
    faults, stream = session.faults or Faults(), _faulty(session)
    return {
        "duplicate": faults.duplicates,
        "refuse_resume": faults.refusals,
        "delay": stream is not None and stream.delaying,
        "half_open": stream is not None and stream.frozen,
    }


def _faulty(session: Session) -> FaultyStream | None:
    stream = session.link.stream if isinstance(session.link, WebSocketLink) else None
    return stream if isinstance(stream, FaultyStream) else None


def _stream(session: Session, fault: str) -> FaultyStream:
    """The stream of a session's link, made ready to misbehave."""
    link = session.link
    if not isinstance(link, WebSocketLink) or link.closing:
        raise _no_link(session, fault)
    if not isinstance(link.stream, FaultyStream):
        link.interpose(FaultyStream(link.stream))
    assert isinstance(link.stream, FaultyStream)
    return link.stream


def _no_link(session: Session, fault: str) -> web.HTTPError:
    if session.link is None:
        return web.HTTPError(409, f"session {session.id} has no link now; wait until its client is back")
    return web.HTTPError(409, f"a {session.info.link} link knows no {fault}; use a WebSocket")


def _number(body: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise web.HTTPError(400, f'"{name}" must be a number from {least:g} to {most:g}')
    return value
