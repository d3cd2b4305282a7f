"""Random numbers: `from tidegate_plugin import random`. The operator must grant `random`, and plugin.yaml says `uses: [random]`."""

from __future__ import annotations

from . import world
from .granted import interface

_host = interface("random", "random")


def bytes(count: int) -> bytes:
    """So many bytes from the host's secure source, 1 MiB at most; more is an error of the plugin, which ends the call."""
    return world.current.random(count) if _host is None else _host.bytes(count)


def number() -> float:
    """A number from 0 to below 1, any one as likely as any other."""
    # As many bits as a float has.
    return (int.from_bytes(bytes(8), "big") >> 11) / (1 << 53)
