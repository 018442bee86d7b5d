"""What every handler of the extension shares: the runtime, JSON errors, the Origin check."""

from __future__ import annotations

from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from mcp_ws_ide.credentials import principal_of
from mcp_ws_ide.handlers.origin import origin_allowed, refusal_message
from mcp_ws_ide.handlers.requester import http_error_message, refusal
from mcp_ws_ide.runtime import Runtime


class GatewayHandler(JupyterHandler):
    """Base of all handlers."""

    def initialize(self, **kwargs: Any) -> None:
        """Tornado's constructor hook."""
        super().initialize(**kwargs)
        self.error_headers: dict[str, str] = {}
        """Headers of an error response; Tornado forgets those that were set before the error."""

    @property
    def runtime(self) -> Runtime:
        """The extension's state."""
        return self.settings["mcp_ws_ide_runtime"]

    @property
    def principal(self) -> str:
        """The owner of what this request creates or sees."""
        return principal_of(self, self.current_user)

    def refuse(self, status: int, reason: str, message: str) -> web.HTTPError:
        """Return an HTTP error to raise, and count it under the label ``reason`` of ``mcp_ws_refusals``."""
        return refusal(self.runtime, status, reason, message)

    def host_refusal(self) -> web.HTTPError:
        """Return the error to raise for a Host that ``check_host`` does not allow."""
        message = f"Host {self.request.host!r} is not local; to allow it, set ServerApp.allow_remote_access"
        return self.refuse(403, "host", message)

    def origin_is_allowed(self) -> bool:
        """Whether the request's Origin may use this server."""
        return origin_allowed(self)

    def check_policy(self) -> None:
        """Refuse a foreign Origin with 403, whatever the credential."""
        if self.runtime.settings.check_origin and not origin_allowed(self):
            raise self.refuse(403, "origin", refusal_message(self))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an error without the query; Tornado would log the whole URL, and so a token in it."""
        if isinstance(value, web.HTTPError):
            self.log.debug("%s %s: %s", value.status_code, self.request.path, value.log_message)
        else:
            self.log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as JSON: ``{"message": …, "status": …}``."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = http_error_message(error) or self._reason
        self.set_header("Content-Type", "application/json")
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        self.finish({"message": message, "status": status_code})
