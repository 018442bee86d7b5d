"""Entries as a browser sees them: secrets replaced by placeholders, and put back when the entry returns. Pure.

A placeholder is ``{"hidden": POINTER}``: a JSON pointer (RFC 6901) into the stored entry, with ``"shown"`` where part
of the value may be seen. A secret returns only to where it was hidden, or, for an argument, stays with its option; no
change of an entry may reveal one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcp_ws_ide.config.dialect_keys import ALIASES, ALLOWED_TOOLS, DENIED_TOOLS
from mcp_ws_ide.config.entry import SETTINGS
from mcp_ws_ide.config.json_edit import DefinitionError
from mcp_ws_ide.config.secrets import censor_args, censor_text
from mcp_ws_ide.observe.tap_record import HIDDEN

_PUBLIC_KEYS: Final = frozenset(
    {"cwd", "type", "transport", "python", "group", "disabled", "enabled", "description", "timeout",
     "alwaysAllow", "autoApprove", "trust", "displayName", "title", "env_vars", "bearer_token_env_var",
     "env_http_headers", *ALLOWED_TOOLS, *DENIED_TOOLS}
)  # fmt: skip
"""Keys whose values are shown as they are. The value of an unknown key may be a secret."""
_PUBLIC_OAUTH: Final = frozenset({"scope", "client_id", "issuer"})
_REFERENCE: Final = re.compile(r"\$\{(env:)?[A-Za-z_][A-Za-z0-9_]*\}")
"""A value that is a variable without a default, and so no secret itself."""


def masked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry for a browser, with placeholders for what may be secret. A mere ``${env:NAME}`` is shown."""
    return {key: _masked_member(key, value) for key, value in entry.items()}


def _masked_member(key: str, value: Any) -> Any:
    pointer, key = f"/{_escape(key)}", ALIASES.get(key, key)
    if key in _PUBLIC_KEYS and _holds_texts(value):
        return value
    if (
        key in ("args", "command")
        and isinstance(value, list)
        and all(isinstance(item, str) for item in value)
    ):
        pairs = zip(value, censor_args(value), strict=True)
        return [_masked_text(f"{pointer}/{index}", arg, shown) for index, (arg, shown) in enumerate(pairs)]
    if key in ("command", "url") and isinstance(value, str):
        return _masked_text(pointer, value, censor_text(value))
    if key in ("env", "headers") and isinstance(value, dict):
        return {name: _masked_value(f"{pointer}/{_escape(name)}", item) for name, item in value.items()}
    if key == "mcp_ws" and isinstance(value, dict):
        return {name: _masked_setting(pointer, name, item) for name, item in value.items()}
    return {"hidden": pointer}


def _holds_texts(value: Any) -> bool:
    """Return whether a value has the shape of a public one: no object within it could be an entry of its own."""
    return not any(isinstance(item, (dict, list)) for item in _members(value))


def _members(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _masked_text(pointer: str, value: str, shown: str) -> Any:
    return value if shown == value else {"hidden": pointer, "shown": shown}


def _masked_value(pointer: str, value: Any) -> Any:
    is_reference = isinstance(value, str) and _REFERENCE.fullmatch(value)
    return value if is_reference else {"hidden": pointer, "shown": HIDDEN}


def _masked_setting(parent: str, name: str, value: Any) -> Any:
    """Mask one of the gateway's own settings, under ``mcp_ws``."""
    pointer = f"{parent}/{_escape(name)}"
    if name == "oauth" and isinstance(value, dict):
        return {key: _masked_oauth(f"{pointer}/{_escape(key)}", key, item) for key, item in value.items()}
    known = name in SETTINGS and (name != "oauth" or isinstance(value, bool))
    return value if known else {"hidden": pointer}


def _masked_oauth(pointer: str, key: str, value: Any) -> Any:
    return value if key in _PUBLIC_OAUTH else _masked_value(pointer, value)


def unmasked(entry: Any, stored: Mapping[str, Any] | None) -> Any:
    """Return an entry with its placeholders replaced by what :func:`masked` hid of the stored entry.

    Raises:
        DefinitionError: a placeholder refers to nothing hidden, stands where another value belongs, or would show more
            of its secret than before.
    """
    hidden = dict(_placeholders(masked(stored or {}), ""))
    restored: dict[str, str] = {}
    result = _unmasked(entry, stored or {}, hidden, restored, "")
    if restored:
        _check_options(result, stored or {}, restored)
        _check_still_hidden(result, hidden, restored)
    return result


def _unmasked(
    value: Any,
    stored: Mapping[str, Any],
    hidden: Mapping[str, str | None],
    restored: dict[str, str],
    at: str,
) -> Any:
    """Unmask the value at pointer ``at``. ``restored`` collects where a secret was put back, and from which pointer."""
    if (pointer := _placeholder(value, at)) is not None:
        moved = at.rpartition("/")[0] == pointer.rpartition("/")[0] == "/args"
        if (pointer != at and not moved) or pointer in restored.values():
            raise DefinitionError(f"the value hidden at {pointer} cannot be used for {at}; type it again")
        if pointer not in hidden:
            raise DefinitionError(
                f"the stored entry no longer has a value hidden at {pointer}; type it again"
            )
        restored[at] = pointer
        return _pointed(stored, pointer)
    if isinstance(value, dict):
        return {
            key: _unmasked(item, stored, hidden, restored, f"{at}/{_escape(key)}")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _unmasked(item, stored, hidden, restored, f"{at}/{index}") for index, item in enumerate(value)
        ]
    return value


def _placeholders(value: Any, at: str) -> Iterator[tuple[str, str | None]]:
    """Yield the pointer of each placeholder in a masked entry, and what it shows of the value."""
    if _placeholder(value, at) == at:
        yield at, value.get("shown")
    elif isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _placeholders(item, f"{at}/{_escape(str(key))}")


def _check_options(entry: Mapping[str, Any], stored: Mapping[str, Any], restored: Mapping[str, str]) -> None:
    """Check that each restored argument still follows its option; the pair may have moved."""
    for at, pointer in restored.items():
        if at.startswith("/args/"):
            option = _option_before(entry["args"], int(at.rpartition("/")[2]))
            if option != _option_before(stored["args"], int(pointer.rpartition("/")[2])):
                reason = f"the argument hidden at {pointer} followed another option; type it again"
                raise DefinitionError(reason)


def _option_before(args: Any, index: int) -> Any:
    """Return the option that takes the argument at ``index``, or None."""
    before = args[index - 1] if index and isinstance(args, list) else None
    return before if isinstance(before, str) and before.startswith("-") and "=" not in before else None


def _check_still_hidden(
    entry: Mapping[str, Any], hidden: Mapping[str, str | None], restored: Mapping[str, str]
) -> None:
    """Check that masking the new entry shows no more of any restored value than before."""
    now = dict(_placeholders(masked(entry), ""))
    for at, pointer in restored.items():
        if at not in now or now[at] != hidden[pointer]:
            raise DefinitionError(f"the value hidden at {pointer} would be shown at {at}; type it again")


def _placeholder(value: Any, at: str) -> str | None:
    """Return the pointer of a placeholder; None for any other value.

    A variable or a header may be named ``hidden``.
    """
    if not isinstance(value, dict) or not set(value) <= {"hidden", "shown"}:
        return None
    pointer = value.get("hidden")
    if not isinstance(pointer, str) or (at in ("/env", "/headers") and pointer != at):
        return None
    return pointer


def _pointed(stored: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901)."""
    value = stored
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise DefinitionError(f"the stored entry no longer has a value at {pointer}; type it again")
    return value


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
