"""The Jupyter server extension: its traits, and the hooks that Jupyter Server calls.

What the traits start is in :mod:`.runtime`, what the routes do in :mod:`.handlers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionAppJinjaMixin
from jupyter_server.utils import url_path_join
from tornado.routing import PathMatches, Rule
from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, validate

from mcp_ws_ide import installation
from mcp_ws_ide.config.spec import is_confidential_url
from mcp_ws_ide.credentials import CHECK_SECONDS, names_users
from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.engines.choosing import DURABILITIES, EngineSettings, check_address
from mcp_ws_ide.gateway import Limits
from mcp_ws_ide.handlers import ROUTES, SIGN_IN_ROUTES, UNKNOWN, root_routes
from mcp_ws_ide.handlers.passed_requests import answer_passed
from mcp_ws_ide.handlers.repeat_router import RepeatRouter
from mcp_ws_ide.observe.log_records import SafeRecords
from mcp_ws_ide.observe.redaction import BadPatternError, Redactor
from mcp_ws_ide.runtime import Host, Runtime, Settings
from mcp_ws_ide.unloaded import StrictExtension
from mcp_ws_ide.version import __version__

HERE = Path(__file__).parent
LIMITS = Limits()
ENGINE_MAX_BYTES: Final = 256 << 20
"""Default size of stored sessions, in bytes."""
STOP_SECONDS: Final = 6.0
"""Seconds beyond ``drain_timeout`` that the gateway may take to stop."""


def inspect_command() -> str:
    """Return a shell command that starts this environment's inspector, whatever the ``PATH`` of the shell."""
    program = Path(sys.executable).with_name("mcp-ws-inspect")
    return shlex.join(
        [str(program)] if program.exists() else [sys.executable, "-m", "mcp_ws_ide.inspector.cli"]
    )


def _data_path(name: str) -> str:
    """Return a path in the extension's part of Jupyter's data directory."""
    return os.path.join(jupyter_data_dir(), "mcp_ws_ide", name)


def _in_data(name: str) -> Callable[[Any], str]:
    """Return the default of a trait that is such a path."""
    return lambda app: _data_path(name)


