"""Which gateway is meant, at which address, and which token may go there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mcp_ws_ide import discovery
from mcp_ws_ide.client import connect
from mcp_ws_ide.discovery import find_gateway, own_gateway, running_gateways, undecided_gateways
from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.rest_client import gateway_with
from tests.conftest import FAST_SERVER, Jupyter
from tests.inspector.test_cli import COMMAND, run

Record = Callable[..., dict[str, Any]]
ALIVE = os.getppid()
"""A process that lives as long as the tests."""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Write the record of a Jupyter server, each newer than the one before."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    children: list[subprocess.Popen[bytes]] = []

    def write(url: str, **members: Any) -> dict[str, Any]:
        number = len(children)
        children.append(subprocess.Popen(["sleep", "300"]))
        known = {
            "url": url,
            "token": f"token{number}",
            "pid": children[-1].pid,
            "hostname": "localhost",
            **members,
        }
        path = tmp_path / f"jpserver-{number}.json"
        path.write_text(json.dumps(known))
        os.utime(path, (number, number))
        return known

    yield write
    for child in children:
        child.kill()
        child.wait()


# --- the address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "url", "usable"),
    [
        ("0.0.0.0", "http://no-such-host-a16:8888/lab/", "http://127.0.0.1:8888/lab/"),
        ("*", "http://no-such-host-a16:8888/", "http://127.0.0.1:8888/"),
        ("localhost", "http://no-such-host-a16:8888/", "http://127.0.0.1:8888/"),  # ServerApp.ip is ""
        ("::", "http://no-such-host-a16:8888/", "http://[::1]:8888/"),
        ("0.0.0.0", "https://no-such-host-a16:8888/", "https://127.0.0.1:8888/"),
        ("0.0.0.0", "https://localhost:8888/", "https://localhost:8888/"),
        ("localhost", "http://localhost:8888/", "http://localhost:8888/"),
        ("192.0.2.1", "http://192.0.2.1:8888/", "http://192.0.2.1:8888/"),
    ],
)
def test_a_server_on_all_addresses_is_reached_over_loopback(record, ip, url, usable):
    record(url, hostname=ip)
    assert find_gateway(environ={}).url == usable


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", socket.gethostname(), "no-such-host"]
)
def test_every_spelling_of_an_address_means_the_recorded_server(record, host):
    record("http://no-such-host:8888/a/", hostname="0.0.0.0")
    gateway = find_gateway(f"http://{host}:8888/a/lab/tree", environ={})
    assert (gateway.url, gateway.token) == ("http://127.0.0.1:8888/a/", "token0")


@pytest.mark.parametrize(
    "url", ["http://localhost:8889/a/", "http://localhost:8888/b/", "http://far.example:8888/a/"]
)
def test_the_recorded_token_is_not_sent_elsewhere(record, url):
    record("http://localhost:8888/a/")
    assert find_gateway(url, environ={}).token == ""


def test_another_port_owner_on_loopback_does_not_get_the_token_of_a_server_on_one_address(record):
    record("http://192.0.2.1:8888/", hostname="192.0.2.1")
    assert find_gateway("http://127.0.0.1:8888/", environ={}).token == ""


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"url": 1, "pid": "x"}', "\x00", '{"url": "http://[", "pid": 1}']
)
def test_a_record_that_cannot_be_read_is_passed_over(record, tmp_path, text):
    record("http://localhost:8888/")
    (tmp_path / "jpserver-9.json").write_text(text)
    assert [gateway.url for gateway in running_gateways()][-1] == "http://localhost:8888/"


def test_commands_and_clients_reach_a_server_whose_recorded_name_does_not_resolve(jupyter, tmp_path):
    pid = jupyter.process.pid
    path = next((jupyter.home / "runtime").glob(f"jpserver-{pid}.json"))
    known = json.loads(path.read_text())
    url = f"http://no-such-host-a16:{jupyter.port}/user/a%40b/"
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / path.name).write_text(json.dumps({**known, "url": url, "hostname": "0.0.0.0"}))
    for command in (["servers"], ["servers", "--url", url]):
        done = run(jupyter, *command, JUPYTER_RUNTIME_DIR=str(runtime))
        assert done.returncode == 0, done.stderr

    def entry(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mcp_ws_ide.client.shim", "config", "vscode", "fast", *options],
            env={**jupyter.environment, "JUPYTER_RUNTIME_DIR": str(runtime)},
            capture_output=True,
            text=True,
            check=True,
        )

    done = entry()
    assert f"http://127.0.0.1:{jupyter.port}/" in done.stdout
    assert "--url" in done.stderr and "no-such-host-a16" in done.stderr
    assert url in entry("--url", url).stdout, "an address that was given is for another machine"


# --- which one ------------------------------------------------------------------------------------


def test_a_kernel_means_its_own_jupyter_and_not_the_newest(record):
    own = record("http://localhost:8001/")
    record("http://localhost:8002/")
    assert find_gateway(environ={"JPY_PARENT_PID": str(own["pid"])}).url == own["url"]
    assert find_gateway(environ={}).url == "http://localhost:8002/"


def test_a_terminal_means_its_own_jupyter_also_where_its_name_does_not_resolve(record):
    record("http://no-such-host:8001/", hostname="0.0.0.0")
    record("http://localhost:8002/")
    gateway = find_gateway(environ={"JUPYTER_SERVER_URL": "http://no-such-host:8001/"})
    assert (gateway.url, gateway.token) == ("http://127.0.0.1:8001/", "token0")


def test_a_kernel_of_a_jupyter_that_was_started_in_a_terminal_of_another_means_its_own(record):
    outer, inner = record("http://localhost:8001/"), record("http://localhost:8002/")
    inherited = {"JUPYTER_SERVER_URL": outer["url"], "JPY_PARENT_PID": str(inner["pid"])}
    assert find_gateway(environ=inherited).url == inner["url"]


def test_where_kernel_and_terminal_disagree_the_nearest_ancestor_counts(record):
    outer, inner = record("http://localhost:8001/"), record("http://localhost:8002/", pid=ALIVE)
    inherited = {"JUPYTER_SERVER_URL": inner["url"], "JPY_PARENT_PID": str(outer["pid"])}
    assert find_gateway(environ=inherited).url == inner["url"]


def test_a_jupyter_that_this_process_descends_from_is_its_own_without_any_variable(record):
    own = record("http://localhost:8001/", pid=ALIVE)
    record("http://localhost:8002/")
    assert find_gateway(environ={}).url == own["url"]


def test_the_path_of_the_notebook_tells_the_server_where_the_parent_is_not_recorded(record):
    own = record("http://localhost:8001/", root_dir="/home/me/a")
    record("http://localhost:8002/", root_dir="/home/me/b")
    environ = {"JPY_PARENT_PID": "1808", "JPY_SESSION_NAME": "/home/me/a/x/y.ipynb"}
    assert own_gateway(running_gateways(), environ) is not None
    assert find_gateway(environ=environ).url == own["url"]


def test_an_address_on_another_machine_in_the_environment_counts_before_the_own_jupyter(record):
    own = record("http://localhost:8001/")
    environ = {"JUPYTER_SERVER_URL": "https://far.example/", "JPY_PARENT_PID": str(own["pid"])}
    gateway = find_gateway(environ=environ)
    assert (gateway.url, gateway.token) == ("https://far.example/", "")


def test_of_several_records_of_one_address_the_newest_counts(record):
    record("http://localhost:8001/", token="of a killed one, whose pid was given to another process")
    record("http://localhost:8001/", token="new")
    assert [gateway.token for gateway in running_gateways()] == ["new"]
    assert undecided_gateways({}) == []


def test_only_several_gateways_without_a_parent_are_undecided(record):
    own = record("http://localhost:8001/")
    assert undecided_gateways({}) == []
    record("http://localhost:8002/")
    assert len(undecided_gateways({})) == 2
    assert undecided_gateways({"JPY_PARENT_PID": str(own["pid"])}) == []
    assert undecided_gateways({"JUPYTER_SERVER_URL": "http://localhost:1/"}) == []


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Jupyter]]:
    """Two gateways of one user; the newer one has the server ``new`` besides ``fast``."""
    homes = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    runtime = {"JUPYTER_RUNTIME_DIR": str(homes[0] / "runtime")}
    servers = [{"fast": FAST_SERVER, "old": FAST_SERVER}, {"fast": FAST_SERVER, "new": FAST_SERVER}]
    started: list[Jupyter] = []
    try:
        for home, configured in zip(homes, servers, strict=True):
            started.append(Jupyter(home, configured, environment=runtime))
        yield started
    finally:
        for jupyter in started:
            jupyter.stop()


@pytest.fixture
def beside_two(two: list[Jupyter], monkeypatch: pytest.MonkeyPatch) -> list[Jupyter]:
    """This process, as a program of the same user that no Jupyter started."""
    for name in ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JUPYTER_SERVER_URL", "JUPYTER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", two[0].environment["JUPYTER_RUNTIME_DIR"])
    return two


def test_a_name_that_two_gateways_have_is_an_error_that_lists_them(beside_two):
    with pytest.raises(ConnectError) as raised:
        connect("fast")
    message = str(raised.value)
    assert all(jupyter.url in message and str(jupyter.process.pid) in message for jupyter in beside_two)
    assert "choose one with connect(…, url=…): " in message


async def test_a_name_that_one_gateway_has_means_that_gateway(beside_two):
    for jupyter, name in zip(beside_two, ("old", "new"), strict=True):
        assert gateway_with(name).url == jupyter.url
        async with connect(name) as client:
            assert (await client.list_tools()).tools
    assert gateway_with("+fast+old").url == beside_two[0].url
    assert gateway_with("fast", beside_two[0].url).url == beside_two[0].url


def test_mcp_ws_connect_says_which_gateways_have_the_name(beside_two):
    done = subprocess.run(
        [sys.executable, "-m", "mcp_ws_ide.client.shim", "fast"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert all(jupyter.url in done.stderr for jupyter in beside_two)
    assert "choose one with --url: " in done.stderr


# --- tokens ---------------------------------------------------------------------------------------


def test_the_token_of_a_running_jupyter_in_the_environment_goes_to_that_jupyter_only(record):
    own = record("http://localhost:8001/")
    environ = {"JUPYTER_TOKEN": own["token"]}
    assert find_gateway("http://127.0.0.1:8001/", environ=environ).token == own["token"]
    far = find_gateway("https://far.example/", environ=environ)
    assert far.token == ""
    assert own["url"] in far.withheld and "JUPYTER_TOKEN" in far.withheld
    other = record("http://localhost:8002/")
    assert find_gateway(other["url"], environ=environ).token == other["token"]


def test_a_token_beside_the_address_of_a_jupyter_goes_to_that_address_only(record):
    environ = {"JUPYTER_TOKEN": "secret", "JUPYTER_SERVER_URL": "https://one.example/user/a/"}
    assert find_gateway(environ=environ).token == "secret"
    assert find_gateway("https://one.example/user/b/", environ=environ).token == "secret"
    assert find_gateway("https://two.example/", environ=environ).token == ""


def test_a_token_that_the_user_has_set_goes_to_the_address_that_was_given(record, tmp_path):
    assert find_gateway("https://far.example/", environ={"JUPYTER_TOKEN": "mine"}).token == "mine"
    assert find_gateway("https://far.example/", environ={"JUPYTERHUB_API_TOKEN": "mine"}).token == "mine"
    own = record("http://localhost:8001/")
    assert find_gateway("https://far.example/", own["token"], environ={}).token == own["token"]
    file = tmp_path / "token"
    file.write_text("mine\n")
    hub = {"JUPYTERHUB_API_TOKEN": "x", "JUPYTERHUB_API_URL": "http://hub:8081/hub/api"}
    assert find_gateway("https://far.example/", None, str(file), hub).token == "mine"


def test_the_hubs_token_goes_to_the_hub_and_to_its_server_on_this_machine_only(record):
    hub = {
        "JUPYTERHUB_API_TOKEN": "secret",
        "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ana/",
        "JUPYTERHUB_PUBLIC_URL": "https://hub.example/user/ana/",
    }
    own = record("http://pod-ana:8888/user/ana/", hostname="0.0.0.0", token="")
    record("http://localhost:9999/", token="")
    for url in (None, own["url"], "http://hub:8081/hub/", "https://hub.example/user/ana/"):
        environ = {**hub, "JPY_PARENT_PID": str(own["pid"])}
        assert find_gateway(url, environ=environ).token == "secret"
    for url in ("https://far.example/", "http://localhost:9999/", "http://hub.example/user/ana/"):
        gateway = find_gateway(url, environ=hub)
        assert gateway.token == ""
        assert "http://hub:8081" in gateway.withheld


class Refusing(BaseHTTPRequestHandler):
    """Another server on this machine; it remembers which credentials it was sent."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.send_response(403)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        return None


