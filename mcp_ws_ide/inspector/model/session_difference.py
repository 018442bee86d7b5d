"""How two sessions differ: which requests only one of them has, and where requests and responses are not the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from mcp_ws_ide.inspector.model.difference import Difference, Path, content_of, differences
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, Kind, part

MAX_OPERATIONS: Final = 20_000
"""Requests of a session that are compared: the time grows with their square."""


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


def operations(journal: Journal, session: str) -> list[Operation]:
    """Return the requests of a session's client, in order."""
    store, found = journal.store, []
    number = next((n for n, text in enumerate(store.sessions.texts) if text == session), None)
    for index, one in enumerate(store.session):
        row = index + store.first
        if one != number or store.kind_of(row) is not Kind.REQUEST or store.lane_of(row) not in CLIENT_LEG:
            continue
        answer = store.linked(store.pair, row)
        content = None if answer is None else content_of(store.body(answer).text)
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name in ("result", "error")}
        params = part(content_of(store.body(row).text), "params")
        what = f"{store.method_of(row)} {store.target_of(row)}".strip()
        found.append(Operation(row, store.seq[index], what, params, content))
        if len(found) >= MAX_OPERATIONS:
            break
    return found


def session_differences(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path] = ()
) -> Iterator[SessionDifference]:
    """Yield how the second session differs from the first, in order.

    Requests are paired by method, target and arguments; where these were replaced, by method and target.
    """
    matcher = SequenceMatcher(None, [one.key for one in before], [one.key for one in after], autojunk=False)
    for tag, start, end, begin, stop in matcher.get_opcodes():
        if tag == "equal":
            for one, other in zip(before[start:end], after[begin:stop], strict=True):
                yield from _compared(one, other, ignore)
        else:
            yield from _replaced(before[start:end], after[begin:stop], ignore)


def _replaced(
    before: Sequence[Operation], after: Sequence[Operation], ignore: Sequence[Path]
) -> Iterator[SessionDifference]:
    matcher = SequenceMatcher(None, [one.what for one in before], [one.what for one in after], autojunk=False)
    for tag, start, end, begin, stop in matcher.get_opcodes():
        if tag == "equal":
            for one, other in zip(before[start:end], after[begin:stop], strict=True):
                yield from _compared(one, other, ignore)
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
