"""What ``make fleet`` starts, with a real HAProxy that goes round robin without cookies; and the files of deploy/."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from mcp_ws_ide.client import negotiating_transport
from mcp_ws_ide.engines.redis_address import PASSWORD_VARIABLE
from mcp_ws_ide.handlers import ROUTES
from mcp_ws_ide.inspector.cli import _parsed, main
from tests.conftest import BOUND, response_in, until
from tests.fleet.haproxy import DEPLOY, HAProxy
from tests.handlers.test_restart import Patient, ask
from tests.handlers.test_streamable_http import Http
from tests.interop.test_chaos import QUICK

TOKEN = "token-of-the-fleet"
CUTS = 12
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class Local:
    """A running ``python -m mcp_ws_ide.demo.fleet``, as what it prints describes it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "mcp_ws_ide.demo.fleet", "--deploy", str(DEPLOY), "--port", "0"]
        environment = {**os.environ, "JUPYTER_TOKEN": TOKEN}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.printed: dict[str, str] = {}
        for line in self.process.stdout:
            name, _, rest = line.partition(":")
            self.printed[name] = rest.strip()
            if name == "logs":
                break
        assert "logs" in self.printed, "make fleet does not start"
        self.url = self.printed["page"].partition("mcp-ws/")[0]
        found = [
            re.fullmatch(r"(\S+) \(process (\d+)\)", self.printed[f"gateway{number}"]) for number in (1, 2, 3)
        ]
        self.gateways = [match[1] for match in found if match is not None]
        self.pids = [int(match[2]) for match in found if match is not None]
        self.proxy = HAProxy(
            Path(self.printed["logs"], "haproxy.sock"), int(self.url.rstrip("/").rpartition(":")[2])
        )
        self.token = TOKEN

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=BOUND)
        return self.process.returncode

    def endpoint(self, server: str = "demo") -> str:
        return self.proxy.endpoint(server)

    def get(self, place: int, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.get(f"{self.gateways[place]}mcp-ws/api/{path}", headers=headers, timeout=BOUND).json()

    def sessions(self) -> list[list[dict[str, Any]]]:
        """The sessions that each gateway serves."""
        sessions = self.get(0, "sessions")["sessions"]
        owns = []
        for place in range(3):
            owns += [one["id"] for one in self.get(place, "instances")["instances"] if one["self"]]
        return [[one for one in sessions if one["instance"] == own] for own in owns]

    def passed_on(self) -> int:
        """How many resumes reached a gateway that did not own their session."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        texts = [httpx.get(f"{url}metrics", headers=headers, timeout=BOUND).text for url in self.gateways]
        counts = [re.search(r'mcp_ws_resumes_total\{outcome="passed_on"\} (\S+)', text) for text in texts]
        return sum(int(float(count[1])) for count in counts if count is not None)


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    running = Local()
    yield running
    assert running.stop() == 0


async def test_most_resumes_reach_another_gateway_and_succeed_at_the_first_attempt(local):
    before = local.passed_on()
    async with Patient(local.endpoint(), TOKEN, 1, False) as one:
        assert await ask(one, 1, text="before") == "before"
        for number in range(CUTS):
            local.proxy.cut()
            await until(lambda number=number: one.states["Resumed"] == number + 1, what="a resumed session")
            assert await ask(one, number + 2, text=f"after {number}") == f"after {number}"
        assert sorted(len(sessions) for sessions in local.sessions()) == [0, 0, 1]
        assert local.passed_on() - before >= 0.6 * CUTS
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


async def test_successive_polls_reach_different_gateways(local):
    before = local.proxy.requests()
    one = Patient(local.endpoint(), TOKEN, 1, False)
    url = local.endpoint().replace("ws://", "http://")
    one.transport = negotiating_transport(
        url, token=TOKEN, reconnect=QUICK, transports=["poll"], on_state=one.note
    )
    async with one:
        for own in range(1, 13):
            assert await ask(one, own, text=f"call {own}") == f"call {own}"
        assert (one.states["Connected"], one.states["Resumed"], one.states["Lost"]) == (1, 0, 0)
    shares = [now - then for now, then in zip(local.proxy.requests(), before, strict=True)]
    assert min(shares) >= 4, shares


async def test_posts_of_a_handshake_era_session_reach_different_gateways(local):
    before = local.proxy.requests()
    async with httpx.AsyncClient(timeout=BOUND) as client:
        http = Http(local, client, "demo")  # type: ignore[arg-type]
        await http.initialize()
        for own in range(1, 10):
            answer = await http.legacy(own, "echo", {"text": f"call {own}"})
            assert response_in(answer)["result"]["content"][0]["text"] == f"call {own}"
        assert (await client.delete(http.url, headers=http.headers)).status_code == 204
    shares = [now - then for now, then in zip(local.proxy.requests(), before, strict=True)]
    assert min(shares) >= 3, shares


async def test_a_gateway_that_drains_and_ends_costs_nothing_and_the_balancer_avoids_it(local, tmp_path):
    credential = tmp_path / "token"
    credential.write_text(TOKEN)
    async with Patient(local.endpoint(), TOKEN, 1, False) as one:
        assert await ask(one, 1, text="before") == "before"
        (owner,) = [place for place, sessions in enumerate(local.sessions()) if sessions]
        call = asyncio.create_task(ask(one, 2, "slow", steps=20, delay=0.1))
        await until(lambda: local.sessions()[owner][0]["in_flight"] == 1)
        options = ["--url", local.gateways[owner], "--token-file", str(credential)]
        assert await asyncio.to_thread(main, ["drain", "--wait", *options]) == 0
        assert await call == "20 steps done"
        os.kill(local.pids[owner], signal.SIGTERM)
        assert await ask(one, 3, text="after") == "after"
        assert (one.states["Connected"], one.states["Lost"]) == (1, 0)


def test_a_client_cannot_choose_the_address_that_gateways_see(local):
    for _ in range(3):
        httpx.get(f"{local.url}mcp-ws/api/sessions", headers={"X-Real-IP": "203.0.113.9"}, timeout=BOUND)
    logs = [Path(local.printed["logs"], f"gateway{number}.log").read_text() for number in (1, 2, 3)]
    refused = [line for log in logs for line in log.splitlines() if "GET /mcp-ws/api/sessions" in line]
    assert refused  # the test before has ended one of the gateways
    assert not any("203.0.113.9" in line for line in refused)


# --- the files --------------------------------------------------------------------------------------


def read_by_config() -> set[str]:
    """The variables that jupyter_server_config.py reads."""
    return set(
        re.findall(r'"((?:MCP_WS|JUPYTER)_[A-Z_]+)"', (DEPLOY / "jupyter_server_config.py").read_text())
    )


@pytest.fixture(scope="module")
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


KUBERNETES = "1.34"
"""Release of Kubernetes whose schemas the manifests are checked against."""


def test_the_manifests_follow_the_schemas_of_kubernetes():
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", [("Deployment", "mcp-ws-ide"), ("StatefulSet", "mcp-ws-ide-redis")])
def test_pods_follow_the_restricted_standard_and_have_no_account(manifests, name):
    spec = manifests[name]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]


def test_redis_refuses_writes_before_its_container_is_killed(manifests):
    (container,) = manifests["StatefulSet", "mcp-ws-ide-redis"]["spec"]["template"]["spec"]["containers"]
    options = dict(zip(container["args"][1::2], container["args"][2::2], strict=True))
    most, unit = re.fullmatch(r"(\d+)(mb)", options["--maxmemory"]).groups()
    limit = re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])[1]
    assert (unit, int(most) * 2 <= int(limit) * 1024) == ("mb", True)
    assert options["--maxmemory-policy"] == "noeviction"
    (password,) = (one for one in container["env"] if one["name"] == "REDISCLI_AUTH")
    gateways = {one["name"]: one for one in pod(manifests)["containers"][0]["env"]}
    assert gateways[PASSWORD_VARIABLE]["valueFrom"] == password["valueFrom"]


def pod(manifests: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    return manifests["Deployment", "mcp-ws-ide"]["spec"]["template"]["spec"]


def test_every_variable_of_the_manifests_is_one_that_a_gateway_reads(manifests):
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    names = {entry["name"] for entry in pod(manifests)["containers"][0]["env"]} - {
        "POD_IP",
        PASSWORD_VARIABLE,
    }
    assert names <= read_by_config()
    for number in (1, 2, 3):
        assert set(compose["services"][f"gateway{number}"]["environment"]) <= read_by_config()


def test_the_balancer_gets_every_variable_that_its_file_names():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    named = set(re.findall(r"\$\{([A-Z0-9]+)\}", (DEPLOY / "haproxy.cfg").read_text()))
    assert set(compose["services"]["haproxy"]["environment"]) == named


def test_a_pod_has_time_to_drain_and_to_end(manifests):
    container = pod(manifests)["containers"][0]
    _, *command = container["lifecycle"]["preStop"]["exec"]["command"]
    options = _parsed(command)
    drain = {entry["name"]: entry.get("value") for entry in container["env"]}["MCP_WS_DRAIN_SECONDS"]
    assert options.wait
    assert pod(manifests)["terminationGracePeriodSeconds"] >= options.timeout + float(drain) + 15


def test_the_probes_and_checks_are_routes_of_the_gateway(manifests):
    container = pod(manifests)["containers"][0]
    paths = [container[probe]["httpGet"]["path"] for probe in PROBES]
    paths += re.findall(r"uri (\S+)", (DEPLOY / "haproxy.cfg").read_text())
    for path in paths:
        assert any(re.fullmatch(route, path) for route, _ in ROUTES), path


def test_what_the_manifests_name_is_in_them(manifests):
    service = manifests["Service", "mcp-ws-ide"]["spec"]
    template = manifests["Deployment", "mcp-ws-ide"]["spec"]["template"]
    assert service["selector"] == template["metadata"]["labels"]
    engine = {entry["name"]: entry.get("value") for entry in pod(manifests)["containers"][0]["env"]}[
        "MCP_WS_ENGINE"
    ]
    assert ("Service", re.fullmatch(r"redis://([^:]+):6379", engine)[1]) in manifests
    backend = manifests["Ingress", "mcp-ws-ide"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert ("Service", backend["name"]) in manifests


def test_the_servers_of_the_image_can_be_started_in_it():
    for entry in json.loads((DEPLOY / "mcp.json").read_text())["mcpServers"].values():
        assert shlex.join([entry["command"], *entry["args"]]) == "python -m mcp_ws_ide.demo"
