"""Approvals of users, from the authorization code to the last refresh token. Each is one gateway token in the store.

The id of the token stays the same, so sessions outlive a refresh, and revoking it ends everything: code, access token,
refresh token and open links. Knows the store and the clock, but neither HTTP nor Authlib.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.signin.clients import Client
from mcp_ws_ide.tokens import TOKEN_PREFIX, GatewayToken, SignIn, TokenStore, digest_of

CODE_SECONDS: Final = 60.0
"""Seconds for which an authorization code is valid."""
ACCESS_SECONDS: Final = 3600.0
"""Seconds for which an access token is valid, where its client can refresh it."""
UNRENEWED_SECONDS: Final = 86_400.0
"""Seconds for which an approval is valid at most, where its client cannot refresh: its access token lives as long."""
RETRY_SECONDS: Final = 10.0
"""Seconds for which the refresh token before the current one gets the same response again: that response may have been
lost, and two processes of one client may refresh at the same time."""
MAX_REPEATED: Final = 1024
"""Responses that are kept for this; beyond that, the oldest is replaced by a new one when it is asked for again."""
REFRESH_PREFIX: Final = "mcpwsr_"
"""Begins every refresh token; the family follows, then a dot and the secret."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Approval:
    """What a user has approved.

    Attributes:
        servers: names of the servers that the resource needs.
        seconds: how long the client may use them.
    """

    principal: str
    username: str
    servers: tuple[str, ...]
    resource: str
    seconds: float
    note: str
    tools: ToolRules | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new access token with its lifetime in seconds; ``refresh_token`` is ``""`` if there is none."""

    access_token: str
    refresh_token: str
    expires_in: int


class Approvals:
    """The approvals in a store of gateway tokens.

    Args:
        revoked: called with the token id of an approval that was revoked because a secret of it was used twice.
        now: the clock, in seconds since the epoch.
    """

    def __init__(
        self, store: TokenStore, revoked: Callable[[str], None], now: Callable[[], float] = time.time
    ) -> None:
        self._store, self._revoked, self._now = store, revoked, now
        self._repeated: OrderedDict[str, tuple[Issued, float]] = OrderedDict()
        """What was issued for a refresh token, and when, by its digest; in this process only, since it is secret."""

    def approve(
        self, approval: Approval, client: Client, code: str, redirect_uri: str, challenge: str, scope: str
    ) -> None:
        """Store an approval under its authorization code.

        Raises:
            OSError: nothing was stored.
        """
        now = self._now()
        seconds = approval.seconds if client.refreshes else min(approval.seconds, UNRENEWED_SECONDS)
        sign_in = SignIn(
            client_id=client.id,
            redirect_uri=redirect_uri,
            resource=approval.resource,
            challenge=challenge,
            scope=scope,
            code=digest_of(code),
            ends=now + seconds,
            refreshes=client.refreshes,
        )
        self._store.forget_expired()
        self._store.put(
            GatewayToken(
                secrets.token_hex(6),
                sign_in.code,
                approval.principal,
                approval.username,
                sorted(set(approval.servers)),
                now,
                now + CODE_SECONDS,
                approval.note,
                approval.tools,
                sign_in=sign_in,
            )
        )

    def of_code(self, code: str) -> GatewayToken | None:
        """Return the approval with this authorization code; None if it is unknown, expired or used.

        A code that was used before has been stolen, either then or now, so its approval is revoked (RFC 6749 section
        4.1.2).
        """
        digest = digest_of(code)
        for token, sign_in in self._known():
            if sign_in.code == digest:
                if not token.issued:
                    return token
                self._stolen(token, "an authorization code was used again")
        return None

    def of_refresh_token(self, secret: str, client_id: str) -> GatewayToken | None:
        """Return this client's approval whose current refresh token this is; None if there is none.

        An older refresh token of the family has been stolen, either then or now, so its approval is revoked (RFC 9700
        section 4.14.2).
        """
        token = self._family_of(secret)
        if token is None or token.sign_in is None or token.sign_in.client_id != client_id:
            return None
        digest, sign_in = digest_of(secret), token.sign_in
        if digest == sign_in.refresh:
            return token
        if digest == sign_in.replaced and self._now() - sign_in.rotated <= RETRY_SECONDS:
            return token
        self._stolen(token, "an old refresh token was used")
        return None

    def _stolen(self, token: GatewayToken, reason: str) -> None:
        log.warning(
            "gateway token %s (%s) of %s is revoked: %s", token.id, token.note, token.username, reason
        )
        self.revoke(token)

    def of_secret(self, secret: str) -> GatewayToken | None:
        """Return the approval of an access or refresh token, also of one that was replaced."""
        if secret.startswith(REFRESH_PREFIX):
            return self._family_of(secret)
        digest = digest_of(secret)
        return next((token for token, _ in self._known() if token.issued and token.digest == digest), None)

    def _family_of(self, secret: str) -> GatewayToken | None:
        family, dot, _ = secret.partition(".")
        digest = digest_of(family)
        found = (token for token, sign_in in self._known() if sign_in.family == digest)
        return next(found, None) if dot and family.startswith(REFRESH_PREFIX) else None

    def _known(self) -> Iterator[tuple[GatewayToken, SignIn]]:
        for token in self._store.all:
            if token.sign_in is not None:
                yield token, token.sign_in

    def issue(self, token: GatewayToken, used: str = "") -> Issued:
        """Issue a new access token for an approval, and a new refresh token if its client can use one.

        A refresh token that is presented again gets what it got before: with other tokens, the first response would be
        worthless, and its refresh token would look stolen.

        Args:
            used: the refresh token that was presented; ``""`` for the authorization code.

        Raises:
            OSError: nothing was issued.
        """
        sign_in, now = token.sign_in, self._now()
        assert sign_in is not None
        known, _ = self._repeated.get(digest_of(used), (None, now))
        if known is not None and digest_of(known.refresh_token) == sign_in.refresh:
            return Issued(known.access_token, known.refresh_token, int(sign_in.access_expires - now))
        access = TOKEN_PREFIX + secrets.token_urlsafe(32)
        family = used.partition(".")[0] or REFRESH_PREFIX + secrets.token_urlsafe(16)
        refresh = f"{family}.{secrets.token_urlsafe(32)}" if sign_in.refreshes else ""
        expires = min(now + ACCESS_SECONDS, sign_in.ends) if refresh else sign_in.ends
        renewed = msgspec.structs.replace(
            sign_in,
            access_expires=expires,
            family=digest_of(family) if refresh else "",
            refresh=digest_of(refresh) if refresh else "",
            replaced=digest_of(used) if used else "",
            rotated=now,
            generation=sign_in.generation + 1,
        )
        new = msgspec.structs.replace(token, digest=digest_of(access), expires=sign_in.ends, sign_in=renewed)
        self._store.put(new, instead=token)
        issued = Issued(access, refresh, int(expires - now))
        if used:
            self._keep(digest_of(used), issued)
        return issued

    def _keep(self, used: str, issued: Issued) -> None:
        now = self._now()
        self._repeated[used] = issued, now
        while self._repeated:
            oldest, (_, since) = next(iter(self._repeated.items()))
            if now - since <= RETRY_SECONDS and len(self._repeated) <= MAX_REPEATED:
                break
            del self._repeated[oldest]

    def revoke(self, token: GatewayToken) -> None:
        """Revoke an approval with everything that was issued for it.

        A revocation that cannot be saved is in force, and is saved later.
        """
        try:
            self._store.revoke(token.principal, token.id)
        except OSError:
            pass
        finally:
            self._revoked(token.id)
