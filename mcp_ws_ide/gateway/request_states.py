"""Which session was given a ``requestState``: a call may continue only with the rights with which it began.

A call that waits for answers (MCP 2026-07-28, basic/patterns/mrtr) is continued by a request of its own, over HTTP by
a session of its own. A gateway token that allows certain tools only must not continue a call of a wider one. Knows
nothing of calls; it compares what was handed out with what comes back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import text_of
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import INVALID_PARAMS
from mcp_ws_ide.links.base import LinkInfo

MAX_STATES: Final = 4096
"""Number of the newest states that are remembered for one server."""
_NAME: Final = b"requestState"
NOT_ITS_OWN: Final = (
    "this requestState was given to another credential, or is no longer known; make the call again without it"
)


class RequestStates:
    """The states that sessions with restricted gateway tokens were given, for one server."""

    def __init__(self) -> None:
        self._holders: OrderedDict[bytes, tuple[str, ToolRules]] = OrderedDict()

    def given(self, result: bytes, info: LinkInfo) -> None:
        """Note the state in a result for the client of a link, if its token is restricted."""
        if info.tools is None or _NAME not in result:
            return
        if state := messages.member(result, "requestState"):
            self._holders[_digest(state)] = info.principal, info.tools
            if len(self._holders) > MAX_STATES:
                self._holders.popitem(last=False)

    def refusal(self, message: Message, info: LinkInfo) -> tuple[int, str] | None:
        """Return code and text of the error for a restricted token that continues a call of another; None if it may."""
        if info.tools is None:
            return None
        state = messages.member(message.params, "requestState")  # its name may be escaped
        if not state or self._holders.get(_digest(state)) == (info.principal, info.tools):
            return None
        return INVALID_PARAMS, NOT_ITS_OWN


def _digest(state: bytes) -> bytes:
    """Return the digest of a state, which may be long; its JSON text may differ between two spellings."""
    return hashlib.sha256(text_of(state).encode("utf-8", "surrogatepass")).digest()
