"""``{base_url}mcp-ws/api/…``: what the page, the inspector and operators ask and order.

Everything needs Jupyter's own credential (a gateway token opens MCP endpoints alone) and the authorizer's
``execute`` on ``mcp``. A user sees and ends only sessions and tokens of their own. Servers are everybody's: counts
are of all users, and restarting or stopping one ends all its processes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado import web

from mcp_ws_ide import __version__
from mcp_ws_ide.config.entry import read_rules
from mcp_ws_ide.config.secrets import censored_spec
from mcp_ws_ide.config.spec import ConfigProblem
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.credentials import credential_of
from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.auth import GatewayHandler
from mcp_ws_ide.ide_entries import IDES, entry
from mcp_ws_ide.observe.process_usage import Usage, measure
from mcp_ws_ide.tokens import MAX_LIFETIME, TICKET_LIFETIME

if TYPE_CHECKING:
    from mcp_ws_ide.gateway.server import LiveUpstream

DEFAULT_LIFETIME: Final = 30 * 86400
"""Lifetime of a gateway token that is minted without one, in seconds."""

NO_ADDRESS: Final = frozenset({"", "localhost", "127.0.0.1", "[::1]"})
"""What a client on a Unix socket writes as ``Host``; a forwarded port would be named."""
NO_PORT: Final = (
    "Jupyter listens on a Unix socket, which MCP clients cannot use: start it without --sock, or ask for the entry "
    "at the address of the proxy or the forwarded port through which it is reached"
)
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

    def body(self, *known: str) -> dict[str, Any]:
        """The request's JSON object; a member that is not one of ``known``, if any are given, is refused: it may be
        a misspelt one."""
        try:
            value = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise web.HTTPError(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise web.HTTPError(400, "the body must be a JSON object")
        if known and (unknown := ", ".join(repr(name[:100]) for name in sorted(value) if name not in known)):
            raise web.HTTPError(400, f"the body must not have {unknown[:500]}; known: {', '.join(known)}")
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


def problem_model(problem: ConfigProblem) -> dict[str, str]:
    """A finding as REST shows it."""
    return {
        "source": problem.source,
        "key": problem.key,
        "reason": problem.reason,
        "severity": problem.severity,
    }


class ServersHandler(ApiHandler):
    """``api/servers``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """All configured servers, and what is wrong with the configuration."""
        gateway = self.runtime.gateway
        refused = await self._editing_refused()
        used = await self.usage(gateway.servers.values())
        self.finish(
            {
                "servers": [self.server_model(server, refused, used) for server in gateway.servers.values()],
                "problems": [problem_model(problem) for problem in gateway.problems],
                "editing": {
                    "file": self.runtime.manager.path,
                    "refused": refused or self.runtime.manager.read_only(),
                },
            }
        )

    async def _editing_refused(self) -> str:
        """Why the caller may change nothing."""
        user = self.current_user
        allowed = await ensure_async(self.authorizer.is_authorized(self, user, "write", "mcp"))
        return "" if allowed else "you are not authorized to write on mcp"

    async def usage(self, servers: Iterable[Server]) -> dict[int, Usage]:
        """What the caller's processes use, by pid; nothing unless it is asked for."""
        if self.get_query_argument("usage", "0") != "1":
            return {}
        pids = [u.pid for server in servers for u in server.upstreams if u.owner == self.principal and u.pid]
        return await asyncio.to_thread(measure, pids) if pids else {}

    def server_model(self, server: Server, refused: str, used: dict[int, Usage]) -> dict[str, Any]:
        """A server as REST shows it: no environment, no secrets."""
        model: dict[str, Any] = censored_spec(server.spec)
        mine = sorted((u for u in server.upstreams if u.owner == self.principal), key=lambda u: u.started)
        redact, unresolved = self.runtime.gateway.tap.redactor.text, server.spec.unresolved

        def hide(text: str) -> str:
            return redact(unresolved(text))

        command = [model.get("command"), *model.get("args", [])] if model.get("command") else []
        last = server.last_exit(self.principal)
        return {
            "name": server.name,
            "transport": server.spec.kind,
            "era": server.era or "unknown",
            "state": server.state,
            "reason": hide(server.refusal_to(self.principal) or (last.reason if last else "")),
            "source": server.spec.source,
            "sharing": server.spec.sharing,
            "command": [hide(part) for part in command],
            "address": hide(str(model.get("url") or model.get("python") or "+".join(model.get("group", ())))),
            "sessions": sum(s.server is server for s in self.runtime.gateway.sessions.values()),
            "processes": [process_model(u, used) for u in mine],
            "restarts": server.counters.restarts,
            "last_exit": {"at": last.at, "reason": hide(last.reason)} if last else None,
            "read_only": refused or self.runtime.manager.read_only(server.spec.source),
            "awaits_consent": server.spec.consent is not None,
        }


