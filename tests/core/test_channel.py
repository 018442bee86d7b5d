"""The buffer of unacknowledged frames: rules that the random schedules do not single out."""

from __future__ import annotations

from mcp_ws_ide.core.channel import ReliableChannel


def test_gaps_that_follow_each_other_are_one():
    channel = ReliableChannel(4, 1000)
    channel.push(b"a")
    channel.push_gap()
    channel.push_gap()
    assert (channel.kept, channel.sent, channel.dropped) == (2, 3, 2)
    assert channel.replay_after(0) == [b"a", b'{"mcp.ws":"gap","dropped":2}']


def test_nothing_is_dropped_while_there_is_room():
    channel = ReliableChannel(4, 1000)
    channel.push(b"p", droppable=True)
    assert channel.make_room() == 0
    assert channel.unacked == 1


def test_an_acknowledgement_is_owed_until_it_is_taken():
    channel = ReliableChannel(4, 1000)
    assert not channel.owes_ack
    channel.accept(10)
    assert channel.owes_ack
    channel.take_ack()
    assert not channel.owes_ack
