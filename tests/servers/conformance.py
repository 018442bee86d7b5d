"""A server with every tool, prompt and resource that the MCP conformance suite calls by name; on the Python SDK 2.x.

``conformance.py`` serves stdio; ``conformance.py PORT`` serves Streamable HTTP at ``/mcp`` on 127.0.0.1, with an
event store. The suite's scenarios define what each one returns (``src/scenarios/server`` in its package).
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer, Resolve, Sample
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.streamable_http import EventMessage, EventStore
from pydantic import Field

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.servers.task_fixtures import Tasks

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
MODERN = "2026-07-28"

server = MCPServer("conformance", version="1", extensions=[Tasks()])


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, words: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return types.EmbeddedResource(type="resource", resource=resource)


def result(*content: Any) -> types.CallToolResult:
    return types.CallToolResult(content=list(content))


# --- content ----------------------------------------------------------------------------------------


@server.tool()
def test_simple_text() -> types.CallToolResult:
    """Return text."""
    return result(text("This is a simple text response for testing."))


@server.tool()
def test_image_content() -> types.CallToolResult:
    """An image."""
    return result(image())


@server.tool()
def test_audio_content() -> types.CallToolResult:
    """Return audio."""
    return result(types.AudioContent(type="audio", data=WAV, mime_type="audio/wav"))


@server.tool()
def test_embedded_resource() -> types.CallToolResult:
    """A resource."""
    return result(embedded("test://embedded-resource", "This is an embedded resource content."))


@server.tool()
def test_multiple_content_types() -> types.CallToolResult:
    """Return text, an image and a resource."""
    data = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return result(text("Multiple content types test:"), image(), data)


@server.tool()
def test_error_handling() -> types.CallToolResult:
    """Always fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_logging(ctx: Context) -> types.CallToolResult:
    """Send three log messages."""
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(words)
        await asyncio.sleep(0.05)
    return result(text("logged"))


@server.tool()
async def test_logging_tool(ctx: Context) -> types.CallToolResult:
    """Send a log message if the request names a log level."""
    await ctx.info("a log message")
    return result(text("logged"))


@server.tool()
async def test_tool_with_progress(ctx: Context) -> types.CallToolResult:
    """Report progress in three steps."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return result(text("done"))


@server.tool()
async def test_reconnection(ctx: Context) -> types.CallToolResult:
    """Close the stream (where the transport can), and answer so late that the gateway responds with a stream."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.8)
    return result(text("Reconnection test completed"))


@server.tool()
def json_schema_2020_12_tool() -> types.CallToolResult:
    """Return text; the input schema is replaced below."""
    return result(text("ok"))


