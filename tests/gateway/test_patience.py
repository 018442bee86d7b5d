"""How long the gateway waits for a handshake."""

from __future__ import annotations

from mcp_ws_ide.gateway.patience import Patience


def test_a_remote_server_gets_six_times_the_probe_timeout_whatever_it_writes():
    patience = Patience(10, 100, process=False)
    patience.wrote = 150
    assert (patience.end, str(patience)) == (160, "60 s (6 times probe_timeout)")


def test_a_silent_process_gets_nine_times():
    patience = Patience(10, 100, process=True)
    assert (patience.end, str(patience)) == (190, "90 s (9 times probe_timeout)")


def test_a_process_that_writes_gets_that_from_its_last_line_on_but_thirty_times_at_most():
    patience = Patience(10, 100, process=True)
    patience.wrote = 180
    assert patience.end == 270
    assert str(patience) == "90 s (9 times probe_timeout) after its last line on stderr"
    patience.wrote = 395
    assert (patience.end, str(patience)) == (400, "300 s (30 times probe_timeout)")
