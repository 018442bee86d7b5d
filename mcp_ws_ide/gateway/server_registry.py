"""All servers: those configured, those removed that still serve a session, and groups named by a URL.

Implements :class:`~mcp_ws_ide.gateway.server.TransportFactory`: it makes their transports, and keeps the number of
their processes within ``max_processes``. Knows nothing of sessions.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from typing import Final

from mcp_ws_ide.config.environment import child_environment
from mcp_ws_ide.config.spec import MAX_MEMBERS, ConfigProblem, Configuration, ServerSpec, rights_of
from mcp_ws_ide.errors import LimitExceededError
from mcp_ws_ide.gateway.prewarm import PrewarmPool
from mcp_ws_ide.gateway.server import Server
from mcp_ws_ide.gateway.services import Services
from mcp_ws_ide.gateway.shared import SharedPool
from mcp_ws_ide.observe.counters import ServerCounters
from mcp_ws_ide.transports import Supplies, Transport, make_transport
from mcp_ws_ide.transports.authorizations import Authorizations
from mcp_ws_ide.transports.processes import ProcessSupervisor

MAX_GROUPS: Final = 256
"""Groups named by URLs that are kept at once; unused ones make room."""
GROUPS_LABEL: Final = "+"
"""The server name of all groups named by URLs in the metrics."""

GroupTransportFactory = Callable[[Server, str, bool], Transport]
"""Makes the transport of a group from the group, the principal, and whether it is for one exchange over HTTP."""


class ServerRegistry:
    """The servers of one gateway.

    Args:
        authorizations: what users have authorized at remote servers; None if nothing can be authorized.
        group_transport: makes the transports of groups.

    Attributes:
        servers: the configured servers, by name.
        problems: found in the configuration.
        unread: problems of whole files, which make their servers unknown.
    """

    def __init__(
        self,
        services: Services,
        pool: SharedPool,
        supervisor: ProcessSupervisor,
        authorizations: Authorizations | None,
        group_transport: GroupTransportFactory,
    ) -> None:
        self.servers: dict[str, Server] = {}
        self.problems: list[ConfigProblem] = []
        self.unread: list[ConfigProblem] = []
        self._services = services
        self._pool = pool
        self._supervisor = supervisor
        self._authorizations = authorizations
        self._group_transport = group_transport
        self._retired: set[Server] = set()
        self._groups: dict[str, Server] = {}

    @property
    def all(self) -> tuple[Server, ...]:
        """The configured servers, the retired ones that may still serve, and groups named by URLs."""
        return (*self.servers.values(), *self._retired, *self._groups.values())

    # --- configuration --------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        """Apply a configuration; live sessions keep the server they have."""
        self.problems, self.unread = list(configuration.problems), list(configuration.unread)
        for name in [name for name in self.servers if name not in configuration.servers]:
            self._retire(self.servers.pop(name))
        for name, spec in configuration.servers.items():
            known = self.servers.get(name)
            if known is not None and known.spec == spec:
                continue
            if known is not None:
                self._retire(known)
            self.servers[name] = Server(spec, self._services.metrics.server(name), self)
            self.prewarm(self.servers[name])

    def _retire(self, server: Server) -> None:
        """Retire a server: it gets no new sessions, and is forgotten with its last one."""
        self._retired = {old for old in self._retired if old.in_use}
        self._retired.add(server)
        server.retired = True
        self.end_prewarmed(server)
        for upstream in self._pool.of_server(server):
            if not upstream.users:
                upstream.close()

    def unlisted(self, spec: ServerSpec) -> Server:
        """Return a server that is in no configuration, to be tried."""
        return Server(spec, ServerCounters(), self)

    def address(self, name: str) -> str:
        """Return the address of the one server that has this name as configured; any other name unchanged.

        Accented letters may be written with combining marks or without (Unicode, normalization forms).
        """
        if name in self.servers or name.startswith("+"):
            return name
        wanted = unicodedata.normalize("NFC", name)
        titles = [(server.name, server.spec.title or "") for server in self.servers.values()]
        titled = [address for address, title in titles if title == name]
        titled = titled or [one for one, title in titles if unicodedata.normalize("NFC", title) == wanted]
        return titled[0] if len(titled) == 1 else name

    def find(self, name: str) -> Server | None:
        """Return the server of this name; ``+a+b`` names the group of the servers a and b."""
        if not name.startswith("+"):
            return self.servers.get(name)
        members = tuple(dict.fromkeys(part for part in name.split("+") if part))
        if not members or len(members) > MAX_MEMBERS or any(m not in self.servers for m in members):
            return None
        canonical = "+" + "+".join(members)
        rights = rights_of(members, {member: self.servers[member].spec for member in members})
        spec = ServerSpec(canonical, "the URL", "group", group=members, authorize=rights)
        known = self._groups.get(canonical)
        if known is not None and known.spec == spec:
            return known
        if known is not None:
            self._retire(known)
        elif len(self._groups) >= MAX_GROUPS:
            self._groups = {name: group for name, group in self._groups.items() if group.in_use}
        self._groups[canonical] = Server(spec, self._services.metrics.server(GROUPS_LABEL), self)
        return self._groups[canonical]

    # --- prewarmed processes --------------------------------------------------------------------

    def prewarm(self, server: Server) -> None:
        """Start the processes that the configuration asks for in advance, unless that was done."""
        wanted = server.spec.prewarm and server.has_process and server.refusal_to("") is None
        if wanted and server.prewarmed is None:
            pool = server.prewarmed = PrewarmPool(self._services.tasks, server)
            pool.fill()

    def end_prewarmed(self, server: Server) -> None:
        """End the prewarmed processes in the background."""
        prewarmed, server.prewarmed = server.prewarmed, None
        if prewarmed is not None:
            self._services.tasks.spawn(prewarmed.aclose(), f"end prewarmed {server.name}")

    # --- TransportFactory -----------------------------------------------------------------------

    def make(self, server: Server, principal: str, *, stateless: bool) -> Transport:
        """Return a transport for this principal, not connected yet."""
        if server.members:
            return self._group_transport(server, principal, stateless)
        spec = server.spec
        environment, limit = child_environment(spec, os.environ), self._services.limits.message_bytes(spec)
        return make_transport(
            spec, Supplies(self._supervisor, environment, limit, principal, self._authorizations)
        )

    def check_processes(self, server: Server, owner: str, wanted: int) -> None:
        """Check that all processes there are, and ``wanted`` more of this server for a user, fit.

        Raises:
            LimitExceededError: ``max_processes`` or ``max_processes_per_principal`` is reached; never for a server
                without a local process.
        """
        if not server.has_process:
            return
        limits = self._services.limits
        mine = sum(each.processes_of(owner) for each in self.all) + max(wanted, 0) if owner else 0
        if 0 < limits.max_processes_per_principal < mine:
            trait = "max_processes_per_principal"
            text = (
                f"you have {mine - 1} processes; stop a server or end a session on the gateway's page, where one "
                f"without a client keeps its process for {limits.grace:g} s (grace), or raise MCPWebSocketApp.{trait}"
            )
            raise LimitExceededError(trait, text)
        count = sum(each.process_count(ending=False) for each in self.all) + wanted
        if count > limits.max_processes:
            raise LimitExceededError(
                "max_processes",
                f"{count - 1} server processes are running; stop one or raise MCPWebSocketApp.max_processes",
            )

    def process_count(self) -> int:
        """Return the number of server processes that run, start or end."""
        return sum(server.process_count() for server in self.all)
