"""``{base_url}mcp-ws/sign-in/authorize``: the page that asks a user whether a client may use MCP servers.

Jupyter, or the hub in front of it, logs the user in. Every authorization asks, also for a client that was approved
before: anybody can register a client under any name. Nothing sends the browser anywhere before the user has pressed a
button, so that the page is no open redirector (RFC 9700 section 4.11).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.handler import ExtensionHandlerJinjaMixin, ExtensionHandlerMixin
from tornado import web

from mcp_ws_ide.credentials import SINGLE_USER
from mcp_ws_ide.gateway.try_server import tools_of
from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.dialled import dialled_base, issuer_of, offers_sign_in, server_of
from mcp_ws_ide.handlers.requester import http_error_message, not_configured
from mcp_ws_ide.handlers.signin.decision import (
    DEFAULT_LIFETIME,
    LIFETIMES,
    MAX_FORM,
    MAX_TOOLS,
    Choice,
    Form,
)
from mcp_ws_ide.handlers.signin.metadata import NOT_OFFERED, UNKNOWN_ADDRESS
from mcp_ws_ide.signin.answers import RefusedError
from mcp_ws_ide.signin.approvals import Approval
from mcp_ws_ide.signin.clients import BadClientError, Client, host_of, is_loopback_uri

if TYPE_CHECKING:
    from mcp_ws_ide.signin.protocol import SignInServer

LIST_SECONDS: Final = 20.0
"""Seconds that a server may take to list its tools for the page."""
LOGGED_OUT: Final = (
    "your login to Jupyter ended while this page was open, so nothing was decided; "
    "start signing in from the application again, and log in"
)
OUTDATED: Final = (
    "this page is too old to decide, so nothing was decided; start signing in from the application again"
)
NOT_A_PAGE: Final = "this address is a page for a person; open it in a window of a browser"
STYLE: Final = (Path(__file__).parents[2] / "templates" / "mcp_ws_ide_sign_in.css").read_text()
"""The style of the page, which is part of it."""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""The content security policy of the page: nothing but its own style.

Without ``form-action``, because Chromium applies that to every redirect that follows the form, also to those of the
client's own callback, which may lead to any host, to a program on the user's computer, or to an application.
"""


class AuthorizeHandler(ExtensionHandlerJinjaMixin, ExtensionHandlerMixin, GatewayHandler):
    """The authorization endpoint (RFC 6749 section 3.1)."""

    _form: Form | None = None

    @property
    def content_security_policy(self) -> str:
        """Allow nothing but the page's own style."""
        return POLICY

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that the user's decision may have."""
        return MAX_FORM

    def set_default_headers(self) -> None:
        """Forbid caching, frames, and that another site learns of the request."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Frame-Options", "DENY")
        # With no-referrer, the form's Origin would be "null". No Cross-Origin-Opener-Policy: a client in a web page
        # opens this one in a window that must find back to it.
        self.set_header("Referrer-Policy", "same-origin")

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
        try:
            form = self._form = Form(self.take_body())
            self.request.arguments["_xsrf"] = [form.field("_xsrf").encode()]
            self.check_xsrf_cookie()
            server, client, grant, choice = await self._validated()
            if form.field("decision") == "list" and choice.listable:
                tools, problem = await self._tools_of(choice.listable)
                return self._ask(client, str(grant.redirect_uri), choice, tools, problem, form.seconds)
            approval = self._approval(client, str(grant.redirect_uri), choice, form)
        except RefusedError as error:
            return self._refused(error)
        try:
            answer = server.decide(grant, approval)
        except OSError as error:
            raise web.HTTPError(507, f"the approval cannot be stored: {error.strerror or error}") from None
        if approval is not None:
            self.log.info(
                "%s approved %s for %s", approval.username, approval.note, ", ".join(approval.servers)
            )
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
        if client_id.startswith("https:"):
            self._check_before_fetching()
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

    def _check_before_fetching(self) -> None:
        """Refuse what can be seen without the client's document, which another site's picture must not have fetched.

        Raises:
            RefusedError: the request is no navigation, or lacks a parameter.
        """
        if self.request.headers.get("Sec-Fetch-Dest", "document") != "document":
            raise RefusedError(NOT_A_PAGE)
        for name in ("response_type", "redirect_uri", "code_challenge"):
            if not self.get_query_argument(name, ""):
                raise RefusedError(f"{name} is missing")

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

    def _approval(self, client: Client, redirect_uri: str, choice: Choice, form: Form) -> Approval | None:
        """Return what the user has approved; None if it was denied.

        Raises:
            RefusedError: the form is incomplete.
        """
        if form.field("decision") != "approve":
            return None
        return Approval(
            self.principal,
            str(self.current_user.username),
            form.servers(choice),
            choice.resource,
            float(form.seconds),
            f"{client.name or 'a client'} ({client.host or host_of(redirect_uri)}), signed in"[:200],
            form.rules(choice),
        )

    async def _tools_of(self, name: str) -> tuple[list[str], str]:
        """Return the tools of a server, and why they cannot be listed; the server is started for it, and ended."""
        runtime = self.runtime
        server = runtime.gateway.servers.get(name)
        reason = "it is not configured" if server is None else server.refusal_to(self.principal)
        if server is None or reason is not None or server.spec.group:
            return [], reason or "it is a group"
        if self.principal in runtime.trials:
            return [], "a server is being tested at this moment; try again"
        runtime.trials.add(self.principal)
        try:
            async with asyncio.timeout(LIST_SECONDS):
                tools, reason = await tools_of(runtime.gateway, server.spec, self.principal)
        except TimeoutError:
            tools, reason = [], f"it did not answer within {LIST_SECONDS:g} s"
        finally:
            runtime.trials.discard(self.principal)
        rules = server.spec.tools
        tools = [name for name in tools if rules is None or rules.permit(name)]
        if len(tools) > MAX_TOOLS:
            tools, reason = [], f"it has more than {MAX_TOOLS} tools"
        return tools, runtime.gateway.tap.redactor.text(reason)

    # --- pages ----------------------------------------------------------------------------------

    def _ask(
        self,
        client: Client,
        redirect_uri: str,
        choice: Choice,
        tools: Sequence[str] = (),
        not_listed: str = "",
        seconds: int = DEFAULT_LIFETIME,
    ) -> None:
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
            chosen_lifetime=seconds,
            tools=tools,
            not_listed=not_listed,
        )

    def _refused(self, error: RefusedError) -> None:
        """Say why a request cannot be granted; the user has to follow the link back to the client."""
        self.runtime.gateway.metrics.refusals["sign_in"] += 1
        self.set_status(400)
        # A link to an application's own scheme would start that application, and nobody has approved it.
        location = error.location if error.location.startswith(("https:", "http:")) else ""
        self._render(problem=str(error), location=location, redirect=host_of(location) if location else "")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as a page, because a person reads it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = http_error_message(error) or self._reason
        if not hasattr(self, "_current_user"):  # refused before Jupyter has looked for one
            self.current_user = None
        elif status_code == 403 and self.request.method == "POST" and self.current_user is None:
            problem = LOGGED_OUT
        elif status_code == 403 and "_xsrf" in problem:
            problem = OUTDATED
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self._render(problem=problem, location="")

    def _render(self, **values: Any) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        values = {"problem": "", "style": STYLE, **values}
        self.finish(self.render_template("mcp_ws_ide_sign_in.html", **values))
