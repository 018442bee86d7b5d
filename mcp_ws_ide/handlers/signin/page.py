"""``{base_url}mcp-ws/sign-in/authorize``: the page that asks a user whether a client may use MCP servers.

Jupyter, or the hub in front of it, logs the user in. Every authorization asks, also for a client that was approved
before: anybody can register a client under any name. Nothing sends the browser anywhere before the user has pressed a
button, so that the page is no open redirector (RFC 9700 section 4.11).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.handler import ExtensionHandlerJinjaMixin, ExtensionHandlerMixin
from tornado import web

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import SINGLE_USER
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.dialled import dialled_base, issuer_of, offers_sign_in, server_of
from mcp_ws_ide.handlers.requester import http_error_message, not_configured
from mcp_ws_ide.handlers.signin.metadata import NOT_OFFERED, UNKNOWN_ADDRESS
from mcp_ws_ide.signin.answers import RefusedError
from mcp_ws_ide.signin.approvals import Approval
from mcp_ws_ide.signin.clients import BadClientError, Client, host_of, is_loopback_uri

if TYPE_CHECKING:
    from mcp_ws_ide.signin.protocol import SignInServer

DAY: Final = 86400
LIFETIMES: Final = {
    3600: "1 hour",
    DAY: "1 day",
    7 * DAY: "7 days",
    30 * DAY: "30 days",
    90 * DAY: "90 days",
    365 * DAY: "1 year",
}
"""How long a user can approve a client for, in seconds."""
DEFAULT_LIFETIME: Final = 30 * DAY
MAX_FORM: Final = 16 << 10
"""Longest body of the user's decision, in bytes."""
MAX_PATTERNS: Final = 100
"""Tools or patterns of tools that a user can name."""
MAX_PATTERN: Final = 200
"""Characters of one of them."""
STYLE: Final = (Path(__file__).parents[2] / "templates" / "mcp_ws_ide_sign_in.css").read_text()
"""The style of the page, which is part of it."""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HOST: Final = re.compile(r"[a-z0-9.-]+(:\d{1,5})?", re.I)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request leaves to the user.

    Attributes:
        servers: the servers that the resource needs, or, if the client names no resource, those to choose from.
        resource: the resource, ``""`` if the client names none.
        tools: whether the approval can be limited to some tools.
    """

    servers: tuple[str, ...]
    resource: str
    tools: bool

    @property
    def selectable(self) -> bool:
        """Whether the user chooses the servers."""
        return not self.resource


def policy_for(redirect_uri: str) -> str:
    """Return a content security policy that allows the page's own style, and a form that ends at ``redirect_uri``."""
    target = ""
    if redirect_uri:
        parts = urlsplit(redirect_uri)
        plain = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc)
        target = f" {parts.scheme}://{parts.netloc}" if plain else f" {parts.scheme}:"
    return (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; "
        f"form-action 'self'{target}; "
        "frame-ancestors 'none'"
    )


