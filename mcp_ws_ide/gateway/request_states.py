"""Which session was given a ``requestState``: a call is continued only with the rights that it was begun with.

A call that waits for answers (MCP 2026-07-28, basic/patterns/mrtr) is continued by a request of its own, over HTTP by
a session of its own. A gateway token that allows certain tools only must not continue a call of a wider one. Knows
nothing of calls; it compares what was handed out with what comes back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import text_of
from mcp_ws_ide.core.messages import Message

MAX_STATES: Final = 4096
"""States of one server that are remembered, the newest ones."""
_NAME: Final = b"requestState"
NOT_ITS_OWN: Final = (
    "this requestState was given to another credential, or is no longer known; make the call again without it"
)


class RequestStates:
    """The states that sessions with restricted gateway tokens were given, for one server."""

    def __init__(self) -> None:
        self._holders: OrderedDict[bytes, Hashable] = OrderedDict()

    def given(self, result: bytes, holder: Hashable) -> None:
        """Note the state in a result, if there is one; ``holder`` stands for the rights of the session."""
        if _NAME in result and (state := messages.member(result, "requestState")):
            self._holders[_digest(state)] = holder
            if len(self._holders) > MAX_STATES:
                self._holders.popitem(last=False)

    def may_continue(self, message: Message, holder: Hashable) -> bool:
        """Return whether a client's message names no state, or one that was given to the same holder."""
        state = messages.member(message.params, "requestState")  # its name may be escaped
        return not state or self._holders.get(_digest(state)) == holder


def _digest(state: bytes) -> bytes:
    """Return the digest of a state, which may be long; its JSON text may differ between two spellings."""
    return hashlib.sha256(text_of(state).encode("utf-8", "surrogatepass")).digest()
