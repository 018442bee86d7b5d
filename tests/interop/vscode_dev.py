"""A stand-in for ``https://vscode.dev/redirect``, through which VS Code in a browser gets its codes.

Tests cannot reach the real one. This one does what the addresses that it leaves in browsers show: it decodes ``state``,
which is an address of that VS Code, once more, and sends the browser there with all the parameters that it was given.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from tests.chromium import LAUNCH

HOST: Final = "vscode.dev"


class _Redirect(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        query = urlsplit(self.path).query
        target = unquote(parse_qs(query)["state"][0])
        self.send_response(302)
        self.send_header("Location", f"{target}&{query}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def vscode_dev() -> Iterator[dict[str, Any]]:
    """Run it; gives arguments for Playwright's ``launch``, for a browser that takes it for the real one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Redirect)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    rule = f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{server.server_port}"
    yield {**LAUNCH, "args": [*LAUNCH["args"], rule]}
    server.shutdown()
    server.server_close()
    thread.join()