class MCPWebSocketApp(ExtensionAppJinjaMixin, StrictExtension):
    """A WebSocket gateway for the Model Context Protocol, inside Jupyter Server."""

    name = "mcp_ws_ide"
    description = "A WebSocket gateway from MCP clients to MCP servers"
    app_version = __version__
    default_url = "/mcp-ws/"
    extension_url = "/mcp-ws/"
    load_other_extensions = True
    template_paths = [str(HERE / "templates")]

    servers = Dict(
        help="""MCP servers by name, in the form of "mcpServers" in mcp.json: each name is mapped to an object with
        command, args, env, cwd. Default: none. They take precedence over servers of the same name in any file."""
    ).tag(config=True)
    server_files = List(
        Unicode(),
        help="""Paths of mcp.json files that are read before those in Jupyter's configuration directories.
        Default: none. Outside the command line they must be absolute or begin with ~, so that the programs that run do
        not depend on the directory in which Jupyter is started. One whose name ends in .toml is read as TOML, as Codex
        writes it. The first file that defines a name wins. A changed file is read again within seconds; open sessions
        keep the server they have.""",
    ).tag(config=True)
    entry_points = Bool(
        True,
        help="""Whether to add the servers of installed packages (entry points of the group "mcp_ws_ide.servers").
        Default True. Servers that you configure take precedence over them. False ignores installed packages.""",
    ).tag(config=True)
    max_sessions = Int(
        LIMITS.max_sessions,
        min=1,
        help="""Maximum number of sessions in total, attached and detached. Default 10,000. Further ones are refused
        with 503, or with close code 1013 on a resumable link.""",
    ).tag(config=True)
    max_sessions_per_principal = Int(
        LIMITS.max_sessions_per_principal,
        min=0,
        help="""Maximum number of sessions of one user, attached and detached. Default 0: a tenth of max_sessions if
        Jupyter's identity provider names users; otherwise only max_sessions applies. Further ones are refused with 503,
        or with close code 1013 on a resumable link. Gateways on one Redis count the sessions at all of them.""",
    ).tag(config=True)
    max_processes_per_principal = Int(
        LIMITS.max_processes_per_principal,
        min=0,
        help="""Maximum number of server processes of one user. Default 0: a quarter of max_processes if Jupyter's
        identity provider names users; otherwise only max_processes applies. A request that needs one more gets error
        -31002, which names this limit.""",
    ).tag(config=True)
    max_processes = Int(
        LIMITS.max_processes,
        min=1,
        help="""Maximum number of server processes in total. Default 64. A handshake-era session has a process of
        its own; the modern sessions of a user share one per server. Remote servers do not count. A
        request that needs one more gets error -31002, which names this limit.""",
    ).tag(config=True)
    max_in_flight = Int(
        LIMITS.max_in_flight,
        min=1,
        help="""Maximum number of unanswered requests of one session. Default 1024. Further ones get error -31003.""",
    ).tag(config=True)
    max_message_bytes = Int(
        LIMITS.max_message_bytes,
        min=1024,
        help="""Maximum length of a message in either direction, in bytes. Default 10 MiB. A longer one closes
        the link with 1009 and ends the session (the clients of this project do not send one); a longer
        line from a server is dropped and reported on the tap, and the request that it answers gets error
        -31004.""",
    ).tag(config=True)
    max_queued_bytes = Int(
        LIMITS.max_queued_bytes,
        min=1024,
        help="""Maximum number of bytes queued for a client that does not read. Default 16 MiB. Above it the link is
        closed with 1008; a resumable session can be resumed. A low limit disconnects slow clients; a high limit costs
        memory for each of them.""",
    ).tag(config=True)
    max_messages_per_second = Int(
        LIMITS.max_messages_per_second,
        min=0,
        help="""Maximum number of messages per second of one user, over all sessions. Default 0: 2,000 if Jupyter's
        identity provider names users, otherwise no limit. It is checked once a second; bursts of up to ten times the
        limit are allowed. Above it the user's requests get error -31003, whose data.retry_after gives the seconds to
        wait before the next one, at most 30.""",
    ).tag(config=True)
    max_links_per_second = Int(
        LIMITS.max_links_per_second,
        min=0,
        help="""Maximum number of new links per second, in total. Default 0: no limit. Further ones are refused with
        429.""",
    ).tag(config=True)
    grace = Float(
        LIMITS.grace,
        min=0.0,
        help="""Grace period: how long a resumable session waits for its client after its link is lost, in seconds.
        Default 900. After that its requests are cancelled and its processes end; a client that returns later learns
        that the session is gone. 0 ends a session within a second of losing its link; a long grace period keeps
        processes and memory for clients that never return.""",
    ).tag(config=True)
    window_frames = Int(
        LIMITS.window_frames,
        min=16,
        help="""Maximum number of unacknowledged messages that either side of a resumable session keeps. Default
        4096. Beyond it progress and log messages are dropped; if responses alone exceed it, the session
        ends with 4413. Also the number of events that an HTTP session keeps for Last-Event-ID.""",
    ).tag(config=True)
    window_bytes = Int(
        LIMITS.window_bytes,
        min=1024,
        help="""Maximum size of the unacknowledged messages that either side of a resumable session keeps, in bytes.
        Default 4 MiB. One message larger than this always fits. Beyond it messages are dropped as for
        window_frames.""",
    ).tag(config=True)
    hello_timeout = Float(
        LIMITS.hello_timeout,
        min=0.1,
        help="""Seconds within which the client of a resumable link must send its first frame. Default 30. After that
        the link is closed with 4400.""",
    ).tag(config=True)
    drain_timeout = Float(
        LIMITS.drain_timeout,
        min=0.0,
        help="""How long running requests may take to finish when Jupyter shuts down, in seconds. Default 2. After that
        they get error -31005, which says whether they may have run. 0 does not wait.""",
    ).tag(config=True)
    idle_timeout = Float(
        LIMITS.idle_timeout,
        min=0.0,
        help="""How long a shared server process is kept after its last session has ended, in seconds. Default 60. 0
        ends it at once, so the next session waits for a new start.""",
    ).tag(config=True)
    probe_timeout = Float(
        LIMITS.probe_timeout,
        min=0.1,
        help="""How long a server may take to answer the gateway's era probe, in seconds. Default 10. After that the
        gateway offers it a handshake. A remote server may take six times as long to answer a handshake; a process may
        take nine times as long after its last line on stderr, and thirty times in all. After that requests get error
        -31002.""",
    ).tag(config=True)
    park_timeout = Float(
        LIMITS.park_timeout,
        min=1.0,
        help="""How long a call to a handshake-era server waits for its client to answer a question, in seconds. Default
        600. After that it is cancelled at the server, and a late answer gets error -32602.""",
    ).tag(config=True)
    task_timeout = Float(
        LIMITS.task_timeout,
        min=0.0,
        help="""How long a shared process without sessions is kept for an unfinished task, in seconds, counted from the
        last message about the task, but never longer than its ttlMs. Default 3600. 0 leaves it to idle_timeout.""",
    ).tag(config=True)
    websocket = Bool(
        True,
        help="""Whether MCP endpoints accept WebSocket handshakes. Default True. False ignores the upgrade, so clients
        fall back to Streamable HTTP on the same URL.""",
    ).tag(config=True)
    check_origin = Bool(
        True,
        help="""Whether to refuse requests from pages of a foreign Origin even if they carry a valid token. Default
        True. False leaves the check to Jupyter, which skips it for tokens; prefer ServerApp.allow_origin.""",
    ).tag(config=True)
    credential_check_interval = Int(
        int(CHECK_SECONDS),
        min=1,
        help="""Seconds between two checks of the Jupyter credentials behind open links. Default 30. A link whose
        credential is no longer valid is closed with 4401. Short intervals cause many requests to a hub. Gateway tokens
        are checked every second.""",
    ).tag(config=True)
    redact_patterns = List(
        Unicode(),
        help="""Regular expressions (of the package "regex") for text to redact on the tap, in addition to the built-in
        rules: in strings of messages, in events and in stderr of servers. Default: none. If there is any pattern, every
        watched message is parsed. If a pattern takes longer than 20 ms, the tap withholds all text
        until you fix the pattern and restart Jupyter.""",
    ).tag(config=True)
    tap_grace = Float(
        LIMITS.tap_grace,
        min=0.0,
        help="""How long the tap keeps a user's records after their last watcher has left, in seconds, so that a watcher
        that reconnects misses nothing. Default 60. It keeps at most 10,000 records or about 16 MiB per user. 0 discards
        them within a second.""",
    ).tag(config=True)
    otlp_endpoint = Unicode(
        help="""Receiver of OpenTelemetry traces (OTLP over HTTP), such as http://127.0.0.1:4318: a span for each
        session and request of all users. Default "": none. An address without a path gets /v1/traces. Headers are
        taken from OTEL_EXPORTER_OTLP_HEADERS; with them, a receiver on another machine needs https.""",
    ).tag(config=True)
    allow_faults = Bool(
        False,
        help="""Whether links of sessions may be broken on purpose over REST, to test clients. Default False.
        Callers also need the authorizer's "execute" on "mcp-faults"; users can break only their own links.""",
    ).tag(config=True)
    allow_editing = Bool(
        True,
        help="""Whether entries of the user's own mcp.json may be added, changed and removed over REST and on the page.
        Default True. Callers also need the authorizer's "write" on "mcp"; nothing is started from such an entry until a
        user has agreed to what it runs. If False, the file can be changed in a text editor only.""",
    ).tag(config=True)
    consents_file = Unicode(
        help="""File with the consents of users to start entries (mode 0600). Default: mcp_ws_ide/consents.json in
        Jupyter's data directory.""",
    ).tag(config=True)
    tokens_file = Unicode(
        help="""File with the hashes of gateway tokens (mode 0600). Default: mcp_ws_ide/tokens.json in Jupyter's
        data directory.""",
    ).tag(config=True)
    engine = Unicode(
        help="""Where resumable sessions are stored, so that they survive the end of Jupyter. Default "": they are not
        stored, and end with Jupyter. "sqlite" stores them in mcp_ws_ide/sessions.sqlite in Jupyter's data directory,
        "sqlite:///path" in the file with this absolute path ("~" is the home directory). Only one Jupyter can use a
        file at a time: a second one with the same file refuses all requests with 503.
        "redis://[user@]host[:port][/database]" stores them in Redis or Valkey, "rediss://" over TLS (extra "redis").
        Options follow "?": password_file, ca_file, and prefix, with which all keys begin (default "mcpws:"). Without a
        password, the variable MCP_WS_ENGINE_PASSWORD is used.""",
    ).tag(config=True)
    engine_allow_unencrypted = Bool(
        False,
        help="""Whether Redis may be on another machine without TLS. Default False: such an address is refused. If True,
        whoever can read the network traffic sees the password, and who uses which server; messages are sealed in any
        case.""",
    ).tag(config=True)
    peer_address = Unicode(
        "127.0.0.1:0",
        help="""Where the other gateways on the same Redis reach this one, as host:port. Default "127.0.0.1:0": on this
        machine, at any free port. If the gateways run on several machines or pods, set this one's own address. Their
        connections are sealed with the keys of engine_keys_file.""",
    ).tag(config=True)
    engine_durability = Enum(
        DURABILITIES,
        default_value=DURABILITIES[0],
        help="""How safely SQLite stores sessions. Default "normal": they survive the end of Jupyter, even by kill -9,
        but not a power cut or a crash of the machine. "full": they survive these too, but each commit waits for the
        disk.""",
    ).tag(config=True)
    engine_max_bytes = Int(
        ENGINE_MAX_BYTES,
        min=1 << 20,
        help="""Maximum size of the stored sessions, in bytes. Default 256 MiB. Above three quarters of it, new sessions
        are refused with close code 1013; when it is reached, messages of open sessions wait until other sessions have
        ended; with Redis, they wait when its maxmemory is reached. Stored sessions are also held in memory.""",
    ).tag(config=True)
    engine_keys_file = Unicode(
        help="""File with the keys that seal stored sessions (mode 0600); it is created if it is missing. Default:
        mcp_ws_ide/session-keys.json in Jupyter's data directory. If the file is lost, so are the stored sessions, and
        OAuth clients have to register again.""",
    ).tag(config=True)
    oauth_timeout = Float(
        LIMITS.oauth_timeout,
        min=1.0,
        help="""How long requests to a remote server with OAuth wait for the user's authorization, in seconds. Default
        300. After that they get an error that names the page to open; the next request starts a new attempt.""",
    ).tag(config=True)
    sign_in = Bool(
        True,
        help="""Whether MCP clients may sign in by URL: they send the user's browser to Jupyter's login, and get a
        gateway token once the user approves. Default True, where Jupyter requires a credential. False: clients need a
        token that was minted beforehand.""",
    ).tag(config=True)
    public_url = Unicode(
        help="""Address of this Jupyter server as browsers and clients see it, with the base URL: authorization servers
        send the browser back to {public_url}mcp-ws/oauth/callback, and clients sign in there. Default: for
        the callback, the address on which Jupyter listens; for signing in, the address that each client's request
        names in Host, X-Forwarded-Host and X-Forwarded-Proto.""",
    ).tag(config=True)
    oauth_client_document = Bool(
        True,
        help="""Whether authorization servers of remote servers may read who the gateway is, without a credential, at
        {public_url}mcp-ws/oauth/client.json (client ID metadata document). Default True, with an https public_url that
        is not this machine's. False, where they cannot reach it: the gateway then registers itself at all of them.""",
    ).tag(config=True)
    oauth_directory = Unicode(
        help="""Directory with the OAuth tokens of remote servers (mode 0700, files 0600). Default: mcp_ws_ide/oauth
        in Jupyter's data directory.""",
    ).tag(config=True)

    _tokens_file_default = _in_data("tokens.json")
    _consents_file_default = _in_data("consents.json")
    _engine_keys_file_default = _in_data("session-keys.json")
    _oauth_directory_default = _in_data("oauth")

    @validate("engine")
    def _check_engine(self, proposal: Any) -> str:
        try:
            check_address(proposal.value)
        except EngineRefusedError as error:
            raise TraitError(str(error)) from None
        return str(proposal.value)

    @validate("peer_address", "public_url", "otlp_endpoint")
    def _check_address(self, proposal: Any) -> str:
        return _ADDRESS_CHECKS[proposal.trait.name](proposal.value)

    @validate("redact_patterns")
    def _check_patterns(self, proposal: Any) -> list[str]:
        try:
            Redactor(proposal.value)
        except BadPatternError as error:
            raise TraitError(f"redact_patterns: {error}") from None
        return list(proposal.value)

    def initialize_settings(self) -> None:
        """Create the runtime, which handlers find in Tornado's settings, and keep secrets of URLs out of logs."""
        self.runtime = Runtime(_settings(self), _host(self))
        self.settings["mcp_ws_ide_runtime"] = self.runtime
        assert self.serverapp is not None
        scrubbed = self.serverapp.web_app.settings.setdefault("extra_log_scrub_param_keys", [])
        scrubbed += ["ticket", "code", "state", "next"]
        page_config = self.serverapp.web_app.settings.setdefault("page_config_data", {})
        page_config["mcpWsInspect"] = inspect_command()

    def initialize_handlers(self) -> None:
        """Register the routes. The route for repeated requests comes first and passes on all other requests."""
        assert self.serverapp is not None
        web_app = self.serverapp.web_app
        endpoints = re.escape(url_path_join(web_app.settings["base_url"], "/mcp-ws/servers/"))
        self.repeats = RepeatRouter(self.runtime)
        # Not add_handlers, which takes only handler classes in Jupyter.
        web_app.default_router.rules.insert(0, Rule(PathMatches(f"{endpoints}.*"), self.repeats))
        self.handlers.extend([*SIGN_IN_ROUTES, *ROUTES, UNKNOWN])
        web_app.add_handlers(".*$", root_routes(web_app.settings["base_url"]))

    async def start_extension(self, serverapp: Any) -> None:
        """Start the gateway with Jupyter, not with the first request, so that mistakes are logged early."""
        gateway = self.runtime.gateway
        self.repeats.fresh.install(getattr(serverapp, "http_server", None))
        _take_stop_signals_in_the_loop(serverapp)
        logging.getLogger("mcp_ws_ide").parent = serverapp.log  # as Jupyter does with Tornado's loggers
        for handler in serverapp.log.handlers:
            handler.addFilter(SafeRecords("mcp_ws_ide", "MCPWebSocketApp"))
        count = f"{len(gateway.servers)} server{'' if len(gateway.servers) == 1 else 's'}"
        self.log.info("mcp-ws-ide %s: %s at %smcp-ws/", __version__, count, serverapp.base_url)
        if (unmet := installation.warning()) is not None:
            self.log.warning("mcp-ws-ide: %s", unmet)
        if serverapp.allow_origin == "*":
            self.log.warning(
                "mcp-ws-ide: allow_origin='*' lets every web page try to connect; list origins instead"
            )
        await self.runtime.start_engine()

    def note_activity(self) -> None:
        """Note that messages passed (pings do not count), so that an idle culler does not stop a server in use."""
        assert self.serverapp is not None
        times = self.serverapp.web_app.settings.setdefault("last_activity_times", {})
        times["mcp_ws_ide"] = datetime.now(tz=UTC)

    async def stop_extension(self) -> None:
        """Stop the gateway in bounded time; a failure must not keep Jupyter from stopping."""
        try:
            async with asyncio.timeout(self.drain_timeout + STOP_SECONDS):
                await self.runtime.aclose()
        except Exception:
            self.log.exception("mcp-ws-ide did not stop cleanly")


