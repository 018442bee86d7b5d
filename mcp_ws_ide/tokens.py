"""Gateway tokens and single-use tickets: credentials for MCP endpoints and for the tap of their own sessions.

Secrets have 256 random bits and are stored as SHA-256 digests; they are compared by looking up the digest. This module
knows files and clocks, but not HTTP.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.private_files import PrivateJsonFile, UnreadableFileError

TOKEN_PREFIX: Final = "mcpws_"  # noqa: S105 - identifies tokens, and is no secret itself
MAX_LIFETIME: Final = 366 * 86400
"""Longest lifetime of a gateway token, in seconds."""
TICKET_LIFETIME: Final = 60.0
"""Seconds for which a ticket is valid."""
MAX_TICKETS: Final = 10_000
"""Tickets that are kept; one more invalidates the oldest."""

log = logging.getLogger(__name__)


class SignIn(msgspec.Struct):
    """What a gateway token has beyond others if a client obtained it by signing in (:mod:`mcp_ws_ide.signin`).

    The token begins as an authorization code, whose digest it is stored under. Its secret is the access token, which
    each refresh replaces. Secrets are stored as digests, times are seconds since the epoch.

    Attributes:
        client_id: the client that the code and the tokens are bound to.
        redirect_uri: where the code was sent.
        resource: URL of the MCP endpoint that it is for (RFC 8707).
        challenge: what the client's PKCE verifier must hash to.
        scope: what the client was granted in OAuth's terms; servers and tools decide what it may do.
        code: the authorization code; kept after its use, so that a second use is noticed.
        ends: when the user's approval ends; no refresh extends it.
        refreshes: whether the client gets refresh tokens.
        access_expires: when the access token expires; 0 while there is none.
        family: what all refresh tokens of this sign-in begin with.
        refresh: the current refresh token.
        replaced: the one before, and ``rotated`` when it was replaced.
        generation: number of access tokens issued; the higher one is the newer state.
    """

    client_id: str
    redirect_uri: str
    resource: str
    challenge: str
    scope: str
    code: str
    ends: float
    refreshes: bool
    access_expires: float = 0.0
    family: str = ""
    refresh: str = ""
    replaced: str = ""
    rotated: float = 0.0
    generation: int = 0


class GatewayToken(msgspec.Struct):
    """A gateway token as stored: the digest of its secret, its principal and its rights.

    Times are seconds since the epoch.
    """

    id: str
    digest: str
    principal: str
    username: str
    servers: list[str]
    created: float
    expires: float
    note: str = ""
    tools: ToolRules | None = None
    last_used: float | None = None
    sign_in: SignIn | None = None

    @property
    def issued(self) -> bool:
        """Whether its client has the token; False for an authorization code."""
        return self.sign_in is None or self.sign_in.generation > 0

    @property
    def generation(self) -> int:
        """Which of two states of one token is the newer."""
        return 0 if self.sign_in is None else self.sign_in.generation

    def public(self) -> dict[str, object]:
        """Return what the token's owner may see, as REST presents it."""
        return {
            "id": self.id,
            "servers": self.servers,
            "created": self.created,
            "expires": self.expires,
            "note": self.note,
            "last_used": self.last_used,
            "tools": None if self.tools is None else msgspec.to_builtins(self.tools),
        }


