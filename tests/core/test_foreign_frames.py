"""Frames of a server that is no gateway: each request ends, and what keeps the link open ends none.

The TypeScript client runs the same vectors (``frontend_static/test/reader.test.mjs``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_ws_ide.core.resume import ClientEnd

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "foreign.json").read_text())


def given(end: ClientEnd, frame: str | dict[str, str]) -> list[bytes]:
    """What the SDK is given for a frame, text or binary."""
    written = frame.encode() if isinstance(frame, str) else bytes.fromhex(frame["hex"])
    data, _, _ = end.receive(written)
    return end.readable(written) if end.odd else [] if data is None else [data]


def answers(made: list[bytes]) -> list[list[Any]]:
    """The id of each response, ``result`` or ``error``, and the result or the code."""
    responses = [json.loads(data) for data in made]
    return [
        [r["id"], "result", r["result"]] if "result" in r else [r["id"], "error", r["error"]["code"]]
        for r in responses
        if "method" not in r
    ]


def matches(made: list[list[Any]], expected: list[list[Any]]) -> bool:
    return len(made) == len(expected) and all(
        one[: len(e)] == e for one, e in zip(made, expected, strict=True)
    )


@pytest.mark.parametrize("vector", VECTORS["cases"], ids=lambda vector: vector["name"])
def test_each_request_ends_and_what_keeps_the_link_open_ends_none(vector):
    end = ClientEnd()
    end.start_plain()
    for request in vector["open"]:
        end.send(json.dumps({"jsonrpc": "2.0", "id": request, "method": "m"}).encode())
    for request in vector.get("cancelled", []):
        params = {"requestId": request}
        end.send(
            json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode()
        )
    made, doubts = [], []
    for frame in vector["frames"]:
        made += given(end, frame)
        if (doubt := end.take_doubt()) is not None:
            doubts.append(doubt)
    assert matches(answers(made), vector["now"]), made
    later = sorted(
        answers([data for doubt in doubts for data in end.settle(doubt)]), key=lambda one: str(one[0])
    )
    assert matches(later, vector["later"]), later
