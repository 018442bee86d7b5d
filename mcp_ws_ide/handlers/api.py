"""``{base_url}mcp-ws/api/…``: what the page, the inspector and operators ask and order.

Everything needs Jupyter's own credential (a gateway token opens MCP endpoints alone) and the authorizer's
``execute`` on ``mcp``. A user sees and ends only what is theirs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from mcp_ws_ide import __version__
from mcp_ws_ide.binding import CloseCode
from mcp_ws_ide.config import read_rules
from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.auth import GatewayHandler, credential_of
from mcp_ws_ide.ide_entries import IDES, entry
from mcp_ws_ide.tokens import MAX_LIFETIME, TICKET_LIFETIME

DEFAULT_LIFETIME: Final = 30 * 86400
"""Lifetime of a gateway token that is minted without one, in seconds."""

OPENAPI: Final = Path(__file__).parent / "openapi.json"


class ApiHandler(GatewayHandler, APIHandler):
    """Base: JSON in, JSON out, the Origin policy of the endpoints."""

    async def prepare(self) -> None:
        """Authenticate as Jupyter does, then apply the stricter Origin policy."""
        await super().prepare()
        if self.current_user is None:
            raise self.refuse(401, "credential", "a credential is missing or wrong")
        self.check_policy()
        self._track_activity = False

    def body(self) -> dict[str, Any]:
        """The request's JSON object."""
        try:
            value = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise web.HTTPError(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise web.HTTPError(400, "the body must be a JSON object")
        return value

    def session_of(self, session_id: str) -> Session:
        """The caller's session of this id, or 404: another user's reads as unknown."""
        session = self.runtime.gateway.sessions.get(session_id)
        if session is None or session.info.principal != self.principal:
            raise web.HTTPError(404, "there is no such session")
        return session

    def server_named(self, name: object) -> Server:
        """The server of this name, or 404."""
        server = self.runtime.gateway.servers.get(name) if isinstance(name, str) else None
        if server is None:
            raise web.HTTPError(404, f"there is no server {str(name)[:100]!r}")
        return server


class ServersHandler(ApiHandler):
    """``api/servers``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """All configured servers, and what is wrong with the configuration."""
        gateway = self.runtime.gateway
        self.finish(
            {
                "servers": [self.server_model(server) for server in gateway.servers.values()],
                "problems": [
                    {
                        "source": p.source,
                        "key": p.key,
                        "reason": p.reason,
                        "severity": getattr(p, "severity", "error"),
                    }
                    for p in gateway.problems
                ],
            }
        )

    def server_model(self, server: Server) -> dict[str, Any]:
        """A server as REST shows it: no environment, no secrets."""
        model: dict[str, Any] = server.spec.censored()
        mine = [u for u in server.upstreams if u.owner == self.principal]
        hide = self.runtime.gateway.tap.redactor.text
        command = [model.get("command"), *model.get("args", [])] if model.get("command") else []
        return {
            "name": server.name,
            "transport": server.spec.kind,
            "era": server.era or "unknown",
            "state": server.state,
            "reason": hide(server.refusal or server.last_error),
            "source": server.spec.source,
            "sharing": server.spec.sharing,
            "command": [hide(part) for part in command],
            "sessions": sum(s.server is server for s in self.runtime.gateway.sessions.values()),
            "processes": [
                {"pid": u.pid, "era": u.era, "shared": u.shared, "sessions": u.users, "started": u.started}
                for u in mine
            ],
            "restarts": server.counters.restarts,
        }


class ServerHandler(ServersHandler):
    """``api/servers/{name}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self, name: str) -> None:
        """One server, with the newest lines of its stderr."""
        server = self.server_named(name)
        tails = [line for u in server.upstreams if u.owner == self.principal for line in u.stderr_tail]
        self.set_header("Cache-Control", "no-store")
        hide = self.runtime.gateway.tap.redactor.text
        stderr = [hide(line) for line in (tails or server.last_stderr)[-200:]]
        shown = {"stderr": stderr, **self._authorization(server)}
        self.finish({**self.server_model(server), **shown})

    def _authorization(self, server: Server) -> dict[str, Any]:
        """The page on which the caller is to authorize the gateway, while that is waited for."""
        authorizations = self.runtime.gateway.authorizations
        pending = authorizations and authorizations.pending(server.name, self.principal)
        if not pending:
            return {}
        return {"authorization": {"url": pending.page, "expires": pending.page_expires}}


