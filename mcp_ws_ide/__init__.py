"""The WebSocket home for the Model Context Protocol: a gateway inside Jupyter, and its inspector."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension app is; imported late, so that clients stay light."""
    from mcp_ws_ide.app import MCPWebSocketApp

    return [{"module": "mcp_ws_ide", "app": MCPWebSocketApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the built JupyterLab extension is in a checkout; ``jupyter-builder develop`` links it from there."""
    return [{"src": "labextension", "dest": "mcp-ws-ide"}]
