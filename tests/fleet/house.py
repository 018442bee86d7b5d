"""Several real Jupyters on one Redis, and clients that reach them through a balancer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Jupyter
from tests.fleet.balancer import Balancer
from tests.handlers.test_restart import Patient
from tests.redis_server import RedisServer


class Fleet:
    """Jupyters with the same configuration, keys and engine.

    Args:
        options: further arguments of each.
    """

    def __init__(self, folder: Path, number: int, servers: dict[str, Any], *options: str) -> None:
        (folder / "redis").mkdir()
        self.redis = RedisServer(folder / "redis", appendonly="yes", appendfsync="always")
        engine = self.redis.address
        keys = folder / "keys.json"
        self.jupyters: list[Jupyter] = []
        try:
            for place in range(number):
                home = folder / f"jupyter{place}"
                home.mkdir()
                arguments = [
                    f"--MCPWebSocketApp.engine={engine}",
                    f"--MCPWebSocketApp.engine_keys_file={keys}",
                ]
                self.jupyters.append(Jupyter(home, servers, *arguments, *options))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for jupyter in self.jupyters:
            jupyter.process.send_signal(signal.SIGCONT)
            jupyter.stop()
        self.redis.stop()

    def balancer(self) -> Balancer:
        return Balancer([jupyter.port for jupyter in self.jupyters])

    def sessions(self, place: int) -> list[dict[str, Any]]:
        """The sessions that one Jupyter serves."""
        sessions, own = self.jupyters[place].rest("GET", "sessions")[1]["sessions"], self.instance(place)
        return [one for one in sessions if one["link"] != "group" and one["instance"] == own]

    def instance(self, place: int) -> str:
        """The id of one Jupyter's gateway."""
        (own,) = [one for one in self.jupyters[place].rest("GET", "instances")[1]["instances"] if one["self"]]
        return own["id"]

    async def killed(self, place: int) -> None:
        await asyncio.to_thread(self.jupyters[place].kill)

    async def started(self, place: int) -> None:
        await asyncio.to_thread(self.jupyters[place].start)

    def suspend(self, place: int) -> None:
        self.jupyters[place].process.send_signal(signal.SIGSTOP)

    def wake(self, place: int) -> None:
        self.jupyters[place].process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def caller(
    balancer: Balancer, token: str, server: str = "fast", *, legacy: bool = False
) -> AsyncIterator[Patient]:
    """A client on raw streams that reaches whatever gateway the balancer gives it."""
    async with Patient(balancer.endpoint(server), token, 1, legacy) as one:
        yield one
