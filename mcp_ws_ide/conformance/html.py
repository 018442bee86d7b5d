"""The report as one HTML file, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from mcp_ws_ide.conformance.reports import by_section, summary
from mcp_ws_ide.conformance.running import Run
from mcp_ws_ide.conformance.verdicts import MEANINGS, Result, Verdict
from mcp_ws_ide.sanitise import visible
from mcp_ws_ide.version import __version__

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --pass: #1a7f37; --fail: #cf222e; --warn: #9a6700; --other: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --pass: #3fb950; --fail: #ff7b72; --warn: #d29922; --other: #8b949e; } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
code, pre { font: .86em/1.45 ui-monospace, monospace; } .about { color: var(--other); margin-top: .2rem; }
details { border-top: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; display: flex; gap: .8rem; }
summary code { flex: 0 0 14rem; overflow-wrap: anywhere; } summary::marker { content: ""; }
.verdict { flex: 0 0 8.5rem; font-weight: 600; } .pass { color: var(--pass); } .fail { color: var(--fail); }
.warn { color: var(--warn); } .not-applicable, .not-reached { color: var(--other); }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: .2rem .8rem; margin: .5rem 0 .5rem 1rem; }
dt { color: var(--other); } dd { margin: 0; overflow-wrap: anywhere; } pre { margin: 0; white-space: pre-wrap; }
@media (max-width: 40rem) { summary { flex-wrap: wrap; gap: .2rem .8rem; } dl { grid-template-columns: 1fr; } }
"""


def html_report(run: Run) -> str:
    """The report as a page; what did not pass is unfolded."""
    body = "\n".join(_sections(run))
    meanings = "".join(
        f"<dt class='{_name(verdict)}'>{verdict}</dt><dd>{escape(meaning)}</dd>"
        for verdict, meaning in MEANINGS.items()
    )
    subject = escape(visible(run.subject))
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Conformance of {subject}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>\n<body>"
        f"<h1>{subject}</h1><p class='about'>{escape(visible(run.about))}; mcp-ws-conformance {__version__}</p>"
        f"<p><strong>{escape(summary(run))}</strong></p>\n{body}\n"
        f"<h2>What a verdict means</h2><dl>{meanings}</dl></body></html>\n"
    )


def _sections(run: Run) -> Iterator[str]:
    for title, results in by_section(run):
        yield f"<h2>{escape(title)}</h2>"
        for result in results:
            yield _entry(result)


def _name(verdict: Verdict) -> str:
    return verdict.replace(" ", "-")


def _entry(result: Result) -> str:
    check = result.check
    unfolded = " open" if result.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.NOT_REACHED) else ""
    exchange = escape("\n".join(map(visible, result.exchange)))
    rows = [
        ("sent", escape(visible(result.sent))),
        ("expected", escape(check.expected)),
        ("came", escape(visible(result.outcome.came))),
        (
            "clause",
            f"<a href='{escape(check.clause.url)}'>{escape(check.clause.id)}</a>: {escape(check.clause.text)}",
        ),
        ("on the wire", f"<pre>{exchange or 'nothing'}</pre>"),
    ]
    details = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return (
        f"<details{unfolded}><summary><span class='verdict {_name(result.verdict)}'>{result.verdict}</span>"
        f"<code>{escape(check.id)}</code><span>{escape(check.title)}</span></summary><dl>{details}</dl></details>"
    )
