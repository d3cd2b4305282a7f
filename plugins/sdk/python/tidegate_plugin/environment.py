"""Variables of the host's environment: `from tidegate_plugin import environment`. The operator must grant `env` with the names, and
plugin.yaml says `uses: [env]`."""

from __future__ import annotations

from . import world
from .granted import interface

_host = interface("environment", "env")


def get(name: str) -> str | None:
    """The value; None for a variable that is not granted."""
    return world.current.variables.get(name) if _host is None else _host.get(name)
