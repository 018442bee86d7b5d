"""The gateway tokens, the same at every gateway of an engine.

Each gateway keeps the tokens in its own file, and compares them with those of the engine twice a second, when one was
minted, renewed or revoked, and when one is presented that it does not know. What the engine has lost is stored there
again; what was revoked is remembered, so that it does not come back. What has expired is deleted there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from mcp_ws_ide.engines.base import SharedEngine
from mcp_ws_ide.engines.keys import TamperedError, UnknownKeyError
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.tokens import GatewayToken, TokenStore

SYNC_SECONDS: Final = 0.5
"""Seconds between two comparisons: a revocation reaches every gateway within a second."""

EXPIRED_SECONDS: Final = 3600.0
"""Seconds for which the engine keeps a token that has expired: clocks that differ by less do not make one gateway
delete what another one stores again."""
FORGOTTEN_AT_ONCE: Final = 100
"""Expired tokens that one comparison deletes at most."""

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(GatewayToken).decode


class _Seen(NamedTuple):
    """A token of the engine.

    Attributes:
        sealed: its value there.
        generation: which state of the token that is.
        expires: when it expires, in seconds since the epoch.
    """

    sealed: bytes
    generation: int
    expires: float


class SharedTokens:
    """Keeps one store of tokens and the engine's equal.

    Args:
        revoked: called with the id of each token that another gateway has revoked.
    """

    def __init__(
        self, engine: SealedEngine, shared: SharedEngine, store: TokenStore, revoked: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._store = store
        self._revoked = revoked
        self._turn = asyncio.Lock()
        self._seen: dict[str, _Seen] = {}
        """What the engine has of each token."""

    async def sync(self) -> None:
        """Exchange what has changed, and delete some of what has expired.

        Raises:
            EngineUnavailableError: not everything was exchanged.
        """
        async with self._turn:
            await self._send_revocations()
            sealed, revoked = await self._shared.tokens()
            mine = {token.id: token for token in self._store.all}
            for token_id in revoked & mine.keys():
                self._revoked(token_id)
            self._look_at(sealed)
            added = [token for key in sealed if (token := self._newer(key, mine)) is not None]
            self._store.merge(added, revoked)
            for token_id in mine.keys() - revoked:
                stored = self._seen.get(token_id)
                if stored is None or mine[token_id].generation > stored.generation:
                    await self._shared.add_token(token_id, self._sealed(mine[token_id]))
            await self._forget_expired()

    def _look_at(self, sealed: dict[str, bytes]) -> None:
        """Note what the engine has of each token; only values that have changed are opened."""
        seen, self._seen = self._seen, {}
        for token_id, value in sealed.items():
            known = seen.get(token_id)
            if known is None or known.sealed != value:
                token = self._opened(token_id, value)
                known = _Seen(value, *((0, math.inf) if token is None else (token.generation, token.expires)))
            self._seen[token_id] = known

    def _newer(self, token_id: str, mine: dict[str, GatewayToken]) -> GatewayToken | None:
        """Return a token of the engine if it is valid, and this gateway does not have it, or only an older state."""
        own, stored = mine.get(token_id), self._seen[token_id]
        if stored.expires <= time.time() or (own is not None and own.generation >= stored.generation):
            return None
        return self._opened(token_id, stored.sealed)

    async def _forget_expired(self) -> None:
        before = time.time() - EXPIRED_SECONDS
        expired = (token_id for token_id, stored in self._seen.items() if stored.expires < before)
        if found := list(islice(expired, FORGOTTEN_AT_ONCE)):
            await self._shared.forget_tokens({token_id: self._seen[token_id].sealed for token_id in found})

    async def _send_revocations(self) -> None:
        for token_id, expires in list(self._store.revoked.items()):
            await self._shared.revoke_token(token_id, expires)
            self._store.revoked.pop(token_id, None)

    def _sealed(self, token: GatewayToken) -> bytes:
        return self._engine.seal(b"token " + token.id.encode(), _encode(token))

    def _opened(self, token_id: str, sealed: bytes) -> GatewayToken | None:
        try:
            token = _decode(self._engine.unseal(b"token " + token_id.encode(), sealed))
        except (UnknownKeyError, TamperedError, msgspec.DecodeError):
            return None
        return token if token.id == token_id else None
