"""``api/servers``: what the configured servers do, and restarting or stopping them.

Servers belong to all users: counts are totals, and restarting or stopping a server ends all its processes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ensure_async
from tornado import web

from mcp_ws_ide.config.environment import inherited, withheld
from mcp_ws_ide.config.secrets import censored_spec
from mcp_ws_ide.gateway.server import LiveUpstream, Server
from mcp_ws_ide.handlers.api.base import ApiHandler, problem_model
from mcp_ws_ide.observe.process_usage import Usage, measure


class ServersHandler(ApiHandler):
    """``api/servers``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List the configured servers and the problems of the configuration."""
        gateway = self.runtime.gateway
        refused = await self._editing_refused()
        used = await self.usage(gateway.servers.values())
        self.set_header("Cache-Control", "no-store")
        self.finish(
            {
                "servers": [self.server_model(server, refused, used) for server in gateway.servers.values()],
                "problems": [problem_model(problem) for problem in gateway.problems],
                "network": self.runtime.intermediaries.model(),
                "withheld": withheld(os.environ, inherited(os.environ)),
                "editing": {
                    "file": self.runtime.manager.path,
                    "refused": refused or self.runtime.manager.read_only(),
                },
            }
        )

    async def _editing_refused(self) -> str:
        """Return why the caller may not change entries; empty if they may."""
        user = self.current_user
        allowed = await ensure_async(self.authorizer.is_authorized(self, user, "write", "mcp"))
        return "" if allowed else "you are not authorized to write on mcp (Jupyter's authorizer)"

    async def usage(self, servers: Iterable[Server]) -> dict[int, Usage]:
        """Measure the caller's processes, by pid; only if the query has ``usage=1``."""
        if self.get_query_argument("usage", "0") != "1":
            return {}
        pids = [u.pid for server in servers for u in server.upstreams if u.owner == self.principal and u.pid]
        return await asyncio.to_thread(measure, pids) if pids else {}

    def server_model(self, server: Server, refused: str, used: dict[int, Usage]) -> dict[str, Any]:
        """A server as REST shows it, without its environment and secrets."""
        model: dict[str, Any] = censored_spec(server.spec)
        mine = sorted((u for u in server.upstreams if u.owner == self.principal), key=lambda u: u.started)
        redact, unresolved = self.runtime.gateway.tap.redactor.text, server.spec.unresolved

        def hide(text: str) -> str:
            return redact(unresolved(text))

        command = [model.get("command"), *model.get("args", [])] if model.get("command") else []
        last = server.last_exit(self.principal)
        return {
            "name": server.name,
            "title": server.spec.title or server.name,
            "transport": server.spec.kind,
            "era": server.era or "unknown",
            "state": server.state(self.principal),
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
            **self._authorization(server),
        }

    def _authorization(self, server: Server) -> dict[str, Any]:
        """The page on which the caller has to authorize the gateway, while requests wait for that."""
        authorizations = self.runtime.gateway.authorizations
        pending = authorizations and authorizations.pending(server.name, self.principal)
        if not pending:
            return {}
        return {"authorization": {"url": pending.page, "expires": pending.page_expires}}


def process_model(upstream: LiveUpstream, used: dict[int, Usage]) -> dict[str, Any]:
    """A process, or the connection to a remote server, as REST shows it."""
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
        """Get one server, with the newest lines of its stderr."""
        server = self.server_named(name)
        self.set_header("Cache-Control", "no-store")
        hide = self.runtime.gateway.tap.redactor.text
        stderr = [hide(line.text) for line in server.stderr(self.principal).after(0)[-200:]]
        model = self.server_model(server, await self._editing_refused(), await self.usage([server]))
        self.finish({**model, "stderr": stderr})


class RestartHandler(ApiHandler):
    """``api/servers/{name}/restart``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """End the server's processes; the next request starts a new one. Refused with 409 for a disabled server."""
        server = self.server_named(name)
        if (reason := server.spec.disabled_reason) is not None:
            hide = self.runtime.gateway.tap.redactor.text
            raise web.HTTPError(409, hide(f"server {name!r} is disabled: {reason}"))
        ended = await self.runtime.gateway.restart(server)
        self.set_status(202)
        self.finish({"restarted": name, "ended": ended})


class StopHandler(ApiHandler):
    """``api/servers/{name}/stop``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """End the server's processes; none is started until the server is restarted."""
        await self.runtime.gateway.stop(self.server_named(name))
        self.set_status(202)
        self.finish({"stopped": name})


class StderrHandler(ApiHandler):
    """``api/servers/{name}/stderr``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self, name: str) -> None:
        """Get the lines after number ``after`` that the caller's processes have written to stderr."""
        server = self.server_named(name)
        text = self.get_query_argument("after", "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise web.HTTPError(
                400, f'"after" is {text[:100]!r}; it must be the "next" of an earlier response'
            )
        after, kept = int(text), server.stderr(self.principal)
        if after > kept.seq:  # numbered by an earlier gateway or entry
            after = 0
        lines = kept.after(after)
        hide = self.runtime.gateway.tap.redactor.text
        shown = [
            {"seq": line.seq, "time": line.at, "pid": line.pid, "text": hide(line.text)} for line in lines
        ]
        self.set_header("Cache-Control", "no-store")
        self.finish({"lines": shown, "next": kept.seq, "missed": kept.seq - after - len(lines)})
