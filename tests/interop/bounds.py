"""``make bounds``: install the wheel with the lowest and the newest versions that ``pyproject.toml`` allows.

Each extra alone, none, and all together, on every Python from 3.11 on that is found here; in each environment
:mod:`bounds_probe` imports the package, starts Jupyter and calls a tool. ``--quick`` does one of them. Needs uv, which
installs the lowest versions; Python versions that are not found are named, and not tried.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("bounds_probe.py")
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
RESOLUTIONS = ("lowest-direct", "highest")
NOT_FOR_USERS = frozenset({"test", "check", "docs"})
"""Extras for work on the project, which nobody installs from the wheel."""


class Environment(NamedTuple):
    """One environment to try."""

    python: str
    extras: tuple[str, ...]
    resolution: str

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else "no extra"
        return f"Python {self.python}, {extras}, {self.resolution}"


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run uv, and never let it download a Python."""
    program = Path(sys.executable).with_name("uv")
    return run(program if program.exists() else "uv", "--quiet", "--no-python-downloads", *arguments)


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its status and output."""
    environment = {
        **os.environ,
        "UV_NATIVE_TLS": "1",
        "UV_SYSTEM_CERTS": "1",
    }  # the same setting, old and new name
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )


def extras_for_users() -> list[str]:
    """Return the extras that users install."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    return [extra for extra in extras if extra not in NOT_FOR_USERS]


def find_pythons() -> dict[str, str]:
    """Return the path of each Python of :data:`PYTHONS` that is installed, also below ``~/.pyenv``."""
    found = {}
    for wanted in PYTHONS:
        done = uv("python", "find", "--no-project", "--system", wanted)
        beneath = sorted((Path.home() / ".pyenv" / "versions").glob(f"{wanted}.*/bin/python"))
        if beneath:
            found[wanted] = str(beneath[-1])
        elif done.returncode == 0:
            found[wanted] = done.stdout.strip()
    return found


def choices(pythons: dict[str, str], extras: list[str]) -> list[Environment]:
    """Return every environment to try."""
    sets = [(), *((extra,) for extra in extras), tuple(extras)]
    return [Environment(*choice) for choice in product(pythons, sets, RESOLUTIONS)]


def failure_of(environment: Environment, interpreter: str, wheel: Path, folder: Path) -> str | None:
    """Install and probe one environment; return what went wrong, or None.

    The versions come from the checkout's ``pyproject.toml``: uv takes what a wheel depends on for indirect.
    """
    python, pinned = folder / "bin" / "python", folder / "pinned.txt"
    extras = [argument for extra in environment.extras for argument in ("--extra", extra)]
    resolution = ("--resolution", environment.resolution, "--python", python, "--output-file", pinned)
    steps = (
        lambda: uv("venv", "--python", interpreter, folder),
        lambda: uv("pip", "compile", ROOT / "pyproject.toml", *extras, *resolution),
        lambda: uv("pip", "install", "--python", python, "--requirements", pinned, wheel),
        lambda: run(python, "-P", PROBE, cwd=folder),
    )
    for step in steps:
        done = step()
        if done.returncode:
            return (done.stdout + done.stderr)[-3000:]
    print(f"{environment}: {done.stdout.strip()}", flush=True)
    shutil.rmtree(folder)
    return None


def main() -> None:
    """Try every environment, or those that the options name; exit with 1 if one fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="only [openai-agents] at its lowest, on the oldest Python"
    )
    parser.add_argument("--jobs", type=int, default=2, help="environments at a time (default 2)")
    options = parser.parse_args()
    pythons = find_pythons()
    missing = [python for python in PYTHONS if python not in pythons]
    environments = choices(pythons, extras_for_users())
    if options.quick:
        environments = [Environment(next(iter(pythons)), ("openai-agents",), "lowest-direct")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        built = uv("build", "--wheel", "--out-dir", folder, ROOT)
        assert built.returncode == 0, built.stderr
        (wheel,) = folder.glob("*.whl")
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(
                pool.map(
                    lambda numbered: failure_of(numbered[1], pythons[numbered[1].python], wheel, folder / str(numbered[0])),
                    enumerate(environments),
                )
            )  # fmt: skip
    failures = [(one, failure) for one, failure in zip(environments, outcomes, strict=True) if failure]
    for environment, failure in failures:
        print(f"\n--- {environment}: FAILED\n{failure}")
    if missing:
        print(f"not tried, since not found here: Python {', '.join(missing)}")
    print(f"{len(environments) - len(failures)} of {len(environments)} environments work")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
