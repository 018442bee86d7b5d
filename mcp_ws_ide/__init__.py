"""A WebSocket gateway for the Model Context Protocol inside Jupyter Server, its clients and its inspector.

Imports no other module of the package but the version, so that clients start quickly.
"""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.version import __version__ as __version__


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension app is; imported only when asked, so that clients start quickly.

    What cannot be imported is explained where people look (:mod:`.installation`).
    """
    from mcp_ws_ide.importing import many_imports

    try:
        with many_imports():
            from mcp_ws_ide.app import MCPWebSocketApp
    except Exception as error:  # an unsuitable version of a package can fail in any way while it is imported
        from mcp_ws_ide.unloaded import extension_points

        return extension_points(error)
    return [{"module": "mcp_ws_ide", "app": MCPWebSocketApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell ``jupyter-builder develop`` where the built JupyterLab extension is in a checkout."""
    return [{"src": "labextension", "dest": "mcp-ws-ide"}]


def load_ipython_extension(ipython: Any) -> None:
    """Add ``%mcp`` and what notebooks show; called by ``%load_ext mcp_ws_ide``."""
    from mcp_ws_ide.notebook import load_ipython_extension

    load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Remove them; called by ``%unload_ext mcp_ws_ide``."""
    from mcp_ws_ide.notebook import unload_ipython_extension

    unload_ipython_extension(ipython)
