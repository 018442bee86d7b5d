"""Servers whose era is hard to detect. Arguments: the behaviour, and a file that records starts and received methods.

Uses only the standard library, so it starts at once.
"""

import json
import os
import sys
import time
from pathlib import Path

HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "odd", "version": "1"},
}
DISCOVERED = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
TOOLS = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
REFUSED = {"code": -32601, "message": "Method not found"}
STARTING = {"code": -32603, "message": "still starting, try again"}


class Server:
    """Answers what it reads, as its behaviour says. Methods that answer a request return None to stay silent."""

    def __init__(self, behaviour, notes):
        self.behaviour, self.notes = behaviour, notes
        self.note("start")
        self.starts = self.starts_noted()
        self.shaken = False
        self.probe = None
        """The id of the probe, which is not answered yet."""
        self.calls = []
        """The ids of calls, which wait for the answer to one question."""

    def starts_noted(self):
        return self.notes.read_text().count("start")

    def note(self, what):
        with self.notes.open("a") as file:
            file.write(f"{what}\n")

    def run(self):
        if self.behaviour in ("downloads", "downloads-mute"):
            self.report_download()
        while self.behaviour == "asleep" and self.starts_noted() < 2:  # until it is started a second time
            time.sleep(0.01)
        for line in sys.stdin:
            message = json.loads(line)
            self.note(message.get("method"))
            if "id" not in message:
                continue
            if "method" not in message:
                self.answered(message)
            elif (answer := self.answer(message["method"], message)) is not None:
                send(message["id"], answer)

    def report_download(self):
        """Write lines to stderr for 2.5 s before anything is read, or for ever."""
        began = time.monotonic()
        while self.behaviour == "downloads-mute" or time.monotonic() - began < 2.5:
            print("Downloading", file=sys.stderr, flush=True)
            time.sleep(0.05)

    def answered(self, message):
        """Pass the answer to its question to all calls; it may have waited for it before it answers the handshake."""
        if self.behaviour == "asks-first":
            return send(self.calls.pop(), {"result": HANDSHAKE})
        text = json.dumps(message.get("result", message.get("error")))
        for call in self.calls:
            send(call, {"result": {"content": [{"type": "text", "text": text}]}})
        return None

    def answer(self, method, message):
        match self.behaviour:
            case "modern-later":  # its first process fails every request, later ones are modern
                return {"error": STARTING} if self.starts < 2 else modern(method)
            case "modern-dying" | "modern-dead":  # the first process, or each, ends on a list
                return modern(method) if method == "server/discover" or not self.dies(method) else None
            case "modern-mute":  # never acknowledges a subscription
                return None if method == "subscriptions/listen" else modern(method)
            case "behind-a-wrapper" | "mute-modern" | "slow-modern":
                return self.answer_late(method, message)
        if method == "initialize" and self.behaviour == "asks-first":
            self.shaken = True
            self.calls.append(message["id"])
            return write({"id": 0, "method": "roots/list"})
        if method == "initialize":
            return self.handshake()
        if not self.shaken:
            return self.answer_too_early()
        if method == "tools/list":
            return {"result": TOOLS}
        return self.call(message) if method == "tools/call" else {"error": REFUSED}

    def dies(self, method):
        """End the process on a list; wait for one on a call. Return whether this process answers neither."""
        dying = self.behaviour == "modern-dead" or self.starts < 2
        if dying and method == "tools/list":
            os._exit(1)
        return dying

    def answer_late(self, method, message):
        """Answer the probe around the handshake request, or never; be modern otherwise."""
        if method == "server/discover":
            self.probe = message["id"]
            return None
        if method != "initialize":
            return modern(method)
        if self.behaviour == "slow-modern":  # answers the probe only after the handshake request
            send(self.probe, {"result": DISCOVERED})
        send(message["id"], {"error": REFUSED})
        if self.behaviour == "behind-a-wrapper":  # which refuses the handshake first
            send(self.probe, {"result": DISCOVERED})
        return None

    def handshake(self):
        self.shaken = True
        if self.behaviour == "mute":
            return None
        if self.behaviour == "refuses":
            return {"error": {"code": -32602, "message": "no capabilities, no handshake"}}
        return {"result": HANDSHAKE}

    def answer_too_early(self):
        """Answer a request that arrives before the handshake."""
        if self.behaviour == "exits-late":  # reads the probe only after it has timed out
            sys.stdin.readline()
        if self.behaviour.startswith("exits"):
            os._exit(1)
        return None if self.behaviour in ("silent", "mute", "downloads") else {"error": REFUSED}

    def call(self, message):
        params = message["params"]
        if self.behaviour == "floods":
            for step in range(params["arguments"]["steps"]):
                progress = {"progressToken": params["_meta"]["progressToken"], "progress": step}
                notify("notifications/progress", {**progress, "message": "x" * 10_000})
            return {"result": {"content": []}}
        if self.behaviour == "deaf":  # reads nothing until its notes file is removed
            while self.notes.exists() and not self.calls:
                time.sleep(0.01)
            self.calls.append(message["id"])
            return {"result": {"content": []}}
        self.calls.append(message["id"])
        if (
            len(self.calls) == params["arguments"]["calls"]
        ):  # it asks after as many calls as their argument gives
            write({"id": "q", "method": "elicitation/create", "params": {"message": "who?"}})
        return None


def modern(method):
    if method == "server/discover":
        return {"result": DISCOVERED}
    return {"result": {**DISCOVERED, **TOOLS}} if method == "tools/list" else {"error": REFUSED}


def send(request_id, answer):
    write({"id": request_id, **answer})


def notify(method, params):
    write({"method": method, "params": params})


def write(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


if __name__ == "__main__":
    Server(sys.argv[1], Path(sys.argv[2])).run()
