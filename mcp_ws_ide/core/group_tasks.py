"""Ids of the tasks of a group's members as clients see them: ``member:id``. Pure.

Each member makes its own ids, so two members may use the same one. The member's name is percent-encoded: the id is also
the value of a header, and its first colon is the one that ends the name. Knows nothing of which requests are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.lenient_json import encode, text_of
from mcp_ws_ide.core.messages import Message

_ID: Final = "taskId"


class TaskIds:
    """The ids of the tasks of these members."""

    def __init__(self, members: Sequence[str]) -> None:
        self._members = {quote(member, safe=""): member for member in members}
        self._prefixes = {member: f"{name}:" for name, member in self._members.items()}

    @property
    def prefixes(self) -> list[str]:
        """How the ids of each member begin."""
        return list(self._prefixes.values())

    def shown(self, member: str, task: str) -> str:
        """Return the id of a member's task as clients see it."""
        return self._prefixes[member] + task

    def split(self, shown: str) -> tuple[str, str] | None:
        """Return the member that an id belongs to, and its own id; None if it names no member."""
        name, colon, task = shown.partition(":")
        member = self._members.get(name) if colon else None
        return None if member is None else (member, task)

    def own(self, member: str, shown: Sequence[str]) -> list[str]:
        """Return those of the ids that name tasks of this member, as the member knows them."""
        known = [self.split(each) for each in shown]
        return [each[1] for each in known if each is not None and each[0] == member]

    def result(self, member: str, message: Message) -> Message:
        """Return a response of a member with the id of its task as clients see it, if it names one."""
        changed = self._changed(member, message.result)
        return messages.rebuild(message, message.id, result=changed) if changed else message

    def notification(self, member: str, message: Message) -> Message:
        """Return a notification of a member with the id of its task as clients see it, if it names one."""
        changed = self._changed(member, message.params)
        return messages.rebuild(message, b"", params=changed) if changed else message

    def _changed(self, member: str, payload: bytes) -> bytes:
        task = text_of(messages.member(payload, _ID))
        return messages.with_member(payload, _ID, encode(self.shown(member, task))) if task else b""
