"""What every handler of the extension shares: the runtime, JSON errors, the Origin check."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Any, Final

from jupyter_server.auth.authorizer import AllowAllAuthorizer, Authorizer
from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.concurrent import future_set_result_unless_cancelled
from tornado.iostream import StreamClosedError

from mcp_ws_ide.core.intermediaries import TEST, sentence
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.credentials import Watched, credential_of, is_jupyter_token, principal_of
from mcp_ws_ide.gateway.elsewhere import PassedRequest
from mcp_ws_ide.handlers.bodies import (
    REFUSED_BYTES,
    REFUSED_SECONDS,
    body_seconds,
    declared_length,
    limit_body,
)
from mcp_ws_ide.handlers.origin import (
    browser_uses_https,
    from_no_foreign_page,
    from_own_page,
    host_is_safe,
    host_name,
    interference,
    needs_no_credential,
    origin_allowed,
    refusal_message,
)
from mcp_ws_ide.handlers.passed_requests import Fetched, PassedOn, fetch
from mcp_ws_ide.handlers.requester import http_error_message, refusal
from mcp_ws_ide.proxy_environment import this_machine
from mcp_ws_ide.runtime import Runtime

NO_XSRF: Final = (
    "a request with a cookie needs the XSRF token: the value of the cookie _xsrf in the header X-XSRFToken; a program "
    "needs a token instead: send the header Authorization with the value Bearer TOKEN"
)


LOG_IN: Final = "your login is missing or has expired: log in again"
TOO_MANY_FAILURES: Final = "too many requests from this address had no valid credential; wait a minute"


class GatewayHandler(JupyterHandler):
    """Base of all handlers. A body is read after the checks of :meth:`checks_before_body`, and not before."""

    _stream_request_body = True  # what tornado.web.stream_request_body sets
    _chunks: list[bytes] | None = None
    _passed_on: PassedOn | None = None
    token_id: str | None = None
    """The gateway token that was presented, if any."""
    token_tools: ToolRules | None = None
    """The tools that this token allows; None for all."""

    def initialize(self, **kwargs: Any) -> None:
        """Tornado's constructor hook."""
        super().initialize(**kwargs)
        limit_body(self.request.connection, REFUSED_BYTES, REFUSED_SECONDS)  # until the checks have passed
        self.error_headers: dict[str, str] = {}
        """Headers of an error response; Tornado forgets those that were set before the error."""

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self.settings["mcp_ws_ide_runtime"]

    @property
    def passed(self) -> PassedRequest | None:
        """What another gateway says that has authorized this request; None if it comes from its client."""
        return getattr(self.request, "passed", None)

    @property
    def authorizer(self) -> Authorizer:
        """Jupyter's authorizer; the one that allows everything where another gateway has asked its own."""
        return super().authorizer if self.passed is None else AllowAllAuthorizer()

    @property
    def principal(self) -> str:
        """The owner of what this request creates or sees."""
        return principal_of(self, self.current_user) if self.passed is None else self.passed.principal

    def trust_peer(self, passed: PassedRequest) -> None:
        """Take the user of a request from the gateway that has authenticated it."""
        self.current_user = self._jupyter_current_user = User(passed.principal)

    async def have_answered(self, instance: str, path: str, body: bytes = b"") -> bool:
        """Have another gateway answer this request, which was authorized; return False if that gateway has ended.

        Args:
            path: as of :class:`~.passed_requests.PassedOn`.

        Raises:
            HTTPError: 503, that gateway does not answer.
        """
        self._passed_on = PassedOn(self, self.request.method or "", path, body)
        return await self._passed_on.run(instance)

    async def ask_others(self, path: str) -> dict[str, Fetched | None]:
        """Return what each other gateway answers to this request, by its id; nothing if another one has passed it on.

        Args:
            path: as of :class:`~.passed_requests.PassedOn`.
        """
        elsewhere = self.runtime.gateway.elsewhere
        if elsewhere is None or self.passed is not None:
            return {}
        others = elsewhere.others
        method = self.request.method or ""
        answers = await asyncio.gather(*(fetch(self, method, instance, path) for instance in others))
        return dict(zip(others, answers, strict=True))

    def on_connection_close(self) -> None:
        """Tornado's hook: the client is gone."""
        if self._passed_on is not None:
            self._passed_on.client_left()
        super().on_connection_close()

    def watch_credential(self, watched: Watched) -> None:
        """Close ``watched`` when the credential of this request stops being valid."""
        self.runtime.credentials.add(credential_of(self), self.principal, watched)

    def set_default_headers(self) -> None:
        """Forbid pages of other origins to embed a response."""
        super().set_default_headers()
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def refuse(self, status: int, reason: str, message: str) -> web.HTTPError:
        """Return an HTTP error to raise, and count it under the label ``reason`` of ``mcp_ws_refusals``."""
        return refusal(self.runtime, status, reason, message)

    def refuse_credential(self, message: str) -> web.HTTPError:
        """Return the error 401 to raise; the user of a page, whose requests have the XSRF token, is told to log in."""
        headers = self.request.headers
        by_page = "X-XSRFToken" in headers and "Authorization" not in headers
        return self.refuse(401, "credential", LOG_IN if by_page else message)

    def note(self, code: str, detail: str = "") -> None:
        """Note what a proxy does to this request (:mod:`mcp_ws_ide.core.intermediaries`)."""
        verified = self.is_authenticated
        owner, name = self.principal if verified else "", str(self.path_kwargs.get("name", ""))
        self.runtime.intermediaries.note(code, detail, owner, name, verified=verified)

    def note_scheme(self) -> None:
        """Note that browsers use https, which Jupyter does not know."""
        if self.request.protocol == "http" and browser_uses_https(self):
            self.note("scheme_unknown")

    def _note_interference(self) -> None:
        """Note what a proxy does to ``Host``, if this is surely a request of a user, and not of another site's page.

        One cure is to allow the page's origin. Such a page can send a user's cookie, but no token.
        """
        noticed = interference(self)
        if noticed is None or not self.is_authenticated:
            return
        if self.has_token or from_own_page(self):
            self.note(*noticed)

    @property
    def is_authenticated(self) -> bool:
        """Whether the credential of this request was found to be valid."""
        return getattr(self, "_jupyter_current_user", None) is not None

    @property
    def has_token(self) -> bool:
        """Whether a token authenticated this request, not a cookie that browsers send by themselves."""
        return bool(self.token_authenticated)

    def interfered(self, code: str, status: int, reason: str) -> web.HTTPError:
        """Return the error to raise for a request that a proxy made unusable, and record what the proxy does."""
        self.note(code)
        return self.refuse(status, reason, sentence(code))

    @property
    def is_test(self) -> bool:
        """Whether the client only tests what reaches the gateway (:data:`mcp_ws_ide.core.intermediaries.TEST`)."""
        return self.get_query_argument(TEST, "") == "1"

    def pass_test(self) -> None:
        """Answer a test in the gateway's own format, which no proxy produces."""
        self.finish({"message": "the request has reached the gateway", "status": 200})

    def check_host(self) -> bool:
        """Return whether the Host is allowed; stricter than Jupyter if no credential is required."""
        return bool(super().check_host()) and host_is_safe(self)

    def host_refusal(self, secret: str | None = None) -> web.HTTPError:
        """Return the error to raise for a Host that ``check_host`` does not allow.

        Args:
            secret: the token that the request presents where Jupyter does not look for it.
        """
        host = self.request.host
        if this_machine(host_name(host)):
            port = re.search(r":\d+$", host)
            own = "127.0.0.1" + (port[0] if port is not None else "")
            message = f"Host {host!r} is another name of this machine than Jupyter expects; use {own}"
            return self.refuse(403, "host", message)
        message = f"Host {host!r} is not local; to allow it, set ServerApp.allow_remote_access"
        secret = secret or self.identity_provider.get_token(self) or ""
        if is_jupyter_token(self, secret) or self.runtime.tokens.find(secret) is not None:
            self.runtime.intermediaries.note("host_not_local")
        return self.refuse(403, "host", message)

    def check_xsrf_cookie(self) -> None:
        """Require an XSRF token of requests that a cookie authenticates; Jupyter calls it once the user is known.

        Where Jupyter needs no credential, the Origin check protects from other pages, for WebSockets and POSTs alike.
        """
        if not hasattr(self, "_jupyter_current_user"):
            return
        checked = self.runtime.settings.check_origin
        if checked and needs_no_credential(self) and from_no_foreign_page(self):
            return
        try:
            super().check_xsrf_cookie()
        except web.HTTPError:
            self.check_policy()
            if self.current_user is None:  # the credential is the reason, and is reported next
                return
            raise self.refuse(403, "xsrf", NO_XSRF) from None

    def origin_is_allowed(self) -> bool:
        """Whether the request's Origin may use this server."""
        return origin_allowed(self)

    def check_policy(self) -> None:
        """Refuse a foreign Origin with 403, whatever the credential."""
        if self.runtime.settings.check_origin and not origin_allowed(self):
            self._note_interference()
            raise self.refuse(403, "origin", refusal_message(self))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an error without the query; Tornado would log the whole URL, and so a token in it."""
        if isinstance(value, web.HTTPError):
            self.log.debug("%s %s: %s", value.status_code, self.request.path, value.log_message)
        else:
            self.log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as JSON: ``{"message": …, "status": …}``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = http_error_message(error) or self._reason
        self.set_header("Content-Type", "application/json")
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self.finish({"message": message, "status": status_code})

    # --- the body -------------------------------------------------------------------------------

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that the body of an accepted request may have."""
        return REFUSED_BYTES

    async def checks_before_body(self, checks: Awaitable[None]) -> None:
        """Await the checks of :meth:`prepare`, then accept the body; discard it if they fail.

        Raises:
            HTTPError: of the checks; or 413, the body is too long.
        """
        try:
            await checks
            if self.runtime.not_ready and self.request.method != "OPTIONS":
                await self._check_ready()
            length = declared_length(self.request.headers)
            if length is None:
                raise web.HTTPError(
                    400, "the header Content-Length is malformed; it must be one whole number"
                )
            if length > self.max_body_bytes:
                message = f"the body has {length} bytes; at most {self.max_body_bytes} are allowed"
                raise web.HTTPError(413, message)
        except web.HTTPError as error:
            await self._discard()
            if error.status_code == 401 and not await self.runtime.failed_authentications.slow_down(
                self.request.remote_ip or ""
            ):
                self.error_headers["Retry-After"] = "60"
                raise self.refuse(429, "credential", TOO_MANY_FAILURES) from None
            raise
        self._chunks = []
        limit_body(self.request.connection, self.max_body_bytes, body_seconds(self.max_body_bytes))
        self.runtime.half_open.expect_body(self.request.connection)

    async def _check_ready(self) -> None:
        """Wait for the engine to start; refuse the request if it cannot be used."""
        if reason := await self.runtime.refusal():
            self.error_headers["Retry-After"] = "1"
            raise self.refuse(503, "engine", reason)

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body of an accepted request."""
        if self._chunks is not None:
            self._chunks.append(chunk)

    def take_body(self) -> bytes:
        """Return the body; it is not kept."""
        body, self._chunks = b"".join(self._chunks or ()), None
        return body

    async def _discard(self) -> None:
        """Read the body of a refused request, if it is short: a response before its end could be lost with a reset.

        Also if there is none: Tornado closes the connection of a request that is answered before it is read, and a
        client that sends its next request at that moment loses it. A body that stops is not awaited: Tornado closes the
        connection after the response.
        """
        length = declared_length(self.request.headers)
        if self._prepared_future is None or length is None or length > REFUSED_BYTES:
            return
        limit_body(self.request.connection, REFUSED_BYTES, 2 * REFUSED_SECONDS)
        future_set_result_unless_cancelled(self._prepared_future, None)  # from here on Tornado reads the body
        try:
            async with asyncio.timeout(REFUSED_SECONDS):
                await asyncio.shield(self.request._body_future)
        except TimeoutError:
            return
        except StreamClosedError:
            raise web.Finish from None
