"""What is installed beside this package, and whether it is what the package declares.

Imports only the standard library and ``packaging`` (which Jupyter Server depends on), and only once something has
failed: it can say what is missing when nothing else of the package can be imported, and costs the commands no time.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from mcp_ws_ide.version import __version__

DISTRIBUTION: Final = "mcp-ws-ide"
"""The name under which this package is installed."""


class UnloadableError(RuntimeError):
    """The extension cannot be loaded; the message says what is missing, what is installed and how to mend it."""


class Unmet(NamedTuple):
    """A requirement of this package that the environment does not meet."""

    requirement: str
    """As ``pip install`` takes it."""
    name: str
    installed: str | None
    """The installed version; None if the package is missing."""

    def __str__(self) -> str:
        present = "is not installed" if self.installed is None else f"{self.installed} is installed"
        return f"{self.name} {present}, {self.requirement} is needed"


def unmet_requirements() -> Iterator[Unmet]:
    """Yield each declared requirement, extras excluded, that the installed packages do not meet."""
    from packaging.requirements import Requirement

    for line in _declared():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _installed(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            yield Unmet(f"{requirement.name}{requirement.specifier}", requirement.name, installed)


def warning() -> str | None:
    """Return one line about the requirements that are not met, or None if all are."""
    unmet = list(unmet_requirements())
    if not unmet:
        return None
    return f"{'; '.join(map(str, unmet))}; run: {_pip(*(one.requirement for one in unmet))}"


def explain(error: BaseException) -> str:
    """Return one line about an import that failed: what is missing, which version is installed, how to mend it."""
    failed = (
        f"mcp-ws-ide {__version__} cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}"
    )
    if (cure := warning()) is not None:
        return f"{failed}; {cure}"
    name = _distribution_of(error)
    if name is None:
        return f"{failed}; run: {_pip('--upgrade', DISTRIBUTION)}"
    return f"{failed}; {name} {_installed(name)} is installed; run: {_pip('--upgrade', DISTRIBUTION, name)}"


@contextmanager
def explained(*errors: type[Exception]) -> Iterator[None]:
    """End the program with one line on stderr instead of a traceback, if one of ``errors`` is raised."""
    try:
        yield
    except errors as error:
        raise SystemExit(explain(error)) from None


def _declared() -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # a source tree on sys.path
        return []


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _distribution_of(error: BaseException) -> str | None:
    """Return the installed package that the name of an ImportError belongs to, if it is not this one."""
    from importlib.metadata import packages_distributions

    module = (getattr(error, "name", None) or "").partition(".")[0]
    if not module or module == __package__:
        return None
    return next(iter(packages_distributions().get(module, ())), None)


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])
