"""A new session with a Streamable HTTP server that has forgotten the old one (MCP 2025-11-25, basic/transports: 404).

Repeats the client's handshake (:mod:`mcp_ws_ide.core.handshake`). Knows which answers mean that a session is unknown,
so that the request did not run; its transport knows how messages travel.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.handshake import INITIALIZED_MESSAGE, Handshake
from mcp_ws_ide.core.lenient_json import error_text
from mcp_ws_ide.core.messages import Message
from mcp_ws_ide.errors import METHOD_NOT_FOUND, MalformedMessageError
from mcp_ws_ide.transports.http_exchange import Exchange
from mcp_ws_ide.transports.http_session import HandshakeSession
from mcp_ws_ide.transports.lines import printable
from mcp_ws_ide.transports.remote import RequestFailedError, body_text

_NAMES_SESSION: Final = re.compile(r"(?i)session")
_REFUSES: Final = frozenset({400, 410})
"""Status codes with which servers besides 404 refuse an unknown session; their message says so."""


class _Kept(msgspec.Struct):
    """What is stored of a session with a server.

    Attributes:
        session: its id; ``""`` if the server is stateless.
        version: the negotiated protocol version.
        handshake: the client's messages that another session needs.
    """

    session: str
    version: str
    handshake: list[bytes]


class SessionForgottenError(RequestFailedError):
    """The server does not know the session of a request, which therefore did not run.

    Attributes:
        session: the id of that session.
    """

    def __init__(self, reason: str, session: str, status: int) -> None:
        super().__init__(reason, sent=False, status=status)
        self.session = session


def is_forgotten(status: int, body: bytes) -> bool:
    """Return whether a response to a request in a session says that the server does not know the session.

    A JSON-RPC error that answers the request does not count: the method may be unknown (404 as well).
    """
    if status != 404 and status not in _REFUSES:
        return False
    try:
        error = messages.parse(body)
    except MalformedMessageError:
        return status == 404
    if messages.member(error.error, "code") == b"%d" % METHOD_NOT_FOUND:
        return False
    text = messages.member(error.error, "message").decode(errors="replace")
    return status == 404 or _NAMES_SESSION.search(text) is not None


def _text_of_refusal(body: bytes) -> str:
    """Return what a server says in a refusal: the message of its JSON-RPC error, or its short text."""
    try:
        error = messages.parse(body).error
    except MalformedMessageError:
        error = b""
    return error_text(error) if error else body_text(body)


class Renewal:
    """The renewal of one session, by one task at a time.

    Args:
        session: the session, which gets another id.
        post: sends one exchange and waits for its answer; that of ``initialize`` opens the session.
        tell: takes a report of each renewal.
    """

    def __init__(
        self,
        session: HandshakeSession,
        post: Callable[[Exchange], Awaitable[None]],
        tell: Callable[[str], None],
    ) -> None:
        self._session = session
        self._post = post
        self._tell = tell
        self._lock = asyncio.Lock()
        self._renewing: asyncio.Task[object] | None = None
        self._handshake = Handshake()
        self.restored = False
        """Whether another gateway opened the session."""

    def forgotten(self, session: str, status: int, body: bytes) -> SessionForgottenError:
        """Return the failure of a request whose session, by this response, the server does not know."""
        return SessionForgottenError(
            self._session.gone_reason(status, _text_of_refusal(body)), session, status
        )

    # --- for another gateway (SessionKeeper) ------------------------------------------------------

    @property
    def kept(self) -> bytes:
        """Id, version and handshake of the session, once it is negotiated."""
        session = self._session
        if not session.version:
            return b""
        return msgspec.msgpack.encode(_Kept(session.id, session.version, self._handshake.state))

    @property
    def changes(self) -> int:
        """The number of changes of :attr:`kept`."""
        return self._session.changes + self._handshake.changes

    def restore(self, kept: bytes) -> None:
        """Continue a session; if the server has forgotten it, the first request opens another one."""
        state = msgspec.msgpack.decode(kept, type=_Kept)
        self._session.restore(state.session, state.version)
        for data in state.handshake:
            self.note(messages.parse(data))
        self.restored = True

    def leave_open(self) -> None:
        """Leave the session open at the server."""
        self._session.leave_open = True

    # --- renewal --------------------------------------------------------------------------------

    def note(self, message: Message) -> None:
        """Remember what a new session needs of a message from the client."""
        self._handshake.note(message)

    async def settled(self) -> None:
        """Wait until no other task renews the session."""
        if self._lock.locked() and self._renewing is not asyncio.current_task():
            async with self._lock:
                return

    async def renew(self, lost: str, why: str) -> None:
        """Open a new session in place of ``lost``, unless another task has done so.

        Args:
            lost: id of the session that the server does not know.
            why: what the server answered, for errors and reports.

        Raises:
            RequestFailedError: it cannot be opened; nothing ran.
        """
        async with self._lock:
            initialize = self._handshake.initialize
            if self._session.id != lost or initialize is None:
                return
            self._renewing = asyncio.current_task()
            version, self._session.gone = self._session.version, True
            try:
                await self._open(initialize, version)
            except RequestFailedError as failure:
                self._session.restore(lost, version)
                reason = f"{why}, and a new one could not be opened: {failure}"
                raise RequestFailedError(reason, sent=False, status=failure.status) from None
            except BaseException:
                self._session.restore(lost, version)
                raise
            finally:
                self._renewing = None
            self._tell(f"{why}; a new session was opened")

    async def renew_unasked(self, lost: str) -> None:
        """Renew a session whose event stream is refused, so that what belongs to no request arrives again."""
        try:
            await self.renew(lost, self._session.gone_reason())
        except RequestFailedError as failure:
            self._tell(str(failure))

    async def _open(self, initialize: Message, version: str) -> None:
        answers: list[bytes] = []
        await self._post(Exchange(initialize, None, answers.append))
        answer = messages.parse(answers[0]) if answers else None
        if answer is None or not answer.result:
            detail = printable(answer.error[:200]) if answer is not None else "it did not answer initialize"
            raise RequestFailedError(detail, sent=False)
        if self._session.version != version:
            raise RequestFailedError(
                f"the server now speaks {self._session.version!r} instead of {version!r}; connect again",
                sent=False,
            )
        await self._post(Exchange(messages.parse(INITIALIZED_MESSAGE), None, answers.append))
        for setting in self._handshake.settings():
            await self._post(Exchange(setting, None, answers.append))
