"""Sends the gateway's spans to a receiver of OTLP over HTTP, in JSON: in batches, from a bounded queue.

Knows nothing of how spans are made (:mod:`.live_spans`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from mcp_ws_ide.observe.live_spans import LiveSpans
from mcp_ws_ide.observe.spans import Span, resource_of
from mcp_ws_ide.observe.tap_record import TapRecord
from mcp_ws_ide.version import __version__

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

BATCH: Final = 512
"""Spans of one request."""
MAX_QUEUED: Final = 4096
"""Spans that wait; further ones are discarded and counted."""
INTERVAL: Final = 2.0
"""Seconds between two requests, unless a batch is full before."""
MAX_INTERVAL: Final = 60.0
"""Seconds between two attempts, as long as the receiver fails."""
SEND_SECONDS: Final = 10.0
"""Seconds that a request may take."""
LAST_SECONDS: Final = 1.0
"""Seconds that the last requests may take together, when the gateway stops."""
TRANSIENT: Final = frozenset({429, 502, 503, 504})
"""Status codes after which the same request is sent again (OTLP, section OTLP/HTTP)."""
HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Variables with the headers of each request, the first one that is set."""


def receiver_url(endpoint: str) -> str:
    """Return the URL that traces are sent to: the endpoint, with the usual path if it has none.

    Raises:
        ValueError: it is not an http or https address.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{endpoint!r} is not an address; write http://HOST:4318 or https://HOST")
    return parts._replace(path="/v1/traces").geturl() if parts.path in ("", "/") else endpoint


def headers_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that the environment names, as OpenTelemetry's exporters read them: ``NAME=VALUE,…``."""
    text = next((environ[name] for name in HEADERS if environ.get(name)), "")
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


class TraceExporter:
    """Takes the tap's records and sends their spans.

    Args:
        url: where to.
        new_client: makes the client that sends them, with its headers.
        counts: the number of spans by outcome: exported, dropped (too many waited or were open), rejected (by the
            receiver).
    """

    def __init__(self, url: str, new_client: Callable[[], httpx2.AsyncClient], counts: Counter[str]) -> None:
        self._url = url
        self._new_client = new_client
        self._counts = counts
        self._queue: deque[tuple[str, Span]] = deque()
        self._full = asyncio.Event()
        self._live = LiveSpans(self._keep)
        self._client: httpx2.AsyncClient | None = None
        self._trouble = ""
        """Why the receiver gets nothing; ``""`` if it does."""

    def take(self, owner: str, record: TapRecord) -> None:
        """Take a record; called while its message waits, so that a failure must not reach the caller."""
        try:
            self._live.add(owner, record)
        except Exception:
            log.exception("a record got no span")

    def _keep(self, server: str, span: Span) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._counts["dropped"] += 1
            return
        self._queue.append((server, span))
        if len(self._queue) >= BATCH:
            self._full.set()

    async def run(self) -> None:
        """Send batches until it is cancelled."""
        delay = INTERVAL
        while True:
            try:
                async with asyncio.timeout(delay):
                    await (self._full.wait() if not self._trouble else asyncio.Event().wait())
            except TimeoutError:
                pass
            self._full.clear()
            delay = INTERVAL if await self._send_all() else min(2 * delay, MAX_INTERVAL)

    async def aclose(self) -> None:
        """Send what waits, within a second, and close the connection. Call it after :meth:`run` was cancelled."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._send_all()
        except TimeoutError:
            pass
        self._counts["dropped"] += len(self._queue)
        if self._client is not None:
            await self._client.aclose()

    async def _send_all(self) -> bool:
        """Send what waits; return False if the receiver must be tried again later."""
        self._counts["dropped"] += self._live.ignored
        self._live.ignored = 0
        while self._queue:
            batch = list(islice(self._queue, BATCH))
            if not await self._send(batch):
                return False
            for _ in batch:
                self._queue.popleft()
        return True

    async def _send(self, batch: list[tuple[str, Span]]) -> bool:
        """Send one batch; return False if it must be sent again."""
        import httpx2

        if self._client is None:
            self._client = self._new_client()
        headers = {"Content-Type": "application/json"}
        try:
            response = await self._client.post(self._url, content=traces_data(batch), headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            self._note_trouble(str(error) or type(error).__name__)
            return False
        if response.status_code in TRANSIENT:
            self._note_trouble(f"status {response.status_code}")
            return False
        if response.is_success:
            rejected, self._trouble = _rejected(response.content), ""
            if rejected:
                log.warning("%s rejected %d of %d spans", self._url, rejected, len(batch))
        else:
            rejected = len(batch)
            self._note_trouble(f"status {response.status_code}; the spans are discarded")
        self._counts["rejected"] += rejected
        self._counts["exported"] += len(batch) - rejected
        return True

    def _note_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            log.warning("traces do not reach %s: %s", self._url, reason)
        self._trouble = reason


def traces_data(batch: list[tuple[str, Span]]) -> bytes:
    """Return a message ``TracesData`` in JSON; the spans of each server are one resource."""
    servers: dict[str, list[Span]] = {}
    for server, span in batch:
        servers.setdefault(server, []).append(span)
    scope = {"name": "mcp-ws-ide", "version": __version__}
    resources = [
        {"resource": resource_of(server), "scopeSpans": [{"scope": scope, "spans": spans}]}
        for server, spans in servers.items()
    ]
    return msgspec.json.encode({"resourceSpans": resources})


def _rejected(body: bytes) -> int:
    """Return how many spans an answer of a receiver refuses; 0 if it cannot be read."""
    try:
        answer: Any = msgspec.json.decode(body or b"{}")
        return int(answer["partialSuccess"]["rejectedSpans"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return 0
