"""Apps of servers (MCP Apps, SEP-1865) in the output of a cell: HTML of a server, in a frame that reaches nothing.

The output is a frame with a script of this package, which contains the frame of the app. Both have an opaque origin and
the policy that the server declares for the app, which is nothing by default. The script tells the app the arguments and
the result of its tool, as the protocol demands; it refuses every request of the app, as there is nobody to confirm it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from mcp_ws_ide.version import __version__

EXTENSION: Final = "io.modelcontextprotocol/ui"
MEDIA_TYPE: Final = "text/html;profile=mcp-app"
VERSION: Final = "2026-01-26"
"""Version of the messages between an app and its host."""
LARGEST: Final = 4 << 20
"""Characters of the largest app that is shown; a notebook stores what it shows."""
HEIGHT: Final = 420
"""Pixels; the frame can be dragged to another height."""
_SOURCE: Final = re.compile(r"(https|wss)://(\*\.)?[A-Za-z0-9.-]+(:[0-9]+)?")
"""A source that an app's policy may name."""

_SCRIPT: Final = """
const {html, told, input, result, host, version, refusal} = JSON.parse(document.getElementById("data").textContent);
const frame = document.querySelector("iframe");
const send = (message) => frame.contentWindow.postMessage({jsonrpc: "2.0", ...message}, "*");
addEventListener("message", ({source, data}) => {
  if (source !== frame.contentWindow || !data || data.jsonrpc !== "2.0" || typeof data.method !== "string") return;
  const {id, method} = data;
  if (method === "ui/initialize") {
    const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const hostContext = {theme, displayMode: "inline", platform: "web", toolInfo: told};
    send({id, result: {protocolVersion: version, hostInfo: host, hostCapabilities: {}, hostContext}});
  } else if (method === "ui/notifications/initialized") {
    send({method: "ui/notifications/tool-input", params: {arguments: input}});
    send({method: "ui/notifications/tool-result", params: result});
  } else if (method === "ping") send({id, result: {}});
  else if (id !== undefined) send({id, error: {code: -32601, message: refusal}});
});
frame.srcdoc = html;
"""
_STYLE: Final = (
    "html,body,iframe{margin:0;border:0;padding:0;width:100%;height:100%;display:block;overflow:hidden}"
)


class App:
    """The app of a result, which a notebook shows.

    Attributes:
        uri: its address, ``ui://…``.
        html: its HTML.
    """

    def __init__(self, contents: Mapping[str, Any], tool: Mapping[str, Any], call: Mapping[str, Any]) -> None:
        self.uri = str(contents.get("uri", ""))
        self.html = str(contents["text"])
        self._contents, self._tool, self._call = contents, tool, call

    def __repr__(self) -> str:
        return f"<the app {self.uri}, {len(self.html):,} characters; a notebook shows it>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" referrerpolicy="no-referrer" title="{escape(self.uri)}" '
            f'style="width:100%;height:{HEIGHT}px;border:1px solid #8888;resize:vertical;overflow:auto" '
            f'srcdoc="{escape(self._host())}"></iframe>'
        )

    def _host(self) -> str:
        """Return the document of the outer frame."""
        data = {
            "html": self.html,
            "told": {"tool": self._tool},
            "input": self._call["arguments"],
            "result": self._call["result"],
            "host": {"name": "mcp-ws-ide", "version": __version__},
            "version": VERSION,
            "refusal": "an app in a notebook may not make requests",
        }
        embedded = json.dumps(data).replace("<", "\\u003c")
        return (
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
            f'content="{escape(policy(self._contents))}"><style>{_STYLE}</style>'
            f'<iframe sandbox="allow-scripts"></iframe>'
            f'<script type="application/json" id="data">{embedded}</script><script>{_SCRIPT}</script>'
        )


def policy(contents: Mapping[str, Any]) -> str:
    """Return the Content-Security-Policy of an app, which its frame inherits: what its server declares, and no more."""
    ui = (contents.get("_meta") or {}).get("ui")
    declared = ui.get("csp") if isinstance(ui, Mapping) else None

    def sources(member: str, otherwise: str = "") -> str:
        named = declared.get(member) if isinstance(declared, Mapping) else None
        valid = [each for each in named or [] if isinstance(each, str) and _SOURCE.fullmatch(each)]
        return "".join(f" {each}" for each in valid) or otherwise

    resources, nothing = sources("resourceDomains"), " 'none'"
    return (
        f"default-src 'none'; script-src 'unsafe-inline'{resources}; style-src 'unsafe-inline'{resources}; "
        f"img-src data:{resources}; media-src data:{resources}; font-src data:{resources}; "
        f"connect-src{sources('connectDomains', nothing)}; frame-src{sources('frameDomains', nothing)}; "
        "base-uri 'none'; form-action 'none'"
    )


def uri_of(tool: Mapping[str, Any]) -> str:
    """Return the address of the app of a listed tool; ``""`` if it has none."""
    meta = tool.get("_meta")
    ui = meta.get("ui") if isinstance(meta, Mapping) else None
    uri = ui.get("resourceUri") if isinstance(ui, Mapping) else None
    return uri if isinstance(uri, str) and uri.startswith("ui://") else ""


def app_of(
    contents: list[dict[str, Any]], tool: Mapping[str, Any], arguments: Mapping[str, Any], result: Any
) -> App:
    """Return the app that the contents of a resource are.

    Raises:
        ValueError: they are no app, or a too large one.
    """
    name = tool.get("name", "")
    found = next((each for each in contents if isinstance(each.get("text"), str)), None)
    if found is None or not str(found.get("mimeType", "")).replace(" ", "").startswith("text/html"):
        raise ValueError(f"the app of {name} is no HTML ({MEDIA_TYPE})")
    if len(found["text"]) > LARGEST:
        raise ValueError(f"the app of {name} has {len(found['text']):,} characters, more than {LARGEST:,}")
    return App(found, tool, {"arguments": dict(arguments), "result": result})
