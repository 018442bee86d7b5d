"""The filter language, held to tests/vectors/filters.json like the page's implementation."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from mcp_ws_ide.inspector.model import filters
from mcp_ws_ide.inspector.model.journal import Journal

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "filters.json").read_text())
CASES = [(case["filter"], case["matches"]) for case in VECTORS["cases"]]
ERRORS = [(case["filter"], case["position"]) for case in VECTORS["errors"]]


@pytest.fixture(scope="module")
def journal():
    with closing(Journal()) as journal:
        journal.feed([json.dumps(record) for record in VECTORS["records"]])
        yield journal


@pytest.mark.parametrize(("text", "matches"), CASES)
def test_a_filter_matches_the_rows_of_the_vectors(journal, text, matches):
    assert list(filters.parse(text).rows(journal.store)) == matches


@pytest.mark.parametrize(("text", "position"), ERRORS)
def test_an_error_points_at_the_character_of_the_vectors(text, position):
    with pytest.raises(filters.FilterError) as caught:
        filters.parse(text)
    assert caught.value.position == position


def test_the_vectors_have_every_key_and_limit():
    assert set(VECTORS["keys"]) == set(filters.KEYS)
    assert VECTORS["limits"] == {"characters": filters.MAX_FILTER, "depth": filters.MAX_DEPTH}


@pytest.mark.parametrize("key", [key for key, rule in VECTORS["keys"].items() if "values" in rule])
def test_every_value_of_the_vectors_is_known(key):
    for value in VECTORS["keys"][key]["values"]:
        filters.parse(f"{key}:{value}")


@pytest.mark.parametrize("key", [key for key, rule in VECTORS["keys"].items() if "units" in rule])
def test_every_unit_of_the_vectors_is_known(key):
    for unit in VECTORS["keys"][key]["units"]:
        filters.parse(f"{key}:{'' if key == 'since' else '>'}1{unit}")
