"""The server of :mod:`tests.servers.mangled` as a Python object, which writes whatever it likes to its stream."""

from __future__ import annotations

import json
from typing import Any

import anyio

from mcp_ws_ide.sdk import as_text
from tests.servers.mangled import mangled


class Mangled:
    """Has what servers of the MCP SDK have; answers in bytes, as texts, or as values where these can be written so."""

    def create_initialization_options(self) -> None:
        """Nothing is needed."""

    async def run(self, read: Any, write: Any, options: None) -> None:
        """Answer every request."""
        async with anyio.create_task_group() as tasks:
            async for message in read:
                request = json.loads(as_text(message))
                if "id" in request and "method" in request:
                    tasks.start_soon(self._answer, request, write)

    async def _answer(self, request: dict[str, Any], write: Any) -> None:
        data = mangled(request)
        seed = request.get("params", {}).get("arguments", {}).get("seed", 0)
        await write.send(_forms(data)[seed % 3])


def _forms(data: bytes) -> tuple[Any, Any, Any]:
    """Return an answer as bytes, as text and as a value, as far as it can be written so."""
    try:
        text = data.decode()
        value = json.loads(text)
    except ValueError:
        return data, data, data
    return data, text, value if json.dumps(value).encode() == data else text


server = Mangled()
