"""Where clients register, get tokens, and revoke them. Nobody is logged in here: what a client presents decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web

from mcp_ws_ide.handlers.base import TOO_MANY_FAILURES
from mcp_ws_ide.handlers.dialled import dialled_base, issuer_of
from mcp_ws_ide.handlers.signin.metadata import UNKNOWN_ADDRESS, OpenHandler
from mcp_ws_ide.signin.answers import Answer
from mcp_ws_ide.signin.service import SignInService

if TYPE_CHECKING:
    from mcp_ws_ide.signin.protocol import SignInServer

FORM: Final = "application/x-www-form-urlencoded"
MAX_BODY: Final = 16 << 10
"""Longest body of a request, in bytes."""
TOO_MANY_CLIENTS: Final = "too many clients were registered from this address; wait a minute"


class _BodyHandler(OpenHandler):
    """Base of the endpoints that take a body and answer in JSON."""

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that a request may have."""
        return MAX_BODY

    @property
    def service(self) -> SignInService:
        """The authorization server; the route is refused where there is none."""
        assert self.runtime.sign_in is not None
        return self.runtime.sign_in

    def server(self) -> SignInServer:
        """Return the server for this request."""
        base = dialled_base(self)
        if not base:
            raise web.HTTPError(404, UNKNOWN_ADDRESS)
        return self.service.server(issuer_of(base), self.service.holder)

    def form(self) -> str:
        """Return the body of a form."""
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
            raise web.HTTPError(400, f"the body must be a form ({FORM})")
        return self.take_body().decode("utf-8", "replace")

    async def respond(self, answer: Answer) -> None:
        """Send a response; one that refuses is counted, and held up if its address has been refused too often."""
        if answer.status >= 400:
            self.runtime.gateway.metrics.refusals["sign_in"] += 1
            address = self.request.remote_ip or ""
            if not await self.runtime.failed_authentications.slow_down(address):
                self.error_headers["Retry-After"] = "60"
                raise web.HTTPError(429, TOO_MANY_FAILURES)
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        self.finish(answer.body)


class TokenHandler(_BodyHandler):
    """The token endpoint (RFC 6749 section 3.2)."""

    @allow_unauthenticated
    async def post(self) -> None:
        """Exchange an authorization code or a refresh token for an access token."""
        form = self.form()
        await self.runtime.share_tokens()
        try:
            answer = self.server().token(form)
        except OSError as error:
            raise web.HTTPError(507, f"the token cannot be stored: {error.strerror or error}") from None
        await self.runtime.share_tokens()
        if answer.status < 400:
            self.runtime.gateway.metrics.sign_ins["issued"] += 1
        await self.respond(answer)


class RevokeHandler(_BodyHandler):
    """The revocation endpoint (RFC 7009)."""

    @allow_unauthenticated
    async def post(self) -> None:
        """Revoke an access or refresh token, and with it everything that the user's approval gave."""
        form = self.form()
        await self.runtime.share_tokens()
        answer = self.server().revoke(form)
        await self.runtime.share_tokens()
        await self.respond(answer)


class RegisterHandler(_BodyHandler):
    """The registration endpoint (RFC 7591)."""

    @allow_unauthenticated
    async def post(self) -> None:
        """Register a client. Nothing is stored of it."""
        if not await self.runtime.registrations.slow_down(self.request.remote_ip or ""):
            self.error_headers["Retry-After"] = "60"
            raise self.refuse(429, "sign_in", TOO_MANY_CLIENTS)
        await self.respond(self.server().register(self.take_body()))
