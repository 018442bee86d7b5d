"""Jupyter's own tools as servers of the gateway: those of jupyter-mcp-server and of jupyter-server-mcp.

Both packages are extensions of Jupyter Server, whose MCP servers are Python objects in Jupyter's process. The gateway
runs these objects itself (:mod:`mcp_ws_ide.transports.inprocess`), so a client needs no port and no token of theirs.
pyproject.toml names :func:`servers` as an entry point of the group ``mcp_ws_ide.servers``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.transports.inprocess import low_level

NAME: Final = "jupyter"
"""The server's name; where both packages are installed, that of jupyter-mcp-server."""
RIGHTS: Final = (
    *("read contents", "write contents"),
    *("read kernels", "write kernels", "execute kernels"),
    *("read sessions", "write sessions"),
)
"""What Jupyter's authorizer is asked before a user may use these tools: what the routes of Jupyter ask for that do the
same. The tools themselves ask for nothing."""
_MCP_SERVER: Final = "jupyter_mcp_server"
_SERVER_MCP: Final = "jupyter_server_mcp"


def servers() -> dict[str, Any]:
    """Return an entry for each of the two packages whose extension this Jupyter has enabled, by name."""
    found = _extensions()
    entries = {}
    if _MCP_SERVER in found:
        # The tool would make the tools of all users work on another Jupyter.
        entries[NAME] = _entry(jupyter_mcp_server.__name__, tools={"deny": ["connect_to_jupyter"]})
    if _SERVER_MCP in found:
        entries[NAME if not entries else "jupyter-server-mcp"] = _entry(jupyter_server_mcp.__name__)
    return entries


def _entry(factory: str, **settings: Any) -> dict[str, Any]:
    return {"python": f"{__name__}:{factory}", "mcp_ws": {"authorize": list(RIGHTS), **settings}}


def _extensions() -> dict[str, Any]:
    """Return the applications of the extensions that are enabled in the Jupyter of this process, by name."""
    from jupyter_server.serverapp import ServerApp

    if not ServerApp.initialized():
        return {}
    points = ServerApp.instance().extension_manager.extension_points
    return {name: point.app for name, point in points.items()}


def jupyter_mcp_server(principal: str) -> Any:
    """Return the server of jupyter-mcp-server, whose tools see this user as the one who calls them.

    Raises:
        TransportError: its extension was not loaded, so its tools would not work on this Jupyter.
    """
    if import_module(f"{_MCP_SERVER}.jupyter_extension.context").get_server_context().serverapp is None:
        raise TransportError("jupyter-mcp-server was not loaded; the log of Jupyter says why")
    return _CalledBy(principal, low_level(import_module(f"{_MCP_SERVER}.server").mcp))


def jupyter_server_mcp() -> Any:
    """Return the server of jupyter-server-mcp.

    Raises:
        TransportError: its extension has not started.
    """
    running = getattr(_extensions().get(_SERVER_MCP), "mcp_server_instance", None)
    if running is None:
        raise TransportError(
            "jupyter-server-mcp has not started; the log of Jupyter says why. If its port is in use, set "
            "c.MCPExtensionApp.mcp_port = 0"
        )
    return running.mcp


class _CalledBy:
    """A server of jupyter-mcp-server that one user calls.

    Args:
        principal: the user.
        server: the server that runs on streams.
    """

    def __init__(self, principal: str, server: Any) -> None:
        self._principal = principal
        self._server = server

    def create_initialization_options(self) -> Any:
        """Return the options of :meth:`run`."""
        return self._server.create_initialization_options()

    async def run(self, read: Any, write: Any, options: Any) -> None:
        """Serve one client; the context of the task, which the tools inherit, names the user."""
        identity = import_module(f"{_MCP_SERVER}.identity")
        identity.set_current_identity(identity.Identity(username=self._principal))
        await self._server.run(read, write, options)
