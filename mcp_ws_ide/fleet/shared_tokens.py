"""The gateway tokens, the same at every gateway of an engine.

Each gateway keeps the tokens in its own file, and compares them with those of the engine twice a second, when one was
minted, renewed or revoked, and when one is presented that it does not know. What the engine has lost is stored there
again; what was revoked is remembered, so that it does not come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import SharedEngine
from mcp_ws_ide.engines.keys import TamperedError, UnknownKeyError
from mcp_ws_ide.engines.sealed import SealedEngine
from mcp_ws_ide.tokens import GatewayToken, TokenStore

SYNC_SECONDS: Final = 0.5
"""Seconds between two comparisons: a revocation reaches every gateway within a second."""

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(GatewayToken).decode


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
        self._seen: dict[str, tuple[bytes, int]] = {}
        """What the engine has of each token, and which state of the token that is."""

    async def sync(self) -> None:
        """Exchange what has changed.

        Raises:
            EngineUnavailableError: not everything was exchanged.
        """
        async with self._turn:
            await self._send_revocations()
            sealed, revoked = await self._shared.tokens()
            mine = {token.id: token for token in self._store.all}
            for token_id in revoked & mine.keys():
                self._revoked(token_id)
            stored = self._states(sealed)
            added = [token for key in sealed if (token := self._newer(key, sealed[key], mine)) is not None]
            self._store.merge(added, revoked)
            for token_id in mine.keys() - revoked:
                if mine[token_id].generation > stored.get(token_id, -1):
                    await self._shared.add_token(token_id, self._sealed(mine[token_id]))

    def _states(self, sealed: dict[str, bytes]) -> dict[str, int]:
        """Return which state of each token the engine has; only values that have changed are opened."""
        seen, self._seen = self._seen, {}
        for token_id, value in sealed.items():
            known = seen.get(token_id)
            if known is None or known[0] != value:
                token = self._opened(token_id, value)
                known = value, (0 if token is None else token.generation)
            self._seen[token_id] = known
        return {token_id: generation for token_id, (_, generation) in self._seen.items()}

    def _newer(self, token_id: str, sealed: bytes, mine: dict[str, GatewayToken]) -> GatewayToken | None:
        """Return a token of the engine if this gateway does not have it, or only an older state of it."""
        own = mine.get(token_id)
        if own is not None and own.generation >= self._seen[token_id][1]:
            return None
        return self._opened(token_id, sealed)

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
