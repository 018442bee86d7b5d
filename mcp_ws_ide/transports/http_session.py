"""The session with a Streamable HTTP server of the handshake era (MCP 2025-11-25, basic/transports).

Owns its id and protocol version, and the headers made of them. Knows nothing of messages.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

import httpx2

from mcp_ws_ide.transports.remote import Remote, RequestFailedError

_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_VERSION: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")


class HandshakeSession:
    """The session of one attachment; there is none before a response has opened it."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.id = ""
        """``Mcp-Session-Id``; ``""`` if there is no session, or the server is stateless."""
        self._version = ""
        self.changes = 0
        """How often id or version have changed."""
        self.gone = False
        """Whether the server no longer knows the session."""
        self.leave_open = False
        """Whether the session is not ended: another gateway continues it."""

    def gone_reason(self, status: int = 404, detail: str = "") -> str:
        """Return why a request in a session that is gone did not run, with the server's status code and text."""
        answered = f"{status}: {detail}" if detail else str(status)
        return f"{self._remote.where} no longer knows the session ({answered})"

    @property
    def version(self) -> str:
        """The negotiated protocol version; ``""`` if there is none."""
        return self._version

    def restore(self, session_id: str, version: str) -> None:
        """Return to a session that could not be replaced; the next request in it tries again."""
        self.id, self._version, self.gone = session_id, version, False
        self.changes += 1

    def headers(self) -> dict[str, str]:
        """Return the headers of every request in the session."""
        headers = {"Mcp-Session-Id": self.id} if self.id else {}
        return {**headers, "MCP-Protocol-Version": self._version} if self._version else headers

    def open(self, response: httpx2.Response) -> None:
        """Take the session id from the response to ``initialize``.

        Raises:
            RequestFailedError: the id cannot be used.
        """
        session_id = str(response.headers.get("mcp-session-id", ""))
        if session_id and not _SESSION_ID.fullmatch(session_id):
            raise RequestFailedError(f"{self._remote.where} sent an unusable Mcp-Session-Id", sent=True)
        self.id = session_id
        self.changes += 1

    def negotiated(self, version: str) -> None:
        """Take the protocol version of the server's answer to ``initialize``; an unusable one is not sent back."""
        self._version = version if _VERSION.fullmatch(version) else ""
        self.changes += 1

    async def end(self) -> None:
        """Tell the server that the session ends, if there is one that it still knows."""
        if self.id and not self.gone and not self.leave_open:
            with contextlib.suppress(RequestFailedError):
                async with self._remote.open("DELETE", self.headers()):
                    pass

    def forget(self) -> None:
        """Continue without a session."""
        self.id = self._version = ""
        self.changes += 1
        self.gone = False
