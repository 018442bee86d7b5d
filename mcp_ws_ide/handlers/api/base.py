"""What all REST handlers share: authentication as Jupyter does it, the Origin check, JSON bodies, look-ups.

Every call needs Jupyter's own credential (a gateway token opens MCP endpoints and the tap only) and a permission of
Jupyter's authorizer: ``execute`` on ``mcp`` unless the handler says otherwise.
"""

from __future__ import annotations

import json
from typing import Any, Final

from jupyter_server.base.handlers import APIHandler
from tornado import web

from mcp_ws_ide.config.spec import ConfigProblem
from mcp_ws_ide.core.intermediaries import SENDS, lost_header
from mcp_ws_ide.gateway import Session
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.requester import not_configured

CREDENTIAL: Final = (
    "the credential is missing or wrong; send the header Authorization with the value Bearer TOKEN, where TOKEN is "
    "Jupyter's own token (a gateway token opens MCP endpoints and the tap only)"
)


class ApiHandler(GatewayHandler, APIHandler):
    """Base of the REST handlers."""

    def set_default_headers(self) -> None:
        """Forbid caching of responses: they may hold secrets, and belong to one user."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:
        """Authenticate as Jupyter does, then apply the stricter Origin check; both before a body is read."""
        await self.checks_before_body(self._check())

    async def _check(self) -> None:
        self._track_activity = False
        if self.passed is not None:
            return self.trust_peer(self.passed)
        try:
            await super().prepare()
        except web.HTTPError as error:
            if error.status_code == 404:  # Jupyter's Origin check
                self.check_policy()
            if error.status_code != 403 or self.current_user is not None:
                raise
            if not self.check_host():
                raise self.host_refusal() from None
        if self.current_user is None:
            headers = self.request.headers
            if lost_header(headers.get(SENDS, ""), "authorization", headers.get("Authorization")):
                raise self.interfered("authorization_removed", 401, "credential")
            raise self.refuse(401, "credential", CREDENTIAL)
        self.check_policy()
        if "name" in self.path_kwargs:  # in whatever spelling
            self.path_kwargs["name"] = self.runtime.gateway.address(self.path_kwargs["name"])

    def body(self, *known: str) -> dict[str, Any]:
        """Return the request's JSON object.

        Raises:
            HTTPError: 400, it is not a JSON object, or has a member that is not in ``known``, perhaps misspelt.
        """
        try:
            value = json.loads(self.take_body() or b"{}")
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeError:  # half a character, which no file and no answer can hold
            raise web.HTTPError(400, "the body is not valid Unicode text") from None
        except (ValueError, RecursionError):
            raise web.HTTPError(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise web.HTTPError(400, "the body must be a JSON object")
        if known and (unknown := ", ".join(repr(name[:100]) for name in sorted(value) if name not in known)):
            raise web.HTTPError(
                400, f"the body has unknown members {unknown[:500]}; known members: {', '.join(known)}"
            )
        return value

    def session_of(self, session_id: str) -> Session:
        """Return the caller's session with this id; 404 if there is none, also for another user's."""
        session = self.runtime.gateway.sessions.get(session_id)
        if session is None or session.info.principal != self.principal:
            raise web.HTTPError(404, f"session {session_id!r} does not exist")
        return session

    def server_named(self, name: object) -> Server:
        """Return the configured server with this name, or raise 404."""
        gateway = self.runtime.gateway
        server = gateway.servers.get(gateway.address(name)) if isinstance(name, str) else None
        if server is None:
            raise web.HTTPError(404, not_configured(self.runtime, str(name)[:100]))
        return server


def problem_model(problem: ConfigProblem) -> dict[str, str]:
    """A problem of the configuration, as REST shows it."""
    return {
        "source": problem.source,
        "key": problem.key,
        "reason": problem.reason,
        "severity": problem.severity,
    }
