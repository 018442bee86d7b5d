"""Calls that a server of 2025-11-25 refuses (-32042) until the user has visited pages (docs/reference/eras.md). Pure.

The client gets the pages as questions; when the user has accepted all of them, the call is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

import msgspec

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import encode, members_of
from mcp_ws_ide.core.messages import Message

URL_ELICITATION_REQUIRED: Final = -32042
"""Error code of a 2025-11-25 server: the user must visit a page before the call can succeed."""
MAX_VISITS: Final = 256
"""Calls of one server that may wait for visits at once."""
TOO_MANY_VISITS: Final = (
    f"{MAX_VISITS} calls are waiting for users to visit a page, which is the maximum; try again later"
)


class Visit(NamedTuple):
    """A call that the server refused.

    Attributes:
        owner: the session it belongs to.
        deadline: when it is given up, on the caller's clock.
        questions: keys of the questions that its client was given.
        refusal: the error from the server.
    """

    owner: Hashable
    deadline: float
    questions: tuple[str, ...]
    refusal: Message

    def accepted(self, retry: Message) -> bool:
        """Return whether the client's answers accept every question."""
        answers = members_of(messages.member(retry.params, "inputResponses"))
        given = (messages.member(bytes(answers.get(key, b"")), "action") for key in self.questions)
        return all(action == b'"accept"' for action in given)


class Visits:
    """The refused calls of all clients of one server.

    Args:
        new_state: makes an unguessable string for each.
        seconds: how long each waits for its client.
    """

    def __init__(self, new_state: Callable[[], str], seconds: float) -> None:
        self._new_state = new_state
        self._seconds = seconds
        self._visits: dict[str, Visit] = {}
        """By their ``requestState``."""

    def begin(self, owner: Hashable, refusal: Message, pages: list[dict[str, Any]], now: float) -> bytes:
        """Return the result that asks the user to visit pages; ``b""`` if too many calls wait for that already."""
        if len(self._visits) >= MAX_VISITS:
            return b""
        requests = {
            f"q{number}": {"method": "elicitation/create", "params": params}
            for number, params in enumerate(pages)
        }
        state = self._new_state()
        self._visits[state] = Visit(owner, now + self._seconds, tuple(requests), refusal)
        return input_required(requests, state)

    def take(self, state: str) -> Visit | None:
        """Return the call with this ``requestState``, which no longer waits; None if there is none."""
        return self._visits.pop(state, None)

    def owner_left(self, owner: Hashable) -> None:
        """Give up the calls of a session that has ended."""
        self._visits = {state: visit for state, visit in self._visits.items() if visit.owner != owner}

    def expire(self, now: float) -> None:
        """Give up the calls whose clients did not return in time."""
        self._visits = {state: visit for state, visit in self._visits.items() if now < visit.deadline}


def input_required(requests: dict[str, Any], state: str) -> bytes:
    """Return the result that puts questions to a modern client."""
    return encode({"resultType": "input_required", "inputRequests": requests, "requestState": state})


def pages_of(error: bytes) -> list[dict[str, Any]]:
    """Return the pages that a -32042 asks to be visited, as params of questions."""
    try:
        elicitations = msgspec.json.decode(error, type=dict[str, Any])["data"]["elicitations"]
        return [
            {k: v for k, v in entry.items() if k not in ("elicitationId", "task")} for entry in elicitations
        ]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return []
