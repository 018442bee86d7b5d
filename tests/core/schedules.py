"""Random schedules over both ends of a resumable session, checked against its guarantees.

One :class:`World` has a client, a gateway and a server that answers. A seed decides what happens: messages,
cuts that lose what is under way, half-open links, resumes, supersessions, acknowledgements, naps beyond the
grace time, floods. ``World.run`` raises :class:`BrokenError` where a guarantee does not hold.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from functools import lru_cache
from types import ModuleType
from typing import Any

from mcp_ws_ide.core import binding, channel, messages, resume

GRACE = 100.0


class BrokenError(AssertionError):
    """A guarantee does not hold."""


@lru_cache(maxsize=1024)
def id_of(text: str) -> Any:
    """The id of a message; None where it has none."""
    return json.loads(text).get("id")


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Link:
    """Two queues of frames; a cut loses what is in them."""

    def __init__(self) -> None:
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.client_sees = True
        self.gateway_sees = True
        self.session: Session | None = None


class Session:
    """The gateway's record of a session, with what its server received and sent."""

    def __init__(self, end: Any, name: str) -> None:
        self.end = end
        self.name = name
        self.heard: list[str] = []
        self.said: list[str] = []
        self.over = ""
        self.tokens: list[str] = []
        """Every token it was given, the newest last."""
        self.dead: set[str] = set()
        """Tokens that must not open it any more."""


