"""``api/tokens``, ``api/tickets`` and ``api/servers/{name}/entry``: credentials for MCP clients.

A user sees and revokes only gateway tokens of their own.
"""

from __future__ import annotations

from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.config.entry import read_rules
from mcp_ws_ide.credentials import credential_of
from mcp_ws_ide.handlers.api.base import ApiHandler
from mcp_ws_ide.ide_entries import IDES, entry
from mcp_ws_ide.tokens import MAX_LIFETIME, TICKET_LIFETIME

DEFAULT_LIFETIME: Final = 30 * 86400
"""Lifetime of a gateway token, in seconds, if the request names none."""

NO_ADDRESS: Final = frozenset({"", "localhost", "127.0.0.1", "[::1]"})
"""Values of ``Host`` from a client on a Unix socket; a forwarded port would be part of it."""
NO_PORT: Final = (
    "Jupyter listens on a Unix socket, which MCP clients cannot use; start it without --sock, or request the entry "
    "through the proxy or the forwarded port that clients will use"
)


UNSHARED: Final = (
    "the token is revoked here, but the engine cannot be reached; the other gateways learn of it when it can"
)


class TokensHandler(ApiHandler):
    """``api/tokens``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """List the caller's gateway tokens, without their secrets."""
        self.finish({"tokens": [token.public() for token in self.runtime.tokens.of(self.principal)]})

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """Mint a gateway token for named servers."""
        body = self.body("servers", "expires_in", "note", "tools")
        servers = body.get("servers")
        if not isinstance(servers, list) or not servers:
            raise web.HTTPError(400, '"servers" must be a list of server names')
        names = [self.server_named(name).name for name in servers]
        note = body.get("note", "")
        if not isinstance(note, str) or len(note) > 200 or not note.isprintable():
            raise web.HTTPError(400, '"note" must be one line of at most 200 printable characters')
        try:
            tools = read_rules("tools", body["tools"]) if body.get("tools") is not None else None
        except ValueError as error:
            raise web.HTTPError(400, f'"tools" {error}') from None
        username, lifetime = str(self.current_user.username), _lifetime(body.get("expires_in"))
        secret, token = self.runtime.tokens.mint(self.principal, username, names, lifetime, note, tools)
        await self.runtime.share_tokens()
        self.set_status(201)
        self.set_header("Cache-Control", "no-store")
        self.finish({**token.public(), "token": secret})


def _lifetime(value: object) -> float:
    if value is None:
        return DEFAULT_LIFETIME
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise web.HTTPError(400, '"expires_in" must be a number of seconds')
    if not 0 < value <= MAX_LIFETIME:  # false for NaN too
        raise web.HTTPError(
            400,
            f"a token cannot be valid for {str(value)[:100]} s; give more than 0 and at most "
            f'{MAX_LIFETIME:.0f} s ({MAX_LIFETIME / 86400:.0f} days) as "expires_in"',
        )
    return float(value)


def _unsaved(error: OSError) -> str:
    reason = error.strerror or str(error)
    return (
        f"the token is revoked, but the revocation is not saved: {reason}; the gateway tries again every second, and "
        "if Jupyter restarts before it succeeds, the token is valid again"
    )


class TokenHandler(ApiHandler):
    """``api/tokens/{id}``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def delete(self, token_id: str) -> None:
        """Revoke a gateway token and close the links that it opened."""
        try:
            known = self.runtime.tokens.revoke(self.principal, token_id)
        except OSError as error:
            self.runtime.token_revoked(token_id)
            raise web.HTTPError(507, _unsaved(error)) from None
        if not known:
            raise web.HTTPError(
                404, f"token {token_id!r} does not exist; 'mcp-ws-inspect token list' lists those that do"
            )
        self.runtime.token_revoked(token_id)
        if not await self.runtime.share_tokens():
            raise web.HTTPError(503, UNSHARED)
        self.set_status(204)
        self.finish()


class TicketsHandler(ApiHandler):
    """``api/tickets``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self) -> None:
        """Get a single-use ticket for ``?ticket=``, for clients that cannot set headers."""
        server = self.server_named(self.body("server").get("server"))
        username = str(self.current_user.username)
        prefix = self.runtime.gateway.link_prefix
        ticket = self.runtime.tickets.issue(
            self.principal, username, server.name, credential_of(self), prefix
        )
        self.set_status(201)
        self.set_header("Cache-Control", "no-store")
        self.finish({"ticket": ticket, "expires_in": TICKET_LIFETIME})


class EntryHandler(ApiHandler):
    """``api/servers/{name}/entry``."""

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def post(self, name: str) -> None:
        """Get the entry for an IDE's configuration, with a new gateway token unless ``token`` is false."""
        server, body = self.server_named(name), self.body("ide", "token", "expires_in")
        ide = body.get("ide")
        if not isinstance(ide, str) or ide not in IDES:
            raise web.HTTPError(400, f'"ide" must be one of {", ".join(sorted(IDES))}')
        self._check_for_port()
        token = None
        if body.get("token", True) is not False:
            token, _ = self.runtime.tokens.mint(
                self.principal,
                str(self.current_user.username),
                [server.name],
                _lifetime(body.get("expires_in")),
                f"for {ide}",
            )
            await self.runtime.share_tokens()
        base = f"{self.request.protocol}://{self.request.host}{self.base_url}"
        self.set_header("Cache-Control", "no-store")
        self.finish(entry(ide, server.name, base, token))

    def _check_for_port(self) -> None:
        """Raise 409 if the entry would have no usable address: on a Unix socket, without a proxy in front of it."""
        forwarded = "X-Forwarded-For" in self.request.headers
        if self.serverapp.sock and not forwarded and self.request.host in NO_ADDRESS:
            raise web.HTTPError(409, NO_PORT)
