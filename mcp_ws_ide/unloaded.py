"""The stand-in for an extension that cannot be loaded: answers every address of the gateway with the reason.

Imports only modules of the package that need nothing else.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from mcp_ws_ide.installation import UnloadableError, explain

_REASON = "mcp_ws_ide_unloaded"
"""Key in Tornado's settings of why the extension cannot be loaded."""


def extension_points(error: Exception) -> list[dict[str, Any]]:
    """Return what Jupyter Server loads instead of the extension, whose import failed with ``error``.

    Raises:
        UnloadableError: no Jupyter Server is running here, but a command like ``jupyter server extension list``, which
            shows the message.
    """
    if not ServerApp.initialized():
        raise UnloadableError(explain(error)) from error
    ServerApp.instance().tornado_settings[_REASON] = explain(error)
    return [{"module": __name__, "name": "mcp_ws_ide"}]


class UnloadedHandler(APIHandler):
    """Answers with 503 and the reason, in the form of Jupyter's errors."""

    @authenticated
    def get(self, path: str) -> None:
        """Refuse the request, whatever its method."""
        self.set_status(503)
        self.finish({"message": self.settings[_REASON], "reason": None})

    post = put = patch = delete = get


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Log the reason as one line, and add the route.

    Raises:
        UnloadableError: always, since Jupyter Server would log that the extension is loaded.
    """
    reason = serverapp.web_app.settings[_REASON]
    serverapp.log.error("%s", reason)
    pattern = url_path_join(serverapp.base_url, r"/mcp-ws(/.*)?")
    serverapp.web_app.add_handlers(".*$", [(pattern, UnloadedHandler)])
    raise UnloadableError(reason)
