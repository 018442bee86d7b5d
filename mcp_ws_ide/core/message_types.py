"""The parts of a JSON-RPC message that msgspec decodes, and the names of the members in them.

Kept apart from :mod:`.message` and :mod:`.messages`, which mypyc compiles: msgspec decodes only into classes that are
not compiled (docs/contribute/compiled.md). Knows nothing of sessions, links or I/O.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

PROTOCOL_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"

ABSENT: Final = Raw()
"""Stands, by identity, for a member that a message does not have."""


class Meta(msgspec.Struct, gc=False):
    """The members of ``params._meta`` and ``result._meta`` that routing needs; :data:`ABSENT` if they are absent."""

    version: Raw = msgspec.field(name=PROTOCOL_VERSION_KEY, default=ABSENT)
    progress_token: Raw = msgspec.field(name="progressToken", default=ABSENT)
    subscription_id: Raw = msgspec.field(name=SUBSCRIPTION_ID_KEY, default=ABSENT)
    log_level: Raw = msgspec.field(name=LOG_LEVEL_KEY, default=ABSENT)


class Params(msgspec.Struct, gc=False):
    """The members of ``params`` that routing needs; :data:`ABSENT` if they are absent."""

    meta: Meta | None = msgspec.field(name="_meta", default=None)
    progress_token: Raw = msgspec.field(name="progressToken", default=ABSENT)
    request_id: Raw = msgspec.field(name="requestId", default=ABSENT)


class Envelope(msgspec.Struct, gc=False):
    """The members of a JSON-RPC message as raw JSON; empty if absent."""

    jsonrpc: Raw = ABSENT
    id: Raw = ABSENT
    method: Raw = ABSENT
    params: Raw = ABSENT
    result: Raw = ABSENT
    error: Raw = ABSENT


class ErrorMembers(msgspec.Struct, gc=False):
    """What clients need of an error."""

    code: int
    message: str


NO_PARAMS: Final = Params()
NO_META: Final = Meta()
