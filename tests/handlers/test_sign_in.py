"""Signing in by URL: metadata, the page that asks, and what is issued."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.conftest import BOUND, DEMO, FAST_SERVER, MODERN, Jupyter, response_in
from tests.signing_in import REDIRECT, Application, Person, application, parameters_of


@pytest.fixture(scope="module")
def person(jupyter) -> Person:
    return Person(jupyter)


def listed(jupyter: Jupyter) -> dict[str, dict]:
    """The tokens that a user sees, by id."""
    return {token["id"]: token for token in jupyter.rest("GET", "tokens")[1]["tokens"]}


# --- discovery ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        *(("fast", "fast"), ("fast/", "fast/"), ("+fast+demo", "+fast+demo"), ("fast/poll", "fast")),
        *(("absent", "absent"), ("no-such-server", "no-such-server")),
    ],
)
def test_a_401_names_the_metadata_of_the_endpoint_that_was_dialled(jupyter, path, endpoint):
    answer = httpx.post(f"{jupyter.url}mcp-ws/servers/{path}", timeout=BOUND)
    assert answer.status_code == 401
    challenge = answer.headers["WWW-Authenticate"]
    resource = f"{jupyter.url}mcp-ws/servers/{endpoint}"
    assert 'scope="mcp"' in challenge
    url = re.search(r'resource_metadata="([^"]+)"', challenge)[1]
    metadata = httpx.get(url, timeout=BOUND).json()
    assert metadata["resource"] == resource
    assert metadata["authorization_servers"] == [f"{jupyter.url}mcp-ws/sign-in"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "{root}.well-known/oauth-protected-resource/{base}mcp-ws/servers/fast"),
        (
            {"X-Forwarded-For": "192.0.2.1"},
            "{root}{base}mcp-ws/servers/fast/.well-known/oauth-protected-resource",
        ),
    ],
    ids=["direct", "behind a proxy"],
)
def test_the_metadata_is_named_where_it_can_be_reached(jupyter, headers, expected):
    """Where RFC 9728 has it, which some clients insist on; below the endpoint, if a proxy may own the root."""
    root = str(httpx.URL(jupyter.url).join("/"))
    answer = httpx.post(f"{jupyter.url}mcp-ws/servers/fast", headers=headers, timeout=BOUND)
    url = re.search(r'resource_metadata="([^"]+)"', answer.headers["WWW-Authenticate"])[1]
    assert url == expected.format(root=root, base=jupyter.url.removeprefix(root))
    assert (
        httpx.get(url, headers=headers, timeout=BOUND).json()["resource"]
        == f"{jupyter.url}mcp-ws/servers/fast"
    )


def test_a_proxy_that_owns_no_path_of_its_own_needs_no_other_place(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    headers = {"X-Forwarded-Host": "jupyter.example", "X-Forwarded-Proto": "https"}
    answer = httpx.post(f"{jupyter.url}mcp-ws/servers/fast", headers=headers, timeout=BOUND)
    expected = "https://jupyter.example/.well-known/oauth-protected-resource/mcp-ws/servers/fast"
    assert f'resource_metadata="{expected}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["mcp-ws/api/tap", "mcp-ws/api/servers"])
def test_no_other_401_offers_to_sign_in(jupyter, path):
    answer = httpx.get(jupyter.url + path, timeout=BOUND)
    assert answer.status_code == 401
    assert "resource_metadata" not in answer.headers.get("WWW-Authenticate", "")


def test_metadata_is_at_every_place_where_clients_look(jupyter):
    root = str(httpx.URL(jupyter.url).join("/"))
    base = jupyter.url.removeprefix(root)
    resource = httpx.get(f"{jupyter.url}mcp-ws/servers/fast/.well-known/oauth-protected-resource").json()
    inserted = httpx.get(f"{root}.well-known/oauth-protected-resource/{base}mcp-ws/servers/fast")
    assert inserted.json() == resource
    issuer = resource["authorization_servers"][0]
    documents = [
        f"{issuer}/.well-known/openid-configuration",
        f"{issuer}/.well-known/oauth-authorization-server",
        f"{root}.well-known/openid-configuration/{base}mcp-ws/sign-in",
        f"{root}.well-known/oauth-authorization-server/{base}mcp-ws/sign-in",
        f"{root}.well-known/oauth-authorization-server",
        f"{root}.well-known/openid-configuration",
    ]
    answers = [httpx.get(url, timeout=BOUND) for url in documents]
    assert [answer.status_code for answer in answers] == [200] * len(documents)
    assert len({answer.text for answer in answers}) == 1
    metadata = answers[0].json()
    assert metadata["issuer"] == issuer
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["client_id_metadata_document_supported"] is True
    assert httpx.get(metadata["jwks_uri"], timeout=BOUND).json() == {"keys": []}


def test_the_metadata_is_valid_by_the_librarys_reading_of_its_rfcs(jupyter):
    from authlib.oauth2 import rfc8414, rfc9207

    issuer = "https://jupyter.example/user/a/mcp-ws/sign-in"
    headers = {
        "Host": f"127.0.0.1:{jupyter.port}",
        "X-Forwarded-Host": "jupyter.example",
        "X-Forwarded-Proto": "https",
    }
    url = f"{jupyter.url}mcp-ws/sign-in/.well-known/oauth-authorization-server"
    metadata = httpx.get(url, headers=headers, timeout=BOUND).json()
    assert metadata["issuer"] == issuer.replace("/user/a/", "/user/a%40b/")
    rfc8414.AuthorizationServerMetadata(metadata).validate([rfc9207.AuthorizationServerMetadata])


def test_behind_a_proxy_the_resource_has_the_outer_address(jupyter):
    headers = {"X-Forwarded-Host": "jupyter.example:8443", "X-Forwarded-Proto": "https, http"}
    url = f"{jupyter.url}mcp-ws/servers/fast/.well-known/oauth-protected-resource"
    outer = "https://jupyter.example:8443/user/a%40b/mcp-ws"
    metadata = httpx.get(url, headers=headers, timeout=BOUND).json()
    assert metadata["resource"] == f"{outer}/servers/fast"
    assert metadata["authorization_servers"] == [f"{outer}/sign-in"]


@pytest.mark.parametrize("host", ['evil"example', "evil example", "evil/example", "a@b"])
def test_a_host_that_is_none_is_not_repeated(jupyter, host):
    url = f"{jupyter.url}mcp-ws/servers/fast"
    answer = httpx.post(url, headers={"X-Forwarded-Host": host}, timeout=BOUND)
    assert "resource_metadata" not in answer.headers["WWW-Authenticate"]
    answer = httpx.get(f"{url}/.well-known/oauth-protected-resource", headers={"X-Forwarded-Host": host})
    assert answer.status_code == 404


def test_public_url_is_the_address_that_clients_are_told(make_jupyter):
    public = "https://outside.example/prefix/"
    jupyter = make_jupyter({"fast": FAST_SERVER}, f"--MCPWebSocketApp.public_url={public}")
    metadata = httpx.get(f"{jupyter.url}mcp-ws/servers/fast/.well-known/oauth-protected-resource").json()
    assert metadata["resource"] == f"{public}mcp-ws/servers/fast"
    assert metadata["authorization_servers"] == [f"{public}mcp-ws/sign-in"]


def test_signing_in_can_be_switched_off(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER}, "--MCPWebSocketApp.sign_in=False")
    answer = httpx.post(f"{jupyter.url}mcp-ws/servers/fast", timeout=BOUND)
    assert answer.status_code == 401
    assert "resource_metadata" not in answer.headers["WWW-Authenticate"]
    for path in (
        "servers/fast/.well-known/oauth-protected-resource",
        "sign-in/.well-known/openid-configuration",
    ):
        assert httpx.get(f"{jupyter.url}mcp-ws/{path}", timeout=BOUND).status_code == 404
    assert httpx.post(f"{jupyter.url}mcp-ws/sign-in/register", json={}, timeout=BOUND).status_code == 404
    assert Person(jupyter).open(f"{jupyter.url}mcp-ws/sign-in/authorize").status_code == 404


def test_without_a_login_of_jupyter_there_is_nothing_to_sign_in_to(make_jupyter):
    jupyter = make_jupyter(
        {"fast": FAST_SERVER}, "--IdentityProvider.token=", "--PasswordIdentityProvider.hashed_password="
    )
    url = f"{jupyter.url}mcp-ws/servers/fast/.well-known/oauth-protected-resource"
    assert httpx.get(url, timeout=BOUND).status_code == 404


def test_pages_of_an_allowed_origin_can_sign_in_and_others_cannot(make_jupyter):
    friend = "https://app.example"
    jupyter = make_jupyter({"fast": FAST_SERVER}, f"--ServerApp.allow_origin={friend}")
    paths = {
        "GET": [
            "servers/fast/.well-known/oauth-protected-resource",
            "sign-in/.well-known/openid-configuration",
        ],
        "POST": ["sign-in/token", "sign-in/register", "sign-in/revoke"],
    }
    for method, path in [(method, path) for method, listed in paths.items() for path in listed]:
        url = f"{jupyter.url}mcp-ws/{path}"
        answer = httpx.request(method, url, headers={"Origin": friend}, timeout=BOUND)
        assert answer.headers["Access-Control-Allow-Origin"] == friend, path
        preflight = httpx.options(url, headers={"Origin": friend, "Access-Control-Request-Method": method})
        assert preflight.status_code == 204, path
        answer = httpx.request(method, url, headers={"Origin": "https://evil.example"}, timeout=BOUND)
        assert answer.status_code == 403, path
        assert "Access-Control-Allow-Origin" not in answer.headers


# --- what is issued -------------------------------------------------------------------------------


def test_a_client_signs_in_by_url_alone_and_uses_the_server(jupyter, person):
    client = application(jupyter)
    issued = client.sign_in(person)
    assert issued["token_type"] == "Bearer"
    assert issued["scope"] == "mcp"
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "hi"}, "_meta": MODERN},
    }
    headers = {
        **{
            "Authorization": f"Bearer {issued['access_token']}",
            "Accept": "application/json, text/event-stream",
        },
        **{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"},
    }
    answer = httpx.post(client.endpoint, json=body, headers=headers, timeout=BOUND)
    assert "hi" in json.dumps(response_in(answer)["result"])


def test_a_sign_in_is_one_token_of_the_users_list_through_every_refresh(jupyter, person):
    before = listed(jupyter)
    client = application(jupyter)
    code = client.code(person)
    assert listed(jupyter) == before, "a code is no token yet"
    issued = client.exchange(code).json()
    (token_id,) = listed(jupyter).keys() - before.keys()
    token = listed(jupyter)[token_id]
    assert token["servers"] == ["fast"]
    assert token["note"] == "Tester (127.0.0.1:3334), signed in"
    assert 86300 < token["expires"] - token["created"] <= 86400
    issued = client.refresh(issued["refresh_token"]).json()
    assert listed(jupyter).keys() == {*before, token_id}
    assert client.call(issued["access_token"]) == 400
    assert jupyter.rest("DELETE", f"tokens/{token_id}")[0] == 204
    assert client.call(issued["access_token"]) == 401
    assert client.refresh(issued["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_client_can_revoke_what_it_got(jupyter, person):
    client = application(jupyter)
    for name in ("access_token", "refresh_token"):
        issued = client.sign_in(person)
        assert client.revoke(issued[name]).status_code == 200
        assert client.call(issued["access_token"]) == 401
        assert client.refresh(issued["refresh_token"]).status_code == 400
    assert client.revoke("unknown").status_code == 200
    issued = client.sign_in(person)
    assert (
        client.revoke(
            issued["access_token"], client_id=application(jupyter, another=True).client_id
        ).status_code
        == 400
    )
    assert client.call(issued["access_token"]) == 400


def test_a_client_without_refresh_tokens_gets_one_token_for_a_day_at_most(jupyter, person):
    client = Application(f"{jupyter.url}mcp-ws/servers/fast")
    client.discover()
    registered = client.register(grant_types=["authorization_code"]).json()
    assert registered["grant_types"] == ["authorization_code"]
    assert "At most a day" in person.open(client.authorization_url()).text
    issued = client.sign_in(person, seconds="31536000")
    assert "refresh_token" not in issued
    assert 86000 < issued["expires_in"] <= 86400
    assert issued["scope"] == "mcp"


def test_an_odd_method_and_a_foreign_host_get_a_page_with_the_reason(jupyter):
    url = application(jupyter).server["authorization_endpoint"]
    start = len(jupyter.log.read_text())
    odd = httpx.request("FOO", url)
    assert odd.status_code == 405
    assert "cannot sign in" in odd.text
    foreign = httpx.post(url, headers={"Host": "evil.example"})
    assert foreign.status_code == 403
    assert "evil.example" in foreign.text
    assert "Uncaught" not in jupyter.log.read_text()[start:]


def test_a_token_request_that_fails_says_why(jupyter):
    client = application(jupyter)
    answer = httpx.post(
        client.server["token_endpoint"], data={"grant_type": "authorization_code", "code": "x"}
    )
    assert "client_id is missing" in answer.json()["error_description"]
    assert client.exchange("x").json()["error_description"]
    assert "unknown, expired, used" in client.refresh("x").json()["error_description"]
    answer = httpx.post(client.server["registration_endpoint"], json={})
    assert "metadata" in answer.json()["error_description"]


def test_a_client_is_registered_as_what_it_can_be_here(jupyter):
    client = application(jupyter)
    asked = {
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["implicit", "refresh_token"],
        "scope": "x",
    }
    registered = client.register(**asked).json()
    assert registered["token_endpoint_auth_method"] == "none"
    assert registered["grant_types"] == ["authorization_code", "refresh_token"]
    assert registered["redirect_uris"] == [REDIRECT]
    assert "client_secret" not in registered


def test_an_editor_registers_with_everything_that_it_may_use(jupyter, person):
    """What VS Code sends: redirect URIs of the web and of loopback, and a grant type that does not exist here."""
    client = application(jupyter)
    uris = ["https://vscode.dev/redirect", "http://127.0.0.1/", "http://localhost:33418/"]
    grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
    more = {"response_types": ["code"], "token_endpoint_auth_method": "none", "application_type": "native"}
    registered = client.register(
        redirect_uris=uris, grant_types=grants, client_uri="https://x.example", **more
    ).json()
    assert registered["redirect_uris"] == uris
    assert registered["grant_types"] == grants[:2]
    client.redirect_uri = "http://127.0.0.1:51234/"
    assert client.sign_in(person)["refresh_token"]


def test_the_code_is_the_last_parameter_of_the_redirect(jupyter, person):
    """VS Code in a browser does not find it where it is the first one."""
    client = application(jupyter, redirect_uri="https://client.example/callback?own=1", another=True)
    location = person.decide(client.authorization_url(state="a b&code=c")).headers["Location"]
    names = [name for name, _ in parse_qsl(urlsplit(location).query)]
    assert names == ["own", "state", "iss", "code"]
    assert parameters_of(location)["state"] == "a b&code=c"
    assert client.exchange(parameters_of(location)["code"]).status_code == 200


@pytest.mark.parametrize(
    "body", [b"[]", b"x", b"{}", b'{"redirect_uris": "x"}', b'{"redirect_uris": [1]}', b"\xff"]
)
def test_a_registration_that_cannot_be_read_is_refused_in_oauths_form(jupyter, body):
    client = application(jupyter)
    answer = httpx.post(client.server["registration_endpoint"], content=body, timeout=BOUND)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_client_metadata", "invalid_redirect_uri", "invalid_request")


@pytest.mark.parametrize("scope", [None, "mcp", "mcp offline_access", "openid profile"])
def test_a_client_gets_no_scope_that_it_did_not_request(jupyter, person, scope):
    client = application(jupyter)
    code = parameters_of(person.decide(client.authorization_url(scope=scope)).headers["Location"])["code"]
    granted = client.exchange(code).json()["scope"]
    assert granted == (scope if scope and "mcp" in scope else "mcp")


def test_a_registration_and_a_sign_in_outlive_a_restart(make_jupyter):
    jupyter = make_jupyter({"fast": FAST_SERVER})
    client = application(jupyter)
    issued = client.sign_in(Person(jupyter))
    jupyter.stop()
    jupyter.start()
    assert client.call(issued["access_token"]) == 400
    assert client.refresh(issued["refresh_token"]).status_code == 200
    assert client.code(Person(jupyter))


# --- what the user sees and decides ---------------------------------------------------------------


def test_the_page_shows_who_asks_for_what(jupyter, person):
    page = person.open(application(jupyter).authorization_url()).text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("<main>")[2]))
    assert "Allow Tester to use MCP servers?" in text
    assert "not known: the application chose its name itself" in text
    assert "127.0.0.1:3334 (a program on this computer)" in text
    assert "fast" in text
    assert re.search(r'name="servers" value="fast" checked disabled', page)


def test_a_group_has_an_audience_of_its_own(jupyter, person):
    client, before = application(jupyter, "+fast+demo"), listed(jupyter)
    issued = client.sign_in(person)
    assert client.call(issued["access_token"]) == 400
    (token_id,) = listed(jupyter).keys() - before.keys()
    assert listed(jupyter)[token_id]["servers"] == ["demo", "fast"]
    assert listed(jupyter)[token_id]["tools"] is None


def test_a_client_that_names_no_resource_gets_the_servers_that_the_user_ticks(jupyter, person):
    client = application(jupyter)
    url = client.authorization_url(resource=None)
    assert "checked disabled" not in person.open(url).text
    assert "tick at least one" in person.decide(url).text
    code = parameters_of(person.decide(url, servers=["demo", "no-such"]).headers["Location"])["code"]
    issued = client.exchange(code, resource=None).json()
    assert client.call(issued["access_token"]) == 403
    assert client.call(issued["access_token"], f"{jupyter.url}mcp-ws/servers/demo") == 400


def test_an_approval_can_be_limited_to_some_tools(jupyter, person):
    client, before = application(jupyter, "demo"), listed(jupyter)
    client.sign_in(person, tools="echo\nsl*")
    (token_id,) = listed(jupyter).keys() - before.keys()
    assert listed(jupyter)[token_id]["tools"] == {"allow": ["echo", "sl*"], "deny": []}
    assert jupyter.rest("DELETE", f"tokens/{token_id}")[0] == 204


@pytest.mark.parametrize(
    ("ticked", "others", "rules"),
    [
        (["echo", "slow"], [], {"allow": ["echo", "slow"], "deny": []}),
        (["echo"], ["later"], {"allow": None, "deny": None}),
        (None, ["later"], None),
    ],
    ids=["some", "all but some", "all"],
)
def test_a_user_ticks_tools_of_a_list(jupyter, person, ticked, others, rules):
    client = application(jupyter, "demo")
    page = person.decide(client.authorization_url(), "list", seconds="3600")
    assert page.status_code == 200, page.text
    names = re.findall(r'name="listed" value="([^"]+)"', page.text)
    assert {"echo", "slow"} < set(names)
    assert 'value="3600" selected' in page.text
    before = listed(jupyter)
    client.sign_in(person, listed=names, tool=names if ticked is None else ticked, others=others)
    (token,) = [token for token_id, token in listed(jupyter).items() if token_id not in before]
    if rules is not None and others:
        rules["deny"] = [name for name in names if name != "echo"]
    assert token["tools"] == rules
    assert jupyter.rest("DELETE", f"tokens/{token['id']}")[0] == 204


def test_a_list_without_a_tick_approves_nothing(jupyter, person):
    answer = person.decide(application(jupyter, "demo").authorization_url(), listed=["echo"], tool=[])
    assert answer.status_code == 400
    assert "tick at least one" in answer.text


def test_a_server_whose_tools_cannot_be_listed_can_still_be_approved(jupyter, person):
    client = application(jupyter, "absent")
    page = person.decide(client.authorization_url(), "list")
    assert "The tools cannot be listed" in page.text
    assert client.sign_in(person)


def test_a_list_has_no_tool_that_the_server_itself_denies(make_jupyter):
    jupyter = make_jupyter({"demo": {**DEMO, "mcp_ws": {"tools": {"deny": ["slow"]}}}})
    client, person = application(jupyter, "demo"), Person(jupyter)
    names = re.findall(
        r'name="listed" value="([^"]+)"', person.decide(client.authorization_url(), "list").text
    )
    assert "echo" in names
    assert "slow" not in names


def test_opening_the_page_starts_no_server(jupyter, person):
    jupyter.rest("POST", "servers/time/restart")
    person.open(application(jupyter, "time").authorization_url())
    assert jupyter.processes("time") == []


def test_only_the_lifetimes_of_the_page_can_be_approved(jupyter, person):
    answer = person.decide(application(jupyter).authorization_url(), seconds="999999999")
    assert answer.status_code == 400


def test_after_the_login_the_browser_is_back_at_the_page(jupyter):
    stranger = Person(jupyter, logged_in=False)
    client = application(jupyter)
    login = stranger.open(client.authorization_url()).headers["Location"]
    back = stranger.log_in(str(httpx.URL(jupyter.url).join(login))).headers["Location"]
    assert stranger.open(str(httpx.URL(jupyter.url).join(back))).status_code == 200


def test_a_user_whose_login_ended_while_the_page_was_open_reads_what_to_do(jupyter):
    client, person = application(jupyter), Person(jupyter)
    page = person.open(client.authorization_url())
    person.open(f"{jupyter.url}logout")
    action = str(page.url)
    answer = person.send("POST", action, {"decision": "approve"}, Origin=person.origin)
    assert answer.status_code == 403
    assert "your login to Jupyter ended while this page was open" in answer.text


def test_steps_of_signing_in_are_counted(jupyter, person):
    def counted() -> dict[str, float]:
        text = httpx.get(f"{jupyter.url}metrics", headers={"Authorization": f"token {jupyter.token}"}).text
        return {
            step: float(n) for step, n in re.findall(r'mcp_ws_sign_ins_total\{step="(\w+)"\} ([\d.]+)', text)
        }

    client = application(jupyter)
    client.sign_in(person)
    before = counted()
    client.sign_in(person)
    person.decide(client.authorization_url(), "deny")
    after = counted()
    assert {step: after[step] - before.get(step, 0) for step in after} == {
        "approved": 1,
        "issued": 1,
        "denied": 1,
    }
