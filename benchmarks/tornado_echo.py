"""The yardstick: a stock Tornado WebSocket echo, as its documentation writes it. ``tornado_echo.py PORT``."""

import asyncio
import sys

import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    def select_subprotocol(self, subprotocols):
        return "mcp"

    def on_message(self, message):
        self.write_message(message)


async def main() -> None:
    tornado.web.Application([(r"/", Echo)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
