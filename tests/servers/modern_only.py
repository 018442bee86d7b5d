"""Run a server of both eras as a modern-only one: answer ``initialize`` for it with an error.

Arguments: the command of a real stdio server. All other messages pass unchanged.
"""

import json
import os
import subprocess
import sys
import threading


def answer_down(server, lock):
    for line in server.stdout:
        with lock:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    os._exit(server.wait())


def main():
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lock = threading.Lock()
    threading.Thread(target=answer_down, args=(server, lock), daemon=True).start()
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") == "initialize":
            error = {"code": -32601, "message": "Method not found: initialize"}
            with lock:
                sys.stdout.buffer.write(
                    json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode() + b"\n"
                )
                sys.stdout.buffer.flush()
            continue
        server.stdin.write(line)
        server.stdin.flush()
    server.stdin.close()
    sys.exit(server.wait())


if __name__ == "__main__":
    main()
