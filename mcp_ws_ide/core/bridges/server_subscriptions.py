"""Modern subscriptions at a server of the handshake era (docs/reference/eras.md). Pure.

A ``subscriptions/listen`` becomes one ``resources/subscribe`` for each resource that no subscription follows yet; it is
acknowledged when the server has answered these. A notification from the server is copied for each subscription it
concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import ACKNOWLEDGED, LIST_CHANGED, MAX_URIS
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.lenient_json import encode, members_of, text_of, texts_of
from mcp_ws_ide.core.messages import Message

OnAnswer = Callable[[Message, Step], None]
"""Takes the server's answer to a request of the bridge."""
Ask = Callable[[Step, str, bytes, OnAnswer], None]
"""Sends a request of the bridge: method, params (JSON), and what to do with the response."""


@dataclass(slots=True, eq=False)
class _Listen:
    """A ``subscriptions/listen`` request.

    Attributes:
        number: the request's id.
        lists: changes of lists that the client asks for, whether or not the server offers to announce them.
        honored: what the acknowledgement promises.
        uris: resources that the client follows.
        missing: those whose ``resources/subscribe`` is not answered yet.
    """

    number: int
    lists: set[str]
    honored: dict[str, Any]
    uris: set[str]
    missing: set[str]


class ServerSubscriptions:
    """The subscriptions of all clients of one server.

    Args:
        ask: sends requests to the server.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._listens: dict[int, _Listen] = {}
        self._subscribed: dict[str, set[int]] = {}
        """The ids of the subscriptions that follow a resource, by its URI."""
        self._unanswered: dict[str, list[_Listen]] = {}
        """The subscriptions that wait for the response to ``resources/subscribe``, by URI."""

    def __contains__(self, number: int) -> bool:
        return number in self._listens

    # --- from a client --------------------------------------------------------------------------

    def listen(self, number: int, message: Message, capabilities: dict[str, Any], step: Step) -> None:
        """Open a subscription.

        Args:
            number: id of the request, as the gateway gave it.
            capabilities: those that the server offered in the handshake.
        """
        wanted = members_of(messages.member(message.params, "notifications"))
        lists = {name for name, _ in LIST_CHANGED.values() if bytes(wanted.get(name, b"")) == b"true"}
        honored: dict[str, Any] = {
            name: True
            for name, capability in LIST_CHANGED.values()
            if name in lists and offers(capabilities, capability, "listChanged")
        }
        # Servers of the Python SDK 1.x take subscriptions without offering that: their answer decides.
        uris = (
            texts_of(bytes(wanted.get("resourceSubscriptions", b""))) if "resources" in capabilities else []
        )
        listen = _Listen(number, lists, honored, self._with_room(uris), set())
        self._listens[number] = listen
        for uri in listen.uris:
            users = self._subscribed.setdefault(uri, set())
            if not users:
                self._subscribe(uri, step)
            users.add(number)
            if uri in self._unanswered:
                listen.missing.add(uri)
                self._unanswered[uri].append(listen)
        if not listen.missing:
            self._acknowledge(listen, step)

    def _with_room(self, uris: list[str]) -> set[str]:
        """Return the resources that can be followed: those that are already, and new ones up to the limit."""
        known = [uri for uri in dict.fromkeys(uris) if uri in self._subscribed]
        new = [uri for uri in dict.fromkeys(uris) if uri not in self._subscribed]
        return {*known, *new[: MAX_URIS - len(self._subscribed)]}

    def _subscribe(self, uri: str, step: Step) -> None:
        waiting = self._unanswered[uri] = []

        def answered(answer: Message, step: Step) -> None:
            if self._unanswered.get(uri) is waiting:
                del self._unanswered[uri]
                if answer.error:
                    self._subscribed.pop(uri, None)
            for listen in waiting:
                listen.missing.discard(uri)
                if answer.error:
                    listen.uris.discard(uri)
                if not listen.missing and self._listens.get(listen.number) is listen:
                    self._acknowledge(listen, step)

        self._ask(step, "resources/subscribe", encode({"uri": uri}), answered)

    def _acknowledge(self, listen: _Listen, step: Step) -> None:
        if listen.uris:
            listen.honored["resourceSubscriptions"] = sorted(listen.uris)
        params = {
            "_meta": {messages.SUBSCRIPTION_ID_KEY: listen.number},
            "notifications": listen.honored,
        }
        step.to_clients.append(messages.notification(ACKNOWLEDGED, encode(params)))

    def end(self, number: int, step: Step) -> None:
        """End a subscription that its client cancelled; unsubscribe from resources that no other one follows."""
        listen = self._listens.pop(number)
        for uri in listen.uris:
            users = self._subscribed.get(uri, set())
            users.discard(number)
            if not users:
                self._subscribed.pop(uri, None)
                self._ask(step, "resources/unsubscribe", encode({"uri": uri}), ignore)

    # --- from the server ------------------------------------------------------------------------

    def list_changed(self, message: Message, step: Step) -> None:
        """Pass on a changed list to the subscriptions that ask for it."""
        name = LIST_CHANGED[message.method_name][0]
        self._copy(
            message, [number for number, listen in self._listens.items() if name in listen.lists], step
        )

    def resource_updated(self, message: Message, step: Step) -> None:
        """Pass on an update to the subscriptions that follow the resource, or one that it is a part of."""
        uri = text_of(messages.member(message.params, "uri"))
        cuts = [at for at, character in enumerate(uri) if character in "/?#"]
        above = [uri, *(uri[:at] for at in cuts), *(uri[: at + 1] for at in cuts)]
        followers = {number for followed in above for number in self._subscribed.get(followed, ())}
        self._copy(message, [number for number in self._listens if number in followers], step)

    def _copy(self, message: Message, numbers: list[int], step: Step) -> None:
        for number in numbers:
            params = messages.with_meta(message.params or b"{}", messages.SUBSCRIPTION_ID_KEY, b"%d" % number)
            step.to_clients.append(messages.rebuild(message, b"", params=params))


def offers(capabilities: dict[str, Any], capability: str, member: str) -> bool:
    """Return whether a capability that a server offers has this member set to true."""
    offered = capabilities.get(capability)
    return isinstance(offered, dict) and offered.get(member) is True


def ignore(answer: Message, step: Step) -> None:
    """Ignore a response that changes nothing."""