def _take_stop_signals_in_the_loop(serverapp: Any) -> None:
    """Run Jupyter's handler of SIGTERM as a callback of the event loop.

    Jupyter's handler writes a log line first. A signal may arrive while another log line is being written; then that
    write fails ("reentrant call"), the rest of the handler does not run, and Jupyter does not stop.
    """
    loop, stop = asyncio.get_running_loop(), serverapp._signal_stop
    for number in (signal.SIGTERM, signal.SIGINT):  # JupyterHub uses the same handler for SIGINT
        if signal.getsignal(number) == stop:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, stop, number, None)


def _own_secrets(app: MCPWebSocketApp) -> list[str]:
    """Return Jupyter's own secrets, which the tap must redact."""
    assert app.serverapp is not None
    token = getattr(app.serverapp.identity_provider, "token", "")
    return [token] if isinstance(token, str) else []


def _checked_public(url: str) -> str:
    """Return the address that browsers and clients use, if it can be one."""
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise TraitError(
            f"public_url is {url!r}; use an http or https address with the base URL, without a query"
        )
    return url


def _checked_receiver(endpoint: str) -> str:
    """Return the address of a receiver of traces, if it can be one."""
    if not endpoint:
        return endpoint
    from mcp_ws_ide.observe.trace_export import headers_in, receiver_url  # only where traces are exported

    try:
        url = receiver_url(endpoint)
    except ValueError as error:
        raise TraitError(f"otlp_endpoint: {error}") from None
    if headers_in(os.environ) and not is_confidential_url(url):
        reason = "the headers of OTEL_EXPORTER_OTLP_HEADERS would be sent unencrypted; use https"
        raise TraitError(f"otlp_endpoint is {endpoint!r}: {reason}")
    return endpoint


