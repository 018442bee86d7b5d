"""The request as every endpoint sees it: whose it is, which server its URL names, and how it is refused.

A request reaches an endpoint as a Tornado handler or as a :class:`~.repeated_post.RepeatedPost`;
:class:`Requester` is what the two share. How the principal was authenticated is in :mod:`.auth`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from tornado import web
from tornado.httputil import HTTPHeaders

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import REFUSED
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.links.base import LinkInfo
from mcp_ws_ide.runtime import Runtime

MAX_USER_AGENT: Final = 200
"""Characters of ``User-Agent`` that are kept."""
RETRY_AFTER: Final = "1"
"""Seconds after which a client may try again, as ``Retry-After`` has them."""


class Request(Protocol):
    """What is read of a request; Tornado's ``HTTPServerRequest`` has it."""

    headers: HTTPHeaders
    body: bytes
    remote_ip: str | None

    def request_time(self) -> float:
        """Return the seconds since the request was read."""


class Requester(Protocol):
    """An authenticated request to an MCP endpoint."""

    @property
    def request(self) -> Request:
        """The request; its body can be replaced."""

    token_id: str | None
    """The gateway token that was presented, if any."""
    token_tools: ToolRules | None
    """The tools that this token allows; None for all."""
    error_headers: dict[str, str]
    """Headers of the response if the request is refused."""

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""

    @property
    def principal(self) -> str:
        """The owner of what the request creates."""


def refusal(runtime: Runtime, status: int, reason: str, message: str) -> web.HTTPError:
    """Return an HTTP error to raise, and count it under the label ``reason`` of ``mcp_ws_refusals``."""
    runtime.gateway.metrics.refusals[reason] += 1
    return web.HTTPError(status, message)


def refusal_body(status: int, message: str, outcome: str = "") -> dict[str, Any]:
    """Return the body of an HTTP refusal by an MCP endpoint; ``outcome`` if the status does not tell it.

    It is a JSON-RPC error, because SDKs show the reason of such a one only, and has the members ``message`` and
    ``status`` of every error of the gateway. Its id is null: no message was read.
    """
    data = {"status": status, "outcome": outcome or ("unknown" if status == 500 else "not_sent")}
    error = {"code": REFUSED, "message": message, "data": data}
    return {"jsonrpc": "2.0", "id": None, "error": error, "message": message, "status": status}


def challenge(message: str, more: str = "", *, presented: bool = True) -> str:
    """Return the value of ``WWW-Authenticate`` for a 401 (RFC 6750 section 3).

    Args:
        more: further parameters, for its end.
        presented: whether the request had a token. Without one, no error is named (section 3.1): a client that reads
            ``invalid_token`` may renew a token that it does not have, in place of signing in.
    """
    if not presented:
        return f'Bearer realm="Jupyter"{more}'
    text = "".join(c for c in message if " " <= c <= "~" and c not in '"\\')
    return f'Bearer realm="Jupyter", error="invalid_token", error_description="{text}"{more}'


def http_error_message(error: BaseException | None) -> str:
    """The message of an HTTP error; empty for any other exception."""
    if not isinstance(error, web.HTTPError) or not error.log_message:
        return ""
    return error.log_message % error.args if error.args else error.log_message.replace("%%", "%")


def link_info(
    requester: Requester, link: str, subprotocol: str | None = None, *, fragile: bool = False
) -> LinkInfo:
    """Describe the link that a request opens; ``link`` is ``websocket``, ``http`` or ``poll``."""
    request = requester.request
    return LinkInfo(
        requester.principal,
        request.remote_ip or "",
        request.headers.get("User-Agent", "")[:MAX_USER_AGENT],
        subprotocol,
        fragile,
        requester.token_id,
        requester.token_tools,
        link,
    )


def find_server(requester: Requester, name: str) -> Server:
    """The server, or the group ``+a+b``, that a URL names.

    Raises:
        HTTPError: 404, no such server is configured; 503, not here, but at another gateway.
    """
    runtime = requester.runtime
    server = runtime.gateway.find(name)
    if server is None:
        message, elsewhere = not_configured(runtime, name), runtime.gateway.elsewhere
        if elsewhere is not None and elsewhere.have_server(name):
            requester.error_headers["Retry-After"] = RETRY_AFTER
            message += "; another gateway has it: give all gateways the same servers"
            raise refusal(runtime, 503, "peer", message)
        raise refusal(runtime, 404, "unknown_server", message)
    return server


def not_configured(runtime: Runtime, name: str) -> str:
    """Return the message about an unknown server: which servers there are, and which files cannot be read."""
    gateway = runtime.gateway
    configured = ", ".join(sorted(gateway.servers)) or "none"
    unread = "".join(f"; a configuration file cannot be read: {problem}" for problem in gateway.unread)
    return f"server {name!r} is not configured; configured servers: {configured}{unread}"


def usable_server(requester: Requester, name: str) -> Server:
    """The server that a URL names, if a session on it can start.

    Raises:
        HTTPError: 404, no such server is configured; 502, it cannot be started now.
    """
    server = find_server(requester, name)
    reason = server.refusal_to(requester.principal)
    if reason is not None:
        message = f"server {server.name!r} cannot start: {server.spec.unresolved(reason)}"
        raise refusal(requester.runtime, 502, "server", message)
    return server


def resumable_server(requester: Requester, name: str) -> Server:
    """The server that a URL names, if a session on it can start or one of this principal's can resume.

    Raises:
        HTTPError: as of :func:`usable_server`.
    """
    gateway = requester.runtime.gateway
    server = gateway.find(name)
    if server is None or server.refusal_to(requester.principal) is not None:
        server = gateway.server_to_resume(name, requester.principal)
    return server or usable_server(requester, name)
