"""What the extension's traits start: the gateway, its credential stores and its periodic chores.

Owns start, configuration reloads, the chores of each second, and stop. Knows neither traits nor handlers:
:class:`Settings` holds the values, :class:`Host` the few things that only the surrounding application can do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from jupyter_core.paths import jupyter_config_dir, jupyter_config_path
from tornado import web

from mcp_ws_ide.admissions import Admissions
from mcp_ws_ide.config import load as config
from mcp_ws_ide.config.consents import Consents
from mcp_ws_ide.config.editor import ConfigEditor
from mcp_ws_ide.config.spec import Configuration, ServerSpec, is_loopback_host
from mcp_ws_ide.config.watcher import ConfigWatcher
from mcp_ws_ide.core.binding import CloseCode
from mcp_ws_ide.credentials import CredentialWatch, Watched
from mcp_ws_ide.engines.base import Engine, EngineRefusedError, EngineUnavailableError
from mcp_ws_ide.engines.choosing import EngineSettings, open_engine
from mcp_ws_ide.engines.collector import EngineCollector
from mcp_ws_ide.failed_authentications import FailedAuthentications
from mcp_ws_ide.gateway import Gateway, Limits
from mcp_ws_ide.links.cut_links import CutLinks
from mcp_ws_ide.links.half_open import HalfOpen
from mcp_ws_ide.links.heartbeat import Heartbeat
from mcp_ws_ide.links.poll import PollLink
from mcp_ws_ide.observe.intermediaries import Intermediaries
from mcp_ws_ide.observe.metrics import GatewayCollector
from mcp_ws_ide.sanitise import one_visible_line
from mcp_ws_ide.signin.service import SignInService
from mcp_ws_ide.tokens import GatewayToken, Ticket, TicketStore, TokenStore
from mcp_ws_ide.transports.authorizations import Authorizations

if TYPE_CHECKING:
    from mcp_ws_ide.fleet import Fleet
    from mcp_ws_ide.fleet.peer_requests import AnswerRequest
    from mcp_ws_ide.observe.trace_export import TraceExporter

STARTING: Final = "the gateway is starting; try again in a second"
NOT_STARTED: Final = "the engine that stores sessions could not be started; the log of Jupyter says why"
START_SECONDS: Final = 5.0
"""Seconds that a request waits for the engine to start."""
ENGINE_RETRY_SECONDS: Final = 5.0
"""Seconds between two attempts to start an engine that cannot be used."""
REGISTRATIONS: Final = 30
"""OAuth clients that may be registered from one address within a minute; then one in a second."""
RELOAD_TICKS: Final = 2
"""Ticks of the heartbeat between two checks whether a configuration file changed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of the extension's traits, which describe each of them."""

    limits: Limits
    servers: dict[str, Any]
    root_dir: str
    """What Jupyter serves, which editors call the workspace."""
    server_files: tuple[str, ...]
    entry_points: bool
    websocket: bool
    check_origin: bool
    credential_check_interval: int
    redact_patterns: tuple[str, ...]
    allow_faults: bool
    allow_editing: bool
    consents_file: Path
    tokens_file: Path
    oauth_directory: Path
    oauth_timeout: float
    oauth_client_document: bool
    engine: EngineSettings
    peer_address: str
    otlp_endpoint: str
    public_url: str
    sign_in: bool

    @property
    def publishes_client(self) -> bool:
        """Whether authorization servers can read who the gateway is: at an https address that is not this machine."""
        address = urlsplit(self.public_url)
        public = address.scheme == "https" and not is_loopback_host(address.hostname)
        return public and self.oauth_client_document

    @property
    def configuration_paths(self) -> list[str]:
        """Every file that may define servers."""
        named = (path for path in self.server_files if os.path.isabs(os.path.expanduser(path)))
        return [*named, *config.files_in(jupyter_config_path())]

    def load_configuration(self, consent: config.ConsentCheck, documents: dict[str, Any]) -> Configuration:
        """Read all configured servers.

        Args:
            consent: returns what a user must consent to before an entry is started.
            documents: what each file held when it could last be read; used for a file that is malformed now.
        """
        packages = config.installed_packages() if self.entry_points else ()
        files, directories = list(self.server_files), jupyter_config_path()
        return config.load(
            dict(self.servers),
            files,
            directories,
            os.environ,
            packages,
            consent,
            documents,
            self.root_dir,
        )


