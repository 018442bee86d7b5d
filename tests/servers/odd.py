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


def main():
    behaviour, notes = sys.argv[1], Path(sys.argv[2])
    with notes.open("a") as file:
        file.write("start\n")
    starts = notes.read_text().count("start")
    shaken = False
    calls = []
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method")
        with notes.open("a") as file:
            file.write(f"{method}\n")
        if "id" not in message:
            continue
        if method is None:  # the answer to its question, which it sends to all
            text = json.dumps(message.get("result", message.get("error")))
            for call in calls:
                said = {"content": [{"type": "text", "text": text}]}
                print(json.dumps({"jsonrpc": "2.0", "id": call, "result": said}), flush=True)
            continue
        answer = {"error": REFUSED}
        if behaviour == "modern-later":  # its first process fails every request, later ones are modern
            answer = {"error": STARTING} if starts < 2 else modern(method)
        elif behaviour == "modern-mute":  # never acknowledges a subscription
            if method == "subscriptions/listen":
                continue
            answer = modern(method)
        elif behaviour in ("behind-a-wrapper", "mute-modern"):  # which refuses the handshake first
            if method == "server/discover":
                probe = message["id"]
                continue
            if method == "initialize":
                print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": REFUSED}), flush=True)
                if behaviour == "behind-a-wrapper":
                    print(json.dumps({"jsonrpc": "2.0", "id": probe, "result": DISCOVERED}), flush=True)
                continue
            answer = modern(method)
        elif behaviour == "slow-modern":  # answers the probe only after the handshake request
            if method == "server/discover":
                probe = message["id"]
                continue
            if method == "initialize":
                print(json.dumps({"jsonrpc": "2.0", "id": probe, "result": DISCOVERED}), flush=True)
            answer = {"error": REFUSED} if method == "initialize" else modern(method)
        elif method == "initialize":
            answer, shaken = {"result": HANDSHAKE}, True
            if behaviour == "refuses":
                answer = {"error": {"code": -32602, "message": "no capabilities, no handshake"}}
            if behaviour == "mute":
                continue
        elif not shaken:
            if behaviour == "exits-late":  # reads the probe only after it has timed out
                sys.stdin.readline()
            if behaviour.startswith("exits"):
                os._exit(1)
            if behaviour in ("silent", "mute"):
                continue
        elif method == "tools/list":
            answer = {"result": TOOLS}
        elif method == "tools/call" and behaviour == "floods":
            token = message["params"]["_meta"]["progressToken"]
            for step in range(message["params"]["arguments"]["steps"]):
                progress = {"progressToken": token, "progress": step, "message": "x" * 10_000}
                note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
                print(json.dumps(note), flush=True)
            answer = {"result": {"content": []}}
        elif method == "tools/call" and behaviour == "deaf":  # reads nothing until its notes file is removed
            while notes.exists() and not calls:
                time.sleep(0.01)
            calls.append(message["id"])
            answer = {"result": {"content": []}}
        elif method == "tools/call":  # asks its question after as many calls as their argument gives
            calls.append(message["id"])
            if len(calls) == message["params"]["arguments"]["calls"]:
                question = {"id": "q", "method": "elicitation/create", "params": {"message": "who?"}}
                print(json.dumps({"jsonrpc": "2.0", **question}), flush=True)
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


def modern(method):
    if method == "server/discover":
        return {"result": DISCOVERED}
    return {"result": {**DISCOVERED, **TOOLS}} if method == "tools/list" else {"error": REFUSED}


if __name__ == "__main__":
    main()
