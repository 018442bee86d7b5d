"""How long the gateway waits for a handshake."""

from __future__ import annotations

import pytest

from mcp_ws_ide.gateway.patience import Patience, download_hint


def waited(*writes: float, process: bool) -> tuple[float, str]:
    """Return when a handshake that begins at 100 is too late, and the text, with output at these times."""
    times = iter([100.0, *writes])
    patience = Patience(10, lambda: next(times))
    patience.begin(process=process)
    for _ in writes:
        patience.note_writing()
    return patience.end, str(patience)


def test_a_remote_server_gets_six_times_the_probe_timeout_whatever_it_writes():
    assert waited(150, process=False) == (160, "60 s (6 times probe_timeout)")


def test_a_silent_process_gets_nine_times():
    assert waited(process=True) == (190, "90 s (9 times probe_timeout)")


def test_a_process_that_writes_gets_that_from_its_last_line_on_but_thirty_times_at_most():
    assert waited(180, process=True) == (270, "90 s (9 times probe_timeout) after its last line on stderr")
    assert waited(180, 395, process=True) == (400, "300 s (30 times probe_timeout)")


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("npx", "; if npx downloads it, run"),
        ("/usr/bin/uvx", "; if uvx downloads it"),
        ("python", ""),
        (None, ""),
    ],
)
def test_a_program_that_may_have_been_downloading_is_named(command, hint):
    assert download_hint(command).startswith(hint)
    assert bool(download_hint(command)) == bool(hint)
