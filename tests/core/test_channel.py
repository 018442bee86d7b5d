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


def test_a_restored_channel_goes_on_where_the_stored_one_was():
    channel = ReliableChannel(8, 1000)
    channel.push(b"a")
    channel.push_gap()
    channel.push_gap()
    channel.push(b"p", droppable=True)
    channel.accept(5)
    channel.acknowledge(2)
    assert channel.entries_after(0) == [(3, b"", 1, False), (4, b"p", 1, True)]
    assert channel.entries_after(3) == [(4, b"p", 1, True)]
    assert channel.entries_after(4) == []
    other = ReliableChannel.restored(8, 1000, channel.received, channel.base, channel.entries_after(2))
    assert (other.base, other.sent, other.received, other.acked) == (2, 4, 1, 1)
    assert other.unacked_bytes == channel.unacked_bytes == 1
    assert other.replay_after(2) == channel.replay_after(2) == [b'{"mcp.ws":"gap","dropped":1}', b"p"]


def test_a_replay_can_end_before_what_is_not_stored_yet_even_within_a_gap():
    channel = ReliableChannel(8, 1000)
    channel.push(b"a")
    for _ in range(3):
        channel.push_gap()
    channel.push(b"b")
    assert channel.replay_after(0, until=1) == [b"a"]
    assert channel.replay_after(0, until=3) == [b"a", b'{"mcp.ws":"gap","dropped":2}']
    assert channel.replay_after(0, until=5) == channel.replay_after(0)


def test_dropped_positions_are_noted_if_the_session_is_stored():
    channel = ReliableChannel(4, 1000)
    channel.dropped = []
    channel.push(b"a")
    channel.push(b"p", droppable=True)
    channel.push_gap()
    channel.push(b"q", droppable=True)
    channel.make_room()
    assert channel.dropped == [2]
    assert channel.entries_after(1) == [(2, b"", 2, False), (4, b"q", 1, True)]
