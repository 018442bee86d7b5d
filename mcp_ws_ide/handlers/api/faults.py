"""``api/sessions/{id}/faults``: break a session's link on purpose, to test its client.

Off unless ``allow_faults`` is set; needs Jupyter's credential and the authorizer's ``execute`` on ``mcp-faults``. Each
fault has a bounded duration or count, affects one session of the caller, and is reported on the tap.
"""

from __future__ import annotations

from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.gateway import ResumableSession, Session
from mcp_ws_ide.gateway.faults import Faults
from mcp_ws_ide.handlers.api.base import ApiHandler
from mcp_ws_ide.links.faulty_stream import FaultyStream
from mcp_ws_ide.links.poll import PollLink
from mcp_ws_ide.links.websocket import WebSocketLink

MAX_SECONDS: Final = 600.0
"""Longest duration of a fault, in seconds."""
MAX_DELAY_MS: Final = 10_000.0
"""Longest delay of a message, in milliseconds."""
MAX_COUNT: Final = 1000
"""Messages or resumes that one fault may affect."""
FAULTS: Final = {
    "cut": (),
    "half_open": ("seconds",),
    "delay": ("ms", "seconds"),
    "duplicate": ("count",),
    "refuse_resume": ("how", "count"),
}
"""Each fault and its parameters; docs/guides/test-reconnecting.md says what they do."""


class FaultsHandler(ApiHandler):
    """``api/sessions/{id}/faults``."""

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def get(self, session_id: str) -> None:
        """List the armed faults."""
        self.finish(armed(self._session(session_id)))

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def post(self, session_id: str) -> None:
        """Break the link now, or arm a fault."""
        session, body = self._session(session_id), self.body()
        fault = body.pop("fault", None)
        if not isinstance(fault, str) or fault not in FAULTS:
            raise web.HTTPError(400, f'"fault" must be one of {", ".join(FAULTS)}')
        for name in body:
            if name not in FAULTS[fault]:
                known = ", ".join(f'"{known}"' for known in FAULTS[fault]) or "none"
                raise web.HTTPError(
                    400, f"fault {fault} has no parameter {name[:100]!r}; known parameters: {known}"
                )
        detail = getattr(self, f"_{fault}")(session, body)
        session.observe("fault", detail)
        self._perform(session, fault)
        self.set_status(202)
        self.finish({"session": session.id, "fault": fault, "detail": detail})

    @web.authenticated
    @authorized("execute", resource="mcp-faults")
    async def delete(self, session_id: str) -> None:
        """Disarm all faults that have not happened yet. A half-open link is cut, because it has lost bytes."""
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
        if not self.runtime.settings.allow_faults:
            message = "fault injection is off; set MCPWebSocketApp.allow_faults = True where you test clients"
            raise web.HTTPError(403, message)
        return self.session_of(session_id)

    def _perform(self, session: Session, fault: str) -> None:
        """Cut the link, if that is the fault; called after the tap has reported it."""
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
            raise web.HTTPError(400, f'"how" is {str(how)[:100]!r}; it must be gone or later')
        if not isinstance(session, ResumableSession):
            raise web.HTTPError(409, f"session {session.id} cannot be resumed; connect with mcp.resume.v1")
        count = int(_number(body, "count", 1, 1, MAX_COUNT))
        session.faults = session.faults or Faults()
        session.faults.refusals, session.faults.for_good = count, how == "gone"
        return f"refuse the next resume: {how}" if how == "gone" else f"refuse {count} resumes: later"


def armed(session: Session) -> dict[str, Any]:
    """The armed faults of a session, as REST shows them."""
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
    """Return the stream of a session's link, wrapped in a :class:`FaultyStream`."""
    link = session.link
    if not isinstance(link, WebSocketLink) or link.closing:
        raise _no_link(session, fault)
    if not isinstance(link.stream, FaultyStream):
        link.interpose(FaultyStream(link.stream))
    assert isinstance(link.stream, FaultyStream)
    return link.stream


def _no_link(session: Session, fault: str) -> web.HTTPError:
    if session.link is None:
        return web.HTTPError(
            409, f"session {session.id} has no link now; wait until its client has reconnected"
        )
    return web.HTTPError(409, f"a {session.info.link} link does not support {fault}; use a WebSocket")


def _number(body: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise web.HTTPError(
            400, f'"{name}" is {str(value)[:100]!r}; it must be a number from {least:g} to {most:g}'
        )
    return value
