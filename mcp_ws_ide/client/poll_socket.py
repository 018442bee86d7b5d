"""A link made of POSTs (docs/reference/binding.md, section 11), for networks that break WebSockets and event streams.

:class:`PollConnection` takes the place of the WebSocket in :class:`~mcp_ws_ide.client.transport.SessionTransport`:
one POST carries frames to the gateway, another is held open until frames arrive. A failed POST is repeated, because
the gateway knows which frames it has received; if that does not help, the link is lost and the session resumes on
another link.
"""

from __future__ import annotations

import ssl as ssl_module
from collections import deque
from collections.abc import Mapping
from typing import Final

import anyio
import httpx2
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from mcp_ws_ide.client.links import Opener, Token, check_for_tls, refusal
from mcp_ws_ide.core import messages
from mcp_ws_ide.core.binding import (
    CLIENT_USER_AGENT,
    POLL_HOLD,
    SUBPROTOCOL_RESUME,
    CloseCode,
    ControlError,
    parse_poll,
    poll_close,
    poll_head,
)
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.proxy_environment import reason_of, route, untrusted, via
from mcp_ws_ide.version import __version__

NDJSON: Final = "application/x-ndjson"
BODY_BYTES: Final = 1 << 20
"""Bytes above which no further frame is added to a body."""
ANSWER_TIMEOUT: Final = POLL_HOLD + 20.0
"""Seconds without a response after which a POST has failed."""
RETRY_DELAYS: Final = (0.1, 0.5, 2.0)
"""Seconds before each repetition of a failed POST."""
PASSING: Final = frozenset({429, 502, 503, 504, 520, 521, 522, 523, 524, 527, 530})
"""Status codes of temporary proxy failures, after which a POST is repeated."""
REFUSED: Final = frozenset({400, 411, 413, 414, 415, 431, 494})
"""Status codes that a repetition of the same frames would receive again, on any link."""
OTHER_LINK: Final = frozenset({408, 409, 410, 425})
"""Status codes of a link that another one can replace."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds that closing may take."""


class PollOpener(Opener):
    """Opens poll links to one endpoint.

    Args:
        url: ``http://`` or ``https://`` address of an MCP endpoint.
        token, headers: see :class:`Opener`.
        ssl: a context with custom certificates.
    """

    def __init__(
        self,
        url: str,
        token: Token | None,
        headers: Mapping[str, str],
        *,
        ssl: ssl_module.SSLContext | None = None,
        open_timeout: float = 30.0,
    ) -> None:
        super().__init__(url, token, headers, open_timeout)
        self._ssl = ssl

    async def open(self, *, resume: bool, nothing_else: bool = False) -> PollConnection:
        """Return a link on which nothing was sent yet; a refusal is reported by its first frame."""
        headers = httpx2.Headers({"User-Agent": f"{CLIENT_USER_AGENT}/{__version__}", "Content-Type": NDJSON})
        headers.update(self.head())
        timeout = httpx2.Timeout(self.open_timeout, read=ANSWER_TIMEOUT)
        proxy = route(self.url, headers, "httpx2")
        verify = self._ssl if self._ssl is not None else httpx2.create_ssl_context()
        client = httpx2.AsyncClient(
            headers=headers, timeout=timeout, verify=verify, proxy=proxy, trust_env=False
        )
        return PollConnection(client, self.below("poll"), self.where, self.open_timeout)


