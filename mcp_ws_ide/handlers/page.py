"""``{base_url}mcp-ws/``: the page, as built by ``npm run build:page``."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.extension.handler import ExtensionHandlerJinjaMixin, ExtensionHandlerMixin
from tornado import web

from mcp_ws_ide.handlers.base import GatewayHandler
from mcp_ws_ide.handlers.static import STATIC

EXPLAIN: Final = (Path(__file__).parents[1] / "templates" / "explain.js").read_text()
"""The script in the page itself, which says why the page's own script was not loaded."""
_DIGEST: Final = base64.b64encode(hashlib.sha256(EXPLAIN.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{_DIGEST}'; style-src 'self'; worker-src 'self'; "
    "img-src 'self' data:; media-src data:; "
    "connect-src 'self' wss: ws://127.0.0.1:* ws://localhost:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
MANIFEST: Final = STATIC / "page.json"
"""Names the files of the newest build."""

NOT_BUILT: Final = (
    "The page has not been built. In a clone of the repository, run\n\n    make page\n\n"
    "(or, with Node 22 or newer: cd frontend_static && npm install && npm run build:page), then reload. "
    "Installing the package (pip install .) builds it too, unless MCP_WS_IDE_SKIP_FRONTEND is set.\n"
    "The gateway itself works without the page.\n"
)


def built_files() -> dict[str, str] | None:
    """Return the file names of ``script``, ``style`` and ``checker``; None if the page has not been built."""
    try:
        manifest = json.loads(MANIFEST.read_bytes())
        return {name: str(manifest[name]) for name in ("script", "style", "checker")}
    except (OSError, ValueError, KeyError):
        return None


class PageHandler(ExtensionHandlerJinjaMixin, ExtensionHandlerMixin, GatewayHandler):
    """The page: an MCP client, the configuration of servers, and live traffic."""

    @property
    def content_security_policy(self) -> str:
        """Allow scripts and styles of this server only, the script in the page by its digest, and frames of apps.

        An app may load another document into its frame; only its own address is allowed there.
        """
        return f"{CONTENT_SECURITY_POLICY}; frame-src {self.request.host}{self.base_url}mcp-ws/app-frame"

    async def prepare(self) -> None:
        """Refuse a foreign Host with the reason, then authenticate as Jupyter does."""
        if not self.check_host():
            raise self.host_refusal()
        await super().prepare()

    @web.authenticated
    @authorized("execute", resource="mcp")
    async def get(self) -> None:
        """Get the page, which loads its data over REST."""
        self.xsrf_token  # noqa: B018 - sets the cookie that the page's POSTs send back
        self.check_policy()
        self.note_scheme()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        files = built_files()
        if files is None:
            self.set_status(503)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(NOT_BUILT)
            return
        static = f"{self.base_url}mcp-ws/static/"
        self.finish(self.render_template("mcp_ws_ide.html", static=static, explain=EXPLAIN, **files))
