"""The clauses of the wire contract, by their anchors in docs/reference/binding.md, and why some cannot be checked.

tests/conformance/test_clauses.py keeps this list, the anchors of the page and the checks in step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PAGE: Final = "https://github.com/mcp-ws-ide/mcp-ws-ide/blob/main/docs/reference/binding.md"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its anchor, the section that it stands in, and what it says, in a few words."""

    id: str
    section: str
    text: str
    unchecked: str = ""
    """Why no check of this program covers it; empty if one does."""

    @property
    def url(self) -> str:
        """Where it can be read."""
        return f"{PAGE}#{self.id}"


_HTTP: Final = "HTTP, not WebSocket; the official conformance suite checks HTTP"
_SETTING: Final = "depends on a setting that the endpoint does not tell"
_INSIDE: Final = "cannot be seen from outside the gateway"
_REST: Final = "needs the gateway's REST interface"
_SERVER: Final = "needs a server behind the endpoint that does this on request"
_LONG: Final = "takes longer than a run should"

SECTIONS: Final = {
    "1": "Endpoint",
    "2": "Subprotocol",
    "3": "Credentials",
    "4": "Frames",
    "5": "Liveness",
    "6.1": "Data frames and control frames",
    "6.2": "Opening and resuming",
    "6.3": "Acknowledging",
    "6.4": "The window",
    "6.5": "How a session ends",
    "6.6": "Guarantee",
    "6.7": "Plain mcp",
    "7": "Eras and sharing",
    "8": "Errors of the gateway",
    "9": "Close codes",
    "10": "Streamable HTTP on the same URL",
    "11": "Poll link",
    "12": "Choosing a transport",
}
"""Titles of the sections that have clauses."""