class PollConnection:
    """One poll link. Implements :class:`~mcp_ws_ide.client.links.ClientLink`.

    Args:
        open_timeout: seconds for the response to the first POST, which the gateway never holds.
    """

    subprotocol = SUBPROTOCOL_RESUME

    def __init__(self, client: httpx2.AsyncClient, url: str, where: str, open_timeout: float) -> None:
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._client = client
        self._url, self._where = url, where
        self._open_timeout = open_timeout
        self._link = ""
        self._outbox: deque[bytes] = deque()
        self._inbox: deque[bytes] = deque()
        self._sending = anyio.Lock()
        self._sent = 0
        self._received = 0
        self._end: tuple[int, str] | None = None
        self._broken = False
        self._proven = False
        """Whether a POST after the first one has passed."""
        self._holding: anyio.CancelScope | None = None

    async def send(self, message: str | bytes, text: bool | None = None) -> None:
        """Send one frame; returns when the gateway has received it.

        Raises:
            ConnectionClosed: the link is lost.
            ConnectError: the first frame was refused.
        """
        data = message.encode() if isinstance(message, str) else message
        self._outbox.append(messages.one_line(data))
        async with self._sending:
            if not self._link:
                return await self._open()
            while self._outbox and not self._broken:
                await self._send_some()
        if self._broken:
            raise _closed()

    async def _open(self) -> None:
        hello = self._outbox.popleft()
        try:
            with anyio.fail_after(self._open_timeout):
                response = await self._client.post(self._url, content=hello)
        except (TimeoutError, httpx2.TimeoutException):  # httpx2 limits connecting to the same time
            if self._url.startswith("https"):
                await check_for_tls(self._url)
            seconds = f"{self._open_timeout:g} s"
            raise ConnectError(f"{self._where} did not answer within {seconds}{via(self._url)}") from None
        except (httpx2.HTTPError, OSError) as error:
            detail = reason_of(error)
            if "WRONG_VERSION_NUMBER" in detail:
                await check_for_tls(self._url)
            where = f"{self._where} cannot be reached{via(self._url)}"
            raise ConnectError(f"{where}: {detail}{untrusted(detail)}") from None
        if response.status_code != 200:
            raise refusal(self._where, response.status_code, response.content, response.reason_phrase)
        self._sent = 1
        self._take(response.content)
        if not self._link:
            raise ConnectError(
                f"{self._where} is not a poll endpoint; it answered {response.content[:100]!r}"
            )

    async def _send_some(self) -> None:
        frames: list[bytes] = []
        size = 0
        while self._outbox and (not frames or size < BODY_BYTES):
            frames.append(self._outbox.popleft())
            size += len(frames[-1])
        body = b"\n".join([poll_head(self._link, self._sent, self._received), *frames])
        answer = await self._post(body)
        self._sent += len(frames)
        if answer is not None:
            self._take(answer, whole=False)

    async def recv(self, decode: bool | None = None) -> bytes:
        """Return the next frame.

        Raises:
            ConnectionClosed: the link is closed; see :attr:`close_code`.
        """
        while not self._inbox:
            if self._end is not None:
                await self._confirm_end()
            if self._broken:
                raise _closed()
            with anyio.CancelScope() as self._holding:
                answer = await self._post(poll_head(self._link, self._sent, self._received))
                if answer is not None:
                    self._take(answer)
        return self._inbox.popleft()

    async def _post(self, body: bytes) -> bytes | None:
        """POST a body; repeat it if the network lost it. Return None if the link is lost or the response is empty."""
        for delay in (*RETRY_DELAYS, None):
            try:
                response = await self._client.post(self._url, content=body)
            except (httpx2.HTTPError, OSError):
                status = 0
            else:
                status = response.status_code
                if status == 200:
                    self._proven = True
                    return bytes(response.content)
                self._note_refusal(response)
            if delay is None or (status and status not in PASSING) or self._broken:
                break
            await anyio.sleep(delay)
            if self._broken:  # by now; the client may be closed
                break
        self._break()
        return None

    def _note_refusal(self, response: httpx2.Response) -> None:
        """Set the close code and reason to use if repeating the POST does not help.

        No code means that another link may help: its opening POST shows whether the credential or the server is
        refused. If opening POSTs pass and later ones are refused, another link would fail in the same way.
        """
        status = response.status_code
        reason = str(refusal(self._where, status, response.content, response.reason_phrase))
        code = None
        if status in REFUSED:
            code = CloseCode.TOO_BIG if status == 413 else CloseCode.PROTOCOL_ERROR
        elif not self._proven and 400 <= status < 500 and status not in OTHER_LINK | PASSING:
            code = CloseCode.REVOKED
        self.close_code, self.close_reason = code, f"a POST was refused: {reason}"

    def _take(self, answer: bytes, whole: bool = True) -> None:
        """``whole``: whether everything the gateway has sent must be here; not while a held POST is under way."""
        try:
            head, frames, end = parse_poll(answer)
        except ControlError:
            return self._break()
        if not whole and not frames and end is None:
            self._link = head.link
            return
        if head.sent > self._received:  # an answer was lost on its way, and what it held
            return self._break()
        self._link = head.link
        fresh = frames[self._received - head.sent :]
        self._received += len(fresh)
        self._inbox.extend(fresh)
        if end is not None:
            self._end = (end.code, end.reason)

    def _break(self) -> None:
        self._broken = True
        if self._holding is not None:
            self._holding.cancel()

    async def _confirm_end(self) -> None:
        """The gateway has closed the link: confirm that its last frames arrived."""
        assert self._end is not None
        self.close_code, self.close_reason = self._end
        self._broken = True
        await self._say_goodbye(*self._end)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        head = poll_head(self._link, self._sent, self._received)
        with anyio.move_on_after(CLOSE_TIMEOUT):
            try:
                await self._client.post(self._url, content=head + b"\n" + poll_close(code, reason))
            except (httpx2.HTTPError, OSError):
                return  # it will notice

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the link, and with code 1000 the session. Idempotent; bounded by :data:`CLOSE_TIMEOUT`."""
        try:
            if self._link and not self._broken:
                self._break()
                self.close_code, self.close_reason = code, reason
                await self._say_goodbye(code, reason)
        finally:
            with anyio.CancelScope(shield=True):  # also when the goodbye is cancelled; this waits for nobody
                await self._client.aclose()


def _closed() -> ConnectionClosed:
    return ConnectionClosedError(None, None)
