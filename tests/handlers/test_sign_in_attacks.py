"""Attacks on signing in, one test each: docs/operate/sign-in-attacks.md names them beside the sections of RFC 9700."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.conftest import BOUND, Jupyter, wait_until
from tests.signing_in import REDIRECT, Application, Person, application, challenge_of, parameters_of

EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def person(jupyter) -> Person:
    return Person(jupyter)


@pytest.fixture
def client(jupyter) -> Application:
    return application(jupyter)


def refused(answer: httpx.Response, reason: str) -> bool:
    """Whether a page says why it sends the browser nowhere."""
    assert answer.status_code == 400, answer.text
    assert "Location" not in answer.headers
    assert reason in answer.text, answer.text
    return True


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code in (400, 401), answer.text
    return answer.json()["error"]


# --- redirect URIs (RFC 9700 section 4.1) ---------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "http://127.0.0.1:3334/callback/../other",
        "http://127.0.0.1:3334/callback?more=1",
        "http://127.0.0.1:3334/Callback",
        "http://127.0.0.1.evil.example:3334/callback",
        "http://127.0.0.1:3334@evil.example/callback",
        "http://localhost:3334/callback",
        "http://127.0.0.1:3334/callback#fragment",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_uri_that_is_not_registered_gets_no_code(client, person, uri):
    answer = person.open(client.authorization_url(redirect_uri=uri))
    assert refused(answer, "This application cannot sign in")
    assert uri not in re.findall(r'href="([^"]+)"', answer.text)


def test_a_loopback_redirect_uri_may_have_any_port_and_a_public_one_only_its_own(client, person):
    answer = person.decide(client.authorization_url(redirect_uri="http://127.0.0.1:41234/callback"))
    assert parameters_of(answer.headers["Location"])["code"]
    assert answer.headers["Location"].startswith("http://127.0.0.1:41234/callback?")
    client.redirect_uri = "https://app.example/callback"
    client.register()
    answer = person.open(client.authorization_url(redirect_uri="https://app.example:8443/callback"))
    assert refused(answer, "cannot sign in")


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/callback",
        "javascript:alert(1)//x",
        "data:text/html,x",
        "ms-msdt:/id?PCWDiagnostic",
        "search-ms:query=x",
        "ssh://-oProxyCommand=x/",
        "https://user@app.example/callback",
        "https://app.example/callback#x",
        "https://app.example/call back",
        "/callback",
        "",
    ],
)
def test_a_dangerous_redirect_uri_cannot_be_registered(client, uri):
    answer = client.register(redirect_uris=[uri])
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_redirect_uri", "invalid_client_metadata")


def test_a_refused_request_shows_no_link_that_starts_an_application(jupyter, person):
    client = application(jupyter, redirect_uri="an-editor://callback", another=True)
    page = person.open(client.authorization_url(code_challenge=None))
    assert refused(page, "code_challenge is required")
    assert "an-editor:" not in page.text


# --- codes and PKCE (sections 4.5, 4.8, 2.1.1) ----------------------------------------------------


def test_a_code_that_is_used_again_revokes_what_it_gave(client, person):
    code = client.code(person)
    issued = client.exchange(code).json()
    assert error_of(client.exchange(code)) == "invalid_grant"
    assert client.call(issued["access_token"]) == 401
    assert error_of(client.refresh(issued["refresh_token"])) == "invalid_grant"


def test_a_code_is_bound_to_its_client_its_redirect_uri_and_its_verifier(jupyter, client, person):
    code = client.code(person)
    other = application(jupyter, another=True)
    assert error_of(client.exchange(code, client_id=other.client_id)) == "invalid_grant"
    assert error_of(client.exchange(code, redirect_uri="http://127.0.0.1:9/callback")) == "invalid_grant"
    assert error_of(client.exchange(code, code_verifier="v" * 43)) == "invalid_grant"
    assert error_of(client.exchange(code, code_verifier=None)) == "invalid_request"
    assert client.exchange(code).status_code == 200, "the failed attempts have not used it up"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain", "code_challenge": "v" * 43},
    ],
    ids=["none", "no challenge", "no method", "plain"],
)
def test_a_request_without_pkce_or_with_a_weaker_method_is_refused(client, person, changed):
    assert refused(person.open(client.authorization_url(**changed)), "code_challenge")


def test_an_authorization_code_is_no_access_token(client, person):
    code = client.code(person)
    assert client.call(code) == 401
    assert client.call(f"mcpws_{code}") == 401


# --- mix-up (section 4.4) -------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_every_response_names_its_issuer(client, person, decision):
    answer = person.decide(client.authorization_url(), decision)
    parameters = parameters_of(answer.headers["Location"])
    assert parameters["iss"] == client.server["issuer"]
    assert parameters["state"] == client.state
    assert ("code" in parameters) == (decision == "approve")
    assert parameters.get("error") == (None if decision == "approve" else "access_denied")


def test_an_error_that_is_shown_before_the_decision_names_its_issuer_in_the_way_back(client, person):
    page = person.open(client.authorization_url(response_type="token")).text
    back = re.search(r'href="([^"]+)" rel="noreferrer"', page)[1].replace("&amp;", "&")
    assert parameters_of(back)["iss"] == client.server["issuer"]
    assert parameters_of(back)["error"] == "unsupported_response_type"


# --- the page: CSRF, clickjacking, open redirector, referrer (sections 4.7, 4.16, 4.11, 4.2) ------


def test_a_decision_needs_the_xsrf_token_of_the_page(client, person):
    answer = person.decide(client.authorization_url(), _xsrf="forged")
    assert answer.status_code == 403
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{"Origin": EVIL}, {"Origin": "null"}, {"Origin": "", "Sec-Fetch-Site": "cross-site"}]
)
def test_a_decision_that_another_site_sends_is_refused(client, person, headers):
    answer = person.decide(client.authorization_url(), headers=headers)
    assert answer.status_code == 403
    assert "Location" not in answer.headers


def test_a_decision_needs_a_login_of_its_own(jupyter, client):
    stranger = Person(jupyter, logged_in=False)
    assert stranger.send("POST", client.authorization_url(), {"decision": "approve"}).status_code == 403
    answer = stranger.open(client.authorization_url())
    assert answer.status_code == 302
    assert urlsplit(answer.headers["Location"]).path.endswith("/login")


def test_a_gateway_token_approves_nothing(jupyter, client, person):
    token = client.sign_in(person)["access_token"]
    stranger = Person(jupyter, logged_in=False)
    answer = stranger.open(client.authorization_url(), Authorization=f"Bearer {token}")
    assert answer.status_code == 302


def test_no_other_site_can_show_the_page_in_a_frame(client, person):
    answer = person.open(client.authorization_url())
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_the_page_runs_no_script_and_loads_nothing(client, person):
    policy = person.open(client.authorization_url()).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "script-src" not in policy


def test_what_a_client_says_of_itself_is_text_on_the_page(client, person):
    client.register(client_name="<script>alert(1)</script>\u202egnp.exe")
    page = person.open(client.authorization_url()).text
    assert "<script>" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "changed", [{"code_challenge": None}, {"response_type": "token"}, {"resource": "https://evil.example/"}]
)
def test_no_request_sends_the_browser_on_before_the_user_has_decided(client, person, changed):
    client.redirect_uri = f"{EVIL}/landing"
    client.register()
    assert refused(person.open(client.authorization_url(**changed)), "cannot sign in")


def test_neither_page_nor_redirect_tells_another_site_the_request(client, person):
    page = person.open(client.authorization_url())
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "no-store"
    answer = person.decide(client.authorization_url())
    assert answer.status_code == 303, "307 would send the form to the client"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


# --- tokens: refresh, audience, binding (sections 4.14, 4.9, 4.10) --------------------------------


def test_an_old_refresh_token_revokes_the_whole_sign_in(client, person):
    first = client.sign_in(person)
    second = client.refresh(first["refresh_token"]).json()
    third = client.refresh(second["refresh_token"]).json()
    assert error_of(client.refresh(first["refresh_token"])) == "invalid_grant"
    assert client.call(third["access_token"]) == 401
    assert error_of(client.refresh(third["refresh_token"])) == "invalid_grant"


def test_a_refresh_token_is_bound_to_its_client_and_its_resource(jupyter, client, person):
    issued = client.sign_in(person)
    other = application(jupyter, another=True)
    assert error_of(client.refresh(issued["refresh_token"], client_id=other.client_id)) == "invalid_grant"
    elsewhere = client.resource.replace("/fast", "/demo")
    assert error_of(client.refresh(issued["refresh_token"], resource=elsewhere)) == "invalid_target"
    assert client.refresh(issued["refresh_token"]).status_code == 200


def test_a_refresh_token_is_no_access_token(client, person):
    assert client.call(client.sign_in(person)["refresh_token"]) in (401, 403)


def test_a_token_for_one_server_does_not_open_another(jupyter, client, person):
    issued = client.sign_in(person)
    assert client.call(issued["access_token"], f"{jupyter.url}mcp-ws/servers/demo") == 403
    assert client.call(issued["access_token"], f"{jupyter.url}mcp-ws/servers/+fast+demo") == 403
    assert client.call(issued["access_token"]) == 400, "it is authorized; the message lacks its metadata"


def test_a_code_for_one_server_gives_no_token_for_another(client, person):
    code = client.code(person)
    elsewhere = client.resource.replace("/fast", "/demo")
    assert error_of(client.exchange(code, resource=elsewhere)) == "invalid_target"


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp-ws/servers/fast",
        "{base}mcp-ws/servers/",
        "{base}api/contents",
        "{endpoint}?x=1",
    ],
)
def test_a_resource_that_is_no_endpoint_of_this_gateway_is_refused(jupyter, client, person, resource):
    given = resource.format(base=jupyter.url, endpoint=client.endpoint)
    assert refused(person.open(client.authorization_url(resource=given)), "is not an MCP endpoint")


def test_a_token_does_not_open_the_rest_of_jupyter(jupyter, client, person):
    issued = client.sign_in(person)
    headers = {"Authorization": f"Bearer {issued['access_token']}"}
    for path in ("api/contents", "mcp-ws/api/servers", "mcp-ws/api/tokens"):
        assert httpx.get(jupyter.url + path, headers=headers).status_code in (401, 403), path


# --- registration and metadata documents ----------------------------------------------------------


def test_a_flood_of_registrations_is_slowed_down_and_stores_nothing(make_jupyter):
    jupyter = make_jupyter({"fast": {"command": "true"}})
    client = application(jupyter)
    before = sorted((path, path.stat().st_size) for path in jupyter.home.rglob("*") if path.suffix == ".json")
    answers: list[int] = []

    def register() -> None:
        for _ in range(20):
            if 429 in answers:
                return
            url, body = client.server["registration_endpoint"], {"redirect_uris": [REDIRECT]}
            answers.append(httpx.post(url, json=body, timeout=BOUND).status_code)

    threads = [threading.Thread(target=register) for _ in range(45)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 429 in answers
    after = sorted((path, path.stat().st_size) for path in jupyter.home.rglob("*") if path.suffix == ".json")
    assert after == before
    assert client.code(Person(jupyter)), "the client that was there before is still known"


@pytest.mark.parametrize("part", ["content", "signature"])
def test_a_forged_registration_is_unknown(client, person, part):
    content, signature = client.client_id.removeprefix("mcpwsc_").split(".")
    forged = (
        content[:-4] + "AAAA" + "." + signature if part == "content" else content + "." + "A" * len(signature)
    )
    assert refused(person.open(client.authorization_url(client_id=f"mcpwsc_{forged}")), "not known here")


class _Listener(BaseHTTPRequestHandler):
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_a_client_id_cannot_make_the_gateway_ask_its_own_network(client, person, host):
    _Listener.requests.clear()
    with HTTPServer(("127.0.0.1", 0), _Listener) as inner:
        threading.Thread(target=inner.serve_forever, daemon=True).start()
        url = f"https://{host}:{inner.server_port}/client.json"
        answer = person.open(client.authorization_url(client_id=url))
        inner.shutdown()
    assert refused(answer, "is not public")
    assert _Listener.requests == []


def test_only_a_logged_in_user_makes_the_gateway_fetch_a_document(jupyter, client):
    stranger = Person(jupyter, logged_in=False)
    answer = stranger.open(client.authorization_url(client_id="https://127.0.0.1:9/client.json"))
    assert answer.status_code == 302
    assert urlsplit(answer.headers["Location"]).path.endswith("/login")


@pytest.mark.parametrize(
    ("changed", "headers", "reason"),
    [
        ({}, {"Sec-Fetch-Dest": "image", "Sec-Fetch-Site": "cross-site"}, "a page for a person"),
        ({"redirect_uri": None}, {}, "redirect_uri is missing"),
        ({"code_challenge": None}, {}, "code_challenge is missing"),
    ],
)
def test_what_is_no_request_of_a_person_fetches_no_document(client, person, changed, headers, reason):
    url = client.authorization_url(client_id="https://no-such-host.invalid/client.json", **changed)
    assert refused(person.open(url, **headers), reason)
    metadata = httpx.get(f"{client.server['issuer']}/.well-known/openid-configuration").json()
    assert metadata["client_id_metadata_document_supported"] is True


def test_a_decision_without_the_token_of_a_page_says_to_start_again(jupyter, client, person):
    url = client.authorization_url()
    answer = person.send("POST", url, {"decision": "approve", "_xsrf": "x"}, Origin=person.origin)
    assert answer.status_code == 403
    assert "start signing in from the application again" in answer.text


def test_the_parameters_of_a_request_that_waits_for_the_login_are_not_logged(jupyter, client):
    start = len(jupyter.log.read_text())
    wanted = quote(f"{urlsplit(jupyter.url).path}tree?code=PLANTED", safe="")
    Person(jupyter, logged_in=False).log_in(f"{jupyter.url}login?next={wanted}")
    wait_until(lambda: "/login?next=" in jupyter.log.read_text()[start:], what="the line of the login")
    assert "PLANTED" not in jupyter.log.read_text()[start:]


@pytest.mark.parametrize(
    "url", ["http://app.example/c.json", "https://app.example/", "https://u@app.example/c", "x"]
)
def test_a_client_id_must_be_an_https_url_with_a_path_or_a_registration(client, person, url):
    answer = person.open(client.authorization_url(client_id=url))
    assert answer.status_code == 400
    assert "Location" not in answer.headers


# --- parameters, logs -----------------------------------------------------------------------------


def test_a_repeated_parameter_is_refused(client, person):
    answer = person.open(client.authorization_url() + "&redirect_uri=https%3A%2F%2Fevil.example%2F")
    assert refused(answer, "repeated")
    form = {"grant_type": "authorization_code", "code": ["a", "b"], "client_id": client.client_id}
    answer = httpx.post(client.server["token_endpoint"], data=form)
    assert error_of(answer) == "invalid_request"


def test_the_log_has_no_code_no_token_and_no_verifier(make_jupyter):
    jupyter: Jupyter = make_jupyter({"fast": {"command": "true"}}, "--ServerApp.log_level=DEBUG", "--debug")
    client, person = application(jupyter), Person(jupyter)
    stranger = Person(jupyter, logged_in=False)
    stranger.log_in(
        str(httpx.URL(jupyter.url).join(stranger.open(client.authorization_url()).headers["Location"]))
    )
    code = client.code(person)
    issued = client.exchange(code).json()
    renewed = client.refresh(issued["refresh_token"]).json()
    assert error_of(client.exchange(code)) == "invalid_grant"
    jupyter.stop()
    log = jupyter.log.read_text()
    assert "approved Tester (127.0.0.1:3334), signed in for fast" in log
    assert "is revoked: an authorization code was used again" in log
    secrets = [
        code,
        client.verifier,
        *(t[name] for t in (issued, renewed) for name in ("access_token", "refresh_token")),
    ]
    assert "sign-in/token" in log
    assert [secret for secret in secrets if secret in log] == []
    assert challenge_of(client.verifier) in log or "code_challenge" in log
    stored = (jupyter.home / "data" / "mcp_ws_ide" / "tokens.json").read_text()
    assert [secret for secret in secrets if secret in stored] == []
