"""Who asks, and from where: credentials, principal, Origin, authorizer. Decided before a byte flows."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlparse

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado import web

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import Watched, credential_of, principal_of
from mcp_ws_ide.tokens import TOKEN_PREFIX, Ticket

if TYPE_CHECKING:
    from mcp_ws_ide.app import Runtime
    from mcp_ws_ide.gateway.server import Server

EXPOSED: Final = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"
ALLOWED: Final = (
    "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, "
    "Mcp-Name, X-XSRFToken"
)
"""Headers that pages of an allowed Origin may read and send."""
_PARAMETER: Final = re.compile(r"(?i)mcp-param-[!#$%&'*+.^_`|~0-9a-z-]+")
"""Headers that repeat arguments of a tool (MCP 2026-07-28, basic/transports): only its schema knows their names."""
log = logging.getLogger(__name__)


def origin_allowed(handler: JupyterHandler) -> bool:
    """Whether the request's Origin is this server's own or one that ``allow_origin`` names.

    Stricter than Jupyter, which skips the check for token requests. Requests without an Origin come from
    scripts and pass, unless the browser says that they are cross-site.
    """
    headers = handler.request.headers
    origin = headers.get("Origin") or headers.get("Sec-Websocket-Origin")
    if handler.allow_origin == "*":
        return True
    if origin is None:
        return bool(headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin", "same-site"))
    origin = origin.lower()
    if _authority(origin) == headers.get("Host", "").lower() and origin != "null":
        return True
    if handler.allow_origin:
        return bool(handler.allow_origin.lower() == origin)
    pattern = handler.allow_origin_pat
    return bool(pattern and _matches(pattern, origin))


def good_for(servers: Sequence[str], name: str) -> bool:
    """Whether a credential for these servers opens the one of this name; a group in a URL, if it opens each member."""
    members = [part for part in name.split("+") if part] if name.startswith("+") else []
    return name in servers or (bool(members) and all(member in servers for member in members))


def _authority(origin: str) -> str:
    try:
        return urlparse(origin).netloc
    except ValueError:  # not an Origin at all, as "http://[::1"
        return ""


def _matches(pattern: Any, origin: str) -> bool:
    """``allow_origin_pat`` must match the whole Origin: a prefix match would allow ``…example.com.evil``."""
    return re.fullmatch(pattern, origin) is not None


def refusal(runtime: Runtime, status: int, reason: str, message: str) -> web.HTTPError:
    """An error to raise; ``reason`` labels the metric ``mcp_ws_refusals``."""
    runtime.gateway.metrics.refusals[reason] += 1
    return web.HTTPError(status, message)


def words_of(error: BaseException | None) -> str:
    """What an HTTP error says, or nothing."""
    if not isinstance(error, web.HTTPError) or not error.log_message:
        return ""
    return error.log_message % error.args if error.args else error.log_message.replace("%%", "%")


class ServerLookup:
    """From a name in a URL to its server, for whatever can refuse."""

    if TYPE_CHECKING:

        @property
        def runtime(self) -> Runtime: ...
        @property
        def principal(self) -> str: ...
        def refuse(self, status: int, reason: str, message: str) -> web.HTTPError: ...

    def find_server(self, name: str) -> Server:
        """The configured server, or 404."""
        server = self.runtime.gateway.find(name)
        if server is None:
            gateway = self.runtime.gateway
            known = ", ".join(sorted(gateway.servers)) or "none"
            unread = "".join(f"; a file of servers cannot be used: {problem}" for problem in gateway.unread)
            words = f"there is no server {name!r}; configured: {known}{unread}"
            raise self.refuse(404, "unknown_server", words)
        return server

    def usable_server(self, name: str) -> Server:
        """The configured server, or 404; 502 if it cannot be started now."""
        server = self.find_server(name)
        refusal = server.refusal_to(self.principal)
        if refusal is not None:
            raise self.refuse(
                502, "server", f"server {server.name!r} cannot start: {server.spec.unresolved(refusal)}"
            )
        return server

    def server_for_hello(self, name: str) -> Server:
        """As :meth:`usable_server`, but a session of this user may go on where no new one could begin."""
        gateway = self.runtime.gateway
        server = gateway.find(name)
        if server is None or server.refusal is not None:
            server = gateway.server_to_resume(name, self.principal)
        return server or self.usable_server(name)

    def message_limit(self, server: Server) -> int:
        """Longest message of a server, in bytes."""
        return self.runtime.gateway.message_limit(server.spec)


class GatewayHandler(JupyterHandler):
    """What the handlers of this extension share: the runtime, JSON errors, the Origin policy."""

    def initialize(self, **kwargs: Any) -> None:
        """Tornado's constructor hook."""
        super().initialize(**kwargs)
        self.error_headers: dict[str, str] = {}
        """Headers of an error answer; Tornado forgets those that were set before the error."""

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self.settings["mcp_ws_ide_runtime"]

    @property
    def principal(self) -> str:
        """The owner of what this request makes or sees."""
        return principal_of(self.identity_provider, self.current_user)

    def refuse(self, status: int, reason: str, message: str) -> web.HTTPError:
        """An error to raise; ``reason`` labels the metric ``mcp_ws_refusals``."""
        return refusal(self.runtime, status, reason, message)

    def origin_is_allowed(self) -> bool:
        """Whether the request's Origin may use this server."""
        return origin_allowed(self)

    def check_policy(self) -> None:
        """Refuse a foreign Origin, whatever the credential says."""
        if not self.runtime.check_origin or origin_allowed(self):
            return
        headers = self.request.headers
        origin = headers.get("Origin") or headers.get("Sec-Websocket-Origin")
        words = f"Origin {origin} is not allowed; see ServerApp.allow_origin"
        if origin is None:
            words = (
                "the browser says that another site sent this (Sec-Fetch-Site), and it has no Origin to allow"
            )
        raise self.refuse(403, "origin", words)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Tornado would log a refusal with its whole URL, and so with a token in it."""
        if isinstance(value, web.HTTPError):
            self.log.debug("%s %s: %s", value.status_code, self.request.path, value.log_message)
        else:
            self.log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors are JSON: ``{"message": …}``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = words_of(error) or self._reason
        self.set_header("Content-Type", "application/json")
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self.finish({"message": message, "status": status_code})


class EndpointHandler(ServerLookup, GatewayHandler):
    """Base of the WebSocket endpoints: every way to present a credential (docs/binding.md, section 3)."""

    token_id: str | None = None
    token_tools: ToolRules | None = None
    cookie_needs_origin = True
    _owner: str | None = None
    _ticket: Ticket | None = None

    def watch_credential(self, watched: Watched) -> None:
        """Tie ``watched`` to the Jupyter credential of this request, or to the one its ticket was got with."""
        if self.token_id is None:
            credential = credential_of(self) if self._ticket is None else self._ticket.credential
            self.runtime.credentials.add(credential, self.principal, watched)

    @property
    def repeatable(self) -> bool:
        """Whether the same head may pass again for a moment: it shows a token, and comes from no page."""
        if "Origin" in self.request.headers:
            return False
        return self.token_id is not None or (self._owner is None and bool(self.token_authenticated))

    @property
    def principal(self) -> str:
        """As of the gateway token or ticket, else as of Jupyter's user."""
        return self._owner if self._owner is not None else super().principal

    async def prepare(self) -> None:
        """Authenticate; redirect nobody to a login page."""
        if self.request.method == "OPTIONS":  # a preflight carries no credential; its answer, no data
            return self.check_policy()
        await self.runtime.turnstile.enter()
        server = self.path_kwargs.get("name", "")
        secret, ticket = self._presented_token(), self.get_query_argument("ticket", "")
        if not self.check_host():
            self.runtime.tickets.redeem(ticket, server)  # whoever saw it there must not use it here
            raise self.refuse(403, "host", "Host is not local; see ServerApp.allow_remote_access")
        if secret is not None and secret.startswith(TOKEN_PREFIX):
            self._use_gateway_token(secret, server)
        elif secret is None and ticket:
            self._use_ticket(ticket, server)
        else:
            await self._use_jupyter(secret)
        self.check_policy()

    def _presented_token(self) -> str | None:
        headers = self.request.headers
        found = IdentityProvider.auth_header_pat.match(headers.get("Authorization", ""))
        if found:
            return str(found.group(2)).strip()
        return binding.token_from_subprotocols(self.offered) or self.get_query_argument("token", "") or None

    @property
    def offered(self) -> list[str]:
        """The subprotocols the client offers."""
        return binding.offered_subprotocols(self.request.headers.get_list("Sec-WebSocket-Protocol"))

    def _use_gateway_token(self, secret: str, server: str) -> None:
        token = self.runtime.tokens.find(secret)
        if token is None:
            raise self.refuse(
                401, "token", "the gateway token is unknown, expired or revoked; mint a new one"
            )
        if not self._token_opens(token.servers, server):
            raise self.refuse(403, "token_scope", f"the gateway token is not good for the server {server!r}")
        if token.tools is not None and server.startswith("+"):  # its patterns know the names without prefixes
            words = "a gateway token with lists of tools opens no group in a URL; use a configured group"
            raise self.refuse(403, "token_scope", words)
        self.token_id, self.token_tools = token.id, token.tools
        self._become(token.principal, token.username)

    def _token_opens(self, servers: list[str], server: str) -> bool:
        return good_for(servers, server)

    def _use_ticket(self, secret: str, server: str) -> None:
        ticket = self.runtime.tickets.redeem(secret, server)
        if ticket is None:
            raise self.refuse(401, "ticket", "the ticket is unknown, used, expired or for another server")
        self._ticket = ticket
        self._become(ticket.principal, ticket.username)

    def _become(self, principal: str, username: str) -> None:
        self._owner = principal
        self.current_user = self._jupyter_current_user = User(username)

    async def _use_jupyter(self, secret: str | None) -> None:
        if secret is not None:  # one form for identity providers that read only the header
            self.request.headers["Authorization"] = f"token {secret}"
        try:
            await super().prepare(_redirect_to_login=False)
        except web.HTTPError as error:
            if error.status_code == 403 and self.current_user is None:
                raise self._anonymous() from None
            raise
        if self.current_user is None:
            raise self._anonymous()
        unknown_origin = self.cookie_needs_origin and "Origin" not in self.request.headers
        if unknown_origin and self._by_cookie() and self.runtime.check_origin:
            raise self.refuse(403, "origin", "a cookie needs an Origin header; use a token outside a browser")

    def _anonymous(self) -> web.HTTPError:
        words = "a credential is missing or wrong; send the header Authorization with the value Bearer TOKEN"
        return self.refuse(401, "credential", words)

    def _by_cookie(self) -> bool:
        return "Cookie" in self.request.headers and not self.token_authenticated

    @allow_unauthenticated
    def options(self, *args: Any, **kwargs: Any) -> None:
        """The preflight of a page of an allowed Origin; it carries no credential and no data."""
        self.set_status(204)
        self.set_header("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
        asked = self.request.headers.get("Access-Control-Request-Headers", "").split(",")
        parameters = [name.strip() for name in asked if _PARAMETER.fullmatch(name.strip())]
        self.set_header("Access-Control-Allow-Headers", ", ".join([ALLOWED, *parameters]))
        self.set_header("Access-Control-Max-Age", "600")
        self.finish()

    def set_default_headers(self) -> None:
        """CORS for an allowed Origin, on every answer, errors too."""
        super().set_default_headers()
        origin = self.request.headers.get("Origin")
        if origin is None:
            return
        self.add_header("Vary", "Origin")
        if self.origin_is_allowed():
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Expose-Headers", EXPOSED)
            if self.allow_credentials:
                self.set_header("Access-Control-Allow-Credentials", "true")

    async def check_authorized(self, action: str, resource: str) -> None:
        """Ask Jupyter's authorizer."""
        allowed = await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, resource))
        if not allowed:
            raise self.refuse(403, "authorizer", f"you are not authorized to {action} on {resource}")
