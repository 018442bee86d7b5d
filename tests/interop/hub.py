"""A real JupyterHub with its proxy in front, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import BOUND, free_port, wait_until
from tests.interop.conftest import PACKAGES, node
from tests.interop.proxies import Outside
from tests.programs import need

PROXY = PACKAGES / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
SERVICE_TOKEN = "service-token-0123456789"
NAMESAKE_TOKEN = "namesake-token-0123456789"
"""Of a service that has the name of a user."""
USERS = ("ana@example", "bob", "guest")
"""``guest`` is admitted to the first one's server by a role."""
CONFIGURATION = """
c.JupyterHub.bind_url = "http://{host}:{public}"
c.JupyterHub.public_url = "http://{host}:{public}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.JupyterHub.pid_file = ""
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.auth_token = "{token}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {users!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--MCPWebSocketApp.credential_check_interval=1", "--HubOAuth.cache_max_age=1"]
c.Spawner.environment = {{"JUPYTERHUB_ACTIVITY_INTERVAL": "1"}}
c.JupyterHub.activity_resolution = 0
c.JupyterHub.init_spawners_timeout = {bound}
c.Spawner.start_timeout = c.Spawner.http_timeout = {bound}
namesake = {{"name": "guest", "api_token": "{namesake}"}}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}, namesake]
scopes = ["admin:users", "admin:servers", "tokens"]
admitted = {{"name": "admitted", "scopes": ["access:servers!user=ana@example"], "users": ["guest"]}}
admitted["services"] = ["guest"]
c.JupyterHub.load_roles = [{{"name": "tests", "scopes": scopes, "services": ["tests"]}}, admitted]
"""
PASSWORD = "a-password-0123456789"


class Hub:
    """JupyterHub and its proxy, in processes of their own, on three ports of the loopback interface.

    Attributes:
        host: under which users reach it.
        log: of the Hub, and of its users' servers.
    """

    def __init__(self, home: Path, host: str = "127.0.0.1") -> None:
        self.home, self.host = home, host
        self.log, self.proxy_log = home / "hub.log", home / "proxy.log"
        self.public, self.hub, self.api = free_port(), free_port(), free_port()
        self.configuration = home / "jupyterhub_config.py"
        self.configuration.write_text(
            CONFIGURATION.format(
                **{"host": host, "public": self.public, "hub": self.hub, "api": self.api, "home": home},
                **{
                    "token": SERVICE_TOKEN,
                    "namesake": NAMESAKE_TOKEN,
                    "password": PASSWORD,
                    "users": set(USERS),
                },
                **{"python": sys.executable, "bound": int(BOUND)},
            )
        )
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        self.process: subprocess.Popen[bytes] | None = None
        self.proxy: subprocess.Popen[bytes] | None = None
        self.family: set[psutil.Process] = set()
        try:
            self.start_proxy()
            self.start()
        except BaseException:
            self.stop()
            raise

    def start_proxy(self) -> None:
        """A Hub that starts its proxy also restarts it, which ends every link; in a cluster it is apart, as here."""
        program = node()
        need(program is not None and PROXY.exists(), "Node with configurable-http-proxy")
        command = [program, str(PROXY), f"--ip={self.host}", f"--port={self.public}", "--api-ip=127.0.0.1"]
        command += [f"--api-port={self.api}", f"--error-target=http://127.0.0.1:{self.hub}/hub/error"]
        environment = {**self.environment, "CONFIGPROXY_AUTH_TOKEN": SERVICE_TOKEN}
        with self.proxy_log.open("wb") as log:
            self.proxy = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        self.family.add(psutil.Process(self.proxy.pid))

        def answers() -> bool:
            assert self.proxy.poll() is None, self.proxy_log.read_text()[-3000:]
            with contextlib.suppress(httpx.TransportError):
                return bool(
                    httpx.get(f"http://127.0.0.1:{self.api}/api/routes", timeout=BOUND).status_code == 403
                )
            return False

        wait_until(answers, what="the proxy's start")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(self.configuration)],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )

        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                return self.ask("GET", "users")[0] == 200
            except (httpx.TransportError, ValueError):
                return False

        wait_until(answers, BOUND, "the Hub's start")

    def crash(self) -> None:
        """The Hub alone dies; its proxy and the users' servers go on."""
        self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(BOUND)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.proxy is not None:
            self.proxy.wait()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The Hub's REST API, through its proxy."""
        answer = httpx.request(
            method,
            f"http://{self.host}:{self.public}/hub/api/{path}",
            json=body,
            headers={"Authorization": f"token {SERVICE_TOKEN}"},
            timeout=BOUND,
        )
        return answer.status_code, answer.json() if answer.content else None

    def mint(self, user: str, *scopes: str) -> str:
        status, made = self.ask("POST", f"users/{user}/tokens", {"scopes": scopes} if scopes else {})
        assert status == 201, made
        return str(made["token"])

    def revoke_newest(self, user: str) -> None:
        listed = self.ask("GET", f"users/{user}/tokens")[1]["api_tokens"]
        newest = max(listed, key=lambda entry: int(entry["id"].removeprefix("a")))
        assert self.ask("DELETE", f"users/{user}/tokens/{newest['id']}")[0] == 204

    def server_of(self, user: str, servers: dict[str, Any]) -> Outside:
        """Start a user's server with these MCP servers in the user's own configuration."""
        folder = self.home / user / ".jupyter"
        folder.mkdir(parents=True)
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
        self.ask("POST", f"users/{user}")
        assert self.ask("POST", f"users/{user}/server")[0] in (201, 202)
        wait_until(lambda: self.ask("GET", f"users/{user}")[1]["servers"][""]["ready"], BOUND, "the spawn")
        url = f"http://{self.host}:{self.public}/user/{user}/"
        return Outside(url, self.mint(user, f"access:servers!user={user}"))

    def last_activity(self, user: str) -> datetime:
        """The time as the Hub, and so the idle culler, sees it."""
        stamp = self.ask("GET", f"users/{user}")[1]["servers"][""]["last_activity"]
        return datetime.fromisoformat(stamp)

    def proxy_activity(self, user: str) -> datetime:
        """As the proxy counts it."""
        routes = httpx.get(
            f"http://127.0.0.1:{self.api}/api/routes", headers={"Authorization": f"token {SERVICE_TOKEN}"}
        ).json()
        return datetime.fromisoformat(routes[f"/user/{user}"]["last_activity"])


async def log_in_as_ana(page: Any) -> None:
    """Fill in the form at which the Hub's users log in, in Chromium."""
    await page.fill("#username_input", USERS[0])
    await page.fill("#password_input", PASSWORD)
    await page.click("#login_submit")
