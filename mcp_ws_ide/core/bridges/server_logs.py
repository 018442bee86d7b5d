"""The log level of a handshake-era server, where each modern request has its own (docs/reference/eras.md). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mcp_ws_ide.core import log_levels, messages
from mcp_ws_ide.core.bridges.server_subscriptions import Ask, ignore
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.lenient_json import encode


class ServerLogs:
    """The level of one server: the most verbose one that an open request asks for.

    Args:
        ask: sends requests to the server.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._verbosity = 0
        self.offered = False
        """Whether the server sends logs."""

    def begin(self, meta: dict[str, Any], others: Iterable[int], step: Step) -> int:
        """Return the verbosity that a new request asks for, 0 for none; set the level if it has to change.

        Args:
            meta: the ``_meta`` of the request, whose level is valid.
            others: the verbosity of the other open requests.
        """
        level = meta.get(messages.LOG_LEVEL_KEY)
        if level is None or not self.offered:
            return 0
        verbosity = log_levels.verbosity(level)
        wanted = max(verbosity, *others, 0)
        if wanted != self._verbosity:
            self._verbosity = wanted
            self._ask(step, "logging/setLevel", encode({"level": log_levels.LEVELS[-wanted]}), ignore)
        return verbosity
