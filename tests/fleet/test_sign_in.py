"""A client that signs in meets any gateway of an engine at each step."""

from __future__ import annotations

from tests.conftest import wait_until
from tests.fleet.house import Fleet
from tests.signing_in import Application, Person, application


def through(fleet: Fleet, client: Application, place: int) -> None:
    """Send the client's next requests to the gateway at this place."""
    there = fleet.jupyters[place].url
    client.server = {
        name: f"{there}mcp-ws/{value.partition('/mcp-ws/')[2]}" if "/mcp-ws/" in str(value) else value
        for name, value in client.server.items()
    }
    client.endpoint = f"{there}mcp-ws/servers/fast"


def test_code_token_and_refresh_may_each_go_to_another_gateway(fleet):
    client = application(fleet.jupyters[0])
    code = client.code(Person(fleet.jupyters[0]))
    through(fleet, client, 1)
    first = client.exchange(code).json()
    assert client.call(first["access_token"]) == 400, "it is authorized; the message lacks its metadata"
    through(fleet, client, 0)
    assert client.call(first["access_token"]) == 400
    second = client.refresh(first["refresh_token"]).json()
    through(fleet, client, 1)
    third = client.refresh(second["refresh_token"]).json()
    through(fleet, client, 0)
    assert client.call(third["access_token"]) == 400
    assert client.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    through(fleet, client, 1)
    wait_until(lambda: client.call(third["access_token"]) == 401, what="the revocation at the other gateway")


def test_a_code_that_was_used_at_one_gateway_is_known_as_used_at_another(fleet):
    client = application(fleet.jupyters[0])
    code = client.code(Person(fleet.jupyters[0]))
    first = client.exchange(code).json()
    through(fleet, client, 1)
    assert client.exchange(code).json()["error"] == "invalid_grant"
    wait_until(lambda: client.call(first["access_token"]) == 401, what="the end of what the code gave")
