"""``…/poll`` and ``…/probe``: the link for networks that pass only POSTs, and how a client detects such a network.

Bodies and responses are lines of JSON (docs/reference/binding.md, section 11). What the frames mean is decided in
:mod:`mcp_ws_ide.gateway`; here are media types, status codes and waiting.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

from jupyter_server.auth.decorator import ws_authenticated
from tornado.iostream import StreamClosedError

from mcp_ws_ide.core import binding, messages
from mcp_ws_ide.core.binding import CloseCode, ControlError, PollClose, PollHead
from mcp_ws_ide.errors import LimitExceededError
from mcp_ws_ide.gateway import ResumeHandshake
from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.handlers.bodies import SLACK_BYTES
from mcp_ws_ide.handlers.passed_requests import endpoint_path
from mcp_ws_ide.handlers.post_exchange import RETRY_AFTER
from mcp_ws_ide.handlers.requester import link_info, resumable_server, usable_server
from mcp_ws_ide.links.poll import PollLink

NDJSON: Final = "application/x-ndjson"
MAX_LINES: Final = 65_536
"""Lines of a body; a window of unacknowledged frames has far fewer."""
FRAMES_AT_ONCE: Final = 64
"""Frames that are passed on in one turn of the event loop."""
PROBE_HOLD: Final = 10.0
"""Seconds for which the response to a probe stays open: longer than a client waits for its first event."""


class PollHandler(EndpointHandler):
    """``servers/{name}/poll``."""

    _link: PollLink | None = None
    _gone = False

    @ws_authenticated
    async def post(self, name: str) -> None:
        """Open a link, or resume a session on one, with the first body; each further body belongs to its link."""
        await self.check_may_use(name)
        body = self._body()
        if binding.is_poll_head(body):
            await self._continue(name, body)
        else:
            await self._answer(self._open(name, body), with_frames=True)

    @property
    def max_body_bytes(self) -> int:
        """One message of maximum length, and others."""
        return self.runtime.gateway.limits.max_message_bytes + 2 * SLACK_BYTES

    def _body(self) -> bytes:
        media = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media != NDJSON:
            raise self.refuse(415, "media", f"the Content-Type must be {NDJSON}")
        limit = self.runtime.gateway.limits.max_message_bytes + SLACK_BYTES
        body = self.take_body()
        if len(body) > limit:
            raise self.refuse(
                413,
                "max_message_bytes",
                f"the body has {len(body)} bytes; at most {limit} are allowed; send fewer frames",
            )
        if body.count(b"\n") > MAX_LINES:
            raise self.refuse(
                413, "message", f"the body has more than {MAX_LINES} lines; send fewer frames at a time"
            )
        if not messages.is_text(body):
            raise self.refuse(400, "message", "the body must be valid UTF-8")
        return body

    def _open(self, name: str, body: bytes) -> PollLink:
        """Open a link, with the body as its first frame."""
        server = resumable_server(self, name)
        hello = body.strip()
        if binding.HELLO.match(hello) is None or b"\n" in hello:
            message = 'the first body must be one line, {"mcp.ws":"open"} or a "resume"'
            raise self.refuse(400, "message", message)
        try:
            self.runtime.gateway.check_link_rate()
        except LimitExceededError as error:
            self.error_headers["Retry-After"] = RETRY_AFTER
            raise self.refuse(429, error.limit, str(error)) from None
        gateway = self.runtime.gateway
        most, tools = gateway.limits.max_queued_bytes, self.token_tools
        link = PollLink(self.principal, server.name, most, tools, gateway.link_prefix)
        info = link_info(self, "poll", binding.SUBPROTOCOL_RESUME)
        greeting = ResumeHandshake(gateway, server, link, info)
        link.start(greeting.receive, greeting.closed)
        self.runtime.add_poll_link(link)
        link.receive(0, [hello], time.perf_counter())
        return link

    async def _continue(self, name: str, body: bytes) -> None:
        try:
            head, frames, end = binding.parse_poll(body)
        except ControlError as error:
            raise self.refuse(400, "message", str(error)) from None
        if await self.pass_on(head.link, f"{endpoint_path(name)}/poll", body):
            return
        link = self._known(name, head)
        link.touch()
        self._check_sizes(name, link, frames)
        await self._receive(link, head.sent, frames)
        if end is not None:
            return self._finish(link, end)
        await self._answer(link, with_frames=not frames)

    async def _receive(self, link: PollLink, position: int, frames: list[bytes]) -> None:
        """Pass on the frames, some at a time: others have their turn between them."""
        for begin in range(0, max(1, len(frames)), FRAMES_AT_ONCE):
            if begin:
                await asyncio.sleep(0)
            part = frames[begin : begin + FRAMES_AT_ONCE]
            if not link.receive(position + begin, part, time.perf_counter()):
                message = f"frames before number {position} are missing; resume on a new link"
                raise self.refuse(409, "session", message)

    def _known(self, name: str, head: PollHead) -> PollLink:
        """Return the link that a head names; 410 if there is none, also for another user's or another server's."""
        link = self.runtime.polls.get(head.link)
        server = self.runtime.gateway.find(name)  # a group has several spellings
        mine = (self.principal, server.name if server is not None else name, self.token_tools)
        if link is None or link.closed or (link.principal, link.server, link.tools) != mine:
            raise self.refuse(
                410, "session", "the link has ended, does not exist or is not yours; resume on a new one"
            )
        return link

    def _check_sizes(self, name: str, link: PollLink, frames: list[bytes]) -> None:
        server = self.runtime.gateway.find(name)
        limit = (
            self.runtime.gateway.message_limit(server.spec)
            if server is not None
            else self.runtime.gateway.limits.max_message_bytes
        )
        if any(len(frame) > limit for frame in frames):
            link.close(CloseCode.TOO_BIG, f"a message is longer than {limit} bytes (max_message_bytes)")

    def _finish(self, link: PollLink, end: PollClose) -> None:
        link.client_closed(end.code, end.reason)
        self.runtime.polls.pop(link.id, None)
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()

    async def _answer(self, link: PollLink, *, with_frames: bool) -> None:
        """Respond to a body with frames as soon as the server can take more; to others when frames are queued."""
        self._link = link
        if with_frames:
            self.watch_credential(self)
        await (link.wait() if with_frames else link.may_send())
        if self._gone:
            return
        link.touch()
        self.set_header("Content-Type", NDJSON)
        self.set_header("Cache-Control", "no-store")
        self.finish(link.answer(with_frames=with_frames))

    def on_connection_close(self) -> None:
        """Leave queued frames for the response to the next body."""
        self._gone = True
        super().on_connection_close()

    # --- Watched --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the response is sent, or can no longer be."""
        return self._gone or self._finished

    def close(self, code: CloseCode, reason: str) -> None:
        """Refuse a body that is held while its credential ends; queued frames stay for another credential."""
        self._gone = True
        self.send_error(401, exc_info=(None, self.refuse(401, "credential", reason), None))


