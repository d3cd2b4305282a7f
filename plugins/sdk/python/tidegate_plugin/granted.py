"""The host's interfaces that an operator must grant, and plugin.yaml names under `uses`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

try:
    import wit_world as _wit_world
except ImportError:
    # Plain Python, as in tests.
    _wit_world = None


def interface(name: str, grant: str) -> Any:
    """The interface of that name; None in plain Python.

    Called when a module of this package is imported, which is when the component is built: what is missing is found out there.
    """
    if _wit_world is None:
        return None
    try:
        return import_module(f"wit_world.imports.{name}")
    except ImportError:
        raise ImportError(
            f"the plugin imports `tidegate:plugin/{name}`, but `plugin.yaml` does not say so; "
            f"write `uses: [{grant}]`, so that who runs it knows what to grant"
        ) from None
