"""What classes need in order to be compiled (docs/contribute/compiled.md).

Both decorators are mypy_extensions.mypyc_attr to mypyc, which reads them where it compiles. They are called in pure
Python only, so that no installation needs that package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

__all__ = ["mypyc_attr", "plain_data"]

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
    from mypy_extensions import mypyc_attr as plain_data
else:

    def mypyc_attr(**settings: bool) -> Any:
        """Return a decorator that changes nothing."""
        return lambda declared: declared

    def plain_data(*, acyclic: bool) -> Any:
        """Return a decorator for a class that only holds what its ``__init__`` takes: it becomes a struct.

        msgspec makes an object in a third of the time of an ``__init__`` in Python; a compiled class is faster still.
        """
        return _as_struct


def _as_struct(declared: type) -> type:
    init: Any = declared.__dict__["__init__"]
    names = init.__code__.co_varnames[1 : init.__code__.co_argcount]
    defaults = init.__defaults__ or ()
    required = len(names) - len(defaults)
    fields = [(name, Any) for name in names[:required]]
    optional = [(name, Any, value) for name, value in zip(names[required:], defaults, strict=True)]
    kept = {
        name: value for name, value in vars(declared).items() if name not in (*names, "__init__", "__slots__")
    }
    return msgspec.defstruct(
        declared.__name__,
        [*fields, *optional],
        namespace=kept,
        module=declared.__module__,
        gc=False,
        eq=False,
    )
