"""The time: `from tidegate_plugin import clock`. The operator must grant `clock`, and plugin.yaml says `uses: [clock]`.

A plugin that reads the clock is not deterministic: after a crash the same change may come out of it otherwise. Often the time of
the change, `change.wall_time`, is what is wanted.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from . import world
from .granted import interface

_host = interface("clock", "clock")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def now() -> datetime:
    """The time, in UTC, by the host's clock. It may step back when that is set."""
    return _EPOCH + timedelta(milliseconds=milliseconds())


def milliseconds() -> int:
    """Milliseconds since 1970, UTC, by the host's clock."""
    return world.current.milliseconds if _host is None else _host.now()
