"""Authentication of MCP endpoints and the tap: every way to present a credential, before a byte flows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.utils import ensure_async
from tornado import web

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.intermediaries import SEEN, SENDS, lost_header, read_report
from mcp_ws_ide.credentials import Watched, credential_of
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.dialled import challenge_parameters
from mcp_ws_ide.handlers.origin import needs_no_credential
from mcp_ws_ide.handlers.requester import challenge, http_error_message, refusal_body
from mcp_ws_ide.tokens import TOKEN_PREFIX, GatewayToken, Ticket
from mcp_ws_ide.turnstile import Turnstile

if TYPE_CHECKING:
    from mcp_ws_ide.fleet.passed_tickets import PassedTicket

EXPOSED: Final = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After"
"""Response headers that pages of an allowed Origin may read."""
ALLOWED: Final = (
    "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, "
    "Mcp-Name, X-XSRFToken"
)
"""Request headers that pages of an allowed Origin may send."""
_PARAMETER: Final = re.compile(r"(?i)mcp-param-[!#$%&'*+.^_`|~0-9a-z-]+")
"""Headers that repeat arguments of a tool (MCP 2026-07-28, basic/transports); only its schema knows their names."""


def token_covers(servers: Sequence[str], name: str) -> bool:
    """Whether a gateway token for ``servers`` opens ``name``: one of them, or ``+a+b`` where it covers each member."""
    members = [part for part in name.split("+") if part] if name.startswith("+") else []
    return name in servers or (bool(members) and all(member in servers for member in members))


class EndpointHandler(GatewayHandler):
    """Base of MCP endpoints and the tap: accepts every kind of credential (docs/reference/binding.md, section 3)."""

    cookie_needs_origin = True
    _owner: str | None = None
    _arrived: str | None = None
    """The header ``Authorization`` as it came."""
    _ticket: Ticket | PassedTicket | None = None

    def watch_credential(self, watched: Watched) -> None:
        """Close ``watched`` when this request's gateway token, Jupyter credential, or that of its ticket, ends."""
        if self.token_id is not None:
            return self.runtime.credentials.add_token(self.token_id, watched)
        if self.passed is not None:
            return  # the gateway that has the credential ends the request
        if isinstance(self._ticket, Ticket):
            return self.runtime.credentials.add(self._ticket.credential, self.principal, watched)
        if self._ticket is not None:  # the gateway that issued it watches the credential
            return self._ticket.watch(watched)
        self.runtime.credentials.add(credential_of(self), self.principal, watched)

    @property
    def repeatable(self) -> bool:
        """Whether the same head may be admitted again for a moment: it has a token and comes from no page."""
        if "Origin" in self.request.headers or self.passed is not None:
            return False
        return self.token_id is not None or (self._owner is None and bool(self.token_authenticated))

    @property
    def has_token(self) -> bool:
        """Whether a token or ticket authenticated this request."""
        return self._owner is not None or super().has_token

    @property
    def principal(self) -> str:
        """The owner of the gateway token or ticket, else Jupyter's user."""
        return self._owner if self._owner is not None else super().principal

    async def prepare(self) -> None:
        """Authenticate, without a redirect to a login page, before a body is read."""
        await self.checks_before_body(self._check())

    async def _check(self) -> None:
        if self.request.method == "OPTIONS":  # a preflight has no credential and gets no data
            return self.check_policy()
        await Turnstile.running().enter()
        server = self._server_of_url()
        if (passed := self.passed) is not None:
            self.token_id, self.token_tools = passed.token_id, passed.tools
            return self.trust_peer(passed)
        secret, ticket = self._presented_token(), self.get_query_argument("ticket", "")
        self._arrived = self.request.headers.get("Authorization")
        if not self.check_host():
            await self._redeem(ticket, server)  # it may have been seen there
            raise self.host_refusal(secret)
        if secret is not None and secret.startswith(TOKEN_PREFIX):
            self._use_gateway_token(await self.runtime.find_token(secret), server)
        elif secret is None and ticket:
            await self._use_ticket(ticket, server)
        else:
            await self._use_jupyter(secret)
        self.check_policy()
        if SEEN in self.request.headers:
            for code, detail in read_report(self.request.headers[SEEN]):
                self.note(code, detail)

    def _server_of_url(self) -> str:
        """Return the address of the server that the URL names, also by its name as configured; ``""`` for none."""
        if "name" not in self.path_kwargs:
            return ""
        given = self.path_kwargs["name"]
        name: str = given.strip("/") if given.startswith("/") else given
        self.path_kwargs["name"] = name = self.runtime.gateway.address(name)
        return name

    def _presented_token(self) -> str | None:
        header = self.request.headers.get("Authorization", "")
        if match := IdentityProvider.auth_header_pat.match(header):
            return str(match.group(2)).strip()
        return binding.token_from_subprotocols(self.offered) or self.get_query_argument("token", "") or None

    @property
    def offered(self) -> list[str]:
        """The subprotocols that the client offers."""
        return binding.offered_subprotocols(self.request.headers.get_list("Sec-WebSocket-Protocol"))

    def _use_gateway_token(self, token: GatewayToken | None, server: str) -> None:
        if token is None:
            raise self.refuse(
                401, "token", "the gateway token is unknown, expired or revoked; mint a new one"
            )
        if not self._token_opens(token.servers, server):
            raise self.refuse(403, "token_scope", f"the gateway token does not cover server {server!r}")
        if token.tools is not None and server.startswith("+"):  # its patterns know tools without prefixes
            message = "a gateway token limited to certain tools cannot open a group in a URL; use a configured group"
            raise self.refuse(403, "token_scope", message)
        self.token_id, self.token_tools = token.id, token.tools
        self._become(token.principal, token.username)

    def _token_opens(self, servers: list[str], server: str) -> bool:
        return token_covers(servers, server)

    async def _redeem(self, secret: str, server: str) -> Ticket | PassedTicket | None:
        """Invalidate a ticket at the gateway that issued it; return None if it is not valid.

        Raises:
            HTTPError: 503, that gateway does not answer.
        """
        fleet, issuer = self.runtime.fleet, self.runtime.gateway.owner_of_link(secret)
        if fleet is None or not issuer:
            return self.runtime.tickets.redeem(secret, server)
        try:
            return await fleet.redeem(issuer, secret, server)
        except PeerUnreachableError as error:
            self.error_headers["Retry-After"] = "1"
            raise self.refuse(503, "peer", str(error)) from None

    async def _use_ticket(self, secret: str, server: str) -> None:
        ticket = await self._redeem(secret, server)
        if ticket is None:
            raise self.refuse(401, "ticket", "the ticket is unknown, used, expired or for another server")
        self._ticket = ticket
        self._become(ticket.principal, ticket.username)

    def _become(self, principal: str, username: str) -> None:
        self._owner = principal
        self.current_user = self._jupyter_current_user = User(username)

    async def _use_jupyter(self, secret: str | None) -> None:
        if secret is not None:  # some identity providers read only the header
            self.request.headers["Authorization"] = f"token {secret}"
        try:
            await super().prepare(_redirect_to_login=False)
        except web.HTTPError as error:
            if error.status_code == 403 and self.current_user is None:
                raise self._anonymous() from None
            raise
        if self.current_user is None:
            raise self._anonymous()
        if needs_no_credential(self):
            return  # what a cookie says does not matter
        unknown_origin = self.cookie_needs_origin and "Origin" not in self.request.headers
        if unknown_origin and self._by_cookie() and self.runtime.settings.check_origin:
            raise self.refuse(403, "origin", "a cookie needs an Origin header; use a token outside a browser")

    def _anonymous(self) -> web.HTTPError:
        headers = self.request.headers
        if lost_header(headers.get(SENDS, ""), "authorization", self._arrived):
            return self.interfered("authorization_removed", 401, "credential")
        message = (
            "the credential is missing or wrong; send the header Authorization with the value Bearer TOKEN"
        )
        return self.refuse_credential(message)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a refusal as a JSON-RPC error (docs/reference/binding.md, section 2), so that SDKs show its reason."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = http_error_message(error) or self._reason
        if status_code == 401:
            presented = self._presented_token() is not None or bool(self.get_query_argument("ticket", ""))
            self.set_header(
                "WWW-Authenticate", challenge(message, challenge_parameters(self), presented=presented)
            )
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(refusal_body(status_code, message))

    def _by_cookie(self) -> bool:
        return "Cookie" in self.request.headers and not self.token_authenticated

    @allow_unauthenticated
    def options(self, *args: Any, **kwargs: Any) -> None:
        """Answer the preflight of a page of an allowed Origin (CORS)."""
        self.set_status(204)
        self.set_header("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
        asked = self.request.headers.get("Access-Control-Request-Headers", "").split(",")
        parameters = [name.strip() for name in asked if _PARAMETER.fullmatch(name.strip())]
        self.set_header("Access-Control-Allow-Headers", ", ".join([ALLOWED, *parameters]))
        self.set_header("Access-Control-Max-Age", "600")
        self.finish()

    def set_default_headers(self) -> None:
        """Add the CORS headers of an allowed Origin to every response, errors included."""
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

    async def pass_on(self, link_id: str, path: str, body: bytes = b"") -> bool:
        """Have the gateway answer that gave a link this id; return False if that is this one, or one that has ended.

        Args:
            path: as of :class:`~.passed_requests.PassedOn`.
        """
        owner = "" if self.passed is not None else self.runtime.gateway.owner_of_link(link_id)
        if not owner:
            return False
        return await self.have_answered(owner, path, body)

    async def check_may_use(self, name: str) -> None:
        """Refuse with 403 if Jupyter's authorizer does not allow MCP, or what this server requires beside it."""
        await self.check_authorized("execute", "mcp")
        server = self.runtime.gateway.find(name)
        for right in () if server is None else server.spec.authorize:
            action, resource = right.split()
            await self.check_authorized(action, resource, f", which server {name!r} requires")

    async def check_authorized(self, action: str, resource: str, reason: str = "") -> None:
        """Refuse with 403 if Jupyter's authorizer does not allow ``action`` on ``resource``."""
        allowed = await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, resource))
        if not allowed:
            raise self.refuse(403, "authorizer", f"you are not authorized to {action} on {resource}{reason}")