class World:
    """The state of client, gateway and server. ``resume_module`` may be a mutant."""

    def __init__(self, seed: int, resume_module: ModuleType = resume) -> None:
        self.module = resume_module
        self.random = random.Random(seed)
        self.now = 0.0
        self.window = binding.Window(self.random.choice([8, 16, 64]), self.random.choice([600, 4000]))
        self.legacy = self.random.random() < 0.5
        self.client = resume_module.ClientEnd()
        self.link: Link | None = None
        self.links: list[Link] = []
        self.sessions: list[Session] = []
        self.tokens = 0
        self.sent = 0
        self.sent_in: list[list[str]] = [[]]
        """What the client sent, by session in its own view."""
        self.got: list[str] = []
        self.gaps = 0
        self.base_got = 0
        self.requests: dict[int, str] = {}
        self.outcomes: dict[int, str] = {}
        self.over = False

    # --- what can happen ------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        actions = [
            (self.client_sends, 30),
            (self.server_says, 30),
            (self.move_up, 40),
            (self.move_down, 40),
            (self.gateway_acks, 6),
            (self.client_acks, 6),
            (self.cut, 5),
            (self.half_open, 3),
            (self.gateway_notices, 5),
            (self.reconnect, 12),
            (self.flood, 1),
            (self.nap, 1),
            (self.stranger, 2),
            (self.stale_link, 4),
        ]
        kinds, weights = [a for a, _ in actions], [w for _, w in actions]
        for _ in range(steps):
            self.random.choices(kinds, weights)[0]()
            self.check_bounds()
            if self.over:
                break
        self.heal()
        self.check_end()

    @property
    def session(self) -> Session | None:
        return self.sessions[-1] if self.sessions else None

    def client_sends(self) -> None:
        if self.over or self.client.channel.full:
            return
        self.sent += 1
        number = self.sent
        if number == 1 and self.legacy:
            text = json.dumps({"jsonrpc": "2.0", "id": number, "method": "initialize"})
        elif self.random.random() < 0.6:
            text = json.dumps({"jsonrpc": "2.0", "id": number, "method": "work"})
        else:
            text = json.dumps({"jsonrpc": "2.0", "method": "note", "params": {"n": number}})
        if '"id"' in text:
            self.requests[number] = text
        self.sent_in[-1].append(text)
        data = self.client.send(text.encode())
        if data is not None and self.link is not None:
            self.link.up.append(data)

    def server_says(self) -> None:
        session = self.session
        if session is None or session.over:
            return
        answered = {id_of(text) for text in session.said}
        open_requests = [
            id_of(text) for text in session.heard if '"id"' in text and id_of(text) not in answered
        ]
        if open_requests and self.random.random() < 0.6:
            self.say(session, {"id": self.random.choice(open_requests), "result": {}}, droppable=False)
        else:
            self.say(session, {"method": "notifications/progress"}, droppable=True)

    def say(self, session: Session, message: dict[str, Any], droppable: bool) -> None:
        text = json.dumps({"jsonrpc": "2.0", "x": f"{session.name}.{len(session.said)}", **message})
        kept = session.end.channel
        hopeless = (
            session.end.link is None
            and kept.full
            and not droppable
            and not any(may_give_way for _, _, may_give_way in kept._entries)
        )
        try:
            session.end.push(text.encode(), droppable)
            if hopeless:
                raise BrokenError("the window is ignored")
        except self.module.WindowOverflowError:
            if droppable:
                raise BrokenError("progress ended the session") from None
            if (
                session.end.channel.unacked < self.window.frames
                and session.end.channel.unacked_bytes < self.window.bytes
            ):
                raise BrokenError("overflow although there was room") from None
            session.over = "overflow"
            return
        session.said.append(text)
        if session.end.link is not None and session.end.link.gateway_sees:
            session.end.link.down.append(text.encode())

    def flood(self) -> None:
        if self.session is not None and not self.session.over:
            for _ in range(self.window.frames * 3):
                self.say(self.session, {"method": "notifications/progress"}, droppable=True)

    def move_up(self) -> None:
        for link in self.links:
            if link.up and link.gateway_sees:
                self.gateway_receives(link, link.up.popleft())
                return

    def move_down(self) -> None:
        if self.link is not None and self.link.down and self.link.client_sees:
            self.client_receives(self.link, self.link.down.popleft())

    def gateway_receives(self, link: Link, frame: bytes) -> None:
        session = link.session
        if session is None:
            return self.hello(link, frame)
        if session.over or not session.end.received(link):
            return
        session.dead.update(session.tokens[:-1])
        control = binding.parse_control(frame)
        try:
            if control is not None:
                link.down.extend(session.end.control(control))
                return
        except self.module.ProtocolViolationError as error:
            raise BrokenError(f"gateway sees a violation: {error}") from None
        session.heard.append(frame.decode())
        if session.end.channel.accept(len(frame)):
            link.down.append(session.end.channel.take_ack())

    def hello(self, link: Link, frame: bytes) -> None:
        control = binding.parse_control(frame)
        if control is None:
            raise BrokenError("data before hello")
        self.tokens += 1
        token = f"token{self.tokens}"
        if control.kind == "open":
            session = Session(
                self.module.GatewayEnd(link, digest(token), self.window, GRACE), f"s{len(self.sessions)}"
            )
            self.sessions.append(session)
            session.tokens.append(token)
            link.session = session
            link.down.append(session.end.opened(session.name, token))
            return
        session = next((s for s in self.sessions if not s.over and s.end.knows(digest(control.token))), None)
        reason = "unknown"
        if session is not None:
            expired = session.end.deadline is not None and self.now >= session.end.deadline
            try:
                frames = session.end.resume(
                    link, digest(control.token), control.recv, token, digest(token), self.now
                )
            except self.module.ResumeRefusedError as error:
                session.over, session, reason = "refused", None, str(error)
                if not expired:
                    raise BrokenError(f"refused: {reason}") from None
            else:
                if expired:
                    raise BrokenError("a session was resumed after its time")
        if session is None:
            link.down.append(binding.encode_control(binding.Control("gone", reason=reason)))
            return
        session.tokens.append(token)
        link.session = session
        link.down.extend(frames)

    def client_receives(self, link: Link, frame: bytes) -> None:
        try:
            data, write, event = self.client.receive(frame)
        except self.module.ProtocolViolationError as error:
            raise BrokenError(f"client sees a violation: {error}") from None
        link.up.extend(write)
        if data is not None:
            self.got.append(data.decode())
            answer = json.loads(data)
            if "id" in answer:
                if answer["id"] in self.outcomes:
                    raise BrokenError(f"request {answer['id']} ended twice")
                self.outcomes[answer["id"]] = "answered"
        if event is self.module.Event.GAP:
            self.got.append(self.client.gap)
            self.gaps += self.client.gap
        if event is self.module.Event.GONE:
            self.lose("gone")

    def lose(self, reason: str) -> None:
        session = self.session
        if session is not None and not session.over and not session.end.expired(self.now):
            raise BrokenError("gone, but the session lives")
        self.link = None
        self.check_session()
        if self.legacy:
            self.note(self.client.give_up(reason))
            self.over = True
            return
        unsent = self.client.channel.sent - self.client._written
        self.note(self.client.start_over(reason))
        kept = self.sent_in[-1][len(self.sent_in[-1]) - unsent :] if unsent else []
        self.sent_in.append(list(kept))
        self.got.clear()

    def note(self, errors: list[bytes]) -> None:
        for error in errors:
            parsed = json.loads(error)
            number, outcome = parsed["id"], parsed["error"]["data"]["outcome"]
            if number in self.outcomes:
                raise BrokenError(f"request {number} ended twice")
            heard = any(self.requests[number] in session.heard for session in self.sessions)
            if outcome == "not_sent" and heard:
                raise BrokenError(f"request {number} ran, but was reported as not sent")
            self.outcomes[number] = outcome

    def gateway_acks(self) -> None:
        session = self.session
        if session and not session.over and session.end.link and session.end.channel.owes_ack:
            session.end.link.down.append(session.end.channel.take_ack())

    def client_acks(self) -> None:
        if self.client.live and self.client.channel.owes_ack and self.link:
            self.link.up.append(self.client.channel.take_ack())

    def drop(self, link: Link, keep_up: int = 0) -> None:
        """Cut the link: both sides notice, and a part of what is in flight to the gateway still arrives."""
        for _ in range(min(keep_up, len(link.up))):
            if link.gateway_sees:
                self.gateway_receives(link, link.up.popleft())
        self.gateway_loses(link)
        self.client_loses(link)

    def gateway_loses(self, link: Link) -> None:
        if link.gateway_sees:
            link.gateway_sees = False
            link.up.clear()
            if link.session is not None:
                link.session.end.detach(link, self.now)

    def client_loses(self, link: Link) -> None:
        link.client_sees = False
        link.down.clear()
        if link is self.link:
            self.client.lost_link()
            self.link = None

    def cut(self) -> None:
        if self.link is not None:
            self.drop(self.link, self.random.randrange(4))

    def half_open(self) -> None:
        """Let the client give up the link unnoticed by the gateway, where frames may still arrive."""
        if self.link is not None:
            self.client_loses(self.link)

    def gateway_notices(self) -> None:
        for link in self.links:
            if not link.client_sees and link.gateway_sees:
                return self.gateway_loses(link)

    def stale_link(self) -> None:
        """Let a superseded link deliver an acknowledgement and a message; neither may count."""
        session = self.session
        if session is None or session.over:
            return
        for link in self.links:
            if link.session is session and link is not session.end.link and link.gateway_sees:
                link.up.append(b'{"mcp.ws":"ack","recv":%d}' % session.end.channel.sent)
                link.up.append(b'{"jsonrpc":"2.0","method":"forged"}')
                return

    def stranger(self) -> None:
        if self.session is not None and not self.session.over:
            check_tokens(self.session)

    def reconnect(self) -> None:
        if self.over or self.link is not None:
            return
        self.link = Link()
        self.links = [*[link for link in self.links if link.gateway_sees or link.client_sees][-4:], self.link]
        self.link.up.append(self.client.hello())

    def nap(self) -> None:
        self.now += self.random.choice([GRACE / 2, GRACE * 2])

    # --- what must hold -------------------------------------------------------------------------

    def heal(self) -> None:
        """Connect for good, and let everything arrive."""
        for _ in range(6000):
            if self.over:
                return
            self.reconnect()
            self.move_up()
            self.move_down()
            self.client_acks()
            self.gateway_acks()
            session = self.session
            if self.client.live and session is not None and not session.over and self._rests(session):
                return
            if session is not None and session.over and self.client.live and self.link is not None:
                self.drop(self.link)
        raise BrokenError("did not come to rest")

    def _rests(self, session: Session) -> bool:
        in_flight = any(link.up or link.down for link in self.links if link.gateway_sees and link.client_sees)
        return not (in_flight or self.client.channel.unacked or session.end.channel.unacked)

    def check_bounds(self) -> None:
        if self.session is not None and not self.session.over:
            check_bounds(self.session, self.window)

    def check_session(self, complete: bool = False) -> None:
        if self.session is not None:
            check_delivery(self.session, self.sent_in[-1], self.got, complete)

    def check_end(self) -> None:
        if not self.over:
            self.check_session(complete=True)
            answered = {id_of(text) for session in self.sessions for text in session.said}
            for number in self.requests:
                if number not in self.outcomes and number in answered and self.session is not None:
                    mine = {id_of(text) for text in self.session.said}
                    if number in mine:
                        raise BrokenError(f"the answer to {number} was lost")
                if (
                    number not in self.outcomes
                    and messages.decode_id(b"%d" % number) not in self.client.waiting
                ):
                    raise BrokenError(f"request {number} is forgotten without an end")
        else:
            unfinished = [number for number in self.requests if number not in self.outcomes]
            if unfinished:
                raise BrokenError(f"requests without an end: {unfinished}")


