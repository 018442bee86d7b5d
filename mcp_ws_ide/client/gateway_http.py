"""Streamable HTTP to a gateway, through the SDK's own transport of either major.

The SDK shows no more than the status of an HTTP error, if that; mcp 1.x ends the whole session over one. Here each
request that is refused gets a JSON-RPC error: the gateway's own, or one that names what answered in its place.
"""

from __future__ import annotations

import json
import logging
import ssl as ssl_module
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from mcp_ws_ide.client.links import BY_GATEWAY, refusal
from mcp_ws_ide.errors import REFUSED
from mcp_ws_ide.proxy_environment import route

SSE_TIMEOUT: Final = 300.0
"""Seconds without a byte after which an event stream counts as lost; the gateway sends a comment every 15 s."""
ERROR_BYTES: Final = 64 << 10
"""Bytes that are read of the body of an error."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def gateway_http(
    url: str, where: str, headers: dict[str, str], ssl: ssl_module.SSLContext | None
) -> AsyncIterator[tuple[Any, Any]]:
    """Enter the SDK's transport to the gateway at ``url``; yields its ``(read, write)`` streams.

    Args:
        where: the address for messages.
    """
    from mcp.client.streamable_http import streamable_http_client

    library = "httpx2" if find_spec("mcp_types") else "httpx"  # the libraries of mcp 2.x and 1.x
    http: Any = import_module(library)
    timeout, proxy = http.Timeout(30.0, read=SSE_TIMEOUT), route(url, headers, library)
    verify = ssl if ssl is not None else http.create_ssl_context()
    inner = http.AsyncHTTPTransport(verify=verify, proxy=proxy, trust_env=False)
    async with (
        http.AsyncClient(
            headers=headers, timeout=timeout, transport=_explaining(http, inner, where), trust_env=False
        ) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams[0], streams[1]


def _explaining(http: Any, inner: Any, where: str) -> Any:
    """Return a transport of an HTTP library whose errors in response to messages are ones that the SDK shows."""

    class Explaining(http.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any:
            response = await inner.handle_async_request(request)
            if response.status_code < 400 or request.method != "POST":
                return response
            try:
                return _in_place(http, await request.aread(), response, await _beginning(response), where)
            finally:
                await response.aclose()

        async def aclose(self) -> None:
            await inner.aclose()

    return Explaining()


async def _beginning(response: Any) -> bytes:
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > ERROR_BYTES:
            break
    return body[:ERROR_BYTES]


def _in_place(http: Any, posted: bytes, response: Any, body: bytes, where: str) -> Any:
    """Return the response to show in place of one with an error status."""
    status, message = response.status_code, _members(posted)
    refused = refusal(where, status, body, response.reason_phrase)
    if "method" not in message or message.get("id") is None:
        log.warning("a message was not accepted: %s", refused)
        return http.Response(202)
    outcome = "not_sent" if status < 500 else "unknown"
    data = {"status": status, "outcome": outcome, BY_GATEWAY: refused.by_gateway}
    error = _members(body).get("error") if "jsonrpc" in _members(body) else None
    if not isinstance(error, dict):
        error = {"code": REFUSED, "message": str(refused), "data": data}
    return http.Response(200, json={"jsonrpc": "2.0", "id": message["id"], "error": error})


def _members(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
