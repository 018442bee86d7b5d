"""The buffer of unacknowledged frames: rules that the random schedules do not single out."""

from __future__ import annotations

from mcp_ws_ide.core.channel import ReliableChannel


def test_consecutive_gaps_are_merged():
    channel = ReliableChannel(4, 1000)
    channel.push(b"a")
    channel.push_gap()
    channel.push_gap()
    assert (channel.kept, channel.sent, channel.count_gaps()) == (2, 3, 2)
    assert channel.replay_after(0) == [b"a", b'{"mcp.ws":"gap","dropped":2}']


def test_nothing_is_dropped_while_there_is_room():
    channel = ReliableChannel(4, 1000)
    channel.push(b"p", droppable=True)
    assert channel.make_room() == 0
    assert channel.unacked == 1


def test_an_acknowledgement_is_due_until_it_is_taken():
    channel = ReliableChannel(4, 1000)
    assert not channel.owes_ack
    channel.accept(10)
    assert channel.owes_ack
    channel.take_ack()
    assert not channel.owes_ack


def test_a_gap_is_counted_once_and_only_if_the_peer_missed_it():
    channel = ReliableChannel(8, 1000)
    for _ in range(3):
        channel.push_gap()
    channel.replay_after(1)  # the peer had received the first one before it was dropped
    assert channel.count_gaps() == 2
    channel.replay_after(2)
    assert channel.count_gaps() == 0
    channel.push_gap()
    assert channel.count_gaps() == 1
    channel.push(b"a")
    channel.replay_after(4)
    assert channel.count_gaps() == 0