_LIST: Final = (
    Clause("endpoint-address", "1", "each server has one URL", "a product chooses its URLs itself"),
    Clause("endpoint-spelling", "1", "a trailing slash and percent escapes make no difference"),
    Clause("endpoint-upgrade", "1", "GET with Upgrade: websocket opens a WebSocket"),
    Clause("endpoint-post", "1", "POST is Streamable HTTP", _HTTP),
    Clause("endpoint-stream", "1", "GET with Accept: text/event-stream is an event stream", _HTTP),
    Clause("endpoint-delete", "1", "DELETE ends a session of Streamable HTTP", _HTTP),
    Clause("endpoint-poll", "1", "POST {endpoint}/poll is the poll link", _HTTP),
    Clause("endpoint-probe", "1", "{endpoint}/probe tells which transports work", _HTTP),
    Clause("endpoint-refusal", "1", "a refusal is a JSON-RPC error with message and status"),
    Clause("endpoint-challenge", "1", "401 carries WWW-Authenticate: Bearer"),
    Clause("endpoint-404", "1", "an unknown server is 404, before any upgrade"),
    Clause("endpoint-405", "1", "any other GET is 405 with Upgrade: websocket and Allow: POST"),
    Clause("endpoint-429", "1", "more links in a second than allowed are 429", _SETTING),
    Clause("endpoint-502", "1", "a server that cannot start is 502", _SERVER),
    Clause("endpoint-503", "1", "a limit on sessions is 503", _SETTING),
    Clause(
        "endpoint-late", "1", "a start that fails after the upgrade is an error for each request", _SERVER
    ),
    Clause("subprotocol-order", "2", "the gateway selects the first that it knows, in its own order"),
    Clause("subprotocol-mcp", "2", "mcp is selected where it is offered"),
    Clause("subprotocol-version", "2", "the first mcp.version.* is selected"),
    Clause("subprotocol-jupyter", "2", "v1.token.websocket.jupyter.org is selected"),
    Clause("subprotocol-none", "2", "a client that offers nothing gets no subprotocol"),
    Clause("subprotocol-unknown", "2", "a client that offers only unknown ones is refused with 400"),
    Clause("subprotocol-token", "2", "an entry that carries a token is never selected"),
    Clause("credential-order", "3", "the first credential found is used, and no other"),
    Clause("credential-header", "3", "Authorization: Bearer T or token T"),
    Clause("credential-subprotocol", "3", "the subprotocol mcp.auth.B"),
    Clause("credential-jupyter", "3", "the subprotocol v1.token.websocket.jupyter.org.T"),
    Clause("credential-query", "3", "?token=T"),
    Clause("credential-ticket", "3", "?ticket=T", _REST),
    Clause("credential-cookie", "3", "Jupyter's cookie, with an Origin", "needs the cookie of a browser"),
    Clause("credential-kinds", "3", "what T may be, and how long a ticket lives", _REST),
    Clause("credential-401", "3", "a credential that is missing or wrong is 401, before any upgrade"),
    Clause("credential-403", "3", "what the credential does not allow is 403", _REST),
    Clause("credential-redirect", "3", "the gateway never redirects to a login page"),
    Clause("origin-foreign", "3", "a foreign Origin is refused, even with a valid credential"),
    Clause("origin-fetch-site", "3", "Sec-Fetch-Site: cross-site without an Origin is refused"),
    Clause("credential-none", "3", "what works without a credential at a Jupyter without a token", _SETTING),
    Clause("host-rebinding", "3", "without a credential, a foreign Host is refused"),
    Clause("credential-principal", "3", "who owns sessions and tokens", _INSIDE),
    Clause("credential-kept", "3", "the gateway keeps checking the credential of an open link", _REST),
    Clause("credential-sends", "3", "Mcp-Ws-Sends and Mcp-Ws-Seen", "needs a proxy that removes headers"),
    Clause("frames-text", "4", "a text message is one JSON-RPC object, in one frame or several"),
    Clause(
        "frames-bytes", "4", "params and result pass unchanged; a raw line break between tokens is a blank"
    ),
    Clause("frames-members", "4", "unknown members of the JSON-RPC object are kept"),
    Clause("frames-surrogate", "4", "half of a surrogate pair becomes U+FFFD"),
    Clause("frames-binary", "4", "a binary message closes the link with 1003"),
    Clause("frames-utf8", "4", "invalid UTF-8 closes the link with 1007"),
    Clause("frames-large", "4", "a message that is too large closes the link with 1009"),
    Clause("frames-illegal", "4", "an illegal frame closes the link with 1002"),
    Clause("frames-json", "4", "what is not JSON is answered with -32700"),
    Clause("frames-message", "4", "what is not one JSON-RPC 2.0 message is answered with -32600"),
    Clause("frames-fifth", "4", "the fifth malformed message closes the link with 1002"),
    Clause("frames-same-id", "4", "an id that is in flight is answered with -32600, id null"),
    Clause("frames-limit", "4", "too many requests in flight are answered with -31003", _SETTING),
    Clause("frames-fragile", "4", "the client of the Python SDK 1.x gets 1001 in place of other close codes"),
    Clause("liveness-pong", "5", "a Ping is answered with a Pong"),
    Clause("liveness-ping", "5", "the gateway sends a Ping every 20 to 25 s"),
    Clause("liveness-lost", "5", "a link without a Pong after two Pings is dropped"),
    Clause("liveness-control", "5", "the control frame ping is answered with pong"),
    Clause("control-frame", "6.1", "a control frame has mcp.ws, unescaped, and no jsonrpc"),
    Clause("control-count", "6.1", "each side counts the data frames that it has processed"),
    Clause("control-members", "6.1", "unknown members of control frames MUST be ignored"),
    Clause("control-unknown", "6.1", "a control frame of an unknown kind or wrong shape closes with 1002"),
    Clause("control-open", "6.1", "open starts a session"),
    Clause("control-resume", "6.1", "resume carries the token and the count of received data frames"),
    Clause("control-opened", "6.1", "opened carries session, token, grace and window"),
    Clause("control-resumed", "6.1", "resumed carries the count of received data frames, and a new token"),
    Clause("control-gone", "6.1", "gone, then close 4404"),
    Clause("control-ack", "6.1", "ack carries the count of processed data frames"),
    Clause("control-gap", "6.1", "a gap adds to the client's count"),
    Clause("control-ping", "6.1", "ping is answered with pong"),
    Clause("opened-session", "6.1", "session is the public id"),
    Clause("opened-token", "6.1", "token is a secret"),
    Clause("opened-grace", "6.1", "grace is in seconds"),
    Clause("opened-window", "6.1", "window has frames and bytes"),
    Clause("opened-limit", "6.1", "max_message_bytes MAY be missing"),
    Clause("hello-first", "6.2", "the first frame MUST be open or resume"),
    Clause("hello-wait", "6.2", "a client MUST NOT send data before opened or resumed"),
    Clause("hello-limit", "6.2", "open beyond a limit is closed with 1013", _SETTING),
    Clause("resume-replay", "6.2", "each side replays what is above the other's count, in order"),
    Clause("resume-secret", "6.2", "the token has 256 random bits"),
    Clause("resume-rotates", "6.2", "a new token with each resumed; the old one until the next frame"),
    Clause("resume-newest", "6.2", "the newest link wins; the previous one is closed with 4409"),
    Clause("resume-gone", "6.2", "a wrong token and a forgotten one get the same gone"),
    Clause("resume-count", "6.2", "a resume with an impossible count is answered with gone"),
    Clause("resume-last", "6.2", "resumed with last: nothing more is accepted", _SERVER),
    Clause("ack-often", "6.3", "a side SHOULD acknowledge after eight data frames, or a second"),
    Clause("ack-resumed", "6.3", "the client MUST acknowledge right after resumed"),
    Clause("ack-count", "6.3", "an ack with an impossible count closes with 1002"),
    Clause("window-size", "6.4", "how large the window is, and what still fits", _SETTING),
    Clause("window-client", "6.4", "a client SHOULD NOT send while a full window is unacknowledged"),
    Clause("window-slow", "6.4", "a link that has sent twice the window is no longer read", _SERVER),
    Clause("window-own", "6.4", "a server of one session is not read while the window is full", _SERVER),
    Clause("window-shared", "6.4", "what a session of a shared server may buffer", _SERVER),
    Clause("window-dropped", "6.4", "the oldest progress and log messages are dropped", _SERVER),
    Clause("window-overflow", "6.4", "responses beyond the limit end the session with 4413", _SERVER),
    Clause("end-normal", "6.5", "close 1000 ends the session"),
    Clause("end-error", "6.5", "close 1002, 1003, 1007 and 1009 end the session"),
    Clause("end-detached", "6.5", "any other end of the link detaches the session"),
    Clause("end-delete", "6.5", "DELETE of the session with after=SECONDS", _REST),
    Clause("end-attempt", "6.5", "a failed attempt to resume leaves the session as it is"),
    Clause("end-grace", "6.5", "the session ends with its grace period", _LONG),
    Clause("end-server", "6.5", "a session whose server exits waits for its client", _SERVER),
    Clause("end-process", "6.5", "stored sessions outlive the gateway's process", _INSIDE),
    Clause("once", "6.6", "data frames are delivered in order and exactly once"),
    Clause("once-outcome", "6.6", "a request that a loss leaves open ends with data.outcome", _SERVER),
    Clause("plain-end", "6.7", "a plain session ends with its link", _INSIDE),
    Clause("era-request", "7", "requests of both eras may occur on one link"),
    Clause("era-sharing", "7", "which sessions share a server process", _INSIDE),
    Clause("id-verbatim", "7", "a response has the request's own id, with its type"),
    Clause("progress-token", "7", "progress has the request's own progress token"),
    Clause("cancel-id", "7", "a cancellation reaches the request that it names"),
    Clause("subscription-id", "7", "notifications of a subscription name its request"),
    Clause("isolation", "7", "a message reaches only the session that it belongs to"),
    Clause("shared-log", "7", "who gets a log message of a shared server", _SERVER),
    Clause(
        "shared-request", "7", "a request of a shared server to a client is answered with -32601", _SERVER
    ),
    Clause("shared-initialize", "7", "a modern initialize is answered with -32601"),
    Clause("era-fallback", "7", "a client finds the era of a server: a result, or -32601"),
    Clause("errors-code", "8", "codes of the gateway, and data.outcome", _SERVER),
    Clause("close-codes", "9", "which codes the gateway sends", "each is checked where its cause is"),
    Clause("close-normal", "9", "a client sends 1000 to end the session"),
    Clause("http", "10", "Streamable HTTP on the same URL", _HTTP),
    Clause("poll", "11", "the poll link", _HTTP),
    Clause("choosing", "12", "which transport a client chooses", _HTTP),
)

CLAUSES: Final = {clause.id: clause for clause in _LIST}
"""Every clause, in the order of the page."""