@dataclass(frozen=True, slots=True)
class Host:
    """What the runtime asks of the application that it runs in."""

    log: logging.Logger
    web_app: Callable[[], web.Application]
    """Tornado's application, whose identity provider checks credentials."""
    browser_url: Callable[[], str]
    """URL of this server as browsers know it, with the base URL."""
    secrets: Callable[[], list[str]]
    """The application's own secrets, which the tap must redact."""
    connections: Callable[[], Iterable[Any]]
    """The HTTP/1 connections of Tornado's server."""
    note_activity: Callable[[], None]
    """Tell the idle culler that messages passed."""
    answer: AnswerRequest
    """Answers a request that another gateway passes on."""


class Runtime:
    """The state that all handlers share. The gateway starts on first use, because it needs the running loop."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self.settings = settings
        self._host = host
        self._gateway: Gateway | None = None
        self._collectors: list[GatewayCollector | EngineCollector] = []
        self._traces: TraceExporter | None = None
        self._documents: dict[str, Any] = {}
        """What the configuration files held when they could last be read, by path."""
        self._ticks = 0
        self._messages = 0
        self._client_key = b""
        self.engine: Engine | None = open_engine(settings.engine)
        """What stores sessions; None if they end with the gateway."""
        self.not_ready = "" if self.engine is None else STARTING
        """Why requests are refused with 503; ``""`` if they are not."""
        self.fleet: Fleet | None = None
        """The gateways that share the engine; None if it is used by this one alone."""
        self._engine_started = asyncio.Event()
        self.heartbeat = Heartbeat()
        self.half_open = HalfOpen()
        self.intermediaries = Intermediaries(self._noticed)
        self.cut_links = CutLinks(self.intermediaries.note)
        self.credentials = CredentialWatch(host.web_app)
        self.tickets = TicketStore()
        self.failed_authentications = FailedAuthentications()
        self.tokens = TokenStore(settings.tokens_file)
        self.sign_in: SignInService | None = None
        """The authorization server; None if it is switched off."""
        if settings.sign_in:
            self.sign_in = SignInService(self.tokens, self.token_revoked, self._registration_key)
        self.registrations = FailedAuthentications(free=REGISTRATIONS, step=1.0)
        """Counts the clients that were registered, by address."""
        self.polls: dict[str, PollLink] = {}
        """Open poll links by their id."""
        self.admissions = Admissions(self.tokens.alive)
        self.trials: set[str] = set()
        """Principals that are trying a server at this moment."""
        self.manager = ConfigEditor(
            os.path.join(jupyter_config_dir(), "mcp.json"),
            Consents(settings.consents_file),
            allowed=settings.allow_editing,
            reload=self.reload,
            root_dir=settings.root_dir,
        )

    def _registration_key(self) -> bytes:
        from mcp_ws_ide.engines.keys import load_sealer  # imports the ciphers

        if not self._client_key:
            self._client_key = load_sealer(self.settings.engine.keys_file, rotate=False).client_key
        return self._client_key

    def add_poll_link(self, link: PollLink) -> None:
        """Keep a link until it is closed."""
        self.polls[link.id] = link
        self.heartbeat.add(link)

    @property
    def gateway(self) -> Gateway:
        """The gateway, started if it was not."""
        if self._gateway is None:
            self._gateway = self._start()
        return self._gateway

    def _start(self) -> Gateway:
        settings = self.settings
        authorizations = Authorizations(
            settings.oauth_directory,
            self._host.browser_url,
            settings.oauth_timeout,
            documented=settings.publishes_client,
        )
        gateway = Gateway(
            settings.limits,
            authorizations=authorizations,
            redact_patterns=list(settings.redact_patterns),
            secrets=self._host.secrets(),
            engine=self.engine,
            token_alive=self.tokens.alive,
        )
        self._watcher = ConfigWatcher(settings.configuration_paths)
        self._configure(gateway)
        self._export(GatewayCollector(gateway.metrics, gateway.gauges))
        gateway.tasks.spawn(self.heartbeat.run(self._tick), "heartbeat")
        if settings.otlp_endpoint:
            self._traces = self._export_traces(gateway, settings.otlp_endpoint)
        # What Jupyter has loaded stays until it ends; looking through it for cycles would stop all sessions each time.
        gc.freeze()
        return gateway

    def _export_traces(self, gateway: Gateway, endpoint: str) -> TraceExporter:
        """Send spans of sessions and calls to a receiver from now on."""
        import httpx2

        from mcp_ws_ide.observe.trace_export import SEND_SECONDS, TraceExporter, headers_in, receiver_url
        from mcp_ws_ide.transports.remote import new_client

        def client() -> httpx2.AsyncClient:
            return new_client(headers_in(os.environ), None, httpx2.Timeout(SEND_SECONDS))

        exporter = TraceExporter(receiver_url(endpoint), client, gateway.metrics.spans)
        gateway.tap.report_to(exporter.take)
        gateway.tasks.spawn(exporter.run(), "export of traces")
        return exporter

    async def start_engine(self) -> None:
        """Start the engine, if one is configured. While it cannot be used, every request is refused: sessions that the
        user wants to keep must not be kept in memory alone."""
        if self.engine is None:
            return
        self._export(EngineCollector(self.engine, self.engine_problem))
        try:
            if not await self._try_engine(self.engine):
                self.gateway.tasks.spawn(self._retry_engine(self.engine), "start the engine")
        except BaseException:
            self.not_ready = NOT_STARTED
            raise
        finally:
            self._engine_started.set()

    async def _retry_engine(self, engine: Engine) -> None:
        """Start the engine as soon as it can be used: another gateway ends, or the disk has room again."""
        await asyncio.sleep(ENGINE_RETRY_SECONDS)
        if not await self._try_engine(engine):
            self.gateway.tasks.spawn(self._retry_engine(engine), "start the engine")
            return
        self._host.log.warning("mcp-ws-ide: the engine has started; requests are no longer refused")

    async def _try_engine(self, engine: Engine) -> bool:
        try:
            await engine.start()
        except EngineRefusedError as error:
            self._refuse(str(error))
            return False
        try:
            await self._join(engine)
            await self.gateway.adopt_stored()
        except (EngineRefusedError, EngineUnavailableError) as error:
            await engine.stop()
            self._refuse(str(error))
            return False
        self.not_ready = ""
        return True

    def _refuse(self, reason: str) -> None:
        """Refuse all requests, until the engine can be used."""
        if reason != self.not_ready:
            self._host.log.critical("mcp-ws-ide: all requests are refused: %s", reason)
        self.not_ready = reason

    async def _join(self, engine: Engine) -> None:
        """Become one of the gateways that share the engine, if several can."""
        from mcp_ws_ide.engines.sealed import SealedEngine  # imports the ciphers, which only an engine needs

        if isinstance(engine, SealedEngine) and engine.shared is not None:
            from mcp_ws_ide.fleet import Fleet
            from mcp_ws_ide.fleet.passed_tickets import IssuedTickets

            address = self.settings.peer_address
            revoked, answer = self.token_revoked, self._host.answer
            tickets = IssuedTickets(self.tickets.redeem_digest, self._watch_ticket)
            fleet = Fleet(engine, engine.shared, self.gateway, address, self.tokens, revoked, answer, tickets)
            await fleet.start()
            self.fleet = fleet

    def engine_problem(self) -> str:
        """Return why the engine stores nothing; ``""`` if it works, or there is none."""
        return self.not_ready or (self.engine.problem if self.engine is not None else "")

    def _watch_ticket(self, ticket: Ticket, watched: Watched) -> None:
        self.credentials.add(ticket.credential, ticket.principal, watched)

    async def refusal(self) -> str:
        """Return why requests are refused, ``""`` if they are not; wait for an engine that is starting."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._engine_started.wait()
        return self.not_ready

    def _export(self, collector: GatewayCollector | EngineCollector) -> None:
        collector.register()
        self._collectors.append(collector)

    def reload(self, force: bool = False) -> dict[str, ServerSpec]:
        """Apply the configuration if a file changed, or if ``force`` is set.

        Returns:
            The configured servers by name.
        """
        gateway = self.gateway
        if self._watcher.changed() or force:
            self._configure(gateway)
        return {name: server.spec for name, server in self.gateway.servers.items()}

    def _configure(self, gateway: Gateway) -> None:
        configuration = self.settings.load_configuration(self.manager.needed, self._documents)
        for problem in configuration.problems:
            if problem in gateway.problems:
                continue  # logged already
            level = self._host.log.info if problem.severity == "notice" else self._host.log.warning
            level("mcp-ws-ide: %s", problem)
        gateway.configure(configuration)

    def _noticed(self, text: str, owner: str, server: str) -> None:
        """Log a problem between clients and gateway, and show it to the watchers of the user concerned."""
        self._host.log.warning("mcp-ws-ide: %s", one_visible_line(text))
        if self._gateway is not None:
            self._gateway.tap.event(owner, server, None, "intermediary", text)

    def _tick(self) -> None:
        """Run the chores of one second: activity, credentials, changed configuration."""
        assert self._gateway is not None
        gateway = self._gateway
        messages = sum(c.messages_in + c.messages_out for c in gateway.metrics.servers.values())
        if messages != self._messages:
            self._messages = messages
            self._host.note_activity()
        self._expire_tokens(gateway)
        self.half_open.tick(self._host.connections(), time.monotonic())
        gateway.tick(time.monotonic())
        self.polls = {link.id: link for link in self.polls.values() if not link.closed}
        self._ticks += 1
        if self._ticks % self.settings.credential_check_interval == 0:
            gateway.tasks.spawn(self.credentials.check(), "credential check")
        if self._ticks % RELOAD_TICKS == 0 and self._watcher.changed():
            self._host.log.info("mcp-ws-ide: the configuration changed")
            self._configure(gateway)

    def _expire_tokens(self, gateway: Gateway) -> None:
        self.tokens.save_revocations()
        in_use = {s.info.token_id for s in gateway.sessions.values() if s.info.token_id}
        for token_id in in_use | gateway.tap.tokens | self.credentials.tokens:
            if not self.tokens.alive(token_id):
                gateway.token_expired(token_id)
                self.credentials.end_token(token_id, CloseCode.EXPIRED, "the gateway token has expired")

    async def find_token(self, secret: str) -> GatewayToken | None:
        """Return the gateway token with this secret, also if another gateway has just minted it."""
        token = self.tokens.find(secret)
        if token is None and self.fleet is not None and await self.fleet.share_tokens():
            token = self.tokens.find(secret)
        return token

    async def share_tokens(self) -> bool:
        """Tell the other gateways at once which tokens were minted and revoked here, and learn of theirs.

        Returns:
            False if they could not be told; they are as soon as they can.
        """
        return self.fleet is None or await self.fleet.share_tokens()

    def token_revoked(self, token_id: str) -> None:
        """End everything that a revoked gateway token opened: sessions, links, open responses and taps."""
        self.gateway.token_revoked(token_id)
        self.credentials.end_token(token_id, CloseCode.REVOKED, "the gateway token was revoked")

    async def aclose(self) -> None:
        """Stop the gateway, within about five seconds, then the engine, which stores what came until then."""
        while self._collectors:
            self._collectors.pop().unregister()
        if self._gateway is not None:
            await self._gateway.aclose()
        if self._traces is not None:
            await self._traces.aclose()
        if self.fleet is not None:
            await self.fleet.stop()
        if self.engine is not None:
            await self.engine.stop()