def process_model(upstream: LiveUpstream, used: dict[int, Usage]) -> dict[str, Any]:
    """A process, or the attachment to a remote server, as REST shows it."""
    usage = used.get(upstream.pid or 0)
    return {
        "pid": upstream.pid,
        "era": upstream.era,
        "shared": upstream.shared,
        "sessions": upstream.users,
        "started": upstream.started,
        "memory": usage.memory if usage else None,
        "cpu": round(usage.cpu, 2) if usage else None,
    }


class ServerHandler(ServersHandler):
    """``api/servers/{name}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self, name: str) -> None:
        """One server, with the newest lines of its stderr."""
        server = self.server_named(name)
        self.set_header("Cache-Control", "no-store")
        hide = self.runtime.gateway.tap.redactor.text
        stderr = [hide(line.text) for line in server.stderr(self.principal).after(0)[-200:]]
        shown = {"stderr": stderr, **self._authorization(server)}
        model = self.server_model(server, await self._editing_refused(), await self.usage([server]))
        self.finish({**model, **shown})

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
        """End the server's processes; the next request starts a new one, and so it is refused to a disabled one."""
        server = self.server_named(name)
        if (reason := server.spec.disabled_reason) is not None:
            hide = self.runtime.gateway.tap.redactor.text
            raise web.HTTPError(409, hide(f"the server {name!r} is disabled: {reason}"))
        ended = await self.runtime.gateway.restart(server)
        self.set_status(202)
        self.finish({"restarted": name, "ended": ended})


class StopHandler(ApiHandler):
    """``api/servers/{name}/stop``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """End the server's processes; nothing is started until it is restarted."""
        await self.runtime.gateway.stop(self.server_named(name))
        self.set_status(202)
        self.finish({"stopped": name})


class StderrHandler(ApiHandler):
    """``api/servers/{name}/stderr``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self, name: str) -> None:
        """Lines that the caller's processes have written to stderr, behind the line ``after``."""
        server = self.server_named(name)
        text = self.get_query_argument("after", "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise web.HTTPError(400, '"after" must be the "next" of an earlier answer')
        after, kept = int(text), server.stderr(self.principal)
        if after > kept.seq:  # of a gateway, or an entry, before this one
            after = 0
        lines = kept.after(after)
        hide = self.runtime.gateway.tap.redactor.text
        shown = [
            {"seq": line.seq, "time": line.at, "pid": line.pid, "text": hide(line.text)} for line in lines
        ]
        self.set_header("Cache-Control", "no-store")
        self.finish({"lines": shown, "next": kept.seq, "missed": kept.seq - after - len(lines)})


class EntryHandler(ApiHandler):
    """``api/servers/{name}/entry``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """What to write into an IDE's configuration, with a fresh gateway token unless ``token`` is false."""
        server, body = self.server_named(name), self.body("ide", "token", "expires_in")
        ide = body.get("ide")
        if ide not in IDES:
            raise web.HTTPError(400, f'"ide" must be one of {", ".join(sorted(IDES))}')
        self._check_for_port()
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

    def _check_for_port(self) -> None:
        """On a Unix socket the address we were asked at is a proxy's in front of it, or nobody's."""
        forwarded = "X-Forwarded-For" in self.request.headers
        if self.serverapp.sock and not forwarded and self.request.host in NO_ADDRESS:
            raise web.HTTPError(409, NO_PORT)


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
        body = self.body("servers", "expires_in", "note", "tools")
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
        server = self.server_named(self.body("server").get("server"))
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
