"""A small resumable client with one fault, as the command that mcp-ws-conformance checks: ``FAULT URL``."""

import asyncio
import itertools
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

FAULT, URL = sys.argv[1:]
BOUND = 30.0


class Client:
    def __init__(self) -> None:
        self.token, self.received, self.sent, self.link = "", 0, [], None
        self.ids = itertools.count(1)

    async def open(self) -> None:
        self.link = await connect(URL, subprotocols=["mcp.resume.v1", "mcp"], compression=None)
        if not self.token:
            await self.link.send('{"mcp.ws":"open"}')
            self.token = json.loads(await self.link.recv())["token"]
            return
        count = self.received + (FAULT == "count")
        await self.link.send(json.dumps({"mcp.ws": "resume", "token": self.token, "recv": count}))
        resumed = json.loads(await self.link.recv())
        if resumed["mcp.ws"] == "gone":
            raise SystemExit(3)
        if FAULT != "old token":
            self.token = resumed["token"]
        if FAULT != "no ack":
            await self.link.send(json.dumps({"mcp.ws": "ack", "recv": self.received}))
        for frame in self.sent[0 if FAULT == "again" else resumed["recv"] :]:
            await self.link.send(frame)

    async def send(self, message: dict) -> None:
        self.sent.append(json.dumps(message))
        await self.link.send(self.sent[-1])

    async def call(self) -> None:
        number = next(self.ids)
        await self.send(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "tools/call",
                "params": {"name": "echo", "arguments": {"text": "x"}},
            }
        )
        while True:
            try:
                message = json.loads(await self.link.recv())
            except ConnectionClosed:
                await self.open()
                continue
            kind = message.get("mcp.ws") if "jsonrpc" not in message else None
            if kind is None:
                self.received += 1
                if FAULT != "no ack":
                    await self.link.send(json.dumps({"mcp.ws": "ack", "recv": self.received}))
                if message.get("id") == number:
                    return
            elif kind == "gap" and FAULT != "gap":
                self.received += message["dropped"]
            elif kind == "ping":
                await self.link.send('{"mcp.ws":"pong"}')


async def main() -> None:
    async with asyncio.timeout(BOUND):
        client = Client()
        await client.open()
        for _ in range(3):
            await client.call()
        await client.link.close()


asyncio.run(main())
