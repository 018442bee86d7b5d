"""What is stored of one client's conversation. msgspec decodes it, and mypyc compiles :mod:`.session`."""

from __future__ import annotations

import msgspec


class CoreState(msgspec.Struct, frozen=True):
    """What is stored of a session's core. Requests in flight are not: they end when another gateway restores it.

    Attributes:
        used_modern, used_legacy: the eras that the client has used.
        asked: ids, as JSON, of the server's requests that the client has not answered.
    """

    used_modern: bool = False
    used_legacy: bool = False
    asked: list[bytes] = []
