"""Numbers that Python does not read are found, wherever they stand, and nothing else is taken for one."""

from __future__ import annotations

import json
import random

import pytest

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.long_numbers import MAX_DIGITS, long_number_at
from mcp_ws_ide.errors import MalformedMessageError


@pytest.mark.parametrize("seed", range(10))
def test_it_agrees_with_python(seed):
    rng = random.Random(seed)

    def digits() -> str:
        return "7" * rng.randrange(MAX_DIGITS - 3, MAX_DIGITS + 4)

    for _ in range(20):
        integer, string = digits(), f'"{digits()}"'
        pieces = [
            integer,
            f"-{integer}",
            string,
            f'"\\"{integer}"',
            f"1.{integer}",
            f"1.5e{integer}",
            "1e5",
            "true",
        ]
        text = f"[{','.join(rng.choices(pieces, k=rng.randrange(1, 6)))}]"
        read: list[str] = []
        json.loads(text, parse_int=read.append, parse_float=read.append)
        too_long = [number for number in read if len(number.partition(".")[0].lstrip("-")) > MAX_DIGITS]
        at = long_number_at(text.encode())
        assert (at >= 0) == bool(too_long)
        assert at < 0 or set(text[at - MAX_DIGITS : at + 1]) == {"7"}


def test_a_response_with_one_is_refused_with_the_place_of_the_number():
    data = b'{"jsonrpc":"2.0","id":1,"%b":%b}'
    result = b'{"content":[],"structuredContent":{"rows":[{"n":%b}]}}' % (b"9" * (MAX_DIGITS + 1))
    error = b'{"code":1,"message":"no","data":%b}' % (b"9" * (MAX_DIGITS + 1))
    for name, value in ((b"result", result), (b"error", error)):
        with pytest.raises(MalformedMessageError, match=r"more than 4300 digits.*\(byte 43"):
            messages.parse_server(data % (name, value))
    messages.parse_server(data % (b"result", result.replace(b"9", b"", 1)))
