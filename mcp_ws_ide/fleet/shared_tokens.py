"""The gateway tokens, the same at every gateway of an engine.

Each gateway keeps the tokens in its own file, and compares them with those of the engine twice a second, when one was
minted or revoked, and when one is presented that it does not know. What the engine has lost is stored there again;
what was revoked is remembered, so that it does not come back.
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
            added = [self._opened(key, value) for key, value in sealed.items() if key not in mine]
            self._store.merge([token for token in added if token is not None], revoked)
            for token_id in mine.keys() - sealed.keys() - revoked:
                await self._shared.add_token(token_id, self._sealed(mine[token_id]))

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