class ProbeHandler(EndpointHandler):
    """``servers/{name}/probe``: one event at once, then silence. A client that gets it in time can use event streams.

    A client that only checks whether the endpoint exists and accepts its credential asks for JSON instead.
    """

    cookie_needs_origin = False
    """A probe changes and reveals nothing, and browsers send no Origin with same-origin GETs."""
    _waker: asyncio.Event | None = None

    @ws_authenticated
    async def get(self, name: str) -> None:
        """Get the enabled transports, as JSON or in an event stream that stays open for :data:`PROBE_HOLD` s.

        Raises:
            HTTPError: 404 or 502, the server cannot be used.
        """
        await self.check_may_use(name)
        usable_server(self, name)
        offered = ["http", *(["websocket"] if self.runtime.settings.websocket else []), "poll"]
        if self.request.headers.get("Accept") == "application/json":
            return self.finish({"transports": offered})
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache, no-transform")
        self.set_header("X-Accel-Buffering", "no")
        self.write(f"event: transports\ndata: {json.dumps({'transports': offered})}\n\n")
        self._waker = asyncio.Event()
        try:
            await self.flush()
            async with asyncio.timeout(PROBE_HOLD):
                await self._waker.wait()
        except StreamClosedError:
            return
        except TimeoutError:
            self.finish()

    @ws_authenticated
    async def post(self, name: str) -> None:
        """Do the same for networks that block GET; some proxies buffer responses to POST as well."""
        await self.get(name)

    def on_connection_close(self) -> None:
        """End the probe: the client has closed it."""
        if self._waker is not None:
            self._waker.set()
        super().on_connection_close()
