"""What all tests of the inspector share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inspector.records import Transcript


@pytest.fixture(autouse=True)
def close_journals() -> Iterator[None]:
    """Close the files of all transcripts of a test."""
    yield
    while Transcript.used:
        Transcript.used.pop().journal.close()
