"""``api/sessions``: a user sees and ends only sessions of their own."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.engines.base import EngineUnavailableError, StoredSummary
from mcp_ws_ide.gateway import ResumableSession, Session
from mcp_ws_ide.handlers.api.base import ApiHandler


class SessionsHandler(ApiHandler):
    """``api/sessions``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List the caller's sessions."""
        gateway, principal = self.runtime.gateway, self.principal
        listed = [session_model(s) for s in gateway.sessions.values() if s.info.principal == principal]
        with contextlib.suppress(EngineUnavailableError):
            listed += [
                stored_model(stored, principal) for stored in await gateway.waiting_sessions(principal)
            ]
        self.finish({"sessions": listed})


def session_model(session: Session) -> dict[str, Any]:
    """A session as REST shows it."""
    info = session.info
    end = session.resumption if isinstance(session, ResumableSession) else None
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
        "resumable": end is not None,
        "restored": session.restored,
        "stored": False,
        "expires_in": end and end.expires_in(time.monotonic()),
        "queued_bytes": session.queued_bytes,
        "in_flight": len(session.core.pending),
        "messages": {"in": session.messages_in, "out": session.messages_out},
        "bytes": {"in": session.bytes_in, "out": session.bytes_out},
    }


def stored_model(stored: StoredSummary, principal: str) -> dict[str, Any]:
    """A stored session whose client is not back yet, as REST shows it; what is sealed is empty."""
    return {
        "id": stored.id,
        "server": stored.server,
        "principal": principal,
        "era": "unknown",
        "created": stored.created,
        "remote": "",
        "subprotocol": None,
        "user_agent": "",
        "link": "",
        "attached": False,
        "resumable": True,
        "restored": True,
        "stored": True,
        "expires_in": max(0.0, stored.expires_at - time.time()),
        "queued_bytes": 0,
        "in_flight": 0,
        "messages": {"in": 0, "out": 0},
        "bytes": {"in": 0, "out": 0},
    }


class SessionHandler(ApiHandler):
    """``api/sessions/{id}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def delete(self, session_id: str) -> None:
        """End a session at once, or if it is detached and not resumed within ``after`` seconds."""
        after = _seconds(self.get_query_argument("after", "0"))
        if session_id not in self.runtime.gateway.sessions and await self._end_stored(session_id, after):
            self.set_status(204)
            return self.finish()
        session = self.session_of(session_id)
        if after > 0 and isinstance(session, ResumableSession):
            session.leave(after, time.monotonic())
        else:
            session.end(CloseCode.NORMAL, "ended by its owner")
        self.set_status(204)
        self.finish()

    async def _end_stored(self, session_id: str, after: float) -> bool:
        try:
            return await self.runtime.gateway.end_waiting(session_id, self.principal, after)
        except EngineUnavailableError as error:
            raise web.HTTPError(503, f"stored sessions are not available: {error}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise web.HTTPError(400, f'"after" is {text[:100]!r}; it must be a number of seconds')
    return seconds
