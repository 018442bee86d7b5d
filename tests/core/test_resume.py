"""The resumable session: random schedules, seeded bugs that must be caught, and the vectors."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mcp_ws_ide.core import binding, channel, resume
from mcp_ws_ide.core.channel import PositionError, ReliableChannel
from mcp_ws_ide.core.resume import ClientEnd, Event, GatewayEnd, ProtocolViolationError, WindowOverflowError
from mcp_ws_ide.errors import LIMIT_EXCEEDED
from tests.core.schedules import BrokenError, run

SCHEDULES = 500
"""The seeded bug that is hardest to notice shows in the first 110."""


def test_hundreds_of_random_schedules_lose_and_duplicate_nothing():
    for seed in range(SCHEDULES):
        run(seed)


MUTANTS = {
    "buffer only while detached": (
        "resume",
        "        channel.push(data, droppable)\n",
        "        if self.link is None: channel.push(data, droppable)\n        else: channel.sent += 1; channel.base += 1\n",
    ),
    "trim before the peer has acknowledged": (
        "channel",
        "        self.unacked_bytes += len(data)\n        self.sent += 1\n",
        "        self.unacked_bytes += len(data)\n        self.sent += 1\n        if self.unacked > 12: self.acknowledge(self.base + 1)\n",
    ),
    "replay starts one too late": (
        "channel",
        "for data, weight, _ in self._entries]",
        "for data, weight, _ in list(self._entries)[1:]]",
    ),
    "replay sends again what was received": (
        "channel",
        "        self.acknowledge(recv)\n        return",
        "        return",
    ),
    "replay in the wrong order": (
        "channel",
        "for data, weight, _ in self._entries]",
        "for data, weight, _ in reversed(self._entries)]",
    ),
    "answers give way too": ("channel", "if droppable and (frames", "if (frames"),
    "merged gaps lose their weight": ("channel", "kept[-1][1] + weight", "kept[-1][1]"),
    "a gap counts as one message": ("channel", "self.received += weight", "self.received += 1"),
    "bytes stay counted after an acknowledgement": (
        "channel",
        "                self.unacked_bytes -= len(data)\n            else",
        "                pass\n            else",
    ),
    "more is acknowledged than was processed": (
        "channel",
        "return binding.ack(self.received)",
        "return binding.ack(self.received + 1)",
    ),
    "a superseded link still counts": (
        "resume",
        "        if link is not self.link:\n            return False\n        if self._previous is not None",
        "        if self._previous is not None",
    ),
    "the end of a superseded link detaches the session": (
        "resume",
        "        if link is not self.link:\n            return False\n        self.link, self.deadline",
        "        self.link, self.deadline",
    ),
    "an expired session resumes": ("resume", "if self.expired(now):", "if False:"),
    "the old token dies before the new one has arrived": (
        "resume",
        "self._previous, self._token = presented, digest",
        "self._previous, self._token = None, digest",
    ),
    "the newest token replaces the one that was shown": (
        "resume",
        "self._previous, self._token = presented, digest",
        "self._previous, self._token = self._previous or self._token, digest",
    ),
    "the old token never dies": ("resume", "self._previous = None  # the client", "pass  # the client"),
    "the gateway resumes from an old count": (
        "resume",
        "return self._resumed(replay, token, self.channel.received, last)",
        "return self._resumed(replay, token, self.channel.acked, last)",
    ),
    "the client does not replay": (
        "resume",
        "[self.channel.take_ack(), *replay], Event.RESUMED",
        "[self.channel.take_ack()], Event.RESUMED",
    ),
    "the client sends before it is resumed": (
        "resume",
        '        """Note that the link is gone; messages are kept until the next one."""\n        self.live = False',
        '        """"""',
    ),
    "what may have run is called not sent": ("resume", '"unknown" if written else "not_sent"', '"not_sent"'),
    "a new session repeats what was sent in the old one": (
        "resume",
        "[-unwritten:] if unwritten else []",
        "",
    ),
    "requests are forgotten when the session is gone": (
        "resume",
        "errors = self._fail(reason, only_written=True)",
        "errors = []; self.waiting.clear()",
    ),
    "the window is ignored": (
        "resume",
        "if channel.full and not self._patient():",
        "if False:",
    ),
}


def mutant_of(where: str, old: str, new: str) -> ModuleType:
    """core.resume, on top of core.channel, with one of the two changed in one place."""
    built: dict[str, ModuleType] = {}
    kept = {name: sys.modules[name] for name in ("mcp_ws_ide.core.channel", "mcp_ws_ide.core.resume")}
    try:
        for name in ("channel", "resume"):
            full = f"mcp_ws_ide.core.{name}"
            source = Path(kept[full].__file__ or "").read_text()
            if name == where:
                assert source.count(old) == 1, f"the mutation fits {source.count(old)} places"
                source = source.replace(old, new)
            module = importlib.util.module_from_spec(kept[full].__spec__)
            sys.modules[full] = module
            exec(compile(source, f"mutant-{name}.py", "exec"), module.__dict__)
            built[name] = module
    finally:
        sys.modules.update(kept)
    return built["resume"]


@pytest.mark.pure("changes the source of a compiled module")
def test_mutants_start_from_a_core_that_passes():
    module = mutant_of("channel", "def push(", "def push(")
    assert module is not resume
    assert module.ReliableChannel is not channel.ReliableChannel
    for seed in range(50):
        run(seed, resume_module=module)


@pytest.mark.pure("changes the source of a compiled module")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_seeded_bug_is_caught(name):
    module = mutant_of(*MUTANTS[name])
    for seed in range(SCHEDULES):
        try:
            run(seed, resume_module=module)
        except (BrokenError, Exception) as caught:  # a crash of the mutant is noticed as well
            assert "fits" not in str(caught)
            return
    pytest.fail(f"{SCHEDULES} schedules did not notice: {name}")


# --- single rules, readable ---------------------------------------------------------------------


def test_acknowledging_what_was_never_sent_is_a_violation():
    side = ReliableChannel(16, 1000)
    side.push(b"a")
    with pytest.raises(PositionError):
        side.acknowledge(2)
    side.acknowledge(1)
    side.acknowledge(0)  # stale, not wrong
    assert (side.base, side.unacked, side.unacked_bytes) == (1, 0, 0)


def test_a_peer_that_lost_part_of_a_gap_receives_its_rest():
    side = ReliableChannel(8, 1000)
    for _ in range(8):
        side.push(b"p", droppable=True)
    assert side.make_room() == 2
    assert side.replay_after(1)[0] == b'{"mcp.ws":"gap","dropped":1}'


def test_what_concerns_no_waiting_request_of_the_client_changes_nothing():
    client = ClientEnd()
    client.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}')
    assert client.readable(b"no message") == []
    assert client.take_doubt() is None


def test_the_client_answers_a_message_above_the_gateways_limit_itself():
    client = ClientEnd()
    gateway = GatewayEnd(object(), b"d", binding.Window(), 60)
    client.receive(gateway.opened("S", "T", 100))
    padding = b"x" * 100
    short = b'{"jsonrpc":"2.0","id":1,"method":"m"}'
    assert client.fit(short) == (short, b"")
    sent, told = client.fit(b'{"jsonrpc":"2.0","id":"q","method":"m","params":{"t":"%b"}}' % padding)
    assert (sent, json.loads(told)["id"]) == (b"", "q")
    assert json.loads(told)["error"]["data"] == {"limit": "max_message_bytes", "outcome": "not_sent"}
    sent, told = client.fit(b'{"jsonrpc":"2.0","id":5,"result":{"t":"%b"}}' % padding)
    assert (json.loads(sent)["id"], json.loads(sent)["error"]["code"], told) == (5, LIMIT_EXCEEDED, b"")
    assert client.fit(b'{"jsonrpc":"2.0","method":"n","params":{"t":"%b"}}' % padding) == (b"", b"")


def test_responses_beyond_the_window_are_an_overflow_while_detached():
    link = object()
    end = GatewayEnd(link, b"d", binding.Window(16, 10_000), 60)
    for _ in range(16):
        end.push(b"r", droppable=False)
    end.push(b"r", droppable=False)  # attached: two windows
    end.detach(link, 0.0)
    with pytest.raises(WindowOverflowError, match="window_frames"):
        end.push(b"r", droppable=False)


def test_while_a_link_is_open_nothing_is_dropped_within_two_windows():
    end = GatewayEnd(object(), b"d", binding.Window(16, 10_000), 60)
    for _ in range(32):
        end.push(b"p", droppable=True)
    assert end.channel.full, "which tells the owner to read a server of its own no further"
    assert end.channel.count_gaps() == 0
    for _ in range(2000):
        end.push(b"p", droppable=True)
    for _ in range(16):
        end.push(b"r", droppable=False)  # gaps do not use up the room of answers


def test_the_announced_window_determines_when_bytes_are_acknowledged():
    client = ClientEnd()
    client.receive(
        b'{"mcp.ws":"opened","session":"s","token":"t","grace":1,"window":{"frames":64,"bytes":800}}'
    )
    note = b'{"jsonrpc":"2.0","method":"m","params":{"x":"%s"}}' % (b"x" * 100)
    assert client.receive(note)[1] == [b'{"mcp.ws":"ack","recv":1}']


def test_a_message_larger_than_the_window_passes():
    end = GatewayEnd(object(), b"d", binding.Window(16, 100), 60)
    end.push(b"x" * 1000, droppable=False)
    assert end.channel.full


def test_unexpected_control_frames_are_violations():
    end, client = GatewayEnd(object(), b"d", binding.Window(), 60), ClientEnd()
    for kind in ("gone", "open"):
        with pytest.raises(ProtocolViolationError):
            end.control(binding.Control(kind))
    with pytest.raises(ProtocolViolationError):
        client.receive(b'{"mcp.ws":"resumed","recv":0,"token":"t"}')
    with pytest.raises(ProtocolViolationError):
        client.receive(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    with pytest.raises(ProtocolViolationError):
        client.receive(b'{"mcp.ws":"ack"}')


def test_a_cancelled_request_no_longer_waits():
    client = ClientEnd()
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    client.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
    assert client.give_up("gone") == []


# --- vectors, which another language runs as well ----------------------------------------------

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.mark.parametrize("name", ["client", "control", "gateway"])
def test_the_vectors_of_the_wire_contract_hold(name):
    document = json.loads((VECTORS / f"{name}.json").read_text())
    for case in document["cases"]:
        getattr(sys.modules[__name__], f"check_{document['kind']}")(case)


def check_client(case: dict) -> None:
    client = ClientEnd()
    for number, step in enumerate(case["steps"]):
        where = f"{case['name']}, step {number}"
        (does,) = set(step) & {"hello", "send", "receive", "lost", "start_over", "give_up"}
        value = step[does]
        if does == "hello":
            assert json.loads(client.hello()) == value, where
        elif does == "send":
            written = client.send(value.encode())
            assert (written is not None) == step["written"], where
        elif does == "receive":
            if "violation" in step:
                with pytest.raises(ProtocolViolationError):
                    client.receive(value.encode())
                continue
            data, write, event = client.receive(value.encode())
            assert (None if data is None else data.decode()) == step.get("message"), where
            assert [json.loads(frame) for frame in write] == step.get("write", []), where
            assert event is Event(step.get("event", "nothing")), where
        elif does == "lost":
            client.lost_link()
        else:
            errors = getattr(client, does)(value)
            outcomes = [[json.loads(e)["id"], json.loads(e)["error"]["data"]["outcome"]] for e in errors]
            assert outcomes == step["errors"], where


def check_gateway(case: dict) -> None:
    link = sys.intern("link 1")
    end = GatewayEnd(link, str.encode("T1"), binding.Window(*case["window"]), case["grace"])
    for number, step in enumerate(case["steps"]):
        where = f"{case['name']}, step {number}"
        (does,) = set(step) & {"say", "receive", "detach", "resume", "ack"}
        if does == "say":
            check_say(end, step)
        elif does == "receive":
            check_receive(end, step, sys.intern(step.get("link", link)), where)
        elif does == "ack":
            assert json.loads(end.channel.take_ack()) == step["ack"], where
        elif does == "detach":
            detached = end.detach(sys.intern(step.get("link", link)), step["detach"])
            assert detached == step.get("detached", True), where
        else:
            link = check_resume(end, step, where) or link


def check_say(end: GatewayEnd, step: dict) -> None:
    if step.get("overflow"):
        with pytest.raises(WindowOverflowError):
            end.push(step["say"].encode(), step.get("droppable", False))
    else:
        end.push(step["say"].encode(), step.get("droppable", False))


def check_receive(end: GatewayEnd, step: dict, link: str, where: str) -> None:
    counts = end.received(link)
    assert counts == step.get("counts", True), where
    control = binding.parse_control(step["receive"].encode())
    if not counts:
        return
    if "violation" in step:
        with pytest.raises(ProtocolViolationError):
            end.control(control)
        return
    write = end.control(control) if control is not None else []
    if control is None and end.channel.accept(len(step["receive"])):
        write = [end.channel.take_ack()]
    assert [json.loads(frame) for frame in write] == step.get("write", []), where


def check_resume(end: GatewayEnd, step: dict, where: str) -> str | None:
    """Return the new link; None if there is none."""
    token, received = str.encode(step["resume"]["token"]), step["resume"]["recv"]
    assert end.knows(token) == step.get("known", True), where
    if not step.get("known", True):
        return None
    fresh = sys.intern(step["link"])
    if "refused" in step:
        with pytest.raises(resume.ResumeRefusedError):
            end.resume(fresh, token, received, "x", b"x", step["now"])
        return None
    new = step["new_token"]
    frames = end.resume(fresh, token, received, new, str.encode(new), step["now"])
    assert [json.loads(frame) for frame in frames] == step["write"], where
    return fresh


def check_control(case: dict) -> None:
    data = case["frame"].encode()
    if case["is"] == "error":
        with pytest.raises(binding.ControlError):
            binding.parse_control(data)
    elif case["is"] == "data":
        assert binding.parse_control(data) is None
    else:
        control = binding.parse_control(data)
        assert control is not None
        assert json.loads(binding.encode_control(control)) == case["is"]


def test_a_goodbye_shortens_the_grace_period_and_a_resume_restores_it():
    link = object()
    end = GatewayEnd(link, b"d", binding.Window(), 60)
    assert end.expires_in(0.0) is None
    end.leave(5.0, 0.0)
    assert end.detach(link, 10.0)
    assert (end.patience, end.expires_in(12.0), end.expired(14.9), end.expired(15.0)) == (
        5.0,
        3.0,
        False,
        True,
    )
    end.leave(1.0, 11.0)
    assert end.deadline == 12.0
    end.resume(object(), b"d", 0, "T", b"e", 11.5)
    assert (end.patience, end.deadline) == (60, None)


def test_pings_are_answered_and_pongs_noted_at_both_ends():
    end, client = GatewayEnd(object(), b"d", binding.Window(), 60), ClientEnd()
    assert end.control(binding.Control("ping")) == [binding.PONG]
    assert end.control(binding.Control("pong")) == []
    assert client.receive(binding.PING) == (None, [binding.PONG], Event.NOTHING)
    assert client.receive(binding.PONG) == (None, [], Event.PONG)
    with pytest.raises(ProtocolViolationError, match="must not send"):
        client.receive(b'{"mcp.ws":"open"}')


def test_an_ended_session_keeps_only_its_tokens():
    end = GatewayEnd(object(), b"d", binding.Window(), 60)
    end.push(b"x", droppable=False)
    end.forget()
    assert (end.knows(b"d"), end.channel.unacked) == (True, 0)


def test_a_client_without_a_limit_sends_every_message_unchanged():
    client = ClientEnd()
    assert client.fit(b"x" * 100) == (b"x" * 100, b"")
    client.max_message_bytes = 10
    assert client.fit(b"x" * 100) == (b"x" * 100, b""), "the gateway refuses it"
    client.send(b"no message")
    assert client.waiting == {}


def test_a_plain_session_counts_what_is_written_as_delivered():
    client = ClientEnd()
    request = b'{"jsonrpc":"2.0","id":1,"method":"m"}'
    assert not client.resumable
    assert client.send(request) is None
    assert client.start_plain() == [request]
    assert client.channel.unacked == 0
    assert client.send(b'{"jsonrpc":"2.0","method":"n"}') is not None
    answer = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert client.receive(answer) == (answer, [], Event.NOTHING)
    assert client.receive(b"no message") == (b"no message", [], Event.NOTHING)
    assert client.waiting == {}


@pytest.mark.parametrize("request_id", [[1], {"a": 1}])
def test_a_cancellation_of_an_impossible_id_forgets_nothing(request_id):
    client = ClientEnd()
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
    client.send(json.dumps(note).encode())
    assert set(client.waiting) == {1}


def test_a_gateway_that_resumes_from_an_impossible_position_breaks_the_protocol():
    client = ClientEnd()
    client.receive(GatewayEnd(object(), b"d", binding.Window(), 60).opened("S", "T"))
    with pytest.raises(ProtocolViolationError, match="already open"):
        client.receive(GatewayEnd(object(), b"d", binding.Window(), 60).opened("S", "T"))
    client.lost_link()
    assert json.loads(client.hello()) == {"mcp.ws": "resume", "token": "T", "recv": 0}
    with pytest.raises(ProtocolViolationError, match="5 frames"):
        client.receive(b'{"mcp.ws":"resumed","recv":5,"token":"T2"}')


def test_a_resume_before_the_buffer_is_refused():
    link = object()
    end = GatewayEnd(link, b"d", binding.Window(), 60)
    end.push(b"x", droppable=False)
    end.control(binding.Control("ack", recv=1))
    end.detach(link, 0.0)
    with pytest.raises(resume.ResumeRefusedError, match="cannot be replayed"):
        end.resume(object(), b"d", 0, "T", b"e", 1.0)


def asking(*ids: object) -> ClientEnd:
    """A client of plain ``mcp`` with these requests open."""
    client = ClientEnd()
    client.start_plain()
    for request_id in ids:
        client.send(json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "m"}).encode())
    return client


def given(client: ClientEnd, data: bytes) -> list[dict]:
    """What the SDK gets for a frame."""
    message, _, _ = client.receive(data)
    return [json.loads(one) for one in (client.readable(message) if client.odd else [message])]


def test_a_client_reads_what_has_one_meaning():
    client = asking(1, "2", 3)
    answers = given(
        client, b'\xef\xbb\xbf[{"jsonrpc":"2.0","id":"1","result":{},"error":null},{"id":2,"result":{}}]'
    )
    assert [answer["id"] for answer in answers] == [1, "2"]
    note = b'{"jsonrpc":"2.0","method":"notifications/x","params":null}'
    assert given(client, note) == [{"jsonrpc": "2.0", "method": "notifications/x"}]
    assert list(client.waiting) == [3]
    late = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert given(client, late)[0]["id"] == 1
    assert list(client.waiting) == [3]


def test_an_answer_that_a_client_cannot_read_fails_its_request():
    client = asking(1, 2)
    (answer,) = given(client, b'{"jsonrpc":"2.0","id":1,"result":{x}}')
    assert answer["id"] == 1
    assert "{x}" in answer["error"]["message"]
    assert given(client, b'{"jsonrpc":"2.0","id":1,"result":{x}}') == [], "a late one"
    assert given(client, b'{"jsonrpc":"2.0","method":"notifications/x","params":{x}}') == []
    assert list(client.waiting) == [2]
    assert [a["id"] for a in given(client, b'{"jsonrpc":"2.0","result":{x},"id":7}')] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}',
        b'{"jsonrpc":"2.0","result":{x}}',
    ],
)
def test_an_answer_that_names_no_request_ends_what_is_open(data):
    client = asking(1, "a")
    assert [answer["id"] for answer in given(client, data)] == [1, "a"]
    assert client.waiting == {}


def test_an_error_that_answers_a_malformed_message_of_the_client_ends_nothing():
    client = asking(1)
    client.send(b"{nonsense")
    refusal = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON"}}'
    assert given(client, refusal)[0]["id"] is None
    assert list(client.waiting) == [1]
    assert given(client, refusal)[0]["id"] == 1


@pytest.mark.parametrize("raw_id", [b"null", b"99", b'"x"', b"0.5"])
def test_a_response_under_a_wrong_id_is_that_to_the_only_open_request(raw_id):
    client = asking(1)
    (answer,) = given(client, b'{"jsonrpc":"2.0","id":%b,"result":{}}' % raw_id)
    assert answer["id"] == 1
    assert client.waiting == {}


def test_a_number_of_another_type_is_the_same_id():
    client = asking(1, 2)
    assert given(client, b'{"jsonrpc":"2.0","id":2.0,"result":{}}') == [
        {"jsonrpc": "2.0", "id": 2, "result": {}}
    ]


def test_a_response_under_a_wrong_id_fails_those_that_get_no_other():
    client = asking(1, 2)
    assert given(client, b'{"jsonrpc":"2.0","id":99,"result":{}}') == []
    doubt = client.take_doubt()
    assert doubt is not None
    given(client, b'{"jsonrpc":"2.0","id":1,"result":{}}')
    (error,) = map(json.loads, client.settle(doubt))
    assert (error["id"], error["error"]["data"]) == (2, {"outcome": "unknown"})
    assert client.settle(doubt) == []


def test_a_response_under_a_wrong_id_after_a_cancellation_may_be_the_late_one():
    client = asking(1, 2)
    client.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
    assert given(client, b'{"jsonrpc":"2.0","id":99,"result":{}}') == []
    assert list(client.waiting) == [2]
    assert client.take_doubt() is not None


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"what?"}}',
        b"what?",
        b'"what?"',
        b"\x1f\x8b\x00",
    ],
)
def test_what_may_be_no_response_fails_the_open_requests_unless_one_is_answered(data):
    for answered in (False, True):
        client = asking(1, 2)
        assert given(client, data) == []
        doubt = client.take_doubt()
        assert doubt is not None
        if answered:
            given(client, b'{"jsonrpc":"2.0","id":1,"result":{}}')
        failed = [json.loads(error) for error in client.settle(doubt)]
        assert [error["id"] for error in failed] == ([] if answered else [1, 2])
        assert all("what?" in error["error"]["message"] for error in failed) or data[:1] == b"\x1f"


@pytest.mark.parametrize("data", [b"", b"{}", b"7", b"ping", b"Processing your request"])
def test_what_keeps_a_link_open_fails_nothing(data):
    client = asking(1)
    assert given(client, data) == []
    assert client.take_doubt() is None


def test_a_request_after_a_byte_order_mark_is_waited_for():
    client = ClientEnd()
    client.send(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}')
    assert list(client.waiting) == [1]