def test_a_refusal_names_the_token_that_was_not_sent(jupyter):
    other = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    done = subprocess.run(
        [*COMMAND, "servers", "--url", f"http://127.0.0.1:{other.server_port}/"],
        env={**jupyter.environment, "JUPYTER_TOKEN": jupyter.token},
        capture_output=True,
        text=True,
        check=False,
    )
    other.shutdown()
    other.server_close()
    assert done.returncode == 1
    assert "JUPYTER_TOKEN was not sent" in done.stderr and str(jupyter.port) in done.stderr
    assert "--token-file" in done.stderr
    assert Refusing.seen == [None]


def test_ancestors_begin_with_this_process():
    ancestors = list(discovery._ancestors())
    assert ancestors[:2] == [os.getpid(), os.getppid()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_in_utf_8_is_read_with_or_without_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "token"
    path.write_bytes("säcret\r\n".encode(encoding))
    assert discovery.text_of_file(str(path), "token file") == "säcret\r\n"


@pytest.mark.parametrize(
    ("encoding", "what"),
    [
        ("utf-16", "is in UTF-16; save it as UTF-8"),
        ("utf-32", "is in UTF-32; save it as UTF-8"),
        ("utf-16-be", "is in UTF-16 or UTF-32; save it as UTF-8"),
        ("latin-1", "is not in UTF-8 (byte 1); save it as UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_refused_by_its_name(tmp_path, encoding, what):
    path = tmp_path / "token"
    path.write_bytes("säcret".encode(encoding))
    with pytest.raises(UnusableArgumentError) as caught:
        discovery.text_of_file(str(path), "token file")
    assert str(caught.value) == f"the token file {path} {what}"
