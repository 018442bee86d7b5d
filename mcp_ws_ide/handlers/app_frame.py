"""``{base_url}mcp-ws/app-frame``: the document in which the page shows an app of a server (MCP Apps, SEP-1865).

The header ``Content-Security-Policy`` gives it an origin of its own, without cookies, storage or access to this server,
and lets it reach only the hosts that the app's resource names.
"""

from __future__ import annotations

import re
from typing import Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web

from mcp_ws_ide.handlers.base import GatewayHandler

SOURCE: Final = re.compile(
    r"(?:(?:https|wss)://(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*|(?:http|ws)://(?:localhost|127\.0\.0\.1))"
    r"(?::\d{1,5})?",
    re.IGNORECASE,
)
"""A host that an app may name, as in a ``Content-Security-Policy``; without TLS only this machine."""
MAX_SOURCES: Final = 32

DOCUMENT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>App</title><script>
addEventListener("message", function take({ source, data }) {
  if (source !== parent || typeof data?.document !== "string") return;
  removeEventListener("message", take);
  document.open();
  document.write(data.document);
  document.close();
});
parent.postMessage({ type: "mcp-ws-app-frame" }, "*");
</script></html>
"""
"""Writes the app's document, which the page sends, over itself; the policy of the response stays in force."""


def policy(connect: list[str], resource: list[str], frame: list[str]) -> str:
    """Return the policy of an app. Each list has hosts that the app may reach; other entries are left out.

    ``connect`` are for requests, ``resource`` for scripts, styles, pictures and fonts, ``frame`` for frames in the app.
    """
    reached, loaded, framed = (" ".join(_sources(names)) for names in (connect, resource, frame))
    nothing = "'none'"
    return (
        "sandbox allow-scripts; default-src 'none'; "
        f"script-src 'unsafe-inline' {loaded}; style-src 'unsafe-inline' {loaded}; "
        f"img-src data: blob: {loaded}; media-src data: blob: {loaded}; font-src data: {loaded}; "
        f"connect-src {reached or nothing}; frame-src {framed or nothing}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


def _sources(names: list[str]) -> list[str]:
    return [name for name in names[:MAX_SOURCES] if SOURCE.fullmatch(name)]


class AppFrameHandler(ExtensionHandlerMixin, GatewayHandler):
    """The frame of an app; the query names the hosts that the app may reach."""

    @property
    def content_security_policy(self) -> str:
        """Give the document an opaque origin, and only the hosts of its query."""
        return policy(*(self.get_query_arguments(name) for name in ("connect", "resource", "frame")))

    async def prepare(self) -> None:
        """Refuse a foreign Host with the reason, then authenticate as Jupyter does."""
        if not self.check_host():
            raise self.host_refusal()
        await super().prepare()

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get the document, which waits for the app from its parent window."""
        self.check_policy()
        self.set_header("Cache-Control", "no-store")
        self.finish(DOCUMENT)
