"""The responses of a server as its client can use them, by the method that was called. Pure.

The gateway uses this for the servers behind it, and the Python client for servers that are no gateway.
"""

from __future__ import annotations

from typing import Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import LISTS
from mcp_ws_ide.core.messages import IdKey, Message
from mcp_ws_ide.errors import MalformedMessageError

_CANCELLED: Final = b'"notifications/cancelled"'
_UPDATED: Final = b'"notifications/resources/updated"'


def usable(method: str, answer: Message, server: str, *, strict: bool) -> tuple[Message, dict[str, str]]:
    """Return a response without what would cost its client the whole list or result, and a notice of each fault.

    Args:
        method: the method that was called.
        answer: what :func:`mcp_ws_ide.core.messages.parse_server` read.
        server: the name under which the changes are noted in the result's ``_meta``.
        strict: whether the client is of the handshake era.
    """
    result, notices = answer.result, dict[str, str]()
    if method in LISTS and answer.result:
        # when first needed: a start of mcp-ws-connect would spend a tenth of its time on importing these
        from mcp_ws_ide.core.list_items import read_list

        result, notices = read_list(LISTS[method], answer.result, strict=strict)
    elif answer.odd:
        from mcp_ws_ide.core.call_results import CALLS, read_result

        if method in CALLS:
            result, notices = read_result(method, result, strict=strict)
    if strict and method == "resources/read":
        from mcp_ws_ide.core.shown_uris import shown_contents

        result, more = shown_contents(result)
        notices = {**notices, **more}
    if not notices:
        return answer, {}
    from mcp_ws_ide.core.list_items import with_note

    return messages.rebuild(answer, answer.id, result=with_note(result, server, notices.values())), notices


def _shown_update(message: Message) -> Message:
    from mcp_ws_ide.core.shown_uris import as_shown

    return as_shown(message)


class OpenCalls:
    """The requests that a client has sent to a server that is no gateway, and what makes their responses usable."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._methods: dict[IdKey, str] = {}
        self._strict = False

    def sent(self, data: bytes) -> bytes:
        """Note a message of the client; return it as the server is to get it."""
        try:
            message = messages.parse(data)
        except MalformedMessageError:
            return data
        if message.kind is messages.REQUEST:
            self._methods[message.id_key] = message.method_name
            self._strict = self._strict or message.method == b'"initialize"'
            if message.method.startswith(b'"resources/'):
                from mcp_ws_ide.core.shown_uris import NAMES_RESOURCE, as_written

                return as_written(message).data if message.method_name in NAMES_RESOURCE else data
        elif message.method == _CANCELLED:
            key = messages.token_key(bytes(messages.params_of(message).request_id))
            if key is not None:
                self._methods.pop(key, None)
        return data

    def received(self, data: bytes) -> bytes:
        """Return a message of the server as the client can use it."""
        try:
            message = messages.parse_server(data)
        except MalformedMessageError:
            return data
        if message.kind is not messages.RESPONSE:
            return _shown_update(message).data if self._strict and message.method == _UPDATED else data
        method = self._methods.pop(message.id_key, "")
        return usable(method, message, self._server, strict=self._strict)[0].data
