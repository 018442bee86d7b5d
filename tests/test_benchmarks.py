"""The benchmark of scale, in its short form; that its figures are good is for people to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="its load client and its floor use epoll")
def test_bench_scale_prints_its_tables_and_draws_them(tmp_path):
    plot = tmp_path / "scale.svg"
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "--quick", "--rounds", "1"]
    done = subprocess.run([*command, "--plot", str(plot)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows == ["clients", "1", "32", "servers", "1", "3", "bytes", "100", "65,536"]
    assert "GiB to the server and back" in done.stdout
    assert plot.read_text().count("<polyline") == 6
