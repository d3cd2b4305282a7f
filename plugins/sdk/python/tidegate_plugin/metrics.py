"""Figures of the plugin's own, shown at the host's `/metrics`. Outside a component they go to the standard error."""

from __future__ import annotations

import sys

try:
    from wit_world.imports import metrics as _host
except ImportError:
    # Plain Python, as in tests.
    _host = None


def count(name: str, add: int = 1) -> None:
    """Adds to the counter `tidegate_plugin_counter_total{plugin, name}`."""
    if _host is None:
        print(f"count {name} +{add}", file=sys.stderr)
    else:
        _host.count(name, add)


def gauge(name: str, value: float) -> None:
    """Sets the gauge `tidegate_plugin_gauge{plugin, name}`."""
    if _host is None:
        print(f"gauge {name} = {value}", file=sys.stderr)
    else:
        _host.gauge(name, float(value))
