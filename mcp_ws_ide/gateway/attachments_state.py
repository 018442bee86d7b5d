"""What is stored of the attachments of a session. msgspec decodes it, and mypyc compiles :mod:`.attachments`."""

from __future__ import annotations

import msgspec

from mcp_ws_ide.core.bridges.legacy_client import LegacyClientState


class AttachmentsState(msgspec.Struct):
    """What is stored of the attachments of one session.

    Attributes:
        bridge: the bridge for a client of the handshake era, if there is one.
        private: whether the session has a private upstream.
        kept: what its transport needs to continue; ``b""`` if it cannot.
    """

    bridge: LegacyClientState | None = None
    private: bool = False
    kept: bytes = b""