def check_tokens(session: Session) -> None:
    """Check that a replaced token resumes nothing once the client has shown that it has the newer one."""
    if any(session.end.knows(digest(token)) for token in session.dead):
        raise BrokenError("an old token still opens the session")
    if session.end.knows(digest("guess")):
        raise BrokenError("any token opens the session")


def check_bounds(session: Session, window: binding.Window) -> None:
    """Check that a session's buffer is bounded, and counted rightly."""
    channel = session.end.channel
    if len(channel._entries) > window.frames * 4 + 1:
        raise BrokenError("the buffer grows without bound")
    if channel.unacked_bytes != sum(len(data) for data, _, _ in channel._entries):
        raise BrokenError("bytes are miscounted")
    if channel.unacked != sum(weight for _, weight, _ in channel._entries):
        raise BrokenError("positions are miscounted")


def check_delivery(session: Session, sent: list[str], got: list[Any], complete: bool) -> None:
    """Check that a session delivered exactly once and in order, both ways; numbers in ``got`` are widths of gaps."""
    if session.heard != sent[: len(session.heard)]:
        raise BrokenError("the server heard something else than the client sent")
    if complete and session.heard != sent:
        raise BrokenError("something the client sent was lost")
    position = 0
    for item in got:
        if isinstance(item, int):
            given_up = session.said[position : position + item]
            if len(given_up) < item or any('"id"' in text for text in given_up):
                raise BrokenError("an answer gave way, or a gap is too wide")
            position += item
        elif position >= len(session.said) or session.said[position] != item:
            raise BrokenError("the client got something else than the server said")
        else:
            position += 1
    if complete and position != len(session.said):
        raise BrokenError("something the server said was lost")


def run(seed: int, steps: int = 150, resume_module: ModuleType = resume) -> None:
    """Run one schedule; a failure names its seed."""
    try:
        World(seed, resume_module).run(steps)
    except BrokenError as error:
        raise BrokenError(f"seed {seed}: {error}") from error


__all__ = ["BrokenError", "World", "channel", "run"]