class TokenStore:
    """The gateway tokens, kept in one private file. A file that cannot be read counts as empty.

    Args:
        path: the file.
        now: the clock, in seconds since the epoch.

    Attributes:
        revoked: when the tokens that were revoked here would have expired, by id; for those that share them.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._file = PrivateJsonFile(path, list[GatewayToken])
        self._now = now
        self.revoked: dict[str, float] = {}
        self._tokens: dict[str, GatewayToken] = {}
        self._unsaved: dict[str, str] = {}
        """The principals of revoked tokens that the file may still have, by the id of the token."""
        self._load()

    def _load(self) -> None:
        try:
            stored = self._file.read() or []
        except UnreadableFileError as error:
            log.error("gateway tokens are lost; mint new ones: %s", error)
            return
        self._tokens = {token.digest: token for token in stored if token.expires > self._now()}

    def _save(self) -> None:
        self._file.write(list(self._tokens.values()))
        self._unsaved.clear()

    def mint(
        self,
        principal: str,
        username: str,
        servers: Iterable[str],
        expires_in: float,
        note: str = "",
        tools: ToolRules | None = None,
    ) -> tuple[str, GatewayToken]:
        """Create a token for these servers; return its secret, which cannot be shown again, and the stored token.

        Args:
            principal: owner of the token.
            username: the owner's name, for logs.
            servers: names of the servers it gives access to.
            expires_in: lifetime in seconds.
            note: what the owner wrote about it.
            tools: which tools it gives access to; None means all.

        Raises:
            OSError: no token was created.
        """
        self.forget_expired()
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._now()
        token = GatewayToken(
            secrets.token_hex(6),
            digest_of(secret),
            principal,
            username,
            sorted(set(servers)),
            now,
            now + expires_in,
            note,
            tools,
        )
        self.put(token)
        return secret, token

    def put(self, token: GatewayToken, instead: GatewayToken | None = None) -> None:
        """Store a token, which may be the new state of another one.

        Raises:
            OSError: nothing was changed.
        """
        before = self._tokens
        self._tokens = {digest: known for digest, known in before.items() if known is not instead}
        self._tokens[token.digest] = token
        try:
            self._save()
        except BaseException:
            self._tokens = before
            raise

    def find(self, secret: str) -> GatewayToken | None:
        """Return the token with this secret, and note its use; None if it is unknown, revoked or expired."""
        token = self._tokens.get(digest_of(secret))
        if token is None or token.expires <= self._now():
            return None
        if token.sign_in is not None and token.sign_in.access_expires <= self._now():
            return None
        token.last_used = self._now()
        return token

    def of(self, principal: str) -> list[GatewayToken]:
        """Return the tokens of a principal that have been issued and have not expired."""
        return [token for token in self.all if token.principal == principal and token.issued]

    @property
    def all(self) -> list[GatewayToken]:
        """The tokens that have not expired."""
        now = self._now()
        return [token for token in self._tokens.values() if token.expires > now]

    def merge(self, added: list[GatewayToken], revoked: set[str]) -> None:
        """Take over tokens that another gateway has minted or renewed, and forget those that one has revoked.

        A file that cannot be written does no harm: the tokens are taken over again at the next start.
        """
        before = self._tokens
        gone = revoked | {token.id for token in added}
        kept = {digest: token for digest, token in before.items() if token.id not in gone}
        kept |= {token.digest: token for token in added if token.id not in self.revoked}
        if kept.keys() == before.keys():
            return
        self._tokens = kept
        with contextlib.suppress(OSError):
            self._save()

    def alive(self, token_id: str) -> bool:
        """Return whether the token with this id is neither revoked nor expired."""
        now = self._now()
        return any(token.id == token_id and token.expires > now for token in self._tokens.values())

    def revoke(self, principal: str, token_id: str) -> bool:
        """Revoke a token of this principal; return False if there is none.

        Raises:
            OSError: the token is revoked, but only in memory; :meth:`save_revocations` tries again.
        """
        for digest, token in self._tokens.items():
            if token.id == token_id and token.principal == principal:
                del self._tokens[digest]
                self._unsaved[token_id] = principal
                self.revoked[token_id] = token.expires
                break
        if self._unsaved.get(token_id) != principal:
            return False
        self._save()
        return True

    def save_revocations(self) -> None:
        """Save revocations that could not be saved before; call it now and then."""
        if not self._unsaved:
            return
        try:
            self._save()
        except OSError:
            return
        log.info("revocations of gateway tokens that could not be saved earlier are now saved")

    def forget_expired(self) -> None:
        """Forget tokens that have expired; they leave the file when it is next written."""
        now = self._now()
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.expires > now}


class Ticket(msgspec.Struct):
    """A ticket as stored: the request that it replaces."""

    principal: str
    username: str
    server: str
    expires: float
    credential: Any
    """The Jupyter credential that requested it (see :mod:`.credentials`): the link of the ticket ends with it."""


class TicketStore:
    """Single-use tickets, in memory, for clients that can put a credential only into the URL."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tickets: dict[str, Ticket] = {}

    def issue(self, principal: str, username: str, server: str, credential: Any, prefix: str = "") -> str:
        """Create a ticket that opens one link to ``server`` within :data:`TICKET_LIFETIME`; return its secret.

        Args:
            prefix: how the secret begins.
        """
        now = self._now()
        while self._tickets and (len(self._tickets) >= MAX_TICKETS or self._oldest.expires <= now):
            del self._tickets[next(iter(self._tickets))]
        secret = prefix + secrets.token_urlsafe(32)
        ticket = Ticket(principal, username, server, now + TICKET_LIFETIME, credential)
        self._tickets[digest_of(secret)] = ticket
        return secret

    @property
    def _oldest(self) -> Ticket:
        """The ticket that expires first: all have the same lifetime."""
        return next(iter(self._tickets.values()))

    def redeem(self, secret: str, server: str) -> Ticket | None:
        """Invalidate a ticket and return it; None if it is unknown, used, expired or for another server."""
        return self.redeem_digest(digest_of(secret), server)

    def redeem_digest(self, digest: str, server: str) -> Ticket | None:
        """The same, by what :func:`digest_of` returns."""
        ticket = self._tickets.pop(digest, None)
        if ticket is None or ticket.expires <= self._now() or ticket.server != server:
            return None
        return ticket


def new_resume_token(session_id: str) -> tuple[str, bytes]:
    """Return a resume token (the session's public id, then 256 random bits) and the digest to store."""
    token = f"{session_id}.{secrets.token_urlsafe(32)}"
    return token, resume_digest(token)


def resume_digest(token: str) -> bytes:
    """Return the digest that is stored of a resume token."""
    return hashlib.sha256(token.encode()).digest()


def digest_of(secret: str) -> str:
    """Return the digest that is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
