"""The first frame of a link that speaks ``mcp.resume.v1``: it opens a session, or resumes one."""

from __future__ import annotations

import asyncio
import time

from mcp_ws_ide.core import binding
from mcp_ws_ide.core.binding import CloseCode, Control, ControlError
from mcp_ws_ide.core.resume import ResumeRefusedError
from mcp_ws_ide.engines.base import EngineUnavailableError, OwnedError, SessionLostError
from mcp_ws_ide.errors import LimitExceededError
from mcp_ws_ide.gateway.durable import StoreUnavailableError
from mcp_ws_ide.gateway.elsewhere import PeerUnreachableError
from mcp_ws_ide.gateway.faults import INJECTED
from mcp_ws_ide.gateway.gateway import Gateway
from mcp_ws_ide.gateway.resumable import ResumableSession
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.links.base import LinkInfo, Rebindable
from mcp_ws_ide.tokens import resume_digest


class ResumeHandshake:
    """Owns a link until its first frame names the session it belongs to; closes it if that frame does not come.

    Args:
        passed_on: whether the link came from another gateway, so that it is not passed on again.
    """

    def __init__(
        self, gateway: Gateway, server: Server, link: Rebindable, info: LinkInfo, *, passed_on: bool = False
    ) -> None:
        self._gateway, self._server, self._link, self._info = gateway, server, link, info
        self._closed = False
        self._passed_on = passed_on
        timeout = gateway.limits.hello_timeout
        reason = f"no open or resume within {timeout:g} s (hello_timeout)"
        self._timer: asyncio.TimerHandle = gateway.loop.call_later(
            timeout, link.close, CloseCode.NO_HELLO, reason
        )

    def receive(self, data: bytes, now: float) -> None:
        """Handle the first frame."""
        self._timer.cancel()
        try:
            control = binding.parse_control(data)
        except ControlError as error:
            return self._link.close(CloseCode.NO_HELLO, str(error))
        if control is not None and control.kind == "open":
            self._open()
        elif control is not None and control.kind == "resume":
            self._find(control)
        else:
            self._link.close(
                CloseCode.NO_HELLO, 'the first frame must be {"mcp.ws":"open"} or {"mcp.ws":"resume",…}'
            )

    def _find(self, control: Control) -> None:
        assert control.token is not None
        if self._gateway.may_be_stored(control.token):
            self._gateway.tasks.spawn(self._restore(control), "restore a session")
        else:
            self._resume(control)

    def closed(self, code: int, reason: str) -> None:
        """Note that the link was closed before it belonged to a session."""
        self._timer.cancel()
        self._closed = True

    def _open(self) -> None:
        server = self._server
        if (
            server is not self._gateway.find(server.name)
            or server.refusal_to(self._info.principal) is not None
        ):
            reason = server.refusal_to(self._info.principal) or "it was removed from the configuration"
            return self._link.close(CloseCode.UPSTREAM_ENDED, f"server {server.name!r}: {reason}")
        try:
            self._gateway.check_admission(self._info.principal)
        except LimitExceededError as error:
            self._gateway.metrics.refusals[error.limit] += 1
            return self._link.close(CloseCode.TRY_AGAIN_LATER, str(error))
        self._bind(self._gateway.open_resumable_session(self._server, self._link, self._info))

    async def _restore(self, control: Control) -> None:
        """Take the session over, if it is stored; then resume it."""
        assert control.token is not None
        try:
            async with self._gateway.restoring(control.token, self._info):
                if not self._closed:
                    self._resume(control)
        except SessionLostError as error:
            self._gone(str(error))
        except LimitExceededError as error:
            self._gateway.metrics.refusals[error.limit] += 1
            self._link.close(CloseCode.TRY_AGAIN_LATER, str(error))
        except OwnedError as error:
            await self._pass_on(control, error)
        except EngineUnavailableError as error:
            reason = f"the gateway cannot tell now whether the session is stored: {error}"
            self._link.close(CloseCode.TRY_AGAIN_LATER, reason)

    async def _pass_on(self, control: Control, owned: OwnedError) -> None:
        """Pass the link on to the gateway that serves its session."""
        elsewhere, info = self._gateway.elsewhere, self._info
        if elsewhere is None or self._passed_on:
            return self._link.close(CloseCode.TRY_AGAIN_LATER, str(owned))
        self._gateway.metrics.resumes["passed_on"] += 1
        hello = binding.encode_control(control)
        try:
            await elsewhere.pass_on(owned.instance, self._server.name, self._link, info, hello)
        except PeerUnreachableError as error:
            self._link.close(CloseCode.TRY_AGAIN_LATER, str(error))

    def _resume(self, control: Control) -> None:
        assert control.token is not None
        assert control.recv is not None
        presented = resume_digest(control.token)
        session, reason = self._gateway.session_of_token(
            control.token, presented, self._info, self._server.name
        )
        if session is not None and session.info.link != self._info.link:
            reason = f"the session was opened over a link of kind {session.info.link}; resume it over the same kind"
            session = None
        if session is None:
            return self._gone(reason)
        if session.faults is not None and session.faults.take_refusal():
            return self._refuse_on_purpose(session, session.faults.for_good)
        try:
            session.resume(self._link, self._info, presented, control.recv, time.monotonic())
        except ResumeRefusedError as error:
            return self._gone(str(error))
        except StoreUnavailableError as error:
            return self._link.close(CloseCode.TRY_AGAIN_LATER, str(error))
        if not session.ended:
            self._bind(session)

    def _refuse_on_purpose(self, session: ResumableSession, for_good: bool) -> None:
        session.observe("fault", f"resume refused: {'gone' if for_good else 'later'}")
        if not for_good:
            return self._link.close(CloseCode.TRY_AGAIN_LATER, INJECTED)
        session.end(CloseCode.GONE, INJECTED)
        self._gone(INJECTED)

    def _bind(self, session: ResumableSession) -> None:
        link = self._link
        link.bind(
            lambda data, now: session.receive_frame(link, data, now),
            lambda code, reason: session.link_lost(link, code, reason),
            session.link_full,
        )

    def _gone(self, reason: str) -> None:
        self._gateway.metrics.resumes["gone"] += 1
        self._link.send(binding.encode_control(Control("gone", reason=reason)))
        self._link.close(CloseCode.GONE, reason)
