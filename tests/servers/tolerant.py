"""A server of both eras that reads JSON leniently: it ignores the case of names, and accepts duplicate members.

Arguments: which of several members with one name it takes (``first`` or ``last``), and a file to which it adds a line
for each tool it runs.
"""

import json
import sys

WHICH, RAN = sys.argv[1:3] if __name__ == "__main__" else ("last", "")
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("open", "secret")]


def plain(pairs):
    if WHICH == "first":
        pairs = list(reversed(pairs))
    return {name.casefold(): value for name, value in pairs}


def result(method, params):
    if method == "initialize":
        info = {"name": "tolerant", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"resultType": "complete", "tools": TOOLS}
    if method == "tools/call":
        with open(RAN, "a") as ran:
            ran.write(params["name"].partition("\0")[0] + "\n")
        return {"resultType": "complete", "content": [{"type": "text", "text": params["name"]}]}
    return {"resultType": "complete"}


def main():
    for line in sys.stdin:
        message = json.loads(line, object_pairs_hook=plain)
        method = message.get("method", "").partition("\0")[0].casefold()
        answer = result(method, message.get("params") or {}) if method else None
        if answer is not None and message.get("id") is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}), flush=True)


if __name__ == "__main__":
    main()
