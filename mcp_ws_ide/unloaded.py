"""What stands in for an extension that cannot be loaded, or whose configuration is invalid: it answers every address
of the gateway with the reason.

Imports only modules of the package that need nothing else.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.web import Application
from traitlets import TraitError

from mcp_ws_ide.installation import UnloadableError, explain

_REASON = "mcp_ws_ide_unloaded"
"""Key in Tornado's settings of why the extension cannot be loaded."""
_HIDDEN = "mcp-ws-ide could not be started; the log of Jupyter says why"
"""What those read who have no credential of Jupyter's."""


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
    """Answers with 503 and the reason, in the form of Jupyter's errors.

    Without a credential of Jupyter's the status is the same: a client with a gateway token comes back later.
    """

    def check_xsrf_cookie(self) -> None:
        """Do nothing: nothing is done for any request."""

    @allow_unauthenticated
    def get(self, path: str) -> None:
        """Refuse the request, whatever its method."""
        self.set_status(503)
        message = self.settings[_REASON] if self.current_user is not None else _HIDDEN
        self.finish({"message": message, "reason": None})

    post = put = patch = delete = get


class StrictExtension(ExtensionApp):
    """An extension that refuses all requests while its configuration is invalid.

    Jupyter Server would load it with the default of every setting, those that protect something included.
    """

    _fault = ""
    """Why the configuration is invalid."""

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Take over the configuration of the server."""
        try:
            super()._link_jupyter_server_extension(serverapp)
        except TraitError as error:
            self._fault = f"mcp-ws-ide refuses all requests, because its configuration is invalid: {error}"
            self._linked = True

    def initialize(self) -> None:
        """Add settings and routes.

        Raises:
            UnloadableError: the configuration is invalid; all requests are answered with the reason.
        """
        if self._fault:
            assert self.serverapp is not None
            refuse_all(self.serverapp, self._fault)
        super().initialize()

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Start the extension, which Jupyter Server asks for even where the configuration is invalid."""
        if not self._fault:
            await self.start_extension(serverapp)

    async def start_extension(self, serverapp: ServerApp) -> None:
        """Start what was initialized; as in Jupyter Server, an extension may have nothing to start."""


def refuse_all(serverapp: ServerApp, reason: str) -> None:
    """Answer all requests with the reason, and log it as one line.

    Raises:
        UnloadableError: always, since Jupyter Server would log that the extension is loaded.
    """
    web_app: Application = serverapp.web_app
    web_app.settings[_REASON] = reason
    serverapp.log.error("%s", reason)
    pattern = url_path_join(serverapp.base_url, r"/mcp-ws(/.*)?")
    web_app.add_handlers(".*$", [(pattern, UnloadedHandler)])
    raise UnloadableError(reason)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Stand in for the extension."""
    refuse_all(serverapp, serverapp.web_app.settings[_REASON])
