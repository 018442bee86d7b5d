"""The environment of the suite: no test depends on the caller's variables or signal actions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.conftest import BOUND, TESTS

CHILD = """
import json, os, signal, subprocess, sys

def test_a_child():
    program = "import json, os, signal; print(json.dumps([sorted(os.environ), signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGHUP) == signal.SIG_DFL]))"
    print("CHILD", subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)
"""


def test_children_of_tests_have_default_signals_and_no_settings_of_python(tmp_path):
    """A run as ``nohup make test &`` of a script makes it, with variables that change how Python behaves."""
    (tmp_path / "test_child.py").write_text(CHILD)
    command = ["sh", "-c", 'trap "" INT QUIT HUP; exec "$@"', "sh", sys.executable, "-m", "pytest", "-s"]
    done = subprocess.run(
        [*command, "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "JUPYTER_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    told = next((line for line in done.stdout.splitlines() if "CHILD" in line), None)
    assert told is not None, done.stdout + done.stderr
    names, interruptible, can_hang_up = json.loads(told.partition("CHILD")[2])
    assert (interruptible, can_hang_up) == (True, True)
    assert [name for name in names if name.startswith(("PYTHON", "JUPYTER"))] == ["PYTHONPATH"]


def test_make_passes_on_only_the_variables_it_names():
    kept = {
        "HOME": "/h o'me",
        "PATH": os.environ["PATH"],
        "PIP_CERT": "$x",
        "CI": "1",
        "https_proxy": "http://p:1",
    }
    rule = "show: ; @$(CLEAN) env -0"
    done = subprocess.run(
        ["make", "--no-print-directory", "--silent", "--eval", rule, "show"],
        cwd=TESTS.parent,
        env={**kept, "PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": "-x", "SECRET": "s", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert dict(line.partition("=")[::2] for line in done.stdout.split("\0") if line) == kept, done.stderr
