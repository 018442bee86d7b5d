"""A quick MCP server of both eras for tests: standard library only, one thread and a timer heap.

Tools: ``echo`` (returns its text), ``slow`` (steps × delay with progress; can be cancelled), ``crash``, ``pid``,
``change`` (sends list_changed to every listener), ``take back`` (ends every subscription), ``raw`` (writes a line
verbatim), ``answer`` (writes a line as its response, one byte for each character), ``question`` (sends ``roots/list``
to the client, handshake era only), ``stuck`` (stops reading), ``work`` (progress, then a response; counted), ``tally``
(how often each ``work`` ran), ``flood`` (sends that many log messages).

With an argument, the key of each ``work`` is appended to that file, which outlives this process.
"""

import heapq
import itertools
import json
import os
import select
import sys
import time

VERSION = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"

out = bytearray()
timers = []
counter = itertools.count()
cancelled = set()
running = set()
listeners = []
questions = {}
worked = {}
ledger = None
if len(sys.argv) > 1:
    ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def send(message):
    out.extend(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n")


def result(request_id, text):
    send(
        {"id": request_id, "result": {"resultType": "complete", "content": [{"type": "text", "text": text}]}}
    )


def step(request_id, token, number, total, delay):
    if request_id in cancelled:
        cancelled.discard(request_id)
        running.discard(request_id)
        return
    if token is not None:
        send(
            {
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": number, "total": total},
            }
        )
    if number == total:
        running.discard(request_id)
        result(request_id, f"{total} steps")
    else:
        heapq.heappush(
            timers, (time.monotonic() + delay, next(counter), (request_id, token, number + 1, total, delay))
        )


def echo(request_id, arguments, token):
    result(request_id, arguments["text"])


def slow(request_id, arguments, token):
    running.add(request_id)
    step(request_id, token, 0, arguments["steps"], arguments["delay"])


def pid(request_id, arguments, token):
    result(request_id, str(os.getpid()))


def crash(request_id, arguments, token):
    os._exit(3)


def change(request_id, arguments, token):
    for listener in listeners:
        send({"method": "notifications/tools/list_changed", "params": {"_meta": {SUBSCRIPTION: listener}}})
    result(request_id, str(len(listeners)))


def raw(request_id, arguments, token):
    out.extend(arguments["line"].encode("utf-8", "surrogateescape") + b"\n")
    result(request_id, "written")


def answer(request_id, arguments, token):
    out.extend(arguments["line"].replace("ID", json.dumps(request_id)).encode("latin-1") + b"\n")


def take_back(request_id, arguments, token):
    for listener in listeners:
        send({"method": "notifications/cancelled", "params": {"requestId": listener}})
    result(request_id, str(len(listeners)))
    listeners.clear()


def question(request_id, arguments, token):
    questions["q"] = request_id
    send({"id": "q", "method": "roots/list"})


def work(request_id, arguments, token):
    key, steps = arguments["key"], arguments["steps"]
    worked[key] = worked.get(key, 0) + 1
    if ledger is not None:
        os.write(ledger, f"{key}\n".encode())
    for number in range(steps):
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": number}})
    result(request_id, key)


def tally(request_id, arguments, token):
    twice = [key for key, count in worked.items() if count > 1]
    result(request_id, json.dumps({"runs": sum(worked.values()), "twice": twice}))


def flood(request_id, arguments, token):
    data = "x" * arguments["size"]
    for number in range(arguments["count"]):
        note = {"progressToken": token, "progress": number, "message": data}
        send({"method": "notifications/progress", "params": note})
        if len(out) > 1 << 16:
            flush()
    result(request_id, "flooded")


def stuck(request_id, arguments, token):
    flush()
    time.sleep(3600)


TOOLS = {
    **{
        "echo": echo,
        "slow": slow,
        "pid": pid,
        "crash": crash,
        "change": change,
        "raw": raw,
        "answer": answer,
    },
    **{
        "take back": take_back,
        "question": question,
        "work": work,
        "tally": tally,
        "flood": flood,
        "stuck": stuck,
    },
}


def call(request_id, params):
    tool = TOOLS.get(params["name"])
    if tool is None:
        send({"id": request_id, "error": {"code": -32602, "message": f"no tool {params['name']}"}})
    else:
        tool(request_id, params.get("arguments", {}), params.get("_meta", {}).get("progressToken"))


def initialize(request_id, params):
    capabilities, info = {"tools": {}, "logging": {}}, {"name": "fast", "version": "1"}
    agreed = {"protocolVersion": params["protocolVersion"], "capabilities": capabilities, "serverInfo": info}
    send({"id": request_id, "result": agreed})


CACHED = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def discover(request_id, params):
    offered = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": True}}}
    send({"id": request_id, "result": {**CACHED, **offered}})


def list_tools(request_id, params):
    send(
        {
            "id": request_id,
            "result": {**CACHED, "tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        }
    )


def listen(request_id, params):
    listeners.append(request_id)
    acknowledged = {"_meta": {SUBSCRIPTION: request_id}}
    send({"method": "notifications/subscriptions/acknowledged", "params": acknowledged})


def cancel(request_id, params):
    if params["requestId"] in listeners:
        listeners.remove(params["requestId"])
    elif params["requestId"] in running:
        cancelled.add(params["requestId"])


METHODS = {
    **{"initialize": initialize, "server/discover": discover, "tools/list": list_tools, "tools/call": call},
    **{"subscriptions/listen": listen, "notifications/cancelled": cancel},
}


def handle(message):
    method, request_id, params = message.get("method"), message.get("id"), message.get("params", {})
    if method is None:
        if request_id in questions:
            result(questions.pop(request_id), json.dumps(message.get("result")))
    elif method in METHODS:
        METHODS[method](request_id, params)
    elif request_id is not None:
        send({"id": request_id, "error": {"code": -32601, "message": "Method not found"}})


def flush():
    view = bytes(out)
    out.clear()
    while view:
        view = view[os.write(1, view) :]


def main():
    pending = b""
    while True:
        wait = max(0.0, timers[0][0] - time.monotonic()) if timers else None
        if select.select([0], [], [], wait)[0]:
            data = os.read(0, 1 << 18)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line.strip():
                    handle(json.loads(line))
        while timers and timers[0][0] <= time.monotonic():
            step(*heapq.heappop(timers)[2])
        flush()


if __name__ == "__main__":
    sys.exit(main())
