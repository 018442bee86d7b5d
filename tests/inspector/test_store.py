"""Rows in arrays, texts in a file: bounded, and searched in whole."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_ws_ide.inspector.model import ranking as ranking_module
from mcp_ws_ide.inspector.model import store as store_module
from mcp_ws_ide.inspector.model import view as view_module
from mcp_ws_ide.inspector.model.filters import FilterError, of_session, parse
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.ranking import NUMBERS, TEXTS, Ranking
from mcp_ws_ide.inspector.model.store import MARKED
from mcp_ws_ide.inspector.model.view import View, representative
from tests.inspector.records import Transcript, call, done


@pytest.fixture
def talk():
    transcript = Transcript()
    yield transcript
    transcript.journal.close()


def test_texts_are_stored_unchanged(talk):
    row = talk.send("c>", call("i\u00e9\n", "t\n\n"))
    body = talk.journal.store.body(row)
    assert body.id == '"i\\u00e9\\n"'
    assert '"t\\n\\n"' in body.text


def test_the_oldest_rows_are_dropped_first_and_counted():
    talk = Transcript(max_records=160)
    for number in range(1000):
        talk.send("c>", call(number))
    store = talk.journal.store
    assert 150 <= len(store) <= 160
    assert store.forgotten == store.first == 1000 - len(store)
    assert store.body(store.end - 1).id == "999"
    with pytest.raises(KeyError):
        store.body(store.first - 1)
    talk.journal.close()


def test_the_text_has_a_bound_of_its_own(monkeypatch):
    monkeypatch.setattr(store_module, "SEGMENT", 2000)
    talk = Transcript(max_spill=10_000)
    for number in range(500):
        talk.send("c>", call(number))
    store = talk.journal.store
    assert 0 < len(store) < 150
    assert [store.body(row).id for row in range(store.first, store.end)] == [
        str(number) for number in range(store.first, 500)
    ]
    found = list(parse("tools").rows(store))
    assert found == list(range(store.first, store.end))
    talk.journal.close()


@settings(max_examples=30)
@given(
    st.lists(st.text(alphabet="ab\n", max_size=12), min_size=1, max_size=40),
    st.sampled_from(["ab", "b+a", "a$", "^b"]),
)
def test_a_search_finds_exactly_the_rows_whose_own_text_matches(texts, pattern):
    journal = Journal()
    talk = Transcript()
    talk.journal.close()
    talk.journal = journal
    for text in texts:
        talk.journal.feed([talk.line(kind="noise", leg="upstream", direction="in", raw=text, event="stderr")])
    compiled = re.compile(pattern.encode(), re.MULTILINE)
    found = journal.store.matching(compiled, 0, len(texts))
    assert [bool(hit) for hit in found] == [bool(compiled.search(b"\n%b\n" % t.encode())) for t in texts]
    journal.close()


def traffic(talk: Transcript) -> None:
    """Rows 0 … 8."""
    talk.send("c>", call(1, "run_cell"))
    talk.send(">s", call(1, "run_cell"), origin_session="s1", origin_id=1)
    talk.send("<s", done(1, isError=True))
    talk.send("c<", done(1, isError=True))
    talk.send("c>", call("1", "read"), session="s2", server="other")
    talk.event("link_lost", "1006")
    talk.send("c>", "[1, 2]")
    talk.send("c>", {"method": "notifications/x", "params": {"text": "two words"}})
    talk.send("c<", {"method": "notifications/y"})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("tool:run*", [0, 1, 2, 3]),
        ("tool:run* leg:client", [0, 3]),
        ("tool:run* & leg:client | server:other", [0, 3, 4]),
        ("!(tool:run* | server:other)", [5, 6, 7, 8]),
        ("method:tools/call kind:request", [0, 1, 4]),
        ("kind:req", [0, 1, 4]),
        ("kind:event", [5]),
        ("status:failed", [0, 1, 2, 3]),
        ("status:pending", [4]),
        ("session:s2", [4]),
        ("id:1", [0, 1, 2, 3]),
        ('id:"1"', [4]),
        ("dir:client", [2, 3, 8]),
        ("lat:>20", [0, 3]),
        ("lat:<20", [1, 2]),
        ('"two words"', [7]),
        ("two words", [7]),
        ("~two.words", [7]),
        ('~"two w"', [7]),
        ("is:problem", [0, 1, 2, 3, 5, 6]),
        ("is:marked", []),
        ("size:>1k", []),
        ("since:1h since:00:00", []),
        ("! tool:* kind:notification", [7, 8]),
    ],
)
def test_filters_match_as_documented(talk, text, rows):
    traffic(talk)
    if text.startswith("since"):  # the transcript's clock is not today's
        assert list(parse(text).rows(talk.journal.store)) in ([], list(range(9)))
    else:
        assert list(parse(text).rows(talk.journal.store)) == rows


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("tool:", 5, "value"),
        ("tol:x", 0, "tool"),
        ("a (b", 2, "not closed"),
        ("a) b", 1, "no matching"),
        ("a | | b", 4, "missing"),
        ("!", 1, "missing"),
        ("lat:fast", 4, "comparison"),
        ("lat:>5x", 4, "comparison"),
        ("kind:nonsense", 5, "not one of"),
        ('id:"7', 3, "quotes"),
        ('say "hello', 4, "quote"),
        ("~a(b", 2, "regular expression"),
        ("since:noon", 6, "time"),
        ("is:odd", 3, "not one of"),
        ("(" * 100, 51, "parentheses"),
    ],
)
def test_the_error_of_a_filter_has_its_position(text, position, word):
    with pytest.raises(FilterError, match=word) as error:
        parse(text)
    assert error.value.position == position


@given(st.text(alphabet='ab:()|&!~"*\\ lat>5id', max_size=40))
def test_any_line_is_a_filter_or_an_error_within_it(text):
    try:
        parse(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)


def test_folding_leaves_one_row_per_operation(talk):
    traffic(talk)
    view = View(talk.journal.store)
    view.apply(None, folding=True)
    assert list(view.rows) == [0, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("text", ["kind:response", "dir:client", "leg:upstream", "status:failed", "isError"])
def test_folding_hides_no_operation_of_which_a_message_matches(talk, text):
    traffic(talk)
    view = View(talk.journal.store)
    view.apply(parse(text), folding=True)
    assert view.rows[0] == 0


def test_a_session_includes_its_part_of_a_shared_server(talk):
    talk.send("c>", call("a"))
    talk.send(">s", call(9), session=None, origin_session="s1", origin_id="a")
    talk.send(">s", call(10), session=None, origin_session="s3", origin_id="a")
    talk.send("<s", done(9), session=None)
    talk.send("c<", done("a"))
    assert list(of_session("s1").rows(talk.journal.store)) == [0, 1, 3, 4]


@pytest.mark.parametrize("folding", [False, True])
@pytest.mark.parametrize(
    "text", ["", "tool:run*", "status:pending", "!status:pending lat:>15", "id:3", "~[3-5]", "kind:response"]
)
def test_a_view_that_is_updated_shows_what_a_new_one_would(text, folding):
    talk = Transcript(max_records=1000 if folding else 100)  # a request that is forgotten leaves its response
    journal = talk.journal
    view = View(journal.store)
    view.apply(parse(text), folding)
    pending = []
    for number in range(200):
        changes = [journal.feed([talk.message("c>", call(number, "run" if number % 2 else "read"))])]
        if number % 4:
            origin = {"origin_session": "s1", "origin_id": number, "session": None}
            changes.append(journal.feed([talk.message(">s", call(1000 + number), **origin)]))
        pending.append(number)
        if number % 3 == 0:
            answered = pending.pop(-min(9, len(pending)))
            changes.append(journal.feed([talk.message("<s", done(1000 + answered), session=None)]))
            changes.append(journal.feed([talk.message("c<", done(answered))]))
        view.update(changes)
        rows = parse(text).rows(journal.store)
        assert list(view.rows) == (
            sorted({representative(journal.store, row) for row in rows}) if folding else list(rows)
        )
    journal.close()


@pytest.mark.parametrize("folding", [False, True])
@pytest.mark.parametrize("text", ["~[3-5]", "status:ok", "kind:response ~run"])
def test_a_filter_that_is_applied_in_slices_while_records_come_misses_none(monkeypatch, text, folding):
    monkeypatch.setattr(view_module, "FOLDED_SLICE" if folding else "SLICE", 7)
    talk = Transcript(max_records=500)
    journal, view = talk.journal, View(talk.journal.store)
    for number in range(100):
        talk.send("c>", call(number, "run"))
    view.begin(parse(text), folding)
    steps = 0
    for number in range(60):
        changes = [
            journal.feed([talk.message("c<", done(number))]),
            journal.feed([talk.message("c>", call(100 + number))]),
        ]
        view.update(changes)
        if view.needs_search and view.left:
            view.search(view.texts())
        steps += view.step()
    assert (steps, view.left) == (14, 0)
    rows = parse(text).rows(journal.store)
    assert list(view.rows) == (
        sorted({representative(journal.store, row) for row in rows}) if folding else list(rows)
    )
    journal.close()


def test_a_slice_has_a_bound_in_bytes(monkeypatch):
    monkeypatch.setattr(view_module, "SLICE_BYTES", 1000)
    talk = Transcript()
    for number in range(5):
        talk.send("c>", call(number, "x" * (2000 if number == 2 else 100)))
    view, seen = View(talk.journal.store), []
    view.begin(parse("~x{50}"))
    while view.left:
        texts = view.texts()
        seen.append((texts.start, texts.end))
        view.search(texts)
        view.step()
    assert seen == [(3, 5), (2, 3), (0, 2)]
    assert list(view.rows) == [0, 1, 2, 3, 4]


def test_marks_stay_with_their_row(talk):
    traffic(talk)
    talk.journal.store.set_flag(4, MARKED)
    assert list(parse("is:marked").rows(talk.journal.store)) == [4]


def test_a_line_that_is_no_record_is_counted(talk):
    talk.journal.feed(["{", "[]", '{"seq": "x"}', "null"])
    assert (len(talk.journal.store), talk.journal.problem_counts["unreadable"]) == (0, 4)


def test_drops_of_the_gateway_are_summed_over_links(talk):
    talk.journal.feed([talk.line(event="a", drops=3), talk.line(event="b", drops=5)])
    talk.journal.gap(0, 0, "reconnected")
    talk.journal.feed([talk.line(event="c", drops=2)])
    assert talk.journal.missed == 7


def test_memory_for_names_chosen_by_peers_is_bounded():
    names = store_module.Names(limit=10)
    for number in range(100):
        names.number(f"n{number}" * 1000)
    assert len(names.texts) <= 11
    assert max(map(len, names.texts)) <= store_module.MAX_NAME


@pytest.mark.parametrize("name", ["total", "size", "server", "st", "upstr"])
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_stay_sorted_while_records_come_and_change(monkeypatch, name, reverse):
    monkeypatch.setattr(ranking_module, "SLICE", 11)
    monkeypatch.setattr(ranking_module, "MOST", 30)
    talk = Transcript()
    journal, chance = talk.journal, random.Random(5)
    for number in range(80):
        talk.send("c>", call(number, "x" * chance.randrange(50)), server=chance.choice("abc"))
    view = View(journal.store, parse("kind:request"))
    ranking = Ranking(journal.store, view, name, reverse)
    for number in range(80):
        changes = journal.feed([talk.message("c<", done(number), mono=talk.mono + chance.random())])
        more = journal.feed([talk.message("c>", call(100 + number, "y" * chance.randrange(99)))])
        view.update([changes, more])
        ranking.update([changes, more])
        ranking.step()
    assert ranking.left == 0
    value = (NUMBERS | TEXTS)[name]
    valued = [found for row in view.rows if (found := value(journal.store, row)) is not None]
    best = sorted(valued, reverse=(name in NUMBERS) is not reverse)[:30]
    assert [value(journal.store, row) for row in ranking.rows] == best
