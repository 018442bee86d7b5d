"""The era bridge as transcripts of its input on one side and its output on the other (docs/reference/eras.md)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.legacy_client import MAX_ROUNDS, LegacyClient, refuses_handshake
from mcp_ws_ide.core.bridges.legacy_server import MAX_PARKED, MAX_QUESTIONS, LegacyServer
from mcp_ws_ide.core.bridges.methods import MAX_URIS
from mcp_ws_ide.core.bridges.step import Step
from mcp_ws_ide.core.effects import Abandon, Again, Deliver, Effect, Forward
from mcp_ws_ide.core.session import SessionCore
from mcp_ws_ide.errors import UPSTREAM_LOST

SUB = messages.SUBSCRIPTION_ID_KEY
CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "logging": {},
    "tasks": {},
}
OFFERED = {"sampling": {}, "elicitation": {}, "roots": {}}


def message(**members: Any) -> messages.Message:
    return messages.parse(json.dumps({"jsonrpc": "2.0", **members}).encode())


def meta(**more: Any) -> dict[str, Any]:
    return {
        messages.PROTOCOL_VERSION_KEY: "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": OFFERED,
        **more,
    }


class Old:
    """A bridge to a server of the handshake era that a test plays."""

    def __init__(self, *, shared: bool = False, capabilities: dict[str, Any] = CAPABILITIES) -> None:
        states = (f"state-{number}" for number in itertools.count(1))
        self.now = 0.0
        self.bridge = LegacyServer(shared=shared, new_state=lambda: next(states), park_time=600)
        first = json.dumps({"_meta": meta()}).encode()
        (self.initialize,) = self.read(self.bridge.start(first, "0").to_server)
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": {"name": "old", "version": "1"},
            "instructions": "be kind",
        }
        (self.initialized,), _ = self.server(id=self.initialize["id"], result=result)

    @staticmethod
    def read(lines: list[messages.Message]) -> list[dict[str, Any]]:
        return [json.loads(line.data) for line in lines]

    def step(self, step: Step) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return self.read(step.to_server), self.read(step.to_clients)

    def server(self, **members: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return self.step(self.bridge.from_server(message(**members), self.now))

    def client(self, number: int, method: str, owner: str = "A", **params: Any) -> Any:
        more = params.pop("_meta", {})
        sent = message(id=number, method=method, params={**params, "_meta": meta(**more)})
        return self.step(self.bridge.from_client(sent, owner, self.now))

    def cancel(self, number: int, owner: str = "A") -> Any:
        sent = message(method="notifications/cancelled", params={"requestId": number})
        return self.step(self.bridge.from_client(sent, owner, self.now))

    def ask(self, number: int, question: str = "s1", owner: str = "A") -> dict[str, Any]:
        """Call a tool whose server asks a question; return what the client gets."""
        self.client(number, "tools/call", owner, name="t")
        to_server, (asked,) = self.server(
            id=question, method="elicitation/create", params={"message": "name?"}
        )
        assert to_server == []
        return asked


def test_the_handshake_names_the_client_or_for_a_shared_server_the_gateway():
    assert Old().initialize["params"] == {
        "protocolVersion": "2025-11-25",
        "capabilities": OFFERED,
        "clientInfo": {"name": "c", "version": "1"},
    }
    shared = Old(shared=True)
    assert shared.initialize["params"]["clientInfo"]["name"] == "mcp-ws-ide"
    assert "roots" not in shared.initialize["params"]["capabilities"]
    assert shared.initialized["method"] == "notifications/initialized"
    assert shared.bridge.ready


def test_a_refused_handshake_is_reported():
    bridge = LegacyServer(shared=False, new_state=str, park_time=1)
    (line,) = bridge.start(b"{}", "0").to_server
    bridge.from_server(message(id=json.loads(line.data)["id"], error={"code": -1, "message": "no"}), 0.0)
    assert not bridge.ready
    assert bridge.failure == "it refused the handshake: no"


def test_discover_is_answered_from_the_handshake():
    to_server, (answer,) = Old().client(1, "server/discover")
    assert to_server == []
    result = answer["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert "tasks" not in result["capabilities"]
    assert result["instructions"] == "be kind"
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "old"
    assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")


def test_the_envelope_is_removed_and_results_get_their_required_members():
    old = Old()
    (sent,), _ = old.client(5, "tools/list", cursor="c", _meta={"progressToken": 5, "traceparent": "x"})
    assert sent == {
        "jsonrpc": "2.0",
        "id": 5,
        "method": "tools/list",
        "params": {"cursor": "c", "_meta": {"progressToken": 5, "traceparent": "x"}},
    }
    _, (answer,) = old.server(id=5, result={"tools": []})
    assert answer["result"] == {"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    old.client(6, "tools/call", name="t")
    _, (answer,) = old.server(id=6, result={})
    assert answer["result"] == {"resultType": "complete"}
    old.client(7, "tools/call", name="t")
    assert old.server(id=7, error={"code": -5, "message": "x"})[1][0]["error"]["code"] == -5


def test_an_unsupported_version_is_refused_with_the_supported_ones():
    old = Old()
    _, (answer,) = old.client(1, "tools/list", _meta={messages.PROTOCOL_VERSION_KEY: "2027-01-01"})
    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"] == {"supported": ["2026-07-28"], "requested": "2027-01-01"}


def test_the_bridge_answers_pings():
    old = Old()
    assert old.server(id="p", method="ping")[0] == [{"jsonrpc": "2.0", "id": "p", "result": {}}]
    assert old.client(1, "ping") == ([], [{"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete"}}])


def test_a_question_parks_the_call_until_its_client_returns():
    old = Old()
    asked = old.ask(1)
    assert asked["id"] == 1
    assert asked["result"] == {
        "resultType": "input_required",
        "inputRequests": {"q1": {"method": "elicitation/create", "params": {"message": "name?"}}},
        "requestState": "state-1",
    }
    reply = {"q1": {"action": "accept", "content": {"name": "Ann"}}}
    to_server, to_client = old.client(2, "tools/call", name="t", requestState="state-1", inputResponses=reply)
    assert (to_server, to_client) == ([{"jsonrpc": "2.0", "id": "s1", "result": reply["q1"]}], [])
    _, (answer,) = old.server(id=1, result={"content": []})
    assert answer["id"] == 2, "the answer goes to the request that came back"
    assert old.bridge.parked == 0
    _, (refused,) = old.client(3, "tools/call", name="t", requestState="state-1", inputResponses=reply)
    assert refused["error"]["code"] == -32602, "a requestState is good once"


def test_what_happens_while_a_call_is_parked_waits_for_its_client():
    old = Old()
    old.ask(1)
    assert old.server(id="s2", method="roots/list") == ([], [])
    assert old.server(method="notifications/progress", params={"progressToken": 1, "progress": 1}) == ([], [])
    answers = {"requestState": "state-1", "inputResponses": {"q1": {"action": "decline"}}}
    to_server, (asked,) = old.client(2, "tools/call", name="t", **answers)
    assert to_server == [{"jsonrpc": "2.0", "id": "s1", "result": {"action": "decline"}}]
    assert asked["result"]["inputRequests"] == {"q2": {"method": "roots/list", "params": {}}}
    assert old.server(id=1, result={"content": []}) == ([], []), "the server did not wait"
    answers = {"requestState": "state-2", "inputResponses": {"q2": {"roots": []}}}
    _, (answer,) = old.client(3, "tools/call", name="t", **answers)
    assert (answer["id"], answer["result"]["content"]) == (3, [])


def test_a_missing_answer_is_an_error_to_the_server():
    old = Old()
    old.ask(1)
    (told,), _ = old.client(2, "tools/call", name="t", requestState="state-1", inputResponses={})
    assert (told["id"], told["error"]["code"]) == ("s1", -32603)


@pytest.mark.parametrize("how", ["expired", "left", "cancelled"])
def test_a_parked_call_whose_client_is_gone_is_cancelled_at_the_server(how):
    old = Old()
    old.ask(1)
    if how == "expired":
        assert old.step(old.bridge.expire(599.0)) == ([], [])
        to_server, _ = old.step(old.bridge.expire(600.0))
    elif how == "left":
        assert old.step(old.bridge.owner_left("B")) == ([], [])
        to_server, _ = old.step(old.bridge.owner_left("A"))
    else:
        answers = {"requestState": "state-1", "inputResponses": {"q1": {"action": "accept"}}}
        old.client(2, "tools/call", name="t", **answers)
        to_server, _ = old.cancel(2)
    cancelled = to_server[-1]
    assert (cancelled["method"], cancelled["params"]["requestId"]) == ("notifications/cancelled", 1)
    assert ("error" in to_server[0]) is (how != "cancelled"), "an open question is refused"
    assert old.bridge.parked == 0
    assert old.server(id=1, result={}) == ([], [])


def test_the_number_of_parked_calls_is_limited():
    old = Old()
    for number in range(1, MAX_PARKED + 1):
        old.ask(number, f"s{number}")
        assert old.bridge.parked == number
    old.client(1000, "tools/call", name="t")
    (refused,), _ = old.server(id="more", method="elicitation/create", params={})
    assert (refused["id"], refused["error"]["code"]) == ("more", -32603)


def test_a_question_that_could_be_for_several_clients_is_refused():
    old = Old(shared=True)
    old.client(1, "tools/call", "A", name="t")
    old.client(2, "tools/call", "B", name="t")
    (refused,), to_clients = old.server(id="s", method="elicitation/create", params={})
    assert "several clients" in refused["error"]["message"]
    assert to_clients == []
    old.server(id=2, result={})
    _, (asked,) = old.server(id="s", method="elicitation/create", params={})
    assert asked["id"] == 1, "now it can only be one's"


def test_a_client_gets_no_question_beyond_its_capabilities():
    old = Old()
    none = {"io.modelcontextprotocol/clientCapabilities": {}}
    old.client(1, "tools/call", name="t", _meta=none)
    (refused,), _ = old.server(id="s", method="sampling/createMessage", params={})
    assert refused["error"]["code"] == -32601
    (refused,), _ = old.server(id="x", method="tasks/list")
    assert refused["error"]["code"] == -32601


def test_a_question_outside_a_call_waits_for_the_next_call():
    old = Old()
    assert old.server(id="r", method="roots/list") == ([], [])
    assert old.client(1, "tools/list")[1] == []
    (sent,), (asked,) = old.client(2, "tools/call", name="t")
    assert sent["id"] == 2
    assert asked["result"]["inputRequests"]["q1"]["method"] == "roots/list"
    (refused,), _ = Old(shared=True).server(id="r", method="roots/list")
    assert "no call is open" in refused["error"]["message"]


def test_a_page_to_visit_becomes_a_question_and_the_call_is_repeated():
    old = Old()
    old.client(1, "tools/call", name="t")
    page = {"mode": "url", "url": "https://x", "message": "log in", "elicitationId": "e"}
    error = {"code": -32042, "message": "visit", "data": {"elicitations": [page]}}
    _, (asked,) = old.server(id=1, error=error)
    del page["elicitationId"]
    assert asked["result"]["inputRequests"] == {"q0": {"method": "elicitation/create", "params": page}}
    answers = {"requestState": "state-1", "inputResponses": {"q0": {"action": "accept"}}}
    (again,), _ = old.client(2, "tools/call", name="t", **answers)
    assert (again["id"], again["params"]) == (2, {"name": "t"})


@pytest.mark.parametrize(
    "responses", [{"q0": {"action": "decline"}}, {"q0": {"action": "cancel"}}, {}, {"q0": 1}]
)
def test_a_declined_page_ends_the_call(responses):
    old = Old()
    old.client(1, "tools/call", name="t")
    page = {"mode": "url", "url": "https://x", "message": "log in", "elicitationId": "e"}
    error = {"code": -32042, "message": "visit", "data": {"elicitations": [page]}}
    old.server(id=1, error=error)
    to_server, (answer,) = old.client(
        2, "tools/call", name="t", requestState="state-1", inputResponses=responses
    )
    assert to_server == []
    assert (answer["id"], answer["error"]) == (2, error)


def test_the_most_verbose_open_request_sets_the_level_of_a_shared_server():
    old = Old(shared=True, capabilities={"logging": {}})

    def levels(number, owner, level):
        to_server, _ = old.client(
            number, "tools/call", owner, name="t", _meta={messages.LOG_LEVEL_KEY: level}
        )
        return [sent["params"]["level"] for sent in to_server if sent["method"] == "logging/setLevel"]

    assert levels(1, "A", "info") == ["info"]
    assert levels(2, "B", "error") == []
    assert levels(3, "B", "debug") == ["debug"]
    old.server(id=1, result={})
    old.server(id=3, result={})
    assert levels(4, "A", "error") == ["error"]


def test_logs_pass_while_a_request_with_a_log_level_runs():
    old = Old()
    log = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
    assert old.server(**log) == ([], [])
    to_server, _ = old.client(1, "tools/call", name="t", _meta={messages.LOG_LEVEL_KEY: "info"})
    assert [line["method"] for line in to_server] == ["logging/setLevel", "tools/call"]
    assert len(old.server(**log)[1]) == 1
    old.server(id=1, result={})
    assert old.server(**log) == ([], [])
    to_server, _ = old.client(2, "tools/call", name="t", _meta={messages.LOG_LEVEL_KEY: "info"})
    assert [line["method"] for line in to_server] == ["tools/call"], "the level is set once"


def listen(old: Old, number: int, *uris: str, **wanted: bool) -> tuple[list[dict], list[dict]]:
    filters = {**wanted, **({"resourceSubscriptions": list(uris)} if uris else {})}
    return old.client(number, "subscriptions/listen", f"owner {number}", notifications=filters)


def test_each_subscription_receives_only_what_it_asked_for():
    old = Old(shared=True)
    (subscribe,), acknowledged = listen(old, 1, "a://1", toolsListChanged=True)
    assert (subscribe["method"], subscribe["params"], acknowledged) == (
        "resources/subscribe",
        {"uri": "a://1"},
        [],
    )
    _, (acknowledged,) = old.server(id=subscribe["id"], result={})
    assert acknowledged["params"]["_meta"] == {SUB: 1}
    assert acknowledged["params"]["notifications"] == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["a://1"],
    }
    to_server, _ = listen(old, 2, "a://1")
    assert to_server == [], "the server is asked once"
    updated = {"method": "notifications/resources/updated", "params": {"uri": "a://1"}}
    assert [note["params"]["_meta"][SUB] for note in old.server(**updated)[1]] == [1, 2]
    changed = {"method": "notifications/tools/list_changed"}
    assert [note["params"]["_meta"][SUB] for note in old.server(**changed)[1]] == [1]
    assert old.cancel(1) == ([], [])
    (unsubscribe,), _ = old.cancel(2)
    assert unsubscribe["method"] == "resources/unsubscribe"
    assert old.server(**updated) == ([], [])


def test_subscriptions_that_the_server_refuses_or_lacks_are_not_acknowledged():
    old = Old(capabilities={"resources": {}})
    (subscribe,), _ = listen(old, 1, "a://1", toolsListChanged=True)
    _, (acknowledged,) = old.server(id=subscribe["id"], error={"code": -1, "message": "no"})
    assert acknowledged["params"]["notifications"] == {}
    old = Old(capabilities={"tools": {}})
    to_server, (acknowledged,) = listen(old, 1, "a://1")
    assert (to_server, acknowledged["params"]["notifications"]) == ([], {})


# --- a client of the handshake era on a modern server ----------------------------------------------


def legacy_client(
    core: SessionCore, original: messages.Message | None = None, **options: Any
) -> LegacyClient:
    """Return a bridge without a clock of its own."""
    ids = (f"task-{number}" for number in itertools.count(1))
    return LegacyClient(
        core, "the-server", original, **{"new_id": lambda: next(ids), "clock": lambda: 0.0, **options}
    )


class New:
    """A bridge for a handshake client, whose modern server a test plays."""

    version = "2025-06-18"

    def __init__(
        self, capabilities: dict[str, Any] = CAPABILITIES, offered: dict[str, Any] = OFFERED
    ) -> None:
        self.core, self.now = SessionCore(100), 0.0
        self.bridge = legacy_client(self.core, clock=lambda: self.now)
        self.delays: list[float] = []
        params = {"protocolVersion": self.version, "capabilities": offered, "clientInfo": {"name": "c"}}
        (self.discover,), _ = self.client(id="i", method="initialize", params=params)
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities}
        _, (self.initialized,) = self.server(id="i", result=result)

    def split(self, effects: list[Effect]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Split effects into messages to the server and to the client."""
        forwarded = [json.loads(e.message.data) for e in effects if isinstance(e, Forward)]
        self.delays += [e.delay for e in effects if isinstance(e, Again)]
        return forwarded, [json.loads(e.message.data) for e in effects if isinstance(e, Deliver)]

    def client(self, **members: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        effect = self.core.from_client(message(**members), 0.0)
        if not isinstance(effect, Forward):
            return [], []
        return self.split(self.bridge.from_client(effect))

    def server(self, **members: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        sent = message(**members)
        pending = self.core.pending.get(sent.id_key) if sent.id and not sent.method else None
        if pending is not None:
            self.core.answered(pending)
        return self.split(self.bridge.to_client(sent, pending))

    def again(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return self.split(self.bridge.again())

    def call(self, number: Any = 1, **params: Any) -> dict[str, Any]:
        (sent,), _ = self.client(id=number, method="tools/call", params={"name": "t", **params})
        return sent


def test_the_handshake_is_answered_from_discover():
    new = New()
    assert new.discover["method"] == "server/discover"
    assert new.discover["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == OFFERED
    result = new.initialized["result"]
    assert result["protocolVersion"] == "2025-06-18"
    assert result["serverInfo"]["name"] == "the-server"
    assert "resultType" not in result


def test_a_server_that_refuses_discovery_too_answers_with_its_first_error():
    core = SessionCore(10)
    original = messages.error(b'"i"', -32601, "no such method")
    bridge = legacy_client(core, original)
    effect = core.from_client(message(id="i", method="initialize", params={}), 0.0)
    bridge.from_client(effect)
    answer = messages.error(b'"i"', -32601, "other words")
    (delivered,) = bridge.to_client(answer, core.pending["i"])
    assert delivered.message is original


def test_a_resource_without_a_scheme_is_listed_read_and_followed_as_the_server_wrote_it():
    new = New()
    (sent,), _ = new.client(id=1, method="resources/list", params={})
    listed = {"resultType": "complete", "resources": [{"uri": "notes.txt", "name": "n"}]}
    _, (answer,) = new.server(id=sent["id"], result=listed)
    (resource,) = answer["result"]["resources"]
    assert resource["uri"] == "mcp-ws-ide:notes.txt"
    assert "notes.txt" in str(answer["result"]["_meta"])
    (read,), _ = new.client(id=2, method="resources/read", params={"uri": resource["uri"]})
    assert read["params"]["uri"] == "notes.txt"
    contents = {"resultType": "complete", "contents": [{"uri": "notes.txt", "text": "t"}]}
    _, (answer,) = new.server(id=read["id"], result=contents)
    assert answer["result"]["contents"] == [{"uri": resource["uri"], "text": "t"}]
    (follow,), _ = new.client(id=3, method="resources/subscribe", params={"uri": resource["uri"]})
    assert follow["params"]["notifications"]["resourceSubscriptions"] == ["notes.txt"]
    acknowledge(new, follow)
    note = {"uri": "notes.txt", "_meta": {messages.SUBSCRIPTION_ID_KEY: follow["id"]}}
    _, (updated,) = new.server(method="notifications/resources/updated", params=note)
    assert updated["params"] == {"uri": resource["uri"]}


def test_a_content_item_that_clients_of_the_handshake_era_refuse_is_mended():
    new = New()
    sent = new.call(1)
    result = {"resultType": "complete", "content": [{"text": "a"}]}
    answer = messages.parse_server(
        json.dumps({"jsonrpc": "2.0", "id": sent["id"], "result": result}).encode()
    )
    pending = new.core.pending[answer.id_key]
    new.core.answered(pending)
    _, (delivered,) = new.split(new.bridge.to_client(answer, pending))
    assert delivered["result"]["content"] == [{"text": "a", "type": "text"}]


def test_the_envelope_is_added_and_results_lose_their_modern_members():
    new = New()
    sent = new.call(1, _meta={"progressToken": "p"})
    assert sent["params"]["_meta"][messages.PROTOCOL_VERSION_KEY] == "2026-07-28"
    assert sent["params"]["_meta"]["progressToken"] == "p"
    added = {"resultType": "complete", "ttlMs": 5, "cacheScope": "private"}
    stamp = {"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "x"}}}
    _, (answer,) = new.server(id=1, result={"content": [], **added, **stamp})
    assert answer["result"] == {"content": []}
    assert new.client(id=2, method="ping") == ([], [{"jsonrpc": "2.0", "id": 2, "result": {}}])
    assert new.client(id=3, method="logging/setLevel", params={"level": "debug"})[1][0]["result"] == {}
    assert new.call(4)["params"]["_meta"][messages.LOG_LEVEL_KEY] == "debug"
    assert set(new.core.pending) == {4}


def test_input_required_becomes_questions_and_a_retry_with_the_state_byte_for_byte():
    new = New()
    new.call(1)
    state = '"\\u0041 \\/ \\ud83d\\ude00"'
    requests = '{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{"message":"?"}}}'
    data = f'{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","inputRequests":{requests},"requestState":{state}}}}}'
    pending = new.core.pending[1]
    new.core.answered(pending)
    effects = new.bridge.to_client(messages.parse(data.encode()), pending)
    first, second = new.split(effects)[1]
    assert {first["method"], second["method"]} == {"roots/list", "elicitation/create"}
    assert new.client(id=first["id"], result={"roots": []}) == ([], [])
    effect = new.core.from_client(message(id=second["id"], result={"action": "accept"}), 0.0)
    (again,) = new.bridge.from_client(effect)
    assert f'"requestState":{state}'.encode() in again.message.data
    sent = json.loads(again.message.data)
    assert sent["params"]["inputResponses"] == {"a": {"roots": []}, "b": {"action": "accept"}}
    _, (answer,) = new.server(id=1, result={"resultType": "complete", "content": []})
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
    assert not new.core.pending
    assert not new.core.asked


def ask(new: New, number: int = 1, method: str = "elicitation/create") -> tuple[list, list]:
    requests = {"k": {"method": method, "params": {}}}
    result = {"resultType": "input_required", "inputRequests": requests, "requestState": "s"}
    return new.server(id=number, result=result)


def test_a_client_that_refuses_to_answer_ends_its_call():
    new = New()
    new.call(1)
    _, (question,) = ask(new)
    _, (failed,) = new.client(id=question["id"], error={"code": -1, "message": "no user"})
    assert failed["id"] == 1
    assert "no user" in failed["error"]["message"]
    assert not new.core.pending


def test_a_question_beyond_the_clients_capabilities_ends_the_call():
    new = New(offered={})
    new.call(1)
    _, (failed,) = ask(new)
    assert "lacks the capability" in failed["error"]["message"]


def test_a_cancelled_call_sends_no_more_questions():
    new = New()
    new.call(1)
    _, (question,) = ask(new)
    new.client(method="notifications/cancelled", params={"requestId": 1})
    assert new.client(id=question["id"], result={"action": "accept"}) == ([], [])
    assert not new.core.pending


def test_the_number_of_rounds_is_limited():
    new = New()
    new.call(1)
    for _ in range(MAX_ROUNDS):
        _, (question,) = ask(new)
        new.client(id=question["id"], result={"action": "accept"})
    _, (failed,) = ask(new)
    assert str(MAX_ROUNDS) in failed["error"]["message"]


def test_one_subscription_follows_what_the_client_subscribed_to():
    new = New()
    (first,), _ = new.client(method="notifications/initialized")
    assert first["method"] == "subscriptions/listen"
    assert first["params"]["notifications"] == {"toolsListChanged": True, "resourcesListChanged": True}

    def acknowledge(listen: dict[str, Any]) -> Any:
        params = {"_meta": {SUB: listen["id"]}, "notifications": listen["params"]["notifications"]}
        return new.server(method="notifications/subscriptions/acknowledged", params=params)

    assert acknowledge(first) == ([], [])
    (second,), answers = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    assert answers == []
    assert second["params"]["notifications"]["resourceSubscriptions"] == ["a://1"]
    (ended,), (answered,) = acknowledge(second)
    assert (ended["method"], ended["params"]["requestId"]) == ("notifications/cancelled", first["id"])
    assert answered == {"jsonrpc": "2.0", "id": 1, "result": {}}
    updated = {"uri": "a://1", "_meta": {SUB: second["id"]}}
    _, (note,) = new.server(method="notifications/resources/updated", params=updated)
    assert note["params"] == {"uri": "a://1"}
    stale = {"_meta": {SUB: first["id"]}}
    assert new.server(method="notifications/tools/list_changed", params=stale) == ([], [])


GONE = {"code": -31001, "message": "gone"}


def acknowledge(new: New, listen_request: dict[str, Any], uris: list[str] | None = None) -> Any:
    asked = listen_request["params"]["notifications"]
    honored = asked if uris is None else {**asked, "resourceSubscriptions": uris}
    params = {"_meta": {SUB: listen_request["id"]}, "notifications": honored}
    return new.server(method="notifications/subscriptions/acknowledged", params=params)


def test_a_lost_subscription_is_renewed_and_possible_changes_are_announced():
    new = New()
    (listen_request,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    acknowledge(new, listen_request)
    assert new.server(id=listen_request["id"], error=GONE) == ([], [])
    (again,), notes = new.again()
    assert (again["method"], notes) == ("subscriptions/listen", [])
    assert again["params"]["notifications"]["resourceSubscriptions"] == ["a://1"]
    _, notes = acknowledge(new, again)
    assert [note["method"] for note in notes] == [
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    ]
    assert notes[-1]["params"] == {"uri": "a://1"}
    taken_back = {"method": "notifications/cancelled", "params": {"requestId": again["id"]}}
    new.server(**taken_back)
    assert new.delays == [1, 1], "a success begins anew"


def test_a_subscription_is_retried_while_the_server_is_down():
    new = New()
    (sent,), _ = new.client(method="notifications/initialized")
    for _ in range(7):
        assert new.server(id=sent["id"], error=GONE) == ([], [])
        (sent,), _ = new.again()
    assert new.delays == [1, 2, 4, 8, 16, 30, 30]
    new.server(id=sent["id"], error=GONE)
    forwarded, _ = new.client(id=1, method="tools/list", params={})
    assert [each["method"] for each in forwarded] == ["subscriptions/listen", "tools/list"]
    assert new.again() == ([], []), "once at a time"


def test_a_subscription_is_retried_after_the_server_died_while_another_was_pending():
    new = New()
    (first,), _ = new.client(method="notifications/initialized")
    acknowledge(new, first)
    (second,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    assert new.server(id=first["id"], error=GONE) == ([], [])
    _, (failed,) = new.server(id=second["id"], error=GONE)
    assert (failed["id"], failed["error"]) == (1, GONE), "what failed is said"
    (again,), _ = new.again()
    assert again["params"]["notifications"] == first["params"]["notifications"]


def test_a_server_that_supports_no_subscription_gets_one_request():
    new = New()
    (sent,), _ = new.client(method="notifications/initialized")
    unknown = {"code": -32601, "message": "Method not found"}
    assert new.server(id=sent["id"], error=unknown) == ([], [])
    assert new.delays == []
    forwarded, _ = new.client(id=1, method="tools/list", params={})
    assert [each["method"] for each in forwarded] == ["tools/list"]
    (sent,), _ = new.client(id=2, method="resources/subscribe", params={"uri": "a://1"})
    _, (failed,) = new.server(id=sent["id"], error=unknown)
    assert (failed["id"], failed["error"]["code"]) == (2, -32601)


def test_a_resource_that_cannot_be_followed_is_refused():
    new = New()
    (first,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    _, (failed,) = acknowledge(new, first, [])
    assert (failed["id"], failed["error"]["code"]) == (1, -32002)
    (second,), _ = new.client(id=2, method="resources/subscribe", params={"uri": "a://2"})
    assert second["params"]["notifications"]["resourceSubscriptions"] == ["a://2"]


def test_a_burst_of_subscriptions_makes_at_most_two_requests():
    new = New()
    sent: list[dict[str, Any]] = []
    for number in range(90):
        forwarded, answers = new.client(
            id=number, method="resources/subscribe", params={"uri": f"a://{number}"}
        )
        assert answers == []
        sent += forwarded
    (first,) = sent
    (rest,), (answered,) = acknowledge(new, first)
    assert answered["id"] == 0
    assert len(rest["params"]["notifications"]["resourceSubscriptions"]) == 90
    (ended,), answers = acknowledge(new, rest)
    assert ended["params"]["requestId"] == first["id"]
    assert [answer["id"] for answer in answers] == list(range(1, 90))


def test_a_log_level_renews_the_subscription_and_must_be_valid():
    new = New()
    (listen_request,), _ = new.client(method="notifications/initialized")
    acknowledge(new, listen_request)
    (again,), (done,) = new.client(id=1, method="logging/setLevel", params={"level": "debug"})
    assert done["result"] == {}
    assert again["params"]["_meta"][messages.LOG_LEVEL_KEY] == "debug"
    _, (refused,) = new.client(id=2, method="logging/setLevel", params={"level": "loud"})
    assert refused["error"]["code"] == -32602
    assert "emergency" in refused["error"]["message"]


def test_a_call_that_its_client_cancels_is_abandoned_at_the_server():
    for leave in ("refuse", "cancel"):
        new = New()
        new.call(1)
        result = {
            "resultType": "input_required",
            "inputRequests": {"a": {"method": "roots/list"}},
            "requestState": "the-state",
        }
        _, (question,) = new.server(id=1, result=result)
        if leave == "refuse":
            sent = message(id=question["id"], error={"code": -1, "message": "no"})
        else:
            sent = message(method="notifications/cancelled", params={"requestId": 1})
        effects = new.bridge.from_client(new.core.from_client(sent, 0.0))
        assert [effect.state for effect in effects if isinstance(effect, Abandon)] == ["the-state"], leave


def test_malformed_questions_end_their_call():
    new = New()
    new.call(1)
    _, (failed,) = new.server(id=1, result={"resultType": "input_required", "inputRequests": [1]})
    assert "malformed" in failed["error"]["message"]
    assert not new.core.pending


def test_an_abandoned_call_ends_at_its_server():
    old = Old()
    asked = old.ask(1)
    refused, cancelled = old.read(old.bridge.abandon(asked["result"]["requestState"]).to_server)
    assert (refused["id"], cancelled["method"]) == ("s1", "notifications/cancelled")
    assert old.bridge.parked == 0


@pytest.mark.parametrize("state", [7, None, {"a": 1}, [], True])
def test_a_state_that_is_not_a_string_is_refused(state):
    old = Old()
    to_server, (refused,) = old.client(1, "tools/call", name="t", requestState=state)
    assert to_server == []
    assert refused["error"]["code"] == -32602


def test_a_second_subscriber_waits_for_the_servers_answer_too():
    old = Old()
    (subscribe,), _ = listen(old, 1, "a://1")
    assert listen(old, 2, "a://1") == ([], [])
    _, acknowledged = old.server(id=subscribe["id"], error={"code": -1, "message": "no"})
    assert [note["params"]["_meta"][SUB] for note in acknowledged] == [1, 2]
    assert all(note["params"]["notifications"] == {} for note in acknowledged)


def test_an_update_concerns_resources_below_it_but_not_similar_names():
    old = Old()
    (subscribe,), _ = listen(old, 1, "a://dir")
    old.server(id=subscribe["id"], result={})
    for uri, told in (("a://dir", 1), ("a://dir/x", 1), ("a://dir?x", 1), ("a://directory", 0)):
        _, notes = old.server(method="notifications/resources/updated", params={"uri": uri})
        assert len(notes) == told, uri


def test_an_invalid_log_level_is_refused():
    old = Old()
    to_server, (refused,) = old.client(1, "tools/list", _meta={messages.LOG_LEVEL_KEY: "loud"})
    assert (to_server, refused["error"]["code"]) == ([], -32602)


def test_an_answer_whose_id_became_a_string_is_accepted():
    old = Old()
    old.client(1, "tools/list")
    _, (answer,) = old.server(id="1", result={"tools": []})
    assert answer["id"] == 1


def test_the_number_of_calls_that_wait_for_a_page_is_limited():
    old = Old()
    error = {
        "code": -32042,
        "message": "visit",
        "data": {"elicitations": [{"mode": "url", "url": "http://x"}]},
    }
    for number in range(1, MAX_PARKED + 2):
        old.client(number, "tools/call", name="t")
        _, (answer,) = old.server(id=number, error=error)
    assert str(MAX_PARKED) in answer["error"]["message"]


def test_a_question_for_a_client_that_left_goes_to_no_other():
    old = Old(shared=True)
    old.client(1, "tools/call", "A", name="t")
    old.cancel(1, "A")
    old.client(2, "tools/call", "B", name="t")
    (refused,), to_clients = old.server(id="q", method="elicitation/create", params={"message": "A?"})
    assert to_clients == []
    assert "several clients" in refused["error"]["message"]
    old.server(id=1, result={"content": []})  # now the cancelled call has ended
    _, (asked,) = old.server(id="q2", method="elicitation/create", params={"message": "B?"})
    assert asked["id"] == 2


@pytest.mark.parametrize(("count", "size"), [(MAX_QUESTIONS + 1, 1), (3, 600_000)])
def test_the_number_of_questions_for_a_detached_client_is_limited(count, size):
    old = Old()
    old.ask(1)
    for number in range(count):
        params = {"message": "x" * size}
        to_server, _ = old.server(id=number, method="elicitation/create", params=params)
    assert "too many questions" in to_server[0]["error"]["message"]


def test_the_number_of_followed_resources_is_limited():
    old = Old()
    subscribes, _ = listen(old, 1, *(f"a://{number}" for number in range(MAX_URIS + 5)))
    assert len(subscribes) == MAX_URIS
    assert listen(old, 2, "a://1")[0] == []
    _, (acknowledged,) = listen(old, 3, "b://1")
    assert acknowledged["params"]["notifications"] == {}


# --- the edges of both bridges --------------------------------------------------------------------


def test_a_question_that_the_server_withdraws_is_not_answered():
    old = Old()
    old.client(1, "tools/call", name="t")
    old.server(id="s1", method="elicitation/create", params={"message": "?"})
    old.server(id="s2", method="elicitation/create", params={"message": "another"})
    old.server(method="notifications/cancelled", params={"requestId": "s2"})
    to_server, _ = old.cancel(1)
    assert to_server == [], "a parked call is not in flight under this id"
    to_server, _ = old.step(old.bridge.owner_left("A"))
    assert [sent.get("id") for sent in to_server] == ["s1", None]


def test_logs_and_progress_reach_only_clients_that_requested_them():
    old = Old()
    progress = {"method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
    log = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
    old.client(1, "tools/call", name="t")
    assert old.server(**progress) == old.server(**log) == ([], [])
    old.client(2, "tools/call", name="t", _meta={"progressToken": 2, messages.LOG_LEVEL_KEY: "info"})
    _, (told,) = old.server(method="notifications/progress", params={"progressToken": 2, "progress": 1})
    assert told["params"]["progressToken"] == 2
    assert old.server(**log)[1][0]["method"] == "notifications/message"
    assert old.server(method="notifications/unknown") == ([], [])


def test_changed_roots_are_announced_to_a_private_server_only():
    note = message(method="notifications/roots/list_changed")
    for shared, expected in ((False, ["notifications/roots/list_changed"]), (True, [])):
        old = Old(shared=shared)
        to_server, _ = old.step(old.bridge.from_client(note, "A", 0.0))
        assert [sent["method"] for sent in to_server] == expected
        assert old.step(old.bridge.from_client(message(method="notifications/x"), "A", 0.0)) == ([], [])


def test_a_cancellation_of_what_is_not_in_flight_changes_nothing():
    assert Old().cancel(7) == ([], [])


def test_the_number_of_remembered_abandoned_calls_is_limited(monkeypatch):
    monkeypatch.setattr("mcp_ws_ide.core.bridges.legacy_server.MAX_GHOSTS", 1)
    old = Old(shared=True)
    for number in (1, 2):
        old.client(number, "tools/call", name="t")
        old.cancel(number)
    assert list(old.bridge._ghosts) == [2]


def test_a_page_to_visit_is_an_error_for_a_client_that_cannot_be_asked():
    old = Old()
    old.client(1, "tools/call", name="t")
    _, (answer,) = old.server(id=1, error={"code": -32042, "message": "visit", "data": {}})
    assert answer["error"]["code"] == -32042


@pytest.mark.parametrize("result", ["text", [1], None])
def test_a_result_that_is_not_an_object_passes_unchanged(result):
    old = Old()
    old.client(1, "tools/call", name="t")
    assert old.server(id=1, result=result)[1] == [{"jsonrpc": "2.0", "id": 1, "result": result}]


def test_a_server_without_a_name_or_instructions_is_discovered_without():
    states = map(str, itertools.count())
    bridge = LegacyServer(shared=False, new_state=lambda: next(states), park_time=1)
    (line,) = bridge.start(b"{}", "0").to_server
    bridge.from_server(message(id=json.loads(line.data)["id"], result={"capabilities": {}}), 0.0)
    step = bridge.from_client(message(id=1, method="server/discover", params={"_meta": meta()}), "A", 0.0)
    result = json.loads(step.to_clients[0].result)
    assert not {"instructions", "_meta"} & set(result)


def test_a_request_of_a_modern_server_passes_unchanged():
    request = message(id=1, method="ping")
    (effect,) = New().bridge.to_client(request, None)
    assert effect.message is request


def test_a_notification_without_a_subscription_passes_and_logs_may_be_dropped():
    new = New()
    for method, droppable in (("notifications/message", True), ("notifications/x", False)):
        (effect,) = new.bridge.to_client(message(method=method, params={}), None)
        assert effect.droppable is droppable
    assert new.server(method="notifications/x", params={"_meta": {SUB: "old"}}) == ([], [])


def test_an_elicitation_by_url_gets_an_id_and_a_retry_needs_no_state():
    new = New()
    new.call(1)
    requests = {"k": {"method": "elicitation/create", "params": {"mode": "url", "url": "https://x"}}}
    _, (question,) = new.server(id=1, result={"resultType": "input_required", "inputRequests": requests})
    assert question["params"]["elicitationId"] == question["id"]
    (again,), _ = new.client(id=question["id"], result={"action": "accept"})
    assert "requestState" not in again["params"]
    assert new.server(id=1, result={"resultType": "input_required"})[0], (
        "without a question it goes on at once"
    )


def test_a_result_of_another_type_is_a_complete_one():
    new = New()
    new.call(1)
    _, (answer,) = new.server(id=1, result={"resultType": 7, "content": []})
    assert answer["result"] == {"content": []}


def test_notifications_without_a_modern_counterpart_are_dropped():
    new = New()
    assert new.client(method="notifications/roots/list_changed") == ([], [])


def test_an_answer_after_its_call_was_given_up_is_ignored():
    new = New()
    new.call(1)
    _, (question,) = ask(new)
    new.core.pending.clear()
    assert new.client(id=question["id"], result={}) == ([], [])
    assert new.bridge._calls == {}


def test_an_answer_to_a_replaced_subscription_is_ignored():
    assert New().server(id="\0mcp-ws-99", result={}) == ([], [])


def test_instructions_of_a_modern_server_reach_the_client():
    core = SessionCore(9)
    bridge = legacy_client(core)
    bridge.from_client(core.from_client(message(id=1, method="initialize", params={}), 0.0))
    result = {"supportedVersions": ["2026-07-28"], "capabilities": {}, "instructions": "be kind"}
    (answer,) = bridge.to_client(message(id=1, result=result), core.pending[1])
    assert json.loads(answer.message.result)["instructions"] == "be kind"


def test_results_keep_meta_that_is_not_the_servers_name():
    new = New()
    new.call(1)
    _, (answer,) = new.server(id=1, result={"content": [], "_meta": {"x": 1}})
    assert answer["result"]["_meta"] == {"x": 1}


def test_a_subscription_needs_a_uri_and_their_number_is_limited(monkeypatch):
    monkeypatch.setattr("mcp_ws_ide.core.bridges.client_subscription.MAX_URIS", 1)
    new = New()
    _, (refused,) = new.client(id=1, method="resources/subscribe", params={})
    assert refused["error"]["message"] == "params.uri must be a string"
    new.client(id=2, method="resources/subscribe", params={"uri": "a://1"})
    _, (full,) = new.client(id=3, method="resources/subscribe", params={"uri": "a://2"})
    assert "unsubscribe from one" in full["error"]["message"]


def test_without_lists_the_last_unsubscription_ends_the_subscription():
    new = New(capabilities={"resources": {}})
    (first,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    acknowledge(new, first, ["a://1"])
    (cancel,), (answer,) = new.client(id=2, method="resources/unsubscribe", params={"uri": "a://1"})
    assert (cancel["params"]["requestId"], answer["result"]) == (first["id"], {})


def test_a_refused_subscription_still_unsubscribes():
    new = New(capabilities={"resources": {}})
    (first,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    new.client(id=2, method="resources/unsubscribe", params={"uri": "a://1"})
    _, answers = new.server(id=first["id"], error={"code": -32601, "message": "no"})
    assert [("error" in answer, answer["id"]) for answer in answers] == [(True, 1), (False, 2)]


def test_an_acknowledgement_of_an_unknown_subscription_is_ignored():
    note = {"method": "notifications/subscriptions/acknowledged", "params": {"_meta": {SUB: "x"}}}
    assert New().server(**note) == ([], [])


def test_a_state_that_names_no_call_ends_nothing():
    assert Old().step(Old().bridge.abandon("unknown")) == ([], [])


def test_a_subscription_that_ends_before_the_servers_answer_is_not_acknowledged():
    old = Old()
    (subscribe,), _ = listen(old, 1, "a://1")
    (unsubscribe,), _ = old.cancel(1)
    assert unsubscribe["method"] == "resources/unsubscribe"
    (again,), _ = listen(old, 2, "a://1")
    assert old.server(id=subscribe["id"], result={}) == ([], []), "the answer belongs to the first attempt"
    _, (acknowledged,) = old.server(id=again["id"], result={})
    assert acknowledged["params"]["_meta"][SUB] == 2


def test_an_error_of_a_modern_server_reaches_the_client():
    new = New()
    new.call(1)
    _, (answer,) = new.server(id=1, error={"code": -5, "message": "no"})
    assert answer["error"]["code"] == -5


def test_a_notification_of_the_subscription_loses_its_id_and_nothing_else():
    new = New()
    (first,), _ = new.client(method="notifications/initialized")
    acknowledge(new, first)
    _, (bare,) = new.server(method="notifications/x", params={"_meta": {SUB: first["id"]}})
    _, (kept,) = new.server(method="notifications/x", params={"_meta": {SUB: first["id"], "y": 1}})
    assert (bare["params"], kept["params"]) == ({}, {"_meta": {"y": 1}})


@pytest.mark.parametrize(("code", "refuses"), [(-32601, True), (-32022, True), (-32603, False)])
def test_some_errors_show_that_a_server_has_no_handshake(code, refuses):
    assert refuses_handshake(messages.error(b"1", code, "no")) is refuses


def test_only_one_attempt_is_scheduled_at_a_time():
    new = New()
    (first,), _ = new.client(method="notifications/initialized")
    acknowledge(new, first)
    lost = {"code": UPSTREAM_LOST, "message": "gone"}
    new.server(id=first["id"], error=lost)
    (second,), _ = new.client(id=1, method="resources/subscribe", params={"uri": "a://1"})
    new.server(id=second["id"], error=lost)
    assert len(new.delays) == 1


def test_the_bridge_tells_answers_that_name_no_open_request_from_late_ones():
    old = Old()
    old.client(5, "tools/call")
    assert old.bridge.open_ids() == [b"5"]
    for strange in (None, "x", 99):
        assert old.bridge.from_server(message(id=strange, result={}), 0.0).unnamed
    for late in (old.initialize["id"], "mcp-ws-77"):
        assert not old.bridge.from_server(message(id=late, result={}), 0.0).unnamed
    _, (answer,) = old.server(id="5", result={"content": []})
    assert answer["id"] == 5
    assert old.bridge.open_ids() == []


def test_what_the_bridge_itself_asks_is_open_until_it_is_answered():
    bridge = LegacyServer(shared=True, new_state=str, park_time=1)
    (initialize,) = bridge.start(b"{}", "0").to_server
    assert bridge.open_ids() == [initialize.id]


TASKS = "io.modelcontextprotocol/tasks"


def test_tasks_of_neither_era_are_announced_across_the_bridge():
    announced = {**CAPABILITIES, "extensions": {TASKS: {}, "x/other": {"a": 1}}}
    old = Old(capabilities=announced)
    _, (answer,) = old.client(1, "server/discover")
    offered = answer["result"]["capabilities"]
    assert ("tasks" not in offered, offered["extensions"]) == (True, {"x/other": {"a": 1}})
    new = New(capabilities={"tools": {}, "extensions": announced["extensions"]})
    assert new.initialized["result"]["capabilities"]["extensions"] == {"x/other": {"a": 1}}


def test_a_client_declares_no_tasks_across_the_bridge():
    declared = {"sampling": {}, "tasks": {"list": {}}, "extensions": {TASKS: {}, "x/other": {}}}
    kept = {"sampling": {}, "extensions": {"x/other": {}}}
    first = json.dumps({"_meta": {"io.modelcontextprotocol/clientCapabilities": declared}}).encode()
    bridge = LegacyServer(shared=False, new_state=str, park_time=600)
    (initialize,) = Old.read(bridge.start(first, "0").to_server)
    assert initialize["params"]["capabilities"] == kept
    new = New(offered=declared)
    assert new.discover["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == kept


def test_a_call_that_asks_for_a_task_is_an_ordinary_call_across_the_bridge():
    old = Old()
    ((sent, *_), _) = old.client(1, "tools/call", name="t", task={"ttl": 1})
    assert sent["params"] == {"name": "t"}
    assert "task" not in New().call(1, task={"ttl": 1})["params"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_requests_of_tasks_do_not_reach_a_server_that_has_other_ones(method):
    to_server, (answer,) = Old().client(1, method, taskId="t1")
    assert (to_server, answer["error"]["code"]) == ([], -32601)
    assert "not bridged" in answer["error"]["message"]


RUNS_TASKS = {**CAPABILITIES, "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}}
ABOUT_TASK = {"io.modelcontextprotocol/related-task": {"taskId": "t1"}}


def listing(old: Old) -> None:
    """Let the bridge see a list with a tool that runs only as a task."""
    tools = [{"name": "only", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}]
    tools += [{"name": "either", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}}]
    old.client(1, "tools/list")
    _, (answer,) = old.server(id=1, result={"tools": tools})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["only", "either"]


def begun(old: Old, number: int = 2) -> dict[str, Any]:
    """Call a tool whose server makes a task of it; return the request for the task's result."""
    (call,), _ = old.client(
        number, "tools/call", name="only", arguments={"a": 1}, _meta={"progressToken": number}
    )
    assert call["params"] == {
        "name": "only",
        "arguments": {"a": 1},
        "_meta": {"progressToken": number},
        "task": {},
    }
    (asked,), to_clients = old.server(id=call["id"], result={"task": {"taskId": "t1", "status": "working"}})
    assert (asked["method"], asked["params"], to_clients) == ("tasks/result", {"taskId": "t1"}, [])
    return asked


def test_a_tool_that_runs_only_as_a_task_is_called_as_one_and_its_result_is_that_of_the_call():
    old = Old(capabilities=RUNS_TASKS)
    listing(old)
    asked = begun(old)
    assert old.bridge.open_ids() == [json.dumps(asked["id"]).encode()]
    progress = {"progressToken": 2, "progress": 1}
    assert old.server(method="notifications/progress", params=progress)[1][0]["params"] == progress
    _, (answer,) = old.server(id=asked["id"], result={"content": [], "_meta": ABOUT_TASK})
    assert (answer["id"], answer["result"]["resultType"]) == (2, "complete")
    (call,), _ = old.client(3, "tools/call", name="either")
    assert "task" not in call["params"], "a tool that need not be a task is none"


def test_a_tool_that_refuses_a_call_without_a_task_is_called_again_as_one():
    old = Old(capabilities=RUNS_TASKS)
    (call,), _ = old.client(2, "tools/call", name="only")
    assert "task" not in call["params"]
    (again,), to_clients = old.server(id=2, error={"code": -32601, "message": "requires a task"})
    assert (again["params"]["task"], to_clients) == ({}, [])
    (asked,), _ = old.server(id=again["id"], result={"task": {"taskId": "t1"}})
    assert old.server(id=asked["id"], error={"code": -5, "message": "x"})[1][0]["error"]["code"] == -5
    old.client(3, "tools/call", name="unknown")
    (again,), _ = old.server(id=3, error={"code": -32601, "message": "no such tool"})
    _, (answer,) = old.server(id=again["id"], error={"code": -32601, "message": "no such tool"})
    assert (answer["id"], answer["error"]["code"]) == (3, -32601)


@pytest.mark.parametrize("offered", [CAPABILITIES, {"tools": {}}, {"tasks": {"requests": 7}}])
def test_a_server_that_runs_no_tools_as_tasks_is_asked_for_none(offered):
    old = Old(capabilities=offered)
    listing(old)
    (call,), _ = old.client(2, "tools/call", name="only")
    assert "task" not in call["params"]
    assert old.server(id=2, error={"code": -32601, "message": "no"})[1][0]["error"]["code"] == -32601


def test_a_question_of_a_task_parks_its_call_and_the_answer_names_the_task():
    old = Old(capabilities=RUNS_TASKS)
    listing(old)
    asked = begun(old)
    params = {"message": "name?", "_meta": ABOUT_TASK}
    _, (parked,) = old.server(id="s1", method="elicitation/create", params=params)
    assert parked["result"]["resultType"] == "input_required"
    ((key, question),) = parked["result"]["inputRequests"].items()
    assert "_meta" not in question["params"]
    assert old.server(id=asked["id"], result={"content": []}) == ([], []), "it waits for its client"
    answered = {key: {"action": "accept", "content": {}}}
    state = parked["result"]["requestState"]
    (told,), (answer,) = old.client(3, "tools/call", name="only", requestState=state, inputResponses=answered)
    assert told["result"] == {"action": "accept", "content": {}, "_meta": ABOUT_TASK}
    assert (answer["id"], answer["result"]["content"]) == (3, [])


def test_a_cancelled_call_cancels_its_task():
    old = Old(capabilities=RUNS_TASKS)
    listing(old)
    asked = begun(old)
    (cancel,), _ = old.cancel(2)
    assert (cancel["method"], cancel["params"]) == ("tasks/cancel", {"taskId": "t1"})
    assert old.server(id=asked["id"], error={"code": -1, "message": "cancelled"}) == ([], [])
    (call,), _ = old.client(3, "tools/call", name="only")
    assert old.cancel(3) == ([], []), "there is no task yet"
    (cancel,), to_clients = old.server(id=call["id"], result={"task": {"taskId": "t2"}})
    assert (cancel["params"], to_clients) == ({"taskId": "t2"}, [])
