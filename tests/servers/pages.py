"""A server whose pages of tools break the rules. Arguments: the era, the kind, and a file that records each request.

Kinds: ``empty`` and ``same`` return the same cursor for ever; in ``two`` an empty cursor leads to the second page;
``new`` returns new cursors for ever, each with the same tools. Uses only the standard library, so it starts at once.
"""

import json
import sys
from pathlib import Path

ERA, KIND, NOTES = ["", "", "", *sys.argv[1:]][-3:]
MODERN = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def page(params, number):
    names, cursor = ["a", "b", "c"], {"empty": "", "same": "x", "two": "", "new": f"c{number}"}[KIND]
    if KIND == "two" and "cursor" in params:
        names, cursor = ["d", "e", "f"], None
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    return {"tools": tools, **({"nextCursor": cursor} if cursor is not None else {})}


def answer(message, number):
    method, era = (
        message["method"],
        {"capabilities": {"tools": {}}, "serverInfo": {"name": "pages", "version": "1"}},
    )
    if method == "tools/list":
        return {"result": page(message.get("params") or {}, number)}
    if method == "initialize" and ERA == "handshake":
        return {"result": {"protocolVersion": message["params"]["protocolVersion"], **era}}
    if method == "server/discover" and ERA == "modern":
        return {"result": {"supportedVersions": ["2026-07-28"], **era}}
    return {"error": {"code": -32601, "message": "no such method"}}


def main():
    number = 0
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        if message["method"] == "tools/list":
            number += 1
            with Path(NOTES).open("a") as file:
                file.write("list\n")
        reply = answer(message, number)
        if ERA == "modern" and "result" in reply:
            reply["result"] |= MODERN
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}), flush=True)


if __name__ == "__main__":
    main()
