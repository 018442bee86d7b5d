"""What Capabilities shows of lists whose cursors run in a circle, or whose pages repeat an entry."""

from __future__ import annotations

from tests.inspector.records import Transcript


def listed(transcript: Transcript, number: int, asked: str | None, names: str, following: str | None) -> None:
    params = {} if asked is None else {"cursor": asked}
    transcript.send(">s", {"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": params})
    result = {
        "tools": [{"name": name} for name in names],
        **({} if following is None else {"nextCursor": following}),
    }
    transcript.send("<s", {"jsonrpc": "2.0", "id": number, "result": result})


def test_a_cursor_that_repeats_is_noted_and_forgotten_when_the_list_is_sound_again():
    for cursor in ("", "x"):
        transcript = Transcript()
        listed(transcript, 1, None, "abc", cursor)
        catalogue = transcript.journal.catalogues["demo"]
        assert catalogue.notes == {}
        listed(transcript, 2, cursor, "abc", cursor)
        assert f"the cursor {cursor!r} is repeated" in catalogue.notes["tools"]
        assert [name for name, _ in catalogue.items["tools"]] == ["a", "b", "c"]
        listed(transcript, 3, None, "abc", None)
        assert catalogue.notes == {}


def test_a_circle_of_cursors_is_noted():
    transcript = Transcript()
    for number, (asked, following) in enumerate([(None, "1"), ("1", "2"), ("2", "1")]):
        listed(transcript, number, asked, f"{number}", following)
    assert "repeated" in transcript.journal.catalogues["demo"].notes["tools"]


def test_two_sessions_that_list_side_by_side_make_no_circle():
    transcript = Transcript()
    for number, (asked, following) in enumerate(
        [(None, "1"), (None, "1"), ("1", "2"), ("1", "2"), ("2", None), ("2", None)]
    ):
        listed(transcript, number, asked, f"{asked or 0}", following)
        assert transcript.journal.catalogues["demo"].notes == {}


def test_an_entry_that_a_page_lists_twice_is_noted_and_shown_once():
    transcript = Transcript()
    listed(transcript, 1, None, "aba", None)
    catalogue = transcript.journal.catalogues["demo"]
    assert catalogue.notes == {"tools": "1 listed twice"}
    assert len(catalogue.items["tools"]) == 2
