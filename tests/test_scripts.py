"""The console scripts, as an installer generates them from pyproject.toml."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mcp_ws_ide.scripts import INTERRUPTED
from tests.conftest import BOUND

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
SCRIPTS = PYPROJECT["project"]["scripts"]
SLOW_IMPORT = "print('importing', flush=True)\nimport signal\nwhile True:\n    signal.pause()\n"


def generated(script: str, before: str = "") -> list[str]:
    module, _, function = SCRIPTS[script].partition(":")
    return [
        sys.executable,
        "-c",
        f"{before}import sys\nfrom {module} import {function} as main\nsys.exit(main())",
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interrupt_during_imports_prints_no_traceback(script, tmp_path):
    for name in ("anyio", "msgspec", "jupyter_core", "websockets"):  # each script imports one of them
        (tmp_path / f"{name}.py").write_text(SLOW_IMPORT)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    process = subprocess.Popen(
        generated(script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "importing\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=BOUND)
        finally:
            process.kill()
    assert (process.returncode, errors) == (INTERRUPTED, "")


def test_an_ignored_interrupt_stays_ignored():
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nimport atexit\n"
    report = "atexit.register(lambda: print(signal.getsignal(signal.SIGINT).name))\n"
    done = subprocess.run(
        [*generated("mcp-ws-connect", ignore + report), "--version"],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=True,
    )
    assert done.stdout.split()[-1] == "SIG_IGN"
