"""Which gateway is chosen: by default, if several run, and behind a hub."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mcp_ws_ide.discovery import normal_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector.choosing import address
from tests.conftest import FAST_SERVER, Jupyter
from tests.inspector.test_cli import COMMAND, run
from tests.inspector.test_terminal import Terminal


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Jupyter]]:
    """Two gateways of one user, and a Jupyter server without one."""
    homes = [tmp_path_factory.mktemp(name) for name in ("one", "two", "bare")]
    runtime = {"JUPYTER_RUNTIME_DIR": str(homes[0] / "runtime")}
    started: list[Jupyter] = []
    try:
        for home in homes[:2]:
            started.append(Jupyter(home, {"fast": FAST_SERVER}, environment=runtime))
        forged = {
            "url": "http://127.0.0.1:9/",
            "token": "t",
            "pid": started[0].process.pid,  # alive, and no ancestor of the command
            "root_dir": "/evil\x1b]2;x\x07",
        }
        (homes[0] / "runtime" / "jpserver-1.json").write_text(json.dumps(forged))
        yield started
    finally:
        for jupyter in started:
            jupyter.stop()


def test_without_a_terminal_several_gateways_are_an_error_that_lists_them(two):
    done = run(two[0], "tail")
    assert done.returncode == 2
    assert all(jupyter.url in done.stderr for jupyter in two)
    assert "--url" in done.stderr
    assert "127.0.0.1:9/" not in done.stderr, "what has no gateway is no choice"
    assert run(two[0], "servers", "--url", two[1].url).returncode == 0


async def test_in_a_terminal_one_of_them_is_chosen_by_number(two):
    variables = {k: v for k, v in two[0].environment.items() if k != "JUPYTER_TOKEN"}
    started = Terminal([*COMMAND], {**variables, "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()})
    try:
        await started.until(lambda: "Which one?" in started.screen, "the question")
        urls = [line.split()[1] for line in started.screen.splitlines() if line.strip()[:2] in ("1 ", "2 ")]
        assert sorted(urls) == sorted(jupyter.url for jupyter in two)
        started.keys("x", "Enter", "2", "Enter")
        await started.until(lambda: "LIVE" in started.screen and urls[1] in started.screen, "the second one")
        started.keys("q")
        await started.until(lambda: started.ended == "0", "the end")
    finally:
        started.run("kill-server")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://h:8888/lab/tree/a%20b.ipynb?token=x", "http://h:8888/"),
        ("http://h:8888/base/tree", "http://h:8888/base/"),
        ("https://hub/user/ana%40x/lab", "https://hub/user/ana%40x/"),
        ("https://hub/user/lab/", "https://hub/user/lab/"),
        ("https://hub/user/lab/named/lab/tree/x", "https://hub/user/lab/named/"),
        ("https://hub/pre/user/bob/mcp-ws/", "https://hub/pre/user/bob/"),
        ("host:1", "http://host:1/"),
    ],
)
def test_an_address_copied_from_a_browser_names_the_server(written, meant):
    assert normal_url(written) == meant


class HubStub(BaseHTTPRequestHandler):
    """What a hub answers to ``api/user``; tests/interop has a real hub."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "token good"
        assert self.path == "/pre/hub/api/user"
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(json.dumps({"name": "ana@x y", "kind": "user"}).encode() if known else b"{}")

    def log_message(self, *arguments: object) -> None:
        return None


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubStub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/pre/"
    server.shutdown()
    server.server_close()


def test_user_redirect_means_the_server_of_the_tokens_owner(hub, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("good\n")
    found = address(f"{hub}hub/user-redirect/lab", str(token), {})
    assert found == f"{hub}user/ana@x%20y/"
    with pytest.raises(ConnectError, match="403"):
        address(f"{hub}hub/user-redirect/", None, {"JUPYTERHUB_API_TOKEN": "bad"})
    with pytest.raises(ConnectError, match="hub token"):
        address(f"{hub}hub/user-redirect/", None, {"JUPYTER_RUNTIME_DIR": str(tmp_path)})
