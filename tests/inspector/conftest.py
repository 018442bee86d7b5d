"""What all tests of the inspector share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Jupyter, start_usual
from tests.inspector.records import Transcript


@pytest.fixture(scope="package")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A server without the sessions of other tests, whose ends would be among the traffic that is inspected."""
    running = start_usual(tmp_path_factory.mktemp("inspected"))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def close_journals() -> Iterator[None]:
    """Close the files of all transcripts of a test."""
    yield
    while Transcript.used:
        Transcript.used.pop().journal.close()
