"""Follow the pages of one list to its end, whatever its server does with the cursors. Pure.

A list ends where no cursor is given (MCP, pagination), where a cursor repeats, where pages bring nothing new, and
after a number of pages. An item that was listed before is left out.
"""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 100
"""Pages of one list that are requested."""
MAX_EMPTY: Final = 3
"""Pages without items that may follow one another, as where a server filters what it has read."""
_SHOWN: Final = 60
"""Characters of a cursor that a notice quotes."""


class Pages:
    """The pages of one list.

    Call :meth:`is_new` for each item of a page, then :meth:`goes_on` with its cursor.

    Args:
        most: pages that are requested.

    Attributes:
        repeated: items that were listed before.
        end: why the list ended although its last page has a cursor; ``""`` if it did not.
    """

    def __init__(self, most: int = MAX_PAGES) -> None:
        self._most = most
        self._number = 0
        self._known: set[str | bytes] = set()
        self._cursors: set[bytes] = set()
        self._seen = self._new = self._empty = 0
        """Items of this page; those of them that are new; the pages without items before it."""
        self.repeated = 0
        self.end = ""

    def is_new(self, identity: str | bytes) -> bool:
        """Return whether no page had an item of this name or address; an item with neither always counts as new."""
        self._seen += 1
        if identity and identity in self._known:
            self.repeated += 1
            return False
        self._known.add(identity)
        self._new += 1
        return True

    def goes_on(self, cursor: bytes) -> bool:
        """Return whether to request the page at ``cursor`` (JSON; ``b""`` for none), now that this page is read."""
        self._number += 1
        seen, new, self._seen, self._new = self._seen, self._new, 0, 0
        self._empty = 0 if seen else self._empty + 1
        if cursor in (b"", b"null"):
            return False
        if cursor in self._cursors:
            self.end = (
                f"the cursor {cursor.decode(errors='replace')[:_SHOWN]} is repeated on page {self._number}"
            )
        elif (seen and not new) or self._empty > MAX_EMPTY:
            self.end = f"page {self._number} has a cursor and nothing new"
        elif self._number >= self._most:
            self.end = f"it has more than {self._most} pages"
        self._cursors.add(cursor)
        return not self.end

    @property
    def note(self) -> str:
        """The notice for the user about a faulty list; ``""`` for a correct one."""
        parts = [f"the list was cut short: {self.end}"] if self.end else []
        if self.repeated:
            parts.append(f"{self.repeated} item{'s' if self.repeated > 1 else ''} listed twice, shown once")
        return "; ".join(parts)
