"""An openai-agents agent with a scripted model: ``URL TOKEN``; prints its states, then what the model said last.

Run by the tests in an environment of its own.
"""

import asyncio
import json
import sys

from agents import Agent, Model, ModelResponse, Runner, set_tracing_disabled
from agents.usage import Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from mcp_ws_ide.client import Reconnect
from mcp_ws_ide.client.openai_agents import MCPServerWebSocket


class SlowThenBump(Model):
    """Calls two tools in turn, and then says what they returned."""

    async def get_response(self, system_instructions, input, model_settings, tools, *args, **options):
        returned = [item["output"] for item in input if item.get("type") == "function_call_output"]
        assert {"slow", "bump"} <= {tool.name for tool in tools}
        if len(returned) < 2:
            name, arguments = [("slow", {"steps": 10, "delay": 0.2}), ("bump", {})][len(returned)]
            call_id = f"call-{len(returned)}"
            output = ResponseFunctionToolCall(
                type="function_call", call_id=call_id, name=name, arguments=json.dumps(arguments)
            )
        else:
            text = ResponseOutputText(type="output_text", text=json.dumps(returned), annotations=[])
            output = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[text]
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args, **options):
        raise NotImplementedError


def print_state(state) -> None:
    print(type(state).__name__, flush=True)


async def main(url: str, token: str) -> None:
    set_tracing_disabled(True)
    policy = Reconnect(first_delay=0.01, max_delay=0.05)
    url = url.replace("ws", "http", 1)  # a user may write it so; it is a WebSocket all the same
    async with MCPServerWebSocket(url, token=token, reconnect=policy, on_state=print_state) as server:
        agent = Agent("test", model=SlowThenBump(), mcp_servers=[server])
        result = await Runner.run(agent, "go")
    print(result.final_output)


asyncio.run(main(*sys.argv[1:]))
