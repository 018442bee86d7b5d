"""A modern MCP server with the tasks extension (SEP-2663); standard library only, so it starts at once.

Tools: ``job`` (a task that works until it is told to end: ``id`` names it, ``ttlMs`` is passed on), ``end`` (completes the
job with this ``id``), ``ask`` (a job that requires input), ``wait`` (requires input under the ``requestState`` that its
argument ``state`` gives), ``plain`` (a result at once). Each task's ``statusMessage`` is the process id.
"""

import json
import os
import sys

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
FORM = {"type": "object", "properties": {}}
QUESTION = {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": FORM}}
NAMES = ("job", "end", "ask", "wait", "plain")

tasks = {}
listeners = {}
"""The ids of tasks that each subscription follows."""


class RefusedError(Exception):
    """The error of a request: code, message, and data."""


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(words):
    return {"resultType": "complete", "content": [{"type": "text", "text": words}]}


def declared(params):
    capabilities = params.get("_meta", {}).get(CAPABILITIES, {})
    return TASKS in capabilities.get("extensions", {})


def require_extension(params):
    if not declared(params):
        needed = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise RefusedError(-32021, "Missing required client capability", needed)


def known(params):
    require_extension(params)
    if params.get("taskId") not in tasks:
        raise RefusedError(-32602, f"Task not found: {params.get('taskId')}")
    return tasks[params["taskId"]]


def change(task, **members):
    task.update(members)
    for listener, ids in listeners.items():
        if task["taskId"] in ids:
            params = {**task, "_meta": {SUBSCRIPTION: listener}}
            send({"method": "notifications/tasks", "params": params})


def create(arguments, **members):
    now = "2026-07-28T00:00:00Z"
    task = {
        "taskId": arguments.get("id", "t1"),
        "status": "working",
        "statusMessage": str(os.getpid()),
        "createdAt": now,
        "lastUpdatedAt": now,
        "ttlMs": arguments.get("ttlMs"),
        "pollIntervalMs": 100,
    }
    tasks[task["taskId"]] = task
    change(task, **members)
    shown = {name: value for name, value in task.items() if name != "inputRequests"}
    return {"resultType": "task", **shown}


def call(params):
    name, arguments = params["name"], params.get("arguments", {})
    if name == "plain" or (name == "job" and not declared(params)):
        return text("done at once")
    if name == "job":
        return create(arguments)
    if name == "ask":
        require_extension(params)
        return create(arguments, status="input_required", inputRequests={"who": QUESTION})
    if name == "end":
        change(tasks[arguments["id"]], status="completed", result=text(f"result of {arguments['id']}"))
        return text("ended")
    if name == "wait" and "inputResponses" not in params:
        asked = {"inputRequests": {"who": QUESTION}, "requestState": arguments["state"]}
        return {"resultType": "input_required", **asked}
    return text("answered")


def listen(request_id, params):
    filters = params["notifications"]
    if "taskIds" in filters:
        require_extension(params)
        listeners[request_id] = set(filters["taskIds"]) & tasks.keys()
        filters = {**filters, "taskIds": sorted(listeners[request_id])}
    acknowledged = {"_meta": {SUBSCRIPTION: request_id}, "notifications": filters}
    send({"method": "notifications/subscriptions/acknowledged", "params": acknowledged})


def answer(method, params):
    if method == "server/discover":
        offered = {"tools": {}, "extensions": {TASKS: {}}}
        return {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": offered}
    if method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
        return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"}
    if method == "tools/call":
        return call(params)
    if method == "tasks/get":
        return {"resultType": "complete", **known(params)}
    if method == "tasks/update":
        task = known(params)
        task.pop("inputRequests", None)
        change(task, status="completed", result=text(json.dumps(params["inputResponses"])))
        return {"resultType": "complete"}
    if method == "tasks/cancel":
        change(known(params), status="cancelled")
        return {"resultType": "complete"}
    raise RefusedError(-32601, f"Method not found: {method}")


def main():
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "notifications/cancelled":
            listeners.pop(params["requestId"], None)
        if "id" not in message or method is None:
            continue
        try:
            if method == "subscriptions/listen":
                listen(message["id"], params)
            else:
                send({"id": message["id"], "result": answer(method, params)})
        except RefusedError as error:
            names = ("code", "message", "data")
            send({"id": message["id"], "error": dict(zip(names, error.args, strict=False))})


if __name__ == "__main__":
    main()
