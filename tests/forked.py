"""``python -I -S forked.py ADDRESS (-m MODULE | FILE) ARGUMENT…``: the program, run by a fork of ``tests/prefork.py``.

It stands for the fork: the fork has its stdin, stdout and stderr, it ends as the fork does, and the fork is killed
when it ends. Where nothing listens at the address it becomes the program itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from typing import Final

NUMBER: Final = 8


def number(link: socket.socket) -> int:
    data = link.recv(NUMBER, socket.MSG_WAITALL)
    if not data:
        os._exit(1)
    return int.from_bytes(data, "big", signed=True)


def main(address: str, *program: str) -> None:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(address)
    except OSError:
        os.execv(sys.executable, [sys.executable, *program])
    asked = {"program": program, "environment": dict(os.environ), "cwd": os.getcwd(), "tied": True}
    socket.send_fds(link, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
    for standard in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(standard)
    number(link)  # the id of the fork
    code = number(link)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
