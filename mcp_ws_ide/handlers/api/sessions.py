"""``api/sessions``: a user sees and ends only sessions of their own."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.engines.base import EngineUnavailableError, OwnedError, StoredSummary
from mcp_ws_ide.gateway import ResumableSession, Session
from mcp_ws_ide.handlers.api.base import ApiHandler


class SessionsHandler(ApiHandler):
    """``api/sessions``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List the caller's sessions, at every gateway of the engine."""
        gateway, principal = self.runtime.gateway, self.principal
        here = "" if gateway.elsewhere is None else gateway.elsewhere.instance
        listed = [session_model(s, here) for s in gateway.sessions.values() if s.info.principal == principal]
        if self.passed is not None:
            return self.finish({"sessions": listed})
        silent = []
        for instance, answer in (await self.ask_others("api/sessions")).items():
            if answer is None or answer.status != 200:
                silent.append(instance)
            else:
                listed += json.loads(answer.body)["sessions"]
        known = {session["id"] for session in listed}
        with contextlib.suppress(EngineUnavailableError):
            waiting = await gateway.waiting_sessions(principal)
            listed += [stored_model(stored, principal) for stored in waiting if stored.id not in known]
        self.finish({"sessions": listed, "silent": silent})


def session_model(session: Session, instance: str) -> dict[str, Any]:
    """A session as REST shows it; ``instance`` is this gateway's id."""
    info = session.info
    end = session.resumption if isinstance(session, ResumableSession) else None
    return {
        "id": session.id,
        "instance": instance,
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
        "instance": "",
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
        here = session_id in self.runtime.gateway.sessions or self.passed is not None
        if not here and await self._ended_elsewhere(session_id, after):
            self.set_status(204)
            return self.finish()
        session = self.session_of(session_id)
        if after > 0 and isinstance(session, ResumableSession):
            session.leave(after, time.monotonic())
        else:
            session.end(CloseCode.NORMAL, "ended by its owner")
        self.set_status(204)
        self.finish()

    async def _ended_elsewhere(self, session_id: str, after: float) -> bool:
        """End a session that is only stored, or that another gateway has; return whether there is one."""
        try:
            if await self._end_stored(session_id, after):
                return True
        except OwnedError:
            pass  # its owner ends it
        answers = await self.ask_others(f"api/sessions/{session_id}?after={after:g}")
        return any(answer is not None and answer.status == 204 for answer in answers.values())

    async def _end_stored(self, session_id: str, after: float) -> bool:
        try:
            return await self.runtime.gateway.end_waiting(session_id, self.principal, after)
        except OwnedError:
            raise
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
