"""An extension of Jupyter that notes which user calls each tool of jupyter-mcp-server, in the file of AUDIT_FILE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_mcp_server.hooks import HookRegistry
from jupyter_mcp_server.identity import current_identity

users: list[str] = []


class Audit:
    """A hook of jupyter-mcp-server."""

    propagate_errors = True

    async def on_event(self, event: Any, **details: Any) -> None:
        """Note the user."""
        identity = current_identity()
        users.append("nobody" if identity is None else identity.username)
        Path(os.environ["AUDIT_FILE"]).write_text("\n".join(users))  # noqa: ASYNC240


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    HookRegistry.get_instance().register(Audit())
