"""Lists whose cursors never end, repeat or lead nowhere: each ends, shows every item once, and says what was odd."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_ws_ide.core.pages import MAX_EMPTY, MAX_PAGES, Pages

A, B = ["a", "b", "c"], ["d", "e", "f"]


def follow(pages, answer, most: int = 1000):
    """Request pages until the list ends; return the items that are shown, and the number of requests."""
    cursor, shown = b"", []
    for number in range(1, most):
        names, following = answer(number, cursor)
        shown += [name for name in names if pages.is_new(name)]
        if not pages.goes_on(following):
            return shown, number
        cursor = following
    raise AssertionError("the list did not end")


@pytest.mark.parametrize("cursor", [b'""', b'"x"', b"5", b'{"a":1}'])
def test_a_list_ends_where_its_cursor_comes_back(cursor):
    pages = Pages()
    shown, requests = follow(pages, lambda number, asked: (A, cursor))
    assert (shown, requests) == (A, 2)
    assert "is repeated" in pages.note
    assert "3 items listed twice" in pages.note


def test_a_list_ends_where_its_cursors_run_in_a_circle():
    circle = {b"": b'"1"', b'"1"': b'"2"', b'"2"': b'"1"'}
    pages = Pages()
    shown, requests = follow(pages, lambda number, asked: ([f"{asked}"], circle[asked]))
    assert (len(shown), requests) == (3, 3)
    assert "is repeated" in pages.note


def test_a_list_of_ever_new_cursors_ends_where_pages_bring_nothing_new():
    pages = Pages()
    shown, requests = follow(pages, lambda number, asked: (A, b'"%d"' % number))
    assert (shown, requests) == (A, 2)
    assert "nothing new" in pages.note


def test_a_list_of_ever_new_items_ends_after_a_number_of_pages():
    pages = Pages()
    _, requests = follow(pages, lambda number, asked: ([str(number)], b'"%d"' % number))
    assert requests == MAX_PAGES
    assert f"more than {MAX_PAGES} pages" in pages.note


def test_an_empty_text_is_a_cursor_and_leads_to_a_real_page():
    pages = Pages()
    shown, requests = follow(pages, lambda number, asked: (B, b"") if asked else (A, b'""'))
    assert (shown, requests, pages.note) == (A + B, 2, "")


@pytest.mark.parametrize("last", [b"", b"null"])
def test_empty_pages_between_full_ones_are_passed_over(last):
    answers = [(A, b'"1"'), *[([], b'"%d"' % number) for number in range(2, MAX_EMPTY + 2)], (B, last)]
    pages = Pages()
    shown, requests = follow(pages, lambda number, asked: answers[number - 1])
    assert (shown, requests, pages.note) == (A + B, len(answers), "")


def test_a_list_of_empty_pages_ends():
    pages = Pages()
    assert follow(pages, lambda number, asked: ([], b'"%d"' % number))[1] == MAX_EMPTY + 1
    assert "nothing new" in pages.note


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), max_size=3), st.none() | st.sampled_from(["", "1", "2"]))
    )
)
def test_whatever_a_server_answers_the_list_ends_and_names_are_unique(script):
    pages = Pages()

    def answer(number: int, asked: bytes) -> tuple[list[str], bytes]:
        names, cursor = script[(number - 1) % len(script)] if script else ([], None)
        return names, json.dumps(cursor).encode()

    shown, requests = follow(pages, answer)
    assert len(shown) == len(set(shown))
    assert requests <= 4, "three cursors exist"
