"""Compare two JSON values, ignoring what must differ between two runs. Performs no I/O.

Always ignored: members named in :data:`VARYING`, and timestamps (both strings are RFC 3339). The user can name more
paths. ``1`` and ``1.0`` are equal, ``true`` and ``1`` are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

VARYING: Final = frozenset({"_meta", "progressToken", "requestState", "taskId"})
"""Members that may differ between runs: ids, progress tokens, metadata, opaque states."""
MAX_DEPTH: Final = 500
"""Levels that are compared; deeper values are compared as a whole."""
SHOWN: Final = 120
"""Characters of a value in a message."""
CONTEXT: Final = 30
"""Characters shown before the place at which two long texts begin to differ."""
MISSING: Final = object()
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_STEP: Final = re.compile(r"[^.\[\]]+|\[(\d+|\*)\]")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. ``before`` or ``after`` is :data:`MISSING` if only the other value has it."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.change}"

    @property
    def change(self) -> str:
        """What has changed, without the path."""
        if self.after is MISSING:
            return f"removed, was {_shown(self.before)}"
        if self.before is MISSING:
            return f"added, {_shown(self.after)}"
        start = _common(self.before, self.after)
        return f"{_shown(self.before, start)} → {_shown(self.after, start)}"


def _common(before: Any, after: Any) -> int:
    """Return how many characters at the start of two long texts need not be shown, as they are the same."""
    if not (isinstance(before, str) and isinstance(after, str)) or max(len(before), len(after)) <= SHOWN:
        return 0
    shared = (index for index, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    return max(0, next(shared, min(len(before), len(after))) - CONTEXT)


def _shown(value: Any, start: int = 0) -> str:
    if start:
        value = f"…{value[start:]}"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = "(too deep to show)"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}… ({len(text)} characters)"


class Path:
    """A path to ignore: ``result.content[0].text``; ``*`` is any one step, ``**`` any number of steps.

    Raises:
        ValueError: the text is not a path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = [step[1] or step[0] for step in _STEP.finditer(text)]
        if not self._steps or _STEP.sub("", text).strip("."):
            raise ValueError(
                f"{text!r} is not a path; write for example result.content[0].text, with * for any one step"
            )

    def covers(self, steps: Sequence[str]) -> bool:
        """Return whether this path is meant."""
        return _covers(self._steps, steps)


def _covers(pattern: Sequence[str], steps: Sequence[str]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_covers(pattern[1:], steps[start:]) for start in range(len(steps) + 1))
    return bool(steps) and pattern[0] in ("*", steps[0]) and _covers(pattern[1:], steps[1:])


def differences(
    before: Any, after: Any, ignore: Sequence[Path] = (), varying: frozenset[str] = VARYING
) -> Iterator[Difference]:
    """Yield the differences between ``before`` and ``after``, in order."""
    return _compare(before, after, (), ignore, varying)


def _compare(
    before: Any, after: Any, steps: tuple[str, ...], ignore: Sequence[Path], varying: frozenset[str]
) -> Iterator[Difference]:
    if any(path.covers(steps) for path in ignore):
        return
    if len(steps) < MAX_DEPTH:
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _compare_objects(before, after, steps, ignore, varying)
            return
        if isinstance(before, list) and isinstance(after, list):
            for index in range(max(len(before), len(after))):
                one = before[index] if index < len(before) else MISSING
                other = after[index] if index < len(after) else MISSING
                yield from _compare(one, other, (*steps, str(index)), ignore, varying)
            return
    if not _same(before, after):
        yield Difference(_written(steps), before, after)


def _compare_objects(
    before: dict[str, Any],
    after: dict[str, Any],
    steps: tuple[str, ...],
    ignore: Sequence[Path],
    varying: frozenset[str],
) -> Iterator[Difference]:
    for name in {**before, **after}:
        if name not in varying:
            one, other = before.get(name, MISSING), after.get(name, MISSING)
            yield from _compare(one, other, (*steps, name), ignore, varying)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, str) and isinstance(after, str) and before != after:
        return bool(_MOMENT.fullmatch(before) and _MOMENT.fullmatch(after))
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    try:
        return bool(before == after)
    except RecursionError:
        return False


def _written(steps: Sequence[str]) -> str:
    return (
        "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps).lstrip(".")
        or "(whole value)"
    )


def content_of(text: str) -> Any:
    """Return the JSON value to compare, or the text if it is not complete JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
