"""Interrupted writes of the user's own file; handlers/test_editor.py tests the rest over REST."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcp_ws_ide.config.consents import Consents
from mcp_ws_ide.config.document import Snapshot
from mcp_ws_ide.config.editor import ConfigEditor, EditRefusedError
from mcp_ws_ide.config.load import load as load_configuration
from mcp_ws_ide.config.spec import Configuration, ServerSpec
from tests.conftest import BOUND, until

CHANGED = {"command": "sh", "args": ["-c", "other"]}


class Slow:
    """An editor whose writes of the file wait for :attr:`go_on`."""

    def __init__(self, home: Path) -> None:
        self.path = home / "mcp.json"
        self.path.write_text(json.dumps({"mcpServers": {"s": {"command": "true"}}}))
        self.go_on, self.writing = threading.Event(), threading.Event()
        self.editor = ConfigEditor(
            str(self.path), Consents(home / "consents.json"), allowed=True, reload=self.reload
        )
        self._write = self.editor._file.write
        self.editor._file.write = self.write  # type: ignore[method-assign]

    def write(self, before: Snapshot, text: str) -> str:
        self.writing.set()
        assert self.go_on.wait(BOUND)
        return self._write(before, text)

    def load(self) -> Configuration:
        return load_configuration({}, [str(self.path)], [], os.environ, consent=self.editor.needed)

    def reload(self, force: bool = False) -> Mapping[str, ServerSpec]:
        return self.load().servers

    def begin(self) -> asyncio.Task[object]:
        """Save the entry without a consent."""
        version = self.editor._file.read().version
        return asyncio.create_task(self.editor.save("s", CHANGED, version, None, "me"))

    def entry(self) -> object:
        return json.loads(self.path.read_text())["mcpServers"]["s"]


@pytest.fixture
def slow(tmp_path):
    slow = Slow(tmp_path)
    yield slow
    slow.go_on.set()


async def test_a_save_cancelled_while_it_writes_starts_nothing_without_consent(slow):
    assert slow.load().servers["s"].disabled_reason is None, "nobody has to agree to what was written by hand"
    saving = slow.begin()
    await until(slow.writing.is_set)
    saving.cancel()
    await asyncio.wait({saving}, timeout=0)
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await until(lambda: slow.entry() == CHANGED)
    waiting = slow.load().servers["s"]
    assert waiting.consent is not None, "what stands there waits for one"
    assert waiting.disabled_reason is not None


async def test_the_next_save_waits_until_a_cancelled_one_has_been_written(slow):
    first = slow.begin()
    await until(slow.writing.is_set)
    second = slow.begin()
    first.cancel()
    slow.go_on.set()
    with pytest.raises(EditRefusedError) as refused:
        await second
    assert refused.value.status == 412
    assert slow.entry() == CHANGED
    assert slow.load().servers["s"].consent is not None


async def test_a_failed_write_leaves_the_consent_unchanged(slow):
    saving = slow.begin()
    await until(slow.writing.is_set)
    slow.path.write_text(json.dumps({"mcpServers": {"s": {"command": "false"}}}))
    slow.go_on.set()
    with pytest.raises(EditRefusedError) as refused:
        await saving
    assert refused.value.status == 412
    assert slow.load().servers["s"].consent is None
