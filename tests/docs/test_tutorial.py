"""docs/start/tutorial.md, word by word: its commands and programs, against a real Jupyter server.

Three shells act as the three terminals. Commands must print the output shown, in that order; ``…`` matches
anything. Only the installation is omitted: tests/test_packaging.py installs the wheel.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BOUND, wait_until

TUTORIAL = Path(__file__).parents[2] / "docs" / "start" / "tutorial.md"
BLOCK = re.compile(r'^```(console|python) title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Terminal:
    """A shell whose commands and output can be followed."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self._log = folder / f"{name}.log"
        self._seen = 0
        with self._log.open("wb") as log:
            self.shell = subprocess.Popen(
                ["bash", "--norc"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, command: str) -> None:
        self._seen = self._log.stat().st_size
        assert self.shell.stdin is not None
        self.shell.stdin.write(f"{command}\n".encode())
        self.shell.stdin.flush()

    def expect(self, line: str) -> None:
        """Wait for a line after the last expected one."""
        pattern = ".*?".join(re.escape(part.strip()) for part in line.strip().split("…"))

        def printed() -> re.Match[str] | None:
            return re.search(pattern, self._unseen())

        found = wait_until(printed, BOUND, f"the line {line!r} after {self._unseen()[-500:]!r}")
        self._seen += len(self._unseen()[: found.end()].encode())

    def _unseen(self) -> str:
        return self._log.read_bytes()[self._seen :].decode()

    def end(self) -> None:
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.communicate(timeout=BOUND)


class Reader:
    """A reader who follows the tutorial."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._terminals: dict[str, Terminal] = {}

    def follow(self, kind: str, title: str, text: str) -> None:
        if kind == "python":
            (self._folder / title).write_text(text)
            return
        terminal = self._terminals.get(title) or Terminal(self._folder, title, self._environment())
        self._terminals[title] = terminal
        for line in text.splitlines():
            if line.startswith("$ "):
                terminal.run(line.removeprefix("$ "))
            else:
                terminal.expect(line)

    def _environment(self) -> dict[str, str]:
        """That of a user with a home of their own; as root, Jupyter must be allowed to start."""
        configuration = self._folder / "config"
        configuration.mkdir(exist_ok=True)
        options = {"ServerApp": {"allow_root": True, "port": 0}}
        (configuration / "jupyter_server_config.json").write_text(json.dumps(options))
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "MCP_WS_TOKEN"))
        }
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "PYTHONUNBUFFERED": "1",
            **{
                f"JUPYTER_{kind}_DIR": str(self._folder / kind.lower())
                for kind in ("CONFIG", "DATA", "RUNTIME")
            },
        }

    def leave(self) -> None:
        for terminal in self._terminals.values():
            terminal.end()


@pytest.fixture
def reader(tmp_path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.heavy
def test_the_tutorial_works_as_it_is_written(reader):
    blocks = BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))
    assert len(blocks) >= 10
    for kind, title, text in blocks:
        reader.follow(kind, title, text)