def _checked_peer(address: str) -> str:
    """Return an address of a peer port, if it is one."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise TraitError(f"peer_address is {address!r}; use host:port, with port 0 for any")
    if host.strip("[]") in ("0.0.0.0", "::", "*"):  # noqa: S104 - refused
        raise TraitError(
            f"peer_address is {address!r}, where no other gateway can reach this one; use its own address"
        )
    return address


_ADDRESS_CHECKS: Final = {
    "peer_address": _checked_peer,
    "public_url": _checked_public,
    "otlp_endpoint": _checked_receiver,
}


def _absolute_files(app: MCPWebSocketApp) -> tuple[str, ...]:
    """Return ``server_files``; those of the command line are relative to the directory where it was written."""
    assert app.serverapp is not None
    written = any(
        "server_files" in one.cli_config.get(type(app).__name__, {}) for one in (app, app.serverapp)
    )
    return tuple(os.path.abspath(os.path.expanduser(p)) if written else p for p in app.server_files)


def _host(app: MCPWebSocketApp) -> Host:
    """Return what the runtime asks of the application."""
    serverapp = app.serverapp
    assert serverapp is not None
    return Host(
        app.log,
        lambda: serverapp.web_app,
        lambda: app.public_url or str(serverapp.connection_url),
        lambda: _own_secrets(app),
        lambda: getattr(getattr(serverapp, "http_server", None), "_connections", ()),
        app.note_activity,
        lambda *passed: answer_passed(serverapp.web_app, *passed),
    )


def _settings(app: MCPWebSocketApp) -> Settings:
    """Return the values of all traits."""
    assert app.serverapp is not None
    limits = Limits(**{field: getattr(app, field) for field in Limits.__struct_fields__})
    return Settings(
        limits=limits.shared() if names_users(app.serverapp.identity_provider) else limits,
        servers=dict(app.servers),
        root_dir=str(app.serverapp.root_dir),
        server_files=_absolute_files(app),
        entry_points=bool(app.entry_points),
        websocket=bool(app.websocket),
        check_origin=bool(app.check_origin),
        credential_check_interval=int(app.credential_check_interval),
        redact_patterns=tuple(app.redact_patterns),
        allow_faults=bool(app.allow_faults),
        allow_editing=bool(app.allow_editing),
        consents_file=Path(app.consents_file),
        tokens_file=Path(app.tokens_file),
        oauth_directory=Path(app.oauth_directory),
        oauth_timeout=float(app.oauth_timeout),
        oauth_client_document=bool(app.oauth_client_document),
        engine=EngineSettings(
            address=str(app.engine),
            durability=str(app.engine_durability),
            max_bytes=int(app.engine_max_bytes),
            keys_file=Path(app.engine_keys_file),
            default_file=Path(_data_path("sessions.sqlite")),
            allow_unencrypted=bool(app.engine_allow_unencrypted),
        ),
        peer_address=str(app.peer_address),
        otlp_endpoint=str(app.otlp_endpoint),
        public_url=str(app.public_url),
        sign_in=bool(app.sign_in),
    )


main = launch_new_instance = MCPWebSocketApp.launch_instance
