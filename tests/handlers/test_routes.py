"""The shape of the handlers that the routes lead to."""

from __future__ import annotations

import pytest

from mcp_ws_ide.handlers import ROUTES

MAX_OWN_CLASSES = 4
"""Classes of ours that a reader has to know for one handler: more hide where a method comes from."""


@pytest.mark.parametrize("handler", sorted({handler for _, handler in ROUTES}, key=lambda h: h.__name__))
def test_a_handler_consists_of_few_classes_of_ours(handler: type):
    ours = [cls.__name__ for cls in handler.__mro__ if cls.__module__.startswith("mcp_ws_ide.")]
    assert len(ours) <= MAX_OWN_CLASSES, ours
