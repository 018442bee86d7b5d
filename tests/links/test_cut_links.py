"""Limits of proxies, recognised from the ends of links."""

from __future__ import annotations

import socket
import time

import pytest

from mcp_ws_ide.links.cut_links import APART, LEAST_INTERVAL, PING_INTERVAL, CutLinks, idle_seconds


def noticed(cuts: list[tuple[float, float]], apart: float = 100.0) -> tuple[list[tuple[str, str]], CutLinks]:
    """What is noted after cuts with these seconds of idleness and age."""
    found: list[tuple[str, str]] = []
    watch = CutLinks(lambda code, detail: found.append((code, detail)))
    for number, (idle, age) in enumerate(cuts, 1):
        watch.cut(number * apart, idle, age)
    return found, watch


def test_cuts_after_the_same_silence_make_an_idle_limit_and_more_pings():
    found, watch = noticed([(60.0, 300), (60.2, 80), (59.9, 2000), (60.1, 61)])
    assert found == [("idle_limit", "60")]
    assert watch.ping_interval == PING_INTERVAL, "it is short enough for this limit"
    found, watch = noticed([(15.0, 300), (15.1, 80), (15.0, 2000), (15.0, 61)])
    assert found == [("idle_limit", "15")]
    assert watch.ping_interval == pytest.approx((6.0, 7.5), abs=0.1)
    assert noticed([(3.0, 30), (3.1, 80), (3.0, 20), (3.0, 61)])[1].ping_interval == LEAST_INTERVAL


def test_cuts_at_the_same_age_make_an_age_limit():
    assert noticed([(1, 300), (20, 301), (7, 300.5), (0.1, 300)])[0] == [("age_limit", "300")]


@pytest.mark.parametrize(
    "cuts",
    [
        [(60, 300), (60, 80), (60, 2000)],
        [(60, 300), (20, 80), (60, 2000), (60, 61)],
        [(0.01, 1), (0.01, 1), (0.01, 1), (0.01, 1), (0.01, 1)],
    ],
    ids=["too few", "one differs", "programs that end at once"],
)
def test_other_ends_make_no_limit(cuts):
    assert noticed(cuts)[0] == []


def test_an_outage_that_cuts_many_links_at_once_is_no_limit():
    assert noticed([(10, 30)] * 50, apart=APART / 100)[0] == []


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not say")
def test_the_kernel_says_how_long_a_connection_was_idle():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        ours, _ = server.accept()
        client.sendall(b"x")
        assert ours.recv(1) == b"x"
        began = time.monotonic()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.close()
        assert ours.recv(1) == b""
        idle = idle_seconds(ours)
        ours.close()
    assert idle is not None and 0.2 < idle < time.monotonic() - began + 0.1


def test_a_unix_socket_says_nothing():
    ours, theirs = socket.socketpair()
    assert idle_seconds(ours) is None
    ours.close(), theirs.close()
