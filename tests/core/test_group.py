"""A group of servers, as transcripts of the messages to each member and to the client."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import LISTS
from mcp_ws_ide.core.group import ACKNOWLEDGE_TIME, Group, Out
from mcp_ws_ide.core.group_merge import GATHER_TIME, LEAST_ITEM_BYTES, MAX_LIST_BYTES
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.pages import MAX_PAGES

SUB = messages.SUBSCRIPTION_ID_KEY
SCHEMA = {"type": "object"}
SCHEMA_JSON = '"inputSchema":{"type":"object"}'


def message(**members: Any) -> messages.Message:
    return messages.parse(json.dumps({"jsonrpc": "2.0", **members}).encode())


class Rig:
    def __init__(self, *members: str) -> None:
        self.group = Group("team", members or ("a", "b"), "1")

    def read(self, out: Out) -> tuple[list[tuple[str, dict[str, Any]]], list[dict[str, Any]]]:
        return [(m, json.loads(one.data)) for m, one in out.to_members], [
            json.loads(one.data) for one in out.to_client
        ]

    def client(self, number: int, method: str, **params: Any) -> Any:
        return self.read(self.group.from_client(message(id=number, method=method, params=params)))

    def cancel(self, number: int) -> list[str]:
        note = message(method="notifications/cancelled", params={"requestId": number})
        return [member for member, _ in self.read(self.group.from_client(note))[0]]

    def member(self, name: str, **members: Any) -> Any:
        return self.read(self.group.from_member(name, message(**members)))


def test_discovery_merges_capabilities_and_instructions():
    rig = Rig()
    to_members, _ = rig.client(1, "server/discover")
    assert [member for member, _ in to_members] == ["a", "b"]
    assert rig.member(
        "b", id=1, result={"capabilities": {"tools": {}, "prompts": {}}, "instructions": "be B"}
    ) == ([], [])
    one = {"capabilities": {"tools": {"listChanged": True}}, "instructions": "be A"}
    _, (answer,) = rig.member("a", id=1, result=one)
    result = answer["result"]
    assert result["capabilities"] == {"tools": {"listChanged": True}, "prompts": {}}
    assert result["instructions"] == "a: be A\n\nb: be B"
    assert result["supportedVersions"] == ["2026-07-28"]


def test_lists_are_merged_in_the_order_of_the_members_over_all_pages():
    rig = Rig()
    rig.client(1, "tools/list", cursor="x", _meta={"k": 1})
    rig.member("b", id=1, result={"tools": [{"name": "t", "inputSchema": SCHEMA, "big": 1.10}]})
    ((member, page),), _ = rig.member(
        "a", id=1, result={"tools": [{"name": "t", "inputSchema": SCHEMA}], "nextCursor": "2"}
    )
    assert (member, page["params"]) == ("a", {"cursor": "2", "_meta": {"k": 1}})
    _, (answer,) = rig.member("a", id=1, result={"tools": [{"name": "u", "inputSchema": SCHEMA}]})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__t", "a__u", "b__t"]
    assert answer["result"]["resultType"] == "complete"


def test_a_failing_member_is_named_and_the_others_still_answer():
    rig = Rig()
    rig.client(1, "tools/list")
    rig.member("a", id=1, error={"code": -31002, "message": "no such command"})
    _, (answer,) = rig.member("b", id=1, result={"tools": [{"name": "t", "inputSchema": SCHEMA}]})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["b__t"]
    assert answer["result"]["_meta"][UNAVAILABLE_KEY] == {"a": "no such command"}
    rig.client(2, "prompts/list")
    rig.member("a", id=2, error={"code": -32601, "message": "x"})
    _, (answer,) = rig.member("b", id=2, error={"code": -32601, "message": "x"})
    assert answer["error"]["code"] == -32601


def test_a_silent_member_holds_no_list():
    rig = Rig("a", "mute", "c")
    rig.client(1, "tools/list")
    assert rig.read(rig.group.tick(0.0)) == rig.read(rig.group.tick(GATHER_TIME)) == ([], []), (
        "none has answered"
    )
    rig.member("a", id=1, result={"tools": [{"name": "t", "inputSchema": SCHEMA}], "nextCursor": "2"})
    assert rig.read(rig.group.tick(99.0)) == ([], []), "it is still being read"
    for member in "ac":
        rig.member(member, id=1, result={"tools": []})
    assert rig.read(rig.group.tick(100.0)) == ([], [])
    cancelled, (answer,) = rig.read(rig.group.tick(100.0 + GATHER_TIME))
    assert [(member, note["params"]["requestId"]) for member, note in cancelled] == [("mute", 1)]
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__t"]
    assert answer["result"]["_meta"][UNAVAILABLE_KEY] == {"mute": "it did not answer tools/list within 30 s"}
    assert rig.member("mute", id=1, result={"tools": []}) == ([], []), "too late"


def test_calls_go_to_the_member_their_name_begins_with():
    rig = Rig("a", "a__b")
    ((member, sent),), _ = rig.client(1, "tools/call", name="a__b__c", arguments={"x": 1.10})
    assert (member, sent["params"]) == ("a__b", {"name": "c", "arguments": {"x": 1.10}})
    ((member, sent),), _ = rig.client(2, "prompts/get", name="a__c")
    assert (member, sent["params"]["name"]) == ("a", "c")
    _, (answer,) = rig.member("a__b", id=1, result={"resultType": "input_required", "requestState": "s"})
    assert answer["id"] == 1
    _, (refused,) = rig.client(3, "prompts/get", name="c")
    assert refused["error"]["code"] == -32602
    assert rig.member("a", id=1, result={}) == ([], []), "an answer that was not asked of it"


def test_resources_belong_to_the_member_that_listed_them():
    rig = Rig()
    rig.client(1, "resources/list")
    rig.member("a", id=1, result={"resources": []})
    rig.member("b", id=1, result={"resources": [{"uri": "x://1"}]})
    ((member, _),), _ = rig.client(2, "resources/read", uri="x://1")
    assert member == "b"


def test_an_unlisted_resource_is_asked_of_each_member_in_turn():
    rig = Rig()
    ((first, _),), _ = rig.client(1, "resources/read", uri="y://1")
    ((second, sent),), answers = rig.member("a", id=1, error={"code": -32602, "message": "no"})
    assert (first, second, sent["id"], answers) == ("a", "b", 1, [])
    _, (answer,) = rig.member("b", id=1, error={"code": -32602, "message": "not here either"})
    assert answer["error"]["message"] == "not here either"


@pytest.mark.parametrize("order", ["abc", "cba", "bac"])
def test_the_most_specific_of_several_errors_is_returned(order):
    rig = Rig(*order)
    rig.client(1, "resources/read", uri="y://1")
    refusals = {
        "a": (-32601, "Method not found"),
        "b": (-32603, "the disk is broken"),
        "c": (-32002, "not found"),
    }
    for member in order:
        code, words = refusals[member]
        _, answers = rig.member(member, id=1, error={"code": code, "message": words})
    assert answers[0]["error"]["message"] == "the disk is broken"


def test_completions_follow_their_reference():
    rig = Rig()
    rig.client(9, "resources/templates/list")
    rig.member("a", id=9, result={"resourceTemplates": []})
    rig.member("b", id=9, result={"resourceTemplates": [{"uriTemplate": "b://{x}", "name": "n"}]})
    ((member, _),), _ = rig.client(
        3, "completion/complete", ref={"type": "ref/resource", "uri": "b://{x}"}, argument={}
    )
    assert member == "b", "who listed the template"
    ((member, sent),), _ = rig.client(
        1, "completion/complete", ref={"type": "ref/prompt", "name": "b__p"}, argument={}
    )
    assert (member, sent["params"]["ref"]["name"]) == ("b", "p")
    ((member, _),), _ = rig.client(
        2, "completion/complete", ref={"type": "ref/resource", "uri": "z://{x}"}, argument={}
    )
    assert member == "a"


def test_subscriptions_reach_every_member_and_are_acknowledged_once():
    rig = Rig()
    rig.client(1, "resources/list")
    rig.member("a", id=1, result={"resources": [{"uri": "a://1"}]})
    rig.member("b", id=1, result={"resources": [{"uri": "b://1"}]})
    filters = {"toolsListChanged": True, "resourceSubscriptions": ["a://1", "b://1", "c://1"]}
    to_members, _ = rig.client(5, "subscriptions/listen", notifications=filters)
    wanted = {member: sent["params"]["notifications"]["resourceSubscriptions"] for member, sent in to_members}
    assert wanted == {"a": ["a://1", "c://1"], "b": ["b://1", "c://1"]}

    def acknowledge(member: str, **honored: Any) -> Any:
        params = {"_meta": {SUB: 5}, "notifications": honored}
        return rig.member(member, method="notifications/subscriptions/acknowledged", params=params)

    assert acknowledge("a", toolsListChanged=True, resourceSubscriptions=["a://1"]) == ([], [])
    _, (note,) = acknowledge("b", resourceSubscriptions=["b://1"])
    assert note["params"]["notifications"] == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["a://1", "b://1"],
    }
    changed = {"method": "notifications/tools/list_changed", "params": {"_meta": {SUB: 5}}}
    assert rig.member("b", **changed)[1][0]["params"]["_meta"] == {SUB: 5}
    ((member, cancelled),), (ended,) = rig.member("a", id=5, error={"code": -31001, "message": "gone"})
    assert (member, cancelled["params"]) == ("b", {"requestId": 5}), "it goes on as a whole or not at all"
    assert (ended["id"], ended["error"]["message"]) == (5, "gone")


def test_a_member_without_subscriptions_is_not_waited_for():
    rig = Rig()
    rig.client(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    assert rig.member("a", id=5, error={"code": -32601, "message": "unknown"}) == ([], [])
    params = {"_meta": {SUB: 5}, "notifications": {"toolsListChanged": True}}
    assert rig.member("b", method="notifications/subscriptions/acknowledged", params=params)[1]


def acknowledge(rig: Rig, member: str, number: int, **honored: Any) -> Any:
    params = {"_meta": {SUB: number}, "notifications": honored}
    return rig.member(member, method="notifications/subscriptions/acknowledged", params=params)


def test_a_subscription_continues_without_a_member_that_does_not_acknowledge_it():
    rig = Rig("a", "mute", "c", "broken")
    rig.client(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    rig.member("broken", id=5, error={"code": -31001, "message": "no such command"})
    for member in "ac":
        assert acknowledge(rig, member, 5, toolsListChanged=True) == ([], [])
    for now in (100.0, 100.0 + ACKNOWLEDGE_TIME - 1):
        assert rig.read(rig.group.tick(now)) == ([], [])
    _, (note,) = rig.read(rig.group.tick(100.0 + ACKNOWLEDGE_TIME))
    assert note["params"]["notifications"] == {"toolsListChanged": True}
    missing = note["params"]["_meta"][UNAVAILABLE_KEY]
    assert missing.pop("broken") == "no such command"
    assert list(missing) == ["mute"]
    assert rig.read(rig.group.tick(200.0)) == ([], []), "once is enough"
    assert acknowledge(rig, "mute", 5, toolsListChanged=True) == ([], [])
    changed = {"method": "notifications/tools/list_changed", "params": {"_meta": {SUB: 5}}}
    assert rig.member("mute", **changed)[1], "late, but heard"


def test_a_change_before_the_acknowledgement_is_delivered_after_it():
    rig = Rig()
    rig.client(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    acknowledge(rig, "a", 5)
    changed = {"method": "notifications/tools/list_changed", "params": {"_meta": {SUB: 5}}}
    for _ in range(2):
        assert rig.member("a", **changed) == ([], [])
    assert rig.member("a", method="notifications/message", params={"level": "info", "data": 1})[1]
    _, told = acknowledge(rig, "b", 5)
    acknowledged = "notifications/subscriptions/acknowledged"
    assert [note["method"] for note in told] == [acknowledged, "notifications/tools/list_changed"]
    assert rig.member("a", **changed)[1]


def test_a_silent_member_is_not_waited_for_again_until_it_acknowledges():
    rig = Rig("a", "mute")
    rig.client(5, "subscriptions/listen", notifications={})
    acknowledge(rig, "a", 5)
    for now in (100.0, 200.0):
        rig.group.tick(now)
    rig.client(6, "subscriptions/listen", notifications={})
    assert list(acknowledge(rig, "a", 6)[1][0]["params"]["_meta"][UNAVAILABLE_KEY]) == ["mute"]
    acknowledge(rig, "mute", 6)
    rig.client(7, "subscriptions/listen", notifications={})
    assert acknowledge(rig, "a", 7) == ([], []), "it is not mute any more"
    assert acknowledge(rig, "mute", 7)[1][0]["params"]["_meta"] == {SUB: 7}


def test_a_subscription_that_no_member_acknowledges_waits():
    rig = Rig()
    rig.client(5, "subscriptions/listen", notifications={})
    for now in (100.0, 200.0):
        assert rig.read(rig.group.tick(now)) == ([], [])
    assert acknowledge(rig, "b", 5)[1], "there is something to hear of now"


def test_a_silent_member_that_exits_does_not_end_the_subscription():
    rig = Rig("a", "mute")
    rig.client(5, "subscriptions/listen", notifications={})
    acknowledge(rig, "a", 5)
    for now in (100.0, 200.0):
        rig.group.tick(now)
    assert rig.member("mute", id=5, error={"code": -31001, "message": "gone"}) == ([], [])
    assert rig.cancel(5) == ["a"]


def cancelled_by(rig: Rig, member: str, number: int) -> Any:
    return rig.member(member, method="notifications/cancelled", params={"requestId": number})


def test_a_subscription_that_one_member_ends_is_ended_at_the_others():
    rig = Rig("a", "b", "c")
    rig.client(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    for member in "abc":
        params = {"_meta": {SUB: 5}, "notifications": {}}
        rig.member(member, method="notifications/subscriptions/acknowledged", params=params)
    to_members, (note,) = cancelled_by(rig, "b", 5)
    assert [(m, sent["params"]) for m, sent in to_members] == [
        ("a", {"requestId": 5}),
        ("c", {"requestId": 5}),
    ]
    assert (note["method"], note["params"]) == ("notifications/cancelled", {"requestId": 5})
    assert cancelled_by(rig, "a", 5) == ([], []), "it is over"


def test_a_subscription_that_one_member_refuses_continues_with_the_others():
    rig = Rig()
    rig.client(5, "subscriptions/listen", notifications={"toolsListChanged": True})
    assert cancelled_by(rig, "a", 5) == ([], [])
    assert cancelled_by(rig, "a", 5) == ([], []), "once is enough"
    params = {"_meta": {SUB: 5}, "notifications": {"toolsListChanged": True}}
    assert rig.member("b", method="notifications/subscriptions/acknowledged", params=params)[1]


def test_a_member_cancels_no_request_of_the_client():
    rig = Rig()
    rig.client(1, "tools/call", name="a__t")
    assert cancelled_by(rig, "a", 1) == ([], [])
    assert rig.member("b", id=1, result={}) == ([], []), "nor answers what another was asked"
    assert rig.member("a", id=1, result={"content": []})[1]


def test_an_endless_list_is_cut_and_its_member_is_named():
    rig = Rig("a")
    to_members, _ = rig.client(1, "tools/list")
    pages = 0
    answers: list[dict[str, Any]] = []
    while to_members:
        pages += 1
        page = {"tools": [{"name": f"t{pages}", "inputSchema": SCHEMA}], "nextCursor": f"more{pages}"}
        to_members, answers = rig.member("a", id=1, result=page)
    assert pages == MAX_PAGES
    assert f"{MAX_PAGES} pages" in answers[0]["result"]["_meta"][UNAVAILABLE_KEY]["a"]
    rig.client(2, "tools/list")
    huge = {
        "tools": [
            {"name": "s", "inputSchema": SCHEMA},
            {"name": "t", "inputSchema": SCHEMA, "description": "x" * MAX_LIST_BYTES},
        ],
        "nextCursor": "more",
    }
    _, (answer,) = rig.member("a", id=2, result=huge)
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__s"]
    assert "at least 1 of its tools are omitted" in answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]


@pytest.mark.parametrize("method, key", list(LISTS.items()))
@pytest.mark.parametrize("length", [0, 3 << 20])
def test_the_response_of_a_group_is_bounded_for_any_number_of_members(method, key, length):
    rig = Rig(*"abcd")
    rig.client(1, method)
    count = 1 if length else MAX_LIST_BYTES // 2 // LEAST_ITEM_BYTES
    members = ("uri", "uriTemplate")
    usual = {"inputSchema": SCHEMA, "description": "x" * length}
    items = [{"name": f"t{n}", **dict.fromkeys(members, f"x:{n}"), **usual} for n in range(count)]
    for member in "dcba":
        out = rig.group.from_member(member, message(id=1, result={key: items}))
    (answer,) = out.to_client
    assert len(answer.data) < MAX_LIST_BYTES + 4096
    result = json.loads(answer.result)
    assert set(result["_meta"][UNAVAILABLE_KEY]) == {"a", "b"}, "those for whom there was no room left"
    assert len(result[key]) == 2 * count


def test_the_descriptions_of_the_members_are_bounded_too():
    rig = Rig("a", "b")
    rig.client(1, "server/discover")
    result = {"capabilities": {"tools": {}}, "instructions": "x" * (5 << 20)}
    rig.member("b", id=1, result=result)
    _, (answer,) = rig.member("a", id=1, result={**result, "capabilities": {"prompts": {}}})
    assert answer["result"]["capabilities"] == {"tools": {}}
    assert "8 MiB" in answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]


@pytest.mark.parametrize(
    "item",
    [
        '{"name":"t\\"é","x":1.10, ' + SCHEMA_JSON + "}",
        ' { "name" : "t\\"é" , "x": 1.10,' + SCHEMA_JSON + "}",
        '{"x":1.10,' + SCHEMA_JSON + ',"name":"t\\"é"}',
        '{"name":"other","x":1.10,"name":"t\\"é", ' + SCHEMA_JSON + "}",
        '{"name":"other","x":1.10,"n\\u0061me":"t\\"é", ' + SCHEMA_JSON + "}",
        '{"x":1.10,"inputSchema":{"type":"object","properties":{"name":{}}},"name":"t\\"é"}',
        '{"name":"t\\"é","inputSchema":{"type":"object","properties":{"name":{"name":"name"}}},"x":1.10}',
    ],
)
def test_a_name_is_prefixed_in_any_position_and_the_rest_keeps_its_bytes(item):
    rig = Rig("a")
    rig.client(1, "tools/list")
    answer = '{"jsonrpc":"2.0","id":1,"result":{"tools":[' + item + "]}}"
    (merged,) = rig.group.from_member("a", messages.parse(answer.encode())).to_client
    (tool,) = json.loads(merged.data)["result"]["tools"]
    assert tool == {**json.loads(item), "name": 'a__t"é'}
    assert b"1.10" in merged.data
    assert merged.data.count(b'"a__') == 1


def test_a_tool_whose_name_reads_as_another_members_is_omitted_and_reported():
    rig = Rig("a", "a__b")
    rig.client(1, "tools/list")
    rig.member(
        "a",
        id=1,
        result={"tools": [{"name": "b__c", "inputSchema": SCHEMA}, {"name": "d", "inputSchema": SCHEMA}]},
    )
    _, (answer,) = rig.member("a__b", id=1, result={"tools": [{"name": "c", "inputSchema": SCHEMA}]})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__d", "a__b__c"]
    assert "'b__c' is omitted" in answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]
    assert rig.client(2, "tools/call", name="a__b__c")[0][0][0] == "a__b"


def test_a_resource_that_is_no_longer_listed_has_no_owner():
    rig = Rig()
    for uri in ("x://1", "x://2"):
        rig.client(1, "resources/list")
        rig.member("a", id=1, result={"resources": []})
        rig.member("b", id=1, result={"resources": [{"uri": uri}]})
    assert rig.client(2, "resources/read", uri="x://2")[0][0][0] == "b"
    assert rig.client(3, "resources/read", uri="x://1")[0][0][0] == "a", "asked of each in turn"


def test_a_great_many_subscriptions_are_acknowledged_in_linear_time():
    rig = Rig()
    uris = [f"x://{number}" for number in range(50_000)]
    rig.client(1, "subscriptions/listen", notifications={"resourceSubscriptions": uris})
    params = {"_meta": {SUB: 1}, "notifications": {"resourceSubscriptions": uris}}
    began = time.process_time()
    for member in ("a", "b"):
        _, answers = rig.member(member, method="notifications/subscriptions/acknowledged", params=params)
    assert len(answers[0]["params"]["notifications"]["resourceSubscriptions"]) == 50_000
    assert time.process_time() - began < 10, "quadratic work takes minutes"


def test_a_cancellation_goes_to_the_member_of_its_request():
    rig = Rig()
    rig.client(1, "tools/call", name="b__t")
    assert rig.cancel(1) == ["b"]
    rig.client(2, "tools/list")
    rig.member("a", id=2, result={"tools": []})
    assert rig.cancel(2) == ["b"]
    rig.client(3, "subscriptions/listen", notifications={})
    assert rig.cancel(3) == ["a", "b"]
    assert rig.cancel(3) == []


def test_requests_to_a_lost_member_fail():
    rig = Rig()
    rig.client(1, "tools/call", name="a__t")
    rig.client(2, "tools/list")
    rig.member("b", id=2, result={"tools": [{"name": "t", "inputSchema": SCHEMA}]})
    rig.client(3, "subscriptions/listen", notifications={})
    _, answers = rig.read(rig.group.lost("a", "it ended"))
    failed, listed = answers
    assert (failed["id"], failed["error"]["data"]) == (1, {"outcome": "unknown"})
    assert (listed["id"], listed["result"]["_meta"][UNAVAILABLE_KEY]) == (2, {"a": "it ended"})
    acknowledged = {"_meta": {SUB: 3}, "notifications": {}}
    assert rig.member("b", method="notifications/subscriptions/acknowledged", params=acknowledged)[1]


@pytest.mark.parametrize("method", ["logging/setLevel", "tasks/list"])
def test_an_unsupported_method_is_refused(method):
    _, (answer,) = Rig().client(1, method)
    assert answer["error"]["code"] == -32601
    assert Rig().client(1, "ping")[1][0]["result"] == {"resultType": "complete"}


def test_an_item_that_is_not_a_tool_is_omitted():
    rig = Rig()
    rig.client(1, "tools/list")
    rig.member("a", id=1, result={"tools": [5, {}, {"name": "t", "inputSchema": SCHEMA}]})
    _, (answer,) = rig.member("b", id=1, result={"tools": [{"name": "u", "inputSchema": SCHEMA}]})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__t", "b__u"]


def test_messages_that_a_group_does_not_support_are_dropped():
    rig = Rig()
    assert rig.read(rig.group.from_client(message(method="notifications/initialized"))) == ([], [])
    assert rig.read(rig.group.from_client(message(id=1, result={}))) == ([], [])
    assert rig.member("a", id=1, method="ping") == ([], [])
    assert rig.member("a", method="notifications/subscriptions/acknowledged", params={}) == ([], [])


def test_a_completion_for_a_prompt_of_no_member_is_refused():
    _, (answer,) = Rig().client(1, "completion/complete", ref={"type": "ref/prompt", "name": "nobody__p"})
    assert answer["error"]["message"] == "Unknown prompt: names begin with one of a__, b__"


@pytest.mark.parametrize("item", [7, {"uri": 7}, {"title": "no address"}])
def test_a_resource_without_a_valid_uri_is_omitted_and_has_no_owner(item):
    rig = Rig("a", "b")
    rig.client(1, "resources/list")
    rig.member("b", id=1, result={"resources": []})
    _, (answer,) = rig.member("a", id=1, result={"resources": [item]})
    assert answer["result"]["resources"] == []
    assert answer["result"]["_meta"][UNAVAILABLE_KEY] == {
        "a": "resources: number 1: omitted, because its uri is not a string"
    }
    assert rig.group._owners["resources/list"] == {}


def test_members_without_instructions_make_a_group_without():
    rig = Rig("a")
    rig.client(1, "server/discover")
    _, (answer,) = rig.member("a", id=1, result={"capabilities": {}})
    assert "instructions" not in answer["result"]


@pytest.mark.parametrize("listed", [None, {}, "t", 7])
def test_a_member_that_answers_without_a_list_is_named(listed):
    rig = Rig()
    rig.client(1, "tools/list")
    rig.member("a", id=1, result={"tools": listed})
    _, (answer,) = rig.member("b", id=1, result={"tools": [{"name": "t", "inputSchema": SCHEMA}]})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["b__t"]
    assert answer["result"]["_meta"][UNAVAILABLE_KEY] == {"a": "its response has no list of tools"}


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (None, SCHEMA),
        ([], SCHEMA),
        ({}, SCHEMA),
        ({"type": None, "properties": [], "required": None}, {**SCHEMA, "properties": {}}),
        ({"type": "OBJECT", "properties": {"a": {}}}, {**SCHEMA, "properties": {"a": {}}}),
    ],
)
def test_a_tool_with_an_incomplete_schema_is_listed_with_one_of_an_object_and_reported(schema, shown):
    rig = Rig("a")
    rig.client(1, "tools/list")
    tools = [{"name": "t", "inputSchema": schema}, {"name": "u", "inputSchema": SCHEMA}, {"name": "v"}]
    _, (answer,) = rig.member("a", id=1, result={"tools": tools})
    assert [tool["inputSchema"] for tool in answer["result"]["tools"]] == [shown, SCHEMA, SCHEMA]
    note = answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]
    assert note == "tools: 't', 'v': its inputSchema was completed to one of an object"


@pytest.mark.parametrize("schema", ["{}", 7, [1], True, {"type": "object", "properties": "none"}])
def test_a_tool_whose_schema_means_nothing_is_omitted_and_the_others_stay(schema):
    rig = Rig("a")
    rig.client(1, "tools/list")
    tools = [{"name": "t", "inputSchema": schema}, {"name": "u", "inputSchema": SCHEMA}]
    _, (answer,) = rig.member("a", id=1, result={"tools": tools})
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["a__u"]
    assert "tools: 't': omitted, because its inputSchema" in answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]


@pytest.mark.parametrize(
    ("method", "item", "shown"),
    [
        ("resources/list", {"uri": "x:1"}, {"uri": "x:1", "name": "x:1"}),
        ("resources/list", {"uri": "x:1", "name": 7}, None),
        ("resources/list", {"uri": "x:1", "name": "n", "title": None}, {"uri": "x:1", "name": "n"}),
        ("resources/templates/list", {"name": "n", "uriTemplate": None}, None),
        (
            "resources/templates/list",
            {"name": None, "uriTemplate": "x:{a}"},
            {"uriTemplate": "x:{a}", "name": "x:{a}"},
        ),
        ("prompts/list", {"name": "p", "arguments": None}, {"name": "a__p"}),
        ("prompts/list", {"name": ["p"]}, None),
    ],
)
def test_items_that_clients_could_not_read_are_mended_or_omitted_and_reported(method, item, shown):
    rig = Rig("a")
    rig.client(1, method)
    _, (answer,) = rig.member("a", id=1, result={LISTS[method]: [item]})
    assert answer["result"][LISTS[method]] == ([] if shown is None else [shown])
    assert LISTS[method] in answer["result"]["_meta"][UNAVAILABLE_KEY]["a"]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ({"a": [60_000], "b": [5000]}, 5000),
        ({"a": [60_000, 1000], "b": [5000]}, 1000),
        ({"a": [60_000], "b": [None]}, 0),
        ({"a": [60_000], "b": ["60000"]}, 0),
        ({"a": [60_000], "b": [-1]}, 0),
    ],
)
def test_a_merged_list_may_be_kept_as_long_as_each_part_of_it_and_by_its_user_only(pages, expected):
    rig = Rig()
    rig.client(1, "tools/list")
    answers: list[dict[str, Any]] = []
    for member, lifetimes in pages.items():
        for number, lifetime in enumerate(lifetimes, 1):
            more = {"nextCursor": str(number)} if number < len(lifetimes) else {}
            tools = [{"name": f"t{number}", "inputSchema": SCHEMA}]
            page = {"tools": tools, "ttlMs": lifetime, "cacheScope": "public", **more}
            _, answers = rig.member(member, id=1, result=page)
    result = answers[0]["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (expected, "private")


def test_a_list_that_lacks_a_member_is_not_to_be_kept():
    rig = Rig()
    rig.client(1, "tools/list")
    rig.member("a", id=1, error={"code": -31002, "message": "no such command"})
    _, (answer,) = rig.member("b", id=1, result={"tools": [], "ttlMs": 60_000})
    assert answer["result"]["ttlMs"] == 0
