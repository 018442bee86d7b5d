"""The registered transports are exactly the kinds that a configuration knows."""

from __future__ import annotations

from mcp_ws_ide.config.spec import KIND_OF_SCHEME, URL_SCHEMES
from mcp_ws_ide.transports import PROCESSES, TRANSPORTS, transport_class


def test_the_kinds_of_the_configuration_are_the_registered_transports():
    assert set(URL_SCHEMES) == set(TRANSPORTS)
    assert all(kind == transport_class(kind).kind for kind in TRANSPORTS)
    assert {kind for kind in TRANSPORTS if transport_class(kind).process} == PROCESSES


def test_each_url_scheme_means_one_kind():
    schemes = [scheme for of_kind in URL_SCHEMES.values() for scheme in of_kind]
    assert sorted(schemes) == sorted(KIND_OF_SCHEME)
