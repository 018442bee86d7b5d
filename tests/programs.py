"""The programs and environments that tests run against."""

import pytest


def need(present: object, what: str) -> None:
    """Fail where something that a test runs against is missing. It is never skipped: nobody would notice."""
    if not present:
        pytest.fail(
            f"{what} is missing: '.ci/run programs' installs the programs of the system, 'make environments' all else",
            pytrace=False,
        )
