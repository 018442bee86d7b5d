"""A Jupyter that stores sessions: what it reports, and how it refuses where it cannot store them."""

from __future__ import annotations

import contextlib
import json
import signal
import stat

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import FAST_SERVER, Jupyter, wait_until


@pytest.fixture
def start(tmp_path):
    """Start Jupyters, each in a home of its own."""
    started = []

    def start(name: str, *arguments: str) -> Jupyter:
        home = tmp_path / name
        home.mkdir()
        started.append(Jupyter(home, {"fast": FAST_SERVER}, *arguments))
        return started[-1]

    yield start
    for jupyter in started:
        jupyter.stop()


def metrics(jupyter: Jupyter) -> list[str]:
    text = jupyter.request("GET", "metrics", headers={"Authorization": f"token {jupyter.token}"})[2].decode()
    return [line for line in text.splitlines() if line.startswith("mcp_ws_engine")]


def test_without_an_engine_nothing_is_stored_and_nothing_of_it_is_exported(start):
    jupyter = start("plain")
    assert jupyter.rest("GET", "health")[1]["engine"] is None
    assert jupyter.rest("GET", "instances") == (200, {"instances": []})
    assert metrics(jupyter) == []
    assert not list(jupyter.home.rglob("*.sqlite*"))
    assert not list(jupyter.home.rglob("session-keys*"))


def test_an_engine_is_shown_and_its_files_are_private(start):
    jupyter = start("stored", "--MCPWebSocketApp.engine=sqlite", "--MCPWebSocketApp.engine_durability=full")
    assert jupyter.rest("GET", "health")[1]["engine"] == {"name": "sqlite", "writes": True, "problem": ""}
    assert "mcp_ws_engine_writes 1.0" in metrics(jupyter)
    files = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (jupyter.home / "data/mcp_ws_ide").iterdir()
    }
    assert files == {
        **{f"sessions.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-log")},
        "session-keys.json": 0o600,
    }


def probe(jupyter: Jupyter, name: str) -> tuple[int, bytes]:
    """What a probe without a credential gets."""
    status, _, body = jupyter.request("GET", f"mcp-ws/api/{name}")
    return status, body


class Refusing(Jupyter):
    """A Jupyter whose engine is refused."""

    def wait_ready(self) -> None:
        def refuses() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                status, answer = self.rest("GET", "health")
                return status == 503 and "starting" not in answer["engine"]["problem"]
            return False

        wait_until(refuses, what="the refusal")


async def test_an_engine_that_cannot_be_used_refuses_every_request_and_says_why(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    jupyter = Refusing(tmp_path, {"fast": FAST_SERVER}, f"--MCPWebSocketApp.engine=sqlite://{blocked}")
    try:
        reason = f"the session file '{blocked}' is not a file"
        status, headers, body = jupyter.request(
            *("POST", "mcp-ws/servers/fast", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
            headers={
                "Authorization": f"Bearer {jupyter.token}",
                "Accept": "application/json, text/event-stream",
            },
        )
        assert (status, headers["Retry-After"]) == (503, "1")
        assert json.loads(body)["message"] == reason
        assert jupyter.rest("GET", "sessions") == (503, {"message": reason, "status": 503})
        status, health = jupyter.rest("GET", "health")
        assert (status, health["status"], health["sessions"]) == (503, "refusing", 0)
        assert health["engine"] == {"name": "sqlite", "writes": False, "problem": reason}
        assert {"mcp_ws_engine_writes 0.0", "mcp_ws_engine_sessions 0.0"} <= set(metrics(jupyter))
        with pytest.raises(InvalidStatus) as refused:
            await jupyter.connect().__aenter__()
        assert refused.value.response.status_code == 503
        assert reason.encode() in refused.value.response.body
        assert [probe(jupyter, name) for name in ("live", "ready")] == [(204, b""), (503, b"")]
        assert f"mcp-ws-ide: all requests are refused: {reason}" in jupyter.log.read_text()
        assert "Traceback" not in jupyter.log.read_text()
        assert (
            jupyter.request("GET", "api/status", headers={"Authorization": f"token {jupyter.token}"})[0]
            == 200
        )
        blocked.rmdir()
        wait_until(lambda: jupyter.rest("GET", "health")[0] == 200, what="the end of the refusal")
        assert jupyter.rest("GET", "health")[1]["engine"]["writes"] is True
        assert "mcp_ws_engine_writes 1.0" in metrics(jupyter)
        assert "requests are no longer refused" in jupyter.log.read_text()
        assert [probe(jupyter, name) for name in ("live", "ready")] == [(204, b""), (204, b"")]
    finally:
        jupyter.stop()


class Misconfigured(Jupyter):
    """A Jupyter whose extension is not started."""

    def wait_ready(self) -> None:
        def refuses() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                return self.rest("GET", "health")[0] == 503
            return False

        wait_until(refuses, what="the refusal")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("engine=sqlit", "engine is 'sqlit'; use ''"), ("engine_max_bytes=5", "engine_max_bytes")],
)
async def test_an_invalid_setting_refuses_every_request_and_no_other_setting_falls_back(
    tmp_path, setting, reason
):
    jupyter = Misconfigured(
        tmp_path, {"fast": FAST_SERVER}, f"--MCPWebSocketApp.{setting}", "--MCPWebSocketApp.sign_in=False"
    )
    try:
        assert reason in jupyter.rest("GET", "health")[1]["message"]
        with pytest.raises(InvalidStatus) as refused:
            await jupyter.connect().__aenter__()
        assert refused.value.response.status_code == 503
        for method, credential in (
            ("GET", {}),
            ("POST", {}),
            ("POST", {"Authorization": "Bearer mcpws_unknown"}),
        ):
            status, headers, body = jupyter.request(method, "mcp-ws/servers/fast", headers=credential)
            assert (status, headers.get("WWW-Authenticate")) == (503, None)
            assert "the log of Jupyter says why" in json.loads(body)["message"]
        logged = jupyter.log.read_text()
        assert "mcp-ws-ide refuses all requests, because its configuration is invalid: " in logged
        assert "AttributeError" not in logged, "what could not be initialized is not started"
        own = {"Authorization": f"token {jupyter.token}"}
        assert jupyter.request("GET", "api/status", headers=own)[0] == 200
    finally:
        jupyter.stop()


def test_jupyter_is_stopped_and_started_again_on_the_same_file(start):
    jupyter = start("again", "--MCPWebSocketApp.engine=sqlite")
    for number in (signal.SIGTERM, signal.SIGKILL):
        jupyter.process.send_signal(number)
        jupyter.process.wait(120)
        jupyter.start()
        assert jupyter.rest("GET", "health")[1]["engine"]["writes"] is True
    assert "ERROR" not in jupyter.log.read_text()
