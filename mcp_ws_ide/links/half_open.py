"""Connections whose request is never complete: they are closed after :data:`HEAD_SECONDS` or :data:`BODY_SECONDS`.

In Jupyter, Tornado waits an hour for the first byte and for the rest of a head, and for ever for a body. This module
checks how Tornado reads a connection, not what it reads. Connections between two requests are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from tornado.http1connection import HTTP1Connection

HEAD_SECONDS: Final = 20.0
"""Seconds that a request head may take from its first byte; the first one, from the start of its connection."""
BODY_SECONDS: Final = 20.0
"""Seconds without a byte of a body that is expected."""

log = logging.getLogger(__name__)


class HalfOpen:
    """Closes connections that send heads too slowly, or bodies not at all."""

    def __init__(self) -> None:
        self._since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        """When each unfinished read was first seen, by Tornado's future of the read."""
        self._bodies: WeakSet[Any] = WeakSet()

    def expect_body(self, connection: Any) -> None:
        """Watch the body of a request until it is complete.

        Args:
            connection: Tornado's ``HTTP1Connection`` of the request.
        """
        if isinstance(connection, HTTP1Connection):
            self._bodies.add(connection)

    def tick(self, connections: Iterable[Any], now: float) -> None:
        """Check all HTTP/1 connections of a Tornado server; called about once a second.

        Args:
            connections: Tornado's ``HTTP1ServerConnection`` objects.
            now: ``time.monotonic``.
        """
        for connection in list(connections):
            stream = connection.stream
            reading = getattr(stream, "_read_future", None)
            if reading is None or not _is_due(stream):
                continue
            if now - self._since.setdefault(reading, now) > HEAD_SECONDS:
                log.info("a connection was closed: its request head took more than %g s", HEAD_SECONDS)
                stream.close()
        self._check_bodies(now)

    def _check_bodies(self, now: float) -> None:
        for connection in list(self._bodies):
            stream = connection.stream
            if stream is None or stream.closed() or connection._read_finished:
                self._bodies.discard(connection)
                continue
            reading = stream._read_future
            if reading is not None and now - self._since.setdefault(reading, now) > BODY_SECONDS:
                log.info("a connection was closed: nothing of a body came for %g s", BODY_SECONDS)
                stream.close()


def _is_due(stream: Any) -> bool:
    """Return whether a head is awaited: part of it, or of a TLS handshake, has arrived, or nothing ever has."""
    in_head = stream._read_regex is not None and stream._read_buffer_size > 0
    return in_head or stream._total_write_index == 0 or bool(getattr(stream, "_ssl_accepting", False))