class RestartHandler(ApiHandler):
    """``api/servers/{name}/restart``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """End the server's processes; the next request starts a new one."""
        await self.runtime.gateway.restart(self.server_named(name))
        self.set_status(202)
        self.finish({"restarted": name})


class EntryHandler(ApiHandler):
    """``api/servers/{name}/entry``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """What to write into an IDE's configuration, with a fresh gateway token unless ``token`` is false."""
        server, body = self.server_named(name), self.body()
        ide = body.get("ide")
        if ide not in IDES:
            raise web.HTTPError(400, f'"ide" must be one of {", ".join(sorted(IDES))}')
        token = None
        if body.get("token", True) is not False:
            token, _ = self.runtime.tokens.mint(
                self.principal,
                str(self.current_user.username),
                [server.name],
                _lifetime(body.get("expires_in")),
                f"for {ide}",
            )
        base = f"{self.request.protocol}://{self.request.host}{self.base_url}"
        self.set_header("Cache-Control", "no-store")
        self.finish(entry(ide, server.name, base, token))


class SessionsHandler(ApiHandler):
    """``api/sessions``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """The caller's live sessions."""
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
        """End a session, or with ``after`` as soon as nobody came back within so many seconds."""
        session = self.session_of(session_id)
        after = _seconds(self.get_query_argument("after", "0"))
        if after > 0 and session.resumption is not None:
            session.resumption.leave(after, time.monotonic())
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
        raise web.HTTPError(400, '"after" must be a number of seconds')
    return seconds


class TokensHandler(ApiHandler):
    """``api/tokens``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """The caller's gateway tokens, without their secrets."""
        self.finish({"tokens": [token.public() for token in self.runtime.tokens.of(self.principal)]})

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """Mint a token for named servers."""
        body = self.body()
        servers = body.get("servers")
        if not isinstance(servers, list) or not servers:
            raise web.HTTPError(400, '"servers" must be a list of server names')
        names = [self.server_named(name).name for name in servers]
        note = body.get("note", "")
        if not isinstance(note, str) or len(note) > 200 or not note.isprintable():
            raise web.HTTPError(400, '"note" must be one line of at most 200 printable characters')
        try:
            tools = read_rules("tools", body["tools"]) if body.get("tools") is not None else None
        except ValueError as error:
            raise web.HTTPError(400, f'"tools" {error}') from None
        username, lifetime = str(self.current_user.username), _lifetime(body.get("expires_in"))
        secret, token = self.runtime.tokens.mint(self.principal, username, names, lifetime, note, tools)
        self.set_status(201)
        self.set_header("Cache-Control", "no-store")
        self.finish({**token.public(), "token": secret})


def _lifetime(value: object) -> float:
    if value is None:
        return DEFAULT_LIFETIME
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise web.HTTPError(400, '"expires_in" must be a number of seconds')
    if not 0 < value <= MAX_LIFETIME:  # false for NaN too
        raise web.HTTPError(400, f'"expires_in" must lie between 0 and {MAX_LIFETIME} seconds')
    return float(value)


class TokenHandler(ApiHandler):
    """``api/tokens/{id}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def delete(self, token_id: str) -> None:
        """Revoke a token and drop the links it opened."""
        if not self.runtime.tokens.revoke(self.principal, token_id):
            raise web.HTTPError(404, "there is no such token")
        self.runtime.gateway.token_revoked(token_id)
        self.set_status(204)
        self.finish()


class TicketsHandler(ApiHandler):
    """``api/tickets``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """A one-time ticket for ``?ticket=``, for clients that can set no header."""
        server = self.server_named(self.body().get("server"))
        username = str(self.current_user.username)
        ticket = self.runtime.tickets.issue(self.principal, username, server.name, credential_of(self))
        self.set_status(201)
        self.set_header("Cache-Control", "no-store")
        self.finish({"ticket": ticket, "expires_in": TICKET_LIFETIME})


class HealthHandler(ApiHandler):
    """``api/health``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Whether the gateway serves, in a few numbers."""
        gateway = self.runtime.gateway
        self.finish(
            {
                "status": "closing" if gateway.closing else "ok",
                "version": __version__,
                "sessions": len(gateway.sessions),
                "links": sum(session.attached for session in gateway.sessions.values()),
                "processes": gateway.process_count(),
            }
        )


class OpenApiHandler(ApiHandler):
    """``api/openapi.json``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """This interface, described."""
        self.set_header("Content-Type", "application/json")
        self.finish(OPENAPI.read_bytes())
