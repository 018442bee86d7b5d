"""Apps of a group's members (SEP-1865), calls without a prefix, and unknown methods, as transcripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.group import Group
from mcp_ws_ide.core.list_items import UNAVAILABLE_KEY
from mcp_ws_ide.core.tools import GroupNames, ToolRules, problem, visible
from tests.core.test_group import SCHEMA, Rig

SUB = messages.SUBSCRIPTION_ID_KEY
MAIN = "ui://app/main.html"


def tool(name: str, uri: str = "", **ui: Any) -> dict[str, Any]:
    described = {**({"resourceUri": uri} if uri else {}), **ui}
    return {"name": name, "inputSchema": SCHEMA, **({"_meta": {"ui": described}} if described else {})}


def list_tools(rig: Rig, number: int = 1, **tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rig.client(number, "tools/list")
    answers: list[dict[str, Any]] = []
    for member, offered in tools.items():
        _, answers = rig.member(member, id=number, result={"tools": offered})
    return answers[0]["result"]["tools"]


def list_apps(rig: Rig) -> list[str]:
    rig.client(9, "resources/list")
    answers: list[dict[str, Any]] = []
    for member in "ab":
        resource = {"uri": MAIN, "name": "main"}
        _, answers = rig.member(member, id=9, result={"resources": [resource]})
    return [resource["uri"] for resource in answers[0]["result"]["resources"]]


def test_tools_and_resources_name_the_same_app_and_equal_addresses_do_not_mix():
    rig = Rig("a", "b")
    flat = {"name": "u", "inputSchema": SCHEMA, "_meta": {"ui/resourceUri": MAIN, "other": 1.10}}
    tools = list_tools(rig, a=[tool("t", MAIN, visibility=["model"])], b=[tool("t", MAIN), flat])
    assert [each["_meta"] for each in tools] == [
        {"ui": {"resourceUri": "ui://a/app/main.html", "visibility": ["model"]}},
        {"ui": {"resourceUri": "ui://b/app/main.html"}},
        {"ui/resourceUri": "ui://b/app/main.html", "other": 1.10},
    ]
    assert list_apps(rig) == ["ui://a/app/main.html", "ui://b/app/main.html"]


@pytest.mark.parametrize("listed", [True, False])
def test_an_app_is_read_at_its_own_member_under_its_own_address(listed):
    rig = Rig("a", "b")
    if listed:
        list_apps(rig)
    ((member, sent),), _ = rig.client(2, "resources/read", uri="ui://b/app/main.html")
    assert (member, sent["params"]) == ("b", {"uri": MAIN})
    contents = [{"uri": MAIN, "mimeType": "text/html;profile=mcp-app", "text": '<a href="ui://x">'}]
    _, (answer,) = rig.member("b", id=2, result={"contents": contents, "ttlMs": 0})
    assert answer["result"] == {"contents": [{**contents[0], "uri": "ui://b/app/main.html"}], "ttlMs": 0}


def test_results_link_to_apps_as_lists_do():
    rig = Rig("a", "b")
    rig.client(2, "tools/call", name="a__t")
    content = [
        {"type": "resource_link", "uri": MAIN, "name": "main"},
        {"type": "resource", "resource": {"uri": MAIN, "text": "x"}},
        {"type": "text", "text": MAIN},
        {"type": "resource_link", "uri": "file:///a", "name": "a"},
    ]
    _, (answer,) = rig.member("a", id=2, result={"content": content})
    shown = answer["result"]["content"]
    assert [item.get("uri") for item in shown] == ["ui://a/app/main.html", None, None, "file:///a"]
    assert shown[1]["resource"]["uri"] == "ui://a/app/main.html"
    assert shown[2]["text"] == MAIN


def test_an_app_is_followed_under_the_address_that_lists_show():
    rig = Rig("a", "b")
    list_apps(rig)
    wanted = {"resourceSubscriptions": ["ui://b/app/main.html", "file:///x"]}
    to_members, _ = rig.client(5, "subscriptions/listen", notifications=wanted)
    asked = {member: sent["params"]["notifications"] for member, sent in to_members}
    assert asked == {
        "a": {"resourceSubscriptions": ["file:///x"]},
        "b": {"resourceSubscriptions": [MAIN, "file:///x"]},
    }
    acknowledged = "notifications/subscriptions/acknowledged"
    rig.member("a", method=acknowledged, params={"_meta": {SUB: 5}, "notifications": {}})
    promised = {"resourceSubscriptions": [MAIN]}
    _, (told,) = rig.member("b", method=acknowledged, params={"_meta": {SUB: 5}, "notifications": promised})
    assert told["params"]["notifications"] == {"resourceSubscriptions": ["ui://b/app/main.html"]}
    update = {"_meta": {SUB: 5}, "uri": MAIN}
    _, (told,) = rig.member("b", method="notifications/resources/updated", params=update)
    assert told["params"]["uri"] == "ui://b/app/main.html"


def test_an_app_reads_its_own_resources_by_its_own_addresses():
    rig = Rig("a", "b")
    rig.client(9, "resources/list")
    rig.member("a", id=9, result={"resources": []})
    rig.member("b", id=9, result={"resources": [{"uri": MAIN, "name": "main"}]})
    ((member, sent),), _ = rig.client(2, "resources/read", uri=MAIN)
    assert (member, sent["params"]["uri"]) == ("b", MAIN)
    both = Rig("a", "b")
    list_apps(both)
    to_members, (answer,) = both.client(2, "resources/read", uri=MAIN)
    assert to_members == []
    assert "read one of ui://a/app/main.html, ui://b/app/main.html" in answer["error"]["message"]


@pytest.mark.parametrize("listed", [True, False])
def test_an_app_calls_the_tools_of_its_own_server_by_their_own_names(listed):
    rig = Rig("a", "b")
    tools = {"a": [tool("other")], "b": [tool("refresh", visibility=["app"])]}
    if listed:
        list_tools(rig, **tools)
    meta = {"progressToken": 7, "k": 1}
    to_members, answers = rig.client(3, "tools/call", name="refresh", arguments={"x": 1.10}, _meta=meta)
    if not listed:
        assert [(member, sent["method"]) for member, sent in to_members] == [
            ("a", "tools/list"),
            ("b", "tools/list"),
        ]
        assert all(sent["params"] == {"_meta": {"k": 1}} for _, sent in to_members)
        rig.member("a", id=3, result={"tools": tools["a"], "nextCursor": "2"})
        rig.member("a", id=3, result={"tools": []})
        to_members, answers = rig.member("b", id=3, result={"tools": tools["b"]})
    ((member, sent),) = to_members
    assert (member, sent["method"], answers) == ("b", "tools/call", [])
    assert sent["params"] == {"name": "refresh", "arguments": {"x": 1.10}, "_meta": meta}
    _, (answer,) = rig.member("b", id=3, result={"content": []})
    assert answer["id"] == 3


@pytest.mark.parametrize(
    ("one", "other", "goes_to"),
    [
        ({}, {"uri": MAIN}, "b"),
        ({"uri": MAIN, "visibility": ["model"]}, {"visibility": ["app"]}, "b"),
        ({}, {}, None),
        ({"uri": MAIN}, {"uri": MAIN}, None),
    ],
)
def test_of_equal_names_the_one_that_apps_may_call_is_called(one, other, goes_to):
    rig = Rig("a", "b")
    list_tools(rig, a=[tool("t", **one)], b=[tool("t", **other)])
    to_members, answers = rig.client(3, "tools/call", name="t")
    assert [member for member, _ in to_members] == ([goes_to] if goes_to else [])
    if goes_to is None:
        assert "call one of a__t, b__t" in answers[0]["error"]["message"]


def test_a_call_that_waits_for_the_lists_can_be_cancelled():
    rig = Rig("a", "b")
    rig.client(3, "tools/call", name="t")
    assert rig.cancel(3) == ["a", "b"]
    assert rig.member("a", id=3, result={"tools": [tool("t")]}) == ([], [])


def test_a_call_of_a_name_that_nobody_has_is_refused_after_the_lists():
    rig = Rig("a", "b")
    rig.client(3, "tools/call", name="t")
    rig.member("a", id=3, error={"code": -31002, "message": "no such command"})
    to_members, (answer,) = rig.member("b", id=3, result={"tools": []})
    assert to_members == []
    assert (answer["id"], answer["error"]["code"]) == (3, -32602)
    assert "a__, b__" in answer["error"]["message"]


# --- unknown methods ------------------------------------------------------------------------------


def test_an_unknown_method_goes_to_the_member_that_its_name_or_address_belongs_to():
    rig = Rig("a", "b")
    ((member, sent),), _ = rig.client(1, "skills/get", name="b__review", depth=2)
    assert (member, sent["params"]) == ("b", {"name": "review", "depth": 2})
    _, (answer,) = rig.member("b", id=1, result={"skill": "…"})
    assert answer["result"] == {"skill": "…"}
    ((member, sent),), _ = rig.client(2, "x/open", uri="ui://a/app/main.html")
    assert (member, sent["params"]) == ("a", {"uri": MAIN})
    rig.client(3, "resources/list")
    rig.member("a", id=3, result={"resources": []})
    rig.member("b", id=3, result={"resources": [{"uri": "x://1", "name": "n"}]})
    ((member, _),), _ = rig.client(4, "x/open", uri="x://1")
    assert member == "b"


@pytest.mark.parametrize("params", [{}, {"name": "review"}, {"name": 7}, {"uri": "x://2"}])
def test_an_unknown_method_that_names_no_member_is_refused_with_what_would_pass(params):
    to_members, (answer,) = Rig("a", "b").client(1, "skills/list", **params)
    assert to_members == []
    assert answer["error"]["code"] == -32601
    assert "skills/list" in answer["error"]["message"]
    assert "a__, b__" in answer["error"]["message"]


# --- groups without prefixes ----------------------------------------------------------------------


class BareRig(Rig):
    def __init__(self, *members: str) -> None:
        super().__init__(*members)
        self.group = Group("team", members, "1", bare=True)


def test_without_prefixes_only_equal_names_get_one_and_are_reported():
    rig = BareRig("a", "b")
    rig.client(1, "tools/list")
    rig.member("b", id=1, result={"tools": [tool("same"), tool("two"), tool("a__x")]})
    _, (answer,) = rig.member("a", id=1, result={"tools": [tool("one"), tool("same", MAIN)]})
    shown = answer["result"]["tools"]
    assert [each["name"] for each in shown] == ["one", "a__same", "b__same", "two", "b__a__x"]
    assert shown[1]["_meta"]["ui"]["resourceUri"] == "ui://a/app/main.html"
    notes = answer["result"]["_meta"][UNAVAILABLE_KEY]
    assert notes == {
        "a": "'same' has its prefix, because 'b' has the same name",
        "b": "'same' has its prefix, because 'a' has the same name",
    }
    for name, member, own in (("two", "b", "two"), ("a__same", "a", "same"), ("b__a__x", "b", "a__x")):
        ((to, sent),), _ = rig.client(2, "tools/call", name=name)
        assert (to, sent["params"]["name"]) == (member, own)
        rig.member(to, id=2, result={"content": []})


def test_without_prefixes_prompts_are_found_by_their_own_names_too():
    rig = BareRig("a", "b")
    to_members, _ = rig.client(1, "prompts/get", name="hello", arguments={"n": "x"})
    assert {sent["method"] for _, sent in to_members} == {"prompts/list"}
    rig.member("a", id=1, error={"code": -32601, "message": "no prompts"})
    ((member, sent),), _ = rig.member("b", id=1, result={"prompts": [{"name": "hello"}]})
    assert (member, sent["method"]) == ("b", "prompts/get")
    assert sent["params"] == {"name": "hello", "arguments": {"n": "x"}}
    rig.member("b", id=1, result={"messages": []})
    ref = {"type": "ref/prompt", "name": "hello"}
    ((member, sent),), _ = rig.client(2, "completion/complete", ref=ref, argument={"name": "n", "value": ""})
    assert (member, sent["params"]["ref"]) == ("b", ref)


@pytest.mark.parametrize(
    ("rules", "passing", "refused"),
    [
        (ToolRules(deny=("x",)), ("y",), ("x", "a__x", "b__x")),
        (ToolRules(deny=("a__x",)), ("y",), ("x", "a__x")),
        (ToolRules(allow=("x",)), ("x",), ("y", "a__x")),
        (ToolRules(allow=("a__*",)), ("a__x",), ("x", "b__x")),
    ],
)
def test_without_prefixes_no_other_name_of_a_denied_tool_passes(rules, passing, refused):
    names = GroupNames(("a__", "b__"), bare=True)
    for name in (*passing, *refused):
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}}
        found = problem((rules,), messages.parse(json.dumps(call).encode()), names)
        assert (found is None) == (name in passing), name
    listed = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool(name) for name in (*passing, *refused)]}}
    shown = visible((rules,), messages.parse(json.dumps(listed).encode()), names)
    assert {each["name"] for each in json.loads(shown.result)["tools"]} <= set(passing)
