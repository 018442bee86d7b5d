"""The lowest versions that ``pyproject.toml`` allows suffice; ``make bounds`` tries every extra and every Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import BOUND

PROBE = Path(__file__).with_name("bounds_probe.py")


def test_with_the_lowest_versions_the_extension_starts_and_a_tool_is_called(agents_python, tmp_path):
    done = subprocess.run(
        [agents_python, "-P", PROBE],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=2 * BOUND,
    )
    assert done.returncode == 0, done.stderr
    assert "websockets 15.0," in done.stdout, "make installs the lowest versions into .venv-agents"
