"""A receiver of OTLP over HTTP that reads traces with OpenTelemetry's own definition of the messages."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIZES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
"""Ids, which OTLP in JSON has in hexadecimal and not, as other JSON of protobuf, in base64."""


class Receiver:
    """A receiver on this machine; keeps what it accepts.

    Attributes:
        answers: status codes and bodies of the next answers; then it accepts everything.
        headers: those of each request.
        spans: name of the server, and span, as objects of OpenTelemetry's package.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.spans: list[tuple[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.headers.append(dict(self.headers))
                receiver.paths.append(self.path)
                status, answer = receiver.answers.pop(0) if receiver.answers else (200, b"{}")
                if status == 200:
                    receiver.spans += read(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def read(body: bytes) -> list[tuple[str, Any]]:
    """Return the spans of a request, each with the name of its service; fail if anything is not as defined."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())
    found = []
    for resource in request.resource_spans:
        names = attributes_of(resource.resource)
        found += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes_of(holder: Any) -> dict[str, str]:
    """Return the attributes of a span, an event or a resource."""
    return {one.key: one.value.string_value for one in holder.attributes}


def _with_base64(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {}
    for key, item in value.items():
        if key in SIZES:
            data = bytes.fromhex(item)
            assert len(data) == SIZES[key] and any(data), (key, item)
            members[key] = base64.b64encode(data).decode()
        else:
            members[key] = _with_base64(item)
    return members
