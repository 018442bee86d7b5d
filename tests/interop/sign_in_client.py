"""The unmodified OAuth client of the Python SDK, 1.x or 2.x: ``URL``; it knows nothing else.

Prints ``OPEN`` with the page that the user must open, waits for the browser's return, and prints what a tool answers,
twice: the second time with a token that it had to refresh.
"""

import asyncio
import sys
import warnings
from urllib.parse import parse_qs, urlsplit

warnings.simplefilter("ignore")
import mcp.client.auth as auth  # noqa: E402
from mcp import ClientSession  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402
from mcp.shared.auth import OAuthClientMetadata  # noqa: E402

try:
    import httpx2 as httpx
    from mcp.client.auth import AuthorizationCodeResult
except ImportError:  # the SDK 1.x
    import httpx

    AuthorizationCodeResult = None


class Memory:
    """Keeps what the client got until the program ends."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Browser:
    """Waits on the loopback interface for the browser to come back."""

    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    async def listen(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.redirect_uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"

    async def _serve(self, reader, writer):
        path = (await reader.readline()).decode().split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nsigned in\n")
        await writer.drain()
        writer.close()
        if "?" in path:
            self.answer.set_result(parse_qs(urlsplit(path).query))

    async def open(self, url):
        print("OPEN", url, flush=True)

    async def wait(self):
        answer = {name: values[0] for name, values in (await self.answer).items()}
        if AuthorizationCodeResult is None:
            return answer["code"], answer["state"]
        return AuthorizationCodeResult(**answer)


async def main(url):
    browser = Browser()
    await browser.listen()
    metadata = OAuthClientMetadata(
        client_name="Python SDK",
        redirect_uris=[browser.redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
    )
    provider = auth.OAuthClientProvider(url, metadata, Memory(), browser.open, browser.wait)
    async with (
        httpx.AsyncClient(auth=provider, timeout=120, follow_redirects=True) as http,
        streamable_http_client(url, http_client=http) as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        print("RESULT", text(await session.call_tool("echo", {"text": "signed in"})), flush=True)
        provider.context.token_expiry_time = 1.0
        print("RESULT", text(await session.call_tool("echo", {"text": "refreshed"})), flush=True)


def text(result):
    return result.content[0].text


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