class AuthorizeHandler(ExtensionHandlerJinjaMixin, ExtensionHandlerMixin, GatewayHandler):
    """The authorization endpoint (RFC 6749 section 3.1)."""

    _form: dict[str, list[str]] | None = None

    @property
    def content_security_policy(self) -> str:
        """Allow nothing but the page's own style."""
        return policy_for("")

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that the user's decision may have."""
        return MAX_FORM

    def set_default_headers(self) -> None:
        """Forbid caching, frames, and that another site learns of the request."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header(
            "Referrer-Policy", "same-origin"
        )  # with no-referrer, the form's Origin would be "null"
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    async def prepare(self) -> None:
        """Have Jupyter authenticate the user, or send the browser to its login."""
        await self.checks_before_body(self._check())

    async def _check(self) -> None:
        if not self.check_host():
            raise self.host_refusal()
        if not offers_sign_in(self):
            raise web.HTTPError(404, NOT_OFFERED)
        await super().prepare()
        if self.request.method == "POST":
            self.check_policy()

    def check_xsrf_cookie(self) -> None:
        """Check the token of the form once the form is read (:meth:`post`), which is after Jupyter asks for it."""
        if self._form is not None:
            super().check_xsrf_cookie()

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Ask the user."""
        try:
            _, client, grant, choice = await self._validated()
        except RefusedError as error:
            return self._refused(error)
        self._ask(client, str(grant.redirect_uri), choice)

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """Take the user's decision, and send the browser back to the client with a code or an error."""
        self._form = parse_qs(self.take_body().decode("utf-8", "replace"), max_num_fields=2 * MAX_PATTERNS)
        self.request.arguments["_xsrf"] = [value.encode() for value in self._form.get("_xsrf", [])]
        self.check_xsrf_cookie()
        try:
            server, client, grant, choice = await self._validated()
            approval = self._approval(client, str(grant.redirect_uri), choice)
        except RefusedError as error:
            return self._refused(error)
        try:
            answer = server.decide(grant, approval)
        except OSError as error:
            raise web.HTTPError(507, f"the approval cannot be stored: {error.strerror or error}") from None
        if approval is not None:
            await self.runtime.share_tokens()
        self.runtime.gateway.metrics.sign_ins["denied" if approval is None else "approved"] += 1
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_status(303)  # not 307, which would send the form on (RFC 9700 section 4.12)
        self.set_header("Location", answer.location)
        self.finish()

    async def _validated(self) -> tuple[SignInServer, Client, Any, Choice]:
        """Return the server, the client, Authlib's grant, and what the user can choose.

        Raises:
            RefusedError: the request cannot be granted.
        """
        base = dialled_base(self)
        if not base or self.runtime.sign_in is None:
            raise RefusedError(UNKNOWN_ADDRESS)
        client_id = self.get_query_argument("client_id", "")
        try:
            client = await self.runtime.sign_in.client(client_id)
        except BadClientError as error:
            raise RefusedError(str(error)) from None
        server = self.runtime.sign_in.server(
            issuer_of(base), lambda wanted: client if wanted == client_id else None
        )
        grant = server.validate(self.request.query)
        try:
            choice = self._choice(self.get_query_argument("resource", ""), base)
        except ValueError as error:
            raise server.invalid_target(grant, str(error)) from None
        return server, client, grant, choice

    def _choice(self, resource: str, base: str) -> Choice:
        """Return what a resource leaves to the user.

        Raises:
            ValueError: it is not the URL of an MCP endpoint of this gateway.
        """
        gateway = self.runtime.gateway
        if not resource:
            return Choice(tuple(sorted(gateway.servers)), "", True)
        named = server_of(resource, base)
        if named is None:
            raise ValueError(f"resource {resource[:200]!r} is not an MCP endpoint below {base}")
        name = gateway.address(named)
        server = gateway.find(name)
        if server is None:
            raise ValueError(not_configured(self.runtime, name[:100]))
        if name.startswith("+"):
            return Choice(tuple(part for part in name.split("+") if part), resource, False)
        return Choice((server.name,), resource, True)

    # --- the decision ---------------------------------------------------------------------------

    def _approval(self, client: Client, redirect_uri: str, choice: Choice) -> Approval | None:
        """Return what the user has approved; None if it was denied.

        Raises:
            RefusedError: the form is incomplete.
        """
        if self._field("decision") != "approve":
            return None
        seconds = self._field("seconds")
        if not seconds.isdecimal() or int(seconds) not in LIFETIMES:
            raise RefusedError("the form names no lifetime")
        servers = choice.servers
        if choice.selectable:
            assert self._form is not None
            ticked = self._form.get("servers", [])
            servers = tuple(name for name in choice.servers if name in ticked)
        if not servers:
            raise RefusedError("no server was chosen; go back, and tick at least one")
        return Approval(
            self.principal,
            str(self.current_user.username),
            servers,
            choice.resource,
            float(seconds),
            f"{client.name or 'a client'} ({client.host or host_of(redirect_uri)}), signed in"[:200],
            self._tools() if choice.tools else None,
        )

    def _field(self, name: str) -> str:
        assert self._form is not None
        return self._form.get(name, [""])[0]

    def _tools(self) -> ToolRules | None:
        if self._field("limit") != "some":
            return None
        patterns = tuple(dict.fromkeys(self._field("tools").split()))
        if not patterns:
            raise RefusedError("no tool was named; go back, and name at least one, or allow all tools")
        if len(patterns) > MAX_PATTERNS or any(len(pattern) > MAX_PATTERN for pattern in patterns):
            raise RefusedError(f"at most {MAX_PATTERNS} tools of {MAX_PATTERN} characters can be named")
        return ToolRules(allow=patterns)

    # --- pages ----------------------------------------------------------------------------------

    def _ask(self, client: Client, redirect_uri: str, choice: Choice) -> None:
        self.set_header("Content-Security-Policy", policy_for(redirect_uri))
        user = self.current_user
        self._render(
            action=self.request.uri,
            xsrf=self.xsrf_token.decode("ascii"),
            client=client,
            account="" if self.principal == SINGLE_USER else (user.display_name or user.username),
            loopback=is_loopback_uri(redirect_uri),
            redirect=host_of(redirect_uri),
            choice=choice,
            lifetimes=LIFETIMES,
            default_lifetime=DEFAULT_LIFETIME,
        )

    def _refused(self, error: RefusedError) -> None:
        """Say why a request cannot be granted; the user has to follow the link back to the client."""
        self.runtime.gateway.metrics.refusals["sign_in"] += 1
        self.set_status(400)
        location = error.location
        self._render(problem=str(error), location=location, redirect=host_of(location) if location else "")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as a page, because a person reads it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self._render(problem=http_error_message(error) or self._reason, location="")

    def _render(self, **values: Any) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        values = {"problem": "", "style": STYLE, **values}
        self.finish(self.render_template("mcp_ws_ide_sign_in.html", **values))