ADDRESS = {
    "$anchor": "addressDef",
    "type": "object",
    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
}
PROPERTIES = {name: {"type": "string"} for name in ("name", "phone", "email")}
SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": ADDRESS},
    "properties": {
        **PROPERTIES,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
server._tool_manager.get_tool("json_schema_2020_12_tool").parameters = SCHEMA_2020_12


@server.tool()
def test_custom_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> types.CallToolResult:
    """Take an argument that the client repeats in the header ``Mcp-Param-Region``."""
    return result(text(region))


# --- questions to the client, handshake era ---------------------------------------------------------


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> types.CallToolResult:
    """Ask the client to sample its model."""
    message = types.SamplingMessage(role="user", content=text(prompt))
    answer = await ctx.session.create_message(messages=[message], max_tokens=100)
    return result(text(f"LLM response: {getattr(answer.content, 'text', '')}"))


async def ask(ctx: Context, message: str, properties: dict[str, Any], required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_context.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> types.CallToolResult:
    """Ask the user for a name and an address."""
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return result(text("User response: " + await ask(ctx, message, properties, ["username", "email"])))


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> types.CallToolResult:
    """Ask for values whose schema has a default, one of each type."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return result(text("Elicitation completed: " + await ask(ctx, "Defaults?", properties, [])))


@server.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> types.CallToolResult:
    """Ask for choices, in each form that a schema can give them."""
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    plain = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return result(text("Elicitation completed: " + await ask(ctx, "Choose", properties, [])))


# --- questions to the client, 2026-07-28 ------------------------------------------------------------

Asking = types.CallToolResult | types.InputRequiredResult


def elicit(message: str, **properties: str) -> types.ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(prompt))
    params = types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    return types.CreateMessageRequest(params=params)


def require(state: str | None = None, **requests: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def answers(ctx: Context, *wanted: str) -> list[Any] | None:
    """Return the client's answers with these names; None while one is missing or refused."""
    given = ctx.input_responses or {}
    found = [given.get(name) for name in wanted]
    return None if any(answer is None for answer in found) else found


def filled(answer: Any, name: str, kind: type) -> bool:
    content = getattr(answer, "content", None)
    return isinstance(content, dict) and isinstance(content.get(name), kind)


@server.tool()
async def test_input_required_result_elicitation(ctx: Context) -> Asking:
    """Require the user's name."""
    given = answers(ctx, "user_name")
    if given is None or not filled(given[0], "name", str):
        return require(user_name=elicit("What is your name?", name="string"))
    return result(text(f"Hello, {given[0].content['name']}!"))


@server.tool()
async def test_input_required_result_sampling(ctx: Context) -> Asking:
    """Require an answer of the client's model."""
    given = answers(ctx, "capital_question")
    if given is None:
        return require(capital_question=sample("What is the capital of France?", 100))
    return result(text(given[0].content.text))


@server.tool()
async def test_input_required_result_list_roots(ctx: Context) -> Asking:
    """Require the client's roots."""
    given = answers(ctx, "client_roots")
    if given is None:
        return require(client_roots=types.ListRootsRequest())
    return result(text(", ".join(str(root.uri) for root in given[0].roots)))


@server.tool()
async def test_input_required_result_request_state(ctx: Context) -> Asking:
    """Require input, with a request state that the client must return."""
    given = answers(ctx, "confirm")
    if given is None or ctx.request_state != "asked":
        return require("asked", confirm=elicit("Please confirm", ok="boolean"))
    return result(text("state-ok"))


@server.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> Asking:
    """Require input, with a request state; the SDK refuses a state that was changed."""
    given = answers(ctx, "confirm")
    if given is None or ctx.request_state != "sealed":
        return require("sealed", confirm=elicit("Please confirm", ok="boolean"))
    return result(text("state-ok"))


@server.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> Asking:
    """Require three answers at once."""
    if answers(ctx, "user_name", "greeting", "client_roots") is None:
        return require(
            "three",
            user_name=elicit("What is your name?", name="string"),
            greeting=sample("Generate a greeting", 50),
            client_roots=types.ListRootsRequest(),
        )
    return result(text("all three"))


@server.tool()
async def test_input_required_result_multi_round(ctx: Context) -> Asking:
    """Require two answers, one after the other."""
    if ctx.request_state is None:
        return require("round 1", step1=elicit("Step 1: What is your name?", name="string"))
    if ctx.request_state == "round 1":
        return require("round 2", step2=elicit("Step 2: What is your favourite colour?", color="string"))
    return result(text("both rounds"))


@server.tool()
async def test_input_required_result_capabilities(ctx: Context) -> Asking:
    """Require only input that the client's capabilities allow."""
    can = ctx.client_capabilities
    requests: dict[str, Any] = {}
    if can is not None and can.sampling is not None:
        requests["question"] = sample("Say something", 50)
    if can is not None and can.elicitation is not None:
        requests["name"] = elicit("What is your name?", name="string")
    return (
        require(None, **requests) if requests and not ctx.input_responses else result(text("nothing to ask"))
    )


@server.tool()
async def test_missing_capability(
    answer: Annotated[types.CreateMessageResult, Resolve(lambda: Sample([], max_tokens=1))],
) -> types.CallToolResult:
    """Depend on the client's model; the SDK rejects clients without it."""
    return result(text("sampled"))


@server.tool()
async def test_streaming_elicitation(ctx: Context) -> Asking:
    """Require input after another message on the stream."""
    await ctx.report_progress(1, 2)
    if answers(ctx, "user_name") is None:
        return require(user_name=elicit("What is your name?", name="string"))
    return result(text("asked"))


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> types.CallToolResult:
    """Announce that the tools have changed."""
    await ctx.notify_tools_changed()
    return result(text("said"))


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> types.CallToolResult:
    """Announce that the prompts have changed."""
    await ctx.notify_prompts_changed()
    return result(text("said"))


# --- resources, prompts, the rest -------------------------------------------------------------------


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Return text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """Return the resource with this id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """Return a resource that clients subscribe to."""
    return "watched"


def said(*content: Any) -> list[Any]:
    return [UserMessage(part) for part in content]


@server.prompt()
def test_simple_prompt() -> list[Any]:
    """Return a prompt without arguments."""
    return said(text("This is a simple prompt for testing."))


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[Any]:
    """Return a prompt with two arguments."""
    return said(text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:
    """A resource."""
    resource = embedded(resourceUri, "Embedded resource content for testing.")
    return said(resource, text("Please process the embedded resource above."))


@server.prompt()
def test_prompt_with_image() -> list[Any]:
    """An image."""
    return said(image(), text("Please analyze the image above."))


@server.prompt()
def test_input_required_result_prompt(ctx: Context) -> list[Any] | types.InputRequiredResult:
    """Return a prompt that requires input of the user."""
    given = answers(ctx, "user_context")
    if given is None:
        return require(user_context=elicit("What context should the prompt use?", context="string"))
    return said(text(f"The context is {given[0].content['context']}"))


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> types.Completion:
    """Suggest nothing."""
    return types.Completion(values=[], total=0, has_more=False)


async def accept(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


for method, params in (
    ("resources/subscribe", types.SubscribeRequestParams),
    ("resources/unsubscribe", types.UnsubscribeRequestParams),
    ("logging/setLevel", types.SetLevelRequestParams),
):
    server._lowlevel_server.add_request_handler(method, params, accept)


class Events(EventStore):
    """The events that were sent, for clients that resume with ``Last-Event-ID``."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._sent: list[tuple[int, str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        number = next(self._ids)
        self._sent.append((number, stream_id, message))
        return str(number)

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        stream = next((s for n, s, _ in self._sent if str(n) == last_event_id), None)
        for number, owner, message in list(self._sent):
            if owner == stream and number > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


if __name__ == "__main__":
    if len(sys.argv) > 1:
        app = server.streamable_http_app(event_store=Events(), retry_interval=100)
        # By default an idle connection is closed after 5 s, perhaps just as a slow machine's client sends on it.
        uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", timeout_keep_alive=3600)
    else:
        server.run("stdio")
