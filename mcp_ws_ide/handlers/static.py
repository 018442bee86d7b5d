"""``{base_url}mcp-ws/static/``: the files of the page, compressed by its build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web

from mcp_ws_ide.handlers.base import GatewayHandler

STATIC: Final = Path(__file__).parents[1] / "static"
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"
"""Each name contains a hash of the content, so the content of a name never changes."""
PACKED: Final = {"br": ".br", "gzip": ".gz"}
"""How the build compresses each file, the smallest form first: its content coding and its suffix."""
_FORBIDDEN: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def accepts(coding: str, accepted: str) -> bool:
    """Whether a header Accept-Encoding allows a content coding (RFC 9110 section 12.5.3); ``q=0`` forbids it."""
    codings = (item.partition(";") for item in accepted.split(","))
    weights = {name.strip().lower(): weight for name, _, weight in codings}
    weight = weights.get(coding, weights.get("*"))
    return weight is not None and _FORBIDDEN.fullmatch(weight) is None


class StaticHandler(GatewayHandler):
    """One file of the page. Needs no login, like Jupyter's own static files: it is the same for every user."""

    @property
    def content_security_policy(self) -> str:
        """The policy of the page's worker: a worker gets its policy from the response that carries its script."""
        return "default-src 'none'; script-src 'self'; frame-ancestors 'none'"

    def set_default_headers(self) -> None:
        """Add to Jupyter's headers the one that forbids browsers to guess types."""
        super().set_default_headers()
        self.set_header("X-Content-Type-Options", "nosniff")

    @allow_unauthenticated
    async def get(self, name: str) -> None:
        """Get the file, compressed if the client accepts Brotli or gzip.

        Whatever the Origin: without its script the page could not say why the rest is refused, and no other page can
        read the file.
        """
        path = STATIC / name  # the route lets no separator through
        kind = TYPES.get(path.suffix)
        if kind is None or not path.is_file():
            raise web.HTTPError(404, f"the page has no file {name[:100]!r}; reload the page")
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", FOR_EVER)
        self.set_header("Vary", "Accept-Encoding")
        accepted = self.request.headers.get("Accept-Encoding", "")
        for coding, suffix in PACKED.items():
            packed = path.with_name(name + suffix)
            if accepts(coding, accepted) and packed.is_file():
                self.set_header("Content-Encoding", coding)
                path = packed
                break
        self.finish(path.read_bytes())
