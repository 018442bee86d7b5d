"""What a million records cost the inspector's model: time to take them in, memory, time to filter.

Prints one JSON object a line. Records are made before the clock starts and look like the tap's: a call
on both legs with its answer. Memory is the growth of this process's resident set, which includes pages of
the spill file only while they are mapped.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from pathlib import Path

from mcp_ws_ide.inspector.model.filters import parse
from mcp_ws_ide.inspector.model.journal import Journal

FILTERS = [
    "tool:run*",
    "tool:run* lat:>40",
    "method:tools/call & !status:ok",
    "session:s7 kind:response size:>200",
    "id:4711",
    "needle-4711",
    "~needle-99\\d\\d",
]


def lines(number: int) -> list[str]:
    """A call and its answer on both legs."""
    session, tool = f"s{number % 50}", ("run_cell", "edit_cell", "read")[number % 3]
    call = {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": tool, "arguments": {"text": f"needle-{number}", "fill": "x" * 100}},
    }
    answer = {"jsonrpc": "2.0", "id": number, "result": {"content": [{"type": "text", "text": "y" * 120}]}}
    steps = [
        ("client", "in", "request", call),
        ("upstream", "out", "request", call),
        ("upstream", "in", "response", answer),
        ("client", "out", "response", answer),
    ]
    return [record(number * 4 + i, session, *step) for i, step in enumerate(steps)]


def record(seq: int, session: str, leg: str, direction: str, kind: str, message: dict[str, object]) -> str:
    raw = json.dumps(message, separators=(",", ":"))
    return json.dumps(
        {
            "seq": seq,
            "time": 1.8e9 + seq / 1000,
            "mono": seq / 1000 + (seq % 97 if kind == "response" else 0) / 1000,
            "server": "demo",
            "session": session,
            "leg": leg,
            "direction": direction,
            "kind": kind,
            "method": message.get("method"),
            "id": message["id"],
            "size": len(raw),
            "raw": raw,
            "truncated": False,
            "event": None,
            "detail": None,
            "drops": 0,
        }
    )


def resident() -> float:
    """MiB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    journal = Journal(max_records=count)
    before, spent = resident(), 0.0
    for batch in range(0, count // 4, 250):
        texts = [line for number in range(batch, min(batch + 250, count // 4)) for line in lines(number)]
        start = time.process_time()
        journal.feed(texts)
        spent += time.process_time() - start
    store = journal.store
    print(json.dumps({"records": len(store), "feed_us_per_record": round(spent / len(store) * 1e6, 1)}))
    start = time.perf_counter()
    gc.collect()
    collect = (time.perf_counter() - start) * 1000
    print(
        json.dumps(
            {
                "memory_mib": round(resident(), 1),
                "of_which_before": round(before, 1),
                "bytes_per_record": round((resident() - before) * (1 << 20) / len(store), 1),
                "gc_ms": round(collect, 1),
            }
        )
    )
    for text in FILTERS:
        start = time.perf_counter()
        found = len(parse(text).rows(store))
        print(json.dumps({"filter": text, "rows": found, "ms": round((time.perf_counter() - start) * 1000)}))
    journal.close()


if __name__ == "__main__":
    main()
