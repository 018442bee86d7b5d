"""The gateway without HTTP: links that a test holds, and what becomes of mistakes of our own."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mcp_ws_ide.config import Configuration, ServerSpec
from mcp_ws_ide.gateway import Gateway, Limits, LinkInfo
from tests.conftest import MODERN, until


class HeldLink:
    """A client's link."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closes: list[tuple[int, str]] = []

    def send(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def set_reading(self, reading: bool) -> None:
        pass

    def bind(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("meta", [{}, {"_meta": MODERN}])
async def test_a_mistake_while_attaching_answers_whoever_waits(meta, caplog):
    gateway = Gateway(Limits())

    def fails(spec: ServerSpec, principal: str) -> None:
        raise ValueError("a bug")

    gateway._make_transport = fails
    gateway.configure(Configuration({"a": ServerSpec("a", "test", command="x")}, []))
    link = HeldLink()
    session = gateway.open_session(gateway.servers["a"], link, LinkInfo("me"))
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": meta}
    session.receive(json.dumps(request).encode(), time.perf_counter())
    await until(lambda: link.sent)
    assert link.sent[0]["id"] == 1
    assert "internal error" in link.sent[0]["error"]["message"]
    assert "a bug" in caplog.text
    await gateway.aclose()
