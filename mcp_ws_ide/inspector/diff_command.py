"""The command ``diff``: how one recorded session differs from another.

Exit codes: 0 they are the same; 1 they differ; 2 they could not be compared.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from mcp_ws_ide.errors import UnusableArgumentError
from mcp_ws_ide.inspector.commands import path
from mcp_ws_ide.inspector.model.journal import Journal
from mcp_ws_ide.inspector.model.session_difference import Operation, lines, operations, session_differences
from mcp_ws_ide.inspector.names import listed
from mcp_ws_ide.inspector.sources import MANY, Find, load, size_argument
from mcp_ws_ide.sanitise import visible


def run_diff(find: Find, options: argparse.Namespace) -> int:
    """Run ``diff``."""
    before, after = (_operations(text, options) for text in (options.before, options.after))
    count = 0
    for found in session_differences(before, after, options.ignore):
        count += 1
        for line in lines(found):
            print(visible(line))
    print(f"{len(before)} and {len(after)} requests, {count} differences")
    return 1 if count else 0


def _operations(text: str, options: argparse.Namespace) -> list[Operation]:
    """Return the requests of ``FILE`` or ``FILE#SESSION``."""
    file, _, wanted = text.rpartition("#") if "#" in text else (text, "", "")
    with closing(Journal(max_records=MANY, max_spill=1 << 40)) as journal:
        load(argparse.Namespace(file=file, max_mib=options.max_mib), journal.feed, journal)
        sessions = [name for name in journal.sessions_named(wanted) if journal.sessions[name].messages]
        if len(sessions) != 1:
            known = listed([name[:8] for name in journal.sessions])
            problem = "no session" if not sessions else f"{len(sessions)} sessions"
            which = f" whose id begins with {wanted!r}" if wanted else ""
            raise UnusableArgumentError(f"{file} has {problem}{which}; give {file}#SESSION, one of: {known}")
        return operations(journal, sessions[0])


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "show how one recorded session differs from another; exit with 1 if it does"
    diff = commands.add_parser("diff", help=text, description=text)
    diff.add_argument("before", metavar="BEFORE", help="a recording with one session, or RECORDING#SESSION")
    diff.add_argument("after", metavar="AFTER", help="likewise")
    help_text = "a path that may differ, for example result.content[*].text; may be repeated"
    diff.add_argument("--ignore", type=path, action="append", default=[], metavar="PATH", help=help_text)
    size_argument(diff)
    diff.set_defaults(run=run_diff, parser=diff)
