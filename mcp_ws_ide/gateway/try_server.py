"""Try a server: start it once, ask for its era, name and tools, and end it, before an entry is saved."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mcp_ws_ide.config.environment import hint_for
from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.core import era as eras
from mcp_ws_ide.core import messages, reader
from mcp_ws_ide.core.era import Era
from mcp_ws_ide.core.lenient_json import error_code
from mcp_ws_ide.core.pages import Pages
from mcp_ws_ide.errors import METHOD_NOT_FOUND, LimitExceededError, TransportClosedError, TransportError
from mcp_ws_ide.gateway.gateway import Gateway
from mcp_ws_ide.gateway.patience import Patience
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.transports import Transport
from mcp_ws_ide.transports.lines import printable
from mcp_ws_ide.version import __version__

HANDSHAKE_VERSION: Final = "2025-11-25"
"""The newest revision of the handshake era."""
_PROBE_META: Final = eras.probe_meta(__version__)
MAX_STDERR: Final = 100
"""Lines of stderr that a report keeps."""


@dataclass
class TrialReport:
    """The outcome of a trial.

    Attributes:
        ok: whether the server answered.
        error: why not, for the user.
        era: ``legacy``, ``modern`` or ``unknown``.
        server, version: how the server introduces itself.
        tools: the number of its tools; None if that was not learnt.
        note: what is odd about its list of tools; empty if nothing is.
        seconds: time from the start to the last response.
        stderr: its newest lines of stderr.
    """

    ok: bool = False
    error: str = ""
    era: str = "unknown"
    server: str = ""
    version: str = ""
    tools: int | None = None
    note: str = ""
    seconds: float = 0.0
    stderr: list[str] = field(default_factory=list)


class _FailedError(Exception):
    """The server cannot be used; the text is for the user."""


_Answer = asyncio.Future[messages.Message]


class _Conversation:
    """The receiver of a trial's transport, and the requests that wait for answers."""

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.stderr: list[str] = []
        self._answers: dict[bytes, _Answer] = {}
        self.ended = ""
        """Why the server exited; empty while it runs."""
        self._id = 0
        self._patience: Patience | None = None
        self._clock = asyncio.Timeout(None)

    def message_received(self, message: bytes) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        reading = reader.read_server(message)
        source = "stdout" if self.transport is not None and self.transport.process else "transport"
        for noise in reading.noise:
            self.noise_received(source, printable(noise))
        for answer in reading.messages:
            own = messages.alike(answer.id or b"null", self._answers)
            waiting = self._answers.get(own)
            if answer.kind is messages.RESPONSE and waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for fault in reading.unreadable:
            for waiting in self._answers.values():  # one request is sent after the other
                if fault.answer and not fault.doubtful and not waiting.done():
                    waiting.set_exception(
                        _FailedError(f"it sent a response that cannot be read: {fault.reason}")
                    )

    def noise_received(self, source: str, text: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        lines = text.split("\n")[-MAX_STDERR:]
        self.stderr += lines if source == "stderr" else [f"{source}: {line}" for line in lines]
        del self.stderr[:-MAX_STDERR]
        if self._patience is not None and not self._clock.expired():
            self._patience.note_writing()
            self._clock.reschedule(self._patience.end)

    @asynccontextmanager
    async def patient(self, unit: float) -> AsyncIterator[None]:
        """Limit the time of the handshake in the block; ``unit``: as of :class:`Patience`.

        Raises:
            TimeoutError: the server did not answer in time.
        """
        patience = Patience(unit, asyncio.get_running_loop().time)
        patience.begin(process=self.transport is not None and self.transport.process)
        async with asyncio.timeout_at(patience.end) as self._clock:
            self._patience = patience
            try:
                yield
            finally:
                self._patience = None

    def transport_closed(self, reason: str) -> None:
        """See :class:`~mcp_ws_ide.transports.base.Receiver`."""
        self.ended = reason
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(_FailedError(reason))

    def write_paused(self, paused: bool) -> None:
        """Ignore it: what is sent here is short."""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        if self.transport is None or self.ended:
            raise _FailedError(self.ended or "it exited")
        try:
            self.transport.send(json.dumps({"jsonrpc": "2.0", **message}).encode())
        except TransportClosedError as error:
            raise _FailedError(str(error)) from None

    def begin(self, method: str, params: dict[str, Any]) -> _Answer:
        """Send a request; return the future of its answer, which fails with ``_FailedError`` if the server exits."""
        self._id += 1
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._answers[str(self._id).encode()] = answer
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nothing may await it
        try:
            self.send({"id": self._id, "method": method, "params": params})
        except _FailedError as error:
            answer.set_exception(error)
        return answer

    async def ask(self, method: str, params: dict[str, Any], seconds: float) -> messages.Message:
        """Send a request; return its response.

        Raises:
            _FailedError: the server exited.
            TimeoutError: it did not answer within ``seconds``.
        """
        async with asyncio.timeout(seconds):
            return await self.begin(method, params)


class Trial:
    """One trial of a server that is in no configuration.

    Args:
        gateway: the gateway whose limits apply.
        server: a server made for this trial, not the configured one.
        principal: the user who tries it.
    """

    def __init__(self, gateway: Gateway, server: Server, principal: str) -> None:
        self._gateway, self._server, self._principal = gateway, server, principal
        self._probe_seconds = gateway.limits.probe_timeout
        self.report = TrialReport()
        self.tool_names: list[str] = []
        """The names of its tools, each once."""

    async def run(self) -> TrialReport:
        """Start the server, ask it, and end it; bounded in time, and never raises for what a server does."""
        started = time.monotonic()
        try:
            era = await self._attempt(probe=True)
            if era is None:
                await self._attempt(probe=False)
            self.report.ok = True
        except _FailedError as error:
            self.report.error = self._with_hint(str(error))
        except (TransportError, LimitExceededError) as error:
            self.report.error = str(error)
        except TimeoutError:
            self.report.error = self._with_hint("it was started, but did not answer in time")
        self.report.seconds = round(time.monotonic() - started, 3)
        return self.report

    def _with_hint(self, reason: str) -> str:
        missing = hint_for(self._server.spec, os.environ, "\n".join([reason, *self.report.stderr]))
        return f"{reason}; {missing}" if missing else reason

    async def _attempt(self, *, probe: bool) -> Era | None:
        """Try one process or connection; None if it ended on the probe, as servers of the handshake era may."""
        self._server.check_processes(self._principal, wanted=1)
        talk = _Conversation()
        transport = self._server.new_transport(self._principal)
        await transport.connect(talk)
        talk.transport = transport
        try:
            probed = talk.begin("server/discover", {"_meta": _PROBE_META}) if probe else None
            if probed is not None and (era := await self._probe(talk, probed)) is not Era.LEGACY:
                return era
            try:
                return await self._handshake(talk, probed)
            except _FailedError:
                if probe and talk.ended and self.report.era == "unknown":
                    return None  # the server may have read the probe late
                raise
        finally:
            await transport.close()
            self.report.stderr = talk.stderr

    async def _probe(self, talk: _Conversation, probed: _Answer) -> Era | None:
        """Wait for the answer to the probe; return the era that it shows, None if the server exited."""
        await asyncio.wait({probed}, timeout=self._probe_seconds)
        if not probed.done():
            return Era.LEGACY
        if probed.exception() is not None:
            return None
        return await self._modern(talk, probed) if _is_modern(probed) else Era.LEGACY

    async def _modern(self, talk: _Conversation, probed: _Answer) -> Era:
        self.report.era = Era.MODERN
        answer = probed.result()
        self._name(_decode(answer.result).get("serverInfo") or _info_of(answer))
        await self._count_tools(talk, {"_meta": _PROBE_META})
        return Era.MODERN

    async def _handshake(self, talk: _Conversation, probed: _Answer | None) -> Era:
        """Do the handshake, unless a server that starts slowly answers the probe after all."""
        params = {
            "protocolVersion": HANDSHAKE_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "mcp-ws-ide", "version": __version__},
        }
        initialized = talk.begin("initialize", params)
        async with talk.patient(self._probe_seconds):
            if probed is not None and not probed.done():
                await asyncio.wait({initialized, probed}, return_when=asyncio.FIRST_COMPLETED)
                if _is_modern(probed):
                    return await self._modern(talk, probed)
            answer = await initialized
            if probed is not None and error_code(answer.error) == METHOD_NOT_FOUND:
                await asyncio.wait(
                    {probed}, timeout=self._probe_seconds
                )  # perhaps only its answer to the probe takes longer
                if _is_modern(probed):
                    return await self._modern(talk, probed)
        if answer.error:
            raise _FailedError(
                f"it refused the handshake: {_decode(answer.error).get('message', 'no reason was given')}"
            )
        self.report.era = Era.LEGACY
        result = _decode(answer.result)
        self._name(result.get("serverInfo"))
        talk.send({"method": "notifications/initialized"})
        if isinstance(result.get("capabilities"), dict) and "tools" in result["capabilities"]:
            await self._count_tools(talk, {})
        else:
            self.report.tools = 0
        return Era.LEGACY

    def _name(self, info: Any) -> None:
        if isinstance(info, dict):
            self.report.server = str(info.get("title") or info.get("name") or "")[:200]
            self.report.version = str(info.get("version") or "")[:100]

    async def _count_tools(self, talk: _Conversation, params: dict[str, Any]) -> None:
        """Learn the tools of all pages; a server without tools answers with an error."""
        count = 0
        pages, page, more = Pages(), params, True
        while more:
            answer = await talk.ask("tools/list", page, self._probe_seconds)
            result = {} if answer.error else _decode(answer.result)
            tools = result.get("tools")
            names = (
                [tool.get("name") for tool in tools if isinstance(tool, dict)]
                if isinstance(tools, list)
                else []
            )
            new = [name for name in names if pages.is_new(name if isinstance(name, str) else "")]
            self.tool_names += [name for name in new if isinstance(name, str) and name]
            count += len(new)
            cursor = result.get("nextCursor")
            page = {**params, "cursor": cursor}
            more = pages.goes_on(json.dumps(cursor).encode())
        self.report.tools, self.report.note = count, pages.note


def _is_modern(probed: _Answer) -> bool:
    """Return whether the probe was answered, by a modern server."""
    return probed.done() and probed.exception() is None and eras.read_probe(probed.result()) is Era.MODERN


def _info_of(answer: messages.Message) -> Any:
    meta = _decode(answer.result).get("_meta")
    return meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None


def _decode(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


async def tools_of(gateway: Gateway, spec: ServerSpec, principal: str) -> tuple[list[str], str]:
    """Start a server once; return the names of its tools, and why they are not known, ``""`` if they are."""
    trial = Trial(gateway, gateway.unlisted(spec), principal)
    report = await trial.run()
    return trial.tool_names, report.error


async def try_server(gateway: Gateway, spec: ServerSpec, principal: str) -> TrialReport:
    """Start a server once and end it again; it serves no session."""
    return await Trial(gateway, gateway.unlisted(spec), principal).run()
