"""What an untrained network tells of the trained one: one family of proxies a file."""

from holdfast.core.registry import import_siblings
from holdfast.search.proxies.base import (
    PROXIES,
    Batch,
    Proxy,
    default_proxies,
    known_proxies,
    parse_proxies,
    proxy,
    spec_of,
)

import_siblings(__name__)

__all__ = [
    "PROXIES",
    "Batch",
    "Proxy",
    "default_proxies",
    "known_proxies",
    "parse_proxies",
    "proxy",
    "spec_of",
]
