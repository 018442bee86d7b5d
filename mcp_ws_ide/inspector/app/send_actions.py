"""Keys that act outside the inspector: copy a request, send it again, inject a fault, show how to connect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from textual import work

from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector import replay
from mcp_ws_ide.inspector.app import connecting
from mcp_ws_ide.inspector.app.app_base import AppBase
from mcp_ws_ide.inspector.app.dialogs import Choice, Copying, Editing, Question, ReportScreen
from mcp_ws_ide.inspector.app.rows import Part, clean
from mcp_ws_ide.inspector.model import copy_forms
from mcp_ws_ide.inspector.model.difference import content_of
from mcp_ws_ide.inspector.model.records import Kind
from mcp_ws_ide.inspector.model.store import TRUNCATED
from mcp_ws_ide.inspector.playback import Playback
from mcp_ws_ide.rest_client import GatewayClient, in_thread
from mcp_ws_ide.sanitise import visible

FAULTS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("cut the link", "cut", {}),
    ("half-open for 60 s: neither read nor write", "half_open", {"seconds": 60}),
    ("delay the gateway's messages by 1 s, for 60 s", "delay", {"ms": 1000, "seconds": 60}),
    ("send the next message twice", "duplicate", {"count": 1}),
    ("answer the next resume with 'gone'", "refuse_resume", {"how": "gone"}),
    ("refuse the next three resumes temporarily", "refuse_resume", {"how": "later", "count": 3}),
    ("cancel pending faults", "", {}),
)
"""The faults on offer; docs/guides/test-reconnecting.md describes them."""


class SendActions(AppBase):
    """Actions with effects outside the inspector."""

    def action_copy(self) -> None:
        """Copy the message to the terminal's clipboard, or as a command."""
        row = self.row
        if row is None or not self.journal.store.holds(row):
            return
        base = self.tap.gateway.url if self.tap.gateway is not None else "http://HOST/"
        text = self.journal.store.body(row).text
        forms: dict[str, Callable[[], str]] = {"message": lambda: text}
        for name, form in copy_forms.FORMS.items():
            forms[name] = partial(self._as_command, form, row, base)
        warnings = {}
        if self.journal.store.has(row, TRUNCATED):
            size = self.journal.store.size[row - self.journal.store.first]
            kept = len(text.encode(errors="replace"))
            warnings["message"] = f"what the gateway kept, {kept:,} of {size:,} bytes: not valid JSON"
        self.push_screen(Copying(forms, warnings))

    def _as_command(self, form: Callable[[copy_forms.Call], str], row: int, base: str) -> str:
        return form(copy_forms.call_of(self.journal, row, base))

    def action_connecting(self) -> None:
        """Show how a client connects to the servers of this gateway."""
        gateway = self.tap.gateway
        names = self.capabilities.servers or sorted(self.journal.catalogues)
        items: list[connecting.ConnectItem] = []
        for name in names if gateway is not None else []:
            token = gateway.token if gateway is not None and self._private else ""
            items += connecting.items(gateway.url, name, token) if gateway is not None else []
        self.push_screen(connecting.Connecting(items))

    def _call(self) -> tuple[copy_forms.Call, int, str] | None:
        """Return the request of the row, the row, and the gateway's token; None after a warning."""
        gateway, row = self.tap.gateway, self.row
        if isinstance(self.tap, Playback) or gateway is None or row is None:
            self._warn("a recording has no gateway; use: mcp-ws-inspect replay FILE --against URL")
            return None
        try:
            return copy_forms.call_of(self.journal, row, gateway.url), row, gateway.token
        except copy_forms.NoCommandError as error:
            self._warn(str(error))
            return None

    def action_edit(self) -> None:
        """Edit the request, and send it."""
        if (found := self._call()) is None:
            return
        call, row, token = found

        def edited(content: dict[str, Any] | None) -> None:
            if content is not None:
                message = copy_forms.ascii_json(json.dumps(content))
                self.send_again(replace(call, content=content, message=message), row, token)

        text = json.dumps(call.content, indent=2, ensure_ascii=False)
        if any(visible(line) != line for line in text.split("\n")):
            text = json.dumps(call.content, indent=2)  # control and direction characters as JSON escapes
        self.push_screen(Editing(f"Edit and send to {call.server}", text), edited)

    def action_again(self) -> None:
        """Send the request again after confirmation."""
        if (found := self._call()) is None:
            return
        call, row, token = found
        name = f"{call.content.get('method')} {self.journal.store.target_of(row)}".strip()

        def sure(yes: bool | None) -> None:
            if yes:
                self.send_again(call, row, token)

        self.push_screen(Question(f"Send {name} to {call.server} again?", "sends it"), sure)

    @work(exclusive=True, group="again")
    async def send_again(self, call: copy_forms.Call, row: int, token: str) -> None:
        """Send the request on its own link and show how the response differs."""
        store = self.journal.store
        seen = store.linked(store.pair, row) if store.kind_of(row) is Kind.REQUEST else row
        before = content_of(store.body(seen).text) if seen is not None else {}
        try:
            outcome = await replay.again(call, token, before)
        except ConnectError as error:
            return self._warn(str(error))
        if seen is None and not outcome.failure:
            return self._tell("response received; there is no earlier one to compare it with")
        lines: list[list[Part]] = [[(line, "")] for line in replay.lines(outcome, clean)]
        if outcome.same:
            return self._tell("the response is the same as before")
        self.push_screen(ReportScreen("The response differs", lines))

    def action_faults(self) -> None:
        """Inject a fault into the session's link."""
        gateway, session = self.tap.gateway, self._session_of(self.row)
        if isinstance(self.tap, Playback) or gateway is None:
            return self._warn("a recording has no links; faults need a live gateway")
        if session is None:
            return self._warn("select a session, or one of its rows, first")

        def chosen(index: int | None) -> None:
            if index is not None and index >= 0:
                self.inject(GatewayClient(gateway), session, index)

        self.push_screen(
            Choice(f"Session {session[:8]}: inject which fault?", [label for label, *_ in FAULTS]), chosen
        )

    @work(exclusive=True, group="faults")
    async def inject(self, client: GatewayClient, session: str, index: int) -> None:
        """Inject a fault and report the result."""
        _, fault, parameters = FAULTS[index]
        try:
            if fault:
                self._tell(await in_thread(client.inject_fault, session, fault, **parameters))
            else:
                await in_thread(client.call, "DELETE", f"sessions/{session}/faults")
                self._tell("pending faults were cancelled")
        except ConnectError as error:
            self._warn(str(error))
