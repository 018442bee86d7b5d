"""What was noticed between clients and gateway: told once, listed for an hour."""

from __future__ import annotations

import pytest

from mcp_ws_ide.core.intermediaries import KINDS, REPORTED, lost_header, of_status, read_report, sentence
from mcp_ws_ide.observe.intermediaries import KEPT_SECONDS, UNVERIFIED, Intermediaries


def test_a_kind_is_told_once_counted_and_forgotten_after_an_hour():
    told: list[tuple[str, str, str]] = []
    now = [1000.0]
    noticed = Intermediaries(lambda *arguments: told.append(arguments), lambda: now[0])
    for _ in range(3):
        now[0] += 1
        noticed.note("idle_limit", "60", "ana", "git")
    noticed.note("body_limit")
    assert told == [(sentence("idle_limit", "60"), "ana", "git"), (sentence("body_limit"), "", "")]
    first, second = noticed.model()
    assert (first["code"], first["count"], first["first"], first["last"]) == ("idle_limit", 3, 1001.0, 1003.0)
    assert "after 60 s without traffic" in first["message"] and "proxy_read_timeout" in first["cure"]
    assert second["code"] == "body_limit"
    now[0] += KEPT_SECONDS + 1
    assert noticed.model() == []
    noticed.note("body_limit")
    assert len(told) == 3


def test_what_is_unverified_says_so_and_changes_nothing_that_is_verified():
    told: list[str] = []
    noticed = Intermediaries(lambda text, *_: told.append(text))
    noticed.note("host_replaced", "http://forged", verified=False)
    noticed.note("host_replaced", "http://forged", verified=False)
    (entry,) = noticed.model()
    assert (entry["verified"], entry["count"]) == (False, 2)
    assert entry["message"].endswith(UNVERIFIED)
    noticed.note("host_replaced", "http://own")
    noticed.note("host_replaced", "http://forged", verified=False)
    (entry,) = noticed.model()
    assert (entry["verified"], entry["count"]) == (True, 1)
    assert "http://own" in entry["message"] and "unverified" not in entry["message"]
    assert len(told) == 2 and UNVERIFIED in told[0] and told[1] == sentence("host_replaced", "http://own")


def test_details_are_cut():
    noticed = Intermediaries(lambda *_: None)
    noticed.note("host_replaced", "x" * 5000)
    assert len(noticed.model()[0]["message"]) < 250


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_has_a_sentence_with_a_cure(code):
    text = sentence(code, "DETAIL")
    assert ("DETAIL" in text) == ("{}" in KINDS[code].what)
    assert "; " in text and not text.endswith(".")


def test_clients_report_only_what_they_alone_can_know():
    assert read_report("body_limit, idle_limit,nonsense,body_limit,buffered") == [
        ("body_limit", ""),
        ("buffered", ""),
    ]
    assert all(("{}" in KINDS[code].what) == bool(detail) for code, detail in REPORTED.items())
    assert len(read_report(",".join(["x"] * 10_000))) == 0


@pytest.mark.parametrize(
    ("names", "arrived", "lost"),
    [
        ("authorization", None, True),
        ("authorization", "Basic cHJveHk6eA==", True),
        ("authorization", "Bearer x", False),
        ("authorization", "token x", False),
        ("sec-websocket-protocol, Authorization", "", True),
        ("", None, False),
        ("sec-websocket-protocol", None, False),
    ],
)
def test_a_header_is_lost_if_it_was_sent_and_did_not_arrive(names, arrived, lost):
    assert lost_header(names, "authorization", arrived) is lost


@pytest.mark.parametrize(
    ("status", "body", "code", "detail"),
    [
        (413, b"", "body_limit", ""),
        (414, b"", "head_limit", ""),
        (431, b"", "head_limit", ""),
        (494, b"", "head_limit", ""),
        (400, b"<html><title>400 Request Header Or Cookie Too Large</title>", "head_limit", ""),
        (408, b"", "request_limit", ""),
        (411, b"", "length_required", ""),
        (502, b"", "proxy_error", "502 (it cannot reach Jupyter)"),
        (524, b"", "proxy_error", "524 (Jupyter answered too late for it)"),
    ],
)
def test_statuses_of_proxies_have_codes(status, body, code, detail):
    assert of_status(status, body) == (code, detail)
    assert code in REPORTED


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (400, b""), (400, b"<title>Bad Request</title>"), (500, b"")]
)
def test_a_status_that_jupyter_and_servers_send_as_well_says_nothing(status, body):
    assert of_status(status, body) is None
