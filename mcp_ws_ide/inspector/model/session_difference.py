"""How two sessions differ: which requests only one of them has, and where requests and responses are not the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, Final

from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.inspector.model.difference import Difference, Path, content_of, differences
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, part

MAX_OPERATIONS: Final = 20_000
"""Requests of a session that are compared, because of the memory."""
MAX_PAIRS: Final = 25_000_000
"""Pairs of equal requests that may be tried after the equal beginnings and before the equal ends of two sessions.

It takes about 4 s to compare as many, for example those of two sessions of 5,000 equal requests.
"""


class TooManyOperationsError(UnusableArgumentError):
    """Two sessions are too long to be compared."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A request with its response, as the client saw them; ``answer`` is None without a response."""

    row: int
    seq: int
    what: str
    params: Any
    answer: Any

    @property
    def key(self) -> str:
        """What two operations must share to be compared: method, target and arguments."""
        given = part(self.params, "arguments")
        return f"{self.what} {json.dumps(given, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class SessionDifference:
    """One line of the result: an operation that only one session has, or two whose messages differ.

    Attributes:
        sign: ``-`` only in the first session, ``+`` only in the second, ``≠`` in both.
    """

    sign: str
    operation: Operation
    differences: tuple[Difference, ...] = ()


def operations(journal: Journal, session: str, rows: range | None = None) -> list[Operation]:
    """Return the requests of a session's client, in order; only those in ``rows`` of the journal, if given.

    Raises:
        TooManyOperationsError: there are more than :data:`MAX_OPERATIONS`.
    """
    store, found = journal.store, []
    number = next((n for n, text in enumerate(store.sessions.texts) if text == session), None)
    for row in range(store.first, store.end) if rows is None else rows:
        if row < store.first or store.session[row - store.first] != number:
            continue
        if store.kind_of(row) is not Kind.REQUEST or store.lane_of(row) not in CLIENT_LEG:
            continue
        answer = store.linked(store.pair, row)
        content = None if answer is None else content_of(store.body(answer).text)
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name in ("result", "error")}
        params = part(content_of(store.body(row).text), "params")
        what = f"{store.method_of(row)} {store.target_of(row)}".strip()
        found.append(Operation(row, store.seq[row - store.first], what, params, content))
        check_count(found)
    return found


def check_count(found: Sequence[Operation]) -> None:
    """Raise TooManyOperationsError if there are more than :data:`MAX_OPERATIONS`."""
    if len(found) > MAX_OPERATIONS:
        raise TooManyOperationsError(
            f"a session has more than {MAX_OPERATIONS} requests; compare shorter sessions"
        )


def session_differences(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path] = ()
) -> Iterator[SessionDifference]:
    """Yield how the second session differs from the first, in order.

    Requests are paired by method, target and arguments; where these were replaced, by method and target.

    Raises:
        TooManyOperationsError: there are more than :data:`MAX_PAIRS` ways to pair equal requests.
    """
    keys, others = [one.key for one in before], [one.key for one in after]
    start = _alike(keys, others)
    end = _alike(keys[start:][::-1], others[start:][::-1])
    middle, other_middle = slice(start, len(before) - end), slice(start, len(after) - end)
    repeated = Counter(others[other_middle])
    if sum(repeated[key] for key in keys[middle]) > MAX_PAIRS:
        raise TooManyOperationsError(
            "the sessions repeat the same requests too often to be paired; compare shorter sessions"
        )
    yield from _pairwise(before[:start], after[:start], ignore)
    yield from _aligned(before[middle], after[other_middle], ignore)
    yield from _pairwise(before[len(before) - end :], after[len(after) - end :], ignore)


def _alike(keys: Sequence[str], others: Sequence[str]) -> int:
    """Return how many keys two lists begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(keys, others, strict=False)))


def _pairwise(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path]
) -> Iterator[SessionDifference]:
    for one, other in zip(before, after, strict=True):
        yield from _compared(one, other, ignore)


def _aligned(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path]
) -> Iterator[SessionDifference]:
    matcher = SequenceMatcher(None, [one.key for one in before], [one.key for one in after], autojunk=False)
    for tag, start, end, begin, stop in matcher.get_opcodes():
        pair = _pairwise if tag == "equal" else _replaced
        yield from pair(before[start:end], after[begin:stop], ignore)


def _replaced(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path]
) -> Iterator[SessionDifference]:
    matcher = SequenceMatcher(None, [one.what for one in before], [one.what for one in after], autojunk=False)
    for tag, start, end, begin, stop in matcher.get_opcodes():
        if tag == "equal":
            yield from _pairwise(before[start:end], after[begin:stop], ignore)
            continue
        yield from (SessionDifference("-", one) for one in before[start:end])
        yield from (SessionDifference("+", one) for one in after[begin:stop])


def _compared(one: Operation, other: Operation, ignore: Sequence[Path]) -> Iterator[SessionDifference]:
    pairs = (
        {"params": one.params, **_members(one.answer)},
        {"params": other.params, **_members(other.answer)},
    )
    found = tuple(differences(*pairs, ignore))
    if found:
        yield SessionDifference("≠", other, found)


def _members(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {"response": answer}


def lines(found: SessionDifference, most: int = 50) -> Iterator[str]:
    """Yield the lines that report one difference; a peer's text in them is not escaped."""
    operation = found.operation
    given = part(operation.params, "arguments")
    arguments = f" {json.dumps(given, ensure_ascii=False)[:200]}" if found.sign in "+-" and given else ""
    yield f"{found.sign} #{operation.seq} {operation.what}{arguments}"
    for difference in found.differences[:most]:
        yield f"    {difference}"
    if len(found.differences) > most:
        yield f"    … and {len(found.differences) - most} more"
