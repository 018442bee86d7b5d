"""What all REST handlers share: authentication as Jupyter does it, the Origin check, JSON bodies, look-ups.

Every call needs Jupyter's own credential (a gateway token opens MCP endpoints and the tap only) and a permission of
Jupyter's authorizer: ``execute`` on ``mcp`` unless the handler says otherwise.
"""

from __future__ import annotations

import json
import math
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


MAX_DIGITS: Final = 300
"""Digits of a whole number in a body; a floating-point number has as many at most."""
MAX_PATH: Final = 200
"""Characters of a member's path in an error."""
MAX_DEPTH: Final = 100
"""Levels of lists and objects in a body; code that walks through deeper ones could run out of stack."""


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
            raise self.refuse_credential(CREDENTIAL)
        self.check_policy()
        if "name" in self.path_kwargs:  # in whatever spelling
            self.path_kwargs["name"] = self.runtime.gateway.address(self.path_kwargs["name"])

    def body(self, *known: str) -> dict[str, Any]:
        """Return the request's JSON object.

        Raises:
            HTTPError: 400, it is not a JSON object, or has a member that is not in ``known``, perhaps misspelt.
        """
        value = _json_of(self.take_body() or b"{}")
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
            raise web.HTTPError(404, f"session {session_id!r} does not exist; it may have ended")
        return session

    def server_named(self, name: object) -> Server:
        """Return the configured server with this name; raise 404 if there is none, 400 if it is not a string."""
        if not isinstance(name, str):
            raise web.HTTPError(
                400, f"the name of a server must be a string, and not {json.dumps(name)[:100]}"
            )
        gateway = self.runtime.gateway
        server = gateway.servers.get(gateway.address(name))
        if server is None:
            raise web.HTTPError(404, not_configured(self.runtime, name[:100]))
        return server


def _json_of(body: bytes) -> Any:
    """Return the value of a body: only what every JSON parser reads alike, and every file and answer can hold."""
    try:
        value = json.loads(body, parse_constant=float, parse_int=_integer)
    except UnicodeError:
        raise web.HTTPError(400, "the body is not valid Unicode text") from None
    except RecursionError:
        raise web.HTTPError(400, "the body is not JSON: it is nested too deeply") from None
    except ValueError as error:
        raise web.HTTPError(400, f"the body is not JSON: {str(error)[:200]}") from None
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeError:  # half a character
        raise web.HTTPError(400, "the body is not valid Unicode text") from None
    except RecursionError:
        raise web.HTTPError(400, "the body is not JSON: it is nested too deeply") from None
    except ValueError:
        reason = f"the body is not JSON: the number at {_not_finite(value)} is NaN, infinite or too large"
        raise web.HTTPError(400, reason) from None
    if _depth(value) > MAX_DEPTH:
        raise web.HTTPError(400, f"the body is nested more than {MAX_DEPTH} levels deep")
    return value


def _depth(value: Any) -> int:
    """Return how deep lists and objects are nested, up to one more than :data:`MAX_DEPTH`."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        nested = [one for one in level if isinstance(one, (dict, list))]
        level = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
        depth += bool(nested)
    return depth


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _not_finite(value: Any) -> str:
    """Return the path of a number that is NaN or infinite, at most :data:`MAX_PATH` characters of it."""
    todo = [("", value)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return path or "the top"
        if isinstance(value, dict):
            todo += [(f"{path}.{name}"[:MAX_PATH].lstrip("."), one) for name, one in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{index}]"[:MAX_PATH], one) for index, one in enumerate(value)]
    return "an unknown place"


def problem_model(problem: ConfigProblem) -> dict[str, str]:
    """A problem of the configuration, as REST shows it."""
    return {
        "source": problem.source,
        "key": problem.key,
        "reason": problem.reason,
        "severity": problem.severity,
    }
