"""The server manager over REST: measurements, and changes of mcp.json that start nothing without consent."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import FAST_SERVER, SHADOWED, Jupyter, Peer, until, wait_until
from tests.handlers.test_api import check

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t-value-in-the-file"


class Manager:
    """The calls of a page."""

    def __init__(self, jupyter: Jupyter) -> None:
        self.jupyter = jupyter
        self.file = jupyter.home / "config" / "mcp.json"

    def request(
        self, method: str, path: str, body: Any = None, version: str | None = None, token: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"token {token or self.jupyter.token}"}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        status, _, text = self.jupyter.request(method, f"mcp-ws/api/servers/{path}", body, headers)
        return status, json.loads(text) if text else None

    def preview(self, name: str, entry: Any, token: str | None = None) -> Any:
        return self.request("POST", f"{name}/preview", {"entry": entry}, token=token)[1]

    def save(self, name: str, entry: Any, *, agree: bool = True) -> tuple[int, Any]:
        seen = self.preview(name, entry)
        body = {"entry": entry, **({"consent": seen["digest"]} if agree else {})}
        return self.request("PUT", f"{name}/definition", body, seen["version"])

    def definition(self, name: str) -> Any:
        return self.request("GET", f"{name}/definition")[1]

    def state(self, name: str) -> str | None:
        servers = self.jupyter.rest("GET", "servers")[1]["servers"]
        return next((server["state"] for server in servers if server["name"] == name), None)

    def write(self, text: str) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    jupyter = Jupyter(tmp_path_factory.mktemp("jupyter"), {"fast": FAST_SERVER})
    yield jupyter
    jupyter.stop()


@pytest.fixture
def manager(running) -> Iterator[Manager]:
    """The manager of a Jupyter server that the tests share, each with an empty file."""
    made = Manager(running)
    yield made
    if made.file.is_dir():
        made.file.rmdir()
    made.file.unlink(missing_ok=True)
    made.preview("new", {"command": "true"})  # it looks at the file
    assert made.state("new") is None


def marking(path: Path) -> dict[str, Any]:
    """A server that leaves a file behind when it is started."""
    program = f"open({str(path)!r}, 'a').write('started\\n'); import runpy, sys; sys.argv = ['fast']; runpy.run_path({FAST_SERVER['args'][-1]!r}, run_name='__main__')"
    return {"command": sys.executable, "args": ["-I", "-S", "-c", program]}


async def answers(jupyter: Jupyter, name: str) -> bool:
    async with jupyter.connect(name) as link:
        return "result" in await Peer(link).call(1, "tools/list")


async def refused(jupyter: Jupyter, name: str) -> bool:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as error:
        async with jupyter.connect(name):
            pass
    return error.value.response.status_code == 502


async def test_an_entry_with_consent_is_saved_and_serves(manager, tmp_path):
    mark = tmp_path / "mark"
    seen = manager.preview("new", marking(mark))
    assert seen["version"] == "none"
    assert seen["launch"]["program"] == sys.executable
    assert seen["launch"]["args"][:2] == ["-I", "-S"]
    status, saved = manager.save("new", marking(mark))
    assert status == 201
    assert not saved["awaits"]
    assert saved["consent"]["by"]
    assert stat.S_IMODE(manager.file.stat().st_mode) == 0o600
    assert not mark.exists(), "saving starts nothing"
    assert await answers(manager.jupyter, "new")
    assert mark.read_text() == "started\n"


def test_responses_match_the_description(manager):
    document = manager.jupyter.rest("GET", "openapi.json")[1]
    path, entry = "/api/servers/{name}", {"command": "true", "env": {"A": "b"}}
    status, saved = manager.save("new", entry)
    check(document, f"{path}/definition", "put", status, saved)
    status, seen = manager.request("GET", "new/definition")
    check(document, f"{path}/definition", "get", status, seen)
    digest = manager.preview("new", entry)["digest"]
    status, report = manager.request("POST", "new/try", {"entry": entry, "consent": digest})
    check(document, f"{path}/try", "post", status, report)
    body = {"entry": {**entry, "cwd": "/"}}
    status, saved = manager.request("PUT", "new/definition", body, seen["version"])
    check(document, f"{path}/definition", "put", status, saved)
    assert saved["awaits"]
    status, answer = manager.request("POST", "new/consent", {"digest": saved["digest"]})
    check(document, f"{path}/consent", "post", status, answer)
    status, answer = manager.request("DELETE", "new/definition", version=saved["version"])
    check(document, f"{path}/definition", "delete", status, answer)
    assert (status, answer) == (204, None)


async def test_an_entry_without_consent_is_saved_and_started_only_after_consent(manager, tmp_path):
    mark = tmp_path / "mark"
    status, saved = manager.save("new", marking(mark), agree=False)
    assert status == 201
    assert saved["awaits"]
    assert manager.state("new") == "disabled"
    assert await refused(manager.jupyter, "new")
    assert manager.request("POST", "new/consent", {"digest": "0" * 64})[0] == 409
    assert await refused(manager.jupyter, "new")
    assert manager.request("POST", "new/consent", {"digest": saved["digest"]})[0] == 204
    assert await answers(manager.jupyter, "new")
    assert mark.read_text() == "started\n"


async def test_a_file_changed_between_preview_and_consent_starts_nothing(manager, tmp_path):
    mark = tmp_path / "mark"
    _, saved = manager.save("new", marking(tmp_path / "harmless"), agree=False)
    manager.write(json.dumps({"mcpServers": {"new": marking(mark)}}))
    status, said = manager.request("POST", "new/consent", {"digest": saved["digest"]})
    assert (status, "review it again" in said["message"]) == (409, True)
    assert await refused(manager.jupyter, "new")
    assert not mark.exists()


async def test_an_entry_changed_by_an_editor_after_the_consent_waits_for_a_new_one(manager, tmp_path):
    manager.save("new", marking(tmp_path / "first"))
    assert await answers(manager.jupyter, "new")
    mark = tmp_path / "mark"
    manager.write(json.dumps({"mcpServers": {"new": marking(mark)}}))
    await until(lambda: manager.state("new") == "disabled")
    assert await refused(manager.jupyter, "new")
    assert not mark.exists()
    manager.write(json.dumps({"mcpServers": {"new": {**marking(tmp_path / "first"), "timeout": 5}}}))
    await until(lambda: manager.state("new") == "idle", what="an entry that runs what was agreed to")


async def test_a_file_that_cannot_be_parsed_starts_nothing_that_waits_for_a_consent(manager, tmp_path):
    manager.save("new", marking(tmp_path / "first"))
    mark = tmp_path / "mark"
    changed = json.dumps({"mcpServers": {"new": marking(mark)}})
    manager.write(changed)
    await until(lambda: manager.state("new") == "disabled")
    manager.write(changed[:-1])
    await until(lambda: "not valid JSON" in json.dumps(manager.jupyter.rest("GET", "servers")[1]["problems"]))
    assert manager.state("new") == "disabled"
    assert await refused(manager.jupyter, "new")
    assert not mark.exists()


async def test_a_consent_outlives_jupyter_and_a_lost_record_of_consents_stops_everything(
    make_jupyter, tmp_path
):
    manager = Manager(make_jupyter({"fast": FAST_SERVER}))
    manager.save("new", marking(tmp_path / "mark"))
    store = manager.jupyter.home / "data" / "mcp_ws_ide" / "consents.json"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    restart(manager.jupyter)
    assert manager.state("new") == "idle"
    store.write_text("{")
    restart(manager.jupyter)
    assert manager.state("new") == "disabled"
    manager.save("other", FAST_SERVER)
    assert manager.state("new") == "disabled"
    restart(manager.jupyter)
    assert (manager.state("new"), manager.state("other")) == ("disabled", "idle")


def restart(jupyter: Jupyter) -> None:
    jupyter.stop()
    jupyter.start()


def test_a_consent_to_something_else_writes_nothing(manager):
    seen = manager.preview("new", {"command": "echo", "args": ["harmless"]})
    body = {"entry": {"command": "echo", "args": ["other"]}, "consent": seen["digest"]}
    assert manager.request("PUT", "new/definition", body, seen["version"])[0] == 409
    other = manager.preview("other", {"command": "echo", "args": ["harmless"]})
    assert other["digest"] != seen["digest"], "a digest is good for one name"
    assert not manager.file.exists()


def test_every_mistake_of_an_entry_is_reported_at_once_with_its_key(manager):
    entry = {
        "command": 5,
        "args": [[]],
        "env": {"A": ["x"], "B=C": "y"},
        "cwd": 7,
        "mcp_ws": {"sharing": "sometimes", "idle_timeout": -1},
    }
    seen = manager.preview("new", entry)
    assert seen["digest"] is None
    keys = {problem["key"] for problem in seen["problems"] if problem["severity"] == "error"}
    assert keys == {
        f"new.{key}"
        for key in ("command", "args[0]", "env.A", "cwd", "mcp_ws.sharing", "mcp_ws.idle_timeout")
    }
    status, said = manager.request("PUT", "new/definition", {"entry": entry}, "none")
    assert status == 422
    assert {problem["key"] for problem in said["problems"]} >= keys
    assert not manager.file.exists()


@pytest.mark.parametrize("name", ["..", ".", "a%20b", "a%2Fb", "a%00b"])
def test_an_invalid_name_is_refused(manager, name):
    headers = {"Authorization": f"token {manager.jupyter.token}", "If-Match": "none"}
    path = f"mcp-ws/api/servers/{name}/definition"
    assert manager.jupyter.request("PUT", path, {"entry": {"command": "x"}}, headers)[0] in (404, 405, 422)
    assert not manager.file.exists()


def test_the_rest_of_the_text_stays_unchanged(manager):
    before = (
        '// mine\n{\n\t"inputs": [1,2,   3],\n\t"servers": {\n\t\t/* a */ "a": {"command": "true", "odd": 1}, // why\n'
        '\t\t"b": {"command": "false"},\n\t},\n}\n'
    )
    manager.write(before)
    assert manager.save("c", {"command": "true", "args": ["ü"]})[0] == 201
    text = manager.file.read_text()
    assert '"c": {\n\t\t\t"command": "true",\n\t\t\t"args": [\n\t\t\t\t"ü"' in text
    for line in before.splitlines()[:6]:
        assert line in text
    seen = manager.definition("c")
    assert manager.request("DELETE", "c/definition", version=seen["version"])[0] == 204
    after = manager.file.read_text()
    assert after.replace(" ", "").replace(",\n\t}", "\n\t}") == before.replace(" ", "").replace(
        ",\n\t}", "\n\t}"
    )
    shown = manager.definition("a")["entry"]
    assert shown["odd"] == {"hidden": "/odd"}, "what is not known may be a secret"
    assert manager.save("a", {**shown, "args": ["x"]})[0] == 200
    assert '/* a */ "a": {"command": "true", "odd": 1, "args": ["x"]}, // why' in manager.file.read_text()


def test_no_secret_reaches_the_browser_and_none_is_lost(manager):
    entry = {
        "command": "true",
        "args": ["--api-key", SECRET, "--url=https://user:" + SECRET + "@example.org", "plain"],
        "env": {"API_KEY": SECRET, "REGION": "${env:HOME}", "EMPTY": ""},
        "alwaysAllow": ["x"],
    }
    remote = {
        "url": f"https://example.org/mcp?token={SECRET}",
        "headers": {"Authorization": f"Bearer {SECRET}"},
    }
    manager.write(json.dumps({"mcpServers": {"local": entry, "far": remote}}))
    wait_until(lambda: manager.state("far"))
    for name in ("local", "far"):
        seen = manager.definition(name)
        assert SECRET not in json.dumps(seen)
        assert manager.save(name, seen["entry"])[0] == 200
    assert json.loads(manager.file.read_text())["mcpServers"] == {"local": entry, "far": remote}
    shown = manager.definition("local")["entry"]
    assert shown["env"]["REGION"] == "${env:HOME}"
    changed = {**shown, "env": {**shown["env"], "API_KEY": "new"}, "args": shown["args"][2:]}
    assert manager.save("local", changed)[0] == 200
    stored = json.loads(manager.file.read_text())["mcpServers"]["local"]
    assert stored["env"] == {**entry["env"], "API_KEY": "new"}
    assert stored["args"] == entry["args"][2:]
    assert SECRET not in json.dumps(manager.jupyter.rest("GET", "servers")[1])
    moved = {**shown, "args": [{"hidden": "/env/API_KEY"}]}
    status, said = manager.request("POST", "local/preview", {"entry": moved})
    assert (status, "type it again" in said["message"]) == (422, True)


def test_risky_parts_are_pointed_out_and_what_is_no_secret_is_shown(manager):
    decisive = {
        *(
            "LD_PRELOAD",
            "UV_INDEX_URL",
            "UV_DEFAULT_INDEX",
            "UV_EXTRA_INDEX_URL",
            "UV_INDEX",
            "UV_PYTHON",
            "ENV",
        ),
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "npm_config_registry", "NPM_CONFIG_REGISTRY", "BASH_ENV"),
        *("NODE_PATH", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND"),
        *(
            "DYLD_INSERT_LIBRARIES",
            "HTTPS_PROXY",
            "all_proxy",
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "PATH",
        ),
    }
    harmless = {"REGION": "eu", "API_KEY": SECRET, "GITHUB_TOKEN": SECRET, "ENVIRONMENT": "x"}
    index = "https://evil.example/simple"
    entry = {"command": "true", "cwd": "${env:HOME}", "env": {**dict.fromkeys(decisive, index), **harmless}}
    seen = manager.preview("new", entry)["launch"]
    assert {note.split()[0] for note in seen["notes"]} == decisive
    assert (seen["values"]["UV_INDEX_URL"], seen["values"]["REGION"]) == (index, "eu")
    assert seen["cwd"] == "${env:HOME}"
    assert SECRET not in json.dumps(seen)
    manager.save("new", entry)
    assert set(manager.definition("new")["launch"]["values"].values()) == {"••••"}, (
        "what is stored stays hidden"
    )
    oauth = {"client_id": "me", "client_secret": SECRET}
    far = {"url": "https://example.org/mcp", "mcp_ws": {"ca_file": "/tmp/evil.pem", "oauth": oauth}}
    seen = manager.preview("new", far)["launch"]
    assert (seen["ca_file"], seen["oauth"]) == ("/tmp/evil.pem", {"client_id": "me", "client_secret": "••••"})
    assert any("/tmp/evil.pem" in note for note in seen["notes"])
    words = manager.preview("new", {"command": "${env:JUPYTER_TOKEN}"})["problems"]
    assert any("'${env:JUPYTER_TOKEN}'" in problem["reason"] for problem in words), words


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(manager):
    seen = manager.preview("new", {"command": "true"})
    manager.write('{"mcpServers": {"mine": {"command": "true"}}}')
    body = {"entry": {"command": "true"}, "consent": seen["digest"]}
    assert manager.request("PUT", "new/definition", body, seen["version"])[0] == 412
    assert manager.request("PUT", "new/definition", body)[0] == 428
    assert manager.file.read_text() == '{"mcpServers": {"mine": {"command": "true"}}}'


async def test_only_one_of_many_concurrent_writers_wins(manager):
    seen = manager.preview("n0", {"command": "true"})
    calls = [
        asyncio.to_thread(
            manager.request, "PUT", f"n{number}/definition", {"entry": {"command": "true"}}, seen["version"]
        )
        for number in range(8)
    ]
    statuses = sorted(status for status, _ in await asyncio.gather(*calls))
    assert statuses == [201] + [412] * 7
    assert len(json.loads(manager.file.read_text())["mcpServers"]) == 1
    assert os.listdir(manager.file.parent) == ["mcp.json"], "nothing is left behind"


BROKEN = [
    '{"mcpServers": {',
    "[1]",
    '{"mcpServers": [1',
    '{"mcpServers": 5}',
    '{"mcpServers": {"a": {}, "a": {}}}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_with_a_mistake_is_left_unchanged(manager, text):
    manager.write(text)
    name = "a" if '"a"' in text else "new"
    status, said = manager.request("POST", f"{name}/preview", {"entry": {"command": "true"}})
    if status == 200:  # it is JSON; where a server would go is wrong
        status, said = manager.request(
            "PUT", f"{name}/definition", {"entry": {"command": "true"}}, said["version"]
        )
    assert status == 409
    assert "mcp.json: " in said["message"]
    assert "by hand" in said["message"]
    assert manager.file.read_text() == text


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_is_filled_like_a_new_one(manager, text):
    manager.write(text)
    seen = manager.preview("new", {"command": "true"})
    status, _ = manager.request(
        "PUT", "new/definition", {"entry": {"command": "true"}, "consent": seen["digest"]}, seen["version"]
    )
    assert status == 201
    assert json.loads(manager.file.read_text()) == {"mcpServers": {"new": {"command": "true"}}}


def test_a_deleted_file_is_reported_and_created_again_after_a_new_look(manager):
    manager.write('{"mcpServers": {}}')
    seen = manager.preview("new", {"command": "true"})
    manager.file.unlink()
    body = {"entry": {"command": "true"}, "consent": seen["digest"]}
    status, said = manager.request("PUT", "new/definition", body, seen["version"])
    assert status == 412
    assert "was removed in the meantime" in said["message"]
    assert not manager.file.exists()
    again = manager.preview("new", {"command": "true"})
    assert manager.request("PUT", "new/definition", body, again["version"])[0] == 201


def test_a_linked_a_protected_and_a_foreign_file_are_read_only_with_the_reason(manager, tmp_path):
    target = tmp_path / "dotfiles.json"
    target.write_text('{"mcpServers": {"a": {"command": "true"}}}')
    manager.file.parent.mkdir(exist_ok=True)
    manager.file.symlink_to(target)
    wait_until(lambda: manager.state("a"))
    assert "symbolic link" in read_only(manager, "a")
    status, said = manager.request("PUT", "b/definition", {"entry": {"command": "true"}}, "none")
    assert (status, "symbolic link" in said["message"]) == (409, True)
    assert manager.file.is_symlink()
    manager.file.unlink()
    manager.write(target.read_text())
    manager.file.chmod(0o400)
    assert "write-protected" in read_only(manager, "a")
    assert manager.request("DELETE", "a/definition", version="x")[0] == 409
    manager.file.unlink()
    manager.file.mkdir()
    assert "not a regular file" in manager.jupyter.rest("GET", "servers")[1]["editing"]["refused"]
    assert "defined in" in read_only(manager, "fast")
    assert manager.request("PUT", "fast/definition", {"entry": {"command": "true"}}, "none")[0] == 409


@pytest.mark.parametrize("spelling", ["dots", "link to the directory", "link to the file"])
async def test_by_another_path_to_the_same_file_nothing_is_started_without_a_consent(tmp_path, spelling):
    """As it would be if that path were taken for a file which is changed by hand only."""
    home, mark = tmp_path / "jupyter", tmp_path / "mark"
    path = other_path(home, spelling)
    jupyter = Jupyter(home, {"fast": FAST_SERVER}, f"--MCPWebSocketApp.server_files={path}")
    try:
        manager = Manager(jupyter)
        manager.write("{}")
        status, saved = manager.save("new", marking(mark), agree=False)
        assert (status, saved["awaits"]) == (201, True)
        assert await refused(jupyter, "new")
        assert manager.definition("new") == saved
        assert read_only(manager, "new") == ""
        (home / "elsewhere").symlink_to(home / "config")
        jupyter.environment["JUPYTER_CONFIG_DIR"] = str(home / "elsewhere")
        restart(jupyter)
        assert manager.state("new") == "disabled", "also after a start with another spelling"
        assert not mark.exists()
        digest = manager.definition("new")["digest"]
        assert manager.request("POST", "new/consent", {"digest": digest})[0] == 204
        assert await answers(jupyter, "new")
    finally:
        jupyter.stop()


def other_path(home: Path, spelling: str) -> str:
    """Another path to the ``config/mcp.json`` of this home."""
    (home / "config").mkdir(parents=True)
    if spelling == "link to the directory":
        (home / "link").symlink_to(home / "config")
        return f"{home}/link/mcp.json"
    if spelling == "link to the file":
        (home / "link.json").symlink_to(home / "config" / "mcp.json")
        return f"{home}/link.json"
    return f"{home}/./config/mcp.json"


def test_a_file_with_another_hard_link_is_left_unchanged(manager, tmp_path):
    manager.write('{"mcpServers": {"a": {"command": "true"}}}')
    os.link(manager.file, tmp_path / "link.json")
    wait_until(lambda: manager.state("a"))
    assert "hard link" in read_only(manager, "a")
    status, said = manager.request("POST", "new/preview", {"entry": {"command": "true"}})
    assert (status, "hard link" in said["message"]) == (409, True)
    status, _ = manager.request("PUT", "new/definition", {"entry": {"command": "true"}}, "x")
    assert status == 409
    assert "new" not in manager.file.read_text()


def read_only(manager: Manager, name: str) -> str:
    return manager.jupyter.rest("GET", f"servers/{name}")[1]["read_only"]


async def test_live_sessions_keep_their_server_when_its_entry_is_changed_and_removed(manager):
    manager.save("new", FAST_SERVER)
    async with manager.jupyter.connect("new") as link:
        first = await Peer(link).call(1, "tools/call", {"name": "pid"})
        manager.save("new", {**FAST_SERVER, "env": {"A": "1"}})
        assert (await Peer(link).call(2, "tools/call", {"name": "pid"}))["result"] == first["result"]
        version = manager.definition("new")["version"]
        assert manager.request("DELETE", "new/definition", version=version)[0] == 204
        assert manager.state("new") is None
        assert (await Peer(link).call(3, "tools/call", {"name": "pid"}))["result"] == first["result"]


async def test_an_entry_written_by_hand_needs_no_consent_until_it_is_changed_here(manager, tmp_path):
    manager.write(json.dumps({"mcpServers": {"mine": marking(tmp_path / "mark")}}))
    wait_until(lambda: manager.state("mine") == "idle")
    seen = manager.definition("mine")
    assert seen["consent"] is None
    settings = {**seen["entry"], "mcp_ws": {"idle_timeout": 5}}
    assert (
        manager.request("PUT", "mine/definition", {"entry": settings}, seen["version"])[1]["awaits"] is False
    )
    version = manager.definition("mine")["version"]
    changed = {**settings, "cwd": str(tmp_path)}
    assert manager.request("PUT", "mine/definition", {"entry": changed}, version)[1]["awaits"] is True
    assert await refused(manager.jupyter, "mine")


async def test_a_trial_starts_what_has_consent_once_and_ends_it(manager, tmp_path):
    mark = tmp_path / "mark"
    entry = marking(mark)
    digest = manager.preview("new", entry)["digest"]
    assert manager.request("POST", "new/try", {"entry": entry})[0] == 409
    assert manager.request("POST", "new/try", {"entry": entry, "consent": "0" * 64})[0] == 409
    assert not mark.exists()
    status, report = manager.request("POST", "new/try", {"entry": entry, "consent": digest})
    assert (status, report["ok"], report["era"]) == (200, True, "modern")
    assert report["tools"] > 0
    assert mark.read_text() == "started\n"
    assert not manager.file.exists()
    assert manager.state("new") is None
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(mark) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"command": "no-such-command-x"}, "command not found"),
        ({"command": sys.executable, "args": ["-c", "import sys; sys.exit('out of luck')"]}, "out of luck"),
    ],
)
def test_a_trial_that_fails_reports_the_reason(manager, entry, words):
    digest = manager.preview("new", entry)["digest"]
    report = manager.request("POST", "new/try", {"entry": entry, "consent": digest})[1]
    assert not report["ok"]
    assert words in report["error"]


def test_a_trial_reaches_servers_of_the_handshake_era(manager):
    entry = {"command": "mcp-server-time"}
    digest = manager.preview("time", entry)["digest"]
    report = manager.request("POST", "time/try", {"entry": entry, "consent": digest})[1]
    assert (report["ok"], report["tools"], bool(report["server"])) == (True, 2, True), report


async def test_stop_ends_processes_and_starts_none_until_restart(manager):
    jupyter = manager.jupyter
    async with jupyter.connect() as modern:
        await Peer(modern).call(1, "tools/list")
        pid = jupyter.processes("fast")[0]["pid"]
        assert manager.request("POST", "fast/stop")[0] == 202
        assert not psutil.pid_exists(pid)
        assert manager.state("fast") == "stopped"
        answer = await Peer(modern).call(2, "tools/list")
        assert "was stopped" in answer["error"]["message"]
        assert await refused(jupyter, "fast")
        assert jupyter.processes("fast") == []
        assert manager.request("POST", "fast/restart")[0] == 202
        assert "result" in await Peer(modern).call(3, "tools/list")
        assert jupyter.rest("GET", "servers/fast")[1]["restarts"] == 0, "a stop is no crash"


async def test_memory_and_time_of_a_server_and_its_children_are_measured_on_request(make_jupyter):
    child = "import time; block = bytearray(64 << 20); print('big', flush=True); time.sleep(600)"
    program = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE); "
        "p.stdout.readline(); import runpy; sys.argv = ['fast']; "
        f"runpy.run_path({FAST_SERVER['args'][-1]!r}, run_name='__main__')"
    )
    jupyter = make_jupyter({"fast": {"command": sys.executable, "args": ["-c", program]}})
    async with jupyter.connect() as link:
        await Peer(link).call(1, "tools/list")
        assert jupyter.processes("fast")[0]["memory"] is None
        process = jupyter.rest("GET", "servers/fast?usage=1")[1]["processes"][0]
        alone = psutil.Process(process["pid"]).memory_info().rss
        assert process["memory"] > alone + (60 << 20)
        assert process["cpu"] > 0


async def test_stderr_is_followed_by_number_and_outlives_its_process(make_jupyter):
    jupyter = make_jupyter({"loud": {"command": sys.executable, "args": ["-c", LOUD]}})
    async with jupyter.connect("loud") as link:
        await Peer(link).initialize()
        first = await until(lambda: jupyter.rest("GET", "servers/loud/stderr")[1]["lines"])
        assert [line["text"] for line in first] == ["line 1"]
        assert first[0]["pid"] == jupyter.processes("loud")[0]["pid"]
        await Peer(link).send(id=2, method="ping")
        await Peer(link).receive()
        more = await until(
            lambda: (answer := jupyter.rest("GET", "servers/loud/stderr?after=1")[1])["lines"] and answer
        )
        assert [line["text"] for line in more["lines"]] == ["line 2"]
    await until(lambda: not jupyter.processes("loud"))
    assert [line["seq"] for line in jupyter.rest("GET", "servers/loud/stderr")[1]["lines"]] == [1, 2]
    assert jupyter.rest("GET", f"servers/loud/stderr?after={more['next']}")[1]["lines"] == []
    assert jupyter.rest("GET", "servers/loud/stderr?after=x")[0] == 400


LOUD = """
import json, sys
for number, line in enumerate(sys.stdin):
    message = json.loads(line)
    if message.get("id") is not None:
        print("line", 1 if message["method"] == "initialize" else 2, file=sys.stderr, flush=True)
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "l", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def test_editing_can_be_switched_off_whatever_the_authorizer_allows(make_jupyter):
    manager = Manager(make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.allow_editing=False"))
    for method, path in (("PUT", "new/definition"), ("POST", "new/preview"), ("POST", "new/try")):
        status, said = manager.request(method, path, {"entry": {"command": "true"}}, "none")
        assert (status, "allow_editing" in said["message"]) == (403, True)
    assert "allow_editing" in manager.jupyter.rest("GET", "servers")[1]["editing"]["refused"]
    assert not manager.file.exists()


@pytest.fixture
def shared(make_jupyter, tmp_path) -> Manager:
    users = tmp_path / "users.json"
    names = {
        "alice-token": "alice",
        "bob-token": "bob",
        "reader-token": "reader",
        "test-token-0123456789": "root",
    }
    users.write_text(json.dumps(names))
    return Manager(
        make_jupyter(
            {"loud": {"command": sys.executable, "args": ["-c", LOUD]}},
            "--ServerApp.identity_provider_class=tests.servers.identity.NamedUsers",
            "--ServerApp.authorizer_class=tests.servers.identity.NoGuests",
            environment={"USERS_FILE": str(users), "PYTHONPATH": f"{SHADOWED}:{ROOT}"},
        )
    )


def test_a_user_without_write_permission_sees_servers_and_changes_nothing(shared):
    seen = shared.jupyter.rest("GET", "servers", token="reader-token")[1]
    assert "not authorized to write" in seen["editing"]["refused"]
    assert "not authorized to write" in seen["servers"][0]["read_only"]
    entry = {"entry": {"command": "true"}}
    for method, path in (
        ("PUT", "new/definition"),
        ("DELETE", "loud/definition"),
        ("POST", "new/preview"),
        ("POST", "new/try"),
        ("POST", "new/consent"),
        ("GET", "loud/definition"),
    ):
        assert shared.request(method, path, entry, "none", token="reader-token")[0] == 403, path
    assert shared.request("PUT", "new/definition", entry, "none", token="alice-token")[0] == 201


async def test_stderr_of_one_users_process_is_not_shown_to_another(shared):
    headers = {"Authorization": "Bearer alice-token"}
    async with shared.jupyter.connect("loud", additional_headers=headers) as link:
        await Peer(link).initialize()
        mine = ("servers/loud/stderr", "alice-token")
        await until(lambda: shared.jupyter.rest("GET", mine[0], token=mine[1])[1]["lines"])
        assert shared.jupyter.rest("GET", "servers/loud?usage=1", token="bob-token")[1]["processes"] == []
    for _ in range(2):
        theirs = shared.jupyter.rest("GET", "servers/loud", token="bob-token")[1]
        assert theirs["stderr"] == []
        assert theirs["last_exit"] is None
        assert shared.jupyter.rest("GET", "servers/loud/stderr", token="bob-token")[1]["lines"] == []


def test_a_forged_request_changes_and_starts_nothing(manager):
    entry = {"entry": {"command": "true"}}
    evil = {
        "Origin": "https://evil.example",
        "If-Match": "none",
        "Authorization": f"token {manager.jupyter.token}",
    }
    for method, path in (
        ("PUT", "new/definition"),
        ("POST", "new/consent"),
        ("POST", "new/try"),
        ("POST", "fast/stop"),
    ):
        assert manager.jupyter.request(method, f"mcp-ws/api/servers/{path}", entry, evil)[0] == 403
    cookie = {"Cookie": "_xsrf=x", "If-Match": "none"}
    assert manager.jupyter.request("PUT", "mcp-ws/api/servers/new/definition", entry, cookie)[0] in (401, 403)
    assert not manager.file.exists()


def test_an_entry_with_any_name_is_edited_under_its_address(manager):
    manager.write(
        json.dumps({"mcpServers": {"日本語 サーバー": {"command": "true", "envs": {"KEY": "s3cret"}}}})
    )
    manager.preview("new", {"command": "true"})  # it looks at the file
    (server,) = [
        s for s in manager.jupyter.rest("GET", "servers")[1]["servers"] if s["title"] == "日本語 サーバー"
    ]
    address = server["name"]
    assert address.isascii()
    status, model = manager.request("GET", f"{address}/definition")
    assert status == 200
    assert "s3cret" not in json.dumps(model)
    assert (model["launch"]["command"], model["launch"]["env"]) == ("true", ["KEY"])
    entry = {**model["entry"], "args": ["--more"]}
    status, _ = manager.request("PUT", f"{address}/definition", {"entry": entry}, model["version"])
    assert status == 200
    written = json.loads(manager.file.read_text())["mcpServers"]
    assert written == {"日本語 サーバー": {"command": "true", "envs": {"KEY": "s3cret"}, "args": ["--more"]}}
    version = manager.request("GET", f"{address}/definition")[1]["version"]
    assert manager.request("DELETE", f"{address}/definition", None, version)[0] == 204
    assert json.loads(manager.file.read_text())["mcpServers"] == {}
