"""``api/sessions``: a user sees and ends only sessions of their own."""

from __future__ import annotations

import time
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.gateway import ResumableSession, Session
from mcp_ws_ide.handlers.api.base import ApiHandler


class SessionsHandler(ApiHandler):
    """``api/sessions``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List the caller's sessions."""
        sessions = [s for s in self.runtime.gateway.sessions.values() if s.info.principal == self.principal]
        self.finish({"sessions": [session_model(session) for session in sessions]})


def session_model(session: Session) -> dict[str, Any]:
    """A session as REST shows it."""
    info = session.info
    return {
        "id": session.id,
        "server": session.server.name,
        "principal": info.principal,
        "era": session.era,
        "created": session.created,
        "remote": info.remote,
        "subprotocol": info.subprotocol,
        "user_agent": info.user_agent,
        "link": info.link,
        "attached": session.attached,
        "resumable": session.resumption is not None,
        "restored": session.restored,
        "expires_in": session.resumption and session.resumption.expires_in(time.monotonic()),
        "queued_bytes": session.queued_bytes,
        "in_flight": len(session.core.pending),
        "messages": {"in": session.messages_in, "out": session.messages_out},
        "bytes": {"in": session.bytes_in, "out": session.bytes_out},
    }


class SessionHandler(ApiHandler):
    """``api/sessions/{id}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def delete(self, session_id: str) -> None:
        """End a session at once, or if it is detached and not resumed within ``after`` seconds."""
        session = self.session_of(session_id)
        after = _seconds(self.get_query_argument("after", "0"))
        if after > 0 and isinstance(session, ResumableSession):
            session.leave(after, time.monotonic())
        else:
            session.end(CloseCode.NORMAL, "ended by its owner")
        self.set_status(204)
        self.finish()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise web.HTTPError(400, f'"after" is {text[:100]!r}; it must be a number of seconds')
    return seconds
