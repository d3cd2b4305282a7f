"""Lines in the host's log, with the plugin's name and generation. Outside a component they go to the standard error.

Lines beyond the plugin's limit per second are dropped and counted.
"""

from __future__ import annotations

import sys

try:
    from wit_world.imports import log as _host
except ImportError:
    # Plain Python, as in tests.
    _host = None


def _write(level: str, message: str) -> None:
    if _host is None:
        print(f"{level.lower()}: {message}", file=sys.stderr)
    else:
        # A lone surrogate is no text for the host: better a question mark than a trap.
        _host.log(_host.Level[level], message.encode(errors="replace").decode())


def trace(message: str) -> None:
    """Every step."""
    _write("TRACE", message)


def debug(message: str) -> None:
    """What helps to find an error."""
    _write("DEBUG", message)


def info(message: str) -> None:
    """What an operator likes to know."""
    _write("INFO", message)


def warn(message: str) -> None:
    """What an operator should look at."""
    _write("WARN", message)


def error(message: str) -> None:
    """What went wrong."""
    _write("ERROR", message)
