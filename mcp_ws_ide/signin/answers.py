"""What the authorization server answers, for handlers that must not import Authlib until somebody signs in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Answer:
    """A response: what is sent as JSON, or where the browser is sent."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """Where the browser is sent; ``""`` if it is not."""
        return self.headers.get("Location", "")

    @location.setter
    def location(self, url: str) -> None:
        self.headers["Location"] = url


class RefusedError(Exception):
    """An authorization request cannot be granted; the text says why.

    Attributes:
        location: where the client awaits the error; ``""`` if the request does not prove that it is the client's.
    """

    def __init__(self, reason: str, location: str = "") -> None:
        super().__init__(reason)
        self.location = location
